//! What is written into the catalog only and follows a replaced column in the
//! cutover: policies, triggers, rules, views, functions with an SQL body,
//! publications, extended statistics, sequences, the identity; and the settings
//! of the column itself, which stand before its first value does.
//!
//! The statements are the server's ([`Follower`]). Views go before what they
//! read and come back after it, so the last one made is the first to go.

use std::collections::VecDeque;

use crate::catalog::{Dependent, Follower, Replacement};
use crate::name::TableName;
use crate::object::{Hanging, ObjectChange, TableSetting};
use crate::step::{Action, Change, LockMode, Phase, Undo};

use super::super::Lowering;
use super::super::context::ddl;
use super::Replace;

impl Lowering<'_> {
    /// Gives the second column the settings of the first.
    pub(super) fn carry_settings(&mut self, replace: &Replace<'_>, tried: &Replacement) {
        let mut changes = Vec::new();
        for tried in &tried.settings {
            match &tried.result {
                Ok(clause) => changes.push(Change::SetTable {
                    table: replace.table.name.clone(),
                    setting: TableSetting::Column {
                        column: replace.second.to_owned(),
                        clause: clause.clone(),
                    },
                }),
                // A storage that only the old type can have.
                Err(said) => self.unsafe_(
                    format!(
                        "cannot replace {}: its setting `{}` does not go with type {}: {}",
                        replace.what(),
                        tried.name,
                        replace.to,
                        said.message
                    ),
                    "Reset it before the plan.",
                ),
            }
        }
        if !changes.is_empty() {
            let name = format!(
                "set on {}.{} what is set on {}",
                replace.table.name, replace.second, replace.column.def.name
            );
            self.step(Phase::Expand, name, ddl(changes), Undo::Nothing);
        }
    }

    /// Takes everything away that would keep the columns from being dropped,
    /// and makes it again afterwards.
    pub(super) fn carry_followers(&mut self, group: &[(&Replace<'_>, &Replacement)]) {
        let all: Vec<&Replace<'_>> = group.iter().map(|(replace, _)| *replace).collect();
        let mut lists = Vec::new();
        for (replace, tried) in group {
            let mut list = VecDeque::new();
            for tried in &tried.followers {
                if let Some(follower) =
                    self.carried_over(replace, &tried.name, tried.result.clone())
                {
                    list.push_back(Found {
                        follower,
                        table: replace.table.name.clone(),
                        second: replace.second.to_owned(),
                    });
                }
            }
            lists.push(list);
        }
        let followers = in_one_order(lists);
        for Found {
            follower,
            table,
            second,
        } in &followers
        {
            if follower.before.is_empty() {
                continue;
            }
            let action = |statements: &[String]| {
                ddl(vec![Change::Object {
                    what: ObjectChange::Rehang {
                        statements: statements.to_vec(),
                        locks: vec![(table.clone(), LockMode::ShareUpdateExclusive)],
                        off: Vec::new(),
                        on: Vec::new(),
                    },
                }])
            };
            let undo: Vec<Action> = vec![action(&follower.undo)];
            self.step(
                Phase::Contract,
                format!("make {} over {table}.{second}", follower.what),
                action(&follower.before),
                Undo::Steps { actions: undo },
            );
        }
        let old = |replace: &Replace<'_>| replace.column.def.name.clone();
        for found in followers
            .iter()
            .rev()
            .filter(|f| !f.follower.gone.is_empty())
        {
            let off = self.hanging(&all, found, old);
            // A sequence only changes its owner.
            let on = match found.follower.made.is_empty() {
                true => self.hanging(&all, found, |replace| replace.second.to_owned()),
                false => Vec::new(),
            };
            let what = rehang(found, &found.follower.gone, off, on);
            self.cutover(Change::Object { what });
        }
        for found in followers.iter().filter(|f| !f.follower.made.is_empty()) {
            let off = self.hanging(&all, found, old);
            let on = self.hanging(&all, found, |replace| replace.last.to_owned());
            let what = rehang(found, &found.follower.made, off, on);
            self.afterwards(Change::Object { what });
        }
        for (replace, tried) in group {
            self.carry_identity(replace, tried);
        }
    }

    fn carry_identity(&mut self, replace: &Replace<'_>, tried: &Replacement) {
        let Some(tried) = &tried.identity else {
            return;
        };
        let Some(moved) = self.carried_over(replace, &tried.name, tried.result.clone()) else {
            return;
        };
        self.cutover(Change::Object {
            what: ObjectChange::Rehang {
                statements: vec![moved.noted],
                locks: Vec::new(),
                off: Vec::new(),
                on: Vec::new(),
            },
        });
        self.afterwards(Change::Object {
            what: ObjectChange::MoveIdentity {
                table: replace.table.name.clone(),
                column: replace.last.to_owned(),
                identity: moved.identity,
                statements: moved.made,
            },
        });
    }

    /// Everything on which this hangs, with each replaced column under a name
    /// that it has at some time.
    fn hanging(
        &self,
        all: &[&Replace<'_>],
        found: &Found,
        name: impl Fn(&Replace<'_>) -> String,
    ) -> Vec<Hanging> {
        let follower = &found.follower;
        let is_it = |dependent: &&Dependent| {
            follower.kinds.contains(&dependent.kind) && dependent.name == follower.name
        };
        // What only bears the same name hangs on another table.
        let tables = self.catalog.tables.values();
        let mut hanging = Vec::new();
        for table in tables.filter(|table| follower.everywhere || table.name == found.table) {
            for column in &table.columns {
                let replaced = all.iter().find(|replace| {
                    replace.table.name == table.name && replace.column.def.name == column.def.name
                });
                let dependents = column.dependents.iter().filter(is_it);
                hanging.extend(dependents.map(|dependent| Hanging {
                    table: table.name.clone(),
                    column: Some(
                        replaced.map_or_else(|| column.def.name.clone(), |replace| name(replace)),
                    ),
                    dependent: dependent.clone(),
                }));
            }
            let dependents = table.dependents.iter().filter(is_it);
            hanging.extend(dependents.map(|dependent| Hanging {
                table: table.name.clone(),
                column: None,
                dependent: dependent.clone(),
            }));
        }
        hanging
    }
}

/// A follower with the table on whose column it was found, and the name of the
/// column that comes for that one.
struct Found {
    follower: Follower,
    table: TableName,
    second: String,
}

impl Found {
    fn is(&self, other: &Found) -> bool {
        let everywhere = self.follower.everywhere && other.follower.everywhere;
        self.follower.what == other.follower.what && (everywhere || self.table == other.table)
    }
}

/// Each once, in an order that keeps the order of every list: a view that reads
/// two replaced columns comes after the views that it reads either of them
/// through.
fn in_one_order(mut lists: Vec<VecDeque<Found>>) -> Vec<Found> {
    let mut order: Vec<Found> = Vec::new();
    loop {
        let is_later = |head: &Found| {
            let others = lists.iter().flat_map(|list| list.iter().skip(1));
            others.into_iter().any(|other| other.is(head))
        };
        let heads = lists.iter().enumerate();
        let heads: Vec<(usize, bool)> = heads
            .filter_map(|(at, list)| list.front().map(|head| (at, is_later(head))))
            .collect();
        let next = heads.iter().find(|(_, later)| !later).or(heads.first());
        let Some(found) = next.and_then(|(at, _)| lists[*at].pop_front()) else {
            return order;
        };
        if !order.iter().any(|other| other.is(&found)) {
            order.push(found);
        }
    }
}

fn rehang(
    found: &Found,
    statements: &[String],
    off: Vec<Hanging>,
    on: Vec<Hanging>,
) -> ObjectChange {
    let relation = found.follower.relation.clone();
    let locked = relation.unwrap_or_else(|| found.table.clone());
    // A view that is made again is nobody's yet.
    let is_there = found.follower.relation.is_none() || on.is_empty();
    ObjectChange::Rehang {
        statements: statements.to_vec(),
        locks: Vec::from_iter(is_there.then_some((locked, LockMode::AccessExclusive))),
        off,
        on,
    }
}
