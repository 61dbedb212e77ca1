//! Comparison of values by their image: the bytes that are stored.
//!
//! `=` is not good enough for a copy: it takes 1.0 for 1.00, 0 for -0 and one
//! interval for another, and some types (`json`, `xml`) have none. The general
//! way is `ROW(x)::record *<> ROW(y)::record`, the operator that refreshes
//! materialized views; it compares the bytes of any type, takes NULL for a
//! value like any other, and is written `OPERATOR(pg_catalog.*<>)`, so that no
//! `search_path` can put another one in its place.
//!
//! Forming the two records costs ten times what `=` costs. For types whose
//! values are equal exactly when their bytes are, the comparison is therefore
//! `IS DISTINCT FROM`, texts with the collation `C` because others may find
//! different texts equal. `IS DISTINCT FROM` looks its `=` up in the
//! `search_path`, which everything of ours pins (see
//! [`pins`](super::mapping::pins)).
//!
//! NULL is looked for with `IS NOT DISTINCT FROM NULL`, because `IS NULL` is
//! also true of a composite value that is there but has only NULL fields.

use super::mapping::{all_of, any_of, column};
use crate::expr::Expr;
use crate::step::MappedColumn;

/// Types without modifiers whose `=` compares all of their bytes.
const PLAIN: &[&str] = &[
    "smallint",
    "integer",
    "bigint",
    "oid",
    "boolean",
    "date",
    "time without time zone",
    "timestamp without time zone",
    "timestamp with time zone",
    "uuid",
    "bytea",
];

/// Types without modifiers whose `=` compares all of their bytes under the
/// collation `C`.
const COLLATED: &[&str] = &["text", "character varying"];

/// Values of the type, one of PostgreSQL's own, are equal exactly when their
/// images are; texts as long as their collation is deterministic.
pub fn is_exact(type_name: &str) -> bool {
    let base = without_modifiers(type_name);
    PLAIN.contains(&base.as_str()) || is_collated(type_name)
}

/// The type has a collation.
pub fn is_collated(type_name: &str) -> bool {
    COLLATED.contains(&without_modifiers(type_name).as_str())
}

/// A cast to the type by its canonical name.
pub(super) fn cast(expression: &str, type_name: &str) -> String {
    format!("({expression})::{type_name}")
}

/// The columns of a row.
pub(super) fn values(columns: &[MappedColumn], row: &str) -> Vec<String> {
    columns.iter().map(|c| column(row, &c.name)).collect()
}

/// What the columns would hold after the assignment of these expressions.
pub(super) fn assigned(columns: &[MappedColumn], expressions: &[Expr], row: &str) -> Vec<String> {
    columns
        .iter()
        .zip(expressions)
        .map(|(column, expr)| cast(&expr.on(row), &column.type_name))
        .collect()
}

/// Values of these columns have the same images. Never NULL.
pub(super) fn same(columns: &[MappedColumn], left: &[String], right: &[String]) -> String {
    all_of(compare(
        columns,
        left,
        right,
        "IS NOT DISTINCT FROM",
        "OPERATOR(pg_catalog.*=)",
    ))
}

/// Some values of these columns have different images. Never NULL.
pub(super) fn differs(columns: &[MappedColumn], left: &[String], right: &[String]) -> String {
    any_of(compare(
        columns,
        left,
        right,
        "IS DISTINCT FROM",
        "OPERATOR(pg_catalog.*<>)",
    ))
}

fn compare(
    columns: &[MappedColumn],
    left: &[String],
    right: &[String],
    plain: &str,
    image: &str,
) -> Vec<String> {
    let mut parts = Vec::new();
    let (mut left_record, mut right_record) = (Vec::new(), Vec::new());
    for ((column, left), right) in columns.iter().zip(left).zip(right) {
        let base = without_modifiers(&column.type_name);
        if PLAIN.contains(&base.as_str()) {
            parts.push(format!("{left} {plain} {right}"));
        } else if COLLATED.contains(&base.as_str()) {
            let collation = "COLLATE pg_catalog.\"C\"";
            parts.push(format!("{left} {collation} {plain} {right} {collation}"));
        } else {
            left_record.push(left.as_str());
            right_record.push(right.as_str());
        }
    }
    if !left_record.is_empty() {
        parts.push(format!(
            "ROW({})::record {image} ROW({})::record",
            left_record.join(", "),
            right_record.join(", ")
        ));
    }
    parts
}

/// A canonical type name without its modifiers: `character varying(5)` becomes
/// `character varying`, `timestamp(3) without time zone[]` becomes
/// `timestamp without time zone[]`.
///
/// `character` and `bit` alone would mean a length of one, and the fields of an
/// `interval` are modifiers, too.
pub fn without_modifiers(type_name: &str) -> String {
    let mut base = String::with_capacity(type_name.len());
    let (mut quoted, mut depth) = (false, 0_u32);
    for c in type_name.chars() {
        match c {
            '"' if depth == 0 => {
                quoted = !quoted;
                base.push(c);
            }
            '(' if !quoted => depth += 1,
            ')' if !quoted => depth = depth.saturating_sub(1),
            _ if depth == 0 => base.push(c),
            _ => {}
        }
    }
    let array = base.find('[').map_or("", |at| &base[at..]).to_owned();
    let element = base[..base.len() - array.len()].trim_end();
    let element = match element {
        "character" => "bpchar",
        "bit" => "\"bit\"",
        fields if fields.starts_with("interval ") => "interval",
        other => other,
    };
    format!("{element}{array}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_taken_off_every_kind_of_type() {
        for (full, base) in [
            ("numeric(10,2)", "numeric"),
            ("character varying(5)[]", "character varying[]"),
            ("character(5)", "bpchar"),
            ("bit(3)", "\"bit\""),
            ("bit varying(3)", "bit varying"),
            (
                "timestamp(3) without time zone",
                "timestamp without time zone",
            ),
            ("interval day to second(3)", "interval"),
            ("public.\"odd(type)\"", "public.\"odd(type)\""),
            ("public.geometry(Point,4326)", "public.geometry"),
            ("text", "text"),
        ] {
            assert_eq!(without_modifiers(full), base, "{full}");
        }
    }

    #[test]
    fn only_types_with_an_exact_equality_are_compared_by_it() {
        let columns: Vec<MappedColumn> =
            ["integer", "numeric(10,2)", "text", "public.text", "json"]
                .iter()
                .enumerate()
                .map(|(i, type_name)| MappedColumn {
                    name: format!("c{i}"),
                    type_name: (*type_name).to_owned(),
                    default: None,
                })
                .collect();
        assert_eq!(
            differs(&columns, &values(&columns, "NEW"), &values(&columns, "OLD")),
            "(NEW.\"c0\" IS DISTINCT FROM OLD.\"c0\" OR \
             NEW.\"c2\" COLLATE pg_catalog.\"C\" IS DISTINCT FROM OLD.\"c2\" COLLATE pg_catalog.\"C\" OR \
             ROW(NEW.\"c1\", NEW.\"c3\", NEW.\"c4\")::record OPERATOR(pg_catalog.*<>) \
             ROW(OLD.\"c1\", OLD.\"c3\", OLD.\"c4\")::record)"
        );
        assert!(
            same(&columns, &values(&columns, "NEW"), &values(&columns, "OLD")).contains(" AND ")
        );
    }
}
