//! A model application: clients of an old and of a new version that read and write one table while it is migrated, and an
//! oracle that knows what every row must be.
//!
//! What it promises: the oracle's expectations come from the application's own writes and from Rust functions of the
//! [`Model`], never from the database under test, nor from anything of Pontoon's. Every write changes the row's revision,
//! so a lost one shows. Clients compare each row that they read with what it must be at that moment.
//!
//! ```no_run
//! # async fn example() -> pontoon_sandbox::Result<()> {
//! use pontoon_sandbox::app::{App, AppOptions, Shape, models};
//!
//! let database = pontoon_sandbox::TestDatabase::create(None).await?;
//! let client = database.client().await?;
//! let model = models::orders();
//! App::install(&model, &client, 10_000).await?;
//! let app = App::start(model, AppOptions::new(database.url(), 10_000));
//! // … migrate up to the gate …
//! app.join_new_version();
//! app.retire_old_version().await;
//! // … contract …
//! let report = app.stop().await;
//! assert!(report.is_clean(), "{report}");
//! let rows = report.oracle.check(&client, Shape::New).await?;
//! assert!(rows.is_clean(), "{rows}");
//! # Ok(())
//! # }
//! ```

mod client;
mod connection;
mod doubt;
mod latency;
mod model;
pub mod models;
mod oracle;
mod probe;
mod several;
mod shared;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::OwnedRwLockWriteGuard;
use tokio::task::JoinHandle;

use self::client::AppClient;
use self::shared::Shared;
use crate::error::{Error, Result};

pub use self::latency::{Histogram, Statement, Window};
pub use self::model::{
    Cell, Column, Content, Convert, Generate, Key, KeySource, Mapping, Model, Row, Side, Version,
};
pub use self::oracle::{Difference, Oracle, OracleReport, Shape};
pub use self::probe::{ProbeOptions, ProbeTarget, StallProbe, StallReport, TargetReport};
pub use self::shared::{AppError, AppOptions, Live, Mix, Pace};

/// How long [`Running::stop`] waits for a client that neither finishes nor fails.
const STOP_PATIENCE: Duration = Duration::from_secs(90);

/// Seed rows that clients leave alone, for probes.
pub const RESERVED_ROWS: u64 = 8;

/// Starts applications.
#[derive(Debug)]
pub struct App;

impl App {
    /// Creates the model's table in its old shape and fills it with seed rows 1 to `rows`.
    ///
    /// # Errors
    /// When PostgreSQL refuses, for example because the table exists.
    pub async fn install(model: &Model, client: &tokio_postgres::Client, rows: u64) -> Result<()> {
        let mut statements = model.ddl();
        statements.push(model.seed_sql(rows));
        if let KeySource::Identity = model.key_source {
            statements.push(format!(
                "SELECT setval(pg_get_serial_sequence({}, {}), {}, false)",
                crate::server::literal(&model.quoted_table()),
                crate::server::literal(model.key[0].0),
                rows + 1
            ));
        }
        statements.push(format!("ANALYZE {}", model.quoted_table()));
        for statement in statements {
            client
                .batch_execute(&statement)
                .await
                .map_err(|e| Error::postgres(format!("install the model: {statement}"), e))?;
        }
        Ok(())
    }

    /// Starts the old version's clients in the current runtime. They connect by themselves, and again whenever they lose
    /// their session.
    pub fn start(model: Model, options: AppOptions) -> Running {
        let model = Arc::new(model);
        let shards = 4 * (options.old_clients + options.new_clients).max(1) as u64;
        // Half of a tiny table is enough for probes.
        let reserved = RESERVED_ROWS.min(options.rows / 2);
        let oracle = Arc::new(Oracle::new(
            Arc::clone(&model),
            options.rows,
            reserved,
            shards,
        ));
        let shared = Arc::new(Shared::new(model, options, oracle));
        let running = Running {
            shared,
            clients: Mutex::new(Vec::new()),
            paused: Mutex::new(None),
        };
        running.launch(Version::Old, running.shared.options.old_clients);
        running
    }
}

/// An application at work. Dropping it ends its clients at once; [`Running::stop`] ends them in order.
#[derive(Debug)]
pub struct Running {
    shared: Arc<Shared>,
    clients: Mutex<Vec<(Version, JoinHandle<()>)>>,
    paused: Mutex<Option<OwnedRwLockWriteGuard<()>>>,
}

impl Running {
    fn launch(&self, version: Version, count: usize) {
        let mut clients = self
            .clients
            .lock()
            .expect("no code panics while it holds this lock");
        for number in 0..count {
            let client = AppClient::new(Arc::clone(&self.shared), version, number);
            clients.push((version, tokio::spawn(client.run())));
        }
    }

    /// Starts the new version's clients beside the old one's. Until [`Running::expect_filled`] they accept
    /// NULL in new columns and set none of these to NULL: in a row that is not filled yet, nobody could tell the difference.
    pub fn join_new_version(&self) {
        self.launch(Version::New, self.shared.options.new_clients);
    }

    /// From now on a new column that reads NULL where it must hold a value is a finding: the backfill is done.
    pub fn expect_filled(&self) {
        self.shared.expect_filled();
    }

    /// Ends the old version's clients, each after its current operation.
    pub async fn retire_old_version(&self) {
        self.end(Version::Old).await;
    }

    /// Ends the new version's clients, as a rollback of the application does.
    pub async fn retire_new_version(&self) {
        self.end(Version::New).await;
    }

    async fn end(&self, version: Version) {
        self.shared.stop(version);
        let ended: Vec<JoinHandle<()>> = {
            let mut clients = self
                .clients
                .lock()
                .expect("no code panics while it holds this lock");
            let (ended, rest) = clients.drain(..).partition(|(of, _)| *of == version);
            *clients = rest;
            let ended: Vec<(Version, JoinHandle<()>)> = ended;
            ended.into_iter().map(|(_, handle)| handle).collect()
        };
        for mut handle in ended {
            match tokio::time::timeout(STOP_PATIENCE, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => self
                    .shared
                    .finding(format!("a client of the application crashed: {error}")),
                Err(_) => {
                    handle.abort();
                    self.shared.finding(format!(
                        "a client of the {version:?} version hangs in an operation for {STOP_PATIENCE:?}; \
                         what it was writing is unknown"
                    ));
                }
            }
        }
    }

    /// Holds all clients between two operations, and returns when none is in one. Does nothing when paused already.
    pub async fn pause(&self) {
        let is_paused = self
            .paused
            .lock()
            .expect("no code panics while it holds this lock")
            .is_some();
        if !is_paused {
            let guard = Arc::clone(&self.shared.gate).write_owned().await;
            *self
                .paused
                .lock()
                .expect("no code panics while it holds this lock") = Some(guard);
        }
    }

    /// Lets paused clients go on.
    pub fn resume(&self) {
        drop(
            self.paused
                .lock()
                .expect("no code panics while it holds this lock")
                .take(),
        );
    }

    /// Begins a new window for latencies, for example `before`, `during`, `after`. The first one is called `start`.
    pub fn mark(&self, name: &str) {
        self.shared.mark(name);
    }

    /// What every row must be. Ask it while the clients pause.
    pub fn oracle(&self) -> &Oracle {
        &self.shared.oracle
    }

    /// Counters as of now.
    pub fn live(&self) -> Live {
        self.shared.live()
    }

    /// The latencies so far.
    pub fn windows(&self) -> Vec<Window> {
        self.shared.windows()
    }

    /// The errors so far.
    pub fn errors(&self) -> Vec<AppError> {
        self.shared.errors()
    }

    /// Compares every row while the clients pause.
    ///
    /// # Errors
    /// As [`Oracle::check`].
    pub async fn check(
        &self,
        client: &tokio_postgres::Client,
        shape: Shape,
    ) -> Result<OracleReport> {
        let was_paused = self
            .paused
            .lock()
            .expect("no code panics while it holds this lock")
            .is_some();
        self.pause().await;
        let result = self.shared.oracle.check(client, shape).await;
        if !was_paused {
            self.resume();
        }
        result
    }

    /// Ends all clients, each after its current operation, and reports.
    pub async fn stop(self) -> Report {
        self.resume();
        // Both are told first, so that one version's slow end does not let the other one work on.
        self.shared.stop(Version::New);
        self.end(Version::Old).await;
        self.end(Version::New).await;
        Report {
            live: self.shared.live(),
            windows: self.shared.windows(),
            errors: self.shared.errors(),
            findings: self.shared.findings(),
            doubts_resolved: self.shared.doubts_resolved(),
            last_connect_failure: self.shared.last_connect_failure(),
            oracle: Arc::clone(&self.shared.oracle),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for (_, client) in self
            .clients
            .lock()
            .expect("no code panics while it holds this lock")
            .drain(..)
        {
            client.abort();
        }
    }
}

/// What an application went through.
#[derive(Debug)]
pub struct Report {
    /// The counters at the end.
    pub live: Live,
    /// Latencies, one window for each mark.
    pub windows: Vec<Window>,
    /// Errors from PostgreSQL that were not losses of a session. Without a migration there are none.
    pub errors: Vec<AppError>,
    /// The first impossible observations, as sentences.
    pub findings: Vec<String>,
    /// Writes whose answer was lost and whose outcome was then learned from the row.
    pub doubts_resolved: u64,
    /// Why the last attempt to connect failed, if one did.
    pub last_connect_failure: Option<String>,
    /// What every row must be.
    pub oracle: Arc<Oracle>,
}

impl Report {
    /// Whether the application noticed nothing: no error and no impossible observation. Lost sessions do not count.
    pub fn is_clean(&self) -> bool {
        self.errors.is_empty() && self.live.findings == 0
    }

    /// The first window of this name.
    pub fn window(&self, name: &str) -> Option<&Window> {
        self.windows.iter().find(|window| window.name == name)
    }

    /// The longest that any operation took, in all windows.
    pub fn worst(&self) -> Duration {
        self.windows
            .iter()
            .map(|window| window.total().worst())
            .max()
            .unwrap_or_default()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Live {
            writes,
            reads,
            errors,
            connections_lost,
            findings,
        } = self.live;
        write!(
            f,
            "{writes} writes, {reads} reads, {errors} errors, {connections_lost} connections lost, {findings} findings"
        )?;
        for error in &self.errors {
            write!(
                f,
                "\n  {} times {} ({:?} version, {}): {}",
                error.count,
                error.sqlstate,
                error.version,
                error.statement.name(),
                error.message
            )?;
        }
        for finding in self.findings.iter().take(10) {
            write!(f, "\n  finding: {finding}")?;
        }
        for window in &self.windows {
            let all = window.total();
            write!(
                f,
                "\n  {}: {} operations in {:.1?}, p50 {:.1?}, p99 {:.1?}, worst {:.1?}",
                window.name,
                all.count(),
                window.lasted,
                all.percentile(0.5),
                all.percentile(0.99),
                all.worst()
            )?;
        }
        Ok(())
    }
}
