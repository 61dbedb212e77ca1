//! What is stored, as the engine sees it. The persisted forms are versioned
//! types of the implementation; these are the runtime ones.

use std::collections::BTreeMap;
use std::time::Duration;

use pontoon_core::name::TableName;
use pontoon_core::plan::{BackfillOptions, Gate, Limits};
use pontoon_core::step::{Backfill, CursorKind, Phase, Program, Step, Verify};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::event::Event;

/// The state of a run; the phase is a separate field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RunState {
    /// Written, nothing done.
    Pending,
    /// Under way, or interrupted: `run` goes on.
    Running,
    /// At a gate.
    Waiting,
    /// By an operator, a spent budget, or where `--until` asked; see the reason.
    Paused,
    /// A step failed; `run` tries it again.
    Failed,
    /// On its way back.
    RollingBack,
    /// Taken back.
    RolledBack,
    /// Contract ended.
    Completed,
}

impl RunState {
    /// The name in JSON, messages and tables.
    pub fn name(self) -> &'static str {
        match self {
            RunState::Pending => "pending",
            RunState::Running => "running",
            RunState::Waiting => "waiting",
            RunState::Paused => "paused",
            RunState::Failed => "failed",
            RunState::RollingBack => "rolling_back",
            RunState::RolledBack => "rolled_back",
            RunState::Completed => "completed",
        }
    }

    /// Nothing more will happen to it.
    pub fn is_final(self) -> bool {
        match self {
            RunState::RolledBack | RunState::Completed => true,
            RunState::Pending
            | RunState::Running
            | RunState::Waiting
            | RunState::Paused
            | RunState::Failed
            | RunState::RollingBack => false,
        }
    }
}

/// The state of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum StepState {
    Pending,
    Running,
    Done,
    Undone,
}

/// Limits, throttle and gates: what may change between sittings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// Bounds.
    pub limits: Limits,
    /// How rows are changed.
    pub backfill: BackfillOptions,
    /// Signals and limits.
    pub throttle: BTreeMap<String, String>,
    /// Durable stops.
    pub gates: Vec<Gate>,
}

/// What plan and environment said at the last `run`: what live settings lie over.
#[derive(Clone, Debug, PartialEq)]
pub struct Base {
    /// What holds where nothing was set live.
    pub settings: Settings,
    /// Who said so, by path (`limits.max_batch_rows`): `plan`,
    /// `pontoon.yaml`, `environment NAME`, `ceiling`. Nothing for what
    /// nobody spoke of.
    pub origins: BTreeMap<String, String>,
    /// Ceilings of `pontoon.yaml`, by path.
    pub ceilings: BTreeMap<String, String>,
    /// That `run` was given `--force`.
    pub forced: bool,
}

/// A setting that an operator made while the run went on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveSetting {
    /// As [`crate::setting::canonical`] names it.
    pub key: String,
    /// As it was typed.
    pub value: String,
    /// Who set it.
    pub by: String,
    /// When, RFC 3339 on the database's clock.
    pub at: String,
    /// With `--force`, above its ceiling.
    #[serde(default)]
    pub forced: bool,
}

/// What a new run is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRun {
    /// UUIDv7.
    pub id: Uuid,
    /// The plan's name.
    pub plan: String,
    /// Its version.
    pub version: String,
    /// Its ticket.
    pub issue: Option<String>,
    /// Canonical JSON of version, schema and operations.
    pub operations: serde_json::Value,
    /// SHA-256 of the above.
    pub operations_hash: String,
    /// What it compiles to; SQL texts beside it, by step number.
    pub program: Program,
    /// SHA-256 of the program with its SQL.
    pub program_hash: String,
    /// `pg_control_system().system_identifier`.
    pub system_identifier: String,
    /// Fingerprint of the tables when the run started.
    pub catalog_fingerprint: String,
    /// May change later.
    pub settings: Settings,
}

/// A stored run.
#[derive(Clone, Debug, PartialEq)]
pub struct RunRecord {
    /// What it was made of; its settings are those that hold now.
    pub new: NewRun,
    /// What its settings are without the live ones.
    pub base: Base,
    /// Settings made while it went on.
    pub live_settings: Vec<LiveSetting>,
    /// Counts commands.
    pub revision: i64,
    /// Who helps its holder.
    pub workers: Vec<WorkerRecord>,
    /// Where it is.
    pub state: RunState,
    /// The phase it is in.
    pub phase: Phase,
    /// The gate it stands at.
    pub gate: Option<Phase>,
    /// Gates that have been approved: gate, who, when (RFC 3339).
    pub approvals: Vec<(Phase, String, String)>,
    /// Why it is in its state.
    pub reason: Option<String>,
    /// The last failure.
    pub error: Option<StoredError>,
    /// Pause asked for by an operator, with who asked.
    pub pause_requested: Option<String>,
    /// Until when an operator has switched the throttle off (RFC 3339); `None`
    /// once that is over.
    pub throttle_off_until: Option<String>,
    /// Rows changed so far, all batches.
    pub rows_affected: u64,
    /// What the holder last told with its heartbeat.
    pub live: Option<Live>,
    /// Who holds it now (`None`: nobody, or the lease has expired).
    pub holder: Option<Holder>,
    /// The lease's term.
    pub epoch: i64,
    /// RFC 3339.
    pub started_at: String,
    /// RFC 3339.
    pub finished_at: Option<String>,
    /// The database's name.
    pub database: String,
}

/// What a holder tells with every heartbeat, for `status` in another terminal.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Live {
    /// Where its backfills stand.
    #[serde(default)]
    pub backfill: Vec<crate::event::BackfillProgress>,
    /// Where its verify passes stand.
    #[serde(default)]
    pub verify: Vec<crate::event::VerifyProgress>,
    /// What holds it back now.
    #[serde(default)]
    pub held: Vec<Hold>,
    /// What its batches yield to.
    #[serde(default)]
    pub yielding: Option<Yielding>,
    /// What it waits for, as a sentence: a lock with its holder, a gate, a retry.
    #[serde(default)]
    pub waiting_for: Option<String>,
    /// What this very process does in its term.
    #[serde(default)]
    pub own: Own,
}

/// What one of several processes has done in its term.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Own {
    /// Rows changed by its committed batches.
    pub rows: u64,
    /// Rows changed per second, over the last seconds.
    pub rows_per_second: f64,
}

/// A process that helps the holder of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerRecord {
    /// Which.
    pub holder: Holder,
    /// Since when, RFC 3339 on the database's clock.
    pub joined_at: String,
    /// The ranges that it has: `public.users 3`.
    pub ranges: Vec<String>,
    /// What it told with its last heartbeat.
    pub live: Live,
}

/// Who else is at work on a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Company {
    /// So many sessions that are not Pontoon's.
    Sessions(u64),
    /// Our role may not see it.
    Hidden,
}

/// An operator has switched the throttle off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThrottleOff {
    /// Which of the run's commands said so.
    pub request: i64,
    /// For how much longer, on the database's clock.
    pub left: Duration,
}

/// Batches are short and rest, for the application's sake.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Yielding {
    /// Sessions of the application at work when it began; `None`: hidden from
    /// our role.
    pub sessions: Option<u64>,
}

/// One signal at or over its limit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hold {
    /// The signal.
    pub signal: String,
    /// `12.4s (standby eu-2)`.
    pub reading: String,
    /// `10s`.
    pub limit: String,
}

impl Hold {
    /// `replication_lag 12.4s >= 10s (standby eu-2)`.
    pub fn text(&self) -> String {
        hold_text(&self.signal, &self.reading, &self.limit)
    }
}

/// A hold for people: the reading's subject stands behind the comparison.
pub fn hold_text(signal: &str, reading: &str, limit: &str) -> String {
    if reading.starts_with("unknown") {
        return format!("{signal} {reading}; limit {limit}");
    }
    match reading.split_once(" (") {
        Some((value, subject)) => format!("{signal} {value} >= {limit} ({subject}"),
        None => format!("{signal} {reading} >= {limit}"),
    }
}

/// A failure as `status` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredError {
    /// A kind in one word, or the SQLSTATE.
    pub code: String,
    /// The message.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
}

/// Who acts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The machine's name.
    pub host: String,
    /// The process.
    pub pid: u32,
    /// Names this boot of this machine, so that a dead pid can be told.
    pub boot: String,
    /// The person or job: `$USER`.
    pub user: String,
}

impl Holder {
    /// As messages name it: `deploy@ci-7, pid 4121`.
    pub fn name(&self) -> String {
        format!("{}@{}, pid {}", self.user, self.host, self.pid)
    }
}

/// Which runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunFilter {
    /// All.
    All,
    /// Those not in a final state.
    Unfinished,
    /// One.
    Id(Uuid),
    /// All of a plan.
    Plan(String),
}

/// A stored step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepRecord {
    /// As compiled.
    pub step: Step,
    /// The SQL texts that were persisted with it: forward.
    pub sql: Vec<String>,
    /// Where it is.
    pub state: StepState,
    /// Actions of its undo that are done.
    pub undone: usize,
    /// Tries.
    pub attempts: u32,
    /// Milliseconds queueing, all tries.
    pub wait_ms: f64,
    /// Longest hold of a try, milliseconds.
    pub hold_ms: f64,
    /// Rows changed.
    pub rows: u64,
    /// What the implementation must remember (a verify pass, an artifact's name).
    pub detail: serde_json::Value,
}

/// A change of a run's record. `None` leaves a field alone.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunChange {
    /// New state.
    pub state: Option<RunState>,
    /// New phase.
    pub phase: Option<Phase>,
    /// New gate (`Some(None)`: no longer at one).
    pub gate: Option<Option<Phase>>,
    /// New reason.
    pub reason: Option<Option<String>>,
    /// New error.
    pub error: Option<Option<StoredError>>,
    /// What plan and environment say now. Live settings stay over it, but for
    /// those about which it says something new.
    pub base: Option<Base>,
    /// Lift an operator's pause.
    pub lift_pause: bool,
    /// Stored with it.
    pub event: Option<Event>,
}

/// A change of a step's record.
#[derive(Clone, Debug, PartialEq)]
pub struct StepChange {
    /// New state.
    pub state: StepState,
    /// Undo actions done.
    pub undone: Option<usize>,
    /// Rows changed.
    pub rows: Option<u64>,
    /// New detail.
    pub detail: Option<serde_json::Value>,
    /// Stored with it.
    pub event: Option<Event>,
}

/// A lease that was taken.
#[derive(Clone, Debug, PartialEq)]
pub struct Acquired {
    /// Proof.
    pub fence: Fence,
    /// The former holder, when it had not released the lease.
    pub taken_over_from: Option<Holder>,
}

use super::Fence;

/// What an action cost.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ActReport {
    /// Tries.
    pub attempts: u32,
    /// Milliseconds queueing, all tries.
    pub wait_ms: f64,
    /// Longest hold of a try, milliseconds.
    pub hold_ms: f64,
    /// The catalog showed that it had been done before.
    pub already_done: bool,
}

/// What is being scanned.
#[derive(Clone, Debug, PartialEq)]
pub struct Scan {
    /// The step.
    pub no: u32,
    /// 0 for a backfill's first pass; a verify's or repeated backfill's pass counts up.
    pub pass: u32,
    /// What is done.
    pub kind: ScanKind,
    /// Asked for; the implementation chooses when `None`.
    pub cursor: Option<CursorKind>,
    /// Rows are left that no pass has met, because their writers move them:
    /// what does not move with a row, its key, is to be gone along where there
    /// is one.
    pub chase: bool,
    /// Ranges that will be worked on at the same time.
    pub workers: u32,
    /// Laps over each stretch of pages, for work that changes rows: more of
    /// them reuse more of the space that old row versions leave. 1: none.
    pub laps: u32,
}

/// The two scans.
#[derive(Clone, Debug, PartialEq)]
pub enum ScanKind {
    /// A backfill.
    Backfill(Backfill),
    /// A verify pass.
    Verify(Verify),
}

/// A contiguous part of a table.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeRecord {
    /// The step.
    pub step: u32,
    /// The pass.
    pub pass: u32,
    /// Its number.
    pub no: u32,
    /// The leaf table.
    pub table: TableName,
    /// The way through it.
    pub cursor: CursorKind,
    /// Opaque: everything below is done.
    pub position: String,
    /// Opaque: its end (`None`: to the end of the key).
    pub upper: Option<String>,
    /// Everything in it is done.
    pub done: bool,
    /// Rows changed (or compared) by its committed batches.
    pub rows: u64,
    /// Pages behind the cursor and in all, for progress (key cursor: estimated).
    pub pages_done: u64,
    /// Pages in all.
    pub pages_total: u64,
    /// Names the table's storage as it was when the range was made: a rewrite
    /// changes it (PostgreSQL: the filenode).
    pub storage: u32,
    /// Rows it was believed to hold when it was made.
    pub rows_estimate: u64,
    /// What a verify pass has found in it so far.
    pub findings: Findings,
}

/// What a verify pass found in a range. Committed with the range's position,
/// so that no crash forgets a mismatch.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Findings {
    /// Rows out of step when they were looked at.
    pub mismatched: u64,
    /// Of those, rows that only a person can decide.
    pub conflicts: u64,
    /// Of those, rows whose old value is not found again in the new one.
    pub lost: u64,
    /// Of those, rows that were brought into step.
    pub repaired: u64,
    /// Conflicts by key, a few.
    pub examples: Vec<String>,
}

/// One batch.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchRequest {
    /// What is done.
    pub backfill: Backfill,
    /// Where.
    pub range: RangeRecord,
    /// Rows to aim at; never more than `max_batch_rows` are changed.
    pub rows: u64,
    /// The hard cap.
    pub max_batch_rows: u64,
    /// Rows the run may change in all.
    pub max_rows_affected: Option<u64>,
    /// Upper bound of its execution.
    pub timeout: Duration,
}

/// What a batch did.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchReport {
    /// The range as it stands now.
    pub range: RangeRecord,
    /// Rows changed.
    pub changed: u64,
    /// Rows left out because someone holds their lock; they stay open.
    pub contended: u64,
    /// Server time of the batch.
    pub elapsed: Duration,
    /// The table was rewritten: its ranges must be made anew.
    pub rewritten: bool,
    /// Another process has the range now: leave it alone.
    pub taken: bool,
}

/// One chunk of a verify pass.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyRequest {
    /// What is compared.
    pub verify: Verify,
    /// Where.
    pub range: RangeRecord,
    /// Rows to aim at.
    pub rows: u64,
    /// May rows be repaired in this pass?
    pub repair: bool,
    /// Rows the run may change in all.
    pub max_rows_affected: Option<u64>,
    /// Upper bound of its execution.
    pub timeout: Duration,
}

/// What a chunk showed.
#[derive(Clone, Debug, PartialEq)]
pub struct VerifyReport {
    /// The range as it stands now.
    pub range: RangeRecord,
    /// Rows compared.
    pub checked: u64,
    /// Rows out of step.
    pub mismatched: u64,
    /// Of those, undecidable.
    pub conflicts: u64,
    /// Of those, repaired.
    pub repaired: u64,
    /// Conflicts by key, a few.
    pub examples: Vec<String>,
    /// Server time of the chunk.
    pub elapsed: Duration,
    /// The table was rewritten: the pass is void.
    pub rewritten: bool,
}

/// One measurement of a signal.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Which of the signal's limits it is compared with: `limit`, `bytes`, …
    pub measure: String,
    /// What was measured: `standby eu-2`; `None` for the server itself.
    pub subject: Option<String>,
    /// The value in the measure's unit, or why this role may not know it.
    pub value: Result<f64, String>,
    /// The subject is there to stay: when it is missing from the next
    /// readings, that is a failed reading.
    pub lasting: bool,
}

impl Reading {
    /// A reading of the server itself, for the signal's first limit.
    pub fn new(value: f64) -> Self {
        Self {
            measure: "limit".to_owned(),
            subject: None,
            value: Ok(value),
            lasting: false,
        }
    }

    /// The same of something that has a name.
    #[must_use]
    pub fn of(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }
}

/// What a look at a signal brought.
#[derive(Clone, Debug, PartialEq)]
pub enum Sample {
    /// Readings; none when there is nothing to read (no standby, no archive).
    Readings(Vec<Reading>),
    /// A change over time, of which only the beginning is known so far.
    NotYet,
}

/// An operator's command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "command")]
pub enum Command {
    /// Finish the batch and stop.
    Pause,
    /// Lift a pause.
    Resume,
    /// Approve a gate.
    Approve {
        /// Which.
        gate: Phase,
    },
    /// Change a setting: the key as typed, the value as text.
    Set {
        /// `batch-rows`, `workers`, …
        key: String,
        /// The value.
        value: String,
        /// Above its ceiling, if need be.
        #[serde(default)]
        force: bool,
    },
    /// Let no signal hold the run for some time, counted on the database's
    /// clock from when the command is written.
    Unthrottle {
        /// Seconds; 0 ends an earlier command.
        seconds: u64,
    },
    /// Go back to what plan and environment say of a setting.
    Unset {
        /// `batch-rows`, `workers`, …
        key: String,
    },
    /// Ask the holder to let go, so that whoever asks can take the run back.
    /// Lifts a pause: who rolls back wants it to move.
    Rollback,
}

/// What came of asking for a range.
#[derive(Clone, Debug, PartialEq)]
pub enum Claim {
    /// It is ours.
    Range(Box<RangeRecord>),
    /// Others have what is left, or it rests: ask again after this time.
    Later(Duration),
    /// Every range is done.
    Nothing,
}

/// What a heartbeat brings back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Beat {
    /// Counts commands: when it has changed, the run is read again.
    pub revision: i64,
    /// Who asks for a pause.
    pub pause_requested: Option<String>,
    /// Others work on the run's ranges, too.
    pub in_company: bool,
    /// Who asks the holder to let go, within the last minute, as
    /// [`Holder::name`] has it.
    pub stop_requested: Option<String>,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq)]
pub struct StoredEvent {
    /// RFC 3339 on the database's clock.
    pub at: String,
    /// Who caused it.
    pub by: Option<String>,
    /// What happened.
    pub event: Event,
}

/// Drain evidence.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OldWrites {
    /// RFC 3339 of the last old-version write; `None`: none seen.
    pub last_at: Option<String>,
    /// Since then, or since the dual write began when none was seen; `None`: unknown.
    pub idle: Option<Duration>,
    /// Writes where both shapes were given inconsistently, as counted.
    pub conflicts: u64,
}
