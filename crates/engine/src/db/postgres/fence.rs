//! The fence: what every transaction of a run begins with.
//!
//! A transaction that writes for a run takes the run's advisory lock in
//! shared mode and then, with a new snapshot, compares its token with the
//! lease. A takeover writes a new token, commits, and waits for the lock in
//! exclusive mode: afterwards every transaction of the former holder has
//! either ended or fails here. Row locks would not do, for holders of KEY
//! SHARE overtake a waiting FOR UPDATE for ever.
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
        "SELECT pontoon.fence('{}', '{}');\n",
        fence.run, fence.token
    )
}

/// The beginning of a one-message transaction: BEGIN, then `settings`
/// (`SET LOCAL …;` statements), then the fence.
pub(crate) fn fence_prologue(fence: &Fence, settings: &str) -> String {
    format!("{BEGIN}{settings}\n{}", fence_statement(fence))
}
