//! `query`: a number that the plan's SQL returns.
//!
//! It runs in a read-only transaction under a `statement_timeout`, in brackets
//! (`SELECT * FROM (…)`), so that whatever it is, it is one query, and on a
//! connection of its own, so that nobody waits for it.

use pontoon_core::plan::signals::Watched;
use tokio_postgres::SimpleQueryRow;

use super::Signals;
use crate::db::postgres::session::rows;
use crate::db::{DbError, ErrorKind, Reading, Sample};

/// Rows that are read.
const MOST: usize = 100;

pub(super) async fn sample(signals: &mut Signals, watched: &Watched) -> Result<Sample, DbError> {
    let sql = watched.query().unwrap_or_default();
    let whole = format!("SELECT * FROM (\n{sql}\n) AS q LIMIT {MOST}");
    let messages = signals
        .ask(&whole, watched.timeout(), "run the query")
        .await?;
    let readings = rows(&messages)
        .map(reading)
        .collect::<Result<Vec<_>, _>>()?;
    if readings.is_empty() {
        return Err(unusable("it returned no row"));
    }
    Ok(Sample::Readings(readings))
}

fn reading(row: &SimpleQueryRow) -> Result<Reading, DbError> {
    let (subject, value) = match row.len() {
        1 => (None, row.get(0)),
        2 => (row.get(0), row.get(1)),
        n => {
            return Err(unusable(&format!(
                "it returned {n} columns: expected a number, or a name and a number"
            )));
        }
    };
    let value = match value {
        Some("t") => 1.0,
        Some("f") => 0.0,
        Some(text) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => value,
            _ => return Err(unusable("it returned what is no number")),
        },
        None => return Err(unusable("it returned NULL")),
    };
    let reading = Reading::new(value);
    Ok(match subject {
        Some(subject) => reading.of(subject.chars().take(80).collect::<String>()),
        None => reading,
    })
}

fn unusable(why: &str) -> DbError {
    DbError::new(ErrorKind::Failed, format!("run the query: {why}"))
}
