//! The lease: who may act for a run.
//!
//! A lease is a *term*: an epoch number for people, a random token as proof,
//! a holder, and an instant on the database's clock at which others may take
//! it over. The holder prolongs it every third of its time; a process that
//! was stopped finds that another token stands there, and every write of its
//! own fails at the [fence](super::super::fence).
//!
//! A term is taken over when it was released, when it has expired, or when
//! its holder is provably dead: a process of this very boot of this machine
//! whose pid is gone. Then the new token is committed first, and afterwards
//! the transactions that passed the fence with the old one are waited for.
//! A process that lost its connections takes its own term over at once, by the
//! token: after a failover the row may hold any of the tokens that it has
//! drawn.
//!
//! An expired lease that nobody took stays its holder's: time alone takes
//! nothing away.

use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::kill;
use nix::unistd::Pid;
use serde_json::Value;
use tokio_postgres::Row;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::connect::is_pooler;
use super::super::fence::same_server;
use super::super::session::Session;
use super::super::sqlstate::classify;
use super::run::no_such;
use super::wire::{self, WireHolder};
use super::worker;
use crate::db::{Acquired, Beat, DbError, ErrorKind, Fence, Holder, Live, Role};

/// How long a takeover waits for the transactions of the former holder.
/// Above the idle limit of our short transactions and any batch's bound.
const DRAIN: Duration = Duration::from_secs(20);

/// How long one wait of the drain lasts before what still runs is cancelled.
const DRAIN_TRY: Duration = Duration::from_secs(2);

/// Takes the lease, or says who holds it.
pub(crate) async fn acquire(
    database: &Postgres,
    run: Uuid,
    holder: &Holder,
    ttl: Duration,
) -> Result<Acquired, DbError> {
    const DOING: &str = "take the lease";
    let value = wire::to_value(&WireHolder::of(holder), "holder")?;
    let micros = micros(ttl);
    let session = database.session().await?;
    let acquired = session
        .transaction("", DOING, async |client| {
            let row = client
                .query_typed_opt(include_str!("sql/lock_lease.sql"), &[(&run, Type::UUID)])
                .await
                .map_err(|error| classify(&error, DOING))?
                .ok_or_else(|| no_such(run))?;
            let former = if row.get::<_, bool>("held") {
                let former = row.get::<_, Option<Value>>("holder").unwrap_or_default();
                let former = wire::from_value::<WireHolder>(former, "holder")?.read();
                let valid = row.get::<_, Option<bool>>("valid").unwrap_or(false);
                let ours = former == *holder
                    && row
                        .get::<_, Option<Uuid>>("token")
                        .is_some_and(|token| database.has_taken(token));
                if valid && !ours && !is_dead(&former, holder) {
                    return Err(held(
                        run,
                        &former,
                        row.get("taken_at"),
                        row.get("expires_in"),
                    ));
                }
                (!ours).then_some(former)
            } else {
                None
            };
            let taken = client
                .query_typed_one(
                    include_str!("sql/take_lease.sql"),
                    &[
                        (&run, Type::UUID),
                        (&value, Type::JSONB),
                        (&micros, Type::FLOAT8),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            Ok(Acquired {
                fence: Fence {
                    run,
                    epoch: taken.get("epoch"),
                    token: taken.get("token"),
                    server: taken.get("server"),
                    role: Role::Holder,
                },
                taken_over_from: former,
            })
        })
        .await?;
    database.remember_term(acquired.fence.token);
    if let Err(error) = drain(&session, run).await {
        // We own the lease and may not act: give it back, so that nobody
        // waits for its time to pass. The first error is the one to tell.
        if let Err(second) = release_with(&session, &acquired.fence).await {
            tracing::debug!("the lease could not be given back: {second}");
        }
        return Err(error);
    }
    Ok(acquired)
}

/// Waits until no transaction that passed the fence before this takeover is
/// left. New ones of the former holder queue behind us and then fail.
async fn drain(session: &Session, run: Uuid) -> Result<(), DbError> {
    const DOING: &str = "wait for the transactions of the former holder";
    let text = format!(
        "{}SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = {};\n\
         SELECT pg_catalog.pg_advisory_xact_lock(pontoon.run_key('{run}'));\nCOMMIT",
        super::super::fence::BEGIN,
        DRAIN_TRY.as_millis(),
    );
    let begun = Instant::now();
    loop {
        match session.one_message(&text, DOING).await {
            Ok(_) => return Ok(()),
            Err(error) if error.kind == ErrorKind::Transient && begun.elapsed() < DRAIN => {
                // Long statements (VALIDATE, a person's SQL) would be waited
                // for in vain: their transaction can only be wasted now.
                // Behind a pooler the backend may be an application's by the
                // time the signal arrives; there they are only waited for.
                if is_pooler(session)
                    .await
                    .map_err(|error| classify(&error, DOING))?
                {
                    continue;
                }
                session
                    .query_typed(include_str!("sql/cancel_fenced.sql"), &[(&run, Type::UUID)])
                    .await
                    .map_err(|error| classify(&error, DOING))?;
            }
            Err(error) => {
                return Err(error.hint(
                    "A transaction of the former holder does not end; see pg_stat_activity, then run again.",
                ));
            }
        }
    }
}

/// Is this process provably gone? Only a process of the same boot of the
/// same machine can be told; a pid that is in use again counts as alive.
fn is_dead(former: &Holder, us: &Holder) -> bool {
    if former.host != us.host || former.boot != us.boot || former.boot.is_empty() {
        return false;
    }
    let Ok(pid) = i32::try_from(former.pid) else {
        return false;
    };
    pid > 0 && kill(Pid::from_raw(pid), None) == Err(Errno::ESRCH)
}

fn held(run: Uuid, former: &Holder, since: Option<&str>, expires_in: Option<f64>) -> DbError {
    let holder = format!(
        "host {}, pid {}, user {}, since {}, expires in {} s",
        former.host,
        former.pid,
        former.user,
        since.unwrap_or("?"),
        expires_in.unwrap_or_default().ceil(),
    );
    DbError::new(
        ErrorKind::Held {
            holder: holder.clone(),
        },
        format!("Another process holds run {run}: {holder}"),
    )
}

pub(super) fn micros(ttl: Duration) -> f64 {
    ttl.as_secs_f64() * 1e6
}

/// Prolongs the lease, leaves behind what `status` shows elsewhere, and brings
/// back what operators asked for.
pub(crate) async fn renew(
    database: &Postgres,
    fence: &Fence,
    ttl: Duration,
    live: &Live,
) -> Result<Beat, DbError> {
    const DOING: &str = "prolong the lease";
    if fence.role == Role::Worker {
        return worker::renew(database, fence, ttl, live).await;
    }
    let live = wire::to_value(live, "heartbeat")?;
    let micros = micros(ttl);
    let session = database.session().await?;
    session
        .transaction(&same_server(fence), DOING, async |client| {
            let row = client
                .query_typed_opt(
                    include_str!("sql/renew_lease.sql"),
                    &[
                        (&fence.run, Type::UUID),
                        (&fence.token, Type::UUID),
                        (&micros, Type::FLOAT8),
                        (&live, Type::JSONB),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?
                .ok_or_else(|| fenced(fence))?;
            worker::end_memberships(client, fence.run).await?;
            Ok(beat(&row))
        })
        .await
}

/// What a heartbeat brings back.
pub(super) fn beat(row: &Row) -> Beat {
    Beat {
        revision: row.get("revision"),
        pause_requested: row.get("pause_requested"),
        in_company: row.get("in_company"),
        stop_requested: row.get("stop_requested"),
    }
}

/// Gives the lease back, or leaves its holder.
pub(crate) async fn release(database: &Postgres, fence: &Fence) -> Result<(), DbError> {
    match fence.role {
        Role::Holder => release_with(&database.session().await?, fence).await,
        Role::Worker => worker::leave(database, fence).await,
    }
}

async fn release_with(session: &Session, fence: &Fence) -> Result<(), DbError> {
    const DOING: &str = "give the lease back";
    session
        .transaction("", DOING, async |client| {
            let released = client
                .execute_typed(
                    include_str!("sql/release_lease.sql"),
                    &[(&fence.run, Type::UUID), (&fence.token, Type::UUID)],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            if released == 1 {
                Ok(())
            } else {
                Err(fenced(fence))
            }
        })
        .await
}

pub(super) fn fenced(fence: &Fence) -> DbError {
    DbError::new(
        ErrorKind::Fenced,
        format!("Another process owns run {} now", fence.run),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(pid: u32, boot: &str) -> Holder {
        Holder {
            host: "here".into(),
            pid,
            boot: boot.into(),
            user: "ci".into(),
        }
    }

    #[test]
    fn only_a_process_of_this_boot_can_be_known_dead() {
        let mut child = std::process::Command::new("true")
            .spawn()
            .expect("`true` starts");
        let gone = child.id();
        child.wait().expect("it ends");
        let us = holder(std::process::id(), "b1");
        assert!(is_dead(&holder(gone, "b1"), &us));
        assert!(!is_dead(&holder(gone, "b2"), &us), "another boot");
        assert!(!is_dead(&holder(gone, ""), &holder(1, "")), "unknown boot");
        assert!(!is_dead(&us, &us), "ourselves");
        assert!(
            !is_dead(&holder(1, "b1"), &us),
            "another user's process is alive"
        );
        let elsewhere = Holder {
            host: "there".into(),
            ..holder(gone, "b1")
        };
        assert!(!is_dead(&elsewhere, &us));
    }
}
