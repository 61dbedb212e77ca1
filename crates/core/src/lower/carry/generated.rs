//! Generated columns that read a replaced column.
//!
//! A virtual one (18) is nothing but its expression: the cutover drops it and
//! adds it again over the new column, with its comment, grants and settings. A
//! stored one would be computed again for every row under ACCESS EXCLUSIVE.

use std::collections::BTreeSet;

use crate::catalog::{
    Column, ColumnDef, Dependent, DependentKind, Generated, Replacement, Table, TableKind,
};
use crate::object::{ObjectChange, TableSetting};
use crate::step::Change;

use super::super::Lowering;
use super::super::dependents::describe;
use super::Replace;

impl Lowering<'_> {
    /// What comes back once the columns have their names; refuses what would be
    /// lost. What hangs on such a column and follows, too, comes after it.
    pub(super) fn carry_computed<'t>(
        &mut self,
        group: &[(&Replace<'t>, &Replacement)],
    ) -> Vec<(&'t Table, &'t Column)> {
        let mut carried: Vec<(&Table, &Column)> = Vec::new();
        let mut done = BTreeSet::new();
        for (replace, tried) in group {
            for dependent in &replace.column.dependents {
                let column = replace.table.column(&dependent.name);
                let Some(column) = column.filter(|_| is_generated(dependent)) else {
                    continue;
                };
                if done.insert((&replace.table.name, &column.def.name)) {
                    carried.extend(
                        self.carry_one(replace, tried, column)
                            .map(|()| (replace.table, column)),
                    );
                }
            }
        }
        carried
    }

    fn carry_one(
        &mut self,
        replace: &Replace<'_>,
        tried: &Replacement,
        column: &Column,
    ) -> Option<()> {
        let (table, name) = (replace.table, &column.def.name);
        let what = format!("generated column {name}");
        let found = tried.computed.iter().find(|tried| tried.name == *name);
        let Some(found) = found else {
            self.refuse_generated(
                replace,
                &what,
                "is STORED: to compute it anew rewrites the table under ACCESS EXCLUSIVE",
                "Drop it in an earlier plan. Afterwards keep its value in an ordinary column that a trigger computes (see `add_generated`), or add it again at an hour when the table may be rewritten.",
            );
            return None;
        };
        let computed = self.carried_over(replace, &what, found.result.clone())?;
        if let Some(reason) = loses(table, tried, column) {
            self.refuse_generated(
                replace,
                &what,
                &reason,
                "Drop it in an earlier plan (`drop_column`), and add it again in a later one (`add_generated`): both are brief, for no row holds its value.",
            );
            return None;
        }
        // Found over another column of the table, by another operation.
        let is_first = self.taken_along.insert(format!("{name} of {}", table.name));
        if !is_first || self.column_named_by_plan(&table.name, name) {
            self.refuse_generated(
                replace,
                &what,
                "is the concern of another operation of the plan, too",
                "Use two plans, the second one after the first one's contract.",
            );
            return None;
        }
        self.cutover(Change::Object {
            what: ObjectChange::Rehang {
                statements: vec![computed.unchanged],
                locks: Vec::new(),
                off: Vec::new(),
                on: Vec::new(),
            },
        });
        self.afterwards(Change::AddColumn {
            table: table.name.clone(),
            column: ColumnDef {
                generated: Some(Generated {
                    expression: computed.expression,
                    stored: false,
                }),
                ..column.def.clone()
            },
        });
        for grant in &column.grants {
            self.afterwards(Change::GrantColumn {
                table: table.name.clone(),
                column: name.clone(),
                grant: grant.clone(),
            });
        }
        for clause in &column.settings {
            self.afterwards(Change::SetTable {
                table: table.name.clone(),
                setting: TableSetting::Column {
                    column: name.clone(),
                    clause: clause.clone(),
                },
            });
        }
        Some(())
    }

    fn refuse_generated(
        &mut self,
        replace: &Replace<'_>,
        what: &str,
        reason: &str,
        way_out: &'static str,
    ) {
        self.unsafe_(
            format!(
                "cannot replace {}: {what}, which reads it, {reason}",
                replace.what()
            ),
            way_out,
        );
    }
}

/// Why a virtual column cannot be dropped and come back as it was.
fn loses(table: &Table, tried: &Replacement, column: &Column) -> Option<String> {
    if table.kind == TableKind::Partitioned || !table.children.is_empty() {
        return Some("belongs to a table with others below it".to_owned());
    }
    if !column.def.nullable {
        return Some("is NOT NULL: to add it again would read the whole table".to_owned());
    }
    let mut hanging = column.dependents.iter();
    let lost = hanging.find(|dependent| !comes_back(tried, dependent))?;
    let kind = describe(&lost.kind);
    Some(format!("would take {kind} {} along", lost.name))
}

fn is_generated(dependent: &Dependent) -> bool {
    dependent.kind == DependentKind::GeneratedColumn
}

/// It is taken away and made again by the cutover itself.
fn comes_back(tried: &Replacement, dependent: &Dependent) -> bool {
    let mut followers = tried
        .followers
        .iter()
        .filter_map(|tried| tried.result.as_ref().ok());
    followers.any(|follower| {
        follower.kinds.contains(&dependent.kind)
            && follower.name == dependent.name
            && follower.before.is_empty()
            && !follower.gone.is_empty()
            && !follower.made.is_empty()
    })
}

#[cfg(test)]
mod tests {
    use crate::catalog::{
        Computed, Dependent, DependentKind, Generated, Grant, ServerMessage, Table, Tried,
    };
    use crate::lower::fixtures::{answer, outline, parse, users};
    use crate::lower::{Lowered, Refusal, lower};

    const AMOUNT: &str = "  - change_type: {table: users, column: amount, to: bigint}";

    /// `status` is computed from `amount`.
    fn table(stored: bool) -> Table {
        let mut table = users();
        let status = &mut table.columns[3];
        status.def.generated = Some(Generated {
            expression: "amount * 2".into(),
            stored,
        });
        status.def.default = None;
        status.def.nullable = true;
        status.dependents.clear();
        table.columns[2].dependents.push(Dependent {
            kind: DependentKind::GeneratedColumn,
            name: "status".into(),
        });
        table
    }

    fn compile(
        table: Table,
        tried: Option<Result<Computed, ServerMessage>>,
        operations: &str,
    ) -> Result<Lowered, Vec<Refusal>> {
        let plan = parse(operations);
        let mut catalog = answer(table, &plan);
        for replacement in &mut catalog.replacements {
            replacement.computed = (tried.iter())
                .map(|result| Tried {
                    name: "status".into(),
                    result: result.clone(),
                })
                .collect();
        }
        lower(&plan, &catalog)
    }

    fn computed() -> Option<Result<Computed, ServerMessage>> {
        Some(Ok(Computed {
            expression: "amount * 2".into(),
            unchanged: "DO 'nothing new on status'".into(),
        }))
    }

    fn refused(table: Table, tried: Option<Result<Computed, ServerMessage>>, told: &str) {
        let refused = compile(table, tried, AMOUNT).expect_err(told);
        assert!(
            refused.iter().any(|r| r.message.contains(told)),
            "{told}: {refused:#?}"
        );
    }

    #[test]
    fn a_virtual_one_comes_back_with_all_that_it_had() {
        let mut table = table(false);
        table.columns[3].def.comment = Some("twice".into());
        table.columns[3].settings = vec!["SET STATISTICS 7".into()];
        table.columns[3].grants = vec![Grant {
            grantee: None,
            privilege: "SELECT".into(),
            grantable: false,
        }];
        let lowered = compile(table, computed(), AMOUNT).expect("the plan lowers");
        insta::assert_snapshot!("generated", outline(&lowered.program));
    }

    #[test]
    fn a_stored_one_is_refused() {
        refused(table(true), None, "is STORED");
    }

    #[test]
    fn one_that_does_not_go_with_the_type_is_refused_in_the_servers_words() {
        let said = ServerMessage {
            code: "42883".into(),
            message: "no such operator".into(),
            hint: None,
        };
        refused(
            table(false),
            Some(Err(said)),
            "generated column status does not go with type bigint: no such operator",
        );
    }

    #[test]
    fn one_that_would_lose_something_is_refused() {
        let mut required = table(false);
        required.columns[3].def.nullable = false;
        refused(required, computed(), "is NOT NULL");
        let mut checked = table(false);
        checked.columns[3].dependents.push(Dependent {
            kind: DependentKind::Check,
            name: "even".into(),
        });
        refused(
            checked,
            computed(),
            "would take check constraint even along",
        );
    }

    #[test]
    fn one_that_another_operation_concerns_is_refused() {
        for other in [
            "drop_column: {table: users, column: status}",
            "set_comment: {table: users, column: status, comment: more}",
            "set_statistics: {table: users, column: status, target: 9}",
            "grant: {table: users, columns: [status], privileges: [select], to: [app]}",
        ] {
            let operations = format!("{AMOUNT}\n  - {other}");
            let refused = compile(table(false), computed(), &operations).expect_err(other);
            let told = "is the concern of another operation";
            assert!(
                refused.iter().any(|r| r.message.contains(told)),
                "{other}: {refused:#?}"
            );
        }
    }
}
