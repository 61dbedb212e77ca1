//! `checkpoint_requests`: checkpoints that came before their time, by how many
//! more within the last five minutes. The server only keeps a sum, so what
//! came before we looked first is not counted.

use std::sync::PoisonError;

use super::wal_rate::counter;
use super::{Signals, statement};
use crate::db::{DbError, Reading, Sample};

/// Seconds within which checkpoints are counted.
const WINDOW: f64 = 300.0;

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = match signals.version().await? {
        ..=16 => include_str!("sql/checkpoint_requests.sql"),
        17.. => include_str!("sql/checkpoint_requests_17.sql"),
    };
    let readings = statement::readings(signals, sql, "count the checkpoints").await?;
    let Some((at, count)) = counter(&readings) else {
        return Ok(Sample::NotYet);
    };
    let mut window = signals
        .database
        .inner
        .history
        .checkpoints
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (more, _) = window.grown(at, count, WINDOW);
    Ok(Sample::Readings(vec![Reading::new(more)]))
}
