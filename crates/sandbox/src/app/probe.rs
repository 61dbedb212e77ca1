//! How long one-row statements wait, and whether they wait for Pontoon.
//!
//! Reads and writes of single rows run at a fixed rate against the table under migration and against a control table that
//! nobody migrates. Meanwhile a sampler asks PostgreSQL which session blocks which (`pg_blocking_pids`), and follows the
//! chain: a probe that waits for an application's transaction that itself waits for Pontoon waits for Pontoon.
//!
//! The result says two things of each target: the longest that any statement took, which is exact and whose cause may be
//! anything (a busy machine shows in the control table as well), and the longest wait attributed to Pontoon, which is exact
//! to within two samples; the largest gap between samples is reported beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;
use tokio_postgres::{Client, Statement};

use super::latency::Histogram;
use super::model::Model;
use crate::error::{Error, Result};
use crate::server::{connect, literal, quote};

/// What a probe runs. Both statements must touch one row and change nothing that an oracle would notice.
#[derive(Clone, Debug)]
pub struct ProbeTarget {
    /// A statement that reads one row.
    pub read: String,
    /// A statement that writes one row.
    pub write: String,
}

impl Model {
    /// A probe of the first seed row, which clients leave alone. The table needs two seed rows at least.
    pub fn probe(&self) -> ProbeTarget {
        let key = self.seed_key(1);
        let filter: Vec<String> = self
            .key
            .iter()
            .zip(&key)
            .map(|((name, sql_type), value)| {
                format!("{} = {}::{sql_type}", quote(name), literal(value))
            })
            .collect();
        let (table, filter) = (self.quoted_table(), filter.join(" AND "));
        let revision = quote(self.columns[self.revision()].name);
        ProbeTarget {
            read: format!("SELECT {revision} FROM {table} WHERE {filter}"),
            write: format!("UPDATE {table} SET {revision} = {revision} WHERE {filter}"),
        }
    }
}

/// How a probe works.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// Where and as whom the statements run.
    pub url: String,
    /// Where the sampler connects: as a role that sees the sessions of all others.
    pub sampler_url: String,
    /// Statements per second on each target, half of them reads.
    pub per_second: f64,
    /// How often the sampler looks.
    pub sampling: Duration,
    /// Sessions whose `application_name` begins so are the ones to attribute waits to.
    pub suspect: String,
}

impl ProbeOptions {
    /// 200 statements a second on each target, a sample every 10 ms, suspecting `pontoon`.
    pub fn new(url: impl Into<String>) -> Self {
        let url = url.into();
        Self {
            sampler_url: url.clone(),
            url,
            per_second: 200.0,
            sampling: Duration::from_millis(10),
            suspect: "pontoon".into(),
        }
    }
}

/// A probe at work; [`StallProbe::stop`] gives its result.
#[derive(Debug)]
pub struct StallProbe {
    state: Arc<State>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct State {
    stop: AtomicBool,
    /// By target (whether it is the control table) and kind (whether it is a write).
    measured: Mutex<BTreeMap<(bool, bool), Measured>>,
    /// Which probing session is waiting for a suspect, since when and for whom.
    blamed: Mutex<BTreeMap<i32, Blame>>,
    largest_gap: Mutex<Duration>,
    suspects: Mutex<BTreeSet<String>>,
}

#[derive(Clone, Debug)]
struct Blame {
    /// The last sample before the first that saw the wait.
    since: Instant,
    last: Instant,
    whom: String,
}

#[derive(Debug, Default)]
struct Measured {
    latencies: Histogram,
    errors: BTreeMap<String, (u64, String)>,
    attributed: Duration,
    attributed_count: u64,
    worst_blame: Option<String>,
}

impl StallProbe {
    /// Begins to probe a target and a control table `pontoon_probe_control`, which is created in the schema `public` unless
    /// it exists.
    ///
    /// # Errors
    /// When a session cannot be opened or the control table not be created.
    pub async fn start(options: ProbeOptions, target: ProbeTarget) -> Result<Self> {
        let sampler = connect(&options.sampler_url).await?;
        sampler
            .batch_execute(
                "CREATE TABLE IF NOT EXISTS public.pontoon_probe_control (id integer PRIMARY KEY, n bigint NOT NULL);
                 INSERT INTO public.pontoon_probe_control VALUES (1, 0) ON CONFLICT DO NOTHING;
                 GRANT SELECT, UPDATE ON public.pontoon_probe_control TO PUBLIC",
            )
            .await
            .map_err(|e| Error::postgres("create the control table", e))?;
        let control = ProbeTarget {
            read: "SELECT n FROM public.pontoon_probe_control WHERE id = 1".into(),
            write: "UPDATE public.pontoon_probe_control SET n = n WHERE id = 1".into(),
        };
        let state = Arc::new(State::default());
        let mut tasks = Vec::new();
        let every = Duration::from_secs_f64(2.0 / options.per_second.max(0.1));
        for (is_control, target) in [(false, &target), (true, &control)] {
            for (is_write, statement) in [(false, &target.read), (true, &target.write)] {
                let probe = Probe {
                    state: Arc::clone(&state),
                    url: options.url.clone(),
                    is_control,
                    is_write,
                    statement: statement.clone(),
                    every,
                    sampling: options.sampling,
                };
                tasks.push(tokio::spawn(probe.run()));
            }
        }
        tasks.push(tokio::spawn(sample(Arc::clone(&state), sampler, options)));
        Ok(Self { state, tasks })
    }

    /// Ends the probe, each statement after its answer, and gives the result.
    pub async fn stop(mut self) -> StallReport {
        self.state.stop.store(true, Ordering::SeqCst);
        for task in &mut self.tasks {
            if let Err(error) = tokio::time::timeout(Duration::from_secs(60), task).await {
                tracing::warn!("a stall probe still waits for its statement: {error}");
            }
        }
        self.state.report()
    }

    /// The result so far.
    pub fn report(&self) -> StallReport {
        self.state.report()
    }
}

impl Drop for StallProbe {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

struct Probe {
    state: Arc<State>,
    url: String,
    is_control: bool,
    is_write: bool,
    statement: String,
    every: Duration,
    sampling: Duration,
}

impl Probe {
    async fn run(self) {
        let mut tick = tokio::time::interval(self.every);
        // After a stall the probe goes on at its pace; what it missed is not made up for in a burst.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut session = None;
        while !self.state.stop.load(Ordering::SeqCst) {
            tick.tick().await;
            if session.is_none() {
                session = self.open().await;
            }
            let Some((client, prepared, pid)) = &mut session else {
                continue;
            };
            let begun = Instant::now();
            lock(&self.state.blamed).remove(pid);
            let result = self.execute(client, prepared).await;
            let took = begun.elapsed();
            let blame = lock(&self.state.blamed).remove(pid);
            let mut measured = lock(&self.state.measured);
            let measured = measured
                .entry((self.is_control, self.is_write))
                .or_default();
            measured.latencies.record(took);
            if let Some(blame) = blame {
                // The wait began after the sample before the first that saw it, and ended before the next one after the last.
                let from = blame.since.max(begun);
                let wait = (blame.last + 2 * self.sampling).min(begun + took) - from;
                measured.attributed_count += 1;
                if wait > measured.attributed {
                    measured.attributed = wait;
                    measured.worst_blame = Some(blame.whom);
                }
            }
            if let Err(error) = result {
                let code = error
                    .code()
                    .map_or("connection", tokio_postgres::error::SqlState::code)
                    .to_owned();
                measured
                    .errors
                    .entry(code)
                    .or_insert_with(|| (0, crate::error::describe(&error)))
                    .0 += 1;
                if client.is_closed() {
                    session = None;
                }
            }
        }
    }

    /// Prepares at the first execution: planning waits for the same locks, and belongs to what is measured.
    async fn execute(
        &self,
        client: &Client,
        prepared: &mut Option<Statement>,
    ) -> Result<u64, tokio_postgres::Error> {
        let statement = match prepared {
            Some(statement) => statement,
            None => prepared.insert(client.prepare(&self.statement).await?),
        };
        client.execute(statement, &[]).await
    }

    async fn open(&self) -> Option<(Client, Option<Statement>, i32)> {
        let client = connect(&self.url).await.ok()?;
        let kind = if self.is_write { "write" } else { "read" };
        client
            .batch_execute(&format!("SET application_name = 'probe-{kind}'"))
            .await
            .ok()?;
        let pid = client
            .query_one("SELECT pg_backend_pid()", &[])
            .await
            .ok()?
            .get(0);
        Some((client, None, pid))
    }
}

/// Looks again and again who waits for whom. Only sessions that wait for a lock are asked about, for the question itself
/// takes a lock inside the server.
async fn sample(state: Arc<State>, mut client: Client, options: ProbeOptions) {
    let sql = "SELECT pid, coalesce(application_name, ''), left(query, 120),
                      CASE WHEN wait_event_type = 'Lock' THEN pg_blocking_pids(pid) ELSE '{}' END
               FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()";
    let mut tick = tokio::time::interval(options.sampling);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut previous: Option<Instant> = None;
    while !state.stop.load(Ordering::SeqCst) {
        tick.tick().await;
        let rows = match client.query(sql, &[]).await {
            Ok(rows) => rows,
            Err(_) => {
                if client.is_closed()
                    && let Ok(again) = connect(&options.sampler_url).await
                {
                    client = again;
                }
                continue;
            }
        };
        let now = Instant::now();
        let since = previous.replace(now).unwrap_or(now);
        {
            let mut gap = lock(&state.largest_gap);
            *gap = (*gap).max(now - since);
        }
        let mut names = BTreeMap::new();
        let mut blockers: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
        for row in rows {
            let (pid, name, query): (i32, String, String) = (row.get(0), row.get(1), row.get(2));
            let blocked_by: Vec<i32> = row.get(3);
            if name.starts_with(&options.suspect) {
                lock(&state.suspects).insert(name.clone());
            }
            names.insert(pid, (name, query));
            if !blocked_by.is_empty() {
                blockers.insert(pid, blocked_by);
            }
        }
        for pid in blockers.keys() {
            if let Some((name, query)) = culprit(*pid, &blockers, &names, &options.suspect) {
                let whom = format!("{name}: {query}");
                let mut blamed = lock(&state.blamed);
                let blame = blamed.entry(*pid).or_insert(Blame {
                    since,
                    last: now,
                    whom,
                });
                blame.last = now;
            }
        }
    }
}

/// The suspect that a session waits for, directly or through others.
fn culprit<'a>(
    pid: i32,
    blockers: &BTreeMap<i32, Vec<i32>>,
    names: &'a BTreeMap<i32, (String, String)>,
    suspect: &str,
) -> Option<&'a (String, String)> {
    let mut seen = BTreeSet::from([pid]);
    let mut next = vec![pid];
    while let Some(pid) = next.pop() {
        for blocker in blockers.get(&pid).into_iter().flatten() {
            if let Some(found) = names
                .get(blocker)
                .filter(|(name, _)| name.starts_with(suspect))
            {
                return Some(found);
            }
            if seen.insert(*blocker) {
                next.push(*blocker);
            }
        }
    }
    None
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex
        .lock()
        .expect("no code panics while it holds this lock")
}

impl State {
    fn report(&self) -> StallReport {
        let mut report = StallReport {
            largest_gap: *lock(&self.largest_gap),
            suspects: lock(&self.suspects).iter().cloned().collect(),
            ..StallReport::default()
        };
        for ((is_control, is_write), measured) in lock(&self.measured).iter() {
            let target = if *is_control {
                &mut report.control
            } else {
                &mut report.table
            };
            let side = if *is_write {
                &mut target.writes
            } else {
                &mut target.reads
            };
            side.merge(&measured.latencies);
            if measured.attributed > target.attributed || target.culprit.is_none() {
                target.attributed = target.attributed.max(measured.attributed);
                target.culprit.clone_from(&measured.worst_blame);
            }
            target.attributed_count += measured.attributed_count;
            for (code, (count, message)) in &measured.errors {
                target
                    .errors
                    .entry(code.clone())
                    .or_insert_with(|| (0, message.clone()))
                    .0 += count;
            }
        }
        report
    }
}

/// What the statements on one target went through.
#[derive(Clone, Debug, Default)]
pub struct TargetReport {
    /// Durations of the reads.
    pub reads: Histogram,
    /// Durations of the writes.
    pub writes: Histogram,
    /// The longest wait for a suspect, at most two sampling intervals too long.
    pub attributed: Duration,
    /// How many statements were seen waiting for a suspect.
    pub attributed_count: u64,
    /// Whom the longest one waited for: application name and query.
    pub culprit: Option<String>,
    /// Errors by SQLSTATE (`connection` where the session broke): how many, and the first message.
    pub errors: BTreeMap<String, (u64, String)>,
}

impl TargetReport {
    /// The longest statement, whatever it waited for.
    pub fn worst(&self) -> Duration {
        self.reads.worst().max(self.writes.worst())
    }
}

/// The result of a [`StallProbe`].
#[derive(Clone, Debug, Default)]
pub struct StallReport {
    /// The table under migration.
    pub table: TargetReport,
    /// The control table, which shows what the machine alone does.
    pub control: TargetReport,
    /// The longest time between two samples: waits shorter than this may have been missed.
    pub largest_gap: Duration,
    /// Application names of the suspects that were seen. When it is empty, nothing could be attributed.
    pub suspects: Vec<String>,
}

impl fmt::Display for StallReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, target) in [("table", &self.table), ("control", &self.control)] {
            writeln!(
                f,
                "{name}: {} reads, {} writes, worst {:.1?}, {} waited for a suspect, the longest {:.1?}{}",
                target.reads.count(),
                target.writes.count(),
                target.worst(),
                target.attributed_count,
                target.attributed,
                target
                    .culprit
                    .as_ref()
                    .map(|whom| format!(" ({whom})"))
                    .unwrap_or_default()
            )?;
            for (code, (count, message)) in &target.errors {
                writeln!(f, "  {count} times {code}: {message}")?;
            }
        }
        write!(f, "largest gap between samples {:.1?}", self.largest_gap)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_chains_and_survives_cycles() {
        let names = BTreeMap::from([
            (1, ("probe".to_owned(), String::new())),
            (2, ("app".to_owned(), String::new())),
            (3, ("pontoon worker".to_owned(), "UPDATE".to_owned())),
            (4, ("app".to_owned(), String::new())),
        ]);
        let chain = BTreeMap::from([(1, vec![2, 4]), (2, vec![3]), (4, vec![4, 1])]);
        assert_eq!(
            culprit(1, &chain, &names, "pontoon").map(|found| found.0.as_str()),
            Some("pontoon worker")
        );
        let cycle = BTreeMap::from([(1, vec![4]), (4, vec![1])]);
        assert!(culprit(1, &cycle, &names, "pontoon").is_none());
    }
}
