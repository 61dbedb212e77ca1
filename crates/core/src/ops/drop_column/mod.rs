//! `drop_column`: drops a column at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};
use crate::lower::{Asking, Lower, Lowering, Over, Volatile, mapped};
use crate::step::{Change, Mapping, Rule};

/// Drops a column at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropColumn {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// What an INSERT that leaves the column out stores until contract.
    #[serde(default)]
    pub down: Option<SqlExpr>,
}

impl Lower for DropColumn {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        if let Some(down) = &self.down {
            asking.expression_for(&table, down.postgresql(), &self.column);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        lowering.refuse_dependents_of_dropped(&table, &column);
        lowering.refuse_row_readers(&table, &self.column);
        match &self.down {
            Some(down) => {
                let Some(facts) = lowering.mapping_expr(
                    &table,
                    down,
                    &column.def.type_name,
                    "down",
                    &Over::NewShape {
                        replaced: &self.column,
                    },
                    Volatile::Allowed,
                ) else {
                    return;
                };
                lowering.refuse_key_columns(&table, &[self.column.as_str()]);
                lowering.mapping(
                    &table,
                    Mapping {
                        operation: lowering.operation(),
                        old: vec![mapped(&column)],
                        new: Vec::new(),
                        rule: Rule::Omitted {
                            down: vec![facts.expr],
                        },
                        required: false,
                    },
                );
            }
            None if !column.def.nullable
                && column.def.default.is_none()
                && column.def.identity.is_none()
                && column.def.generated.is_none() =>
            {
                lowering.unsafe_(
                    format!("{}.{} is NOT NULL without a default, so new versions that no longer write it would fail before contract", table.name, self.column),
                    "Give `down`: what an INSERT that leaves the column out shall store.",
                );
            }
            None => {}
        }
        lowering.note(format!("{}.{} and its values are gone when contract ends.", table.name, self.column));
        lowering.cutover(Change::DropColumn {
            table: table.name,
            column: self.column.clone(),
        });
    }
}
