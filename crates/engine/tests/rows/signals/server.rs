//! The state of the server and of the tables.

use std::time::{Duration, Instant};

use pontoon_engine::db::{Company, Database, Sampler};
use pontoon_sandbox::{Server, ServerSpec};
use uuid::Uuid;

use super::{readings, until, value, within};
use crate::support::{Bed, filling, hold, lower_name, postgres, request};

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
    let mut sampler = bed.pg.sampler(bed.fence.run);
    assert!(value(&mut sampler, "blocked_sessions").await.abs() < 0.1);
    // Waiting for somebody else is none of ours, but a wait for a lock it is.
    let (holder, waiter) = (bed.session().await, bed.session().await);
    holder
        .batch_execute("BEGIN; SELECT FROM other FOR UPDATE")
        .await
        .expect("lock");
    let waiting =
        tokio::spawn(async move { waiter.batch_execute("SELECT FROM other FOR UPDATE").await });
    until(&mut sampler, "lock_waits", "on", |it| {
        within(it, "limit", 0.9..1.1)
    })
    .await;
    assert!(value(&mut sampler, "blocked_sessions").await.abs() < 0.1);
    holder.batch_execute("ROLLBACK").await.expect("let go");
    waiting.await.expect("no panic").expect("its turn");
    until(&mut sampler, "lock_waits", "on", |it| {
        within(it, "limit", 0.0..0.1)
    })
    .await;

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
                most = most.max(value(&mut sampler, "blocked_sessions").await);
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
async fn sessions_and_transactions_of_others_are_seen_or_unknown() {
    let spec = ServerSpec::default().setting("max_prepared_transactions", "5");
    let server = Server::start(spec).await.expect("a server");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let mut sampler = pg.sampler(run);
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute("CREATE TABLE t (id int)")
        .await
        .expect("a table");
    let mut poor = sampler_of_the_poor(&server, run).await;

    // Nothing is open: that is 0, also for who may not see much.
    assert_eq!(readings(&mut sampler, "oldest_transaction", "on").await, []);
    assert_eq!(readings(&mut poor, "oldest_transaction", "on").await, []);
    assert!(value(&mut sampler, "active_sessions").await.abs() < 0.1);

    let idle = server.client("app").await.expect("a client");
    idle.batch_execute("SET application_name = 'forgetful'; BEGIN; SELECT 1")
        .await
        .expect("a transaction");
    tokio::time::sleep(Duration::from_millis(1100)).await;
    let oldest = readings(&mut sampler, "oldest_transaction", "on").await;
    assert!(within(&oldest[0], "limit", 1.0..60.0), "{oldest:?}");
    let subject = oldest[0].subject.as_deref().expect("it has a name");
    assert!(
        subject.ends_with("forgetful, idle in transaction"),
        "{subject}"
    );
    let hidden = readings(&mut poor, "oldest_transaction", "on").await;
    let why = hidden[0].value.clone().expect_err("it is hidden");
    assert!(why.contains("pg_monitor"), "{why}");
    let hidden = readings(&mut poor, "active_sessions", "on").await;
    hidden[0].value.clone().expect_err("it is hidden");

    idle.batch_execute("COMMIT; BEGIN; INSERT INTO t VALUES (1); PREPARE TRANSACTION 'gone'")
        .await
        .expect("prepared");
    let prepared = readings(&mut sampler, "oldest_transaction", "on").await;
    assert_eq!(
        prepared[0].subject.as_deref(),
        Some("prepared transaction gone")
    );
    idle.batch_execute("ROLLBACK PREPARED 'gone'")
        .await
        .expect("rolled back");
    assert_eq!(readings(&mut sampler, "oldest_transaction", "on").await, []);

    let busy = tokio::spawn(async move { idle.batch_execute("SELECT pg_sleep(3)").await });
    until(&mut sampler, "active_sessions", "on", |it| {
        within(it, "limit", 0.9..1.1)
    })
    .await;
    busy.await.expect("no panic").expect("slept");
    until(&mut sampler, "active_sessions", "on", |it| {
        within(it, "limit", 0.0..0.1)
    })
    .await;
}

#[tokio::test]
async fn who_else_is_at_work_is_seen_or_hidden() {
    let server = Server::start(ServerSpec::default())
        .await
        .expect("a server");
    for name in ["app", "other"] {
        server.create_database(name).await.expect("a database");
    }
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let mut sampler = pg.sampler(run);
    let mut poor = sampler_of_the_poor(&server, run).await;
    // The run's own sessions are nobody, and neither are other runs'.
    until_company(&mut sampler, Company::Sessions(0)).await;
    until_company(&mut poor, Company::Sessions(0)).await;

    // A session of another database counts while it executes, and for some
    // seconds longer; then it is one that a pool keeps in reserve.
    let client = server.client("other").await.expect("a client");
    let begun = Instant::now();
    client.batch_execute("SELECT 1").await.expect("work");
    assert_eq!(
        sampler.company().await.expect("asked"),
        Company::Sessions(1)
    );
    assert_eq!(poor.company().await.expect("asked"), Company::Hidden);
    until_company(&mut sampler, Company::Sessions(0)).await;
    assert!(begun.elapsed() > Duration::from_secs(1));
    let busy = tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(4)").await });
    until_company(&mut sampler, Company::Sessions(1)).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(
        sampler.company().await.expect("asked"),
        Company::Sessions(1)
    );
    busy.await.expect("no panic").expect("slept");
}

/// A sampler whose role may do what a run needs, and see nothing of others.
async fn sampler_of_the_poor(server: &Server, run: Uuid) -> impl Sampler + use<> {
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute(
            "CREATE ROLE poor LOGIN;
             GRANT USAGE ON SCHEMA pontoon TO poor;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pontoon TO poor",
        )
        .await
        .expect("a role");
    postgres(&server.url_as("poor", "app")).sampler(run)
}

async fn until_company(sampler: &mut impl Sampler, wanted: Company) {
    let begun = Instant::now();
    loop {
        let company = sampler.company().await.expect("asked");
        if company == wanted {
            return;
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "{company:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test]
async fn the_log_its_archive_and_its_checkpoints() {
    let spec = ServerSpec::default()
        .setting("archive_mode", "on")
        .setting("archive_command", "'false'")
        .setting("max_wal_size", "2GB")
        .setting("checkpoint_timeout", "1h");
    let server = Server::start(spec).await.expect("a server");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let run = hold(&pg, Vec::new()).await.run;
    let mut sampler = pg.sampler(run);
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute(
            "CREATE TABLE t (id int, filler text);
             CREATE ROLE poor LOGIN;
             GRANT USAGE ON SCHEMA pontoon TO poor;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pontoon TO poor",
        )
        .await
        .expect("a role");
    for _ in 0..4 {
        client
            .batch_execute("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
            .await
            .expect("a segment");
    }
    until(&mut sampler, "archiver_backlog", "on", |it| {
        within(it, "limit", 4.0..9.0)
    })
    .await;
    // Everybody may see it once the archiver has failed.
    let poor = postgres(&server.url_as("poor", "app"));
    let mut poor = poor.sampler(run);
    until(&mut poor, "archiver_backlog", "on", |it| {
        within(it, "limit", 4.0..9.0)
    })
    .await;
    server
        .alter_system("archive_command", "true")
        .await
        .expect("it is mended");
    client
        .batch_execute("INSERT INTO t VALUES (1); SELECT pg_switch_wal()")
        .await
        .expect("a segment");
    until(&mut sampler, "archiver_backlog", "on", |it| {
        within(it, "limit", 0.0..0.1)
    })
    .await;
    // After a reset the files are counted, by those who may.
    client
        .batch_execute("SELECT pg_stat_reset_shared('archiver')")
        .await
        .expect("reset");
    let hidden = until(&mut poor, "archiver_backlog", "on", |it| it.value.is_err()).await;
    let why = hidden.value.expect_err("it is unknown");
    assert!(why.contains("pg_monitor"), "{why}");
    assert!(value(&mut sampler, "archiver_backlog").await < 1.0);

    let before = value(&mut sampler, "wal_rate").await;
    client
        .batch_execute("INSERT INTO t SELECT g, repeat('x', 500) FROM generate_series(1, 50000) g")
        .await
        .expect("25 MB");
    let rate = until(&mut sampler, "wal_rate", "on", |it| {
        within(it, "limit", before + 1e6..1e10)
    });
    rate.await;
    until(&mut sampler, "wal_rate", "on", |it| {
        within(it, "limit", 0.0..1e6)
    })
    .await;

    assert!(value(&mut sampler, "checkpoint_requests").await.abs() < 0.1);
    client.batch_execute("CHECKPOINT").await.expect("by hand");
    until(&mut sampler, "checkpoint_requests", "on", |it| {
        within(it, "limit", 0.9..9.0)
    })
    .await;
    // A new sampler, of the next scan, remembers.
    let mut next = pg.sampler(run);
    assert!(value(&mut next, "checkpoint_requests").await > 0.9);
}

#[tokio::test]
async fn dead_rows_of_the_tables_that_are_scanned() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text) WITH (autovacuum_enabled = off);
         INSERT INTO t SELECT g, 'A' FROM generate_series(1, 1000) g;
         CREATE TABLE other (LIKE t) WITH (autovacuum_enabled = off);
         INSERT INTO other SELECT * FROM t; DELETE FROM other;
         ANALYZE t",
    )
    .await;
    let mut sampler = bed.pg.sampler(bed.fence.run);
    assert_eq!(readings(&mut sampler, "dead_tuples", "on").await, []);
    let work = filling("t", lower_name());
    bed.pg
        .ranges(&bed.fence, &bed.scan(&work))
        .await
        .expect("ranges");
    until(&mut sampler, "dead_tuples", "on", |it| {
        within(it, "limit", 0.0..1.0)
    })
    .await;
    bed.execute("UPDATE t SET name = 'B'").await;
    // Before 15 a session tells its statistics with its next statement.
    bed.execute("SELECT pg_sleep(0.6)").await;
    bed.execute("SELECT 1").await;
    let dead = until(&mut sampler, "dead_tuples", "on", |it| {
        within(it, "limit", 49.0..51.0)
    })
    .await;
    assert_eq!(dead.subject.as_deref(), Some("table public.t"));
    until(&mut sampler, "dead_tuples", "on", |it| {
        within(it, "rows", 999.0..1001.0)
    })
    .await;
    bed.execute("VACUUM t").await;
    until(&mut sampler, "dead_tuples", "on", |it| {
        within(it, "limit", 0.0..1.0)
    })
    .await;
}

#[tokio::test]
async fn a_vacuum_to_prevent_wraparound() {
    let spec = ServerSpec::default()
        .setting("autovacuum_freeze_max_age", "100000")
        .setting("autovacuum_naptime", "1s")
        .setting("autovacuum_vacuum_cost_delay", "100ms")
        .setting("autovacuum_vacuum_cost_limit", "1")
        .setting("synchronous_commit", "off");
    let server = Server::start(spec).await.expect("a server");
    server.create_database("app").await.expect("a database");
    let pg = postgres(&server.url("app"));
    pg.init(None).await.expect("init");
    let fence = hold(&pg, Vec::new()).await;
    let client = server.client("app").await.expect("a client");
    client
        .batch_execute(
            "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text) WITH (autovacuum_enabled = off);
             INSERT INTO t SELECT g, repeat('x', 1000) FROM generate_series(1, 4000) g;
             CREATE ROLE poor LOGIN;
             GRANT USAGE ON SCHEMA pontoon TO poor;
             GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA pontoon TO poor;
             GRANT SELECT ON ALL TABLES IN SCHEMA pontoon TO poor;
             CREATE PROCEDURE age(n int) LANGUAGE plpgsql AS $$ BEGIN
                 FOR i IN 1..n LOOP PERFORM pg_current_xact_id(); COMMIT; END LOOP;
             END $$",
        )
        .await
        .expect("a table");
    let work = filling("t", lower_name());
    pg.ranges(&fence, &crate::support::scan_of(&work))
        .await
        .expect("ranges");
    let mut sampler = pg.sampler(fence.run);
    assert!(value(&mut sampler, "wraparound_vacuum").await.abs() < 0.1);
    let poor = postgres(&server.url_as("poor", "app"));
    let mut poor = poor.sampler(fence.run);
    // Nobody holds the lock that a vacuum takes: that much everybody sees.
    assert!(value(&mut poor, "wraparound_vacuum").await.abs() < 0.1);

    client
        .batch_execute("CALL age(101000)")
        .await
        .expect("transactions");
    let seen = until(&mut sampler, "wraparound_vacuum", "on", |it| {
        within(it, "limit", 0.9..1.1)
    })
    .await;
    assert_eq!(seen.subject.as_deref(), Some("table t"));
    let hidden = readings(&mut poor, "wraparound_vacuum", "on").await;
    hidden[0].value.clone().expect_err("it is hidden");
}
