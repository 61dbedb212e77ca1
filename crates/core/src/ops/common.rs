//! Values that several operations share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::name::TableName;

/// A table in a plan: `name`, `schema.name` (split at the first dot), or
/// `{schema: …, name: …}` for names that hold a dot themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TableRef {
    /// The short form.
    Short(String),
    /// The exact form.
    Exact(ExactName),
}

/// A name in two parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExactName {
    /// The schema; the plan's when left out.
    #[serde(default)]
    pub schema: Option<String>,
    /// The name.
    pub name: String,
}

impl TableRef {
    /// The full name; `schema` is the plan's.
    pub fn resolve(&self, schema: &str) -> TableName {
        match self {
            TableRef::Short(text) => match text.split_once('.') {
                Some((schema, name)) => TableName::new(schema, name),
                None => TableName::new(schema, text),
            },
            TableRef::Exact(exact) => {
                TableName::new(exact.schema.as_deref().unwrap_or(schema), &exact.name)
            }
        }
    }
}

/// A SQL expression: text, or one text per database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SqlExpr {
    /// The same everywhere.
    Any(String),
    /// One per database.
    Each(PerDatabase),
}

/// One SQL text per database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerDatabase {
    /// For PostgreSQL.
    pub postgresql: String,
    /// For SQLite.
    #[serde(default)]
    pub sqlite: Option<String>,
}

impl SqlExpr {
    /// The text for PostgreSQL.
    pub fn postgresql(&self) -> &str {
        match self {
            SqlExpr::Any(text) => text,
            SqlExpr::Each(each) => &each.postgresql,
        }
    }
}

/// For serde: a key that is true when it is left out.
pub(crate) fn yes() -> bool {
    true
}
