//! What an operator does to a run that goes on in another process: pause,
//! resume, settings, approval, rollback. Each from a second process, over
//! restarts, and audited.

use std::time::Duration;

use nix::sys::signal::Signal;
use pontoon_sandbox::app::{App, models};
use pontoon_sandbox::tcp_proxy::TcpProxy;
use pontoon_tests::{Finished, Pontoon, Running};
use serde_json::Value;

use crate::scene::{Scene, run, stopped, wait_until};

const ROWS: u64 = 6_000;

/// Makes each statement of ours wait a little, and none of the application's.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH STATEMENT
        WHEN (current_setting('application_name') LIKE 'pontoon/%') EXECUTE FUNCTION slow()";

fn slow_plan(batch_rows: u32, more: &str) -> String {
    format!(
        "{}limits: {{max_batch_rows: {batch_rows}, lock_patience: 20m}}\nbackfill: {{target_batch_time: 1s, nice_ratio: 4}}\n{more}\n\
         acknowledge: [\"trigger:slow\"]\n",
        models::orders().plan("controlled", 1)
    )
}

async fn scene(version: u32, plan: &str) -> (Scene, String) {
    let scene = Scene::new(version, "").await;
    App::install(&models::orders(), &scene.client, ROWS)
        .await
        .expect("the model");
    scene.sql(SLOW).await;
    let path = scene.pontoon.plan(plan);
    (scene, path)
}

/// Waits until batches commit.
async fn progress(running: &mut Running) {
    running
        .until(|record| {
            record["event"] == "backfill_progress"
                && record["rows_done"].as_u64().is_some_and(|rows| rows > 0)
        })
        .await
        .expect("the backfill begins");
}

/// A setting as `set --list` shows it.
async fn setting(pontoon: &Pontoon, key: &str) -> Value {
    let list = pontoon
        .call(&["set", "--list", "--output", "json"])
        .await
        .expect(0)
        .json();
    list["settings"]
        .as_array()
        .and_then(|all| all.iter().find(|one| one["key"] == key))
        .unwrap_or_else(|| panic!("{key} is not in {list}"))
        .clone()
}

async fn events(pontoon: &Pontoon) -> Vec<Value> {
    pontoon
        .call(&["events", "--output", "json"])
        .await
        .expect(0)
        .records()
}

/// All that a command said.
fn said(ended: &Finished) -> String {
    format!("{}{}", ended.stdout, ended.stderr)
}

/// A process that an operator stopped ends soon: it does not finish first.
async fn ends_with(running: Running, code: i32) -> Finished {
    let ended = tokio::time::timeout(Duration::from_secs(30), running.wait());
    let (ended, _) = ended.await.expect("it hears of it soon");
    ended.expect(code)
}

/// A live setting is heard while the run goes on, stays over a kill and the
/// next `run`, and gives way to a plan that was edited later.
#[tokio::test(flavor = "multi_thread")]
async fn a_setting_stays_until_the_plan_speaks_of_it() {
    for version in crate::versions() {
        let (scene, path) = scene(version, &slow_plan(100, "")).await;
        let pontoon = &scene.pontoon;
        let mut running = pontoon.spawn(&["run", &path]);
        progress(&mut running).await;
        let shown = pontoon
            .call(&["set", "batch-rows", "7", "--output", "json"])
            .await
            .expect(0)
            .json();
        assert_eq!(
            shown["live_settings"][0]["key"], "max-batch-rows",
            "{shown}"
        );
        pontoon
            .call(&["set", "lock-patience", "9m"])
            .await
            .expect(0);
        let small = |record: &Value| {
            record["event"] == "backfill_progress"
                && record["batch_rows"]
                    .as_u64()
                    .is_some_and(|rows| (1..=7).contains(&rows))
        };
        running.until(small).await.expect("smaller batches");
        let set = setting(pontoon, "max-batch-rows").await;
        assert_eq!(set["value"], "7", "{set}");
        assert_eq!(set["origin"], "set", "{set}");
        assert_eq!(set["otherwise"], "100", "{set}");
        assert!(
            set["set_by"]
                .as_str()
                .is_some_and(|by| by.starts_with("tester@"))
        );
        assert!(set["set_at"].is_string(), "{set}");
        assert_eq!(setting(pontoon, "workers").await["origin"], "default");

        running.signal(Signal::SIGKILL);
        running.wait().await;
        let mut running = pontoon.spawn(&["run", &path]);
        running.until(small).await.expect("still small");
        running.signal(Signal::SIGTERM);
        ends_with(running, 6).await;

        // The plan's own value changes: somebody has decided anew.
        pontoon.plan(&slow_plan(60, ""));
        let mut running = pontoon.spawn(&["run", &path]);
        let large = |record: &Value| {
            record["event"] == "backfill_progress" && record["batch_rows"].as_u64() > Some(7)
        };
        running.until(large).await.expect("larger batches");
        let set = setting(pontoon, "max-batch-rows").await;
        assert_eq!(
            (&set["value"], &set["origin"]),
            (&"60".into(), &"plan".into())
        );
        let kept = setting(pontoon, "lock-patience").await;
        assert_eq!(
            kept["origin"], "set",
            "the plan says of it what it said: {kept}"
        );
        let warned = |record: &Value| {
            record["event"] == "warning"
                && record["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("max-batch-rows 7"))
        };
        assert!(events(pontoon).await.iter().any(warned));

        pontoon
            .call(&["set", "--unset", "lock-patience"])
            .await
            .expect(0);
        assert_eq!(setting(pontoon, "lock-patience").await["value"], "20m");
        let (ended, _) = running.wait().await;
        ended.expect(5);
        // A backfill that is done tells as much as one under way.
        let status = scene.status().await;
        let filled = &status["backfill"][0];
        assert_eq!(filled["rows_done"], ROWS, "{filled}");
        assert!(filled["rows_total"].as_u64() > Some(0), "{filled}");
        assert!(filled["pages_total"].as_u64() > Some(0), "{filled}");
        assert_eq!(filled["pages_done"], filled["pages_total"], "{filled}");
        pontoon.approved(&path).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// A pause is heard in the backfill, in the wait for a lock, in a hold of the
/// throttle and at a gate. The run stays paused over restarts and the death
/// of whoever held it, until `resume`.
#[tokio::test(flavor = "multi_thread")]
async fn a_pause_is_heard_wherever_the_run_is() {
    for version in crate::versions() {
        let flag = "throttle: {file: {path: hold, limit: 1}}";
        let (scene, path) = scene(version, &slow_plan(200, "")).await;
        let pontoon = &scene.pontoon;

        // In the wait for a lock.
        let other = scene.database.client().await.expect("a connection");
        run(&other, "BEGIN; SELECT count(*) FROM orders").await;
        let mut running = pontoon.spawn(&["run", &path]);
        running.event("lock_waiting").await.expect("it waits");
        pontoon.call(&["pause"]).await.expect(0);
        ends_with(running, 11).await;
        let paused = pontoon.call(&["run", &path]).await.expect(11);
        assert!(said(&paused).contains("pontoon resume"), "{paused:?}");
        assert_eq!(scene.status().await["state"], "paused");
        run(&other, "ROLLBACK").await;
        pontoon.call(&["resume"]).await.expect(0);

        // In the backfill; its holder is killed before it can hear of it.
        let mut running = pontoon.spawn(&["run", &path]);
        progress(&mut running).await;
        running.signal(Signal::SIGSTOP);
        stopped(&mut running).await;
        pontoon.call(&["pause"]).await.expect(0);
        running.signal(Signal::SIGKILL);
        running.wait().await;
        pontoon.call(&["run", &path]).await.expect(11);
        let status = scene.status().await;
        assert!(
            status["next"]
                .as_str()
                .is_some_and(|next| next.starts_with("pontoon resume")),
            "{status}"
        );
        pontoon.call(&["resume"]).await.expect(0);

        // In a hold.
        pontoon.file("hold", "");
        pontoon.plan(&slow_plan(200, flag));
        let mut running = pontoon.spawn(&["run", &path]);
        running.event("held").await.expect("it is held");
        pontoon.call(&["pause"]).await.expect(0);
        ends_with(running, 11).await;
        pontoon.call(&["resume"]).await.expect(0);

        // At a gate.
        pontoon.plan(&slow_plan(200, ""));
        let mut running = pontoon.spawn(&["run", &path, "--wait-gates"]);
        running.event("gate_reached").await.expect("the gate");
        pontoon.call(&["pause"]).await.expect(0);
        ends_with(running, 11).await;
        assert_eq!(scene.status().await["state"], "paused");
        pontoon.call(&["resume"]).await.expect(0);

        // Approved from elsewhere while it waits there.
        let mut running = pontoon.spawn(&["run", &path, "--wait-gates"]);
        running.event("gate_reached").await.expect("the gate");
        pontoon.call(&["approve", "contract"]).await.expect(0);
        ends_with(running, 0).await;

        let told = events(pontoon).await;
        let commands: Vec<&Value> = told
            .iter()
            .filter(|record| record["event"] == "command" || record["event"] == "gate_approved")
            .collect();
        assert_eq!(commands.len(), 9, "{commands:#?}");
        for command in commands {
            let from = &command["from"];
            assert_eq!(from["user"], "tester", "{command}");
            assert!(
                from["host"].as_str().is_some_and(|host| !host.is_empty()),
                "{command}"
            );
            assert!(from["pid"].as_u64() > Some(0), "{command}");
            assert!(
                from["role"].as_str().is_some_and(|role| !role.is_empty()),
                "{command}"
            );
            assert!(
                command["at"].as_str().is_some_and(|at| at.ends_with('Z')),
                "{command}"
            );
        }
        scene.clean().await;
        scene.end().await;
    }
}

/// A limit that is set while a step waits for its lock holds for that wait.
#[tokio::test(flavor = "multi_thread")]
async fn patience_can_be_changed_while_it_lasts() {
    for version in crate::versions() {
        let (scene, path) = scene(version, &slow_plan(200, "")).await;
        let other = scene.database.client().await.expect("a connection");
        run(&other, "BEGIN; SELECT count(*) FROM orders").await;
        let mut running = scene.pontoon.spawn(&["run", &path]);
        running.event("lock_waiting").await.expect("it waits");
        scene
            .pontoon
            .call(&["set", "lock-patience", "1s"])
            .await
            .expect(0);
        let ended = ends_with(running, 8).await;
        assert!(ended.stdout.contains("orders"), "{}", ended.stdout);
        run(&other, "ROLLBACK").await;
        scene.end().await;
    }
}

/// Whoever rolls back a run that another process holds gets it: the holder
/// ends with 11, whether it fills rows or waits at a gate, so that no loop
/// begins anew what an operator took back. So does one that lay still until its
/// term was over.
#[tokio::test(flavor = "multi_thread")]
async fn a_rollback_takes_the_run_from_its_holder() {
    for version in crate::versions() {
        for (place, freeze) in [("backfill", false), ("gate", false), ("backfill", true)] {
            let (scene, path) = scene(version, &slow_plan(200, "")).await;
            let pontoon = &scene.pontoon;
            let mut running = pontoon.spawn(&["run", &path, "--wait-gates"]);
            match place {
                "gate" => drop(running.event("gate_reached").await.expect("the gate")),
                _ => progress(&mut running).await,
            }
            if freeze {
                running.signal(Signal::SIGSTOP);
                stopped(&mut running).await;
            }
            let rolled_back = pontoon.call(&["rollback", "--yes"]).await.expect(0);
            assert!(
                said(&rolled_back).contains("rolled back"),
                "{rolled_back:?}"
            );
            running.signal(Signal::SIGCONT);
            let ended = ends_with(running, 11).await;
            if !freeze {
                let last = ended.records().pop().expect("a last record");
                assert_eq!(last["event"], "exit", "{last}");
            }
            assert_eq!(scene.status().await["state"], "rolled_back");
            let told = events(pontoon).await;
            let asked = told
                .iter()
                .any(|record| record["event"] == "command" && record["command"] == "rollback");
            assert!(asked, "{told:#?}");
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// A paused run can be taken back; a pause in the middle of that is heard,
/// and the rollback goes on later.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_run_can_be_taken_back() {
    for version in crate::versions() {
        let (scene, path) = scene(version, &slow_plan(200, "")).await;
        let pontoon = &scene.pontoon;
        pontoon.call(&["run", &path]).await.expect(5);
        pontoon.call(&["pause"]).await.expect(0);
        let other = scene.database.client().await.expect("a connection");
        run(&other, "BEGIN; SELECT count(*) FROM orders").await;
        let mut running = pontoon.spawn(&["rollback", "--yes"]);
        running.event("lock_waiting").await.expect("it waits");
        pontoon.call(&["pause"]).await.expect(0);
        ends_with(running, 11).await;
        assert_eq!(scene.status().await["state"], "rolling_back");
        run(&other, "ROLLBACK").await;
        pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// What is typed wrong is said so, with what was probably meant; ceilings
/// hold from any directory, unless somebody answers for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_set_is_refused() {
    let (scene, path) = scene(crate::versions()[0], &slow_plan(200, "")).await;
    let pontoon = &scene.pontoon;
    let config = pontoon.file(
        "pontoon.yaml",
        "ceilings: {workers: 3}\nenvironments: {staging: {limits: {lock_patience: 7m}}}\n",
    );
    pontoon
        .call(&["run", &path, "--env", "staging"])
        .await
        .expect(5);
    assert_eq!(
        setting(pontoon, "lock-patience").await["origin"],
        "environment staging"
    );
    assert_eq!(setting(pontoon, "max-batch-rows").await["origin"], "plan");
    std::fs::remove_file(config).expect("the file goes");
    for (words, code, said) in [
        (&["set", "wokers", "2"][..], 2, "Did you mean `workers`"),
        (
            &["set", "throttle.replication_lagg", "2s"],
            2,
            "Did you mean `throttle.replication_lag`",
        ),
        (
            &["set", "workers", "many"],
            2,
            "a whole number from 1 to 64",
        ),
        (&["set", "workers", "65"], 2, "a whole number from 1 to 64"),
        (&["set", "max-lock-duration", "0s"], 2, "such as 500ms"),
        (&["set", "workers"], 2, "Give workers a value"),
        (&["set", "--unset", "wokers"], 2, "Did you mean `workers`"),
        (&["set", "workers", "4"], 4, "ceiling of 3"),
        (&["approve", "backfill"], 2, "no gate before backfill"),
    ] {
        let ended = pontoon.call(words).await.expect(code);
        assert!(ended.stderr.contains(said), "{words:?}: {}", ended.stderr);
        let json = pontoon
            .call(&[words, &["--output", "json"]].concat())
            .await
            .expect(code)
            .json();
        assert_eq!(json["exit"], code, "{json}");
    }
    pontoon
        .call(&["set", "workers", "4", "--force"])
        .await
        .expect(0);
    assert_eq!(setting(pontoon, "workers").await["value"], "4");
    let table = pontoon.call(&["set"]).await.expect(0);
    assert!(
        table.stdout.contains("workers") && table.stdout.contains("set by tester@"),
        "{}",
        table.stdout
    );
    wait_until("the history has it", async || {
        events(pontoon)
            .await
            .iter()
            .any(|record| record["command"] == "set workers 4")
    })
    .await;
    scene.end().await;
}

/// A database that stops answering keeps no verb for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_hangs_is_given_up() {
    let (scene, path) = scene(crate::versions()[0], &slow_plan(2_000, "")).await;
    scene.pontoon.call(&["run", &path]).await.expect(5);
    let proxy = TcpProxy::start(scene.database.server())
        .await
        .expect("a proxy");
    let pontoon = Pontoon::new(proxy.url(scene.pontoon.url()));
    let mut follower = pontoon.spawn(&["events", "--follow"]);
    follower.event("gate_reached").await.expect("it follows");
    proxy.hang();
    let verbs: [&[&str]; 8] = [
        &["status"],
        &["history"],
        &["approve", "contract"],
        &["pause"],
        &["resume"],
        &["set", "workers", "2"],
        &["set", "--list"],
        &["unthrottle", "--for", "1m"],
    ];
    let calls = verbs.map(|verb| pontoon.call(verb));
    // As long as a connection may take, or half a minute of silence, five times.
    let patience = Duration::from_secs(150);
    let (ended, follower) = tokio::time::timeout(patience, async {
        tokio::join!(futures_util::future::join_all(calls), follower.wait())
    })
    .await
    .expect("no verb waits for ever");
    for (verb, ended) in verbs.iter().zip(ended) {
        assert_eq!(ended.code, Some(10), "{verb:?}: {ended:?}");
    }
    let (ended, _) = follower;
    let last = ended.expect(10).records().pop().expect("an error");
    let said = last["error"]["message"].as_str().expect("a message");
    assert!(said.contains("not answered for 30 s"), "{last}");
    proxy.pass();
    scene.end().await;
}
