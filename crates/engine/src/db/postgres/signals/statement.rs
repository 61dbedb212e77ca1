//! The form in which most signals are read: one statement whose rows have the
//! columns `measure`, `subject`, `unknown` and `value`.

use tokio_postgres::{SimpleQueryMessage, SimpleQueryRow};
use uuid::Uuid;

use super::{Signals, TIMEOUT};
use crate::db::postgres::session::{rows, text};
use crate::db::{DbError, ErrorKind, Reading};

/// What a role without the right is told.
const HIDDEN: &str = "not visible to this role: GRANT pg_monitor to it";

/// Puts the run into a statement.
pub(super) fn run_of(sql: &str, run: Uuid) -> String {
    sql.replace(":run", &format!("'{run}'"))
        .replace(":hidden", HIDDEN)
}

/// Reads a statement; `ours` in it stands for the run's own sessions.
pub(super) async fn readings(
    signals: &mut Signals,
    sql: &str,
    doing: &str,
) -> Result<Vec<Reading>, DbError> {
    let whole = run_of(
        &format!(
            "WITH ours AS MATERIALIZED (\n{}\n) SELECT * FROM (\n{sql}\n) AS reading",
            include_str!("sql/ours.sql")
        ),
        signals.run,
    );
    let messages = signals.ask(&whole, TIMEOUT, doing).await?;
    parse(&messages)
}

fn parse(messages: &[SimpleQueryMessage]) -> Result<Vec<Reading>, DbError> {
    rows(messages).map(reading).collect()
}

fn reading(row: &SimpleQueryRow) -> Result<Reading, DbError> {
    let column = |name| row.try_get(name).ok().flatten();
    let value = match (column("unknown"), column("value")) {
        (Some(why), _) => Err(why.to_owned()),
        (None, Some(value)) => Ok(value.parse::<f64>().map_err(|_| {
            DbError::new(
                ErrorKind::Internal,
                format!("The server's reading `{value}` is no number"),
            )
        })?),
        (None, None) => Err("the server has no value".to_owned()),
    };
    Ok(Reading {
        measure: text(row, "measure")?.to_owned(),
        subject: column("subject").map(str::to_owned),
        value,
        lasting: false,
    })
}
