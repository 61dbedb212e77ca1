//! The operating-system account that PostgreSQL runs as.
//!
//! PostgreSQL refuses to run as root. When we are root, everything that touches a server's files runs as
//! `postgres`, or `nobody` where that does not exist; otherwise as ourselves.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::error::{Error, Result};

/// Who runs the server: nobody else but us, or the account that root steps down to.
#[derive(Clone, Debug)]
pub(crate) struct Account {
    /// `None` when the process is not root and servers simply run as the caller.
    step_down: Option<(u32, u32)>,
    uid: u32,
}

impl Account {
    /// Chooses the account once; the answer is the same for the life of a process.
    pub(crate) fn choose() -> Result<Self> {
        let me = nix::unistd::geteuid();
        if !me.is_root() {
            return Ok(Self {
                step_down: None,
                uid: me.as_raw(),
            });
        }
        for name in ["postgres", "nobody"] {
            if let Ok(Some(user)) = nix::unistd::User::from_name(name) {
                let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
                return Ok(Self {
                    step_down: Some((uid, gid)),
                    uid,
                });
            }
        }
        Err(Error::NoAccount)
    }

    /// The numeric user id that servers run as.
    pub(crate) fn uid(&self) -> u32 {
        self.uid
    }

    /// A command that will run as this account, in `/`, without our environment's PG* settings.
    ///
    /// The working directory matters: ours may be one that the other account cannot enter. Supplementary
    /// groups are dropped by the standard library when root sets a user id.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.current_dir("/").stdin(Stdio::null());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("PG") {
                command.env_remove(name);
            }
        }
        command.env("LC_ALL", "C");
        if let Some((uid, gid)) = self.step_down {
            command.uid(uid).gid(gid);
        }
        command
    }

    /// Gives `path` to this account; does nothing when the account is our own.
    pub(crate) fn own(&self, path: &Path) -> Result<()> {
        match self.step_down {
            Some((uid, gid)) => std::os::unix::fs::lchown(path, Some(uid), Some(gid))
                .map_err(|e| Error::io("change the owner of", path, e)),
            None => Ok(()),
        }
    }

    /// Whether this account may enter `dir` and every directory above it.
    pub(crate) fn can_enter(&self, dir: &Path) -> bool {
        let Some((uid, gid)) = self.step_down else {
            return true;
        };
        let Ok(dir) = dir.canonicalize() else {
            return false;
        };
        dir.ancestors().all(|part| {
            let Ok(meta) = part.metadata() else {
                return false;
            };
            let mode = meta.permissions().mode();
            if meta.uid() == uid {
                mode & 0o100 != 0
            } else if meta.gid() == gid {
                mode & 0o010 != 0
            } else {
                mode & 0o001 != 0
            }
        })
    }
}

/// Runs a prepared command to its end and returns what it wrote, or an error with its last words.
pub(crate) fn run(command: &mut Command) -> Result<Output> {
    let name = Path::new(command.get_program())
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let output = command
        .output()
        .map_err(|e| Error::program(&name, e.to_string()))?;
    if output.status.success() {
        return Ok(output);
    }
    let mut text = String::from_utf8_lossy(&output.stderr).into_owned();
    if text.trim().is_empty() {
        text = String::from_utf8_lossy(&output.stdout).into_owned();
    }
    let lines: Vec<&str> = text.trim().lines().collect();
    let last = lines[lines.len().saturating_sub(6)..].join("; ");
    Err(Error::program(name, format!("{} ({last})", output.status)))
}
