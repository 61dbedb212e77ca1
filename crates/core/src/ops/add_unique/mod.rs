//! `add_unique`: adds a UNIQUE constraint at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::ConstraintKind;
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};

/// Adds a UNIQUE constraint at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddUnique {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// In key order.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
}

impl Declare for AddUnique {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.columns(&self.table, &self.columns, Role::Key, &["columns"]);
        to.constraint_with_index(&self.table, &self.name, &["name"]);
    }
}

impl Lower for AddUnique {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        lowering.new_constraint_name(&table, &self.name);
        lowering.new_relation_name(&table, &self.name);
        for column in &self.columns {
            lowering.column_or_added(&table, column);
        }
        let kind = ConstraintKind::Unique {
            columns: self.columns.clone(),
        };
        lowering.constraint_over_index(&table, &self.name, &self.columns, kind);
    }
}
