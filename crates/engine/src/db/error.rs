//! What can go wrong below the waist, by what the engine does about it.

use crate::event::Blocker;

/// A failure with its kind, a message for people and hints.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{message}")]
pub struct DbError {
    /// What the engine does about it.
    pub kind: ErrorKind,
    /// A fragment that fits "failed to …" or a full sentence; no secrets.
    pub message: String,
    /// What to do, one sentence each.
    pub hints: Vec<String>,
    /// SQLSTATE, when the server spoke.
    pub code: Option<String>,
}

/// The classes of failures.
#[derive(Clone, Debug, PartialEq)]
pub enum ErrorKind {
    /// The server cannot be reached, or went away: tried again, then exit 10.
    Unreachable,
    /// Another server process answers than the one on which the lease was
    /// taken: it was restarted, or a standby was promoted. The lease is taken
    /// anew there. Exit 10 when it cannot be.
    ServerChanged,
    /// The server refuses us: wrong password, no such database. Exit 10, no retry.
    Rejected,
    /// A passing fault (deadlock victim, serialization, too many connections):
    /// tried again.
    Transient,
    /// Another process owns the run now: stop at once, exit 9.
    Fenced,
    /// Another living process holds the lease. Exit 9.
    Held {
        /// As people read it: `host a, pid 42, since 12:01:03`.
        holder: String,
    },
    /// An unfinished run of the same plan exists.
    Conflict,
    /// Patience for a lock is spent. The run pauses, exit 8.
    LockPatience {
        /// Who holds it.
        blockers: Vec<Blocker>,
    },
    /// `max_rows_affected` would be passed. Exit 8.
    RowLimit {
        /// Rows the run has changed.
        affected: u64,
        /// The limit.
        limit: u64,
    },
    /// The verify pass that the cutover builds on no longer holds (a rewrite, a
    /// new partition, a disabled trigger): verified again.
    ProofVoid,
    /// A safety rule refuses. Exit 4.
    Refused,
    /// The step cannot succeed as things are: bad data, a missing right, an
    /// expression that fails. Exit 7; fix it and run again.
    Failed,
    /// Anything else; a bug. Exit 1.
    Internal,
}

impl DbError {
    /// A failure of this kind.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            hints: Vec::new(),
            code: None,
        }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    /// Adds the SQLSTATE.
    #[must_use]
    pub fn code(mut self, code: impl Into<String>) -> Self {
        self.code = Some(code.into());
        self
    }
}
