//! The terms of a sitting.
//!
//! A sitting holds the run for one *term*, as long as nothing happens to the
//! database. When the server is restarted, a standby is promoted, or the
//! network is cut, the term is over: whatever was open is dropped, all
//! connections are made anew, the lease is taken again from whichever server
//! answers, and the work begins from what that server knows. Nothing is
//! carried over in memory, so it makes no difference whether the new primary
//! has everything or has lost the last seconds: steps, ranges and counts are
//! read from it, together with the rows that they speak of. So is the state of
//! the run itself: a process that was frozen for longer than its term may find
//! the lease free because another one has done all there was to do.
//!
//! Patience is counted from the first loss and begins anew with each step,
//! batch or chunk that is done: a server that goes down again and again at the
//! same step does not keep a sitting alive for ever. When it is spent the
//! sitting ends with exit code 10, and `run` goes on later.
//!
//! What is never waited out: a server that refuses us, another process that
//! holds the run (beyond its term, when that may be a copy: see
//! [`lease::acquire`]), and a database that could not be reached in the first
//! place.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Driver, Outcome, Purpose};
use crate::db::{Database, DbError, ErrorKind, Fence, RunChange, RunFilter, RunRecord, RunState};
use crate::event::{Event, Sink};
use crate::failpoint;
use crate::run::api::{Ending, RunError, RunOptions};
use crate::run::lease;
use crate::run::observe::{self, Observer};
use crate::run::reach;

/// The first pause between two tries to come back, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(3));

/// Takes the lease, works, records how it ended and gives the lease back,
/// whatever happened in between. After a loss of the database it does so
/// again, for as long as [`RunOptions::reconnect_for`] says.
pub(crate) async fn sit<D: Database>(
    db: &D,
    record: &RunRecord,
    purpose: Purpose,
    options: &RunOptions,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, RunError> {
    let mut away = Away::new();
    let sink = away.counting(sink);
    loop {
        let term = term(db, record, purpose, options, &sink, cancel, &mut away);
        let error = match reach::while_it_answers(db, term).await {
            Ok(outcome) => return Ok(outcome),
            Err(error) => error,
        };
        if let Some(ending) = taken_back(db, record.new.id, purpose, &error).await {
            return Ok(Outcome {
                ending,
                verified: Vec::new(),
            });
        }
        let Some(pause) = away.pause(&error, options.reconnect_for) else {
            return Err(away.told(error));
        };
        sink.emit(Event::Retrying {
            error: error.to_string(),
            after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => {
                return Ok(Outcome {
                    ending: Ending::Interrupted,
                    verified: Vec::new(),
                });
            }
        }
        db.reconnect()?;
    }
}

/// One term, from taking the lease to giving it back or losing it.
async fn term<D: Database>(
    db: &D,
    record: &RunRecord,
    purpose: Purpose,
    options: &RunOptions,
    sink: &Sink,
    cancel: &CancellationToken,
    away: &mut Away,
) -> Result<Outcome, RunError> {
    let run = record.new.id;
    let claim = match purpose {
        Purpose::Back if record.state != RunState::RollingBack => lease::Claim::Asked,
        Purpose::Back | Purpose::Forward | Purpose::Verify => lease::Claim::Free,
    };
    let acquired = match lease::acquire(db, run, &options.holder, claim, sink, cancel).await {
        Ok(acquired) => acquired,
        Err(error) if away.epoch.is_some() && is_gone(db, run).await => {
            return Err(never_heard_of(run, &error).into());
        }
        Err(error) => return Err(error.into()),
    };
    failpoint::reach("lease.taken");
    let before = away.epoch.replace(acquired.fence.epoch);
    let alone = before.is_some_and(|before| before + 1 == acquired.fence.epoch);
    if let Some(ending) = settled(db, &acquired.fence, purpose, alone).await? {
        return Ok(Outcome {
            ending,
            verified: Vec::new(),
        });
    }
    let (observer, durable) = Observer::new();
    let sink = observer.tee(sink);
    sink.emit(Event::LeaseTaken {
        epoch: acquired.fence.epoch,
        taken_over_from: acquired.taken_over_from.as_ref().map(lease::describe),
    });
    let writer = tokio::spawn(observe::store(db.clone(), acquired.fence.clone(), durable));
    if let Some(message) = away.back() {
        sink.emit(Event::Warning { message });
    }
    // Limits, throttle and gates may change between sittings.
    let change = RunChange {
        base: (before.is_none() && purpose == Purpose::Forward).then(|| record.base.clone()),
        ..RunChange::default()
    };
    let kept = lease::keep(
        db,
        acquired.fence,
        purpose,
        record.new.settings.clone(),
        Arc::clone(&observer),
        sink.clone(),
    );
    let mut driver = Driver {
        db,
        run,
        purpose,
        options,
        sink: sink.clone(),
        cancel: cancel.clone(),
        kept,
        verified: Vec::new(),
    };
    let worked = match db.update_run(driver.fence(), &change).await {
        Ok(()) => driver.work().await,
        Err(error) => Err(error.into()),
    };
    let worked = driver.settle(worked).await;
    let Driver { kept, verified, .. } = driver;
    observer.close();
    if worked.as_ref().is_err_and(is_loss) {
        kept.abandon();
        writer.abort();
        return worked.map(|ending| Outcome { ending, verified });
    }
    failpoint::reach("lease.release");
    let released = kept.release(db).await;
    if writer.await.is_err() {
        tracing::warn!("the event writer panicked");
    }
    let ending = worked?;
    match released {
        // The work is recorded; a lease that nobody renews runs out.
        Err(error) if is_out_of_reach(&error) => {
            tracing::warn!("the lease could not be given back: {error}");
        }
        other => other?,
    }
    Ok(Outcome { ending, verified })
}

/// Whether nothing is left to do, as the record says now that nobody else can
/// change it. If so, the lease is given back.
async fn settled<D: Database>(
    db: &D,
    fence: &Fence,
    purpose: Purpose,
    alone: bool,
) -> Result<Option<Ending>, RunError> {
    let stored = db.runs(&RunFilter::Id(fence.run)).await?;
    let Some(record) = stored.first() else {
        return Ok(None);
    };
    let ending = match standing(record.state, purpose, alone) {
        Standing::Open => return Ok(None),
        Standing::Ended(ending) => Ok(Some(ending)),
        Standing::Taken(what) => Err(DbError::new(
            ErrorKind::Fenced,
            format!("Another process {what} run {}", fence.run),
        )
        .hint("Nothing is left to do here.")
        .into()),
    };
    match db.release(fence).await {
        // A lease that nobody renews runs out.
        Err(error) if is_out_of_reach(&error) => {
            tracing::warn!("the lease could not be given back: {error}");
        }
        other => other?,
    }
    ending
}

/// Whoever has lost the run to a rollback is told so: `run` again would start
/// anew what somebody has just taken back.
async fn taken_back<D: Database>(
    db: &D,
    run: Uuid,
    purpose: Purpose,
    error: &RunError,
) -> Option<Ending> {
    let RunError::Db(failure) = error else {
        return None;
    };
    if failure.kind != ErrorKind::Fenced || purpose == Purpose::Back {
        return None;
    }
    let read = reach::while_it_answers(db, super::super::find(db, run));
    match read.await.ok()?.state {
        RunState::RolledBack | RunState::RollingBack => Some(Ending::Relieved {
            by: "another process".to_owned(),
        }),
        RunState::Pending
        | RunState::Running
        | RunState::Waiting
        | RunState::Paused
        | RunState::Failed
        | RunState::Completed => None,
    }
}

/// What a run's state means to the process that has just taken its lease.
#[derive(Debug, PartialEq)]
enum Standing {
    /// There is work for it.
    Open,
    /// What it is for has been reached.
    Ended(Ending),
    /// Another process went elsewhere with it; its verb.
    Taken(&'static str),
}

/// The state was looked at before the lease was taken, by this very process or
/// in its term before; whoever held the lease in between may have ended the
/// run. `alone`: nobody has.
fn standing(state: RunState, purpose: Purpose, alone: bool) -> Standing {
    match (state, purpose) {
        // Our own cutover, whose answer was lost: it is still to be told.
        (RunState::Completed, Purpose::Forward) if alone => Standing::Open,
        (RunState::Completed, Purpose::Forward) => Standing::Ended(Ending::AlreadyCompleted),
        (RunState::Completed, Purpose::Back | Purpose::Verify) => Standing::Taken("has completed"),
        (RunState::RolledBack, Purpose::Back) => Standing::Ended(Ending::RolledBack),
        (RunState::RolledBack, Purpose::Forward | Purpose::Verify) => {
            Standing::Taken("has rolled back")
        }
        (RunState::RollingBack, Purpose::Forward | Purpose::Verify) => {
            Standing::Taken("has begun to roll back")
        }
        (RunState::RollingBack, Purpose::Back)
        | (
            RunState::Pending
            | RunState::Running
            | RunState::Waiting
            | RunState::Paused
            | RunState::Failed,
            _,
        ) => Standing::Open,
    }
}

/// Does the server that answers not know the run?
async fn is_gone<D: Database>(db: &D, run: Uuid) -> bool {
    matches!(db.runs(&RunFilter::Id(run)).await, Ok(runs) if runs.is_empty())
}

/// A failover has lost the run itself, and with it all that it had done.
fn never_heard_of(run: Uuid, error: &DbError) -> DbError {
    tracing::debug!("the lease could not be taken again: {error}");
    DbError::new(
        ErrorKind::Rejected,
        format!(
            "The server that answers now does not know run {run}: it was started in the moments that a failover has lost"
        ),
    )
    .hint("All that it had done is lost with it. Run the plan again: it starts anew.")
}

/// The database went away, or another server answers.
pub(crate) fn is_loss(error: &RunError) -> bool {
    matches!(error, RunError::Db(error) if is_out_of_reach(error))
}

fn is_out_of_reach(error: &DbError) -> bool {
    match &error.kind {
        ErrorKind::Unreachable | ErrorKind::ServerChanged => true,
        // An address that leads to a standby just before it is promoted.
        ErrorKind::Rejected => error.code.as_deref() == Some("25006"),
        ErrorKind::Transient
        | ErrorKind::Fenced
        | ErrorKind::Held { .. }
        | ErrorKind::Conflict
        | ErrorKind::LockPatience { .. }
        | ErrorKind::RowLimit { .. }
        | ErrorKind::ProofVoid
        | ErrorKind::Refused
        | ErrorKind::Failed
        | ErrorKind::Internal => false,
    }
}

/// The time between two terms.
pub(crate) struct Away {
    /// The latest term that we had.
    pub(crate) epoch: Option<i64>,
    /// Since the first loss after which nothing was done.
    since: Option<Instant>,
    /// Since the latest loss.
    latest: Option<Instant>,
    why: String,
    tries: u32,
    next: Duration,
    /// Steps, batches and chunks that were done, as events tell.
    done: Arc<AtomicU64>,
    done_before: u64,
}

impl Away {
    pub(crate) fn new() -> Self {
        Self {
            epoch: None,
            since: None,
            latest: None,
            why: String::new(),
            tries: 0,
            next: PAUSES.0,
            done: Arc::default(),
            done_before: 0,
        }
    }

    /// A sink that counts what is done and passes everything on.
    pub(crate) fn counting(&self, sink: &Sink) -> Sink {
        let (sink, done) = (sink.clone(), Arc::clone(&self.done));
        Sink::new(move |event| {
            if matches!(
                event,
                Event::StepFinished { .. } | Event::BackfillProgress(_) | Event::VerifyProgress(_)
            ) {
                done.fetch_add(1, Ordering::Relaxed);
            }
            sink.emit(event);
        })
    }

    /// How long to wait before the next try; `None`: it is time to end.
    pub(crate) fn pause(&mut self, error: &RunError, patience: Duration) -> Option<Duration> {
        let RunError::Db(failure) = error else {
            return None;
        };
        let done = self.done.load(Ordering::Relaxed);
        if done > self.done_before {
            self.done_before = done;
            self.since = None;
            self.tries = 0;
        }
        let away_for = self.since.map_or(Duration::ZERO, |since| since.elapsed());
        let waits = match &failure.kind {
            ErrorKind::Transient => self.since.is_some(),
            _ => is_out_of_reach(failure),
        };
        if !waits || self.epoch.is_none() {
            return None;
        }
        let now = Instant::now();
        self.since.get_or_insert(now);
        if self.latest.is_none() {
            self.latest = Some(now);
            self.next = PAUSES.0;
            self.why = failure.message.clone();
        }
        self.tries += 1;
        if away_for >= patience {
            return None;
        }
        let pause = self.next;
        self.next = (pause * 2).min(PAUSES.1);
        let jitter = rand::rng().random_range(0.75..1.25);
        Some(pause.mul_f64(jitter).min(patience - away_for))
    }

    /// A new term has begun: how long it took, for people.
    pub(crate) fn back(&mut self) -> Option<String> {
        let latest = self.latest.take()?;
        Some(format!(
            "The database was away for {:.1} s ({}); the run goes on from what is committed there.",
            latest.elapsed().as_secs_f64(),
            self.why
        ))
    }

    /// The last error, with how long it was tried to come back.
    pub(crate) fn told(&self, error: RunError) -> RunError {
        match (error, self.since) {
            (RunError::Db(error), Some(since)) if is_out_of_reach(&error) => {
                let again = "Everything committed is kept: run again when the database is back, and it goes on from there.";
                let error = DbError {
                    message: format!(
                        "{} (tried {} times in {} s)",
                        error.message,
                        self.tries,
                        since.elapsed().as_secs()
                    ),
                    ..error
                };
                if error.hints.iter().any(|hint| hint.contains("run again")) {
                    error.into()
                } else {
                    error.hint(again).into()
                }
            }
            (error, _) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost() -> RunError {
        DbError::new(ErrorKind::Unreachable, "gone").into()
    }

    const PATIENCE: Duration = Duration::from_millis(400);

    #[test]
    fn a_run_that_others_have_ended_is_not_begun_anew() {
        use Purpose::{Back, Forward, Verify};
        use RunState::{Completed, Failed, RolledBack, RollingBack, Running};
        for alone in [false, true] {
            for purpose in [Forward, Back, Verify] {
                assert_eq!(standing(Running, purpose, alone), Standing::Open);
                assert_eq!(standing(Failed, purpose, alone), Standing::Open);
            }
            for purpose in [Forward, Verify] {
                for state in [RolledBack, RollingBack] {
                    let standing = standing(state, purpose, alone);
                    assert!(matches!(standing, Standing::Taken(_)), "{standing:?}");
                }
            }
            for purpose in [Back, Verify] {
                let standing = standing(Completed, purpose, alone);
                assert!(matches!(standing, Standing::Taken(_)), "{standing:?}");
            }
            assert_eq!(standing(RollingBack, Back, alone), Standing::Open);
            let back = Standing::Ended(Ending::RolledBack);
            assert_eq!(standing(RolledBack, Back, alone), back);
        }
        let already = Standing::Ended(Ending::AlreadyCompleted);
        assert_eq!(standing(Completed, Forward, false), already);
        assert_eq!(standing(Completed, Forward, true), Standing::Open);
    }

    #[tokio::test]
    async fn a_database_that_was_never_there_is_not_waited_for() {
        assert_eq!(Away::new().pause(&lost(), PATIENCE), None);
    }

    #[tokio::test]
    async fn patience_ends_although_terms_begin_and_is_renewed_by_work() {
        let mut away = Away::new();
        away.epoch = Some(1);
        let sink = away.counting(&Sink::new(|_| {}));
        let spend = async |away: &mut Away| {
            let begun = Instant::now();
            while let Some(pause) = away.pause(&lost(), PATIENCE) {
                tokio::time::sleep(pause).await;
                // The server comes back, and goes down again at once.
                assert!(away.back().is_some());
            }
            begun.elapsed()
        };
        assert!(spend(&mut away).await >= PATIENCE);
        assert_eq!(away.pause(&lost(), PATIENCE), None);
        sink.emit(Event::StepFinished {
            no: 1,
            name: "step".into(),
            undo: false,
            attempts: 1,
            wait_ms: 0.0,
            hold_ms: 0.0,
            rows: 0,
        });
        assert!(spend(&mut away).await >= PATIENCE);
    }

    #[tokio::test]
    async fn only_what_passes_is_waited_for() {
        let mut away = Away::new();
        away.epoch = Some(1);
        for kind in [
            ErrorKind::Rejected,
            ErrorKind::Fenced,
            ErrorKind::Failed,
            ErrorKind::Refused,
            ErrorKind::Transient,
            ErrorKind::Held { holder: "b".into() },
        ] {
            let error = DbError::new(kind.clone(), "no").into();
            assert_eq!(away.pause(&error, PATIENCE), None, "{kind:?}");
        }
        let standby = DbError::new(ErrorKind::Rejected, "read-only").code("25006");
        assert!(away.pause(&standby.into(), PATIENCE).is_some());
    }
}
