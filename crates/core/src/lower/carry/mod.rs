//! A column in the place of another, with everything that hung on it.
//!
//! [`Lowering::replace`] is the whole of it: a second column is added, kept in
//! step and proven; what hangs on the first one is built again over the second
//! one, under a name of ours, while nobody waits for it; and the cutover takes
//! the first column away and gives its names to what was built. An operation
//! that replaces a column says what the new one is and calls this function.
//!
//! Definitions over the second column come from the server, which has tried
//! them on an empty table ([`Replacement`]). What cannot be carried over is
//! refused by name before anything is changed.

mod constraints;
mod followers;
mod foreign_keys;
mod generated;
mod indexes;
mod letting_go;
mod partitions;
mod refused;
#[cfg(test)]
pub(super) mod tests;

pub use indexes::index_statistics;
pub(crate) use refused::is_unusual;

use std::collections::BTreeSet;

use crate::catalog::{
    Along, Catalog, Column, ColumnDef, Dependent, DependentKind, RenamedType, Replacement,
    Replacing, ServerMessage, Table, TableKind,
};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind};
use crate::step::{Action, Back, Change, Concurrent, MappedColumn, Mapping, Phase, Rule, Undo};

use super::context::ddl;
use super::{Asking, Lowering};

/// A column that takes another one's place.
#[derive(Clone, Debug)]
pub struct Replace<'a> {
    /// The table.
    pub table: &'a Table,
    /// The column that goes.
    pub column: &'a Column,
    /// The new type, as the plan writes it: as in [`Asking::replacement`].
    pub to: &'a str,
    /// The new type, as the server writes it.
    pub type_name: &'a str,
    /// The name of the second column until the cutover: as in
    /// [`Asking::replacement`].
    pub second: &'a str,
    /// Its name afterwards.
    pub last: &'a str,
    /// The columns that the second one is computed from.
    pub old: Vec<MappedColumn>,
    /// How the two follow each other.
    pub rule: Rule,
    /// How a loss is seen, where there may be one.
    pub back: Option<Back>,
    /// What tells the names of what is built for it from those that the
    /// operation builds for other columns.
    pub prefix: String,
    /// The default that it gets at the cutover.
    pub default: Option<String>,
}

impl Replace<'_> {
    /// The column, for people.
    fn what(&self) -> String {
        format!("{}.{}", self.table.name, self.column.def.name)
    }

    /// What an artifact of this replacement is called within its operation.
    fn own(&self, what: &str) -> String {
        format!("{}{what}", self.prefix)
    }
}

impl Asking<'_> {
    /// This column gets another one's place: what hangs on it is tried, and
    /// everything about that is read which a definition does not tell.
    /// With `collation`, the new column has that one, and not the old one's.
    pub fn replacement(
        &mut self,
        table: &TableName,
        column: &str,
        to: &str,
        collation: Option<String>,
        second: &str,
        last: &str,
    ) {
        self.replacing(Replacing {
            table: table.clone(),
            column: column.to_owned(),
            to: to.to_owned(),
            collation,
            second: second.to_owned(),
            last: last.to_owned(),
            ours: self.artifact(""),
            along: Vec::new(),
            renamed: None,
        });
    }

    /// These columns get other ones' places in one cutover, each under its own
    /// name: as in [`Asking::replacement`].
    pub fn replacements(&mut self, all: &[Along]) {
        self.replacements_under(all, None);
    }

    /// The same, where the new type gets the old one's name in that cutover.
    pub fn replacements_under(&mut self, all: &[Along], renamed: Option<&RenamedType>) {
        for (at, one) in all.iter().enumerate() {
            let others = all.iter().enumerate().filter(|(other, _)| *other != at);
            self.replacing(Replacing {
                table: one.table.clone(),
                column: one.column.clone(),
                to: one.to.clone(),
                collation: None,
                second: one.second.clone(),
                last: one.column.clone(),
                ours: self.artifact(""),
                along: others.map(|(_, other)| other.clone()).collect(),
                renamed: renamed.cloned(),
            });
        }
    }

    fn replacing(&mut self, replacing: Replacing) {
        let (table, column) = (&replacing.table.clone(), &replacing.column.clone());
        self.try_replacement(replacing);
        let Some(read) = self.read(table) else {
            return;
        };
        // A partition's own ones have comments and settings of their own.
        let partitions = match read.kind {
            TableKind::Partitioned => read.children.as_slice(),
            TableKind::Ordinary | TableKind::Other(_) => &[],
        };
        let tables = [table].into_iter().chain(partitions);
        let read_all = tables.filter_map(|name| self.read(name));
        let dependents: Vec<(TableName, Dependent)> = read_all
            .flat_map(|table| {
                let column = table.column(column).into_iter();
                let dependents = column.flat_map(|column| &column.dependents);
                dependents.map(|dependent| (table.name.clone(), dependent.clone()))
            })
            .collect();
        for (table, dependent) in dependents {
            let name = dependent.name.clone();
            if matches!(
                dependent.kind,
                DependentKind::Index | DependentKind::PrimaryKey | DependentKind::Unique
            ) {
                self.object(Object::Relation {
                    name: TableName::new(&table.schema, &name),
                    kind: RelationKind::Index,
                });
            }
            match dependent.kind {
                DependentKind::PrimaryKey
                | DependentKind::Unique
                | DependentKind::Check
                | DependentKind::ForeignKey => self.object(Object::Constraint {
                    table: table.clone(),
                    name,
                }),
                _ => {}
            }
        }
        for key in &read.referenced_by {
            if key.columns.contains(column) {
                self.object(Object::Constraint {
                    table: key.table.clone(),
                    name: key.constraint.clone(),
                });
            }
        }
    }
}

impl Lowering<'_> {
    /// Replaces a column by another one, or refuses.
    pub fn replace(&mut self, replace: Replace<'_>) {
        self.replace_all(&[replace]);
    }

    /// Replaces columns of one or several tables in one cutover, or refuses.
    /// What hangs on several of them is built once, over all of them; foreign
    /// keys between them are built over the second columns at both ends.
    pub fn replace_all(&mut self, all: &[Replace<'_>]) {
        self.replace_and(all, Vec::new());
    }

    /// The same; the cutover makes these changes when the columns have their
    /// names, before it makes again what was written into the catalog only.
    pub fn replace_and(&mut self, all: &[Replace<'_>], between: Vec<Change>) {
        let catalog = self.catalog;
        let mut group = Vec::new();
        for replace in all {
            let Some(tried) = tried(catalog, replace, all.len() - 1) else {
                // The server's words about the type have been told already.
                self.invalid(
                    format!("what hangs on {} was not understood", replace.what()),
                    "Look at the other findings; without any, this is a defect: it was never asked of the database.",
                );
                return;
            };
            group.push((replace, tried));
        }
        let mut taken = BTreeSet::new();
        for (replace, tried) in &group {
            self.refuse_uncarried(replace, tried, &mut taken);
        }
        for (replace, tried) in &group {
            self.add_second(replace, tried);
        }
        for (replace, tried) in &group {
            self.cutover(Change::Object {
                what: ObjectChange::Rehang {
                    statements: vec![tried.unchanged.clone()],
                    locks: Vec::new(),
                    off: Vec::new(),
                    on: Vec::new(),
                },
            });
            self.carry_settings(replace, tried);
        }
        let computed = self.carry_computed(&group);
        let followers = self.carry_followers(&group);
        for (table, column) in computed {
            self.cutover(Change::DropColumn {
                table: table.name.clone(),
                column: column.def.name.clone(),
            });
        }
        let mut done = BTreeSet::new();
        for (replace, tried) in &group {
            self.carry_indexes(replace, tried, all, &mut done);
        }
        for (replace, tried) in &group {
            self.carry_constraints(replace, tried, &mut done);
        }
        for (replace, tried) in &group {
            self.carry_foreign_keys(replace, tried, all, &mut done);
            self.carry_incoming(replace, tried, &mut done);
        }
        for replace in all {
            self.take_the_place(replace);
        }
        for replace in all {
            if !self.carried.is_empty() || !replace.column.def.nullable {
                self.analyze_last(&replace.table.name);
            }
        }
        self.fill_followers(&followers);
        for change in between {
            self.cutover(change);
        }
        self.name_carried();
    }

    /// The old column goes, and the second one gets its name, NOT NULL and the
    /// default.
    fn take_the_place(&mut self, replace: &Replace<'_>) {
        let (table, column) = (replace.table, replace.column);
        self.cutover(Change::DropColumn {
            table: table.name.clone(),
            column: column.def.name.clone(),
        });
        if replace.second != replace.last {
            self.cutover(Change::RenameColumn {
                table: table.name.clone(),
                from: replace.second.to_owned(),
                to: replace.last.to_owned(),
            });
        }
        if !column.def.nullable {
            self.not_null(table, replace.second, replace.last);
        }
        if let Some(default) = &replace.default {
            self.cutover(Change::SetDefault {
                table: table.name.clone(),
                column: replace.last.to_owned(),
                default: Some(default.clone()),
            });
        }
    }

    /// Adds the second column and keeps it in step.
    fn add_second(&mut self, replace: &Replace<'_>, tried: &Replacement) {
        let (table, column) = (replace.table, replace.column);
        self.ddl(
            Phase::Expand,
            format!(
                "add column {}.{} of type {}",
                table.name, replace.second, replace.type_name
            ),
            Change::AddColumn {
                table: table.name.clone(),
                column: ColumnDef {
                    name: replace.second.to_owned(),
                    type_name: replace.type_name.to_owned(),
                    collation: tried.collation.clone(),
                    nullable: true,
                    default: None,
                    identity: None,
                    generated: None,
                    comment: column.def.comment.clone(),
                },
            },
            vec![Change::DropColumn {
                table: table.name.clone(),
                column: replace.second.to_owned(),
            }],
        );
        self.adds_column(table);
        self.copy_grants(table, column, replace.second);
        self.mapping(
            table,
            Mapping {
                operation: self.operation(),
                old: replace.old.clone(),
                new: vec![MappedColumn {
                    name: replace.second.to_owned(),
                    type_name: replace.type_name.to_owned(),
                    default: None,
                }],
                rule: replace.rule.clone(),
                back: replace.back.clone(),
                required: !column.def.nullable,
            },
        );
    }

    /// What the cutover does once the column has its name.
    fn afterwards(&mut self, change: Change) {
        let change = self.changed_where_it_is(change);
        self.carried.push(change);
    }

    fn name_carried(&mut self) {
        for change in std::mem::take(&mut self.carried) {
            self.cutover(change);
        }
    }

    /// Something keeps its comment.
    fn carry_comment(&mut self, on: Object) {
        let comment = self.object(&on).and_then(|facts| facts.comment.clone());
        if comment.is_some() {
            self.afterwards(Change::Object {
                what: ObjectChange::Comment { on, comment },
            });
        }
    }

    /// The table is looked at once everything is built, so that no query is
    /// planned without statistics of the new column and of what hangs on it. A
    /// column on which nothing hangs waits for autovacuum, which is due after a
    /// backfill: behind a pooler its plan needs no direct address.
    fn analyze_last(&mut self, table: &TableName) {
        let is_this = |action: &Action| matches!(action, Action::Concurrent(Concurrent::Analyze { table: on }) if on == table);
        self.drafts
            .retain(|draft| draft.phase != Phase::Contract || !is_this(&draft.action));
        self.step(
            Phase::Contract,
            format!("gather statistics of {table}"),
            Action::Concurrent(Concurrent::Analyze {
                table: table.clone(),
            }),
            Undo::Nothing,
        );
    }

    /// Takes what the server made of something, or refuses in its words.
    fn carried_over<T>(
        &mut self,
        replace: &Replace<'_>,
        what: &str,
        result: Result<T, ServerMessage>,
    ) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(said) => {
                // A reason without the server's code is none of the type.
                let reason = match said.code.as_str() {
                    "" => format!("{what} cannot follow: {}", said.message),
                    _ => format!(
                        "{what} does not go with type {}: {}",
                        replace.to, said.message
                    ),
                };
                self.unsafe_(
                    format!("cannot replace {}: {reason}", replace.what()),
                    "Drop it in an earlier plan, and make it anew for the new type in a later one.",
                );
                None
            }
        }
    }

    /// A change with its way back, as one step before the cutover.
    fn before_cutover(&mut self, phase: Phase, name: String, change: Change, back: Change) {
        self.step(
            phase,
            name,
            ddl(vec![change]),
            Undo::Steps {
                actions: vec![ddl(vec![back])],
            },
        );
    }
}

/// What the server made of it, together with so many others.
fn tried<'c>(catalog: &'c Catalog, replace: &Replace<'_>, along: usize) -> Option<&'c Replacement> {
    catalog.replacements.iter().find(|tried| {
        let asked = &tried.asked;
        asked.table == replace.table.name
            && asked.column == replace.column.def.name
            && asked.to == replace.to
            && asked.second == replace.second
            && asked.last == replace.last
            && asked.along.len() == along
    })
}
