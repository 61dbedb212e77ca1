//! `wraparound_vacuum`: autovacuum workers on a table of the run that prevent
//! wraparound.
//!
//! They are found by the lock that a vacuum holds on its table from its
//! beginning to its end, which everybody may see; what the worker does stands
//! in its query, which a role without `pg_read_all_stats` may not.

use super::{Signals, statement};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/wraparound_vacuum.sql");
    let readings =
        statement::readings(signals, sql, "look for vacuums to prevent wraparound").await?;
    // One row in all: without a worker it names no table.
    Ok(Sample::Readings(readings))
}
