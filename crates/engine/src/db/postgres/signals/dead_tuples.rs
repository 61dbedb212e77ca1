//! `dead_tuples`: dead rows of the tables that the run scans now, as a share
//! and as a number.

use super::{Signals, statement};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/dead_tuples.sql");
    let readings = statement::readings(signals, sql, "read the tables' statistics").await?;
    Ok(Sample::Readings(readings))
}
