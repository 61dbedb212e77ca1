//! Client programs of PostgreSQL that happen to be on this machine.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use super::find;

/// A `pg_dump` that can dump servers of this major version, the oldest such one.
pub(crate) fn pg_dump(server: u32) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    find::candidates()
        .into_iter()
        .chain(std::env::split_paths(&path))
        .map(|dir| dir.join("pg_dump"))
        .filter(|program| program.is_file())
        .filter_map(|program| {
            let output = Command::new(&program)
                .arg("--version")
                .stdin(Stdio::null())
                .output()
                .ok()?;
            let major = find::major_of(&String::from_utf8_lossy(&output.stdout))?;
            (major >= server).then_some((major, program))
        })
        .min_by_key(|(major, _)| *major)
        .map(|(_, program)| program)
}
