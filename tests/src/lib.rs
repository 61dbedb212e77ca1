//! What end-to-end tests share: the real binary as a child process, on real
//! servers.
//!
//! Nothing here depends on Pontoon's crates. The binary is driven as a person
//! or a CI job drives it, through arguments, exit codes and JSON records, and
//! databases are looked at by queries of the tests' own.

mod binary;
mod database;

pub use binary::{Finished, Pontoon, Running};
pub use database::{artifacts, rows_committed, wait_for_silence};
