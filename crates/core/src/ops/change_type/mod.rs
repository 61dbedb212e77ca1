//! `change_type`: changes a column's type through a second column.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::{SqlExpr, TableRef};
use crate::step::OnConflict;
use crate::catalog::{Column, ColumnDef, ExprFacts, Table};
use crate::expr::{Expr, ROW, Volatility};
use crate::lower::{Asking, Lower, Lowering, Over, column_expr, mapped};
use crate::sql::quote::quote_ident;
use crate::step::{Change, MappedColumn, Mapping, Phase, Rule};

/// Changes a column's type through a second column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeType {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The new type.
    #[schemars(extend("format" = "sql-type"))]
    pub to: String,
    /// The column that new versions use before contract; without it the second column is hidden.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub r#as: Option<String>,
    /// The new value from the old columns. Default: a cast.
    #[serde(default)]
    pub up: Option<SqlExpr>,
    /// The old value from the new column. Default: a cast.
    #[serde(default)]
    pub down: Option<SqlExpr>,
    /// What a write that gives both columns inconsistent values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
    /// Accepts expressions that may give another value at every call.
    #[serde(default)]
    pub allow_volatile: bool,
}

impl ChangeType {
    /// The default `up`: a cast, as a question to the database.
    fn up_text(&self) -> String {
        self.up.as_ref().map_or_else(
            || format!("CAST({} AS {})", quote_ident(&self.column), self.to),
            |up| up.postgresql().to_owned(),
        )
    }

    /// The default `down`: a cast back, as a question to the database.
    fn down_text(&self, name: &str, old_type: &str) -> String {
        self.down.as_ref().map_or_else(
            || format!("CAST({} AS {old_type})", quote_ident(name)),
            |down| down.postgresql().to_owned(),
        )
    }

    fn lower_pair(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        column: &Column,
        name: &str,
        up: Expr,
    ) -> Option<Rule> {
        lowering.new_column_name(table, name);
        let down = match &self.down {
            Some(down) => {
                let facts = lowering.mapping_expr(
                    table,
                    down,
                    &column.def.type_name,
                    "down",
                    &Over::Columns(&[name]),
                    self.allow_volatile.into(),
                )?;
                if facts.null_on_null == Some(false) {
                    lowering.unsafe_(
                        format!("`down: {}` turns NULL into a value, so a NULL that a new version writes could not be told from a missing one", down.postgresql()),
                        "Write `down` so that it gives NULL for NULL.",
                    );
                }
                facts.expr
            }
            None => {
                let text = self.down_text(name, &column.def.type_name);
                let facts = lowering.facts(&table.name, &text, Some(&column.def.type_name), "down")?;
                cast(name, &column.base_type, &facts)
            }
        };
        let volatile = column
            .def
            .default
            .as_ref()
            .is_some_and(|default| default.volatility == Volatility::Volatile);
        if volatile && self.on_conflict.is_none() {
            lowering.unsafe_(
                format!("{}.{} has a volatile default, so an INSERT that gives only `{name}` cannot be told from one that gives both", table.name, self.column),
                "Say `on_conflict: new`: what a writer gives in the new column then wins.",
            );
        }
        Some(Rule::Pair {
            up: vec![up],
            down: vec![down],
            on_conflict: self.on_conflict.unwrap_or(OnConflict::Error),
        })
    }

    /// The old default, seen through `up`.
    fn new_default(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        column: &Column,
        up: &Expr,
    ) -> Option<String> {
        let default = column.def.default.as_ref()?;
        if up.columns != [self.column.clone()] {
            lowering.unsafe_(
                format!("{}.{} has a default ({}), and `up` reads other columns too, so the new column's default cannot be derived", table.name, self.column, default.bare()),
                "Drop the default in an earlier plan, and set the new one with `set_default` afterwards.",
            );
            return None;
        }
        let value = format!("({})", default.bare());
        Some(
            up.template
                .replace(&format!("{ROW}.{}", quote_ident(&self.column)), &value)
                .replace(&format!("{ROW}.{}", self.column), &value),
        )
    }
}

impl Lower for ChangeType {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        asking.type_name(&self.to);
        asking.expression(&table, &self.up_text(), Some(&self.to));
        if let Some(name) = &self.r#as {
            asking.column(&table, name, &self.to);
            if let Some(old_type) = asking.type_of(&table, &self.column) {
                let down = self.down_text(name, old_type);
                asking.expression(&table, &down, Some(old_type));
            }
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        let Some(to) = lowering.type_facts(&self.to) else {
            return;
        };
        lowering.refuse_unwritable(&table, &column);
        lowering.refuse_dependents(
            &format!("{}.{}", table.name, self.column),
            &column.dependents,
            "replace",
        );
        lowering.refuse_settings(&table, &column);
        lowering.refuse_row_readers(&table, &self.column);
        if to.constrained_domain {
            lowering.unsafe_(
                format!("adding a column of the constrained domain `{}` rewrites the whole table under a lock", self.to),
                "Use the domain's base type and an `add_check` operation.",
            );
        }
        let Some(up) = lowering.mapping_expr(
            &table,
            &SqlExpr::Any(self.up_text()),
            &self.to,
            "up",
            &Over::OldShape,
            self.allow_volatile.into(),
        ) else {
            return;
        };
        let up = match &self.up {
            Some(_) => up.expr,
            None => cast(&self.column, &to.base, &up),
        };
        let shadow = self.r#as.clone().unwrap_or_else(|| lowering.artifact("shadow"));
        let old: Vec<MappedColumn> = if up.columns.is_empty() {
            vec![mapped(&column)]
        } else {
            lowering.mapped_columns(&table, &up.columns)
        };
        let rule = match &self.r#as {
            Some(name) => {
                if old.len() != 1 || old[0].name != self.column {
                    lowering.invalid(
                        "`up` of a column with `as` reads other columns, which `down` cannot write back".to_owned(),
                        "Let `up` read only the column whose type changes.",
                    );
                    return;
                }
                let Some(rule) = self.lower_pair(lowering, &table, &column, name, up.clone()) else {
                    return;
                };
                rule
            }
            None => {
                if up.volatility == Volatility::Volatile {
                    lowering.unsafe_(
                        "`up` gives another value each time, and a hidden column is computed on every write".to_owned(),
                        "Name the new column with `as`, or use a stable expression.",
                    );
                }
                Rule::Derived {
                    up: vec![up.clone()],
                }
            }
        };
        let default = self.new_default(lowering, &table, &column, &up);
        lowering.ddl(
            Phase::Expand,
            format!("add column {}.{shadow} of type {}", table.name, to.name),
            Change::AddColumn {
                table: table.name.clone(),
                column: ColumnDef {
                    name: shadow.clone(),
                    type_name: to.name.clone(),
                    collation: None,
                    nullable: true,
                    default: None,
                    identity: None,
                    generated: None,
                    comment: column.def.comment.clone(),
                },
            },
            vec![Change::DropColumn {
                table: table.name.clone(),
                column: shadow.clone(),
            }],
        );
        lowering.adds_column(&table);
        lowering.copy_grants(&table, &column, &shadow);
        lowering.mapping(
            &table,
            Mapping {
                operation: lowering.operation(),
                old,
                new: vec![MappedColumn {
                    name: shadow.clone(),
                    type_name: to.name,
                    default: None,
                }],
                rule,
                required: !column.def.nullable,
            },
        );
        lowering.cutover(Change::DropColumn {
            table: table.name.clone(),
            column: self.column.clone(),
        });
        let final_name = match &self.r#as {
            Some(name) => name.clone(),
            None => {
                lowering.cutover(Change::RenameColumn {
                    table: table.name.clone(),
                    from: shadow.clone(),
                    to: self.column.clone(),
                });
                self.column.clone()
            }
        };
        if !column.def.nullable {
            lowering.not_null(&table, &shadow, &final_name);
        }
        if let Some(default) = default {
            lowering.cutover(Change::SetDefault {
                table: table.name.clone(),
                column: final_name.clone(),
                default: Some(default),
            });
        }
        lowering.note(format!(
            "{}.{final_name} becomes the table's last column at contract: INSERT and COPY without a column list, and SELECT *, feel it.",
            table.name
        ));
    }
}

/// The cast to a type without its modifiers: the assignment that follows
/// applies them, and fails where an explicit cast would cut a value short.
fn cast(column: &str, base: &str, facts: &ExprFacts) -> Expr {
    Expr {
        template: format!("CAST({} AS {base})", column_expr(column).template),
        columns: vec![column.to_owned()],
        volatility: facts.expr.volatility,
    }
}
