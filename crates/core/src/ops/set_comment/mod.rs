//! `set_comment`: comments on something, or removes its comment.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::{Change, Phase};

/// Comments on something, or removes its comment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetComment {
    /// The text; an empty one removes the comment.
    pub comment: String,
    /// The table, or what the thing belongs to.
    #[serde(default)]
    pub table: Option<TableRef>,
    /// A column of the table, view or materialized view.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub column: Option<String>,
    /// A constraint of the table.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub constraint: Option<String>,
    /// A trigger of the table.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub trigger: Option<String>,
    /// A row policy of the table.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub policy: Option<String>,
    /// A view.
    #[serde(default)]
    pub view: Option<TableRef>,
    /// A materialized view.
    #[serde(default)]
    pub materialized_view: Option<TableRef>,
    /// An index.
    #[serde(default)]
    pub index: Option<TableRef>,
    /// A sequence.
    #[serde(default)]
    pub sequence: Option<TableRef>,
    /// A type, such as an enum.
    #[serde(default)]
    pub r#type: Option<TableRef>,
    /// A schema.
    #[serde(default)]
    #[schemars(extend("format" = "schema-name"))]
    pub schema: Option<String>,
}

/// What the comment is on.
enum Target {
    Object(Object),
    Column(TableName, String),
}

impl SetComment {
    /// The relations that it may name, with their kinds.
    fn relations(&self) -> impl Iterator<Item = (RelationKind, &TableRef)> {
        [
            (RelationKind::Table, &self.table),
            (RelationKind::View, &self.view),
            (RelationKind::MaterializedView, &self.materialized_view),
            (RelationKind::Index, &self.index),
            (RelationKind::Sequence, &self.sequence),
        ]
        .into_iter()
        .filter_map(|(kind, name)| Some((kind, name.as_ref()?)))
    }

    /// `None` when it names nothing, which the plan's checks have told.
    fn target(&self, resolve: impl Fn(&TableRef) -> TableName) -> Option<Target> {
        if let Some((kind, name)) = self.relations().next() {
            let name = resolve(name);
            if let Some(column) = &self.column {
                return Some(Target::Column(name, column.clone()));
            }
            let table = name.clone();
            let part = [
                self.constraint.clone().map(|name| Object::Constraint {
                    table: table.clone(),
                    name,
                }),
                self.trigger.clone().map(|name| Object::Trigger {
                    table: table.clone(),
                    name,
                }),
                self.policy
                    .clone()
                    .map(|name| Object::Policy { table, name }),
            ];
            let whole = Object::Relation { name, kind };
            return Some(Target::Object(
                part.into_iter().flatten().next().unwrap_or(whole),
            ));
        }
        if let Some(name) = &self.r#type {
            return Some(Target::Object(Object::Type {
                name: resolve(name),
            }));
        }
        let name = self.schema.clone()?;
        Some(Target::Object(Object::Schema { name }))
    }

    /// How many things it names: exactly one is right.
    pub(crate) fn subjects(&self) -> usize {
        self.relations().count()
            + usize::from(self.r#type.is_some())
            + usize::from(self.schema.is_some())
    }

    /// How many parts of a table it names: at most one is right.
    pub(crate) fn parts(&self) -> usize {
        [&self.column, &self.constraint, &self.trigger, &self.policy]
            .into_iter()
            .flatten()
            .count()
    }
}

impl Declare for SetComment {
    fn declare(&self, to: &mut Mentions<'_>) {
        if let Some(table) = &self.table {
            to.table(table, TableUse::Shaped);
        }
        let on = self.table.as_ref().or(self.view.as_ref());
        if let (Some(table), Some(column)) = (on, &self.column) {
            to.column(table, column, Role::Key, &["column"]);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        let whole = check.written.key.clone();
        if self.subjects() != 1 {
            check.report(
                &whole,
                match self.subjects() {
                    0 => "it does not say what the comment is on",
                    _ => "it names several things, and a comment is on one",
                },
                "expected one of table, view, materialized_view, index, sequence, type, schema",
                "",
            );
            return;
        }
        if self.parts() > 1 {
            check.report(
                &whole,
                "it names several parts of a table, and a comment is on one",
                "expected one of column, constraint, trigger, policy",
                "write one operation for each",
            );
        }
        let columns =
            self.table.is_some() || self.view.is_some() || self.materialized_view.is_some();
        for (key, given, fits) in [
            ("column", self.column.is_some(), columns),
            (
                "constraint",
                self.constraint.is_some(),
                self.table.is_some(),
            ),
            ("trigger", self.trigger.is_some(), self.table.is_some()),
            ("policy", self.policy.is_some(), self.table.is_some()),
        ] {
            if given && !fits {
                let span = check.written.key_span(key);
                check.report(
                    &span,
                    format!("a {key} belongs to a table"),
                    "expected `table` beside it",
                    "",
                );
            }
        }
    }
}

impl Lower for SetComment {
    fn ask(&self, asking: &mut Asking<'_>) {
        for (kind, name) in self.relations() {
            if kind != RelationKind::Sequence {
                asking.table(name);
            }
        }
        if let Some(Target::Object(object)) = self.target(|name| asking.resolve(name)) {
            asking.object(object);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let comment = Some(self.comment.clone()).filter(|text| !text.is_empty());
        let (name, change, back) = match self.target(|name| lowering.name(name)) {
            None => return,
            Some(Target::Column(table, column)) => {
                let Some(found) = lowering.catalog().tables.get(&table).cloned() else {
                    lowering.invalid(
                        format!("{table} does not exist"),
                        "Check the name and the plan's `schema`; names are taken literally, upper case included.",
                    );
                    return;
                };
                if lowering.column_or_added(&found, &column).is_none() {
                    return;
                }
                let before = found
                    .column(&column)
                    .and_then(|column| column.def.comment.clone());
                let on = |comment| Change::CommentOnColumn {
                    table: table.clone(),
                    column: column.clone(),
                    comment,
                };
                (format!("column {table}.{column}"), on(comment), on(before))
            }
            Some(Target::Object(object)) => {
                let Some(facts) = lowering.owned_object(&object) else {
                    return;
                };
                let before = facts.comment.clone();
                let on = |comment| Change::Object {
                    what: ObjectChange::Comment {
                        on: object.clone(),
                        comment,
                    },
                };
                (object.to_string(), on(comment), on(before))
            }
        };
        lowering.ddl(
            Phase::Expand,
            format!("comment on {name}"),
            change,
            vec![back],
        );
    }
}
