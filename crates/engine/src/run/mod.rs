//! The state machine of a run: starting, going on, standing at gates, going
//! back.
//!
//! [`transition`] says what comes next, purely. [`drive`] does it under a
//! [`lease`], and records how each sitting ended. Whatever happens to
//! the process, what it was doing is found again in the database: a
//! transactional step commits with its record, a batch with its cursor, and
//! everything else is judged by looking at the catalog.

mod api;
mod drive;
mod history;
mod lease;
mod neighbours;
mod observe;
mod positions;
mod reach;
mod start;
mod transition;
mod work;

use pontoon_core::catalog::Catalog;
use pontoon_core::lower::Lowered;
use pontoon_core::plan::Plan;
use pontoon_core::step::{Action, Step, Undo};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::{Command, Database, RunFilter, RunRecord, RunState, StepState};
use crate::event::{Sink, VerifyProgress};
use crate::setting;

use drive::Purpose;
use start::Found;

pub use api::{Ending, RunError, RunOptions, Sitting, WorkOptions};
pub use history::history;
pub use reach::while_it_answers;
pub use work::work;

/// Starts the plan, or resumes its unfinished run. Limits, throttle and gates
/// of the plan as it is now replace the stored ones, and live settings stay
/// over them (see [`setting`]); changed operations are refused with what
/// changed.
///
/// # Errors
/// See [`RunError`].
pub async fn run<D: Database>(
    db: &D,
    plan: &Plan,
    options: RunOptions,
    sink: Sink,
    cancel: CancellationToken,
) -> Result<Sitting, RunError> {
    let found = reach::while_it_answers(db, start::find_or_create(db, plan, &sink)).await?;
    let record = match found {
        Found::Completed(record) => {
            return Ok(Sitting {
                run: Some(record.new.id),
                ending: Ending::AlreadyCompleted,
            });
        }
        Found::Run(record) => record,
    };
    if let Some(by) = record.pause_requested.clone() {
        return Ok(Sitting {
            run: Some(record.new.id),
            ending: Ending::Paused { by },
        });
    }
    let mut record = *record;
    let base = start::base(plan);
    let (kept, _) = setting::surviving(&record.base, &base, record.live_settings);
    setting::admit(record.new.id, &base, &kept)?;
    record.new.settings = setting::layered(&base, &kept);
    record.live_settings = kept;
    record.base = base;
    let sink = sink.of(record.new.id);
    let outcome = drive::sit(db, &record, Purpose::Forward, &options, &sink, &cancel).await?;
    Ok(Sitting {
        run: Some(record.new.id),
        ending: outcome.ending,
    })
}

/// Takes an unfinished run back: every write is kept, and the catalog is as
/// it was before. A process that holds the run is asked to let go, and given
/// some time for it, unless it takes the run back itself; an operator's pause
/// is lifted.
///
/// # Errors
/// [`RunError::State`] for a run that has completed or holds a step that
/// cannot be taken back.
pub async fn rollback<D: Database>(
    db: &D,
    run: Uuid,
    options: RunOptions,
    sink: Sink,
    cancel: CancellationToken,
) -> Result<Sitting, RunError> {
    let Some(record) = reach::while_it_answers(db, may_go_back(db, run)).await? else {
        return Ok(Sitting {
            run: Some(run),
            ending: Ending::RolledBack,
        });
    };
    let sink = sink.of(run);
    if record.state != RunState::RollingBack
        && let Err(error) = db.command(run, &Command::Rollback, &options.holder).await
    {
        // Another process may have taken it back since we looked.
        return match may_go_back(db, run).await? {
            None => Ok(Sitting {
                run: Some(run),
                ending: Ending::RolledBack,
            }),
            Some(_) => Err(error.into()),
        };
    }
    let outcome = drive::sit(db, &record, Purpose::Back, &options, &sink, &cancel).await?;
    Ok(Sitting {
        run: Some(run),
        ending: outcome.ending,
    })
}

/// The run, if it can be taken back; `None` when it has been.
async fn may_go_back<D: Database>(db: &D, run: Uuid) -> Result<Option<RunRecord>, RunError> {
    let record = find(db, run).await?;
    match record.state {
        RunState::Completed => {
            return Err(RunError::State {
                message: format!("run {run} has completed: the old shape is gone"),
                hints: vec!["Write a plan that leads to the shape you want.".to_owned()],
            });
        }
        RunState::RolledBack => return Ok(None),
        RunState::Pending
        | RunState::Running
        | RunState::Waiting
        | RunState::Paused
        | RunState::Failed
        | RunState::RollingBack => {}
    }
    let steps = db.steps(run).await?;
    if let Some((step, reason)) = transition::irreversible(&steps) {
        return Err(RunError::State {
            message: format!(
                "step {} ({}) cannot be taken back: {reason}",
                step.step.no, step.step.name
            ),
            hints: vec![format!(
                "Go forward instead: pontoon run, or pontoon status {run}"
            )],
        });
    }
    start::check_server(db, &record).await?;
    let undo: Vec<(&Step, &Action)> = steps
        .iter()
        .filter(|step| matches!(step.state, StepState::Running | StepState::Done))
        .filter_map(|step| match &step.step.undo {
            Undo::Steps { actions } => Some((&step.step, actions)),
            Undo::Nothing | Undo::Impossible { .. } => None,
        })
        .flat_map(|(step, actions)| actions.iter().map(move |action| (step, action)))
        .collect();
    db.admit(&undo).await?;
    Ok(Some(record))
}

/// Makes a new, full verify pass over every table of a run that keeps two
/// shapes in step. A clean one lifts an earlier failure.
///
/// # Errors
/// [`RunError::VerifyFailed`] with the keys; [`RunError::State`] when the run
/// has not reached its verify phase.
pub async fn verify<D: Database>(
    db: &D,
    run: Uuid,
    options: RunOptions,
    sink: Sink,
    cancel: CancellationToken,
) -> Result<(Ending, Vec<VerifyProgress>), RunError> {
    let record = reach::while_it_answers(db, may_verify(db, run)).await?;
    let sink = sink.of(run);
    let outcome = drive::sit(db, &record, Purpose::Verify, &options, &sink, &cancel).await?;
    Ok((outcome.ending, outcome.verified))
}

/// The run, if it has two filled shapes to compare.
async fn may_verify<D: Database>(db: &D, run: Uuid) -> Result<RunRecord, RunError> {
    let record = find(db, run).await?;
    let steps = db.steps(run).await?;
    if !verifiable(&record, &steps) {
        return Err(RunError::State {
            message: format!(
                "Run {run} is {} in phase {}: there are no two filled shapes to compare",
                record.state.name(),
                record.phase.name()
            ),
            hints: vec!["Verify between the end of the backfill and contract.".to_owned()],
        });
    }
    start::check_server(db, &record).await?;
    Ok(record)
}

/// What `preview` shows: the catalog and the program. Changes nothing.
///
/// # Errors
/// [`RunError::Refused`] with every reason.
pub async fn compile<D: Database>(db: &D, plan: &Plan) -> Result<(Catalog, Lowered), RunError> {
    start::compile(db, plan).await
}

/// The run of that id.
///
/// # Errors
/// [`RunError::NoRun`] when there is none.
pub async fn find<D: Database>(db: &D, run: Uuid) -> Result<RunRecord, RunError> {
    let runs = db.runs(&RunFilter::Id(run)).await?;
    runs.into_iter().next().ok_or_else(|| RunError::NoRun {
        message: format!("There is no run {run} in this database"),
        hints: vec!["See: pontoon history".to_owned()],
    })
}

fn verifiable(record: &RunRecord, steps: &[crate::db::StepRecord]) -> bool {
    let of = |wanted: fn(&Action) -> bool| {
        steps
            .iter()
            .filter(move |step| wanted(&step.step.action))
            .collect::<Vec<_>>()
    };
    let backfills = of(|action| matches!(action, Action::Backfill(_)));
    let verifies = of(|action| matches!(action, Action::Verify(_)));
    transition::may_run(record.state)
        && !verifies.is_empty()
        && backfills.iter().all(|step| step.state == StepState::Done)
}
