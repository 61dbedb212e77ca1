//! PgBouncer in transaction mode, in front of a server.
//!
//! It belongs to the process that started it exactly as a [`Server`] does: the same guardian ends it. It is not fetched;
//! `apt-get install pgbouncer` (or the like) brings it. What needs it asks [`Pooler::is_here`] first, which is an error
//! instead of a quiet "no" where `PONTOON_REQUIRE_PGBOUNCER=1` says that it must be here, as CI does.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use rand::Rng;

use super::account::Account;
use super::configure::free_port;
use super::guardian::Guardian;
use super::{PATIENCE, Server, encode, end, temporary_directory};
use crate::error::{Error, Result};

/// Directories in which packages put it, and which are not always on the PATH.
const DIRECTORIES: [&str; 4] = [
    "/usr/sbin",
    "/usr/local/sbin",
    "/usr/local/bin",
    "/opt/homebrew/bin",
];

/// A running PgBouncer.
#[derive(Debug)]
pub struct Pooler {
    dir: PathBuf,
    port: u16,
    password: String,
    server_connections: u32,
    account: Account,
    process: Option<Child>,
    guardian: Option<Guardian>,
}

impl Pooler {
    /// Whether PgBouncer is on this machine.
    ///
    /// # Errors
    /// When it is not, and `PONTOON_REQUIRE_PGBOUNCER` is `1`.
    pub fn is_here() -> Result<bool> {
        let here = program().is_some();
        let required = std::env::var("PONTOON_REQUIRE_PGBOUNCER").is_ok_and(|value| value == "1");
        if !here && required {
            return Err(missing());
        }
        Ok(here)
    }

    /// Starts PgBouncer in transaction mode. Clients log in as the superuser, with the server's password, to any
    /// database; each pair of user and database shares at most `server_connections` connections to the server.
    ///
    /// # Errors
    /// When PgBouncer is missing, or does not start; the error then ends with the last lines of its log.
    pub async fn start(server: &Server, server_connections: u32) -> Result<Self> {
        let program = program().ok_or_else(missing)?;
        let account = server.place.account.clone();
        let random: u64 = rand::rng().random();
        let dir = temporary_directory(&account).join(format!("pontoon-{random:016x}"));
        let guardian = Guardian::start(&dir)?;
        let mut pooler = Self {
            port: free_port()?,
            password: server.password().to_owned(),
            server_connections,
            account,
            process: None,
            guardian: Some(guardian),
            dir,
        };
        let data = pooler.data();
        for path in [&pooler.dir, &data] {
            std::fs::create_dir(path).map_err(|e| Error::io("create", path, e))?;
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o700))
                .map_err(|e| Error::io("set the permissions of", path, e))?;
            pooler.account.own(path)?;
        }
        pooler.configure(server)?;
        let command = pooler
            .account
            .command(&program)
            .arg("--quiet")
            .arg(pooler.configuration())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        pooler.process = Some(command.map_err(|e| Error::program("pgbouncer", e.to_string()))?);
        pooler.wait_until_ready().await?;
        Ok(pooler)
    }

    /// Sends clients to another server from now on, as an operator does after a failover. Connections to the old one
    /// are closed when their transaction ends.
    ///
    /// # Errors
    /// When the configuration cannot be written.
    pub fn point_to(&self, server: &Server) -> Result<()> {
        self.configure(server)?;
        let pid = self.process.as_ref().map(Child::id);
        let pid = pid.and_then(|pid| i32::try_from(pid).ok());
        let pid = pid.ok_or_else(|| Error::program("pgbouncer", "it does not run"))?;
        kill(Pid::from_raw(pid), Signal::SIGHUP)
            .map_err(|e| Error::program("pgbouncer", e.to_string()))
    }

    /// The superuser's URL through the pooler. It contains the password.
    pub fn url(&self, database: &str) -> String {
        format!(
            "postgresql://postgres:{}@127.0.0.1:{}/{}",
            self.password,
            self.port,
            encode(database)
        )
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn configuration(&self) -> PathBuf {
        self.data().join("pgbouncer.ini")
    }

    fn log(&self) -> PathBuf {
        self.data().join("log")
    }

    fn configure(&self, server: &Server) -> Result<()> {
        let users = self.data().join("users");
        // The guardian looks for the pid file of a server, so PgBouncer's has that name.
        let settings = format!(
            "[databases]\n* = host={socket} port={port}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {own}\nunix_socket_dir =\nauth_type = scram-sha-256\nauth_file = {users}\n\
             admin_users = postgres\npool_mode = transaction\ndefault_pool_size = {size}\nmax_client_conn = 500\n\
             server_login_retry = 1\nserver_connect_timeout = 3\nlogfile = {log}\npidfile = {pid}\n",
            socket = server.socket_dir().display(),
            port = server.port(),
            own = self.port,
            users = users.display(),
            size = self.server_connections,
            log = self.log().display(),
            pid = self.data().join("postmaster.pid").display(),
        );
        let list = format!("\"postgres\" \"{}\"\n", self.password);
        for (path, content) in [(self.configuration(), settings), (users, list)] {
            std::fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))
                .map_err(|e| Error::io("set the permissions of", &path, e))?;
            self.account.own(&path)?;
        }
        Ok(())
    }

    async fn wait_until_ready(&mut self) -> Result<()> {
        let begun = Instant::now();
        loop {
            match super::connect(&self.url("postgres")).await {
                Ok(_) => return Ok(()),
                Err(error) => {
                    let ended = self.process.as_mut().and_then(|p| p.try_wait().ok()?);
                    if ended.is_some() || begun.elapsed() > PATIENCE {
                        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
                        let lines: Vec<&str> = log.lines().collect();
                        let last = lines[lines.len().saturating_sub(6)..].join(" / ");
                        return Err(Error::program(
                            "pgbouncer",
                            format!("{error}; its log ends: {last}"),
                        ));
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if let Some(process) = self.process.take()
            && let Err(mut process) = end(process, Signal::SIGTERM, Duration::from_secs(5))
            && let Err(error) = process.kill().and_then(|()| process.wait())
        {
            tracing::warn!("PgBouncer could not be killed: {error}");
        }
        // The guardian removes the directory.
        drop(self.guardian.take());
    }
}

/// Where the program is, if it runs.
fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(DIRECTORIES.iter().map(PathBuf::from))
        .map(|dir| dir.join("pgbouncer"))
        .find(|program| runs(program))
}

fn runs(program: &Path) -> bool {
    program.is_file()
        && Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .is_ok_and(|output| output.status.success())
}

fn missing() -> Error {
    Error::program(
        "pgbouncer",
        "it is not on this machine; install it (Debian, Ubuntu: apt-get install pgbouncer), \
         or leave PONTOON_REQUIRE_PGBOUNCER unset to do without",
    )
}
