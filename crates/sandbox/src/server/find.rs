//! Finds PostgreSQL's server programs on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use super::account::{self, Account};
use super::{cache, fetch};
use crate::error::{Error, Result};

/// The programs of one PostgreSQL version.
#[derive(Clone, Debug)]
pub(crate) struct Installation {
    pub(crate) bin: PathBuf,
    pub(crate) major: u32,
    /// What `postgres --version` says, for example `postgres (PostgreSQL) 15.18 (Debian 15.18-1)`.
    pub(crate) banner: String,
    /// Directory of shared libraries that the dynamic linker would not find by itself.
    pub(crate) libraries: Option<PathBuf>,
}

impl Installation {
    /// A command for one of the programs (`initdb`, `postgres`, `pg_ctl`), run as `account`.
    pub(crate) fn command(&self, account: &Account, program: &str) -> Command {
        let mut command = account.command(&self.bin.join(program));
        if let Some(libraries) = &self.libraries {
            command.env(library_path_variable(), libraries);
        }
        command
    }

    /// Asks the programs in `bin` for their version; `None` when they are incomplete or do not run as `account`.
    pub(crate) fn probe(bin: &Path, libraries: Option<&Path>, account: &Account) -> Option<Self> {
        let bin = bin.canonicalize().ok()?;
        if !["initdb", "postgres", "pg_ctl"]
            .iter()
            .all(|program| bin.join(program).is_file())
        {
            return None;
        }
        let mut found = Self {
            bin,
            major: 0,
            banner: String::new(),
            libraries: libraries.map(Path::to_owned),
        };
        let output = account::run(found.command(account, "postgres").arg("--version")).ok()?;
        found.banner = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        found.major = major_of(&found.banner)?;
        Some(found)
    }
}

fn library_path_variable() -> &'static str {
    if cfg!(target_os = "macos") {
        "DYLD_LIBRARY_PATH"
    } else {
        "LD_LIBRARY_PATH"
    }
}

/// Reads `postgres (PostgreSQL) 15.18 (Debian …)` or `… 19beta1` as the major version.
pub(crate) fn major_of(banner: &str) -> Option<u32> {
    let version = banner.split("(PostgreSQL) ").nth(1)?;
    let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

/// The installation to use: the wanted major version, or the newest that is here. What is not here is fetched.
///
/// Probing and fetching happen once in a process for each version.
pub(crate) fn installation(wanted: Option<u32>, account: &Account) -> Result<Installation> {
    static KNOWN: Mutex<Vec<Installation>> = Mutex::new(Vec::new());
    let mut known = KNOWN
        .lock()
        .expect("no code panics while it holds this lock");
    if known.is_empty() {
        known.extend(installed(account));
    }
    let matching = |known: &[Installation]| {
        known
            .iter()
            .filter(|i| wanted.is_none_or(|w| w == i.major))
            .max_by_key(|i| i.major)
            .cloned()
    };
    if let Some(found) = matching(&known) {
        return Ok(found);
    }
    let fetched = fetch::fetch(wanted.unwrap_or(fetch::NEWEST), account)?;
    known.push(fetched.clone());
    Ok(fetched)
}

/// Every installation on this machine that runs, best first within one version.
fn installed(account: &Account) -> Vec<Installation> {
    let mut found: Vec<Installation> = Vec::new();
    let mut consider = |bin: &Path, libraries: Option<&Path>| {
        if let Some(installation) = Installation::probe(bin, libraries, account)
            && !found.iter().any(|other| other.major == installation.major)
        {
            found.push(installation);
        }
    };
    for bin in candidates() {
        consider(&bin, None);
    }
    if let Ok(cache) = cache::directory(account) {
        for (bin, libraries) in fetch::fetched(&cache) {
            consider(&bin, libraries.as_deref());
        }
    }
    found
}

/// Directories that may hold server programs, in the order of preference.
pub(crate) fn candidates() -> Vec<PathBuf> {
    let mut bins: Vec<PathBuf> = Vec::new();
    if let Some(chosen) = std::env::var_os("PONTOON_PG_BIN") {
        bins.extend(std::env::split_paths(&chosen));
    }
    if let Some(path) = std::env::var_os("PATH") {
        // A directory on the PATH often holds links only; the programs' own directory is what holds all three.
        bins.extend(std::env::split_paths(&path).filter_map(|dir| {
            let program = ["postgres", "pg_ctl", "initdb"]
                .iter()
                .map(|p| dir.join(p))
                .find(|p| p.is_file())?;
            Some(program.canonicalize().ok()?.parent()?.to_owned())
        }));
    }
    for (parent, prefix, below) in [
        ("/usr/lib/postgresql", "", "bin"),
        ("/usr/local/lib/postgresql", "", "bin"),
        ("/usr", "pgsql-", "bin"),
        ("/opt/homebrew/opt", "postgresql", "bin"),
        ("/usr/local/opt", "postgresql", "bin"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql", "bin"),
        ("/Applications/Postgres.app/Contents/Versions", "", "bin"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        let mut below: Vec<PathBuf> = entries
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join(below))
            .filter(|bin| bin.is_dir())
            .collect();
        below.sort();
        bins.extend(below);
    }
    bins
}

/// The wanted version from the caller, or from `$PONTOON_PG_VERSION` when the caller has no wish.
pub(crate) fn wanted(version: Option<u32>) -> Result<Option<u32>> {
    match (version, std::env::var("PONTOON_PG_VERSION")) {
        (Some(version), _) => Ok(Some(version)),
        (None, Ok(text)) if !text.trim().is_empty() => {
            text.trim().parse().map(Some).map_err(|_| {
                Error::Unusable(format!(
                    "read PONTOON_PG_VERSION: expected a major version such as 17, found `{text}`"
                ))
            })
        }
        (None, _) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_major_versions() {
        assert_eq!(
            major_of("postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("postgres (PostgreSQL) 19beta1"), Some(19));
        assert_eq!(major_of("postgres 9"), None);
    }
}
