//! CHECK constraints that name a column that is replaced: added NOT VALID over
//! the second column, validated under a weak lock unless the old one never
//! was, and renamed in the cutover, which drops the old one with its column.

use std::collections::BTreeSet;

use crate::catalog::{Constraint, ConstraintKind, ReferentialAction, Replacement, TableKind};
use crate::name::TableName;
use crate::object::{Object, TableSetting};
use crate::step::{Change, Phase};

use super::super::Lowering;
use super::Replace;

impl Lowering<'_> {
    /// Adds each CHECK over the second column, and names it in the cutover.
    pub(super) fn carry_constraints(
        &mut self,
        replace: &Replace<'_>,
        tried: &Replacement,
        done: &mut BTreeSet<String>,
    ) {
        for (number, tried) in tried.constraints.iter().enumerate() {
            let Some(old) =
                replace.table.constraints.iter().find(|c| {
                    c.name == tried.name && matches!(c.kind, ConstraintKind::Check { .. })
                })
            else {
                continue;
            };
            if !done.insert(format!("{} on {}", old.name, replace.table.name)) {
                continue;
            }
            let what = format!("check constraint {}", old.name);
            let Some(over) = self.carried_over(replace, &what, tried.result.clone()) else {
                continue;
            };
            let name = self.artifact(&replace.own(&format!("check_{}", number + 1)));
            self.add_again(&replace.table.name, &over, old, &name, None);
        }
    }

    /// Adds a constraint under a name of ours, and gives it the old one's in
    /// the cutover.
    pub(super) fn add_again(
        &mut self,
        table: &TableName,
        over: &Constraint,
        old: &Constraint,
        name: &str,
        referenced: Option<&TableName>,
    ) {
        if order_matters(&old.kind, &over.kind) {
            self.unsafe_(
                format!(
                    "foreign key {} of {table} sets columns when a referenced row goes or changes: until contract ends it would stand twice, and either of the two may act first",
                    old.name
                ),
                "Drop it in an earlier plan, and add it again afterwards.",
            );
            return;
        }
        let on = self.catalog.tables.get(table);
        if let Some(on) = on.filter(|on| on.kind == TableKind::Partitioned)
            && matches!(old.kind, ConstraintKind::ForeignKey { .. })
        {
            self.add_again_below(on, over, old, name, referenced);
            return;
        }
        self.before_cutover(
            Phase::Contract,
            format!("add constraint {} of {table} again", old.name),
            Change::AddConstraint {
                table: table.clone(),
                constraint: Constraint {
                    name: name.to_owned(),
                    validated: false,
                    ..over.clone()
                },
                using_index: None,
            },
            Change::DropConstraint {
                table: table.clone(),
                name: name.to_owned(),
                referenced: referenced.cloned(),
            },
        );
        if old.validated {
            let step = format!("prove that every row of {table} meets {}", old.name);
            self.validate(step, table, name, referenced);
        }
        self.afterwards(Change::SetTable {
            table: table.clone(),
            setting: TableSetting::RenameConstraint {
                from: name.to_owned(),
                to: old.name.clone(),
                inherited: matches!(old.kind, ConstraintKind::Check { .. }) && !old.no_inherit(),
            },
        });
        self.carry_comment(Object::Constraint {
            table: table.clone(),
            name: old.name.clone(),
        });
    }
}

/// The foreign key does not do the same whether it or the one over the second
/// columns acts first. PostgreSQL fires them in the order of their triggers'
/// names, which are object ids as text. Where the new one is first and changes
/// some of the old one's own columns, the old one does not find its row; and
/// the trigger that keeps the second column in step takes a default away again,
/// which the server refuses. A key of one column that cascades, sets NULL or
/// restricts comes out the same in either order.
fn order_matters(old: &ConstraintKind, over: &ConstraintKind) -> bool {
    use ReferentialAction::{Cascade, SetDefault, SetNull};
    let (
        ConstraintKind::ForeignKey {
            columns,
            on_delete,
            on_update,
            ..
        },
        ConstraintKind::ForeignKey {
            columns: seconds, ..
        },
    ) = (old, over)
    else {
        return false;
    };
    let kept = columns
        .iter()
        .filter(|column| seconds.contains(column))
        .count();
    if kept == columns.len() {
        return false;
    }
    [on_delete, on_update].contains(&&SetDefault)
        || kept > 0 && (*on_delete == SetNull || matches!(on_update, SetNull | Cascade))
}
