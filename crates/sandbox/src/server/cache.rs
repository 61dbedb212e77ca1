//! Where fetched servers and prepared data directories are kept between runs.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::account::Account;
use crate::error::{Error, Result};

/// The directory for everything we keep: `$PONTOON_CACHE`, `$XDG_CACHE_HOME/pontoon`, `~/.cache/pontoon`, or,
/// where the server's account cannot enter those (root's home is closed to others), one under the temporary
/// directory.
///
/// A directory that belongs to someone else, or that others may write, is refused: programs are run from it.
pub(crate) fn directory(account: &Account) -> Result<PathBuf> {
    let chosen = std::env::var_os("PONTOON_CACHE")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from);
    let usual = std::env::var_os("XDG_CACHE_HOME")
        .filter(|v| !v.is_empty())
        .map(PathBuf::from)
        .or_else(|| {
            std::env::var_os("HOME")
                .filter(|v| !v.is_empty())
                .map(|home| Path::new(&home).join(".cache"))
        })
        .map(|base| base.join("pontoon"));
    let me = nix::unistd::geteuid().as_raw();
    let fallback = std::env::temp_dir().join(format!("pontoon-cache-{me}"));

    for candidate in chosen.into_iter().chain(usual) {
        if make_enterable(&candidate).is_ok() && account.can_enter(&candidate) {
            return trusted(candidate, me);
        }
    }
    make_enterable(&fallback)?;
    if !account.can_enter(&fallback) {
        return Err(Error::Unusable(format!(
            "find a cache directory that the server's account (uid {}) can enter: set PONTOON_CACHE to one",
            account.uid()
        )));
    }
    trusted(fallback, me)
}

/// Creates `dir` with mode 0755 whatever the umask is; an existing directory keeps its mode.
pub(crate) fn make_enterable(dir: &Path) -> Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    std::fs::create_dir_all(dir).map_err(|e| Error::io("create", dir, e))?;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755))
        .map_err(|e| Error::io("set the permissions of", dir, e))
}

fn trusted(dir: PathBuf, me: u32) -> Result<PathBuf> {
    let meta = dir
        .symlink_metadata()
        .map_err(|e| Error::io("read", &dir, e))?;
    if meta.uid() != me || meta.permissions().mode() & 0o022 != 0 || !meta.is_dir() {
        return Err(Error::Unusable(format!(
            "use the cache directory {}: it must be a directory of yours that nobody else can write; \
             set PONTOON_CACHE to another one",
            dir.display()
        )));
    }
    Ok(dir)
}

/// A directory beside the final one, so that a rename makes the content appear at once and whole.
///
/// The caller holds the [`lock`] of this name: whatever an earlier holder left when it was killed is removed.
pub(crate) fn staging(parent: &Path, name: &str) -> Result<tempfile::TempDir> {
    let prefix = format!(".staging-{name}-");
    for entry in std::fs::read_dir(parent).map_err(|e| Error::io("list", parent, e))? {
        let entry = entry.map_err(|e| Error::io("list", parent, e))?;
        if entry.file_name().to_string_lossy().starts_with(&prefix) {
            std::fs::remove_dir_all(entry.path())
                .map_err(|e| Error::io("remove", entry.path(), e))?;
        }
    }
    tempfile::Builder::new()
        .prefix(&prefix)
        .tempdir_in(parent)
        .map_err(|e| Error::io("create a directory in", parent, e))
}

/// Holds an exclusive lock on `<dir>/<name>.lock` until the returned file is dropped; parallel processes
/// that want to fetch the same thing wait here instead of fetching it twice.
pub(crate) fn lock(dir: &Path, name: &str) -> Result<std::fs::File> {
    let path = dir.join(format!("{name}.lock"));
    let file = std::fs::File::create(&path).map_err(|e| Error::io("create", &path, e))?;
    file.lock().map_err(|e| Error::io("lock", &path, e))?;
    Ok(file)
}

/// Lets everybody read the tree and enter its directories, as far as we own it.
pub(crate) fn open_for_reading(root: &Path) -> Result<()> {
    let meta = root
        .symlink_metadata()
        .map_err(|e| Error::io("read", root, e))?;
    if meta.is_symlink() {
        return Ok(());
    }
    let mode = meta.permissions().mode();
    let wanted = if meta.is_dir() || mode & 0o100 != 0 {
        mode | 0o555
    } else {
        mode | 0o444
    };
    if wanted != mode {
        std::fs::set_permissions(root, std::fs::Permissions::from_mode(wanted))
            .map_err(|e| Error::io("set the permissions of", root, e))?;
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(root).map_err(|e| Error::io("list", root, e))? {
            open_for_reading(&entry.map_err(|e| Error::io("list", root, e))?.path())?;
        }
    }
    Ok(())
}
