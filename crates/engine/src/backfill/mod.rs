//! Backfills: bringing the rows that nobody writes into the new shape.
//!
//! Rows that a dual write covers need one pass: a row that the application
//! touches meanwhile is healed by the triggers, and one that it does not
//! touch does not move. An UPDATE that no trigger covers is repeated until a
//! pass finds nothing, which proves little: a row that is written all the time
//! may stand behind each batch when it looks, and before it when it has gone
//! on. So one look at the whole table in one snapshot decides; where it finds a
//! row, the next pass goes along a key. A table that was rewritten is scanned
//! again, which changes only what still needs it. Partitions that came
//! meanwhile get ranges of their own before the step is called done.
//!
//! Ranges are claimed in the database, so that other processes can share them
//! ([`assist`]). Making them, and saying that a pass or the step is done, is
//! the holder's alone.

use std::convert::Infallible;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use pontoon_core::step::{Backfill, BackfillWork};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{
    BatchRequest, Database, DbError, ErrorKind, Fence, Own, RangeRecord, Scan, ScanKind, Settings,
};
use crate::event::{BackfillProgress, Event, Sink};
use crate::failpoint;
use crate::scan::{self, Chunk, Claims, End, PROGRESS, Speed, Tally, Watcher};
use crate::throttle::Throttle;

/// Laps over each stretch of pages. Four reuse three quarters of the space;
/// more of them gain little and look at each page as many times more.
const LAPS: u32 = 4;
/// A row that still matches after so many passes will always match.
const MOST_PASSES: u32 = 100;
/// How often a process looks at what others have done.
const FOLLOW: Duration = Duration::from_secs(1);
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

/// Under what a process works on a backfill.
pub(crate) struct Hands<'a, D> {
    pub(crate) db: &'a D,
    pub(crate) fence: &'a Fence,
    pub(crate) settings: watch::Receiver<Settings>,
    /// Other processes work on its ranges, too.
    pub(crate) in_company: Arc<AtomicBool>,
    pub(crate) sink: &'a Sink,
    pub(crate) cancel: &'a CancellationToken,
    /// Rows that this process has changed.
    own: AtomicU64,
}

impl<'a, D> Hands<'a, D> {
    pub(crate) fn new(
        db: &'a D,
        fence: &'a Fence,
        settings: watch::Receiver<Settings>,
        in_company: Arc<AtomicBool>,
        sink: &'a Sink,
        cancel: &'a CancellationToken,
    ) -> Self {
        Self {
            db,
            fence,
            settings,
            in_company,
            sink,
            cancel,
            own: AtomicU64::new(0),
        }
    }
}

/// Runs the backfill of a step to its end, from wherever it stands.
pub(crate) async fn run<D: Database>(
    hands: &Hands<'_, D>,
    no: u32,
    work: &Backfill,
) -> Result<Outcome, DbError> {
    passes(hands, no, 0, work).await
}

/// Runs a backfill that takes a step back.
pub(crate) async fn run_undo<D: Database>(
    hands: &Hands<'_, D>,
    no: u32,
    work: &Backfill,
) -> Result<Outcome, DbError> {
    passes(hands, no, UNDO_PASS, work).await
}

async fn passes<D: Database>(
    hands: &Hands<'_, D>,
    no: u32,
    first_pass: u32,
    work: &Backfill,
) -> Result<Outcome, DbError> {
    let settings = &hands.settings;
    let throttle = Throttle::start(hands.db, hands.fence.run, settings.clone(), hands.sink);
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
        let Some((changed, mut progress)) = one_pass(hands, &scan, work, &throttle).await? else {
            return Ok(Outcome::Interrupted);
        };
        rows += changed;
        progress.rows_done = rows;
        let left = match work.work {
            BackfillWork::Mappings { .. } => false,
            BackfillWork::Update { .. } if changed > 0 => true,
            BackfillWork::Update { .. } => {
                chase = tokio::select! {
                    left = hands.db.is_left(work) => left?,
                    () = hands.cancel.cancelled() => return Ok(Outcome::Interrupted),
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
async fn one_pass<D: Database>(
    hands: &Hands<'_, D>,
    scan: &Scan,
    work: &Backfill,
    throttle: &Throttle,
) -> Result<Option<(u64, BackfillProgress)>, DbError> {
    loop {
        let ranges = hands.db.ranges(hands.fence, scan).await?;
        if ranges.iter().all(|range| range.done) {
            let progress = Progress::new(hands, scan.no, work, &ranges);
            let rows = ranges.iter().map(|range| range.rows).sum();
            return Ok(Some((rows, progress.tell(0))));
        }
        match share(hands, scan.no, scan.pass, work, &ranges, throttle).await? {
            // Listed again: a partition may have come meanwhile.
            End::Done => {}
            End::Rewritten(table) => hands.sink.emit(Event::BackfillRestarted {
                table,
                reason: REWRITTEN.to_owned(),
            }),
            End::Interrupted => return Ok(None),
        }
    }
}

const REWRITTEN: &str = "the table was rewritten (VACUUM FULL, CLUSTER, TRUNCATE or ALTER)";

/// What became of a worker's help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Assisted {
    /// There is nothing to do now: no range is open, or the holder has to look
    /// at the table first.
    Idle,
    /// It was told to stop.
    Interrupted,
}

/// Works on the open ranges of a step that the holder has begun, as one of
/// several processes. What else there is to a backfill is the holder's.
pub(crate) async fn assist<D: Database>(
    hands: &Hands<'_, D>,
    no: u32,
    work: &Backfill,
) -> Result<Assisted, DbError> {
    let ranges = hands.db.listed(hands.fence.run, no).await?;
    let Some(open) = ranges.iter().find(|range| !range.done) else {
        return Ok(Assisted::Idle);
    };
    let throttle = Throttle::start(
        hands.db,
        hands.fence.run,
        hands.settings.clone(),
        hands.sink,
    );
    Ok(
        match share(hands, no, open.pass, work, &ranges, &throttle).await? {
            End::Done => Assisted::Idle,
            End::Rewritten(table) => {
                tracing::info!("the holder lists the ranges of {table} again: {REWRITTEN}");
                Assisted::Idle
            }
            End::Interrupted => Assisted::Interrupted,
        },
    )
}

/// Works on the ranges of a pass, beside whoever else does.
async fn share<D: Database>(
    hands: &Hands<'_, D>,
    no: u32,
    pass: u32,
    work: &Backfill,
    ranges: &[RangeRecord],
    throttle: &Throttle,
) -> Result<End, DbError> {
    let (db, fence, settings) = (hands.db, hands.fence, &hands.settings);
    let progress = Progress::new(hands, no, work, ranges);
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
                taken: report.taken,
            })
        }
    };
    let claims = Claims {
        db,
        fence,
        step: no,
        pass,
    };
    let driven = scan::drive(
        &claims,
        settings.clone(),
        throttle,
        hands.sink,
        hands.cancel,
        &progress,
        batch,
    );
    let end = tokio::select! {
        end = driven => end,
        never = follow(hands, &progress, pass) => match never {},
    };
    // With what came after the last time it was told.
    progress.tell(progress.batch_rows.load(Ordering::Relaxed));
    end
}

/// Keeps up with what other processes do.
async fn follow<D: Database>(
    hands: &Hands<'_, D>,
    progress: &Progress<'_>,
    pass: u32,
) -> Infallible {
    loop {
        tokio::time::sleep(FOLLOW).await;
        if !hands.in_company.load(Ordering::Relaxed) {
            continue;
        }
        match hands.db.listed(hands.fence.run, progress.no).await {
            Ok(ranges) => {
                for range in ranges.iter().filter(|range| range.pass == pass) {
                    progress.tally.put(range);
                }
                progress.tell(progress.batch_rows.load(Ordering::Relaxed));
            }
            // The batches meet the same database, and say more about it.
            Err(error) => tracing::debug!("progress could not be read: {error}"),
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
    own: &'a AtomicU64,
    batch_rows: AtomicU64,
    speed: Mutex<Speeds>,
}

/// Of the whole run, and of this process; and when they were told.
struct Speeds {
    all: Speed,
    own: Speed,
    told: Option<Instant>,
}

impl<'a> Progress<'a> {
    fn new<D>(
        hands: &'a Hands<'_, D>,
        no: u32,
        work: &'a Backfill,
        ranges: &[RangeRecord],
    ) -> Self {
        let tally = Tally::new(ranges);
        let own = hands.own.load(Ordering::Relaxed);
        let speed = Speeds {
            all: Speed::new(
                tally.sum(|range| range.rows),
                tally.sum(|range| range.pages_done),
            ),
            own: Speed::new(own, 0),
            told: None,
        };
        let progress = Self {
            no,
            work,
            tally,
            sink: hands.sink,
            own: &hands.own,
            batch_rows: AtomicU64::new(0),
            speed: Mutex::new(speed),
        };
        progress.tell(0);
        progress
    }

    fn tell(&self, batch_rows: u64) -> BackfillProgress {
        let rows_done = self.tally.sum(|range| range.rows);
        let pages_done = self.tally.sum(|range| range.pages_done);
        let pages_total = self.tally.sum(|range| range.pages_total);
        let estimate = self.tally.sum(|range| range.rows_estimate);
        let rows = self.own.load(Ordering::Relaxed);
        let mut speed = self.speed.lock().unwrap_or_else(PoisonError::into_inner);
        let (rows_per_second, pages_per_second) = speed.all.observe(rows_done, pages_done);
        let own = Own {
            rows,
            rows_per_second: speed.own.observe(rows, 0).0,
        };
        speed.told = Some(Instant::now());
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
            own,
        };
        self.sink.emit(Event::BackfillProgress(progress.clone()));
        progress
    }
}

impl Watcher for Progress<'_> {
    fn chunk(&self, chunk: &Chunk, batch_rows: u64) {
        self.tally.put(&chunk.range);
        self.own.fetch_add(chunk.rows, Ordering::Relaxed);
        self.batch_rows.store(batch_rows, Ordering::Relaxed);
        let due = self
            .speed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .told
            .is_none_or(|last| last.elapsed() >= PROGRESS);
        if due {
            self.tell(batch_rows);
        }
    }
}
