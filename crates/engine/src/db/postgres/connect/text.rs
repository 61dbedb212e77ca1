//! Reading a connection string: a `postgres://` URL or libpq's key=value form.
//!
//! Both follow libpq (`conninfo_uri_parse` and `conninfo_parse`), with three differences that keep a password from
//! ending in the wrong place: an `@` left over in the host or the database name is an error instead of a part of
//! it, an IPv6 address in a URL needs its brackets, and an empty string is an error instead of "all defaults".
//!
//! No message repeats a value. Text in the wrong place may be a piece of a password that was not percent-encoded,
//! so messages give byte offsets (from zero, in the string as it was given) instead.

use super::error::{ConnectError, ConnectErrorKind};
use super::params::{Origin, Quotable, Settings, nearest};

const ENCODE: &str = "percent-encode special characters in user and password: \
                      `@` is %40, `:` %3A, `/` %2F, `?` %3F, `#` %23, `%` %25";

/// Reads a connection string.
///
/// # Errors
/// The text has neither form, or breaks the rules of its form. The error tells the byte offset.
pub(super) fn parse(text: &str) -> Result<Settings, ConnectError> {
    let start = text.len() - text.trim_start().len();
    let trimmed = text.trim();
    if trimmed.is_empty() {
        return Err(ConnectError::new(
            ConnectErrorKind::InvalidOptions,
            "read the connection string: it is empty",
            "give postgres://user@host/database, or leave it out to use the PG* variables",
        ));
    }
    let mut reader = Reader {
        text: trimmed,
        base: start,
        settings: Settings::default(),
    };
    match trimmed.find("://") {
        Some(end) if !trimmed[..end].contains(['=', ' ', '\'']) => {
            reader.scheme(end)?;
            reader.url(end + 3)?;
        }
        _ if trimmed.contains('=') => reader.pairs()?,
        _ => {
            return Err(reader.fault(
                0,
                "expected a URL or key=value pairs",
                "write postgres://user@host:5432/database or 'host=… dbname=… user=…'",
            ));
        }
    }
    Ok(reader.settings)
}

struct Reader<'t> {
    text: &'t str,
    /// Offset of `text` in what the user gave.
    base: usize,
    settings: Settings,
}

impl<'t> Reader<'t> {
    fn fault(&self, at: usize, what: &str, hint: &str) -> ConnectError {
        ConnectError::new(
            ConnectErrorKind::InvalidOptions,
            format!(
                "read the connection string at byte {}: {what}",
                self.base + at
            ),
            hint,
        )
    }

    fn give(
        &mut self,
        name: &str,
        value: String,
        at: usize,
        quotable: Quotable,
    ) -> Result<(), ConnectError> {
        let origin = Origin::Text { at: self.base + at };
        self.settings.give(name, value, origin, quotable)
    }

    fn scheme(&self, end: usize) -> Result<(), ConnectError> {
        let scheme = self.text[..end].to_ascii_lowercase();
        if scheme == "postgres" || scheme == "postgresql" {
            return Ok(());
        }
        let hint = match nearest(&scheme, ["postgres", "postgresql"]) {
            Some(near) => format!("did you mean `{near}://`?"),
            None => "only PostgreSQL databases are supported".to_owned(),
        };
        Err(self.fault(
            0,
            "expected the scheme `postgres://` or `postgresql://`",
            &hint,
        ))
    }

    /// Everything behind `://`: `[user[:password]@][host[:port],…][/database][?name=value&…]`.
    fn url(&mut self, start: usize) -> Result<(), ConnectError> {
        let text = self.text;
        // As in libpq, the credentials end at the first `@`, unless a `/` comes before it.
        let mut hosts_at = start;
        if let Some(end) = text[start..].find(['@', '/']).map(|i| start + i)
            && text.as_bytes()[end] == b'@'
        {
            self.credentials(start, end)?;
            hosts_at = end + 1;
        }
        let hosts_end = find_from(text, hosts_at, &['/', '?']).unwrap_or(text.len());
        self.hosts(hosts_at, hosts_end)?;

        let query_at = find_from(text, hosts_end, &['?']).unwrap_or(text.len());
        if hosts_end < query_at {
            let path_at = hosts_end + 1;
            let path = &text[path_at..query_at];
            if let Some(stray) = path.find('@') {
                return Err(self.fault(
                    path_at + stray,
                    "found `@` in the database's name",
                    ENCODE,
                ));
            }
            let database = self.decode(path_at, path)?;
            self.give("dbname", database, path_at, Quotable::Yes)?;
        }
        if query_at < text.len() {
            self.query(query_at + 1)?;
        }
        Ok(())
    }

    fn credentials(&mut self, start: usize, end: usize) -> Result<(), ConnectError> {
        let text = self.text;
        let colon = find_from(&text[..end], start, &[':']);
        let user_end = colon.unwrap_or(end);
        let user = self.decode(start, &text[start..user_end])?;
        self.give("user", user, start, Quotable::No)?;
        if let Some(colon) = colon {
            let password = self.decode(colon + 1, &text[colon + 1..end])?;
            self.give("password", password, colon + 1, Quotable::No)?;
        }
        Ok(())
    }

    fn hosts(&mut self, start: usize, end: usize) -> Result<(), ConnectError> {
        let section = &self.text[start..end];
        if let Some(stray) = section.find('@') {
            return Err(self.fault(start + stray, "found a second `@` before the host", ENCODE));
        }
        let mut hosts = Vec::new();
        let mut ports = Vec::new();
        let mut at = start;
        for part in section.split(',') {
            let (host, port) = self.host_and_port(at, part)?;
            hosts.push(host);
            ports.push(port.to_owned());
            at += part.len() + 1;
        }
        for (name, list) in [("host", hosts), ("port", ports)] {
            if list.iter().any(|item| !item.is_empty()) {
                self.give(name, list.join(","), start, Quotable::No)?;
            }
        }
        Ok(())
    }

    fn host_and_port(&self, at: usize, part: &'t str) -> Result<(String, &'t str), ConnectError> {
        let (host, port, port_at) = if let Some(bracketed) = part.strip_prefix('[') {
            let Some(close) = bracketed.find(']') else {
                return Err(self.fault(
                    at,
                    "the bracket of the IPv6 address is not closed",
                    "write [::1]:5432",
                ));
            };
            let rest = &bracketed[close + 1..];
            let port = match rest.strip_prefix(':') {
                Some(port) => port,
                None if rest.is_empty() => "",
                None => {
                    return Err(self.fault(
                        at + close + 2,
                        "expected `:` and a port, or nothing, after the bracket",
                        "write [::1]:5432",
                    ));
                }
            };
            (&bracketed[..close], port, at + close + 3)
        } else {
            match part.split_once(':') {
                Some((host, port)) => (host, port, at + host.len() + 1),
                None => (part, "", at + part.len()),
            }
        };
        if let Some(bad) = port.find(|c: char| !c.is_ascii_digit()) {
            let hint = if port.contains(':') {
                "put an IPv6 address in brackets: [::1]:5432"
            } else {
                ENCODE
            };
            return Err(self.fault(port_at + bad, "expected only digits in the port", hint));
        }
        let decoded = self.decode(at, host)?;
        if decoded.contains(',') {
            return Err(self.fault(
                at,
                "found a comma in a host name",
                "separate hosts by plain commas",
            ));
        }
        Ok((decoded, port))
    }

    fn query(&mut self, start: usize) -> Result<(), ConnectError> {
        let text = self.text;
        // A raw `@` here is lawful in a value, but more often the end of a password that was cut in two.
        let suspicious = if text[start..].contains('@') {
            Quotable::No
        } else {
            Quotable::Yes
        };
        let mut quotable = suspicious;
        let mut at = start;
        for pair in text[start..].split('&') {
            let here = at;
            at += pair.len() + 1;
            if pair.is_empty() {
                continue;
            }
            let Some((raw_name, raw_value)) = pair.split_once('=') else {
                return Err(self.fault(
                    here,
                    "expected `name=value` in the query",
                    "percent-encode `&` in a value as %26, and `@`, `:`, `/`, `?` in a password",
                ));
            };
            let name = self.decode(here, raw_name)?;
            let value_at = here + raw_name.len() + 1;
            let value = self.decode(value_at, raw_value)?;
            // JDBC's spelling, which libpq takes too.
            if name == "ssl" && value == "true" {
                self.give("sslmode", "require".to_owned(), value_at, quotable)?;
            } else {
                let position = if super::params::find(&name).is_some() {
                    value_at
                } else {
                    here
                };
                self.give(&name, value, position, quotable)?;
            }
            quotable = if name == "password" {
                Quotable::No
            } else {
                suspicious
            };
        }
        Ok(())
    }

    /// Undoes percent-encoding. `+` stays a plus, as in libpq.
    fn decode(&self, at: usize, raw: &str) -> Result<String, ConnectError> {
        let mut bytes = Vec::with_capacity(raw.len());
        let mut rest = raw.as_bytes().iter().enumerate();
        while let Some((i, &byte)) = rest.next() {
            // Behind a blank often stands something that was meant as a word of its own, such as `password=…`; as a part of
            // the host's name it would be shown.
            if byte.is_ascii_whitespace() {
                return Err(self.fault(
                    at + i,
                    "found a blank in a URL",
                    "write a blank in a value as %20; 'host=… password=…' is a form of its own, without postgres://",
                ));
            }
            if byte != b'%' {
                bytes.push(byte);
                continue;
            }
            let mut digit = || rest.next().and_then(|(_, b)| (*b as char).to_digit(16));
            match (digit(), digit()) {
                (Some(0), Some(0)) => {
                    return Err(self.fault(
                        at + i,
                        "found %00, which no value may hold",
                        "remove it",
                    ));
                }
                (Some(high), Some(low)) => bytes.push((high * 16 + low) as u8),
                _ => {
                    return Err(self.fault(
                        at + i,
                        "expected two hexadecimal digits after `%`",
                        "a literal `%` is written %25",
                    ));
                }
            }
        }
        String::from_utf8(bytes).map_err(|_| {
            self.fault(
                at,
                "the decoded text is not UTF-8",
                "percent-encode the UTF-8 bytes of the text",
            )
        })
    }

    /// `key = value key='quoted value'`, with backslash escapes in both forms of value.
    fn pairs(&mut self) -> Result<(), ConnectError> {
        let text = self.text;
        let mut chars = text.char_indices().peekable();
        let mut quotable = Quotable::Yes;
        loop {
            while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            let Some(&(name_at, _)) = chars.peek() else {
                return Ok(());
            };
            while chars
                .next_if(|(_, c)| *c != '=' && !c.is_whitespace())
                .is_some()
            {}
            let name_end = chars.peek().map_or(text.len(), |(i, _)| *i);
            let name = &text[name_at..name_end];
            while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            if chars.next_if(|(_, c)| *c == '=').is_none() {
                return Err(self.fault(
                    name_at,
                    "expected `=` after this word",
                    "quote a value with spaces: password='two words'; escape ' and \\ with a backslash",
                ));
            }
            while chars.next_if(|(_, c)| c.is_whitespace()).is_some() {}
            let value_at = chars.peek().map_or(text.len(), |(i, _)| *i);
            let quoted = chars.next_if(|(_, c)| *c == '\'').is_some();
            let mut value = String::new();
            loop {
                match chars.next() {
                    None if quoted => {
                        return Err(self.fault(
                            value_at,
                            "the quoted value has no end",
                            "close it with '",
                        ));
                    }
                    None => break,
                    Some((_, '\'')) if quoted => break,
                    Some((_, c)) if !quoted && c.is_whitespace() => break,
                    Some((_, '\\')) => {
                        if let Some((_, escaped)) = chars.next() {
                            value.push(escaped);
                        }
                    }
                    Some((_, c)) => value.push(c),
                }
            }
            let position = if super::params::find(name).is_some() {
                value_at
            } else {
                name_at
            };
            self.give(name, value, position, quotable)?;
            // The next word may be the rest of a password with a space in it.
            quotable = if name == "password" {
                Quotable::No
            } else {
                Quotable::Yes
            };
        }
    }
}

fn find_from(text: &str, start: usize, what: &[char]) -> Option<usize> {
    text[start..].find(what).map(|i| start + i)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rstest::rstest;

    fn read(text: &str) -> Vec<(&'static str, String)> {
        let settings = parse(text).unwrap_or_else(|e| panic!("{text}: {e}"));
        [
            "user",
            "password",
            "host",
            "port",
            "dbname",
            "sslmode",
            "options",
            "connect_timeout",
        ]
        .into_iter()
        .filter_map(|name| settings.value(name).map(|v| (name, v.to_owned())))
        .collect()
    }

    #[rstest]
    #[case("postgres://", &[])]
    #[case("postgresql://h", &[("host", "h")])]
    #[case("POSTGRES://h", &[("host", "h")])]
    #[case(" postgres://h\n", &[("host", "h")])]
    #[case("postgres://h:6000", &[("host", "h"), ("port", "6000")])]
    #[case("postgres://u@h/d", &[("user", "u"), ("host", "h"), ("dbname", "d")])]
    #[case("postgres://u:p@h/d", &[("user", "u"), ("password", "p"), ("host", "h"), ("dbname", "d")])]
    #[case("postgres://u:@h", &[("user", "u"), ("host", "h")])]
    #[case("postgres://u:a:b?c#d@h", &[("user", "u"), ("password", "a:b?c#d"), ("host", "h")])]
    #[case("postgres://u:%40%3A%2f%25+é@h", &[("user", "u"), ("password", "@:/%+é"), ("host", "h")])]
    #[case("postgres://a,b:1,c/d", &[("host", "a,b,c"), ("port", ",1,"), ("dbname", "d")])]
    #[case("postgres://[::1]/d", &[("host", "::1"), ("dbname", "d")])]
    #[case("postgres://[fe80::1%25eth0]:6000", &[("host", "fe80::1%eth0"), ("port", "6000")])]
    #[case("postgres://%2Fvar%2Frun/d", &[("host", "/var/run"), ("dbname", "d")])]
    #[case("postgres:///d?host=/tmp&port=6000", &[("host", "/tmp"), ("port", "6000"), ("dbname", "d")])]
    #[case("postgres://h?sslmode=require", &[("host", "h"), ("sslmode", "require")])]
    #[case("postgres://h/?ssl=true&", &[("host", "h"), ("sslmode", "require")])]
    #[case("postgres://h/d?options=-c%20a=b", &[("host", "h"), ("dbname", "d"), ("options", "-c a=b")])]
    #[case("postgres://h/a/b", &[("host", "h"), ("dbname", "a/b")])]
    #[case("postgres://h/d%40e", &[("host", "h"), ("dbname", "d@e")])]
    #[case("postgres://h/d?user=me@here", &[("user", "me@here"), ("host", "h"), ("dbname", "d")])]
    #[case("host=h", &[("host", "h")])]
    #[case("host = h  user=\tu", &[("user", "u"), ("host", "h")])]
    #[case("password='a b' host=h", &[("password", "a b"), ("host", "h")])]
    #[case(r"password='it\'s \\ok' host=h", &[("password", r"it's \ok"), ("host", "h")])]
    #[case(r"password=a\ b host=h", &[("password", "a b"), ("host", "h")])]
    #[case("host=::1 port=1", &[("host", "::1"), ("port", "1")])]
    #[case("password=postgres://x host=h", &[("password", "postgres://x"), ("host", "h")])]
    #[case("host=a host=b", &[("host", "b")])]
    #[case("user='' host=h", &[("host", "h")])]
    fn reads(#[case] text: &str, #[case] expected: &[(&str, &str)]) {
        let expected: Vec<(&str, String)> = expected
            .iter()
            .map(|(k, v)| (*k, (*v).to_owned()))
            .collect();
        assert_eq!(read(text), expected);
    }

    #[rstest]
    #[case("", "it is empty", "PG* variables")]
    #[case("  ", "it is empty", "PG* variables")]
    #[case("shop", "at byte 0: expected a URL", "postgres://user@host")]
    #[case(
        "postgre://h",
        "at byte 0: expected the scheme",
        "did you mean `postgres://`?"
    )]
    #[case("mysql://h", "at byte 0: expected the scheme", "only PostgreSQL")]
    #[case("postgres://u:p@ss@h", "at byte 17: found a second `@`", "%40")]
    #[case(
        "postgres://u:pa/ss@h/d",
        "at byte 13: expected only digits in the port",
        "%2F"
    )]
    #[case(
        "postgres://u:1/ss@h/d",
        "at byte 17: found `@` in the database's name",
        "%40"
    )]
    #[case("postgres://h password=pass", "at byte 12: found a blank", "%20")]
    #[case("postgres:// password=pass", "at byte 11: found a blank", "%20")]
    #[case("postgres://u:pa ss@h", "at byte 15: found a blank", "%20")]
    #[case(
        "postgres://h/d?user=u password=pass",
        "at byte 21: found a blank",
        "%20"
    )]
    #[case("postgres://u:p%zz@h", "at byte 14: expected two hexadecimal", "%25")]
    #[case("postgres://u:p%4@h", "at byte 14: expected two hexadecimal", "%25")]
    #[case("postgres://u:p%00@h", "at byte 14: found %00", "remove")]
    #[case(
        "postgres://u:p%ff@h",
        "at byte 13: the decoded text is not UTF-8",
        "UTF-8"
    )]
    #[case("postgres://[::1/d", "at byte 11: the bracket", "[::1]:5432")]
    #[case("postgres://[::1]x/d", "at byte 16: expected `:`", "[::1]:5432")]
    #[case("postgres://::1/d", "at byte 12: expected only digits", "brackets")]
    #[case("postgres://h:12a/d", "at byte 15: expected only digits", "percent")]
    #[case(
        "postgres://h/d?sslmod=require",
        "at byte 15: unknown connection parameter `sslmod`",
        "`sslmode`"
    )]
    #[case(
        "postgres://h/d?schema=public",
        "at byte 15: unknown connection parameter `schema`",
        "libpq"
    )]
    #[case(
        "postgres://h/d?require_auth=none",
        "at byte 28: it is not supported",
        "channel_binding"
    )]
    #[case("postgres://h/d?sslmode", "at byte 15: expected `name=value`", "%26")]
    #[case("host", "at byte 0: expected a URL", "postgres://")]
    #[case(
        "host=h usr=u",
        "at byte 7: unknown connection parameter `usr`",
        "`user`"
    )]
    #[case("host=h password=a secret", "at byte 18: expected `=`", "quote")]
    #[case("host=h password='a", "at byte 16: the quoted value", "close")]
    fn refuses(#[case] text: &str, #[case] message: &str, #[case] hint: &str) {
        let error = parse(text)
            .err()
            .unwrap_or_else(|| panic!("{text} was accepted"));
        assert_eq!(error.kind(), ConnectErrorKind::InvalidOptions);
        assert!(error.to_string().contains(message), "{text}: {error}");
        assert!(error.hint().contains(hint), "{text}: {}", error.hint());
    }

    /// Pieces of a password that was not encoded turn up in any place; none may be repeated.
    #[rstest]
    #[case("postgres://u:hun/ter2?x=1@h/d")]
    #[case("postgres://u:55/hunter2?hunter2=1@h/d")]
    #[case("postgres://h/d?password=a&hunter2=b")]
    #[case("postgres://h/d?password=a&hunter2")]
    #[case("password=a hunter2=b")]
    #[case("password=a hunter2")]
    #[case("postgres://u:a@hunter2@h")]
    #[case("postgres://u:hunter2%zz@h")]
    #[case("host=h password='hunter2")]
    #[case("hunter2://u@h")]
    fn repeats_nothing_secret(#[case] text: &str) {
        let error = parse(text)
            .err()
            .unwrap_or_else(|| panic!("{text} was accepted"));
        let shown = format!("{error} {error:?} {}", error.hint());
        assert!(
            !shown.contains("hunter2") && !shown.contains("ter2"),
            "{shown}"
        );
    }
}
