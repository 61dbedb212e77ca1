//! Backfills: bringing the rows that nobody writes into the new shape.
//!
//! Rows that a dual write covers need one pass: a row that the application
//! touches meanwhile is healed by the triggers, and one that it does not
//! touch does not move. An UPDATE that no trigger covers is repeated until a
//! pass finds nothing, which proves little: a row that is written all the time
//! may stand behind each batch when it looks, and before it when it has gone
//! on. So one look at the whole table in one snapshot decides; where it finds a
//! row, the next pass goes along a key. A table that was rewritten is scanned again, which
//! changes only what still needs it. Partitions that came meanwhile get
//! ranges of their own before the step is called done.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::time::Duration;

use pontoon_core::step::{Backfill, BackfillWork};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{
    BatchRequest, Database, DbError, ErrorKind, Fence, RangeRecord, Scan, ScanKind, Settings,
};
use crate::event::{BackfillProgress, Event, Sink};
use crate::failpoint;
use crate::scan::{self, Chunk, End, PROGRESS, Speed, Tally, Watcher};
use crate::throttle::Throttle;

/// Laps over each stretch of pages. Four reuse three quarters of the space;
/// more of them gain little and look at each page as many times more.
const LAPS: u32 = 4;
/// A row that still matches after so many passes will always match.
const MOST_PASSES: u32 = 100;
/// Passes of an undo are numbered from here, beside those of the step itself.
const UNDO_PASS: u32 = 1_000;

/// How a backfill ended, when it did not fail.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// No row is left.
    Finished {
        /// Rows changed by all its batches, those of earlier sittings included.
        rows: u64,
        /// Where it stood then, for `status` of a step that is done.
        progress: BackfillProgress,
    },
    /// It was told to stop, and has finished its batches.
    Interrupted,
}

/// Runs the backfill of a step to its end, from wherever it stands.
pub(crate) async fn run<D: Database>(
    db: &D,
    fence: &Fence,
    no: u32,
    work: &Backfill,
    settings: watch::Receiver<Settings>,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, DbError> {
    passes(db, fence, no, 0, work, settings, sink, cancel).await
}

/// Runs a backfill that takes a step back.
pub(crate) async fn run_undo<D: Database>(
    db: &D,
    fence: &Fence,
    no: u32,
    work: &Backfill,
    settings: watch::Receiver<Settings>,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, DbError> {
    passes(db, fence, no, UNDO_PASS, work, settings, sink, cancel).await
}

#[expect(
    clippy::too_many_arguments,
    reason = "each is a thing of its own, used once"
)]
async fn passes<D: Database>(
    db: &D,
    fence: &Fence,
    no: u32,
    first_pass: u32,
    work: &Backfill,
    settings: watch::Receiver<Settings>,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, DbError> {
    let throttle = Throttle::start(db, fence.run, settings.clone(), sink);
    let mut rows = 0;
    let mut chase = false;
    for pass in first_pass..first_pass + MOST_PASSES {
        let scan = Scan {
            no,
            pass,
            kind: ScanKind::Backfill(work.clone()),
            cursor: work.cursor.or(settings.borrow().backfill.cursor),
            workers: settings.borrow().backfill.workers.max(1),
            // Later passes find little to do.
            laps: if pass == first_pass { LAPS } else { 1 },
            chase,
        };
        let Some((changed, mut progress)) =
            one_pass(db, fence, &scan, work, &settings, &throttle, sink, cancel).await?
        else {
            return Ok(Outcome::Interrupted);
        };
        rows += changed;
        progress.rows_done = rows;
        let left = match work.work {
            BackfillWork::Mappings { .. } => false,
            BackfillWork::Update { .. } if changed > 0 => true,
            BackfillWork::Update { .. } => {
                chase = tokio::select! {
                    left = db.is_left(work) => left?,
                    () = cancel.cancelled() => return Ok(Outcome::Interrupted),
                };
                chase
            }
        };
        if !left {
            return Ok(Outcome::Finished { rows, progress });
        }
    }
    Err(DbError::new(
        ErrorKind::Failed,
        format!(
            "The backfill of {} still finds rows after {MOST_PASSES} passes",
            work.table
        ),
    )
    .hint("The application writes rows that match `where` faster than they are changed: let it write the new value first."))
}

/// Goes through every range of a pass. Returns the rows changed and where the
/// pass stands, or `None` when it was told to stop.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a thing of its own, used once"
)]
async fn one_pass<D: Database>(
    db: &D,
    fence: &Fence,
    scan: &Scan,
    work: &Backfill,
    settings: &watch::Receiver<Settings>,
    throttle: &Throttle,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Option<(u64, BackfillProgress)>, DbError> {
    loop {
        let ranges = db.ranges(fence, scan).await?;
        if ranges.iter().all(|range| range.done) {
            let progress = Progress::new(scan.no, work, &ranges, sink);
            let rows = ranges.iter().map(|range| range.rows).sum();
            return Ok(Some((rows, progress.tell(0))));
        }
        let progress = Progress::new(scan.no, work, &ranges, sink);
        let batch = |range: RangeRecord, rows: u64| {
            let request = request(work, range, rows, &settings.borrow());
            async move {
                let report = db.batch(fence, &request).await?;
                failpoint::reach("batch.end");
                Ok(Chunk {
                    range: report.range,
                    rows: report.changed,
                    contended: report.contended,
                    elapsed: report.elapsed,
                    rewritten: report.rewritten,
                })
            }
        };
        let end = scan::drive(
            ranges,
            settings.clone(),
            throttle,
            sink,
            cancel,
            &progress,
            batch,
        )
        .await?;
        match end {
            // Listed again: a partition may have come meanwhile.
            End::Done => {}
            End::Rewritten(table) => sink.emit(Event::BackfillRestarted {
                table,
                reason: "the table was rewritten (VACUUM FULL, CLUSTER, TRUNCATE or ALTER)"
                    .to_owned(),
            }),
            End::Interrupted => return Ok(None),
        }
    }
}

fn request(work: &Backfill, range: RangeRecord, rows: u64, settings: &Settings) -> BatchRequest {
    BatchRequest {
        backfill: work.clone(),
        range,
        rows,
        max_batch_rows: settings.limits.max_batch_rows,
        max_rows_affected: settings.limits.max_rows_affected,
        timeout: timeout(settings),
    }
}

/// The server ends a batch that takes longer: an application's statement may
/// be waiting for one of its rows.
pub(crate) fn timeout(settings: &Settings) -> Duration {
    settings.limits.max_lock_duration
}

/// Tells where a backfill stands, a few times a second.
struct Progress<'a> {
    no: u32,
    work: &'a Backfill,
    tally: Tally,
    sink: &'a Sink,
    speed: Mutex<(Speed, Option<Instant>)>,
}

impl<'a> Progress<'a> {
    fn new(no: u32, work: &'a Backfill, ranges: &[RangeRecord], sink: &'a Sink) -> Self {
        let tally = Tally::new(ranges);
        let speed = Speed::new(
            tally.sum(|range| range.rows),
            tally.sum(|range| range.pages_done),
        );
        let progress = Self {
            no,
            work,
            tally,
            sink,
            speed: Mutex::new((speed, None)),
        };
        progress.tell(0);
        progress
    }

    fn tell(&self, batch_rows: u64) -> BackfillProgress {
        let rows_done = self.tally.sum(|range| range.rows);
        let pages_done = self.tally.sum(|range| range.pages_done);
        let pages_total = self.tally.sum(|range| range.pages_total);
        let estimate = self.tally.sum(|range| range.rows_estimate);
        let mut speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows_per_second, pages_per_second) = speed.0.observe(rows_done, pages_done);
        speed.1 = Some(Instant::now());
        drop(speed);
        #[expect(clippy::cast_precision_loss, reason = "an ETA is an estimate")]
        let eta_seconds = (pages_per_second > 0.0)
            .then(|| pages_total.saturating_sub(pages_done) as f64 / pages_per_second);
        let progress = BackfillProgress {
            no: self.no,
            table: self.work.table.clone(),
            rows_done,
            rows_total: (estimate > 0).then_some(estimate),
            pages_done,
            pages_total,
            rows_per_second,
            eta_seconds,
            batch_rows,
        };
        self.sink.emit(Event::BackfillProgress(progress.clone()));
        progress
    }
}

impl Watcher for Progress<'_> {
    fn chunk(&self, chunk: &Chunk, batch_rows: u64) {
        self.tally.put(&chunk.range);
        let due = self
            .speed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .1
            .is_none_or(|last| last.elapsed() >= PROGRESS);
        if due {
            self.tell(batch_rows);
        }
    }
}
