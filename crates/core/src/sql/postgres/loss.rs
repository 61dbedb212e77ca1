//! What a change of type loses.
//!
//! A value is *lost* where it is not found again in what has become of it:
//! `CAST(new AS old_type)`, or the plan's `down`, gives another value than the
//! old column holds. Whether two types may lose at all is known ahead for the
//! server's own ones ([`cannot_lose`]); those pairs are never looked at.
//!
//! # What "another value" means
//! - Numbers are compared by `=`: 1.50 and 1.5 are one number, and so are 0 and
//!   -0, NaN and NaN. How many zeros stand behind a fraction is how a value is
//!   shown. (A copy, which must not change even that, is compared by image.)
//! - Texts are compared byte by byte, trailing blanks and case included;
//!   `character(n)` without its trailing blanks, which mean nothing there.
//! - All else by [image](super::image): equal to the last byte, after the cast
//!   back to the old type with its modifiers.
//!
//! # Why not just the cast back
//! The server's casts between binary and decimal fractions keep 15 digits
//! (`real`: 6), and some fail for values that other casts have given
//! (`2147483647::real::integer`). A condition that fails would make the
//! application pay, which writes beside us. So these pairs have conditions of
//! their own; [`may_fail`] says of the others whether the trigger has to be
//! ready for an error.

use super::image::{cast, differs, without_modifiers};
use super::mapping::{any_of, column};
use crate::expr::Volatility;
use crate::step::{Back, MappedColumn, Mapping};

const SMALLINT: &str = "smallint";
const INTEGER: &str = "integer";
const BIGINT: &str = "bigint";
const NUMERIC: &str = "numeric";
const REAL: &str = "real";
const DOUBLE: &str = "double precision";
const TEXT: &str = "text";
const VARCHAR: &str = "character varying";
const CHAR: &str = "bpchar";
const TIMESTAMP: &str = "timestamp without time zone";
const TIMESTAMPTZ: &str = "timestamp with time zone";
const TIME: &str = "time without time zone";
const TIMETZ: &str = "time with time zone";

/// Types whose values become text that says all of them, under our settings.
const SPELT: &[&str] = &[
    SMALLINT,
    INTEGER,
    BIGINT,
    NUMERIC,
    REAL,
    DOUBLE,
    TEXT,
    VARCHAR,
    CHAR,
    TIMESTAMP,
    TIMESTAMPTZ,
    TIME,
    TIMETZ,
    "boolean",
    "date",
    "uuid",
    "bytea",
    "json",
    "jsonb",
];

/// Types whose values are the same number, or nearly so, in each other.
const NUMBERS: &[&str] = &[SMALLINT, INTEGER, BIGINT, NUMERIC, REAL, DOUBLE];

/// Digits behind the point of a number that has none: no modifiers.
type Digits = Option<(i32, i32)>;

/// The server's default cast, from one canonical type to another, never loses
/// anything: a value that does not fit is an error.
///
/// Tried on real servers with extreme values: `crates/engine/tests/losses.rs`.
pub fn cannot_lose(from: &str, to: &str) -> bool {
    let (old, new) = (without_modifiers(from), without_modifiers(to));
    if from == to || (old == new && new == to) {
        // The same type, and no modifier that could cut.
        return true;
    }
    match (old.as_str(), new.as_str()) {
        // A number that does not fit is an error.
        (SMALLINT | INTEGER | BIGINT, SMALLINT | INTEGER | BIGINT) => true,
        (SMALLINT | INTEGER | BIGINT, NUMERIC) => digits(to).is_none_or(|(_, scale)| scale >= 0),
        (SMALLINT, REAL) | (SMALLINT | INTEGER | REAL, DOUBLE) => true,
        (NUMERIC, SMALLINT | INTEGER | BIGINT) => digits(from).is_some_and(|(_, scale)| scale <= 0),
        // As many digits behind the point; too many before it are an error.
        (NUMERIC, NUMERIC) => match (digits(from), digits(to)) {
            (_, None) => true,
            (Some((_, from)), Some((_, to))) => from <= to,
            (None, Some(_)) => false,
        },
        // As many digits as binary fractions keep.
        (NUMERIC, REAL) => decimal(from, 6),
        (NUMERIC, DOUBLE) => decimal(from, 15),
        // Trailing blanks mean nothing in `character(n)`, and a text of another
        // length is an error.
        (CHAR, TEXT | VARCHAR | CHAR) => true,
        (TEXT | VARCHAR, TEXT) => true,
        (TEXT | VARCHAR, VARCHAR) if new == to => true,
        // Blanks behind the n-th character are cut without an error.
        (VARCHAR, VARCHAR) => match (number(from), number(to)) {
            (Some(from), Some(to)) => from <= to,
            _ => false,
        },
        // Under our settings a time without a zone is one in UTC.
        (TIMESTAMP | TIMESTAMPTZ, TIMESTAMP | TIMESTAMPTZ) | (TIME, TIME) | (TIMETZ, TIMETZ) => {
            number(from).unwrap_or(6) <= number(to).unwrap_or(6)
        }
        ("date", TIMESTAMP | TIMESTAMPTZ) => true,
        ("boolean", INTEGER) => true,
        ("jsonb", "json") | (TEXT | VARCHAR, "json") | ("cidr", "inet") => true,
        (spelt, TEXT | VARCHAR) => new == to && SPELT.contains(&spelt),
        _ => false,
    }
}

/// Why nearly every value loses something from one type to the other.
pub fn always_loses(from: &str, to: &str) -> Option<&'static str> {
    let old = without_modifiers(from);
    let texts = ["json", TEXT, VARCHAR, CHAR];
    (texts.contains(&old.as_str()) && to == "jsonb").then_some(
        "jsonb keeps neither blanks nor the order of keys, and of equal keys the last one only",
    )
}

/// Precision and scale of a `numeric(p,s)`.
fn digits(type_name: &str) -> Digits {
    let (_, inner) = type_name.split_once('(')?;
    let (precision, scale) = inner.split_once(')')?.0.split_once(',')?;
    Some((precision.trim().parse().ok()?, scale.trim().parse().ok()?))
}

/// It has at most so many digits, none of them far from the point.
fn decimal(type_name: &str, most: i32) -> bool {
    digits(type_name)
        .is_some_and(|(precision, scale)| precision <= most && (0..=precision).contains(&scale))
}

/// The number in the parentheses of a type's name.
fn number(type_name: &str) -> Option<u32> {
    let (_, inner) = type_name.split_once('(')?;
    inner.split_once(')')?.0.trim().parse().ok()
}

/// The old and the new column of a mapping that may lose, and the way back.
fn parts(mapping: &Mapping) -> Option<(&MappedColumn, &MappedColumn, &Back)> {
    let back = mapping.back.as_ref()?;
    Some((mapping.old.first()?, mapping.new.first()?, back))
}

/// The row's old value is not found again in its new one. Never NULL; never
/// true of a mapping that loses nothing, or may.
pub fn lost(mapping: &Mapping, row: &str) -> Option<String> {
    let (_, new, _) = parts(mapping)?;
    lost_in(mapping, row, &column(row, &new.name))
}

/// The row's old value would not be found again once the row is filled.
pub fn would_lose(mapping: &Mapping, row: &str) -> Option<String> {
    let (_, new, _) = parts(mapping)?;
    let up = super::mapping::ups(mapping).first()?;
    lost_in(mapping, row, &cast(&up.on(row), &new.type_name))
}

fn lost_in(mapping: &Mapping, row: &str, value: &str) -> Option<String> {
    let (old, new, back) = parts(mapping)?;
    let before = column(row, &old.name);
    let condition = match back {
        Back::Cast { .. } => cast_loses(old, new, &before, value),
        Back::Down { down } => other(
            old,
            &before,
            &format!("({})", down.with(|_| value.to_owned())),
        ),
    };
    // NULL has nothing to lose.
    Some(format!(
        "({before} IS DISTINCT FROM NULL AND ({condition}))"
    ))
}

/// Some mapping has lost a value of this row.
pub fn any_lost(mappings: &[Mapping], row: &str) -> Option<String> {
    let each: Vec<String> = mappings.iter().filter_map(|m| lost(m, row)).collect();
    (!each.is_empty()).then(|| any_of(each))
}

/// What is told of a lost value: nothing of the value itself.
pub fn says(mapping: &Mapping) -> Option<String> {
    let (old, new, _) = parts(mapping)?;
    Some(format!(
        "{} of type {} is not found again in {}",
        old.name, old.type_name, new.type_name
    ))
}

fn cast_loses(old: &MappedColumn, new: &MappedColumn, before: &str, value: &str) -> String {
    let types = (
        without_modifiers(&old.type_name),
        without_modifiers(&new.type_name),
    );
    match (types.0.as_str(), types.1.as_str()) {
        // Numbers that a float holds may be beyond the integer's end: compared
        // as the widest one, or not at all.
        (INTEGER, REAL | DOUBLE) => format!("({value})::bigint IS DISTINCT FROM {before}"),
        (BIGINT, REAL | DOUBLE) => format!(
            "CASE WHEN {value} < '9223372036854775808'::double precision THEN ({value})::bigint END IS DISTINCT FROM {before}"
        ),
        // Rounded up to hundreds, a number may lie behind the integer's end.
        (SMALLINT | INTEGER | BIGINT, NUMERIC) => format!("{value} IS DISTINCT FROM {before}"),
        // A float's shortest text says all of it, its cast to numeric does not.
        (NUMERIC, REAL | DOUBLE) => {
            let text = other(old, before, &format!("({value})::text"));
            format!("{text} AND {}", other(old, before, value))
        }
        (REAL | DOUBLE, NUMERIC) => {
            let end = match types.0.as_str() {
                REAL => "3.4028234e38",
                _ => "1.797693134862315e308",
            };
            format!(
                "{before}::text::numeric IS DISTINCT FROM {value} AND CASE WHEN {value} BETWEEN -{end} AND {end} THEN ({value})::{float} END IS DISTINCT FROM {before}",
                float = types.0,
            )
        }
        _ => other(old, before, value),
    }
}

/// What leads back gives another value than the old column holds. What a new
/// version writes has come there by an assignment, which rounds to the column's
/// digits, and so does this: but where there are too many of them, no error is
/// raised.
fn other(old: &MappedColumn, before: &str, back: &str) -> String {
    let base = without_modifiers(&old.type_name);
    match (base.as_str(), digits(&old.type_name)) {
        (NUMERIC, Some((_, scale))) => {
            format!("pg_catalog.round(({back})::numeric, {scale}) IS DISTINCT FROM {before}")
        }
        (NUMERIC | REAL | DOUBLE, _) => format!("({back})::{base} IS DISTINCT FROM {before}"),
        (TEXT | VARCHAR | CHAR, _) => {
            let collation = "COLLATE pg_catalog.\"C\"";
            format!("({back})::{base} {collation} IS DISTINCT FROM {before} {collation}")
        }
        _ => {
            let value = cast(back, &old.type_name);
            let element = base.split('[').next().unwrap_or_default();
            if [NUMERIC, REAL, DOUBLE].contains(&element) {
                return format!("{value} IS DISTINCT FROM {before}");
            }
            differs(std::slice::from_ref(old), &[before.to_owned()], &[value])
        }
    }
}

/// The condition may end in an error for a value that stands in the table: it
/// does not for the server's own types, which have been tried.
pub fn may_fail(mapping: &Mapping) -> bool {
    let Some((old, new, back)) = parts(mapping) else {
        return false;
    };
    let types = [&old.type_name, &new.type_name].map(|name| without_modifiers(name));
    let known = |names: &[&str]| types.iter().all(|name| names.contains(&name.as_str()));
    let tried = known(NUMBERS)
        || known(&[TEXT, VARCHAR, CHAR])
        // Rounded to fewer digits, the last moment there is lies behind the end.
        || (known(&[TIMESTAMP, TIMESTAMPTZ, "date"]) && new.type_name == "date")
        || known(&[TIME])
        || known(&["interval"]);
    !(tried && matches!(back, Back::Cast { .. }))
}

/// The condition depends on the session that evaluates it.
pub fn reads_settings(mapping: &Mapping) -> bool {
    let Some((old, new, back)) = parts(mapping) else {
        return false;
    };
    let volatility = match back {
        Back::Cast { volatility } => *volatility,
        Back::Down { down } => down.volatility,
    };
    let formatted = ["real", "double precision", "bytea"];
    volatility != Volatility::Immutable
        || [old, new].iter().any(|column| {
            let name = without_modifiers(&column.type_name);
            formatted.contains(&name.as_str())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_lose_is_known_by_its_types() {
        for (from, to, safe) in [
            ("integer", "bigint", true),
            ("bigint", "smallint", true),
            ("integer", "real", false),
            ("bigint", "double precision", false),
            ("integer", "numeric(5,-2)", false),
            ("numeric(12,4)", "numeric(12,2)", false),
            ("numeric(12,2)", "numeric(12,4)", true),
            ("numeric(12,2)", "numeric(5,2)", true),
            ("numeric", "numeric(40,20)", false),
            ("numeric(40,20)", "numeric", true),
            ("numeric(9,0)", "integer", true),
            ("numeric(9,1)", "integer", false),
            ("numeric(15,2)", "double precision", true),
            ("numeric(16,2)", "double precision", false),
            ("double precision", "numeric", false),
            ("double precision", "real", false),
            ("real", "double precision", true),
            ("character varying(5)", "character varying(5)", true),
            ("character varying(5)", "character varying(4)", false),
            ("character varying", "character varying(9)", false),
            ("character varying(9)", "text", true),
            ("text", "character(9)", false),
            ("character(9)", "character varying(4)", true),
            ("timestamp without time zone", "date", false),
            ("date", "timestamp(0) without time zone", true),
            (
                "timestamp(3) without time zone",
                "timestamp with time zone",
                true,
            ),
            (
                "timestamp with time zone",
                "timestamp(3) with time zone",
                false,
            ),
            ("interval", "interval day to second", false),
            ("interval(3)", "interval", true),
            ("json", "jsonb", false),
            ("jsonb", "json", true),
            ("text", "integer", false),
            ("integer", "text", true),
            ("integer", "character varying(4)", false),
            ("public.citext", "text", false),
            ("public.\"odd(type)\"", "public.\"odd(type)\"", true),
        ] {
            assert_eq!(cannot_lose(from, to), safe, "{from} to {to}");
        }
    }

    #[test]
    fn what_always_loses_has_its_reason() {
        assert!(always_loses("json", "jsonb").is_some());
        assert!(always_loses("character varying(40)", "jsonb").is_some());
        assert!(always_loses("jsonb", "json").is_none());
    }
}
