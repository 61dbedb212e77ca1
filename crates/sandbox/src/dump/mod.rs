//! The catalog as text, to prove that it is what it was.
//!
//! Two snapshots of the same database are equal when nothing that a user can see in the catalog differs: columns, defaults,
//! constraints, indexes, triggers, rights, comments, owners, options, publications, functions and all dependencies between
//! them. Data are not looked at, nor sequence values, nor collected statistics, nor the holes that dropped columns leave.
//!
//! The queries are this module's own. It shares no code with Pontoon's catalog, so an object that Pontoon forgets is still
//! seen here. [`pg_dump`] gives a second opinion where a suitable program is installed.

use std::collections::BTreeMap;
use std::process::Stdio;

use tokio_postgres::Client;

use crate::error::{Error, Result};
use crate::server::programs;

/// Which parts of the catalog a snapshot leaves out.
#[derive(Clone, Debug)]
pub struct DumpOptions {
    /// Schemas that are not looked at.
    pub without_schemas: Vec<String>,
}

impl Default for DumpOptions {
    /// Everything but the schema `pontoon`, which a run leaves behind.
    fn default() -> Self {
        Self {
            without_schemas: vec!["pontoon".into()],
        }
    }
}

/// A snapshot of a database's catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogDump {
    /// Lines, sorted, with the number of times that each occurs.
    lines: BTreeMap<String, usize>,
}

impl CatalogDump {
    /// Takes a snapshot in a transaction of its own; `client` must not be in one, and should be a superuser's.
    ///
    /// # Errors
    /// When the catalog cannot be read.
    pub async fn take(client: &Client, options: &DumpOptions) -> Result<Self> {
        let failed = |section: &str| {
            let action = format!("read the catalog's {section}");
            move |e| Error::postgres(action, e)
        };
        // With an empty search path every name is printed with its schema.
        client
            .batch_execute(
                "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL search_path = ''",
            )
            .await
            .map_err(failed("snapshot"))?;
        let result = Self::read(client, options).await;
        client
            .batch_execute("ROLLBACK")
            .await
            .map_err(failed("snapshot"))?;
        result
    }

    async fn read(client: &Client, options: &DumpOptions) -> Result<Self> {
        let version = "SELECT current_setting('server_version_num')::integer / 10000";
        let row = client
            .query_one(version, &[])
            .await
            .map_err(|e| Error::postgres("read the server's version", e))?;
        let mut lines = BTreeMap::new();
        for (name, sql) in sections(row.get(0)) {
            let rows = client
                .query(sql, &[&options.without_schemas])
                .await
                .map_err(|e| Error::postgres(format!("read the catalog's part `{name}`"), e))?;
            for row in rows {
                *lines.entry(row.get(0)).or_default() += 1;
            }
        }
        Ok(Self { lines })
    }

    /// What a later snapshot lacks (lines that begin with `-`) and what it has besides (`+`). Empty when they are equal.
    pub fn differences(&self, later: &Self) -> Vec<String> {
        let count = |dump: &Self, line: &String| dump.lines.get(line).copied().unwrap_or(0);
        let mut differences = Vec::new();
        for line in self.lines.keys().chain(
            later
                .lines
                .keys()
                .filter(|line| !self.lines.contains_key(*line)),
        ) {
            let (before, after) = (count(self, line), count(later, line));
            differences.extend((after..before).map(|_| format!("- {line}")));
            differences.extend((before..after).map(|_| format!("+ {line}")));
        }
        differences
    }

    /// Drops the lines for which `keep` is false, for what a test changes on purpose.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.lines.retain(|line, _| keep(line));
    }

    /// The snapshot's lines.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.keys().map(String::as_str)
    }
}

fn sections(version: i32) -> Vec<(&'static str, &'static str)> {
    let mut sections = vec![
        ("schema", include_str!("sql/schema.sql")),
        ("relation", include_str!("sql/relation.sql")),
        ("column", include_str!("sql/column.sql")),
        ("right", include_str!("sql/right.sql")),
        ("constraint", include_str!("sql/constraint.sql")),
        ("index", include_str!("sql/index.sql")),
        ("trigger", include_str!("sql/trigger.sql")),
        ("policy", include_str!("sql/policy.sql")),
        ("rule", include_str!("sql/rule.sql")),
        ("sequence", include_str!("sql/sequence.sql")),
        ("function", include_str!("sql/function.sql")),
        ("type", include_str!("sql/type.sql")),
        ("statistics", include_str!("sql/statistics.sql")),
        ("publication", include_str!("sql/publication.sql")),
        ("other", include_str!("sql/other.sql")),
        ("dependency", include_str!("sql/dependency.sql")),
    ];
    sections.push(match version {
        ..=14 => (
            "publication member",
            include_str!("sql/publication_member_14.sql"),
        ),
        15.. => (
            "publication member",
            include_str!("sql/publication_member.sql"),
        ),
    });
    sections
}

/// What `pg_dump --schema-only` writes about the database, without the lines that differ from run to run; `None` when no
/// pg_dump of the server's version or a newer one is on this machine.
///
/// # Errors
/// When the URL cannot be read or pg_dump fails.
pub async fn pg_dump(url: &str, options: &DumpOptions) -> Result<Option<String>> {
    let client = crate::connect(url).await?;
    let version = "SELECT current_setting('server_version_num')::integer / 10000";
    let row = client
        .query_one(version, &[])
        .await
        .map_err(|e| Error::postgres("read the server's version", e))?;
    let server: i32 = row.get(0);
    drop(client);
    let Some(program) =
        tokio::task::spawn_blocking(move || programs::pg_dump(u32::try_from(server).unwrap_or(0)))
            .await
            .map_err(|e| Error::program("pg_dump", e.to_string()))?
    else {
        return Ok(None);
    };

    let config: tokio_postgres::Config = url
        .parse()
        .map_err(|e| Error::postgres("read the connection URL", e))?;
    let mut command = tokio::process::Command::new(program);
    command
        .arg("--schema-only")
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for schema in &options.without_schemas {
        command.arg(format!(
            "--exclude-schema=\"{}\"",
            schema.replace('"', "\"\"")
        ));
    }
    match config.get_hosts().first() {
        Some(tokio_postgres::config::Host::Tcp(host)) => command.env("PGHOST", host),
        Some(tokio_postgres::config::Host::Unix(path)) => command.env("PGHOST", path),
        None => &mut command,
    };
    // The password travels in the environment: arguments are visible to everybody on the machine.
    command
        .env(
            "PGPORT",
            config
                .get_ports()
                .first()
                .copied()
                .unwrap_or(5432)
                .to_string(),
        )
        .env("PGUSER", config.get_user().unwrap_or("postgres"))
        .env("PGDATABASE", config.get_dbname().unwrap_or("postgres"))
        .env(
            "PGPASSWORD",
            String::from_utf8_lossy(config.get_password().unwrap_or_default()).as_ref(),
        );
    let output = command
        .output()
        .await
        .map_err(|e| Error::program("pg_dump", e.to_string()))?;
    if !output.status.success() {
        return Err(Error::program(
            "pg_dump",
            String::from_utf8_lossy(&output.stderr).trim(),
        ));
    }
    // Newer minor releases guard a dump with `\restrict` and a random word.
    let text = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = text
        .lines()
        .filter(|line| {
            !line.starts_with("\\restrict")
                && !line.starts_with("\\unrestrict")
                && !line.starts_with("-- Dumped")
        })
        .collect();
    Ok(Some(lines.join("\n")))
}
