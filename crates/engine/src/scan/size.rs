//! How many rows the next batch aims at.
//!
//! The size follows execution time only: the 90th percentile of the last
//! batches of the present size shall approach `target`. Growth is at most
//! 1.5-fold, so that one lucky batch cannot overshoot; a batch that takes more
//! than twice the target shrinks the size at once. Every change forgets the
//! history, which belonged to another size. Rows are also capped by their
//! bytes: a batch of wide rows would write a burst of WAL.
//!
//! The method is the one of Spirit's and gh-ost's chunkers, with the history
//! dropped on change.

use std::time::Duration;

use super::pace::Goal;

/// The smallest size, in rows.
const LEAST: u64 = 1;
/// Where a table begins, in rows.
const FIRST: u64 = 1_000;
/// Growth per change.
const GROWTH: f64 = 1.5;
/// Samples before the size grows or shrinks gently.
const SAMPLES: usize = 4;
/// The same while a batch takes less than half the target.
const SAMPLES_FAR: usize = 2;
/// A batch shall not touch more than this, in bytes.
const MOST_BYTES: u64 = 32 << 20;

/// An adaptive batch size.
#[derive(Debug)]
pub(crate) struct BatchSize {
    rows: u64,
    byte_cap: u64,
    history: Vec<Duration>,
}

impl BatchSize {
    /// A size for rows of that width; 0 when it is unknown.
    pub(crate) fn new(bytes_per_row: u64) -> Self {
        let byte_cap = MOST_BYTES
            .checked_div(bytes_per_row)
            .map_or(u64::MAX, |rows| rows.max(LEAST));
        Self {
            rows: FIRST.min(byte_cap),
            byte_cap,
            history: Vec::new(),
        }
    }

    /// Rows to aim at, never more than `cap`.
    pub(crate) fn rows(&self, cap: u64) -> u64 {
        self.rows.min(cap).max(1)
    }

    /// A batch of the present size took this long. Its time makes the size no
    /// smaller than the goal's least.
    pub(crate) fn observe(&mut self, elapsed: Duration, goal: Goal, cap: u64) {
        let before = self.rows;
        self.judge(elapsed, goal.time, cap);
        self.rows = self.rows.max(goal.least.min(before));
    }

    fn judge(&mut self, elapsed: Duration, target: Duration, cap: u64) {
        let target = target.as_secs_f64().max(0.000_1);
        if elapsed.as_secs_f64() > 2.0 * target {
            self.scale(target / elapsed.as_secs_f64(), cap);
            return;
        }
        self.history.push(elapsed);
        let far_below = elapsed.as_secs_f64() < target / 2.0;
        if self.history.len() < if far_below { SAMPLES_FAR } else { SAMPLES } {
            return;
        }
        let mut sorted = self.history.clone();
        sorted.sort_unstable();
        let p90 = sorted[(sorted.len() * 9).div_ceil(10) - 1].as_secs_f64();
        if p90 < 0.9 * target || p90 > 1.1 * target {
            self.scale((target / p90.max(0.000_1)).min(GROWTH), cap);
        } else if self.history.len() > 2 * SAMPLES {
            self.history.remove(0);
        }
    }

    /// A batch did not end in its time: half the size.
    pub(crate) fn timed_out(&mut self, cap: u64) {
        self.scale(0.5, cap);
    }

    /// Nothing smaller can be tried.
    pub(crate) fn is_least(&self) -> bool {
        self.rows <= LEAST
    }

    fn scale(&mut self, factor: f64, cap: u64) {
        self.history.clear();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "batch sizes are far below 2^52 and positive"
        )]
        let scaled = (self.rows as f64 * factor).round() as u64;
        self.rows = scaled
            .min(cap)
            .min(self.byte_cap)
            .max(LEAST.min(cap).min(self.byte_cap))
            .max(1);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TARGET: Goal = Goal {
        time: Duration::from_millis(200),
        least: 1,
    };

    /// A server that takes that long for each row.
    fn settle(micros_per_row: u64) -> u64 {
        let mut size = BatchSize::new(0);
        for _ in 0..200 {
            let elapsed = Duration::from_micros(size.rows(1_000_000) * micros_per_row);
            size.observe(elapsed, TARGET, 1_000_000);
        }
        size.rows(1_000_000)
    }

    #[test]
    fn it_settles_where_a_batch_takes_the_target() {
        for micros in [5, 20, 100, 900] {
            let ideal = 200_000 / micros;
            let settled = settle(micros);
            assert!(
                settled * 10 >= ideal * 8 && settled * 10 <= ideal * 12,
                "{micros} µs a row: {settled} rows instead of {ideal}"
            );
        }
    }

    #[test]
    fn one_slow_batch_shrinks_it_at_once_and_growth_is_slow() {
        let mut size = BatchSize::new(0);
        size.observe(Duration::from_secs(2), TARGET, 10_000);
        assert_eq!(size.rows(10_000), 100);
        for _ in 0..SAMPLES_FAR {
            size.observe(Duration::from_millis(1), TARGET, 10_000);
        }
        assert_eq!(size.rows(10_000), 150);
    }

    #[test]
    fn wide_rows_are_capped_by_bytes() {
        assert_eq!(BatchSize::new(1 << 20).rows(10_000), 32);
    }

    proptest! {
        #[test]
        fn it_stays_within_its_bounds(
            times in prop::collection::vec(0u64..5_000, 1..100),
            cap in 1u64..20_000,
            width in 0u64..2_000_000,
        ) {
            let mut size = BatchSize::new(width);
            for millis in times {
                size.observe(Duration::from_millis(millis), TARGET, cap);
                prop_assert!(size.rows(cap) >= 1 && size.rows(cap) <= cap);
            }
        }
    }
}
