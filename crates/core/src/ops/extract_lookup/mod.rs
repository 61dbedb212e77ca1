//! `extract_lookup`: columns of a table become a reference to a table that has
//! each combination of their values once.
//!
//! The phases, the locks and the way back are told in `doc.md`; who adds values,
//! and why nobody waits for it, in decision 23.

mod steps;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Dependent, DependentKind, Table};
use crate::expr::{Expr, Volatility};
use crate::lower::{Asking, Lower, Lowering, mapped};
use crate::name::TableName;
use crate::object::Object;
use crate::ops::common::TableRef;
use crate::ops::moving::{self, foreign_key, named_after, primary_key};
use crate::plan::{Check, Declare, Mentions, Role};
use crate::sql::postgres::image;

use steps::Extraction;

/// Columns of a table become a reference to a new table with each combination of their values once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtractLookup {
    /// The table.
    pub table: TableRef,
    /// The columns that move. One may hold NULL; of several, none may.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
    /// The new table, in the same schema. Its key is called `id`.
    #[schemars(extend("format" = "identifier"))]
    pub into: String,
    /// The new column of the table, which refers to it.
    #[schemars(extend("format" = "identifier"))]
    pub reference: String,
}

/// The key of a lookup table.
const ID: &str = "id";
/// Columns that an index of PostgreSQL can have.
const MOST_COLUMNS: usize = 32;

impl Declare for ExtractLookup {
    fn declare(&self, to: &mut Mentions<'_>) {
        moving::declare(to, &self.table, &self.columns, &self.into);
        to.column(&self.table, &self.reference, Role::Added, &["reference"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        moving::check(check, &self.table, &self.into);
        let reference = check.written.span(&["reference"]);
        check.new_column(&self.reference, &reference);
        if self.columns.contains(&self.reference) {
            check.report(
                &reference,
                format!("`reference` is one of `columns`: `{}`", self.reference),
                "expected the name of a new column",
                "",
            );
        }
        if let Some(place) = self.columns.iter().position(|column| column == ID) {
            let span = check.written.item(&["columns"], place);
            check.report(
                &span,
                "`id` is what the key of the new table is called",
                "expected a column of another name",
                "rename the column in an earlier plan, with `rename_column`",
            );
        }
    }
}

impl Lower for ExtractLookup {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        let into = TableName::new(&table.schema, &self.into);
        moving::ask(asking, &into, &self.indexes(&into));
        for column in &self.columns {
            let type_name = asking.type_of(&table, column);
            if let Some(object) = type_name.and_then(type_object) {
                asking.object(object);
            }
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let into = TableName::new(&table.name.schema, &self.into);
        if moving::refuse_taken(lowering, &into, &self.indexes(&into)) {
            return;
        }
        moving::refuse_table(lowering, &table, &self.into);
        lowering.new_column_name(&table, &self.reference);
        if self.columns.len() > MOST_COLUMNS {
            lowering.invalid(
                format!(
                    "{} columns cannot be told apart by one index",
                    self.columns.len()
                ),
                format!("Name at most {MOST_COLUMNS}."),
            );
        }
        let key = moving::key(
            lowering,
            &table,
            "by which a row is found again when the transaction that wrote it commits",
        );
        let moved = moving::columns(lowering, &table, &self.columns, |lowering, column| {
            self.refuse_column(lowering, &table, column);
        });
        let (Some(key), Some(moved)) = (key, moved) else {
            return;
        };
        self.refuse_dependents(lowering, &table, &moved);
        for column in key.iter().chain(&moved) {
            lowering.alone(&table.name, &column.def.name);
        }
        let names = || self.columns.iter().map(String::as_str);
        let extraction = Extraction {
            table: &table,
            into: &into,
            reference: &self.reference,
            key: key.iter().map(mapped).collect(),
            moved: &moved,
            primary_key: primary_key(&into),
            unique: named_after(&into, names(), "_key"),
            foreign_key: foreign_key(&table.name, [self.reference.as_str()]),
        };
        lowering.new_constraint_name(&table, &extraction.foreign_key);
        extraction.expand(lowering);
        extraction.fill(lowering);
        extraction.contract(lowering);
        extraction.tell(lowering);
    }
}

impl ExtractLookup {
    /// The indexes of the new table, which bear its constraints' names.
    fn indexes(&self, into: &TableName) -> [String; 2] {
        let columns = self.columns.iter().map(String::as_str);
        [primary_key(into), named_after(into, columns, "_key")]
    }

    fn refuse_column(&self, lowering: &mut Lowering<'_>, table: &Table, column: &Column) {
        let what = format!("{}.{}", table.name, column.def.name);
        let type_name = &column.def.type_name;
        if !image::is_exact(type_name) && !is_enum(lowering, type_name) {
            lowering.unsafe_(
                format!("{what} is of type {type_name}, of which two values may be equal and yet not the same: they would become one"),
                "Change its type in an earlier plan, with `change_type`, to an integer, boolean, text, varchar, uuid, bytea, a date or time of PostgreSQL's own, or an enum.",
            );
        }
        // Only PostgreSQL's own collations are known to tell all texts apart.
        if let Some(collation) = &column.def.collation
            && !collation.starts_with("pg_catalog.")
        {
            lowering.unsafe_(
                format!("{what} has the collation {collation}, under which different texts may be equal: they would become one"),
                "Change it in an earlier plan, with `change_collation`, to one of PostgreSQL's own (schema pg_catalog).",
            );
        }
        if column.def.nullable && self.columns.len() > 1 {
            lowering.unsafe_(
                format!("{what} may be NULL, and is one of several columns: a unique constraint does not tell two combinations with a NULL apart"),
                "Fill it in an earlier plan (`set_not_null` with `fill`), or move the columns one by one.",
            );
        }
        let changes = |default: &Expr| default.volatility == Volatility::Volatile;
        if column.def.default.as_ref().is_some_and(changes) {
            lowering.unsafe_(
                format!("the default of {what} gives another value each time, so an INSERT that leaves the column out looks like one that gives a value of its own, beside the reference that a new version gives"),
                "Drop the default in an earlier plan (`drop_default`).",
            );
        }
    }

    /// Of what hangs on the columns nothing goes along; an index may go before
    /// them.
    fn refuse_dependents(&self, lowering: &mut Lowering<'_>, table: &Table, moved: &[Column]) {
        for column in moved {
            let what = format!("{}.{}", table.name, column.def.name);
            for dependent in &column.dependents {
                match dependent.kind {
                    DependentKind::Index if lowering.index_dropped_by_plan(&dependent.name) => {}
                    DependentKind::Index => lowering.unsafe_(
                        format!("index {} is over {what}, which moves", dependent.name),
                        format!(
                            "Drop it in this plan, behind the gate (`drop_index`); {} has an index over the values, and `add_index` makes one over {}.{}.",
                            self.into, table.name, self.reference
                        ),
                    ),
                    _ => self.refuse_dependent(lowering, &what, dependent),
                }
            }
        }
    }

    fn refuse_dependent(&self, lowering: &mut Lowering<'_>, what: &str, dependent: &Dependent) {
        lowering.refuse_dependents(what, std::slice::from_ref(dependent), "move");
    }
}

/// A type that is not one of PostgreSQL's own.
fn type_object(type_name: &str) -> Option<Object> {
    let (schema, name) = type_name.split_once('.')?;
    let unquoted = |part: &str| part.trim_matches('"').replace("\"\"", "\"");
    Some(Object::Type {
        name: TableName::new(unquoted(schema), unquoted(name)),
    })
}

/// Each label of an enum is equal to itself only.
fn is_enum(lowering: &Lowering<'_>, type_name: &str) -> bool {
    type_object(type_name)
        .and_then(|object| lowering.object(&object))
        .is_some_and(|facts| facts.kind == Some('e'))
}
