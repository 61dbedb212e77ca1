//! `split_table`: columns of a table move to a new table with the same key.
//!
//! The phases, the locks and the way back are told in `doc.md`; why the new
//! table is a view until contract, and how its rows come about, in decision 20.

mod carried;
mod steps;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Table, TableKind};
use crate::expr::{Expr, Volatility};
use crate::lower::{Asking, Lower, Lowering, cut, mapped};
use crate::name::TableName;
use crate::object::{Object, RelationKind};
use crate::ops::common::{ExactName, TableRef};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};

use carried::Carried;
use steps::Split;

/// Columns of a table move to a new table with the same key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitTable {
    /// The table.
    pub table: TableRef,
    /// The new table, in the same schema.
    #[schemars(extend("format" = "identifier"))]
    pub into: String,
    /// The columns that move. The primary key stays, and is the new table's as well.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
}

impl Declare for SplitTable {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.columns(&self.table, &self.columns, Role::Dropped, &["columns"]);
        let into = TableRef::Exact(ExactName {
            schema: Some(to.resolve(&self.table).schema),
            name: self.into.clone(),
        });
        to.table_at(&into, TableUse::Created, &["into"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        if self.into == self.table.last() {
            let span = check.written.span(&["into"]);
            check.report(
                &span,
                "`table` and `into` are the same",
                "expected another name",
                "",
            );
        }
    }
}

impl Lower for SplitTable {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        let into = TableName::new(&table.schema, &self.into);
        for object in taken(&into) {
            asking.object(object);
        }
        if let Some(table) = asking.catalog().tables.get(&table) {
            for object in carried::commented(table, &self.columns) {
                asking.object(object);
            }
        }
    }

    /// The new name is a view until contract; the table that takes the name
    /// then is filled beside it, under a name of ours.
    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let into = TableName::new(&table.name.schema, &self.into);
        for object in taken(&into) {
            if lowering.object(&object).is_some() {
                lowering.invalid(
                    format!("{object} exists already"),
                    "Choose another name. A table's name is that of its row type, too, and its primary key's index is called after it.",
                );
                return;
            }
        }
        self.refuse_whole(lowering, &table);
        let key = self.key(lowering, &table);
        let moved = self.moved(lowering, &table, key.as_deref().unwrap_or_default());
        let (Some(key), Some(moved)) = (key, moved) else {
            return;
        };
        let copy = TableName::new(&into.schema, lowering.artifact("copy"));
        let carried = Carried::of(lowering, &table, &key, &moved);
        for column in key.iter().chain(&moved) {
            lowering.alone(&table.name, &column.def.name);
        }
        let split = Split {
            table: &table,
            into: &into,
            copy: &copy,
            mark: lowering.artifact("copied"),
            key: key.iter().map(mapped).collect(),
            moved: moved.iter().map(mapped).collect(),
            primary_key: primary_key(&into),
            foreign_key: foreign_key(&into, &key),
            names_not_null: lowering.catalog().server.version >= steps::NAMED_NOT_NULL_SINCE,
        };
        split.expand(lowering, &key, &moved, &carried);
        split.fill(lowering);
        split.contract(lowering, carried);
        split.tell(lowering);
    }
}

impl SplitTable {
    /// What keeps a table from being split at all.
    fn refuse_whole(&self, lowering: &mut Lowering<'_>, table: &Table) {
        let name = &table.name;
        lowering.refuse_idle_gates(
            "both versions write what `split_table` moves, by one name or the other",
        );
        if table.kind == TableKind::Partitioned || !table.children.is_empty() {
            lowering.unsafe_(
                format!("{name} is partitioned or has inheritance children, and this version splits ordinary tables only"),
                "Create the new table with `create_table`, write both from the application, and fill it with a `sql` operation.",
            );
        }
        if table.unlogged {
            lowering.unsafe_(
                format!("{name} is not a permanent table: no foreign key of {}, which is one, can refer to it", self.into),
                "Make it permanent (`ALTER TABLE … SET LOGGED` writes it anew under ACCESS EXCLUSIVE), or create the new table with `create_table` and fill it with a `sql` operation.",
            );
        }
        if table.row_security.enabled || table.row_security.forced {
            lowering.unsafe_(
                format!("{name} has row level security: the new table would need policies of its own, which nobody can guess"),
                "Disable it for the length of the run, if the application can do without, and give both tables their policies afterwards.",
            );
        }
        for publication in &table.publications {
            let word = format!("publication:{}", publication.name);
            if publication.columns.is_none() && !lowering.acknowledges(&word) {
                lowering.unsafe_(
                    format!("publication {} streams {name} without a column list: its subscribers stop until they have a hidden column of ours, and get nothing of what moves from contract on", publication.name),
                    format!("Give the publication a column list without the columns that move, or be ready to publish {} after contract and write `acknowledge: [\"{word}\"]` in the plan.", self.into),
                );
            }
        }
    }

    /// The columns of the primary key, or refusals.
    fn key(&self, lowering: &mut Lowering<'_>, table: &Table) -> Option<Vec<Column>> {
        let name = &table.name;
        let Some((constraint, columns)) = table.primary_key() else {
            lowering.unsafe_(
                format!("{name} has no primary key, by which its rows and those of {} would find each other", self.into),
                "Add one in an earlier plan, with `add_primary_key`.",
            );
            return None;
        };
        if lowering.key_replaced_by_plan(name) || lowering.named_by_plan(name, &constraint.name) {
            lowering.invalid(
                format!("another operation of the plan concerns the primary key of {name}"),
                TWO_PLANS,
            );
        }
        if constraint.deferrable.is_some() {
            lowering.unsafe_(
                format!(
                    "primary key {} of {name} is deferrable, and no foreign key can refer to it",
                    constraint.name
                ),
                "Make it again without DEFERRABLE in an earlier plan.",
            );
        }
        let columns: Vec<Column> = columns
            .iter()
            .filter_map(|column| table.column(column))
            .cloned()
            .collect();
        for column in &columns {
            // Elsewhere the operator that finds a key in its index is not known.
            if column.def.type_name.contains('.') {
                lowering.unsafe_(
                    format!("key column {name}.{} is of type {}, which is not one of PostgreSQL's own", column.def.name, column.def.type_name),
                    "Change its type in an earlier plan, with `change_type` (citext, for one, to text).",
                );
            }
            if column.def.generated.is_some() {
                lowering.unsafe_(
                    format!(
                        "key column {name}.{} is a generated column",
                        column.def.name
                    ),
                    "Use another primary key.",
                );
            }
        }
        Some(columns)
    }

    /// The columns that move, or refusals.
    fn moved(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        key: &[Column],
    ) -> Option<Vec<Column>> {
        let mut moved = Vec::new();
        for name in &self.columns {
            let column = lowering.column(table, name)?;
            if key.iter().any(|key| key.def.name == *name) {
                lowering.invalid(
                    format!(
                        "{}.{name} is in the primary key, which both tables have",
                        table.name
                    ),
                    "Leave it out of `columns`.",
                );
                continue;
            }
            self.refuse_column(lowering, table, &column);
            moved.push(column);
        }
        Some(moved)
    }

    fn refuse_column(&self, lowering: &mut Lowering<'_>, table: &Table, column: &Column) {
        let what = format!("{}.{}", table.name, column.def.name);
        lowering.refuse_unwritable(table, column);
        lowering.refuse_row_readers(table, &column.def.name);
        let required = !column.def.nullable || column.not_null_domain;
        if required && column.def.default.is_none() && column.def.generated.is_none() {
            lowering.unsafe_(
                format!("{what} is NOT NULL without a default: new versions insert into {} before they insert into {}, and would fail", table.name, self.into),
                "In an earlier plan, give it a default (`set_default`) or let it be NULL (`drop_not_null`); take that back afterwards.",
            );
        }
        if column.type_default {
            lowering.unsafe_(
                format!("type {} of {what} has a default of its own: a row that nobody gave a value holds something, and nobody can tell it from one that an INSERT into {} may fill", column.def.type_name, self.into),
                "In an earlier plan, give the column that default (`set_default`) and another type (`change_type`), or drop the domain's (`ALTER DOMAIN … DROP DEFAULT`).",
            );
        }
        let changes = |default: &Expr| default.volatility != Volatility::Immutable;
        if column.def.default.as_ref().is_some_and(changes) {
            lowering.unsafe_(
                format!("the default of {what} gives another value each time, so nobody can tell a row that an INSERT into {} may fill from one that holds something", self.into),
                "Drop the default in an earlier plan (`drop_default`), and set it on the new table afterwards.",
            );
        }
    }
}

/// What to do where operations of a plan are in each other's way.
const TWO_PLANS: &str = "Use two plans, the second one after the first one's contract.";

/// What may bear the names already: a relation, a type, the primary key's index.
fn taken(into: &TableName) -> [Object; 3] {
    let relation = |name: TableName| Object::Relation {
        name,
        kind: RelationKind::Any,
    };
    [
        relation(into.clone()),
        Object::Type { name: into.clone() },
        relation(TableName::new(&into.schema, primary_key(into))),
    ]
}

/// As PostgreSQL would call it.
fn primary_key(into: &TableName) -> String {
    cut(&into.name, "_pkey")
}

fn foreign_key(into: &TableName, key: &[Column]) -> String {
    let columns: Vec<&str> = key.iter().map(|column| column.def.name.as_str()).collect();
    cut(&format!("{}_{}", into.name, columns.join("_")), "_fkey")
}
