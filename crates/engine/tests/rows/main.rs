//! Batches, verify chunks and signals on real servers.

mod batch;
mod contention;
mod failure;
mod laps;
mod routines;
mod share;
mod signals;
mod support;
mod tables;
mod verify;
