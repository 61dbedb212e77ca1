//! `split_column`: several columns take the place of one.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef, yes};
use crate::ops::regroup::{Regroup, Target};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::OnConflict;

/// Several columns take the place of one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SplitColumn {
    /// The table.
    pub table: TableRef,
    /// The column that is split.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The columns that take its place.
    #[schemars(length(min = 1, max = 1600))]
    pub into: Vec<Part>,
    /// The value of the split column from them.
    pub down: SqlExpr,
    /// What a write that gives both shapes inconsistent values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
    /// Accepts expressions that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
}

/// A column that takes a part of the split one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Part {
    /// Its name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Its type.
    #[schemars(extend("format" = "sql-type"))]
    pub r#type: String,
    /// May it hold NULL? Default: true.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
    /// Its value from the split column.
    pub up: SqlExpr,
}

impl SplitColumn {
    fn regroup(&self) -> Regroup<'_> {
        Regroup {
            table: &self.table,
            old: vec![(&self.column, &self.down)],
            new: self
                .into
                .iter()
                .map(|part| Target {
                    name: &part.name,
                    type_name: &part.r#type,
                    nullable: part.nullable,
                    comment: part.comment.as_ref(),
                    up: &part.up,
                })
                .collect(),
            on_conflict: self.on_conflict,
            volatile: self.allow_volatile.into(),
        }
    }
}

impl Declare for SplitColumn {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::Replaced, &["column"]);
        for (index, part) in self.into.iter().enumerate() {
            let at: (&[&str], usize) = (&["into"], index);
            to.item(&self.table, &part.name, Role::RetypedAs, at);
            to.item_reads_old_shape(&self.table, &part.up, at, "up");
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        for (index, part) in self.into.iter().enumerate() {
            let span = check.written.item(&["into"], index);
            check.new_column(&part.name, &span);
            if part.name == self.column {
                check.report(
                    &span,
                    format!("`{}` is the column that is split", part.name),
                    "expected the name of another column",
                    "both live side by side until contract; rename it in a later plan",
                );
            }
            if self.into[..index]
                .iter()
                .any(|other| other.name == part.name)
            {
                check.report(
                    &span,
                    format!("column `{}` stands twice in `into`", part.name),
                    "expected another name",
                    "",
                );
            }
        }
    }
}

impl Lower for SplitColumn {
    fn ask(&self, asking: &mut Asking<'_>) {
        self.regroup().ask(asking);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        self.regroup().lower(lowering);
    }
}
