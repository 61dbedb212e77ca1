//! Settings of tables, and what is no part of a table's shape.

use super::super::{Catalog, Dependent, DependentKind, ReplicaIdentity, Table};
use super::constraint::incoming;
use crate::name::TableName;
use crate::object::{Object, ObjectChange, ObjectFacts, RelationKind, TableSetting};

/// A column's statistics target among its settings.
const STATISTICS: &str = "SET STATISTICS ";

impl Catalog {
    /// What was asked of something and found.
    fn object_mut(&mut self, object: &Object) -> Option<&mut ObjectFacts> {
        self.objects
            .iter_mut()
            .find(|answer| answer.object == *object)?
            .facts
            .as_mut()
    }

    /// Answers about what went with a table, a column or a constraint.
    pub(super) fn forget_gone(&mut self) {
        let tables = &self.tables;
        for answer in &mut self.objects {
            let there = match &answer.object {
                Object::Relation {
                    name,
                    kind: RelationKind::Table,
                } => tables.contains_key(name),
                Object::Relation {
                    name,
                    kind: RelationKind::Index,
                } => tables.values().any(|table| {
                    table.name.schema == name.schema
                        && table.indexes.iter().any(|index| index.name == name.name)
                }),
                Object::Constraint { table, name } => tables
                    .get(table)
                    .is_some_and(|table| table.constraints.iter().any(|c| c.name == *name)),
                Object::Trigger { table, name } => tables
                    .get(table)
                    .is_some_and(|table| table.triggers.iter().any(|t| t.name == *name)),
                Object::Relation { .. }
                | Object::Policy { .. }
                | Object::Schema { .. }
                | Object::Type { .. } => true,
            };
            if !there {
                answer.facts = None;
            }
        }
    }

    pub(super) fn set_table(&mut self, name: &TableName, setting: &TableSetting) {
        match setting {
            TableSetting::Statistics { column, target } => {
                for table in self.tree(name) {
                    let Some(found) = self.column_mut(&table, column) else {
                        continue;
                    };
                    found.settings.retain(|text| !text.starts_with(STATISTICS));
                    if *target >= 0 {
                        found.settings.insert(0, format!("{STATISTICS}{target}"));
                    }
                }
            }
            TableSetting::Options { set, reset } => {
                let object = Object::Relation {
                    name: name.clone(),
                    kind: RelationKind::Table,
                };
                if let Some(facts) = self.object_mut(&object) {
                    facts.options.retain(|option| {
                        let name = option.split('=').next().unwrap_or_default();
                        !reset.iter().any(|reset| reset == name)
                            && !set.iter().any(|(set, _)| set == name)
                    });
                    let set = set.iter().map(|(name, value)| format!("{name}={value}"));
                    facts.options.extend(set);
                    facts.options.sort();
                }
            }
            TableSetting::ReplicaIdentity { identity } => {
                if let Some(table) = self.tables.get_mut(name) {
                    table.set_replica_identity(identity);
                }
            }
            TableSetting::RenameConstraint {
                from,
                to,
                inherited,
            } => {
                let tables = match inherited {
                    true => self.tree(name),
                    false => vec![name.clone()],
                };
                for table in tables {
                    self.rename_constraint(&table, from, to);
                }
            }
        }
    }

    pub(super) fn apply_object(&mut self, change: &ObjectChange) {
        match change {
            ObjectChange::Comment { on, comment } => {
                if let Some(facts) = self.object_mut(on) {
                    facts.comment.clone_from(comment);
                }
                if let Object::Relation { name, .. } = on
                    && let Some(table) = self.tables.get_mut(name)
                {
                    table.comment.clone_from(comment);
                }
            }
            ObjectChange::RenameIndex { table, from, to } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.rename_index(from, to);
                }
            }
        }
    }

    fn rename_constraint(&mut self, name: &TableName, from: &str, to: &str) {
        let Some(table) = self.tables.get_mut(name) else {
            return;
        };
        let Some(constraint) = table.constraints.iter_mut().find(|c| c.name == from) else {
            return;
        };
        constraint.name = to.to_owned();
        table.constraints.sort_by(|a, b| a.name.cmp(&b.name));
        for kind in [
            DependentKind::PrimaryKey,
            DependentKind::Unique,
            DependentKind::Check,
            DependentKind::Exclusion,
            DependentKind::ForeignKey,
        ] {
            table.rename_dependent(&kind, from, to);
        }
        let backing = table
            .indexes
            .iter_mut()
            .find(|index| index.constraint.as_deref() == Some(from));
        if let Some(index) = backing {
            index.constraint = Some(to.to_owned());
            let index = index.name.clone();
            table.rename_index(&index, to);
        }
        // The tables that a foreign key points at know it by name.
        let (before, after) = (incoming(from, name), incoming(to, name));
        for other in self.tables.values_mut() {
            for key in &mut other.referenced_by {
                if key.table == *name && key.constraint == from {
                    key.constraint = to.to_owned();
                }
            }
            other.rename_dependent(&DependentKind::ReferencedByForeignKey, &before, &after);
        }
    }
}

impl Table {
    fn rename_index(&mut self, from: &str, to: &str) {
        let Some(index) = self.indexes.iter_mut().find(|index| index.name == from) else {
            return;
        };
        index.name = to.to_owned();
        self.indexes.sort_by(|a, b| a.name.cmp(&b.name));
        for kind in [DependentKind::Index, DependentKind::ReplicaIdentity] {
            self.rename_dependent(&kind, from, to);
        }
        if self.replica_identity == ReplicaIdentity::Index(from.to_owned()) {
            self.replica_identity = ReplicaIdentity::Index(to.to_owned());
        }
    }

    fn set_replica_identity(&mut self, identity: &ReplicaIdentity) {
        if let ReplicaIdentity::Index(old) = &self.replica_identity {
            let old = old.clone();
            self.forget(&DependentKind::ReplicaIdentity, &old);
        }
        self.replica_identity = identity.clone();
        if let ReplicaIdentity::Index(name) = identity {
            let keys: Vec<String> = self
                .indexes
                .iter()
                .filter(|index| index.name == *name)
                .flat_map(|index| index.keys.iter().filter_map(|key| key.column.clone()))
                .collect();
            self.depend(&keys, DependentKind::ReplicaIdentity, name);
        }
    }

    fn rename_dependent(&mut self, kind: &DependentKind, from: &str, to: &str) {
        let lists = self
            .columns
            .iter_mut()
            .map(|column| &mut column.dependents)
            .chain([&mut self.dependents]);
        for list in lists {
            for dependent in list.iter_mut() {
                if dependent.kind == *kind && dependent.name == from {
                    *dependent = Dependent {
                        kind: kind.clone(),
                        name: to.to_owned(),
                    };
                }
            }
            list.sort();
        }
    }
}
