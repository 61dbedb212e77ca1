//! The way back: what each step's undo says, last step first.

use pontoon_core::step::{Action, Undo};

use super::super::api::{Ending, RunError};
use super::super::transition::{self, Back};
use super::{Driver, Stop};
use crate::backfill;
use crate::db::{Database, Direction, RunChange, RunState, StepChange, StepRecord, StepState};
use crate::event::Event;
use crate::failpoint;

impl<D: Database> Driver<'_, D> {
    pub(super) async fn back(&mut self) -> Result<Ending, RunError> {
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
            if let Some(stop) = self.stopped() {
                return self.ending_of(stop).await;
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
                    if let Some(stop) = self.undo(&steps[step], action).await? {
                        return self.ending_of(stop).await;
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
        let Undo::Steps { actions } = &step.step.undo else {
            return Ok(None);
        };
        self.started(step, &actions[action], true);
        let Action::Backfill(work) = &actions[action] else {
            return self.act(step, Direction::Undo(action)).await;
        };
        let stop = self.stop_token();
        let outcome = backfill::run_undo(&self.hands(&stop), step.step.no, work).await?;
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
