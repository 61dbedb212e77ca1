//! `drop_default`: drops a column's default at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::step::Change;

/// Drops a column's default at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropDefault {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
}

impl Declare for DropDefault {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::NoDefault, &["column"]);
    }
}

impl Lower for DropDefault {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
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
        if column.def.default.is_none() {
            lowering.invalid(
                format!("{}.{} has no default", table.name, self.column),
                "Leave the operation out.",
            );
        }
        lowering.cutover(Change::SetDefault {
            table: table.name,
            column: self.column.clone(),
            default: None,
        });
    }
}
