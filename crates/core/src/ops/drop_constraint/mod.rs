//! `drop_constraint`: drops a constraint.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Constraint, ConstraintKind, Table};
use crate::lower::{Asking, Lower, Lowering, ddl};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, TableUse};
use crate::step::{Action, Change, Concurrent, Phase, Undo};

/// Drops a constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropConstraint {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
}

impl Declare for DropConstraint {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.constraint(&self.table, &self.name, &["name"]);
    }
}

impl Lower for DropConstraint {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(constraint) = lowering.constraint(&table, &self.name) else {
            return;
        };
        match &constraint.kind {
            ConstraintKind::Check { .. } => self.relax(lowering, &table, constraint, None),
            ConstraintKind::ForeignKey { references, .. } => {
                let references = references.clone();
                self.relax(lowering, &table, constraint, Some(references));
            }
            ConstraintKind::Unique { columns } | ConstraintKind::PrimaryKey { columns } => {
                for key in &table.referenced_by {
                    let same = key.columns.len() == columns.len()
                        && key.columns.iter().all(|column| columns.contains(column));
                    if same && !lowering.dropped_by_plan(&key.constraint, &key.table) {
                        lowering.unsafe_(
                            format!(
                                "foreign key {} of {} needs constraint {}",
                                key.constraint, key.table, self.name
                            ),
                            "Drop the foreign key first.",
                        );
                    }
                }
                lowering.cutover(Change::DropConstraint {
                    table: table.name,
                    name: self.name.clone(),
                    referenced: None,
                });
            }
            ConstraintKind::Exclusion => lowering.cutover(Change::DropConstraint {
                table: table.name,
                name: self.name.clone(),
                referenced: None,
            }),
            ConstraintKind::Other { contype } => lowering.unsafe_(
                format!(
                    "constraint {} is of kind `{contype}`, which this version does not know",
                    self.name
                ),
                "Drop it with a `sql` operation.",
            ),
        }
    }
}

impl DropConstraint {
    /// CHECK and foreign keys go in expand: new versions need the freedom,
    /// and no statement of an old version names them (as ON CONFLICT names
    /// a unique one). The way back adds and validates them again.
    fn relax(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        constraint: Constraint,
        referenced: Option<crate::name::TableName>,
    ) {
        let validate = constraint.validated;
        let mut actions = vec![ddl(vec![Change::AddConstraint {
            table: table.name.clone(),
            constraint: Constraint {
                validated: false,
                ..constraint
            },
            using_index: None,
        }])];
        if validate {
            actions.push(Action::Concurrent(Concurrent::Validate {
                table: table.name.clone(),
                name: self.name.clone(),
                referenced: referenced.clone(),
            }));
        }
        lowering.step(
            Phase::Expand,
            format!("drop constraint {} of {}", self.name, table.name),
            ddl(vec![Change::DropConstraint {
                table: table.name.clone(),
                name: self.name.clone(),
                referenced,
            }]),
            Undo::Steps { actions },
        );
        lowering.note(format!(
            "Rollback validates {} again, and needs rows that violate it mended first.",
            self.name
        ));
    }
}
