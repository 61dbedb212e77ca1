//! Helping with a run from another process.
//!
//! A worker joins the term of whoever holds the run and shares the ranges of
//! its backfills, under the same settings, signals, limits and fence. It is
//! needed by nobody: what it has taken is free again when it leaves, when it
//! was not heard of for the length of a term, and when the holder's term ends.
//! The holder alone makes ranges, says that a step is done, verifies, and
//! changes the schema.
//!
//! A worker has no state of its own. Whatever ends its membership (a takeover,
//! a restart, a failover, its own sleep), it looks at the run again and joins
//! whoever holds it then. While there is nothing to do it waits, and it ends
//! when no backfill is left.

use std::sync::Arc;
use std::time::Duration;

use pontoon_core::step::{Action, Backfill};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::api::{Ending, RunError, Sitting, WorkOptions};
use super::drive::{Away, Purpose, is_loss};
use super::lease::{self, Kept, TTL};
use super::observe::Observer;
use super::{find, reach, start};
use crate::backfill::{self, Assisted, Hands};
use crate::db::{Database, ErrorKind, RunRecord, RunState, StepRecord, StepState};
use crate::event::{Event, Sink};
use crate::failpoint;

/// Between two looks at a run that has nothing to do for us.
const LOOK: Duration = Duration::from_secs(1);
/// The same while others have the last ranges.
const LAST_RANGES: Duration = Duration::from_millis(500);
/// After a limit of the run was reached: its holder pauses it.
const LIMIT: Duration = Duration::from_secs(5);

/// Works on the backfills of a run until it needs no help any more.
///
/// # Errors
/// [`RunError::State`] for a run that is finished; those of a batch that
/// fails; [`ErrorKind::Unreachable`] when the database stays away.
pub async fn work<D: Database>(
    db: &D,
    run: Uuid,
    options: WorkOptions,
    sink: Sink,
    cancel: CancellationToken,
) -> Result<Sitting, RunError> {
    reach::while_it_answers(db, may_help(db, run)).await?;
    let mut away = Away::new();
    let sink = away.counting(&sink.of(run));
    let mut helper = Helper {
        db,
        run,
        options: &options,
        sink,
        cancel: &cancel,
        told: None,
    };
    let ended = |ending| {
        Ok(Sitting {
            run: Some(run),
            ending,
        })
    };
    loop {
        let spell = helper.spell(&mut away);
        let error = match reach::while_it_answers(db, spell).await {
            Ok(Spell::Unneeded) => return ended(Ending::Until),
            Ok(Spell::Interrupted) => return ended(Ending::Left),
            Ok(Spell::Again) => continue,
            Err(error) => error,
        };
        if let RunError::Db(failure) = &error {
            match &failure.kind {
                // Another term has begun, or we were taken for dead.
                ErrorKind::Fenced => continue,
                ErrorKind::RowLimit { .. } => {
                    helper.wait(&failure.message, LIMIT).await;
                    continue;
                }
                _ => {}
            }
        }
        let Some(pause) = away.pause(&error, options.reconnect_for) else {
            return Err(away.told(error));
        };
        helper.sink.emit(Event::Retrying {
            error: error.to_string(),
            after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = cancel.cancelled() => return ended(Ending::Left),
        }
        db.reconnect()?;
    }
}

/// Is there a run to help with, here?
async fn may_help<D: Database>(db: &D, run: Uuid) -> Result<(), RunError> {
    let record = find(db, run).await?;
    if record.state.is_final() {
        return Err(RunError::State {
            message: format!(
                "Run {run} is {}; there is nothing to work on",
                record.state.name()
            ),
            hints: Vec::new(),
        });
    }
    start::check_server(db, &record).await
}

/// How a look at the run, and what followed from it, ended.
enum Spell {
    /// No backfill is left.
    Unneeded,
    /// SIGINT or SIGTERM.
    Interrupted,
    /// Look again.
    Again,
}

/// What a run wants of a worker.
#[derive(Debug, PartialEq)]
enum Need<'a> {
    /// Nothing, now and later.
    Nothing,
    /// Nothing yet, because.
    Later(String),
    /// This backfill is under way.
    Help(u32, &'a Backfill),
}

fn need<'a>(record: &RunRecord, steps: &'a [StepRecord]) -> Need<'a> {
    match record.state {
        RunState::Completed | RunState::RolledBack | RunState::RollingBack => return Need::Nothing,
        RunState::Pending
        | RunState::Running
        | RunState::Waiting
        | RunState::Paused
        | RunState::Failed => {}
    }
    let open = steps.iter().find_map(|step| match &step.step.action {
        Action::Backfill(work) if step.state != StepState::Done => Some((step, work)),
        _ => None,
    });
    let Some((step, work)) = open else {
        return Need::Nothing;
    };
    if let Some(by) = &record.pause_requested {
        return Need::Later(format!("the run is paused by {by}"));
    }
    let limit = record.new.settings.limits.max_rows_affected;
    if limit.is_some_and(|limit| record.rows_affected >= limit) {
        return Need::Later(
            "the run has changed as many rows as max_rows_affected allows".to_owned(),
        );
    }
    if record.state == RunState::Running && step.state == StepState::Running {
        return Need::Help(step.step.no, work);
    }
    Need::Later(format!(
        "the run is {} in phase {}",
        record.state.name(),
        record.phase.name()
    ))
}

struct Helper<'a, D> {
    db: &'a D,
    run: Uuid,
    options: &'a WorkOptions,
    sink: Sink,
    cancel: &'a CancellationToken,
    /// What it waits for, as it was told last.
    told: Option<String>,
}

impl<D: Database> Helper<'_, D> {
    /// Says once what it waits for, and waits.
    async fn wait(&mut self, why: &str, pause: Duration) {
        if self.told.as_deref() != Some(why) {
            self.told = Some(why.to_owned());
            self.sink.emit(Event::Warning {
                message: format!("There is nothing to do yet: {why}."),
            });
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.cancel.cancelled() => {}
        }
    }

    /// Looks at the run and helps if it is time to, for as long as the term
    /// lasts.
    async fn spell(&mut self, away: &mut Away) -> Result<Spell, RunError> {
        if self.cancel.is_cancelled() {
            return Ok(Spell::Interrupted);
        }
        let record = find(self.db, self.run).await?;
        let steps = self.db.steps(self.run).await?;
        let (no, work) = match need(&record, &steps) {
            Need::Nothing => return Ok(Spell::Unneeded),
            Need::Later(why) => {
                self.wait(&why, LOOK).await;
                return Ok(Spell::Again);
            }
            Need::Help(no, work) => (no, work),
        };
        let holder = &self.options.holder;
        let Some(fence) = self.db.join(self.run, holder, TTL).await? else {
            self.wait("no process holds the run", LOOK).await;
            return Ok(Spell::Again);
        };
        self.told = None;
        away.epoch = Some(fence.epoch);
        if let Some(message) = away.back() {
            self.sink.emit(Event::Warning { message });
        }
        failpoint::reach("worker.joined");
        // What is worth keeping of a worker stands in its membership and its
        // batches; the history of the run is the holder's to write.
        let (observer, _) = Observer::new();
        let sink = observer.tee(&self.sink);
        let kept = lease::keep(
            self.db,
            fence,
            Purpose::Forward,
            record.new.settings.clone(),
            observer,
            sink.clone(),
        );
        let worked = self.help(&kept, no, work, &sink).await;
        if let Some(why) = kept.why.get().cloned() {
            kept.abandon();
            return Err(why.into());
        }
        if worked.as_ref().is_err_and(is_loss) {
            kept.abandon();
            return worked;
        }
        let left = kept.release(self.db).await;
        let spell = worked?;
        left?;
        Ok(spell)
    }

    /// Works on what is open of one step, again and again until it is done.
    async fn help(
        &self,
        kept: &Kept,
        no: u32,
        work: &Backfill,
        sink: &Sink,
    ) -> Result<Spell, RunError> {
        let stop = kept.stop_token(self.cancel);
        let hands = Hands::new(
            self.db,
            &kept.fence,
            kept.settings.clone(),
            Arc::clone(&kept.in_company),
            sink,
            &stop,
        );
        loop {
            let assisted = backfill::assist(&hands, no, work).await?;
            if assisted == Assisted::Idle {
                tokio::select! {
                    () = tokio::time::sleep(LAST_RANGES) => {}
                    () = stop.cancelled() => {}
                }
            }
            if self.cancel.is_cancelled() {
                return Ok(Spell::Interrupted);
            }
            if stop.is_cancelled() {
                return Ok(Spell::Again);
            }
            let record = find(self.db, self.run).await?;
            let steps = self.db.steps(self.run).await?;
            if need(&record, &steps) != Need::Help(no, work) {
                return Ok(Spell::Again);
            }
        }
    }
}
