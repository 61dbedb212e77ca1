//! What all clients of one application share: options, counters, and the switches that steer them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{RwLock, watch};

use super::latency::{Latencies, Statement, Window};
use super::model::{Model, Version};
use super::oracle::Oracle;
use crate::error::describe;

/// How many findings are kept as examples; all are counted.
const EXAMPLES: usize = 50;

/// How fast each client works.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// The next operation begins `think` after the last one ended. A slow database makes a slow application.
    Closed {
        /// The pause between operations.
        think: Duration,
    },
    /// Operations are due at fixed times, and latency counts from then, so that a stall shows in every operation it delays.
    Open {
        /// Operations that each client begins in a second.
        per_client_per_second: f64,
    },
}

/// How often each kind of operation is chosen, relative to the others.
#[derive(Clone, Debug)]
pub struct Mix {
    /// Weights by kind; a missing kind is never chosen.
    pub weights: BTreeMap<Statement, u32>,
}

impl Default for Mix {
    fn default() -> Self {
        use Statement::*;
        let weights = [
            (Read, 30),
            (Insert, 10),
            (UpdateMapped, 20),
            (UpdateUnrelated, 20),
            (UpdateSame, 5),
            (UpdateKey, 2),
            (Delete, 3),
            (Transaction, 10),
        ];
        Self {
            weights: BTreeMap::from(weights),
        }
    }
}

impl Mix {
    /// Everything that a client can do, what writes several rows or decides on a conflict among it. `Upsert` and `Merge`
    /// need a key that is unique, and one that the application gives: with other keys they insert.
    pub fn everything() -> Self {
        use Statement::*;
        let mut mix = Self::default();
        let more = [(Copy, 3), (Upsert, 12), (Merge, 8), (DeleteSeveral, 2)];
        mix.weights.extend(more);
        mix.weights.insert(UpdateKey, 6);
        mix
    }

    pub(crate) fn choose(&self, rng: &mut StdRng) -> Statement {
        self.choose_among(rng, |_| true)
    }

    pub(crate) fn choose_single_write(&self, rng: &mut StdRng) -> Statement {
        self.choose_among(rng, |kind| {
            !matches!(kind, Statement::Read | Statement::Transaction)
        })
    }

    fn choose_among(&self, rng: &mut StdRng, allowed: impl Fn(Statement) -> bool) -> Statement {
        let candidates = || {
            self.weights
                .iter()
                .filter(|(kind, weight)| **weight > 0 && allowed(**kind))
        };
        let total: u32 = candidates().map(|(_, weight)| weight).sum();
        if total == 0 {
            return Statement::UpdateUnrelated;
        }
        let mut at = rng.random_range(0..total);
        for (kind, weight) in candidates() {
            if at < *weight {
                return *kind;
            }
            at -= weight;
        }
        Statement::UpdateUnrelated
    }
}

/// What an application is like.
#[derive(Clone, Debug)]
pub struct AppOptions {
    /// Where and as whom clients connect.
    pub url: String,
    /// How many seed rows the table has.
    pub rows: u64,
    /// Clients of the old version.
    pub old_clients: usize,
    /// Clients of the new version, which begin at [`Running::join_new_version`](super::Running::join_new_version).
    pub new_clients: usize,
    /// How fast each client works.
    pub pace: Pace,
    /// What clients do.
    pub mix: Mix,
    /// The sessions' `default_transaction_isolation`, for example `repeatable read`.
    pub isolation: Option<String>,
    /// Where the random choices begin. Concurrency still makes every run different.
    pub seed: u64,
}

impl AppOptions {
    /// Four old and four new clients in a closed loop without think time, on a table with `rows` seed rows.
    pub fn new(url: impl Into<String>, rows: u64) -> Self {
        Self {
            url: url.into(),
            rows,
            old_clients: 4,
            new_clients: 4,
            pace: Pace::Closed {
                think: Duration::ZERO,
            },
            mix: Mix::default(),
            isolation: None,
            seed: 1,
        }
    }
}

/// An error that the application got from PostgreSQL, its session staying alive.
#[derive(Clone, Debug)]
pub struct AppError {
    /// The SQLSTATE.
    pub sqlstate: String,
    /// Which version of the application got it.
    pub version: Version,
    /// What it was doing.
    pub statement: Statement,
    /// How often.
    pub count: u64,
    /// The first one's message.
    pub message: String,
}

/// Counters of a running application.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Rows written by committed operations.
    pub writes: u64,
    /// Rows read.
    pub reads: u64,
    /// Errors from PostgreSQL, sessions staying alive.
    pub errors: u64,
    /// Sessions lost.
    pub connections_lost: u64,
    /// Impossible observations: a wrong value read, a row that was not there.
    pub findings: u64,
}

/// What the clients share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) model: Arc<Model>,
    pub(crate) options: AppOptions,
    pub(crate) oracle: Arc<Oracle>,
    /// Clients hold it shared during an operation; a pause holds it alone.
    pub(crate) gate: Arc<RwLock<()>>,
    stop: watch::Sender<(bool, bool)>,
    filled: AtomicBool,
    serial: AtomicU64,
    write: AtomicU64,
    writes: AtomicU64,
    reads: AtomicU64,
    lost: AtomicU64,
    resolved: AtomicU64,
    notes: Mutex<Notes>,
}

/// What happened so far, apart from the counters.
#[derive(Debug, Default)]
struct Notes {
    windows: Vec<(String, Instant)>,
    /// By client, then by window.
    latencies: BTreeMap<(Version, usize), Vec<Latencies>>,
    errors: BTreeMap<(String, Version, Statement), (u64, String)>,
    findings: Vec<String>,
    finding_count: u64,
    last_connect_failure: Option<String>,
}

impl Shared {
    pub(crate) fn new(model: Arc<Model>, options: AppOptions, oracle: Arc<Oracle>) -> Self {
        let notes = Notes {
            windows: vec![("start".into(), Instant::now())],
            ..Notes::default()
        };
        Self {
            model,
            oracle,
            gate: Arc::new(RwLock::new(())),
            stop: watch::channel((false, false)).0,
            filled: AtomicBool::new(false),
            serial: AtomicU64::new(options.rows + 1),
            write: AtomicU64::new(1),
            writes: AtomicU64::new(0),
            reads: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            resolved: AtomicU64::new(0),
            notes: Mutex::new(notes),
            options,
        }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes
            .lock()
            .expect("no code panics while it holds this lock")
    }

    pub(crate) fn stop(&self, version: Version) {
        self.stop.send_modify(|(old, new)| match version {
            Version::Old => *old = true,
            Version::New => *new = true,
        });
    }

    pub(crate) fn stopping(&self, version: Version) -> bool {
        let (old, new) = *self.stop.borrow();
        match version {
            Version::Old => old,
            Version::New => new,
        }
    }

    /// Returns when the version has been told to stop.
    pub(crate) async fn stopped(&self, version: Version) {
        let mut stop = self.stop.subscribe();
        while !self.stopping(version) && stop.changed().await.is_ok() {}
    }

    pub(crate) fn filled(&self) -> bool {
        self.filled.load(Ordering::SeqCst)
    }

    pub(crate) fn expect_filled(&self) {
        self.filled.store(true, Ordering::SeqCst);
    }

    pub(crate) fn next_serial(&self) -> u64 {
        self.serial.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn next_write(&self) -> u64 {
        self.write.fetch_add(1, Ordering::Relaxed)
    }

    pub(crate) fn count(&self, kind: Statement, rows: u64) {
        match kind {
            Statement::Read => self.reads.fetch_add(1, Ordering::Relaxed),
            _ => self.writes.fetch_add(rows, Ordering::Relaxed),
        };
    }

    pub(crate) fn mark(&self, name: &str) {
        self.notes().windows.push((name.to_owned(), Instant::now()));
    }

    pub(crate) fn record(&self, version: Version, client: usize, kind: Statement, took: Duration) {
        let mut notes = self.notes();
        let windows = notes.windows.len();
        let latencies = notes.latencies.entry((version, client)).or_default();
        latencies.resize(windows, Latencies::default());
        latencies[windows - 1].record(version, kind, took);
    }

    pub(crate) fn sql_error(
        &self,
        version: Version,
        kind: Statement,
        error: &tokio_postgres::Error,
    ) {
        let sqlstate = error
            .code()
            .map_or("?", tokio_postgres::error::SqlState::code)
            .to_owned();
        let mut notes = self.notes();
        notes
            .errors
            .entry((sqlstate, version, kind))
            .or_insert_with(|| (0, describe(error)))
            .0 += 1;
    }

    pub(crate) fn finding(&self, what: String) {
        let mut notes = self.notes();
        notes.finding_count += 1;
        if notes.findings.len() < EXAMPLES {
            notes.findings.push(what);
        }
    }

    pub(crate) fn connection_lost(&self, how: &str) {
        tracing::debug!("the application lost a connection: {how}");
        self.lost.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn connect_failed(&self, error: &tokio_postgres::Error) {
        self.notes().last_connect_failure = Some(describe(error));
    }

    pub(crate) fn resolved(&self) {
        self.resolved.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn doubts_resolved(&self) -> u64 {
        self.resolved.load(Ordering::Relaxed)
    }

    pub(crate) fn live(&self) -> Live {
        let notes = self.notes();
        Live {
            writes: self.writes.load(Ordering::Relaxed),
            reads: self.reads.load(Ordering::Relaxed),
            errors: notes.errors.values().map(|(count, _)| count).sum(),
            connections_lost: self.lost.load(Ordering::Relaxed),
            findings: notes.finding_count,
        }
    }

    pub(crate) fn windows(&self) -> Vec<Window> {
        let notes = self.notes();
        let now = Instant::now();
        let ends = notes
            .windows
            .iter()
            .skip(1)
            .map(|(_, begun)| *begun)
            .chain([now]);
        let mut windows: Vec<Window> = notes
            .windows
            .iter()
            .zip(ends)
            .map(|((name, begun), end)| Window {
                name: name.clone(),
                begun: *begun,
                lasted: end - *begun,
                latencies: Latencies::default(),
            })
            .collect();
        for of_client in notes.latencies.values() {
            for (window, latencies) in windows.iter_mut().zip(of_client) {
                window.latencies.merge(latencies);
            }
        }
        windows
    }

    pub(crate) fn errors(&self) -> Vec<AppError> {
        self.notes()
            .errors
            .iter()
            .map(
                |((sqlstate, version, statement), (count, message))| AppError {
                    sqlstate: sqlstate.clone(),
                    version: *version,
                    statement: *statement,
                    count: *count,
                    message: message.clone(),
                },
            )
            .collect()
    }

    pub(crate) fn findings(&self) -> Vec<String> {
        self.notes().findings.clone()
    }

    pub(crate) fn last_connect_failure(&self) -> Option<String> {
        self.notes().last_connect_failure.clone()
    }
}
