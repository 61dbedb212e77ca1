//! Rows that the application updates hundreds of times a second: it keeps its
//! pace, no row is left behind, and the run ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use pontoon_sandbox::app::{ProbeOptions, ProbeTarget, StallProbe};
use tokio_postgres::Client;

use crate::clients::{Clients, Stop};
use crate::scene::{Scene, plan, run};

const ROWS: i64 = 20_000;
/// Rows that everybody wants, some of them on the same page.
const HOT: [i64; 6] = [2, 3, 700, 10_000, 10_001, 19_999];
const CLIENTS: usize = 8;
/// Updates a second that make rows hot, a small part of what is seen on a
/// machine that has nothing else to do.
const HUNDREDS: f64 = 300.0;
/// How long a transaction keeps its row where nobody but it is to have it.
const HELD: Duration = Duration::from_millis(2);
const BUDGET: Duration = Duration::from_millis(500);
/// What sampling every 10 ms may add.
const TOLERANCE: Duration = Duration::from_millis(100);

/// Clients that add to hot rows without a pause.
struct Heat {
    /// What has been added to each hot row.
    added: Arc<[AtomicI64; HOT.len()]>,
    clients: Clients<()>,
}

impl Heat {
    /// `hot` says how many of the hot rows are wanted.
    async fn start(scene: &Scene, hot: usize, statement: &str, held: Duration) -> Self {
        let added: Arc<[AtomicI64; HOT.len()]> = Arc::default();
        let mut clients = Clients::new();
        for number in 0..CLIENTS {
            let client = scene.database.client().await.expect("a connection");
            let (statement, added) = (statement.to_owned(), Arc::clone(&added));
            clients.spawn(|stop| add(client, statement, (number, hot, held), stop, added));
        }
        Self { added, clients }
    }

    fn count(&self) -> i64 {
        self.added.iter().map(|n| n.load(Ordering::SeqCst)).sum()
    }

    /// Updates a second while `work` goes on.
    #[expect(clippy::cast_precision_loss, reason = "a rate is an estimate")]
    async fn rate(&self, work: impl Future<Output = ()>) -> f64 {
        let (begun, before) = (Instant::now(), self.count());
        work.await;
        (self.count() - before) as f64 / begun.elapsed().as_secs_f64()
    }

    async fn stop(self) {
        self.clients.stop("no statement fails").await;
    }
}

async fn add(
    client: Client,
    statement: String,
    (number, hot, held): (usize, usize, Duration),
    stop: Stop,
    added: Arc<[AtomicI64; HOT.len()]>,
) {
    let statement = client.prepare(&statement).await.expect("a statement");
    let mut at = number;
    while !stop.is_told() {
        at = (at * 5 + 3) % 7_919;
        let which = at % hot;
        if !held.is_zero() {
            run(&client, "BEGIN").await;
        }
        let changed = client
            .execute(&statement, &[&HOT[which]])
            .await
            .unwrap_or_else(|error| panic!("{error:?}"));
        if !held.is_zero() {
            tokio::time::sleep(held).await;
            run(&client, "COMMIT").await;
        }
        assert_eq!(changed, 1);
        added[which].fetch_add(1, Ordering::SeqCst);
    }
}

fn probe(scene: &Scene) -> impl Future<Output = StallProbe> {
    let target = ProbeTarget {
        read: "SELECT amount FROM items WHERE id = 9000".into(),
        write: "UPDATE items SET note = note WHERE id = 9000".into(),
    };
    let probe = StallProbe::start(ProbeOptions::new(scene.database.url()), target);
    async { probe.await.expect("the probe") }
}

async fn scene(version: u32) -> Scene {
    Scene::new(
        version,
        &format!(
            "CREATE TABLE items (id bigint PRIMARY KEY, amount integer NOT NULL, n bigint NOT NULL DEFAULT 0, status text, note text);
             INSERT INTO items SELECT g, g, 0, NULL, 'n' FROM generate_series(1, {ROWS}) g; ANALYZE items"
        ),
    )
    .await
}

/// Each write of a hot row brings it into step, nobody waits for us, and the
/// application goes on. How much of its pace is left is the benchmark's to
/// tell: other tests share the machine.
#[tokio::test(flavor = "multi_thread")]
async fn hot_rows() {
    for version in crate::versions() {
        let scene = scene(version).await;
        let probe = probe(&scene).await;
        let sql = "UPDATE items SET amount = amount + 1 WHERE id = $1";
        let heat = Heat::start(&scene, HOT.len(), sql, Duration::ZERO).await;
        let path = scene.pontoon.plan(&plan(
            "hot",
            "limits: {max_lock_duration: 500ms, max_batch_rows: 200}\nbackfill: {workers: 2, target_batch_time: 50ms}",
            "- change_type: {table: items, column: amount, to: numeric, as: exact}",
        ));
        let alone = heat
            .rate(tokio::time::sleep(Duration::from_millis(1_200)))
            .await;
        let beside = heat
            .rate(async {
                scene.pontoon.call(&["run", &path]).await.expect(5);
            })
            .await;
        eprintln!(
            "PostgreSQL {version}: {alone:.0} updates of hot rows a second alone, {beside:.0} beside us"
        );
        scene.pontoon.call(&["verify"]).await.expect(0);
        let report = probe.stop().await;
        let added: Vec<i64> = heat
            .added
            .iter()
            .map(|n| n.load(Ordering::SeqCst))
            .collect();
        heat.stop().await;
        assert!(beside >= HUNDREDS, "{beside:.0} updates a second beside us");
        assert!(!report.suspects.is_empty(), "the sampler saw us: {report}");
        assert!(report.table.attributed <= BUDGET + TOLERANCE, "{report}");
        assert!(report.table.errors.is_empty(), "{report}");
        assert!(added.iter().all(|n| *n > 0), "{added:?}");
        scene.pontoon.approved(&path).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// Rows that a backfill has to reach although somebody holds them all the
/// time and moves them with each write, and whose writes do not heal them: a
/// pass that meets none of them proves nothing.
#[tokio::test(flavor = "multi_thread")]
async fn hot_rows_that_no_write_heals() {
    for version in crate::versions() {
        let scene = scene(version).await;
        let probe = probe(&scene).await;
        let sql = "UPDATE items SET n = n + 1 WHERE id = $1";
        let heat = Heat::start(&scene, 3, sql, HELD).await;
        for (no, status) in ["one", "two", "three"].into_iter().enumerate() {
            let path = scene.pontoon.plan(&plan(
                &format!("to_{status}"),
                "limits: {max_lock_duration: 500ms}\ngates: []",
                &format!(
                    "- backfill: {{table: items, set: {{status: \"'{status}'\"}}, where: status IS DISTINCT FROM '{status}'}}"
                ),
            ));
            let begun = Instant::now();
            scene.pontoon.call(&["run", &path]).await.expect(0);
            eprintln!(
                "PostgreSQL {version}: run {no} ended after {:?}",
                begun.elapsed()
            );
            assert_eq!(
                scene
                    .text(&format!(
                        "SELECT count(*) FROM items WHERE status IS DISTINCT FROM '{status}'"
                    ))
                    .await,
                "0"
            );
        }
        let report = probe.stop().await;
        heat.stop().await;
        assert!(report.table.attributed <= BUDGET + TOLERANCE, "{report}");
        scene.end().await;
    }
}
