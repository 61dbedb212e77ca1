//! `replication_lag`: how far each connected streaming standby is behind, in
//! seconds.
//!
//! **What is read.** `replay_lag` of `pg_stat_replication`, for physical
//! standbys that stream or catch up. A standby that has replayed everything
//! lags by 0 whatever the view says: the server leaves the last value there
//! for a while, and NULL later. Time only counts while bytes are
//! outstanding.
//!
//! **A silent standby.** A cut network freezes `replay_lag`. A receiver
//! reports at least every `wal_receiver_status_interval` (10 s by default),
//! so silence beyond 10 s is taken as lag while bytes are outstanding.
//!
//! **Unknown is not 0.** Without the rights of `pg_monitor` the columns are
//! NULL, and that is what the reading says. A standby that was seen and then
//! is gone is noticed by the throttle. Logical subscribers and base backups
//! are no standbys.

use tokio_postgres::Client;

use crate::db::postgres::sqlstate::classify;
use crate::db::{DbError, Reading};

pub(super) async fn sample(client: &Client) -> Result<Vec<Reading>, DbError> {
    let rows = client
        .query_typed(include_str!("replication_lag.sql"), &[])
        .await
        .map_err(|error| classify(&error, "read the lag of the standbys"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let name: String = row.get("name");
            let readable: bool = row.get("readable");
            Reading {
                subject: Some(format!("standby {name}")),
                value: if readable {
                    Ok(row.get("seconds"))
                } else {
                    Err(UNREADABLE.to_owned())
                },
            }
        })
        .collect())
}

/// What a role without the right sees.
const UNREADABLE: &str = "not visible to this role: GRANT pg_monitor to it";
