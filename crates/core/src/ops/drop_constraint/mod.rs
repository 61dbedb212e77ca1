//! `drop_constraint`: drops a constraint.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;

/// Drops a constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropConstraint {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    pub name: String,
}
