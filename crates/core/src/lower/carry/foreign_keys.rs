//! Foreign keys of a column that is replaced, and those that point at it.
//!
//! One that points away is added NOT VALID over the second column and
//! validated; dropping the column drops the old one. One that points here
//! needs a unique index over the second column, which stands by then; the old
//! one has to be dropped before its key is.

use std::collections::BTreeSet;

use crate::catalog::{ConstraintKind, Replacement};
use crate::step::Change;

use super::super::Lowering;
use super::Replace;

impl Lowering<'_> {
    /// Adds each foreign key of the table over the second column.
    /// Those that point at a column of the same group are carried at that end.
    pub(super) fn carry_foreign_keys(
        &mut self,
        replace: &Replace<'_>,
        tried: &Replacement,
        all: &[Replace<'_>],
        done: &mut BTreeSet<String>,
    ) {
        for (number, tried) in tried.constraints.iter().enumerate() {
            let Some(old) = replace
                .table
                .constraints
                .iter()
                .find(|c| c.name == tried.name)
            else {
                continue;
            };
            let ConstraintKind::ForeignKey {
                references,
                referenced_columns,
                ..
            } = &old.kind
            else {
                continue;
            };
            let joint = all.iter().any(|other| {
                other.table.name == *references
                    && referenced_columns.contains(&other.column.def.name)
            });
            if (joint && all.len() > 1)
                || !done.insert(format!("{} on {}", old.name, replace.table.name))
            {
                continue;
            }
            let what = format!("foreign key {}", old.name);
            let Some(over) = self.carried_over(replace, &what, tried.result.clone()) else {
                continue;
            };
            let name = self.artifact(&replace.own(&format!("foreign_{}", number + 1)));
            let references = references.clone();
            self.add_again(&replace.table.name, &over, old, &name, Some(&references));
        }
    }

    /// Lets each foreign key that points at the column point at the second one.
    pub(super) fn carry_incoming(
        &mut self,
        replace: &Replace<'_>,
        tried: &Replacement,
        done: &mut BTreeSet<String>,
    ) {
        for (number, tried) in tried.incoming.iter().enumerate() {
            let key = replace
                .table
                .referenced_by
                .iter()
                .find(|key| format!("{} on {}", key.constraint, key.table) == tried.name);
            let Some(key) = key else {
                continue;
            };
            let from = self.catalog.tables.get(&key.table);
            let old = from.and_then(|t| t.constraints.iter().find(|c| c.name == key.constraint));
            let Some(old) = old.cloned() else {
                continue;
            };
            if !done.insert(tried.name.clone()) {
                continue;
            }
            let what = format!("foreign key {} of {}", key.constraint, key.table);
            let Some(over) = self.carried_over(replace, &what, tried.result.clone()) else {
                continue;
            };
            let name = self.artifact(&replace.own(&format!("incoming_{}", number + 1)));
            self.add_again(&key.table, &over, &old, &name, Some(&replace.table.name));
            self.cutover(Change::DropConstraint {
                table: key.table.clone(),
                name: key.constraint.clone(),
                referenced: Some(replace.table.name.clone()),
            });
        }
    }
}
