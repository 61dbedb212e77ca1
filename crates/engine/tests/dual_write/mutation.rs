//! Takes one rule out of the SQL of a dual write.
//!
//! The rules of the function are marked in its own text (`-- rule: heal`); the
//! others are parts of the statements around it.

use pontoon_core::sql::postgres::sync;
use pontoon_core::step::OnConflict;

use crate::dsl::{derived, fill, omitted, on, pair_on};

/// One statement without the rule, or `None` where the statement is the rule.
type Cut = fn(String) -> Option<String>;

/// Rules that are not marked in the function, and what takes them out.
const AROUND: &[(&str, Cut)] = &[
    ("always", |s| (!s.contains("ENABLE ALWAYS")).then_some(s)),
    ("revoke", |s| (!s.starts_with("REVOKE")).then_some(s)),
    ("definer", |s| Some(s.replace(" SECURITY DEFINER", ""))),
    ("first triggers", |s| only_without(s, "TRIGGER \"!pontoon")),
    ("last triggers", |s| only_without(s, "TRIGGER \"~~pontoon")),
    ("on insert", |s| only_without(s, "_i\"")),
    ("on old columns", |s| only_without(s, "_o\"")),
    ("on new columns", |s| only_without(s, "_n\"")),
    ("on empty rows", |s| only_without(s, "_z\"")),
    ("repeat", |s| Some(s.replace("EXIT WHEN NOT moved", "EXIT"))),
    ("when", |s| Some(cut_when(&s))),
    ("pins", |s| {
        Some(lines(&s, |line| !line.starts_with("SET timezone")))
    }),
    ("images", |s| {
        Some(
            s.replace("(pg_catalog.*=)", "(pg_catalog.=)")
                .replace("(pg_catalog.*<>)", "(pg_catalog.<>)"),
        )
    }),
    ("qualified", |s| {
        Some(
            lines(&s, |line| !line.starts_with("SET search_path"))
                .replace("pg_catalog.lower", "lower"),
        )
    }),
    ("children", |s| (!s.contains("\"child\"")).then_some(s)),
];

/// The statements without this rule.
///
/// # Panics
/// When there is no such rule in them: a mutation that changes nothing proves
/// nothing.
pub(crate) fn without(rule: &str, statements: Vec<String>) -> Vec<String> {
    let before = statements.clone();
    let after: Vec<String> = match AROUND.iter().find(|(name, _)| *name == rule) {
        Some((_, cut)) => statements.into_iter().filter_map(cut).collect(),
        None => statements
            .into_iter()
            .map(|statement| cut_rule(&statement, rule))
            .collect(),
    };
    assert_ne!(before, after, "there is no rule {rule} in this dual write");
    after
}

/// Every rule there is.
pub(crate) fn rules() -> Vec<String> {
    let everything = on(
        "t",
        vec![
            pair_on(OnConflict::Error, "a: text", "b: text", &["{a}"], &["{b}"]),
            fill("a: text", "c: text", "{a}"),
            derived("a: text", "d: text", "{a}"),
            omitted("e: text", "'x'"),
        ],
    );
    let text = sync::install(&everything, "a").join("\n");
    let mut rules: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-- rule: "))
        .map(str::to_owned)
        .chain(AROUND.iter().map(|(name, _)| (*name).to_owned()))
        .collect();
    rules.sort();
    rules.dedup();
    rules
}

/// Leaves out what stands behind each mark of the rule, up to the first line
/// with less indentation, or the next rule, or the next mapping.
fn cut_rule(statement: &str, rule: &str) -> String {
    let mark = format!("-- rule: {rule}");
    let mut kept = Vec::new();
    let mut cutting: Option<usize> = None;
    for line in statement.lines() {
        let depth = line.len() - line.trim_start().len();
        if let Some(from) = cutting {
            let ended = depth < from || (depth == from && line.trim_start().starts_with("-- rule"));
            if line.trim().is_empty() || ended {
                cutting = None;
            } else {
                continue;
            }
        }
        if line.trim() == mark {
            cutting = Some(depth);
        } else {
            kept.push(line);
        }
    }
    kept.join("\n")
}

fn lines(statement: &str, keep: fn(&str) -> bool) -> String {
    let kept: Vec<&str> = statement.lines().filter(|line| keep(line)).collect();
    kept.join("\n")
}

fn only_without(statement: String, word: &str) -> Option<String> {
    if statement.starts_with("ALTER TABLE") {
        let (table, triggers) = statement.split_once(" ENABLE").expect("a list of triggers");
        let kept: Vec<&str> = triggers
            .split(", ENABLE")
            .filter(|part| !part.contains(word))
            .collect();
        return Some(format!("{table} ENABLE{}", kept.join(", ENABLE")));
    }
    (!statement.contains(word)).then_some(statement)
}

fn cut_when(statement: &str) -> String {
    lines(statement, |line| !line.starts_with("WHEN ("))
}
