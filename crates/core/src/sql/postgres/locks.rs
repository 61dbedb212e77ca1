//! Which tables a change locks, and how.
//!
//! Only locks on tables that existed before are listed: they are what others
//! wait for. Those on indexes, sequences, functions and the catalogs are not;
//! neither are those on TOAST tables, which no statement names. Every claim
//! here is held against `pg_locks` on real servers by the engine's test
//! `locks`.

use crate::catalog::ConstraintKind;
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind, TableSetting};
use crate::sql::postgres::sync::lookup_of;
use crate::step::{Action, BackfillWork, Change, Concurrent, LockMode, Mapping, Rule, Sync};

/// The locks of a change, strongest per table, in the order in which they
/// should be taken.
///
/// Where [`recurses`] is true, the same mode is taken on every partition and
/// inheritance child of the first table; a change does not know them.
pub fn locks(change: &Change) -> Vec<(TableName, LockMode)> {
    use LockMode::{AccessExclusive, ShareRowExclusive, ShareUpdateExclusive};
    match change {
        // The foreign keys of the new table lock the tables they point to.
        Change::CreateTable { table } => table
            .constraints
            .iter()
            .filter_map(|constraint| match &constraint.kind {
                ConstraintKind::ForeignKey { references, .. } if *references != table.name => {
                    Some((references.clone(), ShareRowExclusive))
                }
                _ => None,
            })
            .collect(),
        Change::DropTable { table, related } => std::iter::once(table)
            .chain(related)
            .map(|name| (name.clone(), AccessExclusive))
            .collect(),
        Change::AddColumn { table, .. }
        | Change::DropColumn { table, .. }
        | Change::RenameColumn { table, .. }
        | Change::SetDefault { table, .. }
        | Change::SetNotNull { table, .. }
        | Change::DropNotNull { table, .. } => vec![(table.clone(), AccessExclusive)],
        Change::AddConstraint {
            table, constraint, ..
        } => match &constraint.kind {
            ConstraintKind::ForeignKey { references, .. } => both(
                table,
                ShareRowExclusive,
                Some(references),
                ShareRowExclusive,
            ),
            ConstraintKind::Check { .. }
            | ConstraintKind::Unique { .. }
            | ConstraintKind::PrimaryKey { .. }
            | ConstraintKind::Exclusion
            | ConstraintKind::Other { .. } => vec![(table.clone(), AccessExclusive)],
        },
        Change::DropConstraint {
            table, referenced, ..
        } => both(table, AccessExclusive, referenced.as_ref(), AccessExclusive),
        Change::CommentOnColumn { table, .. } => vec![(table.clone(), ShareUpdateExclusive)],
        // Since 18; before, GRANT locks no table.
        Change::GrantColumn { table, .. } => vec![(table.clone(), LockMode::AccessShare)],
        Change::SetTable { table, setting } => {
            let mode = match setting {
                TableSetting::Statistics { .. }
                | TableSetting::Options { .. }
                | TableSetting::ClusterOn { .. } => ShareUpdateExclusive,
                TableSetting::Column { clause, .. }
                    if clause.starts_with("SET STATISTICS") || clause.starts_with("SET (") =>
                {
                    ShareUpdateExclusive
                }
                TableSetting::Column { .. }
                | TableSetting::ReplicaIdentity { .. }
                | TableSetting::Rename { .. }
                | TableSetting::RenameConstraint { .. }
                | TableSetting::Identity { .. }
                | TableSetting::Storage { .. }
                | TableSetting::Compression { .. } => AccessExclusive,
            };
            vec![(table.clone(), mode)]
        }
        Change::Object { what } => object_locks(what),
        Change::DropSync { sync } => sync_tables(sync, AccessExclusive),
        Change::OnPartition { what, .. } => locks(what),
    }
}

fn object_locks(change: &ObjectChange) -> Vec<(TableName, LockMode)> {
    match change {
        ObjectChange::Comment { on, .. } => match on {
            Object::Relation {
                name,
                kind: RelationKind::Table | RelationKind::View | RelationKind::MaterializedView,
            } => vec![(name.clone(), LockMode::ShareUpdateExclusive)],
            Object::Constraint { table, .. }
            | Object::Trigger { table, .. }
            | Object::Policy { table, .. } => vec![(table.clone(), LockMode::AccessShare)],
            Object::Relation { .. }
            | Object::Schema { .. }
            | Object::Extension { .. }
            | Object::Role { .. }
            | Object::Type { .. } => Vec::new(),
        },
        ObjectChange::IndexOverPartitions { table, .. } => vec![(table.clone(), LockMode::Share)],
        ObjectChange::DropIndexOverPartitions { table, .. } => {
            vec![(table.clone(), LockMode::AccessExclusive)]
        }
        // Only the index itself is locked.
        ObjectChange::RenameIndex { .. }
        | ObjectChange::RenameIndexColumn { .. }
        | ObjectChange::IndexStatistics { .. } => Vec::new(),
        ObjectChange::Rehang { locks, .. } => locks.clone(),
        ObjectChange::MoveIdentity { table, .. } => {
            vec![(table.clone(), LockMode::AccessExclusive)]
        }
        // As GRANT.
        ObjectChange::HandOver { table, .. } => vec![(table.clone(), LockMode::AccessShare)],
        ObjectChange::CreateSchema { .. }
        | ObjectChange::DropSchema { .. }
        | ObjectChange::CreateEnum { .. }
        | ObjectChange::RenameType { .. }
        | ObjectChange::DropType { .. }
        | ObjectChange::AddEnumValue { .. }
        | ObjectChange::RenameEnumValue { .. } => Vec::new(),
        // What its query reads is locked as every reader locks it.
        ObjectChange::CreateView { name, replace, .. } => match replace {
            true => vec![(name.clone(), LockMode::AccessExclusive)],
            false => Vec::new(),
        },
        // On the view, in the transaction that makes it.
        ObjectChange::WriteThrough { .. } | ObjectChange::DropWriteThrough { .. } => Vec::new(),
        ObjectChange::DropView { name } => vec![(name.clone(), LockMode::AccessExclusive)],
        // Since 18; before, GRANT locks no table.
        ObjectChange::Grant { on, .. } | ObjectChange::Revoke { on, .. } => match on {
            Object::Relation {
                name,
                kind: RelationKind::Table | RelationKind::View | RelationKind::MaterializedView,
            } => vec![(name.clone(), LockMode::AccessShare)],
            _ => Vec::new(),
        },
    }
}

/// The change takes its first lock on every partition and inheritance child
/// of the table, too.
pub fn recurses(change: &Change) -> bool {
    match change {
        Change::DropTable { .. }
        | Change::AddColumn { .. }
        | Change::DropColumn { .. }
        | Change::RenameColumn { .. }
        | Change::SetDefault { .. }
        | Change::SetNotNull { .. }
        | Change::DropNotNull { .. }
        | Change::AddConstraint { .. }
        | Change::DropConstraint { .. }
        | Change::DropSync { .. } => true,
        Change::SetTable { setting, .. } => match setting {
            TableSetting::Statistics { .. } | TableSetting::Storage { .. } => true,
            TableSetting::Column { clause, .. } => !clause.starts_with("SET COMPRESSION"),
            TableSetting::Rename { tree, .. } => *tree,
            TableSetting::RenameConstraint { inherited, .. } => *inherited,
            TableSetting::Options { .. }
            | TableSetting::ClusterOn { .. }
            | TableSetting::ReplicaIdentity { .. }
            | TableSetting::Identity { .. }
            | TableSetting::Compression { .. } => false,
        },
        Change::Object { what } => matches!(
            what,
            ObjectChange::IndexOverPartitions { .. } | ObjectChange::DropIndexOverPartitions { .. }
        ),
        Change::OnPartition { what, .. } => recurses(what),
        Change::CreateTable { .. }
        | Change::CommentOnColumn { .. }
        | Change::GrantColumn { .. } => false,
    }
}

/// The locks of an action, strongest per table, in the order in which they
/// should be taken. A person's own SQL is unknown, and has none here.
pub fn action_locks(action: &Action) -> Vec<(TableName, LockMode)> {
    let all = match action {
        Action::Ddl(ddl) => ddl.changes.iter().flat_map(locks).collect(),
        Action::Concurrent(statement) => concurrent_locks(statement),
        Action::Sync(sync) => sync_tables(sync, LockMode::ShareRowExclusive),
        Action::Backfill(backfill) => {
            let mut locks = vec![(backfill.table.clone(), LockMode::RowExclusive)];
            if let BackfillWork::Mappings { mappings } = &backfill.work {
                locks.extend(twins(mappings, LockMode::RowExclusive));
                locks.extend(lookups(mappings, LockMode::RowExclusive));
            }
            locks
        }
        // A row that can be repaired beyond doubt is repaired.
        Action::Verify(verify) => std::iter::once((verify.table.clone(), LockMode::RowExclusive))
            .chain(twins(&verify.mappings, LockMode::AccessShare))
            .chain(lookups(&verify.mappings, LockMode::RowExclusive))
            .collect(),
        Action::Sql(_) | Action::Wait(_) => Vec::new(),
    };
    strongest(all)
}

/// Tables with equal rows, which are written or read along with the first.
fn twins(mappings: &[Mapping], mode: LockMode) -> impl Iterator<Item = (TableName, LockMode)> {
    mappings
        .iter()
        .filter_map(move |mapping| match &mapping.rule {
            Rule::Copied { twin, .. } => Some((twin.table.clone(), mode)),
            Rule::Pair { .. }
            | Rule::Fill { .. }
            | Rule::Derived { .. }
            | Rule::Referred { .. }
            | Rule::Omitted { .. } => None,
        })
}

/// Tables to which rows refer, and to which values are added.
fn lookups(mappings: &[Mapping], mode: LockMode) -> impl Iterator<Item = (TableName, LockMode)> {
    let tables = mappings.iter().filter_map(lookup_of);
    tables.map(move |lookup| (lookup.table.clone(), mode))
}

fn concurrent_locks(statement: &Concurrent) -> Vec<(TableName, LockMode)> {
    match statement {
        Concurrent::CreateIndex { table, .. }
        | Concurrent::DropIndex { table, .. }
        | Concurrent::Reindex { table, .. }
        | Concurrent::Analyze { table } => {
            vec![(table.clone(), LockMode::ShareUpdateExclusive)]
        }
        Concurrent::Validate {
            table, referenced, ..
        } => both(
            table,
            LockMode::ShareUpdateExclusive,
            referenced.as_ref(),
            LockMode::RowShare,
        ),
        // And on what else its query reads: as every reader.
        Concurrent::Fill { table, .. } => vec![(table.clone(), LockMode::AccessShare)],
        Concurrent::OnPartition { statement, .. } => concurrent_locks(statement),
    }
}

fn both(
    table: &TableName,
    mode: LockMode,
    other: Option<&TableName>,
    other_mode: LockMode,
) -> Vec<(TableName, LockMode)> {
    let mut locks = vec![(table.clone(), mode)];
    if let Some(other) = other.filter(|other| *other != table) {
        locks.push((other.clone(), other_mode));
    }
    locks
}

fn sync_tables(sync: &Sync, mode: LockMode) -> Vec<(TableName, LockMode)> {
    std::iter::once(&sync.table)
        .chain(&sync.children)
        .map(|table| (table.clone(), mode))
        .chain(lookups(&sync.mappings, mode))
        .collect()
}

/// Each table once, in the order of its first appearance.
fn strongest(locks: Vec<(TableName, LockMode)>) -> Vec<(TableName, LockMode)> {
    let mut result: Vec<(TableName, LockMode)> = Vec::new();
    for (table, mode) in locks {
        match result.iter_mut().find(|(name, _)| *name == table) {
            Some((_, known)) => *known = mode.max(*known),
            None => result.push((table, mode)),
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Ddl;

    #[test]
    fn the_strongest_lock_of_each_table_counts() {
        let table = TableName::new("public", "orders");
        let action = Action::Ddl(Ddl {
            changes: vec![
                Change::CommentOnColumn {
                    table: table.clone(),
                    column: "a".into(),
                    comment: None,
                },
                Change::DropConstraint {
                    table: table.clone(),
                    name: "orders_customer_fkey".into(),
                    referenced: Some(TableName::new("public", "customers")),
                },
            ],
            cutover: false,
        });
        assert_eq!(
            action_locks(&action),
            [
                (table, LockMode::AccessExclusive),
                (
                    TableName::new("public", "customers"),
                    LockMode::AccessExclusive
                ),
            ]
        );
    }
}
