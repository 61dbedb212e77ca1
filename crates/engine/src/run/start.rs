//! Finding or making the run of a plan.

use pontoon_core::catalog::Catalog;
use pontoon_core::lower::{self, Lowered, Refusal, RefusalKind};
use pontoon_core::plan::{self, Plan};
use pontoon_core::sql::postgres::locks::action_locks;
use pontoon_core::step::{Action, LockMode, Program, Step};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::db::{Base, Database, NewRun, RunFilter, RunRecord, RunState, Settings, StepState};
use crate::event::{Event, Sink};
use crate::failpoint;

use super::api::RunError;
use super::neighbours;

/// What `run` found.
#[derive(Debug)]
pub(crate) enum Found {
    /// This plan has completed here before, with the same operations.
    Completed(Box<RunRecord>),
    /// A new run, or an unfinished one that goes on.
    Run(Box<RunRecord>),
}

/// Reads the tables of a plan, asks what its texts mean, and compiles it.
/// Changes nothing.
pub(crate) async fn compile<D: Database>(
    db: &D,
    plan: &Plan,
) -> Result<(Catalog, Lowered), RunError> {
    let tables = lower::tables(plan);
    let mut catalog = db.inspect(&plan.schema, &tables, &[]).await?;
    let mut request = lower::request(plan, &catalog);
    // What is tied to a table may concern an operation, too, and what is tied
    // to that: a table that is read names more of them, until all are known.
    let mut known = tables;
    while !request.tables.iter().all(|table| known.contains(table)) {
        known.clone_from(&request.tables);
        catalog = db.inspect(&plan.schema, &known, &[]).await?;
        request = lower::request(plan, &catalog);
    }
    if !request.questions.is_empty() {
        catalog = db
            .inspect(&plan.schema, &request.tables, &request.questions)
            .await?;
    }
    let lowered =
        lower::lower(plan, &catalog).map_err(|refusals| RunError::Refused { refusals })?;
    spare_readers(db, plan, &lowered.program.steps).await?;
    spare_neighbours(db, plan, &lowered.program).await?;
    Ok((catalog, lowered))
}

/// Standbys replay ACCESS EXCLUSIVE and stall or cancel their readers: they
/// are watched, or the plan says that it knows.
async fn spare_readers<D: Database>(db: &D, plan: &Plan, steps: &[Step]) -> Result<(), RunError> {
    let strong = steps
        .iter()
        .flat_map(|step| action_locks(&step.action))
        .any(|(_, mode)| mode == LockMode::AccessExclusive);
    if !strong || plan.acknowledge.iter().any(|word| word == "standby") {
        return Ok(());
    }
    let names = db.unwatched_standbys().await?;
    if names.is_empty() {
        return Ok(());
    }
    Err(RunError::Refused {
        refusals: vec![Refusal {
            operation: 0,
            line: 0,
            kind: RefusalKind::Unsafe,
            message: format!(
                "queries on the connected standbys ({}) may be stalled or cancelled, for a standby replays each ACCESS EXCLUSIVE lock of the plan and nobody looks at its readers",
                names.join(", ")
            ),
            hints: vec![
                "Give each standby's address, and their long readers are waited for: --replica-url, `replica_urls_env` of the environment in pontoon.yaml, or REPLICA_URLS beside DATABASE_URL.".to_owned(),
                "Or write `acknowledge: [standby]` in the plan.".to_owned(),
            ],
        }],
    })
}

/// Runs that are under way on the same tables go first, where both would harm
/// each other.
async fn spare_neighbours<D: Database>(
    db: &D,
    plan: &Plan,
    program: &Program,
) -> Result<(), RunError> {
    let mut others = db.runs(&RunFilter::Unfinished).await?;
    // Its own unfinished run is found before anything is compiled, or is
    // another process's, which the store tells.
    others.retain(|run| run.new.plan != plan.plan);
    let refusals = neighbours::refusals(program, &others);
    match refusals.is_empty() {
        true => Ok(()),
        false => Err(RunError::Refused { refusals }),
    }
}

/// The unfinished run of the plan, or a new one.
pub(crate) async fn find_or_create<D: Database>(
    db: &D,
    plan: &Plan,
    sink: &Sink,
) -> Result<Found, RunError> {
    if let Some(found) = find(db, plan).await? {
        return Ok(found);
    }
    let error = match create(db, plan, sink).await {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    // Another process may have created the run since we looked, and begun to
    // work: then its columns are no reason to refuse the plan.
    match find(db, plan).await {
        Ok(Some(found)) => Ok(found),
        Ok(None) | Err(_) => Err(error),
    }
}

/// The run of this plan that is unfinished or has completed.
async fn find<D: Database>(db: &D, plan: &Plan) -> Result<Option<Found>, RunError> {
    let operations = plan::operations_json(plan);
    let operations_hash = plan::operations_hash(plan);
    let runs = db.runs(&RunFilter::Plan(plan.plan.clone())).await?;

    if let Some(run) = runs.iter().find(|run| !run.state.is_final()) {
        check_same(run, plan, &operations, &operations_hash)?;
        check_server(db, run).await?;
        if run.state == RunState::RollingBack {
            return Err(RunError::State {
                message: format!("run {} is being rolled back", run.new.id),
                hints: vec![format!("Finish it: pontoon rollback {}", run.new.id)],
            });
        }
        let steps = db.steps(run.new.id).await?;
        let left: Vec<(&Step, &Action)> = steps
            .iter()
            .filter(|step| step.state != StepState::Done)
            .map(|step| (&step.step, &step.step.action))
            .collect();
        db.admit(&left).await?;
        return Ok(Some(Found::Run(Box::new(run.clone()))));
    }
    let completed = runs
        .iter()
        .find(|run| run.state == RunState::Completed && run.new.version == plan.version);
    if let Some(run) = completed {
        check_same(run, plan, &operations, &operations_hash)?;
        return Ok(Some(Found::Completed(Box::new(run.clone()))));
    }
    Ok(None)
}

/// A new run of the plan.
async fn create<D: Database>(db: &D, plan: &Plan, sink: &Sink) -> Result<Found, RunError> {
    failpoint::reach("run.absent");
    let (catalog, lowered) = compile(db, plan).await?;
    let program = lowered.program;
    let actions: Vec<(&Step, &Action)> = program
        .steps
        .iter()
        .map(|step| (step, &step.action))
        .collect();
    db.admit(&actions).await?;
    db.init(None).await?;
    let program_json = serde_json::to_string(&program).map_err(|error| {
        crate::db::DbError::new(
            crate::db::ErrorKind::Internal,
            format!("failed to write the program: {error}"),
        )
    })?;
    let steps = u32::try_from(program.steps.len()).unwrap_or(u32::MAX);
    let run = db
        .create_run(&NewRun {
            id: Uuid::now_v7(),
            plan: plan.plan.clone(),
            version: plan.version.clone(),
            issue: plan.issue.clone(),
            operations: plan::operations_json(plan),
            operations_hash: plan::operations_hash(plan),
            program,
            program_hash: hex(&Sha256::digest(program_json.as_bytes())),
            system_identifier: catalog.server.system_identifier.clone(),
            catalog_fingerprint: pontoon_core::catalog::fingerprint(
                &catalog,
                &lower::request(plan, &catalog).tables,
            ),
            settings: settings(plan),
        })
        .await?;
    failpoint::reach("run.created");
    sink.of(run.new.id).emit(Event::RunStarted {
        plan: plan.plan.clone(),
        version: plan.version.clone(),
        steps,
    });
    Ok(Found::Run(Box::new(run)))
}

/// What of a plan may change between sittings, with who said it.
pub(crate) fn base(plan: &Plan) -> Base {
    Base {
        settings: settings(plan),
        origins: plan.origin.settings().clone(),
        ceilings: plan.origin.ceilings().clone(),
        forced: plan.origin.is_forced(),
    }
}

fn settings(plan: &Plan) -> Settings {
    Settings {
        limits: plan.limits.clone(),
        backfill: plan.backfill.clone(),
        throttle: plan.throttle.clone(),
        gates: plan.gates.clone(),
    }
}

fn check_same(
    run: &RunRecord,
    plan: &Plan,
    operations: &serde_json::Value,
    operations_hash: &str,
) -> Result<(), RunError> {
    let mut changes = Vec::new();
    if run.new.version != plan.version {
        changes.push(format!(
            "version was {}, and is now {}",
            run.new.version, plan.version
        ));
    }
    if run.new.operations_hash != operations_hash {
        changes.extend(plan::describe_change(&run.new.operations, operations));
    }
    if changes.is_empty() {
        return Ok(());
    }
    Err(RunError::PlanChanged {
        run: run.new.id,
        changes,
        completed: run.state == RunState::Completed,
    })
}

/// A run goes on only where it was started: a restored copy of its tables on
/// another server has other rows.
pub(crate) async fn check_server<D: Database>(db: &D, run: &RunRecord) -> Result<(), RunError> {
    let server = db.inspect("public", &[], &[]).await?.server;
    if server.system_identifier == run.new.system_identifier {
        return Ok(());
    }
    Err(RunError::WrongServer {
        message: format!(
            "run {} was started on the server with system identifier {}, and this one is {}",
            run.new.id, run.new.system_identifier, server.system_identifier
        ),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
