//! When a write must enter the function.
//!
//! WHEN is evaluated for every row that anybody writes, twice, so its parts
//! stand in the order of their cost: whether something is missing, then
//! whether any mapped column changed at all, and only then whether the shapes
//! agree. A condition may let too much in, for the function looks again, but
//! never too little.

use super::super::mapping::{
    all_null, all_of, any_null, any_of, changed, column, differs_from_up, downs, in_step,
    reads_settings, unfilled,
};
use super::Event;
use crate::step::{Conditions, MappedColumn, Mapping, Rule, Sync};

/// `true`, `false`, or an expression over `NEW` (and `OLD`).
pub(super) fn condition(sync: &Sync, event: Event) -> String {
    let (exact, wide): (Vec<&Mapping>, Vec<&Mapping>) = sync
        .mappings
        .iter()
        .partition(|mapping| sync.conditions == Conditions::InWhen && !reads_settings(mapping));
    let parts = match event {
        Event::Insert => {
            let exact = exact.into_iter().map(exact_insert);
            exact.chain(wide.into_iter().map(wide_insert)).collect()
        }
        Event::Update => {
            let mut parts: Vec<String> = exact
                .iter()
                .map(|m| exact_missing(m))
                .chain(wide.iter().map(|m| wide_missing(m)))
                .collect();
            parts.extend(wide.into_iter().map(wide_change));
            parts.push(exact_change(&exact));
            parts
        }
    };
    if parts.iter().any(|condition| condition == "true") {
        "true".to_owned()
    } else {
        any_of(parts)
    }
}

fn exact_insert(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } => any_of(vec![
            unfilled(mapping, "NEW"),
            format!("NOT {}", in_step(mapping, "NEW")),
        ]),
        Rule::Fill { .. } => unfilled(mapping, "NEW"),
        Rule::Derived { .. } => differs_from_up(mapping, "NEW"),
        Rule::Omitted { .. } => any_of(
            mapping
                .old
                .iter()
                .zip(downs(mapping))
                .map(|(old, down)| {
                    format!(
                        "({} IS NOT DISTINCT FROM NULL AND ({}) IS DISTINCT FROM NULL)",
                        column("NEW", &old.name),
                        down.on("NEW")
                    )
                })
                .collect(),
        ),
    }
}

fn wide_insert(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Derived { .. } => "true".to_owned(),
        Rule::Fill { .. } => all_null(&mapping.new, "NEW"),
        Rule::Omitted { .. } => any_null(&mapping.old, "NEW"),
    }
}

/// Nobody has filled the new columns yet.
fn exact_missing(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Fill { .. } => unfilled(mapping, "NEW"),
        Rule::Derived { .. } => all_of(vec![
            any_null(&mapping.new, "NEW"),
            differs_from_up(mapping, "NEW"),
        ]),
        Rule::Omitted { .. } => "false".to_owned(),
    }
}

fn wide_missing(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Fill { .. } => all_null(&mapping.new, "NEW"),
        Rule::Derived { .. } => any_null(&mapping.new, "NEW"),
        Rule::Omitted { .. } => "false".to_owned(),
    }
}

/// A mapped column changed, and the shapes may not agree any more.
fn exact_change(mappings: &[&Mapping]) -> String {
    let mut columns: Vec<MappedColumn> = Vec::new();
    let mut ways = Vec::new();
    for mapping in mappings {
        let way = match &mapping.rule {
            Rule::Pair { .. } => format!("NOT {}", in_step(mapping, "NEW")),
            Rule::Fill { .. } => followed(mapping, Some(differs_from_up(mapping, "NEW"))),
            Rule::Derived { .. } => differs_from_up(mapping, "NEW"),
            Rule::Omitted { .. } => "false".to_owned(),
        };
        if way == "false" {
            continue;
        }
        ways.push(way);
        for column in mapping.old.iter().chain(&mapping.new) {
            if !columns.iter().any(|known| known.name == column.name) {
                columns.push(column.clone());
            }
        }
    }
    match mappings {
        // It begins with the question whether the old columns changed.
        [only] if matches!(only.rule, Rule::Fill { .. }) => any_of(ways),
        _ if ways.is_empty() => "false".to_owned(),
        _ => all_of(vec![changed(&columns, "NEW", "OLD"), any_of(ways)]),
    }
}

fn wide_change(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Derived { .. } => any_of(vec![
            changed(&mapping.old, "NEW", "OLD"),
            changed(&mapping.new, "NEW", "OLD"),
        ]),
        Rule::Fill { .. } => followed(mapping, None),
        Rule::Omitted { .. } => "false".to_owned(),
    }
}

/// The old columns changed and the new ones did not.
fn followed(mapping: &Mapping, and: Option<String>) -> String {
    if mapping.old.is_empty() {
        return "false".to_owned();
    }
    let mut parts = vec![
        changed(&mapping.old, "NEW", "OLD"),
        format!("NOT {}", changed(&mapping.new, "NEW", "OLD")),
    ];
    parts.extend(and);
    all_of(parts)
}
