//! Reads a [`Catalog`] from a PostgreSQL server (14 and later), and lets the
//! server say what a plan's texts mean.
//!
//! Two transactions:
//!
//! 1. The tables, in one `READ ONLY REPEATABLE READ` snapshot with
//!    `search_path = pg_catalog`, so that every name outside it comes back
//!    qualified. PostgreSQL's own describing functions (`pg_get_expr` and the
//!    like) look at the present and not at the snapshot; when something is
//!    dropped under our eyes they fail, and the whole reading is repeated.
//! 2. The [`questions`], when there are any: texts are parsed against
//!    temporary tables, and always rolled back; [`objects`] are only read.
//!
//! No lock is held on the tables that are read, beyond the ACCESS SHARE locks
//! that PostgreSQL's size functions take and release at once.
//!
//! All statements are unnamed and belong to a transaction, so that a pooler
//! in transaction mode does not disturb them. A future that is dropped before
//! it ends leaves a transaction open on its connection: drop that as well.

mod build;
mod computed;
mod dependents;
mod followers;
mod functions;
mod materialized;
mod objects;
mod questions;
mod replacements;
mod rows;
mod views;

use pontoon_core::catalog::{Catalog, Question};
use pontoon_core::name::TableName;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::{ToSql, Type};

use self::rows::{Decoded, decode, decode_one};
use super::sqlstate::classify;
use crate::db::{DbError, ErrorKind};

/// What to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The plan's schema: names in questions are looked up in `pg_catalog`
    /// first, then here.
    pub schema: String,
    /// The tables that are named. One that does not exist is simply absent
    /// from the catalog.
    pub tables: Vec<TableName>,
    /// What the server shall parse.
    pub questions: Vec<Question>,
}

/// Why a catalog could not be read. Messages fit "failed to …".
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The server or the connection failed.
    #[error("{doing}: {}", server_words(.source))]
    Server {
        /// What was being done.
        doing: &'static str,
        /// The driver's error, with the SQLSTATE when the server spoke.
        source: tokio_postgres::Error,
    },
    /// Questions need temporary tables, and the role may not create any.
    #[error(
        "let the server parse the plan's expressions: role \"{role}\" may not create temporary tables in database \"{database}\"; run: GRANT TEMPORARY ON DATABASE \"{database}\" TO \"{role}\""
    )]
    TemporaryDenied {
        /// The connected role.
        role: String,
        /// The database.
        database: String,
    },
    /// Questions need temporary tables, and a standby has none.
    #[error(
        "let the server parse the plan's expressions: this server is a standby; connect to the primary"
    )]
    Standby,
    /// Too old.
    #[error("work with PostgreSQL {0}: version 14 or later is needed")]
    TooOld(u32),
    /// The server answered with something that this version does not understand.
    #[error("understand the server's description of {what}: {source}; this is a bug of Pontoon")]
    Decode {
        /// Which description.
        what: &'static str,
        /// Where it differs from what was expected.
        source: serde_json::Error,
    },
    /// The server's answer lacks something.
    #[error(
        "understand the server's description of {what}: it is incomplete; this is a bug of Pontoon"
    )]
    Incomplete {
        /// Which description.
        what: &'static str,
    },
}

/// The server's own words where it spoke, else the driver's with its cause:
/// the driver prints the cause of neither.
fn server_words(error: &tokio_postgres::Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(server), _) => format!("{} (SQLSTATE {})", server.message(), server.code().code()),
        (None, Some(cause)) => format!("{error}: {cause}"),
        (None, None) => error.to_string(),
    }
}

impl InspectError {
    /// The driver's error, when that is what it was.
    pub fn driver(&self) -> Option<&tokio_postgres::Error> {
        match self {
            InspectError::Server { source, .. } => Some(source),
            _ => None,
        }
    }

    /// Something was dropped or renamed between the snapshot and the present:
    /// reading again helps.
    fn is_race(&self) -> bool {
        let Some(code) = self.driver().and_then(tokio_postgres::Error::code) else {
            return false;
        };
        [
            &SqlState::INTERNAL_ERROR,
            &SqlState::UNDEFINED_TABLE,
            &SqlState::UNDEFINED_OBJECT,
        ]
        .contains(&code)
    }
}

impl From<InspectError> for DbError {
    fn from(error: InspectError) -> Self {
        let message = error.to_string();
        match error {
            InspectError::Server { doing, source } => classify(&source, doing),
            InspectError::TemporaryDenied { .. } => DbError::new(ErrorKind::Failed, message),
            InspectError::Standby | InspectError::TooOld(_) => {
                DbError::new(ErrorKind::Rejected, message)
            }
            InspectError::Decode { .. } | InspectError::Incomplete { .. } => {
                DbError::new(ErrorKind::Internal, message)
            }
        }
    }
}

/// How often a reading that met a concurrent DDL is begun in all.
const ATTEMPTS: u32 = 4;

/// The settings on which the text of an expression or a type depends.
const BEGIN: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
SET LOCAL search_path = pg_catalog;
SET LOCAL quote_all_identifiers = off;
SET LOCAL datestyle = 'ISO';
SET LOCAL intervalstyle = 'postgres';
SET LOCAL timezone = 'UTC';
SET LOCAL extra_float_digits = 1;
SET LOCAL bytea_output = 'hex';
SET LOCAL statement_timeout = '60s';
SET LOCAL lock_timeout = '15s'";

/// Reads the catalog and the answers to the questions.
///
/// # Errors
/// See [`InspectError`]. A table that does not exist and an expression that
/// the server refuses are no errors but part of the result.
pub async fn read(client: &Client, request: &Request) -> Result<Catalog, InspectError> {
    let mut attempt = 1;
    let (mut catalog, about) = loop {
        match read_tables(client, request).await {
            Err(error) if error.is_race() && attempt < ATTEMPTS => attempt += 1,
            result => break result?,
        }
    };
    if !request.questions.is_empty() {
        questions::ask(client, request, &about, &mut catalog).await?;
    }
    Ok(catalog)
}

async fn read_tables(
    client: &Client,
    request: &Request,
) -> Result<(Catalog, rows::Server), InspectError> {
    begin(client, BEGIN).await?;
    let result = read_in_transaction(client, request).await;
    end(client, result).await
}

/// Begins a transaction.
async fn begin(client: &Client, statements: &str) -> Result<(), InspectError> {
    client
        .batch_execute(statements)
        .await
        .map_err(server("begin a transaction"))
}

/// Ends a transaction that has nothing to keep. An error of the work itself
/// goes before one of the end.
async fn end<T>(client: &Client, result: Result<T, InspectError>) -> Result<T, InspectError> {
    let ended = client.batch_execute("ROLLBACK").await;
    let value = result?;
    ended.map_err(server("end a transaction"))?;
    Ok(value)
}

fn server(doing: &'static str) -> impl FnOnce(tokio_postgres::Error) -> InspectError {
    move |source| InspectError::Server { doing, source }
}

async fn read_in_transaction(
    client: &Client,
    request: &Request,
) -> Result<(Catalog, rows::Server), InspectError> {
    let schemas: Vec<&str> = request.tables.iter().map(|t| t.schema.as_str()).collect();
    let names: Vec<&str> = request.tables.iter().map(|t| t.name.as_str()).collect();
    let closure: [(&(dyn ToSql + Sync), Type); 2] =
        [(&schemas, Type::TEXT_ARRAY), (&names, Type::TEXT_ARRAY)];
    let (about, oids) = futures_util::future::join(
        client.query_typed(include_str!("sql/server.sql"), &[]),
        client.query_typed(include_str!("sql/closure.sql"), &closure),
    )
    .await;
    let about: rows::Server = decode_one(
        "the server",
        about.map_err(server("read what the server is"))?,
    )?;
    if about.version < 140_000 {
        return Err(InspectError::TooOld(about.version / 10_000));
    }
    let oids: Vec<u32> = oids
        .map_err(server("find the tables"))?
        .iter()
        .map(|row| row.get(0))
        .collect();
    let publications = if about.version < 150_000 {
        include_str!("sql/publications_14.sql")
    } else {
        include_str!("sql/publications.sql")
    };
    // Polled in this order, all seven are on their way before the first
    // answer is read.
    let (tables, columns, constraints, indexes, (triggers, publications, dependents)) =
        futures_util::future::join5(
            list(client, "tables", include_str!("sql/tables.sql"), &oids),
            list(client, "columns", include_str!("sql/columns.sql"), &oids),
            list(
                client,
                "constraints",
                include_str!("sql/constraints.sql"),
                &oids,
            ),
            list(client, "indexes", include_str!("sql/indexes.sql"), &oids),
            futures_util::future::join3(
                list(client, "triggers", include_str!("sql/triggers.sql"), &oids),
                list(client, "publications", publications, &oids),
                list(
                    client,
                    "dependents",
                    include_str!("sql/dependents.sql"),
                    &oids,
                ),
            ),
        )
        .await;
    let decoded = Decoded {
        tables: tables?,
        columns: columns?,
        constraints: constraints?,
        indexes: indexes?,
        triggers: triggers?,
        publications: publications?,
        dependents: dependents?,
    };
    let mut catalog = build::catalog(&about, decoded);
    if !request.tables.iter().all(|name| is_known(&catalog, name)) {
        catalog.neighbours = client
            .query_typed(
                include_str!("sql/neighbours.sql"),
                &[(&schemas, Type::TEXT_ARRAY)],
            )
            .await
            .map_err(server("list the tables"))?
            .iter()
            .map(|row| TableName::new(row.get::<_, String>(0), row.get::<_, String>(1)))
            .collect();
    }
    Ok((catalog, about))
}

/// A table of that name, or an index of one, has been read.
fn is_known(catalog: &Catalog, name: &TableName) -> bool {
    catalog.tables.contains_key(name)
        || catalog.tables.values().any(|table| {
            table.name.schema == name.schema
                && table.indexes.iter().any(|index| index.name == name.name)
        })
}

async fn list<T: serde::de::DeserializeOwned>(
    client: &Client,
    what: &'static str,
    sql: &str,
    oids: &[u32],
) -> Result<Vec<T>, InspectError> {
    let rows = client
        .query_typed(sql, &[(&oids, Type::OID_ARRAY)])
        .await
        .map_err(|source| InspectError::Server {
            doing: match what {
                "tables" => "read the tables",
                "columns" => "read the columns",
                "constraints" => "read the constraints",
                "indexes" => "read the indexes",
                "triggers" => "read the triggers",
                "publications" => "read the publications",
                _ => "read what depends on the tables",
            },
            source,
        })?;
    decode(what, rows)
}
