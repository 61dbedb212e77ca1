//! What one operation may not say, beyond the kinds of its fields.

use super::diagnostic::{Diagnostic, SourceText, Span};
use super::node::Node;
use super::sql_text;
use crate::ops::Operation;
use crate::ops::add_column::AddColumn;
use crate::ops::add_enum_value::AddEnumValue;
use crate::ops::add_foreign_key::AddForeignKey;
use crate::ops::add_index::{AddIndex, IndexColumn};
use crate::ops::backfill::{BackfillRows, BackfillUndo};
use crate::ops::change_type::ChangeType;
use crate::ops::common::SqlExpr;
use crate::ops::create_table::CreateTable;
use crate::ops::reindex::Reindex;
use crate::ops::rename_column::RenameColumn;
use crate::ops::rights::Rights;
use crate::ops::set_comment::SetComment;
use crate::ops::set_replica_identity::{IdentityKind, SetReplicaIdentity};
use crate::ops::set_table_options::SetTableOptions;

/// An operation as it was read: the value, the key that names it and the
/// mapping under that key.
pub(crate) struct Written<'a> {
    pub(crate) operation: &'a Operation,
    pub(crate) key: Span,
    pub(crate) body: &'a Node,
}

impl Written<'_> {
    /// The place of a field, by its path; the operation's when it is not
    /// written.
    pub(crate) fn span(&self, path: &[&str]) -> Span {
        let mut node = self.body;
        for key in path {
            match node.get(key) {
                Some(inner) => node = inner,
                None => return self.key.clone(),
            }
        }
        node.span.clone()
    }

    /// The place of an entry of a list.
    pub(crate) fn item(&self, path: &[&str], index: usize) -> Span {
        let list = path.iter().try_fold(self.body, |node, key| node.get(key));
        match list.and_then(|list| list.items().get(index)) {
            Some(item) => item.span.clone(),
            None => self.span(path),
        }
    }

    /// The place of a key.
    pub(crate) fn key_span(&self, key: &str) -> Span {
        self.body
            .entry(key)
            .map_or_else(|| self.key.clone(), |(key, _)| key.span.clone())
    }
}

/// Checks one operation.
pub(crate) fn check(written: &Written<'_>, source: &SourceText, out: &mut Vec<Diagnostic>) {
    let mut check = Check {
        written,
        source,
        out,
    };
    match written.operation {
        Operation::CreateTable(it) => check.create_table(it),
        Operation::AddColumn(it) => check.add_column(it),
        Operation::RenameColumn(it) => check.rename_column(it),
        Operation::ChangeType(it) => check.change_type(it),
        Operation::SetDefault(it) => check.default(Some(&it.default), &["default"]),
        Operation::AddIndex(it) => check.add_index(it),
        Operation::ReplaceIndex(it) => check.add_index(&it.new_index(&it.name)),
        Operation::AddForeignKey(it) => check.add_foreign_key(it),
        Operation::Backfill(it) => check.backfill(it),
        Operation::Reindex(it) => check.reindex(it),
        Operation::SetComment(it) => check.set_comment(it),
        Operation::SetTableOptions(it) => check.set_table_options(it),
        Operation::SetReplicaIdentity(it) => check.set_replica_identity(it),
        Operation::RenameConstraint(it) => check.renamed(&it.from, &it.to, "from"),
        Operation::AddEnumValue(it) => check.add_enum_value(it),
        Operation::RenameEnumValue(it) => check.renamed(&it.from, &it.to, "from"),
        Operation::Grant(it) => check.rights(&it.rights()),
        Operation::Revoke(it) => check.rights(&it.rights()),
        Operation::RenameIndex(it) => check.renamed(it.name.last(), &it.to, "name"),
        Operation::DropTable(_)
        | Operation::DropColumn(_)
        | Operation::SetNotNull(_)
        | Operation::DropNotNull(_)
        | Operation::DropDefault(_)
        | Operation::DropIndex(_)
        | Operation::AddCheck(_)
        | Operation::AddUnique(_)
        | Operation::DropConstraint(_)
        | Operation::ValidateConstraint(_)
        | Operation::SetStatistics(_)
        | Operation::Analyze(_)
        | Operation::WaitFor(_)
        | Operation::AddPrimaryKey(_)
        | Operation::CreateSchema(_)
        | Operation::CreateExtension(_)
        | Operation::CreateEnum(_)
        | Operation::CreateView(_)
        | Operation::ReplaceView(_)
        | Operation::DropView(_)
        | Operation::Sql(_) => {}
    }
}

/// Columns that every table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

struct Check<'a> {
    written: &'a Written<'a>,
    source: &'a SourceText,
    out: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    fn report(&mut self, span: &Span, message: impl Into<String>, expected: &str, help: &str) {
        let mut finding = self.source.finding(span, message).expected(expected);
        if !help.is_empty() {
            finding = finding.help(help);
        }
        self.out.push(finding);
    }

    fn new_column(&mut self, name: &str, span: &Span) {
        if SYSTEM_COLUMNS.contains(&name) {
            self.report(
                span,
                format!("every table has a system column `{name}` already"),
                "expected another name",
                "",
            );
        }
    }

    /// `default: pending` reads a column; `default: "'pending'"` is a text.
    fn default(&mut self, default: Option<&SqlExpr>, path: &[&str]) {
        let Some(text) = default.map(SqlExpr::postgresql) else {
            return;
        };
        if sql_text::is_lone_name(text) {
            let span = self.written.span(path);
            self.report(
                &span,
                format!("`default`: `{text}` names a column, and a default reads none"),
                "expected a value",
                &format!("a text constant has SQL's quotes inside YAML's: \"'{text}'\""),
            );
        }
    }

    fn create_table(&mut self, it: &CreateTable) {
        for (index, column) in it.columns.iter().enumerate() {
            let span = self.written.item(&["columns"], index);
            let node = self
                .written
                .body
                .get("columns")
                .and_then(|list| list.items().get(index));
            let at = |key: &str| {
                node.and_then(|node| node.get(key))
                    .map_or_else(|| span.clone(), |node| node.span.clone())
            };
            self.new_column(&column.name, &at("name"));
            if let Some(first) = it.columns[..index]
                .iter()
                .position(|other| other.name == column.name)
            {
                let first = self.written.item(&["columns"], first);
                let finding = self
                    .source
                    .finding(
                        &at("name"),
                        format!("column `{}` stands twice in `columns`", column.name),
                    )
                    .note(format!("the first one is at {}", self.source.place(&first)));
                self.out.push(finding);
            }
            if column.identity.is_some() && column.default.is_some() {
                self.report(
                    &at("identity"),
                    format!("column `{}` has an identity and a default", column.name),
                    "expected one of the two",
                    "",
                );
            }
            let lone = column
                .default
                .as_ref()
                .map(SqlExpr::postgresql)
                .filter(|text| sql_text::is_lone_name(text));
            if let Some(text) = lone {
                self.report(
                    &at("default"),
                    format!("`default`: `{text}` names a column, and a default reads none"),
                    "expected a value",
                    &format!("a text constant has SQL's quotes inside YAML's: \"'{text}'\""),
                );
            }
        }
        for (index, key) in it.primary_key.iter().enumerate() {
            if !it.columns.iter().any(|column| column.name == *key) {
                let names: Vec<&str> = it
                    .columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect();
                let span = self.written.item(&["primary_key"], index);
                self.report(
                    &span,
                    format!("the table has no column `{key}`"),
                    &format!("expected one of {}", names.join(", ")),
                    "",
                );
            }
        }
    }

    fn add_column(&mut self, it: &AddColumn) {
        let name = self.written.span(&["column", "name"]);
        self.new_column(&it.column.name, &name);
        self.default(it.column.default.as_ref(), &["column", "default"]);
        for (key, given) in [
            ("derived", it.derived),
            ("allow_volatile", it.allow_volatile),
        ] {
            if given && it.up.is_none() {
                let span = self.written.key_span(key);
                self.report(
                    &span,
                    format!("`{key}` says how `up` is used, and there is no `up`"),
                    "expected `up` beside it",
                    "",
                );
            }
        }
        if !it.column.nullable && it.up.is_none() && it.column.default.is_none() {
            let span = self.written.span(&["column", "nullable"]);
            self.report(
                &span,
                format!(
                    "column `{}` is NOT NULL and nothing fills it",
                    it.column.name
                ),
                "rows that exist, and writers that do not know it, have no value for it",
                "give `up` (computed from the row) or the column's `default`",
            );
        }
    }

    fn rename_column(&mut self, it: &RenameColumn) {
        let to = self.written.span(&["to"]);
        self.new_column(&it.to, &to);
        if it.from == it.to {
            self.report(
                &to,
                "`from` and `to` are the same",
                "expected another name",
                "",
            );
        }
    }

    fn renamed(&mut self, from: &str, to: &str, key: &str) {
        if from == to {
            let span = self.written.span(&["to"]);
            self.report(
                &span,
                format!("`{key}` and `to` are the same"),
                "expected another name",
                "",
            );
        }
    }

    fn add_enum_value(&mut self, it: &AddEnumValue) {
        if it.before.is_some() && it.after.is_some() {
            let span = self.written.key_span("after");
            self.report(
                &span,
                "`before` and `after` are both given",
                "expected one of the two, or neither",
                "",
            );
        }
    }

    fn reindex(&mut self, it: &Reindex) {
        if it.name.is_some() == it.table.is_some() {
            let span = self.written.key.clone();
            self.report(
                &span,
                match it.name {
                    None => "it does not say what to build anew",
                    Some(_) => "it names an index and a table",
                },
                "expected one of name, table",
                "",
            );
        }
    }

    fn rights(&mut self, it: &Rights<'_>) {
        let whole = self.written.key.clone();
        if it.subjects() != 1 {
            self.report(
                &whole,
                match it.subjects() {
                    0 => "it does not say on what",
                    _ => "it names several things",
                },
                "expected one of table, schema, sequence",
                "",
            );
            return;
        }
        if !it.columns.is_empty() && it.table.is_none() {
            let span = self.written.key_span("columns");
            self.report(
                &span,
                "columns belong to a table",
                "expected `table` beside it",
                "",
            );
            return;
        }
        if let Some((strange, fitting)) = it.strange() {
            let place = it.privileges.iter().position(|one| *one == strange);
            let span = self
                .written
                .item(&["privileges"], place.unwrap_or_default());
            self.report(
                &span,
                "there is no such privilege on it",
                &format!("expected {fitting}"),
                "",
            );
        }
    }

    fn set_comment(&mut self, it: &SetComment) {
        let whole = self.written.key.clone();
        if it.subjects() != 1 {
            self.report(
                &whole,
                match it.subjects() {
                    0 => "it does not say what the comment is on",
                    _ => "it names several things, and a comment is on one",
                },
                "expected one of table, view, materialized_view, index, sequence, type, schema",
                "",
            );
            return;
        }
        if it.parts() > 1 {
            self.report(
                &whole,
                "it names several parts of a table, and a comment is on one",
                "expected one of column, constraint, trigger, policy",
                "write one operation for each",
            );
        }
        let columns = it.table.is_some() || it.view.is_some() || it.materialized_view.is_some();
        for (key, given, fits) in [
            ("column", it.column.is_some(), columns),
            ("constraint", it.constraint.is_some(), it.table.is_some()),
            ("trigger", it.trigger.is_some(), it.table.is_some()),
            ("policy", it.policy.is_some(), it.table.is_some()),
        ] {
            if given && !fits {
                let span = self.written.key_span(key);
                self.report(
                    &span,
                    format!("a {key} belongs to a table"),
                    "expected `table` beside it",
                    "",
                );
            }
        }
    }

    fn set_table_options(&mut self, it: &SetTableOptions) {
        if it.set.is_empty() && it.reset.is_empty() {
            let span = self.written.key.clone();
            self.report(
                &span,
                "it sets nothing",
                "expected `set` or `reset` with at least one parameter",
                "",
            );
        }
        for (index, name) in it.reset.iter().enumerate() {
            if it.set.contains_key(name) {
                let span = self.written.item(&["reset"], index);
                self.report(
                    &span,
                    format!("`{name}` stands in `set` as well"),
                    "expected one of the two",
                    "",
                );
            }
        }
    }

    fn set_replica_identity(&mut self, it: &SetReplicaIdentity) {
        match (it.identity, &it.index) {
            (IdentityKind::Index, None) => {
                let span = self.written.span(&["identity"]);
                self.report(
                    &span,
                    "it does not say which index",
                    "expected `index` beside it",
                    "",
                );
            }
            (IdentityKind::Default | IdentityKind::Full | IdentityKind::Nothing, Some(_)) => {
                let span = self.written.key_span("index");
                self.report(
                    &span,
                    "`index` is used with `identity: index` only",
                    "expected `identity: index`, or no `index`",
                    "",
                );
            }
            (IdentityKind::Index, Some(_))
            | (IdentityKind::Default | IdentityKind::Full | IdentityKind::Nothing, None) => {}
        }
    }

    fn change_type(&mut self, it: &ChangeType) {
        let Some(other) = &it.r#as else {
            if it.on_conflict.is_some() {
                let span = self.written.key_span("on_conflict");
                self.report(
                    &span,
                    "`on_conflict` needs `as`",
                    "without a second name no write can give both columns",
                    "remove it, or give `as`",
                );
            }
            return;
        };
        let span = self.written.span(&["as"]);
        self.new_column(other, &span);
        if *other == it.column {
            self.report(
                &span,
                "`as` is the column itself",
                "expected the name of a second column",
                "leave `as` out to keep the name: the second column is then hidden until contract",
            );
        }
    }

    fn add_index(&mut self, it: &AddIndex) {
        for (index, column) in it.columns.iter().enumerate() {
            let IndexColumn::Key(key) = column else {
                continue;
            };
            let span = self.written.item(&["columns"], index);
            match (&key.column, &key.expression) {
                (Some(_), None) | (None, Some(_)) => {}
                (None, None) => self.report(
                    &span,
                    "this key names nothing",
                    "expected `column` or `expression`",
                    "",
                ),
                (Some(_), Some(_)) => self.report(
                    &span,
                    "this key has a column and an expression",
                    "expected one of the two",
                    "write them as two keys, in the order the index shall have",
                ),
            }
        }
        let method = it.method.as_deref().unwrap_or("btree");
        if it.unique && method != "btree" {
            let span = self.written.span(&["method"]);
            self.report(
                &span,
                format!("a {method} index cannot be unique"),
                "expected btree",
                "",
            );
        }
    }

    fn add_foreign_key(&mut self, it: &AddForeignKey) {
        let (here, there) = (it.columns.len(), it.references.columns.len());
        if here != there {
            let span = self.written.span(&["references", "columns"]);
            self.report(
                &span,
                format!("{} here and {} there", columns(here), columns(there)),
                "expected one referenced column for each column",
                "",
            );
        }
    }

    fn backfill(&mut self, it: &BackfillRows) {
        self.ends(it.r#where.postgresql(), &["where"]);
        if let BackfillUndo::Rows(rows) = &it.undo {
            self.ends(rows.r#where.postgresql(), &["undo", "where"]);
        }
    }

    fn ends(&mut self, filter: &str, path: &[&str]) {
        if filter.trim().eq_ignore_ascii_case("true") {
            let span = self.written.span(path);
            self.report(
                &span,
                "`where` stays true after `set`",
                "expected a condition that `set` makes false",
                "a run could not tell a changed row from one that is left: `status IS NULL`, say",
            );
        }
    }
}

fn columns(count: usize) -> String {
    match count {
        1 => "1 column".to_owned(),
        count => format!("{count} columns"),
    }
}
