//! The address of an HTTP endpoint, in parts.

/// An address that can be called, and shown without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpAddress {
    /// Over TLS.
    pub tls: bool,
    /// `user:password`, decoded; never shown.
    pub login: Option<String>,
    /// The host's name or address, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, with its leading slash; the query is never shown.
    pub target: String,
}

/// Why a text is no address for a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HttpFault {
    /// It would be one, but holds a password.
    Password,
    /// It is none; completes a sentence that begins with the field's name.
    Malformed(String),
}

impl HttpAddress {
    /// Reads an address that may stand in a file: one without a password.
    ///
    /// # Errors
    /// See [`HttpFault`].
    pub fn read(text: &str) -> Result<Self, HttpFault> {
        let address = Self::read_secret(text).map_err(HttpFault::Malformed)?;
        match address.login {
            Some(_) => Err(HttpFault::Password),
            None => Ok(address),
        }
    }

    /// Reads an address that may hold a password. The error shows nothing of
    /// it.
    ///
    /// # Errors
    /// What is wrong with it, to complete a sentence.
    pub fn read_secret(text: &str) -> Result<Self, String> {
        if let Some(odd) = text.chars().find(|c| c.is_whitespace() || c.is_control()) {
            return Err(format!("holds the character {odd:?}"));
        }
        if !text.is_ascii() {
            return Err("holds a character outside ASCII: encode it with %".to_owned());
        }
        let (scheme, rest) = text
            .split_once("://")
            .ok_or_else(|| "has no http:// or https:// before it".to_owned())?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err("is neither http:// nor https://".to_owned()),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, target) = rest.split_at(end);
        let (login, place) = match authority.rsplit_once('@') {
            Some((login, place)) => (Some(decode(login)?), place),
            None => (None, authority),
        };
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, after) = rest
                    .split_once(']')
                    .ok_or_else(|| "has an address without its `]`".to_owned())?;
                (host, after.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        if host.is_empty() {
            return Err("names no host".to_owned());
        }
        let port = match port {
            Some(text) => text
                .parse()
                .ok()
                .filter(|port| *port > 0)
                .ok_or_else(|| "has a port that is no number from 1 to 65535".to_owned())?,
            None if tls => 443,
            None => 80,
        };
        let target = match target {
            "" => "/".to_owned(),
            query if query.starts_with('?') => format!("/{query}"),
            path => path.to_owned(),
        };
        Ok(Self {
            tls,
            login,
            host: host.to_owned(),
            port,
            target,
        })
    }

    /// The address for people: without login and query.
    pub fn shown(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        let path = self.target.split('?').next().unwrap_or("/");
        format!("{scheme}://{}{path}", self.authority())
    }

    /// Host and port as the `Host` header has them.
    pub fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match (self.tls, self.port) {
            (true, 443) | (false, 80) => host,
            (_, port) => format!("{host}:{port}"),
        }
    }
}

/// Percent-decoding.
fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        match (digit(rest.next()), digit(rest.next())) {
            (Some(high), Some(low)) => bytes.push(u8::try_from(high * 16 + low).unwrap_or(0)),
            _ => return Err("has a `%` without two hexadecimal digits".to_owned()),
        }
    }
    String::from_utf8(bytes).map_err(|_| "has a login that is not UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart_and_shown_without_secrets() {
        let plain = HttpAddress::read("http://gate:8080").expect("good");
        assert_eq!((plain.port, plain.target.as_str()), (8080, "/"));
        assert_eq!(plain.shown(), "http://gate:8080/");
        let full =
            HttpAddress::read_secret("https://joe:p%40ss@[::1]/go/on?token=abc#x").expect("good");
        assert_eq!(full.login.as_deref(), Some("joe:p@ss"));
        assert_eq!(
            (full.host.as_str(), full.port, full.tls),
            ("::1", 443, true)
        );
        assert_eq!(full.target, "/go/on?token=abc");
        assert_eq!(full.shown(), "https://[::1]/go/on");
        let query = HttpAddress::read("https://h?x=1").expect("good");
        assert_eq!(query.target, "/?x=1");
    }

    #[test]
    fn what_is_no_address_says_why_and_keeps_secrets() {
        assert_eq!(
            HttpAddress::read("https://joe:pw@h/"),
            Err(HttpFault::Password)
        );
        for text in [
            "gate.example.com",
            "ftp://h/",
            "http://",
            "http://h:0/",
            "http://h:99999/",
            "http://[::1/",
            "http://h/a b",
            "http://h/ü",
            "http://secret%zz@h/",
        ] {
            match HttpAddress::read(text) {
                Err(HttpFault::Malformed(why)) => assert!(!why.contains("secret"), "{why}"),
                other => panic!("{text}: {other:?}"),
            }
        }
    }
}
