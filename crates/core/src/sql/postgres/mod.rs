//! PostgreSQL 14 to 18.

pub mod change;
pub mod image;
pub mod locks;
pub mod loss;
pub mod mapping;
mod raise;
pub mod sync;

use self::mapping::{any_needs_fill, any_of, fill_set, mismatch};
use crate::sql::quote::{quote_ident, quote_table};
use crate::step::{Action, Backfill, BackfillWork, Concurrent, Step, Undo, Verify};

/// The SQL of a step, as preview shows it and as a run stores it. `run` is a
/// short word for the run, in the name of everything of ours: ASCII letters,
/// digits and underscores, at most 16 bytes.
///
/// For `Ddl` and `Sync` these are the very statements that are executed. A
/// concurrently built index is shown under its building name; a batch and a
/// verify pass are shown once, without the bounds that the engine adds for
/// each range.
pub fn texts(step: &Step, run: &str) -> Vec<String> {
    action_texts(&step.action, step.no, run)
}

/// The SQL that takes a step back; empty where nothing is taken back.
pub fn undo_texts(step: &Step, run: &str) -> Vec<String> {
    match &step.undo {
        Undo::Steps { actions } => actions
            .iter()
            .flat_map(|action| action_texts(action, step.no, run))
            .collect(),
        Undo::Nothing | Undo::Impossible { .. } => Vec::new(),
    }
}

fn action_texts(action: &Action, no: u32, run: &str) -> Vec<String> {
    match action {
        Action::Ddl(ddl) => ddl
            .changes
            .iter()
            .flat_map(|change| change::render(change, run))
            .collect(),
        Action::Concurrent(statement) => concurrent_texts(statement, no, run),
        Action::Sync(table_sync) => {
            sync::install(table_sync, &sync::artifact(run, &table_sync.table))
        }
        Action::Backfill(backfill) => vec![batch_text(backfill)],
        Action::Verify(verify) => vec![verify_text(verify)],
        Action::Sql(sql) => vec![sql.text.clone()],
        Action::Wait(wait) => vec![wait.query.trim().to_owned()],
    }
}

fn concurrent_texts(statement: &Concurrent, no: u32, run: &str) -> Vec<String> {
    match statement {
        Concurrent::CreateIndex { table, index } => {
            let build_name = change::build_name(run, no, 1);
            vec![
                change::create_index_concurrently(table, index, &build_name),
                change::rename_index(&table.schema, &build_name, &index.name),
            ]
        }
        Concurrent::DropIndex { table, name } => {
            vec![change::drop_index_concurrently(table, name)]
        }
        Concurrent::Validate { table, name, .. } => vec![change::validate_constraint(table, name)],
        Concurrent::Reindex { table, name } => vec![change::reindex_concurrently(table, name)],
        Concurrent::Analyze { table } => vec![change::analyze(table)],
        Concurrent::Fill {
            view, of, schemas, ..
        } => change::fill(view, of, schemas),
        Concurrent::OnPartition { statement, .. } => concurrent_texts(statement, no, run),
    }
}

/// The statement of a batch, without the bounds of its range.
fn batch_text(backfill: &Backfill) -> String {
    let (set, filter) = match &backfill.work {
        BackfillWork::Mappings { mappings } => {
            (fill_set(mappings, "t"), any_needs_fill(mappings, "t"))
        }
        BackfillWork::Update { set, filter } => (
            set.iter()
                .map(|(column, expr)| (column.name.clone(), expr.on("t")))
                .collect(),
            filter.on("t"),
        ),
    };
    let set: Vec<String> = set
        .iter()
        .map(|(column, value)| format!("{} = {value}", quote_ident(column)))
        .collect();
    let lost = match &backfill.work {
        BackfillWork::Mappings { mappings } => loss::any_lost(mappings, "t"),
        BackfillWork::Update { .. } => None,
    };
    let returning = lost.map_or_else(String::new, |lost| format!("\nRETURNING {lost} AS lost"));
    format!(
        "UPDATE ONLY {} AS t\nSET {}\nWHERE {filter}{returning}",
        quote_table(&backfill.table),
        set.join(",\n    "),
    )
}

/// The comparison of a verify pass, without the bounds of its range.
fn verify_text(verify: &Verify) -> String {
    let mismatches = any_of(verify.mappings.iter().map(|m| mismatch(m, "t")).collect());
    format!(
        "SELECT t.*\nFROM ONLY {} AS t\nWHERE {mismatches}",
        quote_table(&verify.table)
    )
}

#[cfg(test)]
mod tests;
