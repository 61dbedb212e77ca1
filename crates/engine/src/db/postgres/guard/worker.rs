//! The connection that performs tries, and what came of each.

use std::time::Duration;

use rand::Rng;

use super::super::DEADLOCK_MS;
use super::super::Postgres;
use super::super::connect::{Purpose, is_pooler};
use super::super::fence::{BEGIN, fence_statement};
use super::super::session::{Session, rows, text};
use super::super::sqlstate::classify;
use super::Guarded;
use super::locks::Lock;
use super::message::{Facts, Try};
use super::watch::Watchdog;
use crate::db::{ActReport, DbError, ErrorKind};

/// The connection that performs tries.
pub(super) struct Worker {
    pub(super) session: Session,
    pub(super) pid: i32,
    pooled: bool,
    pub(super) facts: Facts,
    pub(super) name: String,
}

/// What a try cost, on the server's clock.
pub(super) struct Cost {
    pub(super) wait_ms: f64,
    pub(super) hold_ms: f64,
    pub(super) already_done: bool,
}

/// Where a try failed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// Before the strong locks.
    Rung,
    /// In the queue for the first strong lock.
    FirstLock,
    /// At another table's, by oid.
    OtherLock(u32),
    /// With all locks.
    Step,
}

pub(super) struct Failure {
    pub(super) error: DbError,
    pub(super) place: Place,
}

impl Failure {
    /// Another try may do better.
    pub(super) fn passes(&self) -> bool {
        match self.error.code.as_deref() {
            Some("55P03" | "57014" | "40P01" | "40001" | "25P04") => true,
            // A partition was dropped since we looked what there is to lock.
            Some("42P01") => self.place != Place::Step,
            _ => false,
        }
    }
}

impl Worker {
    pub(super) async fn open(database: &Postgres, control: &Session) -> Result<Self, DbError> {
        const DOING: &str = "prepare the guard";
        let session = database.own_session(Purpose::Guard).await?;
        let failed = |error| classify(&error, DOING);
        let pooled = is_pooler(&session).await.map_err(failed)?
            || is_pooler(control).await.map_err(failed)?;
        let row = session
            .query_typed_one(
                &format!(
                    "SELECT pg_catalog.pg_backend_pid(),
                            (SELECT setting::int4 FROM pg_catalog.pg_settings WHERE name = 'deadlock_timeout'),
                            pg_catalog.current_setting('server_version_num')::int4,
                            {DEADLOCK_MS}"
                ),
                &[],
            )
            .await
            .map_err(failed)?;
        Ok(Self {
            session,
            pid: row.get(0),
            pooled,
            facts: Facts {
                deadlock_timeout: milliseconds(row.get(1)),
                first_look: milliseconds(row.get(3)),
                version: row.get(2),
            },
            name: format!("pontoon/guard {:08x}", rand::rng().random::<u32>()),
        })
    }

    /// Backends that are ours: what they hold is not in our way.
    pub(super) async fn our_pids(&self, control: &Session) -> Result<Vec<i32>, DbError> {
        // Behind a pooler no backend is ours between two transactions: what
        // the last one holds now, an application holds.
        if self.pooled {
            return Ok(Vec::new());
        }
        let row = control
            .query_typed_one("SELECT pg_catalog.pg_backend_pid()", &[])
            .await
            .map_err(|error| classify(&error, "prepare the guard"))?;
        Ok(vec![self.pid, row.get(0)])
    }

    /// Records what the tries have cost, and passes the error on.
    pub(super) async fn give_up(
        &self,
        guarded: &Guarded<'_>,
        report: &ActReport,
        error: DbError,
    ) -> Result<ActReport, DbError> {
        if error.kind == ErrorKind::Fenced || self.session.is_closed() {
            return Err(error);
        }
        let text = format!(
            "{BEGIN}SET LOCAL lock_timeout = '2s';\n{}\
             UPDATE pontoon.step SET attempts = attempts + {}, wait_ms = wait_ms + {}\n\
             WHERE run = '{}' AND no = {};\nCOMMIT",
            fence_statement(guarded.fence),
            report.attempts,
            report.wait_ms,
            guarded.fence.run,
            guarded.no
        );
        // Costs are for people; the step's own error is the one to tell.
        if let Err(second) = self.session.one_message(&text, guarded.doing).await {
            tracing::debug!("the cost of a step was not recorded: {second}");
        }
        Err(error)
    }

    /// One try.
    pub(super) async fn run(
        &self,
        attempt: &Try<'_>,
        control: &Session,
        doing: &str,
    ) -> Result<Cost, Failure> {
        let watchdog = Watchdog {
            control,
            pid: self.pid,
            name: &self.name,
            pooled: self.pooled,
        };
        let bound = attempt.longest() + attempt.hold + Duration::from_secs(1);
        let message = attempt.text();
        let sent = watchdog
            .over(bound, self.session.try_message(&message))
            .await;
        match sent {
            Some(Ok(messages)) => cost(&messages).map_err(|error| Failure {
                error,
                place: Place::Step,
            }),
            Some(Err(error)) => Err(Failure {
                place: place(&error, attempt.locks),
                error: classify(&error, doing),
            }),
            None => Err(Failure {
                error: DbError::new(
                    ErrorKind::Unreachable,
                    format!("{doing}: the server's answer was lost"),
                ),
                place: Place::Step,
            }),
        }
    }
}

fn milliseconds(ms: i32) -> Duration {
    Duration::from_millis(u64::from(ms.unsigned_abs()))
}

fn cost(messages: &[tokio_postgres::SimpleQueryMessage]) -> Result<Cost, DbError> {
    let broken = || DbError::new(ErrorKind::Internal, "read the cost of a guarded step");
    let mut cost = None;
    let mut ended = None;
    for row in rows(messages) {
        match row.columns().first().map(|column| column.name()) {
            Some("cost") => cost = Some(text(row, "cost")?.to_owned()),
            Some("ended") => ended = text(row, "ended")?.parse::<f64>().ok(),
            _ => {}
        }
    }
    let (cost, ended) = (cost.ok_or_else(broken)?, ended.ok_or_else(broken)?);
    if cost == "done" {
        return Ok(Cost {
            wait_ms: 0.0,
            hold_ms: 0.0,
            already_done: true,
        });
    }
    let (begun, locked) = cost
        .split_once(' ')
        .and_then(|(begun, locked)| Some((begun.parse::<f64>().ok()?, locked.parse::<f64>().ok()?)))
        .ok_or_else(broken)?;
    Ok(Cost {
        wait_ms: (locked - begun) * 1e3,
        hold_ms: (ended - locked) * 1e3,
        already_done: false,
    })
}

/// Where a try failed, told from the statement in the error's context, whose
/// SQL is ours and in no language.
fn place(error: &tokio_postgres::Error, locks: &[Lock]) -> Place {
    let Some(context) = error.as_db_error().and_then(|server| server.where_()) else {
        return Place::Rung;
    };
    let Some(at) = context.find("LOCK TABLE ONLY ") else {
        return Place::Step;
    };
    let statement = context[at..].lines().next().unwrap_or_default();
    let mut locks = locks.iter().filter(|lock| lock.lockable).enumerate();
    match locks.find(|(_, lock)| statement.contains(&format!("{} IN ", lock.only()))) {
        Some((place, lock)) if place > 0 => Place::OtherLock(lock.oid),
        _ => Place::FirstLock,
    }
}
