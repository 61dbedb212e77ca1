//! One step: what is done for each kind of action.

use std::sync::Arc;

use pontoon_core::step::{Action, Verify};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::super::api::RunError;
use super::proof::verify_failed;
use super::{Driver, Stop, lost};
use crate::backfill::{self, Hands};
use crate::db::{
    Budget, Database, DbError, Direction, ErrorKind, StepChange, StepRecord, StepState,
};
use crate::event::{BackfillProgress, Event};
use crate::failpoint;
use crate::verify;

impl<D: Database> Driver<'_, D> {
    /// Acts on one step.
    pub(super) async fn step(&mut self, step: &StepRecord) -> Result<Option<Stop>, RunError> {
        let no = step.step.no;
        failpoint::reach(&format!("step.{no}.begin"));
        let stop = self.perform(step).await?;
        failpoint::reach(&format!("step.{no}.end"));
        Ok(stop)
    }

    async fn perform(&mut self, step: &StepRecord) -> Result<Option<Stop>, RunError> {
        self.started(step, &step.step.action, false);
        match &step.step.action {
            Action::Ddl(_) | Action::Sync(_) | Action::Sql(_) => {
                self.act(step, Direction::Do).await
            }
            // No transaction ties its effect to its record, so a rollback has
            // to know that there may be something to take back.
            Action::Concurrent(_) | Action::Wait(_) => {
                self.mark(step, StepState::Running, None).await?;
                self.act(step, Direction::Do).await
            }
            Action::Backfill(work) => {
                self.mark(step, StepState::Running, None).await?;
                let stop = self.stop_token();
                let outcome = backfill::run(&self.hands(&stop), step.step.no, work).await?;
                match outcome {
                    backfill::Outcome::Finished { rows, progress } => {
                        self.filled(step, rows, &progress).await?;
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

    pub(super) async fn verify(
        &mut self,
        step: &StepRecord,
        work: &Verify,
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
    pub(super) fn interrupted(&self) -> Result<Option<Stop>, DbError> {
        if self.kept.lost.is_cancelled() {
            return Err(lost());
        }
        Ok(Some(self.stopped().unwrap_or(Stop::Interrupted)))
    }

    /// What a backfill is done with.
    pub(super) fn hands<'b>(&'b self, stop: &'b CancellationToken) -> Hands<'b, D> {
        Hands::new(
            self.db,
            self.fence(),
            self.kept.settings.clone(),
            Arc::clone(&self.kept.in_company),
            &self.sink,
            stop,
        )
    }

    /// One token for all reasons to stop.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.kept.stop_token(&self.cancel)
    }

    pub(super) async fn act(
        &self,
        step: &StepRecord,
        direction: Direction,
    ) -> Result<Option<Stop>, RunError> {
        let limits = self.settings().limits;
        let budget = Budget {
            max_lock_duration: limits.max_lock_duration,
            lock_patience: limits.lock_patience,
            live: Some(self.kept.settings.clone()),
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

    pub(super) async fn mark(
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

    /// A backfill is done: `status` goes on telling how it went.
    async fn filled(
        &self,
        step: &StepRecord,
        rows: u64,
        progress: &BackfillProgress,
    ) -> Result<(), RunError> {
        let progress = serde_json::to_value(progress).map_err(|error| {
            DbError::new(ErrorKind::Internal, format!("write the progress: {error}"))
        })?;
        let change = StepChange {
            state: StepState::Done,
            undone: None,
            rows: Some(rows),
            detail: Some(json!({ "progress": progress })),
            event: None,
        };
        Ok(self
            .db
            .update_step(self.fence(), step.step.no, &change)
            .await?)
    }

    pub(super) fn started(&self, step: &StepRecord, action: &Action, undo: bool) {
        self.sink.emit(Event::StepStarted {
            no: step.step.no,
            phase: step.step.phase,
            kind: action.kind().to_owned(),
            name: step.step.name.clone(),
            undo,
        });
    }

    pub(super) fn finished(&self, step: &StepRecord, rows: u64) {
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
}
