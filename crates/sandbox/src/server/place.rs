//! Where a server lives and which programs it runs: all that a start needs to know.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::Child;
use std::time::{Duration, Instant};

use super::PATIENCE;
use super::account::Account;
use super::find::Installation;
use crate::error::{Error, Result};

/// A server's directory, programs and account.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    pub(crate) installation: Installation,
    pub(crate) account: Account,
    pub(crate) dir: PathBuf,
    /// Further environment variables of the server's processes.
    pub(crate) environment: Vec<(String, String)>,
}

impl Place {
    pub(crate) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.dir.join("log")
    }

    /// Starts the postmaster as our child and waits until it reports that it is ready.
    pub(crate) fn launch(&self) -> Result<Child> {
        let log_path = self.log();
        let log =
            std::fs::File::create(&log_path).map_err(|e| Error::io("create", &log_path, e))?;
        self.account.own(&log_path)?;
        let log_too = log
            .try_clone()
            .map_err(|e| Error::io("open", &log_path, e))?;
        // The guardian must not take a missing pid file for a missing server while this file exists.
        let starting = self.dir.join("starting");
        std::fs::write(&starting, "").map_err(|e| Error::io("create", &starting, e))?;
        let mut child = self
            .installation
            .command(&self.account, "postgres")
            .arg("-D")
            .arg(self.data())
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdout(log)
            .stderr(log_too)
            .process_group(0)
            .spawn()
            .map_err(|e| Error::program("postgres", e.to_string()))?;

        let begun = Instant::now();
        loop {
            if self.reports_ready(child.id()) {
                break;
            }
            if let Some(status) = child
                .try_wait()
                .map_err(|e| Error::program("postgres", e.to_string()))?
            {
                let how = match status.signal() {
                    Some(signal) => format!("ended by signal {signal}"),
                    None => format!("{status}"),
                };
                return Err(self.error("start", format!("{how}; {}", self.log_tail())));
            }
            if begun.elapsed() > PATIENCE {
                child
                    .kill()
                    .and_then(|()| child.wait())
                    .map_err(|e| Error::program("postgres", e.to_string()))?;
                return Err(self.error(
                    "start",
                    format!("not ready after {PATIENCE:?}; {}", self.log_tail()),
                ));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        std::fs::remove_file(&starting).map_err(|e| Error::io("remove", &starting, e))?;
        Ok(child)
    }

    /// The pid file's first line is the postmaster's pid, its eighth the state.
    fn reports_ready(&self, pid: u32) -> bool {
        let Ok(text) = std::fs::read_to_string(self.data().join("postmaster.pid")) else {
            return false;
        };
        let mut lines = text.lines();
        lines.next().and_then(|line| line.trim().parse().ok()) == Some(pid)
            && lines.nth(6).is_some_and(|state| state.trim() == "ready")
    }

    fn log_tail(&self) -> String {
        let text = std::fs::read(self.log()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.trim().lines().collect();
        format!(
            "its log ends: {}",
            lines[lines.len().saturating_sub(8)..].join(" / ")
        )
    }

    pub(crate) fn error(&self, action: &'static str, message: String) -> Error {
        Error::Server {
            action,
            dir: self.dir.clone(),
            message,
        }
    }
}
