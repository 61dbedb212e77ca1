//! `wait_for`: waits until a condition holds before the plan goes on.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::plan::{Declare, Mentions};
use crate::step::{Action, Phase, Undo, Wait};

/// Waits until a condition holds before the plan goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WaitFor {
    /// One SELECT that gives one row with one boolean.
    #[schemars(extend("format" = "sql-query"))]
    pub query: String,
    /// How long one sitting waits before the step fails.
    #[schemars(schema_with = "crate::plan::time_span")]
    pub timeout: String,
    /// How often it looks. Default: 1s.
    #[serde(default)]
    #[schemars(schema_with = "crate::plan::time_span")]
    pub every: Option<String>,
    /// Before which phase's other steps it waits: `expand` (default),
    /// `backfill` or `contract`.
    #[serde(default)]
    pub phase: WaitPhase,
}

/// Where a wait stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum WaitPhase {
    /// In expand, in the order of the operations.
    #[default]
    Expand,
    /// In backfill, after the rows are filled.
    Backfill,
    /// In contract, before the cutover.
    Contract,
}

/// How often it looks when the plan does not say.
const OFTEN: &str = "1s";

/// Milliseconds; the text has been checked.
fn milliseconds(text: &str) -> u64 {
    humantime::parse_duration(text.trim())
        .ok()
        .and_then(|time| u64::try_from(time.as_millis()).ok())
        .unwrap_or(u64::MAX)
        .max(1)
}

impl Declare for WaitFor {
    fn declare(&self, _: &mut Mentions<'_>) {}
}

impl Lower for WaitFor {
    fn ask(&self, _: &mut Asking<'_>) {}

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let query = self.query.split_whitespace().collect::<Vec<_>>().join(" ");
        let shown: String = query.chars().take(60).collect();
        let more = if shown.len() < query.len() { "…" } else { "" };
        lowering.step(
            match self.phase {
                WaitPhase::Expand => Phase::Expand,
                WaitPhase::Backfill => Phase::Backfill,
                WaitPhase::Contract => Phase::Contract,
            },
            format!("wait until {shown}{more}"),
            Action::Wait(Wait {
                query: self.query.clone(),
                schema: lowering.schema().to_owned(),
                timeout_ms: milliseconds(&self.timeout),
                every_ms: milliseconds(self.every.as_deref().unwrap_or(OFTEN)),
            }),
            Undo::Nothing,
        );
    }
}
