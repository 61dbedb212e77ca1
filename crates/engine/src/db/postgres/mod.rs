//! PostgreSQL behind the waist.
//!
//! - [`store`]: our schema, runs, steps, events, the lease.
//! - [`fence`], [`session`]: how every transaction of ours begins and ends.
//! - [`sqlstate`]: from an SQLSTATE to what the engine does about it.
//!
//! Every statement is schema-qualified: no `search_path` is trusted.
#![expect(
    dead_code,
    reason = "`impl Database` and the modules of the batches land right after this"
)]

pub mod connect;
mod fence;
mod session;
mod sqlstate;
mod store;

use std::sync::Arc;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use tokio_postgres::{Config, NoTls};

use self::session::Session;
use self::sqlstate::classify;
use super::{DbError, ErrorKind};

pub use self::store::schema::{SCHEMA_VERSION, init_sql};

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    pool: Pool,
}

impl std::fmt::Debug for Postgres {
    /// Without the connection's parameters: they hold the password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Postgres")
    }
}

impl Postgres {
    /// A database at this URL. Nothing is connected yet.
    ///
    /// # Errors
    /// When the URL cannot be read; it is not repeated in the message.
    pub fn new(url: &str) -> Result<Self, DbError> {
        let config: Config = url.parse().map_err(|_| {
            DbError::new(
                ErrorKind::Rejected,
                "read the database URL: expected postgresql://user@host/database",
            )
        })?;
        let manager = Manager::from_config(
            config.clone(),
            NoTls,
            ManagerConfig {
                recycling_method: RecyclingMethod::Fast,
            },
        );
        let pool = Pool::builder(manager)
            .max_size(16)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| {
                DbError::new(ErrorKind::Internal, format!("make the pool: {error}"))
            })?;
        Ok(Self {
            inner: Arc::new(Inner { config, pool }),
        })
    }
    /// A connection of the pool, for short transactions.
    pub(crate) async fn session(&self) -> Result<Session, DbError> {
        match self.inner.pool.get().await {
            Ok(object) => Ok(Session::pooled(object)),
            Err(deadpool_postgres::PoolError::Backend(error)) => {
                Err(classify(&error, "connect to the database"))
            }
            Err(error) => Err(DbError::new(
                ErrorKind::Unreachable,
                format!("connect to the database: {error}"),
            )),
        }
    }

    /// A connection of its own, for guarded and concurrent steps: no other
    /// task ever shares its backend.
    pub(crate) async fn own_session(&self) -> Result<Session, DbError> {
        let (client, connection) = self
            .inner
            .config
            .connect(NoTls)
            .await
            .map_err(|error| classify(&error, "connect to the database"))?;
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection ended: {error}");
            }
        });
        Ok(Session::own(client))
    }
}
