//! Rows that the application has locked for seconds, and rows that it locks
//! again and again: batches go around them and come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pontoon_sandbox::app::{ProbeOptions, ProbeTarget, StallProbe};

use crate::clients::Clients;
use crate::scene::{Scene, plan, run, wait_until};

const ROWS: i64 = 6_000;
const BUDGET: Duration = Duration::from_millis(500);
/// What sampling every 10 ms may add.
const TOLERANCE: Duration = Duration::from_millis(100);

async fn scene(version: u32) -> Scene {
    Scene::new(
        version,
        &format!(
            "CREATE TABLE items (id bigint PRIMARY KEY, amount integer NOT NULL, note text);
             INSERT INTO items SELECT g, g, 'n' FROM generate_series(1, {ROWS}) g; ANALYZE items"
        ),
    )
    .await
}

fn operations(cursor: &str) -> (String, &'static str) {
    (
        format!(
            "limits: {{max_lock_duration: 500ms, max_batch_rows: 500}}\nbackfill: {{workers: 2, cursor: {cursor}}}"
        ),
        "- change_type: {table: items, column: amount, to: numeric, as: exact}",
    )
}

/// `SELECT … FOR UPDATE` (and each weaker lock that an UPDATE conflicts with)
/// held in the middle of the table: everything else is filled at once, nobody
/// is delayed, and what was held is filled soon after it is let go.
#[tokio::test(flavor = "multi_thread")]
async fn held_for_seconds() {
    for version in crate::versions() {
        for cursor in ["pages", "key"] {
            let scene = scene(version).await;
            let (keys, operations) = operations(cursor);
            let path = scene.pontoon.plan(&plan("held", &keys, operations));
            scene
                .pontoon
                .call(&["run", &path, "--until", "dual_write"])
                .await
                .expect(0);
            let holder = scene.database.client().await.expect("a connection");
            run(
                &holder,
                "BEGIN;
                 SELECT FROM items WHERE id BETWEEN 3000 AND 3009 FOR UPDATE;
                 SELECT FROM items WHERE id BETWEEN 4000 AND 4009 FOR NO KEY UPDATE;
                 SELECT FROM items WHERE id BETWEEN 5000 AND 5009 FOR SHARE;
                 SELECT FROM items WHERE id BETWEEN 5500 AND 5509 FOR KEY SHARE",
            )
            .await;
            let target = ProbeTarget {
                read: "SELECT amount FROM items WHERE id = 2999".into(),
                write: "UPDATE items SET note = note WHERE id = 3010".into(),
            };
            let probe = StallProbe::start(ProbeOptions::new(scene.database.url()), target)
                .await
                .expect("the probe");
            let running = scene.pontoon.spawn(&["run", &path]);
            // Rows just before the held ones: a batch that waited there with
            // these in its hands would keep them for as long. Each is written
            // once, because a write fills its row and no batch wants it then.
            let mut slowest = Duration::ZERO;
            for id in (2_880..3_000).rev() {
                let begun = Instant::now();
                let sql = format!("UPDATE items SET note = 'app' WHERE id = {id}");
                run(&scene.client, &sql).await;
                slowest = slowest.max(begun.elapsed());
                tokio::time::sleep(Duration::from_millis(15)).await;
            }
            assert!(slowest < Duration::from_secs(2), "{slowest:?}");
            // FOR KEY SHARE does not stand in the way of a batch.
            wait_until("everything else is filled", async || {
                scene
                    .text("SELECT count(*) FROM items WHERE exact IS NULL")
                    .await
                    == "30"
            })
            .await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            assert_eq!(scene.status().await["state"], "running");
            // What the holder itself does with its rows is not delayed either.
            let begun = Instant::now();
            run(
                &holder,
                "UPDATE items SET amount = -1 WHERE id IN (3005, 4005, 5005)",
            )
            .await;
            let delay = begun.elapsed();
            assert!(delay < BUDGET + TOLERANCE, "{delay:?}");
            run(&holder, "COMMIT").await;
            let (released, (ended, _)) = (Instant::now(), running.wait().await);
            ended.expect(5);
            eprintln!(
                "PostgreSQL {version}, {cursor}: at the gate {:?} after the rows were let go",
                released.elapsed()
            );
            let report = probe.stop().await;
            assert!(!report.suspects.is_empty(), "the sampler saw us: {report}");
            assert!(report.table.attributed <= BUDGET + TOLERANCE, "{report}");
            assert!(report.table.errors.is_empty(), "{report}");
            assert_eq!(
                scene
                    .text(
                        "SELECT count(*) FILTER (WHERE exact <> id) || ' ' || count(*) FILTER (WHERE exact = -1)
                         || ' ' || count(*) FILTER (WHERE exact IS NULL OR exact <> amount) FROM items"
                    )
                    .await,
                "3 3 0"
            );
            scene.pontoon.approved(&path).await.expect(0);
            scene.end().await;
        }
    }
}

/// A queue in a table: workers lock the same rows again and again, and write
/// none of them, so that nothing but a batch can fill them.
#[tokio::test(flavor = "multi_thread")]
async fn locked_again_and_again() {
    for version in crate::versions() {
        let scene = scene(version).await;
        let locked = Arc::new(AtomicU64::new(0));
        let mut clients = Clients::new();
        for _ in 0..6 {
            let client = scene.database.client().await.expect("a connection");
            let locked = Arc::clone(&locked);
            clients.spawn(|stop| async move {
                while !stop.is_told() {
                    run(
                        &client,
                        "BEGIN; SELECT FROM items WHERE id IN (1, 3000) ORDER BY id FOR UPDATE",
                    )
                    .await;
                    tokio::time::sleep(Duration::from_millis(2)).await;
                    run(&client, "COMMIT").await;
                    locked.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for cursor in ["pages", "key"] {
            let (keys, operations) = operations(cursor);
            let path = scene.pontoon.plan(&plan("again", &keys, operations));
            let (begun, before) = (Instant::now(), locked.load(Ordering::SeqCst));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            eprintln!(
                "PostgreSQL {version}, {cursor}: at the gate after {:?} and {} locks of the same rows",
                begun.elapsed(),
                locked.load(Ordering::SeqCst) - before
            );
            let wrong = "SELECT count(*) FROM items WHERE exact IS DISTINCT FROM amount";
            assert_eq!(scene.text(wrong).await, "0");
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        }
        clients.stop("no statement fails").await;
        scene.end().await;
    }
}
