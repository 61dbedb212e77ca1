//! From readings to a verdict.

use std::collections::BTreeMap;
use std::time::Duration;

use pontoon_core::plan::signals::{Bound, RELEASE, Unit, Watched};
use tokio::time::Instant;

use crate::db::{Hold, Reading};
use crate::event::{Event, Sink};

/// A subject that has been gone for this long does not come back.
pub(super) const FORGET: Duration = Duration::from_secs(600);

/// What a signal's readings mean.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Verdict {
    /// All readings are below their limits.
    Below,
    /// One is at its limit or above.
    Hold(Hold),
    /// None is, but one may not be known by this role.
    Hidden(Hold),
    /// None is, but one failed, or its subject is gone.
    Failed(Hold),
}

/// Against what readings are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// The limit: nothing is held yet.
    Limit,
    /// The lower mark that ends a hold.
    Release,
}

impl Mark {
    /// The value to stay below, and how it is shown.
    fn of(self, bound: &Bound) -> (f64, String) {
        let unit = bound.measure.unit;
        match (self, unit) {
            (Mark::Limit, _) => (bound.value, bound.text.clone()),
            // Of things that are counted there is no fraction.
            (Mark::Release, Unit::Count) => {
                let mark = (bound.value * RELEASE).ceil();
                (mark, unit.show(mark))
            }
            (Mark::Release, Unit::Time | Unit::Bytes | Unit::Rate | Unit::Percent) => {
                let mark = bound.value * RELEASE;
                (mark, unit.show(mark))
            }
        }
    }
}

/// The worst reading decides, measured by its share of its limit; one that may
/// not be known is worse than any that is below.
pub(super) fn judge(watched: &Watched, mark: Mark, readings: &[Reading]) -> Verdict {
    let mut verdict = Verdict::Below;
    let mut worst = 0.0;
    for reading in readings {
        let Some(bound) = watched.bound(&reading.measure) else {
            continue;
        };
        let (limit, text) = mark.of(bound);
        let subject = reading
            .subject
            .as_ref()
            .map_or_else(String::new, |subject| format!(" ({subject})"));
        let hold = |reading: String| Hold {
            signal: watched.signal.name.to_owned(),
            reading,
            limit: text.clone(),
        };
        match &reading.value {
            Ok(value) if *value >= limit && value / limit > worst => {
                worst = value / limit;
                let shown = bound.measure.unit.show(*value);
                verdict = Verdict::Hold(hold(format!("{shown}{subject}")));
            }
            Ok(_) => {}
            Err(why) if verdict == Verdict::Below => {
                verdict = Verdict::Hidden(hold(format!("unknown{subject}: {why}")));
            }
            Err(_) => {}
        }
    }
    verdict
}

/// A reading that did not come.
pub(super) fn failed(watched: &Watched, why: &str) -> Verdict {
    let limit = watched
        .bounds
        .first()
        .map_or_else(String::new, |bound| bound.text.clone());
    Verdict::Failed(Hold {
        signal: watched.signal.name.to_owned(),
        reading: format!("unknown: {why}"),
        limit,
    })
}

/// Subjects of readings that are there to stay, and when each was seen last.
#[derive(Debug, Default)]
pub(super) struct Subjects(BTreeMap<(&'static str, String), Instant>);

impl Subjects {
    /// Notes who is there; names one who was and is not, with the time.
    pub(super) fn missing(
        &mut self,
        signal: &'static str,
        readings: &[Reading],
        now: Instant,
        sink: &Sink,
    ) -> Option<String> {
        let lasting = readings.iter().filter(|reading| reading.lasting);
        for subject in lasting.filter_map(|reading| reading.subject.clone()) {
            self.0.insert((signal, subject), now);
        }
        self.0.retain(|(of, subject), seen| {
            let forget = *of == signal && now.duration_since(*seen) > FORGET;
            if forget {
                sink.emit(Event::Warning {
                    message: format!(
                        "{signal} no longer waits for {subject}: it has been gone for {} min.",
                        FORGET.as_secs() / 60
                    ),
                });
            }
            !forget
        });
        self.0
            .iter()
            .find(|((of, _), seen)| *of == signal && **seen < now)
            .map(|((_, subject), seen)| {
                let gone = now.duration_since(*seen).as_secs();
                format!("{subject} is gone for {gone} s")
            })
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::plan::signals::watched;

    use super::*;

    fn lag(name: &str, value: Result<f64, &str>) -> Reading {
        Reading {
            measure: "limit".to_owned(),
            subject: Some(format!("standby {name}")),
            value: value.map_err(str::to_owned),
            lasting: true,
        }
    }

    fn signal(name: &str, text: &str) -> Watched {
        let throttle = BTreeMap::from([(name.to_owned(), text.to_owned())]);
        watched(&throttle)
            .into_iter()
            .find(|watched| watched.signal.name == name)
            .expect("it is on")
    }

    #[test]
    fn the_worst_standby_is_named() {
        let readings = [
            lag("eu-1", Ok(11.0)),
            lag("eu-2", Ok(12.4)),
            lag("us", Ok(0.2)),
        ];
        let watched = signal("replication_lag", "10s");
        let Verdict::Hold(hold) = judge(&watched, Mark::Limit, &readings) else {
            panic!("it holds");
        };
        assert_eq!(hold.text(), "replication_lag 12.4s >= 10s (standby eu-2)");
    }

    #[test]
    fn the_worst_of_several_limits_decides() {
        let watched = signal("replication_lag", r#"{"limit":"10s","bytes":"1MB"}"#);
        let mut bytes = lag("eu-1", Ok(5_000_000.0));
        bytes.measure = "bytes".to_owned();
        let readings = [lag("eu-2", Ok(12.0)), bytes];
        let Verdict::Hold(hold) = judge(&watched, Mark::Limit, &readings) else {
            panic!("it holds");
        };
        assert_eq!(hold.text(), "replication_lag 4.8MB >= 1MB (standby eu-1)");
        // What no limit was set for holds nothing.
        let one = signal("replication_lag", "10s");
        assert_eq!(judge(&one, Mark::Limit, &readings[1..]), Verdict::Below);
    }

    #[test]
    fn below_the_limit_nothing_holds_and_at_the_limit_it_does() {
        let watched = signal("replication_lag", "10s");
        let at = |value, mark| judge(&watched, mark, &[lag("eu", Ok(value))]);
        assert_eq!(at(9.9, Mark::Limit), Verdict::Below);
        assert!(matches!(at(10.0, Mark::Limit), Verdict::Hold(_)));
        // What holds already goes on until it is well below.
        let Verdict::Hold(hold) = at(9.1, Mark::Release) else {
            panic!("it goes on");
        };
        assert_eq!(hold.text(), "replication_lag 9.1s >= 8.0s (standby eu)");
        assert_eq!(at(7.9, Mark::Release), Verdict::Below);
        let one = signal("blocked_sessions", "1");
        let sessions = |value| judge(&one, Mark::Release, &[Reading::new(value)]);
        assert!(matches!(sessions(1.0), Verdict::Hold(_)));
        assert_eq!(sessions(0.0), Verdict::Below);
    }

    #[test]
    fn a_subject_that_vanished_is_missed_until_it_is_forgotten() {
        const LAG: &str = "replication_lag";
        let mut subjects = Subjects::default();
        let both = [lag("eu", Ok(0.0)), lag("us", Ok(0.0))];
        let (sink, begin) = (Sink::none(), Instant::now());
        let mut at = |seconds, signal, readings: &[Reading]| {
            let now = begin + Duration::from_secs(seconds);
            subjects.missing(signal, readings, now, &sink)
        };
        assert_eq!(at(0, LAG, &both), None);
        assert_eq!(
            at(3, LAG, &both[..1]).as_deref(),
            Some("standby us is gone for 3 s")
        );
        assert_eq!(at(4, "blocked_sessions", &[]), None);
        assert_eq!(at(5, LAG, &both), None);
        assert_eq!(at(5 + FORGET.as_secs() + 1, LAG, &both[..1]), None);
    }

    #[test]
    fn a_reading_that_failed_is_never_zero() {
        let readings = [lag("eu-1", Ok(0.1)), lag("eu-2", Err("hidden"))];
        let watched = signal("replication_lag", "10s");
        let Verdict::Hidden(hold) = judge(&watched, Mark::Limit, &readings) else {
            panic!("it is not below");
        };
        assert_eq!(
            hold.text(),
            "replication_lag unknown (standby eu-2): hidden; limit 10s"
        );
    }
}
