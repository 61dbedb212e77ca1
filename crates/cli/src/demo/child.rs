//! This program as a child process that runs the demo's plan.

use std::path::Path;
use std::process::Stdio;

use pontoon_engine::event::Record;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::error::{Failure, Result};
use crate::exit::Exit;

/// A line of its output.
pub(super) enum Line {
    /// Something happened.
    Event(Box<Record>),
    /// A status record, or how it ended.
    Other,
}

/// A child that runs a plan. It is killed when this value is dropped.
pub(super) struct Runner {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// The last line, which says how it ended.
    last: String,
}

impl Runner {
    /// Starts `pontoon run PLAN --output json` with more arguments.
    pub(super) fn start(url: &str, plan: &Path, more: &[&str]) -> Result<Self> {
        let failed = |error: std::io::Error| {
            Failure::new(Exit::Internal, format!("start a runner: {error}"))
        };
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .arg("run")
            .arg(plan)
            .args(["--output", "json"])
            .args(more)
            // Not an argument: arguments are visible to everyone.
            .env("DATABASE_URL", url)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        let stdout = child
            .stdout
            .take()
            .ok_or_else(|| Failure::new(Exit::Internal, "read from a runner"))?;
        Ok(Self {
            child,
            lines: BufReader::new(stdout).lines(),
            last: String::new(),
        })
    }

    /// Its next line; `None` when it says nothing more.
    pub(super) async fn next(&mut self) -> Result<Option<Line>> {
        let line = self.lines.next_line().await.map_err(|error| {
            Failure::new(Exit::Internal, format!("read from a runner: {error}"))
        })?;
        let Some(line) = line else {
            return Ok(None);
        };
        let parsed = match serde_json::from_str(&line) {
            Ok(record) => Line::Event(Box::new(record)),
            Err(_) => Line::Other,
        };
        self.last = line;
        Ok(Some(parsed))
    }

    /// Kills it as the kernel would, and waits until it is gone.
    pub(super) async fn kill(mut self) -> Result<()> {
        self.child
            .kill()
            .await
            .map_err(|error| Failure::new(Exit::Internal, format!("kill a runner: {error}")))
    }

    /// Waits for its end: the exit code (`None`: a signal) and its last words.
    pub(super) async fn end(mut self) -> Result<(Option<i32>, String)> {
        let mut told = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut told).await.map_err(|error| {
                Failure::new(Exit::Internal, format!("read from a runner: {error}"))
            })?;
        }
        let status =
            self.child.wait().await.map_err(|error| {
                Failure::new(Exit::Internal, format!("wait for a runner: {error}"))
            })?;
        told.push_str(&self.last);
        Ok((status.code(), told))
    }
}
