//! `change_type`: changes a column's type through a second column.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};
use crate::step::OnConflict;

/// Changes a column's type through a second column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeType {
    /// The table.
    pub table: TableRef,
    /// The column.
    pub column: String,
    /// The new type.
    pub to: String,
    /// The column that new versions use before contract; without it the second column is hidden.
    #[serde(default)]
    pub r#as: Option<String>,
    /// The new value from the old columns. Default: a cast.
    #[serde(default)]
    pub up: Option<SqlExpr>,
    /// The old value from the new column. Default: a cast.
    #[serde(default)]
    pub down: Option<SqlExpr>,
    /// What a write that gives both columns inconsistent values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
    /// Accepts expressions that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
}
