//! From a plan and a catalog to a program.
//!
//! Each operation says which tables and answers it needs ([`Lower::ask`]) and
//! then adds what it wants to a [`Lowering`] ([`Lower::lower`]). The lowering
//! arranges it: what is additive goes to expand, mappings of one table share
//! one trigger pair, one scan and one verify pass, and everything that cannot
//! be taken back is gathered into the *cutover*, one transaction that ends
//! contract. Until it commits, every step has a way back; once it has, the
//! run is completed. There is no state in between.
//!
//! Lowering refuses rather than guesses, and names every reason at once.

mod asking;
mod build;
mod carry;
mod context;
pub mod dependents;
#[cfg(test)]
mod fixtures;
mod gates;
mod objects;
mod partitioned;
mod refusal;
mod safety;
#[cfg(test)]
mod tests;

use crate::catalog::{Catalog, Question};
use crate::name::TableName;
use crate::plan::Plan;
use crate::step::{
    Action, Backfill, BackfillWork, Change, Concurrent, Ddl, Phase, Program, Rule, Step, Sync,
    Undo, Verify, WIRE_VERSION,
};

pub use asking::Asking;
pub use carry::Replace;
pub use carry::index_statistics;
pub(crate) use carry::is_unusual;
pub(crate) use context::nearest;
pub use context::{Lowering, Over, Volatile, column_expr, ddl, mapped};
pub(crate) use objects::rights_on_view;
pub use objects::{Granted, hanging_on};
pub(crate) use partitioned::{cut, same_index};
pub use refusal::{Refusal, RefusalKind};
pub use safety::{FIRST_TRIGGER, LAST_TRIGGER, plain_index};

/// What an operation contributes.
pub trait Lower {
    /// Names the tables it needs to see and the questions to be answered.
    fn ask(&self, asking: &mut Asking<'_>);

    /// Adds its steps, mappings and cutover changes, or refuses.
    fn lower(&self, lowering: &mut Lowering<'_>);
}

/// What has to be read from the database before a plan can be lowered.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// Tables that the plan names.
    pub tables: Vec<TableName>,
    /// Texts to be understood.
    pub questions: Vec<Question>,
}

/// A program with what people should know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Lowered {
    /// The program.
    pub program: Program,
    /// Sentences about consequences, in the order of the operations: the
    /// 1-based operation (0 for the plan as a whole) and the text.
    pub notes: Vec<(usize, String)>,
}

/// The tables that have to be read for this plan.
pub fn tables(plan: &Plan) -> Vec<TableName> {
    request(plan, &Catalog::default()).tables
}

/// What has to be asked of the database once its tables are known: the text
/// of a default cast, for one, names the present type of its column.
pub fn request(plan: &Plan, tables: &Catalog) -> Request {
    let mut asking = Asking::new(plan, tables);
    for (index, operation) in plan.operations.iter().enumerate() {
        asking.begin(index);
        operation.value.as_lower().ask(&mut asking);
    }
    asking.finish()
}

/// Compiles a plan against a catalog.
pub fn lower(plan: &Plan, catalog: &Catalog) -> Result<Lowered, Vec<Refusal>> {
    let mut lowering = Lowering::new(plan, catalog);
    for (index, operation) in plan.operations.iter().enumerate() {
        lowering.begin(index);
        operation.value.as_lower().lower(&mut lowering);
    }
    safety::check(&mut lowering);
    let mut lowered = arrange(lowering)?;
    if let Some(refusal) = gates::unmeetable(plan, &lowered.program) {
        return Err(vec![refusal]);
    }
    let of_plan = gates::open_contract(plan, &lowered.program);
    lowered.notes.extend(of_plan.map(|note| (0, note)));
    Ok(lowered)
}

/// Puts everything into the order of execution.
fn arrange(lowering: Lowering<'_>) -> Result<Lowered, Vec<Refusal>> {
    let parts = lowering.into_parts()?;
    let mut steps = Vec::new();
    let mut add = |phase, name: String, operations: Vec<usize>, action, undo| {
        let no = u32::try_from(steps.len() + 1).unwrap_or(u32::MAX);
        steps.push(Step {
            no,
            phase,
            name,
            operations,
            action,
            undo,
        });
    };
    let mut drafts = parts.drafts;
    let mut take = |phase: Phase| -> Vec<context::Draft> {
        let (now, later) = std::mem::take(&mut drafts)
            .into_iter()
            .partition(|draft| draft.phase == phase);
        drafts = later;
        now
    };

    for draft in take(Phase::Expand) {
        add(
            Phase::Expand,
            draft.name,
            vec![draft.operation],
            draft.action,
            draft.undo,
        );
    }
    for sync in &parts.syncs {
        add(
            Phase::DualWrite,
            format!("keep both shapes of {} in step", sync.table),
            operations_of(sync),
            Action::Sync(sync.clone()),
            Undo::Steps {
                actions: vec![Action::Ddl(Ddl {
                    changes: vec![Change::DropSync { sync: sync.clone() }],
                    cutover: false,
                })],
            },
        );
    }
    for draft in take(Phase::DualWrite) {
        add(
            Phase::DualWrite,
            draft.name,
            vec![draft.operation],
            draft.action,
            draft.undo,
        );
    }
    for sync in parts.syncs.iter().filter(|sync| needs_scan(sync)) {
        add(
            Phase::Backfill,
            format!("fill {}", sync.table),
            operations_of(sync),
            Action::Backfill(Backfill {
                table: sync.table.clone(),
                work: BackfillWork::Mappings {
                    mappings: sync.mappings.clone(),
                },
                cursor: parts.cursor,
            }),
            Undo::Nothing,
        );
    }
    for draft in take(Phase::Backfill) {
        add(
            Phase::Backfill,
            draft.name,
            vec![draft.operation],
            draft.action,
            draft.undo,
        );
    }
    for sync in parts.syncs.iter().filter(|sync| needs_scan(sync)) {
        add(
            Phase::Verify,
            format!("verify {}", sync.table),
            operations_of(sync),
            Action::Verify(Verify {
                table: sync.table.clone(),
                mappings: sync.mappings.clone(),
            }),
            Undo::Nothing,
        );
    }
    // What is filled shall be as new as can be when it is shown.
    let (fills, contract): (Vec<_>, Vec<_>) = take(Phase::Contract)
        .into_iter()
        .partition(|draft| matches!(draft.action, Action::Concurrent(Concurrent::Fill { .. })));
    for draft in take(Phase::Verify).into_iter().chain(contract).chain(fills) {
        add(
            draft.phase,
            draft.name,
            vec![draft.operation],
            draft.action,
            draft.undo,
        );
    }
    let mut changes: Vec<Change> = parts
        .syncs
        .iter()
        .map(|sync| Change::DropSync { sync: sync.clone() })
        .collect();
    let mut operations: Vec<usize> = parts.syncs.iter().flat_map(operations_of).collect();
    for (operation, change) in parts.cutover {
        operations.push(operation);
        changes.push(change);
    }
    operations.sort_unstable();
    operations.dedup();
    if !changes.is_empty() {
        add(
            Phase::Contract,
            "cut over to the new shape".to_owned(),
            operations,
            Action::Ddl(Ddl {
                changes,
                cutover: true,
            }),
            Undo::Impossible {
                reason: "the run has completed".to_owned(),
            },
        );
    }
    Ok(Lowered {
        program: Program {
            wire: WIRE_VERSION,
            steps,
        },
        notes: parts.notes,
    })
}

fn operations_of(sync: &Sync) -> Vec<usize> {
    let mut operations: Vec<usize> = sync
        .mappings
        .iter()
        .map(|mapping| mapping.operation)
        .collect();
    operations.sort_unstable();
    operations.dedup();
    operations
}

/// Present rows have to be brought into step, and proven to be.
fn needs_scan(sync: &Sync) -> bool {
    sync.mappings.iter().any(|mapping| match mapping.rule {
        Rule::Pair { .. }
        | Rule::Fill { .. }
        | Rule::Derived { .. }
        | Rule::Copied { .. }
        | Rule::Referred { .. } => true,
        Rule::Omitted { .. } => false,
    })
}
