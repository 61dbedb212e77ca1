//! Which locks a step takes, on which tables, and who stands in their way.
//!
//! The modes and their conflicts are PostgreSQL's (manual, "Explicit
//! Locking", table 13.2).

use pontoon_core::name::TableName;
use pontoon_core::sql::quote::quote_table;
use pontoon_core::step::LockMode;
use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::sqlstate::classify;
use crate::db::DbError;
use crate::event::Blocker;

/// A lock that a step asks for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wanted {
    /// The table.
    pub(crate) table: TableName,
    /// The mode.
    pub(crate) mode: LockMode,
    /// Also on its partitions and inheritance children.
    pub(crate) recurse: bool,
}

/// A lock on a table that exists.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Lock {
    /// `pg_class.oid`.
    pub(crate) oid: u32,
    /// The table.
    pub(crate) table: TableName,
    /// The mode.
    pub(crate) mode: LockMode,
    /// Our role may take it with LOCK TABLE.
    pub(crate) lockable: bool,
}

impl Lock {
    /// The table for LOCK TABLE: itself, not its children, which have entries
    /// of their own.
    pub(crate) fn only(&self) -> String {
        format!("ONLY {}", quote_table(&self.table))
    }
}

const MODES: [LockMode; 8] = [
    LockMode::AccessShare,
    LockMode::RowShare,
    LockMode::RowExclusive,
    LockMode::ShareUpdateExclusive,
    LockMode::Share,
    LockMode::ShareRowExclusive,
    LockMode::Exclusive,
    LockMode::AccessExclusive,
];

/// 1 for the weakest to 8 for the strongest.
fn strength(mode: LockMode) -> i32 {
    match mode {
        LockMode::AccessShare => 1,
        LockMode::RowShare => 2,
        LockMode::RowExclusive => 3,
        LockMode::ShareUpdateExclusive => 4,
        LockMode::Share => 5,
        LockMode::ShareRowExclusive => 6,
        LockMode::Exclusive => 7,
        LockMode::AccessExclusive => 8,
    }
}

/// As `LOCK TABLE … IN … MODE` writes it.
pub(crate) fn words(mode: LockMode) -> &'static str {
    match mode {
        LockMode::AccessShare => "ACCESS SHARE",
        LockMode::RowShare => "ROW SHARE",
        LockMode::RowExclusive => "ROW EXCLUSIVE",
        LockMode::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
        LockMode::Share => "SHARE",
        LockMode::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
        LockMode::Exclusive => "EXCLUSIVE",
        LockMode::AccessExclusive => "ACCESS EXCLUSIVE",
    }
}

/// As `pg_locks.mode` writes it.
fn from_pg_locks(mode: &str) -> Option<LockMode> {
    match mode {
        "AccessShareLock" => Some(LockMode::AccessShare),
        "RowShareLock" => Some(LockMode::RowShare),
        "RowExclusiveLock" => Some(LockMode::RowExclusive),
        "ShareUpdateExclusiveLock" => Some(LockMode::ShareUpdateExclusive),
        "ShareLock" => Some(LockMode::Share),
        "ShareRowExclusiveLock" => Some(LockMode::ShareRowExclusive),
        "ExclusiveLock" => Some(LockMode::Exclusive),
        "AccessExclusiveLock" => Some(LockMode::AccessExclusive),
        _ => None,
    }
}

/// The modes with which a mode conflicts.
fn conflicts_of(mode: LockMode) -> &'static [LockMode] {
    use LockMode::{
        AccessExclusive, AccessShare, Exclusive, RowExclusive, RowShare, Share, ShareRowExclusive,
        ShareUpdateExclusive,
    };
    match mode {
        AccessShare => &[AccessExclusive],
        RowShare => &[Exclusive, AccessExclusive],
        RowExclusive => &[Share, ShareRowExclusive, Exclusive, AccessExclusive],
        ShareUpdateExclusive => &[
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ],
        Share => &[
            RowExclusive,
            ShareUpdateExclusive,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ],
        ShareRowExclusive => &[
            RowExclusive,
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ],
        Exclusive => &[
            RowShare,
            RowExclusive,
            ShareUpdateExclusive,
            Share,
            ShareRowExclusive,
            Exclusive,
            AccessExclusive,
        ],
        AccessExclusive => &MODES,
    }
}

/// Can two transactions not hold both at the same time?
pub(crate) fn conflict(one: LockMode, other: LockMode) -> bool {
    conflicts_of(one).contains(&other)
}

/// The locks of a step on the tables as they are now: with partitions and
/// inheritance children, each table once with its strongest mode, in a fixed
/// order that begins with the step's own first table.
pub(crate) async fn expand(client: &Client, wanted: &[Wanted]) -> Result<Vec<Lock>, DbError> {
    let schemas: Vec<&str> = wanted
        .iter()
        .map(|lock| lock.table.schema.as_str())
        .collect();
    let names: Vec<&str> = wanted.iter().map(|lock| lock.table.name.as_str()).collect();
    let strengths: Vec<i32> = wanted.iter().map(|lock| strength(lock.mode)).collect();
    let recurse: Vec<bool> = wanted.iter().map(|lock| lock.recurse).collect();
    let rows = client
        .query_typed(
            include_str!("sql/expand.sql"),
            &[
                (&schemas, Type::TEXT_ARRAY),
                (&names, Type::TEXT_ARRAY),
                (&strengths, Type::INT4_ARRAY),
                (&recurse, Type::BOOL_ARRAY),
            ],
        )
        .await
        .map_err(|error| classify(&error, "predict the locks of a step"))?;
    Ok(rows
        .iter()
        .map(|row| {
            let wanted: i32 = row.get("strength");
            Lock {
                oid: row.get("oid"),
                table: TableName::new(
                    row.get::<_, String>("schema_name"),
                    row.get::<_, String>("table_name"),
                ),
                mode: MODES
                    .into_iter()
                    .find(|mode| strength(*mode) == wanted)
                    .unwrap_or(LockMode::AccessExclusive),
                lockable: row.get("lockable"),
            }
        })
        .collect())
}

/// Someone who holds a lock that conflicts with one of ours.
#[derive(Clone, Debug)]
pub(crate) struct InTheWay {
    /// As people see it.
    pub(crate) blocker: Blocker,
    /// Names the transaction, also where its age is hidden from us.
    pub(crate) owner: String,
    /// Age of its transaction in milliseconds; `None` when our role may not see it.
    pub(crate) age_ms: Option<f64>,
    /// An autovacuum worker that yields to whoever waits for it.
    pub(crate) yields: bool,
}

/// Everyone whose granted locks conflict with these, ours left out.
pub(crate) async fn in_the_way(
    client: &Client,
    locks: &[Lock],
    our_pids: &[i32],
) -> Result<Vec<InTheWay>, DbError> {
    let oids: Vec<u32> = locks.iter().map(|lock| lock.oid).collect();
    let rows = client
        .query_typed(
            include_str!("sql/holders.sql"),
            &[(&oids, Type::OID_ARRAY), (&our_pids, Type::INT4_ARRAY)],
        )
        .await
        .map_err(|error| classify(&error, "look who holds locks"))?;
    let mut found = Vec::new();
    for row in &rows {
        let oid: u32 = row.get("oid");
        let mode: &str = row.get("mode");
        let Some(lock) = locks.iter().find(|lock| lock.oid == oid) else {
            continue;
        };
        let Some(held) = from_pg_locks(mode).filter(|held| conflict(lock.mode, *held)) else {
            continue;
        };
        let query: Option<&str> = row.get("query");
        let age_ms: Option<f64> = row.get("age_ms");
        let backend_type: Option<&str> = row.get("backend_type");
        // What vacuums against wraparound does not yield, and says so. A role
        // that may not see the query learns it from the wait.
        let yields = held == LockMode::ShareUpdateExclusive
            && backend_type.is_none_or(|kind| kind == "autovacuum worker")
            && row.get::<_, Option<&str>>("gid").is_none()
            && row.get::<_, Option<&str>>("usename").is_none()
            && !query.is_some_and(|query| query.contains("(to prevent wraparound)"));
        found.push(InTheWay {
            blocker: Blocker {
                pid: row.get("pid"),
                gid: row.get("gid"),
                user: row.get("usename"),
                application: row.get("application_name"),
                state: row.get("state"),
                age_ms: age_ms.map_or(0, |age| age.max(0.0) as u64),
                mode: mode.to_owned(),
                relation: lock.table.to_string(),
                query: query.map(str::to_owned),
            },
            owner: row.get("owner"),
            age_ms,
            yields,
        });
    }
    Ok(found)
}

/// Everyone whose snapshot is older than the end of the run's last backfill or
/// verify pass, ours left out: to them the new shape is still unfilled.
pub(crate) async fn old_snapshots(
    client: &Client,
    run: Uuid,
    locks: &[Lock],
    our_pids: &[i32],
) -> Result<Vec<InTheWay>, DbError> {
    let rows = client
        .query_typed(
            include_str!("sql/snapshots.sql"),
            &[(&run, Type::UUID), (&our_pids, Type::INT4_ARRAY)],
        )
        .await
        .map_err(|error| classify(&error, "look for old snapshots"))?;
    let relation = locks.first().map(|lock| lock.table.to_string());
    Ok(rows
        .iter()
        .map(|row| {
            let pid: i32 = row.get("pid");
            let age_ms: Option<f64> = row.get("age_ms");
            InTheWay {
                blocker: Blocker {
                    pid,
                    gid: None,
                    user: row.get("usename"),
                    application: row.get("application_name"),
                    state: row.get("state"),
                    age_ms: age_ms.map_or(0, |age| age.max(0.0) as u64),
                    mode: "a snapshot from before the backfill".to_owned(),
                    relation: relation.clone().unwrap_or_default(),
                    query: row.get("query"),
                },
                owner: pid.to_string(),
                age_ms,
                yields: false,
            }
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_mutual_and_as_the_manual_says() {
        for one in MODES {
            for other in MODES {
                assert_eq!(
                    conflict(one, other),
                    conflict(other, one),
                    "{one:?} {other:?}"
                );
            }
        }
        let count = MODES.map(|mode| conflicts_of(mode).len());
        assert_eq!(count, [1, 2, 4, 5, 5, 6, 7, 8]);
        assert!(!conflict(LockMode::Share, LockMode::Share));
        assert!(!conflict(
            LockMode::RowExclusive,
            LockMode::ShareUpdateExclusive
        ));
    }
}
