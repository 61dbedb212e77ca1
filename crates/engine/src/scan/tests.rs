//! The driver with work that no database does.

use std::sync::atomic::{AtomicU32, Ordering};

use pontoon_core::plan::{BackfillOptions, Limits};
use pontoon_core::step::CursorKind;

use super::*;
use crate::db::Findings;

const CHUNKS: u64 = 5;

fn ranges(count: u32) -> Vec<RangeRecord> {
    (1..=count)
        .map(|no| RangeRecord {
            step: 1,
            pass: 0,
            no,
            table: TableName::new("public", "t"),
            cursor: CursorKind::Pages,
            position: "0".to_owned(),
            upper: None,
            done: false,
            rows: 0,
            pages_done: 0,
            pages_total: CHUNKS,
            storage: 1,
            rows_estimate: 100,
            findings: Findings::default(),
        })
        .collect()
}

fn settings(workers: u32) -> Settings {
    Settings {
        limits: Limits::default(),
        backfill: BackfillOptions {
            workers,
            ..BackfillOptions::default()
        },
        throttle: std::collections::BTreeMap::new(),
        gates: Vec::new(),
    }
}

/// A range one chunk further.
fn step(range: RangeRecord) -> Chunk {
    let pages_done = range.pages_done + 1;
    Chunk {
        range: RangeRecord {
            pages_done,
            position: pages_done.to_string(),
            done: pages_done == CHUNKS,
            rows: range.rows + 10,
            ..range
        },
        rows: 10,
        contended: 0,
        elapsed: Duration::from_millis(1),
        rewritten: false,
        taken: false,
    }
}

/// Counts chunks, and how many were under way at once.
#[derive(Default)]
struct Gauge {
    chunks: AtomicU32,
    now: AtomicU32,
    most: AtomicU32,
}

impl Gauge {
    async fn work(&self, range: RangeRecord) -> Chunk {
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.now.fetch_sub(1, Ordering::SeqCst);
        self.chunks.fetch_add(1, Ordering::SeqCst);
        step(range)
    }

    fn chunks(&self) -> u32 {
        self.chunks.load(Ordering::SeqCst)
    }

    fn most(&self) -> u32 {
        self.most.load(Ordering::SeqCst)
    }
}

struct Nobody;

impl Watcher for Nobody {
    fn chunk(&self, _: &Chunk, _: u64) {}
}

async fn driven<F, Fut>(
    count: u32,
    settings: watch::Receiver<Settings>,
    cancel: &CancellationToken,
    work: F,
) -> Result<End, DbError>
where
    F: Fn(RangeRecord, u64) -> Fut + Sync,
    Fut: Future<Output = Result<Chunk, DbError>> + Send,
{
    let (sink, throttle) = (Sink::none(), Throttle::open());
    drive(
        &Listed::new(ranges(count)),
        settings,
        &throttle,
        &sink,
        cancel,
        &Nobody,
        work,
    )
    .await
}

fn fixed(workers: u32) -> watch::Receiver<Settings> {
    watch::channel(settings(workers)).1
}

#[tokio::test]
async fn every_range_is_done_by_as_many_workers_as_wanted() {
    for workers in [1, 3] {
        let gauge = Gauge::default();
        let cancel = CancellationToken::new();
        let work = async |range| Ok(gauge.work(range).await);
        let end = driven(7, fixed(workers), &cancel, |range, _| work(range)).await;
        assert_eq!(end.expect("no error"), End::Done);
        assert_eq!(gauge.chunks(), 7 * u32::try_from(CHUNKS).expect("few"));
        assert_eq!(gauge.most(), workers);
    }
}

#[tokio::test]
async fn workers_come_and_go_while_it_runs() {
    let gauge = Gauge::default();
    let cancel = CancellationToken::new();
    let (sender, receiver) = watch::channel(settings(4));
    let work = async |range| {
        let chunk = gauge.work(range).await;
        if gauge.chunks() == 8 {
            sender.send_replace(settings(1));
        }
        if gauge.chunks() == 16 {
            gauge.most.store(0, Ordering::SeqCst);
        }
        if gauge.chunks() == 24 {
            assert_eq!(gauge.most(), 1);
            sender.send_replace(settings(3));
        }
        Ok(chunk)
    };
    let end = driven(12, receiver, &cancel, |range, _| work(range)).await;
    assert_eq!(end.expect("no error"), End::Done);
    assert_eq!(gauge.most(), 3);
}

#[tokio::test]
async fn told_to_stop_it_finishes_its_chunks_and_begins_none() {
    let gauge = Gauge::default();
    let cancel = CancellationToken::new();
    let work = async |range| {
        if gauge.chunks() == 4 {
            cancel.cancel();
        }
        Ok(gauge.work(range).await)
    };
    let end = driven(9, fixed(2), &cancel, |range, _| work(range)).await;
    assert_eq!(end.expect("no error"), End::Interrupted);
    assert!((5..=6).contains(&gauge.chunks()), "{}", gauge.chunks());
}

#[tokio::test]
async fn what_passes_is_tried_again() {
    let gauge = Gauge::default();
    let (failures, cancel) = (AtomicU32::new(0), CancellationToken::new());
    let work = async |range| {
        if failures.fetch_add(1, Ordering::SeqCst) < 2 {
            return Err(DbError::new(ErrorKind::Unreachable, "gone"));
        }
        Ok(gauge.work(range).await)
    };
    let end = driven(1, fixed(1), &cancel, |range, _| work(range)).await;
    assert_eq!(end.expect("no error"), End::Done);
}

#[tokio::test]
async fn a_failure_ends_the_others_after_their_chunks() {
    let gauge = Gauge::default();
    let cancel = CancellationToken::new();
    let work = async |range: RangeRecord| {
        if range.no == 2 && range.pages_done == 2 {
            return Err(DbError::new(ErrorKind::Failed, "bad row"));
        }
        Ok(gauge.work(range).await)
    };
    let error = driven(8, fixed(3), &cancel, |range, _| work(range))
        .await
        .expect_err("it fails");
    assert_eq!(error.message, "bad row");
    assert_eq!(gauge.now.load(Ordering::SeqCst), 0);
    assert!(gauge.chunks() < 12, "{}", gauge.chunks());
}

#[tokio::test]
async fn a_batch_that_never_ends_in_its_time_gets_smaller_and_then_fails() {
    let cancel = CancellationToken::new();
    let least = std::sync::Mutex::new(u64::MAX);
    let work = async |rows: u64| -> Result<Chunk, DbError> {
        let mut least = lock(&least);
        *least = (*least).min(rows);
        Err(DbError::new(ErrorKind::Transient, "timeout").code("57014"))
    };
    tokio::time::timeout(Duration::from_secs(60), async {
        let error = driven(1, fixed(1), &cancel, |_, rows| work(rows))
            .await
            .expect_err("it fails");
        assert_eq!(error.kind, ErrorKind::Failed);
        assert!(error.message.contains("one row of public.t"), "{error}");
    })
    .await
    .expect("in time");
    assert_eq!(*lock(&least), 1);
}

#[tokio::test]
async fn a_range_whose_rows_are_held_rests_while_others_go_on() {
    let looks = AtomicU32::new(0);
    let cancel = CancellationToken::new();
    let others = AtomicU32::new(0);
    let work = async |range: RangeRecord| {
        if range.no != 1 {
            others.fetch_add(1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            return Ok(step(range));
        }
        let look = looks.fetch_add(1, Ordering::SeqCst);
        if others.load(Ordering::SeqCst) < 20 {
            return Ok(Chunk {
                // The position changes at every look.
                range: RangeRecord {
                    position: format!("look {look}"),
                    ..range
                },
                rows: 0,
                contended: 3,
                elapsed: Duration::from_millis(1),
                rewritten: false,
                taken: false,
            });
        }
        Ok(step(range))
    };
    let end = driven(5, fixed(1), &cancel, |range, _| work(range)).await;
    assert_eq!(end.expect("no error"), End::Done);
    assert!(looks.load(Ordering::SeqCst) < 12, "{looks:?}");
}

#[tokio::test]
async fn a_rewrite_ends_the_scan() {
    let cancel = CancellationToken::new();
    let work = async |range: RangeRecord| {
        let rewritten = range.no == 3;
        Ok(Chunk {
            rewritten,
            ..step(range)
        })
    };
    let end = driven(4, fixed(2), &cancel, |range, _| work(range)).await;
    assert_eq!(
        end.expect("no error"),
        End::Rewritten(TableName::new("public", "t"))
    );
}
