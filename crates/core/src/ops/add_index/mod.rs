//! `add_index`: builds an index concurrently.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};

/// Builds an index concurrently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddIndex {
    /// The table.
    pub table: TableRef,
    /// The index's name.
    pub name: String,
    /// Its keys, in order.
    pub columns: Vec<IndexColumn>,
    /// UNIQUE; enforced from contract on.
    #[serde(default)]
    pub unique: bool,
    /// Predicate of a partial index.
    #[serde(default)]
    pub r#where: Option<SqlExpr>,
    /// `btree` (default), `gin`, `gist`, `brin`, `hash`, `spgist` or an extension's.
    #[serde(default)]
    pub method: Option<String>,
    /// Columns that are stored beside the key.
    #[serde(default)]
    pub include: Vec<String>,
}

/// One key of an index: a column's name, or the long form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IndexColumn {
    /// A column.
    Name(String),
    /// A column or an expression with its options.
    Key(IndexKeySpec),
}

/// The long form of an index key: exactly one of `column` and `expression`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexKeySpec {
    /// A column.
    #[serde(default)]
    pub column: Option<String>,
    /// An expression over the row.
    #[serde(default)]
    pub expression: Option<SqlExpr>,
    /// Operator class.
    #[serde(default)]
    pub opclass: Option<String>,
    /// Collation.
    #[serde(default)]
    pub collation: Option<String>,
    /// `asc` (default) or `desc`.
    #[serde(default)]
    pub order: SortOrder,
    /// `first` or `last`; default as PostgreSQL has it for the order.
    #[serde(default)]
    pub nulls: Option<NullsOrder>,
}

/// ASC or DESC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// Ascending.
    #[default]
    Asc,
    /// Descending.
    Desc,
}

/// NULLS FIRST or NULLS LAST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullsOrder {
    /// NULLS FIRST.
    First,
    /// NULLS LAST.
    Last,
}
