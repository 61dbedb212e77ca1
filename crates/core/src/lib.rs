//! The pure part of Pontoon: what a plan says, what a database looks like, and
//! which closed set of steps leads from one to the other.
//!
//! Nothing in this crate touches the outside world: no driver, no clock, no
//! file system, no environment. It can therefore fail only because of its
//! input, and every decision it takes can be shown by a golden test.

pub mod catalog;
pub mod expr;
pub mod lex;
pub mod lower;
pub mod name;
pub mod object;
pub mod ops;
pub mod plan;
pub mod preview;
pub mod sql;
pub mod step;
