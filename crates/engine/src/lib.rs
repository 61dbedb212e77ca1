//! The part of Pontoon that talks to a database.
//!
//! It never prints, parses no arguments and learns nothing of operations: it
//! executes the steps of a [`Program`](pontoon_core::step::Program) and tells
//! what happens as [events](event).

mod backfill;
pub mod db;
pub mod event;
mod failpoint;
pub mod retry;
pub mod run;
mod scan;
pub mod setting;
pub mod status;
mod throttle;
mod verify;
