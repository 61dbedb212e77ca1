//! How a batch or a verify chunk begins: its settings, then the fence.
//!
//! **Bound.** `statement_timeout` is the smallest of what was asked for and
//! `deadlock_timeout - 100 ms`. All work on rows is one `DO` block, hence one
//! statement with one timer, and row locks are released when it ends. An
//! application session that waits on us looks for a deadlock when *it* has
//! waited `deadlock_timeout`; by then we are gone, so it never finds us in a
//! cycle. The smallest value that any role sets in this database counts, as it
//! was when the ranges were made. Deferred constraints are made immediate, so that no work is left for
//! a COMMIT, which the timer of the block does not cover.
//!
//! **Plans.** The statements are made for one kind of scan; an index that
//! would win by mistake is kept out by turning the others off for the
//! transaction. That makes every plan look dear, so JIT compilation, which
//! goes by cost, is off as well (it doubled the time of a batch).
//!
//! Blocks that are kept would be planned anew for each batch all the same,
//! because a range of unknown length looks dear; a plan for any range is asked
//! for.
//!
//! **Names.** `pg_catalog` comes first, so that canonical expressions mean
//! what they mean elsewhere; the role's own path stays behind it for the
//! application's triggers, which the batch fires.
//!
//! **Row security.** Off: where a policy would hide rows from us, the server
//! answers with an error, and no row is skipped in silence.
//!
//! **Durability.** A commit waits for the local disk and not for a standby:
//! row locks are held while a commit waits. Rows and cursor are one
//! transaction, so a failover loses both or neither.

use std::time::Duration;

use pontoon_core::sql::quote::quote_literal;

use super::super::fence::{BEGIN, work_fence, work_statement};
use super::super::ranges::position::Facts;
use crate::db::Fence;

/// The scan that the statements behind the prologue are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// Ranges of pages.
    Pages,
    /// Ranges of a key.
    Key,
}

/// Settings under which a key's values become text and text a value again,
/// the same on every connection.
pub(crate) const TEXT_FORM: [(&str, &str); 6] = [
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("extra_float_digits", "1"),
    ("bytea_output", "hex"),
    ("lc_monetary", "C"),
];

/// A wait for a lock that is no row's (a foreign key's parent, another
/// writer's unique value, the table itself) ends after this at the latest.
const LOCK_TIMEOUT: Duration = Duration::from_millis(250);

/// How a message of work on rows begins and what holds while it lasts.
///
/// The whole of it is a good part of what a small batch costs. What a session
/// keeps as a function carries its settings with it, and was made under the
/// whole prologue: on this server process, which its session cannot outlive.
/// What is left before its call are the bounds; the fence is its first
/// statement.
pub(crate) struct Prologue {
    bounds: [(&'static str, String); 2],
    settings: Vec<(&'static str, String)>,
    /// The fence and the check of the server, as statements.
    guarded: String,
    /// The fence alone, as a call.
    fence: String,
}

impl Prologue {
    pub(crate) fn new(
        fence: &Fence,
        access: Access,
        pins: &[(&'static str, &'static str)],
        timeout: Duration,
        facts: &Facts,
    ) -> Self {
        let timeout = timeout.min(facts.bound());
        let lock_timeout = LOCK_TIMEOUT.min(timeout / 2).as_millis().max(1);
        let indexes = match access {
            Access::Pages => "off",
            Access::Key => "on",
        };
        let mut settings = vec![
            ("row_security", "off"),
            ("jit", "off"),
            // PL/pgSQL would parse the block's statements once more before it
            // parses those that it executes.
            ("check_function_bodies", "off"),
            ("max_parallel_workers_per_gather", "0"),
            ("plan_cache_mode", "force_generic_plan"),
            ("enable_tidscan", "on"),
            ("enable_seqscan", "off"),
            ("enable_bitmapscan", "off"),
            ("enable_indexscan", indexes),
            ("enable_indexonlyscan", indexes),
        ];
        if access == Access::Key {
            settings.push(("enable_sort", "off"));
            settings.extend(TEXT_FORM);
        }
        // The path is set apart: the pinned one would hide the application's
        // own schemas from its triggers.
        settings.extend(pins.iter().filter(|(name, _)| *name != "search_path"));
        Self {
            bounds: [
                (
                    "statement_timeout",
                    format!("'{}'", timeout.as_millis().max(1)),
                ),
                ("lock_timeout", format!("'{lock_timeout}'")),
            ],
            settings: settings
                .into_iter()
                .map(|(name, value)| (name, quote_literal(value)))
                .collect(),
            guarded: work_statement(fence),
            fence: work_fence(fence),
        }
    }

    /// `BEGIN`, settings and fence, as the first statements of a message.
    pub(crate) fn whole(&self) -> String {
        let calls: Vec<String> = [("search_path", PATH)]
            .into_iter()
            .chain(as_texts(&self.bounds))
            .chain([("synchronous_commit", DURABILITY)])
            .chain(as_texts(&self.settings))
            .map(|(name, value)| format!("pg_catalog.set_config('{name}', {value}, true)"))
            .collect();
        format!(
            "{BEGIN}SELECT {};\n{}{IMMEDIATE}",
            calls.join(",\n       "),
            self.guarded
        )
    }

    /// The beginning of a message that calls a function with
    /// [clauses](Self::clauses) and [first statements](Self::first).
    pub(crate) fn brief(&self) -> String {
        let bounds: String = as_texts(&self.bounds)
            .map(|(name, value)| format!("SET LOCAL {name} = {value};\n"))
            .collect();
        format!("{BEGIN}{bounds}{IMMEDIATE}")
    }

    /// Settings as clauses of a function that is created behind
    /// [the whole](Self::whole).
    pub(crate) fn clauses(&self) -> String {
        as_texts(&self.settings)
            .map(|(name, value)| format!(" SET {name} = {value}"))
            .chain([" SET search_path FROM CURRENT".to_owned()])
            .collect()
    }

    /// First statements of such a function: what has to hold beyond its end,
    /// and the fence.
    pub(crate) fn first(&self) -> String {
        format!(
            "    PERFORM pg_catalog.set_config('synchronous_commit', {DURABILITY}, true);
    PERFORM {};\n",
            self.fence
        )
    }
}

fn as_texts<'a>(
    settings: &'a [(&'static str, String)],
) -> impl Iterator<Item = (&'static str, &'a str)> {
    settings.iter().map(|(name, value)| (*name, value.as_str()))
}

const PATH: &str = "pg_catalog.concat_ws(', ', 'pg_catalog', \
                    nullif(pg_catalog.current_setting('search_path'), ''), 'pg_temp')";

const DURABILITY: &str = "CASE pg_catalog.current_setting('synchronous_commit') \
                          WHEN 'off' THEN 'off' ELSE 'local' END";

const IMMEDIATE: &str = "SET CONSTRAINTS ALL IMMEDIATE;\n";
