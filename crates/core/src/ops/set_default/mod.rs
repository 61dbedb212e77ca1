//! `set_default`: sets a column's default.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::{Change, Phase};

/// Sets a column's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDefault {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The default.
    pub default: SqlExpr,
}

impl Declare for SetDefault {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::Default, &["column"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        check.default(Some(&self.default), &["default"]);
    }
}

impl Lower for SetDefault {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        asking.expression_for(&table, self.default.postgresql(), &self.column);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        if column.def.identity.is_some() || column.def.generated.is_some() {
            lowering.invalid(
                format!(
                    "{}.{} is an identity or generated column, which has no default of its own",
                    table.name, self.column
                ),
                "Leave the operation out.",
            );
            return;
        }
        let Some(facts) = lowering.facts(
            &table.name,
            self.default.postgresql(),
            Some(&column.def.type_name),
            "default",
        ) else {
            return;
        };
        if !facts.expr.columns.is_empty() {
            lowering.invalid(
                format!(
                    "the default of {}.{} reads column `{}`",
                    table.name, self.column, facts.expr.columns[0]
                ),
                "A default reads no columns; use `add_column` with `up` for that.",
            );
        }
        lowering.ddl(
            Phase::Expand,
            format!("set the default of {}.{}", table.name, self.column),
            Change::SetDefault {
                table: table.name.clone(),
                column: self.column.clone(),
                default: Some(facts.expr.bare()),
            },
            vec![Change::SetDefault {
                table: table.name,
                column: self.column.clone(),
                default: column.def.default.map(|default| default.bare()),
            }],
        );
    }
}
