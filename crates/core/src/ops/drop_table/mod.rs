//! `drop_table`: drops a table at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::dependents::related_tables;
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, TableUse};
use crate::step::Change;

/// Drops a table at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropTable {
    /// The table.
    pub table: TableRef,
}

impl Declare for DropTable {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Dropped);
    }
}

impl Lower for DropTable {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        for key in &table.referenced_by {
            if key.table != table.name && !lowering.dropped_by_plan(&key.constraint, &key.table) {
                lowering.unsafe_(
                    format!("foreign key {} of {} points to {}", key.constraint, key.table, table.name),
                    "Drop it first, with a `drop_constraint` operation in this plan or an earlier one.",
                );
            }
        }
        lowering.refuse_dependents(&table.name.to_string(), &table.dependents, "drop");
        for child in &table.children {
            if table.partitioning.is_none() {
                lowering.unsafe_(
                    format!("{child} inherits from {}", table.name),
                    "Drop it, or end the inheritance, first.",
                );
            }
        }
        lowering.note(format!(
            "{} and its rows are gone when contract ends.",
            table.name
        ));
        lowering.cutover(Change::DropTable {
            related: related_tables(&table),
            table: table.name,
        });
    }
}
