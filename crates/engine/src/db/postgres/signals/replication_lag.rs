//! `replication_lag`: how far each streaming standby is behind, in time and in
//! bytes, and what replication slots keep of the log.
//!
//! **Time** is `replay_lag` of `pg_stat_replication`, for physical standbys
//! that stream or catch up. A standby that has replayed everything lags by 0
//! whatever the view says: the server leaves the last value there for a while,
//! and NULL later. Time only counts while bytes are outstanding.
//!
//! **A silent standby.** A cut network freezes `replay_lag`. A receiver
//! reports at least every `wal_receiver_status_interval` (10 s by default),
//! so silence beyond 10 s is taken as lag while bytes are outstanding.
//!
//! **Unknown is not 0.** Without the rights of `pg_monitor` the columns are
//! NULL, and that is what the reading says. A standby that was seen and then
//! is gone is noticed by the throttle. Logical subscribers and base backups
//! are no standbys; their slots are slots.

use pontoon_core::plan::signals::Watched;

use super::{Signals, statement, text_array};
use crate::db::{DbError, Sample};

pub(super) async fn sample(signals: &mut Signals, watched: &Watched) -> Result<Sample, DbError> {
    let sql = include_str!("sql/replication_lag.sql")
        .replace(":except", &text_array(watched.list("except")));
    let mut readings = statement::readings(signals, &sql, "read the lag of the standbys").await?;
    for reading in &mut readings {
        // A slot that was dropped is no loss; a standby that is gone may be.
        reading.lasting = reading.measure == "limit";
    }
    Ok(Sample::Readings(readings))
}
