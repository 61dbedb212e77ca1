//! Rules over a whole lowering, and the small checks that operations share.

use crate::catalog::{
    Column, Constraint, ConstraintKind, Deferrable, Grant, Index, IndexKey, Table, TableKind,
    Trigger,
};
use crate::name::TableName;
use crate::object::{ObjectChange, TableSetting};
use crate::ops::common::TableRef;
use crate::sql::postgres::locks::{action_locks, locks};
use crate::sql::quote::quote_ident;
use crate::step::{Action, Change, Concurrent, CursorKind, MappedColumn, Phase, Rule, Undo};

use super::Lowering;
use super::context::{ddl, mapped, nearest};

/// The names of the first and the last row trigger of a dual write begin with
/// these; anything that sorts outside them would see or leave a row out of step.
pub const FIRST_TRIGGER: &str = "!pontoon_";
/// See [`FIRST_TRIGGER`].
pub const LAST_TRIGGER: &str = "~~pontoon_";

/// Checks that need to see everything.
pub(super) fn check(lowering: &mut Lowering<'_>) {
    let mut synced: Vec<(usize, TableName, Vec<String>)> = Vec::new();
    for (table, mapping) in &lowering.mappings {
        let written = match mapping.rule {
            Rule::Pair { .. }
            | Rule::Fill { .. }
            | Rule::Derived { .. }
            | Rule::Copied { .. }
            | Rule::Referred { .. } => mapping
                .new
                .iter()
                .map(|column| column.name.clone())
                .collect(),
            Rule::Omitted { .. } => Vec::new(),
        };
        synced.push((mapping.operation, table.clone(), written));
    }
    for (operation, name, written) in synced {
        lowering.begin(operation);
        let Some(table) = lowering.catalog.tables.get(&name).cloned() else {
            continue;
        };
        outside_triggers(lowering, &table);
        if table.row_security.applies_to_us {
            lowering.unsafe_(
                format!("row security is forced on {name} for our role, so rows would be skipped silently"),
                "Connect as a role with BYPASSRLS, or ALTER TABLE … NO FORCE ROW LEVEL SECURITY for the length of the run.",
            );
        }
        if !written.is_empty() {
            lowering.updates_rows(&table, written.iter().map(String::as_str));
        }
    }
    renamed_tables(lowering);
    row_limit(lowering);
    shared_columns(lowering);
}

/// Refuses what two operations would do to one column, where the plan names it
/// once only.
fn shared_columns(lowering: &mut Lowering<'_>) {
    for (operation, table, column) in lowering.alone.clone() {
        let mapped = lowering.mappings.iter().filter(|(on, mapping)| {
            let mut columns = mapping.old.iter().chain(&mapping.new);
            *on == table && columns.any(|mapped| mapped.name == column)
        });
        // Several may refer to a column that each of them wants to stay as it is.
        let keeps = |other: usize| {
            let mut alone = lowering.alone.iter();
            alone.any(|(operation, on, name)| (*operation, on, name) == (other, &table, &column))
        };
        let drafts = lowering.drafts.iter().filter(|draft| match &draft.action {
            Action::Ddl(ddl) => ddl.changes.iter().any(|change| {
                is_of(change, &table, &column)
                    && !(refers_to(change, &table) && keeps(draft.operation))
            }),
            Action::Concurrent(statement) => match statement.itself() {
                Concurrent::CreateIndex { table: on, index } => {
                    *on == table && reads(index, &column)
                }
                _ => false,
            },
            _ => false,
        });
        let cutover = lowering.cutover.iter();
        let others = mapped
            .map(|(_, mapping)| mapping.operation)
            .chain(drafts.map(|draft| draft.operation))
            .chain(
                cutover
                    .filter(|(_, change)| is_of(change, &table, &column))
                    .map(|(operation, _)| *operation),
            );
        let Some(other) = others.into_iter().find(|other| *other != operation) else {
            continue;
        };
        lowering.begin(operation);
        lowering.invalid(
            format!("{table}.{column} is replaced by this operation, and operation {} of the plan changes it, too", other + 1),
            "Use two plans, the second one after the first one's contract.",
        );
    }
}

/// The index has this column, or an expression that may read it.
fn reads(index: &Index, name: &str) -> bool {
    let texts = index.keys.iter().filter_map(|key| key.expression.as_ref());
    let mut texts = texts.chain(&index.predicate);
    let mut columns = index.keys.iter().filter_map(|key| key.column.as_ref());
    columns.any(|column| column == name)
        || index.include.iter().any(|column| column == name)
        || texts.any(|text| text.contains(name))
}

/// The change adds a foreign key of another table to this one.
fn refers_to(change: &Change, of: &TableName) -> bool {
    matches!(
        change.itself(),
        Change::AddConstraint { table, constraint, .. }
            if table != of && matches!(&constraint.kind, ConstraintKind::ForeignKey { .. })
    )
}

/// The change gives this column another shape, or hangs something on it.
fn is_of(change: &Change, of: &TableName, name: &str) -> bool {
    match change {
        Change::DropColumn { table, column }
        | Change::SetDefault { table, column, .. }
        | Change::SetNotNull { table, column }
        | Change::DropNotNull { table, column }
        | Change::CommentOnColumn { table, column, .. }
        | Change::GrantColumn { table, column, .. } => table == of && column == name,
        Change::RenameColumn { table, from, to } => table == of && (from == name || to == name),
        Change::DropTable { table, .. } => table == of,
        Change::SetTable { table, setting } => {
            table == of
                && match setting {
                    TableSetting::Column { column, .. }
                    | TableSetting::Statistics { column, .. }
                    | TableSetting::Identity { column, .. }
                    | TableSetting::Storage { column, .. }
                    | TableSetting::Compression { column, .. } => column == name,
                    // The name under which the steps know it.
                    TableSetting::Rename { .. } => true,
                    TableSetting::Options { .. }
                    | TableSetting::ClusterOn { .. }
                    | TableSetting::ReplicaIdentity { .. }
                    | TableSetting::RenameConstraint { .. } => false,
                }
        }
        Change::AddConstraint {
            table, constraint, ..
        } => match &constraint.kind {
            ConstraintKind::ForeignKey {
                columns,
                references,
                referenced_columns,
                ..
            } => {
                table == of && columns.iter().any(|column| column == name)
                    || references == of && referenced_columns.iter().any(|column| column == name)
            }
            ConstraintKind::Check { columns, .. }
            | ConstraintKind::Unique { columns }
            | ConstraintKind::PrimaryKey { columns } => {
                table == of && columns.iter().any(|column| column == name)
            }
            _ => false,
        },
        Change::Object {
            what: ObjectChange::IndexOverPartitions { table, index },
        } => table == of && reads(index, name),
        Change::OnPartition { what, .. } => is_of(what, of, name),
        Change::CreateTable { .. }
        | Change::AddColumn { .. }
        | Change::DropConstraint { .. }
        | Change::Object { .. }
        | Change::DropSync { .. } => false,
    }
}

/// A table that gets another name bears it from then on: what another operation
/// does to it under the old one, also by an index's name or along a foreign
/// key, would come too late.
fn renamed_tables(lowering: &mut Lowering<'_>) {
    let renamed: Vec<(usize, TableName)> = lowering
        .cutover
        .iter()
        .filter_map(|(operation, change)| match change {
            Change::SetTable {
                table,
                setting: TableSetting::Rename { .. },
            } => Some((*operation, table.clone())),
            _ => None,
        })
        .collect();
    let mut others: Vec<(usize, TableName)> = Vec::new();
    for draft in &lowering.drafts {
        let locks = action_locks(&draft.action).into_iter();
        others.extend(locks.map(|(table, _)| (draft.operation, table)));
    }
    for (operation, change) in &lowering.cutover {
        let locks = locks(change).into_iter();
        others.extend(locks.map(|(table, _)| (*operation, table)));
    }
    let mappings = lowering.mappings.iter();
    others.extend(mappings.map(|(table, mapping)| (mapping.operation, table.clone())));
    others.sort();
    others.dedup();
    for (operation, table) in others {
        let rename = renamed
            .iter()
            .find(|(other, name)| *name == table && *other != operation);
        if let Some((other, _)) = rename {
            let other = other + 1;
            lowering.begin(operation);
            lowering.invalid(
                format!("it touches {table}, which operation {other} (rename_table) renames"),
                "Use two plans, the second one after the first one's contract.",
            );
        }
    }
}

/// Row triggers that would run before our first or after our last one.
fn outside_triggers(lowering: &mut Lowering<'_>, table: &Table) {
    let outside = |trigger: &&Trigger| {
        trigger.before
            && trigger.row
            && !trigger.ours
            && (trigger.on_insert || trigger.on_update)
            && trigger.enabled != 'D'
            && (trigger.name.as_bytes() < FIRST_TRIGGER.as_bytes()
                || trigger.name.as_bytes() > LAST_TRIGGER.as_bytes())
    };
    let names: Vec<String> = table
        .triggers
        .iter()
        .filter(outside)
        .map(|trigger| trigger.name.clone())
        .collect();
    for trigger in names {
        lowering.unsafe_(
            format!("BEFORE trigger `{trigger}` on {} would fire outside the dual-write triggers, which must be first and last", table.name),
            "Triggers fire in the byte order of their names: rename it so that it sorts between `!pontoon_` and `~~pontoon_`.",
        );
    }
}

/// Refuses when the estimate already passes `max_rows_affected`.
fn row_limit(lowering: &mut Lowering<'_>) {
    let Some(limit) = lowering.plan.limits.max_rows_affected else {
        return;
    };
    let mut tables: Vec<TableName> = lowering
        .mappings
        .iter()
        .filter(|(_, mapping)| !matches!(mapping.rule, Rule::Omitted { .. }))
        .map(|(table, _)| table.clone())
        .collect();
    tables.sort();
    tables.dedup();
    let estimate: u64 = tables
        .iter()
        .filter_map(|name| lowering.catalog.tables.get(name))
        .filter_map(|table| table.size.rows)
        .sum();
    if estimate > limit {
        let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
        lowering.unsafe_(
            format!("the plan would change about {estimate} rows of {}, and `max_rows_affected` is {limit}", names.join(", ")),
            "Raise `limits.max_rows_affected` if that is what you want.",
        );
    }
}

impl Lowering<'_> {
    /// The catalog before the plan.
    pub fn catalog(&self) -> &crate::catalog::Catalog {
        self.catalog
    }

    /// The plan's author accepts this effect: `publication:NAME`.
    pub fn acknowledges(&self, word: &str) -> bool {
        self.plan.acknowledge.iter().any(|known| known == word)
    }

    /// What the plan asks for.
    pub fn cursor(&self) -> Option<CursorKind> {
        self.plan.backfill.cursor
    }

    /// The table, when its columns and constraints may be changed here: not a
    /// partition, whose root decides, and not an inheritance child.
    pub fn alterable(&mut self, table: &TableRef) -> Option<Table> {
        let table = self.table(table)?;
        if let Some(parent) = table.parents.first() {
            let parent = parent.clone();
            self.unsafe_(
                format!(
                    "{} is a partition or child of {parent}, which decides its shape",
                    table.name
                ),
                format!("Name {parent} in the plan."),
            );
            return None;
        }
        Some(table)
    }

    /// Refuses generated and identity columns, which a trigger or batch cannot write.
    pub fn refuse_unwritable(&mut self, table: &Table, column: &Column) {
        if column.def.generated.is_some() {
            self.unsafe_(
                format!(
                    "{}.{} is a generated column, which nobody can write",
                    table.name, column.def.name
                ),
                "Change the columns it is computed from, or drop and add it.",
            );
        }
        if column.def.identity.is_some() {
            self.unsafe_(
                format!("{}.{} is an identity column, and this version does not carry the identity over", table.name, column.def.name),
                "Drop the identity in an earlier plan with a `sql` operation, and add it again afterwards.",
            );
        }
    }

    /// Refuses settings that would be lost with the old column.
    pub fn refuse_settings(&mut self, table: &Table, column: &Column) {
        for setting in &column.settings {
            self.unsafe_(
                format!(
                    "{}.{} has the setting `{setting}`, which this operation does not carry over",
                    table.name, column.def.name
                ),
                "Reset it before the plan, and set it again afterwards.",
            );
        }
    }

    /// Refuses columns of the partition key: a BEFORE trigger that changes one
    /// cannot move the row.
    pub fn refuse_key_columns(&mut self, table: &Table, columns: &[&str]) {
        let Some(partitioning) = &table.partitioning else {
            return;
        };
        for column in columns {
            if partitioning.columns.iter().any(|key| key == column) {
                self.unsafe_(
                    format!("`{column}` is in the partition key of {}, and a trigger cannot move a row to another partition", table.name),
                    "Build a new table, partitioned as it shall be, and move the rows.",
                );
            }
        }
    }

    /// Refuses what has to be built partition by partition.
    pub fn refuse_partitioned(&mut self, table: &Table, what: &str) {
        if table.kind == TableKind::Partitioned {
            self.unsafe_(
                format!("{} is partitioned, and this version does not build {what} partition by partition", table.name),
                "Build it on each partition and attach, with `sql` operations or by hand.",
            );
        }
    }

    /// A table in a publication without a column list sends the new column to
    /// its subscribers, which stop unless they have it.
    pub fn adds_column(&mut self, table: &Table) {
        let mut tables = vec![table.clone()];
        tables.extend(self.descendants(table));
        for table in tables {
            for publication in &table.publications {
                let word = format!("publication:{}", publication.name);
                if publication.columns.is_none() && !self.acknowledges(&word) {
                    self.unsafe_(
                        format!("publication {} streams {} without a column list: its subscribers stop until they have the new column too", publication.name, table.name),
                        format!("Add the column to the subscribers first, then write `acknowledge: [\"{word}\"]` in the plan."),
                    );
                }
            }
        }
    }

    /// Partitions and inheritance children, each after what it belongs to.
    pub fn descendants(&self, table: &Table) -> Vec<Table> {
        let mut found: Vec<Table> = Vec::new();
        let mut open = table.children.clone();
        while let Some(name) = open.pop() {
            if let Some(child) = self.catalog.tables.get(&name) {
                open.extend(child.children.iter().cloned());
                found.push(child.clone());
            }
        }
        found
    }

    /// User triggers that fire for every row a batch changes have to be
    /// acknowledged: an `updated_at` would be overwritten everywhere.
    pub fn updates_rows<'c>(&mut self, table: &Table, columns: impl Iterator<Item = &'c str>) {
        let columns: Vec<&str> = columns.collect();
        let mut tables = vec![table.clone()];
        tables.extend(self.descendants(table));
        let mut firing: Vec<(String, String)> = tables
            .iter()
            .flat_map(|table| table.triggers.iter())
            .filter(|trigger| {
                trigger.on_update
                    && !trigger.ours
                    && matches!(trigger.enabled, 'O' | 'A')
                    && (trigger.columns.is_empty()
                        || trigger
                            .columns
                            .iter()
                            .any(|column| columns.contains(&column.as_str())))
            })
            .map(|trigger| (trigger.name.clone(), trigger.function.clone()))
            .collect();
        firing.sort();
        firing.dedup();
        for (trigger, function) in firing {
            let word = format!("trigger:{trigger}");
            if !self.acknowledges(&word) {
                self.unsafe_(
                    format!("trigger `{trigger}` ({function}) on {} fires for every row that is backfilled", table.name),
                    format!("Make sure that it does no harm (an `updated_at` would change everywhere), then write `acknowledge: [\"{word}\"]` in the plan."),
                );
            }
        }
    }

    /// A column of the table, or one that the plan adds to it.
    pub fn column_or_added(&mut self, table: &Table, name: &str) -> Option<()> {
        let added = self.drafts.iter().any(|draft| {
            matches!(&draft.action, Action::Ddl(ddl) if ddl.changes.iter().any(|change| matches!(
                change,
                Change::AddColumn { table: on, column } if *on == table.name && column.name == name
            )))
        });
        if added {
            return Some(());
        }
        self.column(table, name).map(|_| ())
    }

    /// Some operation before this one fills columns of the table.
    pub fn is_filled(&self, table: &TableName) -> bool {
        self.mappings.iter().any(|(on, _)| on == table)
    }

    /// Refuses when a relation of that name stands in the table's schema.
    pub fn new_relation_name(&mut self, table: &Table, name: &str) {
        let taken = self.catalog.tables.values().any(|other| {
            other.name.schema == table.name.schema
                && (other.name.name == name || other.indexes.iter().any(|index| index.name == name))
        });
        if taken {
            self.invalid(
                format!(
                    "schema {} already has a relation `{name}`",
                    table.name.schema
                ),
                "Choose another name.",
            );
        }
    }

    /// The constraint of that name, or a refusal that lists those there are.
    pub fn constraint(&mut self, table: &Table, name: &str) -> Option<Constraint> {
        let found = table.constraints.iter().find(|c| c.name == name);
        if found.is_none() {
            let names: Vec<&str> = table.constraints.iter().map(|c| c.name.as_str()).collect();
            self.invalid(
                format!("table {} has no constraint `{name}`", table.name),
                match (nearest(name, names.iter().copied()), names.as_slice()) {
                    (Some(near), _) => format!("Did you mean `{near}`?"),
                    (None, []) => "It has none at all.".to_owned(),
                    (None, names) => format!("It has: {}.", names.join(", ")),
                },
            );
        }
        found.cloned()
    }

    /// Refuses, with the indexes that there are.
    pub fn no_such_index(&mut self, table: &Table, name: &str) {
        let names: Vec<&str> = table.indexes.iter().map(|i| i.name.as_str()).collect();
        self.invalid(
            format!("table {} has no index `{name}`", table.name),
            match (nearest(name, names.iter().copied()), names.as_slice()) {
                (Some(near), _) => format!("Did you mean `{near}`?"),
                (None, []) => "It has none at all.".to_owned(),
                (None, names) => format!("It has: {}.", names.join(", ")),
            },
        );
    }

    /// The index of that name and its table, or a refusal.
    pub fn index(&mut self, name: &TableRef) -> Option<(Table, Index)> {
        let name = self.name(name);
        let found = self.catalog.tables.values().find_map(|table| {
            table
                .indexes
                .iter()
                .find(|index| table.name.schema == name.schema && index.name == name.name)
                .map(|index| (table.clone(), index.clone()))
        });
        let Some((table, index)) = found else {
            self.invalid(
                format!("index {name} does not exist"),
                "Check the name; an index lives in its table's schema.",
            );
            return None;
        };
        if !table.owned_by_us {
            self.unsafe_(
                format!(
                    "table {} belongs to role {}, and we are not a member of it",
                    table.name, table.owner
                ),
                format!(
                    "Connect as its owner, or grant the role: GRANT {} TO the connected role.",
                    quote_ident(&table.owner)
                ),
            );
        }
        Some((table, index))
    }

    /// Refuses when the table has a constraint of that name.
    pub fn new_constraint_name(&mut self, table: &Table, name: &str) {
        if table
            .constraints
            .iter()
            .any(|constraint| constraint.name == name)
        {
            self.invalid(
                format!("table {} already has a constraint `{name}`", table.name),
                "Choose another name.",
            );
        }
    }

    /// A constraint over a unique index: the index is built concurrently at
    /// contract, and the cutover makes the constraint of it; on a partitioned
    /// table, partition by partition.
    pub fn constraint_over_index(
        &mut self,
        table: &Table,
        name: &str,
        columns: &[String],
        kind: ConstraintKind,
    ) {
        if table.kind == TableKind::Partitioned {
            self.key_below(table, name, columns, kind);
            return;
        }
        self.unique_index(table, name, columns);
        self.key_of_index(table, name, kind, None, name);
    }

    /// Builds a unique index at contract, for a constraint to be.
    pub fn unique_index(&mut self, table: &Table, name: &str, columns: &[String]) {
        let step = format!("build unique index {name} on {}", table.name);
        let index = plain_index(name, columns);
        self.build_index(Phase::Contract, step, &table.name, index);
    }

    /// The cutover makes a constraint of an index, which takes its name.
    pub fn key_of_index(
        &mut self,
        table: &Table,
        name: &str,
        kind: ConstraintKind,
        deferrable: Option<Deferrable>,
        index: &str,
    ) {
        self.cutover(Change::AddConstraint {
            table: table.name.clone(),
            constraint: Constraint {
                name: name.to_owned(),
                kind,
                validated: true,
                deferrable,
                definition: String::new(),
            },
            using_index: Some(index.to_owned()),
        });
    }

    /// A column of a primary key to be is NOT NULL when the key comes. PostgreSQL
    /// takes it as proven then that the column holds no NULL, where a primary key
    /// would look at every row under its lock.
    pub fn key_column(&mut self, table: &Table, column: &str) {
        let becomes = self.becomes_not_null(&table.name, column);
        match table.column(column) {
            Some(found) if found.def.nullable && !becomes => self.not_null(table, column, column),
            Some(_) => {}
            None if becomes => {}
            None => self.unsafe_(
                format!(
                    "column `{column}` of {} is added as nullable, and a primary key refuses NULL",
                    table.name
                ),
                "Write `nullable: false` in `add_column`, which comes before this operation.",
            ),
        }
    }

    /// The columns as a mapping holds them.
    pub fn mapped_columns(&self, table: &Table, names: &[String]) -> Vec<MappedColumn> {
        names
            .iter()
            .filter_map(|name| table.column(name))
            .map(mapped)
            .collect()
    }

    /// Gives the second column the column grants of the first.
    pub fn copy_grants(&mut self, table: &Table, from: &Column, to: &str) {
        self.grant_column(table, to, &from.grants);
    }

    /// Grants these on a column that the plan adds.
    pub fn grant_column(&mut self, table: &Table, column: &str, grants: &[Grant]) {
        if grants.is_empty() {
            return;
        }
        let changes = grants
            .iter()
            .map(|grant| Change::GrantColumn {
                table: table.name.clone(),
                column: column.to_owned(),
                grant: grant.clone(),
            })
            .collect();
        self.step(
            Phase::Expand,
            format!(
                "grant on {}.{column} what is granted on what it replaces",
                table.name
            ),
            ddl(changes),
            Undo::Nothing,
        );
    }
}

/// A plain unique btree index over columns.
pub fn plain_index(name: &str, columns: &[String]) -> Index {
    Index {
        name: name.to_owned(),
        method: "btree".to_owned(),
        unique: true,
        nulls_not_distinct: false,
        keys: columns
            .iter()
            .map(|column| IndexKey {
                column: Some(column.clone()),
                expression: None,
                opclass: None,
                collation: None,
                descending: false,
                nulls_first: false,
            })
            .collect(),
        include: Vec::new(),
        predicate: None,
        valid: true,
        constraint: None,
        definition: String::new(),
        settings: Default::default(),
    }
}
