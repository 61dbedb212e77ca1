//! `drop_not_null`: lets a column hold NULL.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Constraint, ConstraintKind};
use crate::lower::{Asking, Lower, Lowering, ddl};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::sql::quote::quote_ident;
use crate::step::{Action, Change, Concurrent, Phase, Undo};

/// Lets a column hold NULL.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropNotNull {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
}

impl Declare for DropNotNull {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::Nullable, &["column"]);
    }
}

impl Lower for DropNotNull {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    /// A freedom that new versions need, so it lands in expand. The way back
    /// proves the column first and never scans under a strong lock.
    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        if column.def.nullable {
            lowering.invalid(
                format!("{}.{} may hold NULL already", table.name, self.column),
                "Leave the operation out.",
            );
            return;
        }
        let in_key = table.is_in_key(&self.column);
        if in_key || column.def.identity.is_some() {
            lowering.invalid(
                format!(
                    "{}.{} is part of the primary key or an identity column, which are never NULL",
                    table.name, self.column
                ),
                "Leave the operation out.",
            );
            return;
        }
        let name = table.name.clone();
        let check = lowering.artifact("not_null");
        let constraint = Constraint {
            name: check.clone(),
            kind: ConstraintKind::Check {
                expression: format!("{} IS NOT NULL", quote_ident(&self.column)),
                columns: vec![self.column.clone()],
            },
            validated: false,
            deferrable: None,
            definition: String::new(),
        };
        lowering.step(
            Phase::Expand,
            format!("let {name}.{} hold NULL", self.column),
            ddl(vec![Change::DropNotNull {
                table: name.clone(),
                column: self.column.clone(),
            }]),
            Undo::Steps {
                actions: vec![
                    ddl(vec![Change::AddConstraint {
                        table: name.clone(),
                        constraint,
                        using_index: None,
                    }]),
                    Action::Concurrent(Concurrent::Validate {
                        table: name.clone(),
                        name: check.clone(),
                        referenced: None,
                    }),
                    ddl(vec![
                        Change::SetNotNull {
                            table: name.clone(),
                            column: self.column.clone(),
                        },
                        Change::DropConstraint {
                            table: name,
                            name: check,
                            referenced: None,
                        },
                    ]),
                ],
            },
        );
        lowering.note(format!(
            "Old versions may read NULL in {}.{} from expand on. Rollback needs those rows filled first.",
            table.name, self.column
        ));
    }
}
