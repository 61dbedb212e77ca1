//! `sql`: runs a person's own SQL.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::plan::{Declare, Mentions};
use crate::step::Phase;
use crate::step::{Action, SqlText, Undo};

/// Runs a person's own SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// When it runs.
    pub phase: Phase,
    /// One or more statements, run in one transaction.
    #[schemars(extend("format" = "sql-statements"))]
    pub run: String,
    /// The way back.
    pub undo: SqlUndo,
}

/// The way back from a person's own SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SqlUndo {
    /// `{impossible: why}`.
    Impossible(Impossible),
    /// `nothing`, or SQL that takes it back.
    Text(#[schemars(extend("format" = "sql-undo"))] String),
}

/// There is no way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Impossible {
    /// Why.
    #[schemars(length(min = 1))]
    pub impossible: String,
}

impl Declare for Sql {
    fn declare(&self, _: &mut Mentions<'_>) {}
}

impl Lower for Sql {
    fn ask(&self, _: &mut Asking<'_>) {}

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let undo = match &self.undo {
            SqlUndo::Impossible(reason) => Undo::Impossible {
                reason: reason.impossible.clone(),
            },
            SqlUndo::Text(text) if text.trim() == "nothing" => Undo::Nothing,
            SqlUndo::Text(text) => Undo::Steps {
                actions: vec![Action::Sql(SqlText { text: text.clone() })],
            },
        };
        let first = self.run.trim().lines().next().unwrap_or_default();
        let mut name: String = first.chars().take(60).collect();
        if name.len() < self.run.trim().len() {
            name.push('…');
        }
        lowering.step(
            self.phase,
            format!("run `{name}`"),
            Action::Sql(SqlText {
                text: self.run.clone(),
            }),
            undo,
        );
    }
}
