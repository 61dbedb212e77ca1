//! Connecting to PostgreSQL: what psql takes, we take, and what goes wrong is told so that it can be mended.
//!
//! [`ConnectOptions::resolve`] turns a URL or key=value string, the service file and the `PG*` variables into one
//! value; [`connect`] opens a connection for one [`Purpose`], and [`Pool`] shares several. tokio-postgres itself
//! refuses `sslmode=verify-full`, `sslrootcert`, `passfile`, `service` and more, so the text is read here and the
//! driver gets one address at a time.
//!
//! What this module never does: it shows no password, in no rendering of options or errors; it sends no startup
//! parameter besides the user's own `options` and the application name, because poolers refuse others; it installs
//! no process-wide TLS provider; it retries nothing (see [`crate::retry`]).
//!
//! Differences from libpq, all on purpose: Pontoon waits 10 s for a server where libpq waits without end, notices a
//! dead network after half a minute, picks the primary of several hosts, trusts the operating system's roots for
//! `verify-full` without `sslrootcert`, treats `allow` as `prefer`, and refuses parameters that ask for a safety
//! it cannot give.

mod error;
mod history;
mod hosts;
mod identity;
mod options;
mod params;
mod passfile;
mod pool;
mod pooler;
mod service;
mod session;
mod survey;
mod text;
mod tls;

pub use error::{ConnectError, ConnectErrorKind};
pub use identity::{Identity, identity};
pub use options::{ConnectOptions, Purpose};
pub use pool::{Pool, Pooled};
pub use pooler::is_pooler;
pub use session::{Canceller, Connection, connect};
pub(super) use survey::survey;
