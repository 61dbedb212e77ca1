//! One server for all tests of a process, and a database for each test.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Server, ServerSpec, connect, find};
use crate::error::{Error, Result};

impl Server {
    /// The server that all tests of this process share, one for each version; started by the first caller.
    ///
    /// It is never dropped: the guardian ends it with the process. Tests that restart or reconfigure a server start
    /// their own.
    ///
    /// # Errors
    /// As [`Server::start`].
    pub async fn shared(version: Option<u32>) -> Result<&'static Server> {
        static SHARED: tokio::sync::Mutex<BTreeMap<Option<u32>, &'static Server>> =
            tokio::sync::Mutex::const_new(BTreeMap::new());
        let wanted = find::wanted(version)?;
        let mut shared = SHARED.lock().await;
        if let Some(server) = shared.get(&wanted) {
            return Ok(server);
        }
        let server: &'static Server = Box::leak(Box::new(
            Server::start(ServerSpec {
                version: wanted,
                ..ServerSpec::default()
            })
            .await?,
        ));
        shared.insert(wanted, server);
        // Whoever asks for this version by its number gets the same server.
        shared.entry(Some(server.version())).or_insert(server);
        Ok(server)
    }
}

/// A fresh database with a unique name on the process's shared server.
#[derive(Debug)]
pub struct TestDatabase {
    server: &'static Server,
    name: String,
}

impl TestDatabase {
    /// Creates a database on the shared server of this version (`None`: as in [`ServerSpec::version`]).
    ///
    /// # Errors
    /// As [`Server::start`] and [`Server::create_database`].
    pub async fn create(version: impl Into<Option<u32>>) -> Result<Self> {
        let server = Server::shared(version.into()).await?;
        Self::copy(server, "template0").await
    }

    /// Creates a database in which these statements have run: once for all who ask for them, in one that is then
    /// copied. What they do outside of it (roles) is done once.
    ///
    /// # Errors
    /// As [`TestDatabase::create`], and when a statement fails.
    pub async fn prepared(version: impl Into<Option<u32>>, statements: &str) -> Result<Self> {
        static TEMPLATES: tokio::sync::Mutex<BTreeMap<(u32, String), String>> =
            tokio::sync::Mutex::const_new(BTreeMap::new());
        let server = Server::shared(version.into()).await?;
        let key = (server.version(), statements.to_owned());
        let mut templates = TEMPLATES.lock().await;
        if let Some(template) = templates.get(&key) {
            let template = template.clone();
            drop(templates);
            return Self::copy(server, &template).await;
        }
        let template = Self::copy(server, "template0").await?;
        let client = template.client().await?;
        client
            .batch_execute(statements)
            .await
            .map_err(|e| Error::postgres("prepare a database", e))?;
        drop(client);
        let copy = Self::copy(server, &template.name).await?;
        templates.insert(key, template.name);
        Ok(copy)
    }

    async fn copy(server: &'static Server, template: &str) -> Result<Self> {
        static COUNTER: AtomicU64 = AtomicU64::new(1);
        let name = format!("test_{}", COUNTER.fetch_add(1, Ordering::Relaxed));
        server.copy_database(template, &name).await?;
        Ok(Self { server, name })
    }

    /// The server that holds the database.
    pub fn server(&self) -> &'static Server {
        self.server
    }

    /// The database's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The superuser's URL.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Another role's URL; it needs no password.
    pub fn url_as(&self, role: &str) -> String {
        self.server.url_as(role, &self.name)
    }

    /// A new superuser's connection, driven by the current runtime.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub async fn client(&self) -> Result<tokio_postgres::Client> {
        connect(&self.url()).await
    }

    /// Removes the database. Optional: it goes with its server anyway.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn drop(self) -> Result<()> {
        self.server.drop_database(&self.name).await
    }
}

/// The major versions that version-dependent tests run on: `$PONTOON_TEST_VERSIONS` (for example `14,18`, or `all`),
/// else only the default one.
///
/// # Errors
/// When the variable cannot be read or, without it, no PostgreSQL can be found.
pub fn test_versions() -> Result<Vec<u32>> {
    match std::env::var("PONTOON_TEST_VERSIONS") {
        Ok(text) if text.trim() == "all" => Ok((14..=18).collect()),
        Ok(text) if !text.trim().is_empty() => text
            .split(',')
            .map(|part| {
                part.trim().parse().map_err(|_| {
                    Error::Unusable(format!("read PONTOON_TEST_VERSIONS: expected `all` or numbers such as `14,18`, found `{text}`"))
                })
            })
            .collect(),
        _ => {
            let account = super::account::Account::choose()?;
            Ok(vec![find::installation(find::wanted(None)?, &account)?.major])
        }
    }
}
