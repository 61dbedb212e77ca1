//! Who has which range, and what becomes of whoever has it no longer.

use std::time::Duration;

use pontoon_core::step::Backfill;
use pontoon_engine::db::{
    Claim, Database, ErrorKind, Fence, Holder, Live, RangeRecord, Role, RunChange, Scan,
    StepChange, StepState,
};

use crate::support::{Bed, filling, lower_name, request};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, name text, lower_name text);
    INSERT INTO t SELECT g, 'N' || g FROM generate_series(1, 20000) g; ANALYZE t;";
const TTL: Duration = Duration::from_secs(15);

fn somebody(name: &str) -> Holder {
    Holder {
        host: "elsewhere".into(),
        pid: 7,
        boot: format!("boot of {name}"),
        user: name.into(),
    }
}

/// A bed with three ranges.
async fn bed() -> (Bed, Backfill) {
    let bed = Bed::new(TABLE).await;
    let work = filling("t", lower_name());
    let scan = Scan {
        workers: 3,
        ..bed.scan(&work)
    };
    let ranges = bed.pg.ranges(&bed.fence, &scan).await.expect("ranges");
    assert_eq!(ranges.len(), 3);
    (bed, work)
}

async fn join(bed: &Bed, name: &str) -> Fence {
    let joined = bed.pg.join(bed.fence.run, &somebody(name), TTL).await;
    joined.expect("join").expect("somebody holds the run")
}

async fn claim(bed: &Bed, fence: &Fence) -> Claim {
    bed.pg.claim(fence, 1, 0).await.expect("a claim")
}

async fn taken(bed: &Bed, fence: &Fence) -> RangeRecord {
    match claim(bed, fence).await {
        Claim::Range(range) => *range,
        other => panic!("nothing was free: {other:?}"),
    }
}

#[tokio::test]
async fn ranges_go_round() {
    let (bed, _) = bed().await;
    let worker = join(&bed, "ann").await;
    assert_eq!(worker.role, Role::Worker);
    let first = taken(&bed, &bed.fence).await;
    let second = taken(&bed, &worker).await;
    let third = taken(&bed, &worker).await;
    assert_eq!((first.no, second.no, third.no), (1, 2, 3));
    assert!(matches!(claim(&bed, &bed.fence).await, Claim::Later(_)));
    let rest = Duration::from_secs(3600);
    bed.pg
        .give_back(&worker, &second, rest)
        .await
        .expect("back");
    assert!(
        matches!(claim(&bed, &bed.fence).await, Claim::Later(_)),
        "it rests"
    );
    bed.pg
        .give_back(&bed.fence, &third, Duration::ZERO)
        .await
        .expect("not ours");
    assert!(
        matches!(claim(&bed, &bed.fence).await, Claim::Later(_)),
        "only its owner gives it back"
    );
    bed.pg.release(&worker).await.expect("it leaves");
    assert_eq!(
        taken(&bed, &bed.fence).await.no,
        3,
        "free with its owner gone"
    );
    let error = bed.pg.claim(&worker, 1, 0).await.expect_err("it has left");
    assert_eq!(error.kind, ErrorKind::Fenced);
    bed.execute("UPDATE pontoon.range SET done = true").await;
    assert_eq!(claim(&bed, &bed.fence).await, Claim::Nothing);
}

#[tokio::test]
async fn a_worker_works_on_ranges_and_nothing_else() {
    let (bed, work) = bed().await;
    let worker = join(&bed, "ann").await;
    let range = taken(&bed, &worker).await;
    let report = bed.pg.batch(&worker, &request(&work, &range, 100)).await;
    let report = report.expect("a batch");
    assert!((1..=100).contains(&report.changed), "{report:?}");
    let step = StepChange {
        state: StepState::Done,
        undone: None,
        rows: None,
        detail: None,
        event: None,
    };
    for refused in [
        bed.pg.update_run(&worker, &RunChange::default()).await,
        bed.pg.update_step(&worker, 1, &step).await,
        bed.pg.ranges(&worker, &bed.scan(&work)).await.map(drop),
    ] {
        assert_eq!(
            refused.expect_err("not its business").kind,
            ErrorKind::Fenced
        );
    }
}

/// A takeover, even by the same process after a reconnect, ends them all.
#[tokio::test]
async fn a_membership_ends_with_the_term() {
    let (bed, work) = bed().await;
    let worker = join(&bed, "ann").await;
    let range = taken(&bed, &worker).await;
    bed.execute("UPDATE pontoon.lease SET expires_at = now() - interval '1 second'")
        .await;
    let run = bed.fence.run;
    let next = bed
        .pg
        .acquire(run, &somebody("bob"), TTL)
        .await
        .expect("taken over")
        .fence;
    let late = bed.pg.batch(&worker, &request(&work, &range, 100)).await;
    assert_eq!(late.expect_err("its term is over").kind, ErrorKind::Fenced);
    let beat = bed.pg.renew(&worker, TTL, &Live::default()).await;
    assert_eq!(beat.expect_err("its term is over").kind, ErrorKind::Fenced);
    assert_eq!(taken(&bed, &next).await.no, range.no, "its range is free");
    let again = join(&bed, "ann").await;
    assert_ne!(again.token, worker.token);
    taken(&bed, &again).await;
    assert!(
        bed.pg
            .renew(&next, TTL, &Live::default())
            .await
            .expect("beat")
            .in_company
    );
    bed.pg.release(&next).await.expect("released");
    let nobody = bed
        .pg
        .join(run, &somebody("ann"), TTL)
        .await
        .expect("asked");
    assert_eq!(nobody, None, "nobody holds the run");
}

/// Whoever was not heard of loses its ranges, and what it sends late changes
/// nothing: a worker is fenced, a holder finds the range in other hands.
#[tokio::test]
async fn a_late_batch_changes_nothing() {
    let (bed, work) = bed().await;
    let worker = join(&bed, "ann").await;
    let hers = taken(&bed, &worker).await;
    bed.execute("UPDATE pontoon.worker SET expires_at = now() - interval '1 second'")
        .await;
    // Time alone takes nothing away.
    let report = bed
        .pg
        .batch(&worker, &request(&work, &hers, 100))
        .await
        .expect("a batch");
    let changed = i64::try_from(report.changed).expect("fits");
    let hers = report.range;
    let now_ours = taken(&bed, &bed.fence).await;
    assert_eq!((now_ours.no, &now_ours.position), (hers.no, &hers.position));
    let report = bed
        .pg
        .batch(&worker, &request(&work, &hers, 100))
        .await
        .expect("it is told");
    assert!(report.taken && report.changed == 0, "{report:?}");
    bed.pg
        .renew(&bed.fence, TTL, &Live::default())
        .await
        .expect("beat");
    let late = bed.pg.batch(&worker, &request(&work, &hers, 100)).await;
    assert_eq!(late.expect_err("taken for dead").kind, ErrorKind::Fenced);

    let worker = join(&bed, "ann").await;
    bed.execute("UPDATE pontoon.lease SET expires_at = now() - interval '1 second'")
        .await;
    assert_eq!(taken(&bed, &worker).await.no, now_ours.no);
    let report = bed.batch(&work, &now_ours, 100).await.expect("it is told");
    assert!(report.taken && report.changed == 0, "{report:?}");
    let filled = "SELECT count(*) FROM t WHERE lower_name IS NOT NULL";
    assert_eq!(bed.count(filled).await, changed);
}
