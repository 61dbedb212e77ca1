//! How long a batch shall take, and how long it rests.
//!
//! Alone on a server, batches follow each other and take what they need. Beside
//! an application a batch is short, so that whatever it delays (a processor, the
//! log's flush) is delayed by no more than that; and it rests for as long as it
//! took, times `nice_ratio`, so that what has queued up meanwhile goes first.
//! The ratio is gh-ost's `--nice-ratio`.

use std::time::Duration;

use crate::db::Settings;

/// What a batch aims at beside an application.
const SHORT: Duration = Duration::from_millis(5);
/// Batches of so few rows take the time they need: where the processors are
/// busy, even one row waits for longer than [`SHORT`] for its turn, and smaller
/// batches would only be more of them.
const FEW: u64 = 250;
/// The longest rest.
const LONGEST_REST: Duration = Duration::from_secs(5);

/// What the time of a batch of so many rows should approach: well below the
/// moment at which the server ends it.
pub(super) fn target(settings: &Settings, yields: bool, rows: u64) -> Duration {
    let target = settings
        .backfill
        .target_batch_time
        .min(settings.limits.max_lock_duration / 2);
    if yields && rows > FEW {
        target.min(SHORT)
    } else {
        target
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
        assert_eq!(
            target(&settings(3), false, 10_000),
            Duration::from_millis(200)
        );
        assert_eq!(rest(&settings(3), false, took), Duration::ZERO);
    }

    #[test]
    fn beside_an_application_it_is_short_and_rests_in_proportion() {
        let took = Duration::from_millis(4);
        assert_eq!(target(&settings(3), true, 1_000), SHORT);
        let few = target(&settings(3), true, FEW);
        assert_eq!(few, Duration::from_millis(200));
        assert_eq!(rest(&settings(3), true, took), Duration::from_millis(12));
        let slow = Duration::from_secs(2);
        assert_eq!(rest(&settings(100), true, slow), LONGEST_REST);
    }

    #[test]
    fn what_somebody_wants_shorter_stays_so() {
        let mut settings = settings(1);
        settings.backfill.target_batch_time = Duration::from_millis(2);
        assert_eq!(target(&settings, true, 1_000), Duration::from_millis(2));
        settings.limits.max_lock_duration = Duration::from_millis(3);
        assert_eq!(
            target(&settings, false, 1_000),
            Duration::from_micros(1_500)
        );
    }
}
