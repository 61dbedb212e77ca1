//! `set_compression`: sets how a column's long values are compressed.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Table;
use crate::lower::{Asking, Lower, Lowering, ddl};
use crate::object::TableSetting;
use crate::ops::common::TableRef;
use crate::ops::restore;
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::sql::quote::{quote_ident, quote_literal};
use crate::step::{Change, Phase, Undo};

/// Sets how a column's long values are compressed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetCompression {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The method.
    pub method: Method,
    /// Stores existing values anew, in batches.
    #[serde(default)]
    pub rewrite: bool,
}

/// A way to compress values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// PostgreSQL's own, in every server.
    Pglz,
    /// LZ4, in servers that were built with it.
    Lz4,
}

impl Method {
    fn word(self) -> &'static str {
        match self {
            Method::Pglz => "pglz",
            Method::Lz4 => "lz4",
        }
    }
}

impl SetCompression {
    /// True of values that are compressed otherwise, where the plan stores them
    /// anew.
    fn rewritten(&self) -> Option<String> {
        self.rewrite.then(|| {
            format!(
                "pg_column_compression({}) <> {}",
                quote_ident(&self.column),
                quote_literal(self.method.word())
            )
        })
    }
}

/// The method that a column has now; `None` for the server's default.
fn present(table: &Table, column: &str) -> Option<String> {
    table
        .column(column)?
        .settings
        .iter()
        .find_map(|setting| setting.strip_prefix("SET COMPRESSION "))
        .map(str::to_owned)
}

impl Declare for SetCompression {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.column(&self.table, &self.column, Role::Key, &["column"]);
    }
}

impl Lower for SetCompression {
    fn ask(&self, asking: &mut Asking<'_>) {
        restore::ask(asking, &self.table, &self.column, self.rewritten());
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        let Some(facts) = lowering.type_facts(&column.def.type_name) else {
            return;
        };
        if facts.storage == Some('p') {
            lowering.invalid(
                format!(
                    "{}.{} is of type {}, whose values are never compressed",
                    table.name, self.column, facts.name
                ),
                "Only types of any length can be compressed.",
            );
            return;
        }
        let word = self.method.word();
        let known = &lowering.catalog().server.compression;
        if !known.is_empty() && !known.iter().any(|method| method == word) {
            let known = known.join(", ");
            lowering.unsafe_(
                format!("this server was built without {word}"),
                format!("It knows: {known}. Install a server that has it, on standbys too."),
            );
            return;
        }
        let set = |table: &Table, method| Change::SetTable {
            table: table.name.clone(),
            setting: TableSetting::Compression {
                column: self.column.clone(),
                method,
            },
        };
        // The server sets it for the named table alone, so each partition and
        // child is named.
        let mut tables = lowering.descendants(&table);
        tables.insert(0, table.clone());
        let changes = tables
            .iter()
            .map(|table| set(table, Some(word.to_owned())))
            .collect();
        let back = tables
            .iter()
            .map(|table| set(table, present(table, &self.column)))
            .collect();
        lowering.step(
            Phase::Expand,
            format!("compress {}.{} with {word}", table.name, self.column),
            ddl(changes),
            Undo::Steps {
                actions: vec![ddl(back)],
            },
        );
        restore::existing(lowering, &table, &column, self.rewritten(), "compressed");
    }
}
