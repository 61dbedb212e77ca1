//! `add_check`: adds a CHECK constraint at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Constraint, ConstraintKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Declare, Mentions, TableUse};
use crate::step::{Change, Phase};

/// Adds a CHECK constraint at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddCheck {
    /// The table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// What each row must satisfy.
    pub check: SqlExpr,
}

impl Declare for AddCheck {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.expression(&self.table, &self.check, &["check"]);
        to.constraint(&self.table, &self.name, &["name"]);
    }
}

impl Lower for AddCheck {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        asking.expression(&table, self.check.postgresql(), Some("boolean"));
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        lowering.new_constraint_name(&table, &self.name);
        let Some(facts) = lowering.facts(
            &table.name,
            self.check.postgresql(),
            Some("boolean"),
            "check",
        ) else {
            return;
        };
        lowering.ddl(
            Phase::Contract,
            format!("add check {} to {}", self.name, table.name),
            Change::AddConstraint {
                table: table.name.clone(),
                constraint: Constraint {
                    name: self.name.clone(),
                    kind: ConstraintKind::Check {
                        expression: facts.expr.bare(),
                        columns: facts.expr.columns,
                    },
                    validated: false,
                    deferrable: None,
                    definition: String::new(),
                },
                using_index: None,
            },
            vec![Change::DropConstraint {
                table: table.name.clone(),
                name: self.name.clone(),
                referenced: None,
            }],
        );
        let step = format!("validate check {} of {}", self.name, table.name);
        lowering.validate(step, &table.name, &self.name, None);
    }
}
