//! When to hold back.
//!
//! Signals measure, this module decides: work is held while any reading is at
//! or above its limit, and goes on by itself when all are below.
//!
//! A reading that fails or does not come is never 0:
//!
//! - no answer, or an error instead of one: held until the next answer;
//! - a subject that was there and is gone (a standby that died): held until
//!   it is back. After ten minutes it is taken to have been removed for good,
//!   with a warning;
//! - a value that our role may not see (no `pg_monitor`): held when the plan
//!   names the signal, for its author asked to be protected by it; ignored
//!   with a warning when the limit only applies by default.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pontoon_core::plan::signals::{KNOWN, Limit, Signal, Unit};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{Database, Hold, Reading, Settings};
use crate::event::{Event, Sink};

/// Time between two readings of a signal.
const INTERVAL: Duration = Duration::from_millis(250);
/// A reading that takes longer counts as failed.
const STALE: Duration = Duration::from_secs(5);

/// A subject that has been gone for this long does not come back.
const FORGET: Duration = Duration::from_secs(600);

/// Watches the signals of a run in a task of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Throttle {
    held: watch::Receiver<Option<Vec<Hold>>>,
    stop: CancellationToken,
}

impl Throttle {
    /// Starts watching.
    pub(crate) fn start<D: Database>(
        db: &D,
        run: uuid::Uuid,
        settings: watch::Receiver<Settings>,
        sink: &Sink,
    ) -> Self {
        let (sender, held) = watch::channel(None);
        let stop = CancellationToken::new();
        let task = watch_signals(
            db.clone(),
            run,
            settings,
            sink.clone(),
            sender,
            stop.clone(),
        );
        tokio::spawn(task);
        Self { held, stop }
    }

    /// One that never holds, for tests of what it would hold.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        let (_, held) = watch::channel(Some(Vec::new()));
        Self {
            held,
            stop: CancellationToken::new(),
        }
    }

    /// Waits until nothing holds. `false`: it was told to stop.
    pub(crate) async fn pass(&self, cancel: &CancellationToken) -> bool {
        let mut held = self.held.clone();
        tokio::select! {
            open = held.wait_for(|held| held.as_ref().is_some_and(Vec::is_empty)) => open.is_ok(),
            () = cancel.cancelled() => false,
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn watch_signals<D: Database>(
    db: D,
    run: uuid::Uuid,
    settings: watch::Receiver<Settings>,
    sink: Sink,
    held: watch::Sender<Option<Vec<Hold>>>,
    stop: CancellationToken,
) {
    let mut since: BTreeMap<String, Instant> = BTreeMap::new();
    let mut warned: BTreeSet<&'static str> = BTreeSet::new();
    let mut subjects = Subjects::default();
    loop {
        let limits = settings.borrow().throttle.clone();
        let mut holds = Vec::new();
        for signal in KNOWN {
            let named = limits.get(signal.name);
            let limit = named.map_or(signal.default, String::as_str);
            let sample = tokio::time::timeout(STALE, db.sample(signal.name, run));
            let mut lost = Vec::new();
            let readings = tokio::select! {
                readings = sample => match readings {
                    Ok(Ok(readings)) => {
                        lost = subjects.missing(signal.name, &readings, Instant::now(), &sink);
                        readings
                    }
                    Ok(Err(error)) => {
                        lost.push(failed(error.to_string()));
                        Vec::new()
                    }
                    Err(_) => {
                        lost.push(failed(format!("no answer within {} s", STALE.as_secs())));
                        Vec::new()
                    }
                },
                () = stop.cancelled() => return,
            };
            match (judge(signal, limit, &readings), judge(signal, limit, &lost)) {
                (Verdict::Hold(hold), _) | (_, Verdict::Hold(hold) | Verdict::Unreadable(hold)) => {
                    holds.push(hold);
                }
                (Verdict::Unreadable(hold), Verdict::Below) if named.is_some() => holds.push(hold),
                (Verdict::Unreadable(hold), Verdict::Below) => {
                    if warned.insert(signal.name) {
                        sink.emit(Event::Warning {
                            message: format!(
                                "{} cannot be read ({}). It does not protect this run; name it under `throttle` to hold instead.",
                                signal.name, hold.reading
                            ),
                        });
                    }
                }
                (Verdict::Below, Verdict::Below) => {}
            }
        }
        tell(&mut since, &holds, &sink);
        held.send_replace(Some(holds));
        tokio::select! {
            () = tokio::time::sleep(INTERVAL) => {}
            () = stop.cancelled() => break,
        }
    }
    tell(&mut since, &[], &sink);
}

/// Tells of holds that began, changed their reading, or ended.
fn tell(since: &mut BTreeMap<String, Instant>, holds: &[Hold], sink: &Sink) {
    for hold in holds {
        if !since.contains_key(&hold.signal) {
            since.insert(hold.signal.clone(), Instant::now());
            sink.emit(Event::Held {
                signal: hold.signal.clone(),
                reading: hold.reading.clone(),
                limit: hold.limit.clone(),
            });
        }
    }
    since.retain(|signal, began| {
        let holds_on = holds.iter().any(|hold| hold.signal == *signal);
        if !holds_on {
            sink.emit(Event::HoldEnded {
                signal: signal.clone(),
                held_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
            });
        }
        holds_on
    });
}

/// Subjects of readings, and when each was seen last.
#[derive(Debug, Default)]
struct Subjects(BTreeMap<(&'static str, String), Instant>);

impl Subjects {
    /// Notes who is there; returns a failed reading for each who was and is not.
    fn missing(
        &mut self,
        signal: &'static str,
        readings: &[Reading],
        now: Instant,
        sink: &Sink,
    ) -> Vec<Reading> {
        for subject in readings
            .iter()
            .filter_map(|reading| reading.subject.clone())
        {
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
            .filter(|((of, _), seen)| *of == signal && **seen < now)
            .map(|((_, subject), seen)| Reading {
                subject: Some(subject.clone()),
                value: Err(format!(
                    "gone for {} s",
                    now.duration_since(*seen).as_secs()
                )),
            })
            .collect()
    }
}

fn failed(why: String) -> Reading {
    Reading {
        subject: None,
        value: Err(why),
    }
}

/// What a signal's readings mean.
#[derive(Debug, PartialEq)]
enum Verdict {
    Below,
    Hold(Hold),
    Unreadable(Hold),
}

/// The worst reading decides; one that failed is worse than any that is below.
fn judge(signal: &Signal, limit: &str, readings: &[Reading]) -> Verdict {
    let bound = match signal.limit(limit).or_else(|| signal.limit(signal.default)) {
        Some(Limit::Count(count)) => {
            #[expect(clippy::cast_precision_loss, reason = "limits are small numbers")]
            let count = count as f64;
            count
        }
        Some(Limit::Time(time)) => time.as_secs_f64(),
        None => return Verdict::Below,
    };
    let hold = |reading: String| Hold {
        signal: signal.name.to_owned(),
        reading,
        limit: limit.to_owned(),
    };
    let mut verdict = Verdict::Below;
    let mut worst = f64::MIN;
    for reading in readings {
        let subject = reading
            .subject
            .as_ref()
            .map_or_else(String::new, |subject| format!(" ({subject})"));
        match &reading.value {
            Ok(value) if *value >= bound && *value > worst => {
                worst = *value;
                verdict = Verdict::Hold(hold(format!("{}{subject}", show(signal.unit, *value))));
            }
            Ok(_) => {}
            Err(why) if verdict == Verdict::Below => {
                verdict = Verdict::Unreadable(hold(format!("unknown{subject}: {why}")));
            }
            Err(_) => {}
        }
    }
    verdict
}

fn show(unit: Unit, value: f64) -> String {
    match unit {
        Unit::Count => format!("{value:.0}"),
        Unit::Time => format!("{value:.1}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lag(name: &str, value: Result<f64, &str>) -> Reading {
        Reading {
            subject: Some(format!("standby {name}")),
            value: value.map_err(str::to_owned),
        }
    }

    fn signal(name: &str) -> &'static Signal {
        KNOWN
            .iter()
            .find(|signal| signal.name == name)
            .expect("known")
    }

    #[test]
    fn the_worst_standby_is_named() {
        let readings = [
            lag("eu-1", Ok(11.0)),
            lag("eu-2", Ok(12.4)),
            lag("us", Ok(0.2)),
        ];
        let Verdict::Hold(hold) = judge(signal("replication_lag"), "10s", &readings) else {
            panic!("it holds");
        };
        assert_eq!(hold.reading, "12.4s (standby eu-2)");
        assert_eq!(hold.limit, "10s");
    }

    #[test]
    fn below_the_limit_nothing_holds_and_at_the_limit_it_does() {
        let below = [lag("eu", Ok(9.9))];
        assert_eq!(
            judge(signal("replication_lag"), "10s", &below),
            Verdict::Below
        );
        let at = [lag("eu", Ok(10.0))];
        assert!(matches!(
            judge(signal("replication_lag"), "10s", &at),
            Verdict::Hold(_)
        ));
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
        assert!(at(0, LAG, &both).is_empty());
        assert_eq!(at(3, LAG, &both[..1]), [lag("us", Err("gone for 3 s"))]);
        assert!(at(4, "blocked_sessions", &[]).is_empty());
        assert!(at(5, LAG, &both).is_empty());
        assert!(at(5 + FORGET.as_secs() + 1, LAG, &both[..1]).is_empty());
    }

    #[test]
    fn a_reading_that_failed_is_never_zero() {
        let readings = [lag("eu-1", Ok(0.1)), lag("eu-2", Err("vanished"))];
        let Verdict::Unreadable(hold) = judge(signal("replication_lag"), "10s", &readings) else {
            panic!("it is not below");
        };
        assert_eq!(hold.reading, "unknown (standby eu-2): vanished");
    }
}
