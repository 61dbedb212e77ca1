//! What `split_table` and `extract_lookup` share: columns that move to a table of
//! their own.

use crate::catalog::{Column, Table, TableKind};
use crate::lower::{Asking, Lowering, cut};
use crate::name::TableName;
use crate::object::{Object, RelationKind};
use crate::ops::common::{ExactName, TableRef};
use crate::plan::{Check, Mentions, Role, TableUse};

/// What the plan says of the table, its columns and the new table.
pub(super) fn declare(to: &mut Mentions<'_>, table: &TableRef, columns: &[String], into: &str) {
    to.table(table, TableUse::Shaped);
    to.columns(table, columns, Role::Dropped, &["columns"]);
    let into = TableRef::Exact(ExactName {
        schema: Some(to.resolve(table).schema),
        name: into.to_owned(),
    });
    to.table_at(&into, TableUse::Created, &["into"]);
}

/// The new table cannot be the table itself.
pub(super) fn check(check: &mut Check<'_>, table: &TableRef, into: &str) {
    if into == table.last() {
        let span = check.written.span(&["into"]);
        check.report(
            &span,
            "`table` and `into` are the same",
            "expected another name",
            "",
        );
    }
}

/// What to do where operations of a plan are in each other's way.
pub(super) const TWO_PLANS: &str = "Use two plans, the second one after the first one's contract.";

/// As PostgreSQL would call the primary key of the new table.
pub(super) fn primary_key(into: &TableName) -> String {
    cut(&into.name, "_pkey")
}

/// As PostgreSQL would call a foreign key over these columns.
pub(super) fn foreign_key<'c>(
    table: &TableName,
    columns: impl IntoIterator<Item = &'c str>,
) -> String {
    named_after(table, columns, "_fkey")
}

/// As PostgreSQL calls a constraint over these columns.
pub(super) fn named_after<'c>(
    table: &TableName,
    columns: impl IntoIterator<Item = &'c str>,
    suffix: &str,
) -> String {
    let columns: Vec<&str> = columns.into_iter().collect();
    cut(&format!("{}_{}", table.name, columns.join("_")), suffix)
}

/// What may bear the new table's names already: a relation, a type, one of these
/// indexes.
fn taken(into: &TableName, indexes: &[String]) -> Vec<Object> {
    let relation = |name: TableName| Object::Relation {
        name,
        kind: RelationKind::Any,
    };
    let mut taken = vec![relation(into.clone()), Object::Type { name: into.clone() }];
    let indexes = indexes.iter();
    taken.extend(indexes.map(|name| relation(TableName::new(&into.schema, name))));
    taken
}

/// Asks whether the new table can have its names.
pub(super) fn ask(asking: &mut Asking<'_>, into: &TableName, indexes: &[String]) {
    for object in taken(into, indexes) {
        asking.object(object);
    }
}

/// Refuses a new table one of whose names is taken: true when it did.
pub(super) fn refuse_taken(
    lowering: &mut Lowering<'_>,
    into: &TableName,
    indexes: &[String],
) -> bool {
    for object in taken(into, indexes) {
        if lowering.object(&object).is_some() {
            lowering.invalid(
                format!("{object} exists already"),
                "Choose another name. A table's name is that of its row type, too, and the indexes of its keys are called after it.",
            );
            return true;
        }
    }
    false
}

/// What keeps a table from giving columns to another one at all.
pub(super) fn refuse_table(lowering: &mut Lowering<'_>, table: &Table, into: &str) {
    let name = &table.name;
    if table.kind == TableKind::Partitioned || !table.children.is_empty() {
        lowering.unsafe_(
            format!("{name} is partitioned or has inheritance children, and this version moves columns of ordinary tables only"),
            "Create the new table with `create_table`, write both from the application, and fill it with a `sql` operation.",
        );
    }
    if table.unlogged {
        lowering.unsafe_(
            format!("{name} is not a permanent table, and {into} is one: no foreign key can tie the two"),
            "Make it permanent (`ALTER TABLE … SET LOGGED` writes it anew under ACCESS EXCLUSIVE), or create the new table with `create_table` and fill it with a `sql` operation.",
        );
    }
    if table.row_security.enabled || table.row_security.forced {
        lowering.unsafe_(
            format!("{name} has row level security: the new table would need policies of its own, which nobody can guess"),
            "Disable it for the length of the run, if the application can do without, and give both tables their policies afterwards.",
        );
    }
}

/// The columns of the primary key, or refusals. `what_for` says what it is
/// needed for.
pub(super) fn key(
    lowering: &mut Lowering<'_>,
    table: &Table,
    what_for: &str,
) -> Option<Vec<Column>> {
    let name = &table.name;
    let Some((constraint, columns)) = table.primary_key() else {
        lowering.unsafe_(
            format!("{name} has no primary key, {what_for}"),
            "Add one in an earlier plan, with `add_primary_key`.",
        );
        return None;
    };
    if lowering.key_replaced_by_plan(name) || lowering.named_by_plan(name, &constraint.name) {
        lowering.invalid(
            format!("another operation of the plan concerns the primary key of {name}"),
            TWO_PLANS,
        );
    }
    if constraint.deferrable.is_some() {
        lowering.unsafe_(
            format!(
                "primary key {} of {name} is deferrable: several rows may have the same one for a while",
                constraint.name
            ),
            "Make it again without DEFERRABLE in an earlier plan.",
        );
    }
    let columns: Vec<Column> = columns
        .iter()
        .filter_map(|column| table.column(column))
        .cloned()
        .collect();
    for column in &columns {
        // Elsewhere the operator that finds a key in its index is not known.
        if column.def.type_name.contains('.') {
            lowering.unsafe_(
                format!("key column {name}.{} is of type {}, which is not one of PostgreSQL's own", column.def.name, column.def.type_name),
                "Change its type in an earlier plan, with `change_type` (citext, for one, to text).",
            );
        }
        if column.def.generated.is_some() {
            lowering.unsafe_(
                format!(
                    "key column {name}.{} is a generated column",
                    column.def.name
                ),
                "Use another primary key.",
            );
        }
    }
    Some(columns)
}

/// The columns that move, or refusals; `refuse` has more of them.
pub(super) fn columns(
    lowering: &mut Lowering<'_>,
    table: &Table,
    names: &[String],
    mut refuse: impl FnMut(&mut Lowering<'_>, &Column),
) -> Option<Vec<Column>> {
    let mut moved = Vec::new();
    for name in names {
        let column = lowering.column(table, name)?;
        if table.is_in_key(name) {
            lowering.invalid(
                format!("{}.{name} is in the primary key, which stays", table.name),
                "Leave it out of `columns`.",
            );
            continue;
        }
        lowering.refuse_unwritable(table, &column);
        lowering.refuse_row_readers(table, name);
        refuse(lowering, &column);
        moved.push(column);
    }
    Some(moved)
}

/// The column without what belongs to its table.
pub(super) fn bare(column: &Column) -> Column {
    Column {
        grants: Vec::new(),
        dependents: Vec::new(),
        ..column.clone()
    }
}
