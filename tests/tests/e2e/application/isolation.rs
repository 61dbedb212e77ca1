//! Applications at every isolation level: what a run costs them in
//! serialization failures, and that no row is stale, lost or a ghost after it.

use std::time::{Duration, Instant};

use pontoon_sandbox::app::{App, AppOptions, Mix, Pace, Running, Shape, models};
use pontoon_tests::{artifacts, rows_committed};

use crate::scene::{Scene, code, plan, run, wait_until};

const ROWS: u64 = 6_000;
const CLIENTS: usize = 4;

/// Statements that failed with this SQLSTATE so far.
fn failures(app: &Running, sqlstate: &str) -> u64 {
    app.errors()
        .iter()
        .filter(|error| error.sqlstate == sqlstate)
        .map(|error| error.count)
        .sum()
}

/// What one window of the application's work cost it.
#[derive(Default)]
struct Cost {
    writes: u64,
    failures: u64,
    lasted: Duration,
}

impl Cost {
    async fn of(&mut self, app: &Running, work: impl Future<Output = ()>) {
        let (begun, writes, failed) = (Instant::now(), app.live().writes, failures(app, "40001"));
        work.await;
        self.lasted += begun.elapsed();
        self.writes += app.live().writes - writes;
        self.failures += failures(app, "40001") - failed;
    }
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} failures beside {} rows written in {:.1?}",
            self.failures, self.writes, self.lasted
        )
    }
}

/// The application at one level, in windows without and with a backfill that
/// alternate, then through a whole run.
///
/// A transaction fails because of us when a batch has changed one of its rows
/// after its snapshot. We change a row once, one client works on a row at a
/// time, and it begins again with a newer snapshot: so no more failures than
/// rows that we have changed. In fact there are far less, because few
/// transactions have a row in a batch of the moment; 1 in 50 rows written
/// would be too many.
async fn at(level: &str) {
    for version in crate::versions() {
        let model = models::composite_key();
        let scene = Scene::new(version, "").await;
        App::install(&model, &scene.client, ROWS)
            .await
            .expect("the model");
        let options = AppOptions {
            old_clients: CLIENTS,
            new_clients: CLIENTS,
            isolation: Some(level.to_owned()),
            mix: Mix::everything(),
            pace: Pace::Closed {
                think: Duration::from_millis(1),
            },
            ..AppOptions::new(scene.database.url(), ROWS)
        };
        let app = App::start(model.clone(), options);
        let path = scene.pontoon.plan(&format!(
            "{}limits: {{max_batch_rows: 50}}\nbackfill: {{workers: 2}}\n",
            model.plan("isolated", 1)
        ));
        let (mut alone, mut beside, mut changed) = (Cost::default(), Cost::default(), 0);
        // The binary is brought up to date before anything is measured.
        scene.pontoon.call(&["check", &path]).await.expect(0);
        for round in 0..3 {
            alone
                .of(&app, tokio::time::sleep(Duration::from_millis(700)))
                .await;
            scene
                .pontoon
                .call(&["run", &path, "--until", "dual_write"])
                .await
                .expect(0);
            beside
                .of(&app, async {
                    scene
                        .pontoon
                        .call(&["run", &path, "--until", "backfill"])
                        .await
                        .expect(0);
                })
                .await;
            changed = u64::try_from(rows_committed(&scene.client).await).expect("a count");
            if round < 2 {
                scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            }
        }
        eprintln!(
            "PostgreSQL {version}, {level}: {alone} alone, {beside} while batches changed {changed} rows"
        );
        let own = 3 * (alone.failures + 3);
        assert!(beside.failures <= changed + own, "{beside}");
        assert!(beside.failures * 50 <= beside.writes + 50 * own, "{beside}");
        scene.pontoon.call(&["run", &path]).await.expect(5);
        app.expect_filled();
        app.join_new_version();
        let writes = app.live().writes;
        wait_until("both versions write", async || {
            app.live().writes > writes + 300
        })
        .await;
        let rows = app
            .check(&scene.client, Shape::Both)
            .await
            .expect("the rows");
        assert!(rows.is_clean(), "{level}, at the gate: {rows}");
        scene.pontoon.call(&["verify"]).await.expect(0);
        app.retire_old_version().await;
        scene.pontoon.approved(&path).await.expect(0);
        let report = app.stop().await;
        let only_serialization = (report.errors.iter())
            .all(|error| error.sqlstate == "40001" && level != "read committed");
        assert!(
            only_serialization && report.live.findings == 0,
            "{level}: {report}"
        );
        let rows = report
            .oracle
            .check(&scene.client, Shape::New)
            .await
            .expect("the rows");
        assert!(rows.is_clean(), "{level}, at the end: {rows}");
        assert_eq!(artifacts(&scene.client).await, Vec::<String>::new());
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn read_committed() {
    at("read committed").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_read() {
    at("repeatable read").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn serializable() {
    at("serializable").await;
}

/// Transactions whose snapshot is older than the copy: they cannot write a row
/// that a batch has changed since, exactly as if another client had changed
/// it, and when they are begun again all is well. What they delete stays
/// deleted.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_older_than_the_copy() {
    const STATEMENTS: [&str; 4] = [
        "DELETE FROM items WHERE id = $",
        "UPDATE items SET amount = -1 WHERE id = $",
        "UPDATE items SET id = -id WHERE id = $",
        "SELECT FROM items WHERE id = $ FOR UPDATE",
    ];
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, note text);
             INSERT INTO items SELECT g, g FROM generate_series(1, 1000) g; ANALYZE items",
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "older",
            "",
            "- change_type: {table: items, column: amount, to: numeric, as: exact}",
        ));
        scene
            .pontoon
            .call(&["run", &path, "--until", "dual_write"])
            .await
            .expect(0);
        let mut sessions = Vec::new();
        for level in ["REPEATABLE READ", "SERIALIZABLE"] {
            for statement in STATEMENTS {
                let id = (sessions.len() + 1) * 100;
                let client = scene.database.client().await.expect("a connection");
                let begin = format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM items");
                run(&client, &begin).await;
                sessions.push((client, begin, statement.replace('$', &id.to_string()), id));
            }
        }
        // Another client's write, for comparison.
        let (client, begin) = (
            scene.database.client().await.expect("a connection"),
            &sessions[0].1,
        );
        run(&client, begin).await;
        scene
            .sql("UPDATE items SET note = 'somebody' WHERE id = 999")
            .await;
        let from_others = code(&client, "DELETE FROM items WHERE id = 999").await;
        assert_eq!(from_others, "40001");

        scene
            .pontoon
            .call(&["run", &path, "--until", "backfill"])
            .await
            .expect(0);
        for (client, begin, statement, _) in &sessions {
            assert_eq!(code(client, statement).await, from_others, "{statement}");
            run(client, "ROLLBACK").await;
            run(client, begin).await;
            run(client, statement).await;
            run(client, "COMMIT").await;
        }
        run(&client, "ROLLBACK").await;
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.pontoon.call(&["verify"]).await.expect(0);
        let rows = |column: &str| {
            format!(
                "SELECT count(*) || ' ' || count(*) FILTER (WHERE id IN (100, 300, 500, 700)) || ' ' ||
                        string_agg(id || '=' || {column}, ' ' ORDER BY id) FILTER (WHERE id IN (-700, -300, 200, 400, 600, 800))
                 FROM items"
            )
        };
        let wanted = "998 0 -700=700 -300=300 200=-1 400=400 600=-1 800=800";
        assert_eq!(scene.text(&rows("exact")).await, wanted);
        assert_eq!(scene.text(&rows("amount")).await, wanted);
        scene.pontoon.approved(&path).await.expect(0);
        assert_eq!(scene.text(&rows("exact")).await, wanted);
        scene.clean().await;
        scene.end().await;
    }
}

/// A transaction that took its snapshot before the backfill and comes to the
/// table only after contract would find the new column empty in every row:
/// the run waits for it, and names it. A statement that is as old counts too;
/// an idle READ COMMITTED transaction has no snapshot and does not.
#[tokio::test(flavor = "multi_thread")]
async fn snapshots_older_than_the_run() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL);
             INSERT INTO items SELECT g, g FROM generate_series(1, 1000) g; ANALYZE items",
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "older",
            "",
            "- change_type: {table: items, column: amount, to: numeric}",
        ));
        let idle = scene.database.client().await.expect("a connection");
        run(&idle, "BEGIN; SELECT count(*) FROM pg_class").await;
        let reader = scene.database.client().await.expect("a connection");
        run(
            &reader,
            "SET application_name = 'month end'; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class",
        )
        .await;
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let mut running = scene.pontoon.spawn_approved(&path);
        let waiting = running.event("lock_waiting").await.expect("it waits");
        assert_eq!(waiting["blockers"][0]["application"], "month end");
        assert_eq!(
            waiting["blockers"].as_array().map(Vec::len),
            Some(1),
            "{waiting}"
        );
        let seen = "SELECT count(*) || ' ' || count(amount) FROM items";
        assert_eq!(crate::scene::text(&reader, seen).await, "1000 1000");
        run(&reader, "COMMIT").await;
        let (ended, _) = running.wait().await;
        ended.expect(0);
        assert_eq!(scene.text(seen).await, "1000 1000");
        scene.clean().await;
        scene.end().await;
    }
}
