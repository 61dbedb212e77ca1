//! `analyze`: gathers statistics of a table.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, TableUse};
use crate::step::{Action, Concurrent, Phase, Undo};

/// Gathers statistics of a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Analyze {
    /// The table.
    pub table: TableRef,
}

impl Declare for Analyze {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
    }
}

impl Lower for Analyze {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        lowering.step(
            Phase::Backfill,
            format!("analyze {}", table.name),
            Action::Concurrent(Concurrent::Analyze { table: table.name }),
            Undo::Nothing,
        );
    }
}
