//! The dual write of one table: one function and its row triggers.
//!
//! # What stands where
//! - `pontoon."<artifact>_sync"()`: the function; its text explains itself.
//! - `!pontoon_<artifact>_i` and `_u`: BEFORE ROW triggers for INSERT and
//!   UPDATE that sort before the application's, so that its own triggers see
//!   both shapes.
//! - `~~pontoon_<artifact>_i` and `_u`: the same behind the application's
//!   triggers; they heal what those changed.
//! - `pontoon."<artifact>_seen"`: a sequence whose last value is the time of
//!   the last write of an old version, in milliseconds since 1970-01-01 UTC;
//!   never called when there was none. Written at most once a second.
//! - `pontoon."<artifact>_conflicts"`: a sequence that counts the writes that
//!   gave both shapes inconsistently, refused ones and those of transactions
//!   that were rolled back included.
//!
//! Sequences, because `setval` and `nextval` take no row lock, need no right
//! of the writer inside a SECURITY DEFINER function, and survive the rollback
//! of the write that called them.
//!
//! # Who decides
//! The row alone (`OLD`, `NEW`, `TG_OP`): no setting, no role, no search path
//! says which version wrote it. A trigger's argument, `first` or `last`, tells
//! the function its place.
//!
//! # Why four triggers
//! A WHEN condition of a trigger for INSERT and UPDATE cannot speak of `OLD`.
//! With a trigger for each, an UPDATE that touches no mapped column is let
//! through by comparing images, without computing `up`, and a write that is in
//! step already (a batch of ours, or a careful application) never enters the
//! function. A trigger whose condition can never hold is not created.
//!
//! # Conditions
//! WHEN is evaluated as the writer, under the writer's settings. It may
//! therefore compute `up` only where that depends on nothing but the row, and
//! calls nothing that PUBLIC may not execute. Elsewhere ([`Conditions::InBody`],
//! or a mapping that [reads settings](super::mapping::reads_settings)) it only
//! asks whether a mapped column changed or is missing, and the function does
//! the rest.
//!
//! # Rights
//! EXECUTE is taken from PUBLIC: a trigger's function is not checked against
//! the writer when it fires, and nobody else shall attach a SECURITY DEFINER
//! function of ours to a table with types of his own.

mod function;

use sha2::{Digest, Sha256};

use super::mapping::{
    all_null, any_of, changed, column, differs_from_up, downs, in_step, pin_text, pins,
    reads_settings, unfilled,
};
use crate::name::TableName;
use crate::sql::quote::{dollar_quote, quote_ident, quote_literal, quote_qualified, quote_table};
use crate::step::{Conditions, MappedColumn, Mapping, Rule, Sync};

/// The schema that holds everything of ours.
pub const SCHEMA: &str = "pontoon";

/// The SQLSTATE of a write that gives both shapes inconsistently under
/// `on_conflict: error`. Class P0 is PL/pgSQL's, in which the error is raised;
/// no code of PostgreSQL's own begins with P0P.
pub const CONFLICT_SQLSTATE: &str = "P0P01";

/// The longest artifact name, in bytes: with its affixes it must stay within
/// the 63 bytes of a PostgreSQL name.
pub const MAX_ARTIFACT_BYTES: usize = 50;

/// What a trigger fires on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    Insert,
    Update,
}

/// Where a trigger stands among the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

const TRIGGERS: [(Place, Event); 4] = [
    (Place::First, Event::Insert),
    (Place::First, Event::Update),
    (Place::Last, Event::Insert),
    (Place::Last, Event::Update),
];

impl Place {
    /// The trigger's argument.
    fn word(self) -> &'static str {
        match self {
            Place::First => "first",
            Place::Last => "last",
        }
    }
}

/// The name of a table's dual write within a run: readable, and different for
/// tables of the same name in two schemas. `run` is as in
/// [`texts`](super::texts).
pub fn artifact(run: &str, table: &TableName) -> String {
    let readable: String = table
        .name
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || *c == '_')
        .take(24)
        .collect();
    let digest = Sha256::digest(quote_table(table).as_bytes());
    let word: String = digest[..3].iter().map(|b| format!("{b:02x}")).collect();
    format!("{run}_{readable}_{word}")
}

/// The function, quoted and qualified, without its parentheses.
pub fn function_name(artifact: &str) -> String {
    quote_qualified(SCHEMA, &format!("{artifact}_sync"))
}

/// The sequence that holds the time of the last write of an old version,
/// quoted and qualified.
pub fn seen_sequence(artifact: &str) -> String {
    quote_qualified(SCHEMA, &format!("{artifact}_seen"))
}

/// The sequence that counts conflicts, quoted and qualified.
pub fn conflicts_sequence(artifact: &str) -> String {
    quote_qualified(SCHEMA, &format!("{artifact}_conflicts"))
}

/// The names of the triggers that [`install`] creates on the table and on each
/// of its children, unquoted, as in `pg_trigger.tgname`.
pub fn trigger_names(sync: &Sync, artifact: &str) -> Vec<String> {
    TRIGGERS
        .iter()
        .filter(|(_, event)| condition(sync, *event, Conditions::InBody) != "false")
        .map(|(place, event)| trigger_name(artifact, *place, *event))
        .collect()
}

fn trigger_name(artifact: &str, place: Place, event: Event) -> String {
    let prefix = match place {
        Place::First => "!",
        Place::Last => "~~",
    };
    let suffix = match event {
        Event::Insert => "i",
        Event::Update => "u",
    };
    format!("{prefix}pontoon_{artifact}_{suffix}")
}

/// The table and the children that carry triggers of their own.
fn tables(sync: &Sync) -> impl Iterator<Item = &TableName> {
    std::iter::once(&sync.table).chain(&sync.children)
}

/// The statements that install a table's dual write, for one transaction. The
/// schema `pontoon` must exist, and `artifact` must be of at most
/// [`MAX_ARTIFACT_BYTES`].
pub fn install(sync: &Sync, artifact: &str) -> Vec<String> {
    debug_assert!(
        artifact.len() <= MAX_ARTIFACT_BYTES,
        "an artifact's name must leave room for its affixes"
    );
    let function = function_name(artifact);
    let mut statements = vec![
        // WHEN is read once, now: its functions are those of the canonical text.
        format!("SET LOCAL {}", pin_text(pins(&[])[0])),
        format!("CREATE SEQUENCE {} AS bigint", seen_sequence(artifact)),
        format!("CREATE SEQUENCE {} AS bigint", conflicts_sequence(artifact)),
        create_function(sync, artifact),
        format!("REVOKE ALL ON FUNCTION {function}() FROM PUBLIC"),
        format!(
            "COMMENT ON FUNCTION {function}() IS {}",
            quote_literal(&format!("Pontoon: dual write of {}", sync.table))
        ),
    ];
    for table in tables(sync) {
        for (place, event) in TRIGGERS {
            let when = condition(sync, event, sync.conditions);
            if when != "false" {
                statements.push(create_trigger(table, artifact, place, event, &when));
            }
        }
        // On a partitioned table this must reach the partitions' clones, on
        // one with children of its own it must not look for triggers there.
        let only = if sync.children.is_empty() {
            ""
        } else {
            "ONLY "
        };
        let enabled: Vec<String> = trigger_names(sync, artifact)
            .iter()
            .map(|name| format!("ENABLE ALWAYS TRIGGER {}", quote_ident(name)))
            .collect();
        statements.push(format!(
            "ALTER TABLE {only}{} {}",
            quote_table(table),
            enabled.join(", ")
        ));
    }
    statements
}

/// The statements that take a table's dual write away, for one transaction:
/// a trigger without its function would fail every write.
pub fn drop(sync: &Sync, artifact: &str) -> Vec<String> {
    let mut statements = Vec::new();
    for table in tables(sync) {
        for name in trigger_names(sync, artifact) {
            statements.push(format!(
                "DROP TRIGGER {} ON {}",
                quote_ident(&name),
                quote_table(table)
            ));
        }
    }
    statements.push(format!("DROP FUNCTION {}()", function_name(artifact)));
    statements.push(format!(
        "DROP SEQUENCE {}, {}",
        seen_sequence(artifact),
        conflicts_sequence(artifact)
    ));
    statements
}

fn create_function(sync: &Sync, artifact: &str) -> String {
    let settings: String = pins(&sync.mappings)
        .into_iter()
        .map(|pin| format!("SET {}\n", pin_text(pin)))
        .collect();
    format!(
        "CREATE FUNCTION {}() RETURNS trigger\nLANGUAGE plpgsql SECURITY DEFINER\n{settings}AS {}",
        function_name(artifact),
        dollar_quote("pontoon", &function::body(sync, artifact)),
    )
}

fn create_trigger(
    table: &TableName,
    artifact: &str,
    place: Place,
    event: Event,
    when: &str,
) -> String {
    let event_word = match event {
        Event::Insert => "INSERT",
        Event::Update => "UPDATE",
    };
    let when = if when == "true" {
        String::new()
    } else {
        format!("\nWHEN ({when})")
    };
    format!(
        "CREATE TRIGGER {} BEFORE {event_word} ON {} FOR EACH ROW{when}\nEXECUTE FUNCTION {}('{}')",
        quote_ident(&trigger_name(artifact, place, event)),
        quote_table(table),
        function_name(artifact),
        place.word(),
    )
}

/// When a write must enter the function: `true`, `false`, or an expression
/// over `NEW` (and `OLD`).
fn condition(sync: &Sync, event: Event, conditions: Conditions) -> String {
    let each: Vec<String> = sync
        .mappings
        .iter()
        .map(|mapping| {
            let exact = conditions == Conditions::InWhen && !reads_settings(mapping);
            match (exact, event) {
                (true, Event::Insert) => exact_insert(mapping),
                (true, Event::Update) => exact_update(mapping),
                (false, Event::Insert) => wide_insert(mapping),
                (false, Event::Update) => wide_update(mapping),
            }
        })
        .collect();
    if each.iter().any(|condition| condition == "true") {
        "true".to_owned()
    } else {
        any_of(each)
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

fn exact_update(mapping: &Mapping) -> String {
    let old_changed = changed(&mapping.old, "NEW", "OLD");
    let new_changed = changed(&mapping.new, "NEW", "OLD");
    match &mapping.rule {
        Rule::Pair { .. } => any_of(vec![
            unfilled(mapping, "NEW"),
            format!(
                "(({old_changed} OR {new_changed}) AND NOT {})",
                in_step(mapping, "NEW")
            ),
        ]),
        Rule::Fill { .. } if mapping.old.is_empty() => unfilled(mapping, "NEW"),
        Rule::Fill { .. } => any_of(vec![
            unfilled(mapping, "NEW"),
            format!(
                "({old_changed} AND NOT {new_changed} AND {})",
                differs_from_up(mapping, "NEW")
            ),
        ]),
        Rule::Derived { .. } => differs_from_up(mapping, "NEW"),
        Rule::Omitted { .. } => "false".to_owned(),
    }
}

fn wide_insert(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Pair { .. } | Rule::Derived { .. } => "true".to_owned(),
        Rule::Fill { .. } => all_null(&mapping.new, "NEW"),
        Rule::Omitted { .. } => any_of(each_null(&mapping.old)),
    }
}

fn wide_update(mapping: &Mapping) -> String {
    let old_changed = changed(&mapping.old, "NEW", "OLD");
    let new_changed = changed(&mapping.new, "NEW", "OLD");
    match &mapping.rule {
        Rule::Pair { .. } => any_of(vec![
            old_changed,
            new_changed,
            all_null(&mapping.new, "NEW"),
        ]),
        Rule::Fill { .. } if mapping.old.is_empty() => all_null(&mapping.new, "NEW"),
        Rule::Fill { .. } => any_of(vec![
            all_null(&mapping.new, "NEW"),
            format!("({old_changed} AND NOT {new_changed})"),
        ]),
        Rule::Derived { .. } => {
            let mut ways = vec![old_changed, new_changed];
            ways.extend(each_null(&mapping.new));
            any_of(ways)
        }
        Rule::Omitted { .. } => "false".to_owned(),
    }
}

fn each_null(columns: &[MappedColumn]) -> Vec<String> {
    columns
        .iter()
        .map(|c| all_null(std::slice::from_ref(c), "NEW"))
        .collect()
}

#[cfg(test)]
mod tests;
