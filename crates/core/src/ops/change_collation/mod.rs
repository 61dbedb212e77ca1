//! `change_collation`: changes a column's collation through a second column.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::expr::Expr;
use crate::lower::{Asking, Lower, Lowering, Replace, column_expr, mapped};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::sql::quote::{quote_ident, quote_qualified};
use crate::step::Rule;

/// Changes a column's collation through a second column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeCollation {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The new collation: `C`, or with its schema `app.german`.
    #[schemars(length(min = 1))]
    pub to: String,
}

impl ChangeCollation {
    /// Its name as SQL. One without a schema is looked up in `pg_catalog` and
    /// the plan's schema.
    fn collation(&self) -> String {
        match self.to.split_once('.') {
            Some((schema, name)) => quote_qualified(schema, name),
            None => quote_ident(&self.to),
        }
    }

    /// A question whose answer tells whether there is such a collation.
    fn question(&self) -> String {
        format!("{} COLLATE {}", quote_ident(&self.column), self.collation())
    }
}

impl Declare for ChangeCollation {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        let role = Role::Retyped { visible: false };
        to.column(&self.table, &self.column, role, &["column"]);
    }
}

impl Lower for ChangeCollation {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        if let Some(type_name) = asking.type_of(&table, &self.column) {
            asking.expression(&table, &self.question(), Some(type_name));
            let second = asking.artifact("shadow");
            let collation = Some(self.collation());
            asking.replacement(
                &table,
                &self.column,
                type_name,
                collation,
                &second,
                &self.column,
            );
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        let type_name = &column.def.type_name;
        lowering.refuse_unwritable(&table, &column);
        if lowering
            .facts(&table.name, &self.question(), Some(type_name), "to")
            .is_none()
        {
            return;
        }
        let second = lowering.artifact("shadow");
        let same =
            lowering.catalog().replacements.iter().any(|tried| {
                tried.asked.second == second && tried.collation == column.def.collation
            });
        if same {
            lowering.invalid(
                format!("{}.{} has that collation already", table.name, self.column),
                "Leave the operation out.",
            );
            return;
        }
        lowering.replace(Replace {
            table: &table,
            column: &column,
            to: type_name,
            type_name,
            second: &second,
            last: &self.column,
            old: vec![mapped(&column)],
            rule: Rule::Derived {
                up: vec![column_expr(&self.column)],
            },
            back: None,
            prefix: String::new(),
            default: column.def.default.as_ref().map(Expr::bare),
        });
        lowering.note_place(&format!("{}.{}", table.name, self.column));
        lowering.note(format!(
            "Queries that compare or sort by {}.{} may give other results and another order from contract on.",
            table.name, self.column
        ));
    }
}
