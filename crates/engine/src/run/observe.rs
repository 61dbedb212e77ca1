//! Watching a run's own events: what the heartbeat tells, and what is stored.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::db::{Database, ErrorKind, Fence, Hold, Live, Yielding};
use crate::event::{Event, Sink};

/// Sees every event of a sitting.
pub(crate) struct Observer {
    live: Mutex<Live>,
    /// `None` once the sitting is over.
    durable: Mutex<Option<mpsc::UnboundedSender<Event>>>,
}

impl Observer {
    /// An observer and the events that it wants to be stored.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Event>) {
        let (durable, receiver) = mpsc::unbounded_channel();
        let observer = Self {
            live: Mutex::new(Live::default()),
            durable: Mutex::new(Some(durable)),
        };
        (Arc::new(observer), receiver)
    }

    /// A sink that shows events to this observer and then passes them on.
    pub(crate) fn tee(self: &Arc<Self>, sink: &Sink) -> Sink {
        let observer = Arc::clone(self);
        let sink = sink.clone();
        Sink::new(move |event| {
            observer.see(&event);
            sink.emit(event);
        })
    }

    /// What the run is doing now.
    pub(crate) fn live(&self) -> Live {
        self.live
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The sitting is over: whoever still holds a sink is no longer heard, and
    /// [`store`] ends once it has written what came before.
    pub(crate) fn close(&self) {
        *self.durable.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn see(&self, event: &Event) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            Event::BackfillProgress(progress) => {
                live.waiting_for = None;
                live.backfill
                    .retain(|other| (other.no, &other.table) != (progress.no, &progress.table));
                live.backfill.push(progress.clone());
                live.own = progress.own;
            }
            Event::VerifyProgress(progress) | Event::VerifyFinished(progress) => {
                live.waiting_for = None;
                live.verify
                    .retain(|other| (other.no, &other.table) != (progress.no, &progress.table));
                live.verify.push(progress.clone());
            }
            Event::Held {
                signal,
                reading,
                limit,
            }
            | Event::Holding {
                signal,
                reading,
                limit,
            } => {
                live.held.retain(|hold| hold.signal != *signal);
                live.held.push(Hold {
                    signal: signal.clone(),
                    reading: reading.clone(),
                    limit: limit.clone(),
                });
            }
            Event::HoldEnded { signal, .. } => live.held.retain(|hold| hold.signal != *signal),
            Event::Yielding { sessions } => {
                live.yielding = Some(Yielding {
                    sessions: *sessions,
                });
            }
            Event::FullSpeed => live.yielding = None,
            Event::LockWaiting { no, blockers, .. } => {
                let names: Vec<String> = blockers
                    .iter()
                    .map(|blocker| match &blocker.gid {
                        Some(gid) => format!("prepared transaction {gid}"),
                        None => format!(
                            "pid {} ({})",
                            blocker.pid,
                            blocker
                                .application
                                .as_deref()
                                .unwrap_or("no application name")
                        ),
                    })
                    .collect();
                live.waiting_for = Some(format!("step {no}: a lock held by {}", names.join(", ")));
            }
            Event::Retrying { error, .. } => live.waiting_for = Some(format!("retry: {error}")),
            Event::StepStarted { .. } | Event::StepFinished { .. } => {
                live.waiting_for = None;
                live.yielding = None;
            }
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::LeaseTaken { .. }
            | Event::PhaseStarted { .. }
            | Event::StepProgress { .. }
            | Event::BackfillRestarted { .. }
            | Event::GateReached { .. }
            | Event::GateApproved { .. }
            | Event::Command { .. }
            | Event::WorkerJoined { .. }
            | Event::WorkerLeft { .. }
            | Event::WorkerLost { .. }
            | Event::StateChanged { .. }
            | Event::ThrottleOn
            | Event::Warning { .. } => {}
        }
        drop(live);
        if !is_stored_on_its_own(event) {
            return;
        }
        let durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = durable
            .as_ref()
            .is_some_and(|durable| durable.send(event.clone()).is_ok());
        if !taken {
            tracing::debug!("an event came after the sitting had ended");
        }
    }
}

/// Events that no record of a run or step carries along.
fn is_stored_on_its_own(event: &Event) -> bool {
    match event {
        Event::Held { .. }
        | Event::HoldEnded { .. }
        | Event::ThrottleOn
        | Event::BackfillRestarted { .. }
        | Event::LockWaiting { .. }
        | Event::LeaseTaken { .. }
        | Event::RunResumed { .. }
        | Event::Retrying { .. }
        | Event::Warning { .. } => true,
        Event::RunStarted { .. }
        | Event::PhaseStarted { .. }
        | Event::StepStarted { .. }
        | Event::StepProgress { .. }
        | Event::StepFinished { .. }
        | Event::BackfillProgress(_)
        | Event::VerifyProgress(_)
        | Event::VerifyFinished(_)
        | Event::GateReached { .. }
        | Event::Holding { .. }
        | Event::Yielding { .. }
        | Event::FullSpeed
        | Event::GateApproved { .. }
        | Event::Command { .. }
        | Event::WorkerJoined { .. }
        | Event::WorkerLeft { .. }
        | Event::WorkerLost { .. }
        | Event::StateChanged { .. } => false,
    }
}

/// Stores what the observer hands over until it is closed.
pub(crate) async fn store<D: Database>(
    db: D,
    fence: Fence,
    mut events: mpsc::UnboundedReceiver<Event>,
) {
    while let Some(event) = events.recv().await {
        // History is worth a warning, never the run. Whoever cannot be told
        // this event will not be told the next one either.
        if let Err(error) = db.append_event(&fence, &event).await {
            tracing::warn!("failed to store an event: {error}");
            if error.kind != ErrorKind::Transient {
                return;
            }
        }
    }
}
