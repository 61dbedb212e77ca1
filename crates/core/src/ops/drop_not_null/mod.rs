//! `drop_not_null`: lets a column hold NULL.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;

/// Lets a column hold NULL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropNotNull {
    /// The table.
    pub table: TableRef,
    /// The column.
    pub column: String,
}
