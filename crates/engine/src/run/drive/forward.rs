//! Going forward: the next step or gate, until there is none.

use std::time::Duration;

use pontoon_core::plan::Gate;
use pontoon_core::step::Phase;

use super::super::api::{Ending, RunError};
use super::super::positions;
use super::super::transition::{self, Next, Until};
use super::{Driver, Stop, lost};
use crate::db::{Command, Database, ErrorKind, RunChange, RunRecord, RunState, StepRecord};
use crate::event::Event;
use crate::failpoint;

/// A verify pass that was voided by a rewrite or a new partition is repeated
/// this many times in one sitting before a person is asked.
const PROOF_TRIES: u32 = 3;

impl<D: Database> Driver<'_, D> {
    pub(super) async fn forward(&mut self) -> Result<Ending, RunError> {
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
                    self.rest(&record, until).await?;
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
                let holder = &self.options.holder;
                self.db
                    .command(self.run, &Command::Approve { gate: *gate }, holder)
                    .await?;
                let by = format!("{}@{}", holder.user, holder.host);
                self.sink.emit(Event::GateApproved {
                    gate: *gate,
                    by,
                    from: None,
                });
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

    /// Leaves the run where `--until` asked, so that nobody takes it for one
    /// whose process is gone; `run` goes on.
    async fn rest(&self, record: &RunRecord, until: Until) -> Result<(), RunError> {
        let reason = until.reason();
        if record.state == RunState::Paused && record.reason == reason {
            return Ok(());
        }
        self.change(RunChange {
            state: Some(RunState::Paused),
            gate: Some(None),
            reason: Some(reason.clone()),
            error: Some(None),
            event: Some(Event::StateChanged {
                state: RunState::Paused.name().to_owned(),
                reason,
            }),
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
            () = tokio::time::sleep(Duration::from_secs(1)) => Ok(None),
            () = self.cancel.cancelled() => Ok(Some(Ending::Interrupted)),
            () = self.kept.paused.cancelled() => self.ending_of(Stop::Paused).await.map(Some),
            () = self.kept.relieved.cancelled() => self.ending_of(Stop::Relieved).await.map(Some),
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
        for gate in &record.new.settings.gates {
            let Some(wanted) = gate.old_writes_idle else {
                continue;
            };
            if step.step.phase < gate.before || transition::passed(steps, gate) {
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
}

fn completed() -> Event {
    Event::StateChanged {
        state: RunState::Completed.name().to_owned(),
        reason: None,
    }
}

fn whole_seconds(duration: Duration) -> Duration {
    Duration::from_secs(duration.as_secs())
}
