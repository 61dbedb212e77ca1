//! Why a plan cannot run against a database as it is.

use serde::Serialize;

/// One reason, with its place in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refusal {
    /// 1-based number of the operation; 0 for the plan as a whole.
    pub operation: usize,
    /// The plan's line; 0 when unknown.
    pub line: u32,
    /// The plan is wrong, or it is right but unsafe here.
    pub kind: RefusalKind,
    /// A sentence without its period.
    pub message: String,
    /// What to do, one sentence each.
    pub hints: Vec<String>,
}

/// Decides the exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// The plan does not fit the database: exit 3.
    Invalid,
    /// A safety rule or a limit says no: exit 4.
    Unsafe,
}
