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

use super::super::fence::{BEGIN, work_statement};
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

/// `BEGIN`, settings and fence, as the first statements of a message.
pub(crate) fn prologue(
    fence: &Fence,
    access: Access,
    pins: &[(&str, &str)],
    timeout: Duration,
    facts: &Facts,
) -> String {
    let timeout = timeout.min(facts.bound());
    let lock_timeout = LOCK_TIMEOUT.min(timeout / 2).as_millis().max(1);
    let mut settings: Vec<(&str, String)> = vec![
        (
            "search_path",
            "pg_catalog.concat_ws(', ', 'pg_catalog', \
             nullif(pg_catalog.current_setting('search_path'), ''), 'pg_temp')"
                .to_owned(),
        ),
        (
            "statement_timeout",
            format!("'{}'", timeout.as_millis().max(1)),
        ),
        ("lock_timeout", format!("'{lock_timeout}'")),
        (
            "synchronous_commit",
            "CASE pg_catalog.current_setting('synchronous_commit') WHEN 'off' THEN 'off' ELSE 'local' END"
                .to_owned(),
        ),
        ("row_security", "'off'".to_owned()),
        ("jit", "'off'".to_owned()),
        // PL/pgSQL would parse the block's statements once more before it
        // parses those that it executes.
        ("check_function_bodies", "'off'".to_owned()),
        ("max_parallel_workers_per_gather", "'0'".to_owned()),
        ("plan_cache_mode", "'force_generic_plan'".to_owned()),
        ("enable_tidscan", "'on'".to_owned()),
        ("enable_seqscan", "'off'".to_owned()),
        ("enable_bitmapscan", "'off'".to_owned()),
    ];
    let indexes = match access {
        Access::Pages => "'off'",
        Access::Key => "'on'",
    };
    settings.push(("enable_indexscan", indexes.to_owned()));
    settings.push(("enable_indexonlyscan", indexes.to_owned()));
    if access == Access::Key {
        settings.push(("enable_sort", "'off'".to_owned()));
        for (name, value) in TEXT_FORM {
            settings.push((name, quote_literal(value)));
        }
    }
    for &(name, value) in pins {
        // The path is set above: the pinned one would hide the application's
        // own schemas from its triggers.
        if name != "search_path" {
            settings.push((name, quote_literal(value)));
        }
    }
    let calls: Vec<String> = settings
        .iter()
        .map(|(name, value)| format!("pg_catalog.set_config('{name}', {value}, true)"))
        .collect();
    format!(
        "{BEGIN}SELECT {};\n{}SET CONSTRAINTS ALL IMMEDIATE;\n",
        calls.join(",\n       "),
        work_statement(fence)
    )
}

/// The end of a message whose block has left its report in a setting.
pub(crate) const EPILOGUE: &str =
    "SELECT pg_catalog.current_setting('pontoon.report') AS report;\nCOMMIT";
