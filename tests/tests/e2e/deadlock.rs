//! Application transactions that lock rows in the opposite order to ours never
//! become a deadlock's victim.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio_postgres::Client;

use super::scene::{Scene, plan};

const ROWS: i64 = 30_000;
/// Transactions against each number of workers.
const ENOUGH: u64 = 1_000;

/// What the application's clients share.
#[derive(Default)]
struct Application {
    stop: AtomicBool,
    /// The lowest row that no batch has reached.
    frontier: AtomicI64,
    committed: AtomicU64,
    failed: Mutex<BTreeMap<String, u64>>,
}

/// Locks some rows near the batches, from the last to the first, with a pause
/// in which a batch can take what is still missing.
async fn work(client: Client, shared: Arc<Application>, seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    while !shared.stop.load(Ordering::SeqCst) {
        let base = shared.frontier.load(Ordering::SeqCst) + random.random_range(-20..220);
        let mut ids: Vec<i64> = (0..6)
            .map(|_| (base + random.random_range(0..120)).clamp(1, ROWS))
            .collect();
        // Among themselves the clients agree on an order, so that they do not
        // make victims of each other.
        ids.sort_unstable_by(|a, b| b.cmp(a));
        ids.dedup();
        let mut outcome = client.batch_execute("BEGIN").await;
        for id in ids {
            let sql = match random.random_range(0..3) {
                0 => format!("SELECT FROM t WHERE id = {id} FOR UPDATE"),
                1 => format!("UPDATE t SET amount = amount + 1 WHERE id = {id}"),
                _ => format!("UPDATE t SET note = 'n' WHERE id = {id}"),
            };
            if outcome.is_ok() {
                outcome = client.batch_execute(&sql).await;
                tokio::time::sleep(Duration::from_millis(2)).await;
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
            }
            Err(error) => {
                let code = error
                    .code()
                    .map_or_else(|| error.to_string(), |code| code.code().to_owned());
                *shared
                    .failed
                    .lock()
                    .expect("no client panics while it counts")
                    .entry(code)
                    .or_default() += 1;
            }
        }
    }
}

/// Looks where the batches are.
async fn follow(client: Client, shared: Arc<Application>) {
    while !shared.stop.load(Ordering::SeqCst) {
        let row = client
            .query_opt(
                "SELECT id FROM t WHERE exact IS NULL ORDER BY id LIMIT 1",
                &[],
            )
            .await;
        // The column is not there at first, and no longer NULL at last.
        if let Ok(Some(row)) = row {
            shared.frontier.store(row.get(0), Ordering::SeqCst);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn opposite(version: u32, workers: u32) {
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
    let mut clients = Vec::new();
    for seed in 0..8 {
        let client = scene.database.client().await.expect("a connection");
        clients.push(tokio::spawn(work(client, Arc::clone(&shared), seed)));
    }
    let client = scene.database.client().await.expect("a connection");
    clients.push(tokio::spawn(follow(client, Arc::clone(&shared))));

    // Again and again, until enough transactions have met a batch.
    let mut round = 0;
    let mut met = 0;
    while met < ENOUGH {
        round += 1;
        let before = shared.committed.load(Ordering::SeqCst);
        let path = scene.pontoon.plan(&plan(
            "opposite",
            &format!("limits: {{max_batch_rows: 60}}\nbackfill: {{target_batch_time: 20ms, workers: {workers}}}\ngates: []"),
            "- change_type: {table: t, column: amount, to: numeric, as: exact}",
        ));
        scene
            .pontoon
            .call(&["run", &path, "--until", "backfill"])
            .await
            .expect(0);
        met += shared.committed.load(Ordering::SeqCst) - before;
        let wrong = "SELECT count(*) FROM t WHERE exact IS DISTINCT FROM amount";
        assert_eq!(scene.text(wrong).await, "0");
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
    }
    shared.stop.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.expect("the client lives");
    }
    eprintln!("{met} transactions met {workers} workers in {round} rounds");
    let failed = shared
        .failed
        .lock()
        .expect("all clients have ended")
        .clone();
    assert_eq!(failed, BTreeMap::new(), "{workers} workers");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_to_one_worker() {
    for version in super::versions() {
        opposite(version, 1).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn opposite_to_four_workers() {
    for version in super::versions() {
        opposite(version, 4).await;
    }
}
