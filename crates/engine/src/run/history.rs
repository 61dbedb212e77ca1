//! What a database remembers of plans, as folders of plans are held against
//! it.

use pontoon_core::plan::folder::{Fate, KnownRun};

use crate::db::{Database, DbError, RunFilter, RunRecord, RunState};
use crate::status::state_words;

/// Every run, newest first; none where Pontoon has never been.
///
/// # Errors
/// When the database cannot be asked.
pub async fn history<D: Database>(db: &D) -> Result<Vec<KnownRun>, DbError> {
    let runs = db.runs(&RunFilter::All).await?;
    Ok(runs.iter().map(known).collect())
}

fn known(run: &RunRecord) -> KnownRun {
    let fate = fate(run.state);
    KnownRun {
        run: run.new.id.to_string(),
        plan: run.new.plan.clone(),
        version: run.new.version.clone(),
        fate,
        state: state_words(run),
        applied_at: run.finished_at.clone().filter(|_| fate == Fate::Applied),
        operations: run.new.operations.clone(),
        operations_hash: run.new.operations_hash.clone(),
    }
}

fn fate(state: RunState) -> Fate {
    match state {
        RunState::Completed => Fate::Applied,
        RunState::Pending
        | RunState::Running
        | RunState::Waiting
        | RunState::Paused
        | RunState::Failed => Fate::Unfinished,
        RunState::RollingBack => Fate::GoingBack,
        RunState::RolledBack => Fate::RolledBack,
    }
}
