//! `blocked_sessions`: how many sessions wait for a lock of ours.
//!
//! Ours are the sessions that hold the run's advisory lock. A waiter is counted
//! when `pg_blocking_pids` names one of them, our own waiters left out.

use super::{Signals, statement};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/blocked_sessions.sql");
    let readings = statement::readings(signals, sql, "count the sessions that wait for us").await?;
    Ok(Sample::Readings(readings))
}
