//! Indexes over a column that is replaced, those behind UNIQUE and PRIMARY KEY
//! included.
//!
//! Each is built concurrently over the second column. A plain one is there
//! before the gate of contract, where new versions may read by it already; a
//! unique one is a demand, and demands land in contract (decision 9). Dropping
//! the column drops the old index, and the new one takes its name.

use std::collections::BTreeSet;

use crate::catalog::{
    Constraint, ConstraintKind, Index, Replacement, ReplicaIdentity, Table, TableKind, Tried,
};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind, TableSetting};
use crate::step::{Change, Phase, Undo};

use super::super::Lowering;
use super::super::context::ddl;
use super::Replace;

impl Lowering<'_> {
    /// Builds each index over the second column, and names it in the cutover.
    pub(super) fn carry_indexes(
        &mut self,
        replace: &Replace<'_>,
        tried: &Replacement,
        all: &[Replace<'_>],
        done: &mut BTreeSet<String>,
    ) {
        for (number, tried) in tried.indexes.iter().enumerate() {
            if done.insert(format!("{} of {}", tried.name, replace.table.name)) {
                self.carry_index(replace, number + 1, tried, all);
            }
        }
    }

    fn carry_index(
        &mut self,
        replace: &Replace<'_>,
        number: usize,
        tried: &Tried<Index>,
        all: &[Replace<'_>],
    ) {
        let table = &replace.table.name;
        let Some(old) = replace.table.indexes.iter().find(|i| i.name == tried.name) else {
            return;
        };
        let what = format!("index {}", old.name);
        let Some(over) = self.carried_over(replace, &what, tried.result.clone()) else {
            return;
        };
        let backed = replace
            .table
            .constraints
            .iter()
            .find(|constraint| Some(&constraint.name) == old.constraint.as_ref());
        let name = self.artifact(&replace.own(&format!("index_{number}")));
        if replace.table.kind == TableKind::Partitioned {
            self.carry_index_below(replace, &over, old, &name, all);
            return;
        }
        self.build(table, replace.second, over.anew(&name, old), old);
        match backed {
            Some(constraint) => self.adopt(replace, constraint, &name),
            None => self.afterwards(Change::Object {
                what: ObjectChange::RenameIndex {
                    table: table.clone(),
                    from: name,
                    to: old.name.clone(),
                },
            }),
        }
        self.settle_index(replace.table, old, replace, all);
    }

    /// Once it has its name: what a definition does not tell.
    pub(super) fn settle_index(
        &mut self,
        table: &Table,
        old: &Index,
        of: &Replace<'_>,
        all: &[Replace<'_>],
    ) {
        let here = all.iter().filter(|r| r.table.name == of.table.name);
        for replace in here.filter(|r| r.second != r.last) {
            self.afterwards(Change::Object {
                what: ObjectChange::RenameIndexColumn {
                    table: table.name.clone(),
                    index: old.name.clone(),
                    from: replace.second.to_owned(),
                    to: replace.last.to_owned(),
                },
            });
        }
        self.carry_comment(Object::Relation {
            name: TableName::new(&table.name.schema, &old.name),
            kind: RelationKind::Index,
        });
        if old.settings.clustered {
            self.afterwards(Change::SetTable {
                table: table.name.clone(),
                setting: TableSetting::ClusterOn {
                    index: old.name.clone(),
                },
            });
        }
        if table.replica_identity == ReplicaIdentity::Index(old.name.clone()) {
            self.afterwards(Change::SetTable {
                table: table.name.clone(),
                setting: TableSetting::ReplicaIdentity {
                    identity: ReplicaIdentity::Index(old.name.clone()),
                },
            });
        }
    }

    pub(super) fn build(&mut self, table: &TableName, second: &str, index: Index, old: &Index) {
        let phase = if index.unique {
            Phase::Contract
        } else {
            Phase::Verify
        };
        let name = index.name.clone();
        let step = format!("build index {} over {table}.{second}", old.name);
        self.build_index(phase, step, table, index);
        if old.settings.statistics.is_empty() {
            return;
        }
        let action = ddl(index_statistics(table, &name, old).collect());
        self.step(
            phase,
            format!("set the statistics targets of index {}", old.name),
            action,
            Undo::Nothing,
        );
    }

    /// The constraint is made of the index, which takes its name.
    fn adopt(&mut self, replace: &Replace<'_>, constraint: &Constraint, index: &str) {
        if constraint.deferrable.is_some() {
            self.note(format!(
                "While contract lasts, a unique index checks {} at once, though constraint {} may be deferred: a transaction that needs it deferred fails meanwhile.",
                replace.what(),
                constraint.name
            ));
        }
        let mut kind = constraint.kind.clone();
        if let ConstraintKind::Unique { columns } | ConstraintKind::PrimaryKey { columns } =
            &mut kind
        {
            for column in columns
                .iter_mut()
                .filter(|name| **name == replace.column.def.name)
            {
                replace.last.clone_into(column);
            }
        }
        self.afterwards(Change::AddConstraint {
            table: replace.table.name.clone(),
            constraint: Constraint {
                kind,
                definition: String::new(),
                ..constraint.clone()
            },
            using_index: Some(index.to_owned()),
        });
        self.carry_comment(Object::Constraint {
            table: replace.table.name.clone(),
            name: constraint.name.clone(),
        });
    }
}

/// The statistics targets of an index, set on one of this name.
pub fn index_statistics(table: &TableName, name: &str, of: &Index) -> impl Iterator<Item = Change> {
    of.settings
        .statistics
        .iter()
        .map(|(key, target)| Change::Object {
            what: ObjectChange::IndexStatistics {
                table: table.clone(),
                index: name.to_owned(),
                key: *key,
                target: *target,
            },
        })
}
