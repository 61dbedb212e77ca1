//! Plain lines, for logs and pipes: one sentence per event, and progress no
//! more often than a log can bear.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pontoon_engine::event::{Event, Record};
use pontoon_engine::status::StatusRecord;

use super::{View, run_of};
use crate::output::{Loudness, Output};
use crate::words;

/// Between two lines of progress of one step.
const PROGRESS: Duration = Duration::from_secs(5);
/// Between two lines about the same wait.
const WAIT: Duration = Duration::from_secs(30);

pub(super) struct Plain {
    output: Arc<Output>,
    limiter: Limiter,
}

impl Plain {
    pub(super) fn new(output: Arc<Output>) -> Self {
        Self {
            output,
            limiter: Limiter::default(),
        }
    }
}

impl View for Plain {
    fn event(&mut self, record: &Record) {
        if !is_told(&record.event, self.output.loudness) {
            return;
        }
        if self.limiter.allows(&record.event, Instant::now()) {
            self.output
                .line(&words::event(run_of(record), &record.event));
            if let Event::LockWaiting { blockers, .. } = &record.event {
                let commands: Vec<String> =
                    blockers.iter().filter_map(words::release_blocker).collect();
                self.output.text(&words::hints(&[], &commands));
            }
        }
    }

    fn status(&mut self, _: &StatusRecord) {}
}

/// Is an event worth a line at this loudness?
pub(super) fn is_told(event: &Event, loudness: Loudness) -> bool {
    let verbose = match loudness {
        Loudness::Quiet => return false,
        Loudness::Normal => false,
        Loudness::Verbose(_) => true,
    };
    match event {
        // The end of a short step tells of it too; only long ones need both.
        Event::StepStarted { kind, .. } => verbose || matches!(kind.as_str(), "concurrent" | "sql"),
        Event::LeaseTaken {
            taken_over_from, ..
        } => verbose || taken_over_from.is_some(),
        // The sitting's last lines say it with what to type.
        Event::GateReached { .. } | Event::StateChanged { .. } => verbose,
        Event::RunStarted { .. }
        | Event::RunResumed { .. }
        | Event::PhaseStarted { .. }
        | Event::StepFinished { .. }
        | Event::StepProgress { .. }
        | Event::LockWaiting { .. }
        | Event::BackfillProgress(_)
        | Event::BackfillRestarted { .. }
        | Event::VerifyProgress(_)
        | Event::VerifyFinished(_)
        | Event::Held { .. }
        | Event::Holding { .. }
        | Event::HoldEnded { .. }
        | Event::Yielding { .. }
        | Event::FullSpeed
        | Event::ThrottleOn
        | Event::GateApproved { .. }
        | Event::Retrying { .. }
        | Event::Command { .. }
        | Event::WorkerJoined { .. }
        | Event::WorkerLeft { .. }
        | Event::WorkerLost { .. }
        | Event::Warning { .. } => true,
    }
}

/// Lets an event of one kind through when it tells something new, or when the
/// last one is long enough ago.
#[derive(Default)]
pub(super) struct Limiter {
    last: HashMap<String, (Instant, String)>,
}

impl Limiter {
    pub(super) fn allows(&mut self, event: &Event, now: Instant) -> bool {
        let (key, content, pause) = match event {
            Event::BackfillProgress(progress) => {
                (format!("backfill {}", progress.no), String::new(), PROGRESS)
            }
            Event::VerifyProgress(progress) => (
                format!("verify {}", progress.no),
                progress.pass.to_string(),
                PROGRESS,
            ),
            Event::StepProgress { no, doing, .. } => {
                (format!("step {no}"), doing.clone(), PROGRESS)
            }
            Event::LockWaiting { no, blockers, .. } => {
                let who: Vec<String> = blockers
                    .iter()
                    .map(|blocker| format!("{}{:?}", blocker.pid, blocker.gid))
                    .collect();
                (format!("lock {no}"), who.join(" "), WAIT)
            }
            Event::Held { signal, .. } | Event::Holding { signal, .. } => {
                (format!("held {signal}"), String::new(), WAIT)
            }
            Event::HoldEnded { signal, .. } => {
                // A hold that comes right after its end is news again only
                // after a while; signals flutter around their limit.
                (format!("free {signal}"), String::new(), WAIT)
            }
            Event::Yielding { .. } => ("yields".to_owned(), String::new(), WAIT),
            Event::FullSpeed => ("full speed".to_owned(), String::new(), WAIT),
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::LeaseTaken { .. }
            | Event::PhaseStarted { .. }
            | Event::StepStarted { .. }
            | Event::StepFinished { .. }
            | Event::BackfillRestarted { .. }
            | Event::VerifyFinished(_)
            | Event::ThrottleOn
            | Event::GateReached { .. }
            | Event::GateApproved { .. }
            | Event::Retrying { .. }
            | Event::Command { .. }
            | Event::WorkerJoined { .. }
            | Event::WorkerLeft { .. }
            | Event::WorkerLost { .. }
            | Event::StateChanged { .. }
            | Event::Warning { .. } => return true,
        };
        let new = match self.last.get(&key) {
            Some((at, told)) => *told != content || now.duration_since(*at) >= pause,
            None => true,
        };
        if new {
            self.last.insert(key, (now, content));
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::name::TableName;
    use pontoon_engine::db::Own;
    use pontoon_engine::event::{BackfillProgress, Blocker};

    use super::*;

    fn progress() -> Event {
        Event::BackfillProgress(BackfillProgress {
            no: 4,
            table: TableName::new("public", "users"),
            rows_done: 1,
            rows_total: None,
            pages_done: 1,
            pages_total: 2,
            rows_per_second: 1.0,
            eta_seconds: None,
            batch_rows: 1,
            own: Own::default(),
        })
    }

    fn waiting(pid: i32) -> Event {
        Event::LockWaiting {
            no: 2,
            attempts: 1,
            blockers: vec![Blocker {
                pid,
                gid: None,
                user: None,
                application: None,
                state: None,
                age_ms: 0,
                mode: "AccessShareLock".into(),
                relation: "public.users".into(),
                query: None,
            }],
            patience_ms: 1000,
        }
    }

    #[test]
    fn progress_is_told_every_five_seconds() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        let told: Vec<u64> = (0..12)
            .filter(|second| limiter.allows(&progress(), start + Duration::from_secs(*second)))
            .collect();
        assert_eq!(told, [0, 5, 10]);
    }

    #[test]
    fn another_blocker_is_told_at_once() {
        let mut limiter = Limiter::default();
        let start = Instant::now();
        assert!(limiter.allows(&waiting(1), start));
        assert!(!limiter.allows(&waiting(1), start + Duration::from_secs(1)));
        assert!(limiter.allows(&waiting(2), start + Duration::from_secs(2)));
    }

    #[test]
    fn quiet_is_quiet() {
        assert!(!is_told(&progress(), Loudness::Quiet));
        assert!(is_told(&progress(), Loudness::Normal));
        let state = Event::StateChanged {
            state: "waiting".into(),
            reason: None,
        };
        assert!(!is_told(&state, Loudness::Normal));
        assert!(is_told(&state, Loudness::Verbose(1)));
    }
}
