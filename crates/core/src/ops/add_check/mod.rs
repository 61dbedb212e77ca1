//! `add_check`: adds a CHECK constraint at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};

/// Adds a CHECK constraint at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCheck {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    pub name: String,
    /// What each row must satisfy.
    pub check: SqlExpr,
}
