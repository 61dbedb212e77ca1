//! What hangs on a column and cannot follow another one into its place.

use std::collections::BTreeSet;

use crate::catalog::{
    Constraint, ConstraintKind, Dependent, DependentKind, Replacement, Table, TableKind,
};

use super::super::Lowering;
use super::Replace;

impl Lowering<'_> {
    /// Refuses, naming each thing that would be lost.
    /// `taken` holds what other columns of the same group take along.
    pub(super) fn refuse_uncarried(
        &mut self,
        replace: &Replace<'_>,
        tried: &Replacement,
        taken: &mut BTreeSet<String>,
    ) {
        let (table, column) = (replace.table, replace.column);
        self.refuse_row_readers(table, &column.def.name);
        let left: Vec<Dependent> = column
            .dependents
            .iter()
            .filter(|dependent| {
                dependent.kind != DependentKind::GeneratedColumn
                    && !self.is_carried(&dependent.kind)
                    && !follows(tried, dependent)
            })
            .cloned()
            .collect();
        self.refuse_dependents(&replace.what(), &left, "replace");
        self.refuse_unusual(replace);
        self.refuse_trees(replace, tried);
        self.refuse_twice(replace, taken);
    }

    fn is_carried(&self, kind: &DependentKind) -> bool {
        match kind {
            DependentKind::Index
            | DependentKind::PrimaryKey
            | DependentKind::Unique
            | DependentKind::Check
            | DependentKind::ForeignKey
            | DependentKind::ReferencedByForeignKey
            | DependentKind::ReplicaIdentity => true,
            DependentKind::Exclusion
            | DependentKind::View
            | DependentKind::MaterializedView
            | DependentKind::Rule
            | DependentKind::Policy
            | DependentKind::TriggerColumns
            | DependentKind::TriggerWhen
            | DependentKind::GeneratedColumn
            | DependentKind::OwnedSequence
            | DependentKind::ExtendedStatistics
            | DependentKind::Function
            | DependentKind::PublicationColumns
            | DependentKind::PublicationFilter
            | DependentKind::PartitionKey
            | DependentKind::InheritedColumn
            | DependentKind::RowType
            | DependentKind::Unknown { .. } => false,
        }
    }

    /// Kinds of indexes and constraints that a definition does not make again.
    fn refuse_unusual(&mut self, replace: &Replace<'_>) {
        let hangs = |name: &str| {
            let mut dependents = replace.column.dependents.iter();
            dependents.any(|d| d.name == name && self.is_carried(&d.kind))
        };
        let mut found: Vec<(String, &str, &str)> = Vec::new();
        for index in &replace.table.indexes {
            if hangs(index.constraint.as_ref().unwrap_or(&index.name)) && !index.valid {
                found.push((
                    format!("index {}", index.name),
                    "is INVALID",
                    "Reindex or drop it first.",
                ));
            }
        }
        for constraint in &replace.table.constraints {
            if hangs(&constraint.name) && is_unusual(constraint) {
                found.push(unusual(constraint));
            }
        }
        for key in &replace.table.referenced_by {
            let from = self.catalog.tables.get(&key.table);
            let constraint =
                from.and_then(|t| t.constraints.iter().find(|c| c.name == key.constraint));
            if key.columns.contains(&replace.column.def.name)
                && let Some(constraint) = constraint.filter(|c| is_unusual(c))
            {
                found.push(unusual(constraint));
            }
        }
        for (what, is, way_out) in found {
            self.unsafe_(
                format!("cannot replace {}: {what} {is}", replace.what()),
                way_out,
            );
        }
    }

    /// Indexes and foreign keys of partitioned tables and of what inherits.
    fn refuse_trees(&mut self, replace: &Replace<'_>, tried: &Replacement) {
        let (table, column) = (replace.table, replace.column);
        // What is made for the whole table at the end has the old names.
        let keeps_name = replace.last == column.def.name;
        if table.kind == TableKind::Partitioned || !table.children.is_empty() {
            let built = tried.indexes.iter().map(|tried| &tried.name);
            let built =
                built.filter(|name| !(keeps_name && self.is_built_below(table, name.as_str())));
            let keys = tried
                .constraints
                .iter()
                .map(|tried| &tried.name)
                .filter(|name| is_foreign_key(table, name))
                .filter(|name| !(keeps_name && self.is_proven_below(table, name)));
            let pointing = tried.incoming.iter().map(|tried| &tried.name);
            let names: Vec<String> = built.chain(keys).chain(pointing).cloned().collect();
            for name in names {
                self.unsafe_(
                    format!("cannot replace {}: {name} would have to be built on {} and on each table below it", replace.what(), table.name),
                    "Drop it in an earlier plan, and build it again afterwards, partition by partition.",
                );
            }
        }
        for child in self.descendants(table) {
            let Some(below) = child.column(&column.def.name) else {
                continue;
            };
            let left: Vec<Dependent> = below
                .dependents
                .iter()
                .filter(|dependent| match dependent.kind {
                    DependentKind::InheritedColumn => false,
                    DependentKind::Check => {
                        !tried.constraints.iter().any(|t| t.name == dependent.name)
                    }
                    // A partition's part of what its parent has is told above.
                    DependentKind::Index | DependentKind::ForeignKey
                        if Self::belongs_above(table, &child, &dependent.name) =>
                    {
                        false
                    }
                    _ => !column.dependents.contains(dependent),
                })
                .cloned()
                .collect();
            let what = format!("{}.{}", child.name, column.def.name);
            self.refuse_dependents(&what, &left, "replace");
        }
        for key in &table.referenced_by {
            let from = self.catalog.tables.get(&key.table);
            let Some(from) = from.filter(|_| key.columns.contains(&column.def.name)) else {
                continue;
            };
            let reason = if !from.owned_by_us {
                format!("which belongs to role {}", from.owner)
            } else if from.kind != TableKind::Partitioned
                || keeps_name && self.is_proven_below(from, &key.constraint)
            {
                continue;
            } else if !keeps_name {
                "which is partitioned: with `as`, the table could not keep the foreign key's name"
                    .to_owned()
            } else if self.partitions(from).is_none() {
                "a partition of which is partitioned itself, a foreign table, or another role's"
                    .to_owned()
            } else {
                "which is partitioned, and the foreign key is not valid or not that of every partition".to_owned()
            };
            self.unsafe_(
                format!(
                    "cannot replace {}: foreign key {} belongs to {}, {reason}",
                    replace.what(),
                    key.constraint,
                    key.table
                ),
                "Drop it in an earlier plan, and add it again afterwards.",
            );
        }
        for constraint in &table.constraints {
            if let ConstraintKind::ForeignKey {
                columns,
                references,
                ..
            } = &constraint.kind
                && columns.contains(&column.def.name)
                && self
                    .catalog
                    .tables
                    .get(references)
                    .is_some_and(|to| to.kind == TableKind::Partitioned)
            {
                self.unsafe_(
                    format!("cannot replace {}: foreign key {} points at {references}, which is partitioned", replace.what(), constraint.name),
                    "Drop it in an earlier plan, and add it again afterwards.",
                );
            }
        }
    }

    /// What another operation of the plan has its hands on.
    fn refuse_twice(&mut self, replace: &Replace<'_>, taken: &mut BTreeSet<String>) {
        for dependent in &replace.column.dependents {
            if !self.is_carried(&dependent.kind) || dependent.kind == DependentKind::ReplicaIdentity
            {
                continue;
            }
            let on = match &dependent.kind {
                // The same constraint is named by the tables at both its ends.
                DependentKind::ReferencedByForeignKey => dependent.name.clone(),
                DependentKind::ForeignKey => {
                    format!("{} on {}", dependent.name, replace.table.name)
                }
                _ => format!("{} of {}", dependent.name, replace.table.name),
            };
            if !taken.insert(on.clone()) {
                continue;
            }
            if self.named_by_plan(&replace.table.name, &dependent.name)
                || !self.taken_along.insert(on)
            {
                self.unsafe_(
                    format!(
                        "cannot replace {}: another operation of the plan concerns {}, too",
                        replace.what(),
                        dependent.name
                    ),
                    "Use two plans, the second one after the first one's contract.",
                );
            }
        }
    }
}

/// It was tried whether this can follow.
fn follows(tried: &Replacement, dependent: &Dependent) -> bool {
    tried.followers.iter().any(|tried| match &tried.result {
        Ok(follower) => follower.kinds.contains(&dependent.kind) && follower.name == dependent.name,
        // The reason is told when it is its turn.
        Err(_) => tried.name.ends_with(&format!(" {}", dependent.name)),
    })
}

fn is_foreign_key(table: &Table, name: &str) -> bool {
    table
        .constraints
        .iter()
        .any(|c| c.name == name && matches!(c.kind, ConstraintKind::ForeignKey { .. }))
}

/// Kinds that a catalog does not hold whole.
pub(crate) fn is_unusual(constraint: &Constraint) -> bool {
    match &constraint.kind {
        ConstraintKind::Exclusion | ConstraintKind::Other { .. } => true,
        // SET NULL and SET DEFAULT of some columns only (15).
        ConstraintKind::ForeignKey { .. } => ["SET NULL (", "SET DEFAULT ("]
            .iter()
            .any(|words| constraint.definition.contains(words)),
        ConstraintKind::Check { .. }
        | ConstraintKind::Unique { .. }
        | ConstraintKind::PrimaryKey { .. } => false,
    }
}

fn unusual(constraint: &Constraint) -> (String, &'static str, &'static str) {
    (
        format!("constraint {} ({})", constraint.name, constraint.definition),
        "is of a kind that this version does not make again",
        "Drop it in an earlier plan, and add it again afterwards.",
    )
}
