//! `add_primary_key`: gives a table its primary key at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Constraint, ConstraintKind};
use crate::lower::{Asking, Lower, Lowering, plain_index};
use crate::ops::common::TableRef;
use crate::step::{Action, Change, Concurrent, Phase, Undo};

/// Gives a table its primary key at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPrimaryKey {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// In key order.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
}

impl Lower for AddPrimaryKey {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let present = table
            .constraints
            .iter()
            .find(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey { .. }));
        if let Some(present) = present {
            lowering.unsafe_(
                format!("table {} has a primary key already: {}", table.name, present.name),
                "A table has one at most. Drop it with `drop_constraint` in an earlier plan, or add a unique constraint with `add_unique`.",
            );
        }
        lowering.new_constraint_name(&table, &self.name);
        lowering.new_relation_name(&table, &self.name);
        lowering.refuse_partitioned(&table, "a primary key");
        for column in &self.columns {
            if lowering.column_or_added(&table, column).is_none() {
                continue;
            }
            match table.column(column) {
                // PostgreSQL takes it as proven that the column holds no NULL,
                // where a primary key would look at every row under its lock.
                Some(found) if found.def.nullable => {
                    if !lowering.becomes_not_null(&table.name, column) {
                        lowering.not_null(&table, column, column);
                    }
                }
                Some(_) => {}
                None if lowering.becomes_not_null(&table.name, column) => {}
                None => lowering.unsafe_(
                    format!("column `{column}` of {} is added as nullable, and a primary key refuses NULL", table.name),
                    "Write `nullable: false` in `add_column`, which comes before this operation.",
                ),
            }
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
                kind: ConstraintKind::PrimaryKey {
                    columns: self.columns.clone(),
                },
                validated: true,
                deferrable: None,
                definition: String::new(),
            },
            using_index: Some(self.name.clone()),
        });
        lowering.note(format!(
            "Duplicates and NULLs in {} stop contract before anything is taken away.",
            self.columns.join(", ")
        ));
    }
}
