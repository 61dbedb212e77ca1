//! Gates, conditions beside approval, and signals that hold the work.

use std::time::{Duration, Instant};

use pontoon_sandbox::{Server, ServerSpec};
use pontoon_tests::Pontoon;

use crate::scene::{Scene, plan, run, wait_until};

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, note text);
     INSERT INTO items SELECT g, g FROM generate_series(1, 3000) g; ANALYZE items";
const RETYPE: &str = "- change_type: {table: items, column: amount, to: numeric, as: exact}";

/// A gate before each phase stops there once, says its message, and is passed
/// by approval, on whichever way that comes.
#[tokio::test(flavor = "multi_thread")]
async fn before_every_phase() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let gates = "gates: [{before: dual_write, message: first}, {before: backfill}, {before: verify}, {before: contract, message: \"app 4.2 everywhere\"}]";
        let path = scene.pontoon.plan(&plan("gated", gates, RETYPE));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(5);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(
            said.contains("first") && said.contains("pontoon approve"),
            "{said}"
        );
        // Asked again, it stands there again.
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let status = scene.status().await;
        assert_eq!(status["gate"], "dual_write", "{status}");
        assert_eq!(status["state"], "waiting", "{status}");
        let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'items'::regclass";
        assert_eq!(scene.text(triggers).await, "0");

        scene
            .pontoon
            .call(&["approve", "dual_write"])
            .await
            .expect(0);
        scene.pontoon.call(&["run", &path]).await.expect(5);
        assert_eq!(scene.status().await["gate"], "backfill");
        assert_ne!(scene.text(triggers).await, "0");
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "0");

        // Approving another gate opens none before it.
        scene.pontoon.call(&["approve", "contract"]).await.expect(0);
        scene.pontoon.call(&["run", &path]).await.expect(5);
        assert_eq!(scene.status().await["gate"], "backfill");
        // Ends with success in front of the gate that was named.
        scene
            .pontoon
            .call(&["run", &path, "--approve", "backfill", "--until", "verify"])
            .await
            .expect(0);
        let status = scene.status().await;
        assert_eq!(status["state"], "paused", "{status}");
        let reason = "stands in front of verify, where --until asked";
        assert_eq!(status["reason"], reason, "{status}");
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "3000");
        scene.pontoon.call(&["run", &path]).await.expect(5);
        assert_eq!(scene.status().await["gate"], "verify");
        scene
            .pontoon
            .call(&["run", &path, "--approve", "verify"])
            .await
            .expect(0);
        assert_eq!(scene.status().await["state"], "completed");
        scene.clean().await;
        scene.end().await;
    }
}

/// Approval alone is not enough while old versions write, and idleness alone
/// is not either.
#[tokio::test(flavor = "multi_thread")]
async fn old_writes_idle() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let gates = "gates: [{before: contract, old_writes_idle: 4s}]";
        let path = scene.pontoon.plan(&plan("drained", gates, RETYPE));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.sql("UPDATE items SET amount = 70 WHERE id = 7").await;
        let status = scene.status().await;
        assert!(status["old_writes"]["last_at"].is_string(), "{status}");
        let ended = scene.pontoon.approved(&path).await.expect(5);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("old-version write"), "{said}");
        // New versions may write: that is no reason to wait.
        let mut running = scene.pontoon.spawn(&["run", &path, "--wait-gates"]);
        running
            .event("lease_taken")
            .await
            .expect("it holds the run");
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(2) {
            scene
                .sql("UPDATE items SET exact = exact + 1 WHERE id = 8")
                .await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let (ended, _) = running.wait().await;
        ended.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// A signal that nobody knows is an error in the plan.
#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_signal() {
    let scene = Scene::new(crate::versions()[0], ITEMS).await;
    let path = scene
        .pontoon
        .plan(&plan("held", "throttle: {replication_lagg: 10s}", RETYPE));
    let ended = scene.pontoon.call(&["run", &path]).await.expect(3);
    assert!(ended.stderr.contains("replication_lag"), "{}", ended.stderr);
    scene.end().await;
}

/// A standby that falls behind holds the backfill, by name and number; it
/// goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn replication_lag_holds() {
    for version in crate::versions() {
        let server = Server::start(ServerSpec::version(version))
            .await
            .expect("a server");
        let url = server.create_database("shop").await.expect("a database");
        let client = pontoon_sandbox::connect(&url).await.expect("a connection");
        run(&client, ITEMS).await;
        let standby = server.standby("eu_2").await.expect("a standby");
        let reader = standby.client("shop").await.expect("a connection");
        wait_until("the standby streams", async || {
            crate::scene::text(
                &client,
                "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'",
            )
            .await
                == "1"
        })
        .await;
        run(&reader, "SELECT pg_wal_replay_pause()").await;
        // Something to be behind with.
        run(
            &client,
            "CREATE TABLE noise AS SELECT g FROM generate_series(1, 1000) g",
        )
        .await;
        tokio::time::sleep(Duration::from_millis(1500)).await;

        let pontoon = Pontoon::new(url);
        let path = pontoon.plan(&plan(
            "behind",
            "throttle: {replication_lag: 1s}\nacknowledge: [standby]",
            RETYPE,
        ));
        let mut running = pontoon.spawn(&["run", &path]);
        let held = running.event("held").await.expect("the backfill is held");
        assert_eq!(held["signal"], "replication_lag", "{held}");
        assert!(
            held["reading"]
                .as_str()
                .is_some_and(|reading| reading.contains("eu_2")),
            "{held}"
        );
        assert_eq!(
            crate::scene::text(&client, "SELECT count(exact) FROM items").await,
            "0"
        );
        wait_until("status tells of it", async || {
            let status = pontoon
                .call(&["status", "--output", "json"])
                .await
                .expect(0)
                .json();
            status["runs"][0]["throttle"][0]["signal"] == "replication_lag"
        })
        .await;
        run(&reader, "SELECT pg_wal_replay_resume()").await;
        let (ended, records) = running.wait().await;
        ended.expect(5);
        assert!(records.iter().any(|record| record["event"] == "hold_ended"));
        assert_eq!(
            crate::scene::text(&client, "SELECT count(exact) FROM items").await,
            "3000"
        );
    }
}
