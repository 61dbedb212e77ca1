//! What `set_storage` and `set_compression` share: what becomes of the values
//! that a column holds, which stay as they are or are stored anew.
//!
//! `SET c = c` hands the stored value on as it is, compressed or outside the
//! row, and stores nothing anew. An expression that computes an equal value
//! does (tried on servers of each kind of type below). Such an expression has
//! to leave the value exactly as it is, under any settings, so only types for
//! which there is one are known here.

use crate::catalog::{Column, Table};
use crate::lower::{Asking, Lowering, mapped};
use crate::ops::common::TableRef;
use crate::sql::quote::quote_ident;
use crate::step::{Action, Backfill, BackfillWork, Phase, Undo};

/// An expression that gives what the column holds, made anew.
pub(super) fn anew(column: &str, type_name: &str) -> Option<String> {
    let name = quote_ident(column);
    let base = crate::sql::postgres::image::without_modifiers(type_name);
    if base.ends_with("[]") {
        // Of NULL and an empty array `||` makes an empty array: the condition
        // that goes with this expression is never true of NULL.
        return Some(format!("{name} || '{{}}'::{base}"));
    }
    match base.as_str() {
        "text" | "character varying" => Some(format!("{name} || ''")),
        "bytea" => Some(format!("{name} || ''::bytea")),
        // The blanks that the cast takes off come back with the length.
        "bpchar" if type_name.starts_with("character(") => Some(format!("{name}::text")),
        "json" | "jsonb" => Some(format!("{name}::text::{base}")),
        "numeric" => Some(format!("{name} + 0")),
        _ => None,
    }
}

/// Says what becomes of the values that are there: what meets the condition of
/// `rewritten` is stored anew; without one all stay as they are, `stored` or
/// `compressed`.
pub(super) fn existing(
    lowering: &mut Lowering<'_>,
    table: &Table,
    column: &Column,
    rewritten: Option<String>,
    stored: &str,
) {
    match rewritten {
        Some(condition) => store_anew(lowering, table, column, &condition),
        None => lowering.note(format!(
            "What {}.{} holds stays as it is {stored}, row by row, until it is written next.",
            table.name, column.def.name
        )),
    }
}

/// Adds a backfill that stores anew what meets the condition.
fn store_anew(lowering: &mut Lowering<'_>, table: &Table, column: &Column, condition: &str) {
    let name = &column.def.name;
    lowering.refuse_unwritable(table, column);
    let type_name = &column.def.type_name;
    let Some(text) = anew(name, type_name) else {
        lowering.unsafe_(
            format!("no UPDATE is known that stores a {type_name} anew and leaves {}.{name} exactly as it is", table.name),
            "Leave `rewrite` out: a row takes the setting when its value is written next.",
        );
        return;
    };
    let (Some(set), Some(filter)) = (
        lowering.facts(&table.name, &text, Some(type_name), "set"),
        lowering.facts(&table.name, condition, Some("boolean"), "where"),
    ) else {
        return;
    };
    lowering.updates_rows(table, std::iter::once(name.as_str()));
    let action = Action::Backfill(Backfill {
        table: table.name.clone(),
        work: BackfillWork::Update {
            set: vec![(mapped(column), set.expr)],
            filter: filter.expr,
        },
        cursor: lowering.cursor(),
    });
    lowering.step(
        Phase::Backfill,
        format!("store {}.{name} anew", table.name),
        action,
        Undo::Nothing,
    );
}

/// The questions behind [`existing`], and what the column's type is.
pub(super) fn ask(
    asking: &mut Asking<'_>,
    table: &TableRef,
    column: &str,
    rewritten: Option<String>,
) {
    let table = asking.table(table);
    let Some(type_name) = asking.type_of(&table, column) else {
        return;
    };
    asking.type_name(type_name);
    let Some(condition) = rewritten else {
        return;
    };
    if let Some(text) = anew(column, type_name) {
        asking.expression(&table, &text, Some(type_name));
    }
    asking.expression(&table, &condition, Some("boolean"));
}

#[cfg(test)]
mod tests {
    use super::anew;

    #[test]
    fn only_types_with_an_exact_expression_are_known() {
        for (type_name, text) in [
            ("text", Some("\"c\" || ''")),
            ("character varying(5)", Some("\"c\" || ''")),
            ("character(5)", Some("\"c\"::text")),
            ("bpchar", None),
            ("jsonb", Some("\"c\"::text::jsonb")),
            ("numeric(900,2)", Some("\"c\" + 0")),
            (
                "character varying(5)[]",
                Some("\"c\" || '{}'::character varying[]"),
            ),
            ("xml", None),
            ("tsvector", None),
            ("public.text", None),
        ] {
            assert_eq!(anew("c", type_name).as_deref(), text, "{type_name}");
        }
    }
}
