//! What the operations of one plan may not say together.
//!
//! A column takes part in at most one operation that changes its shape: no
//! row says which application version wrote it, so a chain (a→b, b→c), a swap
//! of names or the reuse of a dropped name could not be told apart. Two plans,
//! one after the other's contract, do the same safely.

mod mentions;

use std::collections::BTreeMap;

use super::diagnostic::{Diagnostic, SourceText, Span};
use super::node::Node;
use super::operations::Written;
use super::sql_text;
use crate::name::TableName;
use crate::ops::Operation;
use mentions::{Mention, Named, Reads};
pub(crate) use mentions::{Mentions, Role, TableUse};

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
        (Role::Replaced, Role::Key) => {
            Some("name the column that takes its place: this one is dropped at contract")
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
    let named = operations
        .iter()
        .map(|(index, written)| Mentions::of(*index, written, schema))
        .collect();
    let mut check = Check {
        operations,
        named,
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
    /// What each of them names, in the same order.
    named: Vec<Mentions<'a>>,
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
        for named in &mut self.named {
            for (table, column, mention) in std::mem::take(&mut named.columns) {
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
        let operations = self.operations;
        for (place, (index, written)) in operations.iter().enumerate() {
            for read in std::mem::take(&mut self.named[place].reads) {
                for (column, at) in sql_text::column_names(&read.text) {
                    let added = mentions
                        .get(&(read.table.clone(), column.clone()))
                        .and_then(|list| list.iter().find(|mention| mention.role.appears()));
                    let Some(added) = added else { continue };
                    let span = self.place_in(written, &read, at.start, column.len());
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
    }

    /// The place of a word in the expression that stands there.
    fn place_in<'w>(
        &self,
        written: &'w Written<'w>,
        read: &Reads,
        at: usize,
        length: usize,
    ) -> Span {
        let step = |node: &'w Node, place: usize, key: &String| match read.entry {
            Some(entry) if place == 0 => node.get(key)?.items().get(entry),
            _ => node.get(key),
        };
        let node = read
            .path
            .iter()
            .enumerate()
            .try_fold(written.body, |node, (place, key)| step(node, place, key));
        let span = node.map_or_else(|| written.key.clone(), |node| node.span.clone());
        let node = node.map(|up| up.get("postgresql").unwrap_or(up));
        match node.filter(|node| node.text() == Some(read.text.as_str())) {
            Some(node) => {
                let start = node.place_of(self.source, at);
                start..start + length
            }
            None => span,
        }
    }

    /// Tables that the plan creates, drops or renames, against all that names
    /// them.
    fn tables(&mut self) {
        let mut uses = Vec::new();
        for (place, (index, _)) in self.operations.iter().enumerate() {
            for (table, span, used) in std::mem::take(&mut self.named[place].tables) {
                uses.push((*index, table, span, used));
            }
        }
        let created = self.once(&uses, TableUse::Created, "created");
        let dropped = self.once(&uses, TableUse::Dropped, "dropped");
        let renamed = self.once(&uses, TableUse::Renamed, "renamed");
        for (index, table, span, used) in uses {
            if used != TableUse::Created {
                self.against_created(index, used, &table, &span, &created);
            }
            let drop = dropped.get(&table).filter(|(other, _)| *other != index);
            if let Some((other, first)) = drop.filter(|_| used != TableUse::Dropped).cloned() {
                let message = format!(
                    "{} drops table {table}, which {} names",
                    self.title(other),
                    self.title(index)
                );
                self.pair(&span, message, &first, TWO_PLANS);
            }
            let rename = renamed.get(&table).filter(|(other, _)| *other != index);
            let told = matches!(
                used,
                TableUse::Dropped | TableUse::Renamed | TableUse::Created
            );
            if let Some((other, first)) = rename.filter(|_| !told).cloned() {
                let message = format!(
                    "{} renames table {table}, which {} names",
                    self.title(other),
                    self.title(index)
                );
                self.pair(&span, message, &first, TWO_PLANS);
            }
        }
    }

    /// The tables that are used so, each with the operation and the place; a
    /// second use is reported.
    fn once(
        &mut self,
        uses: &[(usize, TableName, Span, TableUse)],
        asked: TableUse,
        word: &str,
    ) -> BTreeMap<TableName, (usize, Span)> {
        let mut found: BTreeMap<TableName, (usize, Span)> = BTreeMap::new();
        for (index, table, span, _) in uses.iter().filter(|(.., used)| *used == asked) {
            match found.get(table).cloned() {
                Some((_, first)) => self.pair(
                    span,
                    format!("table {table} is {word} twice"),
                    &first,
                    "keep one of the two",
                ),
                None => {
                    found.insert(table.clone(), (*index, span.clone()));
                }
            }
        }
        found
    }

    fn against_created(
        &mut self,
        index: usize,
        used: TableUse,
        table: &TableName,
        span: &Span,
        created: &BTreeMap<TableName, (usize, Span)>,
    ) {
        let creation = created.get(table).filter(|(other, _)| *other != index);
        let Some((other, first)) = creation.cloned() else {
            return;
        };
        // What other operations create is no table before contract.
        let at_once = self.operations.iter().any(|(place, written)| {
            *place == other && matches!(written.operation, Operation::CreateTable(_))
        });
        if !at_once {
            let message = format!(
                "{} names table {table}, which {} creates",
                self.title(index),
                self.title(other)
            );
            self.pair(span, message, &first, TWO_PLANS);
            return;
        }
        if other > index {
            let message = format!(
                "{} names table {table}, which {} creates later",
                self.title(index),
                self.title(other)
            );
            self.pair(span, message, &first, "move `create_table` up");
            return;
        }
        if matches!(used, TableUse::Shaped | TableUse::Renamed) {
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
        let named: Vec<Named> = self
            .named
            .iter_mut()
            .flat_map(|named| std::mem::take(&mut named.names))
            .collect();
        for name in named {
            self.name(name, &mut relations, &mut constraints);
        }
    }

    /// One use of a name, against those before it.
    fn name(
        &mut self,
        named: Named,
        relations: &mut BTreeMap<TableName, Span>,
        constraints: &mut BTreeMap<(TableName, String), Span>,
    ) {
        let Named {
            relation,
            constraint,
            span,
        } = named;
        let constraint_first = constraint.and_then(|key| {
            let message = format!("constraint `{}` of {} is named twice", key.1, key.0);
            let first = constraints.get(&key).cloned();
            constraints.entry(key).or_insert_with(|| span.clone());
            first.map(|first| (message, first))
        });
        let relation_first = relation.and_then(|relation| {
            let message = format!("relation {relation} is named twice");
            let first = relations.get(&relation).cloned();
            relations.entry(relation).or_insert_with(|| span.clone());
            first.map(|first| (message, first))
        });
        if let Some((message, first)) = constraint_first.or(relation_first) {
            self.pair(&span, message, &first, "give each a name of its own; to replace one, add the new one first and drop the old one in a later plan");
        }
    }
}
