//! Errors that triggers of ours raise in the place of a constraint to come.

use super::mapping::column;
use crate::name::TableName;
use crate::sql::quote::quote_literal;
use crate::step::MappedColumn;

/// What is raised.
pub(super) struct Raised<'a> {
    /// Its SQLSTATE.
    pub(super) code: &'a str,
    /// The primary message.
    pub(super) message: &'a str,
    /// An expression that gives the detail.
    pub(super) detail: &'a str,
    /// The table that it is about.
    pub(super) table: &'a TableName,
    /// The constraint, if it is about one.
    pub(super) constraint: &'a str,
}

/// The statement that raises it.
pub(super) fn raise(raised: &Raised<'_>) -> String {
    let Raised {
        code,
        message,
        detail,
        table,
        constraint,
    } = raised;
    let about = match *constraint {
        "" => String::new(),
        name => format!(", CONSTRAINT = {}", quote_literal(name)),
    };
    format!(
        "RAISE EXCEPTION USING ERRCODE = '{code}', MESSAGE = {}, DETAIL = {detail}, SCHEMA = {}, TABLE = {}{about};",
        quote_literal(message),
        quote_literal(&table.schema),
        quote_literal(&table.name),
    )
}

/// `Key (a, b)=(1, 2)`, as an expression.
pub(super) fn key_text(key: &[MappedColumn], row: &str) -> String {
    let names: Vec<&str> = key.iter().map(|column| column.name.as_str()).collect();
    let texts: Vec<String> = key
        .iter()
        .map(|c| format!("{}::text", column(row, &c.name)))
        .collect();
    format!(
        "pg_catalog.concat({}, pg_catalog.concat_ws(', ', {}), ')')",
        quote_literal(&format!("Key ({})=(", names.join(", "))),
        texts.join(", ")
    )
}
