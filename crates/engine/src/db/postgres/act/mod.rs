//! Performs the steps that are not scans: each with its record, so that a
//! crash at any instant leaves either neither or both.
//!
//! - [`ddl`]: `Ddl` and `Sync`, under the guard, in one transaction.
//! - [`index`], [`reindex`]: indexes built and dropped concurrently; no
//!   transaction ties them to their record, so the catalog is asked.
//! - [`partition`]: any of these on a partition, as long as it is one.
//! - [`wait`]: a condition of the plan, asked until it holds.
//! - [`validate`] (also ANALYZE), [`fill`], [`sql`]: long transactions that give way when somebody
//!   waits for them.
//!
//! What is executed is the stored text, in both directions; an index build
//! alone is rendered anew, for its name carries the epoch of the lease.

mod ddl;
mod fill;
mod index;
mod long;
mod partition;
mod reindex;
mod sql;
pub(crate) mod text;
mod validate;
mod wait;

use pontoon_core::step::{Action, Concurrent, Undo};
use serde_json::Value;
use tokio_postgres::types::Type;

use super::Postgres;
use super::guard::record::Record;
use super::guard::{Guarded, perform as guarded};
use super::sqlstate::classify;
use super::store::step::number;
use super::store::wire::{self, WireStep};
use crate::db::{ActReport, Budget, DbError, Direction, ErrorKind, Fence, StepRecord};
use crate::event::Sink;

/// What every kind of step needs.
struct Act<'a> {
    database: &'a Postgres,
    fence: &'a Fence,
    no: u32,
    record: Record,
    budget: &'a Budget,
    sink: &'a Sink,
    /// For messages.
    doing: String,
}

/// Performs a step's action, or one action of its undo.
pub(crate) async fn act(
    database: &Postgres,
    fence: &Fence,
    step: &StepRecord,
    direction: Direction,
    budget: &Budget,
    sink: &Sink,
) -> Result<ActReport, DbError> {
    let no = step.step.no;
    let (stored, state, undone) = load(database, fence, no).await?;
    let record = Record::new(&stored.step, direction);
    if record.is_done(&state, undone) {
        return Ok(ActReport {
            already_done: true,
            ..ActReport::default()
        });
    }
    let (action, texts, doing) = match direction {
        Direction::Do => (
            &stored.step.action,
            stored.sql.as_slice(),
            stored.step.name.clone(),
        ),
        Direction::Undo(n) => {
            let action = match &stored.step.undo {
                Undo::Steps { actions } => actions.get(n),
                Undo::Nothing | Undo::Impossible { .. } => None,
            };
            let action = action.ok_or_else(|| {
                DbError::new(
                    ErrorKind::Internal,
                    format!("The undo of step {no} has no action {n}"),
                )
            })?;
            (
                action,
                stored.undo_sql.get(n).map_or(&[][..], Vec::as_slice),
                format!("undo: {}", stored.step.name),
            )
        }
    };
    let act = Act {
        database,
        fence,
        no,
        record,
        budget,
        sink,
        doing,
    };
    match action {
        Action::Ddl(change) => ddl::perform(&act, change, texts).await,
        Action::Sync(sync) => ddl::install(&act, sync).await,
        Action::Concurrent(statement) => concurrent(&act, statement, texts, direction).await,
        Action::Wait(condition) => wait::perform(&act, condition).await,
        Action::Sql(text) => sql::perform(&act, &text.text).await,
        Action::Backfill(_) | Action::Verify(_) => Err(DbError::new(
            ErrorKind::Internal,
            format!("{}: a scan is no single act", act.doing),
        )),
    }
}

/// A long statement. On a partition it is done where there is none any more.
async fn concurrent(
    act: &Act<'_>,
    statement: &Concurrent,
    texts: &[String],
    direction: Direction,
) -> Result<ActReport, DbError> {
    match statement {
        Concurrent::CreateIndex { table, index } => {
            index::create(act, table, index, direction).await
        }
        Concurrent::DropIndex { table, name } => index::drop(act, table, name).await,
        Concurrent::Validate { table, name, .. } => {
            validate::perform(act, table, name, texts).await
        }
        Concurrent::Reindex { table, name } => reindex::perform(act, table, name).await,
        Concurrent::Analyze { .. } => validate::analyze(act, texts).await,
        Concurrent::Fill { of, .. } => fill::perform(act, of, texts).await,
        Concurrent::OnPartition {
            partition,
            statement,
        } => partition::perform(act, partition, statement, texts, direction).await,
    }
}

/// Records a step that needs no lock: `before` is what must hold, as the body
/// of a block, and `statements` go with the record.
async fn settle(
    act: &Act<'_>,
    before: String,
    statements: Vec<String>,
) -> Result<ActReport, DbError> {
    guarded(
        act.database,
        Guarded {
            fence: act.fence,
            no: act.no,
            locks: Vec::new(),
            shows_the_new: false,
            beforehand: Vec::new(),
            before,
            statements,
            after: String::new(),
            record: act.record.clone(),
            doing: &act.doing,
        },
        act.budget,
        act.sink,
    )
    .await
}

/// The step as it stands in the database now.
async fn load(
    database: &Postgres,
    fence: &Fence,
    no: u32,
) -> Result<(WireStep, String, i32), DbError> {
    let row = database
        .session()
        .await?
        .query_typed_opt(
            include_str!("sql/step.sql"),
            &[(&fence.run, Type::UUID), (&number(no)?, Type::INT4)],
        )
        .await
        .map_err(|error| classify(&error, "read a step"))?
        .ok_or_else(|| {
            DbError::new(
                ErrorKind::Internal,
                format!("Run {} has no step {no}", fence.run),
            )
        })?;
    let definition = wire::from_value::<WireStep>(row.get::<_, Value>("definition"), "step")?;
    Ok((definition, row.get("state"), row.get("undone")))
}
