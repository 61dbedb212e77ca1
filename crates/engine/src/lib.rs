//! The part of Pontoon that talks to a database.
//!
//! It never prints, parses no arguments and learns nothing of operations: it
//! executes the steps of a [`Program`](pontoon_core::step::Program) and tells
//! what happens as [events](event).

pub mod db;
pub mod event;
pub mod retry;
pub mod run;
pub mod status;
