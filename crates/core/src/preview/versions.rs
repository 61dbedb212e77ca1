//! What old and new application versions may read and write after a phase.

use serde::Serialize;

use crate::catalog::Identity;
use crate::object::{ObjectChange, TableSetting};
use crate::step::{Action, Change, Mapping, Phase, Program, Rule};

/// How names of what lives for the length of a run begin.
const OURS: &str = "_pontoon_";

/// Sentences for each version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Versions {
    /// Versions that know the old shape only.
    pub old: Vec<String>,
    /// Versions that know the new shape.
    pub new: Vec<String>,
}

/// What may be done once `phase` is over.
pub(super) fn after(program: &Program, phase: Phase) -> Versions {
    let mut versions = Versions::default();
    match phase {
        Phase::Expand => {
            versions.old.push("Read and write as before.".to_owned());
            let kept = mappings(program).any(|(_, mapping)| !is_copied(mapping));
            let views = written_through(program);
            if kept || views.is_empty() {
                let text = match (kept, adds(program)) {
                    (true, _) => {
                        "Not yet: new columns stand there, but nothing keeps them in step."
                    }
                    (false, true) => "May use what has been added.",
                    (false, false) => "Read and write as before.",
                };
                versions.new.push(text.to_owned());
            }
            versions.new.extend(views);
        }
        Phase::DualWrite | Phase::Backfill => {
            versions.old.push("Read and write as before.".to_owned());
            versions.new.extend(written_through(program));
            for (table, mapping) in mappings(program) {
                if let Some(text) = may_write(&table, mapping) {
                    versions.new.push(text);
                }
            }
            if phase == Phase::DualWrite && mappings(program).any(|(_, mapping)| is_filled(mapping))
            {
                versions.new.push(
                    "Do not rely on reading new columns yet: rows that nobody has written since are not filled.".to_owned(),
                );
            }
        }
        Phase::Verify => {
            versions.old.push("Read and write as before.".to_owned());
            versions
                .new
                .push("Read and write: every row holds both shapes.".to_owned());
            versions.new.extend(written_through(program));
        }
        Phase::Contract => after_contract(program, &mut versions),
    }
    versions
}

/// Something stands there after expand that an application can name.
fn adds(program: &Program) -> bool {
    let expand = program.steps.iter();
    let mut expand = expand.filter(|step| step.phase == Phase::Expand);
    expand.any(|step| match &step.action {
        Action::Ddl(ddl) => ddl.changes.iter().any(|change| {
            matches!(
                change,
                Change::CreateTable { .. }
                    | Change::AddColumn { .. }
                    | Change::Object {
                        what: ObjectChange::CreateSchema { .. }
                            | ObjectChange::CreateEnum { .. }
                            | ObjectChange::AddEnumValue { .. }
                            | ObjectChange::CreateView { .. }
                    }
            )
        }),
        // A person's own SQL may add anything.
        Action::Sql(_) => true,
        _ => false,
    })
}

fn after_contract(program: &Program, versions: &mut Versions) {
    for step in program
        .steps
        .iter()
        .filter(|step| step.phase == Phase::Contract)
    {
        let Action::Ddl(ddl) = &step.action else {
            continue;
        };
        for change in &ddl.changes {
            if let Some(text) = breaks(change, &ddl.changes) {
                versions.old.push(text);
            }
        }
    }
    if versions.old.is_empty() {
        versions.old.push("Read and write as before.".to_owned());
    }
    versions.new.push("Read and write.".to_owned());
}

/// What a change takes from versions that know the old shape only.
fn breaks(change: &Change, all: &[Change]) -> Option<String> {
    match change.itself() {
        Change::DropTable { table, .. } => Some(format!("{table} is gone.")),
        Change::DropColumn { table, column } => {
            // Another one takes its place, or it comes back itself.
            let stays = all.iter().any(|other| match other.itself() {
                Change::RenameColumn { table: on, to, .. } => on == table && to == column,
                Change::AddColumn {
                    table: on,
                    column: def,
                } => on == table && def.name == *column,
                _ => false,
            });
            // A second column of ours was never theirs.
            let ours = column.starts_with(OURS);
            (!stays && !ours).then(|| format!("{table}.{column} is gone."))
        }
        Change::RenameColumn { table, from, to } => {
            (!from.starts_with(OURS)).then(|| format!("{table}.{from} is called {to}."))
        }
        Change::SetNotNull { table, column } => {
            Some(format!("Writing NULL to {table}.{column} fails."))
        }
        Change::SetDefault {
            table,
            column,
            default: None,
        } => Some(format!("{table}.{column} has no default any more.")),
        Change::AddConstraint {
            table, constraint, ..
        } if !constraint.name.starts_with(OURS) && !table.name.starts_with(OURS) => Some(format!(
            "Writes to {table} that violate {} fail.",
            constraint.name
        )),
        Change::SetTable {
            table,
            setting:
                TableSetting::Identity {
                    column,
                    identity: Identity::Always,
                    ..
                },
        } => Some(format!(
            "Writing a value of its own to {table}.{column} fails, unless the INSERT says OVERRIDING SYSTEM VALUE."
        )),
        Change::SetTable {
            table,
            setting: TableSetting::Rename { to, .. },
        } => (!table.name.starts_with(OURS))
            .then(|| format!("{table} is called {}.{to}.", table.schema)),
        Change::SetTable {
            table,
            setting: TableSetting::RenameConstraint { from, to, .. },
        } => Some(format!(
            "Constraint {from} of {table} is called {to}: ON CONFLICT ON CONSTRAINT and error messages name it so."
        )),
        Change::CreateTable { .. }
        | Change::AddColumn { .. }
        | Change::SetDefault { .. }
        | Change::DropNotNull { .. }
        | Change::AddConstraint { .. }
        | Change::DropConstraint { .. }
        | Change::CommentOnColumn { .. }
        | Change::GrantColumn { .. }
        | Change::SetTable { .. }
        | Change::Object { .. }
        | Change::DropSync { .. }
        | Change::OnPartition { .. } => None,
    }
}

fn mappings(program: &Program) -> impl Iterator<Item = (String, &Mapping)> {
    program
        .steps
        .iter()
        .filter_map(|step| match &step.action {
            Action::Sync(sync) => Some(sync),
            _ => None,
        })
        .flat_map(|sync| {
            sync.mappings
                .iter()
                .map(|mapping| (sync.table.to_string(), mapping))
        })
}

/// What new versions do through views that stand for tables to come.
fn written_through(program: &Program) -> Vec<String> {
    let changes = program.steps.iter().filter_map(|step| match &step.action {
        Action::Ddl(ddl) => Some(&ddl.changes),
        _ => None,
    });
    changes
        .flatten()
        .filter_map(|change| match change {
            Change::Object {
                what: ObjectChange::WriteThrough { through },
            } => Some(format!(
                "Read and write {}, a view of {}; ON CONFLICT, MERGE, TRUNCATE and an UPDATE of the key do not work through it.",
                through.view, through.table
            )),
            _ => None,
        })
        .collect()
}

fn is_copied(mapping: &Mapping) -> bool {
    matches!(mapping.rule, Rule::Copied { .. })
}

fn is_filled(mapping: &Mapping) -> bool {
    match mapping.rule {
        Rule::Pair { .. } | Rule::Fill { .. } | Rule::Derived { .. } | Rule::Referred { .. } => {
            true
        }
        // What is read and written is a view of the rows themselves.
        Rule::Copied { .. } => false,
        Rule::Omitted { .. } => false,
    }
}

fn may_write(table: &str, mapping: &Mapping) -> Option<String> {
    let list = |columns: &[crate::step::MappedColumn]| {
        columns
            .iter()
            .map(|column| column.name.as_str())
            .collect::<Vec<_>>()
            .join(", ")
    };
    let new = list(&mapping.new);
    let old = list(&mapping.old);
    match &mapping.rule {
        Rule::Pair { .. } => Some(format!(
            "May write {table} ({new}) instead of ({old}): the other side follows."
        )),
        Rule::Fill { .. } if mapping.old.is_empty() => {
            Some(format!("A NULL written to {table} ({new}) is replaced."))
        }
        Rule::Fill { .. } => Some(format!(
            "May write {table} ({new}); left out, it is computed from ({old})."
        )),
        Rule::Copied { .. } => None,
        Rule::Referred { lookup } => Some(format!(
            "May add rows to {}, and write {table} ({new}) instead of ({old}): the other side follows. Rows of {} neither change nor go before contract is over.",
            lookup.table, lookup.table
        )),
        Rule::Derived { .. } if mapping.new.iter().all(|c| c.name.starts_with(OURS)) => None,
        Rule::Derived { .. } => Some(format!(
            "May read {table} ({new}) once it is filled; it is computed on every write."
        )),
        Rule::Omitted { .. } => Some(format!(
            "May leave {table} ({old}) out of an INSERT: it is filled for old versions."
        )),
    }
}
