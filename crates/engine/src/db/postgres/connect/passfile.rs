//! The password file, by default `~/.pgpass`.
//!
//! The rules are libpq's (`passwordFromFile`): lines of `host:port:database:user:password`, the first line that
//! fits wins, `*` fits anything, a backslash takes the next character literally, `#` at the start of a line makes a
//! comment. A file that its group or others may read is not used. The file is read at each connect and never kept,
//! so a password that is changed there during a long run reaches the next connection.

use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::options::Secret;

/// For whom a password is looked up.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    /// The names the host goes by: a Unix socket in the usual directory is also `localhost`.
    pub(super) hosts: &'a [&'a str],
    pub(super) port: u16,
    pub(super) database: &'a str,
    pub(super) user: &'a str,
}

/// What the file held.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) password: Option<Secret>,
    /// Why the file, or a password in it, was not used: one line, a hint when the login then fails.
    pub(super) note: Option<String>,
}

/// Looks up the password. A file that does not exist is like an empty one.
pub(super) fn look_up(path: &Path, wanted: Wanted<'_>) -> Found {
    let shown = path.display();
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Found::default(),
        Err(error) => return note(format!("the password file {shown} was not used: {error}")),
    };
    if !metadata.is_file() {
        return note(format!(
            "the password file {shown} was not used: it is no plain file"
        ));
    }
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return note(format!(
            "the password file {shown} was not used: its permissions are {mode:04o} and others may read it; \
             chmod 0600 {shown}"
        ));
    }
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => return note(format!("the password file {shown} was not used: {error}")),
    };
    match search(&String::from_utf8_lossy(&bytes), wanted) {
        Some(password) => Found {
            password: Some(password),
            note: None,
        },
        None => note(format!(
            "the password file {shown} has no line for {}:{}:{}:{}",
            wanted.hosts.first().copied().unwrap_or("localhost"),
            wanted.port,
            wanted.database,
            wanted.user
        )),
    }
}

fn note(text: String) -> Found {
    Found {
        password: None,
        note: Some(text),
    }
}

fn search(text: &str, wanted: Wanted<'_>) -> Option<Secret> {
    let port = wanted.port.to_string();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .find_map(|line| {
            let (host, rest) = field(line)?;
            let (line_port, rest) = field(rest)?;
            let (database, rest) = field(rest)?;
            let (user, rest) = field(rest)?;
            let fits = wanted.hosts.iter().any(|name| fits(host, name))
                && fits(line_port, &port)
                && fits(database, wanted.database)
                && fits(user, wanted.user);
            // What follows a further bare colon is not part of the password.
            let raw = field(rest).map_or(rest, |(password, _)| password);
            (fits && !raw.is_empty()).then(|| Secret::new(unescape(raw)))
        })
}

/// Splits at the first colon that no backslash precedes.
fn field(text: &str) -> Option<(&str, &str)> {
    let mut escaped = false;
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ':' => return Some((&text[..i], &text[i + 1..])),
            _ => {}
        }
    }
    None
}

fn fits(pattern: &str, value: &str) -> bool {
    pattern == "*" || unescape(pattern) == value
}

fn unescape(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut chars = raw.chars();
    while let Some(c) = chars.next() {
        if c == '\\' {
            // A lone backslash at the end stands for itself.
            out.push(chars.next().unwrap_or('\\'));
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn wanted<'a>(hosts: &'a [&'a str]) -> Wanted<'a> {
        Wanted {
            hosts,
            port: 5432,
            database: "shop",
            user: "me",
        }
    }

    #[rstest]
    #[case("db:5432:shop:me:secret", Some("secret"))]
    #[case("*:*:*:*:secret", Some("secret"))]
    #[case("# db:5432:shop:me:no\ndb:5432:shop:me:yes", Some("yes"))]
    #[case("db:5432:other:me:no\n*:*:*:me:yes\n*:*:*:*:late", Some("yes"))]
    #[case("db:5433:shop:me:no", None)]
    #[case(r"db:5432:shop:me:a\:b\\c", Some(r"a:b\c"))]
    #[case("db:5432:shop:me:a:b", Some("a"))]
    #[case("db:5432:shop:me:", None)]
    #[case("db:5432:shop:me", None)]
    #[case("d*:5432:shop:me:no", None)]
    #[case("db:5432:shop:me:win\r\n", Some("win"))]
    #[case("db:5432:shop:me: sp ace ", Some(" sp ace "))]
    #[case("", None)]
    fn first_line_that_fits(#[case] text: &str, #[case] expected: Option<&str>) {
        let found = search(text, wanted(&["db"]));
        assert_eq!(found.as_ref().map(Secret::reveal), expected);
    }

    #[test]
    fn escapes_in_the_host() {
        let found = search(r"fe80\:\:1:5432:shop:me:six", wanted(&["fe80::1"]));
        assert_eq!(found.as_ref().map(Secret::reveal), Some("six"));
    }

    #[test]
    fn a_usual_socket_directory_is_localhost_too() {
        let found = search("localhost:5432:shop:me:yes", wanted(&["/tmp", "localhost"]));
        assert_eq!(found.as_ref().map(Secret::reveal), Some("yes"));
    }

    #[test]
    fn open_permissions_are_named_and_the_file_is_left_alone() {
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "*:*:*:*:secret\n").expect("write");
        for (mode, used) in [
            (0o600, true),
            (0o400, true),
            (0o640, false),
            (0o604, false),
            (0o644, false),
        ] {
            std::fs::set_permissions(file.path(), std::fs::Permissions::from_mode(mode))
                .expect("chmod");
            let found = look_up(file.path(), wanted(&["db"]));
            assert_eq!(found.password.is_some(), used, "{mode:o}");
            if !used {
                let note = found.note.expect("a note");
                assert!(
                    note.contains("chmod 0600") && note.contains(&format!("{mode:04o}")),
                    "{note}"
                );
            }
        }
    }
}
