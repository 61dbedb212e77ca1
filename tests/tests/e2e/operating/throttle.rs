//! Signals hold a run back, say so everywhere, and let go by themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use nix::sys::signal::Signal;
use pontoon_sandbox::{Server, ServerSpec, StopMode};
use pontoon_tests::{Pontoon, Running};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::clients::Clients;
use crate::scene::{Scene, plan, run, text, wait_until};

const ITEMS: &str = "
    CREATE TABLE items (id bigint PRIMARY KEY, amount int NOT NULL, note text);
    INSERT INTO items SELECT g, g, 'n' FROM generate_series(1, 3000) g;
    ANALYZE items;";

const RETYPE: &str = "- change_type: {table: items, column: amount, to: bigint, as: exact}";

/// An endpoint that answers with a status that the test changes.
async fn endpoint(status: u16) -> (String, Arc<AtomicU16>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let place = listener.local_addr().expect("an address").to_string();
    let shared = Arc::new(AtomicU16::new(status));
    let now = Arc::clone(&shared);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let status = now.load(Ordering::Relaxed);
            tokio::spawn(async move {
                let mut request = vec![0; 4096];
                let _read = stream.read(&mut request).await;
                let answer = format!("HTTP/1.1 {status} X\r\ncontent-length: 0\r\n\r\n");
                let _sent = stream.write_all(answer.as_bytes()).await;
                let _closed = stream.shutdown().await;
            });
        }
    });
    (place, shared)
}

async fn held(running: &mut Running, signal: &str) -> Value {
    loop {
        let event = running.event("held").await.expect("it is held");
        if event["signal"] == signal {
            return event;
        }
    }
}

fn filled(text: &str) -> u64 {
    text.parse().expect("a number")
}

/// A file, an endpoint and a query hold together; each lets go by itself, and
/// nothing shows the address's secrets.
#[tokio::test(flavor = "multi_thread")]
async fn a_file_an_endpoint_and_a_query_hold() {
    for version in crate::versions() {
        let mut scene = Scene::new(version, ITEMS).await;
        scene
            .sql("CREATE TABLE load (n int); INSERT INTO load VALUES (7)")
            .await;
        let (gate, status) = endpoint(503).await;
        scene.pontoon = scene.pontoon.env(
            "GATE_URL",
            &format!("http://joe:s3cret@{gate}/go?token=t0ken"),
        );
        let flag = scene.pontoon.file("hold", "");
        let keys = format!(
            "throttle:\n  file: {}\n  http: {{url_env: GATE_URL}}\n  query: {{sql: SELECT n FROM load, limit: 5}}",
            flag.display()
        );
        let path = scene.pontoon.plan(&plan("held", &keys, RETYPE));
        let shown = scene.pontoon.call(&["preview", &path]).await.expect(0);
        for part in [
            "query >= 5 of SELECT n FROM load",
            "http >= 400 of the address in $GATE_URL",
            "replication_lag >= 10s, slot_used 90% (by default)",
        ] {
            assert!(shown.stdout.contains(part), "{part}: {}", shown.stdout);
        }

        let mut running = scene.pontoon.spawn(&["run", &path]);
        let mut seen = Vec::new();
        while seen.len() < 3 {
            let event = running.event("held").await.expect("it is held");
            seen.push(event["signal"].as_str().expect("text").to_owned());
        }
        seen.sort();
        assert_eq!(seen, ["file", "http", "query"]);
        wait_until("status tells of all three", async || {
            let status = scene.status().await;
            status["throttle"].as_array().map(Vec::len) == Some(3)
        })
        .await;
        let text = scene.pontoon.call(&["status"]).await.expect(0).stdout;
        for part in [
            format!("file 1 >= 1 ({} exists)", flag.display()),
            format!("http 503 >= 400 (http://{gate}/go)"),
            "query 7 >= 5".to_owned(),
        ] {
            assert!(text.contains(&part), "{part}: {text}");
        }
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "0");
        // Signals have connections of their own.
        let own = scene
            .text(&format!(
                "SELECT count(*) > 0 FROM pg_stat_activity WHERE application_name = 'pontoon/signals' AND datname = '{}'",
                scene.database.name()
            ))
            .await;
        assert_eq!(own, "t");

        std::fs::remove_file(&flag).expect("removed");
        status.store(204, Ordering::Relaxed);
        scene.sql("UPDATE load SET n = 3").await;
        let (ended, records) = running.wait().await;
        let ended = ended.expect(5);
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "3000");
        let stored = scene
            .pontoon
            .call(&["events", "held", "--output", "json"])
            .await
            .expect(0)
            .stdout;
        for signal in ["file", "http", "query"] {
            let is =
                |record: &&Value| record["event"] == "hold_ended" && record["signal"] == signal;
            assert!(records.iter().find(is).is_some(), "{signal} never ends");
        }
        assert!(
            stored.contains("\"held\"") && stored.contains("\"hold_ended\""),
            "{stored}"
        );
        let database = scene
            .text("SELECT string_agg(event::text, '') FROM pontoon.event")
            .await
            + &scene.text("SELECT settings::text FROM pontoon.run").await;
        for text in [
            &stored,
            &ended.stderr,
            &ended.stdout,
            &text,
            &shown.stdout,
            &database,
        ] {
            assert!(
                !text.contains("s3cret") && !text.contains("t0ken"),
                "{text}"
            );
        }
        assert!(!format!("{records:?}").contains("s3cret"));
        scene.end().await;
    }
}

/// A session that forgot its transaction holds, and is named.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_transaction_holds() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let idle = scene.database.client().await.expect("a connection");
        idle.batch_execute("SET application_name = 'forgetful'; BEGIN; SELECT 1")
            .await
            .expect("a transaction");
        tokio::time::sleep(Duration::from_millis(400)).await;
        let keys = "throttle: {oldest_transaction: 300ms, dead_tuples: 90%, lock_waits: 5, wal_rate: 5GB/s, commit_latency: 30s}";
        let path = scene.pontoon.plan(&plan("idle", keys, RETYPE));
        let mut running = scene.pontoon.spawn(&["run", &path]);
        let event = held(&mut running, "oldest_transaction").await;
        let reading = event["reading"].as_str().expect("text");
        assert!(
            reading.ends_with("forgetful, idle in transaction)"),
            "{reading}"
        );
        assert_eq!(event["limit"], "300ms");
        // The reading that status shows goes on with the time.
        let first = reading.to_owned();
        wait_until("the reading moves", async || {
            let hold = scene.status().await["throttle"][0].clone();
            hold["reading"].as_str().is_some_and(|now| now != first)
        })
        .await;
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "0");
        idle.batch_execute("COMMIT").await.expect("over");
        let (ended, records) = running.wait().await;
        ended.expect(5);
        assert!(records.iter().any(|record| record["event"] == "hold_ended"));
        drop(idle);
        scene.end().await;
    }
}

/// A query that hangs is unknown within its timeout: held when it says so,
/// else told once and passed by.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_hangs() {
    let scene = Scene::new(crate::versions()[0], ITEMS).await;
    let hangs = |unknown: &str| {
        let keys = format!(
            "throttle:\n  query: {{sql: 'SELECT 0, pg_sleep(600)', timeout: 500ms, unknown: {unknown}}}"
        );
        plan("hangs", &keys, RETYPE)
    };
    let path = scene.pontoon.plan(&hangs("hold"));
    let mut running = scene.pontoon.spawn(&["run", &path]);
    let event = held(&mut running, "query").await;
    let reading = event["reading"].as_str().expect("text");
    assert!(reading.starts_with("unknown: "), "{reading}");
    // Switched off from elsewhere, it holds no longer.
    let ended = scene
        .pontoon
        .call(&["set", "throttle.query", "seven"])
        .await
        .expect(2);
    assert!(
        ended.stderr.contains("is not a whole number"),
        "{}",
        ended.stderr
    );
    let ended = scene
        .pontoon
        .call(&["set", "throttle.replication_leg", "1s"])
        .await
        .expect(2);
    assert!(
        ended.stderr.contains("throttle.replication_lag"),
        "{}",
        ended.stderr
    );
    scene
        .pontoon
        .call(&["set", "throttle.query", "off"])
        .await
        .expect(0);
    running.wait().await.0.expect(5);
    scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);

    let path = scene.pontoon.plan(&hangs("ignore"));
    let (ended, records) = scene.pontoon.spawn(&["run", &path]).wait().await;
    ended.expect(5);
    let event = |name: &str| {
        records
            .iter()
            .filter(|record| record["event"] == name)
            .count()
    };
    assert_eq!(event("held"), 0);
    scene.end().await;
}

/// `unthrottle` lets a run go on for a while, also one that another process
/// takes up later; it expires on the database's clock and stands in the
/// events.
#[tokio::test(flavor = "multi_thread")]
async fn unthrottle_expires_and_survives_a_kill() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE items (id bigint PRIMARY KEY, amount int NOT NULL, note text);
             INSERT INTO items SELECT g, g, 'n' FROM generate_series(1, 40000) g; ANALYZE items;",
        )
        .await;
        let flag = scene.pontoon.file("hold", "");
        let keys = format!(
            "limits: {{max_batch_rows: 1}}\nbackfill: {{nice_ratio: 0}}\nthrottle:\n  file: {}",
            flag.display()
        );
        let path = scene.pontoon.plan(&plan("off", &keys, RETYPE));
        let mut running = scene.pontoon.spawn(&["run", &path]);
        held(&mut running, "file").await;
        running.signal(Signal::SIGKILL);
        running.wait().await;
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "0");

        let told = scene
            .pontoon
            .call(&["unthrottle", "--for", "8s"])
            .await
            .expect(0);
        let said = told.stdout + &told.stderr;
        assert!(said.contains("No signal holds run"), "{said}");
        let status = scene.status().await;
        assert!(status["throttle_off_until"].is_string(), "{status}");
        let text = scene.pontoon.call(&["status"]).await.expect(0).stdout;
        assert!(text.contains("off until"), "{text}");

        // Batches of one row: far more of them than fit into that time.
        let mut running = scene.pontoon.spawn(&["run", &path]);
        running.event("throttle_on").await.expect("it expires");
        held(&mut running, "file").await;
        let changed = filled(&scene.text("SELECT count(exact) FROM items").await);
        assert!(0 < changed && changed < 40000, "{changed}");
        assert_eq!(scene.status().await["throttle_off_until"], Value::Null);

        // Off once more, and ended before its time.
        scene
            .pontoon
            .call(&["unthrottle", "--for", "1h"])
            .await
            .expect(0);
        running.event("hold_ended").await.expect("it goes on");
        scene
            .pontoon
            .call(&["unthrottle", "--for", "0s"])
            .await
            .expect(0);
        running.event("throttle_on").await.expect("it is on again");
        held(&mut running, "file").await;
        scene
            .pontoon
            .call(&["set", "batch-rows", "10000"])
            .await
            .expect(0);
        std::fs::remove_file(&flag).expect("removed");
        running.wait().await.0.expect(5);
        assert_eq!(scene.text("SELECT count(exact) FROM items").await, "40000");
        let commands = scene
            .text("SELECT string_agg(event ->> 'command', ',' ORDER BY id) FROM pontoon.event WHERE event ->> 'event' = 'command' AND by LIKE '%@%'")
            .await;
        assert_eq!(
            commands,
            "unthrottle for 8s,unthrottle for 1h,throttle,set max-batch-rows 10000"
        );
        for time in ["2d", "10", "10ms"] {
            scene
                .pontoon
                .call(&["unthrottle", "--for", time])
                .await
                .expect(2);
        }
        scene.end().await;
    }
}

/// While the application is at work batches rest; when it stops, or when a
/// person says so, they do not. The server is the test's own: there is nobody
/// else on it.
#[tokio::test(flavor = "multi_thread")]
async fn batches_yield_to_the_application() {
    for version in crate::versions() {
        let server = Server::start(ServerSpec::version(version))
            .await
            .expect("a server");
        let url = server.create_database("shop").await.expect("a database");
        let client = server.client("shop").await.expect("a connection");
        run(
            &client,
            "CREATE TABLE items (id bigint PRIMARY KEY, amount int NOT NULL, note text);
             INSERT INTO items SELECT g, g, 'n' FROM generate_series(1, 60000) g; ANALYZE items;",
        )
        .await;
        let changed = async || filled(&text(&client, "SELECT count(exact) FROM items").await);
        let pontoon = Pontoon::new(url);
        let status = async || {
            let status = pontoon.call(&["status", "--output", "json"]).await;
            status.expect(0).json()["runs"][0]["yielding"].clone()
        };
        let application = work(&server).await;
        let keys = "backfill: {nice_ratio: 100}";
        let path = pontoon.plan(&plan("gently", keys, RETYPE));
        let mut running = pontoon.spawn(&["run", &path]);
        let event = running.event("yielding").await.expect("it yields");
        // This test's own session has worked a moment ago, too.
        assert!(matches!(event["sessions"].as_u64(), Some(1 | 2)), "{event}");
        wait_until("status tells of it", async || {
            status().await["sessions"].is_u64()
        })
        .await;
        let shown = pontoon.call(&["status"]).await.expect(0).stdout;
        assert!(
            shown.contains("Yields       to the application (") && shown.contains("nice-ratio 0"),
            "{shown}"
        );
        // It goes on, but each batch of a few milliseconds rests a hundred
        // times as long.
        wait_until("it goes on", async || changed().await > 0).await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let so_far = changed().await;
        assert!(so_far < 60000, "{so_far}");
        application.stop("no panic").await;
        running.event("full_speed").await.expect("nobody is left");
        running.wait().await.0.expect(5);
        assert_eq!(status().await, Value::Null);
        pontoon.call(&["rollback", "--yes"]).await.expect(0);

        let application = work(&server).await;
        let mut running = pontoon.spawn(&["run", &path]);
        running.event("yielding").await.expect("it yields");
        pontoon.call(&["set", "nice-ratio", "0"]).await.expect(0);
        running.event("full_speed").await.expect("it is told");
        running.wait().await.0.expect(5);
        application.stop("no panic").await;
        drop(client);
        server.stop(StopMode::Fast).await.expect("it stops");
    }
}

/// An application that writes a row again and again.
async fn work(server: &Server) -> Clients<()> {
    let client = server.client("shop").await.expect("a connection");
    Clients::one(|stop| async move {
        while !stop.is_told() {
            run(&client, "UPDATE items SET note = 'w' WHERE id = 1").await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
}

/// The configuration's ceilings and environments say what holds in the end.
#[tokio::test(flavor = "multi_thread")]
async fn the_environment_has_the_last_word() {
    let scene = Scene::new(crate::versions()[0], ITEMS).await;
    let url = scene.pontoon.url().to_owned();
    let pontoon = Pontoon::new(url);
    pontoon.file(
        "pontoon.yaml",
        "defaults:\n  throttle: {lock_waits: 7}\nenvironments:\n  production:\n    throttle: {replication_lag: {limit: 2s, except: [late]}, blocked_sessions: off}\n",
    );
    let path = pontoon.plan(&plan("env", "throttle: {replication_lag: 30s}", RETYPE));
    let shown = pontoon
        .call(&["preview", &path, "--env", "production", "--output", "json"])
        .await
        .expect(0)
        .json();
    let of = |name: &str| {
        let all = shown["throttle"].as_array().expect("a list");
        all.iter()
            .find(|it| it["signal"] == name)
            .cloned()
            .unwrap_or_default()
    };
    assert_eq!(of("replication_lag")["limits"], "2s, slot_used 90%");
    assert_eq!(of("lock_waits")["limits"], "7");
    assert_eq!(of("blocked_sessions")["limits"], Value::Null);
    assert_eq!(of("archiver_backlog")["by_default"], true);
    scene.end().await;
}
