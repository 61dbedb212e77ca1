//! Settings of tables, and what is no part of a table's shape.

use super::super::{
    Catalog, Column, ColumnDef, Dependent, DependentKind, Grant, ReplicaIdentity, Table,
};
use super::constraint::incoming;
use crate::name::TableName;
use crate::object::{
    Hanging, Object, ObjectChange, ObjectFacts, Place, RelationKind, TableSetting, TypeUses,
};

/// A column's statistics target among its settings.
const STATISTICS: &str = "SET STATISTICS ";
/// Its storage, where it is not that of its type.
const STORAGE: &str = "SET STORAGE ";
/// Its compression, where it is not the server's default.
const COMPRESSION: &str = "SET COMPRESSION ";
/// The order in which a server's catalog tells them.
const SETTINGS: [&str; 4] = [STATISTICS, STORAGE, COMPRESSION, "SET ("];

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

    /// Replaces the setting of a column that begins with `word`.
    fn set_column(&mut self, table: &TableName, column: &str, word: &str, text: Option<String>) {
        let Some(found) = self.column_mut(table, column) else {
            return;
        };
        found.settings.retain(|text| !text.starts_with(word));
        if let Some(text) = text {
            let rank = |text: &str| {
                SETTINGS
                    .iter()
                    .position(|word| text.starts_with(word))
                    .unwrap_or(SETTINGS.len())
            };
            let own = rank(&text);
            let place = found
                .settings
                .iter()
                .filter(|other| rank(other) < own)
                .count();
            found.settings.insert(place, text);
        }
    }

    pub(super) fn set_table(&mut self, name: &TableName, setting: &TableSetting) {
        match setting {
            TableSetting::Statistics { column, target } => {
                let text = (*target >= 0).then(|| format!("{STATISTICS}{target}"));
                for table in self.tree(name) {
                    self.set_column(&table, column, STATISTICS, text.clone());
                }
            }
            TableSetting::Identity {
                column, identity, ..
            } => {
                if let Some(found) = self.column_mut(name, column) {
                    found.def.default = None;
                    found.def.identity = Some(*identity);
                    found
                        .dependents
                        .retain(|dependent| dependent.kind != DependentKind::OwnedSequence);
                }
            }
            TableSetting::Storage {
                column,
                storage,
                type_default,
            } => {
                let text =
                    (storage != type_default).then(|| format!("{STORAGE}{}", storage.word()));
                for table in self.tree(name) {
                    self.set_column(&table, column, STORAGE, text.clone());
                }
            }
            TableSetting::Compression { column, method } => {
                let text = method
                    .as_ref()
                    .map(|method| format!("{COMPRESSION}{method}"));
                self.set_column(name, column, COMPRESSION, text);
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
            TableSetting::Column { column, clause } => {
                let word = SETTINGS.iter().find(|word| clause.starts_with(**word));
                // A compression is not handed down.
                let tables = match word {
                    Some(&COMPRESSION) => vec![name.clone()],
                    _ => self.tree(name),
                };
                for table in tables {
                    self.set_column(&table, column, word.unwrap_or(&""), Some(clause.clone()));
                }
            }
            TableSetting::ClusterOn { index } => {
                for found in self
                    .tables
                    .get_mut(name)
                    .into_iter()
                    .flat_map(|t| &mut t.indexes)
                {
                    found.settings.clustered = found.name == *index;
                }
            }
            TableSetting::ReplicaIdentity { identity } => {
                if let Some(table) = self.tables.get_mut(name) {
                    table.set_replica_identity(identity);
                }
            }
            TableSetting::Rename { to, .. } => self.rename_table(name, to),
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
            ObjectChange::CreateEnum {
                name,
                labels,
                owner,
            } => {
                self.create_object(&Object::Type { name: name.clone() }, |facts| {
                    facts.kind = Some('e');
                    facts.labels.clone_from(labels);
                    facts.owner = owner.clone().unwrap_or_default();
                    // What every new type has; one that is made for another
                    // owner has what is granted afterwards.
                    let public = owner.is_none().then(|| Grant {
                        grantee: None,
                        privilege: "USAGE".to_owned(),
                        grantable: false,
                    });
                    facts.grants = public.into_iter().collect();
                    facts.uses = Some(TypeUses {
                        columns: Vec::new(),
                        others: Vec::new(),
                    });
                });
            }
            ObjectChange::RenameType { name, to } => self.rename_type(name, to),
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
            // Functions and triggers of ours count for no comparison.
            ObjectChange::WriteThrough { .. } | ObjectChange::DropWriteThrough { .. } => {}
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
            ObjectChange::Rehang { off, on, .. } => self.rehang(off, on),
            ObjectChange::MoveIdentity {
                table,
                column,
                identity,
                ..
            } => self.each_column(table, column, |def| {
                def.identity = Some(*identity);
                def.nullable = false;
            }),
            ObjectChange::IndexOverPartitions { table, index } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.add_index(index.clone());
                }
            }
            ObjectChange::DropIndexOverPartitions { table, index } => {
                for name in self.tree(table) {
                    let Some(on) = self.tables.get_mut(&name) else {
                        continue;
                    };
                    let mut parts = on.indexes.iter();
                    let part = match name == *table {
                        true => Some(index.name.clone()),
                        false => parts
                            .find(|own| crate::lower::same_index(own, index))
                            .map(|own| own.name.clone()),
                    };
                    if let Some(part) = part {
                        on.drop_index(&part);
                    }
                }
            }
            // What is granted while a run lasts is in no catalog yet.
            ObjectChange::HandOver { .. } => {}
            // A catalog spells an index's keys as its table does.
            ObjectChange::RenameIndexColumn { .. } => {}
            ObjectChange::IndexStatistics {
                table,
                index,
                key,
                target,
            } => {
                let table = self.tables.get_mut(table);
                let found = table.and_then(|t| t.indexes.iter_mut().find(|i| i.name == *index));
                if let Some(found) = found {
                    let targets = &mut found.settings.statistics;
                    targets.retain(|(known, _)| known != key);
                    targets.extend((*target >= 0).then_some((*key, *target)));
                    targets.sort_unstable();
                }
            }
            ObjectChange::RenameIndex { table, from, to } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.rename_index(from, to);
                }
            }
        }
    }

    /// Something hangs elsewhere from now on.
    fn rehang(&mut self, off: &[Hanging], on: &[Hanging]) {
        for hanging in off {
            if let Some(table) = self.tables.get_mut(&hanging.table) {
                let Dependent { kind, name } = &hanging.dependent;
                table.forget(kind, name);
            }
        }
        for hanging in on {
            let Some(table) = self.tables.get_mut(&hanging.table) else {
                continue;
            };
            let Dependent { kind, name } = &hanging.dependent;
            match &hanging.column {
                Some(column) => table.depend(std::slice::from_ref(column), kind.clone(), name),
                None if table.dependents.contains(&hanging.dependent) => {}
                None => {
                    table.dependents.push(hanging.dependent.clone());
                    table.dependents.sort();
                }
            }
        }
        for hanging in on {
            if let Some(table) = self.tables.get_mut(&hanging.table) {
                table.list_columns(&hanging.dependent);
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
                type_default: false,
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
    /// A trigger and a publication list the columns that they hang on. When one
    /// came in the place of another, the list says so.
    fn list_columns(&mut self, dependent: &Dependent) {
        let hung: Vec<String> = self
            .columns
            .iter()
            .filter(|column| column.dependents.contains(dependent))
            .map(|column| column.def.name.clone())
            .collect();
        let name = &dependent.name;
        match dependent.kind {
            DependentKind::TriggerColumns => {
                for trigger in self.triggers.iter_mut().filter(|t| t.name == *name) {
                    let new = hung.iter().find(|column| !trigger.columns.contains(column));
                    let old = trigger
                        .columns
                        .iter_mut()
                        .find(|column| !hung.contains(column));
                    if let (Some(new), Some(old)) = (new.cloned(), old) {
                        *old = new;
                    }
                }
            }
            DependentKind::PublicationColumns => {
                for publication in self.publications.iter_mut().filter(|p| p.name == *name) {
                    publication.columns = Some(hung.clone());
                }
            }
            _ => {}
        }
    }

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

    pub(super) fn rename_dependent(&mut self, kind: &DependentKind, from: &str, to: &str) {
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
