//! `archiver_backlog`: finished segments of the log that have not been
//! archived.
//!
//! From the name of the last archived segment and the current one, which every
//! role may see: a directory with a million files is not read to know that it
//! is long. Where the statistics know neither a success nor a failure, the
//! `.ready` files are counted, for which a role needs `pg_monitor`.

use super::{Signals, statement};
use crate::db::{DbError, Reading, Sample};

/// The server's word for a missing right.
const NO_RIGHT: &str = "42501";

pub(super) async fn sample(signals: &mut Signals) -> Result<Sample, DbError> {
    const DOING: &str = "read how far the archive is";
    let sql = include_str!("sql/archiver_backlog.sql");
    let readings = statement::readings(signals, sql, DOING).await?;
    if readings.iter().all(|reading| reading.value.is_ok()) {
        return Ok(Sample::Readings(readings));
    }
    let files = statement::readings(signals, include_str!("sql/archiver_files.sql"), DOING).await;
    Ok(Sample::Readings(match files {
        Ok(readings) => readings,
        Err(error) if error.code.as_deref() == Some(NO_RIGHT) => vec![Reading {
            value: Err(
                "no segment was archived since the statistics were reset, and this role may not \
                 look at the files: GRANT pg_monitor to it"
                    .to_owned(),
            ),
            ..Reading::new(0.0)
        }],
        Err(error) => return Err(error),
    }))
}
