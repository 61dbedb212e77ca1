//! Readers of hot standbys.
//!
//! A standby replays every ACCESS EXCLUSIVE lock of its primary. A query there
//! that has the table open holds the replay up, and with it all that readers
//! of that standby see, until `max_standby_streaming_delay` is over; then the
//! query is cancelled. No budget on the primary bounds that. So a plan that
//! takes such locks while standbys are connected either has the standbys
//! watched (`replica_urls_env`, `--replica-url`): then no such lock is asked
//! for while a transaction there has been reading the table for longer than a
//! try would last; or its author acknowledges it (`acknowledge: [standby]`).
//!
//! What remains: a reader that begins between the look and the replay, and
//! then goes on for long. Standbys of standbys are not seen by the primary;
//! name their addresses too.

use std::time::Duration;

use pontoon_core::step::LockMode;

use super::Postgres;
use super::connect::{ConnectOptions, Purpose, connect, identity};
use super::guard::locks::{InTheWay, Lock, in_the_way};
use super::session::{Session, rows};
use super::sqlstate::classify;
use crate::db::{DbError, ErrorKind};
use crate::event::Blocker;

/// What a standby may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Physical standbys that are connected now. What only receives the log is
/// left out where that can be seen.
const CONNECTED: &str = "
    SELECT coalesce(nullif(r.application_name, ''), 'pid ' || r.pid) AS name
    FROM pg_catalog.pg_stat_replication r
    WHERE (r.state IS NULL AND r.application_name <> 'pg_basebackup'
           OR r.state IN ('streaming', 'catchup') AND r.replay_lsn IS NOT NULL)
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_replication_slots s
          WHERE s.active_pid = r.pid AND s.slot_type = 'logical')
    ORDER BY 1";

/// The names of connected standbys, when not all of them are watched.
///
/// # Errors
/// [`ErrorKind::Refused`] when a given address leads to anything but a standby
/// of this server.
pub(crate) async fn unwatched(database: &Postgres) -> Result<Vec<String>, DbError> {
    const DOING: &str = "look for standbys";
    let session = database.session().await?;
    let here = identity(&session).await?;
    for options in database.replicas.iter() {
        let replica = open(options).await?;
        let there = identity(&replica).await?;
        let shown = options.display();
        let wrong = if (&here.system, &here.database) != (&there.system, &there.database) {
            "leads to another server or database"
        } else if !there.recovering {
            "leads to no standby"
        } else {
            continue;
        };
        return Err(DbError::new(
            ErrorKind::Refused,
            format!("The replica's address {shown} {wrong}; nothing was changed"),
        )
        .hint("Give the address of each standby, with the same database."));
    }
    let messages = session
        .simple_query(CONNECTED)
        .await
        .map_err(|error| classify(&error, DOING))?;
    let names: Vec<String> = rows(&messages)
        .filter_map(|row| row.get(0).map(str::to_owned))
        .collect();
    Ok(match names.len() > database.replicas.len() {
        true => names,
        false => Vec::new(),
    })
}

/// The readers of all standbys that are watched.
pub(crate) struct Readers<'a> {
    standbys: Vec<(&'a ConnectOptions, Option<Session>)>,
}

impl<'a> Readers<'a> {
    pub(crate) fn new(database: &'a Postgres) -> Self {
        Self {
            standbys: database
                .replicas
                .iter()
                .map(|options| (options, None))
                .collect(),
        }
    }

    /// Whoever reads, on a standby, a table for which ACCESS EXCLUSIVE is
    /// wanted. A standby that cannot be asked is in the way itself: nobody
    /// knows who reads there.
    pub(crate) async fn in_the_way(&mut self, locks: &[Lock]) -> Vec<InTheWay> {
        let strong: Vec<Lock> = locks
            .iter()
            .filter(|lock| lock.mode == LockMode::AccessExclusive)
            .cloned()
            .collect();
        let Some(first) = strong.first() else {
            return Vec::new();
        };
        let mut found = Vec::new();
        for (options, session) in &mut self.standbys {
            let looked =
                tokio::time::timeout(TIMEOUT, look(options, session.take(), &strong)).await;
            let why = match looked {
                Ok(Ok((kept, readers))) => {
                    *session = Some(kept);
                    found.extend(readers);
                    continue;
                }
                Ok(Err(error)) => error.message,
                Err(_) => format!("no answer within {} s", TIMEOUT.as_secs()),
            };
            found.push(silent(options, &why, first));
        }
        found
    }
}

async fn open(options: &ConnectOptions) -> Result<Session, DbError> {
    Ok(Session::own(connect(options, Purpose::Watch).await?))
}

async fn look(
    options: &ConnectOptions,
    session: Option<Session>,
    locks: &[Lock],
) -> Result<(Session, Vec<InTheWay>), DbError> {
    let session = match session {
        Some(session) if !session.is_closed() => session,
        _ => open(options).await?,
    };
    let mut readers = in_the_way(&session, locks, &[]).await?;
    // Replay itself holds the lock for a moment, and belongs to nobody.
    readers.retain(|reader| reader.blocker.user.is_some());
    for reader in &mut readers {
        let place = options.display();
        reader.blocker.relation = format!("{} on standby {place}", reader.blocker.relation);
        reader.owner = format!("{place} {}", reader.owner);
    }
    Ok((session, readers))
}

fn silent(options: &ConnectOptions, why: &str, lock: &Lock) -> InTheWay {
    let place = options.display();
    InTheWay {
        blocker: Blocker {
            pid: 0,
            gid: None,
            user: None,
            application: Some(format!("standby {place} cannot be asked: {why}")),
            state: None,
            age_ms: 0,
            mode: "an unknown lock".to_owned(),
            relation: format!("{} on standby {place}", lock.table),
            query: None,
        },
        owner: place,
        age_ms: None,
        yields: false,
    }
}
