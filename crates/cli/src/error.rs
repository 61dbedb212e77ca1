//! What a person is told when a command fails, and with which exit code it
//! ends: decided here, once, for every error of the crates below.

use pontoon_core::lower::{Refusal, RefusalKind};
use pontoon_engine::db::{DbError, ErrorKind};
use pontoon_engine::run::RunError;
use serde::Serialize;

use crate::exit::Exit;
use crate::words;

/// A failed command.
#[derive(Debug)]
pub(crate) struct Failure {
    /// How it ends.
    pub(crate) exit: Exit,
    /// One sentence.
    pub(crate) message: String,
    /// More lines that belong to it, as they shall stand.
    pub(crate) details: Vec<String>,
    /// What to do, a sentence each.
    pub(crate) hints: Vec<String>,
    /// What to type, a command each.
    pub(crate) commands: Vec<String>,
    /// The server's SQLSTATE, when it spoke.
    pub(crate) sqlstate: Option<Box<str>>,
}

/// The result of a command.
pub(crate) type Result<T = Exit> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure that ends with this code. The message is a sentence, or a
    /// fragment in lower case that fits "failed to …".
    pub(crate) fn new(exit: Exit, message: impl AsRef<str>) -> Self {
        Self {
            exit,
            message: words::failure_sentence(message.as_ref()),
            details: Vec::new(),
            hints: Vec::new(),
            commands: Vec::new(),
            sqlstate: None,
        }
    }

    /// The command line asks for something that cannot be.
    pub(crate) fn usage(message: impl AsRef<str>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// Adds a sentence that says what to do.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl AsRef<str>) -> Self {
        self.hints.push(words::hint(hint.as_ref()));
        self
    }

    /// Adds a command to type.
    #[must_use]
    pub(crate) fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }

    /// Adds a line that belongs to the message.
    #[must_use]
    pub(crate) fn detail(mut self, line: impl Into<String>) -> Self {
        self.details.push(line.into());
        self
    }

    /// As it stands on a terminal or in a log; ends with a line break.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("Error: {}\n", self.message);
        for line in &self.details {
            for line in line.lines() {
                text.push_str("  ");
                text.push_str(line);
                text.push('\n');
            }
        }
        text.push_str(&words::hints(&self.hints, &self.commands));
        text
    }

    /// As it stands in JSON.
    pub(crate) fn record(&self) -> ErrorRecord {
        let hints: Vec<&str> = self
            .hints
            .iter()
            .chain(&self.commands)
            .map(String::as_str)
            .collect();
        ErrorRecord {
            code: self
                .sqlstate
                .as_deref()
                .unwrap_or(self.exit.name())
                .to_owned(),
            message: self.message.clone(),
            details: self.details.clone(),
            hint: (!hints.is_empty()).then(|| hints.join(" ")),
        }
    }
}

/// An error in JSON: the fields of a status record's `error`, and details.
#[derive(Debug, Serialize)]
pub(crate) struct ErrorRecord {
    code: String,
    message: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<String>,
    hint: Option<String>,
}

/// The exit code of each kind of failure below.
fn exit_of(kind: &ErrorKind) -> Exit {
    match kind {
        ErrorKind::Unreachable | ErrorKind::ServerChanged | ErrorKind::Rejected => {
            Exit::Unreachable
        }
        // The engine tried again until its patience was spent.
        ErrorKind::Transient
        | ErrorKind::ProofVoid
        | ErrorKind::LockPatience { .. }
        | ErrorKind::RowLimit { .. } => Exit::BudgetSpent,
        ErrorKind::Fenced | ErrorKind::Held { .. } | ErrorKind::Conflict => Exit::Held,
        ErrorKind::Refused => Exit::Refused,
        ErrorKind::Failed => Exit::StepFailed,
        ErrorKind::Internal => Exit::Internal,
    }
}

impl From<DbError> for Failure {
    fn from(error: DbError) -> Self {
        // A server whose slots are all taken lets nobody in.
        let exit = match error.code.as_deref() {
            Some("53300") => Exit::Unreachable,
            _ => exit_of(&error.kind),
        };
        let mut failure = Failure::new(exit, &error.message);
        failure.sqlstate = error.code.map(String::into_boxed_str);
        for hint in &error.hints {
            failure = failure.hint(hint);
        }
        match &error.kind {
            ErrorKind::LockPatience { blockers } => {
                if !blockers.is_empty() {
                    failure = failure
                        .hint("let them end, or end them with the SQL below, then run again");
                }
                for blocker in blockers {
                    failure = failure.detail(words::blocker(blocker));
                    if let Some(command) = words::release_blocker(blocker) {
                        failure = failure.command(command);
                    }
                }
            }
            ErrorKind::Held { holder } if !error.message.contains(holder.as_str()) => {
                failure = failure.detail(format!("held by {holder}"));
            }
            ErrorKind::Unreachable
            | ErrorKind::ServerChanged
            | ErrorKind::Rejected
            | ErrorKind::Transient
            | ErrorKind::Fenced
            | ErrorKind::Held { .. }
            | ErrorKind::Conflict
            | ErrorKind::RowLimit { .. }
            | ErrorKind::ProofVoid
            | ErrorKind::Refused
            | ErrorKind::Failed
            | ErrorKind::Internal => {}
        }
        failure
    }
}

impl From<RunError> for Failure {
    fn from(error: RunError) -> Self {
        match error {
            RunError::Db(error) => error.into(),
            RunError::Refused { refusals } => refused(&refusals),
            RunError::PlanChanged {
                run,
                changes,
                completed,
            } => plan_changed(run, changes, completed),
            RunError::VerifyFailed { message, hints } => {
                with_hints(Exit::StepFailed, &message, &hints)
            }
            RunError::WrongServer { message } => {
                Failure::new(Exit::Refused, words::sentence(&message))
                    .hint("Connect to the server on which the run was started")
            }
            RunError::NoRun { message, hints } => with_hints(Exit::Usage, &message, &hints),
            RunError::State { message, hints } => with_hints(Exit::Refused, &message, &hints),
        }
    }
}

/// Operations never change between sittings; limits, throttle and gates may.
fn plan_changed(run: uuid::Uuid, changes: Vec<String>, completed: bool) -> Failure {
    let what = if completed {
        "was completed"
    } else {
        "was started"
    };
    let mut failure = Failure::new(
        Exit::Invalid,
        format!("The plan has changed since run {run} {what} from it."),
    );
    failure.details = changes;
    if completed {
        failure.hint("write a new plan, with a name or a version of its own")
    } else {
        failure
            .hint("put the plan back as it was to go on, or take the run back first")
            .command(format!("pontoon rollback {run}"))
    }
}

fn with_hints(exit: Exit, message: &str, hints: &[String]) -> Failure {
    let mut failure = Failure::new(exit, words::sentence(message));
    for hint in hints {
        if hint.starts_with("pontoon ") {
            failure = failure.command(hint.clone());
        } else {
            failure = failure.hint(hint);
        }
    }
    failure
}

/// All reasons at once. A plan that is wrong weighs more than one that is
/// right but unsafe here: it has to be changed in any case.
fn refused(refusals: &[Refusal]) -> Failure {
    let invalid = refusals
        .iter()
        .any(|refusal| refusal.kind == RefusalKind::Invalid);
    let (exit, what) = if invalid {
        (Exit::Invalid, "does not fit this database")
    } else {
        (Exit::Refused, "is not safe here")
    };
    let reasons = match refusals.len() {
        1 => String::new(),
        n => format!(" for {n} reasons"),
    };
    let mut failure = Failure::new(
        exit,
        format!("The plan {what}{reasons}; nothing was changed."),
    );
    for refusal in refusals {
        let place = match (refusal.line, refusal.operation) {
            (0, 0) => String::new(),
            (0, operation) => format!("operation {operation}: "),
            (line, 0) => format!("line {line}: "),
            (line, operation) => format!("line {line}, operation {operation}: "),
        };
        failure = failure.detail(format!("{place}{}", words::sentence(&refusal.message)));
        for hint in &refusal.hints {
            failure = failure.detail(format!("  Hint: {}", words::hint(hint)));
        }
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use pontoon_engine::event::Blocker;

    #[test]
    fn a_server_error_shows_what_failed_and_what_to_do() {
        let error = DbError::new(
            ErrorKind::Rejected,
            "connect to db.example:5432: password authentication failed for user \"app\"",
        )
        .hint("check the password")
        .code("28P01");
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::Unreachable);
        assert_eq!(
            failure.render(),
            "Error: Failed to connect to db.example:5432: password authentication failed for user \"app\".\n\
             Hint: Check the password.\n"
        );
        assert_eq!(failure.record().code, "28P01");
    }

    #[test]
    fn spent_patience_names_each_blocker_and_how_to_end_it() {
        let blocker = Blocker {
            pid: 4121,
            gid: None,
            user: Some("ada".into()),
            application: Some("psql".into()),
            state: Some("idle in transaction".into()),
            age_ms: 123_000,
            mode: "AccessShareLock".into(),
            relation: "public.users".into(),
            query: Some("SELECT 1".into()),
        };
        let error = DbError::new(
            ErrorKind::LockPatience {
                blockers: vec![blocker],
            },
            "find a moment without conflicting locks on public.users within 30m",
        );
        let failure = Failure::from(error);
        assert_eq!(failure.exit, Exit::BudgetSpent);
        insta::assert_snapshot!(failure.render());
    }

    #[test]
    fn every_refusal_is_shown() {
        let refusal = |kind, line, message: &str| Refusal {
            operation: 1,
            line,
            kind,
            message: message.into(),
            hints: vec!["acknowledge it: `acknowledge: [publication:p]`".into()],
        };
        let failure = Failure::from(RunError::Refused {
            refusals: vec![
                refusal(
                    RefusalKind::Unsafe,
                    7,
                    "publication p publishes every column",
                ),
                refusal(RefusalKind::Invalid, 9, "there is no table public.userz"),
            ],
        });
        assert_eq!(failure.exit, Exit::Invalid);
        insta::assert_snapshot!(failure.render());
    }

    #[test]
    fn a_changed_plan_is_refused_with_what_changed() {
        let failure = Failure::from(RunError::PlanChanged {
            run: uuid::Uuid::nil(),
            changes: vec!["operation 1: `to` was numeric, now text".into()],
            completed: false,
        });
        assert_eq!(failure.exit, Exit::Invalid);
        insta::assert_snapshot!(failure.render());
    }
}
