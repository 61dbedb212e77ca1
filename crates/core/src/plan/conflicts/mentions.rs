//! What an operation names, and what it does with it: filled in by each
//! operation itself ([`Declare`](super::super::operations::Declare)).

use super::super::diagnostic::Span;
use super::super::operations::Written;
use super::super::sql_text;
use crate::name::TableName;
use crate::ops::common::{SqlExpr, TableRef};

/// What an operation does with a column that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// The plan adds it; more can be said of it where it is added.
    Added,
    /// It is gone after contract.
    Dropped,
    /// It has another name after contract.
    RenamedFrom,
    /// That other name.
    RenamedTo,
    /// A second column takes its place; with `visible` under a name of its own.
    Retyped {
        /// New versions name the second column themselves.
        visible: bool,
    },
    /// A second column.
    RetypedAs,
    /// Others take its place under names of their own.
    Replaced,
    /// It becomes NOT NULL.
    NotNull,
    /// It may become NULL.
    Nullable,
    /// It gets a default.
    Default,
    /// It loses its default.
    NoDefault,
    /// Its rows are given values.
    Filled,
    /// A key of an index or a constraint, a column that one reads, or one that
    /// is named without another shape.
    Key,
}

impl Role {
    /// The operation gives the column another shape.
    pub(super) fn reshapes(self) -> bool {
        match self {
            Role::Added
            | Role::Dropped
            | Role::RenamedFrom
            | Role::RenamedTo
            | Role::Retyped { .. }
            | Role::RetypedAs
            | Role::Replaced => true,
            Role::NotNull
            | Role::Nullable
            | Role::Default
            | Role::NoDefault
            | Role::Filled
            | Role::Key => false,
        }
    }

    /// The operation adds the column.
    pub(super) fn appears(self) -> bool {
        matches!(self, Role::Added | Role::RenamedTo | Role::RetypedAs)
    }
}

/// What an operation does with a table that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TableUse {
    /// Creates it.
    Created,
    /// Drops it.
    Dropped,
    /// Gives it another name.
    Renamed,
    /// Says of its columns what the creation of a table can say as well.
    Shaped,
    /// Anything else.
    Named,
}

/// One place where an operation names a column.
pub(super) struct Mention {
    /// 0-based place of the operation in the plan.
    pub(super) operation: usize,
    pub(super) role: Role,
    pub(super) span: Span,
}

/// One use of a name that relations of a schema, or constraints of a table,
/// bear once.
pub(super) struct Named {
    pub(super) relation: Option<TableName>,
    pub(super) constraint: Option<(TableName, String)>,
    pub(super) span: Span,
}

/// An expression over the old shape.
pub(super) struct Reads {
    pub(super) table: TableName,
    pub(super) text: String,
    /// Where it stands.
    pub(super) path: Vec<String>,
    /// The place of the entry in the list that the first key names.
    pub(super) entry: Option<usize>,
}

/// Collects what one operation names.
pub(crate) struct Mentions<'a> {
    operation: usize,
    written: &'a Written<'a>,
    schema: &'a str,
    pub(super) columns: Vec<(TableName, String, Mention)>,
    pub(super) tables: Vec<(TableName, Span, TableUse)>,
    pub(super) names: Vec<Named>,
    pub(super) reads: Vec<Reads>,
}

impl<'a> Mentions<'a> {
    /// What the operation at this 0-based place names; `schema` is the plan's.
    pub(super) fn of(operation: usize, written: &'a Written<'a>, schema: &'a str) -> Self {
        let mut mentions = Self {
            operation,
            written,
            schema,
            columns: Vec::new(),
            tables: Vec::new(),
            names: Vec::new(),
            reads: Vec::new(),
        };
        written.operation.as_declare().declare(&mut mentions);
        mentions
    }

    /// The full name of a table of the plan.
    pub(crate) fn resolve(&self, table: &TableRef) -> TableName {
        table.resolve(self.schema)
    }

    /// It concerns the table under the key `table`.
    pub(crate) fn table(&mut self, table: &TableRef, used: TableUse) {
        self.table_at(table, used, &["table"]);
    }

    /// It concerns the table that stands there.
    pub(crate) fn table_at(&mut self, table: &TableRef, used: TableUse, path: &[&str]) {
        let span = self.written.span(path);
        self.tables.push((self.resolve(table), span, used));
    }

    fn add(&mut self, table: &TableRef, column: &str, role: Role, span: Span) {
        let mention = Mention {
            operation: self.operation,
            role,
            span,
        };
        self.columns
            .push((self.resolve(table), column.to_owned(), mention));
    }

    /// It concerns the column that stands there.
    pub(crate) fn column(&mut self, table: &TableRef, column: &str, role: Role, path: &[&str]) {
        let span = self.written.span(path);
        self.add(table, column, role, span);
    }

    /// It concerns the column that stands at this place of a list.
    pub(crate) fn item(
        &mut self,
        table: &TableRef,
        column: &str,
        role: Role,
        (path, index): (&[&str], usize),
    ) {
        let span = self.written.item(path, index);
        self.add(table, column, role, span);
    }

    /// It concerns the columns that are listed there.
    pub(crate) fn columns(
        &mut self,
        table: &TableRef,
        columns: &[String],
        role: Role,
        path: &[&str],
    ) {
        for (index, name) in columns.iter().enumerate() {
            self.item(table, name, role, (path, index));
        }
    }

    /// It concerns the column that is a key of the mapping there.
    pub(crate) fn column_key(&mut self, table: &TableRef, column: &str, role: Role, path: &[&str]) {
        let map = path
            .iter()
            .try_fold(self.written.body, |node, key| node.get(key));
        let key = map.and_then(|map| map.entry(column));
        let span = key.map_or_else(|| self.written.key.clone(), |(key, _)| key.span.clone());
        self.add(table, column, role, span);
    }

    /// An index or a constraint reads every column of this expression.
    pub(crate) fn expression(&mut self, table: &TableRef, expression: &SqlExpr, path: &[&str]) {
        let span = self.written.span(path);
        self.expression_at(table, expression, &span);
    }

    /// The same, at this place of a list.
    pub(crate) fn expression_item(
        &mut self,
        table: &TableRef,
        expression: &SqlExpr,
        (path, index): (&[&str], usize),
    ) {
        let span = self.written.item(path, index);
        self.expression_at(table, expression, &span);
    }

    fn expression_at(&mut self, table: &TableRef, expression: &SqlExpr, span: &Span) {
        let mut names: Vec<String> = sql_text::column_names(expression.postgresql())
            .into_iter()
            .map(|(column, _)| column)
            .collect();
        names.sort();
        names.dedup();
        for column in names {
            self.add(table, &column, Role::Key, span.clone());
        }
    }

    /// The expression that stands there reads the old shape only.
    pub(crate) fn reads_old_shape(
        &mut self,
        table: &TableRef,
        expression: &SqlExpr,
        path: &[&str],
    ) {
        self.reads.push(Reads {
            table: self.resolve(table),
            text: expression.postgresql().to_owned(),
            path: path.iter().map(|key| (*key).to_owned()).collect(),
            entry: None,
        });
    }

    /// The same, under a key of an entry of a list.
    pub(crate) fn item_reads_old_shape(
        &mut self,
        table: &TableRef,
        expression: &SqlExpr,
        (path, index): (&[&str], usize),
        key: &str,
    ) {
        self.reads.push(Reads {
            table: self.resolve(table),
            text: expression.postgresql().to_owned(),
            path: path
                .iter()
                .chain([&key])
                .map(|key| (*key).to_owned())
                .collect(),
            entry: Some(index),
        });
    }

    /// It makes, drops or renames the relation whose name stands there.
    pub(crate) fn relation(&mut self, relation: TableName, path: &[&str]) {
        self.named(Some(relation), None, path);
    }

    /// It makes, drops or renames the constraint whose name stands there.
    pub(crate) fn constraint(&mut self, table: &TableRef, name: &str, path: &[&str]) {
        let constraint = (self.resolve(table), name.to_owned());
        self.named(None, Some(constraint), path);
    }

    /// An index of a table, whose name stands there.
    pub(crate) fn index(&mut self, table: &TableRef, name: &str, path: &[&str]) {
        let index = TableName::new(self.resolve(table).schema, name);
        self.named(Some(index), None, path);
    }

    /// A constraint with the index that bears it, whose name stands there.
    pub(crate) fn constraint_with_index(&mut self, table: &TableRef, name: &str, path: &[&str]) {
        let table = self.resolve(table);
        let index = TableName::new(table.schema.clone(), name);
        self.named(Some(index), Some((table, name.to_owned())), path);
    }

    fn named(
        &mut self,
        relation: Option<TableName>,
        constraint: Option<(TableName, String)>,
        path: &[&str],
    ) {
        self.names.push(Named {
            relation,
            constraint,
            span: self.written.span(path),
        });
    }
}
