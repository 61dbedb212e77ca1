//! What an operation tells of itself, and what one may not say beyond the kinds
//! of its fields. The words themselves stand with each operation.

use super::conflicts::Mentions;
use super::diagnostic::{Diagnostic, SourceText, Span};
use super::node::Node;
use super::sql_text;
use crate::ops::Operation;
use crate::ops::common::SqlExpr;
use crate::ops::rights::Rights;

/// What an operation tells of itself before any database is asked.
pub(crate) trait Declare {
    /// Names the tables, columns, indexes and constraints that it concerns,
    /// and what it does with them: what two operations may not say together
    /// follows from it.
    fn declare(&self, to: &mut Mentions<'_>);

    /// Reports what it may not say, beyond the kinds of its fields.
    fn check(&self, _check: &mut Check<'_>) {}
}

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
    written.operation.as_declare().check(&mut check);
}

/// Columns that every table has already.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// What is wrong with one operation.
pub(crate) struct Check<'a> {
    pub(crate) written: &'a Written<'a>,
    pub(crate) source: &'a SourceText,
    pub(crate) out: &'a mut Vec<Diagnostic>,
}

impl Check<'_> {
    pub(crate) fn report(
        &mut self,
        span: &Span,
        message: impl Into<String>,
        expected: &str,
        help: &str,
    ) {
        let mut finding = self.source.finding(span, message).expected(expected);
        if !help.is_empty() {
            finding = finding.help(help);
        }
        self.out.push(finding);
    }

    pub(crate) fn new_column(&mut self, name: &str, span: &Span) {
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
    pub(crate) fn default(&mut self, default: Option<&SqlExpr>, path: &[&str]) {
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

    pub(crate) fn renamed(&mut self, from: &str, to: &str, key: &str) {
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

    /// Keys of the mapping that stands there which are none of these names.
    pub(crate) fn keys_among<'k>(
        &mut self,
        keys: impl Iterator<Item = &'k String>,
        path: &[&str],
        names: &[String],
        of: &str,
    ) {
        for key in keys.filter(|key| !names.contains(key)) {
            let map = path
                .iter()
                .try_fold(self.written.body, |node, step| node.get(step));
            let span = map
                .and_then(|map| map.entry(key))
                .map_or_else(|| self.written.key.clone(), |(entry, _)| entry.span.clone());
            self.report(
                &span,
                format!("`{key}` is none of `{of}`"),
                &format!("expected one of {}", names.join(", ")),
                "",
            );
        }
    }

    pub(crate) fn rights(&mut self, it: &Rights<'_>) {
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

    pub(crate) fn ends(&mut self, filter: &str, path: &[&str]) {
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

pub(crate) fn columns(count: usize) -> String {
    match count {
        1 => "1 column".to_owned(),
        count => format!("{count} columns"),
    }
}
