//! Settings of tables, and what is no part of a table's shape.

use super::super::{
    Catalog, Column, ColumnDef, Dependent, DependentKind, Grant, ReplicaIdentity, Table,
};
use super::constraint::incoming;
use crate::name::TableName;
use crate::object::{Object, ObjectChange, ObjectFacts, Place, RelationKind, TableSetting};

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
                | Object::Extension { .. }
                | Object::Role { .. }
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
            ObjectChange::CreateSchema { name } => {
                self.create_object(&Object::Schema { name: name.clone() }, |_| {});
            }
            ObjectChange::DropSchema { name } => {
                self.drop_object(&Object::Schema { name: name.clone() });
            }
            ObjectChange::CreateEnum { name, labels } => {
                self.create_object(&Object::Type { name: name.clone() }, |facts| {
                    facts.kind = Some('e');
                    facts.labels.clone_from(labels);
                });
            }
            ObjectChange::DropType { name } => {
                self.drop_object(&Object::Type { name: name.clone() })
            }
            ObjectChange::AddEnumValue { name, value, place } => {
                if let Some(facts) = self.object_mut(&Object::Type { name: name.clone() }) {
                    let at = |label: &String| facts.labels.iter().position(|l| l == label);
                    let at = match place {
                        Some(Place::Before(label)) => at(label),
                        Some(Place::After(label)) => at(label).map(|at| at + 1),
                        None => None,
                    };
                    let at = at.unwrap_or(facts.labels.len());
                    facts.labels.insert(at, value.clone());
                }
            }
            ObjectChange::RenameEnumValue { name, from, to } => {
                if let Some(facts) = self.object_mut(&Object::Type { name: name.clone() }) {
                    for label in facts.labels.iter_mut().filter(|label| *label == from) {
                        label.clone_from(to);
                    }
                }
            }
            ObjectChange::CreateView {
                name,
                query,
                options,
                replace,
                more_columns,
                ..
            } => self.create_view(name, query, options, *replace, more_columns),
            ObjectChange::DropView { name } => {
                for kind in VIEW_KINDS {
                    self.drop_object(&Object::Relation {
                        name: name.clone(),
                        kind,
                    });
                }
                self.tables.remove(name);
                let view = name.to_string();
                for table in self.tables.values_mut() {
                    table.forget(&DependentKind::View, &view);
                }
            }
            ObjectChange::Grant { on, grant } => {
                if let Some(facts) = self.object_mut(on) {
                    give(&mut facts.grants, grant);
                }
                if let Object::Relation { name, .. } = on
                    && let Some(table) = self.tables.get_mut(name)
                {
                    give(&mut table.grants, grant);
                }
            }
            ObjectChange::Revoke { on, column, grant } => {
                if column.is_none()
                    && let Some(facts) = self.object_mut(on)
                {
                    take(&mut facts.grants, grant);
                }
                if let Object::Relation { name, .. } = on
                    && let Some(table) = self.tables.get_mut(name)
                {
                    // What is taken from a table is taken from its columns.
                    for found in &mut table.columns {
                        if column.as_ref().is_none_or(|name| *name == found.def.name) {
                            take(&mut found.grants, grant);
                        }
                    }
                    if column.is_none() {
                        take(&mut table.grants, grant);
                    }
                }
            }
            ObjectChange::RenameIndex { table, from, to } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.rename_index(from, to);
                }
            }
        }
    }

    fn create_object(&mut self, object: &Object, fill: impl FnOnce(&mut ObjectFacts)) {
        let asked = self
            .objects
            .iter_mut()
            .find(|answer| answer.object == *object);
        if let Some(answer) = asked {
            let mut facts = ObjectFacts {
                owned_by_us: true,
                ..ObjectFacts::default()
            };
            fill(&mut facts);
            answer.facts = Some(facts);
        }
    }

    fn drop_object(&mut self, object: &Object) {
        for answer in self.objects.iter_mut().filter(|a| a.object == *object) {
            answer.facts = None;
        }
    }

    fn create_view(
        &mut self,
        name: &TableName,
        query: &str,
        options: &[String],
        replace: bool,
        more_columns: &[(String, String)],
    ) {
        for kind in VIEW_KINDS {
            let object = Object::Relation {
                name: name.clone(),
                kind,
            };
            if !replace {
                self.create_object(&object, |facts| facts.kind = Some('v'));
            }
            if let Some(facts) = self.object_mut(&object) {
                facts.definition = Some(query.to_owned());
                facts.options = options.to_vec();
            }
        }
        let Some(view) = self.tables.get_mut(name).filter(|_| replace) else {
            return;
        };
        for (column, type_name) in more_columns {
            let position = view.columns.iter().map(|c| c.position).max().unwrap_or(0) + 1;
            view.columns.push(Column {
                def: ColumnDef {
                    name: column.clone(),
                    type_name: type_name.clone(),
                    collation: None,
                    nullable: true,
                    default: None,
                    identity: None,
                    generated: None,
                    comment: None,
                },
                position,
                base_type: super::base_type(type_name),
                not_null_domain: false,
                settings: Vec::new(),
                grants: Vec::new(),
                dependents: Vec::new(),
            });
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

/// What a view may have been asked for as.
const VIEW_KINDS: [RelationKind; 2] = [RelationKind::View, RelationKind::Any];

/// A grant that is there is only widened.
pub(super) fn give(grants: &mut Vec<Grant>, grant: &Grant) {
    let same = grants
        .iter_mut()
        .find(|present| present.grantee == grant.grantee && present.privilege == grant.privilege);
    match same {
        Some(present) => present.grantable |= grant.grantable,
        None => grants.push(grant.clone()),
    }
    grants.sort();
}

fn take(grants: &mut Vec<Grant>, grant: &Grant) {
    let same =
        |present: &Grant| present.grantee == grant.grantee && present.privilege == grant.privilege;
    if grant.grantable {
        for present in grants.iter_mut().filter(|present| same(present)) {
            present.grantable = false;
        }
    } else {
        grants.retain(|present| !same(present));
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
