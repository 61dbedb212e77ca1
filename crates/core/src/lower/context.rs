//! What operations ask of, and add to, a lowering.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::catalog::{Catalog, Column, ExprFacts, ServerMessage, Table, TypeFacts};
use crate::expr::{Expr, Volatility};
use crate::name::TableName;
use crate::object::{Object, ObjectFacts};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::Plan;
use crate::sql::quote::quote_ident;
use crate::step::{
    Action, Change, Conditions, CursorKind, Ddl, MappedColumn, Mapping, Partition, Phase, Sync,
    Undo,
};

use super::{Refusal, RefusalKind};

/// A step that has no number yet.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) phase: Phase,
    pub(super) operation: usize,
    pub(super) name: String,
    pub(super) action: Action,
    pub(super) undo: Undo,
}

/// What [`super::arrange`] puts in order.
pub(super) struct Parts {
    pub(super) drafts: Vec<Draft>,
    pub(super) syncs: Vec<Sync>,
    pub(super) cutover: Vec<(usize, Change)>,
    pub(super) notes: Vec<(usize, String)>,
    pub(super) cursor: Option<CursorKind>,
}

/// A lowering in progress.
pub struct Lowering<'a> {
    pub(super) plan: &'a Plan,
    /// As read; operations see it as it is before the plan.
    pub(super) catalog: &'a Catalog,
    current: usize,
    pub(super) drafts: Vec<Draft>,
    pub(super) mappings: Vec<(TableName, Mapping)>,
    pub(super) cutover: Vec<(usize, Change)>,
    created: BTreeMap<TableName, Table>,
    private: BTreeSet<TableName>,
    notes: Vec<(usize, String)>,
    refusals: Vec<Refusal>,
    artifact: String,
    /// What the cutover does at the end of the replacement at hand.
    pub(super) carried: Vec<Change>,
    /// What some replacement takes along.
    pub(super) taken_along: BTreeSet<String>,
    /// Columns that the plan does not name and an operation replaces.
    pub(super) alone: Vec<(usize, TableName, String)>,
    /// The partition that is being changed, which may be gone when its turn comes.
    pub(super) partition: Option<Partition>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(plan: &'a Plan, catalog: &'a Catalog) -> Self {
        Self {
            plan,
            catalog,
            current: 0,
            drafts: Vec::new(),
            mappings: Vec::new(),
            cutover: Vec::new(),
            created: BTreeMap::new(),
            private: BTreeSet::new(),
            notes: Vec::new(),
            refusals: Vec::new(),
            artifact: artifact_prefix(plan),
            carried: Vec::new(),
            taken_along: BTreeSet::new(),
            alone: Vec::new(),
            partition: None,
        }
    }

    pub(super) fn begin(&mut self, index: usize) {
        self.current = index;
    }

    /// 0-based index of the operation being lowered.
    pub fn operation(&self) -> usize {
        self.current
    }

    /// A name for something of ours that lives for the length of the run. It
    /// holds the plan and the operation, so that two plans never meet.
    pub fn artifact(&self, what: &str) -> String {
        artifact(&self.artifact, self.current, what)
    }

    /// Refuses: the plan does not fit this database.
    pub fn invalid(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.refuse(RefusalKind::Invalid, message.into(), vec![hint.into()]);
    }

    /// Refuses: a safety rule says no.
    pub fn unsafe_(&mut self, message: impl Into<String>, hint: impl Into<String>) {
        self.refuse(RefusalKind::Unsafe, message.into(), vec![hint.into()]);
    }

    fn refuse(&mut self, kind: RefusalKind, message: String, hints: Vec<String>) {
        let line = self
            .plan
            .operations
            .get(self.current)
            .map_or(0, |operation| operation.line);
        let refusal = Refusal {
            operation: self.current + 1,
            line,
            kind,
            message,
            hints: hints.into_iter().filter(|hint| !hint.is_empty()).collect(),
        };
        if !self.refusals.contains(&refusal) {
            self.refusals.push(refusal);
        }
    }

    /// Something a person should know before running the plan.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push((self.current + 1, text.into()));
    }

    /// Says what a second column beside `what` is to statements that count
    /// columns.
    pub fn note_place(&mut self, what: &str) {
        self.note(format!(
            "From expand on a second column stands beside {what}, and at contract it takes its place, as the table's last one: SELECT *, and COPY and INSERT without a column list, feel it."
        ));
    }

    /// The full name of a table of the plan.
    pub fn name(&self, table: &TableRef) -> TableName {
        table.resolve(&self.plan.schema)
    }

    /// The table, or a refusal that says that it is missing. Refuses as well
    /// what no operation may touch: views, foreign tables, tables of others.
    pub fn table(&mut self, table: &TableRef) -> Option<Table> {
        let name = self.name(table);
        if let Some(created) = self.created.get(&name) {
            return Some(created.clone());
        }
        let Some(found) = self.catalog.tables.get(&name) else {
            let near = nearest(
                &name.name,
                self.catalog
                    .tables
                    .keys()
                    .chain(&self.catalog.neighbours)
                    .map(|t| t.name.as_str()),
            );
            self.invalid(
                format!("table {name} does not exist"),
                near.map_or_else(
                    || "Check the name and the plan's `schema`; names are taken literally, upper case included.".to_owned(),
                    |near| format!("Did you mean `{near}`?"),
                ),
            );
            return None;
        };
        if let crate::catalog::TableKind::Other(kind) = found.kind {
            let what = match kind {
                'v' => "a view",
                'm' => "a materialized view",
                'f' => "a foreign table",
                _ => "no table",
            };
            self.invalid(
                format!("{name} is {what}"),
                "Name the table that holds the rows.",
            );
            return None;
        }
        if !found.owned_by_us {
            self.unsafe_(
                format!(
                    "table {name} belongs to role {}, and we are not a member of it",
                    found.owner
                ),
                format!(
                    "Connect as its owner, or grant the role: GRANT {} TO the connected role.",
                    quote_ident(&found.owner)
                ),
            );
        }
        Some(found.clone())
    }

    /// The column, or a refusal with a did-you-mean.
    pub fn column(&mut self, table: &Table, name: &str) -> Option<Column> {
        if let Some(column) = table.column(name) {
            return Some(column.clone());
        }
        let near = nearest(name, table.columns.iter().map(|c| c.def.name.as_str()));
        self.invalid(
            format!("table {} has no column `{name}`", table.name),
            near.map_or_else(
                || {
                    let columns: Vec<&str> = table
                        .columns
                        .iter()
                        .map(|c| c.def.name.as_str())
                        .take(30)
                        .collect();
                    format!("Its columns are: {}.", columns.join(", "))
                },
                |near| format!("Did you mean `{near}`?"),
            ),
        );
        None
    }

    /// Refuses when the name is taken.
    pub fn new_column_name(&mut self, table: &Table, name: &str) -> bool {
        if table.column(name).is_some() {
            self.invalid(
                format!("table {} already has a column `{name}`", table.name),
                "Choose another name, or drop the column in an earlier plan.",
            );
            return false;
        }
        const SYSTEM: [&str; 6] = ["ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"];
        if SYSTEM.contains(&name) {
            self.invalid(
                format!("`{name}` is the name of a system column"),
                "Choose another name.",
            );
            return false;
        }
        true
    }

    /// The answer to an expression question, or a refusal with the server's words.
    pub fn facts(
        &mut self,
        table: &TableName,
        text: &str,
        assigned_to: Option<&str>,
        role: &str,
    ) -> Option<ExprFacts> {
        match self.answer(table, text, assigned_to) {
            Some(Ok(facts)) => Some(facts),
            Some(Err(message)) => {
                self.server_refusal(&format!("{role} `{text}` on {table}"), &message);
                None
            }
            None => {
                self.invalid(
                    format!("{role} `{text}` on {table} was not understood"),
                    "This is a defect: the expression was never asked of the database.",
                );
                None
            }
        }
    }

    /// The answer to an expression question, as it is.
    pub fn answer(
        &self,
        table: &TableName,
        text: &str,
        assigned_to: Option<&str>,
    ) -> Option<Result<ExprFacts, ServerMessage>> {
        let answer = self.catalog.expressions.iter().find(|answer| {
            &answer.table == table
                && answer.text == text
                && answer.assigned_to.as_deref() == assigned_to
        });
        answer.map(|answer| answer.result.clone())
    }

    /// The server has no cast that this expression asks for.
    pub fn no_cast(&self, table: &TableName, text: &str, to: &str) -> bool {
        matches!(self.answer(table, text, Some(to)), Some(Err(said)) if said.code == "42846")
    }

    /// The answer to a type question, or a refusal with the server's words.
    pub fn type_facts(&mut self, text: &str) -> Option<TypeFacts> {
        let answer = self.catalog.types.iter().find(|answer| answer.text == text);
        match answer.map(|answer| answer.result.clone()) {
            Some(Ok(facts)) => Some(facts),
            Some(Err(message)) => {
                self.server_refusal(&format!("type `{text}`"), &message);
                None
            }
            None => {
                self.invalid(
                    format!("type `{text}` was not understood"),
                    "This is a defect: the type was never asked of the database.",
                );
                None
            }
        }
    }

    /// What the database said of something that was asked for; `None` when
    /// there is no such thing.
    pub fn object(&self, object: &Object) -> Option<&'a ObjectFacts> {
        self.catalog
            .objects
            .iter()
            .find(|answer| answer.object == *object)?
            .facts
            .as_ref()
    }

    /// The same, or a refusal that says that it is missing or not ours.
    pub fn owned_object(&mut self, object: &Object) -> Option<&'a ObjectFacts> {
        let Some(facts) = self.object(object) else {
            self.invalid(
                format!("{object} does not exist"),
                "Check the name and the plan's `schema`; names are taken literally, upper case included.",
            );
            return None;
        };
        if !facts.owned_by_us {
            self.unsafe_(
                format!(
                    "{object} belongs to role {}, and we are not a member of it",
                    facts.owner
                ),
                format!(
                    "Connect as its owner, or grant the role: GRANT {} TO the connected role.",
                    quote_ident(&facts.owner)
                ),
            );
        }
        Some(facts)
    }

    pub(crate) fn server_refusal(&mut self, what: &str, message: &ServerMessage) {
        let hint = message.hint.clone().unwrap_or_else(|| match message.code.as_str() {
            "42883" | "42704" => {
                "Names resolve in pg_catalog and the plan's schema; qualify others, as in `extensions.lower_x(email)`.".to_owned()
            }
            "42703" => "Write bare column names of this table.".to_owned(),
            "42846" | "42804" => "Give `up` (and `down`) as expressions that convert the value.".to_owned(),
            _ => String::new(),
        });
        self.invalid(format!("{what}: {}", message.message), hint);
    }

    /// An expression of a mapping: immutable or stable, over these columns only.
    pub fn mapping_expr(
        &mut self,
        table: &Table,
        text: &SqlExpr,
        assigned_to: &str,
        role: &str,
        over: &Over<'_>,
        volatile: Volatile,
    ) -> Option<ExprFacts> {
        let text = text.postgresql();
        let facts = self.facts(&table.name, text, Some(assigned_to), role)?;
        if facts.expr.volatility == Volatility::Volatile && volatile == Volatile::Refused {
            self.unsafe_(
                format!("`{role}: {text}` gives another value each time it is computed, so no copy of it can be verified"),
                "Use a stable expression, or write `allow_volatile: true` beside it if that is what you want.",
            );
        }
        if !facts.private_functions.is_empty() {
            self.private.insert(table.name.clone());
        }
        for column in &facts.expr.columns {
            let known = match over {
                Over::OldShape => table.column(column).is_some(),
                Over::Columns(names) => names.contains(&column.as_str()),
                Over::NewShape { replaced } => !replaced.contains(&column.as_str()),
            };
            if !known {
                let shape = match over {
                    Over::OldShape => "the old shape: the table's present columns",
                    Over::Columns(_) | Over::NewShape { .. } => {
                        "the new shape: the columns that new versions write"
                    }
                };
                self.invalid(
                    format!(
                        "`{role}: {text}` reads column `{column}`, which is not part of {shape}"
                    ),
                    "`up` reads the old shape only, `down` the new shape only.",
                );
            }
            if let Some(generated) = table
                .column(column)
                .and_then(|column| column.def.generated.as_ref())
            {
                self.invalid(
                    format!("`{role}: {text}` reads `{column}`, a generated column, whose value a trigger cannot see yet"),
                    format!("Write its expression instead: {}.", generated.expression),
                );
            }
        }
        Some(facts)
    }

    /// Adds a step to a phase.
    pub fn step(&mut self, phase: Phase, name: impl Into<String>, action: Action, undo: Undo) {
        let action = self.where_it_is(action);
        let undo = match undo {
            Undo::Steps { actions } => Undo::Steps {
                actions: actions
                    .into_iter()
                    .map(|action| self.where_it_is(action))
                    .collect(),
            },
            undo => undo,
        };
        self.drafts.push(Draft {
            phase,
            operation: self.current,
            name: name.into(),
            action,
            undo,
        });
    }

    /// Adds a catalog change with its way back as a step.
    pub fn ddl(
        &mut self,
        phase: Phase,
        name: impl Into<String>,
        change: Change,
        back: Vec<Change>,
    ) {
        let undo = if back.is_empty() {
            Undo::Nothing
        } else {
            Undo::Steps {
                actions: vec![ddl(back)],
            }
        };
        self.step(phase, name, ddl(vec![change]), undo);
    }

    /// Adds a change to the one transaction that ends contract.
    pub fn cutover(&mut self, change: Change) {
        let change = self.changed_where_it_is(change);
        self.cutover.push((self.current, change));
    }

    /// No other operation may have its hands on this column, which the plan
    /// does not name.
    pub fn alone(&mut self, table: &TableName, column: &str) {
        self.alone
            .push((self.current, table.clone(), column.to_owned()));
    }

    /// Adds a mapping to the table's dual write.
    pub fn mapping(&mut self, table: &Table, mapping: Mapping) {
        self.mappings.push((table.name.clone(), mapping));
    }

    /// A table that exists from this operation on.
    pub fn create(&mut self, table: Table) {
        self.created.insert(table.name.clone(), table);
    }

    /// The steps that make a column NOT NULL without a scan under a strong
    /// lock: a CHECK that is NOT VALID, its validation, and, in the cutover,
    /// SET NOT NULL, which the server then takes as proven. `final_name` is
    /// the column's name when the cutover comes to it.
    pub fn not_null(&mut self, table: &Table, column: &str, final_name: &str) {
        let check = self.not_null_check();
        let referenced = None;
        self.ddl(
            Phase::Contract,
            format!("require {}.{column} from now on", table.name),
            Change::AddConstraint {
                table: table.name.clone(),
                constraint: crate::catalog::Constraint {
                    name: check.clone(),
                    kind: crate::catalog::ConstraintKind::Check {
                        expression: format!("{} IS NOT NULL", quote_ident(column)),
                        columns: vec![column.to_owned()],
                    },
                    validated: false,
                    deferrable: None,
                    definition: String::new(),
                },
                using_index: None,
            },
            vec![Change::DropConstraint {
                table: table.name.clone(),
                name: check.clone(),
                referenced: None,
            }],
        );
        let step = format!("prove that {}.{column} holds no NULL", table.name);
        self.validate(step, &table.name, &check, referenced.as_ref());
        self.cutover(Change::SetNotNull {
            table: table.name.clone(),
            column: final_name.to_owned(),
        });
        self.cutover(Change::DropConstraint {
            table: table.name.clone(),
            name: check,
            referenced: None,
        });
    }

    /// A name for the CHECK of one column: an operation may need several.
    fn not_null_check(&self) -> String {
        let first = self.artifact("not_null");
        let used = |name: &String| {
            self.cutover.iter().any(|(_, change)| {
                matches!(change, Change::DropConstraint { name: dropped, .. } if dropped == name)
            })
        };
        (1_u32..)
            .map(|number| match number {
                1 => first.clone(),
                number => format!("{first}{number}"),
            })
            .find(|name| !used(name))
            .unwrap_or(first.clone())
    }

    /// An operation before this one makes the column NOT NULL by the time that
    /// the cutover comes to this one.
    pub fn becomes_not_null(&self, table: &TableName, column: &str) -> bool {
        let added = self.drafts.iter().any(|draft| {
            matches!(&draft.action, Action::Ddl(ddl) if ddl.changes.iter().any(|change| matches!(
                change,
                Change::AddColumn { table: on, column: def } if on == table && def.name == column && !def.nullable
            )))
        });
        added
            || self.cutover.iter().any(|(_, change)| {
                matches!(change, Change::SetNotNull { table: on, column: set } if on == table && set == column)
            })
    }

    pub(super) fn into_parts(self) -> Result<Parts, Vec<Refusal>> {
        if !self.refusals.is_empty() {
            return Err(self.refusals);
        }
        let mut syncs: Vec<Sync> = Vec::new();
        for (table, mapping) in self.mappings {
            match syncs.iter_mut().find(|sync| sync.table == table) {
                Some(sync) => sync.mappings.push(mapping),
                None => syncs.push(Sync {
                    conditions: if self.private.contains(&table) {
                        Conditions::InBody
                    } else {
                        Conditions::InWhen
                    },
                    children: inheritance_children(self.catalog, &table),
                    application_triggers: application_triggers(self.catalog, &table),
                    table,
                    mappings: vec![mapping],
                }),
            }
        }
        Ok(Parts {
            drafts: self.drafts,
            syncs,
            cutover: self.cutover,
            notes: self.notes,
            cursor: self.plan.backfill.cursor,
        })
    }
}

/// What tells the names of one plan's artifacts from those of another.
pub(super) fn artifact_prefix(plan: &Plan) -> String {
    let digest = Sha256::digest(format!("{}\n{}", plan.plan, plan.version));
    digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

pub(super) fn artifact(prefix: &str, operation: usize, what: &str) -> String {
    format!("_pontoon_{prefix}_{}_{what}", operation + 1)
}

/// The columns an expression may read.
#[derive(Debug)]
pub enum Over<'a> {
    /// The table's present columns.
    OldShape,
    /// These only.
    Columns(&'a [&'a str]),
    /// The row without these columns.
    NewShape {
        /// The columns that new versions no longer write.
        replaced: &'a [&'a str],
    },
}

/// Whether an expression may be volatile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Volatile {
    /// It may not.
    Refused,
    /// The plan says `allow_volatile: true`.
    Allowed,
}

impl From<bool> for Volatile {
    fn from(allowed: bool) -> Self {
        if allowed {
            Volatile::Allowed
        } else {
            Volatile::Refused
        }
    }
}

/// The expression that is just a column.
pub fn column_expr(name: &str) -> Expr {
    Expr {
        template: format!("{}.{}", crate::expr::ROW, quote_ident(name)),
        columns: vec![name.to_owned()],
        volatility: Volatility::Immutable,
    }
}

/// The column as a mapping holds it. A volatile default cannot be recognised
/// in a row, so it is left out.
pub fn mapped(column: &Column) -> MappedColumn {
    MappedColumn {
        name: column.def.name.clone(),
        type_name: column.def.type_name.clone(),
        default: column
            .def
            .default
            .clone()
            .filter(|default| default.volatility != Volatility::Volatile),
    }
}

/// Changes as one action outside the cutover.
pub fn ddl(changes: Vec<Change>) -> Action {
    Action::Ddl(Ddl {
        changes,
        cutover: false,
    })
}

/// The application has BEFORE ROW triggers, switched on or not, on the table
/// or on anything below it.
fn application_triggers(catalog: &Catalog, table: &TableName) -> bool {
    let mut open = vec![table];
    while let Some(next) = open.pop() {
        let Some(table) = catalog.tables.get(next) else {
            continue;
        };
        if table.triggers.iter().any(|trigger| {
            trigger.before
                && trigger.row
                && !trigger.ours
                && (trigger.on_insert || trigger.on_update)
        }) {
            return true;
        }
        open.extend(&table.children);
    }
    false
}

/// Inheritance children, transitively; partitions get the trigger from their
/// root by themselves.
fn inheritance_children(catalog: &Catalog, table: &TableName) -> Vec<TableName> {
    let mut found = Vec::new();
    let mut open = vec![table.clone()];
    while let Some(next) = open.pop() {
        let Some(table) = catalog.tables.get(&next) else {
            continue;
        };
        if table.kind == crate::catalog::TableKind::Partitioned {
            continue;
        }
        for child in &table.children {
            if !found.contains(child) {
                found.push(child.clone());
                open.push(child.clone());
            }
        }
    }
    found.sort();
    found
}

/// The closest name within a third of its length.
pub(crate) fn nearest<'n>(name: &str, names: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    names
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.chars().count().max(3) / 3)
        .min()
        .map(|(_, candidate)| candidate)
}
