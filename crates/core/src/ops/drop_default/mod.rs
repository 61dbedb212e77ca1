//! `drop_default`: drops a column's default at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;

/// Drops a column's default at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropDefault {
    /// The table.
    pub table: TableRef,
    /// The column.
    pub column: String,
}
