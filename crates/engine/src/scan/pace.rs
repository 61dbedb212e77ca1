//! How long a batch shall take, and how long it rests.
//!
//! Alone on a server, batches follow each other and take what they need. Beside
//! an application a batch is short, so that whatever it delays (a processor, the
//! log's flush) is delayed by no more than that; and it rests for as long as it
//! took, times `nice_ratio`, so that what has queued up meanwhile goes first.
//! The ratio is gh-ost's `--nice-ratio`.

use std::time::Duration;

use crate::db::Settings;

/// What a batch aims at beside an application: as long as a processor may be
/// kept from it.
const AIM: Duration = Duration::from_millis(1);

/// No batch is made smaller than so many rows for that. A third of a millisecond
/// of each batch is its own, and where processors are busy even one row waits
/// for its turn: there would only be more of them.
const FEWEST: u64 = 50;

/// What the next batches of a table shall be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Goal {
    /// What the time of a batch should approach.
    pub(super) time: Duration,
    /// Rows below which a batch that took longer does not make it smaller.
    pub(super) least: u64,
}

/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What batches should be after one of so many rows: their time well below the
/// moment at which the server ends them.
pub(super) fn goal(settings: &Settings, yields: bool, rows: u64) -> Goal {
    let time = settings
        .backfill
        .target_batch_time
        .min(settings.limits.max_lock_duration / 2);
    if yields && rows > FEWEST {
        Goal {
            time: time.min(AIM),
            // Somebody who wants shorter ones than these gets them.
            least: if time < AIM { 1 } else { FEWEST },
        }
    } else {
        Goal { time, least: 1 }
    }
}

/// How long a worker rests after a batch that took so long.
pub(super) fn rest(settings: &Settings, yields: bool, took: Duration) -> Duration {
    if yields {
        (took * settings.backfill.nice_ratio).min(LONGEST_REST)
    } else {
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use pontoon_core::plan::{BackfillOptions, Limits};

    use super::super::size::BatchSize;
    use super::*;

    fn settings(nice_ratio: u32) -> Settings {
        Settings {
            limits: Limits::default(),
            backfill: BackfillOptions {
                nice_ratio,
                ..BackfillOptions::default()
            },
            throttle: BTreeMap::new(),
            gates: Vec::new(),
        }
    }

    #[test]
    fn alone_a_batch_takes_its_time_and_none_rests() {
        let took = Duration::from_millis(180);
        let goal = goal(&settings(3), false, 10_000);
        assert_eq!(goal.time, Duration::from_millis(200));
        assert_eq!(goal.least, 1);
        assert_eq!(rest(&settings(3), false, took), Duration::ZERO);
    }

    #[test]
    fn beside_an_application_it_is_short_and_rests_in_proportion() {
        let took = Duration::from_millis(4);
        for (rows, millis, least) in [(1_000, 1, 50), (51, 1, 50), (50, 200, 1)] {
            let time = Duration::from_millis(millis);
            let goal = goal(&settings(3), true, rows);
            assert_eq!(goal, Goal { time, least }, "{rows} rows");
        }
        assert_eq!(rest(&settings(3), true, took), Duration::from_millis(12));
        let slow = Duration::from_secs(2);
        assert_eq!(rest(&settings(100), true, slow), LONGEST_REST);
    }

    /// Where half a millisecond of each batch is its own.
    #[test]
    fn batches_of_dear_rows_are_smaller_and_none_is_tiny() {
        for (micros, bounds) in [(1, 400..=800), (5, 80..=160), (50, 50..=75), (200, 50..=75)] {
            let mut size = BatchSize::new(0);
            for round in 0..500 {
                let rows = size.rows(100_000);
                if round > 100 {
                    assert!(bounds.contains(&rows), "{micros} µs a row: {rows} rows");
                }
                let took = Duration::from_micros(500 + micros * rows);
                size.observe(took, goal(&settings(4), true, rows), 100_000);
            }
        }
    }

    #[test]
    fn what_somebody_wants_shorter_stays_so() {
        let mut settings = settings(1);
        settings.backfill.target_batch_time = Duration::from_micros(500);
        let wanted = goal(&settings, true, 1_000);
        assert_eq!(wanted.time, Duration::from_micros(500));
        assert_eq!(wanted.least, 1);
        settings.backfill.target_batch_time = Duration::from_millis(2);
        settings.limits.max_lock_duration = Duration::from_millis(3);
        let wanted = goal(&settings, false, 1_000);
        assert_eq!(wanted.time, Duration::from_micros(1_500));
    }
}
