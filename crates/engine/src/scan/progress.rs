//! Where a scan stands and how fast it goes.

use std::collections::{HashMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::lock;
use crate::db::RangeRecord;

/// How fast something goes, over the last seconds.
#[derive(Debug)]
pub(crate) struct Speed {
    window: VecDeque<(Instant, u64, u64)>,
}

/// The window of [`Speed`].
const WINDOW: Duration = Duration::from_secs(5);
/// Progress is told at most this often.
pub(crate) const PROGRESS: Duration = Duration::from_millis(250);

impl Speed {
    /// Nothing is known yet.
    pub(crate) fn new(rows: u64, pages: u64) -> Self {
        Self {
            window: VecDeque::from([(Instant::now(), rows, pages)]),
        }
    }

    /// Counts as of now; returns rows and pages per second.
    #[expect(clippy::cast_precision_loss, reason = "a speed is an estimate")]
    pub(crate) fn observe(&mut self, rows: u64, pages: u64) -> (f64, f64) {
        let now = Instant::now();
        while self.window.len() > 1
            && self
                .window
                .front()
                .is_some_and(|(at, _, _)| now.duration_since(*at) > WINDOW)
        {
            self.window.pop_front();
        }
        let (at, rows_then, pages_then) =
            self.window.front().copied().unwrap_or((now, rows, pages));
        self.window.push_back((now, rows, pages));
        let seconds = now.duration_since(at).as_secs_f64().max(0.001);
        (
            rows.saturating_sub(rows_then) as f64 / seconds,
            pages.saturating_sub(pages_then) as f64 / seconds,
        )
    }
}

/// Ranges as they stand, by number: what progress is computed from.
#[derive(Debug)]
pub(crate) struct Tally {
    ranges: Mutex<HashMap<u32, RangeRecord>>,
}

impl Tally {
    /// The ranges at the start.
    pub(crate) fn new(ranges: &[RangeRecord]) -> Self {
        Self {
            ranges: Mutex::new(
                ranges
                    .iter()
                    .map(|range| (range.no, range.clone()))
                    .collect(),
            ),
        }
    }

    /// A range has moved. Of what comes late, from another process, nothing
    /// is taken back.
    pub(crate) fn put(&self, range: &RangeRecord) {
        let far = |range: &RangeRecord| (range.done, range.rows, range.pages_done);
        lock(&self.ranges)
            .entry(range.no)
            .and_modify(|known| {
                if far(range) >= far(known) {
                    known.clone_from(range);
                }
            })
            .or_insert_with(|| range.clone());
    }

    /// All ranges as they stand.
    pub(crate) fn all(&self) -> Vec<RangeRecord> {
        lock(&self.ranges).values().cloned().collect()
    }

    /// The sum of something over all ranges.
    pub(crate) fn sum(&self, of: impl Fn(&RangeRecord) -> u64) -> u64 {
        lock(&self.ranges).values().map(of).sum()
    }
}
