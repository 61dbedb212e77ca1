//! A sitting: from taking the lease to giving it back.

use std::sync::Arc;

use pontoon_core::plan::Gate;
use pontoon_core::step::{Action, Phase};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::backfill;
use crate::db::{
    Budget, Database, DbError, Direction, ErrorKind, Fence, RunChange, RunFilter, RunRecord,
    RunState, Settings, StepChange, StepRecord, StepState, StoredError,
};
use crate::event::{Event, Sink, VerifyProgress};
use crate::failpoint;
use crate::verify;

use super::api::{Ending, RunError, RunOptions};
use super::lease::{self, Kept};
use super::observe::{self, Observer};
use super::positions;
use super::transition::{self, Back, Next, Until};

/// A verify pass that was voided by a rewrite or a new partition is repeated
/// this many times in one sitting before a person is asked.
const PROOF_TRIES: u32 = 3;

/// What the sitting is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Forward, to a gate or the end.
    Forward,
    /// Back to the old shape.
    Back,
    /// A new verify pass.
    Verify,
}

/// One process's hold on a run.
pub(crate) struct Driver<'a, D> {
    db: &'a D,
    run: Uuid,
    options: &'a RunOptions,
    sink: Sink,
    cancel: CancellationToken,
    kept: Kept,
    verified: Vec<VerifyProgress>,
}

/// How work ended that is neither done nor failed.
enum Stop {
    /// SIGINT or SIGTERM.
    Interrupted,
    /// An operator's pause.
    Paused,
}

/// The outcome of a sitting: its end, and the verify passes it made.
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) verified: Vec<VerifyProgress>,
}

/// Takes the lease, works, records how it ended and gives the lease back,
/// whatever happened in between.
pub(crate) async fn sit<D: Database>(
    db: &D,
    record: &RunRecord,
    purpose: Purpose,
    options: &RunOptions,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, RunError> {
    let run = record.new.id;
    let acquired = lease::acquire(db, run, &options.holder, sink, cancel).await?;
    failpoint::reach("lease.taken");
    let (observer, durable) = Observer::new();
    let sink = observer.tee(sink);
    sink.emit(Event::LeaseTaken {
        epoch: acquired.fence.epoch,
        taken_over_from: acquired.taken_over_from.as_ref().map(lease::describe),
    });
    let writer = tokio::spawn(observe::store(db.clone(), acquired.fence.clone(), durable));
    // Limits, throttle and gates may change between sittings.
    let change = RunChange {
        settings: Some(record.new.settings.clone()),
        ..RunChange::default()
    };
    db.update_run(&acquired.fence, &change).await?;
    let kept = lease::keep(
        db,
        acquired.fence,
        record.new.settings.clone(),
        Arc::clone(&observer),
        sink.clone(),
    );
    let mut driver = Driver {
        db,
        run,
        options,
        sink: sink.clone(),
        cancel: cancel.clone(),
        kept,
        verified: Vec::new(),
    };
    let worked = driver.work(purpose).await;
    let worked = driver.settle(worked, purpose).await;
    let Driver { kept, verified, .. } = driver;
    observer.close();
    failpoint::reach("lease.release");
    let released = kept.release(db).await;
    if writer.await.is_err() {
        tracing::warn!("the event writer panicked");
    }
    let ending = worked?;
    released?;
    Ok(Outcome { ending, verified })
}

impl<D: Database> Driver<'_, D> {
    fn fence(&self) -> &Fence {
        &self.kept.fence
    }

    async fn work(&mut self, purpose: Purpose) -> Result<Ending, RunError> {
        match purpose {
            Purpose::Forward => self.forward().await,
            Purpose::Back => self.back().await,
            Purpose::Verify => self.verify_again().await,
        }
    }

    /// Records why the sitting ended, unless the run belongs to another
    /// process now or the database is out of reach: then the record already
    /// says that `run` goes on.
    async fn settle(
        &self,
        worked: Result<Ending, RunError>,
        purpose: Purpose,
    ) -> Result<Ending, RunError> {
        if self.kept.out_of_reach.is_cancelled() {
            return Err(DbError::new(
                ErrorKind::Unreachable,
                format!(
                    "The database was out of reach for {} s, and the run was let go",
                    lease::TRUST.as_secs()
                ),
            )
            .hint("Everything committed is kept: run again when the database is back.")
            .into());
        }
        if self.kept.lost.is_cancelled() {
            return Err(DbError::new(
                ErrorKind::Fenced,
                "The lease was lost: another process holds the run now",
            )
            .hint("Nothing was left half done: look at `pontoon status`.")
            .into());
        }
        let (state, reason, error) = match &worked {
            Ok(Ending::Paused { by }) => (RunState::Paused, Some(format!("paused by {by}")), None),
            Ok(_) => return worked,
            Err(RunError::Db(error)) => match &error.kind {
                ErrorKind::Fenced
                | ErrorKind::Held { .. }
                | ErrorKind::Unreachable
                | ErrorKind::Rejected => return worked,
                ErrorKind::LockPatience { .. } | ErrorKind::RowLimit { .. } => (
                    RunState::Paused,
                    Some(error.message.clone()),
                    Some(stored(error)),
                ),
                ErrorKind::Transient
                | ErrorKind::Conflict
                | ErrorKind::ProofVoid
                | ErrorKind::Refused
                | ErrorKind::Failed
                | ErrorKind::Internal => (
                    RunState::Failed,
                    Some(error.message.clone()),
                    Some(stored(error)),
                ),
            },
            Err(RunError::VerifyFailed { message, hints }) => (
                RunState::Failed,
                Some(message.clone()),
                Some(StoredError {
                    code: "verify".to_owned(),
                    message: message.clone(),
                    hint: hints.first().cloned(),
                }),
            ),
            Err(
                RunError::Refused { .. }
                | RunError::PlanChanged { .. }
                | RunError::WrongServer { .. }
                | RunError::NoRun { .. }
                | RunError::State { .. },
            ) => return worked,
        };
        // A rollback that failed is still a rollback.
        let state = match purpose {
            Purpose::Back => RunState::RollingBack,
            Purpose::Forward | Purpose::Verify => state,
        };
        let change = RunChange {
            state: Some(state),
            reason: Some(reason.clone()),
            error: Some(error),
            event: Some(Event::StateChanged {
                state: state.name().to_owned(),
                reason,
            }),
            ..RunChange::default()
        };
        if let Err(second) = self.db.update_run(self.fence(), &change).await {
            tracing::warn!("failed to record how the sitting ended: {second}");
        }
        worked
    }

    async fn record(&self) -> Result<RunRecord, RunError> {
        let runs = self.db.runs(&RunFilter::Id(self.run)).await?;
        runs.into_iter().next().ok_or_else(|| RunError::NoRun {
            message: format!("run {} is gone from the database", self.run),
            hints: Vec::new(),
        })
    }

    fn settings(&self) -> Settings {
        self.kept.settings.borrow().clone()
    }

    fn stopped(&self) -> Option<Stop> {
        if self.cancel.is_cancelled() {
            Some(Stop::Interrupted)
        } else if self.kept.paused.is_cancelled() {
            Some(Stop::Paused)
        } else {
            None
        }
    }

    async fn ending_of(&self, stop: Stop) -> Result<Ending, RunError> {
        Ok(match stop {
            Stop::Interrupted => Ending::Interrupted,
            Stop::Paused => Ending::Paused {
                by: self
                    .record()
                    .await?
                    .pause_requested
                    .unwrap_or_else(|| "an operator".to_owned()),
            },
        })
    }

    async fn change(&self, change: RunChange) -> Result<(), RunError> {
        if let Some(event) = &change.event {
            self.sink.emit(event.clone());
        }
        Ok(self.db.update_run(self.fence(), &change).await?)
    }

    async fn forward(&mut self) -> Result<Ending, RunError> {
        let record = self.record().await?;
        if let Some(by) = record.pause_requested {
            return Ok(Ending::Paused { by });
        }
        self.approve_beforehand(&record).await?;
        if record.state != RunState::Pending {
            self.sink.emit(Event::RunResumed {
                phase: record.phase,
                step: None,
            });
        }
        let until = Until {
            gate: self.options.until_gate,
            phase: self.options.until_phase,
        };
        let mut proofs = 0;
        let mut phase: Option<Phase> = None;
        loop {
            if let Some(stop) = self.stopped() {
                return self.ending_of(stop).await;
            }
            let record = self.record().await?;
            let steps = self.db.steps(self.run).await?;
            let approved = |gate: Phase| {
                self.options.approve.contains(&gate)
                    || record.approvals.iter().any(|(known, _, _)| *known == gate)
            };
            let gates = record.new.settings.gates.clone();
            match transition::next(&steps, &gates, approved, until) {
                Next::Complete => {
                    match record.state {
                        // The cutover has said so in its own transaction.
                        RunState::Completed => self.tell_completed().await?,
                        RunState::Pending
                        | RunState::Running
                        | RunState::Waiting
                        | RunState::Paused
                        | RunState::Failed
                        | RunState::RollingBack
                        | RunState::RolledBack => self.complete().await?,
                    }
                    return Ok(Ending::Completed);
                }
                Next::Until => {
                    self.rest(&record).await?;
                    return Ok(Ending::Until);
                }
                Next::Gate(gate) => {
                    if let Some(ending) = self.stand_at(&record, &steps, &gate, None).await? {
                        return Ok(ending);
                    }
                }
                Next::Step(index) => {
                    let step = &steps[index];
                    if let Some((gate, unmet)) = self.unmet(&record, &steps, step).await? {
                        if let Some(ending) =
                            self.stand_at(&record, &steps, &gate, Some(unmet)).await?
                        {
                            return Ok(ending);
                        }
                        continue;
                    }
                    if phase != Some(step.step.phase) || record.state != RunState::Running {
                        phase = Some(step.step.phase);
                        self.change(RunChange {
                            state: Some(RunState::Running),
                            phase,
                            gate: Some(None),
                            reason: Some(None),
                            error: Some(None),
                            event: Some(Event::PhaseStarted {
                                phase: step.step.phase,
                            }),
                            ..RunChange::default()
                        })
                        .await?;
                    }
                    match self.step(step).await {
                        Ok(None) => {}
                        Ok(Some(stop)) => return self.ending_of(stop).await,
                        Err(RunError::Db(error))
                            if error.kind == ErrorKind::ProofVoid && proofs < PROOF_TRIES =>
                        {
                            proofs += 1;
                            self.void_proofs(&steps, &error).await?;
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    /// `--approve GATE`: written down before the run needs it.
    async fn approve_beforehand(&self, record: &RunRecord) -> Result<(), RunError> {
        for gate in &self.options.approve {
            if !record.approvals.iter().any(|(known, _, _)| known == gate) {
                let by = format!("{}@{}", self.options.holder.user, self.options.holder.host);
                self.db
                    .command(self.run, &crate::db::Command::Approve { gate: *gate }, &by)
                    .await?;
                self.sink.emit(Event::GateApproved { gate: *gate, by });
            }
        }
        Ok(())
    }

    /// A program whose last step is not the cutover ends here.
    async fn complete(&self) -> Result<(), RunError> {
        self.change(RunChange {
            state: Some(RunState::Completed),
            gate: Some(None),
            reason: Some(None),
            error: Some(None),
            event: Some(completed()),
            ..RunChange::default()
        })
        .await
    }

    async fn tell_completed(&self) -> Result<(), RunError> {
        let event = completed();
        self.sink.emit(event.clone());
        Ok(self.db.append_event(self.fence(), &event).await?)
    }

    /// Leaves the run so that `run` goes on.
    async fn rest(&self, record: &RunRecord) -> Result<(), RunError> {
        if record.state == RunState::Running {
            return Ok(());
        }
        self.change(RunChange {
            state: Some(RunState::Running),
            gate: Some(None),
            reason: Some(None),
            ..RunChange::default()
        })
        .await
    }

    /// Stands at a gate. `None`: it may be looked at again.
    async fn stand_at(
        &self,
        record: &RunRecord,
        steps: &[StepRecord],
        gate: &Gate,
        unmet: Option<String>,
    ) -> Result<Option<Ending>, RunError> {
        if record.state != RunState::Waiting || record.gate != Some(gate.before) {
            self.change(RunChange {
                state: Some(RunState::Waiting),
                gate: Some(Some(gate.before)),
                reason: Some(unmet.clone().or_else(|| gate.message.clone())),
                error: Some(None),
                event: Some(Event::GateReached {
                    gate: gate.before,
                    message: gate.message.clone(),
                }),
                ..RunChange::default()
            })
            .await?;
            if let Some(message) = positions::warning(gate, steps) {
                self.sink.emit(Event::Warning { message });
            }
            failpoint::reach("gate");
        }
        if !self.options.wait_gates {
            return Ok(Some(Ending::Gate {
                gate: gate.before,
                message: gate.message.clone(),
                unmet,
            }));
        }
        tokio::select! {
            () = tokio::time::sleep(std::time::Duration::from_secs(1)) => Ok(None),
            () = self.cancel.cancelled() => Ok(Some(Ending::Interrupted)),
            () = self.kept.paused.cancelled() => self.ending_of(Stop::Paused).await.map(Some),
            () = self.kept.lost.cancelled() => Err(lost().into()),
        }
    }

    /// The condition beside approval, `old_writes_idle`, of the gates before
    /// this step; looked at until a step behind the gate has begun.
    async fn unmet(
        &self,
        record: &RunRecord,
        steps: &[StepRecord],
        step: &StepRecord,
    ) -> Result<Option<(Gate, String)>, RunError> {
        let here = transition::place(step.step.phase);
        for gate in &record.new.settings.gates {
            let Some(wanted) = gate.old_writes_idle else {
                continue;
            };
            let behind = transition::place(gate.before);
            let begun = steps.iter().any(|step| {
                transition::place(step.step.phase) >= behind
                    && matches!(step.state, StepState::Running | StepState::Done)
            });
            if here < behind || begun {
                continue;
            }
            let seen = self.db.old_writes(self.run).await?;
            let unmet = match seen.idle {
                Some(idle) if idle >= wanted => continue,
                Some(idle) => format!(
                    "the last old-version write was {} ago, and the gate asks for {}",
                    humantime::format_duration(whole_seconds(idle)),
                    humantime::format_duration(wanted)
                ),
                None => format!(
                    "it is unknown when an old version last wrote, and the gate asks for {} without",
                    humantime::format_duration(wanted)
                ),
            };
            return Ok(Some((gate.clone(), unmet)));
        }
        Ok(None)
    }

    /// Acts on one step.
    async fn step(&mut self, step: &StepRecord) -> Result<Option<Stop>, RunError> {
        let no = step.step.no;
        failpoint::reach(&format!("step.{no}.begin"));
        let stop = self.perform(step).await?;
        failpoint::reach(&format!("step.{no}.end"));
        Ok(stop)
    }

    async fn perform(&mut self, step: &StepRecord) -> Result<Option<Stop>, RunError> {
        self.sink.emit(Event::StepStarted {
            no: step.step.no,
            phase: step.step.phase,
            kind: step.step.action.kind().to_owned(),
            name: step.step.name.clone(),
            undo: false,
        });
        match &step.step.action {
            Action::Ddl(_) | Action::Sync(_) | Action::Sql(_) => {
                self.act(step, Direction::Do).await
            }
            // No transaction ties its effect to its record, so a rollback has
            // to know that there may be something to take back.
            Action::Concurrent(_) => {
                self.mark(step, StepState::Running, None).await?;
                self.act(step, Direction::Do).await
            }
            Action::Backfill(work) => {
                self.mark(step, StepState::Running, None).await?;
                let outcome = backfill::run(
                    self.db,
                    self.fence(),
                    step.step.no,
                    work,
                    self.kept.settings.clone(),
                    &self.sink,
                    &self.stop_token(),
                )
                .await?;
                match outcome {
                    backfill::Outcome::Finished { rows } => {
                        self.mark(step, StepState::Done, Some(rows)).await?;
                        self.finished(step, rows);
                        Ok(None)
                    }
                    backfill::Outcome::Interrupted => Ok(self.interrupted()?),
                }
            }
            Action::Verify(work) => {
                if step.detail.get("failed") == Some(&serde_json::Value::Bool(true)) {
                    return Err(verify_failed(self.run, step));
                }
                self.verify(step, work).await
            }
        }
    }

    async fn verify(
        &mut self,
        step: &StepRecord,
        work: &pontoon_core::step::Verify,
    ) -> Result<Option<Stop>, RunError> {
        self.mark(step, StepState::Running, None).await?;
        let outcome = verify::run(
            self.db,
            self.fence(),
            step,
            work,
            self.kept.settings.clone(),
            &self.sink,
            &self.stop_token(),
        )
        .await?;
        match outcome {
            verify::Outcome::Clean(progress) => {
                self.verified.push(progress);
                // The pass itself has recorded that the step is done.
                self.finished(step, 0);
                Ok(None)
            }
            verify::Outcome::Failed(progress) => {
                self.verified.push(progress);
                let steps = self.db.steps(self.run).await?;
                let step = steps
                    .iter()
                    .find(|other| other.step.no == step.step.no)
                    .unwrap_or(step);
                Err(verify_failed(self.run, step))
            }
            verify::Outcome::Interrupted => Ok(self.interrupted()?),
        }
    }

    /// A driver of rows stopped early: because it was told to, or because the
    /// lease is gone.
    fn interrupted(&self) -> Result<Option<Stop>, DbError> {
        if self.kept.lost.is_cancelled() {
            return Err(lost());
        }
        Ok(Some(self.stopped().unwrap_or(Stop::Interrupted)))
    }

    /// One token for all reasons to stop.
    fn stop_token(&self) -> CancellationToken {
        let token = CancellationToken::new();
        let (cancel, paused, lost, stop) = (
            self.cancel.clone(),
            self.kept.paused.clone(),
            self.kept.lost.clone(),
            token.clone(),
        );
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = paused.cancelled() => {}
                () = lost.cancelled() => {}
                () = stop.cancelled() => {}
            }
            stop.cancel();
        });
        token
    }

    async fn act(&self, step: &StepRecord, direction: Direction) -> Result<Option<Stop>, RunError> {
        let limits = self.settings().limits;
        let budget = Budget {
            max_lock_duration: limits.max_lock_duration,
            lock_patience: limits.lock_patience,
        };
        // Between two attempts nothing is held, so the work can be dropped at
        // any point: an attempt that is under way ends on the server, where
        // its record commits with it or not at all.
        let stop = self.stop_token();
        let report = tokio::select! {
            report = self.db.act(self.fence(), step, direction, &budget, &self.sink) => report?,
            () = stop.cancelled() => return Ok(self.interrupted()?),
        };
        stop.cancel();
        self.sink.emit(Event::StepFinished {
            no: step.step.no,
            name: step.step.name.clone(),
            undo: direction != Direction::Do,
            attempts: report.attempts,
            wait_ms: report.wait_ms,
            hold_ms: report.hold_ms,
            rows: 0,
        });
        Ok(None)
    }

    async fn mark(
        &self,
        step: &StepRecord,
        state: StepState,
        rows: Option<u64>,
    ) -> Result<(), RunError> {
        let change = StepChange {
            state,
            undone: None,
            rows,
            detail: None,
            event: None,
        };
        Ok(self
            .db
            .update_step(self.fence(), step.step.no, &change)
            .await?)
    }

    fn finished(&self, step: &StepRecord, rows: u64) {
        self.sink.emit(Event::StepFinished {
            no: step.step.no,
            name: step.step.name.clone(),
            undo: false,
            attempts: 1,
            wait_ms: 0.0,
            hold_ms: 0.0,
            rows,
        });
    }

    /// The proof no longer holds (a rewrite, a new partition): every verify
    /// step has to be done again.
    async fn void_proofs(&self, steps: &[StepRecord], why: &DbError) -> Result<(), RunError> {
        self.sink.emit(Event::Warning {
            message: format!("{why}. Verifying again."),
        });
        for step in steps {
            if matches!(step.step.action, Action::Verify(_)) && step.state == StepState::Done {
                self.mark(step, StepState::Pending, None).await?;
            }
        }
        Ok(())
    }

    /// New passes of every verify step that has been reached.
    async fn verify_again(&mut self) -> Result<Ending, RunError> {
        let steps = self.db.steps(self.run).await?;
        let mut failed = None;
        for step in &steps {
            let Action::Verify(work) = &step.step.action else {
                continue;
            };
            self.sink.emit(Event::StepStarted {
                no: step.step.no,
                phase: step.step.phase,
                kind: step.step.action.kind().to_owned(),
                name: step.step.name.clone(),
                undo: false,
            });
            match self.verify(step, work).await {
                Ok(None) => {}
                Ok(Some(stop)) => return self.ending_of(stop).await,
                Err(RunError::VerifyFailed { message, hints }) => {
                    failed = failed.or(Some(RunError::VerifyFailed { message, hints }));
                }
                Err(error) => return Err(error),
            }
        }
        match failed {
            Some(failed) => Err(failed),
            None => {
                let record = self.record().await?;
                if record.state == RunState::Failed {
                    self.change(RunChange {
                        state: Some(RunState::Running),
                        reason: Some(None),
                        error: Some(None),
                        ..RunChange::default()
                    })
                    .await?;
                }
                Ok(Ending::Until)
            }
        }
    }

    async fn back(&mut self) -> Result<Ending, RunError> {
        self.change(RunChange {
            state: Some(RunState::RollingBack),
            gate: Some(None),
            reason: Some(None),
            error: Some(None),
            event: Some(Event::StateChanged {
                state: RunState::RollingBack.name().to_owned(),
                reason: None,
            }),
            ..RunChange::default()
        })
        .await?;
        loop {
            if self.cancel.is_cancelled() {
                return Ok(Ending::Interrupted);
            }
            let steps = self.db.steps(self.run).await?;
            match transition::next_back(&steps) {
                Back::Done => {
                    self.change(RunChange {
                        state: Some(RunState::RolledBack),
                        event: Some(Event::StateChanged {
                            state: RunState::RolledBack.name().to_owned(),
                            reason: None,
                        }),
                        ..RunChange::default()
                    })
                    .await?;
                    return Ok(Ending::RolledBack);
                }
                Back::Mark { step } => {
                    self.mark(&steps[step], StepState::Undone, None).await?;
                }
                Back::Action { step, action } => {
                    if self.undo(&steps[step], action).await?.is_some() {
                        return Ok(Ending::Interrupted);
                    }
                }
            }
        }
    }

    async fn undo(&self, step: &StepRecord, action: usize) -> Result<Option<Stop>, RunError> {
        failpoint::reach(&format!("undo.{}.begin", step.step.no));
        let stop = self.perform_undo(step, action).await?;
        failpoint::reach(&format!("undo.{}.end", step.step.no));
        Ok(stop)
    }

    async fn perform_undo(
        &self,
        step: &StepRecord,
        action: usize,
    ) -> Result<Option<Stop>, RunError> {
        let pontoon_core::step::Undo::Steps { actions } = &step.step.undo else {
            return Ok(None);
        };
        self.sink.emit(Event::StepStarted {
            no: step.step.no,
            phase: step.step.phase,
            kind: actions[action].kind().to_owned(),
            name: step.step.name.clone(),
            undo: true,
        });
        let Action::Backfill(work) = &actions[action] else {
            return self.act(step, Direction::Undo(action)).await;
        };
        let outcome = backfill::run_undo(
            self.db,
            self.fence(),
            step.step.no,
            work,
            self.kept.settings.clone(),
            &self.sink,
            &self.stop_token(),
        )
        .await?;
        match outcome {
            backfill::Outcome::Finished { .. } => {
                let change = StepChange {
                    state: step.state,
                    undone: Some(action + 1),
                    rows: None,
                    detail: None,
                    event: None,
                };
                self.db
                    .update_step(self.fence(), step.step.no, &change)
                    .await?;
                Ok(None)
            }
            backfill::Outcome::Interrupted => Ok(self.interrupted()?),
        }
    }
}

fn completed() -> Event {
    Event::StateChanged {
        state: RunState::Completed.name().to_owned(),
        reason: None,
    }
}

fn lost() -> DbError {
    DbError::new(ErrorKind::Fenced, "The lease was lost")
}

fn stored(error: &DbError) -> StoredError {
    let code = error.code.clone().unwrap_or_else(|| {
        match error.kind {
            ErrorKind::LockPatience { .. } => "lock_patience",
            ErrorKind::RowLimit { .. } => "max_rows_affected",
            ErrorKind::Refused => "refused",
            ErrorKind::ProofVoid => "proof_void",
            ErrorKind::Failed => "failed",
            ErrorKind::Unreachable
            | ErrorKind::Rejected
            | ErrorKind::Transient
            | ErrorKind::Fenced
            | ErrorKind::Held { .. }
            | ErrorKind::Conflict
            | ErrorKind::Internal => "internal",
        }
        .to_owned()
    });
    StoredError {
        code,
        message: error.message.clone(),
        hint: error.hints.first().cloned(),
    }
}

fn verify_failed(run: Uuid, step: &StepRecord) -> RunError {
    let count = |key: &str| {
        step.detail
            .get(key)
            .and_then(serde_json::Value::as_u64)
            .unwrap_or(0)
    };
    let mut hints: Vec<String> = step
        .detail
        .get("examples")
        .and_then(serde_json::Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_str)
        .map(str::to_owned)
        .collect();
    hints.push(format!(
        "Mend these rows (make one side follow the other), then: pontoon verify {run}"
    ));
    RunError::VerifyFailed {
        message: format!(
            "{} found {} rows whose two shapes disagree, and nobody but you can tell which side is right",
            step.step.name,
            count("conflicts").max(count("mismatched"))
        ),
        hints,
    }
}

fn whole_seconds(duration: std::time::Duration) -> std::time::Duration {
    std::time::Duration::from_secs(duration.as_secs())
}
