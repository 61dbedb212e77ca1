//! A new index or foreign key of a partitioned table.
//!
//! PostgreSQL builds no index of a partitioned table concurrently, and proves
//! its foreign keys under a lock. So each partition gets its own first, and the
//! cutover makes the whole table's: the server then takes what the partitions
//! have instead of building or proving it. Until then each partition's can be
//! taken back by itself.
//!
//! A partition that comes in between has nothing yet: the server does its part
//! in the cutover, within the budget of the lock or not at all. One that goes is
//! no longer asked for: whoever keeps events by the day drops the oldest while a
//! run lasts. One that is detached keeps what it has got until then.

use super::Lowering;
use crate::catalog::{Constraint, ConstraintKind, Index, Table, TableKind};
use crate::name::TableName;
use crate::object::ObjectChange;
use crate::step::{Action, Change, Concurrent, Ddl, Partition, Phase};

/// Bytes of a name that PostgreSQL keeps.
const LONGEST_NAME: usize = 63;

/// The name of a partition's own index: `orders_2026_by_customer`, or a number
/// where that would be too long.
fn own_name(partition: &TableName, index: &str, number: usize) -> String {
    let name = format!("{}_{index}", partition.name);
    if name.len() <= LONGEST_NAME {
        return name;
    }
    cut(index, &format!("_{number}"))
}

/// A name that PostgreSQL keeps whole, of a beginning that may be cut.
pub(crate) fn cut(begin: &str, end: &str) -> String {
    let kept = begin.floor_char_boundary(LONGEST_NAME - end.len());
    format!("{}{end}", &begin[..kept])
}

/// The partition has its part of the index: the same one, under its own name.
pub(crate) fn same_index(one: &Index, other: &Index) -> bool {
    one.method == other.method
        && one.unique == other.unique
        && one.nulls_not_distinct == other.nulls_not_distinct
        && one.keys == other.keys
        && one.include == other.include
        && one.predicate == other.predicate
}

/// The partition has its part of the foreign key.
pub(super) fn same_key(one: &Constraint, other: &Constraint) -> bool {
    matches!(one.kind, ConstraintKind::ForeignKey { .. })
        && one.kind == other.kind
        && one.deferrable == other.deferrable
}

impl Lowering<'_> {
    /// The partitions of a table that is partitioned on one level, into
    /// ordinary tables of ours; `None` for any other table.
    pub(super) fn partitions(&self, table: &Table) -> Option<Vec<Table>> {
        if table.kind != TableKind::Partitioned {
            return None;
        }
        let children = table.children.iter().map(|name| {
            let child = self.catalog.tables.get(name)?;
            let plain = child.kind == TableKind::Ordinary && child.owned_by_us;
            plain.then(|| child.clone())
        });
        children.collect()
    }

    /// Does something to each of these partitions, as long as it is one when its
    /// turn comes.
    pub(super) fn on_each(
        &mut self,
        table: &TableName,
        partitions: &[Table],
        mut change: impl FnMut(&mut Self, usize, &Table),
    ) {
        for (number, partition) in partitions.iter().enumerate() {
            self.partition = Some(Partition {
                table: partition.name.clone(),
                of: table.clone(),
            });
            change(self, number + 1, partition);
        }
        self.partition = None;
    }

    /// The action on the partition at hand, or as it stands.
    pub(super) fn where_it_is(&self, action: Action) -> Action {
        match (action, &self.partition) {
            (Action::Ddl(ddl), Some(_)) => Action::Ddl(Ddl {
                changes: ddl
                    .changes
                    .into_iter()
                    .map(|change| self.changed_where_it_is(change))
                    .collect(),
                ..ddl
            }),
            (Action::Concurrent(statement), Some(partition)) => {
                Action::Concurrent(Concurrent::OnPartition {
                    partition: partition.clone(),
                    statement: Box::new(statement),
                })
            }
            (action, _) => action,
        }
    }

    /// The change on the partition at hand, or as it stands.
    pub(super) fn changed_where_it_is(&self, change: Change) -> Change {
        match &self.partition {
            Some(partition) => Change::OnPartition {
                partition: partition.clone(),
                what: Box::new(change),
            },
            None => change,
        }
    }

    /// The partition's index or foreign key of this name belongs to one of the
    /// whole table.
    pub(crate) fn belongs_above(table: &Table, partition: &Table, name: &str) -> bool {
        let index = partition.indexes.iter().find(|index| index.name == name);
        let key = partition.constraints.iter().find(|key| key.name == name);
        index.is_some_and(|own| table.indexes.iter().any(|above| same_index(own, above)))
            || key.is_some_and(|own| table.constraints.iter().any(|above| same_key(own, above)))
    }

    /// The partitions of a partitioned table, each an ordinary table of ours,
    /// or a refusal. `what` is what shall be made of them: `an index`.
    fn each_partition(&mut self, table: &Table, what: &str) -> Option<Vec<Table>> {
        let found = self.partitions(table);
        if found.is_none() {
            self.unsafe_(
                format!(
                    "a partition of {} is partitioned itself, a foreign table, or another role's, and this version makes {what} of ordinary partitions of ours",
                    table.name
                ),
                "Build it on each partition and attach it, with `sql` operations or by hand.",
            );
        }
        found
    }

    /// Builds the index on each partition; the cutover makes it the table's.
    pub fn index_below(&mut self, phase: Phase, table: &Table, index: Index) {
        let Some(partitions) = self.each_partition(table, "an index") else {
            return;
        };
        self.on_each(&table.name, &partitions, |this, number, partition| {
            let mut there = partition.indexes.iter();
            let there = there.find(|own| {
                own.valid
                    && same_index(own, &index)
                    && !Self::belongs_above(table, partition, &own.name)
            });
            if let Some(there) = there {
                this.note(format!(
                    "{} has such an index already, {}: at contract it becomes a part of {}.",
                    partition.name, there.name, index.name
                ));
                return;
            }
            let name = own_name(&partition.name, &index.name, number);
            this.new_relation_name(partition, &name);
            let own = Index {
                name: name.clone(),
                ..index.clone()
            };
            let step = format!("build index {name} on {}", partition.name);
            this.build_index(phase, step, &partition.name, own);
        });
        self.note(format!(
            "Each partition of {} has its part of {} before contract; contract makes the whole of them, which partitions that come later inherit.",
            table.name, index.name
        ));
        self.cutover(Change::Object {
            what: ObjectChange::IndexOverPartitions {
                table: table.name.clone(),
                index,
            },
        });
    }

    /// What is unique in a partitioned table is unique in each partition, so the
    /// columns by which rows are told to partitions have to be in it: refuses
    /// otherwise.
    pub fn holds_partition_key(&mut self, table: &Table, columns: &[String]) {
        let Some(partitioning) = &table.partitioning else {
            return;
        };
        if partitioning.expressions {
            self.unsafe_(
                format!(
                    "{} is partitioned by an expression, and PostgreSQL keeps nothing unique over such partitions",
                    table.name
                ),
                "Make it unique on each partition, with `sql` operations or by hand.",
            );
            return;
        }
        let missing = partitioning.columns.iter();
        let missing: Vec<String> = missing
            .filter(|column| !columns.contains(column))
            .cloned()
            .collect();
        if !missing.is_empty() {
            self.invalid(
                format!(
                    "{} is partitioned by {}, which is not among the unique columns",
                    table.name,
                    missing.join(", ")
                ),
                "PostgreSQL compares rows of one partition only. Add the columns of the partition key.",
            );
        }
    }

    /// Builds a unique index on each partition; in the cutover each becomes a
    /// constraint of its partition, and the one of the whole table takes them.
    pub(super) fn key_below(
        &mut self,
        table: &Table,
        name: &str,
        columns: &[String],
        kind: ConstraintKind,
    ) {
        self.holds_partition_key(table, columns);
        let Some(partitions) = self.each_partition(table, "a key") else {
            return;
        };
        self.on_each(&table.name, &partitions, |this, number, partition| {
            if this.has_own_key(partition, columns, &kind) {
                return;
            }
            let own = own_name(&partition.name, name, number);
            this.new_relation_name(partition, &own);
            this.new_constraint_name(partition, &own);
            this.unique_index(partition, &own, columns);
            this.key_of_index(partition, &own, kind.clone(), None, &own);
        });
        self.note(format!(
            "A partition of {} that comes before contract gets its part of {name} in the cutover, within `max_lock_duration` or not at all.",
            table.name
        ));
        self.cutover(Change::AddConstraint {
            table: table.name.clone(),
            constraint: Constraint {
                name: name.to_owned(),
                kind,
                validated: true,
                deferrable: None,
                definition: String::new(),
            },
            using_index: None,
        });
    }

    /// The partition has this key already: it becomes a part of the table's.
    /// One that the server would take for it, and that is another, is refused.
    fn has_own_key(
        &mut self,
        partition: &Table,
        columns: &[String],
        kind: &ConstraintKind,
    ) -> bool {
        for own in &partition.constraints {
            let (ConstraintKind::Unique { columns: over }
            | ConstraintKind::PrimaryKey { columns: over }) = &own.kind
            else {
                continue;
            };
            let mut behind = partition.indexes.iter();
            let more = behind.any(|index| {
                index.constraint.as_ref() == Some(&own.name)
                    && (!index.include.is_empty() || index.nulls_not_distinct)
            });
            if own.kind == *kind && own.deferrable.is_none() && !more {
                self.note(format!(
                    "{} has such a constraint already, {}: at contract it becomes a part of the table's.",
                    partition.name, own.name
                ));
                return true;
            }
            let two = [&own.kind, kind]
                .iter()
                .all(|kind| matches!(kind, ConstraintKind::PrimaryKey { .. }));
            if over.as_slice() == columns || two {
                self.unsafe_(
                    format!(
                        "partition {} has a constraint of its own, {}, which is in the way",
                        partition.name, own.name
                    ),
                    "Drop it before the plan: a partition has one primary key, and the server would take another constraint over the same columns for a part of this one.",
                );
            }
        }
        false
    }

    /// Adds and proves the foreign key on each partition; the cutover makes it
    /// the table's. `constraint` is the one of the table.
    pub fn foreign_key_below(
        &mut self,
        table: &Table,
        constraint: Constraint,
        referenced: &TableName,
    ) {
        let Some(partitions) = self.each_partition(table, "a foreign key") else {
            return;
        };
        self.on_each(&table.name, &partitions, |this, _, partition| {
            this.new_constraint_name(partition, &constraint.name);
            this.add_foreign_key(&partition.name, constraint.clone(), referenced);
        });
        self.cutover(Change::AddConstraint {
            table: table.name.clone(),
            constraint: Constraint {
                validated: true,
                ..constraint
            },
            using_index: None,
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lower::carry::tests::{compile, partitioned, refusals, shop};
    use crate::lower::fixtures::outline;

    #[test]
    fn partitions_come_first_and_the_cutover_makes_the_whole() {
        let operations = "  - add_index: {table: events, name: by_day, columns: [at]}
  - add_foreign_key: {table: events, name: events_order, columns: [order_id], references: {table: orders, columns: [id]}}";
        let lowered = compile(shop(partitioned()), operations).expect("the plan lowers");
        insta::assert_snapshot!("partitioned", outline(&lowered.program));
    }

    #[test]
    fn keys_are_made_of_those_of_partitions() {
        let mut tables = partitioned();
        tables[1].constraints.push(Constraint {
            name: "own".into(),
            kind: ConstraintKind::Unique {
                columns: vec!["order_id".into(), "at".into()],
            },
            validated: true,
            deferrable: None,
            definition: String::new(),
        });
        let key = "  - add_unique: {table: events, name: once, columns: [order_id, at]}";
        let operations = format!(
            "{key}\n  - add_primary_key: {{table: events, name: events_key, columns: [at, order_id]}}"
        );
        let lowered = compile(shop(tables.clone()), &operations).expect("the plan lowers");
        insta::assert_snapshot!("partitioned_keys", outline(&lowered.program));
        let key = key.replace("add_unique", "add_primary_key");
        let messages = refusals(shop(tables), &key);
        assert!(
            messages[0].contains("has a constraint of its own, own"),
            "{messages:?}"
        );
        let mut by_expression = partitioned();
        for table in &mut by_expression {
            if let Some(partitioning) = &mut table.partitioning {
                partitioning.expressions = true;
            }
        }
        let messages = refusals(shop(by_expression), &key);
        assert!(messages[0].contains("by an expression"), "{messages:?}");
    }

    #[test]
    fn what_cannot_be_made_of_partitions_is_refused() {
        let mut nested = partitioned();
        nested[0].kind = TableKind::Partitioned;
        let mut others = partitioned();
        others[1].owned_by_us = false;
        let mut taken = partitioned();
        taken[0].indexes[0].name = "events_a_by_day".into();
        let index = "{table: events, name: by_day, columns: [at]}";
        for (tables, index, told) in [
            (nested, index, "is partitioned itself"),
            (others, index, "another role's"),
            (taken, index, "already has a relation `events_a_by_day`"),
            (
                partitioned(),
                "{table: events, name: by_day, columns: [order_id], unique: true}",
                "is partitioned by at, which is not among the unique columns",
            ),
        ] {
            let messages = refusals(shop(tables), &format!("  - add_index: {index}"));
            assert!(messages.iter().any(|it| it.contains(told)), "{messages:?}");
        }
    }

    #[test]
    fn a_partitions_name_comes_first_and_long_ones_are_numbered() {
        let partition = TableName::new("public", "orders_2026");
        assert_eq!(own_name(&partition, "by_day", 1), "orders_2026_by_day");
        let long = "ü".repeat(31);
        let name = own_name(&partition, &long, 12);
        assert_eq!(name, format!("{}_12", "ü".repeat(30)));
        assert!(name.len() <= LONGEST_NAME);
    }
}
