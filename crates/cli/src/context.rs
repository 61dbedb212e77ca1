//! What every verb is given.

use std::sync::Arc;

use crate::args::Global;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;

/// The command line's options and the way out.
pub(crate) struct Context {
    /// Where results go.
    pub(crate) output: Arc<Output>,
    /// Options of every verb.
    pub(crate) global: Global,
}

impl Context {
    pub(crate) fn new(output: Arc<Output>, global: Global) -> Self {
        Self { output, global }
    }

    /// Runs asynchronous work. Made only by verbs that talk to a database, so
    /// that the others start at once.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.min(4))
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Internal, format!("start the runtime: {error}")))?
            .block_on(work)
    }
}
