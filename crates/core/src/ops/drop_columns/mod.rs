//! `drop_columns`: drops several columns of a table at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef};
use crate::ops::drop_column::drop_together;
use crate::plan::{Check, Declare, Mentions, Role, TableUse};

/// Drops several columns of a table at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropColumns {
    /// The table.
    pub table: TableRef,
    /// The columns.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
    /// What an INSERT that leaves a column out stores in it until contract.
    #[serde(default)]
    #[schemars(schema_with = "crate::ops::common::assignments")]
    pub down: BTreeMap<String, SqlExpr>,
}

impl Declare for DropColumns {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.columns(&self.table, &self.columns, Role::Dropped, &["columns"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        check.keys_among(self.down.keys(), &["down"], &self.columns, "columns");
    }
}

impl Lower for DropColumns {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        for (column, down) in &self.down {
            asking.expression_for(&table, down.postgresql(), column);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| (column.as_str(), self.down.get(column)))
            .collect();
        drop_together(lowering, &self.table, &columns);
    }
}
