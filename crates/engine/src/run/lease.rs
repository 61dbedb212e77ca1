//! Holding a run.
//!
//! A lease is a term `(epoch, token, holder, expires_at)` on the database's
//! clock. While we hold it, a task renews it every `HEARTBEAT` and tells what
//! the run is doing; local trust ends *before* the term does: when no renewal
//! has succeeded for `TRUST` of the term, counted from before the last
//! successful request was sent, all work is stopped. Trust is a courtesy that
//! saves work; what protects the data is the fence, which every transaction
//! of ours passes inside the database.

use std::sync::Arc;
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
    /// Cancelled with it when the database was out of reach for so long.
    pub(crate) out_of_reach: CancellationToken,
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
    let kept = Kept {
        fence: fence.clone(),
        settings: receiver,
        lost: CancellationToken::new(),
        out_of_reach: CancellationToken::new(),
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
        kept.out_of_reach.clone(),
        kept.paused.clone(),
        kept.stop.clone(),
    ));
    Kept { task, ..kept }
}

impl Kept {
    /// Ends the heartbeat and gives the lease back.
    pub(crate) async fn release<D: Database>(self, db: &D) -> Result<(), DbError> {
        self.stop.cancel();
        if self.task.await.is_err() {
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

#[expect(clippy::too_many_arguments, reason = "a task owns all it touches")]
async fn heartbeat<D: Database>(
    db: D,
    fence: Fence,
    settings: watch::Sender<Settings>,
    observer: Arc<Observer>,
    sink: Sink,
    lost: CancellationToken,
    out_of_reach: CancellationToken,
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
                out_of_reach.cancel();
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

/// `host a, pid 42 (user)`.
pub(crate) fn describe(holder: &Holder) -> String {
    format!(
        "{} on host {}, pid {}",
        holder.user, holder.host, holder.pid
    )
}
