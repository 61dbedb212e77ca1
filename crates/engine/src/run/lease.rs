//! Holding a run.
//!
//! A lease is a term `(epoch, token, holder, expires_at)` on the database's
//! clock. While we hold it, a task renews it every `HEARTBEAT` and tells what
//! the run is doing; local trust ends *before* the term does: when no renewal
//! has succeeded for `TRUST` of the term, counted from before the last
//! successful request was sent, all work is stopped. Trust is a courtesy that
//! saves work; what protects the data is the fence, which every transaction
//! of ours passes inside the database.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{Acquired, Database, DbError, ErrorKind, Fence, Holder, RunFilter, Settings};
use crate::event::{Event, Sink};

use super::observe::Observer;

/// How long a term lasts without renewal.
pub(crate) const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// The first renewal comes sooner: whoever looks shall see something move.
const FIRST_BEAT: Duration = Duration::from_millis(250);
/// The last one, which tells what the sitting did, may take this long.
const LAST_BEAT: Duration = Duration::from_secs(2);
/// When local trust ends, counted from the last renewal.
pub(crate) const TRUST: Duration = Duration::from_secs(12);

/// Takes the lease. A holder on another machine that may be dead is given its
/// term to show a sign of life; one that is known to live is named at once.
pub(crate) async fn acquire<D: Database>(
    db: &D,
    run: uuid::Uuid,
    holder: &Holder,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Acquired, DbError> {
    let patience = Instant::now() + TTL + HEARTBEAT;
    let mut told = false;
    loop {
        let error = match db.acquire(run, holder, TTL).await {
            Ok(acquired) => return Ok(acquired),
            Err(error) => error,
        };
        let ErrorKind::Held { holder: other } = &error.kind else {
            return Err(error);
        };
        let stored = db.runs(&RunFilter::Id(run)).await?;
        let nearby = stored
            .first()
            .and_then(|run| run.holder.as_ref())
            .is_some_and(|held| held.boot == holder.boot);
        if nearby || Instant::now() >= patience {
            return Err(error);
        }
        if !told {
            told = true;
            sink.emit(Event::Warning {
                message: format!(
                    "The run is held by {other}. Waiting up to {} s for its term to end.",
                    TTL.as_secs()
                ),
            });
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = cancel.cancelled() => return Err(error),
        }
    }
}

/// A lease that is being kept.
pub(crate) struct Kept {
    /// Proof for every write.
    pub(crate) fence: Fence,
    /// Settings as they are now.
    pub(crate) settings: watch::Receiver<Settings>,
    /// Cancelled when the lease is lost: stop everything.
    pub(crate) lost: CancellationToken,
    /// Why it was lost; set before [`lost`](Self::lost) is cancelled.
    pub(crate) why: Arc<OnceLock<DbError>>,
    /// Cancelled when an operator asks for a pause.
    pub(crate) paused: CancellationToken,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Renews the lease in a task until [`Kept::release`].
pub(crate) fn keep<D: Database>(
    db: &D,
    fence: Fence,
    settings: Settings,
    observer: Arc<Observer>,
    sink: Sink,
) -> Kept {
    let (sender, receiver) = watch::channel(settings);
    let mut kept = Kept {
        fence: fence.clone(),
        settings: receiver,
        lost: CancellationToken::new(),
        why: Arc::default(),
        paused: CancellationToken::new(),
        stop: CancellationToken::new(),
        task: tokio::spawn(async {}),
    };
    let task = tokio::spawn(heartbeat(
        db.clone(),
        fence,
        sender,
        observer,
        sink,
        kept.lost.clone(),
        Arc::clone(&kept.why),
        kept.paused.clone(),
        kept.stop.clone(),
    ));
    kept.task = task;
    kept
}

impl Kept {
    /// Ends the heartbeat at once and leaves the lease as it is: nobody who
    /// could take it back answers. It runs out, or this process takes its own
    /// term over.
    pub(crate) fn abandon(self) {
        drop(self);
    }

    /// Ends the heartbeat and gives the lease back.
    pub(crate) async fn release<D: Database>(mut self, db: &D) -> Result<(), DbError> {
        self.stop.cancel();
        if (&mut self.task).await.is_err() {
            tracing::warn!("the heartbeat task panicked");
        }
        if self.lost.is_cancelled() {
            return Ok(());
        }
        match db.release(&self.fence).await {
            // Whoever has it now does not need it given back.
            Err(error) if error.kind == ErrorKind::Fenced => Ok(()),
            other => other,
        }
    }
}

/// Nobody renews a lease for work that was given up.
impl Drop for Kept {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[expect(clippy::too_many_arguments, reason = "a task owns all it touches")]
async fn heartbeat<D: Database>(
    db: D,
    fence: Fence,
    settings: watch::Sender<Settings>,
    observer: Arc<Observer>,
    sink: Sink,
    lost: CancellationToken,
    why: Arc<OnceLock<DbError>>,
    paused: CancellationToken,
    stop: CancellationToken,
) {
    let mut trusted_since = Instant::now();
    let mut pause = FIRST_BEAT;
    loop {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => break,
        }
        pause = HEARTBEAT;
        let before = Instant::now();
        let deadline = trusted_since + TRUST;
        let beat = async {
            db.renew(&fence, TTL, &observer.live()).await?;
            let stored = db.runs(&RunFilter::Id(fence.run)).await?;
            Ok::<_, DbError>(stored.into_iter().next())
        };
        let outcome = tokio::select! {
            outcome = tokio::time::timeout_at(deadline, beat) => outcome,
            () = stop.cancelled() => break,
        };
        match outcome {
            Ok(Ok(stored)) => {
                trusted_since = before;
                let Some(run) = stored else { continue };
                if run.pause_requested.is_some() && !paused.is_cancelled() {
                    paused.cancel();
                }
                settings.send_if_modified(|now| {
                    let changed = *now != run.new.settings;
                    if changed {
                        now.clone_from(&run.new.settings);
                    }
                    changed
                });
            }
            Ok(Err(error)) if error.kind == ErrorKind::Fenced => {
                why.get_or_init(fenced);
                lost.cancel();
                return;
            }
            Ok(Err(error)) if error.kind == ErrorKind::ServerChanged => {
                why.get_or_init(|| error);
                lost.cancel();
                return;
            }
            Ok(Err(error)) if Instant::now() < deadline => {
                sink.emit(Event::Retrying {
                    error: format!("renew the lease: {error}"),
                    after_ms: u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX),
                });
            }
            Ok(Err(_)) | Err(_) => {
                why.get_or_init(out_of_reach);
                lost.cancel();
                return;
            }
        }
    }
    // `status` shows this until the next sitting begins.
    let live = observer.live();
    let last = tokio::time::timeout(LAST_BEAT, db.renew(&fence, TTL, &live)).await;
    if !matches!(last, Ok(Ok(()))) {
        tracing::debug!("the last heartbeat was lost: {last:?}");
    }
}

fn fenced() -> DbError {
    DbError::new(
        ErrorKind::Fenced,
        "The lease was lost: another process holds the run now",
    )
    .hint("Nothing was left half done: look at `pontoon status`.")
}

fn out_of_reach() -> DbError {
    DbError::new(
        ErrorKind::Unreachable,
        format!(
            "The database was out of reach for {} s, and the run was let go",
            TRUST.as_secs()
        ),
    )
    .hint("Everything committed is kept: run again when the database is back.")
}

/// `host a, pid 42 (user)`.
pub(crate) fn describe(holder: &Holder) -> String {
    format!(
        "{} on host {}, pid {}",
        holder.user, holder.host, holder.pid
    )
}
