//! What hangs on a table or column, and which operation may ignore it.

use crate::catalog::{Column, ConstraintKind, Dependent, DependentKind, Table};
use crate::name::TableName;
use crate::ops::Operation;
use crate::ops::common::TableRef;

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

    /// The plan gives the table another primary key.
    pub fn key_replaced_by_plan(&self, table: &TableName) -> bool {
        self.plan.operations.iter().any(|operation| {
            matches!(&operation.value, Operation::ReplacePrimaryKey(replace)
                if self.name(&replace.table) == *table)
        })
    }

    /// The plan itself drops this index.
    pub fn index_dropped_by_plan(&self, index: &str) -> bool {
        self.plan.operations.iter().any(|operation| {
            matches!(&operation.value, Operation::DropIndex(drop)
                if self.name(&drop.name).name == index)
        })
    }

    /// An operation of the plan names this index or constraint of the table. A
    /// foreign key of another table is told as `name on table`.
    pub fn named_by_plan(&self, table: &TableName, name: &str) -> bool {
        let (name, of) = match name.split_once(" on ") {
            Some((name, of)) => (name, of.to_owned()),
            None => (name, table.to_string()),
        };
        let is_it = |on: &TableRef, what: &str| what == name && self.name(on).to_string() == of;
        let is_index = |index: &TableRef| self.name(index) == TableName::new(&table.schema, name);
        let mut operations = self.plan.operations.iter();
        operations.any(|operation| match &operation.value {
            Operation::DropConstraint(drop) => is_it(&drop.table, &drop.name),
            Operation::RenameConstraint(rename) => is_it(&rename.table, &rename.from),
            Operation::ReplaceIndex(replace) => is_it(&replace.table, &replace.name),
            Operation::ValidateConstraint(validate) => is_it(&validate.table, &validate.name),
            Operation::DropIndex(drop) => is_index(&drop.name),
            Operation::RenameIndex(rename) => is_index(&rename.name),
            Operation::Reindex(reindex) => reindex.name.as_ref().is_some_and(is_index),
            _ => false,
        })
    }

    /// An operation of the plan sets something of this column, or drops it.
    pub fn column_named_by_plan(&self, table: &TableName, column: &str) -> bool {
        let is_it = |on: &TableRef, named: &str| named == column && self.name(on) == *table;
        let among = |on: &Option<TableRef>, named: &[String]| {
            let mut named = named.iter();
            on.as_ref()
                .is_some_and(|on| named.any(|name| is_it(on, name)))
        };
        let mut operations = self.plan.operations.iter();
        operations.any(|operation| match &operation.value {
            Operation::DropColumn(drop) => is_it(&drop.table, &drop.column),
            Operation::DropColumns(drop) => {
                drop.columns.iter().any(|name| is_it(&drop.table, name))
            }
            Operation::SetComment(set) => among(&set.table, set.column.as_slice()),
            Operation::SetStatistics(set) => is_it(&set.table, &set.column),
            Operation::Grant(grant) => among(&grant.table, &grant.columns),
            Operation::Revoke(revoke) => among(&revoke.table, &revoke.columns),
            _ => false,
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
    /// consists of the columns that are dropped `together`, or is dropped by
    /// the plan as well.
    pub fn refuse_dependents_of_dropped(
        &mut self,
        table: &Table,
        column: &Column,
        together: &[&str],
    ) {
        let goes = |name: &String| together.contains(&name.as_str());
        let remaining: Vec<Dependent> = column
            .dependents
            .iter()
            .filter(|dependent| match &dependent.kind {
                DependentKind::OwnedSequence => false,
                DependentKind::Index => {
                    let index = table.indexes.iter().find(|i| i.name == dependent.name);
                    let only_this = index.is_some_and(|index| {
                        index.predicate.is_none()
                            && index.include.iter().all(goes)
                            && index
                                .keys
                                .iter()
                                .all(|key| key.column.as_ref().is_some_and(goes))
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
                                | ConstraintKind::Unique { columns } => columns.iter().all(goes),
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

pub(super) fn describe(kind: &DependentKind) -> &'static str {
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
