//! What plans make of tables, and of all that hangs on them, while both versions
//! of an application work.
//!
//! Catalogs and statements differ between versions of PostgreSQL: `.ci/run`
//! tries these on the oldest one, too.

mod dependents;
mod enum_values;
mod extract_lookup;
mod keys;
mod losses;
mod operations;
mod partitions;
mod recipes;
mod redteam;
mod rename_table;
mod split_table;
mod tables;
mod views;
mod widen;
