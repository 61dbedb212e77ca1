//! The record of a step, as the part of a transaction that performs it.

use pontoon_core::sql::quote::quote_literal;
use pontoon_core::step::{Step, Undo};
use serde_json::Value;
use uuid::Uuid;

use crate::db::Direction;

/// What the step's row says afterwards.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    direction: Direction,
    /// This is the last action of the step's undo.
    last: bool,
    /// Merged into the step's detail.
    detail: Option<Value>,
}

impl Record {
    pub(crate) fn new(step: &Step, direction: Direction) -> Self {
        let last = match (direction, &step.undo) {
            (Direction::Undo(n), Undo::Steps { actions }) => n + 1 >= actions.len(),
            _ => true,
        };
        Self {
            direction,
            last,
            detail: None,
        }
    }

    #[must_use]
    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }

    /// Has it been done already? Over the variables `step_state` and
    /// `step_undone`.
    pub(crate) fn is_done_condition(&self) -> String {
        match self.direction {
            Direction::Do => "step_state = 'done'".to_owned(),
            Direction::Undo(n) => format!("step_undone > {n} OR step_state = 'undone'"),
        }
    }

    /// The same on a record that was read.
    pub(crate) fn is_done(&self, state: &str, undone: i32) -> bool {
        match self.direction {
            Direction::Do => state == "done",
            Direction::Undo(n) => {
                state == "undone" || usize::try_from(undone).unwrap_or_default() > n
            }
        }
    }

    /// The UPDATE that records it, `costs` among its assignments.
    pub(crate) fn update(&self, run: Uuid, no: u32, costs: &str) -> String {
        let mut assignments = vec![costs.to_owned()];
        match self.direction {
            Direction::Do => assignments.push("state = 'done'".into()),
            Direction::Undo(n) => {
                assignments.push(format!("undone = {}", n + 1));
                if self.last {
                    assignments.push("state = 'undone'".into());
                }
            }
        }
        assignments
            .push("started_at = coalesce(started_at, pg_catalog.transaction_timestamp())".into());
        if self.last {
            assignments.push("finished_at = pg_catalog.clock_timestamp()".into());
        }
        if let Some(detail) = &self.detail {
            assignments.push(format!(
                "detail = detail || {}::jsonb",
                quote_literal(&detail.to_string())
            ));
        }
        format!(
            "    UPDATE pontoon.step SET {}\n    WHERE run = '{run}' AND no = {no};\n",
            assignments.join(",\n        ")
        )
    }
}
