//! A pool of connections for work that many tasks share, such as batches.
//!
//! The guard, the lease and whatever cancels by process id own their connections instead: in a shared pool a late
//! cancel hits whoever has the connection by then.

use std::fmt;

use deadpool::managed::{
    self, Manager, Metrics, PoolError, QueueMode, RecycleError, RecycleResult,
};

use super::error::{ConnectError, ConnectErrorKind};
use super::options::{ConnectOptions, Purpose};
use super::session::{Connection, connect};

/// A connection on loan from a [`Pool`]; it goes back when dropped.
///
/// It must be given back outside of any transaction: the pool only checks that the connection is still open.
pub type Pooled = managed::Object<Connector>;

/// A pool whose connections are opened on demand, up to a size that may change while it is in use.
#[derive(Clone)]
pub struct Pool {
    inner: managed::Pool<Connector>,
    target: String,
}

impl Pool {
    /// Makes a pool of at most `size` connections, at least one. Nothing is connected yet.
    ///
    /// # Errors
    /// None today; the underlying builder checks its own settings.
    pub fn new(
        options: &ConnectOptions,
        purpose: Purpose,
        size: usize,
    ) -> Result<Pool, ConnectError> {
        let connector = Connector {
            options: options.clone(),
            purpose,
        };
        // What came back last goes out first: it has most of what it needs at hand, and what is not needed any more
        // stays idle.
        let inner = managed::Pool::builder(connector)
            .max_size(size.max(1))
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|error| {
                ConnectError::new(
                    ConnectErrorKind::InvalidOptions,
                    format!("make a pool: {error}"),
                    "report this",
                )
            })?;
        Ok(Pool {
            inner,
            target: options.display(),
        })
    }

    /// Takes a connection, waiting for one to come back when all are out, and opening one when there is room.
    ///
    /// # Errors
    /// A new connection was needed and could not be opened, or the pool is closed.
    pub async fn get(&self) -> Result<Pooled, ConnectError> {
        self.inner.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            PoolError::Closed
            | PoolError::Timeout(_)
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => ConnectError::new(
                ConnectErrorKind::Unreachable,
                format!(
                    "take a connection to {} from the pool: it is closed",
                    self.target
                ),
                "run again",
            ),
        })
    }

    /// Changes how many connections there may be. Connections beyond a smaller size close when they come back.
    pub fn resize(&self, size: usize) {
        self.inner.resize(size.max(1));
    }

    /// Closes what is idle, and what is out when it comes back. No connection is handed out any more.
    pub fn close(&self) {
        self.inner.close();
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Opens the connections of a [`Pool`].
#[derive(Debug)]
pub struct Connector {
    options: ConnectOptions,
    purpose: Purpose,
}

impl Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        // On the heap: whoever takes a connection would else carry all of this in its own state.
        Box::pin(connect(&self.options, self.purpose)).await
    }

    async fn recycle(
        &self,
        connection: &mut Connection,
        _: &Metrics,
    ) -> RecycleResult<ConnectError> {
        if connection.is_closed() {
            return Err(RecycleError::message("the connection is closed"));
        }
        Ok(())
    }
}
