//! Several processes on one run: `pontoon work` on other machines. Any of
//! them may die at any time, and none is needed.

use nix::sys::signal::Signal;
use pontoon_sandbox::app::{App, Shape, models};
use pontoon_tests::{Pontoon, Running, artifacts, rows_committed};
use serde_json::Value;

use crate::scene::{Scene, go_on, stopped, traffic, wait_until};

/// With [`SPARSE`], enough pages for some ranges of their own kind.
const ROWS: u64 = 72_000;

/// Puts few rows on each page, so that a small table is split as a large one.
const SPARSE: &str = "ALTER TABLE orders SET (fillfactor = 10)";

/// Makes each statement of ours wait a little, and none of the application's.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.04); RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH STATEMENT
        WHEN (current_setting('application_name') LIKE 'pontoon/%') EXECUTE FUNCTION slow()";

/// 240 batches and more, one after the other in each process.
fn plan(more: &str) -> String {
    format!(
        "{}limits: {{max_batch_rows: 300{more}}}\nbackfill: {{target_batch_time: 1s, workers: 1, nice_ratio: 0}}\nacknowledge: [\"trigger:slow\"]\n",
        models::orders().plan("shared", 1)
    )
}

async fn scene(version: u32, plan: &str) -> (Scene, String) {
    let scene = Scene::new(version, "").await;
    App::install(&models::orders(), &scene.client, ROWS)
        .await
        .expect("the model");
    for sql in [SPARSE, "VACUUM (FULL, ANALYZE) orders", SLOW] {
        scene.sql(sql).await;
    }
    let path = scene.pontoon.plan(plan);
    (scene, path)
}

/// The process that says so has itself changed rows.
fn has_share(record: &Value) -> bool {
    record["event"] == "backfill_progress"
        && record["own"]["rows"].as_u64().is_some_and(|rows| rows > 0)
}

/// Waits until the process itself has changed rows.
async fn has_worked(running: &mut Running) {
    running
        .until(has_share)
        .await
        .unwrap_or_else(|| panic!("it has ended without having changed a row"));
}

/// A worker that has changed rows.
async fn worker(pontoon: &Pontoon) -> Running {
    let mut worker = pontoon.spawn(&["work"]);
    has_worked(&mut worker).await;
    worker
}

/// Events of one kind, oldest first.
async fn events(pontoon: &Pontoon, name: &str) -> Vec<Value> {
    let told = pontoon.call(&["events", "--output", "json"]).await;
    let mut told = told.expect(0).records();
    told.retain(|record| record["event"] == name);
    told
}

/// Is there an event of this kind that speaks of this process?
fn speaks_of(events: &[Value], pid: u32) -> bool {
    let name = format!("pid {pid}");
    events.iter().any(|event| {
        event["worker"]
            .as_str()
            .is_some_and(|worker| worker.ends_with(&name))
    })
}

/// The last line of a process that ended with this code.
async fn ends(running: Running, code: i32) -> Value {
    let (ended, _) = running.wait().await;
    let last = ended.expect(code).records().pop();
    last.expect("a last line")
}

/// A holder and two workers share the ranges, under traffic; a worker is
/// killed, then the holder, and a new one; the workers join whoever holds the
/// run, wait while it is paused, and end by themselves.
#[tokio::test(flavor = "multi_thread")]
async fn any_of_them_may_die() {
    for version in crate::versions() {
        let (scene, path) = scene(version, &plan("")).await;
        let pontoon = &scene.pontoon;
        let app = App::start(models::orders(), traffic(scene.database.url(), ROWS));
        let mut holder = pontoon.spawn(&["run", &path]);
        has_worked(&mut holder).await;
        let first = worker(pontoon).await;
        let mut second = worker(pontoon).await;
        let status = scene.status().await;
        assert_eq!(
            status["workers"].as_array().map(Vec::len),
            Some(2),
            "{status}"
        );
        wait_until("both are seen at work", async || {
            let status = scene.status().await;
            status["workers"].as_array().is_some_and(|workers| {
                workers.len() == 2
                    && workers.iter().all(|worker| {
                        worker["rows"].as_u64() > Some(0)
                            && worker["ranges"]
                                .as_array()
                                .is_some_and(|ranges| !ranges.is_empty())
                    })
            })
        })
        .await;
        let shown = pontoon.call(&["status"]).await.expect(0).stdout;
        let line = format!("pid {}: works on public.orders ", first.pid());
        assert!(
            shown.contains("Helped by") && shown.contains(&line),
            "{shown}"
        );

        let killed = first.pid();
        first.signal(Signal::SIGKILL);
        first.wait().await;
        holder.signal(Signal::SIGKILL);
        holder.wait().await;
        let mut holder = pontoon.spawn(&["run", &path]);
        has_worked(&mut holder).await;
        second.event("backfill_progress").await.expect("it lives");
        has_worked(&mut second).await;
        let lost = events(pontoon, "worker_lost").await;
        assert!(speaks_of(&lost, killed), "{lost:#?}");
        let joined = events(pontoon, "worker_joined").await;
        assert_eq!(joined.len(), 3, "the living one twice: {joined:#?}");

        pontoon.call(&["pause"]).await.expect(0);
        ends(holder, 11).await;
        second
            .until(|record| {
                record["event"] == "warning"
                    && record["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("is paused by"))
            })
            .await
            .expect("it waits");
        pontoon.call(&["resume"]).await.expect(0);
        let holder = pontoon.spawn(&["run", &path]);
        let mut third = worker(pontoon).await;
        third.signal(Signal::SIGINT);
        third.event("exit").await.expect("it ends");
        assert_eq!(ends(third, 6).await["code"], 6);
        ends(holder, 5).await;
        let last = ends(second, 0).await;
        assert_eq!(last["code"], 0, "{last}");
        let left = events(pontoon, "worker_left").await;
        assert!(
            left.iter().all(|event| event["rows"].as_u64() > Some(0)),
            "{left:#?}"
        );

        app.expect_filled();
        app.join_new_version();
        let rows = app.check(&scene.client, Shape::Both).await.expect("rows");
        assert!(rows.is_clean(), "{rows}");
        app.retire_old_version().await;
        pontoon.approved(&path).await.expect(0);
        let report = app.stop().await;
        assert!(report.is_clean(), "{report}");
        let rows = report.oracle.check(&scene.client, Shape::New).await;
        let rows = rows.expect("rows");
        assert!(rows.is_clean(), "{rows}");
        assert_eq!(artifacts(&scene.client).await, Vec::<String>::new());
        scene.end().await;
    }
}

/// A worker that lay still for longer than its term is fenced when it wakes
/// up, and helps again: others have done its range meanwhile, no row twice. So
/// is a holder whose ranges a worker has taken.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_sleeps_too_long_loses_its_ranges() {
    for version in crate::versions() {
        let (scene, path) = scene(version, &plan("")).await;
        let pontoon = &scene.pontoon;
        let mut holder = pontoon.spawn(&["run", &path]);
        has_worked(&mut holder).await;
        let frozen = [("PONTOON_FAILPOINT", "stop:batch.end@3")];
        let mut sleeper = pontoon.spawn_with(&["work"], &frozen);
        stopped(&mut sleeper).await;
        scene
            .sql("UPDATE pontoon.worker SET expires_at = now() - interval '1 second'")
            .await;
        wait_until("it is taken for dead", async || {
            speaks_of(&events(pontoon, "worker_lost").await, sleeper.pid())
        })
        .await;
        wait_until("others have its range", async || {
            scene
                .text("SELECT count(DISTINCT owner) FROM pontoon.range WHERE NOT done AND owner IS NOT NULL")
                .await
                == "1"
        })
        .await;
        go_on(&sleeper);
        wait_until("it joins once more", async || {
            events(pontoon, "worker_joined").await.len() == 2
        })
        .await;

        // Now the holder: nobody takes the run, but its ranges are free.
        holder.signal(Signal::SIGSTOP);
        stopped(&mut holder).await;
        scene
            .sql("UPDATE pontoon.lease SET expires_at = now() - interval '1 second'")
            .await;
        wait_until("the worker does all that is left", async || {
            scene
                .text("SELECT count(*) FROM pontoon.range WHERE step = 4 AND NOT done")
                .await
                == "0"
        })
        .await;
        go_on(&holder);
        ends(holder, 5).await;
        ends(sleeper, 0).await;
        let rows = i64::try_from(ROWS).expect("fits");
        assert_eq!(rows_committed(&scene.client).await, rows, "no row twice");
        pontoon.approved(&path).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// The limit counts in the database, whatever the number of processes.
#[tokio::test(flavor = "multi_thread")]
async fn all_of_them_stay_below_the_limit() {
    const LIMIT: i64 = 40_404;
    for version in crate::versions() {
        let limited = plan(&format!(", max_rows_affected: {LIMIT}"));
        let (scene, path) = scene(version, &limited).await;
        scene
            .sql("UPDATE pg_class SET reltuples = 7000 WHERE oid = 'orders'::regclass")
            .await;
        let pontoon = &scene.pontoon;
        // They stand ready before there is anything to do, however long it
        // takes them to start.
        let until = ["run", &path, "--until", "dual_write"];
        pontoon.call(&until).await.expect(0);
        let mut first = pontoon.spawn(&["work"]);
        let mut second = pontoon.spawn(&["work"]);
        for worker in [&mut first, &mut second] {
            worker.event("warning").await.expect("it waits");
        }
        ends(pontoon.spawn(&["run", &path]), 8).await;
        let changed = scene
            .text("SELECT count(*) FROM orders WHERE amount_exact IS NOT NULL")
            .await;
        let changed: i64 = changed.parse().expect("a number");
        assert!(changed <= LIMIT, "{changed} rows changed");
        assert!(changed > LIMIT - 900, "{changed} of {LIMIT}");
        // Set higher on the run itself, they all go on.
        pontoon
            .call(&["set", "max-rows-affected", "none"])
            .await
            .expect(0);
        pontoon.call(&["run", &path]).await.expect(5);
        let mut shares = 0;
        for worker in [first, second] {
            let (ended, _) = worker.wait().await;
            let records = ended.expect(0).records();
            shares += usize::from(records.iter().any(has_share));
        }
        assert!(shares > 0, "the holder did it alone");
        assert!(rows_committed(&scene.client).await >= i64::try_from(ROWS).expect("fits"));
        scene.end().await;
    }
}

/// What cannot be helped with is said so.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_wants_no_help() {
    let (scene, path) = scene(crate::versions()[0], &plan("")).await;
    let pontoon = &scene.pontoon;
    let unknown = pontoon.call(&["work", "nobody"]).await.expect(2);
    assert!(
        unknown.stderr.contains("no run `nobody`"),
        "{}",
        unknown.stderr
    );
    pontoon
        .call(&["run", &path, "--until", "dual_write"])
        .await
        .expect(0);
    // It waits for the backfill; a signal ends that, too.
    let mut waiting = pontoon.spawn(&["work"]);
    let told = waiting.event("warning").await.expect("it says why");
    assert!(
        told["message"]
            .as_str()
            .is_some_and(|text| text.contains("nothing to do yet")),
        "{told}"
    );
    waiting.signal(Signal::SIGTERM);
    ends(waiting, 6).await;
    pontoon.call(&["run", &path]).await.expect(5);
    // At the gate before contract no backfill is left.
    let unneeded = pontoon.call(&["work"]).await.expect(0);
    assert!(
        format!("{}{}", unneeded.stdout, unneeded.stderr).contains("needs no help"),
        "{unneeded:?}"
    );
    pontoon.approved(&path).await.expect(0);
    let finished = pontoon.call(&["work", "shared"]).await.expect(4);
    assert!(
        finished.stderr.contains("nothing to work on"),
        "{}",
        finished.stderr
    );
    scene.end().await;
}

/// A run that an older Pontoon began, with its schema of version 1, goes on
/// after `pontoon init`.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_of_an_older_pontoon_goes_on() {
    let (scene, path) = scene(crate::versions()[0], &plan("")).await;
    let pontoon = &scene.pontoon;
    let mut holder = pontoon.spawn(&["run", &path]);
    has_worked(&mut holder).await;
    holder.signal(Signal::SIGTERM);
    ends(holder, 6).await;
    let before = rows_committed(&scene.client).await;
    scene
        .sql("ALTER TABLE pontoon.run DROP COLUMN base, DROP COLUMN live_settings, DROP COLUMN revision,
                  DROP COLUMN stop_requested, DROP COLUMN stop_requested_at;
              ALTER TABLE pontoon.range DROP COLUMN rests_until, ADD COLUMN owned_until timestamptz;
              DROP TABLE pontoon.worker; DROP FUNCTION pontoon.fence_work;
              UPDATE pontoon.lease SET live = live - 'own';
              UPDATE pontoon.meta SET version = 1")
        .await;
    for verb in [&["run", &path][..], &["status"], &["work"]] {
        let refused = pontoon.call(verb).await.expect(4);
        assert!(
            refused.stderr.contains("pontoon init"),
            "{}",
            refused.stderr
        );
    }
    pontoon.call(&["init"]).await.expect(0);
    assert_eq!(scene.status().await["state"], "running");
    let mut holder = pontoon.spawn(&["run", &path]);
    has_worked(&mut holder).await;
    ends(worker(pontoon).await, 0).await;
    ends(holder, 5).await;
    let rows = i64::try_from(ROWS).expect("fits");
    assert!(before > 0);
    assert_eq!(
        rows_committed(&scene.client).await,
        rows,
        "none was done twice"
    );
    scene.end().await;
}
