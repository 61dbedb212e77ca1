//! What may be asked of a run, and how it may end.

use std::time::Duration;

use pontoon_core::step::Phase;
use uuid::Uuid;

use crate::db::{DbError, Holder};

/// How far and how patiently to go.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// Who we are.
    pub holder: Holder,
    /// End with success before this phase begins (a gate) …
    pub until_gate: Option<Phase>,
    /// … or after this phase has ended.
    pub until_phase: Option<Phase>,
    /// Gates approved beforehand.
    pub approve: Vec<Phase>,
    /// Stay at gates until someone approves.
    pub wait_gates: bool,
    /// How long to try to come back after the database was lost in the middle.
    pub reconnect_for: Duration,
}

impl RunOptions {
    /// Long enough for the failover of usual clusters.
    pub const RECONNECT_FOR: Duration = Duration::from_secs(120);

    /// All the way, stopping where the plan says.
    #[must_use]
    pub fn new(holder: Holder, reconnect_for: Duration) -> Self {
        Self {
            holder,
            until_gate: None,
            until_phase: None,
            approve: Vec::new(),
            wait_gates: false,
            reconnect_for,
        }
    }
}

/// How a worker works.
#[derive(Clone, Debug)]
pub struct WorkOptions {
    /// Who we are.
    pub holder: Holder,
    /// How long to try to come back after the database was lost in the middle.
    pub reconnect_for: Duration,
}

/// How a sitting ended, when it did not fail.
#[derive(Clone, Debug, PartialEq)]
pub enum Ending {
    /// Contract ended in this sitting.
    Completed,
    /// The run had completed before.
    AlreadyCompleted,
    /// The run was taken back.
    RolledBack,
    /// `--until` was reached.
    Until,
    /// It stands at a gate that nobody named.
    Gate {
        /// Which.
        gate: Phase,
        /// What the plan says there.
        message: Option<String>,
        /// A condition beside approval that does not hold yet.
        unmet: Option<String>,
    },
    /// SIGINT or SIGTERM: `run` goes on.
    Interrupted,
    /// SIGINT or SIGTERM to a worker: the run goes on without it.
    Left,
    /// An operator paused it.
    Paused {
        /// Who.
        by: String,
    },
    /// Somebody else asked for the run, to take it back.
    Relieved {
        /// Who.
        by: String,
    },
}

/// Why a sitting failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RunError {
    /// Below the waist.
    #[error(transparent)]
    Db(#[from] DbError),
    /// The plan and this database do not go together; nothing was changed.
    #[error("{}", refusals.first().map_or("the plan was refused", |first| first.message.as_str()))]
    Refused {
        /// Every reason, not only the first.
        refusals: Vec<pontoon_core::lower::Refusal>,
    },
    /// The run of this plan was started from other operations.
    #[error("the plan has changed since run {run} was {}", if *completed { "completed" } else { "started" })]
    PlanChanged {
        /// The run.
        run: Uuid,
        /// What changed, one sentence each.
        changes: Vec<String>,
        /// That run has completed; otherwise it is unfinished.
        completed: bool,
    },
    /// The run belongs to another server or database.
    #[error("{message}")]
    WrongServer {
        /// Which one it belongs to.
        message: String,
    },
    /// No such run, or none that fits.
    #[error("{message}")]
    NoRun {
        /// What was looked for.
        message: String,
        /// What to type.
        hints: Vec<String>,
    },
    /// A verify pass has found rows that only a person can mend.
    #[error("{message}")]
    VerifyFailed {
        /// How many, where.
        message: String,
        /// Keys, and what to type.
        hints: Vec<String>,
    },
    /// The run's state does not allow it.
    #[error("{message}")]
    State {
        /// Why not.
        message: String,
        /// What to type.
        hints: Vec<String>,
    },
}

/// A run together with its outcome.
#[derive(Clone, Debug, PartialEq)]
pub struct Sitting {
    /// The run (`None` when none was ever written).
    pub run: Option<Uuid>,
    /// How it ended.
    pub ending: Ending,
}
