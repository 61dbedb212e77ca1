//! Names of tables, as people write them and as the database holds them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A table's schema and name, taken literally: upper case, spaces and dots
/// inside either part are kept as they are and never folded.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TableName {
    /// The schema, as in `pg_namespace.nspname`.
    pub schema: String,
    /// The table, as in `pg_class.relname`.
    pub name: String,
}

impl TableName {
    /// Joins the two parts without any folding.
    pub fn new(schema: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            schema: schema.into(),
            name: name.into(),
        }
    }
}

/// For people: `public.users`. Text for a server goes through
/// `sql::quote` instead.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.schema, self.name)
    }
}
