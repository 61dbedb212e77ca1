//! What has to be read from the database before lowering.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Catalog, Column, Question, Replacing, Table};
use crate::name::TableName;
use crate::object::Object;
use crate::ops::common::TableRef;
use crate::plan::Plan;

use super::Request;
use super::context::{artifact, artifact_prefix};

/// Collects what has to be read before lowering.
#[derive(Debug)]
pub struct Asking<'a> {
    schema: &'a str,
    catalog: &'a Catalog,
    tables: BTreeSet<TableName>,
    added: BTreeMap<TableName, Vec<(String, String)>>,
    expressions: Vec<(TableName, String, Option<String>)>,
    types: BTreeSet<String>,
    objects: BTreeSet<Object>,
    views: BTreeSet<String>,
    replacements: BTreeSet<Replacing>,
    supposed: Vec<String>,
    artifact: String,
    current: usize,
}

impl<'a> Asking<'a> {
    pub(super) fn new(plan: &'a Plan, catalog: &'a Catalog) -> Self {
        Self {
            schema: &plan.schema,
            catalog,
            tables: BTreeSet::new(),
            added: BTreeMap::new(),
            expressions: Vec::new(),
            types: BTreeSet::new(),
            objects: BTreeSet::new(),
            views: BTreeSet::new(),
            replacements: BTreeSet::new(),
            supposed: Vec::new(),
            artifact: artifact_prefix(plan),
            current: 0,
        }
    }

    pub(super) fn begin(&mut self, index: usize) {
        self.current = index;
    }

    /// As [`Lowering::artifact`](super::Lowering::artifact).
    pub fn artifact(&self, what: &str) -> String {
        artifact(&self.artifact, self.current, what)
    }

    /// The table as it is; `None` while tables are still being named, or when
    /// there is none.
    pub(super) fn read(&self, table: &TableName) -> Option<&'a Table> {
        self.catalog.tables.get(table)
    }

    pub(super) fn try_replacement(&mut self, replacing: Replacing) {
        self.types.insert(replacing.to.clone());
        self.replacements.insert(replacing);
    }

    /// The table has to be read.
    pub fn table(&mut self, table: &TableRef) -> TableName {
        let name = table.resolve(self.schema);
        self.tables.insert(name.clone());
        name
    }

    /// A table has to be read that the plan does not name.
    pub fn also(&mut self, table: &TableName) {
        self.tables.insert(table.clone());
    }

    /// As it is; empty while tables are still being named.
    pub fn catalog(&self) -> &'a Catalog {
        self.catalog
    }

    /// The index with this name: its table is found through the catalog, by
    /// the index's own name.
    pub fn index(&mut self, index: &TableRef) {
        self.tables.insert(index.resolve(self.schema));
    }

    /// The plan adds this column to the table.
    pub fn column(&mut self, table: &TableName, name: &str, type_text: &str) {
        self.types.insert(type_text.to_owned());
        self.added
            .entry(table.clone())
            .or_default()
            .push((name.to_owned(), type_text.to_owned()));
    }

    /// The type of a present column; `None` while tables are still being named,
    /// or when there is no such column.
    pub fn type_of(&self, table: &TableName, column: &str) -> Option<&'a str> {
        let column = self.catalog.tables.get(table)?.column(column)?;
        Some(&column.def.type_name)
    }

    /// A present column; `None` while tables are still being named, or when
    /// there is no such column.
    pub fn present(&self, table: &TableName, column: &str) -> Option<&'a Column> {
        self.catalog.tables.get(table)?.column(column)
    }

    /// This expression will be stored in a present column.
    pub fn expression_for(&mut self, table: &TableName, text: &str, column: &str) {
        let type_name = self.type_of(table, column);
        self.expression(table, text, type_name);
    }

    /// This type has to be understood.
    pub fn type_name(&mut self, text: &str) {
        self.types.insert(text.to_owned());
    }

    /// The plan's schema.
    pub fn schema(&self) -> &str {
        self.schema
    }

    /// The full name of a table of the plan, which is not read for it.
    pub fn resolve(&self, table: &TableRef) -> TableName {
        table.resolve(self.schema)
    }

    /// Something beside tables has to be looked up.
    pub fn object(&mut self, object: Object) {
        self.objects.insert(object);
    }

    /// This query has to be understood as that of a view.
    pub fn view(&mut self, query: &str) {
        self.views.insert(query.to_owned());
    }

    /// Expressions and types may use what this statement makes.
    pub fn suppose(&mut self, statement: String) {
        self.supposed.push(statement);
    }

    /// This expression has to be understood on a row of the table.
    pub fn expression(&mut self, table: &TableName, text: &str, assigned_to: Option<&str>) {
        self.expressions.push((
            table.clone(),
            text.to_owned(),
            assigned_to.map(str::to_owned),
        ));
    }

    pub(super) fn finish(self) -> Request {
        let mut questions: Vec<Question> = self
            .supposed
            .into_iter()
            .map(|statement| Question::Suppose { statement })
            .collect();
        let types = self.types.into_iter().map(|text| Question::Type { text });
        questions.extend(types);
        for (table, text, assigned_to) in self.expressions {
            let extra = self.added.get(&table).cloned().unwrap_or_default();
            let question = Question::Expression {
                table,
                text,
                extra,
                assigned_to,
            };
            if !questions.contains(&question) {
                questions.push(question);
            }
        }
        questions.extend(self.views.into_iter().map(|query| Question::View { query }));
        questions.extend(self.replacements.into_iter().map(Question::Replacement));
        questions.extend(
            self.objects
                .into_iter()
                .map(|object| Question::Object { object }),
        );
        Request {
            tables: self.tables.into_iter().collect(),
            questions,
        }
    }
}
