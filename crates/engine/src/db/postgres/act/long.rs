//! Long statements under weak locks, and how they give way.
//!
//! An index build or a validation holds SHARE UPDATE EXCLUSIVE for minutes.
//! Reads and writes go on, but an ANALYZE or an ALTER queues behind us, and
//! readers queue behind the ALTER. No timer of the server knows that, so
//! somebody looks: when anyone has waited for us for half the budget, we are
//! cancelled, and try again after a gap.
//!
//! Such a session needs settings of its own and a backend that can be named.
//! Behind a pooler it has neither, so these steps ask for the server itself.

use std::time::{Duration, Instant};

use rand::Rng;
use tokio::time::sleep;
use tokio_postgres::SimpleQueryMessage;

use super::super::connect::{Purpose, is_pooler};
use super::super::guard::watch::{Waiter, Watchdog, waiters};
use super::super::session::Session;
use super::super::sqlstate::classify;
use super::Act;
use super::index::tell_progress;
use crate::db::{DbError, ErrorKind};
use crate::event::{Blocker, Event};

/// A gap is at least this many times the budget.
pub(super) const GAP: u32 = 20;

/// A session for one long statement, and one to watch it from.
pub(super) struct Long {
    pub(super) session: Session,
    pub(super) control: Session,
    pub(super) pid: i32,
    pub(super) control_pid: i32,
    /// Names the transaction in `pg_stat_activity`.
    pub(super) name: String,
    /// `server_version_num`.
    pub(super) version: i32,
}

/// How a long statement ended.
pub(super) enum Outcome<T> {
    Done(T),
    /// Somebody waited for us, or held what we need: another try may do better.
    Again {
        /// Who, for the message when patience is spent.
        blockers: Vec<Blocker>,
        /// The least wait before it.
        gap: Duration,
    },
}

impl Long {
    /// # Errors
    /// [`ErrorKind::Refused`] behind a pooler.
    pub(super) async fn open(act: &Act<'_>) -> Result<Self, DbError> {
        let session = act.database.own_session(Purpose::Guard).await?;
        let control = act.database.own_session(Purpose::Watch).await?;
        let failed = |error| classify(&error, &act.doing);
        if is_pooler(&session).await.map_err(failed)? {
            return Err(DbError::new(
                ErrorKind::Refused,
                format!("{}: it cannot run through a connection pooler", act.doing),
            )
            .hint(super::super::direct::GIVE));
        }
        let one = "SELECT pg_catalog.pg_backend_pid(), pg_catalog.current_setting('server_version_num')::int4";
        let row = session.query_typed_one(one, &[]).await.map_err(failed)?;
        let (pid, version) = (row.get(0), row.get(1));
        let row = control.query_typed_one(one, &[]).await.map_err(failed)?;
        Ok(Self {
            session,
            control,
            pid,
            control_pid: row.get(0),
            name: format!("pontoon/step {:08x}", rand::rng().random::<u32>()),
            version,
        })
    }

    /// The beginning of a long transaction: its name, and no timers but the
    /// one for locks.
    pub(super) fn settings(&self, lock_timeout: Duration) -> String {
        let mut text = format!(
            "SET LOCAL application_name = '{}';
SET LOCAL lock_timeout = {};
SET LOCAL statement_timeout = 0;
SET LOCAL idle_in_transaction_session_timeout = '10s';
",
            self.name,
            lock_timeout.as_millis()
        );
        if self.version >= 170_000 {
            text.push_str("SET LOCAL transaction_timeout = 0;\n");
        }
        text
    }

    /// Runs a message; cancels it once somebody has waited for it for half
    /// the budget. Tells the progress of an index build.
    pub(super) async fn run(
        &self,
        act: &Act<'_>,
        message: &str,
    ) -> Result<Outcome<Vec<SimpleQueryMessage>>, tokio_postgres::Error> {
        let watchdog = Watchdog {
            control: &self.control,
            pid: self.pid,
            name: &self.name,
            pooled: false,
        };
        let often = (act.budget.max_lock_duration() / 10)
            .clamp(Duration::from_millis(20), Duration::from_millis(200));
        let mut work = std::pin::pin!(self.session.try_message(message));
        let mut gave_way: Option<Waiter> = None;
        let mut looked = Instant::now();
        let ended = loop {
            tokio::select! {
                ended = &mut work => break ended,
                () = sleep(often) => {}
            }
            if looked.elapsed() >= Duration::from_secs(1) {
                looked = Instant::now();
                if let Err(error) = tell_progress(act, &self.control, self.pid).await {
                    tracing::debug!("progress could not be read: {error}");
                }
            }
            let budget = act.budget.max_lock_duration();
            match waiters(&self.control, self.pid).await {
                Ok(waiting) => {
                    let long = waiting
                        .into_iter()
                        .find(|waiter| waiter.waited_ms >= budget.as_secs_f64() * 500.0);
                    let Some(waiter) = long else { continue };
                    match watchdog.look().await {
                        Ok(Some(seen)) => match watchdog.cancel(&seen).await {
                            Ok(true) => gave_way = Some(waiter),
                            Ok(false) => {}
                            Err(error) => tracing::warn!("could not give way: {error}"),
                        },
                        Ok(None) => {}
                        Err(error) => tracing::warn!("could not give way: {error}"),
                    }
                }
                Err(error) => tracing::warn!("could not look who waits for us: {error}"),
            }
        };
        match (ended, gave_way) {
            (Ok(messages), _) => Ok(Outcome::Done(messages)),
            (Err(error), Some(waiter))
                if error.code().is_some_and(|code| code.code() == "57014") =>
            {
                act.sink.emit(Event::Warning {
                    message: format!(
                        "Step {} gave way to {waiter}, who had waited {} ms for it; it is tried again.",
                        act.no,
                        waiter.waited_ms.round()
                    ),
                });
                Ok(Outcome::Again {
                    blockers: vec![blocker(&waiter)],
                    gap: act.budget.max_lock_duration() * GAP,
                })
            }
            (Err(error), _) => Err(error),
        }
    }
}

fn blocker(waiter: &Waiter) -> Blocker {
    Blocker {
        pid: waiter.pid,
        gid: None,
        user: waiter.user.clone(),
        application: waiter.application.clone(),
        state: None,
        age_ms: waiter.waited_ms.max(0.0) as u64,
        mode: "waits for our lock".into(),
        relation: String::new(),
        query: None,
    }
}

/// The gaps between tries, for as long as `lock_patience` allows them to add
/// up to.
pub(super) struct Gaps<'a> {
    act: &'a Act<'a>,
    waited: Duration,
    /// Tries begun, the present one included.
    pub(super) attempts: u32,
}

impl<'a> Gaps<'a> {
    pub(super) fn new(act: &'a Act<'a>) -> Self {
        Self {
            act,
            waited: Duration::ZERO,
            attempts: 1,
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// [`ErrorKind::LockPatience`] when the gaps have used it up.
    pub(super) async fn wait(
        &mut self,
        blockers: Vec<Blocker>,
        gap: Duration,
    ) -> Result<(), DbError> {
        let act = self.act;
        let gap = gap.mul_f64(rand::rng().random_range(1.0..1.5));
        self.waited += gap;
        let left = act.budget.lock_patience().saturating_sub(self.waited);
        act.sink.emit(Event::LockWaiting {
            no: act.no,
            attempts: self.attempts,
            blockers: blockers.clone(),
            patience_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX),
        });
        if left.is_zero() {
            return Err(DbError::new(
                ErrorKind::LockPatience { blockers },
                format!(
                    "{}: it had to give way {} times within lock_patience ({})",
                    act.doing,
                    self.attempts,
                    humantime::format_duration(act.budget.lock_patience())
                ),
            )
            .hint("Run again at a quieter hour, or raise lock_patience."));
        }
        sleep(gap).await;
        self.attempts += 1;
        Ok(())
    }
}
