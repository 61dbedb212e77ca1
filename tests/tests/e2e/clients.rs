//! Clients of an application that work until they are told to stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

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
