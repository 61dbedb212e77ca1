//! What a program would do, as data: its SQL, locks, rows, consequences for
//! both application versions, and the way back. [`Preview`] is what `pontoon
//! preview --output json` prints; [`text`] is how people read it.

mod text;
mod versions;

use serde::Serialize;

use crate::catalog::{Catalog, Table};
use crate::lower::Lowered;
use crate::name::TableName;
use crate::plan::{Plan, signals};
use crate::sql::postgres::locks::action_locks;
use crate::sql::postgres::{texts, undo_texts};
use crate::step::{Action, LockMode, Phase, Step, Undo};

pub use versions::Versions;

/// A preview belongs to no run yet: its place in names is shown by a word.
const RUN: &str = "run";

/// A program as people want to see it before it runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Preview {
    /// The version of this form.
    pub schema: u32,
    /// The plan's name.
    pub plan: String,
    /// The plan's version.
    pub version: String,
    /// The database that was looked at.
    pub database: String,
    /// `server_version_num`.
    pub server_version: u32,
    /// Tables that the plan names.
    pub tables: Vec<TablePreview>,
    /// Phases that have steps, in order.
    pub phases: Vec<PhasePreview>,
    /// What will hold batches back; empty when the program has none.
    pub throttle: Vec<ThrottlePreview>,
    /// Consequences that people should know of.
    pub notes: Vec<Note>,
}

/// A signal that a run of the program watches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ThrottlePreview {
    /// Its name.
    pub signal: String,
    /// At or above which readings no batch is begun: `10s, bytes 1GB`; `None`
    /// when the signal is switched off.
    pub limits: Option<String>,
    /// What is sampled, for signals that plans point at something: an
    /// address without its secrets, a query, a path.
    pub of: Option<String>,
    /// Nobody named it: it is watched by default.
    pub by_default: bool,
    /// `hold` or `ignore`: what a reading that does not come means.
    pub unknown: String,
}

/// A table as the server sees it now.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TablePreview {
    /// `schema.name`.
    pub table: String,
    /// Rows, as the planner estimates them; `null` when it was never analysed.
    pub estimated_rows: Option<u64>,
    /// Heap pages now.
    pub pages: u64,
    /// Heap, TOAST and indexes, in bytes.
    pub bytes: u64,
}

/// One phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PhasePreview {
    /// Which.
    pub phase: Phase,
    /// The run waits for approval before it.
    pub gate: Option<GatePreview>,
    /// Its steps, in order.
    pub steps: Vec<StepPreview>,
    /// What application versions may do once the phase is over.
    pub versions: Versions,
}

/// A gate before a phase.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GatePreview {
    /// What the plan says there.
    pub message: Option<String>,
    /// The condition beside approval.
    pub old_writes_idle: Option<String>,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepPreview {
    /// Its number.
    pub no: u32,
    /// What it does.
    pub name: String,
    /// `ddl`, `concurrent`, `sync`, `backfill`, `verify`, `sql`, `wait`.
    pub kind: String,
    /// It and its record commit together.
    pub transactional: bool,
    /// Locks it takes, in the order in which they are taken.
    pub locks: Vec<LockPreview>,
    /// Its SQL.
    pub sql: Vec<String>,
    /// Rows it will look at, estimated.
    pub estimated_rows: Option<u64>,
    /// User triggers that fire for each row it changes.
    pub triggers: Vec<String>,
    /// Publications that stream each row it changes.
    pub publications: Vec<String>,
    /// The way back.
    pub undo: UndoPreview,
}

/// A lock.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LockPreview {
    /// `schema.name`.
    pub table: String,
    /// As PostgreSQL names it.
    pub mode: LockMode,
}

/// The way back from a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum UndoPreview {
    /// By this SQL.
    Steps {
        /// In order.
        sql: Vec<String>,
    },
    /// There is nothing to take back.
    Nothing,
    /// There is none.
    Impossible {
        /// Why.
        reason: String,
    },
}

/// A consequence.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Note {
    /// 1-based number of the operation; 0 for the plan as a whole.
    pub operation: usize,
    /// A sentence.
    pub text: String,
}

impl Preview {
    /// Puts together what is known of a program.
    pub fn new(plan: &Plan, catalog: &Catalog, lowered: &Lowered) -> Self {
        let program = &lowered.program;
        let phases = Phase::ALL
            .into_iter()
            .filter_map(|phase| {
                let steps: Vec<StepPreview> = program
                    .steps
                    .iter()
                    .filter(|step| step.phase == phase)
                    .map(|step| step_preview(step, catalog))
                    .collect();
                (!steps.is_empty()).then(|| PhasePreview {
                    phase,
                    gate: gate(plan, program.steps.as_slice(), phase),
                    steps,
                    versions: versions::after(program, phase),
                })
            })
            .collect();
        Self {
            schema: 1,
            plan: plan.plan.clone(),
            version: plan.version.clone(),
            database: catalog.server.database.clone(),
            server_version: catalog.server.version,
            tables: named_tables(plan, catalog),
            phases,
            throttle: throttle(plan, &program.steps),
            notes: lowered
                .notes
                .iter()
                .map(|(operation, text)| Note {
                    operation: *operation,
                    text: text.clone(),
                })
                .collect(),
        }
    }

    /// As people read it.
    pub fn render(&self) -> String {
        text::render(self)
    }
}

/// A gate stands before the first phase that has steps at or behind it.
fn gate(plan: &Plan, steps: &[Step], phase: Phase) -> Option<GatePreview> {
    let place = |phase: Phase| Phase::ALL.iter().position(|other| *other == phase);
    plan.gates
        .iter()
        .find(|gate| {
            let first = Phase::ALL
                .into_iter()
                .filter(|candidate| place(*candidate) >= place(gate.before))
                .find(|candidate| steps.iter().any(|step| step.phase == *candidate));
            first == Some(phase)
        })
        .map(|gate| GatePreview {
            message: gate.message.clone(),
            old_writes_idle: gate
                .old_writes_idle
                .map(|idle| humantime::format_duration(idle).to_string()),
        })
}

/// What is watched while rows are changed or compared.
fn throttle(plan: &Plan, steps: &[Step]) -> Vec<ThrottlePreview> {
    let scans = |step: &Step| matches!(step.action, Action::Backfill(_) | Action::Verify(_));
    if !steps.iter().any(scans) {
        return Vec::new();
    }
    let on = signals::watched(&plan.throttle)
        .into_iter()
        .map(|watched| ThrottlePreview {
            signal: watched.signal.name.to_owned(),
            limits: Some(watched.limits()),
            of: watched.source(),
            by_default: !watched.named,
            unknown: watched.unknown.name().to_owned(),
        });
    let off = signals::off_by_name(&plan.throttle)
        .into_iter()
        .map(|name| ThrottlePreview {
            signal: name.to_owned(),
            limits: None,
            of: None,
            by_default: false,
            unknown: signals::Unknown::Ignore.name().to_owned(),
        });
    on.chain(off).collect()
}

fn named_tables(plan: &Plan, catalog: &Catalog) -> Vec<TablePreview> {
    crate::lower::request(plan, catalog)
        .tables
        .iter()
        .filter_map(|name| catalog.tables.get(name))
        .map(|table| TablePreview {
            table: table.name.to_string(),
            estimated_rows: table.size.rows,
            pages: table.size.pages,
            bytes: table.size.total_bytes,
        })
        .collect()
}

fn step_preview(step: &Step, catalog: &Catalog) -> StepPreview {
    let scanned = match &step.action {
        Action::Backfill(backfill) => Some(&backfill.table),
        Action::Verify(verify) => Some(&verify.table),
        Action::Ddl(_)
        | Action::Concurrent(_)
        | Action::Sync(_)
        | Action::Sql(_)
        | Action::Wait(_) => None,
    };
    let table = scanned.and_then(|name| catalog.tables.get(name));
    let changes_rows = matches!(step.action, Action::Backfill(_));
    StepPreview {
        no: step.no,
        name: step.name.clone(),
        kind: step.action.kind().to_owned(),
        transactional: match step.action {
            Action::Ddl(_) | Action::Sync(_) | Action::Sql(_) => true,
            Action::Concurrent(_) | Action::Backfill(_) | Action::Verify(_) | Action::Wait(_) => {
                false
            }
        },
        locks: action_locks(&step.action)
            .into_iter()
            .map(|(table, mode)| LockPreview {
                table: table.to_string(),
                mode,
            })
            .collect(),
        sql: texts(step, RUN),
        estimated_rows: table.and_then(|table| table.size.rows),
        triggers: table
            .filter(|_| changes_rows)
            .map(fired)
            .unwrap_or_default(),
        publications: table
            .filter(|_| changes_rows)
            .map(|table| streamed(table, catalog))
            .unwrap_or_default(),
        undo: match &step.undo {
            Undo::Steps { .. } => UndoPreview::Steps {
                sql: undo_texts(step, RUN),
            },
            Undo::Nothing => UndoPreview::Nothing,
            Undo::Impossible { reason } => UndoPreview::Impossible {
                reason: reason.clone(),
            },
        },
    }
}

fn fired(table: &Table) -> Vec<String> {
    table
        .triggers
        .iter()
        .filter(|trigger| {
            trigger.on_update && !trigger.ours && matches!(trigger.enabled, 'O' | 'A')
        })
        .map(|trigger| trigger.name.clone())
        .collect()
}

fn streamed(table: &Table, catalog: &Catalog) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    let mut open: Vec<TableName> = vec![table.name.clone()];
    while let Some(next) = open.pop() {
        if let Some(table) = catalog.tables.get(&next) {
            names.extend(table.publications.iter().map(|p| p.name.clone()));
            open.extend(table.children.iter().cloned());
        }
    }
    names.sort();
    names.dedup();
    names
}
