//! Numbers: backfills, locks, verify passes, steps.

use pontoon_core::step::Action;

use super::{BackfillStatus, LockStatus, StepStatus, VerifyStatus};
use crate::db::{RunRecord, StepRecord, StepState};
use crate::event::{BackfillProgress, VerifyProgress};

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

pub(super) fn backfill(run: &RunRecord, steps: &[StepRecord]) -> Vec<BackfillStatus> {
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
            | Action::Sql(_)
            | Action::Wait(_) => None,
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

pub(super) fn locks(run: &RunRecord, steps: &[StepRecord]) -> LockStatus {
    let strong = steps.iter().filter(|step| match step.step.action {
        Action::Ddl(_) | Action::Sync(_) | Action::Sql(_) => true,
        // Their locks let reads and writes pass.
        Action::Concurrent(_) | Action::Backfill(_) | Action::Verify(_) | Action::Wait(_) => false,
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

pub(super) fn verify(run: &RunRecord, steps: &[StepRecord]) -> Option<VerifyStatus> {
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
            | Action::Sql(_)
            | Action::Wait(_) => {}
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

pub(super) fn step_status(step: &StepRecord) -> StepStatus {
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
