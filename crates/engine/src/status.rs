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

use std::time::Duration;

use pontoon_core::step::{Action, Phase};
use serde::Serialize;
use uuid::Uuid;

use crate::db::{Hold, Holder, OldWrites, RunRecord, RunState, StepRecord, StepState, StoredError};
use crate::event::{BackfillProgress, VerifyProgress};

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
    /// The database's name.
    pub database: String,
    /// [`RunState::name`].
    pub state: &'static str,
    /// [`Phase::name`].
    pub phase: &'static str,
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
            database: run.database.clone(),
            state: run.state.name(),
            phase: run.phase.name(),
            gate: gate.map(Phase::name),
            waiting_for: waiting_for(run, gate, old_writes),
            reason: reason(run, gate),
            next: next(run, gate, old_writes, plan_file),
            error: run.error.clone(),
            holder: run.holder.as_ref().map(describe_holder),
            epoch: run.epoch,
            started_at: run.started_at.clone(),
            finished_at: run.finished_at.clone(),
            backfill: backfill(run, steps),
            throttle: held,
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

/// As messages name a holder: `deploy@ci-7, pid 4121`.
pub fn describe_holder(holder: &Holder) -> String {
    format!("{}@{}, pid {}", holder.user, holder.host, holder.pid)
}

fn is_approved(run: &RunRecord, gate: Phase) -> bool {
    run.approvals
        .iter()
        .any(|(approved, _, _)| *approved == gate)
}

/// A gate's condition beside approval that does not hold yet.
fn unmet(run: &RunRecord, gate: Phase, old_writes: &OldWrites) -> Option<String> {
    let wanted = run
        .new
        .settings
        .gates
        .iter()
        .find(|stop| stop.before == gate)?
        .old_writes_idle?;
    let wanted_text = humantime::format_duration(wanted);
    match old_writes.idle {
        Some(idle) if idle >= wanted => None,
        Some(idle) => Some(format!(
            "no old-version write for {wanted_text} (so far {})",
            humantime::format_duration(Duration::from_secs(idle.as_secs()))
        )),
        None => Some(format!(
            "no old-version write for {wanted_text} (when one was made last is not known)"
        )),
    }
}

fn waiting_for(run: &RunRecord, gate: Option<Phase>, old_writes: &OldWrites) -> Option<String> {
    let live = || match (&run.live, &run.holder) {
        (Some(live), Some(_)) => live.waiting_for.clone().or_else(|| {
            live.held
                .first()
                .map(|hold| format!("{} {} >= {}", hold.signal, hold.reading, hold.limit))
        }),
        _ => None,
    };
    let somebody = |verb: &str| match run.holder {
        Some(_) => live(),
        None => Some(format!("a process that {verb}")),
    };
    if run.pause_requested.is_some() && run.holder.is_none() && !run.state.is_final() {
        return Some("an operator's resume".into());
    }
    match run.state {
        RunState::Pending | RunState::Running => somebody("runs it"),
        RunState::RollingBack => somebody("goes on rolling it back"),
        RunState::Waiting => {
            let Some(gate) = gate else {
                return somebody("runs it");
            };
            let mut parts = Vec::new();
            if !is_approved(run, gate) {
                parts.push(format!("approval of gate {}", gate.name()));
            }
            parts.extend(unmet(run, gate, old_writes));
            match (parts.is_empty(), &run.holder) {
                (false, _) => Some(parts.join(" and ")),
                (true, None) => Some("a process that runs it".into()),
                (true, Some(_)) => live(),
            }
        }
        RunState::Paused => match &run.pause_requested {
            Some(_) => Some("an operator's resume".into()),
            None => somebody("runs it"),
        },
        RunState::Failed => match run.holder {
            Some(_) => live(),
            None => Some("a process that tries again".into()),
        },
        RunState::RolledBack | RunState::Completed => None,
    }
}

fn reason(run: &RunRecord, gate: Option<Phase>) -> Option<String> {
    if run.state.is_final() {
        return run.reason.clone();
    }
    run.reason
        .clone()
        .or_else(|| {
            gate.and_then(|gate| {
                run.new
                    .settings
                    .gates
                    .iter()
                    .find(|stop| stop.before == gate)
                    .and_then(|stop| stop.message.clone())
            })
        })
        .or_else(|| {
            run.pause_requested.as_ref().map(|by| match run.holder {
                None => format!("paused by {by}"),
                Some(_) => format!("{by} asked for a pause; the batch under way is finished first"),
            })
        })
}

fn next(
    run: &RunRecord,
    gate: Option<Phase>,
    old_writes: &OldWrites,
    plan_file: Option<&str>,
) -> Option<String> {
    let id = run.new.id;
    let resume_it = format!("pontoon resume {id}");
    let run_it = format!(
        "pontoon run {}",
        match plan_file {
            Some(path) => shell_word(path),
            None => shell_word(&format!("{}.yaml", run.new.plan)),
        }
    );
    let unless_held = |text: String| match run.holder {
        Some(_) => None,
        None => Some(text),
    };
    match run.state {
        _ if run.pause_requested.is_some() && !run.state.is_final() => Some(resume_it),
        RunState::Pending | RunState::Running | RunState::Failed | RunState::Paused => {
            unless_held(run_it)
        }
        RunState::Waiting => match gate {
            Some(gate) if !is_approved(run, gate) => {
                Some(format!("pontoon approve {id} {}", gate.name()))
            }
            Some(gate) if unmet(run, gate, old_writes).is_some() => {
                unless_held(format!("{run_it} --wait-gates"))
            }
            _ => unless_held(run_it),
        },
        RunState::RollingBack => unless_held(format!("pontoon rollback {id}")),
        RunState::RolledBack | RunState::Completed => None,
    }
}

/// A word as a POSIX shell reads it.
pub fn shell_word(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// A step's last progress: what was stored with it when it ended, or, while
/// it is under way, what its holder told last.
fn progress<T: Clone + serde::de::DeserializeOwned>(
    live: impl Iterator<Item = T>,
    step: &StepRecord,
    no: impl Fn(&T) -> u32,
) -> Option<T> {
    let stored = || {
        serde_json::from_value(step.detail.clone())
            .ok()
            .or_else(|| serde_json::from_value(step.detail.get("progress")?.clone()).ok())
    };
    let mut live = live.filter(|progress| no(progress) == step.step.no);
    match step.state {
        StepState::Done => stored().or_else(|| live.next()),
        StepState::Pending | StepState::Running | StepState::Undone => live.next().or_else(stored),
    }
}

fn backfill(run: &RunRecord, steps: &[StepRecord]) -> Vec<BackfillStatus> {
    let begun = |step: &&StepRecord| match step.state {
        StepState::Pending | StepState::Undone => false,
        StepState::Running | StepState::Done => true,
    };
    steps
        .iter()
        .filter(begun)
        .filter_map(|step| match &step.step.action {
            Action::Backfill(backfill) => Some((step, backfill)),
            Action::Ddl(_)
            | Action::Concurrent(_)
            | Action::Sync(_)
            | Action::Verify(_)
            | Action::Sql(_) => None,
        })
        .map(|(step, action)| {
            let live = run.live.iter().flat_map(|live| live.backfill.clone());
            let told: Option<BackfillProgress> = progress(live, step, |told| told.no);
            // Rates of a process that no longer works on it would mislead.
            let working = step.state == StepState::Running && run.holder.is_some();
            BackfillStatus {
                table: action.table.to_string(),
                rows_done: told
                    .as_ref()
                    .map_or(step.rows, |told| told.rows_done.max(step.rows)),
                rows_total: told.as_ref().and_then(|told| told.rows_total),
                pages_done: told.as_ref().map_or(0, |told| told.pages_done),
                pages_total: told.as_ref().map_or(0, |told| told.pages_total),
                rows_per_second: match &told {
                    Some(told) if working => told.rows_per_second,
                    _ => 0.0,
                },
                eta_seconds: told
                    .as_ref()
                    .filter(|_| working)
                    .and_then(|told| told.eta_seconds),
                batch_rows: told.as_ref().map_or(0, |told| told.batch_rows),
            }
        })
        .collect()
}

fn locks(run: &RunRecord, steps: &[StepRecord]) -> LockStatus {
    let strong = steps.iter().filter(|step| match step.step.action {
        Action::Ddl(_) | Action::Sync(_) | Action::Sql(_) => true,
        // Their locks let reads and writes pass.
        Action::Concurrent(_) | Action::Backfill(_) | Action::Verify(_) => false,
    });
    let (wait, hold) = strong.fold((0.0_f64, 0.0_f64), |(wait, hold), step| {
        (wait.max(step.wait_ms), hold.max(step.hold_ms))
    });
    let budget = run.new.settings.limits.max_lock_duration.as_millis();
    LockStatus {
        worst_wait_ms: wait,
        worst_hold_ms: hold,
        budget_ms: u64::try_from(budget).unwrap_or(u64::MAX),
    }
}

fn verify(run: &RunRecord, steps: &[StepRecord]) -> Option<VerifyStatus> {
    let mut wanted = 0;
    let mut passes: Vec<VerifyProgress> = Vec::new();
    for step in steps {
        match &step.step.action {
            Action::Verify(_) => {
                wanted += 1;
                let live = run.live.iter().flat_map(|live| live.verify.clone());
                passes.extend(progress(live, step, |told| told.no));
            }
            Action::Ddl(_)
            | Action::Concurrent(_)
            | Action::Sync(_)
            | Action::Backfill(_)
            | Action::Sql(_) => {}
        }
    }
    if passes.is_empty() {
        return None;
    }
    let clean = passes.len() == wanted && passes.iter().all(|pass| pass.clean);
    let none = VerifyStatus {
        pass: 0,
        checked: 0,
        mismatched: 0,
        conflicts: 0,
        repaired: 0,
        clean,
    };
    Some(passes.iter().fold(none, |sum, pass| VerifyStatus {
        pass: sum.pass.max(pass.pass),
        checked: sum.checked + pass.checked,
        mismatched: sum.mismatched + pass.mismatched,
        conflicts: sum.conflicts + pass.conflicts,
        repaired: sum.repaired + pass.repaired,
        clean,
    }))
}

fn step_status(step: &StepRecord) -> StepStatus {
    StepStatus {
        no: step.step.no,
        phase: step.step.phase.name(),
        kind: step.step.action.kind(),
        name: step.step.name.clone(),
        state: match step.state {
            StepState::Pending => "pending",
            StepState::Running => "running",
            StepState::Done => "done",
            StepState::Undone => "undone",
        },
        attempts: step.attempts,
        wait_ms: step.wait_ms,
        hold_ms: step.hold_ms,
        rows: step.rows,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pontoon_core::name::TableName;
    use pontoon_core::plan::{BackfillOptions, Gate, Limits};
    use pontoon_core::step::{
        Backfill, BackfillWork, Ddl, Program, Step, Undo, Verify, WIRE_VERSION,
    };

    use super::*;
    use crate::db::{Live, NewRun, Settings};

    fn users() -> TableName {
        TableName::new("public", "users")
    }

    fn step(no: u32, phase: Phase, name: &str, action: Action, state: StepState) -> StepRecord {
        StepRecord {
            step: Step {
                no,
                phase,
                name: name.into(),
                operations: vec![0],
                action,
                undo: Undo::Nothing,
            },
            sql: Vec::new(),
            state,
            undone: 0,
            attempts: 1,
            wait_ms: 12.5,
            hold_ms: 3.25,
            rows: 0,
            detail: serde_json::Value::Null,
        }
    }

    fn steps() -> Vec<StepRecord> {
        let add = Action::Ddl(Ddl {
            changes: Vec::new(),
            cutover: false,
        });
        let fill = Action::Backfill(Backfill {
            table: users(),
            work: BackfillWork::Mappings {
                mappings: Vec::new(),
            },
            cursor: None,
        });
        let compare = Action::Verify(Verify {
            table: users(),
            mappings: Vec::new(),
        });
        vec![
            step(
                1,
                Phase::Expand,
                "add column users.email_normalized",
                add,
                StepState::Done,
            ),
            step(2, Phase::Backfill, "fill users", fill, StepState::Running),
            step(
                3,
                Phase::Verify,
                "verify users",
                compare,
                StepState::Pending,
            ),
        ]
    }

    fn told() -> BackfillProgress {
        BackfillProgress {
            no: 2,
            table: users(),
            rows_done: 631_204,
            rows_total: Some(1_000_000),
            pages_done: 6_300,
            pages_total: 10_000,
            rows_per_second: 52_310.5,
            eta_seconds: Some(7.05),
            batch_rows: 4_000,
        }
    }

    fn run(state: RunState) -> RunRecord {
        RunRecord {
            new: NewRun {
                id: Uuid::from_u128(0x0193_5c1e_9a40_7000_8000_0000_0000_0001),
                plan: "users_email_normalized".into(),
                version: "20261120101500".into(),
                issue: None,
                operations: serde_json::Value::Null,
                operations_hash: String::new(),
                program: Program {
                    wire: WIRE_VERSION,
                    steps: Vec::new(),
                },
                program_hash: String::new(),
                system_identifier: "7".into(),
                catalog_fingerprint: String::new(),
                settings: Settings {
                    limits: Limits::default(),
                    backfill: BackfillOptions::default(),
                    throttle: BTreeMap::new(),
                    gates: vec![Gate {
                        before: Phase::Contract,
                        message: Some("app 4.2 everywhere".into()),
                        old_writes_idle: Some(Duration::from_secs(900)),
                    }],
                },
            },
            state,
            phase: Phase::Backfill,
            gate: None,
            approvals: Vec::new(),
            reason: None,
            error: None,
            pause_requested: None,
            rows_affected: 631_204,
            live: Some(Live {
                backfill: vec![told()],
                verify: Vec::new(),
                held: vec![Hold {
                    signal: "replication_lag".into(),
                    reading: "12.4s (standby eu-2)".into(),
                    limit: "10s".into(),
                }],
                waiting_for: None,
            }),
            holder: Some(Holder {
                host: "ci-7".into(),
                pid: 4121,
                boot: "b".into(),
                user: "deploy".into(),
            }),
            epoch: 3,
            started_at: "2026-11-20T10:15:00Z".into(),
            finished_at: None,
            database: "shop".into(),
        }
    }

    fn record(run: &RunRecord, old_writes: &OldWrites) -> StatusRecord {
        StatusRecord::new(run, &steps(), old_writes, Some("plans/email.yaml"))
    }

    #[test]
    fn json_of_a_running_run() {
        let record = record(&run(RunState::Running), &OldWrites::default());
        insta::assert_json_snapshot!(record);
    }

    #[test]
    fn history_leaves_steps_out() {
        let record = record(&run(RunState::Completed), &OldWrites::default()).without_steps();
        let json = serde_json::to_value(record).expect("a record is JSON");
        assert_eq!(json.get("steps"), None);
        assert_eq!(json["verify"], serde_json::Value::Null);
    }

    #[test]
    fn a_gate_says_what_is_missing_and_what_to_type() {
        let mut run = run(RunState::Waiting);
        run.phase = Phase::Verify;
        run.gate = Some(Phase::Contract);
        run.holder = None;
        let old_writes = OldWrites {
            last_at: Some("2026-11-20T10:20:00Z".into()),
            idle: Some(Duration::from_millis(180_400)),
            conflicts: 0,
        };

        let at_gate = record(&run, &old_writes);
        assert_eq!(at_gate.gate, Some("contract"));
        assert_eq!(
            at_gate.waiting_for.as_deref(),
            Some("approval of gate contract and no old-version write for 15m (so far 3m)")
        );
        assert_eq!(at_gate.reason.as_deref(), Some("app 4.2 everywhere"));
        assert_eq!(
            at_gate.next.as_deref(),
            Some("pontoon approve 01935c1e-9a40-7000-8000-000000000001 contract")
        );

        run.approvals = vec![(Phase::Contract, "ada".into(), "2026-11-20T10:21:00Z".into())];
        let approved = record(&run, &old_writes);
        assert_eq!(
            approved.next.as_deref(),
            Some("pontoon run plans/email.yaml --wait-gates")
        );

        let quiet = OldWrites {
            idle: Some(Duration::from_secs(901)),
            ..old_writes
        };
        let ready = record(&run, &quiet);
        assert_eq!(ready.waiting_for.as_deref(), Some("a process that runs it"));
        assert_eq!(ready.next.as_deref(), Some("pontoon run plans/email.yaml"));
    }

    #[test]
    fn an_unknown_idle_time_is_not_taken_for_idle() {
        let mut run = run(RunState::Waiting);
        run.gate = Some(Phase::Contract);
        run.approvals = vec![(Phase::Contract, "ada".into(), String::new())];
        let record = record(&run, &OldWrites::default());
        assert_eq!(
            record.waiting_for.as_deref(),
            Some("no old-version write for 15m (when one was made last is not known)")
        );
    }

    #[test]
    fn an_operators_pause_is_lifted_by_resume_and_a_spent_budget_by_run() {
        let mut run = run(RunState::Paused);
        run.holder = None;
        run.reason = Some("patience for a lock on public.users is spent".into());
        assert_eq!(
            record(&run, &OldWrites::default()).next.as_deref(),
            Some("pontoon run plans/email.yaml")
        );
        run.reason = None;
        run.pause_requested = Some("ada@desk".into());
        let paused = record(&run, &OldWrites::default());
        assert_eq!(
            paused.next.as_deref(),
            Some("pontoon resume 01935c1e-9a40-7000-8000-000000000001")
        );
        assert_eq!(paused.reason.as_deref(), Some("paused by ada@desk"));
    }

    #[test]
    fn a_dead_holders_rates_and_holds_are_not_shown() {
        let mut run = run(RunState::Running);
        run.holder = None;
        let record = record(&run, &OldWrites::default());
        assert_eq!(record.throttle, Vec::new());
        assert_eq!(record.backfill[0].rows_done, 631_204);
        assert!(record.backfill[0].rows_per_second.abs() < f64::EPSILON);
        assert_eq!(record.backfill[0].eta_seconds, None);
        assert_eq!(
            record.waiting_for.as_deref(),
            Some("a process that runs it")
        );
    }

    #[test]
    fn verify_is_clean_only_when_every_table_is() {
        let pass = |no, clean| VerifyProgress {
            no,
            table: users(),
            pass: 2,
            checked: 10,
            pages_done: 1,
            pages_total: 1,
            mismatched: 1,
            conflicts: 0,
            repaired: 1,
            examples: Vec::new(),
            clean,
        };
        let mut run = run(RunState::Running);
        let mut steps = steps();
        let mut second = steps[2].clone();
        second.step.no = 4;
        steps.push(second);
        steps[2].detail = serde_json::to_value(pass(3, true)).expect("it is JSON");
        let one = StatusRecord::new(&run, &steps, &OldWrites::default(), None);
        assert_eq!(one.verify.map(|verify| verify.clean), Some(false));

        run.live = Some(Live {
            verify: vec![pass(4, true)],
            ..Live::default()
        });
        let both = StatusRecord::new(&run, &steps, &OldWrites::default(), None);
        let verify = both.verify.expect("two passes were made");
        assert!(verify.clean);
        assert_eq!((verify.pass, verify.checked, verify.repaired), (2, 20, 2));
    }

    #[test]
    fn odd_paths_are_quoted_for_the_shell() {
        assert_eq!(shell_word("plans/a.yaml"), "plans/a.yaml");
        assert_eq!(shell_word("it's.yaml"), r"'it'\''s.yaml'");
    }
}
