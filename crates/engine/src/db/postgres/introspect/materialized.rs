//! What a materialized view is beside its query: indexes, settings of its
//! columns, where and how it is stored.
//!
//! It cannot be filled while others wait. So another one is made over the second
//! column, empty, with all of this, and filled before the cutover, which gives it
//! the name. Its columns have the names that they have today; only their types
//! may be others, so everything is tried on an empty table of that shape.

use std::collections::BTreeMap;

use pontoon_core::catalog::{Index, ServerMessage};
use pontoon_core::lower::index_statistics;
use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::change;
use pontoon_core::sql::quote::{quote_ident, quote_literal, quote_qualified, quote_table};
use tokio_postgres::types::Type;

use super::replacements::{DOING, Trial};
use super::{InspectError, build, rows, server};

/// As read from the catalog.
#[derive(Debug, Default)]
pub(super) struct Materialized {
    /// Columns with their settings, as `ALTER COLUMN` clauses.
    settings: Vec<(String, String)>,
    indexes: Vec<Index>,
    /// By index.
    comments: BTreeMap<String, String>,
    /// What the indexes have become on the table on which they were tried.
    pub(super) built: Vec<Index>,
}

/// The table on which it is tried.
fn copy(oid: u32) -> TableName {
    TableName::new("pg_temp", format!("pontoon_filled_{oid}"))
}

impl Trial<'_> {
    /// Everything about it, expressions with the search path of its query.
    pub(super) async fn materialized(&self, oid: u32) -> Result<Materialized, InspectError> {
        let columns: Vec<rows::Column> = super::list(
            self.client,
            "columns",
            include_str!("sql/columns.sql"),
            &[oid],
        )
        .await?;
        let indexes: Vec<rows::Index> = super::list(
            self.client,
            "indexes",
            include_str!("sql/indexes.sql"),
            &[oid],
        )
        .await?;
        let comments = self
            .client
            .query_typed(include_str!("sql/index_comments.sql"), &[(&oid, Type::OID)])
            .await
            .map_err(server(DOING))?;
        let settings = columns.into_iter().flat_map(|column| {
            let name = column.name;
            let settings = column.settings.into_iter();
            settings.map(move |clause| (name.clone(), clause))
        });
        Ok(Materialized {
            built: Vec::new(),
            settings: settings.collect(),
            indexes: indexes.into_iter().map(build::index).collect(),
            comments: comments
                .iter()
                .map(|row| (row.get(0), row.get(1)))
                .collect(),
        })
    }

    /// Tries all of it on an empty table of the columns that the temporary view
    /// of this name has.
    pub(super) async fn try_materialized(
        &self,
        view: &str,
        oid: u32,
        all: &Materialized,
    ) -> Result<Result<(), ServerMessage>, InspectError> {
        let table = copy(oid);
        let made = self
            .attempt(&format!(
                "CREATE TEMPORARY TABLE {} AS SELECT * FROM {} WITH NO DATA",
                quote_ident(&table.name),
                quote_qualified("pg_temp", view)
            ))
            .await?;
        if made.is_err() {
            return Ok(made);
        }
        for (column, clause) in &all.settings {
            let text = set(&quote_table(&table), "TABLE", column, clause);
            if let Err(said) = self.attempt(&text).await? {
                let what = format!("the setting `{clause}` of its column {column}");
                return Ok(Err(of(&what, said)));
            }
        }
        for (number, index) in all.indexes.iter().enumerate() {
            let tried = index.anew(&called(&table, number), index);
            if let Err(said) = self.attempt(&change::create_index(&table, &tried)).await? {
                return Ok(Err(of(&format!("its index {}", index.name), said)));
            }
        }
        Ok(Ok(()))
    }

    /// The indexes as they have become there, in their order: a predicate may name
    /// a type that has another name until the cutover.
    pub(super) async fn built(
        &self,
        oid: u32,
        all: &Materialized,
    ) -> Result<Vec<Index>, InspectError> {
        let table = copy(oid);
        let row = self
            .one(&format!(
                "SELECT {}::pg_catalog.regclass::pg_catalog.oid::text",
                quote_literal(&quote_table(&table))
            ))
            .await?;
        let made = row.and_then(|oid| oid.parse().ok()).unwrap_or_default();
        let indexes: Vec<rows::Index> = super::list(
            self.client,
            "indexes",
            include_str!("sql/indexes.sql"),
            &[made],
        )
        .await?;
        let found: BTreeMap<String, Index> = indexes
            .into_iter()
            .map(|row| (row.name.clone(), build::index(row)))
            .collect();
        let names = (0..all.indexes.len()).map(|number| called(&table, number));
        let built: Vec<Index> = names.filter_map(|name| found.get(&name).cloned()).collect();
        match built.len() == all.indexes.len() {
            true => Ok(built),
            false => Err(InspectError::Incomplete {
                what: "the indexes of a materialized view",
            }),
        }
    }
}

impl Materialized {
    /// What it has beside its query, on one of this name.
    pub(super) fn made(&self, view: &TableName) -> Vec<String> {
        let mut made: Vec<String> = self
            .settings
            .iter()
            .map(|(column, clause)| set(&quote_table(view), "MATERIALIZED VIEW", column, clause))
            .collect();
        for (number, (index, over)) in self.indexes.iter().zip(&self.built).enumerate() {
            let name = called(view, number);
            made.push(change::create_index(view, &over.anew(&name, index)));
            made.extend(
                index_statistics(view, &name, index).flat_map(|change| change::render(&change, "")),
            );
            if let Some(comment) = self.comments.get(&index.name) {
                made.push(format!(
                    "COMMENT ON INDEX {} IS {}",
                    quote_qualified(&view.schema, &name),
                    quote_literal(comment)
                ));
            }
            if index.settings.clustered {
                made.push(format!(
                    "ALTER MATERIALIZED VIEW {} CLUSTER ON {}",
                    quote_table(view),
                    quote_ident(&name)
                ));
            }
        }
        made
    }

    /// Gives its indexes the names of those that they come for.
    pub(super) fn named(&self, view: &TableName) -> Vec<String> {
        let indexes = self.indexes.iter().enumerate();
        indexes
            .map(|(number, index)| {
                change::rename_index(&view.schema, &called(view, number), &index.name)
            })
            .collect()
    }
}

/// What an index is called until then.
fn called(view: &TableName, number: usize) -> String {
    format!("{}_{}", view.name, number + 1)
}

fn set(relation: &str, word: &str, column: &str, clause: &str) -> String {
    format!(
        "ALTER {word} {relation} ALTER COLUMN {} {clause}",
        quote_ident(column)
    )
}

fn of(what: &str, said: ServerMessage) -> ServerMessage {
    ServerMessage {
        message: format!("{what}: {}", said.message),
        ..said
    }
}
