//! `set_default`: sets a column's default.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};

/// Sets a column's default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetDefault {
    /// The table.
    pub table: TableRef,
    /// The column.
    pub column: String,
    /// The default.
    pub default: SqlExpr,
}
