//! `backfill`: changes rows in batches.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};

/// Changes rows in batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRows {
    /// The table.
    pub table: TableRef,
    /// Columns and their new values.
    pub set: BTreeMap<String, SqlExpr>,
    /// Which rows; `set` must make it false.
    pub r#where: SqlExpr,
    /// What rollback does.
    #[serde(default)]
    pub undo: BackfillUndo,
}

/// What rollback does about rows that the backfill has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackfillUndo {
    /// They stay as they are.
    #[default]
    Keep,
    /// Another backfill takes them back.
    #[serde(untagged)]
    Rows(UndoRows),
}

/// The backfill that takes another one back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRows {
    /// Columns and their values.
    pub set: BTreeMap<String, SqlExpr>,
    /// Which rows; `set` must make it false.
    pub r#where: SqlExpr,
}
