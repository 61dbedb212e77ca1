//! Blocks that a session keeps as functions.

use pontoon_core::step::{Backfill, CursorKind};

use crate::support::{Bed, filling, lower_name};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
    INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 2000) g; ANALYZE t;";
const LEFT: &str = "SELECT count(*) FROM t WHERE lower_name IS DISTINCT FROM lower(name)";
/// Functions in anybody's `pg_temp`.
const KEPT: &str = "SELECT count(*) FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname LIKE 'pg\\_temp%' AND p.proname LIKE 'pontoon%'";

fn work(cursor: Option<CursorKind>) -> Backfill {
    Backfill {
        cursor,
        ..filling("t", lower_name())
    }
}

#[tokio::test]
async fn what_comes_again_is_kept() {
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(TABLE).await;
        let work = work(Some(cursor));
        let range = bed.ranges(&work).await.remove(0);
        let first = bed.batch(&work, &range, 50).await.expect("a batch");
        assert_eq!(bed.count(KEPT).await, 0, "{cursor:?}");
        bed.batch(&work, &first.range, 50).await.expect("a batch");
        bed.finish(&work, 50).await;
        let kept = bed.count(KEPT).await;
        assert!((1..=4).contains(&kept), "{cursor:?}: {kept}");
        assert_eq!(bed.count(LEFT).await, 0, "{cursor:?}");
    }
}

#[tokio::test]
async fn no_session_keeps_more_than_eight() {
    let partitions: String = (0..12)
        .map(|at| {
            format!(
                "CREATE TABLE t_{at} PARTITION OF t FOR VALUES FROM ({}) TO ({});",
                at * 200,
                (at + 1) * 200
            )
        })
        .collect();
    let bed = Bed::new(&format!(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text) PARTITION BY RANGE (id);
         {partitions}
         INSERT INTO t SELECT g, 'N' || g FROM generate_series(0, 2399) g; ANALYZE t;"
    ))
    .await;
    bed.finish(&work(None), 30).await;
    assert_eq!(bed.count(KEPT).await, 8);
    assert_eq!(bed.count(LEFT).await, 0);
}

#[tokio::test]
async fn where_functions_are_forbidden_nothing_is_kept() {
    let bed = Bed::new(TABLE).await;
    bed.execute(
        "CREATE FUNCTION refuse() RETURNS event_trigger LANGUAGE plpgsql
             AS $$BEGIN RAISE EXCEPTION 'no functions here'; END$$;
         CREATE EVENT TRIGGER no_functions ON ddl_command_start WHEN TAG IN ('CREATE FUNCTION')
             EXECUTE FUNCTION refuse();",
    )
    .await;
    assert_eq!(bed.finish(&work(None), 50).await, 2_000);
    assert_eq!(bed.count(KEPT).await, 0);
    assert_eq!(bed.count(LEFT).await, 0);
}

#[tokio::test]
async fn what_was_kept_may_vanish() {
    let bed = Bed::new(TABLE).await;
    let work = work(None);
    let mut range = bed.ranges(&work).await.remove(0);
    for _ in 0..3 {
        range = bed.batch(&work, &range, 50).await.expect("a batch").range;
    }
    assert_eq!(bed.count(KEPT).await, 1);
    bed.execute(
        "DO $$ DECLARE f regprocedure; BEGIN
             FOR f IN SELECT p.oid FROM pg_proc p WHERE p.proname LIKE 'pontoon\\_block%' LOOP
                 EXECUTE format('DROP FUNCTION %s', f);
             END LOOP;
         END $$",
    )
    .await;
    bed.finish(&work, 50).await;
    assert_eq!(bed.count(KEPT).await, 0);
    assert_eq!(bed.count(LEFT).await, 0);
}
