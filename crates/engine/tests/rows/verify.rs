//! Verify finds corruption of every kind, mends what is certain, and forgets nothing.

use pontoon_core::name::TableName;
use pontoon_core::step::{Mapping, Verify};
use pontoon_engine::db::RangeRecord;

use crate::support::{Bed, fill, pair};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, amount int, amount_exact numeric);
    INSERT INTO t SELECT g, g, g FROM generate_series(1, 3000) g;";

fn amounts() -> Verify {
    Verify {
        table: TableName::new("public", "t"),
        mappings: vec![pair(("amount", "integer"), ("amount_exact", "numeric"))],
    }
}

/// Mismatched, conflicts, repaired.
fn found(ranges: &[RangeRecord]) -> (u64, u64, u64) {
    let sum = |of: fn(&RangeRecord) -> u64| ranges.iter().map(of).sum();
    (
        sum(|range| range.findings.mismatched),
        sum(|range| range.findings.conflicts),
        sum(|range| range.findings.repaired),
    )
}

fn checked(ranges: &[RangeRecord]) -> u64 {
    ranges.iter().map(|range| range.rows).sum()
}

#[tokio::test]
async fn a_table_in_step_is_clean_and_every_row_was_compared() {
    let bed = Bed::new(TABLE).await;
    let ranges = bed.verify(&amounts(), 1, true).await;
    assert_eq!(checked(&ranges), 3_000);
    assert_eq!(found(&ranges), (0, 0, 0));
}

#[tokio::test]
async fn a_changed_value_a_swap_and_a_null_are_found() {
    let bed = Bed::new(TABLE).await;
    bed.execute(
        "UPDATE t SET amount_exact = amount_exact + 1 WHERE id = 2900;
         UPDATE t SET amount_exact = CASE id WHEN 10 THEN 11 ELSE 10 END WHERE id IN (10, 11);
         UPDATE t SET amount_exact = NULL WHERE id = 1500;",
    )
    .await;
    let ranges = bed.verify(&amounts(), 1, true).await;
    assert_eq!(found(&ranges), (4, 3, 1));
    let mut examples: Vec<String> = ranges
        .iter()
        .flat_map(|range| range.findings.examples.clone())
        .collect();
    examples.sort();
    assert_eq!(
        examples,
        [
            "id = 10 (amount, amount_exact)",
            "id = 11 (amount, amount_exact)",
            "id = 2900 (amount, amount_exact)"
        ]
    );
    // The NULL is filled, the others are left as they are.
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE amount_exact IS NULL")
            .await,
        0
    );
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE amount_exact <> amount")
            .await,
        3
    );
    let ranges = bed.verify(&amounts(), 2, true).await;
    assert_eq!(found(&ranges), (3, 3, 0));
}

#[tokio::test]
async fn values_that_compare_equal_and_are_not_the_same_are_found() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, price numeric, price_text text);
         INSERT INTO t VALUES (1, 1.0, '1.0'), (2, 1.0, '1.00'), (3, NULL, NULL), (4, NULL, ''), (5, 7, NULL);",
    )
    .await;
    let verify = Verify {
        table: TableName::new("public", "t"),
        mappings: vec![Mapping {
            rule: pontoon_core::step::Rule::Derived {
                up: vec![crate::support::expr("({price})::text", &["price"])],
            },
            ..fill("price", ("price_text", "text"), "({price})::text")
        }],
    };
    let ranges = bed.verify(&verify, 1, true).await;
    // A derived value is certain in every row.
    assert_eq!(found(&ranges), (3, 0, 3));
    let ranges = bed.verify(&verify, 2, true).await;
    assert_eq!(found(&ranges), (0, 0, 0));
}

#[tokio::test]
async fn without_leave_nothing_is_repaired() {
    let bed = Bed::new(TABLE).await;
    bed.execute("UPDATE t SET amount_exact = NULL WHERE id <= 5")
        .await;
    let ranges = bed.verify(&amounts(), 1, false).await;
    assert_eq!(found(&ranges), (5, 0, 0));
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE amount_exact IS NULL")
            .await,
        5
    );
}

#[tokio::test]
async fn a_held_row_is_counted_and_not_waited_for() {
    let bed = Bed::new(TABLE).await;
    bed.execute("UPDATE t SET amount_exact = NULL WHERE id IN (5, 6)")
        .await;
    let other = bed.session().await;
    other
        .batch_execute("BEGIN; SELECT FROM t WHERE id = 5 FOR UPDATE")
        .await
        .expect("lock");
    let ranges = bed.verify(&amounts(), 1, true).await;
    assert_eq!(found(&ranges), (2, 0, 1));
}

/// What a chunk found is stored with its position.
#[tokio::test]
async fn an_interrupted_pass_forgets_no_mismatch() {
    let bed = Bed::new(TABLE).await;
    bed.execute("UPDATE t SET amount_exact = -1 WHERE id = 3")
        .await;
    bed.execute("VACUUM FULL t").await;
    let verify = amounts();
    let scan = bed.verify_scan(&verify, 1);
    let range = pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &scan)
        .await
        .expect("ranges")
        .remove(0);
    // Chunks until the row was seen; then the process dies.
    let mut report = bed.chunk(&verify, &range, true).await.expect("a chunk");
    while report.range.findings.mismatched == 0 {
        report = bed
            .chunk(&verify, &report.range, true)
            .await
            .expect("a chunk");
    }
    bed.execute("UPDATE t SET amount_exact = amount").await;
    let ranges = bed.verify(&verify, 1, true).await;
    assert_eq!(found(&ranges), (1, 1, 0));
    // A new pass judges anew.
    let ranges = bed.verify(&verify, 2, true).await;
    assert_eq!(found(&ranges), (0, 0, 0));
}

/// Rows that come after the pass began stand behind its end.
#[tokio::test]
async fn the_last_range_goes_to_the_end_of_the_moment() {
    let bed = Bed::new(TABLE).await;
    let verify = amounts();
    let scan = bed.verify_scan(&verify, 1);
    pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &scan)
        .await
        .expect("ranges");
    bed.execute("INSERT INTO t SELECT g, g, g FROM generate_series(3001, 9000) g; INSERT INTO t VALUES (9001, 1, 2)")
        .await;
    let ranges = bed.verify(&verify, 1, true).await;
    assert_eq!(checked(&ranges), 9_001);
    assert_eq!(found(&ranges), (1, 1, 0));
}

/// A table that grows faster than it is read does not keep a pass going.
#[tokio::test]
async fn a_pass_ends_however_fast_the_table_grows() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, amount int, amount_exact numeric, filler text NOT NULL);
         ALTER TABLE t ALTER filler SET STORAGE PLAIN;",
    )
    .await;
    let add = "INSERT INTO t SELECT (SELECT coalesce(max(id), 0) FROM t) + g, g, g, repeat('x', 7000) FROM generate_series(1, 600) g";
    bed.execute(add).await;
    let verify = amounts();
    let mut range =
        pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &bed.verify_scan(&verify, 1))
            .await
            .expect("ranges")
            .remove(0);
    let mut chunks = 0;
    while !range.done {
        bed.execute(add).await;
        range = bed
            .chunk(&verify, &range, true)
            .await
            .expect("a chunk")
            .range;
        chunks += 1;
        assert!(chunks < 20, "it goes on for ever: {range:?}");
    }
    // One row a page: what was there, as much again, and the margin.
    assert_eq!(range.rows, 2 * 600 + 1_024);
}

#[tokio::test]
async fn a_rewrite_begins_the_pass_again() {
    let bed = Bed::new(TABLE).await;
    let verify = amounts();
    let scan = bed.verify_scan(&verify, 1);
    let range = pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &scan)
        .await
        .expect("ranges")
        .remove(0);
    let report = bed.chunk(&verify, &range, true).await.expect("a chunk");
    bed.execute("VACUUM FULL t").await;
    let report = bed
        .chunk(&verify, &report.range, true)
        .await
        .expect("a chunk");
    assert!(report.rewritten);
    let ranges = bed.verify(&verify, 1, true).await;
    assert_eq!(checked(&ranges), 3_000);
}

#[tokio::test]
async fn a_missing_required_value_is_a_conflict() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
         INSERT INTO t VALUES (1, 'A', 'a'), (2, NULL, NULL)",
    )
    .await;
    let verify = Verify {
        table: TableName::new("public", "t"),
        mappings: vec![Mapping {
            required: true,
            back: None,
            ..fill("name", ("lower_name", "text"), "lower({name})")
        }],
    };
    let ranges = bed.verify(&verify, 1, true).await;
    assert_eq!(found(&ranges), (1, 1, 0));
}
