//! A plan's condition: asked again and again until it holds.
//!
//! Each look is one message with a read-only transaction of its own, so that
//! nothing is open between two of them, and a pooler in transaction mode is as
//! good as a server. Dropping the future between two looks leaves nothing.

use std::time::{Duration, Instant};

use pontoon_core::sql::quote::quote_ident;
use pontoon_core::step::Wait;
use tokio::time::sleep;

use super::super::session::rows;
use super::super::sqlstate::classify;
use super::{Act, settle};
use crate::db::{ActReport, DbError, ErrorKind};
use crate::event::Event;

/// The most time that one look may take.
const LOOK: &str = "30s";

/// Waits for the condition and records it.
pub(super) async fn perform(act: &Act<'_>, wait: &Wait) -> Result<ActReport, DbError> {
    let begun = Instant::now();
    let timeout = Duration::from_millis(wait.timeout_ms);
    while !holds(act, wait).await? {
        let waited = begun.elapsed();
        let left = timeout.saturating_sub(waited);
        let whole =
            |time: Duration| humantime::format_duration(Duration::from_secs(time.as_secs()));
        if left.is_zero() {
            return Err(DbError::new(
                ErrorKind::Failed,
                format!(
                    "{}: it did not become true within {}: {}",
                    act.doing,
                    humantime::format_duration(timeout),
                    wait.query.trim()
                ),
            )
            .hint("Nothing is lost: run again to wait again, or roll back."));
        }
        act.sink.emit(Event::StepProgress {
            no: act.no,
            doing: format!("not yet, after {}", whole(waited)),
            done: waited.as_secs(),
            total: timeout.as_secs(),
        });
        sleep(Duration::from_millis(wait.every_ms).min(left)).await;
    }
    settle(act, String::new(), Vec::new()).await
}

/// One look.
async fn holds(act: &Act<'_>, wait: &Wait) -> Result<bool, DbError> {
    let message = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY;
SET LOCAL search_path = pg_catalog, {}, pg_temp;
SET LOCAL statement_timeout = '{LOOK}';
SET LOCAL lock_timeout = '5s';
SELECT * FROM (
{}
) AS condition LIMIT 2;
COMMIT",
        quote_ident(&wait.schema),
        wait.query.trim().trim_end_matches(';')
    );
    let unusable = |why: &str| {
        DbError::new(
            ErrorKind::Failed,
            format!(
                "{}: the query gives {why}: {}",
                act.doing,
                wait.query.trim()
            ),
        )
        .hint("Write one SELECT that gives one row with one boolean.")
    };
    let session = act.database.session().await?;
    let messages = match session.try_message(&message).await {
        Ok(messages) => messages,
        Err(error) => {
            return match error.code().map(tokio_postgres::error::SqlState::code) {
                // It took too long, or somebody holds what it reads.
                Some("57014" | "55P03") => Ok(false),
                _ => Err(classify(&error, &act.doing)),
            };
        }
    };
    let mut found = rows(&messages);
    let first = found.next();
    if found.next().is_some() {
        return Err(unusable("several rows"));
    }
    let Some(row) = first else { return Ok(false) };
    if row.len() != 1 {
        return Err(unusable("several columns"));
    }
    match row.get(0) {
        Some("t") => Ok(true),
        Some("f") | None => Ok(false),
        Some(_) => Err(unusable("something else than a boolean")),
    }
}
