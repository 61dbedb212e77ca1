//! `add_column`: adds a column; with `up`, fills it and keeps it in step.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef, yes};

/// Adds a column; with `up`, fills it and keeps it in step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddColumn {
    /// The table.
    pub table: TableRef,
    /// The new column.
    pub column: AddedColumn,
    /// Its value from the old columns.
    #[serde(default)]
    pub up: Option<SqlExpr>,
    /// Always computed: a value that a writer gives is overruled.
    #[serde(default)]
    pub derived: bool,
    /// Accepts an `up` that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
}

/// The column that [`AddColumn`] adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// May it hold NULL? Default: true.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Its default; with `up`, set at contract.
    #[serde(default)]
    pub default: Option<SqlExpr>,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
}
