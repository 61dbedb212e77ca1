//! `split_table`: columns of a table move to a new table with the same key.
//!
//! The phases, the locks and the way back are told in `doc.md`; why the new
//! table is a view until contract, and how its rows come about, in decision 20.

mod carried;
mod steps;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Table};
use crate::expr::{Expr, Volatility};
use crate::lower::{Asking, Lower, Lowering, mapped};
use crate::name::TableName;
use crate::ops::common::TableRef;
use crate::ops::moving::{self, foreign_key, primary_key};
use crate::plan::{Check, Declare, Mentions};

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
        moving::declare(to, &self.table, &self.columns, &self.into);
    }

    fn check(&self, check: &mut Check<'_>) {
        moving::check(check, &self.table, &self.into);
    }
}

impl Lower for SplitTable {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        let into = TableName::new(&table.schema, &self.into);
        moving::ask(asking, &into, &[primary_key(&into)]);
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
        if moving::refuse_taken(lowering, &into, &[primary_key(&into)]) {
            return;
        }
        self.refuse_whole(lowering, &table);
        let what_for = format!(
            "by which its rows and those of {} would find each other",
            self.into
        );
        let key = moving::key(lowering, &table, &what_for);
        let moved = moving::columns(lowering, &table, &self.columns, |lowering, column| {
            self.refuse_column(lowering, &table, column);
        });
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
            foreign_key: foreign_key(&into, key.iter().map(|column| column.def.name.as_str())),
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
        moving::refuse_table(lowering, table, &self.into);
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

    fn refuse_column(&self, lowering: &mut Lowering<'_>, table: &Table, column: &Column) {
        let what = format!("{}.{}", table.name, column.def.name);
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
