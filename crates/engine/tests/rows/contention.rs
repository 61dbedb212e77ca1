//! Rows that others hold.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use pontoon_core::step::CursorKind;

use crate::support::{Bed, filling, lower_name};

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text, n int DEFAULT 0);
    INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 5000) g; ANALYZE t;";
const LEFT: &str = "SELECT count(*) FROM t WHERE lower_name IS DISTINCT FROM lower(name)";

/// Rows that are held are skipped. When nothing else is left, a batch stands
/// in line for one of them, as long as for any lock, and holds none meanwhile.
#[tokio::test]
async fn held_rows_are_left_open_and_keep_no_batch_for_long() {
    for cursor in [CursorKind::Pages, CursorKind::Key] {
        let bed = Bed::new(TABLE).await;
        let mut work = filling("t", lower_name());
        work.cursor = Some(cursor);
        let mut range = bed.ranges(&work).await.remove(0);
        let other = bed.session().await;
        other
            .batch_execute("BEGIN; SELECT FROM t WHERE id IN (7, 2500, 2501, 4999) FOR UPDATE")
            .await
            .expect("lock");
        let (mut took, mut stuck) = (Vec::new(), 0);
        for _ in 0..60 {
            let report = bed.batch(&work, &range, 400).await.expect("a batch");
            took.push(report.elapsed);
            stuck += u32::from(report.changed == 0 && report.contended > 0);
            range = report.range;
            assert!(!range.done);
        }
        assert!(stuck > 10, "{stuck}");
        // A machine that stands still for a moment does so for one or two.
        took.sort();
        assert!(took[57] < Duration::from_millis(600), "{took:?}");
        assert_eq!(bed.count(LEFT).await, 4);
        let third = bed.session().await;
        let (report, ()) = tokio::join!(bed.batch(&work, &range, 400), async {
            for _ in 0..20 {
                third
                    .batch_execute(
                        "SELECT FROM t WHERE id NOT IN (7, 2500, 2501, 4999) FOR UPDATE NOWAIT",
                    )
                    .await
                    .expect("a batch in line holds nothing");
            }
        });
        range = report.expect("a batch").range;
        other.batch_execute("ROLLBACK").await.expect("let go");
        for _ in 0..10 {
            if !range.done {
                range = bed.batch(&work, &range, 400).await.expect("a batch").range;
            }
        }
        assert!(range.done, "{cursor:?} {range:?}");
        assert_eq!(bed.count(LEFT).await, 0);
    }
}

/// Twelve rows, each held a little shorter than a lock timeout would last.
#[tokio::test]
async fn many_contended_rows() {
    let bed = Bed::new(TABLE).await;
    let work = filling("t", lower_name());
    let mut holders = Vec::new();
    for number in 0..12 {
        let session = bed.session().await;
        session
            .batch_execute(&format!(
                "BEGIN; SELECT FROM t WHERE id = {} FOR UPDATE",
                10 + number * 9
            ))
            .await
            .expect("lock");
        holders.push(session);
    }
    let range = bed.ranges(&work).await.remove(0);
    let begun = Instant::now();
    let report = bed.batch(&work, &range, 400).await.expect("a batch");
    assert!(
        begun.elapsed() < Duration::from_secs(1),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!(report.contended, 12);
}

/// The application has waited on our batch for most of deadlock_timeout when
/// the batch comes to a row that the application holds.
#[tokio::test]
async fn deadlock_app_waited_first() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
         INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 8) g;
         CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.11); RETURN NEW; END $$;
         CREATE TRIGGER slow BEFORE UPDATE OF lower_name ON t FOR EACH ROW EXECUTE FUNCTION slow();",
    )
    .await;
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    let app = bed.session().await;
    app.batch_execute("BEGIN; UPDATE t SET name = 'app' WHERE id = 8")
        .await
        .expect("row 8");
    let (batch, app) = tokio::join!(bed.batch(&work, &range, 100), async {
        tokio::time::sleep(Duration::from_millis(150)).await;
        // Row 1 is the batch's by now.
        app.batch_execute("UPDATE t SET name = 'app' WHERE id = 1; COMMIT")
            .await
    });
    app.expect("the application is nobody's victim");
    // The batch either left row 8 out or ran into its own bound.
    if let Err(error) = batch {
        assert_eq!(error.code.as_deref(), Some("57014"), "{error}");
    }
}

/// A batch needs a unique value that the application has written and not yet
/// committed, while the application waits for a row of the batch.
#[tokio::test]
async fn deadlock_unique_wait() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text UNIQUE);
         INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 8) g;",
    )
    .await;
    let work = filling("t", lower_name());
    let range = bed.ranges(&work).await.remove(0);
    let app = bed.session().await;
    app.batch_execute("BEGIN; INSERT INTO t VALUES (100, 'x', 'n5')")
        .await
        .expect("a value");
    let (batch, app) = tokio::join!(bed.batch(&work, &range, 100), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.batch_execute("UPDATE t SET name = 'app' WHERE id = 1; COMMIT")
            .await
    });
    app.expect("the application is nobody's victim");
    let error = batch.expect_err("the value is taken, or was for too long");
    let code = error.code.as_deref().unwrap_or_default().to_owned();
    assert!(
        ["55P03", "57014", "23505"].contains(&code.as_str()),
        "{error}"
    );
}

/// A row of the batch points to a parent row that the application holds,
/// which in turn waits for a row of the batch.
#[tokio::test]
async fn deadlock_foreign_key_wait() {
    let bed = Bed::new(
        "CREATE TABLE parent (id int PRIMARY KEY); INSERT INTO parent SELECT generate_series(1, 9);
         CREATE TABLE t (id int PRIMARY KEY, name text, parent_id int REFERENCES parent);
         INSERT INTO t SELECT g, g::text FROM generate_series(1, 9) g;",
    )
    .await;
    let work = filling(
        "t",
        vec![crate::support::fill(
            "name",
            ("parent_id", "integer"),
            "({name})::integer",
        )],
    );
    let range = bed.ranges(&work).await.remove(0);
    let app = bed.session().await;
    app.batch_execute("BEGIN; SELECT FROM parent WHERE id = 9 FOR UPDATE")
        .await
        .expect("a parent");
    let (batch, app) = tokio::join!(bed.batch(&work, &range, 100), async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.batch_execute("UPDATE t SET name = '1' WHERE id = 1; COMMIT")
            .await
    });
    app.expect("the application is nobody's victim");
    if let Err(error) = batch {
        let code = error.code.as_deref().unwrap_or_default();
        assert!(["55P03", "57014"].contains(&code), "{error}");
    }
    bed.finish(&work, 100).await;
    assert_eq!(
        bed.count("SELECT count(*) FROM t WHERE parent_id IS NULL")
            .await,
        0
    );
}

/// Clients with think time, locks in one order and a few hot rows: batches
/// beside them cost next to nothing. Short windows alternate, so that the
/// machine's other work meets both kinds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contended_rows() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text, n int DEFAULT 0) WITH (fillfactor = 50);
         INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 2000) g;",
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let session = bed.session().await;
        let (stop, done) = (stop.clone(), done.clone());
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let hot = rand::random_range(1..=10);
                let cold = rand::random_range(11..=2000);
                session
                    .batch_execute(&format!(
                        "BEGIN; UPDATE t SET n = n + 1, lower_name = NULL WHERE id = {hot};
                         UPDATE t SET n = n + 1, lower_name = NULL WHERE id = {cold}; COMMIT"
                    ))
                    .await
                    .expect("no 40P01");
                done.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
    }
    let work = filling("t", lower_name());
    let (mut alone, mut beside, mut changed) = (0, 0, 0);
    let mut pass = 0;
    for window in 0..16 {
        let before = done.load(Ordering::Relaxed);
        let end = Instant::now() + Duration::from_millis(300);
        if window % 2 == 0 {
            tokio::time::sleep_until(end.into()).await;
            alone += done.load(Ordering::Relaxed) - before;
            continue;
        }
        while Instant::now() < end {
            let mut scan = bed.scan(&work);
            scan.pass = pass;
            pass += 1;
            let ranges = pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &scan)
                .await
                .expect("ranges");
            for mut range in ranges {
                while !range.done && Instant::now() < end {
                    let report = bed.batch(&work, &range, 500).await.expect("a batch");
                    changed += report.changed;
                    range = report.range;
                    // As the driver does where somebody holds rows, and between batches of this size.
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
            }
        }
        beside += done.load(Ordering::Relaxed) - before;
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client failed");
    }
    assert!(changed > 500, "{changed}");
    // The bench measures this exactly; a test shares its machine with others.
    assert!(
        beside * 100 >= alone * 75,
        "{beside} beside batches, {alone} alone"
    );
}

/// Transactions that lock rows against our order, under continuous batches.
#[tokio::test]
async fn opposite_lock_orders() {
    let bed = Bed::new(
        "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text, n int DEFAULT 0);
         INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 400) g;",
    )
    .await;
    let stop = Arc::new(AtomicBool::new(false));
    let done = Arc::new(AtomicU64::new(0));
    let mut clients = tokio::task::JoinSet::new();
    for _ in 0..6 {
        let session = bed.session().await;
        let (stop, done) = (stop.clone(), done.clone());
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let high = rand::random_range(200..=400);
                let low = rand::random_range(1..200);
                // High to low among all clients: against the batches, not each other.
                session
                    .batch_execute(&format!(
                        "BEGIN; UPDATE t SET n = n + 1, lower_name = NULL WHERE id = {high}; UPDATE t SET n = n + 1, lower_name = NULL WHERE id = {low}; COMMIT"
                    ))
                    .await
                    .expect("no 40P01");
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    let work = filling("t", lower_name());
    let mut batches = 0;
    let mut pass = 0;
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(4) {
        let mut scan = bed.scan(&work);
        scan.pass = pass;
        pass += 1;
        let ranges = pontoon_engine::db::Database::ranges(&bed.pg, &bed.fence, &scan)
            .await
            .expect("ranges");
        for mut range in ranges {
            while !range.done && begun.elapsed() < Duration::from_secs(4) {
                match bed.batch(&work, &range, 400).await {
                    Ok(report) => range = report.range,
                    Err(error) => assert_eq!(error.code.as_deref(), Some("57014"), "{error}"),
                }
                batches += 1;
            }
        }
    }
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = clients.join_next().await {
        ended.expect("no client was a victim");
    }
    assert!(batches > 20, "{batches}");
    assert!(done.load(Ordering::Relaxed) > 200, "{done:?}");
}
