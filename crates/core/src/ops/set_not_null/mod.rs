//! `set_not_null`: makes a column NOT NULL at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering, Over, Volatile, mapped};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::step::{Mapping, Rule};

/// Makes a column NOT NULL at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNotNull {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// What replaces a NULL, in present rows and in writes until contract.
    #[serde(default)]
    pub fill: Option<SqlExpr>,
}

impl Declare for SetNotNull {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::NotNull, &["column"]);
    }
}

impl Lower for SetNotNull {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        if let Some(fill) = &self.fill {
            asking.expression_for(&table, fill.postgresql(), &self.column);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        if !column.def.nullable {
            lowering.invalid(
                format!("{}.{} is NOT NULL already", table.name, self.column),
                "Leave the operation out.",
            );
            return;
        }
        if let Some(fill) = &self.fill {
            let Some(facts) = lowering.mapping_expr(
                &table,
                fill,
                &column.def.type_name,
                "fill",
                &Over::NewShape {
                    replaced: &[self.column.as_str()],
                },
                Volatile::Allowed,
            ) else {
                return;
            };
            lowering.refuse_unwritable(&table, &column);
            lowering.refuse_key_columns(&table, &[self.column.as_str()]);
            lowering.mapping(
                &table,
                Mapping {
                    operation: lowering.operation(),
                    old: Vec::new(),
                    new: vec![mapped(&column)],
                    rule: Rule::Fill {
                        up: vec![facts.expr],
                    },
                    required: true,
                    back: None,
                },
            );
            lowering.note(format!(
                "Rollback keeps the values that replaced NULL in {}.{}.",
                table.name, self.column
            ));
        }
        lowering.not_null(&table, &self.column, &self.column);
    }
}
