//! Small checks of what stands beside tables.

use crate::catalog::{Column, Dependent, DependentKind, Grant, Table, TableKind};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::Operation;
use crate::ops::common::TableRef;
use crate::sql::quote::quote_ident;
use crate::step::{Action, Change};

use super::Lowering;
use super::context::nearest;

impl Lowering<'_> {
    /// The plan's schema.
    pub fn schema(&self) -> &str {
        &self.plan.schema
    }

    /// All operations of the plan.
    pub fn operations(&self) -> impl Iterator<Item = &Operation> {
        self.plan.operations.iter().map(|it| &it.value)
    }

    /// What had the comment of one thing gives it to another in the cutover.
    pub fn comment_as(&mut self, from: &Object, on: Object) {
        let comment = self.object(from).and_then(|facts| facts.comment.clone());
        if comment.is_some() {
            self.cutover(Change::Object {
                what: ObjectChange::Comment { on, comment },
            });
        }
    }

    /// Refuses when there is no such schema, and no operation before this one
    /// creates it.
    pub fn has_schema(&mut self, name: &str) {
        let created = self.creates_schema(name);
        let object = Object::Schema {
            name: name.to_owned(),
        };
        if !created && self.object(&object).is_none() {
            self.invalid(
                format!("{object} does not exist"),
                "Check its name, or create it with `create_schema`.",
            );
        }
    }

    /// An operation before this one creates the schema.
    pub fn creates_schema(&self, name: &str) -> bool {
        self.expands(|change| matches!(
            change,
            Change::Object { what: ObjectChange::CreateSchema { name: created } } if created == name
        ))
    }

    /// An operation before this one makes such a change.
    fn expands(&self, is: impl Fn(&Change) -> bool) -> bool {
        self.drafts
            .iter()
            .any(|draft| matches!(&draft.action, Action::Ddl(ddl) if ddl.changes.iter().any(&is)))
    }

    /// The plan drops the view of this name, too, and before this operation.
    pub fn view_dropped_by_plan(&self, name: &str) -> bool {
        self.cutover.iter().any(|(_, change)| {
            matches!(change, Change::Object { what: ObjectChange::DropView { name: dropped } }
                if dropped.to_string() == name)
        })
    }

    /// A table, view or materialized view, to which rights are given.
    pub fn relation(&mut self, name: &TableRef) -> Option<Table> {
        let full = self.name(name);
        let view = self.expands(|change| {
            matches!(change, Change::Object { what: ObjectChange::CreateView { name, .. } } if *name == full)
        });
        let found = self.catalog.tables.get(&full);
        match found.filter(|table| matches!(table.kind, TableKind::Other(_))) {
            Some(table) if table.owned_by_us => Some(table.clone()),
            // A view of this plan has nothing yet.
            None if view && found.is_none() => Some(Table::to_come(full, TableKind::Other('v'))),
            Some(table) => {
                let (name, owner) = (table.name.clone(), table.owner.clone());
                self.unsafe_(
                    format!("{name} belongs to role {owner}, and we are not a member of it"),
                    format!(
                        "Connect as its owner, or grant the role: GRANT {} TO the connected role.",
                        quote_ident(&owner)
                    ),
                );
                None
            }
            None => self.table(name),
        }
    }

    /// The columns of a view over this query; `None` after a refusal, and when
    /// the query reads what the plan only adds, which a note tells.
    pub fn view_columns(&mut self, view: &TableName, query: &str) -> Option<Vec<(String, String)>> {
        let answer = self
            .catalog
            .views
            .iter()
            .find(|answer| answer.query == query);
        match answer.map(|answer| answer.result.clone()) {
            Some(Ok(columns)) => Some(columns),
            Some(Err(message)) => {
                let missing =
                    matches!(message.code.as_str(), "42703" | "42P01" | "42704" | "42883");
                if missing && !self.drafts.is_empty() {
                    self.note(format!(
                        "The query of view {view} reads something that is not there yet ({}); it is read again when its step runs.",
                        message.message
                    ));
                } else {
                    self.server_refusal(&format!("query of view {view}"), &message);
                }
                None
            }
            None => {
                self.invalid(
                    format!("the query of view {view} was not understood"),
                    "This is a defect: it was never asked of the database.",
                );
                None
            }
        }
    }

    /// An enum with its labels, or a refusal.
    pub fn labels(&mut self, name: &TableRef) -> Option<(TableName, Vec<String>)> {
        let name = self.name(name);
        let object = Object::Type { name: name.clone() };
        let facts = self.owned_object(&object)?;
        if facts.kind != Some('e') {
            self.invalid(format!("{object} is no enum"), "Only enums have labels.");
            return None;
        }
        Some((name, facts.labels.clone()))
    }

    /// Refuses when the enum lacks the label.
    pub fn label(&mut self, name: &TableName, labels: &[String], label: &str) {
        if labels.iter().any(|known| known == label) {
            return;
        }
        let near = nearest(label, labels.iter().map(String::as_str));
        self.invalid(
            format!("enum {name} has no label '{label}'"),
            match (near, labels) {
                (Some(near), _) => format!("Did you mean '{near}'?"),
                (None, []) => "It has none at all.".to_owned(),
                (None, labels) => format!("It has: {}.", labels.join(", ")),
            },
        );
    }

    /// Is this granted already, to at least this extent?
    pub fn has_grant(grants: &[Grant], wanted: &Grant) -> Granted {
        let present = grants.iter().find(|present| {
            present.grantee == wanted.grantee && present.privilege == wanted.privilege
        });
        match present {
            None => Granted::Not,
            Some(present) if wanted.grantable && !present.grantable => Granted::WithoutOption,
            Some(_) => Granted::Already,
        }
    }
}

/// What depends on a view. That it depends on itself, by the rule that is its
/// query, does not count.
pub fn hanging_on(view: &Table) -> Vec<Dependent> {
    let own = view.name.to_string();
    let mut all: Vec<Dependent> = view
        .columns
        .iter()
        .flat_map(|column| &column.dependents)
        .chain(&view.dependents)
        .filter(|dependent| dependent.kind != DependentKind::View || dependent.name != own)
        .cloned()
        .collect();
    all.sort();
    all.dedup();
    all
}

/// How far something is granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Granted {
    /// Not at all.
    Not,
    /// But not with the right to hand it on, which is wanted as well.
    WithoutOption,
    /// As it is wanted, or more.
    Already,
}

/// The grants of a table and those of these columns of it, for a view of it.
pub(crate) fn rights_on_view<'t>(
    table: &'t Table,
    columns: impl IntoIterator<Item = &'t Column>,
    view: &'t TableName,
) -> impl Iterator<Item = Change> {
    let on = Object::Relation {
        name: view.clone(),
        kind: RelationKind::View,
    };
    let whole = table.grants.iter().map(move |grant| Change::Object {
        what: ObjectChange::Grant {
            on: on.clone(),
            grant: grant.clone(),
        },
    });
    let columns = columns.into_iter().flat_map(move |column| {
        column.grants.iter().map(move |grant| Change::GrantColumn {
            table: view.clone(),
            column: column.def.name.clone(),
            grant: grant.clone(),
        })
    });
    whole.chain(columns)
}
