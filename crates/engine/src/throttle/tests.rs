//! Decisions over time, without a database.

use std::sync::{Arc, Mutex};

use pontoon_core::plan::{BackfillOptions, Limits};

use super::*;
use crate::db::{Company, Reading, ThrottleOff};

/// A decider, what it told, and what it lets pass.
struct Bench {
    decider: Decider,
    told: Arc<Mutex<Vec<Event>>>,
    held: watch::Receiver<Option<Vec<Hold>>>,
    yields: watch::Receiver<bool>,
    began: Instant,
    /// Keeps the settings' channel open.
    _settings: watch::Sender<Settings>,
}

/// Only what the test names is watched.
fn bench(pairs: &[(&str, &str)]) -> Bench {
    let mut throttle: BTreeMap<String, String> = KNOWN
        .iter()
        .filter(|signal| signal.on)
        .map(|signal| (signal.name.to_owned(), "off".to_owned()))
        .collect();
    throttle.extend(
        pairs
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned())),
    );
    let (_settings, receiver) = watch::channel(Settings {
        limits: Limits::default(),
        backfill: BackfillOptions::default(),
        throttle,
        gates: Vec::new(),
    });
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&told);
    let sink = Sink::new(move |event| hear.lock().expect("no panic").push(event));
    let (sender, held) = watch::channel(None);
    let (yield_sender, yields) = watch::channel(true);
    Bench {
        decider: Decider::new(receiver, sink, sender, yield_sender),
        told,
        held,
        yields,
        began: Instant::now(),
        _settings,
    }
}

impl Bench {
    fn at(&mut self, seconds: f64, report: Report) -> Option<bool> {
        let now = self.began + Duration::from_secs_f64(seconds);
        self.decider.take(report, now);
        self.decider.publish(now);
        self.held.borrow().as_ref().map(|held| !held.is_empty())
    }

    fn reads(&mut self, seconds: f64, signal: &'static str, value: f64) -> Option<bool> {
        let sample = Ok(Sample::Readings(vec![Reading::new(value)]));
        self.at(seconds, Report::Read { signal, sample })
    }

    fn fails(&mut self, seconds: f64, signal: &'static str) -> Option<bool> {
        let sample = Err("connection refused".to_owned());
        self.at(seconds, Report::Read { signal, sample })
    }

    /// An answer has come; do batches yield?
    fn finds(&mut self, seconds: f64, company: Company) -> bool {
        self.at(seconds, Report::Application(company));
        *self.yields.borrow()
    }

    fn names(&self) -> Vec<String> {
        let told = self.told.lock().expect("no panic");
        told.iter()
            .map(|event| match event {
                Event::Held { signal, .. } => format!("held {signal}"),
                Event::Holding { reading, .. } => format!("reading {reading}"),
                Event::HoldEnded { signal, held_ms } => format!("ended {signal} after {held_ms}"),
                Event::Warning { message } => message.clone(),
                Event::ThrottleOn => "on".to_owned(),
                Event::Yielding { sessions } => format!("yields to {sessions:?}"),
                Event::FullSpeed => "full speed".to_owned(),
                other => format!("{other:?}"),
            })
            .collect()
    }
}

#[test]
fn a_hold_does_not_flap() {
    let mut bench = bench(&[("lock_waits", "10")]);
    assert_eq!(bench.reads(0.0, "lock_waits", 9.0), Some(false));
    assert_eq!(bench.reads(0.5, "lock_waits", 10.0), Some(true));
    // Between four fifths and the limit it goes on.
    assert_eq!(bench.reads(1.0, "lock_waits", 9.0), Some(true));
    // Below, but not for long enough.
    assert_eq!(bench.reads(1.5, "lock_waits", 7.0), Some(true));
    assert_eq!(bench.reads(2.0, "lock_waits", 8.0), Some(true));
    assert_eq!(bench.reads(2.5, "lock_waits", 7.0), Some(true));
    assert_eq!(bench.reads(3.5, "lock_waits", 7.0), Some(false));
    assert_eq!(bench.reads(4.0, "lock_waits", 9.0), Some(false));
    assert_eq!(
        bench.names(),
        [
            "held lock_waits",
            "reading 8",
            "ended lock_waits after 3000"
        ]
    );
}

#[test]
fn who_waits_for_us_ends_a_hold_at_once() {
    let mut bench = bench(&[("blocked_sessions", "1")]);
    assert_eq!(bench.reads(0.0, "blocked_sessions", 1.0), Some(true));
    assert_eq!(bench.reads(0.25, "blocked_sessions", 0.0), Some(false));
}

#[test]
fn a_reading_that_fails_counts_as_the_last_one_until_it_is_stale() {
    let mut bench = bench(&[("http", "http://gate/")]);
    assert_eq!(bench.fails(0.0, "http"), Some(true), "nothing is known");
    assert_eq!(bench.reads(1.0, "http", 200.0), Some(true), "not calm yet");
    assert_eq!(bench.reads(2.0, "http", 200.0), Some(false));
    assert_eq!(bench.fails(4.0, "http"), Some(false));
    assert_eq!(bench.fails(7.5, "http"), Some(true), "stale");
    assert_eq!(bench.reads(8.0, "http", 503.0), Some(true));
    assert_eq!(bench.reads(9.0, "http", 200.0), Some(true));
    assert_eq!(bench.reads(10.0, "http", 200.0), Some(false));
}

#[test]
fn what_is_ignored_warns_once_and_is_not_waited_for() {
    let mut bench = bench(&[
        ("http", r#"{"url":"http://gate/","unknown":"ignore"}"#),
        ("lock_waits", "5"),
    ]);
    assert_eq!(bench.fails(0.0, "http"), None, "lock_waits is awaited");
    assert_eq!(bench.reads(0.1, "lock_waits", 0.0), Some(false));
    assert_eq!(bench.fails(1.0, "http"), Some(false));
    let told = bench.names();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("cannot be read (unknown: connection refused)"));
}

#[test]
fn what_a_role_may_not_see_holds_only_who_asked_for_it() {
    let hidden = || Report::Read {
        signal: "replication_lag",
        sample: Ok(Sample::Readings(vec![Reading {
            value: Err("not visible".to_owned()),
            ..Reading::new(0.0)
        }])),
    };
    let mut named = bench(&[("replication_lag", "10s")]);
    assert_eq!(named.at(0.0, hidden()), Some(true));
    let mut silent = bench(&[]);
    silent
        ._settings
        .send_modify(|settings| drop(settings.throttle.remove("replication_lag")));
    assert_eq!(silent.at(0.0, hidden()), Some(false));
    assert!(silent.names()[0].contains("name it under `throttle`"));
}

/// The throttle was switched off by this request.
fn off(request: i64, seconds: f64) -> Report {
    let left = Duration::from_secs_f64(seconds);
    Report::Off(Some(ThrottleOff { request, left }))
}

/// Whoever waits for a hold to end must not meet one that nobody asked for.
#[test]
fn a_late_answer_does_not_switch_it_off_again() {
    let mut bench = bench(&[("lock_waits", "5")]);
    bench.at(0.0, off(7, 1.0));
    assert_eq!(bench.reads(1.1, "lock_waits", 9.0), Some(true));
    assert_eq!(bench.at(1.2, off(7, 0.1)), Some(true));
    assert_eq!(bench.at(1.3, off(8, 1.0)), Some(false));
    assert_eq!(bench.at(1.4, Report::Off(None)), None);
    assert_eq!(bench.reads(1.5, "lock_waits", 9.0), Some(true));
    assert_eq!(
        bench.names(),
        [
            "on",
            "held lock_waits",
            "ended lock_waits after 200",
            "on",
            "held lock_waits"
        ]
    );
}

#[test]
fn while_it_is_off_nothing_holds_and_it_comes_back_by_itself() {
    let mut bench = bench(&[("lock_waits", "5")]);
    assert_eq!(bench.reads(0.0, "lock_waits", 9.0), Some(true));
    assert_eq!(bench.at(1.0, off(1, 10.0)), Some(false));
    assert_eq!(bench.reads(5.0, "lock_waits", 9.0), Some(false));
    // The database is not asked any more, and still it comes back.
    assert_eq!(bench.fails(11.5, "lock_waits"), Some(true));
    assert_eq!(
        bench.names(),
        [
            "held lock_waits",
            "ended lock_waits after 1000",
            "on",
            "held lock_waits",
        ]
    );
}

#[test]
fn a_signal_that_is_switched_off_lets_go() {
    let mut bench = bench(&[("lock_waits", "5"), ("active_sessions", "50")]);
    assert_eq!(bench.reads(0.0, "lock_waits", 9.0), Some(true));
    assert_eq!(bench.reads(0.1, "active_sessions", 2.0), Some(true));
    bench._settings.send_modify(|settings| {
        settings
            .throttle
            .insert("lock_waits".to_owned(), "off".to_owned());
    });
    assert_eq!(bench.reads(0.2, "active_sessions", 2.0), Some(false));
}

#[test]
fn batches_yield_to_whoever_is_at_work() {
    let mut bench = bench(&[]);
    assert!(*bench.yields.borrow(), "nothing is known yet");
    assert!(!bench.finds(0.1, Company::Sessions(0)));
    assert!(bench.finds(0.4, Company::Sessions(14)));
    assert!(bench.finds(0.7, Company::Sessions(12)));
    assert!(!bench.finds(1.0, Company::Sessions(0)));
    // Without an answer for seconds, nothing is known again.
    bench.at(6.5, Report::Off(None));
    assert!(*bench.yields.borrow());
    assert_eq!(bench.names(), ["yields to Some(14)", "full speed"]);
}

#[test]
fn batches_yield_where_nothing_may_be_seen_and_say_how_to_change_that() {
    let mut bench = bench(&[]);
    assert!(bench.finds(0.1, Company::Hidden));
    assert!(bench.finds(0.4, Company::Hidden));
    let told = bench.names();
    assert!(told[0].contains("GRANT pg_monitor"), "{told:?}");
    assert_eq!(told[1..], ["yields to None"]);
}

#[test]
fn nobody_is_yielded_to_when_a_person_says_so() {
    let mut bench = bench(&[]);
    assert!(bench.finds(0.1, Company::Sessions(3)));
    bench
        ._settings
        .send_modify(|settings| settings.backfill.nice_ratio = 0);
    assert!(!bench.finds(0.4, Company::Sessions(3)));
    bench
        ._settings
        .send_modify(|settings| settings.backfill.nice_ratio = 2);
    assert!(bench.finds(0.7, Company::Sessions(3)));
    bench.at(0.8, off(1, 10.0));
    assert!(!*bench.yields.borrow(), "the throttle is off");
    assert!(bench.finds(11.0, Company::Sessions(3)));
}
