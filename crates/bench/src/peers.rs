//! Other tools, when they are there, run as their users run them.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use crate::Error;

/// Another tool that adds columns and fills them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Peer {
    /// <https://github.com/fabianlindfors/reshape>
    Reshape,
    /// <https://github.com/xataio/pgroll>
    Pgroll,
}

/// What [`Work::Shapes`](crate::table::Work::Shapes) is to Reshape.
const RESHAPE: &str = r#"[[actions]]
type = "alter_column"
table = "users"
column = "amount"
up = "amount::numeric"
down = "amount::integer"

    [actions.changes]
    type = "NUMERIC"

[[actions]]
type = "add_column"
table = "users"
up = "lower(email)"

    [actions.column]
    name = "email_normalized"
    type = "TEXT"
"#;

/// The same to pgroll.
const PGROLL: &str = r#"{"operations": [
  {"alter_column": {"table": "users", "column": "amount", "type": "numeric",
                    "up": "amount::numeric", "down": "amount::integer"}},
  {"add_column": {"table": "users", "up": "lower(email)",
                  "column": {"name": "email_normalized", "type": "text", "nullable": true}}}
]}
"#;

/// A program on PATH.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|program| program.is_file())
}

impl Peer {
    /// Those on PATH.
    pub(crate) fn found() -> Vec<Self> {
        [Self::Reshape, Self::Pgroll]
            .into_iter()
            .filter(|peer| on_path(peer.name()).is_some())
            .collect()
    }

    /// Its program.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Reshape => "reshape",
            Self::Pgroll => "pgroll",
        }
    }

    /// What comes before its first migration.
    pub(crate) async fn prepare(self, url: &str) -> Result<(), Error> {
        match self {
            // It sets itself up in its first migration.
            Self::Reshape => Ok(()),
            Self::Pgroll => {
                let folder = tempfile::tempdir()?;
                run(self, folder.path(), &["init", "--postgres-url", url], url).await
            }
        }
    }

    /// Its expand and backfill, up to where the application may move over.
    pub(crate) async fn start(self, url: &str) -> Result<(), Error> {
        let folder = tempfile::tempdir()?;
        let root = folder.path();
        match self {
            Self::Reshape => {
                std::fs::create_dir(root.join("migrations"))?;
                std::fs::write(root.join("migrations/1_bench.toml"), RESHAPE)?;
                run(self, root, &["migration", "start", "--url", url], url).await
            }
            Self::Pgroll => {
                std::fs::write(root.join("bench.json"), PGROLL)?;
                run(
                    self,
                    root,
                    &["start", "bench.json", "--postgres-url", url],
                    url,
                )
                .await
            }
        }
    }
}

async fn run(peer: Peer, folder: &Path, arguments: &[&str], url: &str) -> Result<(), Error> {
    let output = Command::new(peer.name())
        .args(arguments)
        .env("DB_URL", url)
        .current_dir(folder)
        .kill_on_drop(true)
        .output()
        .await?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!(
        "{} failed: {}{}",
        peer.name(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
    .into())
}
