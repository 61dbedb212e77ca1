//! The dual write of one table: one function and its row triggers.
//!
//! # What stands where
//! - `pontoon."<artifact>_sync"()`: the function; its text explains itself.
//! - `pontoon."<artifact>_fill"()`: the part of it that fills a row which nobody
//!   has filled yet, for writes that name none of our columns.
//! - `!pontoon_<artifact>_i`, `_n`, `_o`, `_z`: BEFORE ROW triggers that sort
//!   before the application's, so that its own triggers see both shapes: one
//!   for each kind of write that concerns the dual write, see [`mod@firing`].
//! - `~~pontoon_<artifact>_i` and `_u`: the same behind the application's
//!   triggers; they heal what those changed. Only where the application has
//!   BEFORE ROW triggers on the table.
//! - `pontoon."<artifact>_copy<n>"()` and `!pontoon_<artifact>_c…`: what copies
//!   rows to another table, see [`mod@copying`].
//! - `pontoon."<artifact>_settle<n>"()` and `!pontoon_<artifact>_r<n>`: what adds
//!   values to a lookup table to which rows refer, see [`mod@referring`].
//! - `pontoon."<artifact>_seen"`: a sequence whose last value is the time of
//!   the last write of an old version, in milliseconds since 1970-01-01 UTC;
//!   never called when there was none. Written at most once a second.
//! - `pontoon."<artifact>_conflicts"`: a sequence that counts the writes that
//!   gave both shapes inconsistently, refused ones and those of transactions
//!   that were rolled back included.
//!
//! - `pontoon."<artifact>_lost"`, where a change of type may lose something (see
//!   [`loss`](super::loss)) or a reference be left open: a sequence that counts
//!   the writes that did, those that were rolled back included. A verify pass
//!   holds as long as it stands still.
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
//! # Conditions
//! WHEN is evaluated as the writer, under the writer's settings. It may
//! therefore compute `up` only where that depends on nothing but the row, and
//! calls nothing that PUBLIC may not execute. Elsewhere ([`Conditions::InBody`](crate::step::Conditions::InBody),
//! or a mapping that [reads settings](super::mapping::reads_settings)) it only
//! asks whether a mapped column changed, and the function does the rest.
//!
//! # What a write means
//! - UPDATE: a group is *given* when its columns changed. INSERT: when it is not
//!   NULL throughout; a default counts as given only while the other group is
//!   not. Given old columns reach the new ones, and the other way round; both,
//!   and inconsistent, is a conflict.
//! - A new version that sets the new columns to NULL in an UPDATE sets the old
//!   ones to `down(NULL)`. In an INSERT, NULL and nothing are one.
//! - New columns are never left NULL while `up` gives a value: whoever writes
//!   the row fills it, also when it touched no mapped column. An explicit NULL
//!   is replaced, too, where `up(down(NULL))` is a value (lowering refuses such
//!   a `down` when it can tell), and in a filled column, where NULL means that
//!   nobody gave a value.
//! - A row that contradicted itself before the write, and whose mapped columns
//!   the write leaves alone, is left alone: nobody knows which side is right.
//!
//! What no trigger can know from the row: an INSERT that copies a whole row and
//! sets the old column to just its default looks like one of a new version, and
//! a filled column that was computed before a trigger of the application
//! changed the old one keeps the first value (say `derived: true`).
//!
//! # What it costs
//! `cargo run --release -p pontoon-bench -- --section costs` measures it; the
//! figures are in docs/performance.md. That a table has BEFORE UPDATE triggers
//! at all makes PostgreSQL lock each row before it changes it (0.4 µs, and 56
//! bytes in the log).
//!
//! # Rights
//! EXECUTE is taken from PUBLIC: a trigger's function is not checked against
//! the writer when it fires, and nobody else shall attach a SECURITY DEFINER
//! function of ours to a table with types of his own.

mod copying;
mod firing;
mod function;
mod referring;

pub use referring::{KEPT_SQLSTATE, lookup_of};

use firing::{Firing, Write, firing};
use sha2::{Digest, Sha256};

use super::mapping::{pin_text, pins};
use crate::name::TableName;
use crate::sql::quote::{dollar_quote, quote_ident, quote_literal, quote_qualified, quote_table};
use crate::step::{Mapping, Sync};

/// The schema that holds everything of ours.
pub const SCHEMA: &str = "pontoon";

/// The SQLSTATE of a write that gives both shapes inconsistently under
/// `on_conflict: error`. Class P0 is PL/pgSQL's, in which the error is raised;
/// no code of PostgreSQL's own begins with P0P.
pub const CONFLICT_SQLSTATE: &str = "P0P01";

/// The longest artifact name, in bytes: with its affixes it must stay within
/// the 63 bytes of a PostgreSQL name.
pub const MAX_ARTIFACT_BYTES: usize = 50;

/// Where a trigger stands among the application's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    First,
    Last,
}

impl Place {
    /// The trigger's argument.
    fn word(self) -> &'static str {
        match self {
            Place::First => "first",
            Place::Last => "last",
        }
    }
}

/// What a function of the dual write does with a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    /// Whatever the write asks for.
    Whole,
    /// It fills what nobody has filled yet, and looks at nothing else.
    Fill,
}

impl Part {
    /// What the trigger for a kind of write calls. Where mappings share columns,
    /// what fills one of them is what another one reads.
    fn of(sync: &Sync, write: Write) -> Self {
        if write == Write::Empty && !function::share_columns(&sync.mappings) {
            Self::Fill
        } else {
            Self::Whole
        }
    }

    /// The function, quoted and qualified, without its parentheses.
    fn function(self, artifact: &str) -> String {
        match self {
            Self::Whole => function_name(artifact),
            Self::Fill => quote_qualified(SCHEMA, &format!("{artifact}_fill")),
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

/// The sequence that counts writes that lost a value or left a reference open,
/// quoted and qualified.
pub fn lost_sequence(artifact: &str) -> String {
    quote_qualified(SCHEMA, &format!("{artifact}_lost"))
}

/// Some mapping may lose, or leave a reference open, so there is a
/// [`lost_sequence`].
pub fn may_lose(mappings: &[Mapping]) -> bool {
    mappings
        .iter()
        .any(|mapping| mapping.back.is_some() || lookup_of(mapping).is_some())
}

/// The statements with which a function of ours counts such a write, and tells of
/// it until its transaction ends.
fn count_loss(artifact: &str) -> [String; 2] {
    let sequence = quote_literal(&lost_sequence(artifact));
    [
        format!(
            "PERFORM pg_catalog.pg_advisory_xact_lock_shared({LOSING}, {sequence}::pg_catalog.regclass::oid::integer);"
        ),
        format!("PERFORM pg_catalog.nextval({sequence}::pg_catalog.regclass);"),
    ]
}

/// The statements by which nobody else may call a function of ours, and by which
/// it says what it is.
pub(super) fn owned(function: &str, comment: &str) -> [String; 2] {
    [
        format!("REVOKE ALL ON FUNCTION {function} FROM PUBLIC"),
        format!(
            "COMMENT ON FUNCTION {function} IS {}",
            quote_literal(comment)
        ),
    ]
}

/// The first key of the advisory locks that say that a writer in progress has
/// lost a value or left a reference open; the second one is the sequence.
pub const LOSING: i32 = 1_886_351_988;

/// The names of the triggers that [`install`] creates on the table and on each
/// of its children, unquoted, as in `pg_trigger.tgname`.
pub fn trigger_names(sync: &Sync, artifact: &str) -> Vec<String> {
    triggers(sync)
        .map(|(place, write, _)| trigger_name(artifact, place, write))
        .chain(
            copying::all(sync, artifact).flat_map(|copying| copying.triggers().collect::<Vec<_>>()),
        )
        .chain(referring::all(sync, artifact).map(|referring| referring.trigger()))
        .collect()
}

/// Lookup tables with the names of the triggers that [`install`] creates there.
pub fn kept(sync: &Sync, artifact: &str) -> Vec<(TableName, Vec<String>)> {
    referring::all(sync, artifact)
        .map(|referring| referring.kept())
        .collect()
}

fn triggers(sync: &Sync) -> impl Iterator<Item = (Place, Write, Firing)> {
    let places: &[Place] = if sync.application_triggers {
        &[Place::First, Place::Last]
    } else {
        &[Place::First]
    };
    places.iter().flat_map(move |place| {
        let writes = Write::all(*place).iter();
        writes.filter_map(move |write| Some((*place, *write, firing(sync, *write)?)))
    })
}

fn trigger_name(artifact: &str, place: Place, write: Write) -> String {
    let prefix = match place {
        Place::First => "!",
        Place::Last => "~~",
    };
    format!("{prefix}pontoon_{artifact}_{}", write.suffix())
}

/// The table and the children that carry triggers of their own.
fn tables(sync: &Sync) -> impl Iterator<Item = &TableName> {
    std::iter::once(&sync.table).chain(&sync.children)
}

/// The statements that install a table's dual write, for one transaction: what
/// [`create`] and [`attach`] give.
pub fn install(sync: &Sync, artifact: &str) -> Vec<String> {
    let mut statements = create(sync, artifact);
    statements.extend(attach(sync, artifact));
    statements
}

/// The statements that create the functions and sequences of a dual write.
/// They concern no table of the application, so no lock has to be held for
/// them. The schema `pontoon` must exist, and `artifact` must be of at most
/// [`MAX_ARTIFACT_BYTES`].
pub fn create(sync: &Sync, artifact: &str) -> Vec<String> {
    debug_assert!(
        artifact.len() <= MAX_ARTIFACT_BYTES,
        "an artifact's name must leave room for its affixes"
    );
    let mut statements = vec![
        format!("CREATE SEQUENCE {} AS bigint", seen_sequence(artifact)),
        format!("CREATE SEQUENCE {} AS bigint", conflicts_sequence(artifact)),
    ];
    if may_lose(&sync.mappings) {
        statements.push(format!(
            "CREATE SEQUENCE {} AS bigint",
            lost_sequence(artifact)
        ));
    }
    for part in parts(sync) {
        statements.push(create_function(sync, artifact, part));
        statements.extend(owned(
            &format!("{}()", part.function(artifact)),
            &format!("Pontoon: dual write of {}", sync.table),
        ));
    }
    statements.extend(copying::all(sync, artifact).flat_map(|copying| copying.create()));
    statements.extend(referring::all(sync, artifact).flat_map(|referring| referring.create()));
    statements
}

/// The statements that create the triggers which call what [`create`] made.
pub fn attach(sync: &Sync, artifact: &str) -> Vec<String> {
    // WHEN is read once, now: its functions are those of the canonical text.
    let mut statements = vec![format!("SET LOCAL {}", pin_text(pins(&[])[0]))];
    for copying in copying::all(sync, artifact) {
        statements.extend(copying.attach());
    }
    for referring in referring::all(sync, artifact) {
        statements.extend(referring.attach());
    }
    for table in tables(sync) {
        for (place, write, firing) in triggers(sync) {
            let function = Part::of(sync, write).function(artifact);
            let name = trigger_name(artifact, place, write);
            statements.push(create_trigger(table, &name, place, &firing, &function));
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
    statements
        .extend(parts(sync).map(|part| format!("DROP FUNCTION {}()", part.function(artifact))));
    statements.extend(copying::all(sync, artifact).map(|copying| copying.drop_function()));
    statements.extend(referring::all(sync, artifact).flat_map(|referring| referring.drop()));
    let mut sequences = vec![seen_sequence(artifact), conflicts_sequence(artifact)];
    if may_lose(&sync.mappings) {
        sequences.push(lost_sequence(artifact));
    }
    statements.push(format!("DROP SEQUENCE {}", sequences.join(", ")));
    statements
}

/// What the functions of the table's own triggers do.
fn parts(sync: &Sync) -> impl Iterator<Item = Part> {
    [Part::Whole, Part::Fill].into_iter().filter(|part| {
        let mut called = triggers(sync).map(|(_, write, _)| Part::of(sync, write));
        called.any(|called| called == *part)
    })
}

fn create_function(sync: &Sync, artifact: &str, part: Part) -> String {
    // A lookup table may have been empty when a session planned its queries.
    let looks_up = sync.mappings.iter().any(|m| lookup_of(m).is_some());
    let settings: String = pins(&sync.mappings)
        .into_iter()
        .chain(looks_up.then_some(("enable_seqscan", "off")))
        .map(|pin| format!("SET {}\n", pin_text(pin)))
        .collect();
    let body = match part {
        Part::Whole => function::whole(sync, artifact),
        Part::Fill => function::fill(sync, artifact),
    };
    format!(
        "CREATE FUNCTION {}() RETURNS trigger\nLANGUAGE plpgsql SECURITY DEFINER\n{settings}AS {}",
        part.function(artifact),
        dollar_quote("pontoon", &body),
    )
}

fn create_trigger(
    table: &TableName,
    name: &str,
    place: Place,
    firing: &Firing,
    function: &str,
) -> String {
    let when = firing
        .when
        .as_ref()
        .map_or_else(String::new, |when| format!("\nWHEN ({when})"));
    format!(
        "CREATE TRIGGER {} BEFORE {} ON {} FOR EACH ROW{when}\nEXECUTE FUNCTION {function}('{}')",
        quote_ident(name),
        firing.event,
        quote_table(table),
        place.word(),
    )
}

#[cfg(test)]
mod tests;
