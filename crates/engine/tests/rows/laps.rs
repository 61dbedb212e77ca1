//! Laps: a backfill reuses the space that it frees, and does the same rows
//! whether it can or not.

use pontoon_core::step::{Backfill, CursorKind};
use pontoon_engine::db::{Database, RangeRecord, Scan};
use pontoon_sandbox::{Server, ServerSpec, StandbySpec};

use crate::support::{Bed, filling, hold, lower_name, postgres, scan_of};

/// Full pages.
const TABLE: &str = "
    CREATE TABLE t (id int PRIMARY KEY, name text, rank int, lower_name text) WITH (autovacuum_enabled = off);
    INSERT INTO t SELECT g, 'N' || g, g % 100 FROM generate_series(1, 40000) g;
    CREATE INDEX ON t (rank); ANALYZE t;";
const ROWS: i64 = 40_000;
const LEFT: &str = "SELECT count(*) FROM t WHERE lower_name IS DISTINCT FROM lower(name)";

fn scan(work: &Backfill, laps: u32) -> Scan {
    Scan {
        laps,
        ..scan_of(work)
    }
}

/// Goes through the table; returns by how much of its size it has grown.
async fn growth(bed: &Bed, laps: u32) -> f64 {
    let size = async || bed.count("SELECT pg_table_size('t')").await;
    let work = filling("t", lower_name());
    let before = size().await;
    let ranges = bed.pg.ranges(&bed.fence, &scan(&work, laps)).await;
    for range in ranges.expect("ranges") {
        assert_eq!(range.cursor, CursorKind::Pages);
        through(bed, &work, range).await;
    }
    assert_eq!(bed.count(LEFT).await, 0, "{laps} laps");
    let affected = "SELECT rows_affected FROM pontoon.run";
    assert_eq!(bed.count(affected).await, ROWS, "each row once");
    let after = size().await;
    #[expect(clippy::cast_precision_loss, reason = "the size of a small table")]
    let grown = (after - before) as f64 / before as f64;
    grown
}

/// A range to its end; its progress never goes back.
async fn through(bed: &Bed, work: &Backfill, mut range: RangeRecord) {
    while !range.done {
        let report = bed.batch(work, &range, 1_000).await.expect("a batch");
        assert!(report.range.pages_done >= range.pages_done, "{report:?}");
        assert!(report.range.pages_done <= report.range.pages_total);
        range = report.range;
    }
    assert_eq!(range.pages_done, range.pages_total);
}

/// A transaction anywhere on the server, another test's too, may keep old
/// versions for its own time; so it is tried more than once.
#[tokio::test]
async fn space_that_is_freed_is_used_again() {
    let once = growth(&Bed::new(TABLE).await, 1).await;
    assert!(once > 0.9, "one round doubles the table: {once}");
    let mut least = f64::MAX;
    for _ in 0..12 {
        least = least.min(growth(&Bed::new(TABLE).await, 4).await);
        if least < once * 0.6 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(700)).await;
    }
    panic!("the table grew by {once:.2} in one round and by {least:.2} in laps");
}

#[tokio::test]
async fn an_old_snapshot_costs_the_space_and_nothing_else() {
    let bed = Bed::new(TABLE).await;
    let reader = bed.database.client().await.expect("a client");
    reader
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM t")
        .await
        .expect("a snapshot");
    let table = growth(&bed, 4).await;
    assert!(table > 0.9, "nothing could be used again: {table}");
    let seen = "SELECT count(*) FROM t WHERE lower_name IS NOT NULL";
    let row = reader.query_one(seen, &[]).await.expect("the old snapshot");
    assert_eq!(row.get::<_, i64>(0), 0, "the reader sees its own moment");
}

/// Whatever an earlier lap had to leave is done in the last one, or after it.
#[tokio::test]
async fn rows_that_are_held_when_their_turn_comes_are_not_lost() {
    for held_until in [0.2, 0.6, 1.0] {
        let bed = Bed::new(TABLE).await;
        let work = filling("t", lower_name());
        let holder = bed.database.client().await.expect("a client");
        holder
            .batch_execute("BEGIN; SELECT FROM t WHERE id % 700 = 0 FOR UPDATE")
            .await
            .expect("rows are held");
        let scan = scan(&work, 4);
        let mut range = bed
            .pg
            .ranges(&bed.fence, &scan)
            .await
            .expect("ranges")
            .remove(0);
        #[expect(clippy::cast_precision_loss, reason = "a small table")]
        let part = |range: &RangeRecord| range.pages_done as f64 / range.pages_total as f64;
        let mut batches = 0;
        // With all the rest done, the pages of held rows stay open.
        while part(&range) < held_until && batches < 100 {
            range = bed
                .batch(&work, &range, 1_000)
                .await
                .expect("a batch")
                .range;
            batches += 1;
        }
        let most = bed.count(LEFT).await;
        assert!(most >= ROWS / 700, "{most}");
        holder
            .batch_execute("COMMIT")
            .await
            .expect("they are let go");
        through(&bed, &work, range).await;
        assert_eq!(bed.count(LEFT).await, 0, "held until {held_until}");
        let affected = "SELECT rows_affected FROM pontoon.run";
        assert_eq!(bed.count(affected).await, ROWS, "each row once");
    }
}

/// Where a position of an earlier version, without laps, is gone on from.
#[tokio::test]
async fn a_position_without_laps_is_gone_on_from() {
    let bed = Bed::new(TABLE).await;
    let work = filling("t", lower_name());
    let scan = scan(&work, 1);
    let range = bed.pg.ranges(&bed.fence, &scan).await.expect("ranges");
    let range = range.into_iter().next().expect("a range");
    let report = bed.batch(&work, &range, 1_000).await.expect("a batch");
    assert!(!report.range.position.contains("lap"), "{report:?}");
    bed.execute(
        "UPDATE pontoon.range SET upper = jsonb_set(upper::jsonb, '{laps}', '4')::text WHERE NOT done",
    )
    .await;
    let ranges = bed.pg.ranges(&bed.fence, &scan).await.expect("ranges");
    for range in ranges {
        through(&bed, &work, range).await;
    }
    assert_eq!(bed.count(LEFT).await, 0);
}

/// Reuse is replayed on standbys too, where it waits for queries that need the
/// old versions, or cancels them, unless the standby tells the primary of them.
#[tokio::test]
async fn standbys_that_tell_nothing_of_their_queries_are_spared() {
    let server = Server::start(ServerSpec::default())
        .await
        .expect("a primary");
    let app = server.create_database("app").await.expect("a database");
    let client = server.client("app").await.expect("a client");
    client.batch_execute(TABLE).await.expect("the table");
    let pg = postgres(&app);
    pg.init(None).await.expect("init");
    let fence = hold(&pg, Vec::new()).await;
    let work = filling("t", lower_name());
    let laps = async |pass: u32| {
        let scan = Scan {
            pass,
            ..scan(&work, 4)
        };
        let ranges = pg.ranges(&fence, &scan).await.expect("ranges");
        let upper = ranges[0].upper.as_deref().expect("an end");
        let upper: serde_json::Value = serde_json::from_str(upper).expect("JSON");
        upper["laps"].as_u64().expect("a number")
    };
    assert_eq!(laps(0).await, 4, "without a standby");
    let silent = StandbySpec::new("silent").setting("hot_standby_feedback", "off");
    let silent = server.standby(silent).await.expect("a standby");
    silent.catch_up(&server).await.expect("it catches up");
    assert_eq!(laps(1).await, 1, "with one that tells nothing");
    silent
        .alter_system("hot_standby_feedback", "on")
        .await
        .expect("it tells");
    let mut told = 0;
    for pass in 2..40 {
        told = laps(pass).await;
        if told == 4 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    assert_eq!(told, 4, "with one that tells");
}
