//! Creates and upgrades our own schema.
//!
//! The schema carries its version. A binary upgrades older versions one by
//! one, each under an advisory lock and in one transaction, and refuses a
//! newer one: it would not know what it destroys.

use tokio_postgres::Client;

use super::super::Postgres;
use super::super::sqlstate::classify;
use crate::db::{DbError, ErrorKind};

/// The version of the schema that this binary reads and writes.
pub const SCHEMA_VERSION: i32 = 3;

/// One script per version, in order; each brings the version before it up.
const SCRIPTS: [&str; SCHEMA_VERSION as usize] = [
    include_str!("001_schema.sql"),
    include_str!("002_control.sql"),
    include_str!("003_workers.sql"),
];

/// Serializes two processes that create or upgrade the schema at once.
const INIT_LOCK: &str =
    "SELECT pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended('pontoon.init', 5060));\n";

/// The text that `pontoon init --print-sql` shows: what a DBA runs by hand,
/// as the role that Pontoon will connect as.
pub fn init_sql(app_role: Option<&str>) -> String {
    let mut text = String::from(
        "\
-- Run this as the role that Pontoon will connect as: the objects belong to
-- it. That role needs CREATE on the database for this once, and owns the
-- tables that plans change (or is a member of their owners). A superuser
-- can instead run first:
--   CREATE SCHEMA pontoon AUTHORIZATION that_role; SET ROLE that_role;

BEGIN;

",
    );
    text.push_str(INIT_LOCK);
    text.push('\n');
    for script in SCRIPTS {
        text.push_str(script);
        text.push('\n');
    }
    text.push_str(&app_role_sql(app_role));
    text.push_str("COMMIT;\n");
    text
}

/// An application's role needs nothing of ours; say so, and take away what
/// somebody may have granted.
fn app_role_sql(app_role: Option<&str>) -> String {
    let Some(role) = app_role else {
        return String::new();
    };
    format!(
        "-- The application's role needs no right here: dual-write functions run as\n\
         -- their owner. This only takes back what somebody may have granted.\n\
         REVOKE ALL ON SCHEMA pontoon FROM {};\n\n",
        quote_role(role)
    )
}

fn quote_role(role: &str) -> String {
    format!("\"{}\"", role.replace('"', "\"\""))
}

/// What stands in the database.
enum Present {
    Nothing,
    Version(i32),
}

/// Creates or upgrades the schema; nothing to do is fine.
pub(crate) async fn init(database: &Postgres, app_role: Option<&str>) -> Result<(), DbError> {
    const DOING: &str = "create Pontoon's schema";
    let session = database.session().await?;
    if let Present::Version(version) = present(&session).await? {
        refuse_newer(version)?;
        if version == SCHEMA_VERSION && app_role.is_none() {
            return Ok(());
        }
    }
    session
        .transaction(INIT_LOCK, DOING, async |client| {
            // Somebody else may have done it while we waited for the lock.
            let done = match present(client).await? {
                Present::Nothing => 0,
                Present::Version(version) => version,
            };
            refuse_newer(done)?;
            for (script, version) in SCRIPTS.iter().zip(1..) {
                if version > done {
                    client
                        .batch_execute(script)
                        .await
                        .map_err(|error| classify(&error, DOING))?;
                }
            }
            client
                .batch_execute(&app_role_sql(app_role))
                .await
                .map_err(|error| classify(&error, DOING))?;
            Ok(())
        })
        .await
}

/// Is our schema here, and can this binary read it?
pub(crate) async fn exists(client: &Client) -> Result<bool, DbError> {
    match present(client).await? {
        Present::Nothing => Ok(false),
        Present::Version(version) if version == SCHEMA_VERSION => Ok(true),
        Present::Version(version) => {
            refuse_newer(version)?;
            Err(DbError::new(
                ErrorKind::Refused,
                format!(
                    "The schema pontoon has version {version}, this binary needs {SCHEMA_VERSION}"
                ),
            )
            .hint("Run `pontoon init` to upgrade it."))
        }
    }
}

async fn present(client: &Client) -> Result<Present, DbError> {
    const DOING: &str = "look for Pontoon's schema";
    let row = client
        .query_typed_opt(
            "SELECT pg_catalog.pg_has_role(n.nspowner, 'USAGE'),
                    pg_catalog.pg_get_userbyid(n.nspowner)::text,
                    EXISTS (SELECT FROM pg_catalog.pg_class c
                            WHERE c.relnamespace = n.oid AND c.relname = 'meta')
             FROM pg_catalog.pg_namespace n WHERE n.nspname = 'pontoon'",
            &[],
        )
        .await
        .map_err(|error| classify(&error, DOING))?;
    let Some(row) = row else {
        return Ok(Present::Nothing);
    };
    let (ours, owner, has_meta): (bool, String, bool) = (row.get(0), row.get(1), row.get(2));
    if !ours {
        return Err(DbError::new(
            ErrorKind::Refused,
            format!("The schema pontoon belongs to the role {owner}"),
        )
        .hint(format!(
            "Connect as {owner}, or GRANT {owner} to the role you connect as."
        )));
    }
    if !has_meta {
        return Ok(Present::Nothing);
    }
    let version = client
        .query_typed_opt("SELECT version FROM pontoon.meta", &[])
        .await
        .map_err(|error| classify(&error, DOING))?
        .map(|row| row.get::<_, i32>(0));
    Ok(version.map_or(Present::Nothing, Present::Version))
}

fn refuse_newer(version: i32) -> Result<(), DbError> {
    if version <= SCHEMA_VERSION {
        return Ok(());
    }
    Err(DbError::new(
        ErrorKind::Refused,
        format!(
            "The schema pontoon has version {version}, written by a newer Pontoon; this one knows {SCHEMA_VERSION}"
        ),
    )
    .hint("Use the newer binary."))
}
