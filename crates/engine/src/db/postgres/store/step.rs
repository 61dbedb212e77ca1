//! Steps.

use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::fence::fence_statement;
use super::super::sqlstate::classify;
use super::event;
use super::wire::{self, WireStep};
use crate::db::{DbError, ErrorKind, Fence, StepChange, StepRecord};

/// A step's number as the database holds it.
pub(crate) fn number(no: u32) -> Result<i32, DbError> {
    i32::try_from(no).map_err(|_| {
        DbError::new(
            ErrorKind::Internal,
            format!("Step number {no} is too large"),
        )
    })
}

/// The steps of a run, in order.
pub(crate) async fn steps(database: &Postgres, run: Uuid) -> Result<Vec<StepRecord>, DbError> {
    let session = database.session().await?;
    session
        .query_typed(include_str!("sql/select_steps.sql"), &[(&run, Type::UUID)])
        .await
        .map_err(|error| classify(&error, "read the steps"))?
        .iter()
        .map(|row| {
            let definition: WireStep = wire::from_value(row.get("definition"), "step")?;
            Ok(StepRecord {
                step: definition.step,
                sql: definition.sql,
                state: wire::step_state(row.get("state"))?,
                undone: usize::try_from(row.get::<_, i32>("undone")).unwrap_or_default(),
                attempts: u32::try_from(row.get::<_, i32>("attempts")).unwrap_or_default(),
                wait_ms: row.get("wait_ms"),
                hold_ms: row.get("hold_ms"),
                rows: u64::try_from(row.get::<_, i64>("rows")).unwrap_or_default(),
                detail: row.get::<_, Value>("detail"),
            })
        })
        .collect()
}

/// Changes a step's record where that is not part of its own transaction.
pub(crate) async fn update(
    database: &Postgres,
    fence: &Fence,
    no: u32,
    change: &StepChange,
) -> Result<(), DbError> {
    const DOING: &str = "change the step's record";
    let no = number(no)?;
    let undone = change
        .undone
        .map(|undone| i32::try_from(undone).unwrap_or(i32::MAX));
    let rows = change
        .rows
        .map(|rows| i64::try_from(rows).unwrap_or(i64::MAX));
    let session = database.session().await?;
    session
        .transaction(&fence_statement(fence), DOING, async |client| {
            let changed = client
                .execute_typed(
                    include_str!("sql/update_step.sql"),
                    &[
                        (&fence.run, Type::UUID),
                        (&no, Type::INT4),
                        (&wire::step_state_name(change.state), Type::TEXT),
                        (&undone, Type::INT4),
                        (&rows, Type::INT8),
                        (&change.detail, Type::JSONB),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            if changed != 1 {
                return Err(DbError::new(
                    ErrorKind::Internal,
                    format!("Run {} has no step {no}", fence.run),
                ));
            }
            if let Some(event) = &change.event {
                event::insert(client, fence.run, event, None).await?;
            }
            Ok(())
        })
        .await
}
