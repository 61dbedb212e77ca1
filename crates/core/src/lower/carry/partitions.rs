//! Indexes and foreign keys of a partitioned table. What PostgreSQL would build
//! or prove in one go, under a lock, is built and proven partition by partition
//! before the cutover. There the same is made for the whole table, and the
//! server takes what the partitions have instead of building or proving it.
//!
//! A partition that comes during the run has nothing yet: the server does its
//! part in the cutover then, within the budget of the lock or not at all. One
//! that goes is left alone from then on.

use crate::catalog::{Constraint, Index, Table};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind, TableSetting};
use crate::step::{Change, Phase};

use super::super::Lowering;
use super::super::partitioned::{same_index, same_key};
use super::Replace;
use super::indexes::index_statistics;

/// No constraint, and not unique.
fn is_plain(index: &Index) -> bool {
    !index.unique && index.constraint.is_none()
}

impl Lowering<'_> {
    /// Each partition has a part of this index, which can be built alone.
    pub(super) fn is_built_below(&self, table: &Table, name: &str) -> bool {
        let index = table.indexes.iter().find(|index| index.name == name);
        let (Some(index), Some(partitions)) = (index, self.partitions(table)) else {
            return false;
        };
        is_plain(index)
            && partitions.iter().all(|partition| {
                let mut own = partition.indexes.iter();
                own.any(|own| same_index(own, index))
            })
    }

    /// Each partition has a part of this foreign key, which can be proven alone.
    pub(super) fn is_proven_below(&self, table: &Table, name: &str) -> bool {
        let key = table.constraints.iter().find(|key| key.name == name);
        let (Some(key), Some(partitions)) = (key, self.partitions(table)) else {
            return false;
        };
        key.validated
            && partitions.iter().all(|partition| {
                let mut own = partition.constraints.iter();
                own.any(|own| same_key(own, key))
            })
    }

    /// Builds the index on each partition, and makes the whole of them.
    pub(super) fn carry_index_below(
        &mut self,
        replace: &Replace<'_>,
        over: &Index,
        old: &Index,
        name: &str,
        all: &[Replace<'_>],
    ) {
        let partitions = self.partitions(replace.table).unwrap_or_default();
        self.on_each(
            &replace.table.name,
            &partitions,
            |this, number, partition| {
                let called = |own: &Index| format!("{} of {}", own.name, partition.name);
                // Two equal indexes of the table are two of the partition.
                let mut own = partition.indexes.iter();
                let own = own
                    .find(|own| same_index(own, old) && !this.taken_along.contains(&called(own)));
                let Some(own) = own else {
                    return;
                };
                this.taken_along.insert(called(own));
                let name = format!("{name}_{number}");
                let index = over.anew(&name, own);
                this.build(&partition.name, replace.second, index, own);
                this.afterwards(Change::Object {
                    what: ObjectChange::RenameIndex {
                        table: partition.name.clone(),
                        from: name,
                        to: own.name.clone(),
                    },
                });
                this.settle_index(partition, own, replace, all);
            },
        );
        self.afterwards(Change::Object {
            what: ObjectChange::IndexOverPartitions {
                table: replace.table.name.clone(),
                index: old.clone(),
            },
        });
        let table = &replace.table.name;
        for change in index_statistics(table, &old.name, old) {
            self.afterwards(change);
        }
        self.carry_comment(Object::Relation {
            name: TableName::new(&table.schema, &old.name),
            kind: RelationKind::Index,
        });
    }

    /// Adds and proves the foreign key on each partition, and makes the whole
    /// of them.
    pub(super) fn add_again_below(
        &mut self,
        table: &Table,
        over: &Constraint,
        old: &Constraint,
        name: &str,
        referenced: Option<&TableName>,
    ) {
        let partitions = self.partitions(table).unwrap_or_default();
        self.on_each(&table.name, &partitions, |this, number, partition| {
            let called = |own: &Constraint| format!("{} on {}", own.name, partition.name);
            let mut own = partition.constraints.iter();
            let own =
                own.find(|own| same_key(own, old) && !this.taken_along.contains(&called(own)));
            let Some(own) = own else {
                return;
            };
            this.taken_along.insert(called(own));
            let name = format!("{name}_{number}");
            this.before_cutover(
                Phase::Contract,
                format!("add constraint {} of {} again", own.name, partition.name),
                Change::AddConstraint {
                    table: partition.name.clone(),
                    constraint: Constraint {
                        name: name.clone(),
                        validated: false,
                        ..over.clone()
                    },
                    using_index: None,
                },
                Change::DropConstraint {
                    table: partition.name.clone(),
                    name: name.clone(),
                    referenced: referenced.cloned(),
                },
            );
            let step = format!(
                "prove that every row of {} meets {}",
                partition.name, own.name
            );
            this.validate(step, &partition.name, &name, referenced);
            this.afterwards(Change::SetTable {
                table: partition.name.clone(),
                setting: TableSetting::RenameConstraint {
                    from: name,
                    to: own.name.clone(),
                    inherited: false,
                },
            });
            this.carry_comment(Object::Constraint {
                table: partition.name.clone(),
                name: own.name.clone(),
            });
        });
        self.afterwards(Change::AddConstraint {
            table: table.name.clone(),
            constraint: old.clone(),
            using_index: None,
        });
        self.carry_comment(Object::Constraint {
            table: table.name.clone(),
            name: old.name.clone(),
        });
    }
}
