//! What hangs on a table or column, and which operation may ignore it.

use crate::catalog::{Column, ConstraintKind, Dependent, DependentKind, Table};
use crate::name::TableName;
use crate::ops::Operation;

use super::Lowering;

/// Tables tied to this one by foreign keys, in either direction: dropping the
/// table locks them too.
pub fn related_tables(table: &Table) -> Vec<TableName> {
    let mut related: Vec<TableName> = table
        .constraints
        .iter()
        .filter_map(|constraint| match &constraint.kind {
            ConstraintKind::ForeignKey { references, .. } => Some(references.clone()),
            ConstraintKind::Check { .. }
            | ConstraintKind::Unique { .. }
            | ConstraintKind::PrimaryKey { .. }
            | ConstraintKind::Exclusion
            | ConstraintKind::Other { .. } => None,
        })
        .chain(table.referenced_by.iter().map(|key| key.table.clone()))
        .filter(|other| *other != table.name)
        .collect();
    related.sort();
    related.dedup();
    related
}

impl Lowering<'_> {
    /// The plan itself drops this constraint.
    pub fn dropped_by_plan(&self, constraint: &str, table: &TableName) -> bool {
        self.plan.operations.iter().any(|operation| {
            matches!(&operation.value, Operation::DropConstraint(drop)
                if drop.name == constraint && self.name(&drop.table) == *table)
        })
    }

    fn index_dropped_by_plan(&self, index: &str) -> bool {
        self.plan.operations.iter().any(|operation| {
            matches!(&operation.value, Operation::DropIndex(drop)
                if self.name(&drop.name).name == index)
        })
    }

    /// Refuses, naming each dependent. `what` is the thing they hang on.
    pub fn refuse_dependents(&mut self, what: &str, dependents: &[Dependent], verb: &str) {
        for dependent in dependents {
            let kind = describe(&dependent.kind);
            let hint = match &dependent.kind {
                DependentKind::Unknown { class } => format!(
                    "This version does not know dependents of class {class}. Remove it, or change the column by hand."
                ),
                DependentKind::Index => {
                    "Drop it in an earlier plan (`drop_index`) and build it again afterwards (`add_index`).".to_owned()
                }
                DependentKind::Check
                | DependentKind::Unique
                | DependentKind::PrimaryKey
                | DependentKind::Exclusion
                | DependentKind::ForeignKey
                | DependentKind::ReferencedByForeignKey => {
                    "Drop the constraint in an earlier plan (`drop_constraint`) and add it again afterwards.".to_owned()
                }
                DependentKind::View
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
                | DependentKind::ReplicaIdentity
                | DependentKind::PartitionKey
                | DependentKind::InheritedColumn
                | DependentKind::RowType => {
                    "Drop it before the plan and create it again afterwards.".to_owned()
                }
            };
            self.unsafe_(
                format!("cannot {verb} {what}: {kind} {} depends on it, and this version does not carry it over", dependent.name),
                hint,
            );
        }
    }

    /// Refuses what reads whole rows and so would see another shape, though it
    /// names no column.
    pub fn refuse_row_readers(&mut self, table: &Table, column: &str) {
        let readers: Vec<Dependent> = table.row_readers().cloned().collect();
        self.refuse_dependents(&format!("{}.{column}", table.name), &readers, "replace");
    }

    /// Refuses what would vanish or break with a dropped column, except what
    /// consists of that column alone or is dropped by the plan as well.
    pub fn refuse_dependents_of_dropped(&mut self, table: &Table, column: &Column) {
        let alone = |columns: &[String]| columns == [column.def.name.clone()];
        let remaining: Vec<Dependent> = column
            .dependents
            .iter()
            .filter(|dependent| match &dependent.kind {
                DependentKind::OwnedSequence => false,
                DependentKind::Index => {
                    let index = table.indexes.iter().find(|i| i.name == dependent.name);
                    let only_this = index.is_some_and(|index| {
                        index.predicate.is_none()
                            && index.include.is_empty()
                            && index
                                .keys
                                .iter()
                                .all(|key| key.column.as_deref() == Some(&column.def.name))
                    });
                    !only_this && !self.index_dropped_by_plan(&dependent.name)
                }
                DependentKind::Check
                | DependentKind::Unique
                | DependentKind::PrimaryKey
                | DependentKind::Exclusion
                | DependentKind::ForeignKey
                | DependentKind::ReferencedByForeignKey => {
                    let only_this = table.constraints.iter().any(|constraint| {
                        constraint.name == dependent.name
                            && match &constraint.kind {
                                ConstraintKind::Check { columns, .. }
                                | ConstraintKind::Unique { columns } => alone(columns),
                                ConstraintKind::PrimaryKey { .. }
                                | ConstraintKind::Exclusion
                                | ConstraintKind::ForeignKey { .. }
                                | ConstraintKind::Other { .. } => false,
                            }
                    });
                    !only_this && !self.dropped_by_plan(&dependent.name, &table.name)
                }
                DependentKind::View
                | DependentKind::MaterializedView
                | DependentKind::Rule
                | DependentKind::Policy
                | DependentKind::TriggerColumns
                | DependentKind::TriggerWhen
                | DependentKind::GeneratedColumn
                | DependentKind::ExtendedStatistics
                | DependentKind::Function
                | DependentKind::PublicationColumns
                | DependentKind::PublicationFilter
                | DependentKind::ReplicaIdentity
                | DependentKind::PartitionKey
                | DependentKind::InheritedColumn
                | DependentKind::RowType
                | DependentKind::Unknown { .. } => true,
            })
            .cloned()
            .collect();
        self.refuse_dependents(
            &format!("{}.{}", table.name, column.def.name),
            &remaining,
            "drop",
        );
    }
}

fn describe(kind: &DependentKind) -> &'static str {
    match kind {
        DependentKind::Index => "index",
        DependentKind::PrimaryKey => "primary key",
        DependentKind::Unique => "unique constraint",
        DependentKind::Check => "check constraint",
        DependentKind::Exclusion => "exclusion constraint",
        DependentKind::ForeignKey => "foreign key",
        DependentKind::ReferencedByForeignKey => "incoming foreign key",
        DependentKind::View => "view",
        DependentKind::MaterializedView => "materialized view",
        DependentKind::Rule => "rule",
        DependentKind::Policy => "row policy",
        DependentKind::TriggerColumns => "the column list of trigger",
        DependentKind::TriggerWhen => "the WHEN condition of trigger",
        DependentKind::GeneratedColumn => "generated column",
        DependentKind::OwnedSequence => "sequence",
        DependentKind::ExtendedStatistics => "extended statistics",
        DependentKind::Function => "function",
        DependentKind::PublicationColumns => "the column list of publication",
        DependentKind::PublicationFilter => "the row filter of publication",
        DependentKind::ReplicaIdentity => "replica identity",
        DependentKind::PartitionKey => "the partition key of",
        DependentKind::InheritedColumn => "inheritance from",
        DependentKind::RowType => "the row type's user",
        DependentKind::Unknown { .. } => "an unknown object,",
    }
}
