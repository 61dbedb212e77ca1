//! What a person has to know at the gate before contract: statements that
//! count columns instead of naming them.

use pontoon_core::plan::Gate;
use pontoon_core::step::{Action, Change, Phase};

use crate::db::{StepRecord, StepState};

/// Warns of the columns that the steps behind this gate take away; `None`
/// when they take none, or the gate is an earlier one.
pub(crate) fn warning(gate: &Gate, steps: &[StepRecord]) -> Option<String> {
    match gate.before {
        Phase::Contract => {}
        Phase::Expand | Phase::DualWrite | Phase::Backfill | Phase::Verify => return None,
    }
    let mut gone: Vec<String> = Vec::new();
    for step in steps {
        let Action::Ddl(ddl) = &step.step.action else {
            continue;
        };
        match (step.step.phase, step.state) {
            (Phase::Contract, StepState::Pending | StepState::Running) => {}
            _ => continue,
        }
        for change in &ddl.changes {
            if let Change::DropColumn { table, column } = change {
                gone.push(format!("{table}.{column}"));
            }
        }
    }
    if gone.is_empty() {
        return None;
    }
    gone.sort();
    gone.dedup();
    Some(format!(
        "Contract drops {} and with that moves the columns behind. INSERT and COPY without a column list, SELECT * and RETURNING * feel it: let every version name its columns.",
        gone.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use pontoon_core::name::TableName;
    use pontoon_core::step::{Ddl, Step, Undo};

    use super::*;

    fn dropping(phase: Phase, state: StepState) -> StepRecord {
        StepRecord {
            step: Step {
                no: 1,
                phase,
                name: "drop".to_owned(),
                operations: vec![0],
                action: Action::Ddl(Ddl {
                    changes: vec![Change::DropColumn {
                        table: TableName::new("public", "items"),
                        column: "amount".to_owned(),
                    }],
                    cutover: true,
                }),
                undo: Undo::Nothing,
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

    #[test]
    fn only_what_is_still_to_come_is_warned_of() {
        let gate = |before| Gate {
            before,
            message: None,
            old_writes_idle: None,
        };
        let coming = [dropping(Phase::Contract, StepState::Pending)];
        let said = warning(&gate(Phase::Contract), &coming);
        assert!(said.is_some_and(|said| said.contains("public.items.amount")));
        assert_eq!(warning(&gate(Phase::Verify), &coming), None);
        let done = [dropping(Phase::Contract, StepState::Done)];
        assert_eq!(warning(&gate(Phase::Contract), &done), None);
    }
}
