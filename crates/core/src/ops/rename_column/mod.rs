//! `rename_column`: renames a column; both names live until contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;
use crate::step::OnConflict;

/// Renames a column; both names live until contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameColumn {
    /// The table.
    pub table: TableRef,
    /// The present name.
    pub from: String,
    /// The new name.
    pub to: String,
    /// What a write that gives both names different values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
}
