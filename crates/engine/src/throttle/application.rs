//! Is the application at work?
//!
//! Batches yield to it, and only to it: on a server where nobody else does
//! anything they go as fast as they can. Until that is known, and when it
//! cannot be found out, they yield.

use std::time::Duration;

use tokio::time::Instant;

use super::STALE;
use crate::db::Company;
use crate::event::{Event, Sink};

/// How soon it is asked again while nobody is at work: who comes back shall
/// not meet batches at full speed for long.
const ALONE: Duration = Duration::from_millis(250);
/// The same while somebody is, or may be: the question costs the server
/// something, too, and batches that yield for a second longer harm nobody.
const BESIDE: Duration = Duration::from_secs(1);

/// When to ask again after this answer.
pub(super) fn again(answer: Option<Company>) -> Duration {
    match answer {
        Some(Company::Sessions(0)) => ALONE,
        _ => BESIDE,
    }
}

/// What is known of the application.
#[derive(Debug, Default)]
pub(super) struct Application {
    /// The last answer, and when it came.
    answer: Option<(Instant, Company)>,
    /// What was told last: yielding, or not.
    told: bool,
    warned: bool,
}

impl Application {
    /// An answer has come.
    pub(super) fn take(&mut self, company: Company, now: Instant) {
        self.answer = Some((now, company));
    }

    /// Shall batches yield? `wanted`: they shall where there is somebody to
    /// yield to. Tells of every change.
    pub(super) fn judge(&mut self, wanted: bool, now: Instant, sink: &Sink) -> bool {
        let company = self
            .answer
            .as_ref()
            .filter(|(at, _)| now.duration_since(*at) < STALE)
            .map(|(_, company)| *company);
        let yields = wanted && company.is_none_or(|company| company != Company::Sessions(0));
        if wanted && company == Some(Company::Hidden) && !self.warned {
            self.warned = true;
            sink.emit(Event::Warning {
                message: "whether the application is at work is not visible to this role, so batches yield to it all the time; GRANT pg_monitor to it".to_owned(),
            });
        }
        // Before the first answer there is nothing to tell.
        if company.is_some() && yields != self.told {
            self.told = yields;
            sink.emit(match (yields, company) {
                (false, _) => Event::FullSpeed,
                (true, Some(Company::Sessions(sessions))) => Event::Yielding {
                    sessions: Some(sessions),
                },
                (true, Some(Company::Hidden) | None) => Event::Yielding { sessions: None },
            });
        }
        yields
    }
}
