//! Who else is at work on the server.
//!
//! A session counts that executes a statement, or has ended one in the last
//! seconds: one that pauses between two statements is at work, one that a pool
//! keeps in reserve is not. Ours are told by the purpose in their
//! `application_name`; those of other runs are no application either.

use super::{Signals, TIMEOUT, text_array};
use crate::db::postgres::connect::Purpose;
use crate::db::postgres::session::{rows, text};
use crate::db::{Company, DbError, ErrorKind};

pub(super) async fn ask(signals: &mut Signals) -> Result<Company, DbError> {
    const DOING: &str = "see who else is at work";
    let ours: Vec<String> = Purpose::ALL
        .iter()
        .map(|purpose| purpose.word().to_owned())
        .collect();
    let sql = include_str!("sql/company.sql").replace(":ours", &text_array(&ours));
    let messages = signals.ask(&sql, TIMEOUT, DOING).await?;
    let none = || DbError::new(ErrorKind::Internal, format!("{DOING}: no answer"));
    let row = rows(&messages).next().ok_or_else(none)?;
    if text(row, "hidden")? == "t" {
        return Ok(Company::Hidden);
    }
    let sessions = text(row, "sessions")?.parse().map_err(|_| none())?;
    Ok(Company::Sessions(sessions))
}
