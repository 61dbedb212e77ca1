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
use crate::db::{DbError, ErrorKind};

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
/// The connection was lost. A server that does not know its timeline (some
/// providers' have no log of this kind) is no error.
pub async fn identity(client: &Client) -> Result<Identity, DbError> {
    let text = |timeline: &str| {
        format!(
            "SELECT (SELECT system_identifier::text FROM pg_catalog.pg_control_system()), \
             pg_catalog.current_database(), {STARTED}, pg_catalog.pg_is_in_recovery(), {timeline}"
        )
    };
    let doing = "ask which server this is";
    let messages = match client.simple_query(&text(TIMELINE)).await {
        Err(error) if error.as_db_error().is_some() => client.simple_query(&text("NULL")).await,
        answer => answer,
    };
    let messages = messages.map_err(|error| classify(&error, doing))?;
    let row = messages.iter().find_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let column = |at: usize| row.and_then(|row| row.get(at));
    let (Some(system), Some(database), Some(started), Some(recovering)) =
        (column(0), column(1), column(2), column(3))
    else {
        return Err(DbError::new(
            ErrorKind::Internal,
            format!("{doing}: the server's answer lacks something"),
        ));
    };
    Ok(Identity {
        system: system.to_owned(),
        database: database.to_owned(),
        started: started.to_owned(),
        timeline: column(4).and_then(|text| u32::from_str_radix(text, 16).ok()),
        recovering: recovering == "t",
    })
}
