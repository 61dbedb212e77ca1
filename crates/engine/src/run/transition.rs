//! What comes next: the state machine, without I/O.
//!
//! The order of work is the order of the program's steps, and a run's place is
//! the first step that is not done.

use pontoon_core::plan::Gate;
use pontoon_core::step::{Action, Phase, Undo};

use crate::db::{RunState, StepRecord, StepState};

/// What a run does next.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Next {
    /// Act on this step (index into the list).
    Step(usize),
    /// Stand at this gate.
    Gate(Gate),
    /// `--until` was reached.
    Until,
    /// All steps are done.
    Complete,
}

/// Where to end early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Until {
    /// Before this phase begins.
    pub(crate) gate: Option<Phase>,
    /// After this phase has ended.
    pub(crate) phase: Option<Phase>,
}

impl Until {
    /// Why a run stands where it was reached.
    pub(crate) fn reason(self) -> Option<String> {
        let gate =
            |phase: Phase| format!("stands in front of {}, where --until asked", phase.name());
        let phase = |phase: Phase| format!("stands behind {}, where --until asked", phase.name());
        self.gate.map(gate).or(self.phase.map(phase))
    }
}

/// A gate is passed once a step behind it has begun: nothing is asked for again
/// after an interruption.
pub(crate) fn passed(steps: &[StepRecord], gate: &Gate) -> bool {
    steps.iter().any(|step| {
        step.step.phase >= gate.before && matches!(step.state, StepState::Running | StepState::Done)
    })
}

/// What comes next on the way forward.
pub(crate) fn next(
    steps: &[StepRecord],
    gates: &[Gate],
    approved: impl Fn(Phase) -> bool,
    until: Until,
) -> Next {
    let Some(index) = steps.iter().position(|step| match step.state {
        StepState::Pending | StepState::Running | StepState::Undone => true,
        StepState::Done => false,
    }) else {
        return Next::Complete;
    };
    let here = steps[index].step.phase;
    if until.phase.is_some_and(|phase| here > phase) || until.gate.is_some_and(|gate| here >= gate)
    {
        return Next::Until;
    }
    let closed = gates
        .iter()
        .filter(|gate| here >= gate.before)
        .find(|gate| !passed(steps, gate) && !approved(gate.before));
    match closed {
        Some(gate) => Next::Gate(gate.clone()),
        None => Next::Step(index),
    }
}

/// One action on the way back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Back {
    /// Run this action of the step's undo (indexes into the lists).
    Action {
        /// Index into the steps.
        step: usize,
        /// Index into its undo actions.
        action: usize,
    },
    /// There is nothing to run: only mark the step undone.
    Mark {
        /// Index into the steps.
        step: usize,
    },
    /// Everything has been taken back.
    Done,
}

/// What comes next on the way back: the last step that is not undone.
///
/// A transactional step that is marked running never took effect, because its
/// effect and its record commit together; a concurrent one may have, and its
/// undo looks at the catalog.
pub(crate) fn next_back(steps: &[StepRecord]) -> Back {
    let Some(index) = steps
        .iter()
        .rposition(|step| matches!(step.state, StepState::Running | StepState::Done))
    else {
        return Back::Done;
    };
    let record = &steps[index];
    let took_effect = match record.state {
        StepState::Done => true,
        StepState::Running => match record.step.action {
            Action::Ddl(_) | Action::Sync(_) | Action::Sql(_) => false,
            Action::Concurrent(_) | Action::Backfill(_) | Action::Verify(_) | Action::Wait(_) => {
                true
            }
        },
        StepState::Pending | StepState::Undone => false,
    };
    match &record.step.undo {
        Undo::Steps { actions } if took_effect && record.undone < actions.len() => Back::Action {
            step: index,
            action: record.undone,
        },
        Undo::Steps { .. } | Undo::Nothing | Undo::Impossible { .. } => Back::Mark { step: index },
    }
}

/// The first done step that cannot be taken back, with the reason.
pub(crate) fn irreversible(steps: &[StepRecord]) -> Option<(&StepRecord, &str)> {
    steps
        .iter()
        .filter(|step| step.state == StepState::Done)
        .find_map(|step| match &step.step.undo {
            Undo::Impossible { reason } => Some((step, reason.as_str())),
            Undo::Steps { .. } | Undo::Nothing => None,
        })
}

/// May `run` go on from this state by itself?
pub(crate) fn may_run(state: RunState) -> bool {
    match state {
        RunState::Pending
        | RunState::Running
        | RunState::Waiting
        | RunState::Paused
        | RunState::Failed => true,
        RunState::RollingBack | RunState::RolledBack | RunState::Completed => false,
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::step::{SqlText, Step};
    use proptest::prelude::*;

    use super::*;

    fn record(no: u32, phase: Phase, state: StepState) -> StepRecord {
        StepRecord {
            step: Step {
                no,
                phase,
                name: format!("step {no}"),
                operations: vec![0],
                action: Action::Sql(SqlText {
                    text: String::new(),
                }),
                undo: Undo::Steps {
                    actions: vec![Action::Sql(SqlText {
                        text: String::new(),
                    })],
                },
            },
            sql: Vec::new(),
            state,
            undone: 0,
            attempts: 0,
            wait_ms: 0.0,
            hold_ms: 0.0,
            rows: 0,
            detail: serde_json::Value::Null,
        }
    }

    fn gate(before: Phase) -> Gate {
        Gate {
            before,
            message: None,
            old_writes_idle: None,
        }
    }

    #[test]
    fn a_gate_stops_before_the_first_step_behind_it() {
        let mut steps = vec![
            record(1, Phase::Expand, StepState::Done),
            record(2, Phase::Contract, StepState::Pending),
        ];
        // There is no verify step: the gate before verify stands before contract.
        let gates = [gate(Phase::Verify)];
        assert_eq!(
            next(&steps, &gates, |_| false, Until::default()),
            Next::Gate(gate(Phase::Verify))
        );
        assert_eq!(
            next(&steps, &gates, |_| true, Until::default()),
            Next::Step(1)
        );
        steps[1].state = StepState::Running;
        assert_eq!(
            next(&steps, &gates, |_| false, Until::default()),
            Next::Step(1)
        );
    }

    #[test]
    fn until_ends_after_a_phase_or_before_a_gate() {
        let steps = vec![
            record(1, Phase::Expand, StepState::Done),
            record(2, Phase::Backfill, StepState::Pending),
        ];
        let after_expand = Until {
            phase: Some(Phase::Expand),
            gate: None,
        };
        assert_eq!(next(&steps, &[], |_| true, after_expand), Next::Until);
        let before_backfill = Until {
            gate: Some(Phase::Backfill),
            phase: None,
        };
        assert_eq!(next(&steps, &[], |_| true, before_backfill), Next::Until);
        let after_verify = Until {
            phase: Some(Phase::Verify),
            gate: None,
        };
        assert_eq!(next(&steps, &[], |_| true, after_verify), Next::Step(1));
    }

    #[test]
    fn a_transactional_step_that_was_running_has_nothing_to_take_back() {
        let steps = vec![
            record(1, Phase::Expand, StepState::Done),
            record(2, Phase::Expand, StepState::Running),
        ];
        assert_eq!(next_back(&steps), Back::Mark { step: 1 });
    }

    fn any_state() -> impl Strategy<Value = StepState> {
        prop_oneof![
            Just(StepState::Pending),
            Just(StepState::Running),
            Just(StepState::Done),
        ]
    }

    proptest! {
        /// Whatever was done, the way back ends, and takes steps back in
        /// reverse order, each action once.
        #[test]
        fn the_way_back_ends(states in prop::collection::vec(any_state(), 0..8)) {
            let mut steps: Vec<StepRecord> = (1..)
                .zip(states)
                .map(|(no, state)| record(no, Phase::Expand, state))
                .collect();
            let mut last = usize::MAX;
            for _ in 0..64 {
                match next_back(&steps) {
                    Back::Done => {
                        prop_assert!(steps.iter().all(|step| matches!(step.state, StepState::Pending | StepState::Undone)));
                        return Ok(());
                    }
                    Back::Action { step, action } => {
                        prop_assert!(step <= last);
                        last = step;
                        steps[step].undone = action + 1;
                    }
                    Back::Mark { step } => {
                        prop_assert!(step <= last);
                        last = step;
                        steps[step].state = StepState::Undone;
                    }
                }
            }
            prop_assert!(false, "the way back does not end");
        }

        /// The way forward reaches the end when every gate is approved.
        #[test]
        fn the_way_forward_ends(count in 0usize..8) {
            let mut steps: Vec<StepRecord> = (1..)
                .zip(0..count)
                .map(|(no, index)| record(no, Phase::ALL[index * 5 / 8], StepState::Pending))
                .collect();
            let gates: Vec<Gate> = Phase::ALL.into_iter().map(gate).collect();
            for _ in 0..=count {
                match next(&steps, &gates, |_| true, Until::default()) {
                    Next::Step(index) => steps[index].state = StepState::Done,
                    Next::Complete => return Ok(()),
                    Next::Gate(_) | Next::Until => prop_assert!(false),
                }
            }
            prop_assert!(false, "the way forward does not end");
        }
    }
}
