//! Every way to write that PostgreSQL has, under a run from its start to its
//! end: COPY, MERGE, ON CONFLICT, statements that write many rows, keys that
//! change, TRUNCATE.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pontoon_sandbox::app::{App, AppOptions, Mix, ProbeOptions, StallProbe, models};

use crate::clients::Clients;
use crate::scene::{Scene, journey, plan, run, traffic, wait_until};

const BUDGET: Duration = Duration::from_millis(500);
/// What sampling every 10 ms may add.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Both versions of the model application say everything that a client can
/// say (MERGE on PostgreSQL 15 and later), in the old shape and in the new
/// one; its oracle knows each row, and a probe how long anybody waited for us.
#[tokio::test(flavor = "multi_thread")]
async fn by_both_versions_all_the_way() {
    for version in crate::versions() {
        for (model, more) in [
            (models::uuid_key(), "backfill: {workers: 2}\n"),
            (models::composite_key(), "backfill: {cursor: key}\n"),
            (models::partitioned(), ""),
        ] {
            let scene = Scene::new(version, "").await;
            App::install(&model, &scene.client, 4_000)
                .await
                .expect("the model");
            let probe = StallProbe::start(ProbeOptions::new(scene.database.url()), model.probe())
                .await
                .expect("the probe");
            let traffic = AppOptions {
                mix: Mix::everything(),
                ..traffic(scene.database.url(), 4_000)
            };
            let text = format!(
                "{}limits: {{max_batch_rows: 100, max_lock_duration: 500ms}}\n{more}",
                model.plan("all_ways", 1)
            );
            journey(&model, &text, &scene.pontoon, &scene.client, traffic).await;
            let report = probe.stop().await;
            eprintln!("PostgreSQL {version}, {}: {report}", model.name);
            assert!(!report.suspects.is_empty(), "the sampler saw us: {report}");
            assert!(report.table.attributed <= BUDGET + TOLERANCE, "{report}");
            scene.end().await;
        }
    }
}

const ROWS: i64 = 5_000;

/// A table whose rows take their time, so that much can happen in between.
async fn slow(version: u32) -> Scene {
    Scene::new(
        version,
        &format!(
            "CREATE TABLE items (id bigint PRIMARY KEY, amount integer NOT NULL, status text);
             INSERT INTO items SELECT g, g FROM generate_series(1, {ROWS}) g; ANALYZE items"
        ),
    )
    .await
}

/// Keys that jump over the cursor in both directions while a backfill goes
/// along them, one with a dual write beside it and one without.
#[tokio::test(flavor = "multi_thread")]
async fn keys_that_jump_over_the_cursor() {
    for version in crate::versions() {
        let scene = slow(version).await;
        let mut clients = Clients::new();
        for number in 0..4 {
            let client = scene.database.client().await.expect("a connection");
            clients.spawn(|stop| async move {
                // Rows of this client; each one is somewhere else every time.
                let ids: Vec<i64> = (1..=ROWS).filter(|id| id % 4 == number).collect();
                let (mut sign, mut jumps) = (1, 0_u64);
                while !stop.is_told() {
                    for few in ids.chunks(40) {
                        // From the end to the beginning: against the cursor.
                        let sql: Vec<String> = few
                            .iter()
                            .rev()
                            .map(|id| {
                                let (from, to) = (sign * id, -sign * id);
                                format!("UPDATE items SET id = {to} WHERE id = {from}")
                            })
                            .collect();
                        run(&client, &sql.join("; ")).await;
                        jumps += few.len() as u64;
                        tokio::time::sleep(Duration::from_millis(2)).await;
                    }
                    sign = -sign;
                }
                jumps
            });
        }
        let keys = "limits: {max_batch_rows: 50}\nbackfill: {cursor: key, workers: 2}\ngates: []";
        let begun = Instant::now();
        for operation in [
            "- backfill: {table: items, set: {status: \"'pending'\"}, where: status IS NULL}",
            "- change_type: {table: items, column: amount, to: numeric, as: exact}",
        ] {
            let name = format!("jumps_{}", &operation[2..6]);
            let path = scene.pontoon.plan(&plan(&name, keys, operation));
            scene.pontoon.call(&["run", &path]).await.expect(0);
        }
        let jumps: u64 = clients.stop("no statement fails").await.into_iter().sum();
        eprintln!(
            "PostgreSQL {version}: {jumps} keys jumped in {:?}",
            begun.elapsed()
        );
        let right = "SELECT count(*) FROM items WHERE exact = abs(id) AND status = 'pending'";
        assert_eq!(scene.text(right).await, ROWS.to_string());
        assert_eq!(
            scene.text("SELECT count(*) FROM items").await,
            ROWS.to_string()
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// The table is emptied in the middle of the backfill, again and again, while
/// others insert: what was there is gone, what came since is in both shapes,
/// and the run goes on to its end.
#[tokio::test(flavor = "multi_thread")]
async fn truncated_during_the_backfill() {
    for version in crate::versions() {
        for cursor in ["pages", "key"] {
            let scene = slow(version).await;
            let path = scene.pontoon.plan(&plan(
                "truncated",
                &format!(
                    "limits: {{max_batch_rows: 20}}\nbackfill: {{cursor: {cursor}, nice_ratio: 4}}"
                ),
                "- change_type: {table: items, column: amount, to: numeric, as: exact}",
            ));
            // A truncation and an insert exclude each other in the test, so
            // that it knows which rows are left.
            let alive = Arc::new(tokio::sync::Mutex::new(BTreeSet::<i64>::new()));
            let writer = scene.database.client().await.expect("a connection");
            let inserts = {
                let alive = Arc::clone(&alive);
                Clients::one(|stop| async move {
                    let mut id = 100_000;
                    while !stop.is_told() {
                        let mut alive = alive.lock().await;
                        id += 10;
                        let sql = format!(
                            "INSERT INTO items (id, amount) SELECT g, g FROM generate_series({id}, {}) g",
                            id + 9
                        );
                        run(&writer, &sql).await;
                        alive.extend(id..id + 10);
                        drop(alive);
                        tokio::time::sleep(Duration::from_millis(3)).await;
                    }
                })
            };
            let running = scene.pontoon.spawn(&["run", &path]);
            let mut slowest = Duration::ZERO;
            for _ in 0..3 {
                wait_until("something is filled", async || {
                    let columns = "SELECT count(*) FROM pg_attribute WHERE attrelid = 'items'::regclass AND attname = 'exact'";
                    scene.text(columns).await == "1"
                        && scene.text("SELECT count(*) FROM (SELECT FROM items WHERE exact IS NOT NULL LIMIT 50) AS few").await == "50"
                })
                .await;
                let mut alive = alive.lock().await;
                let begun = Instant::now();
                run(&scene.client, "TRUNCATE items").await;
                slowest = slowest.max(begun.elapsed());
                alive.clear();
            }
            let (ended, _) = running.wait().await;
            ended.expect(5);
            // At the gate too, where it voids the proof.
            {
                let mut alive = alive.lock().await;
                run(&scene.client, "TRUNCATE items").await;
                alive.clear();
            }
            wait_until("more rows come", async || alive.lock().await.len() > 50).await;
            inserts.stop("no insert fails").await;
            let alive = alive.lock().await;
            let apart = "SELECT count(*) FROM items WHERE exact IS DISTINCT FROM amount";
            assert_eq!(scene.text(apart).await, "0");
            scene.pontoon.approved(&path).await.expect(0);
            let rows = scene
                .client
                .query("SELECT id, exact::bigint FROM items", &[])
                .await;
            let rows: BTreeSet<i64> = (rows.expect("the rows").iter())
                .map(|row| (row.get::<_, i64>(0), row.get::<_, i64>(1)))
                .inspect(|(id, exact)| assert_eq!(id, exact))
                .map(|(id, _)| id)
                .collect();
            assert_eq!(rows, *alive);
            eprintln!(
                "PostgreSQL {version}, {cursor}: {} rows are left, a TRUNCATE waited {slowest:?} at most",
                alive.len()
            );
            scene.clean().await;
            drop(alive);
            scene.end().await;
        }
    }
}
