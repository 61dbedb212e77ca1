//! What `merge_columns` and `split_column` share: a group of columns that
//! takes the place of another one.

use crate::catalog::{Column, ColumnDef, Dependent, DependentKind, ExprFacts, Grant, Table};
use crate::expr::{Expr, Volatility};
use crate::lower::{Asking, Lowering, Over, Volatile, mapped};
use crate::ops::common::{SqlExpr, TableRef};
use crate::step::{Change, MappedColumn, Mapping, OnConflict, Phase, Rule};

/// Columns that take the place of others.
pub(super) struct Regroup<'a> {
    pub(super) table: &'a TableRef,
    /// Each column that goes at contract, with its value from the new ones.
    pub(super) old: Vec<(&'a str, &'a SqlExpr)>,
    /// The columns that come.
    pub(super) new: Vec<Target<'a>>,
    pub(super) on_conflict: Option<OnConflict>,
    pub(super) volatile: Volatile,
}

/// A column that comes.
pub(super) struct Target<'a> {
    pub(super) name: &'a str,
    pub(super) type_name: &'a str,
    pub(super) nullable: bool,
    pub(super) comment: Option<&'a String>,
    /// Its value from the old ones.
    pub(super) up: &'a SqlExpr,
}

impl Regroup<'_> {
    pub(super) fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(self.table);
        for target in &self.new {
            asking.column(&table, target.name, target.type_name);
            asking.expression(&table, target.up.postgresql(), Some(target.type_name));
        }
        for (column, down) in &self.old {
            asking.expression_for(&table, down.postgresql(), column);
        }
    }

    pub(super) fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(self.table) else {
            return;
        };
        let old: Option<Vec<Column>> = self
            .old
            .iter()
            .map(|(name, _)| lowering.column(&table, name))
            .collect();
        let Some(old) = old else {
            return;
        };
        for column in &old {
            refuse_what_would_be_lost(lowering, &table, column);
        }
        let (Some(types), Some(up)) = (
            self.types(lowering, &table),
            self.ups(lowering, &table, &old),
        ) else {
            return;
        };
        let Some(down) = self.downs(lowering, &table, &old) else {
            return;
        };
        self.refuse_volatile_defaults(lowering, &table, &old);
        let grants = common_grants(&old);
        for (target, type_name) in self.new.iter().zip(&types) {
            add(lowering, &table, target, type_name, grants.clone());
        }
        lowering.adds_column(&table);
        lowering.mapping(
            &table,
            Mapping {
                operation: lowering.operation(),
                old: old.iter().map(mapped).collect(),
                new: self
                    .new
                    .iter()
                    .zip(&types)
                    .map(|(target, type_name)| MappedColumn {
                        name: target.name.to_owned(),
                        type_name: type_name.clone(),
                        default: None,
                    })
                    .collect(),
                rule: Rule::Pair {
                    up: up.clone(),
                    down,
                    on_conflict: self.on_conflict.unwrap_or(OnConflict::Error),
                },
                required: self.new.iter().all(|target| !target.nullable),
                back: None,
            },
        );
        self.contract(lowering, &table, &old, &up);
    }

    /// The new types; refuses names that are taken and types that cannot be
    /// added without a rewrite.
    fn types(&self, lowering: &mut Lowering<'_>, table: &Table) -> Option<Vec<String>> {
        self.new
            .iter()
            .map(|target| {
                lowering.new_column_name(table, target.name);
                let facts = lowering.type_facts(target.type_name)?;
                if facts.constrained_domain {
                    lowering.unsafe_(
                        format!("adding a column of the constrained domain `{}` rewrites the whole table under a lock", target.type_name),
                        "Use the domain's base type and an `add_check` operation.",
                    );
                }
                Some(facts.name)
            })
            .collect()
    }

    /// Each `up` reads old columns of the group only, for `down` writes no
    /// others; and together they read them all, for what none reads is lost.
    fn ups(&self, lowering: &mut Lowering<'_>, table: &Table, old: &[Column]) -> Option<Vec<Expr>> {
        let ups: Vec<ExprFacts> = self
            .new
            .iter()
            .map(|target| {
                let (text, to) = (target.up, target.type_name);
                lowering.mapping_expr(table, text, to, "up", &Over::OldShape, self.volatile)
            })
            .collect::<Option<_>>()?;
        let group = || old.iter().map(|column| column.def.name.as_str());
        for (target, facts) in self.new.iter().zip(&ups) {
            for read in &facts.expr.columns {
                if !group().any(|name| name == read) {
                    lowering.invalid(
                        format!(
                            "`up: {}` reads `{read}`, which `down` cannot write back",
                            target.up.postgresql()
                        ),
                        format!(
                            "Let it read only what is replaced: {}.",
                            group().collect::<Vec<_>>().join(", ")
                        ),
                    );
                }
            }
        }
        for name in group() {
            if !ups
                .iter()
                .any(|up| up.expr.columns.iter().any(|read| read == name))
            {
                lowering.unsafe_(
                    format!("no `up` reads {}.{name}, so its values would be lost", table.name),
                    "Let `up` read it, or leave it out and drop it with `drop_columns` in a later plan.",
                );
            }
        }
        Some(ups.into_iter().map(|up| up.expr).collect())
    }

    /// Each `down` reads new columns only and gives NULL where they all are;
    /// together they read them all.
    fn downs(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        old: &[Column],
    ) -> Option<Vec<Expr>> {
        let group: Vec<&str> = self.new.iter().map(|target| target.name).collect();
        let mut downs = Vec::new();
        for ((_, down), column) in self.old.iter().zip(old) {
            let to = &column.def.type_name;
            let over = Over::Columns(&group);
            let facts = lowering.mapping_expr(table, down, to, "down", &over, self.volatile)?;
            if facts.null_on_null == Some(false) {
                lowering.unsafe_(
                    format!("`down: {}` makes a value of NULLs, so NULLs that a new version writes could not be told from missing ones", down.postgresql()),
                    "Write `down` so that it gives NULL where all that it reads is NULL: `nullif(concat_ws(' ', a, b), '')`, say.",
                );
            }
            downs.push(facts.expr);
        }
        for name in group {
            if !downs
                .iter()
                .any(|down| down.columns.iter().any(|read| read == name))
            {
                lowering.unsafe_(
                    format!("no `down` reads `{name}`, so what new versions write there would be lost by a rollback"),
                    "Let `down` read it, or add the column with `add_column` instead.",
                );
            }
        }
        Some(downs)
    }

    fn refuse_volatile_defaults(&self, lowering: &mut Lowering<'_>, table: &Table, old: &[Column]) {
        let volatile = old.iter().find(|column| {
            let default = column.def.default.as_ref();
            default.is_some_and(|default| default.volatility == Volatility::Volatile)
        });
        if let Some(column) = volatile.filter(|_| self.on_conflict.is_none()) {
            lowering.unsafe_(
                format!("{}.{} has a volatile default, so an INSERT that gives only new columns cannot be told from one that gives both", table.name, column.def.name),
                "Say `on_conflict: new`: what a writer gives in the new columns then wins.",
            );
        }
    }

    fn contract(&self, lowering: &mut Lowering<'_>, table: &Table, old: &[Column], up: &[Expr]) {
        for column in old {
            lowering.cutover(Change::DropColumn {
                table: table.name.clone(),
                column: column.def.name.clone(),
            });
        }
        let required = old.iter().any(|column| !column.def.nullable);
        for (target, up) in self.new.iter().zip(up) {
            if !target.nullable {
                lowering.not_null(table, target.name, target.name);
            } else if required {
                lowering.note(format!(
                    "{}.{} may hold NULL, though not everything that it replaces may; `nullable: false` requires it.",
                    table.name, target.name
                ));
            }
            if let Some(default) = default_through(up, old) {
                lowering.cutover(Change::SetDefault {
                    table: table.name.clone(),
                    column: target.name.to_owned(),
                    default: Some(default),
                });
            }
        }
        for column in old {
            let name = &column.def.name;
            if let Some(collation) = &column.def.collation {
                lowering.note(format!(
                    "The collation {collation} of {}.{name} is not carried over.",
                    table.name
                ));
            }
            lowering.note(format!("{}.{name} is gone when contract ends.", table.name));
        }
    }
}

/// Refuses what would go with a replaced column, unless the plan drops it
/// itself.
fn refuse_what_would_be_lost(lowering: &mut Lowering<'_>, table: &Table, column: &Column) {
    lowering.refuse_unwritable(table, column);
    let remaining: Vec<Dependent> = column
        .dependents
        .iter()
        .filter(|dependent| match dependent.kind {
            DependentKind::Index => !lowering.index_dropped_by_plan(&dependent.name),
            DependentKind::Check
            | DependentKind::Unique
            | DependentKind::PrimaryKey
            | DependentKind::Exclusion
            | DependentKind::ForeignKey => !lowering.dropped_by_plan(&dependent.name, &table.name),
            _ => true,
        })
        .cloned()
        .collect();
    let what = format!("{}.{}", table.name, column.def.name);
    lowering.refuse_dependents(&what, &remaining, "replace");
    lowering.refuse_settings(table, column);
    lowering.refuse_row_readers(table, &column.def.name);
    lowering.refuse_key_columns(table, &[column.def.name.as_str()]);
}

fn add(
    lowering: &mut Lowering<'_>,
    table: &Table,
    target: &Target<'_>,
    type_name: &str,
    grants: Vec<Grant>,
) {
    let def = ColumnDef {
        name: target.name.to_owned(),
        type_name: type_name.to_owned(),
        collation: None,
        nullable: true,
        default: None,
        identity: None,
        generated: None,
        comment: target.comment.cloned(),
    };
    lowering.ddl(
        Phase::Expand,
        format!(
            "add column {}.{} of type {type_name}",
            table.name, target.name
        ),
        Change::AddColumn {
            table: table.name.clone(),
            column: def,
        },
        vec![Change::DropColumn {
            table: table.name.clone(),
            column: target.name.to_owned(),
        }],
    );
    lowering.grant_column(table, target.name, &grants);
}

/// Whoever may do something with every old column may do it with the new ones.
fn common_grants(old: &[Column]) -> Vec<Grant> {
    let Some((first, others)) = old.split_first() else {
        return Vec::new();
    };
    first
        .grants
        .iter()
        .filter_map(|grant| {
            let same = others.iter().map(|column| {
                column.grants.iter().find(|other| {
                    other.grantee == grant.grantee && other.privilege == grant.privilege
                })
            });
            let mut grantable = grant.grantable;
            for other in same {
                grantable &= other?.grantable;
            }
            Some(Grant {
                grantable,
                ..grant.clone()
            })
        })
        .collect()
}

/// The old columns' defaults, seen through `up`: what an INSERT that names
/// none of them stores today. `None` where no column that it reads has one.
fn default_through(up: &Expr, old: &[Column]) -> Option<String> {
    let of = |name: &str| old.iter().find(|column| column.def.name == name);
    up.columns
        .iter()
        .any(|name| of(name).is_some_and(|column| column.def.default.is_some()))
        .then(|| {
            up.with(|name| {
                let Some(column) = of(name) else {
                    return "NULL".to_owned();
                };
                let default = column.def.default.as_ref();
                let value = default.map_or_else(|| "NULL".to_owned(), Expr::bare);
                format!("({value})::{}", column.def.type_name)
            })
        })
}
