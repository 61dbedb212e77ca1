//! `blocked_sessions`: how many sessions wait for a lock of ours.
//!
//! Ours are the sessions that hold the run's advisory lock: every transaction
//! of the run does, whichever process it belongs to. A waiter is counted when
//! `pg_blocking_pids` names one of them, our own waiters left out. Needs no
//! right beyond `CONNECT`.

use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use crate::db::postgres::sqlstate::classify;
use crate::db::{DbError, Reading};

pub(super) async fn sample(client: &Client, run: Uuid) -> Result<Vec<Reading>, DbError> {
    let row = client
        .query_typed_one(include_str!("blocked_sessions.sql"), &[(&run, Type::UUID)])
        .await
        .map_err(|error| classify(&error, "count the sessions that wait for us"))?;
    Ok(vec![Reading {
        subject: None,
        value: Ok(f64::from(row.get::<_, i32>("blocked"))),
    }])
}
