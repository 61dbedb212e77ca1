//! `set_storage`: sets how a column's long values are stored.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Table};
use crate::lower::{Asking, Lower, Lowering};
use crate::object::{ColumnStorage, TableSetting};
use crate::ops::common::TableRef;
use crate::ops::restore;
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::sql::quote::quote_ident;
use crate::step::{Change, Phase};

/// Sets how a column's long values are stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStorage {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The way.
    pub storage: ColumnStorage,
    /// Stores existing values anew, in batches.
    #[serde(default)]
    pub rewrite: bool,
}

impl SetStorage {
    /// True of values that are not stored as they are, where the plan stores
    /// them anew.
    fn rewritten(&self) -> Option<String> {
        self.rewrite.then(|| {
            format!(
                "pg_column_compression({}) IS NOT NULL",
                quote_ident(&self.column)
            )
        })
    }
}

/// How a column is stored now.
fn present(column: &Column, type_default: ColumnStorage) -> ColumnStorage {
    const ALL: [ColumnStorage; 4] = [
        ColumnStorage::Plain,
        ColumnStorage::External,
        ColumnStorage::Extended,
        ColumnStorage::Main,
    ];
    column
        .settings
        .iter()
        .find_map(|setting| {
            let word = setting.strip_prefix("SET STORAGE ")?;
            ALL.into_iter().find(|storage| storage.word() == word)
        })
        .unwrap_or(type_default)
}

impl Declare for SetStorage {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.column(&self.table, &self.column, Role::Key, &["column"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        if self.rewrite && self.storage != ColumnStorage::External {
            let span = check.written.key_span("rewrite");
            check.report(
                &span,
                "`rewrite` goes with `storage: external` only",
                "a value that does not shrink is stored as before, so a run could not tell what it has stored anew",
                "leave it out: a row takes the setting when its value is written next",
            );
        }
    }
}

impl Lower for SetStorage {
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
        let Some(type_default) = facts.storage.and_then(ColumnStorage::of) else {
            return;
        };
        if type_default == ColumnStorage::Plain && self.storage != ColumnStorage::Plain {
            lowering.invalid(
                format!(
                    "{}.{} is of type {}, whose values are always stored plain",
                    table.name, self.column, facts.name
                ),
                "Only types of any length can be stored in another way.",
            );
            return;
        }
        let set = |table: &Table, storage| Change::SetTable {
            table: table.name.clone(),
            setting: TableSetting::Storage {
                column: self.column.clone(),
                storage,
                type_default,
            },
        };
        // The change reaches everything below the table, and so does its undo:
        // what differed there is set again afterwards.
        let former = present(&column, type_default);
        let mut back = vec![set(&table, former)];
        for below in lowering.descendants(&table) {
            let own = below
                .column(&self.column)
                .map_or(former, |column| present(column, type_default));
            if own != former {
                back.push(set(&below, own));
            }
        }
        lowering.ddl(
            Phase::Expand,
            format!(
                "store {}.{} {}",
                table.name,
                self.column,
                self.storage.word()
            ),
            set(&table, self.storage),
            back,
        );
        restore::existing(lowering, &table, &column, self.rewritten(), "stored");
    }
}
