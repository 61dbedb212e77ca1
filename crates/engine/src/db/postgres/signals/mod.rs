//! Throttle signals: each file measures one thing, and decides nothing.
//!
//! A signal's name, units, limits and page stand in
//! [`pontoon_core::plan::signals`], so that a plan is judged without a
//! database; here is how it is sampled. To add one: an entry there, a file
//! here, and a line in [`Signals::sample`].
//!
//! What this module promises: a sample never runs on a connection that
//! anything else waits for; every statement is read-only (but the commit that
//! [`commit_latency`] measures) and bounded by a timeout on the server; what a
//! role may not see is said to be so, and is never 0; no address is shown with
//! its secrets.

mod active_sessions;
mod archiver_backlog;
mod blocked_sessions;
mod checkpoint_requests;
mod commit_latency;
mod company;
mod dead_tuples;
mod file;
mod http;
mod lock_waits;
mod oldest_transaction;
mod query;
mod replication_lag;
mod statement;
mod wal_rate;
mod window;
mod wraparound_vacuum;

use std::sync::Mutex;
use std::time::Duration;

use pontoon_core::plan::signals::Watched;
use pontoon_core::sql::quote::quote_literal;
use tokio_postgres::SimpleQueryMessage;
use uuid::Uuid;

use super::Postgres;
use super::connect::Purpose;
use super::session::{Session, rows};
use crate::db::{Company, DbError, ErrorKind, Sample, Sampler, ThrottleOff};

use self::statement::run_of;
use self::window::Window;

/// What the server is given to answer one of our own statements.
const TIMEOUT: Duration = Duration::from_secs(2);

/// What must be remembered from one scan of a run to the next: changes over
/// time need a beginning.
#[derive(Debug, Default)]
pub(super) struct History {
    wal: Mutex<Window>,
    checkpoints: Mutex<Window>,
}

/// Reads signals for one run; connects when it is first asked.
pub struct Signals {
    database: Postgres,
    run: Uuid,
    session: Option<Session>,
    version: u32,
    commits: commit_latency::Commits,
}

impl Signals {
    pub(super) fn new(database: &Postgres, run: Uuid) -> Self {
        Self {
            database: database.clone(),
            run,
            session: None,
            version: 0,
            commits: commit_latency::Commits::default(),
        }
    }

    /// The connection of its own. It is taken, and put back by
    /// [`Signals::done`] after a good answer: one whose answer never came is
    /// closed.
    async fn take(&mut self) -> Result<Session, DbError> {
        match self.session.take() {
            Some(session) if !session.is_closed() => Ok(session),
            _ => self.database.own_session(Purpose::Signals).await,
        }
    }

    fn done(&mut self, session: Session) {
        self.session = Some(session);
    }

    /// One read-only statement, bounded by the server. `timeout` bounds it and
    /// each lock that it waits for.
    async fn ask(
        &mut self,
        sql: &str,
        timeout: Duration,
        doing: &str,
    ) -> Result<Vec<SimpleQueryMessage>, DbError> {
        let session = self.take().await?;
        let millis = timeout.as_millis().max(1);
        // The body ends with a line of its own: it may end in a comment.
        let text = format!(
            "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY; SET LOCAL statement_timeout = {millis}; \
             SET LOCAL lock_timeout = {millis};\n{sql}\n; COMMIT"
        );
        let answer = session.one_message(&text, doing).await;
        if answer.is_ok() || !session.is_closed() {
            self.done(session);
        }
        answer
    }

    /// The server's major version.
    async fn version(&mut self) -> Result<u32, DbError> {
        if self.version == 0 {
            let messages = self
                .ask(
                    "SELECT pg_catalog.current_setting('server_version_num') AS version",
                    TIMEOUT,
                    "read the server's version",
                )
                .await?;
            self.version = rows(&messages)
                .next()
                .and_then(|row| row.get(0)?.parse::<u32>().ok())
                .unwrap_or_default()
                / 10_000;
        }
        Ok(self.version)
    }
}

impl Sampler for Signals {
    async fn sample(&mut self, watched: &Watched) -> Result<Sample, DbError> {
        match watched.signal.name {
            "active_sessions" => active_sessions::sample(self).await,
            "archiver_backlog" => archiver_backlog::sample(self).await,
            "blocked_sessions" => blocked_sessions::sample(self).await,
            "checkpoint_requests" => checkpoint_requests::sample(self).await,
            "commit_latency" => commit_latency::sample(self).await,
            "dead_tuples" => dead_tuples::sample(self).await,
            "file" => file::sample(watched).await,
            "http" => http::sample(watched).await,
            "lock_waits" => lock_waits::sample(self).await,
            "oldest_transaction" => oldest_transaction::sample(self).await,
            "query" => query::sample(self, watched).await,
            "replication_lag" => replication_lag::sample(self, watched).await,
            "wal_rate" => wal_rate::sample(self).await,
            "wraparound_vacuum" => wraparound_vacuum::sample(self).await,
            unknown => Err(DbError::new(
                ErrorKind::Refused,
                format!("There is no signal `{unknown}`"),
            )),
        }
    }

    async fn company(&mut self) -> Result<Company, DbError> {
        company::ask(self).await
    }

    async fn throttle_off(&mut self) -> Result<Option<ThrottleOff>, DbError> {
        let sql = run_of(include_str!("sql/throttle_off.sql"), self.run);
        let messages = self
            .ask(&sql, TIMEOUT, "read whether the throttle is off")
            .await?;
        Ok(rows(&messages).next().and_then(|row| {
            let seconds = row.get("seconds")?.parse().ok()?;
            Some(ThrottleOff {
                request: row.get("request")?.parse().ok()?,
                left: Duration::try_from_secs_f64(seconds).ok()?,
            })
        }))
    }
}

/// A list of texts as SQL.
fn text_array(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| quote_literal(text)).collect();
    format!("ARRAY[{}]::text[]", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use pontoon_core::plan::signals::KNOWN;

    use super::*;

    #[test]
    fn every_known_signal_is_sampled_here() {
        let source = include_str!("mod.rs");
        for signal in KNOWN {
            let line = format!("\"{0}\" => {0}::sample(", signal.name);
            assert!(source.contains(&line), "{}", signal.name);
        }
    }

    #[test]
    fn lists_are_quoted() {
        assert_eq!(text_array(&[]), "ARRAY[]::text[]");
        let names = ["a".to_owned(), "b'; --".to_owned()];
        assert_eq!(text_array(&names), "ARRAY['a', 'b''; --']::text[]");
    }
}
