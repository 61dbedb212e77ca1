//! What the operations of one plan may not say together.
//!
//! A column takes part in at most one operation that changes its shape: no
//! row says which application version wrote it, so a chain (a→b, b→c), a swap
//! of names or the reuse of a dropped name could not be told apart. Two plans,
//! one after the other's contract, do the same safely.

mod mentions;

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, SourceText, Span};
use super::operations::Written;
use super::sql_text;
use crate::name::TableName;
use crate::ops::Operation;
use crate::ops::common::SqlExpr;
use mentions::{Mention, Role};

/// A relation's name or a constraint's (of its table), or both, and the key that
/// the name stands under.
type Named<'a> = (
    Option<TableName>,
    Option<(TableName, &'a String)>,
    &'static str,
);

const TWO_PLANS: &str = "use two plans, the second one after the first one's contract";

/// Why two roles of one column do not go together, as a way out.
fn clash(one: Role, other: Role) -> Option<&'static str> {
    if one.reshapes() && other.reshapes() {
        return Some(TWO_PLANS);
    }
    let (shape, rest) = match (one.reshapes(), other.reshapes()) {
        (true, false) => (one, other),
        (false, true) => (other, one),
        _ => {
            let again = one == other && !matches!(one, Role::Filled | Role::Key);
            let contrary = matches!(
                (one, other),
                (Role::NotNull, Role::Nullable)
                    | (Role::Nullable, Role::NotNull)
                    | (Role::Default, Role::NoDefault)
                    | (Role::NoDefault, Role::Default)
            );
            return (again || contrary).then_some("keep one of the two");
        }
    };
    match (shape, rest) {
        (Role::Added, Role::Key)
        | (Role::RetypedAs, Role::Key)
        | (Role::RenamedFrom, Role::Key) => None,
        (Role::Added, _) => Some("say it in `add_column`: `nullable`, `default`, `up`"),
        (Role::RenamedTo, Role::Key) => {
            Some("name the column by `from`: what hangs on it follows the rename")
        }
        (Role::Retyped { visible: true }, Role::Key) => {
            Some("name the column by `as`: the old one is dropped at contract")
        }
        _ => Some(TWO_PLANS),
    }
}

/// Checks the operations of a plan against each other. `schema` is the plan's.
pub(crate) fn check(
    operations: &[(usize, Written<'_>)],
    schema: &str,
    source: &SourceText,
    out: &mut Vec<Diagnostic>,
) {
    let mut check = Check {
        operations,
        schema,
        source,
        out,
    };
    check.columns();
    check.tables();
    check.names();
}

struct Check<'a> {
    /// Each with its 0-based place in the plan.
    operations: &'a [(usize, Written<'a>)],
    schema: &'a str,
    source: &'a SourceText,
    out: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    /// `operation 2 (change_type)`.
    fn title(&self, index: usize) -> String {
        let name = self
            .operations
            .iter()
            .find(|(place, _)| *place == index)
            .map_or("", |(_, written)| written.operation.name());
        format!("operation {} ({name})", index + 1)
    }

    fn pair(&mut self, span: &Span, message: String, first: &Span, help: &str) {
        let finding = self
            .source
            .finding(span, message)
            .help(help)
            .note(format!("the other place is {}", self.source.place(first)));
        self.out.push(finding);
    }

    fn columns(&mut self) {
        let mut mentions: BTreeMap<(TableName, String), Vec<Mention>> = BTreeMap::new();
        for (index, written) in self.operations {
            for (table, column, mention) in mentions::columns(*index, written, self.schema) {
                mentions.entry((table, column)).or_default().push(mention);
            }
        }
        for ((table, column), list) in &mentions {
            for (place, later) in list.iter().enumerate() {
                let earlier = list[..place].iter().find_map(|earlier| {
                    let apart = earlier.operation != later.operation;
                    let help = clash(earlier.role, later.role).filter(|_| apart)?;
                    Some((earlier, help))
                });
                if let Some((earlier, help)) = earlier {
                    let message = format!(
                        "{} and {} both concern column `{column}` of {table}",
                        self.title(earlier.operation),
                        self.title(later.operation),
                    );
                    let span = earlier.span.clone();
                    self.pair(&later.span, message, &span, help);
                }
            }
        }
        self.reads(&mentions);
    }

    /// `up` reads the old shape: columns that the plan adds have no values yet.
    fn reads(&mut self, mentions: &BTreeMap<(TableName, String), Vec<Mention>>) {
        for (index, written) in self.operations {
            let (table, up) = match written.operation {
                Operation::AddColumn(it) => (&it.table, it.up.as_ref()),
                Operation::ChangeType(it) => (&it.table, it.up.as_ref()),
                _ => continue,
            };
            let Some(text) = up.map(SqlExpr::postgresql) else {
                continue;
            };
            let table = table.resolve(self.schema);
            for (column, at) in sql_text::column_names(text) {
                let added = mentions
                    .get(&(table.clone(), column.clone()))
                    .and_then(|list| list.iter().find(|mention| mention.role.appears()));
                let Some(added) = added else { continue };
                let span = self.place_in(written, text, at.start, column.len());
                let first = added.span.clone();
                let message = match added.operation == *index {
                    true => format!("`up` reads `{column}`, the column it is to fill"),
                    false => format!(
                        "`up` reads `{column}`, which {} only adds",
                        self.title(added.operation)
                    ),
                };
                self.pair(
                    &span,
                    message,
                    &first,
                    "`up` reads the old columns: write the expression out",
                );
            }
        }
    }

    /// The place of a word in `up`.
    fn place_in(&self, written: &Written<'_>, text: &str, at: usize, length: usize) -> Span {
        let node = written
            .body
            .get("up")
            .map(|up| up.get("postgresql").unwrap_or(up));
        match node.filter(|node| node.text() == Some(text)) {
            Some(node) => {
                let start = node.place_of(self.source, at);
                start..start + length
            }
            None => written.span(&["up"]),
        }
    }

    /// Tables that the plan creates or drops, against all that names them.
    fn tables(&mut self) {
        let mut created: BTreeMap<TableName, (usize, Span)> = BTreeMap::new();
        let mut dropped: BTreeMap<TableName, (usize, Span)> = BTreeMap::new();
        for (index, written) in self.operations {
            let span = written.span(&["table"]);
            let (map, table) = match written.operation {
                Operation::CreateTable(it) => (&mut created, it.table.resolve(self.schema)),
                Operation::DropTable(it) => (&mut dropped, it.table.resolve(self.schema)),
                _ => continue,
            };
            let word = match written.operation {
                Operation::CreateTable(_) => "created",
                _ => "dropped",
            };
            if let Some((_, first)) = map.get(&table).cloned() {
                self.pair(
                    &span,
                    format!("table {table} is {word} twice"),
                    &first,
                    "keep one of the two",
                );
            } else {
                map.insert(table, (*index, span));
            }
        }
        for (index, written) in self.operations {
            for (table, span) in mentions::tables(written, self.schema) {
                self.against_created(*index, written, &table, &span, &created);
                let again = matches!(written.operation, Operation::DropTable(_));
                let drop = dropped.get(&table).filter(|(other, _)| other != index);
                if let Some((other, first)) = drop.filter(|_| !again).cloned() {
                    let message = format!(
                        "{} drops table {table}, which {} names",
                        self.title(other),
                        self.title(*index)
                    );
                    self.pair(&span, message, &first, TWO_PLANS);
                }
            }
        }
    }

    fn against_created(
        &mut self,
        index: usize,
        written: &Written<'_>,
        table: &TableName,
        span: &Span,
        created: &BTreeMap<TableName, (usize, Span)>,
    ) {
        let again = matches!(written.operation, Operation::CreateTable(_));
        let creation = created.get(table).filter(|(other, _)| *other != index);
        let Some((other, first)) = creation.filter(|_| !again).cloned() else {
            return;
        };
        if other > index {
            let message = format!(
                "{} names table {table}, which {} creates later",
                self.title(index),
                self.title(other)
            );
            self.pair(span, message, &first, "move `create_table` up");
            return;
        }
        let own_shape = match written.operation {
            Operation::AddColumn(_)
            | Operation::DropColumn(_)
            | Operation::RenameColumn(_)
            | Operation::ChangeType(_)
            | Operation::SetNotNull(_)
            | Operation::DropNotNull(_)
            | Operation::SetDefault(_)
            | Operation::DropDefault(_)
            | Operation::SetComment(_) => true,
            Operation::CreateTable(_)
            | Operation::DropTable(_)
            | Operation::AddIndex(_)
            | Operation::DropIndex(_)
            | Operation::AddCheck(_)
            | Operation::AddUnique(_)
            | Operation::AddForeignKey(_)
            | Operation::DropConstraint(_)
            | Operation::AddPrimaryKey(_)
            | Operation::ReplaceIndex(_)
            | Operation::RenameConstraint(_)
            | Operation::ValidateConstraint(_)
            | Operation::RenameIndex(_)
            | Operation::SetStatistics(_)
            | Operation::Analyze(_)
            | Operation::SetTableOptions(_)
            | Operation::SetReplicaIdentity(_)
            | Operation::CreateSchema(_)
            | Operation::CreateExtension(_)
            | Operation::CreateEnum(_)
            | Operation::AddEnumValue(_)
            | Operation::RenameEnumValue(_)
            | Operation::CreateView(_)
            | Operation::ReplaceView(_)
            | Operation::DropView(_)
            | Operation::Grant(_)
            | Operation::Reindex(_)
            | Operation::WaitFor(_)
            | Operation::Revoke(_)
            | Operation::Backfill(_)
            | Operation::Sql(_) => false,
        };
        if own_shape {
            let message = format!(
                "{} changes table {table}, which {} creates",
                self.title(index),
                self.title(other)
            );
            self.pair(span, message, &first, "say it in `create_table`");
        }
    }

    /// Indexes, tables and the constraints of one table: one name, one use.
    fn names(&mut self) {
        let mut relations: BTreeMap<TableName, Span> = BTreeMap::new();
        let mut constraints: BTreeMap<(TableName, String), Span> = BTreeMap::new();
        for (_, written) in self.operations {
            let schema = self.schema;
            let named: Vec<Named<'_>> = match written.operation {
                Operation::AddIndex(it) => {
                    let table = it.table.resolve(schema);
                    vec![(Some(TableName::new(table.schema, &it.name)), None, "name")]
                }
                Operation::ReplaceIndex(it) => {
                    let table = it.table.resolve(schema);
                    vec![(Some(TableName::new(table.schema, &it.name)), None, "name")]
                }
                Operation::AddPrimaryKey(it) => {
                    let table = it.table.resolve(schema);
                    let index = TableName::new(table.schema.clone(), &it.name);
                    vec![(Some(index), Some((table, &it.name)), "name")]
                }
                Operation::DropIndex(it) => vec![(Some(it.name.resolve(schema)), None, "name")],
                Operation::RenameIndex(it) => {
                    let from = it.name.resolve(schema);
                    let to = TableName::new(&from.schema, &it.to);
                    vec![(Some(from), None, "name"), (Some(to), None, "to")]
                }
                Operation::CreateView(it) => vec![(Some(it.name.resolve(schema)), None, "name")],
                Operation::ReplaceView(it) => vec![(Some(it.name.resolve(schema)), None, "name")],
                Operation::DropView(it) => vec![(Some(it.name.resolve(schema)), None, "name")],
                Operation::CreateEnum(it) => vec![(Some(it.name.resolve(schema)), None, "name")],
                Operation::AddUnique(it) => {
                    let table = it.table.resolve(schema);
                    let index = TableName::new(table.schema.clone(), &it.name);
                    vec![(Some(index), Some((table, &it.name)), "name")]
                }
                Operation::AddCheck(it) => {
                    vec![(None, Some((it.table.resolve(schema), &it.name)), "name")]
                }
                Operation::AddForeignKey(it) => {
                    vec![(None, Some((it.table.resolve(schema), &it.name)), "name")]
                }
                Operation::DropConstraint(it) => {
                    vec![(None, Some((it.table.resolve(schema), &it.name)), "name")]
                }
                Operation::ValidateConstraint(it) => {
                    vec![(None, Some((it.table.resolve(schema), &it.name)), "name")]
                }
                Operation::RenameConstraint(it) => {
                    let table = it.table.resolve(schema);
                    vec![
                        (None, Some((table.clone(), &it.from)), "from"),
                        (None, Some((table, &it.to)), "to"),
                    ]
                }
                _ => Vec::new(),
            };
            for (relation, constraint, key) in named {
                let span = written.span(&[key]);
                self.name(
                    &span,
                    relation,
                    constraint,
                    &mut relations,
                    &mut constraints,
                );
            }
        }
    }

    /// One use of a name, against those before it.
    fn name(
        &mut self,
        span: &Span,
        relation: Option<TableName>,
        constraint: Option<(TableName, &String)>,
        relations: &mut BTreeMap<TableName, Span>,
        constraints: &mut BTreeMap<(TableName, String), Span>,
    ) {
        let constraint_first = constraint.and_then(|(table, name)| {
            let key = (table, name.clone());
            let first = constraints.get(&key).cloned();
            constraints
                .entry(key.clone())
                .or_insert_with(|| span.clone());
            first.map(|first| {
                (
                    format!("constraint `{}` of {} is named twice", key.1, key.0),
                    first,
                )
            })
        });
        let relation_first = relation.and_then(|relation| {
            let first = relations.get(&relation).cloned();
            relations
                .entry(relation.clone())
                .or_insert_with(|| span.clone());
            first.map(|first| (format!("relation {relation} is named twice"), first))
        });
        if let Some((message, first)) = constraint_first.or(relation_first) {
            self.pair(span, message, &first, "give each a name of its own; to replace one, add the new one first and drop the old one in a later plan");
        }
    }
}
