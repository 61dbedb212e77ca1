//! The fence: what every transaction of a run begins with.
//!
//! A transaction that writes for a run takes the run's advisory lock in
//! shared mode and then, with a new snapshot, compares its token with the
//! lease. A takeover writes a new token, commits, and waits for the lock in
//! exclusive mode: afterwards every transaction of the former holder has
//! either ended or fails here. Row locks would not do, for holders of KEY
//! SHARE overtake a waiting FOR UPDATE for ever.
//!
//! A term also belongs to one *server process*. A connection may lead elsewhere
//! than the one before it: to a promoted standby, to the old primary that a
//! failover left behind and that still takes writes, to the same server after
//! a restart. The token alone would pass on each of them, for it is copied
//! with everything else. So every transaction compares the start of the
//! postmaster, which no two server processes share, and fails where it
//! differs; the process then takes a new term from whichever server answers,
//! and with it a token that no other server knows. Half of a run's work is
//! never done on one server and half on another, whatever the connections do.
//!
//! The transaction must be READ COMMITTED: an older snapshot would read the
//! old token. The function checks that, because a role's
//! `default_transaction_isolation` can say otherwise.

use crate::db::Fence;

/// How each transaction of ours begins.
pub(crate) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;\n";

/// The fence as a statement. The wait for the advisory lock is bounded by
/// `lock_timeout` and `statement_timeout`, which are set before it.
pub(crate) fn fence_statement(fence: &Fence) -> String {
    format!(
        "{}SELECT pontoon.fence('{}', '{}');\n",
        same_server(fence),
        fence.run,
        fence.token
    )
}

/// The same for work on ranges, which workers that have joined the holder's
/// term may do, too.
pub(crate) fn work_statement(fence: &Fence) -> String {
    format!("{}SELECT {};\n", same_server(fence), work_fence(fence))
}

/// The fence of [`work_statement`] alone: a call.
pub(crate) fn work_fence(fence: &Fence) -> String {
    format!("pontoon.fence_work('{}', '{}')", fence.run, fence.token)
}

/// Raises [`SERVER_CHANGED`](super::sqlstate::SERVER_CHANGED) on another
/// server process than the term's.
pub(crate) fn same_server(fence: &Fence) -> String {
    format!(
        "DO $pontoon_server$BEGIN IF pg_catalog.timestamptz_ne(pg_catalog.pg_postmaster_start_time(), '{}') \
         THEN RAISE EXCEPTION 'the server was restarted, or another one took its place' \
         USING ERRCODE = '{}'; END IF; END$pontoon_server$;\n",
        fence.server,
        super::sqlstate::SERVER_CHANGED
    )
}

/// The beginning of a one-message transaction: BEGIN, then `settings`
/// (`SET LOCAL …;` statements), then the fence.
pub(crate) fn fence_prologue(fence: &Fence, settings: &str) -> String {
    format!("{BEGIN}{settings}\n{}", fence_statement(fence))
}
