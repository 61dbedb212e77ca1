//! `active_sessions`: application sessions that execute a statement now.
//!
//! Where a session of another role is hidden from us, the count is unknown.

use super::{Signals, statement};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/active_sessions.sql");
    let readings = statement::readings(signals, sql, "count the active sessions").await?;
    Ok(Sample::Readings(readings))
}
