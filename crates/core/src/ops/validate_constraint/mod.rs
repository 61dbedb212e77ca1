//! `validate_constraint`: proves a NOT VALID constraint on the present rows.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::ConstraintKind;
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, TableUse};
use crate::step::{Action, Concurrent, Phase, Undo};

/// Proves a NOT VALID constraint on the present rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ValidateConstraint {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
}

impl Declare for ValidateConstraint {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.constraint(&self.table, &self.name, &["name"]);
    }
}

impl Lower for ValidateConstraint {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(constraint) = lowering.constraint(&table, &self.name) else {
            return;
        };
        let referenced = match &constraint.kind {
            ConstraintKind::Check { .. } => None,
            ConstraintKind::ForeignKey { references, .. } => Some(references.clone()),
            ConstraintKind::Unique { .. }
            | ConstraintKind::PrimaryKey { .. }
            | ConstraintKind::Exclusion => None,
            ConstraintKind::Other { contype } => {
                lowering.unsafe_(
                    format!(
                        "constraint {} is of kind `{contype}`, which this version does not know",
                        self.name
                    ),
                    "Validate it with a `sql` operation.",
                );
                return;
            }
        };
        if constraint.validated {
            lowering.note(format!(
                "Constraint {} of {} is valid already; nothing is done.",
                self.name, table.name
            ));
            return;
        }
        lowering.step(
            Phase::Backfill,
            format!("validate constraint {} of {}", self.name, table.name),
            Action::Concurrent(Concurrent::Validate {
                table: table.name,
                name: self.name.clone(),
                referenced,
            }),
            Undo::Nothing,
        );
    }
}
