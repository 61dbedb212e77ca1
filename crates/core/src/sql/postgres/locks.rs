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
use crate::step::{Action, Change, Concurrent, LockMode, Sync};

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
                TableSetting::Statistics { .. } | TableSetting::Options { .. } => {
                    ShareUpdateExclusive
                }
                TableSetting::ReplicaIdentity { .. } | TableSetting::RenameConstraint { .. } => {
                    AccessExclusive
                }
            };
            vec![(table.clone(), mode)]
        }
        Change::Object { what } => object_locks(what),
        Change::DropSync { sync } => sync_tables(sync, AccessExclusive),
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
        // Only the index itself is locked.
        ObjectChange::RenameIndex { .. } => Vec::new(),
        ObjectChange::CreateSchema { .. }
        | ObjectChange::DropSchema { .. }
        | ObjectChange::CreateEnum { .. }
        | ObjectChange::DropType { .. }
        | ObjectChange::AddEnumValue { .. }
        | ObjectChange::RenameEnumValue { .. } => Vec::new(),
        // What its query reads is locked as every reader locks it.
        ObjectChange::CreateView { name, replace, .. } => match replace {
            true => vec![(name.clone(), LockMode::AccessExclusive)],
            false => Vec::new(),
        },
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
            TableSetting::Statistics { .. } => true,
            TableSetting::RenameConstraint { inherited, .. } => *inherited,
            TableSetting::Options { .. } | TableSetting::ReplicaIdentity { .. } => false,
        },
        Change::Object { .. }
        | Change::CreateTable { .. }
        | Change::CommentOnColumn { .. }
        | Change::GrantColumn { .. } => false,
    }
}

/// The locks of an action, strongest per table, in the order in which they
/// should be taken. A person's own SQL is unknown, and has none here.
pub fn action_locks(action: &Action) -> Vec<(TableName, LockMode)> {
    let all = match action {
        Action::Ddl(ddl) => ddl.changes.iter().flat_map(locks).collect(),
        Action::Concurrent(
            Concurrent::CreateIndex { table, .. }
            | Concurrent::DropIndex { table, .. }
            | Concurrent::Reindex { table, .. }
            | Concurrent::Analyze { table },
        ) => vec![(table.clone(), LockMode::ShareUpdateExclusive)],
        Action::Concurrent(Concurrent::Validate {
            table, referenced, ..
        }) => both(
            table,
            LockMode::ShareUpdateExclusive,
            referenced.as_ref(),
            LockMode::RowShare,
        ),
        Action::Sync(sync) => sync_tables(sync, LockMode::ShareRowExclusive),
        Action::Backfill(backfill) => vec![(backfill.table.clone(), LockMode::RowExclusive)],
        // A row that can be repaired beyond doubt is repaired.
        Action::Verify(verify) => vec![(verify.table.clone(), LockMode::RowExclusive)],
        Action::Sql(_) | Action::Wait(_) => Vec::new(),
    };
    strongest(all)
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
