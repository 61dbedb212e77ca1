//! `drop_column`: drops a column at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};

/// Drops a column at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropColumn {
    /// The table.
    pub table: TableRef,
    /// The column.
    pub column: String,
    /// What an INSERT that leaves the column out stores until contract.
    #[serde(default)]
    pub down: Option<SqlExpr>,
}
