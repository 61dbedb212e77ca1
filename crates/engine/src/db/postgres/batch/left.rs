//! Whether a backfill has left anything.

use pontoon_core::sql::quote::{quote_literal, quote_table};
use pontoon_core::step::Backfill;

use super::work::{ROW, Work};
use crate::db::DbError;
use crate::db::postgres::Postgres;
use crate::db::postgres::session::{rows, text};

/// A lock on the table that is waited for; row locks are not.
const LOCK_TIMEOUT: &str = "10s";

/// One look. Part of the waist.
///
/// Nothing of it is fenced: it changes nothing, and a term that ends meanwhile
/// does not have to wait for it. It cannot run on a standby's or an old
/// primary's data either: what follows from the answer is written under the
/// fence, or fails there.
pub(crate) async fn is_left(database: &Postgres, backfill: &Backfill) -> Result<bool, DbError> {
    let work = Work::of(&backfill.work);
    let mut settings = vec![
        ("lock_timeout", LOCK_TIMEOUT),
        ("statement_timeout", "0"),
        ("row_security", "off"),
        ("jit", "off"),
    ];
    settings.extend(&work.pins);
    let settings: Vec<String> = settings
        .iter()
        .map(|(name, value)| {
            format!(
                "pg_catalog.set_config({}, {}, true)",
                quote_literal(name),
                quote_literal(value)
            )
        })
        .collect();
    let message = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED, READ ONLY;\nSELECT {};\n\
         SELECT EXISTS (SELECT FROM {} AS {ROW} WHERE {}) AS found;\nCOMMIT",
        settings.join(", "),
        quote_table(&backfill.table),
        work.needs,
    );
    let session = database.batch_session().await?;
    let messages = session
        .one_message(&message, "look for rows that are left")
        .await?;
    let found = rows(&messages)
        .last()
        .map(|row| text(row, "found"))
        .transpose()?;
    Ok(found == Some("t"))
}
