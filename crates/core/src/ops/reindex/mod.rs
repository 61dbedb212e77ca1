//! `reindex`: builds indexes anew.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{ConstraintKind, Index, Table, TableKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, TableUse};
use crate::step::{Action, Concurrent, Phase, Undo};

/// Builds indexes anew.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reindex {
    /// One index: `name` or `schema.name`.
    #[serde(default)]
    pub name: Option<TableRef>,
    /// All indexes of this table, one after the other.
    #[serde(default)]
    pub table: Option<TableRef>,
}

/// The index of an exclusion constraint cannot be built concurrently.
fn excludes(table: &Table, index: &Index) -> bool {
    table.constraints.iter().any(|constraint| {
        Some(&constraint.name) == index.constraint.as_ref()
            && matches!(constraint.kind, ConstraintKind::Exclusion)
    })
}

fn step(lowering: &mut Lowering<'_>, table: &Table, index: &Index) {
    lowering.step(
        Phase::Expand,
        format!("build index {} of {} anew", index.name, table.name),
        Action::Concurrent(Concurrent::Reindex {
            table: table.name.clone(),
            name: index.name.clone(),
        }),
        Undo::Nothing,
    );
}

impl Declare for Reindex {
    fn declare(&self, to: &mut Mentions<'_>) {
        if let Some(table) = &self.table {
            to.table(table, TableUse::Named);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        if self.name.is_some() == self.table.is_some() {
            let span = check.written.key.clone();
            check.report(
                &span,
                match self.name {
                    None => "it does not say what to build anew",
                    Some(_) => "it names an index and a table",
                },
                "expected one of name, table",
                "",
            );
        }
    }
}

impl Lower for Reindex {
    fn ask(&self, asking: &mut Asking<'_>) {
        if let Some(name) = &self.name {
            asking.index(name);
        }
        if let Some(table) = &self.table {
            asking.table(table);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        const PARTS: &str =
            "Name the table to do all of its partitions, or the index of one partition.";
        if let Some(name) = &self.name {
            let Some((table, index)) = lowering.index(name) else {
                return;
            };
            if table.kind == TableKind::Partitioned {
                lowering.unsafe_(
                    format!(
                        "index {} belongs to {}, which is partitioned, and holds no entries itself",
                        index.name, table.name
                    ),
                    PARTS,
                );
            }
            if excludes(&table, &index) {
                lowering.unsafe_(
                    format!("index {} is that of an exclusion constraint, which PostgreSQL cannot build concurrently", index.name),
                    "Add the same constraint under another name to a copy of the table, or build it anew in a maintenance window.",
                );
            }
            step(lowering, &table, &index);
        }
        let Some(table) = self.table.as_ref().and_then(|table| lowering.table(table)) else {
            return;
        };
        let mut tables = vec![table.clone()];
        if table.kind == TableKind::Partitioned {
            tables = lowering.descendants(&table);
            tables.sort_by(|a, b| a.name.cmp(&b.name));
        }
        for table in tables
            .iter()
            .filter(|table| table.kind == TableKind::Ordinary)
        {
            for index in &table.indexes {
                if excludes(table, index) {
                    lowering.note(format!(
                        "Index {} of {} stays as it is: PostgreSQL cannot build that of an exclusion constraint concurrently.",
                        index.name, table.name
                    ));
                } else {
                    step(lowering, table, index);
                }
            }
        }
    }
}
