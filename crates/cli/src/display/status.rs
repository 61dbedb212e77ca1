//! Status records for people: a table of several, or all about one.

use std::fmt::Write as _;

use comfy_table::{CellAlignment, Table, presets};
use pontoon_engine::setting::Effective;
use pontoon_engine::status::{BackfillStatus, StatusRecord, StepStatus};

use crate::words;

/// What an SRE reads at three in the morning: what is happening, and why it waits.
fn headline(status: &StatusRecord) -> String {
    let what = match status.state {
        "pending" => "is written and has not begun".to_owned(),
        "running" => format!("is running in phase {}", status.phase),
        "waiting" => match status.gate {
            Some(gate) => format!("stands at the gate before {gate}"),
            None => format!("waits in phase {}", status.phase),
        },
        "paused" => format!("is paused in phase {}", status.phase),
        "failed" => format!("has failed in phase {}", status.phase),
        "rolling_back" => "is being rolled back".to_owned(),
        "rolled_back" => "was rolled back".to_owned(),
        "completed" => "is completed".to_owned(),
        other => format!("is {other}"),
    };
    let waits = match &status.waiting_for {
        // A person reads this from the state, and what to do from the hint.
        Some(waits) if waits.starts_with("a process") => match status.state {
            "failed" | "paused" => String::new(),
            _ => ", but no process runs it now".to_owned(),
        },
        Some(waits) => {
            let gate = status.gate.unwrap_or_default();
            let waits = waits.replace(&format!(" of gate {gate}"), "");
            format!(" and waits for {waits}")
        }
        None => String::new(),
    };
    format!("{} {what}{waits}.", status.plan)
}

/// One run, in full.
pub(crate) fn one(status: &StatusRecord) -> String {
    let mut text = headline(status);
    text.push('\n');
    let mut put = |name: &str, value: String| {
        writeln!(text, "  {name:<12} {value}").expect("writing to a String cannot fail");
    };
    if let Some(reason) = &status.reason {
        put("Reason", words::sentence(reason));
    }
    if let Some(error) = &status.error {
        put(
            "Error",
            format!(
                "{} ({})",
                words::failure_sentence(&error.message),
                error.code
            ),
        );
        if let Some(hint) = &error.hint {
            put("", words::sentence(hint));
        }
    }
    put("Run", status.run.to_string());
    put(
        "Plan",
        format!("{}, version {}", status.plan, status.version),
    );
    put("Database", status.database.clone());
    put("Phase", status.phase.to_owned());
    put(
        "Held by",
        status.holder.clone().map_or_else(
            || "nobody".to_owned(),
            |holder| format!("{holder} (epoch {})", status.epoch),
        ),
    );
    put("Started", status.started_at.clone());
    if let Some(finished) = &status.finished_at {
        put("Finished", finished.clone());
    }
    for backfill in &status.backfill {
        put("Backfill", backfill_line(backfill));
    }
    if let Some(yielding) = status.yielding {
        let text = format!(
            "to the application{}; full speed: pontoon set {} nice-ratio 0",
            words::at_work(yielding.sessions),
            status.run
        );
        put("Yields", text);
    }
    for hold in &status.throttle {
        put("Held back", hold.text());
    }
    if let Some(until) = &status.throttle_off_until {
        put("Throttle", format!("off until {until}"));
    }
    if let Some(verify) = &status.verify {
        let verdict = if verify.clean {
            "clean"
        } else {
            "not clean yet"
        };
        put(
            "Verify",
            format!(
                "{verdict}, pass {}: {} checked, {} out of step, {} repaired, {}",
                verify.pass,
                words::counted(verify.checked, "row"),
                words::count(verify.mismatched),
                words::count(verify.repaired),
                words::counted(verify.conflicts, "conflict"),
            ),
        );
    }
    for worker in &status.workers {
        let doing = match (
            worker.throttle.first(),
            &worker.waiting_for,
            worker.ranges.as_slice(),
        ) {
            (Some(hold), _, _) => format!("held back by {}", hold.text()),
            (None, Some(waits), _) => format!("waits for {waits}"),
            (None, None, []) => "has nothing to do".to_owned(),
            (None, None, ranges) => format!("works on {}", ranges.join(", ")),
        };
        put(
            "Helped by",
            format!(
                "{}: {doing}; {} rows, {} rows/s",
                worker.worker,
                words::count(worker.rows),
                words::count(words::whole(worker.rows_per_second))
            ),
        );
    }
    for live in &status.live_settings {
        put(
            "Set live",
            format!("{} {}, by {} at {}", live.key, live.value, live.by, live.at),
        );
    }
    put(
        "Locks",
        format!(
            "longest wait {}, longest hold {}, budget {}",
            words::millis(status.locks.worst_wait_ms),
            words::millis(status.locks.worst_hold_ms),
            words::millis(status.locks.budget_ms as f64)
        ),
    );
    put("Old writes", old_writes(status));
    if let Some(steps) = status.steps.as_ref().filter(|steps| !steps.is_empty()) {
        text.push('\n');
        text.push_str(&steps_table(steps));
    }
    if let Some(next) = &status.next {
        text.push('\n');
        text.push_str(&words::hints(&[], std::slice::from_ref(next)));
    }
    text
}

fn old_writes(status: &StatusRecord) -> String {
    let writes = &status.old_writes;
    let mut text = match (&writes.last_at, writes.idle) {
        (Some(at), Some(idle)) => format!(
            "last old-version write {} ago, at {at}",
            words::seconds(idle.as_secs_f64())
        ),
        (Some(at), None) => format!("last old-version write at {at}"),
        (None, Some(idle)) => format!("none seen for {}", words::seconds(idle.as_secs_f64())),
        (None, None) => "unknown (nothing watches them in this phase)".to_owned(),
    };
    if writes.conflicts > 0 {
        write!(
            text,
            "; {} gave both shapes inconsistently",
            words::counted(writes.conflicts, "write")
        )
        .expect("writing to a String cannot fail");
    }
    text
}

fn backfill_line(backfill: &BackfillStatus) -> String {
    let rows = match backfill.rows_total {
        Some(total) => format!(
            "{} of about {}",
            words::count(backfill.rows_done),
            words::counted(total, "row")
        ),
        None => words::counted(backfill.rows_done, "row"),
    };
    let mut text = format!("{}: {rows}", backfill.table);
    if backfill.pages_total > 0 {
        write!(
            text,
            ", {}% of the table",
            words::percent(backfill.pages_done, backfill.pages_total)
        )
        .expect("writing to a String cannot fail");
    }
    if backfill.rows_per_second > 0.0 {
        write!(
            text,
            ", {} rows/s",
            words::count(words::whole(backfill.rows_per_second))
        )
        .expect("writing to a String cannot fail");
    }
    if let Some(eta) = backfill.eta_seconds {
        write!(text, ", {} to go", words::seconds(eta)).expect("writing to a String cannot fail");
    }
    text
}

fn steps_table(steps: &[StepStatus]) -> String {
    let mut table = plain_table([
        "STEP", "PHASE", "KIND", "STATE", "TRIES", "WAIT", "HOLD", "ROWS", "WHAT",
    ]);
    for step in steps {
        let begun = step.attempts > 0 || step.wait_ms > 0.0 || step.hold_ms > 0.0;
        let cost = |ms: f64| {
            if begun {
                words::millis(ms)
            } else {
                String::new()
            }
        };
        let number = |number: u64| match number {
            0 => String::new(),
            n => words::count(n),
        };
        table.add_row([
            step.no.to_string(),
            step.phase.to_owned(),
            step.kind.to_owned(),
            step.state.to_owned(),
            number(u64::from(step.attempts)),
            cost(step.wait_ms),
            cost(step.hold_ms),
            number(step.rows),
            step.name.clone(),
        ]);
    }
    for index in [0, 4, 5, 6, 7] {
        right(&mut table, index);
    }
    finished(&table)
}

/// Several runs, one line each.
pub(crate) fn table(runs: &[StatusRecord]) -> String {
    let mut table = plain_table([
        "RUN",
        "PLAN",
        "VERSION",
        "STATE",
        "PHASE",
        "ROWS",
        "STARTED",
        "FINISHED",
        "WAITS FOR",
    ]);
    for run in runs {
        let rows: u64 = run.backfill.iter().map(|backfill| backfill.rows_done).sum();
        table.add_row([
            run.run.to_string(),
            run.plan.clone(),
            run.version.clone(),
            run.state.replace('_', " "),
            run.phase.to_owned(),
            words::count(rows),
            minute(&run.started_at),
            run.finished_at.as_deref().map(minute).unwrap_or_default(),
            run.waiting_for.clone().unwrap_or_default(),
        ]);
    }
    right(&mut table, 5);
    finished(&table)
}

/// Settings of a run, one line each, with where they come from.
pub(crate) fn settings(settings: &[Effective]) -> String {
    let mut table = plain_table(["SETTING", "VALUE", "FROM"]);
    for setting in settings {
        let from = match (&setting.set_by, &setting.set_at, &setting.otherwise) {
            (Some(by), Some(at), Some(otherwise)) => {
                format!("set by {by} at {at}; otherwise {otherwise}")
            }
            _ => setting.origin.clone(),
        };
        table.add_row([setting.key.clone(), setting.value.clone(), from]);
    }
    finished(&table)
}

/// A table of words in columns, without lines, that never wraps: its cells
/// are meant to be copied.
pub(super) fn plain_table<'a>(header: impl IntoIterator<Item = &'a str>) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table.set_header(header.into_iter().collect::<Vec<_>>());
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table
}

fn right(table: &mut Table, index: usize) {
    if let Some(column) = table.column_mut(index) {
        column.set_cell_alignment(CellAlignment::Right);
    }
}

pub(super) fn finished(table: &Table) -> String {
    format!("{}\n", table.trim_fmt())
}

/// `2026-11-20T10:15:00.123Z` as `2026-11-20 10:15`.
fn minute(at: &str) -> String {
    at.get(..16).unwrap_or(at).replace('T', " ")
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use pontoon_engine::db::{Hold, LiveSetting, StoredError, Yielding};
    use pontoon_engine::status::{LockStatus, OldWriteStatus, VerifyStatus, WorkerStatus};
    use uuid::Uuid;

    use super::*;

    pub(in super::super) fn record() -> StatusRecord {
        StatusRecord {
            schema: 1,
            run: Uuid::from_u128(0x0193_5c1e_9a40_7000_8000_0000_0000_0001),
            plan: "users_email_normalized".into(),
            version: "20261120101500".into(),
            issue: None,
            database: "shop".into(),
            state: "running",
            phase: "backfill",
            standing: "running".into(),
            gate: None,
            waiting_for: Some("replication_lag 12.4s (standby eu-2) >= 10s".into()),
            reason: None,
            next: None,
            error: None,
            holder: Some("deploy@ci-7, pid 4121".into()),
            epoch: 3,
            started_at: "2026-11-20T10:15:00.123Z".into(),
            finished_at: None,
            backfill: vec![BackfillStatus {
                table: "public.users".into(),
                rows_done: 631_204,
                rows_total: Some(1_000_000),
                pages_done: 6_300,
                pages_total: 10_000,
                rows_per_second: 52_310.5,
                eta_seconds: Some(7.05),
                batch_rows: 4_000,
            }],
            throttle: vec![Hold {
                signal: "replication_lag".into(),
                reading: "12.4s (standby eu-2)".into(),
                limit: "10s".into(),
            }],
            yielding: Some(Yielding { sessions: Some(14) }),
            throttle_off_until: Some("2026-11-20T10:35:00.123Z".into()),
            workers: vec![WorkerStatus {
                worker: "ci@build-2, pid 77".into(),
                joined_at: "2026-11-20T10:16:00.000Z".into(),
                ranges: vec!["public.users 3".into()],
                rows: 120_000,
                rows_per_second: 20_100.0,
                throttle: Vec::new(),
                waiting_for: None,
            }],
            live_settings: vec![LiveSetting {
                key: "workers".into(),
                value: "4".into(),
                by: "ada@desk".into(),
                at: "2026-11-20T10:16:00.000Z".into(),
                forced: false,
            }],
            locks: LockStatus {
                worst_wait_ms: 312.0,
                worst_hold_ms: 4.5,
                budget_ms: 500,
            },
            verify: None,
            old_writes: OldWriteStatus {
                last_at: Some("2026-11-20T10:20:00Z".into()),
                idle: Some(Duration::from_secs(14 * 60)),
                conflicts: 2,
            },
            steps: Some(vec![
                StepStatus {
                    no: 1,
                    phase: "expand",
                    kind: "ddl",
                    name: "add column users.email_normalized".into(),
                    state: "done",
                    attempts: 2,
                    wait_ms: 312.0,
                    hold_ms: 4.5,
                    rows: 0,
                },
                StepStatus {
                    no: 10,
                    phase: "contract",
                    kind: "ddl",
                    name: "drop the dual write of users".into(),
                    state: "pending",
                    attempts: 0,
                    wait_ms: 0.0,
                    hold_ms: 0.0,
                    rows: 0,
                },
            ]),
        }
    }

    #[test]
    fn a_running_run_in_full() {
        insta::assert_snapshot!(one(&record()));
    }

    #[test]
    fn a_run_at_its_gate() {
        let mut at_gate = record();
        at_gate.state = "waiting";
        at_gate.phase = "verify";
        at_gate.gate = Some("contract");
        at_gate.holder = None;
        at_gate.waiting_for = Some("approval of gate contract".into());
        at_gate.reason = Some("app 4.2 everywhere".into());
        at_gate.next = Some("pontoon approve 01935c1e contract".into());
        at_gate.throttle = Vec::new();
        at_gate.yielding = None;
        at_gate.throttle_off_until = None;
        at_gate.verify = Some(VerifyStatus {
            pass: 2,
            checked: 1_000_000,
            mismatched: 0,
            conflicts: 0,
            repaired: 0,
            clean: true,
        });
        insta::assert_snapshot!(one(&at_gate));
    }

    #[test]
    fn a_failed_run_says_why_and_what_to_do() {
        let mut failed = record();
        failed.state = "failed";
        failed.holder = None;
        failed.waiting_for = Some("a process that tries again".into());
        failed.next = Some("pontoon run users.yaml".into());
        failed.steps = None;
        failed.throttle = Vec::new();
        failed.yielding = None;
        failed.throttle_off_until = None;
        failed.error = Some(StoredError {
            code: "22012".into(),
            message: "backfill public.users: division by zero (row id=17)".into(),
            hint: Some("correct the row, or make `up` total".into()),
        });
        insta::assert_snapshot!(one(&failed));
    }

    #[test]
    fn several_runs_in_columns() {
        let mut done = record();
        done.state = "completed";
        done.phase = "contract";
        done.waiting_for = None;
        done.finished_at = Some("2026-11-20T11:00:00Z".into());
        insta::assert_snapshot!(table(&[record(), done]));
    }
}
