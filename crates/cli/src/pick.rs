//! Which run a command line means.

use pontoon_engine::db::{Database, RunFilter, RunRecord};
use uuid::Uuid;

use crate::error::{Failure, Result};

/// The run that `wanted` names: its id, a unique beginning of it, or the name
/// of its plan (the unfinished run of it, else the newest). Without a name,
/// the only unfinished run.
///
/// # Errors
/// When none or several fit.
pub(crate) async fn run<D: Database>(db: &D, wanted: Option<&str>) -> Result<RunRecord> {
    run_or(db, wanted, Otherwise::Nothing).await
}

/// The same; where no run is unfinished, the newest one.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_or_newest<D: Database>(db: &D, wanted: Option<&str>) -> Result<RunRecord> {
    run_or(db, wanted, Otherwise::Newest).await
}

/// What is meant where no run is named and none is unfinished.
#[derive(Clone, Copy)]
enum Otherwise {
    Nothing,
    Newest,
}

async fn run_or<D: Database>(
    db: &D,
    wanted: Option<&str>,
    otherwise: Otherwise,
) -> Result<RunRecord> {
    match wanted {
        Some(wanted) => {
            if let Ok(id) = Uuid::try_parse(wanted) {
                let runs = db.runs(&RunFilter::Id(id)).await?;
                return one_of(runs, wanted);
            }
            one_of(db.runs(&RunFilter::All).await?, wanted)
        }
        None => {
            let unfinished = db.runs(&RunFilter::Unfinished).await?;
            if let (true, Otherwise::Newest) = (unfinished.is_empty(), otherwise)
                && let Some(newest) = db.runs(&RunFilter::All).await?.into_iter().next()
            {
                return Ok(newest);
            }
            the_only(unfinished)
        }
    }
}

fn the_only(mut runs: Vec<RunRecord>) -> Result<RunRecord> {
    match (runs.pop(), runs.len()) {
        (Some(run), 0) => Ok(run),
        (None, _) => Err(
            Failure::usage("There is no unfinished run in this database.")
                .command("pontoon history"),
        ),
        (Some(last), _) => {
            runs.push(last);
            Err(listed(
                Failure::usage(format!(
                    "There are {} unfinished runs; name the one you mean.",
                    runs.len()
                )),
                &runs,
            ))
        }
    }
}

fn one_of(runs: Vec<RunRecord>, wanted: &str) -> Result<RunRecord> {
    let named = runs
        .iter()
        .filter(|run| run.new.plan == wanted)
        .min_by_key(|run| run.state.is_final());
    if let Some(run) = named {
        return Ok(run.clone());
    }
    let beginning = wanted.to_ascii_lowercase();
    let plain = beginning.replace('-', "");
    let is_id = plain.len() >= 4 && plain.chars().all(|c| c.is_ascii_hexdigit());
    let mut fitting: Vec<RunRecord> = runs
        .into_iter()
        .filter(|run| is_id && run.new.id.simple().to_string().starts_with(&plain))
        .collect();
    match (fitting.pop(), fitting.len()) {
        (Some(run), 0) => Ok(run),
        (None, _) => Err(
            Failure::usage(format!("There is no run `{wanted}` in this database."))
                .hint("give a run's id, a unique beginning of it (four characters or more), or the name of its plan")
                .command("pontoon history"),
        ),
        (Some(last), _) => {
            fitting.push(last);
            Err(listed(
                Failure::usage(format!("{} runs begin with `{wanted}`.", fitting.len())),
                &fitting,
            ))
        }
    }
}

fn listed(failure: Failure, runs: &[RunRecord]) -> Failure {
    runs.iter().fold(failure, |failure, run| {
        failure.detail(format!(
            "{}  {}  {}",
            run.new.id,
            run.new.plan,
            run.state.name()
        ))
    })
}
