use std::collections::BTreeMap;

use pontoon_core::name::TableName;
use pontoon_core::plan::{BackfillOptions, Gate, Limits};
use pontoon_core::step::{
    Action, Backfill, BackfillWork, Ddl, Program, Step, Undo, Verify, WIRE_VERSION,
};

use super::*;
use crate::db::{Base, Holder, Live, NewRun, Settings, StepState};
use crate::event::{BackfillProgress, VerifyProgress};

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
        own: crate::db::Own::default(),
        batch_rows: 4_000,
    }
}

fn run(state: RunState) -> RunRecord {
    let settings = Settings {
        limits: Limits::default(),
        backfill: BackfillOptions::default(),
        throttle: BTreeMap::new(),
        gates: vec![Gate {
            before: Phase::Contract,
            message: Some("app 4.2 everywhere".into()),
            old_writes_idle: Some(Duration::from_secs(900)),
        }],
    };
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
            settings: settings.clone(),
        },
        base: Base {
            settings,
            origins: BTreeMap::new(),
            ceilings: BTreeMap::new(),
            forced: false,
        },
        live_settings: Vec::new(),
        revision: 0,
        workers: Vec::new(),
        state,
        phase: Phase::Backfill,
        gate: None,
        approvals: Vec::new(),
        reason: None,
        error: None,
        pause_requested: None,
        throttle_off_until: None,
        rows_affected: 631_204,
        live: Some(Live {
            yielding: Some(crate::db::Yielding { sessions: Some(14) }),
            backfill: vec![told()],
            verify: Vec::new(),
            held: vec![Hold {
                signal: "replication_lag".into(),
                reading: "12.4s (standby eu-2)".into(),
                limit: "10s".into(),
            }],
            waiting_for: None,
            own: crate::db::Own::default(),
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
    run.state = RunState::Waiting;
    let shown = record(&run, &OldWrites::default());
    assert_eq!(shown.state, "paused", "nobody held it when it was paused");
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
        lost: 0,
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
