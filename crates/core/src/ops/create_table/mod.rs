//! `create_table`: creates a table.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Identity;
use crate::ops::common::{SqlExpr, TableRef, yes};

/// Creates a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTable {
    /// The new table.
    pub table: TableRef,
    /// At least one.
    pub columns: Vec<NewColumn>,
    /// Columns of the primary key, in order.
    #[serde(default)]
    pub primary_key: Vec<String>,
    /// The table's comment.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A column of a new table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewColumn {
    /// Its name.
    pub name: String,
    /// Its type.
    pub r#type: String,
    /// May it hold NULL? Default: true.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Its default.
    #[serde(default)]
    pub default: Option<SqlExpr>,
    /// GENERATED … AS IDENTITY.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
}
