//! Data directories: made once by initdb for each installation, then copied.
//!
//! initdb takes about a second and tests start many servers; a copy takes a tenth of that.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::account::{self, Account};
use super::cache;
use super::find::Installation;
use crate::error::{Error, Result};

const INITDB_OPTIONS: [&str; 5] = [
    "--username=postgres",
    "--encoding=UTF8",
    "--locale=C",
    "--auth=trust",
    "--no-sync",
];

/// Copies a freshly initialised data directory to `data`, which must not exist yet.
pub(crate) fn instantiate(
    installation: &Installation,
    account: &Account,
    data: &Path,
) -> Result<()> {
    let template = prepared(installation, account)?;
    copy_tree(&template, data, account, &|_| false)
}

fn prepared(installation: &Installation, account: &Account) -> Result<PathBuf> {
    let mut identity = Sha256::new();
    identity.update(installation.banner.as_bytes());
    identity.update(installation.bin.as_os_str().as_encoded_bytes());
    identity.update(INITDB_OPTIONS.join(" ").as_bytes());
    let digest: String = identity
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect();

    let templates = cache::directory(account)?.join("templates");
    cache::make_enterable(&templates)?;
    let name = format!("pg{}-{digest}-uid{}", installation.major, account.uid());
    let home = templates.join(&name);
    let data = home.join("data");
    if data.join("PG_VERSION").is_file() {
        return Ok(data);
    }

    let _lock = cache::lock(&templates, &name)?;
    if data.join("PG_VERSION").is_file() {
        return Ok(data);
    }
    let staging = cache::staging(&templates, &name)?;
    std::fs::set_permissions(staging.path(), std::fs::Permissions::from_mode(0o755))
        .map_err(|e| Error::io("set the permissions of", staging.path(), e))?;
    account.own(staging.path())?;
    let mut initdb = installation.command(account, "initdb");
    initdb
        .args(INITDB_OPTIONS)
        .arg("-D")
        .arg(staging.path().join("data"));
    account::run(&mut initdb)?;
    let staged = staging.keep();
    std::fs::rename(&staged, &home).map_err(|e| Error::io("rename", &staged, e))?;
    Ok(data)
}

/// Copies a directory with its permissions and gives everything to `account`.
///
/// `skip` sees each path relative to `from`. A file that vanishes while we copy is no error: a live server
/// removes temporary files at any time.
pub(crate) fn copy_tree(
    from: &Path,
    to: &Path,
    account: &Account,
    skip: &dyn Fn(&Path) -> bool,
) -> Result<()> {
    copy_below(from, Path::new(""), to, account, skip)
}

fn copy_below(
    root: &Path,
    relative: &Path,
    to: &Path,
    account: &Account,
    skip: &dyn Fn(&Path) -> bool,
) -> Result<()> {
    let from = root.join(relative);
    let meta = match from.symlink_metadata() {
        Ok(meta) => meta,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(Error::io("read", &from, e)),
    };
    let target = if relative.as_os_str().is_empty() {
        to.to_owned()
    } else {
        to.join(relative)
    };
    if meta.is_symlink() {
        let points_to =
            std::fs::read_link(&from).map_err(|e| Error::io("read the link", &from, e))?;
        std::os::unix::fs::symlink(points_to, &target)
            .map_err(|e| Error::io("link", &target, e))?;
        return account.own(&target);
    }
    if meta.is_dir() {
        std::fs::create_dir(&target).map_err(|e| Error::io("create", &target, e))?;
        for entry in std::fs::read_dir(&from).map_err(|e| Error::io("list", &from, e))? {
            let below = relative.join(entry.map_err(|e| Error::io("list", &from, e))?.file_name());
            if !skip(&below) {
                copy_below(root, &below, to, account, skip)?;
            }
        }
        std::fs::set_permissions(&target, meta.permissions())
            .map_err(|e| Error::io("set the permissions of", &target, e))?;
        return account.own(&target);
    }
    if !meta.is_file() {
        return Ok(());
    }
    match std::fs::copy(&from, &target) {
        Ok(_) => account.own(&target),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(e) => Err(Error::io("copy", &from, e)),
    }
}
