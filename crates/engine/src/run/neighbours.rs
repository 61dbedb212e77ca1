//! Unfinished runs on the tables of a new one.
//!
//! A dual write is made for its table as it was: it does not see what the
//! triggers of another one write, and a column that another run takes away is
//! one that its function still reads, so that every write of the application
//! fails. Neither is found by the database, whose functions depend on nothing.
//! So a table has at most one run that keeps two shapes of it in step, and no
//! other run that takes columns away from it meanwhile. Everything else (an
//! index, a constraint, a default) may go on beside it.

use std::collections::BTreeSet;

use pontoon_core::lower::{Refusal, RefusalKind};
use pontoon_core::name::TableName;
use pontoon_core::object::TableSetting;
use pontoon_core::step::{Action, Change, Program};

use crate::db::RunRecord;
use crate::status::state_words;

/// Why a program must not begin beside these runs.
pub(super) fn refusals(program: &Program, unfinished: &[RunRecord]) -> Vec<Refusal> {
    unfinished
        .iter()
        .flat_map(|run| {
            conflicts(program, &run.new.program)
                .into_iter()
                .map(move |(table, why)| refusal(&table, why, run))
        })
        .collect()
}

/// What two programs would do to each other, by table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Conflict {
    /// Both keep two shapes in step.
    BothKeep,
    /// The new one takes columns away that the other one may read.
    Takes,
    /// The other way round.
    Loses,
}

fn conflicts(new: &Program, other: &Program) -> Vec<(TableName, Conflict)> {
    let (kept, others_kept) = (kept(new), kept(other));
    let (taken, others_taken) = (taken(new), taken(other));
    let tables: BTreeSet<&TableName> = kept.iter().chain(&taken).collect();
    tables
        .into_iter()
        .filter_map(|table| {
            let conflict = if kept.contains(table) && others_kept.contains(table) {
                Conflict::BothKeep
            } else if taken.contains(table) && others_kept.contains(table) {
                Conflict::Takes
            } else if kept.contains(table) && others_taken.contains(table) {
                Conflict::Loses
            } else {
                return None;
            };
            Some((table.clone(), conflict))
        })
        .collect()
}

/// Tables of which a program keeps two shapes in step.
fn kept(program: &Program) -> BTreeSet<TableName> {
    let syncs = program.steps.iter().filter_map(|step| match &step.action {
        Action::Sync(sync) => Some(sync),
        Action::Ddl(_)
        | Action::Concurrent(_)
        | Action::Backfill(_)
        | Action::Verify(_)
        | Action::Sql(_)
        | Action::Wait(_) => None,
    });
    syncs
        .flat_map(|sync| std::iter::once(&sync.table).chain(&sync.children))
        .cloned()
        .collect()
}

/// Tables from which a program takes columns away, by name or altogether.
fn taken(program: &Program) -> BTreeSet<TableName> {
    let changes = program.steps.iter().flat_map(|step| match &step.action {
        Action::Ddl(ddl) => ddl.changes.as_slice(),
        Action::Concurrent(_)
        | Action::Sync(_)
        | Action::Backfill(_)
        | Action::Verify(_)
        | Action::Sql(_)
        | Action::Wait(_) => &[],
    });
    changes
        .filter_map(|change| match change.itself() {
            Change::DropTable { table, .. }
            | Change::DropColumn { table, .. }
            | Change::RenameColumn { table, .. }
            | Change::SetTable {
                table,
                setting: TableSetting::Rename { .. },
            } => Some(table.clone()),
            Change::CreateTable { .. }
            | Change::AddColumn { .. }
            | Change::SetDefault { .. }
            | Change::SetNotNull { .. }
            | Change::DropNotNull { .. }
            | Change::AddConstraint { .. }
            | Change::DropConstraint { .. }
            | Change::CommentOnColumn { .. }
            | Change::GrantColumn { .. }
            | Change::SetTable { .. }
            | Change::Object { .. }
            | Change::DropSync { .. }
            | Change::OnPartition { .. } => None,
        })
        .collect()
}

fn refusal(table: &TableName, why: Conflict, run: &RunRecord) -> Refusal {
    let id = run.new.id;
    let other = format!(
        "run {id} of plan {}, version {}, which is {}",
        run.new.plan,
        run.new.version,
        state_words(run)
    );
    let message = match why {
        Conflict::BothKeep => {
            format!("two shapes of {table} are kept in step already, by {other}")
        }
        Conflict::Takes => format!(
            "it takes columns away from {table}, of which two shapes are kept in step by {other}"
        ),
        Conflict::Loses => format!(
            "it would keep two shapes of {table} in step, from which columns are taken away by {other}"
        ),
    };
    Refusal {
        operation: 0,
        line: 0,
        kind: RefusalKind::Unsafe,
        message,
        hints: vec![
            format!("finish that run first, or take it back: pontoon status {id}"),
            "or put both changes into one plan: they then share triggers and backfill".to_owned(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::step::{Concurrent, Conditions, Ddl, Phase, Step, Sync, Undo, WIRE_VERSION};

    use super::*;

    /// `keep a, drop b, rename b, look a` as a program.
    fn program(texts: &str) -> Program {
        let actions = texts
            .split(',')
            .map(str::trim)
            .filter(|text| !text.is_empty());
        let actions = actions.map(|text| {
            let (verb, table) = text.split_once(' ').expect("a verb and a table");
            let table = TableName::new("public", table);
            let ddl = |change| {
                Action::Ddl(Ddl {
                    changes: vec![change],
                    cutover: false,
                })
            };
            match verb {
                "keep" => Action::Sync(Sync {
                    table,
                    children: vec![TableName::new("public", "child")],
                    mappings: Vec::new(),
                    conditions: Conditions::InWhen,
                    application_triggers: false,
                }),
                "drop" => ddl(Change::DropColumn {
                    table,
                    column: "c".into(),
                }),
                "rename" => ddl(Change::RenameColumn {
                    table,
                    from: "c".into(),
                    to: "d".into(),
                }),
                "delete" => ddl(Change::DropTable {
                    table,
                    related: Vec::new(),
                }),
                "default" => ddl(Change::SetDefault {
                    table,
                    column: "c".into(),
                    default: None,
                }),
                "look" => Action::Concurrent(Concurrent::Analyze { table }),
                other => panic!("{other}"),
            }
        });
        let steps = (1..).zip(actions).map(|(no, action)| Step {
            no,
            phase: Phase::Expand,
            name: String::new(),
            operations: Vec::new(),
            action,
            undo: Undo::Nothing,
        });
        Program {
            wire: WIRE_VERSION,
            steps: steps.collect(),
        }
    }

    #[test]
    fn tables_are_shared_only_where_nobody_is_harmed() {
        use Conflict::{BothKeep, Loses, Takes};
        for (new, other, expected) in [
            ("keep a", "", vec![]),
            ("keep a, drop a", "look b, default a", vec![]),
            ("look a, default a", "keep a, drop a", vec![]),
            ("drop a", "drop a", vec![]),
            (
                "keep a",
                "look a, keep a",
                vec![("a", BothKeep), ("child", BothKeep)],
            ),
            (
                "keep a, drop a",
                "keep a, drop a",
                vec![("a", BothKeep), ("child", BothKeep)],
            ),
            ("look b, drop b", "keep b", vec![("b", Takes)]),
            ("rename b", "keep b", vec![("b", Takes)]),
            ("delete child", "keep b", vec![("child", Takes)]),
            ("keep b", "default b, rename b", vec![("b", Loses)]),
            (
                "keep b",
                "delete b, delete child",
                vec![("b", Loses), ("child", Loses)],
            ),
        ] {
            let found = conflicts(&program(new), &program(other));
            let expected: Vec<(TableName, Conflict)> = expected
                .into_iter()
                .map(|(table, conflict)| (TableName::new("public", table), conflict))
                .collect();
            assert_eq!(found, expected, "{new} beside {other}");
        }
    }
}
