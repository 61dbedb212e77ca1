//! Exit codes: the one place where they are numbered and explained.
//!
//! `--help`, the README and `docs/exit-codes.md` are made from this list; a
//! test compares them.

use std::fmt::Write as _;

/// How a command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Done = 0,
    Internal = 1,
    Usage = 2,
    Invalid = 3,
    Refused = 4,
    Gate = 5,
    Interrupted = 6,
    StepFailed = 7,
    BudgetSpent = 8,
    Held = 9,
    Unreachable = 10,
    Paused = 11,
}

/// What a script may do after this code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    /// There is nothing left to do.
    Needless,
    /// The same command again, as it stands.
    Yes,
    /// The same command again, after a person has done something.
    AfterFixing,
    /// The same command would end in the same way.
    No,
}

impl Retry {
    pub(crate) fn text(self) -> &'static str {
        match self {
            Retry::Needless => "not needed",
            Retry::Yes => "yes",
            Retry::AfterFixing => "after fixing",
            Retry::No => "no",
        }
    }
}

/// What an exit code tells.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meaning {
    /// One word for JSON.
    pub(crate) name: &'static str,
    /// What happened.
    pub(crate) meaning: &'static str,
    /// The state in which it leaves the run and the database.
    pub(crate) leaves: &'static str,
    /// May a script try again?
    pub(crate) retry: Retry,
}

impl Exit {
    /// Every code, by number.
    pub(crate) const ALL: [Exit; 12] = [
        Exit::Done,
        Exit::Internal,
        Exit::Usage,
        Exit::Invalid,
        Exit::Refused,
        Exit::Gate,
        Exit::Interrupted,
        Exit::StepFailed,
        Exit::BudgetSpent,
        Exit::Held,
        Exit::Unreachable,
        Exit::Paused,
    ];

    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        self as u8
    }

    /// What it tells.
    pub(crate) fn meaning(self) -> Meaning {
        let (name, meaning, leaves, retry) = match self {
            Exit::Done => (
                "done",
                "completed, nothing to do, or --until was reached",
                "as asked",
                Retry::Needless,
            ),
            Exit::Internal => (
                "internal",
                "an error inside Pontoon",
                "the run stays resumable",
                Retry::AfterFixing,
            ),
            Exit::Usage => (
                "usage",
                "the command line is wrong",
                "nothing changed",
                Retry::No,
            ),
            Exit::Invalid => (
                "invalid",
                "the plan or the configuration is invalid",
                "nothing changed",
                Retry::AfterFixing,
            ),
            Exit::Refused => (
                "refused",
                "a limit or a safety rule refuses",
                "what was refused changed nothing",
                Retry::AfterFixing,
            ),
            Exit::Gate => (
                "gate",
                "the run stands at a gate that nobody approved",
                "waiting; both shapes work",
                Retry::AfterFixing,
            ),
            Exit::Interrupted => (
                "interrupted",
                "a signal ended it after the batch under way",
                "resumable, nothing lost",
                Retry::Yes,
            ),
            Exit::StepFailed => (
                "step_failed",
                "a step failed",
                "failed; both shapes work",
                Retry::AfterFixing,
            ),
            Exit::BudgetSpent => (
                "budget_spent",
                "a budget or a limit ran out",
                "paused or failed; both shapes work",
                Retry::Yes,
            ),
            Exit::Held => (
                "held",
                "another process holds the run",
                "that process goes on",
                Retry::Yes,
            ),
            Exit::Unreachable => (
                "unreachable",
                "the database cannot be reached",
                "as the last commit left it",
                Retry::Yes,
            ),
            Exit::Paused => (
                "paused",
                "an operator paused the run, or took it back",
                "paused, or rolled back",
                Retry::AfterFixing,
            ),
        };
        Meaning {
            name,
            meaning,
            leaves,
            retry,
        }
    }

    /// The word in JSON.
    pub(crate) fn name(self) -> &'static str {
        self.meaning().name
    }
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// The table at the end of `--help`.
pub(crate) fn help() -> String {
    let mut text = format!(
        "Exit codes:\n      {:<52}  {:<26}  try again?\n",
        "what happened", "what it leaves"
    );
    for exit in Exit::ALL {
        let meaning = exit.meaning();
        writeln!(
            text,
            "  {:>2}  {:<52}  {:<26}  {}",
            exit.code(),
            meaning.meaning,
            meaning.leaves,
            meaning.retry.text()
        )
        .expect("writing to a String cannot fail");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows as the documents hold them.
    fn markdown() -> String {
        let mut text = String::from(
            "| code | name | what happened | what it leaves | try again? |\n|---|---|---|---|---|\n",
        );
        for exit in Exit::ALL {
            let meaning = exit.meaning();
            writeln!(
                text,
                "| {} | `{}` | {} | {} | {} |",
                exit.code(),
                meaning.name,
                meaning.meaning,
                meaning.leaves,
                meaning.retry.text()
            )
            .expect("writing to a String cannot fail");
        }
        text
    }

    #[test]
    fn the_list_is_complete_and_in_order() {
        let codes: Vec<u8> = Exit::ALL.iter().map(|exit| exit.code()).collect();
        assert_eq!(codes, (0..12).collect::<Vec<u8>>());
    }

    #[test]
    fn names_are_unique() {
        let mut names: Vec<_> = Exit::ALL.iter().map(|exit| exit.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Exit::ALL.len());
    }

    #[test]
    fn the_documents_hold_this_very_table() {
        for path in ["README.md", "docs/exit-codes.md"] {
            let file = format!("{}/../../{path}", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(&file).expect("the document exists");
            assert!(
                text.contains(&markdown()),
                "{path} must hold this table:\n{}",
                markdown()
            );
        }
    }
}
