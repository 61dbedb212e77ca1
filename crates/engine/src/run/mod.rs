//! The state machine of a run.

mod api;

pub use api::{Ending, ReadyPlan, RunError, RunOptions, Sitting};
