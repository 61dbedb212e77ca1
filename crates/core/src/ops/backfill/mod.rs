//! `backfill`: changes rows in batches.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Table;
use crate::lower::{Asking, Lower, Lowering, mapped};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::{Action, Backfill, BackfillWork, Phase, Undo};

/// Changes rows in batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillRows {
    /// The table.
    pub table: TableRef,
    /// Columns and their new values.
    #[schemars(schema_with = "crate::ops::common::assignments")]
    pub set: BTreeMap<String, SqlExpr>,
    /// Which rows; `set` must make it false.
    pub r#where: SqlExpr,
    /// What rollback does.
    #[serde(default)]
    pub undo: BackfillUndo,
}

/// What rollback does about rows that the backfill has changed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BackfillUndo {
    /// They stay as they are.
    #[default]
    Keep,
    /// Another backfill takes them back.
    #[serde(untagged)]
    Rows(UndoRows),
}

/// The backfill that takes another one back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UndoRows {
    /// Columns and their values.
    #[schemars(schema_with = "crate::ops::common::assignments")]
    pub set: BTreeMap<String, SqlExpr>,
    /// Which rows; `set` must make it false.
    pub r#where: SqlExpr,
}

impl Declare for BackfillRows {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        for name in self.set.keys() {
            to.column_key(&self.table, name, Role::Filled, &["set"]);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        check.ends(self.r#where.postgresql(), &["where"]);
        if let BackfillUndo::Rows(rows) = &self.undo {
            check.ends(rows.r#where.postgresql(), &["undo", "where"]);
        }
    }
}

impl Lower for BackfillRows {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        let mut ask = |set: &BTreeMap<String, SqlExpr>, filter: &SqlExpr| {
            for (column, expression) in set {
                asking.expression_for(&table, expression.postgresql(), column);
            }
            asking.expression(&table, filter.postgresql(), Some("boolean"));
        };
        ask(&self.set, &self.r#where);
        if let BackfillUndo::Rows(undo) = &self.undo {
            ask(&undo.set, &undo.r#where);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(action) = action(lowering, &table, &self.set, &self.r#where) else {
            return;
        };
        let undo = match &self.undo {
            BackfillUndo::Keep => Undo::Nothing,
            BackfillUndo::Rows(undo) => match action_of(lowering, &table, undo) {
                Some(action) => Undo::Steps {
                    actions: vec![action],
                },
                None => return,
            },
        };
        lowering.updates_rows(&table, self.set.keys().map(String::as_str));
        let columns: Vec<&str> = self.set.keys().map(String::as_str).collect();
        lowering.step(
            Phase::Backfill,
            format!("set {} in {}", columns.join(", "), table.name),
            action,
            undo,
        );
    }
}

fn action_of(lowering: &mut Lowering<'_>, table: &Table, undo: &UndoRows) -> Option<Action> {
    action(lowering, table, &undo.set, &undo.r#where)
}

fn action(
    lowering: &mut Lowering<'_>,
    table: &Table,
    set: &BTreeMap<String, SqlExpr>,
    filter: &SqlExpr,
) -> Option<Action> {
    let mut columns = Vec::new();
    for (name, expression) in set {
        let column = lowering.column(table, name)?;
        lowering.refuse_unwritable(table, &column);
        lowering.refuse_key_columns(table, &[name.as_str()]);
        let facts = lowering.facts(
            &table.name,
            expression.postgresql(),
            Some(&column.def.type_name),
            "set",
        )?;
        columns.push((mapped(&column), facts.expr));
    }
    let filter = lowering.facts(&table.name, filter.postgresql(), Some("boolean"), "where")?;
    Some(Action::Backfill(Backfill {
        table: table.name.clone(),
        work: BackfillWork::Update {
            set: columns,
            filter: filter.expr,
        },
        cursor: lowering.cursor(),
    }))
}
