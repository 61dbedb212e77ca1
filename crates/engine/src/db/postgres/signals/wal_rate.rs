//! `wal_rate`: bytes of log per second, over the last five seconds on the
//! server's clock.

use std::sync::PoisonError;

use super::{Signals, statement};
use crate::db::{DbError, Reading, Sample};

/// Seconds over which the rate is taken.
const WINDOW: f64 = 5.0;
/// Over less than this a rate says nothing.
const LEAST: f64 = 0.5;

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    let sql = include_str!("sql/wal_rate.sql");
    let readings = statement::readings(signals, sql, "read the position in the log").await?;
    let Some((at, position)) = counter(&readings) else {
        return Ok(Sample::NotYet);
    };
    let mut window = signals
        .database
        .inner
        .history
        .wal
        .lock()
        .unwrap_or_else(PoisonError::into_inner);
    let (bytes, seconds) = window.grown(at, position, WINDOW);
    Ok(match seconds >= LEAST {
        true => Sample::Readings(vec![Reading::new(bytes / seconds)]),
        false => Sample::NotYet,
    })
}

/// A counter and its time on the server's clock.
pub(super) fn counter(readings: &[Reading]) -> Option<(f64, f64)> {
    let reading = readings.first()?;
    let at = reading.subject.as_ref()?.parse().ok()?;
    Some((at, *reading.value.as_ref().ok()?))
}
