//! `lock_waits`: sessions of this database that wait for a lock of anybody.

use super::{Signals, statement};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/lock_waits.sql");
    let readings =
        statement::readings(signals, sql, "count the sessions that wait for locks").await?;
    Ok(Sample::Readings(readings))
}
