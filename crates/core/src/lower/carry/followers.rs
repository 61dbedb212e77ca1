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
use crate::step::{Action, Change, Concurrent, LockMode, Phase, Undo};

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
    pub(super) fn carry_followers(&mut self, group: &[(&Replace<'_>, &Replacement)]) -> Vec<Found> {
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
                        column: replace.column.def.name.clone(),
                        second: replace.second.to_owned(),
                    });
                }
            }
            lists.push(list);
        }
        self.refuse_joint(&all, &lists);
        let followers = in_one_order(lists);
        for found in &followers {
            // Two operations would each take it away and make it again.
            let key = match found.follower.everywhere {
                true => found.follower.what.clone(),
                false => format!("{} of {}", found.follower.what, found.table),
            };
            if !self.taken_along.insert(key) {
                self.unsafe_(
                    format!(
                        "cannot replace {}.{}: another operation of the plan takes {} along, too",
                        found.table, found.column, found.follower.what
                    ),
                    "Use two plans, the second one after the first one's contract.",
                );
            }
        }
        for found in followers.iter().filter(|f| f.follower.relation.is_none()) {
            self.make_beforehand(found, LockMode::ShareUpdateExclusive);
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
        followers
    }

    /// Makes something over the second column, under a name of ours.
    fn make_beforehand(&mut self, found: &Found, mode: LockMode) {
        let Found {
            follower,
            table,
            second,
            ..
        } = found;
        if follower.before.is_empty() {
            return;
        }
        let action = |statements: &[String]| {
            ddl(vec![Change::Object {
                what: ObjectChange::Rehang {
                    statements: statements.to_vec(),
                    locks: vec![(table.clone(), mode)],
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

    /// Makes materialized views, and what they read through, over the second
    /// column and fills them: the last thing before the cutover, so that their
    /// rows are as new as can be.
    pub(super) fn fill_followers(&mut self, followers: &[Found]) {
        for found in followers.iter().filter(|f| f.follower.relation.is_some()) {
            self.make_beforehand(found, LockMode::AccessShare);
        }
        for found in followers {
            let (Some(of), Some(filled)) = (&found.follower.relation, &found.follower.filled)
            else {
                continue;
            };
            self.step(
                Phase::Contract,
                format!(
                    "fill {} over {}.{}",
                    found.follower.what, found.table, found.second
                ),
                Action::Concurrent(Concurrent::Fill {
                    view: filled.view.clone(),
                    of: of.clone(),
                    table: found.table.clone(),
                    schemas: filled.schemas.clone(),
                }),
                Undo::Nothing,
            );
            self.note(format!(
                "The rows of {} are those that its query gives when it is filled, just before the cutover. REFRESH MATERIALIZED VIEW meanwhile is noticed, and it is filled again; what REFRESH … CONCURRENTLY does meanwhile is lost until the next REFRESH.",
                found.follower.what
            ));
        }
    }

    /// What is made beforehand was tried over copies of all tables of which it
    /// reads such a column, each under its own name: of two tables that bear the
    /// same name only one was copied.
    fn refuse_joint(&mut self, all: &[&Replace<'_>], lists: &[VecDeque<Found>]) {
        let is_twin = |table: &TableName| {
            let mut others = all.iter().map(|replace| &replace.table.name);
            others.any(|other| other.name == table.name && other != table)
        };
        let found: Vec<&Found> = lists.iter().flatten().collect();
        for (at, one) in found.iter().enumerate() {
            let early = one.follower.relation.is_some() && !one.follower.before.is_empty();
            let joint = found[..at].iter().any(|other| {
                other.is(one)
                    && other.table != one.table
                    && (is_twin(&other.table) || is_twin(&one.table))
            });
            if early && joint {
                self.unsafe_(
                    format!(
                        "cannot replace {}.{}: {} reads columns of several tables that are replaced together, two of which bear the same name",
                        one.table, one.column, one.follower.what
                    ),
                    "Drop it in an earlier plan, and make it anew in a later one.",
                );
            }
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
pub(super) struct Found {
    follower: Follower,
    table: TableName,
    column: String,
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

#[cfg(test)]
mod tests {
    use crate::catalog::{Dependent, DependentKind, Filled, Follower, Table, Tried};
    use crate::lower::fixtures::{answer, outline, parse, users};
    use crate::lower::{Lowered, Refusal, lower};
    use crate::name::TableName;

    const AMOUNT: &str = "  - change_type: {table: users, column: amount, to: bigint}";

    fn follower(kind: DependentKind, what: &str, name: &str) -> Follower {
        Follower {
            kinds: vec![kind],
            name: name.into(),
            what: what.into(),
            relation: None,
            everywhere: true,
            filled: None,
            before: Vec::new(),
            undo: Vec::new(),
            gone: vec![format!("gone: {what}")],
            made: vec![format!("made: {what}")],
        }
    }

    /// A view, a materialized view over it, a view over that, and a function.
    fn followers() -> Vec<Follower> {
        let relation = |kind, what: &str, name: &str| Follower {
            relation: Some(TableName::new("public", name)),
            ..follower(kind, what, &format!("public.{name}"))
        };
        let early = |follower: Follower| Follower {
            before: vec![format!("before: {}", follower.what)],
            undo: vec![format!("undo: {}", follower.what)],
            ..follower
        };
        let lower = relation(DependentKind::View, "view public.lower", "lower");
        let totals = relation(
            DependentKind::MaterializedView,
            "materialized view public.totals",
            "totals",
        );
        let upper = relation(DependentKind::View, "view public.upper", "upper");
        vec![
            early(lower),
            early(Follower {
                filled: Some(Filled {
                    view: TableName::new("public", "_pontoon_totals"),
                    schemas: vec!["public".into()],
                }),
                ..totals
            }),
            upper,
            follower(
                DependentKind::Function,
                "function public.highest()",
                "public.highest()",
            ),
        ]
    }

    fn compile(operations: &str) -> Result<Lowered, Vec<Refusal>> {
        let mut table: Table = users();
        for follower in followers() {
            for column in &mut table.columns[2..] {
                column.dependents.push(Dependent {
                    kind: follower.kinds[0].clone(),
                    name: follower.name.clone(),
                });
            }
        }
        let plan = parse(operations);
        let mut catalog = answer(table, &plan);
        for replacement in &mut catalog.replacements {
            replacement.followers = followers()
                .into_iter()
                .map(|follower| Tried {
                    name: follower.what.clone(),
                    result: Ok(follower),
                })
                .collect();
        }
        lower(&plan, &catalog)
    }

    #[test]
    fn what_is_filled_is_made_beforehand_and_filled_last() {
        let operations = format!(
            "{AMOUNT}\n  - add_index: {{table: users, name: by_email, columns: [email], unique: true}}"
        );
        let lowered = compile(&operations).expect("the plan lowers");
        insta::assert_snapshot!("followers", outline(&lowered.program));
        let told = &lowered
            .notes
            .iter()
            .map(|(_, text)| text)
            .collect::<Vec<_>>();
        let filled = |text: &&&String| text.contains("rows of materialized view public.totals");
        assert_eq!(told.iter().filter(filled).count(), 1, "{told:?}");
    }

    #[test]
    fn nothing_follows_two_operations() {
        let operations =
            format!("{AMOUNT}\n  - change_type: {{table: users, column: status, to: citext}}");
        let refused = compile(&operations).expect_err("both would take it away");
        for follower in followers() {
            let told = format!("takes {} along, too", follower.what);
            let named = refused.iter().filter(|r| r.message.contains(&told));
            assert_eq!(named.count(), 1, "{told}: {refused:#?}");
        }
    }
}
