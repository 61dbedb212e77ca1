//! Workers: processes that help the holder of a run with its ranges.
//!
//! A worker joins a *term* of the lease, with a token of its own. It passes
//! the fence of batches for as long as that very term lasts and its own row
//! stands there, so a takeover ends every membership at the moment at which
//! it writes its token, and waits for the workers' transactions as it waits
//! for the former holder's. A worker prolongs its membership as the holder
//! does the lease. One that was not heard of for its whole time loses it to
//! whoever prolongs next, and its ranges to whoever asks for one; should it
//! wake up, it is fenced, and joins again.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::super::Postgres;
use super::super::fence::same_server;
use super::super::sqlstate::classify;
use super::event;
use super::lease::{fenced, micros};
use super::run::no_such;
use super::wire::{self, WireHolder};
use crate::db::{Beat, DbError, Fence, Holder, Live, Role};
use crate::event::Event;

/// Joins the holder of the lease; `None` when nobody holds it.
pub(crate) async fn join(
    database: &Postgres,
    run: Uuid,
    holder: &Holder,
    ttl: Duration,
) -> Result<Option<Fence>, DbError> {
    const DOING: &str = "join the run";
    let value = wire::to_value(&WireHolder::of(holder), "holder")?;
    let session = database.session().await?;
    session
        .transaction("", DOING, async |client| {
            end_memberships(client, run).await?;
            let row = client
                .query_typed_opt(
                    include_str!("sql/join.sql"),
                    &[
                        (&run, Type::UUID),
                        (&value, Type::JSONB),
                        (&micros(ttl), Type::FLOAT8),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            let Some(row) = row else {
                return Ok(None);
            };
            let worker = holder.name();
            event::insert(client, run, &Event::WorkerJoined { worker }, None).await?;
            Ok(Some(Fence {
                run,
                epoch: row
                    .get::<_, Option<i64>>("epoch")
                    .ok_or_else(|| no_such(run))?,
                token: row.get("token"),
                server: row.get("server"),
                role: Role::Worker,
            }))
        })
        .await
}

/// Prolongs a membership.
pub(super) async fn renew(
    database: &Postgres,
    fence: &Fence,
    ttl: Duration,
    live: &Live,
) -> Result<Beat, DbError> {
    const DOING: &str = "prolong the membership";
    let live = wire::to_value(live, "heartbeat")?;
    let session = database.session().await?;
    session
        .transaction(&same_server(fence), DOING, async |client| {
            let row = client
                .query_typed_opt(
                    include_str!("sql/renew_worker.sql"),
                    &[
                        (&fence.run, Type::UUID),
                        (&fence.token, Type::UUID),
                        (&micros(ttl), Type::FLOAT8),
                        (&live, Type::JSONB),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?
                .ok_or_else(|| fenced(fence))?;
            end_memberships(client, fence.run).await?;
            Ok(super::lease::beat(&row))
        })
        .await
}

/// Ends a membership; its ranges are free from then on.
pub(super) async fn leave(database: &Postgres, fence: &Fence) -> Result<(), DbError> {
    const DOING: &str = "leave the run";
    let session = database.session().await?;
    session
        .transaction("", DOING, async |client| {
            let row = client
                .query_typed_opt(
                    include_str!("sql/leave.sql"),
                    &[(&fence.run, Type::UUID), (&fence.token, Type::UUID)],
                )
                .await
                .map_err(|error| classify(&error, DOING))?
                .ok_or_else(|| fenced(fence))?;
            let (worker, rows) = gone(&row)?;
            event::insert(client, fence.run, &Event::WorkerLeft { worker, rows }, None).await
        })
        .await
}

/// Ends memberships of other terms and of processes that were not heard of.
pub(super) async fn end_memberships(client: &Client, run: Uuid) -> Result<(), DbError> {
    let ended = client
        .query_typed(
            include_str!("sql/end_memberships.sql"),
            &[(&run, Type::UUID)],
        )
        .await
        .map_err(|error| classify(&error, "end memberships"))?;
    for row in &ended {
        let (worker, rows) = gone(row)?;
        event::insert(client, run, &Event::WorkerLost { worker, rows }, None).await?;
    }
    Ok(())
}

/// Who it was, and how many rows it had changed at its last heartbeat.
fn gone(row: &Row) -> Result<(String, u64), DbError> {
    let holder = wire::from_value::<WireHolder>(row.get("holder"), "holder")?.read();
    let live = match row.get::<_, Option<Value>>("live") {
        Some(live) => wire::from_value::<Live>(live, "heartbeat")?,
        None => Live::default(),
    };
    Ok((holder.name(), live.own.rows))
}
