//! `commit_latency`: how long a commit takes, in seconds.
//!
//! A transaction with one small logical message has something to flush, as an
//! application's has; the time from sending COMMIT to its answer is the
//! latency. The commit runs in a task of its own and the sample only looks at
//! it: one that hangs (the synchronous standby is gone) is a reading that
//! grows, not a missing one.
//!
//! A commit that waits for a standby ignores a closed connection. When nobody
//! looks any more, it is cancelled, which PostgreSQL takes to mean: do not
//! wait any longer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::{Signals, TIMEOUT};
use crate::db::postgres::Postgres;
use crate::db::postgres::connect::{Canceller, Purpose};
use crate::db::postgres::session::Session;
use crate::db::{DbError, ErrorKind, Reading, Sample};

/// The middle one of so many commits is the reading.
const KEPT: usize = 3;
/// How long a sample looks at a commit before it tells how long it takes so far.
const LOOK: Duration = Duration::from_millis(250);

/// What goes before the commit that is measured.
const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL statement_timeout = '2s'; \
     SELECT pg_catalog.pg_logical_emit_message(true, 'pontoon', '')";

/// The commits of one sampler.
#[derive(Default)]
pub(super) struct Commits {
    recent: VecDeque<f64>,
    idle: Option<Session>,
    under_way: Option<UnderWay>,
}

/// One commit on its way.
struct UnderWay {
    began: Instant,
    /// Since when COMMIT has been sent.
    sent: Arc<Mutex<Option<Instant>>>,
    canceller: Arc<Mutex<Option<Canceller>>>,
    task: JoinHandle<Result<(Session, f64), DbError>>,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        if self.task.is_finished() {
            return;
        }
        self.task.abort();
        let canceller = lock(&self.canceller).take();
        // Without a runtime the process ends, and its connections with it.
        if let (Some(canceller), Ok(runtime)) = (canceller, tokio::runtime::Handle::try_current()) {
            runtime.spawn(async move {
                if let Err(error) = canceller.cancel().await {
                    tracing::debug!("failed to cancel a commit that hangs: {error}");
                }
            });
        }
    }
}

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let commits = &mut signals.commits;
    if commits.under_way.is_none() {
        let begun = begin(signals.database.clone(), commits.idle.take());
        commits.under_way = Some(begun);
    }
    let Some(under_way) = commits.under_way.as_mut() else {
        return Ok(Sample::NotYet);
    };
    match tokio::time::timeout(LOOK, &mut under_way.task).await {
        Ok(ended) => {
            commits.under_way = None;
            let (session, seconds) = ended.map_err(|_| {
                DbError::new(ErrorKind::Internal, "measure a commit: the task panicked")
            })??;
            commits.idle = Some(session);
            if commits.recent.len() == KEPT {
                commits.recent.pop_front();
            }
            commits.recent.push_back(seconds);
            Ok(told(commits.middle()))
        }
        Err(_) => {
            let sent = *lock(&under_way.sent);
            match sent {
                Some(sent) => {
                    let so_far = sent.elapsed().as_secs_f64();
                    Ok(told(so_far.max(commits.middle())))
                }
                None if under_way.began.elapsed() < TIMEOUT => Ok(Sample::NotYet),
                None => {
                    commits.under_way = None;
                    Err(DbError::new(
                        ErrorKind::Unreachable,
                        "measure a commit: no connection in time",
                    ))
                }
            }
        }
    }
}

impl Commits {
    fn middle(&self) -> f64 {
        let mut sorted: Vec<f64> = self.recent.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or_default()
    }
}

fn told(seconds: f64) -> Sample {
    Sample::Readings(vec![Reading::new(seconds)])
}

fn begin(database: Postgres, idle: Option<Session>) -> UnderWay {
    let sent = Arc::new(Mutex::new(None));
    let canceller = Arc::new(Mutex::new(None));
    let task = tokio::spawn(commit(
        database,
        idle,
        Arc::clone(&sent),
        Arc::clone(&canceller),
    ));
    UnderWay {
        began: Instant::now(),
        sent,
        canceller,
        task,
    }
}

async fn commit(
    database: Postgres,
    idle: Option<Session>,
    sent: Arc<Mutex<Option<Instant>>>,
    canceller: Arc<Mutex<Option<Canceller>>>,
) -> Result<(Session, f64), DbError> {
    const DOING: &str = "measure a commit";
    let session = match idle {
        Some(session) if !session.is_closed() => session,
        _ => database.own_session(Purpose::Signals).await?,
    };
    *lock(&canceller) = session.canceller();
    session.one_message(BEGIN, DOING).await?;
    let began = Instant::now();
    *lock(&sent) = Some(began);
    session.one_message("COMMIT", DOING).await?;
    Ok((session, began.elapsed().as_secs_f64()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
