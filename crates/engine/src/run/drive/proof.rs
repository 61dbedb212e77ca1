//! Proofs that have to be made again.

use pontoon_core::step::{Action, Concurrent};
use uuid::Uuid;

use super::super::api::{Ending, RunError};
use super::Driver;
use crate::db::{Database, DbError, RunChange, RunState, StepRecord, StepState};
use crate::event::Event;

impl<D: Database> Driver<'_, D> {
    /// The proof no longer holds (a rewrite, a new partition): every verify
    /// step has to be done again, and so has what was filled to be as new as
    /// the cutover.
    pub(super) async fn void_proofs(
        &self,
        steps: &[StepRecord],
        why: &DbError,
    ) -> Result<(), RunError> {
        self.sink.emit(Event::Warning {
            message: format!("{why}. Verifying again."),
        });
        for step in steps {
            let again = matches!(
                step.step.action,
                Action::Verify(_) | Action::Concurrent(Concurrent::Fill { .. })
            );
            if again && step.state == StepState::Done {
                self.mark(step, StepState::Pending, None).await?;
            }
        }
        Ok(())
    }

    /// New passes of every verify step that has been reached.
    pub(super) async fn verify_again(&mut self) -> Result<Ending, RunError> {
        let steps = self.db.steps(self.run).await?;
        let mut failed = None;
        for step in &steps {
            let Action::Verify(work) = &step.step.action else {
                continue;
            };
            self.started(step, &step.step.action, false);
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
}

pub(super) fn verify_failed(run: Uuid, step: &StepRecord) -> RunError {
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
    let name = &step.step.name;
    let (lost, conflicts) = (count("lost"), count("conflicts").max(count("mismatched")));
    if lost > 0 {
        hints.push(format!(
            "Mend these rows, so that the new type keeps their values, then: pontoon verify {run}"
        ));
        hints.push(
            "Or roll back, and write into the plan `lossy: true` if they may go, or `up` with what the new value is."
                .to_owned(),
        );
    } else {
        hints.push(format!(
            "Mend these rows (make one side follow the other), then: pontoon verify {run}"
        ));
    }
    let rows = |count| if count == 1 { "row" } else { "rows" };
    let lose = format!(
        "{lost} {} whose values the new type does not keep",
        rows(lost)
    );
    let disagree = |count| {
        format!(
            "{count} rows whose two shapes disagree, and nobody but you can tell which side is right"
        )
    };
    let found = match conflicts.saturating_sub(lost) {
        _ if lost == 0 => disagree(conflicts),
        0 => lose,
        others => format!("{lose}, and {}", disagree(others)),
    };
    RunError::VerifyFailed {
        message: format!("{name} found {found}"),
        hints,
    }
}
