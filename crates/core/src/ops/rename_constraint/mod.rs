//! `rename_constraint`: renames a constraint at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::ConstraintKind;
use crate::lower::{Asking, Lower, Lowering};
use crate::object::TableSetting;
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, TableUse};
use crate::step::Change;

/// Renames a constraint at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameConstraint {
    /// The table.
    pub table: TableRef,
    /// The present name.
    #[schemars(extend("format" = "identifier"))]
    pub from: String,
    /// The name afterwards.
    #[schemars(extend("format" = "identifier"))]
    pub to: String,
}

impl Declare for RenameConstraint {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.constraint(&self.table, &self.from, &["from"]);
        to.constraint(&self.table, &self.to, &["to"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        check.renamed(&self.from, &self.to, "from");
    }
}

impl Lower for RenameConstraint {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(constraint) = lowering.constraint(&table, &self.from) else {
            return;
        };
        lowering.new_constraint_name(&table, &self.to);
        let inherited = match constraint.kind {
            ConstraintKind::Check { .. } => true,
            ConstraintKind::ForeignKey { .. } => false,
            // The index behind it is renamed with it.
            ConstraintKind::Unique { .. }
            | ConstraintKind::PrimaryKey { .. }
            | ConstraintKind::Exclusion => {
                lowering.new_relation_name(&table, &self.to);
                false
            }
            ConstraintKind::Other { contype } => {
                lowering.unsafe_(
                    format!(
                        "constraint {} is of kind `{contype}`, which this version does not know",
                        self.from
                    ),
                    "Rename it with a `sql` operation.",
                );
                return;
            }
        };
        lowering.cutover(Change::SetTable {
            table: table.name,
            setting: TableSetting::RenameConstraint {
                from: self.from.clone(),
                to: self.to.clone(),
                inherited,
            },
        });
    }
}
