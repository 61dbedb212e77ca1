//! Steps that no transaction ties to their record (index builds, validation):
//! killed at every boundary and in the middle, they are judged by the catalog.

use std::time::Duration;

use nix::sys::signal::Signal;
use pontoon_sandbox::dump::CatalogDump;
use pontoon_tests::wait_for_silence;

use crate::scene::{Scene, plan, wait_until};

const SETUP: &str = "
    CREATE TABLE parents (id integer PRIMARY KEY);
    CREATE TABLE items (id integer PRIMARY KEY, parent integer, name text NOT NULL, size integer, code text);
    CREATE INDEX items_code ON items (code);
    INSERT INTO parents SELECT g FROM generate_series(1, 20) g;
    INSERT INTO items SELECT g, g % 20 + 1, 'Name ' || g, nullif(g % 9, 0), 'c' || g FROM generate_series(1, 400) g;
    ANALYZE";
/// Each kind of long step, beside a dual write.
const OPERATIONS: &str = "\
- change_type: {table: items, column: name, to: varchar, as: title}
- set_not_null: {table: items, column: size, fill: 0}
- add_index: {table: items, name: by_parent, columns: [parent]}
- add_index: {table: items, name: by_title, columns: [title], unique: true}
- add_unique: {table: items, name: one_code, columns: [code]}
- add_check: {table: items, name: small, check: size < 100}
- add_foreign_key: {table: items, name: of_parent, columns: [parent], references: {table: parents, columns: [id]}}
- drop_index: {name: items_code}";
const KEYS: &str = "limits: {max_batch_rows: 100}";

/// What a run without any accident makes of the catalog, and its steps.
async fn undisturbed(version: u32) -> (CatalogDump, CatalogDump, usize) {
    let scene = Scene::new(version, SETUP).await;
    let before = scene.catalog().await;
    scene.completed(&plan("long", KEYS, OPERATIONS)).await;
    let steps = scene.status().await["steps"]
        .as_array()
        .expect("the steps")
        .len();
    let after = scene.catalog().await;
    scene.end().await;
    (before, after, steps)
}

/// Kills the run at each boundary of each step; it goes on to the same end.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_boundary() {
    for version in crate::versions() {
        let (before, after, steps) = undisturbed(version).await;
        for no in 1..=steps {
            for place in ["begin", "end"] {
                let place = format!("step.{no}.{place}");
                let scene = Scene::new(version, SETUP).await;
                let path = scene.pontoon.plan(&plan("long", KEYS, OPERATIONS));
                let (ended, _) = scene
                    .pontoon
                    .spawn_with(
                        &["run", &path, "--approve", "contract"],
                        &[("PONTOON_FAILPOINT", &format!("kill:{place}"))],
                    )
                    .wait()
                    .await;
                assert_eq!(ended.code, None, "nothing was killed at {place}");
                wait_for_silence(&scene.client).await;
                let (verb, wanted): (&[&str], _) = if no % 2 == 0 || no == steps {
                    (&["run", &path], &after)
                } else {
                    (&["rollback", "--yes"], &before)
                };
                scene.pontoon.call(verb).await.expect(0);
                scene.clean().await;
                let differences = wanted.differences(&scene.catalog().await);
                assert!(
                    differences.is_empty(),
                    "{place}, {verb:?}: {differences:#?}"
                );
                scene.end().await;
            }
        }
    }
}

/// An index or check over this takes some seconds.
const SLOW: &str = "
    CREATE FUNCTION slowly(integer) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS
        $$ BEGIN PERFORM pg_sleep(0.005); RETURN $1; END $$;
    CREATE TABLE items (id integer PRIMARY KEY);
    INSERT INTO items SELECT g FROM generate_series(1, 500) g;
    ANALYZE";
const SLOW_INDEX: &str =
    "- add_index: {table: items, name: slow_index, columns: [{expression: slowly(id)}]}";
const SLOW_CHECK: &str = "- add_check: {table: items, name: slow_check, check: slowly(id) > 0}";

/// The server is at work on the long statement.
async fn under_way(scene: &Scene) {
    wait_until("the long statement is under way", async || {
        scene
            .text(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE application_name LIKE 'pontoon/%' AND datname = current_database() AND state = 'active'
                 AND (query ILIKE '%create index%' OR query ILIKE '%validate constraint%')
                 AND clock_timestamp() - query_start > interval '400 ms'",
            )
            .await
            != "0"
    })
    .await;
}

async fn is_there(scene: &Scene) -> bool {
    scene
        .text(
            "SELECT (SELECT count(*) FROM pg_index WHERE indexrelid = to_regclass('slow_index') AND indisvalid)
                  + (SELECT count(*) FROM pg_constraint WHERE conname = 'slow_check' AND convalidated)",
        )
        .await
        == "1"
}

/// Killed in the middle: the backend works on for a while and is awaited or
/// cancelled; what it leaves INVALID is built again.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle() {
    for version in crate::versions() {
        for operation in [SLOW_INDEX, SLOW_CHECK] {
            let scene = Scene::new(version, SLOW).await;
            let path = scene.pontoon.plan(&plan("slow", "", operation));
            let running = scene.pontoon.spawn_approved(&path);
            under_way(&scene).await;
            running.signal(Signal::SIGKILL);
            running.wait().await;
            scene.pontoon.approved(&path).await.expect(0);
            assert!(is_there(&scene).await, "{operation}");
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Killed in the middle and taken back: nothing is left, valid or not.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_and_taken_back() {
    for version in crate::versions() {
        for operation in [SLOW_INDEX, SLOW_CHECK] {
            let scene = Scene::new(version, SLOW).await;
            let before = scene.catalog().await;
            let path = scene.pontoon.plan(&plan("slow", "", operation));
            let running = scene.pontoon.spawn_approved(&path);
            under_way(&scene).await;
            running.signal(Signal::SIGKILL);
            running.wait().await;
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            wait_for_silence(&scene.client).await;
            scene.clean().await;
            let differences = before.differences(&scene.catalog().await);
            assert!(differences.is_empty(), "{operation}: {differences:#?}");
            scene.end().await;
        }
    }
}

/// A drop that waits for an older transaction when its process dies: whoever
/// comes next waits for the backend that goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn killed_in_the_middle_of_a_drop() {
    for version in crate::versions() {
        for back in [false, true] {
            let scene = Scene::new(version, SETUP).await;
            let before = scene.catalog().await;
            let path =
                scene
                    .pontoon
                    .plan(&plan("dropping", "", "- drop_index: {name: items_code}"));
            let older = scene.database.client().await.expect("a connection");
            crate::scene::run(&older, "BEGIN; UPDATE items SET size = 1 WHERE id = 1").await;
            let running = scene.pontoon.spawn_approved(&path);
            wait_until("the drop waits", async || {
                scene
                    .text("SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DROP INDEX CONCURRENTLY%' AND wait_event_type = 'Lock' AND datname = current_database()")
                    .await
                    == "1"
            })
            .await;
            running.signal(Signal::SIGKILL);
            running.wait().await;
            let next = match back {
                true => scene.pontoon.spawn(&["rollback", "--yes"]),
                false => scene.pontoon.spawn_approved(&path),
            };
            tokio::time::sleep(Duration::from_millis(1500)).await;
            crate::scene::run(&older, "ROLLBACK").await;
            let (ended, _) = next.wait().await;
            ended.expect(0);
            wait_for_silence(&scene.client).await;
            scene.clean().await;
            if back {
                let differences = before.differences(&scene.catalog().await);
                assert!(differences.is_empty(), "{differences:#?}");
            } else {
                let index = "SELECT to_regclass('items_code') IS NULL";
                assert_eq!(scene.text(index).await, "t");
            }
            scene.end().await;
        }
    }
}

/// A signal and an operator's pause do not wait for the end of a long
/// statement, and leave nothing at work.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_in_the_middle() {
    for version in crate::versions() {
        for (operation, pause) in [(SLOW_INDEX, false), (SLOW_CHECK, false), (SLOW_INDEX, true)] {
            let scene = Scene::new(version, SLOW).await;
            let path = scene.pontoon.plan(&plan("slow", "", operation));
            let running = scene.pontoon.spawn_approved(&path);
            under_way(&scene).await;
            let code = if pause {
                scene.pontoon.call(&["pause"]).await.expect(0);
                11
            } else {
                running.signal(Signal::SIGTERM);
                6
            };
            let (ended, _) = running.wait().await;
            ended.expect(code);
            tokio::time::sleep(Duration::from_millis(300)).await;
            wait_for_silence(&scene.client).await;
            if pause {
                scene.pontoon.call(&["resume"]).await.expect(0);
            }
            scene.pontoon.approved(&path).await.expect(0);
            assert!(is_there(&scene).await, "{operation}");
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Duplicates stop a unique index: the step fails and names them, nothing
/// INVALID stays, and mended rows let the run go on.
#[tokio::test(flavor = "multi_thread")]
async fn duplicates_and_violations_are_named_and_can_be_mended() {
    for version in crate::versions() {
        for (operation, spoil, word, mend) in [
            (
                "- add_unique: {table: items, name: one_code, columns: [code]}",
                "UPDATE items SET code = 'twice' WHERE id IN (7, 8)",
                "twice",
                "UPDATE items SET code = 'once' WHERE id = 8",
            ),
            (
                "- add_check: {table: items, name: small, check: size < 100}",
                "UPDATE items SET size = 777 WHERE id = 7",
                "small",
                "UPDATE items SET size = 7 WHERE id = 7",
            ),
            (
                "- add_foreign_key: {table: items, name: of_parent, columns: [parent], references: {table: parents, columns: [id]}}",
                "UPDATE items SET parent = 777 WHERE id = 7",
                "777",
                "UPDATE items SET parent = 7 WHERE id = 7",
            ),
            (
                "- set_not_null: {table: items, column: size}",
                "UPDATE items SET size = 1 WHERE size IS NULL; UPDATE items SET size = NULL WHERE id = 7",
                "size",
                "UPDATE items SET size = 7 WHERE id = 7",
            ),
        ] {
            let scene = Scene::new(version, SETUP).await;
            scene.sql(spoil).await;
            let path = scene.pontoon.plan(&plan("spoilt", KEYS, operation));
            let ended = scene.pontoon.approved(&path).await.expect(7);
            assert!(ended.stderr.contains(word), "{operation}: {}", ended.stderr);
            let invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid";
            assert_eq!(scene.text(invalid).await, "0", "{operation}");
            assert_eq!(scene.status().await["state"], "failed");
            scene.sql(mend).await;
            scene.pontoon.approved(&path).await.expect(0);
            scene.clean().await;
            scene.end().await;
        }
    }
}
