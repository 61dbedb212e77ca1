//! Who acts for a run: one process at a time, another one when the first is
//! dead, nobody after a signal; and what a second terminal can do.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pontoon_sandbox::app::{App, Shape, models};
use pontoon_sandbox::tcp_proxy::{Moment, TcpProxy};
use pontoon_sandbox::{Server, ServerSpec, StopMode};
use pontoon_tests::{Pontoon, Running, artifacts, rows_committed, wait_for_silence};
use serde_json::Value;

use crate::scene::{Scene, go_on, run, stopped, text, traffic, wait_until};

const ROWS: u64 = 12_000;

/// Many small batches: 120 of them, and each takes its time for [`SLOW`]. They
/// stay as large as they may be, however slow the machine is.
fn long_plan(name: &str) -> String {
    format!(
        "{}limits: {{max_batch_rows: 100}}\nbackfill: {{target_batch_time: 1s, nice_ratio: 4}}\nacknowledge: [\"trigger:slow\"]\n",
        models::orders().plan(name, 1)
    )
}

/// For how long a process relies on a lease that it could not renew.
const TRUST: Duration = Duration::from_secs(12);

/// Makes each statement of ours wait a little, and none of the application's.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.04); RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH STATEMENT
        WHEN (current_setting('application_name') LIKE 'pontoon/%') EXECUTE FUNCTION slow()";

async fn scene(version: u32) -> (Scene, String) {
    let scene = Scene::new(version, "").await;
    App::install(&models::orders(), &scene.client, ROWS)
        .await
        .expect("the model");
    scene.sql(SLOW).await;
    let path = scene.pontoon.plan(&long_plan("shared"));
    (scene, path)
}

/// Starts the run and waits until some batches have committed.
async fn in_the_backfill(pontoon: &Pontoon, path: &str, more: &[&str]) -> Running {
    let mut arguments = vec!["run", path];
    arguments.extend(more);
    let mut running = pontoon.spawn(&arguments);
    running
        .until(|record| {
            record["event"] == "backfill_progress"
                && record["rows_done"].as_u64().is_some_and(|rows| rows >= 200)
        })
        .await
        .expect("the backfill begins");
    running
}

/// How many rows the rest of a run changes, at most: all but those that were
/// committed, plus what traffic and one batch for each worker account for.
async fn finishes(scene: &Scene, path: &str, committed: i64) {
    scene.pontoon.approved(path).await.expect(0);
    let all = rows_committed(&scene.client).await;
    let rows = i64::try_from(ROWS).expect("fits");
    assert_eq!(all, rows, "{committed} rows were committed, {all} in all");
    let wrong = "SELECT count(*) FROM orders WHERE amount_exact IS NULL OR customer_normalized IS DISTINCT FROM lower(customer)";
    assert_eq!(scene.text(wrong).await, "0");
    scene.clean().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_is_told_who_holds_the_run() {
    for version in crate::versions() {
        let (scene, path) = scene(version).await;
        let running = in_the_backfill(&scene.pontoon, &path, &[]).await;
        let begun = Instant::now();
        let ended = scene.pontoon.call(&["run", &path]).await.expect(9);
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "it says so at once"
        );
        let pid = running.pid().to_string();
        assert!(
            ended.stderr.contains(&pid) && ended.stderr.contains("tester"),
            "it names the holder: {}",
            ended.stderr
        );
        // The first one has not noticed anything.
        let (ended, _) = running.wait().await;
        ended.expect(5);
        finishes(&scene, &path, 0).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holder_is_replaced_by_itself() {
    for version in crate::versions() {
        let (scene, path) = scene(version).await;
        let running = in_the_backfill(&scene.pontoon, &path, &[]).await;
        running.signal(Signal::SIGKILL);
        running.wait().await;
        let begun = Instant::now();
        let mut next = scene.pontoon.spawn(&["run", &path]);
        let taken = next
            .event("lease_taken")
            .await
            .expect("the run is taken over");
        assert!(
            taken["taken_over_from"].is_string(),
            "it tells from whom: {taken}"
        );
        assert!(
            begun.elapsed() < Duration::from_secs(5),
            "a process that is known to be dead is not waited for: {:?}",
            begun.elapsed()
        );
        let (ended, _) = next.wait().await;
        ended.expect(5);
        finishes(&scene, &path, 0).await;
        scene.end().await;
    }
}

/// The zombie wakes up when another process has the run: none of its batches
/// commits any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_holder_is_fenced_when_it_wakes_up() {
    for version in crate::versions() {
        let (scene, path) = scene(version).await;
        let mut zombie = scene.pontoon.spawn_with(
            &["run", &path],
            &[("PONTOON_FAILPOINT", "stop:batch.end@3")],
        );
        stopped(&mut zombie).await;
        // It lives, so it is not robbed before its term has ended.
        scene.pontoon.call(&["run", &path]).await.expect(9);
        scene
            .sql("UPDATE pontoon.lease SET expires_at = now() - interval '1 second', holder = holder || '{\"boot\": \"elsewhere\", \"host\": \"elsewhere\"}'")
            .await;
        let mut next = scene.pontoon.spawn(&["run", &path]);
        next.event("lease_taken")
            .await
            .expect("the run is taken over");
        go_on(&zombie);
        let (zombie, _) = zombie.wait().await;
        assert!(
            matches!(zombie.code, Some(9)),
            "the zombie is told: {:?}\n{}",
            zombie.code,
            zombie.stderr
        );
        let (ended, _) = next.wait().await;
        ended.expect(5);
        finishes(&scene, &path, 0).await;
        scene.end().await;
    }
}

/// It finds the lease free, because the run is over: frozen for so long that
/// its own heartbeat takes the database for lost, and frozen in the first
/// moments, when it has looked at the run and not yet taken the lease.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_rolled_back_meanwhile_is_not_begun_anew() {
    for version in crate::versions() {
        for (failpoint, frozen) in [
            ("stop:batch.end@3", TRUST + Duration::from_secs(2)),
            ("stop:run.created", Duration::ZERO),
        ] {
            let (scene, path) = scene(version).await;
            let mut zombie = scene
                .pontoon
                .spawn_with(&["run", &path], &[("PONTOON_FAILPOINT", failpoint)]);
            stopped(&mut zombie).await;
            scene
                .sql("UPDATE pontoon.lease SET expires_at = now() - interval '1 second', holder = holder || '{\"boot\": \"elsewhere\", \"host\": \"elsewhere\"}'")
                .await;
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            tokio::time::sleep(frozen).await;
            go_on(&zombie);
            let (zombie, records) = zombie.wait().await;
            // Not 9, after which a script would start the plan again.
            assert_eq!(zombie.code, Some(11), "{failpoint}: {}", zombie.stderr);
            let exit = records.last().expect("records");
            assert_eq!(exit["state"], "rolled_back", "{exit}");
            let begun_anew = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'amount_exact'";
            assert_eq!(scene.text(begun_anew).await, "0", "{records:#?}");
            let status = scene.status().await;
            assert_eq!(status["state"], "rolled_back", "{status}");
            assert!(status["holder"].is_null(), "{status}");
            scene.clean().await;
            scene.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_finishes_the_batch_and_says_how_to_resume() {
    for version in crate::versions() {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let (scene, path) = scene(version).await;
            let running = in_the_backfill(&scene.pontoon, &path, &[]).await;
            running.signal(signal);
            let (ended, records) = running.wait().await;
            let ended = ended.expect(6);
            let last = records.last().expect("records");
            assert_eq!(last["event"], "exit", "{last}");
            assert_eq!(last["code"], 6, "{last}");
            let next = records
                .iter()
                .rev()
                .find_map(|record| record["next"].as_str());
            assert_eq!(
                next,
                Some(format!("pontoon run {path}").as_str()),
                "it says how to resume: {}",
                ended.stdout
            );
            let committed = rows_committed(&scene.client).await;
            let rows = i64::try_from(ROWS).expect("fits");
            assert!((1..rows).contains(&committed), "{committed}");
            let filled = "SELECT count(*) FROM orders WHERE amount_exact IS NOT NULL";
            assert_eq!(scene.text(filled).await, committed.to_string());
            let status = scene.status().await;
            assert!(status["holder"].is_null(), "{status}");
            assert_eq!(status["state"], "running", "{status}");
            finishes(&scene, &path, committed).await;
            scene.end().await;
        }
    }
}

/// Between two tries of a step that waits for a lock, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_signal_ends_a_wait_for_a_lock() {
    for version in crate::versions() {
        let (scene, path) = scene(version).await;
        let holder = scene.database.client().await.expect("a connection");
        run(&holder, "BEGIN; SELECT count(*) FROM orders").await;
        let mut running = scene.pontoon.spawn(&["run", &path]);
        running.event("lock_waiting").await.expect("it waits");
        let begun = Instant::now();
        running.signal(Signal::SIGTERM);
        let (ended, _) = running.wait().await;
        ended.expect(6);
        assert!(begun.elapsed() < Duration::from_secs(5));
        run(&holder, "COMMIT").await;
        finishes(&scene, &path, 0).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_terminal_watches_and_steers() {
    for version in crate::versions() {
        let (scene, path) = scene(version).await;
        scene
            .sql(
                &SLOW
                    .replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION")
                    .replace("CREATE TRIGGER", "CREATE OR REPLACE TRIGGER")
                    .replace("0.04", "0.2"),
            )
            .await;
        let pontoon = &scene.pontoon;
        let running = in_the_backfill(pontoon, &path, &[]).await;
        // Progress arrives with the heartbeat.
        wait_until("status tells of the rows", async || {
            scene.status().await["backfill"][0]["rows_total"] == ROWS
        })
        .await;
        let status = scene.status().await;
        assert_eq!(status["state"], "running", "{status}");
        assert_eq!(status["phase"], "backfill", "{status}");
        assert!(
            status["holder"]
                .as_str()
                .is_some_and(|who| who.contains(&running.pid().to_string())),
            "{status}"
        );
        let shown = pontoon.call(&["status"]).await.expect(0).stdout;
        assert!(shown.contains("backfill"), "{shown}");

        // Settings arrive at the running process.
        pontoon
            .call(&["set", "max-batch-rows", "50"])
            .await
            .expect(0);
        let refused = pontoon.call(&["set", "max-batch-rows", "0"]).await;
        assert!(matches!(refused.code, Some(2..=4)), "{refused:?}");
        let refused = pontoon.call(&["set", "max_rows", "7"]).await;
        assert!(matches!(refused.code, Some(2..=4)), "{refused:?}");

        // Pause ends the process, and only resume lifts it.
        let paused = Instant::now();
        pontoon.call(&["pause"]).await.expect(0);
        let (ended, _) = running.wait().await;
        ended.expect(11);
        assert!(
            paused.elapsed() < Duration::from_secs(6),
            "{:?}",
            paused.elapsed()
        );
        let status = scene.status().await;
        assert!(
            status["next"]
                .as_str()
                .is_some_and(|next| next.starts_with("pontoon resume")),
            "{status}"
        );
        assert_eq!(status["state"], "paused", "{status}");
        assert!(
            status["reason"]
                .as_str()
                .is_some_and(|why| why.contains("tester")),
            "{status}"
        );
        let committed = rows_committed(&scene.client).await;
        pontoon.call(&["run", &path]).await.expect(11);
        assert_eq!(rows_committed(&scene.client).await, committed);
        pontoon.call(&["resume"]).await.expect(0);
        scene.sql("DROP TRIGGER slow ON orders").await;
        pontoon.call(&["run", &path]).await.expect(5);

        // At the gate: a process that waits goes on when it is approved.
        let mut waiting = pontoon.spawn(&["run", &path, "--wait-gates"]);
        waiting
            .event("lease_taken")
            .await
            .expect("it holds the run");
        let wrong = pontoon.call(&["approve", "verify"]).await;
        assert!(matches!(wrong.code, Some(2..=4)), "{wrong:?}");
        pontoon.call(&["approve", "contract"]).await.expect(0);
        let (ended, _) = waiting.wait().await;
        ended.expect(0);
        scene.clean().await;

        let events = pontoon
            .call(&["events", "shared", "--output", "json"])
            .await
            .expect(0)
            .records();
        let has = |name: &str| events.iter().any(|record| record["event"] == name);
        for name in [
            "run_started",
            "lease_taken",
            "command",
            "gate_reached",
            "gate_approved",
            "verify_finished",
            "state_changed",
        ] {
            assert!(has(name), "no {name} among {events:#?}");
        }
        let commands: Vec<&Value> = events
            .iter()
            .filter(|record| record["event"] == "command")
            .collect();
        assert!(
            commands.iter().all(|record| record["by"]
                .as_str()
                .is_some_and(|by| by.contains("tester"))),
            "{commands:?}"
        );
        let times = |name: &str| {
            events
                .iter()
                .filter(|record| record["event"] == name)
                .count()
        };
        assert_eq!(times("verify_finished"), 1, "{events:#?}");
        let last = events.last().expect("events");
        assert_eq!(last["state"], "completed", "{last}");
        let history = pontoon
            .call(&["history", "--output", "json"])
            .await
            .expect(0)
            .json();
        assert_eq!(history["runs"][0]["state"], "completed", "{history}");
        assert!(history["runs"][0]["steps"].is_null(), "{history}");
        // Nothing is left to steer.
        for verb in ["pause", "resume", "rollback"] {
            let ended = pontoon.call(&[verb, "shared", "--yes"]).await;
            assert_eq!(ended.code, Some(4), "{verb}: {}", ended.stderr);
        }
        pontoon.call(&["run", &path]).await.expect(0);
        scene.end().await;
    }
}

/// A server of its own, for tests that stop it.
async fn own_server(version: u32) -> (Server, String, tokio_postgres::Client) {
    let server = Server::start(ServerSpec::version(version))
        .await
        .expect("a server");
    let url = server.create_database("shop").await.expect("a database");
    let client = pontoon_sandbox::connect(&url).await.expect("a connection");
    App::install(&models::orders(), &client, ROWS)
        .await
        .expect("the model");
    run(&client, SLOW).await;
    (server, url, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_restarted_in_the_backfill() {
    for version in crate::versions() {
        let (server, url, client) = own_server(version).await;
        drop(client);
        let app = App::start(models::orders(), traffic(url.clone(), ROWS));
        let pontoon = Pontoon::new(url.clone());
        let path = pontoon.plan(&long_plan("restarted"));
        let running = in_the_backfill(&pontoon, &path, &[]).await;
        server.stop(StopMode::Immediate).await.expect("stopped");
        tokio::time::sleep(Duration::from_millis(700)).await;
        server.start_again().await.expect("started");
        let (ended, _) = running.wait().await;
        match ended.code {
            // It has waited, and gone on by itself.
            Some(5) => {}
            // Or it has said so, and can be run again.
            Some(10) => {
                pontoon.call(&["run", &path]).await.expect(5);
            }
            code => panic!("{code:?}\n{}\n{}", ended.stdout, ended.stderr),
        }
        app.expect_filled();
        app.join_new_version();
        tokio::time::sleep(Duration::from_millis(200)).await;
        app.retire_old_version().await;
        pontoon.approved(&path).await.expect(0);
        let report = app.stop().await;
        assert!(report.is_clean(), "{report}");
        let client = pontoon_sandbox::connect(&url).await.expect("a connection");
        let rows = report
            .oracle
            .check(&client, Shape::New)
            .await
            .expect("rows");
        assert!(rows.is_clean(), "{rows}");
        assert_eq!(artifacts(&client).await, Vec::<String>::new());
    }
}

/// A database that stays away: exit code 10 in bounded time when it was never
/// there for this sitting, with the state kept.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_at_the_start() {
    for version in crate::versions() {
        let (server, url, client) = own_server(version).await;
        let pontoon = Pontoon::new(url);
        let path = pontoon.plan(&long_plan("away"));
        pontoon
            .call(&["run", &path, "--until", "dual_write"])
            .await
            .expect(0);
        drop(client);
        server.stop(StopMode::Immediate).await.expect("stopped");
        let ended = pontoon.call(&["run", &path]).await.expect(10);
        assert!(ended.stderr.contains("127.0.0.1"), "{}", ended.stderr);
        server.start_again().await.expect("started");
        pontoon.call(&["run", &path]).await.expect(5);
    }
}

/// The connection is cut right after the message that commits was executed,
/// or right before it arrives: the process does not know which, and finds out.
async fn cut(version: u32, fragment: &str, moment: Moment, skip: usize) {
    let scene = Scene::new(version, "").await;
    let model = models::orders();
    App::install(&model, &scene.client, ROWS)
        .await
        .expect("the model");
    let proxy = TcpProxy::start(scene.database.server())
        .await
        .expect("a proxy");
    let app = App::start(model, traffic(scene.database.url(), ROWS));
    let pontoon = Pontoon::new(proxy.url(&scene.database.url()));
    let path = pontoon.plan(&long_plan("cut"));
    proxy.cut_at(fragment, moment, skip);
    let mut sittings = 0;
    let mut sit = async |arguments: &[&str], code: i32| {
        loop {
            sittings += 1;
            assert!(sittings < 8, "{fragment} {moment:?}: no end");
            let ended = pontoon.call(arguments).await;
            match ended.code {
                Some(ended) if ended == code => return,
                Some(10) => {}
                other => panic!(
                    "{fragment} {moment:?} {skip}: {other:?}\n{}\n{}",
                    ended.stdout, ended.stderr
                ),
            }
        }
    };
    sit(&["run", &path], 5).await;
    app.expect_filled();
    app.join_new_version();
    tokio::time::sleep(Duration::from_millis(100)).await;
    app.retire_old_version().await;
    sit(&["run", &path, "--approve", "contract"], 0).await;
    assert_eq!(proxy.cuts(), 1, "nothing was cut at {fragment}, {skip}");
    let report = app.stop().await;
    assert!(report.is_clean(), "{fragment}: {report}");
    let rows = report
        .oracle
        .check(&scene.client, Shape::New)
        .await
        .expect("rows");
    assert!(rows.is_clean(), "{fragment}: {rows}");
    wait_for_silence(&scene.client).await;
    scene.clean().await;
    let status = text(&scene.client, "SELECT state FROM pontoon.run").await;
    assert_eq!(status, "completed");
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_around_commit_in_batches() {
    for version in crate::versions() {
        for (moment, skip) in [(Moment::After, 0), (Moment::After, 17), (Moment::Before, 5)] {
            cut(version, "current_setting('pontoon.report')", moment, skip).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_cut_around_commit_in_ddl() {
    for version in crate::versions() {
        for fragment in ["add column", "create trigger", "drop trigger"] {
            for moment in [Moment::After, Moment::Before] {
                cut(version, fragment, moment, 0).await;
            }
        }
    }
}
