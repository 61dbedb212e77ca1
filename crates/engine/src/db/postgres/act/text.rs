//! The SQL that a run stores with its steps.

use pontoon_core::sql::postgres::texts as step_texts;
use pontoon_core::step::{Step, Undo};
use uuid::Uuid;

/// The short word for a run in the name of everything of ours: the end of
/// its id, which is random. (Its beginning is the time: two runs started
/// within a minute would share it.)
pub(crate) fn run_word(run: Uuid) -> String {
    let digits = run.simple().to_string();
    digits[digits.len() - 8..].to_owned()
}

/// The statements of a step, and those of each action of its undo.
pub(crate) fn texts(run: Uuid, step: &Step) -> (Vec<String>, Vec<Vec<String>>) {
    let word = run_word(run);
    let forward = step_texts(step, &word);
    let back = match &step.undo {
        Undo::Steps { actions } => actions
            .iter()
            .map(|action| {
                let alone = Step {
                    action: action.clone(),
                    ..step.clone()
                };
                step_texts(&alone, &word)
            })
            .collect(),
        Undo::Nothing | Undo::Impossible { .. } => Vec::new(),
    };
    (forward, back)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_the_same_moment_have_different_words() {
        let (one, other) = (Uuid::now_v7(), Uuid::now_v7());
        assert_ne!(run_word(one), run_word(other));
        assert_eq!(run_word(one).len(), 8);
    }
}
