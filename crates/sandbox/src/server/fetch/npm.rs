//! Servers from npm: the packages `@embedded-postgres/<platform>` each hold a whole PostgreSQL.
//!
//! The manifest and the lock file are compiled in, so that every machine gets the same bytes (the lock file
//! holds their hashes). Only the wanted version is installed. Install scripts are never run; the library links
//! that such a script would make are made here from the package's own list.

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::super::{account, cache};
use crate::error::{Error, Result};

/// Manifest and lock file for the platform that this was compiled for.
const PINNED: Option<(&str, &str)> = {
    macro_rules! pinned {
        ($platform:literal) => {
            Some((
                include_str!(concat!("../../../servers/", $platform, "/package.json")),
                include_str!(concat!(
                    "../../../servers/",
                    $platform,
                    "/package-lock.json"
                )),
            ))
        };
    }
    if cfg!(all(
        target_os = "linux",
        target_arch = "x86_64",
        target_env = "gnu"
    )) {
        pinned!("linux-x64")
    } else if cfg!(all(
        target_os = "linux",
        target_arch = "aarch64",
        target_env = "gnu"
    )) {
        pinned!("linux-arm64")
    } else if cfg!(all(target_os = "macos", target_arch = "x86_64")) {
        pinned!("darwin-x64")
    } else if cfg!(all(target_os = "macos", target_arch = "aarch64")) {
        pinned!("darwin-arm64")
    } else {
        None
    }
};

/// Installs PostgreSQL `major` below `servers` and returns the directory of its programs.
pub(super) fn fetch(major: u32, servers: &Path) -> Result<(PathBuf, Option<PathBuf>)> {
    let (manifest, lock) = PINNED
        .ok_or_else(|| Error::Unusable("no package holds a server for this platform".into()))?;
    let alias = format!("pg{major}");
    let (manifest, lock, version) = only(&alias, manifest, lock)?;
    let home = servers.join(format!("npm-{alias}-{version}"));
    let native = home.join("node_modules").join(&alias).join("native");
    if native.is_dir() {
        return Ok((native.join("bin"), None));
    }

    let staging = cache::staging(servers, &alias)?;
    for (name, content) in [("package.json", &manifest), ("package-lock.json", &lock)] {
        let path = staging.path().join(name);
        std::fs::write(&path, format!("{content:#}\n"))
            .map_err(|e| Error::io("write", &path, e))?;
    }
    let mut npm = Command::new("npm");
    npm.args([
        "ci",
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--loglevel=error",
    ]);
    account::run(npm.current_dir(staging.path()).stdin(Stdio::null()))?;

    restore_links(&staging.path().join("node_modules").join(&alias))?;
    cache::open_for_reading(staging.path())?;
    let staged = staging.keep();
    std::fs::rename(&staged, &home).map_err(|e| Error::io("rename", &staged, e))?;
    Ok((native.join("bin"), None))
}

/// The program directories of what earlier runs installed.
pub(super) fn fetched(servers: &Path) -> Vec<(PathBuf, Option<PathBuf>)> {
    let Some((manifest, lock)) = PINNED else {
        return Vec::new();
    };
    (14..=super::NEWEST)
        .filter_map(|major| {
            let alias = format!("pg{major}");
            let (_, _, version) = only(&alias, manifest, lock).ok()?;
            let home = servers.join(format!("npm-{alias}-{version}"));
            let bin = home.join("node_modules").join(&alias).join("native/bin");
            bin.is_dir().then_some((bin, None))
        })
        .collect()
}

/// Manifest and lock file cut down to one alias, and the version that it is pinned to.
fn only(alias: &str, manifest: &str, lock: &str) -> Result<(Value, Value, String)> {
    let parse = |text| {
        serde_json::from_str::<Value>(text)
            .expect("the pinned files are valid JSON; a test reads them")
    };
    let (mut manifest, mut lock) = (parse(manifest), parse(lock));
    let requirement = manifest["dependencies"][alias]
        .as_str()
        .ok_or_else(|| Error::Unusable(format!("no package holds {alias} for this platform")))?
        .to_owned();
    let key = format!("node_modules/{alias}");
    let entry = lock["packages"][&key].clone();
    let version = entry["version"].as_str().unwrap_or_default().to_owned();
    let dependencies = json!({ alias: requirement });
    manifest["dependencies"] = dependencies.clone();
    let mut root = lock["packages"][""].clone();
    root["dependencies"] = dependencies;
    lock["packages"] = json!({ "": root, key: entry });
    Ok((manifest, lock, version))
}

/// Makes the symbolic links that a package archive cannot carry.
///
/// The list names a `source` (the real file) and a `target` (the link), both relative to the package. A link
/// that would leave the package is refused.
fn restore_links(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    if !list.is_file() {
        return Ok(());
    }
    let text = std::fs::read_to_string(&list).map_err(|e| Error::io("read", &list, e))?;
    let links: Vec<Value> = serde_json::from_str(&text)
        .map_err(|e| Error::Unusable(format!("read {}: {e}", list.display())))?;
    let inside = |path: &str| {
        let path = Path::new(path);
        path.components()
            .all(|part| matches!(part, Component::Normal(_)))
            .then(|| path.to_owned())
    };
    let mut made = BTreeSet::new();
    for link in &links {
        let (source, target) = (
            link["source"].as_str().and_then(inside),
            link["target"].as_str().and_then(inside),
        );
        let (Some(source), Some(target)) = (source, target) else {
            return Err(Error::Unusable(format!(
                "restore links of {}: unexpected entry {link}",
                list.display()
            )));
        };
        let at = package.join(&target);
        if at.symlink_metadata().is_ok() || !made.insert(target.clone()) {
            continue;
        }
        let up: PathBuf = target
            .parent()
            .into_iter()
            .flat_map(Path::components)
            .map(|_| "..")
            .collect();
        let relative = if source.parent() == target.parent() {
            source.file_name().map(PathBuf::from).unwrap_or_default()
        } else {
            up.join(&source)
        };
        std::os::unix::fs::symlink(&relative, &at).map_err(|e| Error::io("link", &at, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every platform's files are read, not only those of the platform that compiles this.
    #[test]
    fn pinned_files_agree_and_name_no_host() {
        let servers = Path::new(env!("CARGO_MANIFEST_DIR")).join("servers");
        for platform in ["linux-x64", "linux-arm64", "darwin-x64", "darwin-arm64"] {
            let read = |name: &str| {
                std::fs::read_to_string(servers.join(platform).join(name)).expect("pinned file")
            };
            let (manifest, lock) = (read("package.json"), read("package-lock.json"));
            assert!(
                !lock.contains("://"),
                "{platform}: made without --omit-lockfile-registry-resolved"
            );
            let oldest = if platform == "linux-x64" { 14 } else { 15 };
            for major in oldest..=super::super::NEWEST {
                let (_, lock, version) =
                    only(&format!("pg{major}"), &manifest, &lock).expect("alias");
                assert!(
                    version.starts_with(&format!("{major}.")),
                    "{platform} pg{major}: {version}"
                );
                assert_eq!(lock["packages"].as_object().expect("object").len(), 2);
                assert!(
                    lock["packages"][format!("node_modules/pg{major}")]["integrity"].is_string()
                );
            }
        }
    }

    #[test]
    fn restores_links_and_refuses_to_leave_the_package() {
        let dir = tempfile::tempdir().expect("directory");
        let lib = dir.path().join("native/lib");
        std::fs::create_dir_all(&lib).expect("create");
        std::fs::write(lib.join("libpq.so.5.18"), "x").expect("write");
        let list = dir.path().join("native/pg-symlinks.json");
        std::fs::write(
            &list,
            r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]"#,
        )
        .expect("write");
        restore_links(dir.path()).expect("links");
        restore_links(dir.path()).expect("links are there already");
        assert_eq!(
            std::fs::read_to_string(lib.join("libpq.so.5")).expect("link"),
            "x"
        );
        std::fs::write(
            &list,
            r#"[{"source":"native/lib/libpq.so.5.18","target":"../../out"}]"#,
        )
        .expect("write");
        assert!(restore_links(dir.path()).is_err());
    }
}
