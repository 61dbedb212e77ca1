//! `sql`: runs a person's own SQL.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::step::Phase;

/// Runs a person's own SQL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sql {
    /// When it runs.
    pub phase: Phase,
    /// One or more statements, run in one transaction.
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
    Text(String),
}

/// There is no way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Impossible {
    /// Why.
    pub impossible: String,
}
