//! Going through a table's ranges with several workers: what backfills and
//! verify passes have in common.
//!
//! Each worker takes a range, works on it chunk by chunk, and takes the next.
//! A chunk is one transaction, so a worker can stop between any two. Memory
//! is constant: a worker holds one range and nothing of its rows.

mod pace;
mod progress;
mod queue;
mod size;

use std::collections::HashMap;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use pontoon_core::name::TableName;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{Claim, DbError, ErrorKind, RangeRecord, Settings};
use crate::event::{Event, Sink};
use crate::throttle::Throttle;

use size::BatchSize;

pub(crate) use progress::{PROGRESS, Speed, Tally};
pub(crate) use queue::{Claims, Listed, Queue};

/// How long the database may be out of reach before the sitting ends.
const OUT_OF_REACH: Duration = Duration::from_secs(120);
/// Tries of the smallest batch before it is called impossible.
const LEAST_TRIES: u32 = 5;
/// Where few rows need work a batch is quick whatever its size; it does not
/// grow beyond this there, because the next one may be full.
const SPARSE: u64 = 10_000;
/// The pause before a smaller batch is tried.
const SMALLER: Duration = Duration::from_millis(20);
/// How long a range rests when others hold all the rows it has left.
const CONTENDED: Duration = Duration::from_millis(100);
/// The same, at most.
const CONTENDED_MOST: Duration = Duration::from_secs(2);

/// What one chunk did.
#[derive(Debug)]
pub(crate) struct Chunk {
    /// The range as it stands now.
    pub(crate) range: RangeRecord,
    /// Rows changed or compared.
    pub(crate) rows: u64,
    /// Rows left open because someone holds them.
    pub(crate) contended: u64,
    /// Server time.
    pub(crate) elapsed: Duration,
    /// The table was rewritten.
    pub(crate) rewritten: bool,
    /// Another process has the range now.
    pub(crate) taken: bool,
}

/// How a scan ended, when it did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// Every range is done.
    Done,
    /// A table was rewritten: its ranges have to be made anew.
    Rewritten(TableName),
    /// It was told to stop.
    Interrupted,
}

/// Told after each chunk.
pub(crate) trait Watcher: Send + Sync {
    /// A chunk has committed.
    fn chunk(&self, chunk: &Chunk, batch_rows: u64);
}

/// What all workers of a scan share.
struct Shared<'a, Q, F> {
    queue: &'a Q,
    /// The queue had nothing left when it was last asked.
    drained: AtomicBool,
    /// For how long ranges rest whose rows others hold, by their numbers.
    rests: Mutex<HashMap<u32, Duration>>,
    sizes: Mutex<HashMap<TableName, BatchSize>>,
    rewritten: Mutex<Option<TableName>>,
    halt: CancellationToken,
    cancel: &'a CancellationToken,
    settings: watch::Receiver<Settings>,
    throttle: &'a Throttle,
    sink: &'a Sink,
    watcher: &'a dyn Watcher,
    work: F,
}

/// Works on the ranges of a queue until it has nothing left, with as many
/// workers as the settings say at each moment. `work` is one chunk: a range
/// and the rows to aim at.
pub(crate) async fn drive<Q, F, Fut>(
    queue: &Q,
    settings: watch::Receiver<Settings>,
    throttle: &Throttle,
    sink: &Sink,
    cancel: &CancellationToken,
    watcher: &dyn Watcher,
    work: F,
) -> Result<End, DbError>
where
    Q: Queue,
    F: Fn(RangeRecord, u64) -> Fut + Sync,
    Fut: Future<Output = Result<Chunk, DbError>> + Send,
{
    let shared = Shared {
        queue,
        drained: AtomicBool::new(false),
        rests: Mutex::default(),
        sizes: Mutex::default(),
        rewritten: Mutex::new(None),
        halt: CancellationToken::new(),
        cancel,
        settings,
        throttle,
        sink,
        watcher,
        work,
    };
    let mut workers = FuturesUnordered::new();
    let mut started = 0;
    let mut outcome = Ok(());
    loop {
        // Workers beyond the wanted number end by themselves between chunks.
        let wanted = shared.settings.borrow().backfill.workers.max(1);
        let work_left = |started| started < wanted && !shared.is_drained() && !shared.stopping();
        while outcome.is_ok() && work_left(started) {
            workers.push(shared.worker(started));
            started += 1;
        }
        let mut changed = shared.settings.clone();
        tokio::select! {
            ended = workers.next() => match ended {
                Some(Ok(())) => started = u32::try_from(workers.len()).unwrap_or(u32::MAX),
                Some(Err(error)) => {
                    shared.halt.cancel();
                    if outcome.is_ok() {
                        outcome = Err(error);
                    }
                }
                None => break,
            },
            _ = changed.changed(), if !shared.stopping() => {}
        }
        if workers.is_empty() && (shared.stopping() || shared.is_drained()) {
            break;
        }
    }
    outcome?;
    let rewritten = lock(&shared.rewritten).take();
    Ok(match rewritten {
        Some(table) => End::Rewritten(table),
        None if shared.is_drained() => End::Done,
        None => End::Interrupted,
    })
}

impl<Q, F, Fut> Shared<'_, Q, F>
where
    Q: Queue,
    F: Fn(RangeRecord, u64) -> Fut + Sync,
    Fut: Future<Output = Result<Chunk, DbError>> + Send,
{
    fn stopping(&self) -> bool {
        self.halt.is_cancelled() || self.cancel.is_cancelled()
    }

    /// The settings ask for fewer workers now.
    fn is_superfluous(&self, number: u32) -> bool {
        number >= self.settings.borrow().backfill.workers.max(1)
    }

    /// Waits until no signal holds. `false`: it is time to stop.
    async fn may_go_on(&self) -> bool {
        tokio::select! {
            pass = self.throttle.pass(self.cancel) => pass,
            () = self.halt.cancelled() => false,
        }
    }

    fn is_drained(&self) -> bool {
        self.drained.load(Ordering::SeqCst)
    }

    /// Waits, unless it is time to stop.
    async fn wait(&self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.halt.cancelled() => {}
            () = self.cancel.cancelled() => {}
        }
    }

    /// Takes ranges until there is none, or this worker is one too many.
    async fn worker(&self, number: u32) -> Result<(), DbError> {
        let mut tries = Tries::default();
        loop {
            if self.stopping() || self.is_superfluous(number) {
                return Ok(());
            }
            let range = match self.queue.take().await {
                Ok(Claim::Range(range)) => *range,
                Ok(Claim::Later(pause)) => {
                    self.wait(pause).await;
                    continue;
                }
                Ok(Claim::Nothing) => {
                    self.drained.store(true, Ordering::SeqCst);
                    return Ok(());
                }
                Err(error) => {
                    self.outlast(error, &mut tries).await?;
                    continue;
                }
            };
            if let Rest::Later(range, pause) = self.range(number, range, &mut tries).await? {
                self.put_back(&range, pause, &mut tries).await?;
            }
        }
    }

    /// Lets others have a range. Who stops need not: with its term, whatever
    /// it had is free.
    async fn put_back(
        &self,
        range: &RangeRecord,
        rest: Duration,
        tries: &mut Tries,
    ) -> Result<(), DbError> {
        while !self.cancel.is_cancelled() {
            match self.queue.put_back(range, rest).await {
                Ok(()) => {
                    self.drained.store(false, Ordering::SeqCst);
                    return Ok(());
                }
                Err(error) => self.outlast(error, tries).await?,
            }
        }
        self.drained.store(false, Ordering::SeqCst);
        Ok(())
    }

    /// Works on one range until it is done, is told to stop, or has nothing
    /// left but rows that others hold.
    async fn range(
        &self,
        number: u32,
        mut range: RangeRecord,
        tries: &mut Tries,
    ) -> Result<Rest, DbError> {
        let mut limited: Option<u64> = None;
        loop {
            if self.stopping() || self.is_superfluous(number) || !self.may_go_on().await {
                return Ok(Rest::Later(Box::new(range), Duration::ZERO));
            }
            let cap = self.settings.borrow().limits.max_batch_rows;
            let wanted = self.size(&range, |size| size.rows(cap));
            let rows = limited.map_or(wanted, |limit| limit.min(wanted));
            let yields = self.throttle.yields();
            let goal = pace::goal(&self.settings.borrow(), yields, rows);
            let chunk = match (self.work)(range.clone(), rows).await {
                Ok(chunk) => chunk,
                Err(error) => {
                    self.recover(error, &range, cap, &mut limited, tries)
                        .await?;
                    continue;
                }
            };
            *tries = Tries::default();
            limited = None;
            if chunk.taken {
                return Ok(Rest::Done);
            }
            if chunk.rewritten {
                *lock(&self.rewritten) = Some(chunk.range.table.clone());
                self.halt.cancel();
                return Ok(Rest::Later(Box::new(chunk.range), Duration::ZERO));
            }
            let cap = if chunk.rows + chunk.contended >= rows / 2 {
                cap
            } else {
                cap.min(SPARSE)
            };
            self.size(&chunk.range, |size| size.observe(chunk.elapsed, goal, cap));
            self.watcher.chunk(&chunk, rows);
            let rest = pace::rest(&self.settings.borrow(), yields, chunk.elapsed);
            if !rest.is_zero() {
                self.wait(rest).await;
            }
            // The position itself changes with every look at what is held.
            let stuck = chunk.rows == 0
                && chunk.contended > 0
                && chunk.range.pages_done <= range.pages_done;
            range = chunk.range;
            if range.done {
                return Ok(Rest::Done);
            }
            if stuck {
                let mut rests = lock(&self.rests);
                let rest = rests.entry(range.no).or_insert(CONTENDED / 2);
                *rest = (*rest * 2).min(CONTENDED_MOST);
                return Ok(Rest::Later(Box::new(range), *rest));
            }
            lock(&self.rests).remove(&range.no);
        }
    }

    fn size<T>(&self, range: &RangeRecord, f: impl FnOnce(&mut BatchSize) -> T) -> T {
        let mut sizes = lock(&self.sizes);
        f(sizes
            .entry(range.table.clone())
            .or_insert_with(|| BatchSize::new(bytes_per_row(range))))
    }

    /// What passes is waited out; everything else ends the scan.
    async fn recover(
        &self,
        error: DbError,
        range: &RangeRecord,
        cap: u64,
        limited: &mut Option<u64>,
        tries: &mut Tries,
    ) -> Result<(), DbError> {
        match &error.kind {
            ErrorKind::RowLimit { affected, limit } if affected < limit => {
                *limited = Some(limit - affected);
                return Ok(());
            }
            // Our own bound on a batch: a smaller one may fit, and takes its
            // bound at the same moment as the batches of other workers.
            ErrorKind::Transient if error.code.as_deref() == Some("57014") => {
                let least = self.size(range, |size| {
                    let least = size.is_least();
                    size.timed_out(cap);
                    least
                });
                if !least {
                    self.rest(&error, SMALLER).await;
                    return Ok(());
                }
                if tries.count >= LEAST_TRIES {
                    return Err(exhausted(error, range));
                }
            }
            ErrorKind::Transient
            | ErrorKind::Unreachable
            | ErrorKind::Rejected
            | ErrorKind::ServerChanged
            | ErrorKind::Fenced
            | ErrorKind::Held { .. }
            | ErrorKind::Conflict
            | ErrorKind::LockPatience { .. }
            | ErrorKind::RowLimit { .. }
            | ErrorKind::ProofVoid
            | ErrorKind::Refused
            | ErrorKind::Failed
            | ErrorKind::Internal => {}
        }
        self.outlast(error, tries).await
    }

    /// Waits out what passes.
    async fn outlast(&self, error: DbError, tries: &mut Tries) -> Result<(), DbError> {
        if !matches!(error.kind, ErrorKind::Transient | ErrorKind::Unreachable) {
            return Err(error);
        }
        // Somebody's lock is waited out like the lock of any step.
        let patience = match error.code.as_deref() {
            Some("55P03" | "57014") => self.settings.borrow().limits.lock_patience,
            _ => OUT_OF_REACH,
        };
        let Some(pause) = tries.next(patience) else {
            return Err(error);
        };
        self.rest(&error, pause).await;
        Ok(())
    }

    /// Waits before the next try, and says so.
    async fn rest(&self, error: &DbError, pause: Duration) {
        self.sink.emit(Event::Retrying {
            error: error.to_string(),
            after_ms: u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
        });
        self.wait(pause).await;
    }
}

/// What became of a range that a worker had taken.
enum Rest {
    Done,
    Later(Box<RangeRecord>, Duration),
}

/// Tries of one worker since its last success.
#[derive(Debug, Default)]
struct Tries {
    count: u32,
    first: Option<Instant>,
    pause: Duration,
}

impl Tries {
    /// The pause before the next try; `None` when patience is spent.
    fn next(&mut self, patience: Duration) -> Option<Duration> {
        let first = *self.first.get_or_insert_with(Instant::now);
        if first.elapsed() > patience {
            return None;
        }
        self.count += 1;
        self.pause = (self.pause * 2).clamp(Duration::from_millis(50), Duration::from_secs(5));
        Some(self.pause.mul_f64(0.75 + rand::random::<f64>() / 2.0))
    }
}

/// The smallest batch does not end in its time, however often it is tried.
fn exhausted(error: DbError, range: &RangeRecord) -> DbError {
    DbError {
        kind: ErrorKind::Failed,
        message: format!(
            "even one row of {} takes longer than a batch may last: {}",
            range.table, error.message
        ),
        hints: vec![
            "A slow expression or trigger, or a foreign key whose parent row is held, makes it so; a larger limits.max_lock_duration gives it more time.".to_owned(),
        ],
        ..error
    }
}

fn bytes_per_row(range: &RangeRecord) -> u64 {
    const PAGE_BYTES: u64 = 8192;
    (range.pages_total * PAGE_BYTES)
        .checked_div(range.rows_estimate)
        .unwrap_or(0)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
