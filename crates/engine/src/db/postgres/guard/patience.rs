//! How long a step waits for its locks in all, and who was in the way.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Guarded;
use super::locks::InTheWay;
use crate::db::{ActReport, Budget, DbError, ErrorKind};
use crate::event::{Blocker, Event, Sink};

/// How often the wait is told.
const TELL: Duration = Duration::from_secs(1);

/// How long we wait in all, and who was seen in the way.
pub(super) struct Patience {
    begun: Instant,
    budget: Budget,
    told: Option<Instant>,
    blockers: Vec<Blocker>,
    /// Since when each transaction has been seen, for those whose age is
    /// hidden from our role.
    seen: HashMap<String, Instant>,
}

impl Patience {
    pub(super) fn new(budget: Budget) -> Self {
        Self {
            begun: Instant::now(),
            budget,
            told: None,
            blockers: Vec::new(),
            seen: HashMap::new(),
        }
    }

    pub(super) fn left(&self) -> Duration {
        self.budget
            .lock_patience()
            .saturating_sub(self.begun.elapsed())
    }

    /// The age of a holder's transaction, or for how long we have known it.
    pub(super) fn age(&mut self, holder: &InTheWay) -> Duration {
        if holder.blocker.pid == 0 {
            // Prepared transactions end when somebody remembers them.
            return Duration::MAX;
        }
        match holder.age_ms {
            Some(age) => Duration::from_secs_f64(age.max(0.0) / 1e3),
            None => self
                .seen
                .entry(holder.owner.clone())
                .or_insert_with(Instant::now)
                .elapsed(),
        }
    }

    pub(super) fn remember(&mut self, holders: &[InTheWay]) {
        if !holders.is_empty() {
            self.blockers = holders
                .iter()
                .map(|holder| holder.blocker.clone())
                .collect();
        }
    }

    /// Tells who is in the way, at most once a second.
    pub(super) fn tell(&mut self, guarded: &Guarded<'_>, report: &ActReport, sink: &Sink) {
        if self.told.is_some_and(|told| told.elapsed() < TELL) {
            return;
        }
        self.told = Some(Instant::now());
        sink.emit(Event::LockWaiting {
            no: guarded.no,
            attempts: report.attempts,
            blockers: self.blockers.clone(),
            patience_ms: u64::try_from(self.left().as_millis()).unwrap_or(u64::MAX),
        });
    }

    pub(super) fn spent(&self, guarded: &Guarded<'_>) -> DbError {
        let mut message = format!(
            "{}: its locks were not to be had within lock_patience ({})",
            guarded.doing,
            humantime::format_duration(self.budget.lock_patience())
        );
        for blocker in self.blockers.iter().take(3) {
            message.push_str("; ");
            message.push_str(&name(blocker));
        }
        let error = DbError::new(
            ErrorKind::LockPatience {
                blockers: self.blockers.clone(),
            },
            message,
        )
        .hint("End what holds the lock, or raise lock_patience; then run again.");
        if self
            .blockers
            .iter()
            .any(|blocker| blocker.pid != 0 && blocker.state.is_none())
        {
            return error.hint(
                "Ages and queries of other roles' sessions are hidden; GRANT pg_monitor to see them.",
            );
        }
        error
    }
}

/// A blocker in one line.
fn name(blocker: &Blocker) -> String {
    if let (0, None, Some(why)) = (blocker.pid, &blocker.gid, &blocker.application) {
        return why.clone();
    }
    let who = match &blocker.gid {
        Some(gid) => format!("prepared transaction {gid:?}"),
        None => format!("pid {}", blocker.pid),
    };
    let mut text = format!("{who} holds {} on {}", blocker.mode, blocker.relation);
    if let Some(state) = &blocker.state {
        text.push_str(&format!(", {state} since {} ms", blocker.age_ms));
    }
    text
}
