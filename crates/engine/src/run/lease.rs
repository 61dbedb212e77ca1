//! Holding a run.
//!
//! A lease is a term `(epoch, token, holder, expires_at)` on the database's
//! clock. While we hold it, a task renews it every `HEARTBEAT` and tells what
//! the run is doing; local trust ends *before* the term does: when no renewal
//! has succeeded for `TRUST` of the term, counted from before the last
//! successful request was sent, all work is stopped. Trust is a courtesy that
//! saves work; what protects the data is the fence, which every transaction
//! of ours passes inside the database.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::db::{Acquired, Database, DbError, ErrorKind, Fence, Holder, RunFilter, Settings};
use crate::event::{Event, Sink};

use super::drive::Purpose;
use super::observe::Observer;

/// How long a term lasts without renewal.
pub(crate) const TTL: Duration = Duration::from_secs(15);
/// How often it is renewed, and operators are heard: three short messages.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// The first renewal comes sooner: whoever looks shall see something move.
const FIRST_BEAT: Duration = Duration::from_millis(250);
/// The last one, which tells what the sitting did, may take this long.
const LAST_BEAT: Duration = Duration::from_secs(2);
/// When local trust ends, counted from the last renewal.
pub(crate) const TRUST: Duration = Duration::from_secs(12);

/// How a lease is to be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    /// When nobody has it.
    Free,
    /// Its holder has been asked to let go.
    Asked,
}

/// How long a holder that was asked may take to let go. It hears of it within
/// a second or two, and ends what it can end; a term runs out before this.
const GRACE: Duration = Duration::from_secs(30);

/// Takes the lease. A holder on another machine that may be dead is given its
/// term to show a sign of life; one that is known to live is named at once,
/// unless it was asked to let go.
pub(crate) async fn acquire<D: Database>(
    db: &D,
    run: uuid::Uuid,
    holder: &Holder,
    claim: Claim,
    sink: &Sink,
    cancel: &CancellationToken,
) -> Result<Acquired, DbError> {
    let patience = match claim {
        Claim::Free => TTL + HEARTBEAT,
        Claim::Asked => GRACE,
    };
    let until = Instant::now() + patience;
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
        let is_late = Instant::now() >= until;
        let pause = match claim {
            Claim::Free if nearby || is_late => return Err(error),
            Claim::Asked if is_late => {
                return Err(error.hint(
                    "It was asked to let go and has not done so: stop that process, then type this again.",
                ));
            }
            Claim::Free => Duration::from_secs(1),
            Claim::Asked => Duration::from_millis(200),
        };
        if !told {
            told = true;
            let what = match claim {
                Claim::Free => "for its term to end",
                Claim::Asked => "for it to let go, as it was asked to",
            };
            sink.emit(Event::Warning {
                message: format!(
                    "The run is held by {other}. Waiting up to {} s {what}.",
                    patience.as_secs()
                ),
            });
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
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
    /// Cancelled when somebody asks for the run itself.
    pub(crate) relieved: CancellationToken,
    /// Who asks for it; set before.
    pub(crate) by: Arc<OnceLock<String>>,
    /// Other processes work on the run's ranges, too.
    pub(crate) in_company: Arc<AtomicBool>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

/// Renews the lease in a task until [`Kept::release`].
pub(crate) fn keep<D: Database>(
    db: &D,
    fence: Fence,
    purpose: Purpose,
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
        relieved: CancellationToken::new(),
        by: Arc::default(),
        in_company: Arc::default(),
        stop: CancellationToken::new(),
        task: tokio::spawn(async {}),
    };
    let heart = Heart {
        db: db.clone(),
        fence,
        purpose,
        settings: sender,
        revision: None,
        observer,
        sink,
        lost: kept.lost.clone(),
        why: Arc::clone(&kept.why),
        paused: kept.paused.clone(),
        relieved: kept.relieved.clone(),
        by: Arc::clone(&kept.by),
        in_company: Arc::clone(&kept.in_company),
        stop: kept.stop.clone(),
    };
    kept.task = tokio::spawn(heart.beat());
    kept
}

impl Kept {
    /// One token for all reasons to stop, those of `cancel` among them.
    pub(crate) fn stop_token(&self, cancel: &CancellationToken) -> CancellationToken {
        let token = CancellationToken::new();
        let (cancel, paused, relieved, lost, stop) = (
            cancel.clone(),
            self.paused.clone(),
            self.relieved.clone(),
            self.lost.clone(),
            token.clone(),
        );
        tokio::spawn(async move {
            tokio::select! {
                () = cancel.cancelled() => {}
                () = paused.cancelled() => {}
                () = relieved.cancelled() => {}
                () = lost.cancelled() => {}
                () = stop.cancelled() => {}
            }
            stop.cancel();
        });
        token
    }

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

/// The task that renews a lease.
struct Heart<D> {
    db: D,
    fence: Fence,
    purpose: Purpose,
    settings: watch::Sender<Settings>,
    /// Of the settings that were sent last.
    revision: Option<i64>,
    observer: Arc<Observer>,
    sink: Sink,
    lost: CancellationToken,
    why: Arc<OnceLock<DbError>>,
    paused: CancellationToken,
    relieved: CancellationToken,
    by: Arc<OnceLock<String>>,
    in_company: Arc<AtomicBool>,
    stop: CancellationToken,
}

impl<D: Database> Heart<D> {
    async fn beat(mut self) {
        let mut trusted_since = Instant::now();
        let mut pause = FIRST_BEAT;
        loop {
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.stop.cancelled() => break,
            }
            pause = HEARTBEAT;
            let before = Instant::now();
            let deadline = trusted_since + TRUST;
            let stop = self.stop.clone();
            let outcome = tokio::select! {
                outcome = tokio::time::timeout_at(deadline, self.once()) => outcome,
                () = stop.cancelled() => break,
            };
            match outcome {
                Ok(Ok(())) => trusted_since = before,
                Ok(Err(error)) if error.kind == ErrorKind::Fenced => return self.lose(fenced()),
                Ok(Err(error)) if error.kind == ErrorKind::ServerChanged => {
                    return self.lose(error);
                }
                Ok(Err(error)) if Instant::now() < deadline => self.sink.emit(Event::Retrying {
                    error: format!("renew the lease: {error}"),
                    after_ms: u64::try_from(HEARTBEAT.as_millis()).unwrap_or(u64::MAX),
                }),
                Ok(Err(_)) | Err(_) => return self.lose(out_of_reach()),
            }
        }
        // `status` shows this until the next sitting begins.
        let live = self.observer.live();
        let renewed = self.db.renew(&self.fence, TTL, &live);
        let last = tokio::time::timeout(LAST_BEAT, renewed).await;
        if !matches!(last, Ok(Ok(_))) {
            tracing::debug!("the last heartbeat was lost: {last:?}");
        }
    }

    /// Renews the lease, and hears what operators ask for. The run itself is
    /// read only when there is news.
    async fn once(&mut self) -> Result<(), DbError> {
        let live = self.observer.live();
        let beat = self.db.renew(&self.fence, TTL, &live).await?;
        // Who takes the run back does already what is asked for.
        if self.purpose != Purpose::Back
            && let Some(by) = beat.stop_requested
        {
            self.by.get_or_init(|| by);
            self.relieved.cancel();
        }
        self.in_company.store(beat.in_company, Ordering::Relaxed);
        if beat.pause_requested.is_some() {
            self.paused.cancel();
        }
        if self.revision == Some(beat.revision) {
            return Ok(());
        }
        let stored = self.db.runs(&RunFilter::Id(self.fence.run)).await?;
        if let Some(run) = stored.into_iter().next() {
            self.revision = Some(beat.revision);
            self.settings.send_if_modified(|now| {
                let changed = *now != run.new.settings;
                if changed {
                    now.clone_from(&run.new.settings);
                }
                changed
            });
        }
        Ok(())
    }

    fn lose(&self, why: DbError) {
        self.why.get_or_init(|| why);
        self.lost.cancel();
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
