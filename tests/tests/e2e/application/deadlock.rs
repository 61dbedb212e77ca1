//! Application transactions that lock rows in the opposite order to ours never
//! become a deadlock's victim.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use crate::clients::{Clients, Stop};
use crate::scene::{Scene, code, plan, run};

const ROWS: i64 = 30_000;
const CLIENTS: u64 = 24;

/// How long runs and rollbacks may be repeated until enough was seen.
const PATIENCE: Duration = Duration::from_secs(180);

/// What the application's clients share.
#[derive(Default)]
struct Application {
    /// The lowest row that no batch has reached; 0 while none is on its way.
    frontier: AtomicI64,
    committed: AtomicU64,
    /// Looks that saw a client wait for a batch.
    waits_seen: AtomicU64,
    /// Sums that the clients have added, by row.
    added: Mutex<BTreeMap<i64, i64>>,
    failed: Mutex<BTreeMap<String, u64>>,
}

/// Locks some rows near the batches, from the last to the first, with a pause
/// in which a batch can take what is still missing.
async fn work(client: Client, stop: Stop, shared: Arc<Application>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !stop.is_told() {
        let frontier = shared.frontier.load(Ordering::SeqCst);
        if frontier == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
            continue;
        }
        let base = frontier + random.random_range(-20..400);
        let mut ids: Vec<i64> = (0..3)
            .map(|_| (base + random.random_range(0..60)).clamp(1, ROWS))
            .collect();
        // Among themselves the clients agree on an order, so that they do not
        // make victims of each other.
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        let mut added = Vec::new();
        let mut outcome = Ok(());
        for (no, id) in ids.into_iter().enumerate() {
            let begin = if no == 0 { "BEGIN; " } else { "" };
            let sql = match random.random_range(0..3) {
                0 => format!("{begin}SELECT FROM t WHERE id = {id} FOR UPDATE"),
                1 => {
                    added.push(id);
                    format!("{begin}UPDATE t SET amount = amount + 1 WHERE id = {id}")
                }
                _ => format!("{begin}UPDATE t SET note = 'n' WHERE id = {id}"),
            };
            if outcome.is_ok() {
                outcome = client.batch_execute(&sql).await;
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
        let end = if outcome.is_ok() {
            "COMMIT"
        } else {
            "ROLLBACK"
        };
        let ended = client.batch_execute(end).await;
        match outcome.and(ended) {
            Ok(()) => {
                shared.committed.fetch_add(1, Ordering::SeqCst);
                let mut sums = shared.added.lock().expect("no client panics in here");
                for id in added {
                    *sums.entry(id).or_default() += 1;
                }
            }
            Err(error) => {
                let code = error
                    .code()
                    .map_or_else(|| error.to_string(), |code| code.code().to_owned());
                *shared
                    .failed
                    .lock()
                    .expect("no client panics in here")
                    .entry(code)
                    .or_default() += 1;
            }
        }
    }
}

/// Looks where the batches are, and whether a client waits for one.
async fn follow(client: Client, stop: Stop, shared: Arc<Application>) {
    while !stop.is_told() {
        // No column yet, no trigger yet, nothing left to fill: nobody to meet.
        let row = client
            .query_opt(
                &format!(
                    "SELECT id FROM t WHERE exact IS NULL AND id >= {}
                     AND EXISTS (SELECT FROM pg_trigger WHERE tgrelid = 't'::regclass AND tgname LIKE '%pontoon%')
                     ORDER BY id LIMIT 1",
                    shared.frontier.load(Ordering::SeqCst)
                ),
                &[],
            )
            .await;
        let frontier = row.ok().flatten().map_or(0, |row| row.get(0));
        shared.frontier.store(frontier, Ordering::SeqCst);
        let waits: i64 = client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity AS app JOIN pg_stat_activity AS ours ON ours.pid = ANY (
                    CASE WHEN app.wait_event_type = 'Lock' THEN pg_blocking_pids(app.pid) ELSE '{}' END)
                 WHERE app.datname = current_database() AND ours.application_name LIKE '%batch%'",
                &[],
            )
            .await
            .map_or(0, |row| row.get(0));
        shared
            .waits_seen
            .fetch_add(u64::try_from(waits).unwrap_or(0), Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A table and the clients that work on it.
struct Opposite {
    scene: Scene,
    shared: Arc<Application>,
    clients: Clients<()>,
}

impl Opposite {
    /// `session` is what each client says first.
    async fn start(version: u32, session: &str) -> Self {
        let scene = Scene::new(
            version,
            &format!(
                "CREATE TABLE t (id bigint PRIMARY KEY, amount integer NOT NULL, note text);
                 INSERT INTO t SELECT g, g, 'x' FROM generate_series(1, {ROWS}) g;
                 ANALYZE t"
            ),
        )
        .await;
        let shared = Arc::new(Application::default());
        let mut clients = Clients::new();
        for seed in 0..CLIENTS {
            let client = scene.database.client().await.expect("a connection");
            client.batch_execute(session).await.expect("a session");
            let shared = Arc::clone(&shared);
            clients.spawn(|stop| work(client, stop, shared, seed));
        }
        Self {
            scene,
            shared,
            clients,
        }
    }

    /// Lets the clients follow the batches of a run.
    async fn follow(&mut self) {
        let client = self.scene.database.client().await.expect("a connection");
        let shared = Arc::clone(&self.shared);
        self.clients.spawn(|stop| follow(client, stop, shared));
    }

    fn waits_seen(&self) -> u64 {
        self.shared.waits_seen.load(Ordering::SeqCst)
    }

    fn committed(&self) -> u64 {
        self.shared.committed.load(Ordering::SeqCst)
    }

    /// Runs and rollbacks until this many transactions have committed while rows
    /// were being filled, and their number.
    ///
    /// Goes on until one of them was seen waiting for a batch: a batch is short,
    /// and on a busy machine a look that meets one may be long in coming.
    async fn meet(&self, workers: u32, cursor: &str, enough: u64) -> u64 {
        let mut met = 0;
        let last_start = Instant::now() + PATIENCE;
        let path = self.scene.pontoon.plan(&plan(
            "opposite",
            &format!(
                "limits: {{max_batch_rows: 100}}\n\
                 backfill: {{target_batch_time: 20ms, workers: {workers}, cursor: {cursor}}}\ngates: []"
            ),
            "- change_type: {table: t, column: amount, to: numeric, as: exact}",
        ));
        while met < enough || self.waits_seen() == 0 {
            assert!(
                Instant::now() < last_start,
                "{met} transactions within {PATIENCE:?}, {} looks saw one wait for a batch",
                self.waits_seen()
            );
            let before = self.committed();
            self.scene
                .pontoon
                .call(&["run", &path, "--until", "backfill"])
                .await
                .expect(0);
            met += self.committed() - before;
            let wrong = "SELECT count(*) FROM t WHERE exact IS DISTINCT FROM amount";
            assert_eq!(self.scene.text(wrong).await, "0");
            self.scene
                .pontoon
                .call(&["rollback", "--yes"])
                .await
                .expect(0);
        }
        met
    }

    /// Ends the clients, compares each row with what they have added to it,
    /// and gives the errors that they got.
    async fn end(self) -> BTreeMap<String, u64> {
        self.clients.stop("the client lives").await;
        let added = self.shared.added.lock().expect("all have ended").clone();
        let rows = self
            .scene
            .client
            .query("SELECT id, amount::bigint FROM t", &[])
            .await
            .expect("the rows");
        let wrong: Vec<(i64, i64)> = rows
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .filter(|(id, amount)| id + added.get(id).copied().unwrap_or(0) != *amount)
            .collect();
        assert_eq!((rows.len() as i64, wrong), (ROWS, Vec::new()));
        let failed = self.shared.failed.lock().expect("all have ended").clone();
        self.scene.end().await;
        failed
    }
}

/// Over ten thousand transactions, against one worker and several, along
/// pages and along the key: none is a victim.
///
/// Where deadlocks are looked for after 200 ms instead of a second, batches
/// have to be shorter; that a plain batch does make victims of this
/// application is seen there too.
#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_transactions_in_the_opposite_order() {
    for version in crate::versions() {
        let begun = Instant::now();
        let mut met = 0;
        for (workers, cursor, deadlock_timeout, enough) in [
            (1, "pages", "1s", 3_000),
            (4, "pages", "1s", 3_000),
            (2, "key", "200ms", 4_001),
        ] {
            let mut opposite = Opposite::start(version, "SELECT").await;
            opposite.follow().await;
            let scene = &opposite.scene;
            scene
                .sql(&format!(
                    "ALTER DATABASE {} SET deadlock_timeout = '{deadlock_timeout}'",
                    scene.database.name()
                ))
                .await;
            let here = opposite.meet(workers, cursor, enough).await;
            let waits = opposite.waits_seen();
            let failed = opposite.end().await;
            eprintln!(
                "PostgreSQL {version}: {here} transactions met {workers} workers by {cursor}, deadlock_timeout \
                 {deadlock_timeout}; {waits} looks saw one wait for a batch"
            );
            assert_eq!(failed, BTreeMap::new(), "{workers} workers by {cursor}");
            met += here;
        }
        assert!(met > 10_000, "{met}");
        eprintln!("{met} transactions, after {:?}", begun.elapsed());
    }
}

/// What cannot be promised: a session that sets a shorter `deadlock_timeout`
/// for itself, where nobody else can see it, may look at the one millisecond
/// in which a batch waits for a row, or at the moment in which it holds rows
/// and waits at a foreign key or a unique index. Counted here, and bounded.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_that_look_for_deadlocks_sooner_than_anybody_can_know() {
    for version in crate::versions() {
        let mut opposite = Opposite::start(version, "SET deadlock_timeout = '2ms'").await;
        opposite.follow().await;
        let met = opposite.meet(2, "pages", 2_000).await;
        let failed = opposite.end().await;
        let victims = failed.get("40P01").copied().unwrap_or(0);
        eprintln!(
            "PostgreSQL {version}: {victims} victims among {met} transactions of sessions with a deadlock_timeout of 2 ms"
        );
        assert!(victims * 100 <= met, "{failed:?} of {met}");
        assert!(failed.keys().all(|code| code == "40P01"), "{failed:?}");
    }
}

/// The same application against batches as one writes them first: a range
/// UPDATE that waits for its rows. Without victims here, none above would
/// prove nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_batch_makes_victims() {
    for version in crate::versions() {
        let opposite = Opposite::start(version, "SET deadlock_timeout = '50ms'").await;
        let scene = &opposite.scene;
        scene.sql("ALTER TABLE t ADD exact numeric").await;
        let client = scene.database.client().await.expect("a connection");
        run(&client, "SET statement_timeout = '500ms'").await;
        let (mut ours, mut from, begun) = (0, 1, Instant::now());
        while opposite.shared.failed.lock().expect("no panic").is_empty()
            && begun.elapsed() < Duration::from_secs(60)
        {
            opposite.shared.frontier.store(from, Ordering::SeqCst);
            let sql = format!(
                "UPDATE t SET exact = amount WHERE id BETWEEN {from} AND {}",
                from + 99
            );
            // A crowd can keep a batch that waits from ever ending.
            ours += u64::from(code(&client, &sql).await == "40P01");
            from = (from + 100) % ROWS;
        }
        let committed = opposite.committed();
        let failed = opposite.end().await;
        eprintln!(
            "PostgreSQL {version}: of {committed} transactions beside plain batches {failed:?} failed, after {:?}; \
             the batches were victims {ours} times",
            begun.elapsed()
        );
        assert!(failed.contains_key("40P01"), "{failed:?}");
    }
}
