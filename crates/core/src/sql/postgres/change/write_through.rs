//! INSERT and DELETE through a view that stands for a table to come.
//!
//! # What needs no trigger
//! SELECT, its locking clauses and UPDATE: the server itself rewrites them to
//! the table behind the view, so that a condition and a value such as `n + 1`
//! are computed anew from a row that another transaction has just changed. An
//! INSTEAD OF UPDATE trigger gets rows as the statement's snapshot had them:
//! of two such UPDATEs one would be lost.
//!
//! # INSERT
//! The row of the table is there already, and holds nothing of the view's
//! columns: each is NULL or its default. Its values are set. A row that holds
//! something is a duplicate (23505), a key without a row a missing one (23503),
//! as the table to come would say.
//!
//! # DELETE
//! The columns become NULL, if they still are what the statement saw: else
//! 40001, for the trigger cannot look at the statement's condition again. Where
//! a column is NOT NULL there is nothing that it could become (0A000).
//!
//! The functions are SECURITY DEFINER: who may do it is asked of the view.

use super::super::image::{same, values};
use super::super::mapping::{column, not_given, same_key};
use super::super::raise::{self, Raised, key_text};
use super::super::sync::{SCHEMA, artifact, owned};
use crate::name::TableName;
use crate::object::WriteThrough;
use crate::sql::quote::{
    dollar_quote, quote_ident, quote_list, quote_literal, quote_qualified, quote_table,
};
use crate::step::MappedColumn;

/// The two writes: suffix of the names, event.
const WRITES: [(&str, &str); 2] = [("insert", "INSERT"), ("delete", "DELETE")];

fn function(view: &TableName, run: &str, suffix: &str) -> String {
    quote_qualified(SCHEMA, &format!("{}_{suffix}", artifact(run, view)))
}

/// The statements that make the view writable, behind the one that makes it.
pub(super) fn install(through: &WriteThrough, run: &str) -> Vec<String> {
    let view = quote_table(&through.view);
    let mut statements = Vec::new();
    for column in &through.columns {
        if let Some(default) = &column.default {
            statements.push(format!(
                "ALTER VIEW {view} ALTER COLUMN {} SET DEFAULT {}",
                quote_ident(&column.name),
                default.bare()
            ));
        }
    }
    for (suffix, event) in WRITES {
        let function = function(&through.view, run, suffix);
        let body = match suffix {
            "insert" => insert(through),
            _ => delete(through),
        };
        statements.push(format!(
            "CREATE FUNCTION {function}() RETURNS trigger\nLANGUAGE plpgsql SECURITY DEFINER\nSET search_path = pg_catalog, pg_temp\nAS {}",
            dollar_quote("pontoon", &body),
        ));
        statements.extend(owned(
            &format!("{function}()"),
            &format!("Pontoon: {event} through {}", through.view),
        ));
        statements.push(format!(
            "CREATE TRIGGER pontoon_{suffix} INSTEAD OF {event} ON {view} FOR EACH ROW\nEXECUTE FUNCTION {function}()"
        ));
    }
    statements
}

/// The statements behind the one that drops the view.
pub(super) fn drop(view: &TableName, run: &str) -> Vec<String> {
    WRITES
        .iter()
        .map(|(suffix, _)| format!("DROP FUNCTION {}()", function(view, run, suffix)))
        .collect()
}

fn of(columns: &[MappedColumn], row: &str) -> String {
    let columns: Vec<String> = columns.iter().map(|c| column(row, &c.name)).collect();
    columns.join(", ")
}

/// `RAISE EXCEPTION` about the table that the view stands for.
fn raise(view: &TableName, code: &str, constraint: &str, message: &str, detail: &str) -> String {
    raise::raise(&Raised {
        code,
        message,
        detail,
        table: view,
        constraint,
    })
}

fn insert(through: &WriteThrough) -> String {
    let WriteThrough {
        view,
        table,
        key,
        columns,
        constraints: (foreign_key, primary_key),
        ..
    } = through;
    let set: Vec<String> = columns
        .iter()
        .map(|c| format!("{} = {}", quote_ident(&c.name), column("NEW", &c.name)))
        .collect();
    let duplicate = raise(
        view,
        "23505",
        primary_key,
        &format!("duplicate key value violates unique constraint \"{primary_key}\""),
        &format!(
            "pg_catalog.concat({}, ' already exists.')",
            key_text(key, "NEW")
        ),
    );
    let missing = raise(
        view,
        "23503",
        foreign_key,
        &format!(
            "insert or update on table \"{}\" violates foreign key constraint \"{foreign_key}\"",
            view.name
        ),
        &format!(
            "pg_catalog.concat({}, {})",
            key_text(key, "NEW"),
            quote_literal(&format!(" is not present in table \"{}\".", table.name))
        ),
    );
    format!(
        "
BEGIN
    -- Waits for whoever is changing the row.
    PERFORM 1 FROM ONLY {source} AS s WHERE {found} FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        {missing}
    END IF;
    -- What it holds now: nothing yet, or it is a duplicate.
    UPDATE ONLY {source} AS s SET {set}
    WHERE {found} AND {empty}
    RETURNING {returned} INTO {into};
    IF NOT FOUND THEN
        {duplicate}
    END IF;
    RETURN NEW;
END
",
        source = quote_table(table),
        found = same_key(key, "s", "NEW"),
        set = set.join(", "),
        empty = not_given(columns, "s"),
        returned = of(columns, "s"),
        into = of(columns, "NEW"),
    )
}

fn delete(through: &WriteThrough) -> String {
    let WriteThrough {
        view,
        table,
        key,
        columns,
        required,
        ..
    } = through;
    if !required.is_empty() {
        let refused = raise(
            view,
            "0A000",
            "",
            &format!(
                "rows of {view} cannot be deleted before the migration ends: they are columns of {table}, and NOT NULL there"
            ),
            &quote_literal(&format!("NOT NULL: {}.", required.join(", "))),
        );
        return format!("\nBEGIN\n    {refused}\nEND\n");
    }
    let set: Vec<String> = columns
        .iter()
        .map(|c| format!("{} = NULL", quote_ident(&c.name)))
        .collect();
    let changed = raise(
        view,
        "40001",
        "",
        "could not serialize access due to concurrent update",
        &format!(
            "pg_catalog.concat({}, ' was changed while it was being deleted.')",
            key_text(key, "OLD")
        ),
    );
    format!(
        "
BEGIN
    UPDATE ONLY {source} AS s SET {set}
    WHERE {found} AND {unchanged};
    IF NOT FOUND THEN
        PERFORM 1 FROM ONLY {source} AS s WHERE {found};
        IF FOUND THEN
            {changed}
        END IF;
        -- The row is gone: nothing was deleted here.
        RETURN NULL;
    END IF;
    RETURN OLD;
END
",
        source = quote_table(table),
        set = set.join(", "),
        found = same_key(key, "s", "OLD"),
        unchanged = same(columns, &values(columns, "s"), &values(columns, "OLD")),
    )
}

/// The query of the view: each column by its name, and the key as what no
/// UPDATE can set. The planner makes a plain column of it, for which the
/// table's indexes are found.
pub fn query(table: &TableName, key: &[MappedColumn], columns: &[MappedColumn]) -> String {
    let fixed = key.iter().map(|column| {
        let name = quote_ident(&column.name);
        format!("CASE WHEN true THEN {name} ELSE {name} END AS {name}")
    });
    let fixed: Vec<String> = fixed.collect();
    format!(
        "SELECT {}, {} FROM ONLY {}",
        fixed.join(", "),
        quote_list(columns.iter().map(|column| column.name.as_str())),
        quote_table(table)
    )
}
