//! `set_not_null`: makes a column NOT NULL at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};

/// Makes a column NOT NULL at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetNotNull {
    /// The table.
    pub table: TableRef,
    /// The column.
    pub column: String,
    /// What replaces a NULL, in present rows and in writes until contract.
    #[serde(default)]
    pub fill: Option<SqlExpr>,
}
