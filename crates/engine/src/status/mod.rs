//! What `status` and `history` tell of a run.
//!
//! A [`StatusRecord`] is a view: it is computed from what is stored and
//! nothing else, so that it says the same from any machine, whether or not a
//! process holds the run. Its JSON form is a promise to scripts: fields are
//! added, never renamed or removed, and [`STATUS_SCHEMA`] counts up if that
//! ever has to change.
//!
//! Units: times are RFC 3339 on the database's clock, durations are in the
//! unit that ends their name, rows and pages are counts.

mod figures;
mod words;

use std::time::Duration;

use pontoon_core::step::Phase;
use serde::Serialize;
use uuid::Uuid;

use crate::db::{
    Hold, Holder, LiveSetting, OldWrites, RunRecord, RunState, StepRecord, StoredError,
    WorkerRecord, Yielding,
};

use figures::{backfill, locks, step_status, verify};
use words::{next, reason, shown_state, waiting_for};

pub use words::shell_word;
pub(crate) use words::state_words;

/// The version of the JSON form.
pub const STATUS_SCHEMA: u32 = 1;

/// One run as people and scripts see it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StatusRecord {
    /// [`STATUS_SCHEMA`].
    pub schema: u32,
    /// The run's id.
    pub run: Uuid,
    /// The plan's name.
    pub plan: String,
    /// The plan's version.
    pub version: String,
    /// The ticket that the plan belongs to.
    pub issue: Option<String>,
    /// The database's name.
    pub database: String,
    /// [`RunState::name`].
    pub state: &'static str,
    /// [`Phase::name`].
    pub phase: &'static str,
    /// State and place in a few words, for tables.
    #[serde(skip)]
    pub standing: String,
    /// The gate at which the run stands.
    pub gate: Option<&'static str>,
    /// What has to happen before it goes on, as a fragment without a period.
    pub waiting_for: Option<String>,
    /// Why it is in its state.
    pub reason: Option<String>,
    /// What to type, when a person has to do something.
    pub next: Option<String>,
    /// The last failure, while it is not overcome.
    pub error: Option<StoredError>,
    /// Who acts for the run now.
    pub holder: Option<String>,
    /// The lease's term.
    pub epoch: i64,
    /// When it was written.
    pub started_at: String,
    /// When it reached a final state.
    pub finished_at: Option<String>,
    /// One per table whose backfill has begun.
    pub backfill: Vec<BackfillStatus>,
    /// Signals at or over their limit now.
    pub throttle: Vec<Hold>,
    /// The application is at work, so batches are short and rest; `None`: they
    /// go as fast as they can, or nothing goes.
    pub yielding: Option<Yielding>,
    /// Until when an operator has switched the throttle off; `None`: it is on.
    pub throttle_off_until: Option<String>,
    /// Settings that operators made while it went on, and that still hold.
    pub live_settings: Vec<LiveSetting>,
    /// Processes that help its holder with the ranges of its backfills.
    pub workers: Vec<WorkerStatus>,
    /// What the run's locks have cost others.
    pub locks: LockStatus,
    /// The last verify pass, over all tables; `None` before the first.
    pub verify: Option<VerifyStatus>,
    /// Drain evidence.
    pub old_writes: OldWriteStatus,
    /// Every step; left out by `history`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<Vec<StepStatus>>,
}

/// Where one table's backfill stands.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackfillStatus {
    /// `schema.table`.
    pub table: String,
    /// Rows changed by committed batches.
    pub rows_done: u64,
    /// Rows the table is believed to hold.
    pub rows_total: Option<u64>,
    /// Pages behind the cursors.
    pub pages_done: u64,
    /// Pages in all.
    pub pages_total: u64,
    /// Over the last seconds; 0 while nobody works on it.
    pub rows_per_second: f64,
    /// Seconds to go, when it can be told.
    pub eta_seconds: Option<f64>,
    /// Rows the next batch aims at.
    pub batch_rows: u64,
}

/// The worst of the run's locks so far, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LockStatus {
    /// The longest that a step queued for its locks, all its tries together.
    pub worst_wait_ms: f64,
    /// The longest that a try held them.
    pub worst_hold_ms: f64,
    /// `max_lock_duration`.
    pub budget_ms: u64,
}

/// A verify pass over all tables of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyStatus {
    /// The highest number of a pass among the tables.
    pub pass: u32,
    /// Rows compared.
    pub checked: u64,
    /// Rows out of step when they were looked at.
    pub mismatched: u64,
    /// Of those, rows that only a person can decide.
    pub conflicts: u64,
    /// Of those, rows that were brought into step.
    pub repaired: u64,
    /// Every table has one full pass that found nothing.
    pub clean: bool,
}

/// When an old application version wrote last.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct OldWriteStatus {
    /// `None`: none was seen.
    pub last_at: Option<String>,
    /// How long none has been seen; `None`: unknown.
    #[serde(skip)]
    pub idle: Option<Duration>,
    /// Writes that gave both shapes inconsistently.
    #[serde(skip)]
    pub conflicts: u64,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepStatus {
    /// 1-based.
    pub no: u32,
    /// The phase it runs in.
    pub phase: &'static str,
    /// `ddl`, `backfill`, …
    pub kind: &'static str,
    /// What it does.
    pub name: String,
    /// `pending`, `running`, `done` or `undone`.
    pub state: &'static str,
    /// Tries.
    pub attempts: u32,
    /// Milliseconds queueing, all tries.
    pub wait_ms: f64,
    /// Longest hold of a try, in milliseconds.
    pub hold_ms: f64,
    /// Rows changed.
    pub rows: u64,
}

/// A process that helps the holder.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerStatus {
    /// Which: `ada@desk, pid 4121`.
    pub worker: String,
    /// Since when, in this term of the holder.
    pub joined_at: String,
    /// Ranges that it works on: `public.users 3`.
    pub ranges: Vec<String>,
    /// Rows changed since it joined.
    pub rows: u64,
    /// Over the last seconds.
    pub rows_per_second: f64,
    /// Signals that hold it back.
    pub throttle: Vec<Hold>,
    /// What it waits for, or null.
    pub waiting_for: Option<String>,
}

impl WorkerStatus {
    fn of(worker: &WorkerRecord) -> Self {
        Self {
            worker: worker.holder.name(),
            joined_at: worker.joined_at.clone(),
            ranges: worker.ranges.clone(),
            rows: worker.live.own.rows,
            rows_per_second: worker.live.own.rows_per_second,
            throttle: worker.live.held.clone(),
            waiting_for: worker.live.waiting_for.clone(),
        }
    }
}

impl StatusRecord {
    /// Computes the record. `plan_file` is the path that a person would type
    /// after `pontoon run`; without it, the plan's name stands there.
    pub fn new(
        run: &RunRecord,
        steps: &[StepRecord],
        old_writes: &OldWrites,
        plan_file: Option<&str>,
    ) -> Self {
        let gate = match run.state {
            RunState::Waiting => run.gate,
            RunState::Pending
            | RunState::Running
            | RunState::Paused
            | RunState::Failed
            | RunState::RollingBack
            | RunState::RolledBack
            | RunState::Completed => None,
        };
        let held = match (&run.live, &run.holder) {
            (Some(live), Some(_)) => live.held.clone(),
            _ => Vec::new(),
        };
        Self {
            schema: STATUS_SCHEMA,
            run: run.new.id,
            plan: run.new.plan.clone(),
            version: run.new.version.clone(),
            issue: run.new.issue.clone(),
            database: run.database.clone(),
            state: shown_state(run).name(),
            phase: run.phase.name(),
            standing: state_words(run),
            gate: gate.map(Phase::name),
            waiting_for: waiting_for(run, gate, old_writes),
            reason: reason(run, gate),
            next: next(run, gate, old_writes, plan_file),
            error: run.error.clone(),
            holder: run.holder.as_ref().map(Holder::name),
            epoch: run.epoch,
            started_at: run.started_at.clone(),
            finished_at: run.finished_at.clone(),
            backfill: backfill(run, steps),
            throttle: held,
            yielding: match (&run.live, &run.holder) {
                (Some(live), Some(_)) => live.yielding,
                _ => None,
            },
            throttle_off_until: run
                .throttle_off_until
                .clone()
                .filter(|_| !run.state.is_final()),
            live_settings: run.live_settings.clone(),
            workers: run.workers.iter().map(WorkerStatus::of).collect(),
            locks: locks(run, steps),
            verify: verify(run, steps),
            old_writes: OldWriteStatus {
                last_at: old_writes.last_at.clone(),
                idle: old_writes.idle,
                conflicts: old_writes.conflicts,
            },
            steps: Some(steps.iter().map(step_status).collect()),
        }
    }

    /// The same without its steps, for `history`.
    #[must_use]
    pub fn without_steps(mut self) -> Self {
        self.steps = None;
        self
    }
}

#[cfg(test)]
mod tests;
