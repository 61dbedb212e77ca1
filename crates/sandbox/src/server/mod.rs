//! A real PostgreSQL server in a temporary directory.
//!
//! What it promises:
//! - no server and no directory survives the process that started it, however that process ends
//!   (a guardian process cleans up after SIGKILL);
//! - it listens on 127.0.0.1 and on a Unix socket in its own closed directory, nowhere else; the superuser needs a
//!   random password over TCP, which [`Server::url`] contains;
//! - a restart keeps port, password and data.
//!
//! What it never does: touch a server that it did not start, or run PostgreSQL as root.
//!
//! `fsync` is off, for a throwaway server need not survive a power cut. Everything else that matters for
//! correctness and locking is PostgreSQL's default. Benchmarks that measure commits set [`ServerSpec::durable`].

mod account;
mod cache;
mod configure;
mod fetch;
mod find;
mod guardian;
mod place;
mod pooler;
pub(crate) mod programs;
mod shared;
mod standby;
mod template;
mod text;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;

use self::account::Account;
use self::find::Installation;
use self::guardian::Guardian;
use self::place::Place;
use self::text::encode;
pub(crate) use self::text::{literal, quote};
use crate::error::{Error, Result};

pub use self::pooler::Pooler;
pub use self::shared::{TestDatabase, test_versions};
pub use self::standby::StandbySpec;

/// How long a server may take to become ready or to stop.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a start is repeated while processes of a killed predecessor still hold its memory.
const RESTART_PATIENCE: Duration = Duration::from_secs(20);

/// What kind of server is wanted. `ServerSpec::default()` is good for most tests.
#[derive(Clone, Debug, Default)]
pub struct ServerSpec {
    /// The major version, 14 to 18. `None` means `$PONTOON_PG_VERSION`, else the newest one on this machine, else 18
    /// (which is then fetched).
    pub version: Option<u32>,
    /// Settings for postgresql.conf, which win over the sandbox's own. Values are written as given: quote them yourself
    /// where PostgreSQL wants quotes.
    pub settings: Vec<(String, String)>,
    /// Leaves `fsync` on, for benchmarks of commits.
    pub durable: bool,
    /// Asks every role for a password over TCP, not only the superuser.
    pub require_passwords: bool,
    /// Environment variables for the server's processes, for example `LD_PRELOAD`.
    pub environment: Vec<(String, String)>,
}

impl ServerSpec {
    /// A server of this major version.
    pub fn version(major: u32) -> Self {
        Self {
            version: Some(major),
            ..Self::default()
        }
    }

    /// Adds a setting for postgresql.conf.
    #[must_use]
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a variable to the environment of the server's processes.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// How a server is told to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// Waits until every client has left.
    Smart,
    /// Ends every session and writes a checkpoint.
    Fast,
    /// Ends at once as in a crash; the next start recovers from the log.
    Immediate,
}

/// A PostgreSQL server that ends with this value, or with this process.
#[derive(Debug)]
pub struct Server {
    place: Place,
    port: u16,
    password: String,
    spec: ServerSpec,
    postmaster: Mutex<Option<Child>>,
    guardian: Mutex<Option<Guardian>>,
}

impl Server {
    /// Starts a server and waits until it accepts connections.
    ///
    /// Finds or fetches PostgreSQL first; a fetch takes some seconds, once for each machine and version.
    ///
    /// # Errors
    /// When there is no such PostgreSQL and none can be fetched, or when the server does not start; the error then
    /// ends with the last lines of the server's log.
    pub async fn start(spec: ServerSpec) -> Result<Self> {
        let server = blocking(move || Self::start_blocking(spec)).await?;
        let client = server.socket_client("postgres").await?;
        let statement = format!("ALTER ROLE postgres PASSWORD '{}'", server.password);
        client
            .batch_execute(&statement)
            .await
            .map_err(|e| Error::postgres("set the superuser's password", e))?;
        Ok(server)
    }

    fn start_blocking(spec: ServerSpec) -> Result<Self> {
        let account = Account::choose()?;
        let installation = find::installation(find::wanted(spec.version)?, &account)?;
        let mut server = Self::prepare(installation, account, spec)?;
        template::instantiate(
            &server.place.installation,
            &server.place.account,
            &server.place.data(),
        )?;
        server.start_on_free_port("")?;
        Ok(server)
    }

    /// A server's empty directory under guard; nothing runs yet.
    fn prepare(installation: Installation, account: Account, spec: ServerSpec) -> Result<Self> {
        let random: u64 = rand::rng().random();
        let dir = temporary_directory(&account).join(format!("pontoon-{random:016x}"));
        // The guardian comes first: there is no moment at which a SIGKILL would leave the directory behind.
        let guardian = Guardian::start(&dir)?;
        std::fs::create_dir(&dir).map_err(|e| Error::io("create", &dir, e))?;
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o700))
            .map_err(|e| Error::io("set the permissions of", &dir, e))?;
        account.own(&dir)?;
        let password = format!("{:032x}", rand::rng().random::<u128>());
        Ok(Self {
            place: Place {
                installation,
                account,
                dir,
                environment: spec.environment.clone(),
            },
            port: 0,
            password,
            spec,
            postmaster: Mutex::new(None),
            guardian: Mutex::new(Some(guardian)),
        })
    }

    /// Stops the server; its data stay, and [`Server::start_again`] continues with them.
    ///
    /// # Errors
    /// When it has not stopped after a minute (with [`StopMode::Smart`]: because clients are still connected).
    pub async fn stop(&self, mode: StopMode) -> Result<()> {
        let signal = match mode {
            StopMode::Smart => Signal::SIGTERM,
            StopMode::Fast => Signal::SIGINT,
            StopMode::Immediate => Signal::SIGQUIT,
        };
        let Some(child) = self.take_postmaster() else {
            return Ok(());
        };
        match blocking(move || Ok(end(child, signal, PATIENCE))).await? {
            Ok(()) => Ok(()),
            Err(child) => {
                *self.postmaster() = Some(child);
                Err(self.error("stop", format!("still running {PATIENCE:?} after {signal}")))
            }
        }
    }

    /// Kills the postmaster with SIGKILL, as the out-of-memory killer would. Its children notice and end by themselves,
    /// those in the middle of a statement a little later.
    ///
    /// # Errors
    /// When the process cannot be awaited.
    pub async fn kill_postmaster(&self) -> Result<()> {
        let Some(mut child) = self.take_postmaster() else {
            return Ok(());
        };
        blocking(move || {
            child
                .kill()
                .and_then(|()| child.wait())
                .map_err(|e| Error::program("postgres", e.to_string()))
                .map(drop)
        })
        .await
    }

    /// Starts a stopped or killed server again, on the same port and with the same data.
    ///
    /// After [`Server::kill_postmaster`] the start is repeated for some seconds, because processes of the killed server
    /// may still hold its shared memory.
    ///
    /// # Errors
    /// When the server does not become ready.
    pub async fn start_again(&self) -> Result<()> {
        if self.pid().is_some() {
            return Err(self.error("start", "it runs already".into()));
        }
        let begun = Instant::now();
        loop {
            let place = self.place.clone();
            match blocking(move || place.launch()).await {
                Ok(child) => {
                    *self.postmaster() = Some(child);
                    return Ok(());
                }
                Err(Error::Server { message, .. })
                    if begun.elapsed() < RESTART_PATIENCE
                        && (message.contains("pre-existing shared memory")
                            || message.contains("lock file")
                            || message.contains("Address already in use")) =>
                {
                    tokio::time::sleep(Duration::from_millis(200)).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Lets the server run on after this process has ended, and returns its directory.
    ///
    /// # Errors
    /// When the guardian cannot be told.
    pub fn keep(self) -> Result<PathBuf> {
        if let Some(guardian) = self
            .guardian
            .lock()
            .expect("no code panics while it holds this lock")
            .take()
        {
            guardian.dismiss()?;
        }
        drop(self.take_postmaster());
        Ok(self.place.dir.clone())
    }

    /// A connection string (URL form) for the superuser and this database, over TCP. It contains the password.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://postgres:{}@127.0.0.1:{}/{}",
            self.password,
            self.port,
            encode(database)
        )
    }

    /// The same for another role, which needs no password unless [`ServerSpec::require_passwords`] is set.
    pub fn url_as(&self, role: &str, database: &str) -> String {
        format!(
            "postgresql://{}@127.0.0.1:{}/{}",
            encode(role),
            self.port,
            encode(database)
        )
    }

    /// The name of the superuser.
    pub fn superuser(&self) -> &str {
        "postgres"
    }

    /// The superuser's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The directory of the Unix socket, also the server's own directory. Over the socket no password is asked.
    pub fn socket_dir(&self) -> &Path {
        &self.place.dir
    }

    /// The data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.place.data()
    }

    /// The server's log since its last start.
    pub fn log_path(&self) -> PathBuf {
        self.place.log()
    }

    /// The directory of the server's programs.
    pub fn bin_dir(&self) -> &Path {
        &self.place.installation.bin
    }

    /// The postmaster's process id; `None` while the server is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.postmaster().as_ref().map(Child::id)
    }

    /// The major version.
    pub fn version(&self) -> u32 {
        self.place.installation.major
    }

    /// Creates a database and returns its URL.
    ///
    /// # Errors
    /// When PostgreSQL refuses, for example because the name is taken.
    pub async fn create_database(&self, name: &str) -> Result<String> {
        self.copy_database("template0", name).await
    }

    /// Creates a database as a copy of another one, in which there must be no sessions, and returns its URL.
    ///
    /// # Errors
    /// When PostgreSQL refuses, for example because the name is taken.
    pub async fn copy_database(&self, template: &str, name: &str) -> Result<String> {
        let client = self.socket_client("postgres").await?;
        let statement = format!(
            "CREATE DATABASE {} TEMPLATE {}",
            quote(name),
            quote(template)
        );
        client
            .batch_execute(&statement)
            .await
            .map_err(|e| Error::postgres(format!("create database {}", quote(name)), e))?;
        Ok(self.url(name))
    }

    /// Removes a database and ends its sessions.
    ///
    /// # Errors
    /// When PostgreSQL refuses.
    pub async fn drop_database(&self, name: &str) -> Result<()> {
        let client = self.socket_client("postgres").await?;
        client
            .batch_execute(&format!(
                "DROP DATABASE IF EXISTS {} WITH (FORCE)",
                quote(name)
            ))
            .await
            .map_err(|e| Error::postgres(format!("drop database {}", quote(name)), e))
    }

    /// A superuser's connection to a database.
    ///
    /// # Errors
    /// When the server does not accept it.
    pub async fn client(&self, database: &str) -> Result<tokio_postgres::Client> {
        self.socket_client(database).await
    }

    async fn socket_client(&self, database: &str) -> Result<tokio_postgres::Client> {
        let mut config = tokio_postgres::Config::new();
        config
            .host_path(&self.place.dir)
            .port(self.port)
            .user("postgres")
            .dbname(database)
            .application_name("sandbox");
        open(config).await
    }

    fn take_postmaster(&self) -> Option<Child> {
        self.postmaster().take()
    }

    fn postmaster(&self) -> MutexGuard<'_, Option<Child>> {
        self.postmaster
            .lock()
            .expect("no code panics while it holds this lock")
    }

    fn error(&self, action: &'static str, message: String) -> Error {
        self.place.error(action, message)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = self.take_postmaster()
            && let Err(mut child) = end(child, Signal::SIGQUIT, Duration::from_secs(10))
            && let Err(error) = child.kill().and_then(|()| child.wait())
        {
            tracing::warn!(
                "the server in {} could not be killed: {error}",
                self.place.dir.display()
            );
        }
        // The guardian removes the directory.
        drop(
            self.guardian
                .lock()
                .expect("no code panics while it holds this lock")
                .take(),
        );
    }
}

/// Signals a child and waits for its end; gives it back when it is still running after `patience`.
fn end(mut child: Child, signal: Signal, patience: Duration) -> Result<(), Child> {
    let Ok(pid) = i32::try_from(child.id()) else {
        return Err(child);
    };
    // The child is ours and not yet awaited, so its pid cannot have been given to another process.
    if let Err(error) = kill(Pid::from_raw(pid), signal) {
        tracing::debug!("signal {signal} to {pid}: {error}");
    }
    let begun = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(_)) => return Ok(()),
            Ok(None) if begun.elapsed() < patience => std::thread::sleep(Duration::from_millis(5)),
            Ok(None) | Err(_) => return Err(child),
        }
    }
}

/// Connects to a URL (or keyword string) and drives the connection in the background of the current runtime.
///
/// # Errors
/// When the URL is malformed or the server refuses.
pub async fn connect(url: &str) -> Result<tokio_postgres::Client> {
    let config = url
        .parse()
        .map_err(|e| Error::postgres("read the connection URL", e))?;
    open(config).await
}

async fn open(config: tokio_postgres::Config) -> Result<tokio_postgres::Client> {
    let (client, connection) = config
        .connect(tokio_postgres::NoTls)
        .await
        .map_err(|e| Error::postgres("connect to the sandbox server", e))?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!("a sandbox connection ended: {error}");
        }
    });
    Ok(client)
}

/// Runs work that blocks (files, processes) away from the threads that drive other tasks.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|e| Error::Unusable(format!("finish a background task: {e}")))?
}

/// The temporary directory, or `/tmp` where the usual one is closed to the account or too long for a socket's name.
fn temporary_directory(account: &Account) -> PathBuf {
    let usual = std::env::temp_dir();
    if account.can_enter(&usual) && usual.as_os_str().len() <= 60 {
        usual
    } else {
        PathBuf::from("/tmp")
    }
}
