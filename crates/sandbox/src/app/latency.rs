//! Latencies of the application, kept in histograms so that a long run needs no more memory than a short one.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::model::Version;

/// Buckets for each doubling; a percentile is off by at most 1/32 of its value. The worst value is exact.
const PER_DOUBLING: u64 = 32;

/// Durations counted by size, in buckets that grow with the value.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    buckets: BTreeMap<u64, u64>,
    count: u64,
    sum: Duration,
    worst: Duration,
}

impl Histogram {
    /// Counts one duration (microsecond resolution).
    pub fn record(&mut self, value: Duration) {
        let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
        *self.buckets.entry(bucket(micros)).or_default() += 1;
        self.count += 1;
        self.sum += value;
        self.worst = self.worst.max(value);
    }

    /// Adds everything that another histogram has counted.
    pub fn merge(&mut self, other: &Self) {
        for (bucket, count) in &other.buckets {
            *self.buckets.entry(*bucket).or_default() += count;
        }
        self.count += other.count;
        self.sum += other.sum;
        self.worst = self.worst.max(other.worst);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest one, exactly.
    pub fn worst(&self) -> Duration {
        self.worst
    }

    /// The arithmetic mean; zero when nothing was counted.
    pub fn mean(&self) -> Duration {
        u32::try_from(self.count)
            .ok()
            .filter(|n| *n > 0)
            .map_or(Duration::ZERO, |n| self.sum / n)
    }

    /// The duration that the given share (0 to 1) of all did not exceed; zero when nothing was counted.
    pub fn percentile(&self, share: f64) -> Duration {
        let rank = ((self.count as f64) * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (bucket, count) in &self.buckets {
            seen += count;
            if seen >= rank {
                return Duration::from_micros(upper_end(*bucket)).min(self.worst);
            }
        }
        Duration::ZERO
    }
}

/// The bucket of a value: exact below 32, then 32 for each doubling.
fn bucket(micros: u64) -> u64 {
    if micros < PER_DOUBLING {
        return micros;
    }
    let doublings = u64::from(micros.ilog2()) - u64::from(PER_DOUBLING.ilog2());
    (doublings + 1) * PER_DOUBLING + ((micros >> doublings) - PER_DOUBLING)
}

/// The largest value of a bucket.
fn upper_end(bucket: u64) -> u64 {
    if bucket < PER_DOUBLING {
        return bucket;
    }
    let doublings = bucket / PER_DOUBLING - 1;
    let lower = PER_DOUBLING + bucket % PER_DOUBLING;
    ((lower + 1) << doublings) - 1
}

/// What a client does, as far as latencies are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Statement {
    /// One row by its key.
    Read,
    /// One new row.
    Insert,
    /// One row, in columns that the migration maps.
    UpdateMapped,
    /// One row, in columns that it does not map.
    UpdateUnrelated,
    /// One row, every mapped column set to the value that it has.
    UpdateSame,
    /// One row's key.
    UpdateKey,
    /// One row.
    Delete,
    /// Up to twenty new rows by `COPY … FROM STDIN`.
    Copy,
    /// `INSERT … ON CONFLICT` with the key of an old row or a new one, `DO UPDATE` or `DO NOTHING`.
    Upsert,
    /// `MERGE` that updates, deletes or inserts one row; an upsert before PostgreSQL 15.
    Merge,
    /// Up to eight rows by one statement.
    DeleteSeveral,
    /// Several of these in one transaction.
    Transaction,
}

impl Statement {
    /// All of them, in the order of reports.
    pub const ALL: [Self; 12] = [
        Self::Read,
        Self::Insert,
        Self::UpdateMapped,
        Self::UpdateUnrelated,
        Self::UpdateSame,
        Self::UpdateKey,
        Self::Delete,
        Self::Copy,
        Self::Upsert,
        Self::Merge,
        Self::DeleteSeveral,
        Self::Transaction,
    ];

    /// A short name for reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Insert => "insert",
            Self::UpdateMapped => "update mapped",
            Self::UpdateUnrelated => "update unrelated",
            Self::UpdateSame => "update same",
            Self::UpdateKey => "update key",
            Self::Delete => "delete",
            Self::Copy => "copy",
            Self::Upsert => "upsert",
            Self::Merge => "merge",
            Self::DeleteSeveral => "delete several",
            Self::Transaction => "transaction",
        }
    }
}

/// What one client measured in one window.
#[derive(Clone, Debug, Default)]
pub(crate) struct Latencies(pub(crate) BTreeMap<(Version, Statement), Histogram>);

impl Latencies {
    pub(crate) fn record(&mut self, version: Version, statement: Statement, took: Duration) {
        self.0.entry((version, statement)).or_default().record(took);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (key, histogram) in &other.0 {
            self.0.entry(*key).or_default().merge(histogram);
        }
    }
}

/// The latencies of one window of time, from one [`mark`](super::Running::mark) to the next.
#[derive(Clone, Debug)]
pub struct Window {
    /// The name given to the mark.
    pub name: String,
    /// When it began.
    pub begun: Instant,
    /// How long it lasted, pauses included.
    pub lasted: Duration,
    pub(crate) latencies: Latencies,
}

impl Window {
    /// All statements of both versions together.
    pub fn total(&self) -> Histogram {
        self.select(|_, _| true)
    }

    /// Everything that changes rows.
    pub fn writes(&self) -> Histogram {
        self.select(|_, statement| statement != Statement::Read)
    }

    /// Reads alone.
    pub fn reads(&self) -> Histogram {
        self.select(|_, statement| statement == Statement::Read)
    }

    /// Everything that one version did.
    pub fn latencies_of(&self, version: Version) -> Histogram {
        self.select(|v, _| v == version)
    }

    /// One kind of statement by one version.
    pub fn of(&self, version: Version, statement: Statement) -> Histogram {
        self.select(|v, s| v == version && s == statement)
    }

    fn select(&self, wanted: impl Fn(Version, Statement) -> bool) -> Histogram {
        let mut sum = Histogram::default();
        for ((version, statement), histogram) in &self.latencies.0 {
            if wanted(*version, *statement) {
                sum.merge(histogram);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_contiguous_and_narrow() {
        for value in (0..5000).chain([1 << 20, (1 << 20) + 1, u64::from(u32::MAX), 1 << 40]) {
            let end = upper_end(bucket(value));
            assert!(
                end >= value && end - value <= value / PER_DOUBLING,
                "{value} ends at {end}"
            );
            assert_eq!(bucket(end) + 1, bucket(end + 1));
        }
    }

    #[test]
    fn percentiles() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.percentile(0.5), Duration::ZERO);
        (1..=1000).for_each(|ms| histogram.record(Duration::from_millis(ms)));
        let (half, most) = (histogram.percentile(0.5), histogram.percentile(0.99));
        assert!((500..=516).contains(&half.as_millis()), "{half:?}");
        assert!((990..=1000).contains(&most.as_millis()), "{most:?}");
        assert_eq!(histogram.worst(), Duration::from_secs(1));
        assert_eq!(histogram.mean(), Duration::from_micros(500_500));
        let mut twice = histogram.clone();
        twice.merge(&histogram);
        assert_eq!(twice.count(), 2000);
        assert_eq!(twice.percentile(0.5), half);
    }
}
