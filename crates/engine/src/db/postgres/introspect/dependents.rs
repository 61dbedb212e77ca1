//! From a row of `pg_depend` to a [`Dependent`].
//!
//! Left out is what belongs to the table and is described elsewhere in the
//! catalog (its own indexes, constraints, triggers and policies where the row
//! refers to the table as a whole), what has no life of its own (TOAST, the
//! row type, identity sequences, a column's default, NOT NULL), and Pontoon's
//! own triggers. Everything else is reported, and what is not recognised is
//! reported as [`DependentKind::Unknown`]: never ignored.
//!
//! PostgreSQL knows nothing of what a function says in a string body (any
//! language but `BEGIN ATOMIC` SQL), so neither do we.

use pontoon_core::catalog::{Dependent, DependentKind};

use super::build::is_ours;
use super::rows::{
    ConstraintFacts, DefaultFacts, Edge, PolicyFacts, RelationFacts, RuleFacts, TriggerFacts,
};

/// What to report for this row: nothing, one thing, or two when a trigger both
/// lists a column and reads it, or a foreign key both starts and ends there.
pub(super) fn classify(edge: &Edge) -> Vec<Dependent> {
    if edge.by_type {
        return vec![user_of_row_type(edge)];
    }
    let known = match edge.class.as_str() {
        "pg_class" => edge.relation.as_ref().map(|facts| relation(edge, facts)),
        "pg_constraint" => edge
            .constraint
            .as_ref()
            .map(|facts| constraint(edge, facts)),
        "pg_rewrite" => edge.rule.as_ref().map(|facts| vec![rule(edge, facts)]),
        "pg_trigger" => edge.trigger.as_ref().map(|facts| trigger(edge, facts)),
        "pg_policy" => edge.policy.as_ref().map(|facts| policy(edge, facts)),
        "pg_attrdef" => edge.default.as_ref().map(|facts| default(edge, facts)),
        "pg_statistic_ext" => edge.statistics.as_ref().map(|name| match edge.attnum {
            // Statistics over expressions of no column vanish with the table.
            0 => Vec::new(),
            _ => one(DependentKind::ExtendedStatistics, name),
        }),
        "pg_proc" => edge
            .function
            .as_ref()
            .map(|name| one(DependentKind::Function, name)),
        // Read from the publications themselves, with those of ancestors.
        "pg_publication_rel" => Some(Vec::new()),
        "pg_type" if edge.own_row_type => Some(Vec::new()),
        _ => None,
    };
    known.unwrap_or_else(|| vec![unknown(edge)])
}

fn dependent(kind: DependentKind, name: impl Into<String>) -> Dependent {
    Dependent {
        kind,
        name: name.into(),
    }
}

fn one(kind: DependentKind, name: impl Into<String>) -> Vec<Dependent> {
    vec![dependent(kind, name)]
}

fn unknown(edge: &Edge) -> Dependent {
    dependent(
        DependentKind::Unknown {
            class: edge.class.clone(),
        },
        edge.described.clone(),
    )
}

/// Something that uses the table's row type, or its array.
fn user_of_row_type(edge: &Edge) -> Dependent {
    match edge.class.as_str() {
        "pg_class" | "pg_proc" | "pg_type" | "pg_rewrite" | "pg_constraint" | "pg_attrdef"
        | "pg_trigger" | "pg_policy" | "pg_cast" | "pg_operator" => {
            dependent(DependentKind::RowType, edge.described.clone())
        }
        _ => unknown(edge),
    }
}

fn relation(edge: &Edge, facts: &RelationFacts) -> Vec<Dependent> {
    match facts.kind {
        't' => Vec::new(),
        'S' if edge.deptype == 'i' => Vec::new(),
        'S' => one(
            DependentKind::OwnedSequence,
            format!("{}.{}", facts.schema, facts.name),
        ),
        'i' | 'I' if edge.attnum == 0 && facts.whole_row != Some(true) => Vec::new(),
        'i' | 'I' => match (&facts.constraint, facts.contype.and_then(constraint_kind)) {
            (Some(name), Some(kind)) => one(kind, name),
            _ => one(DependentKind::Index, &facts.name),
        },
        // Before 15 a generated column depends on the columns it reads as a
        // column; from 15 on through its pg_attrdef.
        _ if facts.same => match (&facts.generated, edge.attnum) {
            (Some(name), 1..) => one(DependentKind::GeneratedColumn, name),
            // The ties between a partitioned table and its own key columns.
            _ => Vec::new(),
        },
        'r' | 'p' | 'f' if facts.child => Vec::new(),
        _ => vec![unknown(edge)],
    }
}

fn constraint_kind(contype: char) -> Option<DependentKind> {
    Some(match contype {
        'c' => DependentKind::Check,
        'p' => DependentKind::PrimaryKey,
        'u' => DependentKind::Unique,
        'x' => DependentKind::Exclusion,
        'f' => DependentKind::ForeignKey,
        _ => return None,
    })
}

fn constraint(edge: &Edge, facts: &ConstraintFacts) -> Vec<Dependent> {
    match (facts.contype, constraint_kind(facts.contype)) {
        ('n' | 't', _) if facts.same => Vec::new(),
        // As a whole, the table lists it under its constraints or under
        // `referenced_by`.
        ('f', _) if edge.attnum == 0 || facts.copy => Vec::new(),
        ('f', _) => foreign_key(facts),
        (_, Some(_)) if facts.same && edge.attnum == 0 && !facts.whole_row => Vec::new(),
        (_, Some(kind)) if facts.same => one(kind, &facts.name),
        _ => vec![unknown(edge)],
    }
}

fn foreign_key(facts: &ConstraintFacts) -> Vec<Dependent> {
    let mut found = Vec::new();
    if facts.in_key == Some(true) {
        found.push(dependent(DependentKind::ForeignKey, &facts.name));
    }
    if facts.in_referenced_key == Some(true) || found.is_empty() {
        let name = match (&facts.schema, &facts.table) {
            (Some(schema), Some(table)) => format!("{} on {schema}.{table}", facts.name),
            _ => facts.name.clone(),
        };
        found.push(dependent(DependentKind::ReferencedByForeignKey, name));
    }
    found
}

fn rule(edge: &Edge, facts: &RuleFacts) -> Dependent {
    let on = format!("{}.{}", facts.schema, facts.table);
    let whole_row = facts.whole_row && edge.attnum == 0;
    match (facts.kind, facts.name.as_str()) {
        ('v', "_RETURN") if whole_row => dependent(DependentKind::RowType, format!("view {on}")),
        ('m', "_RETURN") if whole_row => {
            dependent(DependentKind::RowType, format!("materialized view {on}"))
        }
        ('v', "_RETURN") => dependent(DependentKind::View, on),
        ('m', "_RETURN") => dependent(DependentKind::MaterializedView, on),
        (_, name) => dependent(DependentKind::Rule, format!("{name} on {on}")),
    }
}

fn trigger(edge: &Edge, facts: &TriggerFacts) -> Vec<Dependent> {
    if facts.internal || is_ours(&facts.name) {
        return Vec::new();
    }
    let mut found = Vec::new();
    if facts.update_of {
        found.push(dependent(DependentKind::TriggerColumns, &facts.name));
    }
    if facts.in_when {
        found.push(dependent(DependentKind::TriggerWhen, &facts.name));
    }
    if found.is_empty() && !(facts.same && edge.attnum == 0) {
        found.push(unknown(edge));
    }
    found
}

fn policy(edge: &Edge, facts: &PolicyFacts) -> Vec<Dependent> {
    if !facts.same {
        let name = format!("{} on {}.{}", facts.name, facts.schema, facts.table);
        return one(DependentKind::Policy, name);
    }
    if edge.attnum == 0 && !facts.whole_row {
        return Vec::new();
    }
    one(DependentKind::Policy, &facts.name)
}

fn default(edge: &Edge, facts: &DefaultFacts) -> Vec<Dependent> {
    if facts.generated && edge.attnum != 0 {
        return one(DependentKind::GeneratedColumn, &facts.column);
    }
    vec![unknown(edge)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_class_is_never_ignored() {
        for (attnum, by_type) in [(0, false), (3, false), (0, true)] {
            let found = classify(&Edge {
                attnum,
                by_type,
                class: "pg_novelty".into(),
                described: "novelty x".into(),
                ..Edge::default()
            });
            assert_eq!(
                found,
                one(
                    DependentKind::Unknown {
                        class: "pg_novelty".into()
                    },
                    "novelty x"
                )
            );
        }
    }

    #[test]
    fn a_known_class_without_facts_is_unknown() {
        for class in [
            "pg_class",
            "pg_constraint",
            "pg_rewrite",
            "pg_trigger",
            "pg_type",
        ] {
            let found = classify(&Edge {
                attnum: 1,
                class: class.into(),
                ..Edge::default()
            });
            assert!(
                matches!(
                    found[..],
                    [Dependent {
                        kind: DependentKind::Unknown { .. },
                        ..
                    }]
                ),
                "{class}: {found:?}"
            );
        }
    }
}
