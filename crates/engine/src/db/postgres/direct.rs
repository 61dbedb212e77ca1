//! Steps that need a backend of their own, and the way to one.
//!
//! Behind a pooler in transaction mode (PgBouncer, for example) a session is
//! no backend: each transaction may run on another one, and when it has ended
//! an application's runs there. All that Pontoon does in short transactions
//! works so: its own tables, the guard, batches, verify passes, signals, the
//! lease. What cannot:
//!
//! - **CREATE and DROP INDEX CONCURRENTLY, DETACH … CONCURRENTLY**: they run in
//!   no transaction, so `SET LOCAL` does not reach them, and a `SET` would
//!   stay on a backend that the application gets next.
//! - **VALIDATE and a plan's own SQL**: they may last for minutes and must give
//!   way when somebody waits for them. The only way to end a statement from
//!   outside is a signal to its backend, and a signal that comes late would
//!   hit the application's statement there.
//!
//! These go to the *direct* address. Where it is known, the guard and
//! whatever looks at backends goes there as well: then the watchdog can do its
//! work, which behind a pooler it leaves to the server's own timers.
//!
//! LISTEN, session-level advisory locks, prepared statements with names,
//! temporary tables that outlive a transaction: Pontoon uses none of them.

use pontoon_core::step::{Action, Step};

use super::Postgres;
use super::connect::{Identity, Purpose, identity, is_pooler};
use super::sqlstate::classify;
use crate::db::{DbError, ErrorKind};

/// What to give, in the words of the command line.
pub(super) const GIVE: &str = "Give the address of the server itself: --direct-url, `direct_url_env` of the environment in pontoon.yaml, or DIRECT_URL beside DATABASE_URL.";

/// Does this action need a backend that no one shares?
fn needs_own_backend(action: &Action) -> bool {
    match action {
        Action::Concurrent(_) | Action::Sql(_) => true,
        Action::Ddl(_)
        | Action::Sync(_)
        | Action::Backfill(_)
        | Action::Verify(_)
        | Action::Wait(_) => false,
    }
}

/// Refuses actions that the connection does not allow. Part of the waist.
pub(crate) async fn admit(
    database: &Postgres,
    actions: &[(&Step, &Action)],
) -> Result<(), DbError> {
    const DOING: &str = "look whether the connection goes through a pooler";
    if database.has_direct() {
        same_server(database).await?;
    }
    let needing: Vec<&Step> = actions
        .iter()
        .filter(|(_, action)| needs_own_backend(action))
        .map(|(step, _)| *step)
        .collect();
    if needing.is_empty() {
        return Ok(());
    }
    let session = database.own_session(Purpose::Guard).await?;
    if !is_pooler(&session)
        .await
        .map_err(|error| classify(&error, DOING))?
    {
        return Ok(());
    }
    let named: Vec<String> = needing
        .iter()
        .take(3)
        .map(|step| format!("{} ({})", step.no, step.name))
        .collect();
    let more = match needing.len() {
        n @ 4.. => format!(" and {} more", n - 3),
        _ => String::new(),
    };
    let (what, need) = match needing.len() {
        1 => ("Step", "needs"),
        _ => ("Steps", "need"),
    };
    let through = if database.has_direct() {
        "the direct address leads through a connection pooler too"
    } else {
        "the connection goes through a pooler"
    };
    Err(DbError::new(
        ErrorKind::Refused,
        format!(
            "{what} {}{more} {need} a session of the server's own, and {through}; nothing was changed",
            named.join(", ")
        ),
    )
    .hint(GIVE))
}

/// The pooler and the direct address must lead to one server and database:
/// else a step would be done in one place and recorded in another.
pub(crate) async fn same_server(database: &Postgres) -> Result<(), DbError> {
    let direct = database.own_session(Purpose::Guard).await?;
    let usual = database.session().await?;
    let (direct, usual) = (identity(&direct).await?, identity(&usual).await?);
    let Identity {
        system,
        database: name,
        started,
        ..
    } = &usual;
    if (system, name) != (&direct.system, &direct.database) {
        return Err(DbError::new(
            ErrorKind::Refused,
            format!(
                "The direct address leads to another database: {} on the server with system identifier {}, \
                 and the usual one leads to {name} on {system}; nothing was changed",
                direct.database, direct.system
            ),
        )
        .hint("Both must lead to the same database of the same server."));
    }
    if started != &direct.started || direct.recovering {
        // A pooler follows a failover by other means than an address does.
        return Err(DbError::new(
            ErrorKind::Unreachable,
            "The direct address and the usual one lead to two different servers of one cluster",
        )
        .hint("After a failover both must lead to the new primary; name all hosts in the direct address, and the primary among them is found."));
    }
    Ok(())
}
