//! The guard: how a step gets strong locks without the application noticing.
//!
//! What it promises: from the moment we queue for a lock that conflicts with
//! an application's until we release it, no more than the budget passes, and
//! the server itself enforces that, also when this process is stopped or
//! dead. How:
//!
//! 1. The [locks] of a step are known before it begins, with the partitions
//!    and children of the present moment.
//! 2. While a transaction that is older than a try would last holds a
//!    conflicting lock, nothing is tried: queueing behind it would only make
//!    the application queue behind us. This wait is bounded by
//!    `lock_patience` and told with names.
//!    The step that puts the new shape in the old one's place also waits for
//!    transactions whose snapshot is older than the backfill's end: they would
//!    find the new columns empty.
//! 3. A try is [one message](message). It first does what needs no lock, takes
//!    one that blocks no reads or writes and makes an autovacuum yield, then
//!    waits for the strong lock for 50 ms, and twice as long at every further try up to
//!    `min(budget, 0.8 × deadlock_timeout)`. Other tables are waited for half
//!    as long, and all of it ends before `0.8 × deadlock_timeout`, so that
//!    whoever holds one of them and waits for us is nobody's victim. The one
//!    that was not to be had is the first of the next try.
//! 4. Between two tries lies twenty times a try's length, jittered: with
//!    300 ms tries and 300 ms gaps an application lost half its throughput.
//! 5. The step and its record commit together. After a lost connection the
//!    record, read under the step's own locks, says whether it happened.
//!
//! Units are milliseconds of the server's clock where a field says `_ms`.

pub(crate) mod locks;
mod message;
mod patience;
pub(crate) mod record;
pub(crate) mod watch;
mod worker;

use std::time::{Duration, Instant};

use rand::Rng;
use tokio::time::sleep;

use self::locks::{InTheWay, Lock, Wanted, expand, in_the_way, old_snapshots};
use self::message::Try;
use self::patience::Patience;
use self::record::Record;
use self::worker::{Place, Worker};
use super::Postgres;
use super::connect::Purpose;
use super::fence::{BEGIN, fence_statement};
use super::session::Session;
use super::standbys::Readers;
use crate::db::{ActReport, Budget, DbError, ErrorKind, Fence};
use crate::event::Sink;

/// The first try's wait for the first strong lock.
const FIRST_TRY: Duration = Duration::from_millis(50);
/// A gap is at least this many times the try before it.
const GAP: u32 = 20;
/// How often a wait looks again who is in the way.
const LOOK: Duration = Duration::from_millis(250);
/// After so many tries that had the locks and ran out of time, the step
/// itself is too long for its budget.
const TOO_LONG: u32 = 3;

/// A step for the guard.
pub(crate) struct Guarded<'a> {
    /// Proof of ownership.
    pub(crate) fence: &'a Fence,
    /// The step's number.
    pub(crate) no: u32,
    /// What is locked, the step's main table first; tables that do not exist
    /// are left out.
    pub(crate) locks: Vec<Wanted>,
    /// Whoever reads the tables after this step must see what the backfill
    /// wrote: snapshots from before its end are waited for.
    pub(crate) shows_the_new: bool,
    /// Statements of the step that need none of the locks, and come before
    /// them: the application shall not wait for what is not its own.
    pub(crate) beforehand: Vec<String>,
    /// PL/pgSQL after the locks and before the statements: what must still hold.
    pub(crate) before: String,
    /// The step.
    pub(crate) statements: Vec<String>,
    /// PL/pgSQL after the statements: what must hold now, what commits with it.
    pub(crate) after: String,
    /// Its record.
    pub(crate) record: Record,
    /// For messages: `add column public.users.email`.
    pub(crate) doing: &'a str,
}

/// Performs a guarded step.
///
/// # Errors
/// [`ErrorKind::LockPatience`] with everyone in the way;
/// [`ErrorKind::Unreachable`] when the connection was lost: whether the step
/// happened is for the next call to find out; otherwise what the server says.
pub(crate) async fn perform(
    database: &Postgres,
    guarded: Guarded<'_>,
    budget: &Budget,
    sink: &Sink,
) -> Result<ActReport, DbError> {
    let control = database.own_session(Purpose::Watch).await?;
    let mut work = Worker::open(database, &control).await?;
    let mut readers = Readers::new(database);
    let longest = work.facts.deadlock_timeout.mul_f64(0.8);
    let mut wait = FIRST_TRY;
    let mut patience = Patience::new(budget.clone());
    let mut report = ActReport::default();
    let mut too_long = 0;
    let mut first_oid = None;
    loop {
        // An operator may change the budget while we wait.
        let hold = budget.max_lock_duration();
        let cap = hold.min(longest);
        wait = wait.min(cap);
        let mut locks = expand(&control, &guarded.locks).await?;
        if let Some(place) = locks.iter().position(|lock| Some(lock.oid) == first_oid) {
            locks[..=place].rotate_right(1);
        }
        let waited = wait_for_old(
            &control,
            &work,
            &mut readers,
            &locks,
            cap,
            &mut patience,
            &guarded,
            &report,
            sink,
        )
        .await;
        if let Err(error) = waited {
            return work.give_up(&guarded, &report, error).await;
        }
        report.attempts += 1;
        let attempt = Try {
            guarded: &guarded,
            locks: &locks,
            wait,
            hold,
            name: &work.name,
            attempts: report.attempts,
            waited_ms: report.wait_ms,
            facts: work.facts,
        };
        let begun = Instant::now();
        let outcome = work.run(&attempt, &control, guarded.doing).await;
        let failure = match outcome {
            Ok(cost) => {
                report.wait_ms += cost.wait_ms;
                report.hold_ms = report.hold_ms.max(cost.hold_ms);
                report.already_done = cost.already_done;
                settle(&work.session, &guarded, &report).await?;
                return Ok(report);
            }
            Err(failure) => failure,
        };
        let elapsed = begun.elapsed();
        match failure.place {
            Place::Rung | Place::FirstLock | Place::OtherLock(_) => {
                report.wait_ms += elapsed.min(attempt.longest()).as_secs_f64() * 1e3;
            }
            Place::Step => report.hold_ms = report.hold_ms.max(elapsed.as_secs_f64() * 1e3),
        }
        if !failure.passes() {
            return work.give_up(&guarded, &report, failure.error).await;
        }
        let in_the_way = in_the_way(&control, &locks, &work.our_pids(&control).await?).await?;
        patience.remember(&in_the_way);
        let gap = match failure.place {
            // Nobody who reads or writes has queued behind us.
            Place::Rung => Duration::from_secs(1),
            Place::OtherLock(oid) => {
                first_oid = Some(oid);
                elapsed.clamp(wait, hold.max(wait)) * GAP
            }
            Place::FirstLock => wait * GAP,
            // A lock that LOCK TABLE could not take for us, or another
            // session's row lock on the record.
            Place::Step if failure.error.code.as_deref() != Some("57014") => wait * GAP,
            Place::Step => {
                too_long += 1;
                if too_long >= TOO_LONG {
                    let error = too_long_for(&guarded, hold, failure.error);
                    return work.give_up(&guarded, &report, error).await;
                }
                hold * GAP
            }
        };
        if failure.place != Place::Rung {
            wait = (wait * 2).min(cap);
        }
        let gap = gap.mul_f64(rand::rng().random_range(1.0..1.5));
        patience.tell(&guarded, &report, sink);
        if patience.left() < gap {
            let error = patience.spent(&guarded);
            return work.give_up(&guarded, &report, error).await;
        }
        sleep(gap).await;
        if work.session.is_closed() {
            work = Worker::open(database, &control).await?;
        }
    }
}

/// What is done was done with `synchronous_commit = local`, so that no lock
/// was held while a standby was slow. Before anyone hears of it, a commit of
/// the usual kind makes it as durable as any other; it also carries the
/// exact time of the locks.
async fn settle(
    session: &Session,
    guarded: &Guarded<'_>,
    report: &ActReport,
) -> Result<(), DbError> {
    let text = format!(
        "{BEGIN}SET LOCAL lock_timeout = '10s';\n{}\
         UPDATE pontoon.step SET hold_ms = greatest(hold_ms, {}) WHERE run = '{}' AND no = {};\nCOMMIT",
        fence_statement(guarded.fence),
        report.hold_ms,
        guarded.fence.run,
        guarded.no
    );
    session.one_message(&text, guarded.doing).await?;
    Ok(())
}

/// The step took longer than the whole budget, several times, with its locks.
fn too_long_for(guarded: &Guarded<'_>, budget: Duration, error: DbError) -> DbError {
    DbError {
        kind: ErrorKind::Failed,
        message: format!(
            "{}: it needs its locks for longer than max_lock_duration ({})",
            guarded.doing,
            humantime::format_duration(budget)
        ),
        hints: vec![
            "Raise max_lock_duration, or look for what makes this statement slow (deferred triggers, event triggers, very many partitions; a large partition that was attached during the run and has no index or foreign key of its own for what the others have got: build it there, then run again).".into(),
        ],
        code: error.code,
    }
}

/// Returns once nobody who has held a conflicting lock for longer than a try
/// would last is left, here and on the standbys that are watched.
#[expect(
    clippy::too_many_arguments,
    reason = "the loop's whole state, in one place"
)]
async fn wait_for_old(
    control: &Session,
    work: &Worker,
    readers: &mut Readers<'_>,
    locks: &[Lock],
    cap: Duration,
    patience: &mut Patience,
    guarded: &Guarded<'_>,
    report: &ActReport,
    sink: &Sink,
) -> Result<(), DbError> {
    let our_pids = work.our_pids(control).await?;
    loop {
        let found = in_the_way(control, locks, &our_pids).await?;
        let on_standbys = readers.in_the_way(locks).await;
        let mut old: Vec<InTheWay> = found
            .into_iter()
            .chain(on_standbys)
            .filter(|holder| !holder.yields && patience.age(holder) >= cap)
            .collect();
        if guarded.shows_the_new {
            old.extend(old_snapshots(control, guarded.fence.run, locks, &our_pids).await?);
        }
        if old.is_empty() {
            return Ok(());
        }
        patience.remember(&old);
        patience.tell(guarded, report, sink);
        if patience.left().is_zero() {
            return Err(patience.spent(guarded));
        }
        sleep(LOOK.min(patience.left())).await;
    }
}
