//! When to hold back.
//!
//! Signals measure, this module decides: work is held while any reading is at
//! or above its limit, and goes on by itself when all are below. A hold ends
//! below four fifths of the limit, and once readings have stayed there for as
//! long as the signal declares, so that a value that hovers around its limit
//! does not switch work on and off.
//!
//! A reading that fails or does not come is never 0. The last good reading
//! counts for [`STALE`]; after that the reading is unknown, and the plan, or
//! else the signal's declaration, says whether that holds the run or is
//! ignored with a warning:
//!
//! - no answer, or an error instead of one: unknown until the next answer;
//! - a subject that was there and is gone (a standby that died): unknown until
//!   it is back. After ten minutes it is taken to have been removed for good,
//!   with a warning;
//! - a value that our role may not see (no `pg_monitor`): unknown when a plan
//!   names the signal, for its author asked to be protected by it; ignored
//!   with a warning when the limit only applies by default.
//!
//! Beside holding back altogether there is going gently: while the application
//! is at work, batches are short and rest in between ([`Throttle::yields`]).
//!
//! While an operator has switched the throttle off ([`off`]), nothing holds.

mod application;
mod judge;
mod lane;
mod off;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use pontoon_core::plan::signals::{KNOWN, Unknown, Watched, watched};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{Database, Hold, Sample, Settings};
use crate::event::{Event, Sink};

use self::application::Application;
use self::judge::{Mark, Subjects, Verdict, failed, judge};
use self::lane::{Lane, Report};
use self::off::Off;

/// For how long a good reading counts when none follows.
const STALE: Duration = Duration::from_secs(5);
/// How often it is looked whether a reading has grown stale.
const TICK: Duration = Duration::from_millis(250);
/// A reading that goes on is told again this often.
const TELL: Duration = Duration::from_secs(2);

/// Watches the signals of a run in tasks of its own, until it is dropped.
#[derive(Debug)]
pub(crate) struct Throttle {
    held: watch::Receiver<Option<Vec<Hold>>>,
    yields: watch::Receiver<bool>,
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
        let (yield_sender, yields) = watch::channel(true);
        let (reports, inbox) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let lanes = KNOWN
            .iter()
            .filter(|signal| signal.alone)
            .map(Lane::Alone)
            .chain([Lane::Shared, Lane::Application]);
        for lane in lanes {
            tokio::spawn(lane::read(
                db.sampler(run),
                lane,
                settings.clone(),
                reports.clone(),
                stop.clone(),
            ));
        }
        let decider = Decider::new(settings, sink.clone(), sender, yield_sender);
        tokio::spawn(decider.decide(inbox, stop.clone()));
        Self { held, yields, stop }
    }

    /// One that never holds, for tests of what it would hold.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        let (_, held) = watch::channel(Some(Vec::new()));
        let (_, yields) = watch::channel(false);
        Self {
            held,
            yields,
            stop: CancellationToken::new(),
        }
    }

    /// Shall batches be short and rest, for the application's sake?
    pub(crate) fn yields(&self) -> bool {
        *self.yields.borrow()
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

/// What is known of one signal.
#[derive(Debug)]
struct State {
    /// When the last good reading came.
    good_at: Option<Instant>,
    /// What holds, since when, and as it was told last.
    holding: Option<Holding>,
}

#[derive(Debug)]
struct Holding {
    since: Instant,
    hold: Hold,
    told: Hold,
    told_at: Instant,
    /// Since when readings have been below.
    below: Option<Instant>,
}

struct Decider {
    settings: watch::Receiver<Settings>,
    sink: Sink,
    held: watch::Sender<Option<Vec<Hold>>>,
    yields: watch::Sender<bool>,
    application: Application,
    states: BTreeMap<&'static str, State>,
    subjects: Subjects,
    warned: BTreeSet<&'static str>,
    off: Off,
}

impl Decider {
    fn new(
        settings: watch::Receiver<Settings>,
        sink: Sink,
        held: watch::Sender<Option<Vec<Hold>>>,
        yields: watch::Sender<bool>,
    ) -> Self {
        Self {
            settings,
            sink,
            held,
            yields,
            application: Application::default(),
            states: BTreeMap::new(),
            subjects: Subjects::default(),
            warned: BTreeSet::new(),
            off: Off::default(),
        }
    }

    async fn decide(mut self, mut inbox: mpsc::UnboundedReceiver<Report>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                report = inbox.recv() => match report {
                    Some(report) => self.take(report, Instant::now()),
                    None => break,
                },
                _ = tick.tick() => {}
                () = stop.cancelled() => break,
            }
            self.publish(Instant::now());
        }
        let all: Vec<&'static str> = self.states.keys().copied().collect();
        for signal in all {
            self.release(signal, Instant::now());
        }
    }

    fn watched(&self) -> Vec<Watched> {
        watched(&self.settings.borrow().throttle)
    }

    fn take(&mut self, report: Report, now: Instant) {
        let (signal, sample) = match report {
            Report::Off(answer) => {
                self.off.take(answer, now, &self.sink);
                return;
            }
            Report::Application(company) => {
                self.application.take(company, now);
                return;
            }
            Report::Read { signal, sample } => (signal, sample),
        };
        if self.off.judge(now, &self.sink) {
            return;
        }
        let all = self.watched();
        let Some(watched) = all.iter().find(|watched| watched.signal.name == signal) else {
            return;
        };
        let state = self.states.get(signal);
        let mark = match state.is_some_and(|state| state.holding.is_some()) {
            true => Mark::Release,
            false => Mark::Limit,
        };
        let verdict = match sample {
            Ok(Sample::NotYet) => return,
            Ok(Sample::Readings(readings)) => {
                let gone = self.subjects.missing(signal, &readings, now, &self.sink);
                match (judge(watched, mark, &readings), gone) {
                    (Verdict::Hold(hold), _) => Verdict::Hold(hold),
                    (_, Some(gone)) => failed(watched, &gone),
                    (other, None) => other,
                }
            }
            Err(why) => {
                let recent = state
                    .and_then(|state| state.good_at)
                    .is_some_and(|at| now.duration_since(at) < STALE);
                if recent {
                    tracing::debug!("{signal} could not be read: {why}");
                    return;
                }
                failed(watched, &why)
            }
        };
        self.settle(watched, verdict, now);
    }

    /// Makes a verdict what holds from now on.
    fn settle(&mut self, watched: &Watched, verdict: Verdict, now: Instant) {
        let signal = watched.signal.name;
        let good = matches!(verdict, Verdict::Below | Verdict::Hold(_));
        let hold = match verdict {
            Verdict::Below => None,
            Verdict::Hold(hold) => Some(hold),
            // By default nothing holds a run for what its role may not see.
            Verdict::Hidden(hold) if !watched.named => {
                self.warn(watched, &hold);
                None
            }
            Verdict::Hidden(hold) | Verdict::Failed(hold) => match watched.unknown {
                Unknown::Hold => Some(hold),
                Unknown::Ignore => {
                    self.warn(watched, &hold);
                    None
                }
            },
        };
        let state = self.states.entry(signal).or_insert(State {
            good_at: None,
            holding: None,
        });
        if good {
            state.good_at = Some(now);
            self.warned.remove(signal);
        }
        match (hold, &mut state.holding) {
            (Some(hold), Some(holding)) => {
                holding.hold = hold;
                holding.below = None;
            }
            (Some(hold), none) => {
                *none = Some(Holding {
                    since: now,
                    told: hold.clone(),
                    told_at: now,
                    hold: hold.clone(),
                    below: None,
                });
                self.sink.emit(Event::Held {
                    signal: hold.signal,
                    reading: hold.reading,
                    limit: hold.limit,
                });
            }
            (None, Some(holding)) => {
                let below = *holding.below.get_or_insert(now);
                if now.duration_since(below) >= watched.signal.calm {
                    self.release(signal, now);
                }
            }
            (None, None) => {}
        }
    }

    /// Ends a signal's hold, if there is one.
    fn release(&mut self, signal: &'static str, now: Instant) {
        let holding = self
            .states
            .get_mut(signal)
            .and_then(|state| state.holding.take());
        if let Some(holding) = holding {
            let held = now.duration_since(holding.since);
            self.sink.emit(Event::HoldEnded {
                signal: signal.to_owned(),
                held_ms: u64::try_from(held.as_millis()).unwrap_or(u64::MAX),
            });
        }
    }

    fn warn(&mut self, watched: &Watched, hold: &Hold) {
        let signal = watched.signal.name;
        if self.warned.insert(signal) {
            let way = match watched.named {
                true => "say `unknown: hold` to be held instead",
                false => "name it under `throttle` to be held instead",
            };
            self.sink.emit(Event::Warning {
                message: format!(
                    "{signal} cannot be read ({}). It does not protect this run; {way}.",
                    hold.reading
                ),
            });
        }
    }

    /// Tells whoever waits what holds now. `None`: that is not known yet.
    fn publish(&mut self, now: Instant) {
        let off = self.off.judge(now, &self.sink);
        let nice = self.settings.borrow().backfill.nice_ratio > 0 && !off;
        let yields = self.application.judge(nice, now, &self.sink);
        self.yields.send_replace(yields);
        let all = self.watched();
        let gone: Vec<&'static str> = self
            .states
            .keys()
            .copied()
            .filter(|name| !all.iter().any(|watched| watched.signal.name == *name))
            .collect();
        for name in gone {
            self.release(name, now);
            self.states.remove(name);
        }
        if off {
            let names: Vec<&'static str> = self.states.keys().copied().collect();
            for name in names {
                self.release(name, now);
            }
            // Readings are compared anew once the throttle is on again.
            self.states.clear();
            self.held.send_replace(Some(Vec::new()));
            return;
        }
        for state in self.states.values_mut() {
            let Some(holding) = &mut state.holding else {
                continue;
            };
            if holding.hold != holding.told && now.duration_since(holding.told_at) >= TELL {
                holding.told = holding.hold.clone();
                holding.told_at = now;
                self.sink.emit(Event::Holding {
                    signal: holding.hold.signal.clone(),
                    reading: holding.hold.reading.clone(),
                    limit: holding.hold.limit.clone(),
                });
            }
        }
        // What is ignored when it is unknown is not waited for either.
        let awaited = all.iter().any(|watched| {
            watched.unknown == Unknown::Hold && !self.states.contains_key(watched.signal.name)
        });
        let holds: Vec<Hold> = self
            .states
            .values()
            .filter_map(|state| Some(state.holding.as_ref()?.hold.clone()))
            .collect();
        let now_held = match awaited && holds.is_empty() {
            true => None,
            false => Some(holds),
        };
        self.held.send_if_modified(|held| {
            let changed = *held != now_held;
            *held = now_held;
            changed
        });
    }
}

#[cfg(test)]
mod tests;
