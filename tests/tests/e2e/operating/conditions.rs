//! `wait_for`: what it shows, how it ends, and what it leaves open.

use nix::sys::signal::Signal;

use crate::scene::{Scene, plan, wait_until};

const SETUP: &str = "CREATE TABLE jobs (id integer); INSERT INTO jobs VALUES (1); CREATE TABLE items (id integer PRIMARY KEY, note text)";

fn waiting(timeout: &str, query: &str) -> String {
    plan(
        "patient",
        "gates: []",
        &format!(
            "- set_default: {{table: items, column: note, default: \"'x'\"}}\n\
             - wait_for: {{query: {query}, timeout: {timeout}, every: 50ms}}\n\
             - set_comment: {{table: items, comment: done}}"
        ),
    )
}

const EMPTY: &str = "SELECT count(*) = 0 FROM jobs";

/// It says what it waits for, holds no transaction open between two looks,
/// stops at a signal, and goes on when the condition holds.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_is_waited_for() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        let path = scene.pontoon.plan(&waiting("10m", EMPTY));
        let mut running = scene.pontoon.spawn(&["run", &path]);
        for _ in 0..3 {
            let look = running.event("step_progress").await.expect("it looks");
            let doing = look["doing"].as_str().unwrap_or_default();
            assert!(doing.starts_with("not yet"), "{look}");
        }
        let status = scene.status().await;
        let step = &status["steps"][1];
        assert_eq!(step["kind"], "wait", "{status}");
        assert_eq!(step["state"], "running", "{status}");
        assert_eq!(
            step["name"].as_str(),
            Some("wait until SELECT count(*) = 0 FROM jobs"),
            "{status}"
        );
        // A look is a transaction of its own: no two that end and begin are
        // the same one, and none is left open.
        let open = "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pontoon%' AND state LIKE 'idle in transaction%'";
        for _ in 0..20 {
            wait_until("no transaction is open", async || {
                scene.text(open).await == "0"
            })
            .await;
        }
        running.signal(Signal::SIGINT);
        let (ended, _) = running.wait().await;
        ended.expect(6);

        let running = scene.pontoon.spawn(&["run", &path]);
        scene.sql("DELETE FROM jobs").await;
        let (ended, _) = running.wait().await;
        ended.expect(0);
        assert_eq!(
            scene
                .text("SELECT obj_description('items'::regclass)")
                .await,
            "done"
        );
        scene.end().await;
    }
}

/// The time is over: the run has failed, says why, and may be gone on with or
/// taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_condition_that_does_not_come_fails_the_step() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        let path = scene.pontoon.plan(&waiting("300ms", EMPTY));
        for _ in 0..2 {
            let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            for words in ["within 300ms", EMPTY, "wait again"] {
                assert!(said.contains(words), "{words}: {said}");
            }
        }
        assert_eq!(scene.status().await["state"], "failed");
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_is_no_condition_is_told_so() {
    for version in crate::versions() {
        for (query, words) in [
            ("SELECT 1", "something else than a boolean"),
            ("SELECT true, true", "several columns"),
            ("SELECT true FROM generate_series(1, 2)", "several rows"),
            ("SELECT gone FROM jobs", "gone"),
        ] {
            let scene = Scene::new(version, SETUP).await;
            let path = scene.pontoon.plan(&waiting("10m", &format!("\"{query}\"")));
            let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
            let said = format!("{}{}", ended.stdout, ended.stderr);
            assert!(said.contains(words), "{query}: {said}");
            scene.end().await;
        }
    }
}

/// Killed in the middle of a REINDEX: what it left is dropped, and the index is
/// built anew under its own name.
#[tokio::test(flavor = "multi_thread")]
async fn a_reindex_that_was_broken_off_leaves_nothing() {
    const LEFT: &str = "SELECT count(*) FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = 'items'::regclass AND (NOT i.indisvalid OR c.relname ~ '_cc(new|old)')";
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        scene
            .sql("INSERT INTO items SELECT g, 'n' FROM generate_series(1, 500) g; CREATE INDEX items_note ON items (note)")
            .await;
        let before = scene
            .text("SELECT relfilenode FROM pg_class WHERE relname = 'items_note'")
            .await;
        // A transaction that has written keeps the build waiting.
        let holder = scene.database.client().await.expect("a connection");
        holder
            .batch_execute("BEGIN; UPDATE items SET note = 'm' WHERE id = 1")
            .await
            .expect("a row is held");
        let path = scene
            .pontoon
            .plan(&plan("anew", "gates: []", "- reindex: {name: items_note}"));
        let running = scene.pontoon.spawn(&["run", &path]);
        wait_until("the new index stands there", async || {
            scene.text(LEFT).await != "0"
        })
        .await;
        running.signal(Signal::SIGKILL);
        running.wait().await;
        // The server goes on by itself until its session is ended.
        scene
            .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'REINDEX%'")
            .await;
        wait_until("nobody builds", async || {
            let building = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'REINDEX%' AND state = 'active'";
            scene.text(building).await == "0"
        })
        .await;
        assert_ne!(scene.text(LEFT).await, "0", "PostgreSQL {version}");
        holder.batch_execute("COMMIT").await.expect("released");
        scene.pontoon.call(&["run", &path]).await.expect(0);
        assert_eq!(scene.text(LEFT).await, "0", "PostgreSQL {version}");
        let after = scene
            .text("SELECT relfilenode FROM pg_class WHERE relname = 'items_note'")
            .await;
        assert_ne!(before, after);
        scene.end().await;
    }
}
