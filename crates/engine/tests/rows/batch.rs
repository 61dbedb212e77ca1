//! Limits, fence, doubt, rewrites and partitions.

use pontoon_core::name::TableName;
use pontoon_core::step::{Conditions, CursorKind, Sync};
use pontoon_engine::db::{Database, ErrorKind, Fence};
use pontoon_sandbox::TestDatabase;
use uuid::Uuid;

use crate::support::{Bed, expr, filling, lower_name, pair, request, updating};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
    INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 2000) g; ANALYZE t;";
const LEFT: &str = "SELECT count(*) FROM t WHERE lower_name IS DISTINCT FROM lower(name)";

#[tokio::test]
async fn a_batch_never_changes_more_rows_than_allowed() {
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(TABLE).await;
        let mut work = filling("t", lower_name());
        work.cursor = Some(cursor);
        let mut range = bed.ranges(&work).await.remove(0);
        while !range.done {
            let mut request = request(&work, &range, 50);
            request.max_batch_rows = 7;
            let report = bed.pg.batch(&bed.fence, &request).await.expect("a batch");
            assert!(report.changed <= 7, "{report:?}");
            range = report.range;
        }
        assert_eq!(bed.count(LEFT).await, 0);
    }
}

#[tokio::test]
async fn a_batch_goes_far_where_little_is_left_to_do() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
         INSERT INTO t SELECT g, 'N' || g, CASE WHEN g % 1000 <> 0 THEN 'n' || g END
         FROM generate_series(1, 20000) g; ANALYZE t;",
    )
    .await;
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    let first = bed.batch(&work, &range, 500).await.expect("a batch");
    // The rows whose turn it was, and then, without further laps, the others.
    let then = bed.batch(&work, &first.range, 500).await.expect("a batch");
    assert!(then.range.done, "{first:?}\n{then:?}");
    assert_eq!(first.changed + then.changed, 20, "{first:?}\n{then:?}");
    assert_eq!(bed.count(LEFT).await, 0);
}

#[tokio::test]
async fn max_rows_affected_holds_with_four_workers() {
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(
            "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
             INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 40000) g; ANALYZE t;",
        )
        .await;
        let mut work = filling("t", lower_name());
        work.cursor = Some(cursor);
        let mut scan = bed.scan(&work);
        scan.workers = 4;
        let ranges = bed.pg.ranges(&bed.fence, &scan).await.expect("ranges");
        assert_eq!(ranges.len(), 4, "{cursor:?}");
        let mut workers = tokio::task::JoinSet::new();
        for mut range in ranges {
            let (pg, fence, work) = (bed.pg.clone(), bed.fence.clone(), work.clone());
            workers.spawn(async move {
                while !range.done {
                    let mut request = request(&work, &range, 300);
                    request.max_rows_affected = Some(5_003);
                    match pg.batch(&fence, &request).await {
                        Ok(report) => range = report.range,
                        Err(error) => return Some(error),
                    }
                }
                None
            });
        }
        while let Some(ended) = workers.join_next().await {
            let error = ended.expect("no panic").expect("no worker gets to its end");
            assert_eq!(
                error.kind,
                ErrorKind::RowLimit {
                    affected: 5_003,
                    limit: 5_003
                },
                "{error:?}"
            );
            assert!(error.message.contains("5003"), "{error}");
        }
        assert_eq!(
            bed.count("SELECT rows_affected FROM pontoon.run").await,
            5_003
        );
        assert_eq!(
            bed.count("SELECT count(*) FROM t WHERE lower_name IS NOT NULL")
                .await,
            5_003
        );
    }
}

#[tokio::test]
async fn a_run_whose_limit_is_exactly_enough_ends() {
    let bed = Bed::new(TABLE).await;
    let work = filling("t", lower_name());
    let mut range = bed.ranges(&work).await.remove(0);
    while !range.done {
        let mut request = request(&work, &range, 300);
        request.max_rows_affected = Some(2_000);
        range = bed
            .pg
            .batch(&bed.fence, &request)
            .await
            .expect("within the limit")
            .range;
    }
    assert_eq!(bed.count(LEFT).await, 0);
}

#[tokio::test]
async fn a_stranger_is_fenced_and_changes_nothing() {
    let bed = Bed::new(TABLE).await;
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    let stranger = Fence {
        token: Uuid::new_v4(),
        ..bed.fence.clone()
    };
    let error = bed
        .pg
        .batch(&stranger, &request(&work, &range, 100))
        .await
        .expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE lower_name IS NOT NULL")
            .await,
        0
    );
}

#[tokio::test]
async fn repeatable_read_default_does_not_blind_the_fence() {
    let bed = Bed::new(TABLE).await;
    let name = bed.database.name().to_owned();
    bed.execute(&format!(
        "ALTER DATABASE {name} SET default_transaction_isolation = 'repeatable read'"
    ))
    .await;
    let pg = crate::support::postgres(&bed.database.url());
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    pg.batch(&bed.fence, &request(&work, &range, 100))
        .await
        .expect("a batch");
}

/// A COMMIT whose answer was lost: the request is sent again as it was.
#[tokio::test]
async fn asking_twice_is_harmless() {
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(TABLE).await;
        let mut work = filling("t", lower_name());
        work.cursor = Some(cursor);
        let range = bed.ranges(&work).await.remove(0);
        let first = bed.batch(&work, &range, 300).await.expect("a batch");
        assert!(first.changed > 0);
        let second = bed.batch(&work, &range, 300).await.expect("the same batch");
        assert_eq!(second.changed, 0);
        assert_eq!(second.range, first.range);
        let affected = bed.count("SELECT rows_affected FROM pontoon.run").await;
        assert_eq!(affected, i64::try_from(first.changed).expect("few"));
    }
}

#[tokio::test]
async fn rewrite_in_flight_between_two_batches() {
    for rewrite in [
        "VACUUM FULL t",
        "CLUSTER t USING t_pkey",
        "TRUNCATE t; INSERT INTO t SELECT g, 'M' || g FROM generate_series(1, 700) g",
    ] {
        let bed = Bed::new(TABLE).await;
        let work = filling("t", lower_name());
        let range = bed.ranges(&work).await.remove(0);
        let report = bed.batch(&work, &range, 300).await.expect("a batch");
        bed.execute(rewrite).await;
        let report = bed.batch(&work, &report.range, 300).await.expect("a batch");
        assert!(report.rewritten, "{rewrite}");
        assert_eq!(report.changed, 0);
        bed.finish(&work, 300).await;
        assert_eq!(bed.count(LEFT).await, 0, "{rewrite}");
    }
}

/// The rewrite commits while the batch waits for the table.
#[tokio::test]
async fn rewrite_in_flight_inside_a_batch() {
    let bed = Bed::new(TABLE).await;
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    let other = bed.session().await;
    other
        .batch_execute(
            "BEGIN; TRUNCATE t; INSERT INTO t SELECT g, 'M' || g FROM generate_series(1, 700) g",
        )
        .await
        .expect("truncate");
    let (report, ()) = tokio::join!(bed.batch(&work, &range, 300), async {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        other.batch_execute("COMMIT").await.expect("commit");
    });
    let report = report.expect("a batch");
    assert!(report.rewritten && report.changed == 0, "{report:?}");
    bed.finish(&work, 300).await;
    assert_eq!(bed.count(LEFT).await, 0);
}

#[tokio::test]
async fn partition_attached_midway() {
    let bed = Bed::new(
        "CREATE TABLE t (id int, name text, lower_name text) PARTITION BY RANGE (id);
         CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (1000);
         INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 999) g;
         CREATE TABLE t2 (LIKE t);
         INSERT INTO t2 SELECT g, 'N' || g FROM generate_series(1000, 1999) g;",
    )
    .await;
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    bed.batch(&work, &range, 300).await.expect("a batch");
    bed.execute("ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (1000) TO (2000)")
        .await;
    bed.finish(&work, 300).await;
    assert_eq!(bed.count(LEFT).await, 0);
    assert_eq!(
        bed.count("SELECT rows_affected FROM pontoon.run").await,
        1_999
    );
    // And one that is taken away is no longer anybody's concern.
    bed.execute("ALTER TABLE t DETACH PARTITION t1").await;
    let ranges = bed.ranges(&work).await;
    assert!(ranges.iter().all(|range| range.table.name == "t2"));
}

#[tokio::test]
async fn moved_before_its_turn() {
    let mapping = pair(("amount", "integer"), ("amount_exact", "numeric"));
    let sync = Sync {
        table: TableName::new("public", "t"),
        children: Vec::new(),
        mappings: vec![mapping.clone()],
        conditions: Conditions::InWhen,
        application_triggers: true,
    };
    let bed = Bed::with_sync(
        "CREATE TABLE t (id int PRIMARY KEY, amount int, other int, amount_exact numeric) WITH (fillfactor = 100);
         INSERT INTO t SELECT g, g FROM generate_series(1, 20000) g;",
        sync,
    )
    .await;
    let work = filling("t", vec![mapping]);
    let mut range = bed.ranges(&work).await.remove(0);
    // Half of the table is filled; then rows that have not had their turn
    // move, behind the cursor or past the fixed end.
    while range.pages_done * 2 < range.pages_total {
        range = bed
            .batch(&work, &range, 1_000)
            .await
            .expect("a batch")
            .range;
    }
    bed.execute("VACUUM t").await;
    bed.execute("UPDATE t SET other = 1 WHERE id % 3 <> 0")
        .await;
    bed.finish(&work, 1_000).await;
    let wrong = "SELECT count(*) FROM t WHERE amount_exact IS DISTINCT FROM amount::numeric";
    assert_eq!(bed.count(wrong).await, 0);
}

#[tokio::test]
async fn an_update_without_triggers_is_repeated_by_passes() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, status text);
         INSERT INTO t SELECT g, CASE WHEN g % 2 = 0 THEN 'done' END FROM generate_series(1, 1000) g;",
    )
    .await;
    let work = updating(
        "t",
        ("status", "text", expr("'pending'::text", &[])),
        expr("({status} IS NULL)", &["status"]),
    );
    assert_eq!(bed.finish(&work, 100).await, 500);
    bed.execute("INSERT INTO t SELECT g FROM generate_series(2000, 2009) g")
        .await;
    let mut scan = bed.scan(&work);
    scan.pass = 1;
    let ranges = bed.pg.ranges(&bed.fence, &scan).await.expect("ranges");
    let mut changed = 0;
    for mut range in ranges {
        while !range.done {
            let report = bed.batch(&work, &range, 100).await.expect("a batch");
            changed += report.changed;
            range = report.range;
        }
    }
    assert_eq!(changed, 10);
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE status IS NULL")
            .await,
        0
    );
}

/// Rows that come behind its end are not a scan's own: coming faster than it
/// goes, they would keep it going for ever.
#[tokio::test]
async fn along_a_key_it_ends_at_the_greatest_of_its_beginning() {
    let bed = Bed::new(
        "CREATE TABLE t (id text, part int, status text, PRIMARY KEY (id, part));
         INSERT INTO t SELECT 'k' || g % 7, g FROM generate_series(1, 1000) g; CREATE TABLE empty (LIKE t INCLUDING ALL);",
    )
    .await;
    let along = |table: &str| {
        let set = ("status", "text", expr("'pending'::text", &[]));
        let mut work = updating(table, set, expr("({status} IS NULL)", &["status"]));
        work.cursor = Some(CursorKind::Key);
        work
    };
    let work = along("t");
    let mut range = bed.ranges(&work).await.remove(0);
    bed.execute("INSERT INTO t VALUES ('k3', 5000), ('k6', 5000), ('l', 1)")
        .await;
    let mut changed = 0;
    while !range.done {
        let report = bed.batch(&work, &range, 100).await.expect("a batch");
        changed += report.changed;
        range = report.range;
    }
    assert_eq!(changed, 1_001);
    let left = "SELECT count(*) FROM t WHERE status IS NULL AND (id, part) > ('k6', 1000)";
    assert_eq!(bed.count(left).await, 2);
    let ranges = bed.ranges(&along("empty")).await;
    assert!(ranges.iter().all(|range| range.done), "{ranges:?}");
}

/// What the server really used, seen from inside: a trigger of the user's.
#[tokio::test]
async fn a_batch_runs_under_its_settings_and_shows_triggers_their_path() {
    let bed = Bed::new(
        "CREATE SCHEMA app; CREATE TABLE app.seen (name text, value text);
         CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
         INSERT INTO t VALUES (1, 'A');
         CREATE FUNCTION app.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
             INSERT INTO seen SELECT s, current_setting(s) FROM unnest(ARRAY['row_security', 'statement_timeout',
                 'lock_timeout', 'transaction_isolation', 'synchronous_commit', 'jit', 'search_path', 'session_replication_role']) s;
             RETURN NEW; END $$;
         CREATE TRIGGER look BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION app.look();",
    )
    .await;
    let name = bed.database.name().to_owned();
    bed.execute(&format!(
        "ALTER DATABASE {name} SET search_path = app, public"
    ))
    .await;
    bed.execute(&format!(
        "ALTER DATABASE {name} SET deadlock_timeout = '600ms'"
    ))
    .await;
    let pg = crate::support::postgres(&bed.database.url());
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    pg.batch(&bed.fence, &request(&work, &range, 10))
        .await
        .expect("a batch");
    let seen: std::collections::BTreeMap<String, String> = bed
        .client
        .query("SELECT name, value FROM app.seen", &[])
        .await
        .expect("seen")
        .iter()
        .map(|row| (row.get(0), row.get(1)))
        .collect();
    assert_eq!(seen["row_security"], "off");
    assert_eq!(seen["statement_timeout"], "500ms");
    assert_eq!(seen["lock_timeout"], "1ms");
    assert_eq!(seen["transaction_isolation"], "read committed");
    assert_eq!(seen["synchronous_commit"], "local");
    assert_eq!(seen["jit"], "off");
    assert_eq!(seen["search_path"], "pg_catalog, app, public, pg_temp");
    assert_eq!(seen["session_replication_role"], "origin");
}

/// An owner who is no superuser, with its own schema of ours.
#[tokio::test]
async fn an_owner_needs_no_more_rights() {
    let database = TestDatabase::create(None).await.expect("a database");
    let admin = database.client().await.expect("a client");
    let role = format!("owner_of_{}", database.name());
    admin
        .batch_execute(&format!(
            "CREATE ROLE {role} LOGIN NOSUPERUSER; GRANT CREATE ON DATABASE {name} TO {role};
             CREATE SCHEMA shop AUTHORIZATION {role};",
            name = database.name()
        ))
        .await
        .expect("a role");
    let url = database.url_as(&role);
    let owner = pontoon_sandbox::connect(&url).await.expect("the owner");
    owner
        .batch_execute(
            "CREATE TABLE shop.t (id int PRIMARY KEY, name text, lower_name text);
             INSERT INTO shop.t SELECT g, 'N' || g FROM generate_series(1, 500) g;",
        )
        .await
        .expect("a table");
    let pg = crate::support::postgres(&url);
    pg.init(None).await.expect("init");
    let fence = crate::support::hold(&pg, Vec::new()).await;
    let mut work = filling("t", lower_name());
    work.table.schema = "shop".into();
    let bed = Bed {
        client: owner,
        database,
        pg,
        fence,
    };
    assert_eq!(bed.finish(&work, 120).await, 500);
    let verify = pontoon_core::step::Verify {
        table: work.table.clone(),
        mappings: lower_name(),
    };
    let checked: u64 = bed
        .verify(&verify, 1, true)
        .await
        .iter()
        .map(|range| range.rows)
        .sum();
    assert_eq!(checked, 500);
    assert!(crate::signals::blocked_sessions(&bed).await.abs() < 0.1);
}
