//! `add_unique`: adds a UNIQUE constraint at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;

/// Adds a UNIQUE constraint at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddUnique {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    pub name: String,
    /// In key order.
    pub columns: Vec<String>,
}
