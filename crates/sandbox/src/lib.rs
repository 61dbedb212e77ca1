//! Throwaway PostgreSQL servers and a model application for Pontoon's demo, tests and benchmarks.
//!
//! - [`Server`] is a real PostgreSQL server (14 to 18) that lives in a temporary directory and never outlives
//!   the process that started it, not even when that process is killed with SIGKILL.
//! - [`Pooler`] is a PgBouncer before it.
//! - [`TestDatabase`] is a fresh database on a server that all tests of one process share.
//! - [`app`] is a model application: clients of two versions that write one table, and an oracle that knows every row.
//! - [`dump`] writes down a catalog, to prove that it is what it was.
//! - [`tcp_proxy`] stands between a client and the server and cuts the connection at the worst moment.
//!
//! This crate depends on no other crate of Pontoon: what it observes about a database, it observes by its own
//! means, so that a mistake of Pontoon's cannot hide itself in the tests.

pub mod app;
pub mod dump;
mod error;
mod server;
pub mod tcp_proxy;

pub use error::{Error, Result};
pub use server::{
    Pooler, Server, ServerSpec, StandbySpec, StopMode, TestDatabase, connect, test_versions,
};
