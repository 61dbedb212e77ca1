//! The connection service file: named sets of parameters.
//!
//! The rules are libpq's (`parseServiceInfo`): `[name]` starts a set, `parameter=value` lines without quoting,
//! `#` comments; the user's file first (`servicefile`, PGSERVICEFILE, or `~/.pg_service.conf`), then
//! `pg_service.conf` in PGSYSCONFDIR or in the directories where distributions put it.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::error::{ConnectError, ConnectErrorKind};
use super::params::{Origin, Quotable, Settings};

/// Where packages of libpq look for the system's file; PGSYSCONFDIR replaces the list.
const SYSTEM_DIRECTORIES: &[&str] = &[
    "/etc/postgresql-common",
    "/etc/sysconfig/pgsql",
    "/etc/postgresql",
    "/etc",
];

/// The files to search in order, and whether the first was asked for by name and so must exist.
pub(super) struct Files {
    pub(super) named: Option<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) system: Option<PathBuf>,
}

/// Reads the set of that name.
///
/// # Errors
/// No file holds it, a file that was asked for cannot be read, or a line of the set is wrong.
pub(super) fn read(name: &str, files: &Files) -> Result<Settings, ConnectError> {
    let mut searched = Vec::new();
    if let Some(named) = &files.named {
        let text = std::fs::read_to_string(named).map_err(|error| {
            ConnectError::new(
                ConnectErrorKind::InvalidOptions,
                format!("read the service file {}: {error}", named.display()),
                "correct PGSERVICEFILE, or unset it",
            )
        })?;
        if let Some(found) = section(name, &text, named)? {
            return Ok(found);
        }
        searched.push(named.clone());
    }
    let home = files
        .home
        .iter()
        .filter(|_| files.named.is_none())
        .map(|home| home.join(".pg_service.conf"));
    let system = match &files.system {
        Some(directory) => vec![directory.join("pg_service.conf")],
        None => SYSTEM_DIRECTORIES
            .iter()
            .map(|d| Path::new(d).join("pg_service.conf"))
            .collect(),
    };
    for path in home.chain(system) {
        match std::fs::read_to_string(&path) {
            Ok(text) => {
                if let Some(found) = section(name, &text, &path)? {
                    return Ok(found);
                }
                searched.push(path);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => {
                return Err(ConnectError::new(
                    ConnectErrorKind::InvalidOptions,
                    format!("read the service file {}: {error}", path.display()),
                    "make the file readable, or name another in PGSERVICEFILE",
                ));
            }
        }
    }
    let places: Vec<String> = searched.iter().map(|p| p.display().to_string()).collect();
    let hint = if places.is_empty() {
        "no service file was found; write ~/.pg_service.conf or name one in PGSERVICEFILE"
            .to_owned()
    } else {
        format!("add [{}] to {}", name.escape_debug(), places.join(" or "))
    };
    Err(ConnectError::new(
        ConnectErrorKind::InvalidOptions,
        format!("find the definition of service `{}`", name.escape_debug()),
        hint,
    ))
}

fn section(name: &str, text: &str, path: &Path) -> Result<Option<Settings>, ConnectError> {
    let file = path.display().to_string();
    let mut found: Option<Settings> = None;
    for (i, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line.starts_with('[') {
            if found.is_some() {
                break;
            }
            if line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) == Some(name) {
                found = Some(Settings::default());
            }
            continue;
        }
        let Some(settings) = &mut found else { continue };
        let wrong = |what: &str, hint: &str| {
            ConnectError::new(
                ConnectErrorKind::InvalidOptions,
                format!("read the service file {file}:{}: {what}", i + 1),
                hint,
            )
        };
        if line.starts_with("ldap:") {
            return Err(wrong(
                "an LDAP lookup is not supported",
                "write the parameters themselves",
            ));
        }
        let Some((key, value)) = line.split_once('=') else {
            return Err(wrong(
                "expected `parameter=value`",
                "one parameter a line, no quotes",
            ));
        };
        let key = key.trim_end();
        if key == "service" || key == "servicefile" {
            return Err(wrong(
                "a service cannot refer to another one",
                "write the parameters themselves",
            ));
        }
        // In libpq the first line of a name wins.
        let mut one = Settings::default();
        let origin = Origin::Service {
            file: file.clone(),
            line: i + 1,
        };
        one.give(key, value.trim_start().to_owned(), origin, Quotable::Yes)?;
        settings.fill_from(one);
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# services\n[a]\nhost=a.example\n\n[shop]\n  host = db.example\nport=6000\npassword=p=q # r\nhost=late\n[z]\nhost=z\n";

    #[test]
    fn one_section_is_read() {
        let found = section("shop", TEXT, Path::new("f"))
            .expect("reads")
            .expect("found");
        assert_eq!(found.value("host"), Some("db.example"));
        assert_eq!(found.value("port"), Some("6000"));
        assert_eq!(found.value("password"), Some("p=q # r"));
        assert!(
            section("none", TEXT, Path::new("f"))
                .expect("reads")
                .is_none()
        );
    }

    #[rstest::rstest]
    #[case("[s]\nhots=x\n", "f:2: unknown connection parameter `hots`", "`host`")]
    #[case("[s]\nhost\n", "f:2: expected `parameter=value`", "one parameter")]
    #[case("[s]\nservice=t\n", "f:2: a service cannot", "themselves")]
    #[case("[s]\nldap://x/y\n", "f:2: an LDAP", "themselves")]
    fn wrong_lines(#[case] text: &str, #[case] message: &str, #[case] hint: &str) {
        let error = section("s", text, Path::new("f")).err().expect("refused");
        assert!(error.to_string().contains(message), "{error}");
        assert!(error.hint().contains(hint), "{}", error.hint());
    }

    #[test]
    fn the_named_file_must_exist_and_the_home_file_need_not() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let files = Files {
            named: Some(dir.path().join("none.conf")),
            home: None,
            system: Some(dir.path().to_owned()),
        };
        let error = read("s", &files).err().expect("refused");
        assert!(error.to_string().contains("none.conf"), "{error}");
        let files = Files {
            named: None,
            home: Some(dir.path().to_owned()),
            system: Some(dir.path().to_owned()),
        };
        let error = read("s", &files).err().expect("refused");
        assert!(error.to_string().contains("service `s`"), "{error}");
        std::fs::write(dir.path().join("pg_service.conf"), "[s]\nhost=sys\n").expect("write");
        assert_eq!(read("s", &files).expect("found").value("host"), Some("sys"));
        std::fs::write(dir.path().join(".pg_service.conf"), "[s]\nhost=home\n").expect("write");
        assert_eq!(
            read("s", &files).expect("found").value("host"),
            Some("home")
        );
    }
}
