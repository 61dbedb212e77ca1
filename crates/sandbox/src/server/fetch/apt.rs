//! Servers from Debian's and Ubuntu's archives: packages are downloaded and unpacked without being installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::super::{account, cache};
use crate::error::{Error, Result};

/// Unpacks `postgresql-<major>` and the packages that this machine lacks for it below `servers`.
///
/// Returns the directory of the programs and the directory of the libraries that came along.
pub(super) fn fetch(major: u32, servers: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let home = servers.join(format!("apt-pg{major}"));
    if let Some(found) = programs(&home, major) {
        return Ok(found);
    }
    let staging = cache::staging(servers, &format!("pg{major}"))?;
    let package = format!("postgresql-{major}");
    let mut download = apt();
    download
        .args(["download", &package])
        .args(missing(&package)?)
        .current_dir(staging.path());
    account::run(&mut download)?;

    let listed =
        std::fs::read_dir(staging.path()).map_err(|e| Error::io("list", staging.path(), e))?;
    let archives: Vec<PathBuf> = listed
        .flatten()
        .map(|e| e.path())
        .filter(|p| p.extension().is_some_and(|e| e == "deb"))
        .collect();
    for archive in &archives {
        account::run(
            Command::new("dpkg")
                .arg("-x")
                .arg(archive)
                .arg(staging.path())
                .stdin(Stdio::null()),
        )?;
        std::fs::remove_file(archive).map_err(|e| Error::io("remove", archive, e))?;
    }
    cache::open_for_reading(staging.path())?;
    let staged = staging.keep();
    std::fs::rename(&staged, &home).map_err(|e| Error::io("rename", &staged, e))?;
    programs(&home, major)
        .ok_or_else(|| Error::Unusable(format!("find programs in {}", home.display())))
}

/// What earlier runs unpacked.
pub(super) fn fetched(servers: &Path) -> Vec<(PathBuf, Option<PathBuf>)> {
    (14..=super::NEWEST)
        .filter_map(|major| programs(&servers.join(format!("apt-pg{major}")), major))
        .collect()
}

fn programs(home: &Path, major: u32) -> Option<(PathBuf, Option<PathBuf>)> {
    let bin = home.join(format!("usr/lib/postgresql/{major}/bin"));
    if !bin.is_dir() {
        return None;
    }
    // Libraries lie in a directory named after the machine, for example `usr/lib/x86_64-linux-gnu`.
    let libraries = std::fs::read_dir(home.join("usr/lib"))
        .ok()?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| {
            path.is_dir()
                && path
                    .file_name()
                    .is_some_and(|name| name.to_string_lossy().contains("-linux-"))
        });
    Some((bin, libraries))
}

/// The packages that installing `package` would bring in and that are not here already.
fn missing(package: &str) -> Result<Vec<String>> {
    let mut simulate = apt();
    simulate.args(["--simulate", "--no-install-recommends", "install", package]);
    let output = account::run(&mut simulate)?;
    Ok(String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.strip_prefix("Inst ")?.split_whitespace().next())
        .filter(|name| *name != package)
        .map(str::to_owned)
        .collect())
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    // Downloading as root would otherwise warn about, and fail on, a directory that `_apt` cannot enter.
    command
        .args(["-o", "APT::Sandbox::User=root", "-q"])
        .stdin(Stdio::null())
        .env("LC_ALL", "C");
    command
}

#[cfg(test)]
mod tests {
    use super::super::super::account::Account;
    use super::super::super::find::Installation;
    use super::*;

    /// Takes whichever version the archive has.
    #[test]
    #[ignore = "downloads from the distribution's archive; run it on Debian or Ubuntu after apt-get update"]
    fn unpacked_server_runs() {
        let dir = tempfile::Builder::new()
            .prefix("pontoon-apt-")
            .tempdir()
            .expect("directory");
        cache::open_for_reading(dir.path()).expect("permissions");
        let account = Account::choose().expect("account");
        let found = (14..=18)
            .rev()
            .find_map(|major| fetch(major, dir.path()).ok())
            .expect("a version in the archive");
        let installation =
            Installation::probe(&found.0, found.1.as_deref(), &account).expect("programs that run");
        assert!((14..=18).contains(&installation.major));
    }
}
