//! `drop_column`: drops a column at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Column, Table};
use crate::lower::{Asking, Lower, Lowering, Over, Volatile, mapped};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Declare, Mentions, Role, TableUse};
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

impl Declare for DropColumn {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.column, Role::Dropped, &["column"]);
    }
}

impl Lower for DropColumn {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        if let Some(down) = &self.down {
            asking.expression_for(&table, down.postgresql(), &self.column);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        drop_together(
            lowering,
            &self.table,
            &[(self.column.as_str(), self.down.as_ref())],
        );
    }
}

/// Drops columns in one cutover, each with its `down`.
pub(super) fn drop_together(
    lowering: &mut Lowering<'_>,
    table: &TableRef,
    columns: &[(&str, Option<&SqlExpr>)],
) {
    let Some(table) = lowering.alterable(table) else {
        return;
    };
    let together: Vec<&str> = columns.iter().map(|(name, _)| *name).collect();
    for (name, down) in columns {
        let Some(column) = lowering.column(&table, name) else {
            continue;
        };
        lowering.refuse_dependents_of_dropped(&table, &column, &together);
        lowering.refuse_row_readers(&table, name);
        match down {
            Some(down) => fill(lowering, &table, &column, down, &together),
            None => refuse_required(lowering, &table, &column),
        }
        lowering.note(format!(
            "{}.{name} and its values are gone when contract ends.",
            table.name
        ));
        lowering.cutover(Change::DropColumn {
            table: table.name.clone(),
            column: (*name).to_owned(),
        });
    }
}

/// Until contract an INSERT that leaves the column out stores `down` in it.
fn fill(
    lowering: &mut Lowering<'_>,
    table: &Table,
    column: &Column,
    down: &SqlExpr,
    together: &[&str],
) {
    let Some(facts) = lowering.mapping_expr(
        table,
        down,
        &column.def.type_name,
        "down",
        &Over::NewShape { replaced: together },
        Volatile::Allowed,
    ) else {
        return;
    };
    lowering.refuse_key_columns(table, &[column.def.name.as_str()]);
    lowering.mapping(
        table,
        Mapping {
            operation: lowering.operation(),
            old: vec![mapped(column)],
            new: Vec::new(),
            rule: Rule::Omitted {
                down: vec![facts.expr],
            },
            required: false,
            back: None,
        },
    );
}

fn refuse_required(lowering: &mut Lowering<'_>, table: &Table, column: &Column) {
    let def = &column.def;
    if !def.nullable && def.default.is_none() && def.identity.is_none() && def.generated.is_none() {
        lowering.unsafe_(
            format!("{}.{} is NOT NULL without a default, so new versions that no longer write it would fail before contract", table.name, def.name),
            "Give `down`: what an INSERT that leaves the column out shall store.",
        );
    }
}
