//! `add_foreign_key`: adds a foreign key at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Deferrable, ReferentialAction};
use crate::ops::common::TableRef;

/// Adds a foreign key at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddForeignKey {
    /// The referencing table.
    pub table: TableRef,
    /// The constraint's name.
    pub name: String,
    /// In key order.
    pub columns: Vec<String>,
    /// Where it points.
    pub references: References,
    /// What a DELETE of the referenced row does.
    #[serde(default)]
    pub on_delete: ReferentialAction,
    /// What a change of the referenced key does.
    #[serde(default)]
    pub on_update: ReferentialAction,
    /// MATCH.
    #[serde(default)]
    pub r#match: ForeignKeyMatch,
    /// DEFERRABLE.
    #[serde(default)]
    pub deferrable: Option<Deferrable>,
}

/// What a foreign key points at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct References {
    /// The referenced table.
    pub table: TableRef,
    /// Its columns, in key order.
    pub columns: Vec<String>,
}

/// MATCH SIMPLE or MATCH FULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeyMatch {
    /// One NULL column exempts the row.
    #[default]
    Simple,
    /// All columns are NULL, or none.
    Full,
}
