//! `oldest_transaction`: age of the oldest open or prepared transaction of this
//! database, in seconds.
//!
//! A hidden session (of another role, to a role without `pg_read_all_stats`)
//! only makes the reading unknown while it is in a transaction, which its lock
//! on its own virtual transaction shows to everybody.

use super::{Signals, statement};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/oldest_transaction.sql");
    let readings = statement::readings(signals, sql, "look for old transactions").await?;
    Ok(Sample::Readings(readings))
}
