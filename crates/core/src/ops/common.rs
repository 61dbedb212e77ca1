//! Values that several operations share.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::name::TableName;

/// A table in a plan: `name`, `schema.name` (split at the first dot), or
/// `{schema: …, name: …}` for names that hold a dot themselves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum TableRef {
    /// The short form.
    Short(#[schemars(extend("format" = "qualified-name"))] String),
    /// The exact form.
    Exact(ExactName),
}

/// A name in two parts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExactName {
    /// The schema; the plan's when left out.
    #[serde(default)]
    #[schemars(extend("format" = "schema-name"))]
    pub schema: Option<String>,
    /// The name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
}

impl TableRef {
    /// The name without its schema.
    pub fn last(&self) -> &str {
        match self {
            TableRef::Short(text) => text.split_once('.').map_or(text, |(_, name)| name),
            TableRef::Exact(exact) => &exact.name,
        }
    }

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

/// A SQL expression: text, or one text per database. A number, `true`, `false`
/// and `null` need no quotes in YAML; a text constant needs SQL's own:
/// `"'pending'"`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum SqlExpr {
    /// The same everywhere.
    Any(#[schemars(schema_with = "expression")] String),
    /// One per database.
    Each(PerDatabase),
}

/// One SQL text per database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PerDatabase {
    /// For PostgreSQL.
    #[schemars(schema_with = "expression")]
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

/// The schema of one SQL expression. YAML reads `0`, `true` and `NULL` as other
/// kinds than text, and all of them are SQL.
fn expression(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "number", "boolean", "null"], "format": "sql-expression"})
}

/// The schema of a list of at least one name.
pub(crate) fn names(generator: &mut SchemaGenerator) -> Schema {
    let mut schema = names_or_none(generator);
    schema.insert("minItems".into(), 1.into());
    schema
}

/// The schema of a list of names; a table has at most 1,600 columns.
pub(crate) fn names_or_none(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "format": "identifier"},
        "uniqueItems": true,
        "maxItems": 1600,
    })
}

/// The schema of `set`: columns and their values.
pub(crate) fn assignments(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "minProperties": 1,
        "propertyNames": {"format": "identifier"},
        "additionalProperties": generator.subschema_for::<SqlExpr>(),
    })
}

/// For serde: a key that is true when it is left out.
pub(crate) fn yes() -> bool {
    true
}
