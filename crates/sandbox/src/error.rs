//! What can go wrong while a sandbox is made or used.

use std::path::{Path, PathBuf};

/// The result of a sandbox function.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of the sandbox. Messages are fragments that fit "failed to …".
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No PostgreSQL was found, and none could be fetched.
    #[error("find or fetch {wanted}: {tried}. {}", install_advice())]
    NoServer {
        /// Which version was wanted, for example `PostgreSQL 17`.
        wanted: String,
        /// What was tried, and why each attempt gave nothing.
        tried: String,
    },
    /// Root started us, PostgreSQL refuses to run as root, and no other account exists.
    #[error(
        "drop root for PostgreSQL, which refuses to run as root: no account `postgres` or `nobody` exists"
    )]
    NoAccount,
    /// A file operation failed.
    #[error("{action} {}: {source}", path.display())]
    Io {
        /// What was being done, for example `create`.
        action: &'static str,
        /// The file or directory concerned.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program could not be started, or reported failure.
    #[error("run {program}: {message}")]
    Program {
        /// The program, for example `initdb`.
        program: String,
        /// What it said, or why it did not start.
        message: String,
    },
    /// The server did not become ready or did not stop.
    #[error("{action} the PostgreSQL server in {}: {message}", dir.display())]
    Server {
        /// What was being done: `start` or `stop`.
        action: &'static str,
        /// The server's directory.
        dir: PathBuf,
        /// The reason, with the last lines of the server's log.
        message: String,
    },
    /// PostgreSQL answered with an error, or the connection was lost.
    #[error("{action}: {}", describe(source))]
    Postgres {
        /// What was being done, for example `create database "x"`.
        action: String,
        /// The driver's error.
        source: tokio_postgres::Error,
    },
    /// The sandbox was asked for something that it cannot do.
    #[error("{0}")]
    Unusable(String),
}

impl Error {
    pub(crate) fn io(action: &'static str, path: impl AsRef<Path>, source: std::io::Error) -> Self {
        Self::Io {
            action,
            path: path.as_ref().to_owned(),
            source,
        }
    }

    pub(crate) fn postgres(action: impl Into<String>, source: tokio_postgres::Error) -> Self {
        Self::Postgres {
            action: action.into(),
            source,
        }
    }

    pub(crate) fn program(program: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Program {
            program: program.into(),
            message: message.into(),
        }
    }

    /// The SQLSTATE when PostgreSQL reported this error.
    pub fn sqlstate(&self) -> Option<&str> {
        match self {
            Self::Postgres { source, .. } => {
                source.code().map(tokio_postgres::error::SqlState::code)
            }
            _ => None,
        }
    }
}

/// The driver's `Display` says only "db error"; the server's own words are what helps.
pub(crate) fn describe(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(db) => {
            let detail = db.detail().map(|d| format!(" ({d})")).unwrap_or_default();
            format!("{} {}{detail}", db.code().code(), db.message())
        }
        None => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(error);
            while let Some(inner) = cause {
                text.push_str(": ");
                text.push_str(&inner.to_string());
                cause = inner.source();
            }
            text
        }
    }
}

fn install_advice() -> &'static str {
    if cfg!(target_os = "macos") {
        "Install it with `brew install postgresql@18`, or set PONTOON_PG_BIN to the directory of initdb and postgres"
    } else {
        "Install it with `apt-get install postgresql`, or set PONTOON_PG_BIN to the directory of initdb and postgres"
    }
}
