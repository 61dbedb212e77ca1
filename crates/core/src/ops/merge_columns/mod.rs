//! `merge_columns`: one column takes the place of several.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef, yes};
use crate::ops::regroup::{Regroup, Target};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::OnConflict;

/// One column takes the place of several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct MergeColumns {
    /// The table.
    pub table: TableRef,
    /// The columns that are merged.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
    /// The column that takes their place.
    #[schemars(extend("format" = "identifier"))]
    pub r#as: String,
    /// Its type.
    #[schemars(extend("format" = "sql-type"))]
    pub r#type: String,
    /// May it hold NULL? Default: true.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Its value from the merged columns.
    pub up: SqlExpr,
    /// The value of each merged column from it.
    #[schemars(schema_with = "crate::ops::common::assignments")]
    pub down: BTreeMap<String, SqlExpr>,
    /// What a write that gives both shapes inconsistent values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
    /// Accepts expressions that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
}

impl MergeColumns {
    fn regroup(&self) -> Regroup<'_> {
        Regroup {
            table: &self.table,
            old: self
                .columns
                .iter()
                .filter_map(|column| Some((column.as_str(), self.down.get(column)?)))
                .collect(),
            new: vec![Target {
                name: &self.r#as,
                type_name: &self.r#type,
                nullable: self.nullable,
                comment: self.comment.as_ref(),
                up: &self.up,
            }],
            on_conflict: self.on_conflict,
            volatile: self.allow_volatile.into(),
        }
    }
}

impl Declare for MergeColumns {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.columns(&self.table, &self.columns, Role::Replaced, &["columns"]);
        to.column(&self.table, &self.r#as, Role::RetypedAs, &["as"]);
        to.reads_old_shape(&self.table, &self.up, &["up"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        let span = check.written.span(&["as"]);
        check.new_column(&self.r#as, &span);
        if self.columns.contains(&self.r#as) {
            check.report(
                &span,
                "`as` is one of the merged columns",
                "expected the name of another column",
                "both live side by side until contract; rename it in a later plan",
            );
        }
        check.keys_among(self.down.keys(), &["down"], &self.columns, "columns");
        let missing = self
            .columns
            .iter()
            .position(|name| !self.down.contains_key(name));
        if let Some(index) = missing {
            let span = check.written.item(&["columns"], index);
            check.report(
                &span,
                format!("`down` does not say what `{}` is", self.columns[index]),
                "expected one expression for each merged column",
                "old versions read it until contract, and so does everything after a rollback",
            );
        }
    }
}

impl Lower for MergeColumns {
    fn ask(&self, asking: &mut Asking<'_>) {
        self.regroup().ask(asking);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        self.regroup().lower(lowering);
    }
}
