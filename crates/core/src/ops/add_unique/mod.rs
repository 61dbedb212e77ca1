//! `add_unique`: adds a UNIQUE constraint at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;
use crate::catalog::{Constraint, ConstraintKind};
use crate::lower::{Asking, Lower, Lowering, plain_index};
use crate::step::{Action, Change, Concurrent, Phase, Undo};

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
        lowering.refuse_partitioned(&table, "a UNIQUE constraint");
        for column in &self.columns {
            lowering.column_or_added(&table, column);
        }
        lowering.step(
            Phase::Contract,
            format!("build unique index {} on {}", self.name, table.name),
            Action::Concurrent(Concurrent::CreateIndex {
                table: table.name.clone(),
                index: plain_index(&self.name, &self.columns),
            }),
            Undo::Steps {
                actions: vec![Action::Concurrent(Concurrent::DropIndex {
                    table: table.name.clone(),
                    name: self.name.clone(),
                })],
            },
        );
        lowering.cutover(Change::AddConstraint {
            table: table.name,
            constraint: Constraint {
                name: self.name.clone(),
                kind: ConstraintKind::Unique {
                    columns: self.columns.clone(),
                },
                validated: true,
                deferrable: None,
                definition: String::new(),
            },
            using_index: Some(self.name.clone()),
        });
    }
}
