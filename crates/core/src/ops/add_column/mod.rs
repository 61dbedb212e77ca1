//! `add_column`: adds a column; with `up`, fills it and keeps it in step.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::ColumnDef;
use crate::expr::Volatility;
use crate::lower::{Asking, Lower, Lowering, Over};
use crate::ops::common::{SqlExpr, TableRef, yes};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::{Change, MappedColumn, Mapping, Phase, Rule};

/// Adds a column; with `up`, fills it and keeps it in step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddColumn {
    /// The table.
    pub table: TableRef,
    /// The new column.
    pub column: AddedColumn,
    /// Its value from the old columns.
    #[serde(default)]
    pub up: Option<SqlExpr>,
    /// Always computed: a value that a writer gives is overruled.
    #[serde(default)]
    pub derived: bool,
    /// Accepts an `up` that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
}

/// The column that [`AddColumn`] adds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddedColumn {
    /// Its name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Its type.
    #[schemars(extend("format" = "sql-type"))]
    pub r#type: String,
    /// May it hold NULL? Default: true.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Its default; with `up`, set at contract.
    #[serde(default)]
    pub default: Option<SqlExpr>,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
}

impl Declare for AddColumn {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(
            &self.table,
            &self.column.name,
            Role::Added,
            &["column", "name"],
        );
        if let Some(up) = &self.up {
            to.reads_old_shape(&self.table, up, &["up"]);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        let name = check.written.span(&["column", "name"]);
        check.new_column(&self.column.name, &name);
        check.default(self.column.default.as_ref(), &["column", "default"]);
        for (key, given) in [
            ("derived", self.derived),
            ("allow_volatile", self.allow_volatile),
        ] {
            if given && self.up.is_none() {
                let span = check.written.key_span(key);
                check.report(
                    &span,
                    format!("`{key}` says how `up` is used, and there is no `up`"),
                    "expected `up` beside it",
                    "",
                );
            }
        }
        if !self.column.nullable && self.up.is_none() && self.column.default.is_none() {
            let span = check.written.span(&["column", "nullable"]);
            check.report(
                &span,
                format!(
                    "column `{}` is NOT NULL and nothing fills it",
                    self.column.name
                ),
                "rows that exist, and writers that do not know it, have no value for it",
                "give `up` (computed from the row) or the column's `default`",
            );
        }
    }
}

impl Lower for AddColumn {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        let column = &self.column;
        asking.column(&table, &column.name, &column.r#type);
        for expression in column.default.iter().chain(&self.up) {
            asking.expression(&table, expression.postgresql(), Some(&column.r#type));
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let column = &self.column;
        lowering.new_column_name(&table, &column.name);
        let Some(facts) = lowering.type_facts(&column.r#type) else {
            return;
        };
        let default = column.default.as_ref().and_then(|default| {
            lowering.facts(
                &table.name,
                default.postgresql(),
                Some(&column.r#type),
                "default",
            )
        });
        if facts.constrained_domain {
            lowering.unsafe_(
                format!("adding a column of the constrained domain `{}` rewrites the whole table under a lock", column.r#type),
                "Use the domain's base type and an `add_check` operation.",
            );
        }
        let Some(up) = &self.up else {
            if default
                .as_ref()
                .is_some_and(|facts| facts.expr.volatility == Volatility::Volatile)
            {
                lowering.unsafe_(
                    format!("a volatile default (`{}`) rewrites the whole table under a lock", default_text(column)),
                    "Give the same expression as `up` with `allow_volatile: true`: rows are then filled in batches.",
                );
            }
            if !column.nullable && default.is_none() {
                lowering.unsafe_(
                    format!("column `{}` is NOT NULL but has neither `default` nor `up`, so present rows and old versions have no value for it", column.name),
                    "Give a `default`, or `up`.",
                );
            }
            lowering.ddl(
                Phase::Expand,
                format!("add column {}.{}", table.name, column.name),
                Change::AddColumn {
                    table: table.name.clone(),
                    column: ColumnDef {
                        name: column.name.clone(),
                        type_name: facts.name,
                        collation: None,
                        nullable: column.nullable,
                        default: default.map(|facts| facts.expr),
                        identity: None,
                        generated: None,
                        comment: column.comment.clone(),
                    },
                },
                vec![Change::DropColumn {
                    table: table.name.clone(),
                    column: column.name.clone(),
                }],
            );
            lowering.adds_column(&table);
            return;
        };
        let Some(up) = lowering.mapping_expr(
            &table,
            up,
            &column.r#type,
            "up",
            &Over::OldShape,
            self.allow_volatile.into(),
        ) else {
            return;
        };
        if self.derived && up.expr.volatility == Volatility::Volatile {
            lowering.unsafe_(
                format!(
                    "`derived: true` computes {} anew on every write, and `up` gives another value each time",
                    column.name
                ),
                "Leave `derived` out: rows then keep the value they were given.",
            );
        }
        lowering.ddl(
            Phase::Expand,
            format!("add column {}.{}", table.name, column.name),
            Change::AddColumn {
                table: table.name.clone(),
                column: ColumnDef {
                    name: column.name.clone(),
                    type_name: facts.name.clone(),
                    collation: None,
                    nullable: true,
                    default: None,
                    identity: None,
                    generated: None,
                    comment: column.comment.clone(),
                },
            },
            vec![Change::DropColumn {
                table: table.name.clone(),
                column: column.name.clone(),
            }],
        );
        lowering.adds_column(&table);
        let old = lowering.mapped_columns(&table, &up.expr.columns);
        let up = vec![up.expr];
        lowering.mapping(
            &table,
            Mapping {
                operation: lowering.operation(),
                old,
                new: vec![MappedColumn {
                    name: column.name.clone(),
                    type_name: facts.name,
                    default: None,
                }],
                rule: if self.derived {
                    Rule::Derived { up }
                } else {
                    Rule::Fill { up }
                },
                required: !column.nullable,
                back: None,
            },
        );
        if !column.nullable {
            lowering.not_null(&table, &column.name, &column.name);
        }
        if let Some(default) = default {
            lowering.cutover(Change::SetDefault {
                table: table.name.clone(),
                column: column.name.clone(),
                default: Some(default.expr.bare()),
            });
        }
        lowering.note(format!(
            "From contract on, nothing fills {}.{} for versions that leave it out{}.",
            table.name,
            column.name,
            if column.default.is_some() {
                " but its default"
            } else {
                ""
            }
        ));
    }
}

fn default_text(column: &AddedColumn) -> &str {
    column.default.as_ref().map_or("", SqlExpr::postgresql)
}
