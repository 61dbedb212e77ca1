//! End to end: the real binary against real servers.
//!
//! `PONTOON_TEST_VERSIONS=all cargo test -p pontoon-tests` runs everything on
//! PostgreSQL 14 to 18; without it, on the newest server found.
#![expect(clippy::print_stderr, reason = "a matrix says which cases it has run")]

mod application;
mod changes;
mod clients;
mod operating;
mod scene;

/// The versions to run on.
fn versions() -> Vec<u32> {
    pontoon_sandbox::test_versions().expect("PONTOON_TEST_VERSIONS can be read")
}
