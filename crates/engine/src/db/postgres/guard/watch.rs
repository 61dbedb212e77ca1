//! The watchdog, and the look at who waits for us.
//!
//! The server's own timers are the bound. The watchdog only covers a server
//! that does not keep them, and cancels nothing but the very transaction it
//! watches: the backend, the name that the transaction gave itself, its start
//! and its id must all still be the same, and comparison and signal are one
//! statement. Behind a pooler it does nothing, for there the backend may
//! serve an application an instant later.

use std::time::Duration;

use tokio::time::sleep;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::sqlstate::classify;
use crate::db::DbError;

/// Watches one transaction of ours from another connection.
pub(crate) struct Watchdog<'a> {
    /// The connection to look and cancel with.
    pub(crate) control: &'a Client,
    /// The backend of the watched connection.
    pub(crate) pid: i32,
    /// The name that the transaction gave itself.
    pub(crate) name: &'a str,
    /// The watched connection goes through a pooler.
    pub(crate) pooled: bool,
}

/// A transaction as it was seen once.
#[derive(Debug, PartialEq)]
pub(crate) struct Seen {
    xact_start: String,
    xid: Option<String>,
}

impl Watchdog<'_> {
    /// Runs `work`, and cancels it when it lasts longer than `bound`.
    /// `None`: the server does not know the transaction any more and no
    /// answer came either.
    pub(crate) async fn over<T>(
        &self,
        bound: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let mut work = std::pin::pin!(work);
        tokio::select! {
            done = &mut work => return Some(done),
            () = sleep(bound) => {}
        }
        let mut missing = 0;
        loop {
            // A look that fails leaves the decision to the server's timers.
            match self.look().await {
                Ok(Some(seen)) => {
                    missing = 0;
                    tokio::select! {
                        done = &mut work => return Some(done),
                        () = sleep(Duration::from_millis(200)) => {}
                    }
                    if let Err(error) = self.cancel(&seen).await {
                        tracing::warn!("the watchdog could not cancel: {error}");
                    }
                }
                Ok(None) => missing += 1,
                Err(error) => tracing::warn!("the watchdog could not look: {error}"),
            }
            tokio::select! {
                done = &mut work => return Some(done),
                () = sleep(Duration::from_secs(1)) => {}
            }
            // The transaction is over and its answer is lost.
            if missing >= 3 {
                return None;
            }
        }
    }

    /// The transaction, while it is there.
    pub(crate) async fn look(&self) -> Result<Option<Seen>, DbError> {
        let row = self
            .control
            .query_typed_opt(
                include_str!("sql/watch.sql"),
                &[(&self.pid, Type::INT4), (&self.name, Type::TEXT)],
            )
            .await
            .map_err(|error| classify(&error, "watch a transaction"))?;
        Ok(row.map(|row| Seen {
            xact_start: row.get("xact_start"),
            xid: row.get("xid"),
        }))
    }

    /// Cancels it if it is still the one that was seen.
    pub(crate) async fn cancel(&self, seen: &Seen) -> Result<bool, DbError> {
        if self.pooled {
            return Ok(false);
        }
        let rows = self
            .control
            .query_typed(
                include_str!("sql/cancel.sql"),
                &[
                    (&self.pid, Type::INT4),
                    (&self.name, Type::TEXT),
                    (&seen.xact_start, Type::TEXT),
                    (&seen.xid, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| classify(&error, "cancel a transaction of ours"))?;
        Ok(!rows.is_empty())
    }
}

/// Someone who waits for a lock of ours.
#[derive(Clone, Debug)]
pub(crate) struct Waiter {
    pub(crate) pid: i32,
    pub(crate) user: Option<String>,
    pub(crate) application: Option<String>,
    pub(crate) waited_ms: f64,
}

impl std::fmt::Display for Waiter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "pid {}", self.pid)?;
        if let Some(user) = &self.user {
            write!(f, " ({user}")?;
            if let Some(application) = self.application.as_deref().filter(|name| !name.is_empty()) {
                write!(f, ", {application}")?;
            }
            f.write_str(")")?;
        }
        Ok(())
    }
}

/// Who waits for the backend `pid`, the longest first.
pub(crate) async fn waiters(client: &Client, pid: i32) -> Result<Vec<Waiter>, DbError> {
    let rows = client
        .query_typed(include_str!("sql/waiters.sql"), &[(&pid, Type::INT4)])
        .await
        .map_err(|error| classify(&error, "look who waits for us"))?;
    Ok(rows
        .iter()
        .map(|row| Waiter {
            pid: row.get("pid"),
            user: row.get("usename"),
            application: row.get("application_name"),
            waited_ms: row.get("waited_ms"),
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use pontoon_sandbox::{Pooler, Server, ServerSpec, TestDatabase};

    use super::*;

    const OURS: &str = "pontoon/guard 1";

    async fn pid(client: &Client) -> i32 {
        client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .expect("a pid")
            .get(0)
    }

    /// The next transaction of a backend that a pooler shares is somebody
    /// else's: it is never cancelled, however it looks.
    #[tokio::test(flavor = "multi_thread")]
    async fn pooler_watchdog() {
        let database = TestDatabase::create(None).await.expect("a database");
        let control = database.client().await.expect("a client");
        let watched = database.client().await.expect("a client");
        let watchdog = Watchdog {
            control: &control,
            pid: pid(&watched).await,
            name: OURS,
            pooled: false,
        };
        let begin = format!("BEGIN; SET LOCAL application_name = '{OURS}'");
        watched.batch_execute(&begin).await.expect("begins");
        let seen = watchdog.look().await.expect("looks").expect("is there");
        watched.batch_execute("COMMIT").await.expect("ends");
        assert_eq!(watchdog.look().await.expect("looks"), None, "it is over");

        // An application's transaction on the same backend …
        watched.batch_execute("BEGIN").await.expect("begins");
        assert!(!watchdog.cancel(&seen).await.expect("does nothing"));
        // … and a later one of ours.
        watched.batch_execute("COMMIT").await.expect("ends");
        watched.batch_execute(&begin).await.expect("begins");
        assert!(!watchdog.cancel(&seen).await.expect("does nothing"));
        let now = watchdog.look().await.expect("looks").expect("is there");
        let through_a_pooler = Watchdog {
            pooled: true,
            ..watchdog
        };
        assert!(!through_a_pooler.cancel(&now).await.expect("does nothing"));
        watched
            .batch_execute("SELECT 1")
            .await
            .expect("nobody cancelled it");

        let watchdog = Watchdog {
            pooled: false,
            ..through_a_pooler
        };
        assert!(watchdog.cancel(&now).await.expect("cancels"));
    }

    /// The same behind a real pooler, with an application whose transaction
    /// could not look more like ours, on the backend that was ours a moment
    /// ago.
    #[tokio::test(flavor = "multi_thread")]
    #[expect(clippy::print_stderr, reason = "a test that is left out says so")]
    async fn pooler_watchdog_behind_a_real_pooler() {
        if !Pooler::is_here().unwrap_or_else(|error| panic!("{error}")) {
            eprintln!(
                "LEFT OUT: PgBouncer is missing; PONTOON_REQUIRE_PGBOUNCER=1 makes this a failure"
            );
            return;
        }
        let server = Server::start(ServerSpec::default())
            .await
            .expect("a server");
        let pooler = Pooler::start(&server, 1).await.expect("a pooler");
        let control = server.client("postgres").await.expect("a client");
        let connect = async || {
            pontoon_sandbox::connect(&pooler.url("postgres"))
                .await
                .expect("a client")
        };
        let (ours, application) = (connect().await, connect().await);
        let pid = async |client: &Client| {
            let row = client
                .query_typed("SELECT pg_backend_pid()", &[])
                .await
                .expect("a pid");
            row[0].get::<_, i32>(0)
        };
        assert_eq!(pid(&ours).await, pid(&application).await, "one backend");
        let watchdog = Watchdog {
            control: &control,
            pid: pid(&ours).await,
            name: OURS,
            pooled: super::super::super::connect::is_pooler(&ours)
                .await
                .expect("it can be told"),
        };
        let text =
            format!("BEGIN; SET LOCAL application_name = '{OURS}'; SELECT pg_sleep(2); COMMIT");
        let (ended, ()) = tokio::join!(application.batch_execute(&text), async {
            // Our own message is still queueing in the pooler.
            let queueing = sleep(Duration::from_millis(1500));
            watchdog.over(Duration::from_millis(300), queueing).await;
        });
        ended.expect("nobody cancelled it");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_lasts_too_long_is_cancelled() {
        let database = TestDatabase::create(None).await.expect("a database");
        let control = database.client().await.expect("a client");
        let watched = database.client().await.expect("a client");
        let watchdog = Watchdog {
            control: &control,
            pid: pid(&watched).await,
            name: OURS,
            pooled: false,
        };
        let text =
            format!("BEGIN; SET LOCAL application_name = '{OURS}'; SELECT pg_sleep(60); COMMIT");
        let ended = watchdog
            .over(Duration::from_millis(300), watched.batch_execute(&text))
            .await
            .expect("an answer");
        let error = ended.expect_err("is cancelled");
        assert_eq!(error.code().map(|code| code.code()), Some("57014"));
    }
}
