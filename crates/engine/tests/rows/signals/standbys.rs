//! Standbys and replication slots.

use std::time::Duration;

use pontoon_engine::db::Database;
use pontoon_sandbox::{Server, ServerSpec, StandbySpec, StopMode};

use super::{readings, until, value, within};
use crate::support::{hold, postgres};

const LAG: &str = "replication_lag";

#[tokio::test]
async fn a_paused_a_delayed_and_a_vanished_standby() {
    let server = Server::start(ServerSpec::default())
        .await
        .expect("a primary");
    let paused = server.standby("eu_2").await.expect("a standby");
    let late = StandbySpec::new("late").delayed(Duration::from_secs(3600));
    let late = server.standby(late).await.expect("a delayed standby");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute("CREATE TABLE t (id int); CREATE ROLE poor LOGIN")
        .await
        .expect("a table");
    paused.catch_up(&server).await.expect("it catches up");

    let mut sampler = pg.sampler(run);
    let except = r#"{"limit":"1s","except":["late"]}"#;
    let idle = readings(&mut sampler, LAG, except).await;
    let seen: Vec<_> = idle.iter().filter(|it| it.measure == "limit").collect();
    assert_eq!(seen.len(), 1, "{idle:?}");
    assert_eq!(seen[0].subject.as_deref(), Some("standby eu_2"));
    assert!(seen[0].lasting);
    assert!(within(seen[0], "limit", 0.0..0.5), "{idle:?}");

    paused.pause_replay().await.expect("it pauses");
    for _ in 0..30 {
        client
            .batch_execute("INSERT INTO t SELECT generate_series(1, 1000)")
            .await
            .expect("writes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let is = |name: &'static str| move |it: &str| it == format!("standby {name}");
    for name in ["eu_2", "late"] {
        let lagging = until(&mut sampler, LAG, "on", |it| {
            it.subject.as_deref().is_some_and(is(name)) && within(it, "limit", 1.0..600.0)
        })
        .await;
        assert!(lagging.lasting);
        let bytes = until(&mut sampler, LAG, "on", |it| {
            it.subject.as_deref().is_some_and(is(name)) && within(it, "bytes", 1e6..1e10)
        });
        bytes.await;
    }
    // Late on purpose holds nobody who says so.
    let found = readings(&mut sampler, LAG, except).await;
    let late_too = |it: &&pontoon_engine::db::Reading| {
        it.subject.as_deref().is_some_and(|it| it.contains("late"))
    };
    assert_eq!(found.iter().find(late_too), None);

    paused.resume_replay().await.expect("it goes on");
    until(&mut sampler, LAG, except, |it| {
        within(it, "limit", 0.0..0.5)
    })
    .await;

    // A role that may not look gets no number, but sees the slots.
    client
        .batch_execute("GRANT USAGE ON SCHEMA pontoon TO poor; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pontoon TO poor")
        .await
        .expect("grant");
    let poor = postgres(&server.url_as("poor", "app"));
    let hidden = readings(&mut poor.sampler(run), LAG, "on").await;
    let of = |measure: &str| {
        let mut all = hidden.iter().filter(|it| it.measure == measure);
        all.next().expect(measure).value.clone()
    };
    for measure in ["limit", "bytes"] {
        let why = of(measure).expect_err("it cannot be read");
        assert!(why.contains("pg_monitor"), "{why}");
    }
    assert!(of("slot_retained").is_ok());

    late.stop(StopMode::Immediate).await.expect("it stops");
    paused.stop(StopMode::Immediate).await.expect("it stops");
    let begun = std::time::Instant::now();
    loop {
        let left = readings(&mut sampler, LAG, "on").await;
        if !left.iter().any(|it| it.lasting) {
            break;
        }
        assert!(begun.elapsed() < super::PATIENCE, "{left:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn a_stuck_slot_fills_up_and_says_what_is_left() {
    let spec = ServerSpec::default()
        .setting("max_slot_wal_keep_size", "96MB")
        .setting("min_wal_size", "32MB")
        .setting("max_wal_size", "2GB");
    let server = Server::start(spec).await.expect("a server");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute(
            "CREATE TABLE t (id int); SELECT pg_create_physical_replication_slot('stuck', true)",
        )
        .await
        .expect("a slot");
    let mut sampler = pg.sampler(run);
    until(&mut sampler, LAG, "on", |it| {
        within(it, "slot_used", 0.0..60.0)
    })
    .await;
    for _ in 0..5 {
        client
            .batch_execute("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
            .await
            .expect("log");
    }
    let used = until(&mut sampler, LAG, "on", |it| {
        within(it, "slot_used", 60.0..100.0)
    })
    .await;
    let subject = used.subject.expect("it has a name");
    assert!(
        subject.starts_with("slot stuck, ") && subject.ends_with(" left"),
        "{subject}"
    );
    let retained = until(&mut sampler, LAG, "on", |it| {
        within(it, "slot_retained", 60e6..1e9)
    })
    .await;
    assert!(!retained.lasting, "a slot may be dropped");
    let except = r#"{"limit":"1s","except":["stuck"]}"#;
    assert_eq!(readings(&mut sampler, LAG, except).await, []);
    client
        .batch_execute("SELECT pg_drop_replication_slot('stuck')")
        .await
        .expect("dropped");
    assert_eq!(readings(&mut sampler, LAG, "on").await, []);
}

#[tokio::test]
async fn commits_that_wait_for_a_standby_that_is_gone() {
    let server = Server::start(ServerSpec::default())
        .await
        .expect("a primary");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let mut sampler = pg.sampler(run);
    let quick = value(&mut sampler, "commit_latency").await;
    assert!(quick > 0.0 && quick < 1.0, "{quick}");
    let standby = server
        .standby(StandbySpec::new("sync").synchronous())
        .await
        .expect("a synchronous standby");
    let quick = value(&mut sampler, "commit_latency").await;
    assert!(quick > 0.0 && quick < 1.0, "{quick}");

    standby.stop(StopMode::Immediate).await.expect("it stops");
    until(&mut sampler, "commit_latency", "on", |it| {
        within(it, "limit", 1.0..60.0)
    })
    .await;
    // The reading grows while nothing answers; it is no failure.
    until(&mut sampler, "commit_latency", "on", |it| {
        within(it, "limit", 2.0..60.0)
    })
    .await;
    standby.start_again().await.expect("it is back");
    until(&mut sampler, "commit_latency", "on", |it| {
        within(it, "limit", 0.0..0.5)
    })
    .await;

    // Whoever gives up leaves no session behind that waits for ever.
    standby.stop(StopMode::Immediate).await.expect("it stops");
    until(&mut sampler, "commit_latency", "on", |it| {
        within(it, "limit", 0.5..60.0)
    })
    .await;
    drop(sampler);
    let client = server.client("app").await.expect("a client");
    let begun = std::time::Instant::now();
    loop {
        let left: i64 = client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'pontoon/signals'",
                &[],
            )
            .await
            .expect("sessions")
            .get(0);
        if left == 0 {
            break;
        }
        assert!(
            begun.elapsed() < super::PATIENCE,
            "{left} sessions are left"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
