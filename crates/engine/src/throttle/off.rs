//! Has an operator switched the throttle off?
//!
//! The database says so, and for how much longer; without an answer it expires
//! on our clock. An answer that was on its way meanwhile speaks of a time that
//! is over, which is why each request has a number and ends once.

use tokio::time::Instant;

use crate::db::ThrottleOff;
use crate::event::{Event, Sink};

#[derive(Debug, Default)]
pub(super) struct Off {
    /// The request that is in force, and until when.
    until: Option<(i64, Instant)>,
    /// The last request that has ended.
    ended: Option<i64>,
}

impl Off {
    /// An answer has come.
    pub(super) fn take(&mut self, answer: Option<ThrottleOff>, now: Instant, sink: &Sink) {
        match answer {
            Some(off) if self.ended == Some(off.request) => {}
            Some(off) => self.until = Some((off.request, now + off.left)),
            None => self.end(sink),
        }
    }

    /// Is it off? Tells when that is over.
    pub(super) fn judge(&mut self, now: Instant, sink: &Sink) -> bool {
        let off = self.until.is_some_and(|(_, until)| now < until);
        if !off {
            self.end(sink);
        }
        off
    }

    fn end(&mut self, sink: &Sink) {
        if let Some((request, _)) = self.until.take() {
            self.ended = Some(request);
            sink.emit(Event::ThrottleOn);
        }
    }
}
