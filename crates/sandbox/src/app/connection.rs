//! A client's session, with its prepared statements.

use std::collections::HashMap;
use std::io::Cursor;
use std::time::Duration;

use futures_util::SinkExt;
use tokio::task::JoinHandle;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, NoTls, Row, Statement};

use super::model::{Cell, Version};
use super::shared::AppOptions;

pub(crate) struct Connection {
    client: Client,
    driver: JoinHandle<()>,
    prepared: HashMap<String, Statement>,
    pid: i32,
    backend_start: String,
    server_version: i32,
}

impl Connection {
    pub(crate) async fn open(
        options: &AppOptions,
        version: Version,
        number: usize,
    ) -> Result<Self, Error> {
        let mut config: tokio_postgres::Config = options.url.parse()?;
        let version = match version {
            Version::Old => "old",
            Version::New => "new",
        };
        config
            .application_name(format!("app-{version}-{number}"))
            .connect_timeout(Duration::from_secs(5));
        let (client, connection) = config.connect(NoTls).await?;
        let driver = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!("a connection of the application ended: {error}");
            }
        });
        if let Some(level) = &options.isolation {
            client
                .batch_execute(&format!("SET default_transaction_isolation = '{level}'"))
                .await?;
        }
        let sql = "SELECT pid, backend_start::text, current_setting('server_version_num')::integer
             FROM pg_stat_activity WHERE pid = pg_backend_pid()";
        let row = client.query_one(sql, &[]).await?;
        Ok(Self {
            client,
            driver,
            prepared: HashMap::new(),
            pid: row.get(0),
            backend_start: row.get(1),
            server_version: row.get(2),
        })
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.client.is_closed()
    }

    /// Whether the server knows `MERGE`.
    pub(crate) fn merges(&self) -> bool {
        self.server_version >= 150_000
    }

    /// Sends `data` to a `COPY … FROM STDIN` and returns how many rows were stored.
    pub(crate) async fn copy(&self, sql: &str, data: String) -> Result<u64, Error> {
        let sink = self.client.copy_in::<_, Cursor<String>>(sql).await?;
        let mut sink = std::pin::pin!(sink);
        sink.send(Cursor::new(data)).await?;
        sink.finish().await
    }

    /// What identifies the server process for as long as it lives, and never another one.
    pub(crate) fn session(&self) -> (i32, String) {
        (self.pid, self.backend_start.clone())
    }

    /// Whether a session of our role is still at work.
    pub(crate) async fn is_alive(&self, session: &(i32, String)) -> Result<bool, Error> {
        let sql =
            "SELECT count(*) FROM pg_stat_activity WHERE pid = $1 AND backend_start::text = $2";
        Ok(self
            .client
            .query_one(sql, &[&session.0, &session.1])
            .await?
            .get::<_, i64>(0)
            > 0)
    }

    pub(crate) async fn prepare(&mut self, sql: &str) -> Result<Statement, Error> {
        if let Some(prepared) = self.prepared.get(sql) {
            return Ok(prepared.clone());
        }
        let prepared = self.client.prepare(sql).await?;
        self.prepared.insert(sql.to_owned(), prepared.clone());
        Ok(prepared)
    }

    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Error> {
        self.client.batch_execute(sql).await
    }

    pub(crate) async fn query(
        &mut self,
        sql: &str,
        parameters: &[Cell],
    ) -> Result<Vec<Row>, Error> {
        let prepared = self.prepare(sql).await?;
        self.run(&prepared, parameters).await
    }

    pub(crate) async fn run(
        &self,
        prepared: &Statement,
        parameters: &[Cell],
    ) -> Result<Vec<Row>, Error> {
        self.client
            .query(prepared, &as_parameters(parameters))
            .await
    }

    /// Runs a statement and returns how many rows it changed.
    pub(crate) async fn change(
        &self,
        prepared: &Statement,
        parameters: &[Cell],
    ) -> Result<u64, Error> {
        self.client
            .execute(prepared, &as_parameters(parameters))
            .await
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

fn as_parameters(cells: &[Cell]) -> Vec<&(dyn ToSql + Sync)> {
    cells.iter().map(|cell| cell as _).collect()
}

/// Whether the session is gone: the socket broke, or the server said so in its last words.
pub(crate) fn is_lost(error: &Error) -> bool {
    match error.as_db_error() {
        None => true,
        Some(db) => matches!(db.severity(), "FATAL" | "PANIC"),
    }
}
