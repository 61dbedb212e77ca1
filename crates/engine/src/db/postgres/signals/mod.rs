//! Throttle signals: each file measures one thing, and decides nothing.
//!
//! A signal's name, unit and default limit stand in
//! `pontoon_core::plan::signals`, so that a plan is judged without a database;
//! here is how it is sampled. To add one: an entry there, a file here, and a
//! line in [`sample`].

mod blocked_sessions;
mod replication_lag;

use uuid::Uuid;

use super::Postgres;
use crate::db::{DbError, ErrorKind, Reading};

/// Reads one signal. Part of the waist.
pub(super) async fn sample(
    database: &Postgres,
    signal: &str,
    run: Uuid,
) -> Result<Vec<Reading>, DbError> {
    let session = database.session().await?;
    match signal {
        "blocked_sessions" => blocked_sessions::sample(&session, run).await,
        "replication_lag" => replication_lag::sample(&session).await,
        unknown => Err(DbError::new(
            ErrorKind::Refused,
            format!("There is no signal `{unknown}`"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::plan::signals::KNOWN;

    #[test]
    fn every_known_signal_is_sampled_here() {
        let source = include_str!("mod.rs");
        for signal in KNOWN {
            assert!(
                source.contains(&format!("\"{}\" =>", signal.name)),
                "{}",
                signal.name
            );
        }
    }
}
