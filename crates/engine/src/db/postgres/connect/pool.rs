//! A pool of connections for work that many tasks share, such as batches.
//!
//! The guard, the lease and whatever cancels by process id own their connections instead: in a shared pool a late
//! cancel hits whoever has the connection by then.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use deadpool_postgres::{Manager, ManagerConfig, PoolError, RecyclingMethod, Runtime};
use tokio::task::JoinHandle;

use super::error::{ConnectError, ConnectErrorKind};
use super::options::{ConnectOptions, Purpose};
use super::session::connect;

/// A connection on loan from a [`Pool`]; it goes back when dropped.
///
/// It must be given back outside of any transaction: the pool only checks that the connection is still open.
pub type Pooled = deadpool_postgres::Client;

/// A pool whose connections are opened on demand, up to a size that may change while it is in use.
#[derive(Clone)]
pub struct Pool {
    inner: deadpool_postgres::Pool,
    last_failure: LastFailure,
    target: String,
}

/// deadpool-postgres can only pass on errors of the driver, and those cannot be made from ours. The reason for the
/// latest failure waits here; when several tasks fail at once they fail for the same reason, so any one will do.
type LastFailure = Arc<Mutex<Option<ConnectError>>>;

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
        let last_failure = LastFailure::default();
        let connector = Connector {
            options: options.clone(),
            purpose,
            last_failure: Arc::clone(&last_failure),
        };
        let config = ManagerConfig {
            recycling_method: RecyclingMethod::Fast,
        };
        // The connector has its own options; the driver's configuration that the manager wants stays empty.
        let manager = Manager::from_connect(tokio_postgres::Config::new(), connector, config);
        let inner = deadpool_postgres::Pool::builder(manager)
            .max_size(size.max(1))
            .runtime(Runtime::Tokio1)
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
            last_failure,
            target: options.display(),
        })
    }

    /// Takes a connection, waiting for one to come back when all are out, and opening one when there is room.
    ///
    /// # Errors
    /// A new connection was needed and could not be opened, or the pool is closed.
    pub async fn get(&self) -> Result<Pooled, ConnectError> {
        self.inner.get().await.map_err(|error| {
            let stored = match error {
                PoolError::Backend(_) => self
                    .last_failure
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .clone(),
                PoolError::Closed
                | PoolError::Timeout(_)
                | PoolError::NoRuntimeSpecified
                | PoolError::PostCreateHook(_) => None,
            };
            stored.unwrap_or_else(|| {
                ConnectError::new(
                    ConnectErrorKind::Unreachable,
                    format!(
                        "take a connection to {} from the pool: it is closed",
                        self.target
                    ),
                    "run again",
                )
            })
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

struct Connector {
    options: ConnectOptions,
    purpose: Purpose,
    last_failure: LastFailure,
}

type Opened = Result<(tokio_postgres::Client, JoinHandle<()>), tokio_postgres::Error>;

impl deadpool_postgres::Connect for Connector {
    fn connect(
        &self,
        _: &tokio_postgres::Config,
    ) -> Pin<Box<dyn Future<Output = Opened> + Send + '_>> {
        Box::pin(async move {
            match connect(&self.options, self.purpose).await {
                Ok(connection) => Ok(connection.into_parts()),
                Err(error) => {
                    *self
                        .last_failure
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner) = Some(error);
                    Err(stand_in())
                }
            }
        })
    }
}

/// An error of the driver's type that only says "not this way"; [`Pool::get`] replaces it.
fn stand_in() -> tokio_postgres::Error {
    "stand-in"
        .parse::<tokio_postgres::Config>()
        .expect_err("a word without `=` is no connection string")
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_stand_in_is_an_error() {
        assert!(super::stand_in().as_db_error().is_none());
    }
}
