//! `add_primary_key`: gives a table its primary key at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::ConstraintKind;
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};

/// Gives a table its primary key at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddPrimaryKey {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// In key order.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
}

impl Declare for AddPrimaryKey {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.columns(&self.table, &self.columns, Role::Key, &["columns"]);
        to.constraint_with_index(&self.table, &self.name, &["name"]);
    }
}

impl Lower for AddPrimaryKey {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let present = table
            .constraints
            .iter()
            .find(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey { .. }));
        if let Some(present) = present {
            lowering.unsafe_(
                format!("table {} has a primary key already: {}", table.name, present.name),
                "A table has one at most. Put another one into its place with `replace_primary_key`, or add a unique constraint with `add_unique`.",
            );
        }
        lowering.new_constraint_name(&table, &self.name);
        lowering.new_relation_name(&table, &self.name);
        for column in &self.columns {
            if lowering.column_or_added(&table, column).is_some() {
                lowering.key_column(&table, column);
            }
        }
        let kind = ConstraintKind::PrimaryKey {
            columns: self.columns.clone(),
        };
        lowering.constraint_over_index(&table, &self.name, &self.columns, kind);
        lowering.note(format!(
            "Duplicates and NULLs in {} stop contract before anything is taken away.",
            self.columns.join(", ")
        ));
    }
}
