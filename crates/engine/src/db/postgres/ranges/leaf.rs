//! The tables that hold a table's rows.

use pontoon_core::name::TableName;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::{as_float, count, whole};
use crate::db::postgres::sqlstate::classify;
use crate::db::{DbError, ErrorKind};

/// A table that holds rows.
#[derive(Clone, Debug)]
pub(super) struct Leaf {
    pub(super) table: TableName,
    pub(super) relid: u32,
    pub(super) filenode: u32,
    pub(super) pages: u64,
    /// As the planner believes; `None` before the first ANALYZE or VACUUM.
    pub(super) rows: Option<u64>,
}

/// Lists them, in the order of their names.
pub(super) async fn leaves(client: &Client, table: &TableName) -> Result<Vec<Leaf>, DbError> {
    let rows = client
        .query_typed(
            include_str!("sql/leaves.sql"),
            &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
        )
        .await
        .map_err(|error| classify(&error, "list the partitions of a table"))?;
    let mut leaves = Vec::with_capacity(rows.len());
    for row in &rows {
        let leaf = TableName::new(
            row.get::<_, String>("schema_name"),
            row.get::<_, String>("table_name"),
        );
        let kind: &str = row.get("kind");
        if kind != "r" {
            return Err(DbError::new(
                ErrorKind::Refused,
                format!("Table {leaf} is no ordinary table (relkind {kind}): its rows cannot be changed in batches"),
            )
            .hint(format!("Detach {leaf} from {table} for the time of the run.")));
        }
        let pages = count(row.get("pages"));
        let tuples: f64 = row.get("tuples");
        let tuple_pages = count(row.get("tuple_pages"));
        leaves.push(Leaf {
            table: leaf,
            relid: row.get("oid"),
            filenode: row.get("filenode"),
            pages,
            rows: (tuple_pages > 0 && tuples >= 0.0)
                .then(|| whole(tuples / as_float(tuple_pages) * as_float(pages))),
        });
    }
    if leaves.is_empty() && !exists(client, table).await? {
        return Err(
            DbError::new(ErrorKind::Failed, format!("There is no table {table}"))
                .hint("It was dropped or renamed after the run was planned; put it back, or roll the run back."),
        );
    }
    Ok(leaves)
}

async fn exists(client: &Client, table: &TableName) -> Result<bool, DbError> {
    let row = client
        .query_typed_opt(
            "SELECT FROM pg_catalog.pg_class c \
             JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = $1 AND c.relname = $2",
            &[(&table.schema, Type::TEXT), (&table.name, Type::TEXT)],
        )
        .await
        .map_err(|error| classify(&error, "look for a table"))?;
    Ok(row.is_some())
}
