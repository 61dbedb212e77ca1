//! Runs.

use pontoon_core::step::{Phase, Program, WIRE_VERSION};
use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::super::Postgres;
use super::super::act::text;
use super::super::fence::fence_statement;
use super::super::sqlstate::classify;
use super::step::number;
use super::wire::{self, WireError, WireHolder, WireRun, WireSettings, WireStep, WireWorker};
use super::{command, event, schema};
use crate::db::{Base, DbError, ErrorKind, Fence, Live, NewRun, RunChange, RunFilter, RunRecord};
use crate::event::Event;
use crate::setting;

/// Runs, newest first.
pub(crate) async fn runs(
    database: &Postgres,
    filter: &RunFilter,
) -> Result<Vec<RunRecord>, DbError> {
    let session = database.session().await?;
    if !schema::exists(&session).await? {
        return Ok(Vec::new());
    }
    select(&session, filter).await
}

async fn select(client: &Client, filter: &RunFilter) -> Result<Vec<RunRecord>, DbError> {
    let (id, plan, unfinished) = match filter {
        RunFilter::All => (None, None, false),
        RunFilter::Unfinished => (None, None, true),
        RunFilter::Id(id) => (Some(*id), None, false),
        RunFilter::Plan(plan) => (None, Some(plan.as_str()), false),
    };
    client
        .query_typed(
            include_str!("sql/select_runs.sql"),
            &[
                (&id, Type::UUID),
                (&plan, Type::TEXT),
                (&unfinished, Type::BOOL),
            ],
        )
        .await
        .map_err(|error| classify(&error, "read the runs"))?
        .iter()
        .map(record)
        .collect()
}

fn record(row: &Row) -> Result<RunRecord, DbError> {
    let definition: WireRun = wire::from_value(row.get("definition"), "run")?;
    let settings: WireSettings = wire::from_value(row.get("settings"), "run's settings")?;
    let (base, live_settings) = command::layers(row)?;
    let steps = match row.get::<_, Option<Value>>("steps") {
        Some(Value::Array(steps)) => steps
            .into_iter()
            .map(|step| wire::from_value::<WireStep>(step, "step").map(|step| step.step))
            .collect::<Result<Vec<_>, _>>()?,
        _ => Vec::new(),
    };
    let approvals: Vec<(Phase, String, String)> = match row.get::<_, Option<Value>>("approvals") {
        Some(approvals) => wire::from_value(approvals, "approval")?,
        None => Vec::new(),
    };
    let holder = row
        .get::<_, Option<Value>>("holder")
        .map(|holder| wire::from_value::<WireHolder>(holder, "holder"))
        .transpose()?;
    let error = row
        .get::<_, Option<Value>>("error")
        .map(|error| wire::from_value::<WireError>(error, "error"))
        .transpose()?;
    // A newer holder may tell things that this binary cannot read: that is
    // no reason to hide the run.
    let live = row
        .get::<_, Option<Value>>("live")
        .and_then(|live| serde_json::from_value::<Live>(live).ok());
    Ok(RunRecord {
        new: NewRun {
            id: row.get("id"),
            plan: row.get("plan"),
            version: row.get("version"),
            issue: row.get("issue"),
            operations: definition.operations,
            operations_hash: definition.operations_hash,
            program: Program {
                wire: definition.wire,
                steps,
            },
            program_hash: definition.program_hash,
            system_identifier: definition.system_identifier,
            catalog_fingerprint: definition.catalog_fingerprint,
            settings: settings.read(),
        },
        base,
        live_settings,
        revision: row.get("revision"),
        workers: match row.get::<_, Option<Value>>("workers") {
            Some(workers) => wire::from_value::<Vec<WireWorker>>(workers, "worker")?
                .into_iter()
                .map(WireWorker::read)
                .collect(),
            None => Vec::new(),
        },
        state: wire::run_state(row.get("state"))?,
        phase: wire::phase(row.get("phase"))?,
        gate: row
            .get::<_, Option<&str>>("gate")
            .map(wire::phase)
            .transpose()?,
        approvals,
        reason: row.get("reason"),
        error: error.map(WireError::read),
        pause_requested: row.get("pause_requested"),
        throttle_off_until: row.get("throttle_off_until"),
        rows_affected: row
            .get::<_, i64>("rows_affected")
            .try_into()
            .unwrap_or_default(),
        live,
        holder: holder.map(WireHolder::read),
        epoch: row.get("epoch"),
        started_at: row.get("started_at"),
        finished_at: row.get("finished_at"),
        database: row.get("database"),
    })
}

/// Writes a new run, its steps with their SQL, and its free lease.
pub(crate) async fn create(database: &Postgres, run: &NewRun) -> Result<RunRecord, DbError> {
    const DOING: &str = "write the new run";
    if run.program.wire != WIRE_VERSION {
        return Err(DbError::new(
            ErrorKind::Internal,
            format!("{DOING}: its program has wire {}", run.program.wire),
        ));
    }
    let definition = wire::to_value(&WireRun::of(run), "run")?;
    let settings = wire::to_value(&WireSettings::of(&run.settings), "run's settings")?;
    let mut steps = Vec::with_capacity(run.program.steps.len());
    for step in &run.program.steps {
        let (sql, undo_sql) = text::texts(run.id, step);
        let no = number(step.no)?;
        steps.push((
            no,
            wire::to_value(&WireStep::of(step, sql, undo_sql), "step")?,
        ));
    }
    let phase = run
        .program
        .steps
        .first()
        .map_or(Phase::Expand, |step| step.phase);

    let session = database.session().await?;
    let written = session
        .transaction("", DOING, async |client| {
            let failed = |error| classify(&error, DOING);
            client
                .execute_typed(
                    include_str!("sql/insert_run.sql"),
                    &[
                        (&run.id, Type::UUID),
                        (&run.plan, Type::TEXT),
                        (&run.version, Type::TEXT),
                        (&run.issue, Type::TEXT),
                        (&definition, Type::JSONB),
                        (&settings, Type::JSONB),
                        (&phase.name(), Type::TEXT),
                    ],
                )
                .await
                .map_err(failed)?;
            for (no, definition) in &steps {
                client
                    .execute_typed(
                        include_str!("sql/insert_step.sql"),
                        &[
                            (&run.id, Type::UUID),
                            (no, Type::INT4),
                            (definition, Type::JSONB),
                        ],
                    )
                    .await
                    .map_err(failed)?;
            }
            client
                .execute_typed(
                    include_str!("sql/insert_lease.sql"),
                    &[(&run.id, Type::UUID)],
                )
                .await
                .map_err(failed)?;
            let started = Event::RunStarted {
                plan: run.plan.clone(),
                version: run.version.clone(),
                steps: u32::try_from(steps.len()).unwrap_or(u32::MAX),
            };
            event::insert(client, run.id, &started, None).await
        })
        .await;
    if let Err(error) = written {
        return Err(if error.code.as_deref() == Some("23505") {
            conflict(&session, run).await
        } else {
            error
        });
    }
    one(&session, run.id).await
}

/// Which unfinished run stands in the way.
async fn conflict(client: &Client, run: &NewRun) -> DbError {
    let other = select(client, &RunFilter::Plan(run.plan.clone()))
        .await
        .ok()
        .into_iter()
        .flatten()
        .find(|other| !other.state.is_final());
    let message = match &other {
        Some(other) => format!(
            "an unfinished run of the plan {} exists: {} ({})",
            run.plan,
            other.new.id,
            other.state.name()
        ),
        None => format!("an unfinished run of the plan {} exists", run.plan),
    };
    DbError::new(ErrorKind::Conflict, message)
}

async fn one(client: &Client, run: Uuid) -> Result<RunRecord, DbError> {
    select(client, &RunFilter::Id(run))
        .await?
        .pop()
        .ok_or_else(|| no_such(run))
}

/// The run is not there.
pub(super) fn no_such(run: Uuid) -> DbError {
    DbError::new(ErrorKind::Refused, format!("There is no run {run}"))
}

/// Changes a run's record, with the event that tells why.
pub(crate) async fn update(
    database: &Postgres,
    fence: &Fence,
    change: &RunChange,
) -> Result<(), DbError> {
    const DOING: &str = "change the run's state";
    let state = change.state.map(|state| state.name());
    let phase = change.phase.map(Phase::name);
    let gate = change.gate.flatten().map(Phase::name);
    let reason = change.reason.clone().flatten();
    let error = match &change.error {
        Some(Some(error)) => Some(wire::to_value(&WireError::of(error), "error")?),
        _ => None,
    };
    let session = database.session().await?;
    session
        .transaction(&fence_statement(fence), DOING, async |client| {
            let changed = client
                .execute_typed(
                    include_str!("sql/update_run.sql"),
                    &[
                        (&fence.run, Type::UUID),
                        (&state, Type::TEXT),
                        (&phase, Type::TEXT),
                        (&change.gate.is_some(), Type::BOOL),
                        (&gate, Type::TEXT),
                        (&change.reason.is_some(), Type::BOOL),
                        (&reason, Type::TEXT),
                        (&change.error.is_some(), Type::BOOL),
                        (&error, Type::JSONB),
                        (&change.lift_pause, Type::BOOL),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            if changed != 1 {
                return Err(no_such(fence.run));
            }
            if let Some(base) = &change.base {
                rebase(client, fence.run, base).await?;
            }
            if let Some(event) = &change.event {
                event::insert(client, fence.run, event, None).await?;
            }
            Ok(())
        })
        .await
}

/// Puts a new base under the live settings. Those about which it says
/// something new are dropped, and the history tells which.
async fn rebase(client: &Client, run: Uuid, base: &Base) -> Result<(), DbError> {
    let row = command::lock(client, run).await?;
    let (old, live) = command::layers(&row)?;
    let (kept, dropped) = setting::surviving(&old, base, live);
    setting::admit(run, base, &kept)?;
    command::store_layers(client, run, base, &kept).await?;
    // A worker that joined in the meantime shall hear of it.
    client
        .execute_typed(include_str!("sql/count_command.sql"), &[(&run, Type::UUID)])
        .await
        .map_err(|error| classify(&error, "change the settings"))?;
    for over in dropped {
        let message = format!(
            "The live setting {} {} of {} no longer holds: plan or environment say {} now.",
            over.key,
            over.value,
            over.by,
            setting::value(&base.settings, &over.key)
        );
        event::insert(client, run, &Event::Warning { message }, None).await?;
    }
    Ok(())
}
