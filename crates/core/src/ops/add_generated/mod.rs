//! `add_generated`: adds a column that the server computes.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{ColumnDef, Generated};
use crate::expr::Volatility;
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::{Change, Phase};

/// Adds a column that the server computes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddGenerated {
    /// The table.
    pub table: TableRef,
    /// The new column.
    pub column: GeneratedColumn,
    /// Its value, from other columns of the row.
    pub expression: SqlExpr,
    /// `false`: computed whenever it is read. A stored one cannot be added online.
    pub stored: bool,
}

/// The column that [`AddGenerated`] adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GeneratedColumn {
    /// Its name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Its type.
    #[schemars(extend("format" = "sql-type"))]
    pub r#type: String,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
}

/// What there is instead where the server has to store the value.
const KEPT_BY_A_TRIGGER: &str = "Keep a plain column by a trigger of your own: in one plan `add_column` and a `sql` operation \
     that creates the trigger, in the next one `backfill: {set: {c: …}, where: c IS DISTINCT FROM …}`.";

impl Declare for AddGenerated {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(
            &self.table,
            &self.column.name,
            Role::Added,
            &["column", "name"],
        );
        to.reads_old_shape(&self.table, &self.expression, &["expression"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        let name = check.written.span(&["column", "name"]);
        check.new_column(&self.column.name, &name);
        if self.stored {
            let span = check.written.span(&["stored"]);
            check.report(
                &span,
                "a stored generated column cannot be added online",
                "expected `stored: false`",
                "PostgreSQL writes the whole table anew for it, under ACCESS EXCLUSIVE, and turns no plain column into one. \
                 Keep a plain column by a trigger of your own, as the page of `add_generated` shows",
            );
        }
    }
}

impl Lower for AddGenerated {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        asking.type_name(&self.column.r#type);
        asking.expression(
            &table,
            self.expression.postgresql(),
            Some(&self.column.r#type),
        );
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        if lowering.catalog().server.version < 180_000 {
            lowering.invalid(
                "generated columns that are not stored are new in PostgreSQL 18",
                KEPT_BY_A_TRIGGER,
            );
            return;
        }
        lowering.new_column_name(&table, &self.column.name);
        let Some(to) = lowering.type_facts(&self.column.r#type) else {
            return;
        };
        let text = self.expression.postgresql();
        let facts = lowering.facts(&table.name, text, Some(&self.column.r#type), "expression");
        let Some(facts) = facts else {
            return;
        };
        if facts.expr.volatility != Volatility::Immutable {
            lowering.invalid(
                format!("`expression: {text}` depends on more than its row: on a setting, the time or chance"),
                "A generated column needs an immutable expression: `at time zone 'UTC'` instead of a cast to a date, say.",
            );
        }
        for read in &facts.expr.columns {
            let generated = table.column(read).and_then(|c| c.def.generated.as_ref());
            if let Some(generated) = generated {
                lowering.invalid(
                    format!(
                        "`expression: {text}` reads `{read}`, which is a generated column itself"
                    ),
                    format!("Write its expression instead: {}.", generated.expression),
                );
            }
        }
        lowering.ddl(
            Phase::Expand,
            format!("add column {}.{}", table.name, self.column.name),
            Change::AddColumn {
                table: table.name.clone(),
                column: ColumnDef {
                    name: self.column.name.clone(),
                    type_name: to.name,
                    collation: None,
                    nullable: true,
                    default: None,
                    identity: None,
                    generated: Some(Generated {
                        expression: facts.expr.bare(),
                        stored: false,
                    }),
                    comment: self.column.comment.clone(),
                },
            },
            vec![Change::DropColumn {
                table: table.name.clone(),
                column: self.column.name.clone(),
            }],
        );
        lowering.note(format!(
            "{}.{} is computed whenever it is read. No index can be built on it: build one on the expression.",
            table.name, self.column.name
        ));
    }
}
