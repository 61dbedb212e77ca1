//! What a mapping demands of a row, as SQL conditions.
//!
//! The trigger, the batch and the verify pass render the same functions on
//! their own row (`NEW`, `OLD`, or a table alias), so they cannot disagree on
//! what "in step" means.
//!
//! # How values are compared
//! Always by *image*, so that 1.0 is not 1.00: see [`image`](super::image).
//!
//! # How an expression's result meets its column
//! It is *compared* after an explicit cast to the column's type with
//! modifiers, since the column can hold nothing else. It is *assigned* without
//! that cast: an explicit cast would cut a text that is too long for a
//! `varchar(5)` without a word, where an assignment fails with 22001, which is
//! what the owner of the data wants. Where a value must stand in a `CASE` next
//! to the column itself ([`fill_set`] with several mappings), it is cast to the
//! type without modifiers, which changes no value, and the assignment still
//! checks the length.
//!
//! # What is never decided here
//! Which of two values that contradict each other is the right one.
//! [`mismatch`] finds such a row, [`repairable`] says it is none of ours to
//! repair.

use super::image::{assigned, cast, differs, same, values, without_modifiers};
use super::loss::{self, lost};
use super::sync::SCHEMA;
use crate::expr::{Expr, Volatility};
use crate::sql::quote::{quote_ident, quote_literal, quote_qualified, quote_table};
use crate::step::{Back, Lookup, MappedColumn, Mapping, Rule, Twin};

/// The condition that no row meets.
const NEVER: &str = "false";

/// A column of a row: `NEW."email"`.
pub fn column(row: &str, name: &str) -> String {
    format!("{row}.{}", quote_ident(name))
}

/// True where a value is NULL as a whole; see [`image`](super::image).
fn is_null(value: &str) -> String {
    format!("{value} IS NOT DISTINCT FROM NULL")
}

fn is_not_null(value: &str) -> String {
    format!("{value} IS DISTINCT FROM NULL")
}

/// Conditions tied by AND, in parentheses when there are several.
pub fn all_of(conditions: Vec<String>) -> String {
    tie(conditions, " AND ", "true")
}

/// Conditions tied by OR, in parentheses when there are several. Those that
/// nothing meets are left out.
pub fn any_of(mut conditions: Vec<String>) -> String {
    conditions.retain(|condition| condition != NEVER);
    tie(conditions, " OR ", NEVER)
}

fn tie(mut conditions: Vec<String>, with: &str, none: &str) -> String {
    match conditions.len() {
        0 => none.to_owned(),
        1 => conditions.remove(0),
        _ => format!("({})", conditions.join(with)),
    }
}

/// The columns of a group are all NULL.
pub fn all_null(columns: &[MappedColumn], row: &str) -> String {
    all_of(
        columns
            .iter()
            .map(|c| is_null(&column(row, &c.name)))
            .collect(),
    )
}

/// Some column of a group is not NULL.
fn any_given(columns: &[MappedColumn], row: &str) -> String {
    any_of(
        columns
            .iter()
            .map(|c| is_not_null(&column(row, &c.name)))
            .collect(),
    )
}

/// Some column of a group is NULL.
pub(super) fn any_null(columns: &[MappedColumn], row: &str) -> String {
    any_of(
        columns
            .iter()
            .map(|c| is_null(&column(row, &c.name)))
            .collect(),
    )
}

/// The columns of a group differ between two rows: `changed(old, "NEW", "OLD")`.
/// Never true of an empty group.
pub fn changed(columns: &[MappedColumn], row: &str, before: &str) -> String {
    if columns.is_empty() {
        return NEVER.to_owned();
    }
    differs(columns, &values(columns, row), &values(columns, before))
}

/// An INSERT that leaves the group's columns out cannot be told from this row:
/// each is NULL or equal to its default.
pub fn not_given(columns: &[MappedColumn], row: &str) -> String {
    let each = columns
        .iter()
        .map(|c| {
            let value = column(row, &c.name);
            let mut ways = vec![is_null(&value)];
            if let Some(default) = &c.default {
                let default = cast(&default.on(row), &c.type_name);
                ways.push(same(std::slice::from_ref(c), &[value], &[default]));
            }
            any_of(ways)
        })
        .collect();
    all_of(each)
}

/// The expressions that compute the new columns; empty for a dropped column,
/// and for a reference, which is [`found`].
pub fn ups(mapping: &Mapping) -> &[Expr] {
    match &mapping.rule {
        Rule::Pair { up, .. }
        | Rule::Fill { up }
        | Rule::Derived { up }
        | Rule::Copied { up, .. } => up,
        Rule::Referred { .. } | Rule::Omitted { .. } => &[],
    }
}

/// The expressions that compute the old columns; empty where nothing leads back,
/// and for a reference.
pub fn downs(mapping: &Mapping) -> &[Expr] {
    match &mapping.rule {
        Rule::Pair { down, .. } | Rule::Omitted { down } => down,
        Rule::Fill { .. } | Rule::Derived { .. } | Rule::Copied { .. } | Rule::Referred { .. } => {
            &[]
        }
    }
}

/// The new columns hold what `up` gives.
pub fn equals_up(mapping: &Mapping, row: &str) -> String {
    same(
        &mapping.new,
        &values(&mapping.new, row),
        &assigned(&mapping.new, ups(mapping), row),
    )
}

/// The new columns do not hold what `up` gives.
pub fn differs_from_up(mapping: &Mapping, row: &str) -> String {
    differs(
        &mapping.new,
        &values(&mapping.new, row),
        &assigned(&mapping.new, ups(mapping), row),
    )
}

/// Old and new agree. Never NULL.
///
/// - `Pair`: `new = up(old) OR old = down(new)`. Either is enough: `up` or
///   `down` may lose something (a case, a fraction), and a value that one side
///   cannot express is no contradiction.
/// - `Fill`: not [`unfilled`]; the writer's own value is as good as a computed one.
/// - `Derived`: `new = up(old)`.
/// - `Copied`: the same; whether the twin is there, only [`mismatch`] asks.
/// - `Referred`: both sides hold nothing, or the row of the lookup table that
///   `new` refers to holds what `old` does.
/// - `Omitted`: always.
pub fn in_step(mapping: &Mapping, row: &str) -> String {
    match &mapping.rule {
        Rule::Pair { down, .. } => any_of(vec![
            equals_up(mapping, row),
            same(
                &mapping.old,
                &values(&mapping.old, row),
                &assigned(&mapping.old, down, row),
            ),
        ]),
        Rule::Fill { .. } => format!("NOT ({})", unfilled(mapping, row)),
        Rule::Derived { .. } | Rule::Copied { .. } => equals_up(mapping, row),
        Rule::Referred { lookup } => refers(mapping, lookup, row),
        Rule::Omitted { .. } => "true".to_owned(),
    }
}

/// The alias of a row of a lookup table.
pub(super) const LOOKUP: &str = "pontoon_lookup";

/// The row of the lookup table that the reference names holds what the old
/// columns do. It is looked up by its key, for which see [`alone`].
fn refers(mapping: &Mapping, lookup: &Lookup, row: &str) -> String {
    format!(
        "(CASE WHEN {} THEN {} ELSE EXISTS (SELECT FROM ONLY {} AS {LOOKUP} WHERE {} AND {} OFFSET 0) END)",
        all_null(&mapping.new, row),
        all_null(&mapping.old, row),
        quote_table(&lookup.table),
        is_referred_to(mapping, lookup, row),
        same(
            &mapping.old,
            &values(&mapping.old, LOOKUP),
            &values(&mapping.old, row)
        ),
    )
}

/// The reference of a row names this row of the lookup table.
pub(super) fn is_referred_to(mapping: &Mapping, lookup: &Lookup, row: &str) -> String {
    let references = mapping.new.iter().map(|reference| {
        let id = column(LOOKUP, &lookup.id);
        let reference = column(row, &reference.name);
        format!("{id} OPERATOR(pg_catalog.=) {reference}")
    });
    all_of(references.collect())
}

/// The id of the values of the old columns; NULL where they are in no row of the
/// lookup table, or nothing themselves.
pub(super) fn found(mapping: &Mapping, lookup: &Lookup, row: &str) -> String {
    format!(
        "(SELECT {} FROM ONLY {} AS {LOOKUP} WHERE {})",
        column(LOOKUP, &lookup.id),
        quote_table(&lookup.table),
        same_key(&mapping.old, LOOKUP, row),
    )
}

/// The same, from a function that adds what is in no row yet.
pub(super) fn found_or_added(mapping: &Mapping, lookup: &Lookup, row: &str) -> String {
    format!(
        "{}({})",
        find_function(lookup),
        values(&mapping.old, row).join(", ")
    )
}

/// The function that adds values, quoted and qualified.
pub(super) fn find_function(lookup: &Lookup) -> String {
    quote_qualified(SCHEMA, &lookup.find)
}

/// Every new column is NULL although `up` gives a value for at least one, or
/// the old columns hold something to refer to: nobody has computed them yet.
/// Never NULL.
pub fn unfilled(mapping: &Mapping, row: &str) -> String {
    if let Rule::Referred { .. } = mapping.rule {
        return all_of(vec![
            all_null(&mapping.new, row),
            any_given(&mapping.old, row),
        ]);
    }
    let up = ups(mapping);
    if up.is_empty() {
        return NEVER.to_owned();
    }
    let something = up
        .iter()
        .map(|expr| is_not_null(&format!("({})", expr.on(row))))
        .collect();
    all_of(vec![all_null(&mapping.new, row), any_of(something)])
}

/// A backfill must change the row.
///
/// For `Pair` this is [`unfilled`] alone: a row whose new columns are all NULL
/// and which is not in step is unfilled by definition, and one that holds a
/// value already is not the backfill's to change.
pub fn needs_fill(mapping: &Mapping, row: &str) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Fill { .. } | Rule::Referred { .. } => unfilled(mapping, row),
        Rule::Derived { .. } | Rule::Copied { .. } => differs_from_up(mapping, row),
        Rule::Omitted { .. } => NEVER.to_owned(),
    }
}

/// A backfill must change the row for the sake of at least one mapping.
pub fn any_needs_fill(mappings: &[Mapping], row: &str) -> String {
    any_of(mappings.iter().map(|m| needs_fill(m, row)).collect())
}

/// True of every row that meets [`any_needs_fill`], and of some others: what a
/// row alone tells, without computing any expression. For counting ahead.
pub fn any_may_need_fill(mappings: &[Mapping], row: &str) -> String {
    any_of(
        mappings
            .iter()
            .map(|mapping| match &mapping.rule {
                Rule::Pair { .. } | Rule::Fill { .. } => all_null(&mapping.new, row),
                // Only what sets the mark fills it, and it sets it for ever.
                Rule::Copied { .. } => any_null(&mapping.new, row),
                Rule::Referred { .. } => unfilled(mapping, row),
                Rule::Derived { .. } => "true".to_owned(),
                Rule::Omitted { .. } => NEVER.to_owned(),
            })
            .collect(),
    )
}

/// The backfill's `SET`: `(column, expression)` for every column that some
/// mapping fills, each once, unquoted name first.
///
/// The expressions are right for rows that meet [`any_needs_fill`] and for no
/// others. With several mappings, one that needs no fill on a row keeps its
/// own value there.
pub fn fill_set(mappings: &[Mapping], row: &str) -> Vec<(String, String)> {
    let filling: Vec<&Mapping> = mappings
        .iter()
        .filter(|mapping| needs_fill(mapping, row) != NEVER)
        .collect();
    let mut set: Vec<(String, Vec<Way<'_>>)> = Vec::new();
    for mapping in &filling {
        for (target, filling) in mapping.new.iter().zip(fillings(mapping, row)) {
            let way = Way {
                mapping,
                target,
                filling,
            };
            match set.iter_mut().find(|(name, _)| *name == target.name) {
                Some((_, ways)) => ways.push(way),
                None => set.push((target.name.clone(), vec![way])),
            }
        }
    }
    set.into_iter()
        .map(|(name, ways)| {
            let value = match ways.as_slice() {
                [way] if filling.len() == 1 => way.filling.clone(),
                [way] => way.alone(row),
                ways => choice(ways.iter().map(|way| way.when_needed(row)), row, &name),
            };
            (name, value)
        })
        .collect()
}

/// What a row's new columns are filled with.
fn fillings(mapping: &Mapping, row: &str) -> Vec<String> {
    match &mapping.rule {
        Rule::Referred { lookup } => vec![found_or_added(mapping, lookup, row)],
        Rule::Pair { .. }
        | Rule::Fill { .. }
        | Rule::Derived { .. }
        | Rule::Copied { .. }
        | Rule::Omitted { .. } => ups(mapping).iter().map(|expr| expr.on(row)).collect(),
    }
}

/// One mapping's value for one column.
struct Way<'a> {
    mapping: &'a Mapping,
    target: &'a MappedColumn,
    filling: String,
}

impl Way<'_> {
    fn value(&self) -> String {
        cast(&self.filling, &without_modifiers(&self.target.type_name))
    }

    /// Exact, for a column that another mapping fills as well.
    fn when_needed(&self, row: &str) -> (String, String) {
        (needs_fill(self.mapping, row), self.value())
    }

    /// For a column that only this mapping fills, the expression needs to be
    /// evaluated once: where it gives NULL, a column that is NULL stays so,
    /// and a derived column that is in step is given what it holds.
    fn alone(&self, row: &str) -> String {
        match &self.mapping.rule {
            Rule::Derived { .. } | Rule::Copied { .. } => self.value(),
            Rule::Pair { .. }
            | Rule::Fill { .. }
            | Rule::Referred { .. }
            | Rule::Omitted { .. } => {
                let empty = all_null(&self.mapping.new, row);
                choice(
                    std::iter::once((empty, self.value())),
                    row,
                    &self.target.name,
                )
            }
        }
    }
}

/// The first value whose condition holds, else what the column holds.
fn choice(ways: impl Iterator<Item = (String, String)>, row: &str, name: &str) -> String {
    let whens: String = ways
        .map(|(when, value)| format!("WHEN {when} THEN {value} "))
        .collect();
    format!("CASE {whens}ELSE {} END", column(row, name))
}

/// No row of the other table has the same key and the same values, by image.
/// Never NULL.
///
/// `OFFSET 0` keeps the planner from making a join of it: one that reads the
/// other table as a whole, for each chunk anew, looks cheap where the scans that
/// find single rows are turned off. So each row is looked up by its key.
fn alone(twin: &Twin, row: &str) -> String {
    let all: Vec<MappedColumn> = twin.key.iter().chain(&twin.columns).cloned().collect();
    format!(
        "NOT EXISTS (SELECT FROM ONLY {} AS {TWIN} WHERE {} AND {} OFFSET 0)",
        quote_table(&twin.table),
        same_key(&twin.key, TWIN, row),
        same(&all, &values(&all, TWIN), &values(&all, row)),
    )
}

/// The alias of the row of the other table.
const TWIN: &str = "pontoon_twin";

/// Two rows have the same key, as the key's own index finds it.
pub(super) fn same_key(key: &[MappedColumn], left: &str, right: &str) -> String {
    all_of(
        key.iter()
            .map(|c| {
                let (left, right) = (column(left, &c.name), column(right, &c.name));
                format!("{left} OPERATOR(pg_catalog.=) {right}")
            })
            .collect(),
    )
}

/// A verify pass must report the row. Never NULL.
pub fn mismatch(mapping: &Mapping, row: &str) -> String {
    let mut reasons = match &mapping.rule {
        Rule::Pair { .. } => vec![
            format!("NOT {}", in_step(mapping, row)),
            unfilled(mapping, row),
        ],
        Rule::Fill { .. } => vec![unfilled(mapping, row)],
        Rule::Derived { .. } => vec![differs_from_up(mapping, row)],
        Rule::Copied { twin, .. } => vec![differs_from_up(mapping, row), alone(twin, row)],
        Rule::Referred { .. } => vec![format!("NOT {}", in_step(mapping, row))],
        Rule::Omitted { .. } => vec![],
    };
    if mapping.required {
        reasons.push(any_null(&mapping.new, row));
    }
    reasons.extend(lost(mapping, row));
    any_of(reasons)
}

/// The right value of a row that meets [`mismatch`] is beyond doubt, so a
/// verify pass may write it with [`fill_set`]: the new columns are NULL and
/// `up` is not, or the rule is `Derived`, or the mark of `Copied` is missing, or
/// a reference where there are values. A mismatch that is not repairable is a
/// *conflict*: shown by its key, and left alone.
pub fn repairable(mapping: &Mapping, row: &str) -> String {
    needs_fill(mapping, row)
}

/// A mapping whose expressions depend on the session that evaluates them.
///
/// The database's own word is not enough: `float8out` and `byteaout` are
/// marked immutable, and yet `extra_float_digits` and `bytea_output` decide
/// what they give.
pub fn reads_settings(mapping: &Mapping) -> bool {
    let unstable = ups(mapping)
        .iter()
        .chain(downs(mapping))
        .any(|expr| expr.volatility != Volatility::Immutable);
    let formatted = |from: &[MappedColumn], to: &[MappedColumn]| {
        let is_formatted = |c: &MappedColumn| {
            ["real", "double precision", "bytea"]
                .iter()
                .any(|word| c.type_name.contains(word))
        };
        let is_text = |c: &MappedColumn| {
            ["text", "character", "bpchar", "json", "xml", "citext"]
                .iter()
                .any(|word| c.type_name.contains(word))
        };
        from.iter().any(is_formatted) && to.iter().any(is_text)
    };
    unstable || formatted(&mapping.old, &mapping.new) || formatted(&mapping.new, &mapping.old)
}

/// The settings under which the expressions of these mappings are evaluated,
/// in the trigger function (`SET` clauses), the batch and the verify pass
/// (`SET LOCAL`) alike, as plain values for `set_config`.
///
/// `search_path` is always there: canonical text means one thing only under it.
/// So is `standard_conforming_strings` where a text holds a backslash. The rest
/// is added when an expression [reads settings](reads_settings). Times without a zone are then read as UTC;
/// a plan that means another zone says so in its expression (`AT TIME ZONE`).
pub fn pins(mappings: &[Mapping]) -> Vec<(&'static str, &'static str)> {
    let mut pins = vec![("search_path", "pg_catalog, pg_temp")];
    let mut texts = mappings.iter().flat_map(|m| {
        let defaults = m.old.iter().chain(&m.new).flat_map(|c| &c.default);
        let back = m.back.iter().filter_map(|back| match back {
            Back::Cast { .. } => None,
            Back::Down { down } => Some(down),
        });
        ups(m).iter().chain(downs(m)).chain(defaults).chain(back)
    });
    if texts.any(|expr| expr.template.contains('\\')) {
        pins.push(("standard_conforming_strings", "on"));
    }
    if mappings
        .iter()
        .any(|m| reads_settings(m) || loss::reads_settings(m))
    {
        pins.extend([
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, MDY"),
            ("IntervalStyle", "postgres"),
            ("extra_float_digits", "1"),
            ("bytea_output", "hex"),
            ("lc_monetary", "C"),
            ("lc_numeric", "C"),
            ("lc_time", "C"),
        ]);
    }
    pins
}

/// One pin as the text behind `SET` or `SET LOCAL`: `"TimeZone" = 'UTC'`.
pub fn pin_text((setting, value): (&str, &str)) -> String {
    if setting == "search_path" {
        // A quoted value would name one schema with a comma in its name.
        format!("{setting} = {value}")
    } else {
        format!(
            "{} = {}",
            setting.to_ascii_lowercase(),
            quote_literal(value)
        )
    }
}

#[cfg(test)]
mod tests;
