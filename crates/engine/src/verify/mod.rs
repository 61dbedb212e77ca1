//! Verify passes: proof that every row is in step.
//!
//! A pass compares every row of every leaf, chunk by chunk, each chunk in one
//! snapshot. It is clean when it has seen everything (verified ranges equal
//! planned ranges) and found nothing. A row that only lacks its new value is
//! filled, but that voids the pass: another full one has to come. A row whose
//! two shapes disagree is never mended by guess: the pass has failed, which
//! is durable, and only a person's `pontoon verify` makes a new one.

use std::sync::{Mutex, PoisonError};

use pontoon_core::name::TableName;
use pontoon_core::step::Verify;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::backfill;
use crate::db::{
    Database, DbError, Fence, RangeRecord, Scan, ScanKind, Settings, StepChange, StepRecord,
    StepState, VerifyRequest,
};
use crate::event::{Event, Sink, VerifyProgress};
use crate::failpoint;
use crate::scan::{self, Chunk, End, Listed, PROGRESS, Tally, Watcher};
use crate::throttle::Throttle;

/// Passes in one sitting: each may find rows to fill, but not for ever.
const MOST_PASSES: u32 = 5;
/// Conflicts that are named.
const EXAMPLES: usize = 20;

/// How verifying ended, when nothing went wrong on the way.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// A full pass found nothing; the step is done.
    Clean(VerifyProgress),
    /// Rows disagree, or new ones keep falling out of step.
    Failed(VerifyProgress),
    /// It was told to stop; the pass goes on where it is.
    Interrupted,
}

/// Makes passes over the table of a step until one is clean or has failed.
pub(crate) async fn run<D: Database>(
    db: &D,
    fence: &Fence,
    step: &StepRecord,
    work: &Verify,
    settings: watch::Receiver<Settings>,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Outcome, DbError> {
    let throttle = Throttle::start(db, fence.run, settings.clone(), sink);
    let first = next_pass(step);
    for pass in first.. {
        let running = json!({"pass": pass, "running": true, "clean": false});
        record(db, fence, step.step.no, StepState::Running, running, None).await?;
        let scan = Scan {
            chase: false,
            no: step.step.no,
            pass,
            kind: ScanKind::Verify(work.clone()),
            cursor: settings.borrow().backfill.cursor,
            workers: settings.borrow().backfill.workers.max(1),
            laps: 1,
        };
        let Some(ranges) =
            one_pass(db, fence, &scan, work, &settings, &throttle, sink, cancel).await?
        else {
            return Ok(Outcome::Interrupted);
        };
        let progress = summary(step.step.no, pass, work, &ranges, true);
        let failed = progress.conflicts > 0 || (!progress.clean && pass + 1 >= first + MOST_PASSES);
        let state = if progress.clean {
            StepState::Done
        } else {
            StepState::Running
        };
        let detail = detail(&progress, &ranges, failed);
        record(
            db,
            fence,
            step.step.no,
            state,
            detail,
            Some(Event::VerifyFinished(progress.clone())),
        )
        .await?;
        sink.emit(Event::VerifyFinished(progress.clone()));
        if progress.clean {
            return Ok(Outcome::Clean(progress));
        }
        if failed {
            return Ok(Outcome::Failed(progress));
        }
    }
    Ok(Outcome::Interrupted)
}

/// An interrupted pass goes on; everything else is followed by a new one.
fn next_pass(step: &StepRecord) -> u32 {
    let pass = step
        .detail
        .get("pass")
        .and_then(serde_json::Value::as_u64)
        .and_then(|pass| u32::try_from(pass).ok());
    let running = step.detail.get("running") == Some(&serde_json::Value::Bool(true));
    match pass {
        None => 1,
        Some(pass) if running => pass,
        Some(pass) => pass + 1,
    }
}

/// Goes through every range of a pass, and returns them as they then stand.
#[expect(
    clippy::too_many_arguments,
    reason = "each is a thing of its own, used once"
)]
async fn one_pass<D: Database>(
    db: &D,
    fence: &Fence,
    scan: &Scan,
    work: &Verify,
    settings: &watch::Receiver<Settings>,
    throttle: &Throttle,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Option<Vec<RangeRecord>>, DbError> {
    loop {
        let ranges = db.ranges(fence, scan).await?;
        if ranges.iter().all(|range| range.done) {
            return Ok(Some(ranges));
        }
        let progress = Progress {
            no: scan.no,
            pass: scan.pass,
            work,
            tally: Tally::new(&ranges),
            sink,
            told: Mutex::new(None),
        };
        let chunk = |range: RangeRecord, rows: u64| {
            let request = VerifyRequest {
                verify: work.clone(),
                range,
                rows,
                repair: true,
                max_rows_affected: settings.borrow().limits.max_rows_affected,
                timeout: backfill::timeout(&settings.borrow()),
            };
            async move {
                let report = db.verify_chunk(fence, &request).await?;
                failpoint::reach("verify.chunk");
                Ok(Chunk {
                    range: report.range,
                    rows: report.checked,
                    contended: 0,
                    elapsed: report.elapsed,
                    rewritten: report.rewritten,
                    taken: false,
                })
            }
        };
        let end = scan::drive(
            &Listed::new(ranges),
            settings.clone(),
            throttle,
            sink,
            cancel,
            &progress,
            chunk,
        )
        .await?;
        match end {
            // Listed again: a partition may have come meanwhile.
            End::Done => {}
            End::Rewritten(table) => sink.emit(Event::Warning {
                message: format!("{table} was rewritten. Its verify pass begins again."),
            }),
            End::Interrupted => return Ok(None),
        }
    }
}

async fn record<D: Database>(
    db: &D,
    fence: &Fence,
    no: u32,
    state: StepState,
    detail: serde_json::Value,
    event: Option<Event>,
) -> Result<(), DbError> {
    let change = StepChange {
        state,
        undone: None,
        rows: None,
        detail: Some(detail),
        event,
    };
    db.update_step(fence, no, &change).await
}

/// What the cutover relies on, and `status` shows.
fn detail(progress: &VerifyProgress, ranges: &[RangeRecord], failed: bool) -> serde_json::Value {
    let mut leaves: Vec<(&TableName, u32)> = ranges
        .iter()
        .map(|range| (&range.table, range.storage))
        .collect();
    leaves.sort();
    leaves.dedup();
    let leaves: Vec<serde_json::Value> = leaves
        .into_iter()
        .map(|(table, storage)| json!({"schema": table.schema, "name": table.name, "filenode": storage}))
        .collect();
    json!({
        "pass": progress.pass,
        "running": false,
        "clean": progress.clean,
        "failed": failed,
        "checked": progress.checked,
        "mismatched": progress.mismatched,
        "conflicts": progress.conflicts,
        "lost": progress.lost,
        "repaired": progress.repaired,
        "examples": progress.examples,
        "leaves": leaves,
        "progress": progress,
    })
}

fn summary(
    no: u32,
    pass: u32,
    work: &Verify,
    ranges: &[RangeRecord],
    complete: bool,
) -> VerifyProgress {
    let sum = |of: fn(&RangeRecord) -> u64| ranges.iter().map(of).sum::<u64>();
    let mismatched = sum(|range| range.findings.mismatched);
    VerifyProgress {
        no,
        table: work.table.clone(),
        pass,
        checked: sum(|range| range.rows),
        pages_done: sum(|range| range.pages_done),
        pages_total: sum(|range| range.pages_total),
        mismatched,
        conflicts: sum(|range| range.findings.conflicts),
        lost: sum(|range| range.findings.lost),
        repaired: sum(|range| range.findings.repaired),
        examples: ranges
            .iter()
            .flat_map(|range| range.findings.examples.iter().cloned())
            .take(EXAMPLES)
            .collect(),
        clean: complete && mismatched == 0 && ranges.iter().all(|range| range.done),
    }
}

/// Tells where a pass stands, a few times a second.
struct Progress<'a> {
    no: u32,
    pass: u32,
    work: &'a Verify,
    tally: Tally,
    sink: &'a Sink,
    told: Mutex<Option<Instant>>,
}

impl Watcher for Progress<'_> {
    fn chunk(&self, chunk: &Chunk, _: u64) {
        self.tally.put(&chunk.range);
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_some_and(|last| last.elapsed() < PROGRESS) {
            return;
        }
        *told = Some(Instant::now());
        drop(told);
        let ranges = self.tally.all();
        self.sink.emit(Event::VerifyProgress(summary(
            self.no, self.pass, self.work, &ranges, false,
        )));
    }
}
