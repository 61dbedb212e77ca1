//! The narrow waist: all that the engine knows of a database.
//!
//! Nothing above this module names a driver or a line of SQL, and range
//! bounds are opaque text there. PostgreSQL is the first implementation.

pub mod error;
pub mod postgres;
pub mod record;

use std::future::Future;
use std::time::Duration;

use pontoon_core::catalog::{Catalog, Question};
use pontoon_core::name::TableName;
use pontoon_core::plan::signals::Watched;
use pontoon_core::step::{Action, Backfill, Step};
use uuid::Uuid;

pub use error::{DbError, ErrorKind};
pub use record::*;

use crate::event::Sink;

/// Proof of ownership, carried by every write. `token` is drawn anew at each
/// takeover: an epoch number alone can be handed out twice across an
/// asynchronous failover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The run.
    pub run: Uuid,
    /// The term of this lease.
    pub epoch: i64,
    /// Random per term.
    pub token: Uuid,
    /// The server process on which the term was taken, in the
    /// implementation's words. Where another one answers, after a restart or a
    /// failover, every write fails with [`ErrorKind::ServerChanged`].
    pub server: String,
    /// As what.
    pub role: Role,
}

/// What a process is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It holds the lease.
    Holder,
    /// It has joined the holder's term, and works on ranges of backfills
    /// only: everything else fails at the fence.
    Worker,
}

/// How a step may behave while it acts.
#[derive(Clone, Debug)]
pub struct Budget {
    /// From queueing to release.
    pub max_lock_duration: Duration,
    /// Total wait for a moment without conflicting locks.
    pub lock_patience: Duration,
    /// Settings that may change while the step waits; they go before the
    /// values above.
    pub live: Option<tokio::sync::watch::Receiver<Settings>>,
}

impl Budget {
    /// From queueing to release, as it holds now.
    pub fn max_lock_duration(&self) -> Duration {
        self.live.as_ref().map_or(self.max_lock_duration, |live| {
            live.borrow().limits.max_lock_duration
        })
    }

    /// Total wait for a moment without conflicting locks, as it holds now.
    pub fn lock_patience(&self) -> Duration {
        self.live.as_ref().map_or(self.lock_patience, |live| {
            live.borrow().limits.lock_patience
        })
    }
}

/// Forward, or back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Perform the step's action.
    Do,
    /// Perform the n-th (0-based) action of its undo.
    Undo(usize),
}

/// Reads throttle signals. What it decides is nothing; that is the throttle's.
pub trait Sampler: Send + 'static {
    /// Reads one signal. May be dropped half way: what it was doing is then
    /// given up, and the next reading begins anew.
    ///
    /// # Errors
    /// The signal could not be read. The message is shown to people, and holds
    /// no secret.
    fn sample(&mut self, watched: &Watched)
    -> impl Future<Output = Result<Sample, DbError>> + Send;

    /// Who else is at work on the server, now or in the last seconds.
    ///
    /// # Errors
    /// When the database cannot be asked.
    fn company(&mut self) -> impl Future<Output = Result<Company, DbError>> + Send;

    /// Whether an operator has switched the throttle off.
    ///
    /// # Errors
    /// When the database cannot be asked.
    fn throttle_off(&mut self)
    -> impl Future<Output = Result<Option<ThrottleOff>, DbError>> + Send;
}

/// What the engine asks of a database. Every method that writes takes the
/// [`Fence`] and fails with [`ErrorKind::Fenced`] once another process owns
/// the run. Methods may be called from several tasks at once.
pub trait Database: Clone + Send + Sync + 'static {
    /// See [`Database::sampler`].
    type Sampler: Sampler;

    /// Reads the tables, and asks the database what the plan's texts mean.
    fn inspect(
        &self,
        schema: &str,
        tables: &[TableName],
        questions: &[Question],
    ) -> impl Future<Output = Result<Catalog, DbError>> + Send;

    /// Creates or upgrades our own schema; nothing to do is fine.
    fn init(&self, app_role: Option<&str>) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Runs, newest first; an empty list when our schema does not exist.
    fn runs(
        &self,
        filter: &RunFilter,
    ) -> impl Future<Output = Result<Vec<RunRecord>, DbError>> + Send;

    /// The steps of a run, in order.
    fn steps(&self, run: Uuid) -> impl Future<Output = Result<Vec<StepRecord>, DbError>> + Send;

    /// Writes a new run with its steps in one transaction. Fails with
    /// [`ErrorKind::Conflict`] when an unfinished run of that plan exists.
    fn create_run(&self, run: &NewRun) -> impl Future<Output = Result<RunRecord, DbError>> + Send;

    /// Forgets every connection: the next ones are made anew, to whichever
    /// server answers then.
    fn reconnect(&self) -> Result<(), DbError>;

    /// Takes the lease when it is free, expired, or its holder is provably
    /// dead, or when the term that stands there is this holder's own; drains
    /// the former holder's transactions before it returns.
    /// Fails with [`ErrorKind::Held`] naming the holder otherwise.
    fn acquire(
        &self,
        run: Uuid,
        holder: &Holder,
        ttl: Duration,
    ) -> impl Future<Output = Result<Acquired, DbError>> + Send;

    /// Joins the term of whoever holds the lease, as a worker; `None` when
    /// nobody does.
    fn join(
        &self,
        run: Uuid,
        holder: &Holder,
        ttl: Duration,
    ) -> impl Future<Output = Result<Option<Fence>, DbError>> + Send;

    /// Prolongs the lease, or a worker's membership, leaves behind what `status` shows elsewhere, and
    /// brings back what operators asked for.
    fn renew(
        &self,
        fence: &Fence,
        ttl: Duration,
        live: &Live,
    ) -> impl Future<Output = Result<Beat, DbError>> + Send;

    /// Gives the lease back, or leaves the holder. Ranges that the process
    /// has taken are free from then on.
    fn release(&self, fence: &Fence) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Changes a run's state, phase, reason and so on, with the event that
    /// tells why, in one fenced transaction.
    fn update_run(
        &self,
        fence: &Fence,
        change: &RunChange,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Marks a step running, done or undone where that is not part of its own
    /// transaction (backfills, verify passes, undo of nothing).
    fn update_step(
        &self,
        fence: &Fence,
        no: u32,
        change: &StepChange,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Looks whether the connection allows all of these actions, each given
    /// with its step; changes nothing. Fails with [`ErrorKind::Refused`]
    /// naming those that it does not allow, and what to do.
    fn admit(
        &self,
        actions: &[(&Step, &Action)],
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// The names of connected standbys, unless all of them are watched: their
    /// readers may be stalled or cancelled by strong locks.
    fn unwatched_standbys(&self) -> impl Future<Output = Result<Vec<String>, DbError>> + Send;

    /// Performs a `Ddl`, `Concurrent`, `Sync` or `Sql` action with its
    /// record: idempotent, judged by the catalog where no transaction ties
    /// both together. Emits `LockWaiting`.
    fn act(
        &self,
        fence: &Fence,
        step: &StepRecord,
        direction: Direction,
        budget: &Budget,
        sink: &Sink,
    ) -> impl Future<Output = Result<ActReport, DbError>> + Send;

    /// The ranges of a backfill or verify pass: existing ones, brought up to
    /// date with partitions that came meanwhile, or new ones.
    fn ranges(
        &self,
        fence: &Fence,
        scan: &Scan,
    ) -> impl Future<Output = Result<Vec<RangeRecord>, DbError>> + Send;

    /// The ranges of a backfill's newest pass as they stand; empty before the
    /// holder has made them.
    fn listed(
        &self,
        run: Uuid,
        step: u32,
    ) -> impl Future<Output = Result<Vec<RangeRecord>, DbError>> + Send;

    /// Takes the next range of a pass that nobody has, in any process.
    fn claim(
        &self,
        fence: &Fence,
        step: u32,
        pass: u32,
    ) -> impl Future<Output = Result<Claim, DbError>> + Send;

    /// Lets others take a range, once it has rested.
    fn give_back(
        &self,
        fence: &Fence,
        range: &RangeRecord,
        rest: Duration,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// One batch: one transaction, one round trip.
    fn batch(
        &self,
        fence: &Fence,
        request: &BatchRequest,
    ) -> impl Future<Output = Result<BatchReport, DbError>> + Send;

    /// Whether any row needs this work, in a single look at the whole table,
    /// partitions included: one snapshot meets each row once, wherever its
    /// writers move it meanwhile. Locks no row, and may take as long as reading
    /// the table does.
    fn is_left(&self, work: &Backfill) -> impl Future<Output = Result<bool, DbError>> + Send;

    /// One chunk of a verify pass: one snapshot, repair where the truth is certain.
    fn verify_chunk(
        &self,
        fence: &Fence,
        request: &VerifyRequest,
    ) -> impl Future<Output = Result<VerifyReport, DbError>> + Send;

    /// Whoever reads the throttle's signals for a run, on connections of its
    /// own. Nothing is connected yet.
    fn sampler(&self, run: Uuid) -> Self::Sampler;

    /// Writes an operator's command (needs no lease), with who gave it from
    /// where.
    fn command(
        &self,
        run: Uuid,
        command: &Command,
        by: &Holder,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Events of a run, oldest first.
    fn events(&self, run: Uuid) -> impl Future<Output = Result<Vec<StoredEvent>, DbError>> + Send;

    /// Appends an event (fenced).
    fn append_event(
        &self,
        fence: &Fence,
        event: &crate::event::Event,
    ) -> impl Future<Output = Result<(), DbError>> + Send;

    /// Milliseconds since the last old-version write on each table with a
    /// dual write of this run, on the database's clock.
    fn old_writes(&self, run: Uuid) -> impl Future<Output = Result<OldWrites, DbError>> + Send;
}
