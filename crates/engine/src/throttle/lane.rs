//! Reading signals, each as often as it declares.
//!
//! Signals that ask the server a short question share one lane, and with it
//! one connection. Those that may hang for reasons of their own (a query, an
//! endpoint, a commit) have a lane each, so that none keeps another from being
//! read; and so has the question whether the application is at work, whose
//! answer is to be fresh.

use std::collections::BTreeMap;
use std::time::Duration;

use pontoon_core::plan::signals::{Signal, Watched, watched};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::application;
use crate::db::{Company, Sample, Sampler, Settings, ThrottleOff};

/// How often it is read whether an operator has switched the throttle off.
const OFF_EVERY: Duration = Duration::from_secs(1);
/// What an answer may take beyond the time that the server has for it.
const GRACE: Duration = Duration::from_millis(500);
/// A lane without signals looks at the settings this often.
const IDLE: Duration = Duration::from_secs(1);

/// Which signals a lane reads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lane {
    /// All that share a connection.
    Shared,
    /// None: the one that asks whether the application is at work.
    Application,
    /// This one.
    Alone(&'static Signal),
}

impl Lane {
    fn reads(self, signal: &Signal) -> bool {
        match self {
            Lane::Shared => !signal.alone,
            Lane::Application => false,
            Lane::Alone(only) => only.name == signal.name,
        }
    }
}

/// What a lane has found out.
#[derive(Debug)]
pub(super) enum Report {
    /// A signal was read, or why it was not.
    Read {
        signal: &'static str,
        sample: Result<Sample, String>,
    },
    /// Who else is at work.
    Application(Company),
    /// Whether the throttle is off.
    Off(Option<ThrottleOff>),
}

/// Reads until it is told to stop, or nobody listens.
pub(super) async fn read<S: Sampler>(
    sampler: S,
    lane: Lane,
    settings: watch::Receiver<Settings>,
    reports: mpsc::UnboundedSender<Report>,
    stop: CancellationToken,
) {
    match lane {
        Lane::Application => tokio::select! {
            () = ask(sampler, settings, reports) => {}
            () = stop.cancelled() => {}
        },
        Lane::Shared | Lane::Alone(_) => read_signals(sampler, lane, settings, reports, stop).await,
    }
}

/// Asks who else is at work, as long as anybody wants to know.
async fn ask<S: Sampler>(
    mut sampler: S,
    mut settings: watch::Receiver<Settings>,
    reports: mpsc::UnboundedSender<Report>,
) {
    loop {
        let is_nice = |settings: &Settings| settings.backfill.nice_ratio > 0;
        if settings.wait_for(is_nice).await.is_err() && !is_nice(&settings.borrow()) {
            return;
        }
        // Without an answer the last one counts until it is stale.
        let answer = match tokio::time::timeout(IDLE, sampler.company()).await {
            Ok(Ok(company)) => {
                if reports.send(Report::Application(company)).is_err() {
                    return;
                }
                Some(company)
            }
            Ok(Err(error)) => {
                tracing::debug!("who else is at work is unknown: {error}");
                None
            }
            Err(_) => {
                tracing::debug!("who else is at work is unknown: no answer");
                None
            }
        };
        tokio::time::sleep(application::again(answer)).await;
    }
}

/// Reads the signals of a lane.
async fn read_signals<S: Sampler>(
    mut sampler: S,
    lane: Lane,
    mut settings: watch::Receiver<Settings>,
    reports: mpsc::UnboundedSender<Report>,
    stop: CancellationToken,
) {
    let mut due: BTreeMap<&'static str, Instant> = BTreeMap::new();
    let mut off_due = matches!(lane, Lane::Shared).then(Instant::now);
    loop {
        let mine: Vec<Watched> = watched(&settings.borrow_and_update().throttle)
            .into_iter()
            .filter(|watched| lane.reads(watched.signal))
            .collect();
        if off_due.is_some_and(|at| at <= Instant::now()) {
            let answer = tokio::select! {
                answer = tokio::time::timeout(OFF_EVERY * 3, sampler.throttle_off()) => answer,
                () = stop.cancelled() => return,
            };
            // Without an answer what was known goes on to hold, or expires.
            if let Ok(Ok(off)) = answer
                && reports.send(Report::Off(off)).is_err()
            {
                return;
            }
            off_due = Some(Instant::now() + OFF_EVERY);
        }
        for one in &mine {
            let name = one.signal.name;
            if due.get(name).is_some_and(|at| *at > Instant::now()) {
                continue;
            }
            let bound = one.timeout() + GRACE;
            let answer = tokio::select! {
                answer = tokio::time::timeout(bound, sampler.sample(one)) => answer,
                () = stop.cancelled() => return,
            };
            let sample = match answer {
                Ok(Ok(sample)) => Ok(sample),
                Ok(Err(error)) => Err(error.message),
                Err(_) => Err(format!(
                    "no answer within {}",
                    humantime::format_duration(bound)
                )),
            };
            let wait = match sample {
                // The second look at a change over time comes soon.
                Ok(Sample::NotYet) => one.signal.every.min(IDLE / 2),
                _ => one.signal.every,
            };
            due.insert(name, Instant::now() + wait);
            let report = Report::Read {
                signal: name,
                sample,
            };
            if reports.send(report).is_err() {
                return;
            }
        }
        due.retain(|name, _| mine.iter().any(|one| one.signal.name == *name));
        let next = due
            .values()
            .copied()
            .chain(off_due)
            .min()
            .unwrap_or_else(|| Instant::now() + IDLE);
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            changed = settings.changed() => if changed.is_err() {
                // Nobody changes them any more; they hold as they are.
                tokio::select! {
                    () = tokio::time::sleep_until(next) => {}
                    () = stop.cancelled() => return,
                }
            },
            () = stop.cancelled() => return,
        }
    }
}
