//! Which server is this?
//!
//! Three things tell servers apart. The *system identifier* is one for a
//! cluster, its standbys and its restored copies alike. The *timeline* grows
//! with each promotion: a primary with a lower one than another of the same
//! cluster was left behind by a failover, whatever it believes itself. The
//! *start of the postmaster* is the same for as long as one server process
//! lives, and never the same for two.

use tokio_postgres::{Client, SimpleQueryMessage};

use super::super::sqlstate::classify;
use crate::db::DbError;

/// A server process, and what history its data has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `pg_control_system().system_identifier`.
    pub system: String,
    /// The database.
    pub database: String,
    /// When the postmaster started, in UTC with microseconds.
    pub started: String,
    /// The timeline that it writes; `None` on a standby, and where the server
    /// does not tell.
    pub timeline: Option<u32>,
    /// It is a standby, or a primary that still recovers.
    pub recovering: bool,
    /// Its sessions may not write.
    pub read_only: bool,
}

/// The postmaster's start as text that reads the same under all settings.
const STARTED: &str = "pg_catalog.to_char(pg_catalog.timezone('UTC', pg_catalog.pg_postmaster_start_time()), 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')";

/// The timeline is in the name of the log file that is written now; the one in
/// `pg_control_checkpoint()` lags behind a promotion.
const TIMELINE: &str = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN NULL \
     ELSE pg_catalog.substr(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 1, 8) END";

/// Asks.
///
/// # Errors
/// The connection was lost. A server that does not tell everything (some
/// providers' have no log of this kind) is no error.
pub async fn identity(client: &Client) -> Result<Identity, DbError> {
    ask(client)
        .await
        .map_err(|error| classify(&error, "ask which server this is"))
}

/// The same, with the driver's error.
pub(super) async fn ask(client: &Client) -> Result<Identity, tokio_postgres::Error> {
    const SYSTEM: &str = "(SELECT system_identifier::text FROM pg_catalog.pg_control_system())";
    let mut answer = Err(None);
    for (system, timeline) in [(SYSTEM, TIMELINE), (SYSTEM, "NULL"), ("''", "NULL")] {
        let text = format!(
            "SELECT {system}, pg_catalog.current_database(), {STARTED}, pg_catalog.pg_is_in_recovery(), \
             {timeline}, pg_catalog.current_setting('transaction_read_only')"
        );
        match client.simple_query(&text).await {
            Ok(messages) => {
                answer = Ok(messages);
                break;
            }
            Err(error) if error.as_db_error().is_some() => answer = Err(Some(error)),
            Err(error) => return Err(error),
        }
    }
    let messages = match answer {
        Ok(messages) => messages,
        Err(Some(error)) => return Err(error),
        Err(None) => Vec::new(),
    };
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let column = |at: usize| row.and_then(|row| row.get(at)).unwrap_or_default();
    Ok(Identity {
        system: column(0).to_owned(),
        database: column(1).to_owned(),
        started: column(2).to_owned(),
        recovering: column(3) == "t",
        timeline: u32::from_str_radix(column(4), 16).ok(),
        read_only: column(5) == "on",
    })
}
