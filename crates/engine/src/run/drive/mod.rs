//! A sitting: from taking the lease to giving it back.
//!
//! - [`term`]: the lease around the work, and a new one after a restart or a
//!   failover;
//! - this file: how the sitting ended;
//! - [`forward`]: step after step, gates, and the end;
//! - [`step`]: one step, whatever it is;
//! - [`back`]: the same way back;
//! - [`proof`]: verify passes that are made again.

mod back;
mod forward;
mod proof;
mod step;
mod term;

use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::{
    Database, DbError, ErrorKind, Fence, RunChange, RunFilter, RunRecord, RunState, Settings,
    StoredError,
};
use crate::event::{Event, Sink, VerifyProgress};

use super::api::{Ending, RunError, RunOptions};
use super::lease::Kept;

pub(crate) use term::{Away, is_loss, sit};

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
    purpose: Purpose,
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
    /// Somebody else is to have the run.
    Relieved,
}

/// The outcome of a sitting: its end, and the verify passes it made.
pub(crate) struct Outcome {
    pub(crate) ending: Ending,
    pub(crate) verified: Vec<VerifyProgress>,
}

impl<D: Database> Driver<'_, D> {
    fn fence(&self) -> &Fence {
        &self.kept.fence
    }

    async fn work(&mut self) -> Result<Ending, RunError> {
        match self.purpose {
            Purpose::Forward => self.forward().await,
            Purpose::Back => self.back().await,
            Purpose::Verify => self.verify_again().await,
        }
    }

    /// Records why the sitting ended, unless the run belongs to another
    /// process now or the database is out of reach: then the record already
    /// says that `run` goes on.
    async fn settle(&self, worked: Result<Ending, RunError>) -> Result<Ending, RunError> {
        if let Some(why) = self.kept.why.get() {
            return Err(why.clone().into());
        }
        let (state, reason, error) = match &worked {
            Ok(Ending::Paused { by }) => (RunState::Paused, Some(format!("paused by {by}")), None),
            Ok(_) => return worked,
            Err(RunError::Db(error)) => match &error.kind {
                ErrorKind::Fenced
                | ErrorKind::Held { .. }
                | ErrorKind::Unreachable
                | ErrorKind::ServerChanged
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
        let state = match self.purpose {
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
        } else if self.kept.relieved.is_cancelled() {
            Some(Stop::Relieved)
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
            Stop::Relieved => Ending::Relieved {
                by: self
                    .kept
                    .by
                    .get()
                    .cloned()
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
            | ErrorKind::ServerChanged
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
