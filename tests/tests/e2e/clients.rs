//! Clients of an application that work until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::scene::wait_until;

/// Clients, each of which comes to a `T` in the end.
pub(crate) struct Clients<T> {
    stop: Stop,
    tasks: Vec<JoinHandle<T>>,
}

/// Whether the clients have been told to stop.
#[derive(Clone, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// True once they have.
    pub(crate) fn is_told(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

impl<T: Send + 'static> Clients<T> {
    /// None yet.
    pub(crate) fn new() -> Self {
        Self {
            stop: Stop::default(),
            tasks: Vec::new(),
        }
    }

    /// One that works alone.
    pub(crate) fn one<F>(work: impl FnOnce(Stop) -> F) -> Self
    where
        F: Future<Output = T> + Send + 'static,
    {
        let mut clients = Self::new();
        clients.spawn(work);
        clients
    }

    /// Starts one more.
    pub(crate) fn spawn<F>(&mut self, work: impl FnOnce(Stop) -> F)
    where
        F: Future<Output = T> + Send + 'static,
    {
        self.tasks.push(tokio::spawn(work(self.stop.clone())));
    }

    /// Stops them and gives what each came to; says `healthy` where one has
    /// panicked.
    pub(crate) async fn stop(self, healthy: &str) -> Vec<T> {
        self.stop.0.store(true, Ordering::SeqCst);
        let mut ends = Vec::new();
        for task in self.tasks {
            ends.push(task.await.expect(healthy));
        }
        ends
    }
}

/// The versions of an application; both are `OLD | NEW`.
pub(crate) const OLD: u64 = 1;
pub(crate) const NEW: u64 = 2;

/// Which versions write, and how often each has written.
#[derive(Clone)]
pub(crate) struct Versions {
    running: Arc<AtomicU64>,
    writes: Arc<[AtomicU64; 2]>,
}

impl Versions {
    /// The old one alone.
    pub(crate) fn old() -> Self {
        Self {
            running: Arc::new(AtomicU64::new(OLD)),
            writes: Arc::default(),
        }
    }

    /// From now on these write.
    pub(crate) fn run(&self, versions: u64) {
        self.running.store(versions, Ordering::Relaxed);
    }

    /// Which one writes in this turn.
    pub(crate) fn of(&self, turn: i64) -> u64 {
        match self.running.load(Ordering::Relaxed) {
            OLD => OLD,
            NEW => NEW,
            _ if turn % 2 == 0 => OLD,
            _ => NEW,
        }
    }

    fn writes_of(&self, version: u64) -> &AtomicU64 {
        &self.writes[usize::from(version == NEW)]
    }

    /// A version has written once.
    pub(crate) fn wrote(&self, version: u64) {
        self.writes_of(version).fetch_add(1, Ordering::Relaxed);
    }

    /// Waits until a version has written some more.
    pub(crate) async fn goes_on(&self, version: u64) {
        let writes = self.writes_of(version);
        let before = writes.load(Ordering::Relaxed);
        let more = async || writes.load(Ordering::Relaxed) > before + 60;
        wait_until("writes go on", more).await;
    }
}
