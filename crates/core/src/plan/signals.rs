//! The signals that a plan may set limits for.
//!
//! Core knows their names, units and defaults, so that a plan is judged
//! without a database; what they measure and how stands with the engine.

use std::time::Duration;

/// What a signal's readings are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A number of things.
    Count,
    /// A time.
    Time,
}

/// One signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signal {
    /// Its name in plans, events and `status`.
    pub name: &'static str,
    /// What its limit is given in.
    pub unit: Unit,
    /// The limit of a plan that names none.
    pub default: &'static str,
    /// What it measures, for people.
    pub about: &'static str,
}

/// A signal's limit. Work is held while a reading is at or above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A number of things, at least 1.
    Count(u64),
    /// A time, at least 1 ms.
    Time(Duration),
}

/// Every signal, in the order of their names.
pub const KNOWN: &[Signal] = &[
    Signal {
        name: "blocked_sessions",
        unit: Unit::Count,
        default: "1",
        about: "Sessions that wait for a lock of ours.",
    },
    Signal {
        name: "replication_lag",
        unit: Unit::Time,
        default: "10s",
        about: "How far the slowest connected standby is behind.",
    },
];

/// The signal of that name.
pub fn find(name: &str) -> Option<&'static Signal> {
    KNOWN.iter().find(|signal| signal.name == name)
}

impl Signal {
    /// Reads a limit as plans write it: digits for a count, `10s` for a time.
    /// `None` when it is neither positive nor in the signal's unit.
    pub fn limit(&self, text: &str) -> Option<Limit> {
        match self.unit {
            Unit::Count => {
                let count = text.parse().ok().filter(|count| *count > 0)?;
                Some(Limit::Count(count))
            }
            Unit::Time => super::formats::time_span(text).ok().map(Limit::Time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_is_a_limit_and_names_are_sorted() {
        for signal in KNOWN {
            assert!(signal.limit(signal.default).is_some(), "{}", signal.name);
            assert_eq!(find(signal.name), Some(signal));
        }
        assert!(KNOWN.windows(2).all(|pair| pair[0].name < pair[1].name));
    }

    #[test]
    fn limits_are_positive_and_in_their_unit() {
        let blocked = find("blocked_sessions").expect("known");
        assert_eq!(blocked.limit("3"), Some(Limit::Count(3)));
        assert_eq!(blocked.limit("0"), None);
        assert_eq!(blocked.limit("3s"), None);
        let lag = find("replication_lag").expect("known");
        assert_eq!(lag.limit("2s"), Some(Limit::Time(Duration::from_secs(2))));
        assert_eq!(lag.limit("0s"), None);
        assert_eq!(lag.limit("2"), None);
    }
}
