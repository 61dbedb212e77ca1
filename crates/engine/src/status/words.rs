//! What a run waits for, why, and what to type.

use std::time::Duration;

use pontoon_core::step::Phase;

use crate::db::{OldWrites, RunRecord, RunState};

fn is_approved(run: &RunRecord, gate: Phase) -> bool {
    run.approvals
        .iter()
        .any(|(approved, _, _)| *approved == gate)
}

/// The state as people see it: a run that an operator has paused while nobody
/// held it is paused, too, and goes back to its own state when it is resumed.
pub(super) fn shown_state(run: &RunRecord) -> RunState {
    let is_paused = run.pause_requested.is_some() && run.holder.is_none();
    match run.state {
        RunState::Pending | RunState::Running | RunState::Waiting | RunState::Failed
            if is_paused =>
        {
            RunState::Paused
        }
        state => state,
    }
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

pub(super) fn waiting_for(
    run: &RunRecord,
    gate: Option<Phase>,
    old_writes: &OldWrites,
) -> Option<String> {
    let live = || match (&run.live, &run.holder) {
        (Some(live), Some(_)) => live
            .waiting_for
            .clone()
            .or_else(|| live.held.first().map(crate::db::Hold::text)),
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

pub(super) fn reason(run: &RunRecord, gate: Option<Phase>) -> Option<String> {
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

pub(super) fn next(
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

/// A state in a few words for a table: `waiting at contract`, `stopped in
/// backfill` for a run that would go on if a process held it.
pub(crate) fn state_words(run: &RunRecord) -> String {
    let state = shown_state(run);
    match (state, run.gate, &run.holder) {
        (RunState::Waiting, Some(gate), _) => format!("waiting at {}", gate.name()),
        (RunState::Running, _, None) => format!("stopped in {}", run.phase.name()),
        (RunState::Paused, _, _) => format!("paused in {}", run.phase.name()),
        _ => state.name().replace('_', " "),
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
