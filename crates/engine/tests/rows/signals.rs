//! What the signals measure.

use std::time::Duration;

use pontoon_engine::db::{Database, Reading};
use pontoon_sandbox::{Server, ServerSpec};

use crate::support::{Bed, filling, hold, lower_name, postgres, request};

fn value(readings: &[Reading]) -> f64 {
    assert_eq!(readings.len(), 1, "{readings:?}");
    *readings[0].value.as_ref().expect("readable")
}

#[tokio::test]
async fn blocked_sessions_counts_those_who_wait_on_the_run() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
         INSERT INTO t VALUES (1, 'A'), (2, 'B');
         CREATE TABLE other (id int PRIMARY KEY); INSERT INTO other VALUES (1);
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(1.2); RETURN NEW; END $$;
         CREATE TRIGGER slow AFTER UPDATE OF lower_name ON t EXECUTE FUNCTION slow();",
    )
    .await;
    let sample = || bed.pg.sample("blocked_sessions", bed.fence.run);
    assert!(value(&sample().await.expect("a reading")).abs() < 0.1);
    // Waiting for somebody else is none of ours.
    let (holder, waiter) = (bed.session().await, bed.session().await);
    holder
        .batch_execute("BEGIN; SELECT FROM other FOR UPDATE")
        .await
        .expect("lock");
    let waiting =
        tokio::spawn(async move { waiter.batch_execute("SELECT FROM other FOR UPDATE").await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(value(&sample().await.expect("a reading")).abs() < 0.1);
    holder.batch_execute("ROLLBACK").await.expect("let go");
    waiting.await.expect("no panic").expect("its turn");

    // Long enough to be seen on a busy machine.
    let name = bed.database.name().to_owned();
    bed.execute(&format!(
        "ALTER DATABASE {name} SET deadlock_timeout = '9s'"
    ))
    .await;
    let pg = postgres(&bed.database.url());
    let work = filling("t", lower_name());
    let ranges = pg.ranges(&bed.fence, &bed.scan(&work)).await;
    let request = request(&work, &ranges.expect("ranges")[0], 10);
    let app = bed.session().await;
    let (batch, app, most) = tokio::join!(
        pg.batch(&bed.fence, &request),
        async {
            tokio::time::sleep(Duration::from_millis(300)).await;
            app.batch_execute("UPDATE t SET name = 'x' WHERE id = 1")
                .await
        },
        async {
            let mut most = 0.0_f64;
            for _ in 0..50 {
                most = most.max(value(&sample().await.expect("a reading")));
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            most
        }
    );
    batch.expect("a batch");
    app.expect("an update");
    assert!((most - 1.0).abs() < 0.1, "{most}");
}

#[tokio::test]
async fn replication_lag_of_a_paused_and_of_a_vanished_standby() {
    let server = Server::start(ServerSpec::default())
        .await
        .expect("a primary");
    let standby = server.standby("eu_2").await.expect("a standby");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute("CREATE TABLE t (id int); CREATE ROLE poor LOGIN")
        .await
        .expect("a table");
    tokio::time::sleep(Duration::from_millis(500)).await;
    let idle = pg.sample("replication_lag", run).await.expect("a reading");
    assert_eq!(idle[0].subject.as_deref(), Some("standby eu_2"));
    assert!(value(&idle) < 0.5, "{idle:?}");

    let replica = standby.client("postgres").await.expect("the standby");
    replica
        .batch_execute("SELECT pg_wal_replay_pause()")
        .await
        .expect("pause");
    for _ in 0..30 {
        client
            .batch_execute("INSERT INTO t SELECT generate_series(1, 1000)")
            .await
            .expect("writes");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let lagging = pg.sample("replication_lag", run).await.expect("a reading");
    assert!(value(&lagging) > 1.0, "{lagging:?}");
    replica
        .batch_execute("SELECT pg_wal_replay_resume()")
        .await
        .expect("resume");
    let mut last = lagging;
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        last = pg.sample("replication_lag", run).await.expect("a reading");
        if value(&last) < 0.5 {
            break;
        }
    }
    assert!(value(&last) < 0.5, "{last:?}");

    // A role that may not look gets no number.
    client
        .batch_execute("GRANT USAGE ON SCHEMA pontoon TO poor")
        .await
        .expect("grant");
    let poor = postgres(&server.url_as("poor", "app"));
    let hidden = poor
        .sample("replication_lag", run)
        .await
        .expect("a reading");
    let why = hidden[0].value.clone().expect_err("it cannot be read");
    assert!(why.contains("pg_monitor"), "{why}");
}
