//! End to end: the real binary against real servers.
//!
//! `PONTOON_TEST_VERSIONS=all cargo test -p pontoon-tests` runs everything on
//! PostgreSQL 14 to 18; without it, on the newest server found.
#![expect(clippy::print_stderr, reason = "a matrix says which cases it has run")]

mod bad_input;
mod clients;
mod conditions;
mod connections;
mod contention;
mod control;
mod corruption;
mod deadlock;
mod dependents;
mod enum_values;
mod failover;
mod gates;
mod hot_rows;
mod isolation;
mod keys;
mod limits;
mod long_steps;
mod losses;
mod migrate;
mod operations;
mod partitions;
mod pooler;
mod recipes;
mod redteam;
mod rename_table;
mod resources;
mod roles;
mod rollback;
mod row_locks;
mod scene;
mod split_table;
mod stall;
mod standby_readers;
mod subscribers;
mod tables;
mod takeover;
mod throttle;
mod views;
mod widen;
mod workers;
mod writes;

/// The versions to run on.
fn versions() -> Vec<u32> {
    pontoon_sandbox::test_versions().expect("PONTOON_TEST_VERSIONS can be read")
}
