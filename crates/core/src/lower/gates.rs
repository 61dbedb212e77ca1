//! Gates that could never be met, and gates that are missed.

use super::Lowering;
use super::refusal::{Refusal, RefusalKind};
use crate::plan::Plan;
use crate::step::{Action, Phase, Program, Step};

const WAY_OUT: &str = "Leave it out, and approve when the new version is everywhere.";

/// A gate with `old_writes_idle` in front of the program's steps, in a plan
/// without a dual write: nothing tells when an old version last wrote.
pub(super) fn unmeetable(plan: &Plan, program: &Program) -> Option<Refusal> {
    let tells = |step: &Step| matches!(step.action, Action::Sync(_));
    if program.steps.iter().any(tells) {
        return None;
    }
    let mut gates = plan.gates.iter();
    let gate = gates.find(|gate| {
        let stands = program.steps.iter().any(|step| step.phase >= gate.before);
        gate.old_writes_idle.is_some() && stands
    })?;
    Some(Refusal {
        operation: 0,
        line: 0,
        kind: RefusalKind::Invalid,
        message: format!(
            "the gate before {} has `old_writes_idle`, and the plan keeps no two shapes in step, so nothing tells when an old version last wrote",
            gate.before.name()
        ),
        hints: vec![WAY_OUT.to_owned()],
    })
}

/// A list of gates takes the place of the default one, which some may think
/// of as standing beside it.
pub(super) fn open_contract(plan: &Plan, program: &Program) -> Option<String> {
    let closed = plan.gates.iter().any(|gate| gate.before == Phase::Contract);
    let ends = program
        .steps
        .iter()
        .any(|step| step.phase == Phase::Contract);
    let missed = !plan.gates.is_empty() && !closed && ends;
    missed.then(|| {
        "No gate stands in front of contract: the run goes through it as soon as both shapes are proven equal. Add `{before: contract}` to `gates` unless that is what you want.".to_owned()
    })
}

impl Lowering<'_> {
    /// Refuses a gate with `old_writes_idle`, since nobody can tell when an old
    /// version last wrote: `why`, to be read behind "and".
    pub fn refuse_idle_gates(&mut self, why: &str) {
        let mut gates = self.plan.gates.iter();
        if gates.any(|gate| gate.old_writes_idle.is_some()) {
            self.invalid(
                format!(
                    "a gate has `old_writes_idle`, and {why}: nobody can tell when an old one last did"
                ),
                WAY_OUT,
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::fixtures::{answer, parse, users};
    use super::super::lower;
    use crate::step::Phase;

    #[test]
    fn a_gate_that_nothing_can_meet_is_refused() {
        let attempt = |operations: &str| {
            let mut plan = parse(operations);
            plan.gates[0].old_writes_idle = Some(std::time::Duration::from_secs(1));
            lower(&plan, &answer(users(), &plan))
        };
        let refused = attempt("  - drop_column: {table: users, column: amount}")
            .expect_err("nobody would know when old versions last wrote");
        assert!(refused[0].message.contains("`old_writes_idle`"));
        attempt("  - rename_column: {table: users, from: email, to: mail}").expect("triggers tell");
        attempt("  - set_comment: {table: users, comment: people}").expect("no gate is reached");
    }

    #[test]
    fn contract_without_a_gate_is_told() {
        let told = |operations: &str, before: &[Phase]| {
            let mut plan = parse(operations);
            let gate = plan.gates.remove(0);
            plan.gates = before
                .iter()
                .map(|phase| crate::plan::Gate {
                    before: *phase,
                    ..gate.clone()
                })
                .collect();
            let lowered = lower(&plan, &answer(users(), &plan)).expect("the plan lowers");
            lowered
                .notes
                .iter()
                .any(|(of, note)| *of == 0 && note.contains("contract"))
        };
        let rename = "  - rename_column: {table: users, from: email, to: mail}";
        assert!(told(rename, &[Phase::Backfill]));
        assert!(!told(rename, &[Phase::Backfill, Phase::Contract]));
        assert!(!told(rename, &[]), "written by whoever wants none");
        let comment = "  - set_comment: {table: users, comment: people}";
        assert!(!told(comment, &[Phase::Backfill]), "nothing is contracted");
    }
}
