//! Which tables and columns an operation names, and what it does with them.

use super::super::diagnostic::Span;
use super::super::operations::Written;
use super::super::sql_text;
use crate::name::TableName;
use crate::ops::Operation;
use crate::ops::add_index::{AddIndex, IndexColumn};
use crate::ops::common::{SqlExpr, TableRef};

/// What an operation does with a column that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// `add_column`.
    Added,
    /// `drop_column`.
    Dropped,
    /// `rename_column`, the present name.
    RenamedFrom,
    /// `rename_column`, the new name.
    RenamedTo,
    /// `change_type`; with `as` a second column is visible.
    Retyped { visible: bool },
    /// `change_type`, the second column.
    RetypedAs,
    /// `set_not_null`.
    NotNull,
    /// `drop_not_null`.
    Nullable,
    /// `set_default`.
    Default,
    /// `drop_default`.
    NoDefault,
    /// `backfill`.
    Filled,
    /// A key of an index or a constraint, or a column that one reads.
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
            | Role::RetypedAs => true,
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

/// One place where an operation names a column.
pub(super) struct Mention {
    /// 0-based place of the operation in the plan.
    pub(super) operation: usize,
    pub(super) role: Role,
    pub(super) span: Span,
}

/// Collects the mentions of one operation.
struct Collect<'a> {
    operation: usize,
    written: &'a Written<'a>,
    schema: &'a str,
    found: Vec<(TableName, String, Mention)>,
}

impl Collect<'_> {
    fn add(&mut self, table: &TableRef, column: &str, role: Role, span: Span) {
        let mention = Mention {
            operation: self.operation,
            role,
            span,
        };
        self.found
            .push((table.resolve(self.schema), column.to_owned(), mention));
    }

    fn field(&mut self, table: &TableRef, column: &str, role: Role, path: &[&str]) {
        let span = self.written.span(path);
        self.add(table, column, role, span);
    }

    fn list(&mut self, table: &TableRef, names: &[String], path: &[&str]) {
        for (index, name) in names.iter().enumerate() {
            let span = self.written.item(path, index);
            self.add(table, name, Role::Key, span);
        }
    }

    /// Every column that an index or a constraint reads.
    fn expression(&mut self, table: &TableRef, expression: &SqlExpr, span: &Span) {
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
}

/// The columns that an index names.
fn index_columns(into: &mut Collect<'_>, it: &AddIndex) {
    for (index, key) in it.columns.iter().enumerate() {
        let span = into.written.item(&["columns"], index);
        let (name, expression) = match key {
            IndexColumn::Name(name) => (Some(name), None),
            IndexColumn::Key(key) => (key.column.as_ref(), key.expression.as_ref()),
        };
        if let Some(name) = name {
            into.add(&it.table, name, Role::Key, span.clone());
        }
        if let Some(expression) = expression {
            into.expression(&it.table, expression, &span);
        }
    }
    into.list(&it.table, &it.include, &["include"]);
    if let Some(filter) = &it.r#where {
        into.expression(&it.table, filter, &into.written.span(&["where"]));
    }
}

/// The columns that an operation names, with their places.
pub(super) fn columns(
    operation: usize,
    written: &Written<'_>,
    schema: &str,
) -> Vec<(TableName, String, Mention)> {
    let mut into = Collect {
        operation,
        written,
        schema,
        found: Vec::new(),
    };
    match written.operation {
        Operation::AddColumn(it) => {
            into.field(&it.table, &it.column.name, Role::Added, &["column", "name"]);
        }
        Operation::DropColumn(it) => into.field(&it.table, &it.column, Role::Dropped, &["column"]),
        Operation::RenameColumn(it) => {
            into.field(&it.table, &it.from, Role::RenamedFrom, &["from"]);
            into.field(&it.table, &it.to, Role::RenamedTo, &["to"]);
        }
        Operation::ChangeType(it) => {
            let visible = it.r#as.is_some();
            into.field(
                &it.table,
                &it.column,
                Role::Retyped { visible },
                &["column"],
            );
            if let Some(second) = &it.r#as {
                into.field(&it.table, second, Role::RetypedAs, &["as"]);
            }
        }
        Operation::SetNotNull(it) => into.field(&it.table, &it.column, Role::NotNull, &["column"]),
        Operation::DropNotNull(it) => {
            into.field(&it.table, &it.column, Role::Nullable, &["column"]);
        }
        Operation::SetDefault(it) => into.field(&it.table, &it.column, Role::Default, &["column"]),
        Operation::DropDefault(it) => {
            into.field(&it.table, &it.column, Role::NoDefault, &["column"]);
        }
        Operation::AddIndex(it) => index_columns(&mut into, it),
        Operation::ReplaceIndex(it) => index_columns(&mut into, &it.new_index(&it.name)),
        Operation::AddPrimaryKey(it) => into.list(&it.table, &it.columns, &["columns"]),
        Operation::AddCheck(it) => {
            into.expression(&it.table, &it.check, &written.span(&["check"]));
        }
        Operation::AddUnique(it) => into.list(&it.table, &it.columns, &["columns"]),
        Operation::AddForeignKey(it) => {
            into.list(&it.table, &it.columns, &["columns"]);
            let there = &it.references;
            into.list(&there.table, &there.columns, &["references", "columns"]);
        }
        Operation::Backfill(it) => {
            for name in it.set.keys() {
                let key = written.body.get("set").and_then(|set| set.entry(name));
                let span = key.map_or_else(|| written.key.clone(), |(key, _)| key.span.clone());
                into.add(&it.table, name, Role::Filled, span);
            }
        }
        Operation::SetComment(it) => {
            let on = it.table.as_ref().or(it.view.as_ref());
            if let (Some(table), Some(column)) = (on, &it.column) {
                into.field(table, column, Role::Key, &["column"]);
            }
        }
        Operation::SetStatistics(it) => into.field(&it.table, &it.column, Role::Key, &["column"]),
        Operation::Grant(it) => {
            if let Some(table) = &it.table {
                into.list(table, &it.columns, &["columns"]);
            }
        }
        Operation::Revoke(it) => {
            if let Some(table) = &it.table {
                into.list(table, &it.columns, &["columns"]);
            }
        }
        Operation::CreateTable(_)
        | Operation::DropTable(_)
        | Operation::DropIndex(_)
        | Operation::DropConstraint(_)
        | Operation::RenameConstraint(_)
        | Operation::ValidateConstraint(_)
        | Operation::RenameIndex(_)
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
        | Operation::Reindex(_)
        | Operation::WaitFor(_)
        | Operation::Sql(_) => {}
    }
    into.found
}

/// The tables that an operation names, with their places.
pub(super) fn tables(written: &Written<'_>, schema: &str) -> Vec<(TableName, Span)> {
    let table = match written.operation {
        Operation::CreateTable(it) => &it.table,
        Operation::DropTable(it) => &it.table,
        Operation::AddColumn(it) => &it.table,
        Operation::DropColumn(it) => &it.table,
        Operation::RenameColumn(it) => &it.table,
        Operation::ChangeType(it) => &it.table,
        Operation::SetNotNull(it) => &it.table,
        Operation::DropNotNull(it) => &it.table,
        Operation::SetDefault(it) => &it.table,
        Operation::DropDefault(it) => &it.table,
        Operation::AddIndex(it) => &it.table,
        Operation::AddCheck(it) => &it.table,
        Operation::AddUnique(it) => &it.table,
        Operation::AddForeignKey(it) => &it.table,
        Operation::DropConstraint(it) => &it.table,
        Operation::Backfill(it) => &it.table,
        Operation::AddPrimaryKey(it) => &it.table,
        Operation::ReplaceIndex(it) => &it.table,
        Operation::RenameConstraint(it) => &it.table,
        Operation::ValidateConstraint(it) => &it.table,
        Operation::SetStatistics(it) => &it.table,
        Operation::Analyze(it) => &it.table,
        Operation::SetTableOptions(it) => &it.table,
        Operation::SetReplicaIdentity(it) => &it.table,
        Operation::SetComment(it) => match &it.table {
            Some(table) => table,
            None => return Vec::new(),
        },
        Operation::Reindex(it) => match &it.table {
            Some(table) => table,
            None => return Vec::new(),
        },
        Operation::Grant(it) => match &it.table {
            Some(table) => table,
            None => return Vec::new(),
        },
        Operation::Revoke(it) => match &it.table {
            Some(table) => table,
            None => return Vec::new(),
        },
        Operation::DropIndex(_)
        | Operation::RenameIndex(_)
        | Operation::CreateSchema(_)
        | Operation::CreateExtension(_)
        | Operation::CreateEnum(_)
        | Operation::AddEnumValue(_)
        | Operation::RenameEnumValue(_)
        | Operation::CreateView(_)
        | Operation::ReplaceView(_)
        | Operation::DropView(_)
        | Operation::WaitFor(_)
        | Operation::Sql(_) => return Vec::new(),
    };
    let mut found = vec![(table.resolve(schema), written.span(&["table"]))];
    if let Operation::AddForeignKey(it) = written.operation {
        let span = written.span(&["references", "table"]);
        found.push((it.references.table.resolve(schema), span));
    }
    found
}
