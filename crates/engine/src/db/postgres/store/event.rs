//! Events: what happened, on the database's clock.

use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::fence::fence_statement;
use super::super::sqlstate::classify;
use super::wire;
use crate::db::{DbError, Fence, StoredEvent};
use crate::event::Event;

const DOING: &str = "write an event";

/// Appends an event within the caller's transaction; without `by` it was
/// caused by the holder of the lease.
pub(crate) async fn insert(
    client: &Client,
    run: Uuid,
    event: &Event,
    by: Option<&str>,
) -> Result<(), DbError> {
    let value = wire::event_value(event)?;
    client
        .execute_typed(
            include_str!("sql/insert_event.sql"),
            &[(&run, Type::UUID), (&value, Type::JSONB), (&by, Type::TEXT)],
        )
        .await
        .map_err(|error| classify(&error, DOING))?;
    Ok(())
}

/// Appends an event.
pub(crate) async fn append(
    database: &Postgres,
    fence: &Fence,
    event: &Event,
) -> Result<(), DbError> {
    let session = database.session().await?;
    session
        .transaction(&fence_statement(fence), DOING, async |client| {
            insert(client, fence.run, event, None).await
        })
        .await
}

/// Events of a run, oldest first.
pub(crate) async fn events(database: &Postgres, run: Uuid) -> Result<Vec<StoredEvent>, DbError> {
    let session = database.session().await?;
    let rows = session
        .query_typed(include_str!("sql/select_events.sql"), &[(&run, Type::UUID)])
        .await
        .map_err(|error| classify(&error, "read the events"))?;
    Ok(rows
        .iter()
        .map(|row| StoredEvent {
            at: row.get("at"),
            by: row.get("by"),
            event: wire::read_event(row.get("event")),
        })
        .collect())
}
