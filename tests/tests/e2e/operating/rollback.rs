//! `rollback` from every phase: every write is kept, and the catalog is as it
//! was, compared by code that does not use Pontoon's catalog.

use std::time::Duration;

use pontoon_sandbox::TestDatabase;
use pontoon_sandbox::app::{App, AppOptions, Pace, Shape, models};
use pontoon_sandbox::dump::{CatalogDump, DumpOptions, pg_dump};
use pontoon_tests::{Pontoon, artifacts, wait_for_silence};

const ROWS: u64 = 3_000;

/// Kills the run at `place`, then takes it back under traffic.
async fn taken_back(version: u32, place: &str, again: Option<&str>) {
    let model = models::orders();
    let database = TestDatabase::create(version).await.expect("a database");
    let client = database.client().await.expect("a connection");
    App::install(&model, &client, ROWS)
        .await
        .expect("the model");
    let options = DumpOptions::default();
    let before = CatalogDump::take(&client, &options).await.expect("a dump");
    let text_before = pg_dump(&database.url(), &options).await.expect("pg_dump");
    let app = App::start(
        model.clone(),
        AppOptions {
            old_clients: 2,
            new_clients: 1,
            pace: Pace::Closed {
                think: Duration::from_millis(2),
            },
            ..AppOptions::new(database.url(), ROWS)
        },
    );
    let pontoon = Pontoon::new(database.url());
    let path = pontoon.plan(&format!(
        "{}limits: {{max_batch_rows: 300}}\nbackfill: {{nice_ratio: 4}}\ngates: []\n",
        model.plan("back", 1)
    ));
    let failpoint = format!("kill:{place}");
    let (ended, _) = pontoon
        .spawn_with(&["run", &path], &[("PONTOON_FAILPOINT", &failpoint)])
        .wait()
        .await;
    assert_eq!(
        ended.code, None,
        "nothing was killed at {place}: {}",
        ended.stderr
    );
    wait_for_silence(&client).await;
    if let Some(again) = again {
        let failpoint = format!("kill:{again}");
        let (ended, _) = pontoon
            .spawn_with(&["rollback", "--yes"], &[("PONTOON_FAILPOINT", &failpoint)])
            .wait()
            .await;
        assert_eq!(
            ended.code, None,
            "nothing was killed at {again}: {}",
            ended.stderr
        );
        wait_for_silence(&client).await;
    }
    pontoon.call(&["rollback", "--yes"]).await.expect(0);

    let report = app.stop().await;
    assert!(report.is_clean(), "{report}");
    let rows = report
        .oracle
        .check(&client, Shape::Old)
        .await
        .expect("the rows");
    assert!(rows.is_clean(), "{rows}");
    assert_eq!(artifacts(&client).await, Vec::<String>::new());
    let after = CatalogDump::take(&client, &options).await.expect("a dump");
    assert_eq!(
        before.differences(&after),
        Vec::<String>::new(),
        "rolled back from {place}"
    );
    let text_after = pg_dump(&database.url(), &options).await.expect("pg_dump");
    assert_eq!(text_before, text_after, "rolled back from {place}");

    // What was taken back can be run again.
    let status = pontoon
        .call(&["status", "--output", "json"])
        .await
        .expect(0)
        .json();
    assert_eq!(status["runs"][0]["state"], "rolled_back", "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_kill_in_any_phase() {
    for version in crate::versions() {
        for place in [
            "step.1.end",
            "step.2.begin",
            "step.3.begin",
            "step.3.end",
            "batch.end@4",
            "verify.chunk@1",
            "step.5.end",
            "step.6.end",
            "step.7.end",
        ] {
            taken_back(version, place, None).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn and_after_a_kill_in_the_rollback_itself() {
    for version in crate::versions() {
        for again in ["undo.3.begin", "undo.3.end", "undo.1.begin"] {
            taken_back(version, "batch.end@4", Some(again)).await;
        }
    }
}
