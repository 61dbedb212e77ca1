//! `add_identity`: makes a column an identity column.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, DependentKind, Identity, Table, TableKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::name::TableName;
use crate::object::{Object, RelationKind, TableSetting, TakenOver};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::step::Change;

/// Makes a column an identity column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddIdentity {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// May writers give a value?
    pub r#as: Identity,
    /// The next value is this one at least.
    #[serde(default)]
    #[schemars(range(min = 1))]
    pub start: Option<i64>,
}

/// The sequence that belongs to a column.
fn own_sequence(column: &Column) -> Option<TableName> {
    let owned = column
        .dependents
        .iter()
        .find(|dependent| dependent.kind == DependentKind::OwnedSequence)?;
    let (schema, name) = owned.name.split_once('.')?;
    Some(TableName::new(schema, name))
}

fn sequence(name: &TableName) -> Object {
    Object::Relation {
        name: name.clone(),
        kind: RelationKind::Sequence,
    }
}

/// The largest value of an integer type; `None` for any other type.
pub(super) fn largest(type_name: &str) -> Option<i64> {
    match type_name {
        "smallint" => Some(i64::from(i16::MAX)),
        "integer" => Some(i64::from(i32::MAX)),
        "bigint" => Some(i64::MAX),
        _ => None,
    }
}

/// The greatest value of the column is found without a scan.
fn has_index(table: &Table, column: &str) -> bool {
    table.indexes.iter().any(|index| {
        let first = index.keys.first().and_then(|key| key.column.as_deref());
        index.valid && index.method == "btree" && index.predicate.is_none() && first == Some(column)
    })
}

impl AddIdentity {
    /// What is known of the sequence that gives the default now, or a refusal.
    fn taken_over(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        column: &Column,
        largest: i64,
    ) -> Option<Option<TakenOver>> {
        let Some(default) = &column.def.default else {
            return Some(None);
        };
        let path = format!("{}.{}", table.name, self.column);
        let text = default.bare();
        let name = own_sequence(column)
            .filter(|_| text.starts_with("nextval('") && text.ends_with("'::regclass)"));
        let facts = name
            .as_ref()
            .and_then(|name| lowering.object(&sequence(name)));
        let (Some(name), Some(facts)) = (name, facts) else {
            lowering.unsafe_(
                format!("{path} has a default ({text}) that no sequence of its own gives"),
                "Drop it in an earlier plan (`drop_default`).",
            );
            return None;
        };
        let known = facts.sequence.as_ref()?;
        let own = |user: &&String| **user == path;
        let users = known.defaults.iter().filter(|user| !own(user));
        let users: Vec<&str> = users.chain(&known.others).map(String::as_str).collect();
        let gives = known.defaults.contains(&path);
        if !gives || !users.is_empty() {
            lowering.unsafe_(
                format!(
                    "sequence {name} of {path} is used elsewhere: {}",
                    users.join(", ")
                ),
                "Give what else uses it another sequence before the plan.",
            );
        }
        if known.counts.increment < 0 {
            lowering.unsafe_(
                format!("sequence {name} of {path} counts down"),
                "Do it with a `sql` operation that sets the next value below the least one.",
            );
        }
        let mut counts = known.counts.clone();
        counts.max = counts.max.min(largest);
        Some(Some(TakenOver {
            name,
            aside: lowering.artifact("sequence"),
            counts,
            comment: facts.comment.clone(),
            grants: facts.grants.clone(),
        }))
    }
}

impl Declare for AddIdentity {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::Default, &["column"]);
    }
}

impl Lower for AddIdentity {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        if let Some(name) = asking.present(&table, &self.column).and_then(own_sequence) {
            asking.object(sequence(&name));
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        let path = format!("{}.{}", table.name, self.column);
        if table.kind == TableKind::Partitioned || !table.children.is_empty() {
            lowering.unsafe_(
                format!("{} has partitions or children, and this version adds no identity to such a table", table.name),
                "Do it with a `sql` operation; what is below the table depends on the server's version.",
            );
            return;
        }
        if column.def.identity.is_some() || column.def.generated.is_some() {
            lowering.invalid(
                format!("{path} is an identity or generated column already"),
                "Leave the operation out.",
            );
            return;
        }
        let Some(largest) = largest(&column.def.type_name) else {
            lowering.invalid(
                format!(
                    "{path} is of type {}, and an identity is an integer",
                    column.def.type_name
                ),
                "Only smallint, integer and bigint columns can be one.",
            );
            return;
        };
        if column.def.nullable && !lowering.becomes_not_null(&table.name, &self.column) {
            lowering.invalid(
                format!("{path} may hold NULL, and an identity column may not"),
                "Say `set_not_null` before it.",
            );
        }
        let above = has_index(&table, &self.column);
        if !above && self.start.is_none() {
            lowering.unsafe_(
                format!("no index begins with {path}, so its greatest value could be found only by a scan under a lock"),
                "Say `start`: a value above all that the column will hold by then; or add an index first.",
            );
        }
        let Some(takes_over) = self.taken_over(lowering, &table, &column, largest) else {
            return;
        };
        if self.r#as == Identity::ByDefault {
            lowering.note(format!(
                "Whoever still gives values to {path} has to stay clear of those that its sequence will give."
            ));
        }
        lowering.cutover(Change::SetTable {
            table: table.name,
            setting: TableSetting::Identity {
                column: self.column.clone(),
                identity: self.r#as,
                takes_over,
                start: self.start,
                above,
            },
        });
    }
}
