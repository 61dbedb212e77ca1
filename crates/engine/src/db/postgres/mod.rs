//! PostgreSQL behind the waist.
//!
//! - [`store`]: our schema, runs, steps, events, the lease.
//! - [`fence`], [`session`]: how every transaction of ours begins and ends.
//! - [`introspect`]: the catalog, and what a plan's texts mean.
//! - [`sqlstate`]: from an SQLSTATE to what the engine does about it.
//!
//! Every statement is schema-qualified: no `search_path` is trusted.
#![expect(
    dead_code,
    reason = "`impl Database` and the modules of the batches land right after this"
)]

pub mod connect;
mod fence;
pub mod introspect;
mod session;
mod sqlstate;
mod store;

use std::sync::Arc;

use self::connect::{ConnectOptions, Pool, Purpose};
use self::session::Session;
use super::DbError;

pub use self::store::schema::{SCHEMA_VERSION, init_sql};

/// A PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    inner: Arc<Inner>,
}

struct Inner {
    options: ConnectOptions,
    /// Short transactions on our own tables. Apart from the batches', so that
    /// the lease is renewed also when every batch connection is out.
    control: Pool,
    batches: Pool,
}

/// Connections for our own tables, and for batches; opened on demand.
const CONTROL_CONNECTIONS: usize = 8;
const BATCH_CONNECTIONS: usize = 16;

impl std::fmt::Debug for Postgres {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Postgres({})", self.inner.options.display())
    }
}

impl Postgres {
    /// The database that these options lead to. Nothing is connected yet.
    ///
    /// # Errors
    /// When the pools cannot be made.
    pub fn new(options: ConnectOptions) -> Result<Self, DbError> {
        let control = Pool::new(&options, Purpose::Control, CONTROL_CONNECTIONS)?;
        let batches = Pool::new(&options, Purpose::Batch, BATCH_CONNECTIONS)?;
        Ok(Self {
            inner: Arc::new(Inner {
                options,
                control,
                batches,
            }),
        })
    }

    /// A pooled connection for a short transaction on our own tables.
    pub(crate) async fn session(&self) -> Result<Session, DbError> {
        Ok(Session::pooled(self.inner.control.get().await?))
    }

    /// A pooled connection for a batch or a chunk of a verify pass.
    pub(crate) async fn batch_session(&self) -> Result<Session, DbError> {
        Ok(Session::pooled(self.inner.batches.get().await?))
    }

    /// A connection of its own, for guarded and concurrent steps and for
    /// whoever watches them: no other task ever shares its backend.
    pub(crate) async fn own_session(&self, purpose: Purpose) -> Result<Session, DbError> {
        let connection = connect::connect(&self.inner.options, purpose).await?;
        Ok(Session::own(connection))
    }
}
