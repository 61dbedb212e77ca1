//! Every kind of table is filled completely, whichever way the cursor goes.

use pontoon_core::step::CursorKind;

use crate::support::{Bed, CURSORS, fill, filling, lower_name};

const LEFT: &str = "SELECT count(*) FROM t WHERE lower_name IS DISTINCT FROM lower(name)";

/// Fills `t` with batches of `rows` and says that nothing is left.
async fn fills(setup: &str, cursor: CursorKind, rows: u64) {
    let bed = Bed::new(setup).await;
    let total = bed.count("SELECT count(*) FROM t").await;
    let mut work = filling("t", lower_name());
    work.cursor = Some(cursor);
    let changed = bed.finish(&work, rows).await;
    assert_eq!(bed.count(LEFT).await, 0, "{setup} {cursor:?}");
    assert_eq!(
        i64::try_from(changed).expect("few"),
        total,
        "{setup} {cursor:?}"
    );
    let recorded = bed.count("SELECT rows_affected FROM pontoon.run").await;
    assert_eq!(recorded, total);
    let counted = bed
        .count("SELECT sum(rows)::bigint FROM pontoon.range")
        .await;
    assert_eq!(counted, total);
}

#[tokio::test]
async fn no_key() {
    let setup = "CREATE TABLE t (name text, lower_name text);
        INSERT INTO t SELECT 'N' || g FROM generate_series(1, 3000) g";
    fills(setup, CursorKind::Pages, 250).await;
}

#[tokio::test]
async fn composite_key() {
    let setup = "CREATE TABLE t (a int, b text, c date, name text, lower_name text, PRIMARY KEY (b, a, c));
        INSERT INTO t SELECT g % 7, 'K' || g % 11, date '2020-01-01' + g, 'N' || g FROM generate_series(1, 2000) g; ANALYZE t";
    for cursor in CURSORS {
        fills(setup, cursor, 170).await;
    }
}

#[tokio::test]
async fn identity_generated_always() {
    let setup = "CREATE TABLE t (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text, lower_name text);
        INSERT INTO t (name) SELECT 'N' || g FROM generate_series(1, 1000) g; ANALYZE t";
    for cursor in CURSORS {
        fills(setup, cursor, 64).await;
    }
}

#[tokio::test]
async fn uuid_key() {
    let setup = "CREATE TABLE t (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, name text, lower_name text);
        INSERT INTO t (name) SELECT 'N' || g FROM generate_series(1, 3000) g; ANALYZE t";
    for cursor in CURSORS {
        fills(setup, cursor, 333).await;
    }
}

#[tokio::test]
async fn odd_text_key() {
    let setup = r#"CREATE TABLE t ("the ""Key"" of {it}" text PRIMARY KEY, name text, lower_name text);
        INSERT INTO t SELECT chr(33 + g % 90) || '''"\$pontoon$%s' || E'\n\\' || g || 'ü😀', 'N' || g FROM generate_series(1, 900) g; ANALYZE t"#;
    for cursor in CURSORS {
        fills(setup, cursor, 77).await;
    }
}

#[tokio::test]
async fn other_key_types() {
    for (type_name, value) in [
        ("numeric", "(g * 1.10)::numeric"),
        (
            "timestamptz",
            "timestamptz '2020-01-01' + g * interval '7 min 0.001s'",
        ),
        ("float8", "(g / 3.0)::float8"),
        ("bytea", "decode(md5(g::text), 'hex')"),
        ("interval", "g * interval '1 day 1 s'"),
        ("char(12)", "('k' || g)::char(12)"),
        ("inet", "inet '10.0.0.0' + g"),
        ("int4range", "int4range(g, g + 2)"),
    ] {
        let setup = format!(
            "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German';
             CREATE TABLE t (id {type_name} PRIMARY KEY, name text, lower_name text);
             INSERT INTO t SELECT {value}, 'N' || g FROM generate_series(1, 400) g; ANALYZE t"
        );
        fills(&setup, CursorKind::Key, 37).await;
    }
}

#[tokio::test]
async fn three_hundred_columns() {
    let columns: String = (0..297)
        .map(|n| format!(", c{n} int DEFAULT {n}"))
        .collect();
    let setup = format!(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text{columns});
         INSERT INTO t (id, name) SELECT g, 'N' || g FROM generate_series(1, 300) g; ANALYZE t"
    );
    for cursor in CURSORS {
        fills(&setup, cursor, 25).await;
    }
}

#[tokio::test]
async fn empty_and_one_row() {
    let empty = "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text)";
    let one = format!("{empty}; INSERT INTO t VALUES (1, 'ONE')");
    for cursor in CURSORS {
        fills(empty, cursor, 100).await;
        fills(&one, cursor, 100).await;
    }
}

#[tokio::test]
async fn toasted_values() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
        ALTER TABLE t ALTER name SET STORAGE EXTERNAL;
        INSERT INTO t SELECT g, repeat('Ab' || g, 3000) FROM generate_series(1, 60) g; ANALYZE t";
    for cursor in CURSORS {
        fills(setup, cursor, 10).await;
    }
}

#[tokio::test]
async fn partitions_with_default_and_sub_partitions() {
    let setup = r#"CREATE TABLE t (id int, name text, lower_name text) PARTITION BY RANGE (id);
        CREATE TABLE "T one" PARTITION OF t FOR VALUES FROM (0) TO (500);
        CREATE TABLE t2 PARTITION OF t FOR VALUES FROM (500) TO (900) PARTITION BY LIST (id);
        CREATE TABLE t2d PARTITION OF t2 DEFAULT;
        CREATE TABLE td PARTITION OF t DEFAULT;
        INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 1500) g"#;
    fills(setup, CursorKind::Pages, 90).await;
}

#[tokio::test]
async fn inheritance_children_and_their_parent() {
    let setup = "CREATE TABLE t (id int, name text, lower_name text);
        CREATE TABLE kid (more int) INHERITS (t);
        INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 500) g;
        INSERT INTO kid SELECT g, 'K' || g FROM generate_series(1, 500) g";
    fills(setup, CursorKind::Pages, 90).await;
}

#[tokio::test]
async fn deleted_rows_leave_gaps_that_are_crossed() {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
        INSERT INTO t SELECT g, repeat('N', 500) || g FROM generate_series(1, 3000) g;
        DELETE FROM t WHERE id BETWEEN 300 AND 2900; VACUUM t";
    for cursor in CURSORS {
        fills_partly(setup, cursor).await;
    }
}

async fn fills_partly(setup: &str, cursor: CursorKind) {
    let bed = Bed::new("SELECT").await;
    for statement in setup.split(';') {
        bed.execute(statement).await;
    }
    let mut work = filling("t", lower_name());
    work.cursor = Some(cursor);
    assert_eq!(bed.finish(&work, 50).await, 399);
    assert_eq!(bed.count(LEFT).await, 0);
}

#[tokio::test]
async fn several_mappings_keep_values_that_are_there() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text, n text, n_int int);
         INSERT INTO t SELECT g, 'N' || g, CASE WHEN g % 3 = 0 THEN 'own' END, g, CASE WHEN g % 5 = 0 THEN -g END
         FROM generate_series(1, 600) g",
    )
    .await;
    let mut mappings = lower_name();
    mappings.push(fill("n", ("n_int", "integer"), "({n})::integer"));
    assert_eq!(bed.finish(&filling("t", mappings), 100).await, 600 - 40);
    let wrong = "SELECT count(*) FROM t WHERE
        lower_name <> CASE WHEN id % 3 = 0 THEN 'own' ELSE 'n' || id END
        OR n_int <> CASE WHEN id % 5 = 0 THEN -id ELSE id END";
    assert_eq!(bed.count(wrong).await, 0);
}

#[tokio::test]
async fn ranges_split_a_key_into_parts() {
    let bed = Bed::new(
        "CREATE TABLE t (id uuid DEFAULT gen_random_uuid() PRIMARY KEY, name text, lower_name text);
         INSERT INTO t (name) SELECT 'N' || g FROM generate_series(1, 30000) g; ANALYZE t",
    )
    .await;
    let mut work = filling("t", lower_name());
    work.cursor = Some(CursorKind::Key);
    let mut scan = bed.scan(&work);
    scan.workers = 4;
    let ranges = pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &scan)
        .await
        .expect("ranges");
    assert_eq!(ranges.len(), 4);
    let mut sizes = Vec::new();
    for mut range in ranges {
        let mut changed = 0;
        while !range.done {
            let report = bed.batch(&work, &range, 1_000).await.expect("a batch");
            changed += report.changed;
            range = report.range;
        }
        sizes.push(changed);
    }
    assert_eq!(sizes.iter().sum::<u64>(), 30_000);
    assert!(sizes.iter().all(|size| *size > 4_000), "{sizes:?}");
}
