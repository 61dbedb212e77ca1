//! What happened, as one enum.
//!
//! The live display, the JSON records, `pontoon events` and reports are views
//! of the same events. An event is emitted after the thing it tells of is
//! true (and, where it says so, durable).

use pontoon_core::name::TableName;
use pontoon_core::step::Phase;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::Own;

/// The version of the JSON form.
pub const EVENT_VERSION: u32 = 1;

/// One thing that happened in a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "event")]
pub enum Event {
    /// A new run was written.
    RunStarted {
        /// The plan.
        plan: String,
        /// Its version.
        version: String,
        /// Steps in its program.
        steps: u32,
    },
    /// An unfinished run goes on.
    RunResumed {
        /// The phase it is in.
        phase: Phase,
        /// The step it goes on with.
        step: Option<u32>,
    },
    /// This process holds the lease now.
    LeaseTaken {
        /// The new epoch.
        epoch: i64,
        /// Who held it before, when the former holder had not released it.
        taken_over_from: Option<String>,
    },
    /// A phase began.
    PhaseStarted {
        /// Which.
        phase: Phase,
    },
    /// A step began.
    StepStarted {
        /// Its number.
        no: u32,
        /// Its phase.
        phase: Phase,
        /// `ddl`, `backfill`, …
        kind: String,
        /// What it does.
        name: String,
        /// It takes the step back.
        undo: bool,
    },
    /// A step is done, durably.
    StepFinished {
        /// Its number.
        no: u32,
        /// What it does.
        name: String,
        /// It took the step back.
        undo: bool,
        /// Tries it took.
        attempts: u32,
        /// Milliseconds spent queueing for locks, all tries.
        wait_ms: f64,
        /// The longest time a try held its locks, in milliseconds.
        hold_ms: f64,
        /// Rows changed.
        rows: u64,
    },
    /// A long step (an index build) is on its way, at most once a second.
    StepProgress {
        /// Its number.
        no: u32,
        /// What it does now, as the server names it: `building index: scanning table`.
        doing: String,
        /// Of `total`, in blocks, tuples or transactions; 0 when unknown.
        done: u64,
        /// 0 when unknown.
        total: u64,
    },
    /// A step waits for others to let go of a lock.
    LockWaiting {
        /// The step.
        no: u32,
        /// Tries so far.
        attempts: u32,
        /// Who holds conflicting locks.
        blockers: Vec<Blocker>,
        /// Milliseconds of patience left.
        patience_ms: u64,
    },
    /// Progress of a backfill, at most a few times a second.
    BackfillProgress(BackfillProgress),
    /// A backfill's scan begins again (the table was rewritten).
    BackfillRestarted {
        /// The table.
        table: TableName,
        /// Why.
        reason: String,
    },
    /// Progress of a verify pass.
    VerifyProgress(VerifyProgress),
    /// A verify pass ended.
    VerifyFinished(VerifyProgress),
    /// A signal is at or over its limit: no new batch is begun.
    Held {
        /// The signal.
        signal: String,
        /// As people read it: `12.4s (standby eu-2)`.
        reading: String,
        /// The limit.
        limit: String,
    },
    /// The signal still holds, with a new reading, at most once in two seconds.
    Holding {
        /// The signal.
        signal: String,
        /// As people read it.
        reading: String,
        /// What it has to come below.
        limit: String,
    },
    /// The application is at work: batches are short, and rest in between.
    Yielding {
        /// Its sessions; `None`: hidden from our role.
        sessions: Option<u64>,
    },
    /// Batches go as fast as they can: nobody else is at work any more, or a
    /// person said so.
    FullSpeed,
    /// The time for which an operator had switched the throttle off is over.
    ThrottleOn,
    /// The signal is below its limit again.
    HoldEnded {
        /// The signal.
        signal: String,
        /// How long it held, in milliseconds.
        held_ms: u64,
    },
    /// The run stands at a gate.
    GateReached {
        /// The gate.
        gate: Phase,
        /// What the plan says there.
        message: Option<String>,
    },
    /// A gate was approved.
    GateApproved {
        /// The gate.
        gate: Phase,
        /// Who approved it.
        by: String,
        /// From where; of older events nothing is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Caller>,
    },
    /// A passing fault: the engine tries again.
    Retrying {
        /// What failed.
        error: String,
        /// Milliseconds until the next try.
        after_ms: u64,
    },
    /// An operator's command arrived.
    Command {
        /// `pause`, `resume`, `set batch-rows 500`, …
        command: String,
        /// Who gave it: `ada@desk`.
        by: String,
        /// From where; of older events nothing is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        from: Option<Caller>,
    },
    /// A process helps with the ranges of backfills from now on.
    WorkerJoined {
        /// Who: `ada@desk, pid 4121`.
        worker: String,
    },
    /// It does so no more: it was told to end, or had no more to do.
    WorkerLeft {
        /// Who.
        worker: String,
        /// Rows that its batches changed since it joined.
        rows: u64,
    },
    /// It was not heard of any more, or another process has taken the run:
    /// its ranges are free.
    WorkerLost {
        /// Who.
        worker: String,
        /// Rows that its batches had changed when it was last heard of.
        rows: u64,
    },
    /// The run's state changed.
    StateChanged {
        /// `running`, `waiting`, …
        state: String,
        /// Why.
        reason: Option<String>,
    },
    /// Something a person should know that stops nothing.
    Warning {
        /// A sentence.
        message: String,
    },
}

/// Who gave a command, as far as machine and database know.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The person or job on that machine.
    pub user: String,
    /// The machine's name.
    pub host: String,
    /// The process there.
    pub pid: u32,
    /// The role that it is connected as.
    pub role: String,
    /// The address that the server sees; `None` over a socket.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

/// Who holds a lock that a step needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Blocker {
    /// Backend process; 0 for a prepared transaction.
    pub pid: i32,
    /// Global id of a prepared transaction.
    pub gid: Option<String>,
    /// Its role.
    pub user: Option<String>,
    /// Its `application_name`.
    pub application: Option<String>,
    /// `active`, `idle in transaction`, …
    pub state: Option<String>,
    /// Age of its transaction in milliseconds.
    pub age_ms: u64,
    /// The mode it holds: `AccessShareLock`.
    pub mode: String,
    /// The relation.
    pub relation: String,
    /// Its query, shortened; `None` when redacted or not visible to our role.
    pub query: Option<String>,
}

/// Where a backfill stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackfillProgress {
    /// The step.
    pub no: u32,
    /// The table.
    pub table: TableName,
    /// Rows changed by the run's committed batches.
    pub rows_done: u64,
    /// Rows the table is believed to hold.
    pub rows_total: Option<u64>,
    /// Pages behind the cursors (page cursor; else ranges).
    pub pages_done: u64,
    /// Pages in all.
    pub pages_total: u64,
    /// Over the last seconds.
    pub rows_per_second: f64,
    /// Seconds to go, when it can be told.
    pub eta_seconds: Option<f64>,
    /// Rows the next batch aims at.
    pub batch_rows: u64,
    /// What this very process has done of it in its term.
    #[serde(default)]
    pub own: Own,
}

/// Where a verify pass stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct VerifyProgress {
    /// The step.
    pub no: u32,
    /// The table.
    pub table: TableName,
    /// 1-based.
    pub pass: u32,
    /// Rows compared.
    pub checked: u64,
    /// Pages compared, and in all.
    pub pages_done: u64,
    /// Pages in all.
    pub pages_total: u64,
    /// Rows out of step when they were looked at.
    pub mismatched: u64,
    /// Of those, rows that only a person can decide.
    pub conflicts: u64,
    /// Of those, rows whose old value is not found again in the new one.
    #[serde(default)]
    pub lost: u64,
    /// Of the mismatched, rows that were brought into step.
    pub repaired: u64,
    /// Up to twenty conflicts by key.
    pub examples: Vec<String>,
    /// The pass has seen everything and found nothing.
    pub clean: bool,
}

/// An event with its time and run: one JSON record.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// [`EVENT_VERSION`].
    pub v: u32,
    /// RFC 3339, UTC, on this machine's clock.
    pub at: String,
    /// The run.
    pub run: Uuid,
    /// What happened.
    #[serde(flatten)]
    pub event: Event,
}

/// What a sink does with an event, and with the run that it belongs to when
/// that is known.
type Receive = dyn Fn(Option<Uuid>, Event) + Send + Sync;

/// Where events go. Cloned freely; never blocks and never fails: a sink that
/// cannot keep up loses progress events, not the run.
#[derive(Clone)]
pub struct Sink {
    receive: std::sync::Arc<Receive>,
    run: Option<Uuid>,
}

impl Sink {
    /// A sink that calls `receive` for each event.
    pub fn new(receive: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self::with_run(move |_, event| receive(event))
    }

    /// A sink that is also told the run, once [`Sink::of`] has named it.
    pub fn with_run(receive: impl Fn(Option<Uuid>, Event) + Send + Sync + 'static) -> Self {
        Self {
            receive: std::sync::Arc::new(receive),
            run: None,
        }
    }

    /// The same sink for the events of this run.
    #[must_use]
    pub fn of(&self, run: Uuid) -> Self {
        Self {
            receive: self.receive.clone(),
            run: Some(run),
        }
    }

    /// Drops every event.
    pub fn none() -> Self {
        Self::new(|_| {})
    }

    /// Tells what happened.
    pub fn emit(&self, event: Event) {
        (self.receive)(self.run, event);
    }
}

impl std::fmt::Debug for Sink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sink")
    }
}
