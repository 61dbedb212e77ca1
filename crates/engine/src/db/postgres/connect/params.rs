//! The parameters of a connection: one table from which the parsers, the environment and the messages derive.
//!
//! Names and variables are those of libpq, chapter "Connection Control Functions" and "Environment Variables" of
//! the PostgreSQL manual. A parameter that only tunes what we do not have is ignored; one that asks for a safety
//! which we cannot give is refused, because ignoring it would be a silent loss of that safety.

use std::collections::BTreeMap;
use std::fmt;

use super::error::{ConnectError, ConnectErrorKind};

/// What becomes of a parameter that somebody set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handling {
    /// It is read and has its effect.
    Read,
    /// It is accepted and has no meaning for this client.
    Ignored,
    /// It is refused for the reason given, which is a hint to the user.
    Refused(&'static str),
}

/// One connection parameter.
#[derive(Debug)]
pub(super) struct Parameter {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    pub(super) handling: Handling,
}

const fn read(name: &'static str, variable: &'static str) -> Parameter {
    Parameter {
        name,
        variable: Some(variable),
        handling: Handling::Read,
    }
}

const fn read_only_here(name: &'static str) -> Parameter {
    Parameter {
        name,
        variable: None,
        handling: Handling::Read,
    }
}

const fn ignored(name: &'static str, variable: Option<&'static str>) -> Parameter {
    Parameter {
        name,
        variable,
        handling: Handling::Ignored,
    }
}

const fn refused(
    name: &'static str,
    variable: Option<&'static str>,
    hint: &'static str,
) -> Parameter {
    Parameter {
        name,
        variable,
        handling: Handling::Refused(hint),
    }
}

const NO_CRL: &str =
    "revocation lists are not checked; remove the parameter, or remove the certificate's trust";
const NO_OAUTH: &str =
    "use a password, a client certificate, or a token in the passfile (it is read at each connect)";

/// Every parameter that libpq 18 knows, and what we do with it.
pub(super) const PARAMETERS: &[Parameter] = &[
    read("host", "PGHOST"),
    read("hostaddr", "PGHOSTADDR"),
    read("port", "PGPORT"),
    read("dbname", "PGDATABASE"),
    read("user", "PGUSER"),
    read("password", "PGPASSWORD"),
    read("passfile", "PGPASSFILE"),
    read("service", "PGSERVICE"),
    read("servicefile", "PGSERVICEFILE"),
    read("options", "PGOPTIONS"),
    read("application_name", "PGAPPNAME"),
    read("connect_timeout", "PGCONNECT_TIMEOUT"),
    read_only_here("keepalives"),
    read_only_here("keepalives_idle"),
    read_only_here("keepalives_interval"),
    read_only_here("keepalives_count"),
    read_only_here("tcp_user_timeout"),
    read("target_session_attrs", "PGTARGETSESSIONATTRS"),
    read("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    read("channel_binding", "PGCHANNELBINDING"),
    read("gssencmode", "PGGSSENCMODE"),
    read("sslmode", "PGSSLMODE"),
    read("sslnegotiation", "PGSSLNEGOTIATION"),
    read("sslrootcert", "PGSSLROOTCERT"),
    read("sslcert", "PGSSLCERT"),
    read("sslkey", "PGSSLKEY"),
    read("sslcertmode", "PGSSLCERTMODE"),
    read("sslsni", "PGSSLSNI"),
    read("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    read("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ignored("client_encoding", Some("PGCLIENTENCODING")),
    ignored("fallback_application_name", None),
    ignored("gssdelegation", Some("PGGSSDELEGATION")),
    ignored("gsslib", Some("PGGSSLIB")),
    ignored("krbsrvname", Some("PGKRBSRVNAME")),
    ignored("max_protocol_version", Some("PGMAXPROTOCOLVERSION")),
    ignored("min_protocol_version", Some("PGMINPROTOCOLVERSION")),
    ignored("sslcompression", Some("PGSSLCOMPRESSION")),
    refused("oauth_client_id", None, NO_OAUTH),
    refused("oauth_client_secret", None, NO_OAUTH),
    refused("oauth_issuer", None, NO_OAUTH),
    refused("oauth_scope", None, NO_OAUTH),
    refused(
        "replication",
        None,
        "a replication connection runs no migration; remove the parameter",
    ),
    refused(
        "require_auth",
        Some("PGREQUIREAUTH"),
        "say sslmode=verify-full, or channel_binding=require, to be sure of the server",
    ),
    refused(
        "requirepeer",
        Some("PGREQUIREPEER"),
        "the owner of a Unix socket is not checked; remove the parameter",
    ),
    refused("scram_client_key", None, "give the password instead"),
    refused("scram_server_key", None, "give the password instead"),
    refused("sslcrl", Some("PGSSLCRL"), NO_CRL),
    refused("sslcrldir", Some("PGSSLCRLDIR"), NO_CRL),
    refused(
        "sslkeylogfile",
        None,
        "session keys are never written to a file; remove the parameter",
    ),
    refused(
        "sslpassword",
        None,
        "an encrypted key is not read; store it decrypted with permissions 0600",
    ),
];

/// Finds a parameter by its exact name.
pub(super) fn find(name: &str) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|p| p.name == name)
}

/// The candidate nearest to `word`, if one is near enough to be what was meant.
pub(super) fn nearest<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let limit = (word.chars().count() / 3).clamp(1, 3);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Where a value comes from, so that a message can send its reader there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// The connection string, at a byte offset from its start.
    Text {
        /// Zero-based offset in bytes.
        at: usize,
    },
    /// A line of the service file.
    Service {
        /// The file as it was opened.
        file: String,
        /// One-based line.
        line: usize,
    },
    /// An environment variable.
    Variable(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Text { at } => write!(f, "the connection string at byte {at}"),
            Origin::Service { file, line } => write!(f, "{file}:{line}"),
            Origin::Variable(name) => write!(f, "the environment variable {name}"),
        }
    }
}

/// One value that somebody gave. It has no `Debug`, because it may be the password.
#[derive(Clone)]
pub(super) struct Setting {
    pub(super) value: String,
    pub(super) origin: Origin,
}

/// Whether an unknown name may be repeated in a message.
///
/// A password that was not percent-encoded falls apart into pieces, and a piece may look like a parameter's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quotable {
    /// The name cannot be a part of a password.
    Yes,
    /// The name may be a part of a password.
    No,
}

/// The settings gathered so far. Who sets first wins: text, then service file, then environment.
#[derive(Default)]
pub(super) struct Settings {
    map: BTreeMap<&'static str, Setting>,
}

impl Settings {
    /// Takes a setting given by name, replacing an earlier one of the same source as libpq does.
    ///
    /// # Errors
    /// The name is unknown or refused.
    pub(super) fn give(
        &mut self,
        name: &str,
        value: String,
        origin: Origin,
        quotable: Quotable,
    ) -> Result<(), ConnectError> {
        let Some(parameter) = find(name) else {
            return Err(unknown(name, &origin, quotable));
        };
        self.put(parameter, value, origin)
    }

    fn put(
        &mut self,
        parameter: &'static Parameter,
        value: String,
        origin: Origin,
    ) -> Result<(), ConnectError> {
        match parameter.handling {
            Handling::Ignored => Ok(()),
            Handling::Refused(hint) => Err(ConnectError::new(
                ConnectErrorKind::InvalidOptions,
                format!(
                    "use `{}` from {origin}: it is not supported",
                    parameter.name
                ),
                hint,
            )),
            Handling::Read => {
                self.map.insert(parameter.name, Setting { value, origin });
                Ok(())
            }
        }
    }

    /// Fills what is still unset from `other`.
    pub(super) fn fill_from(&mut self, other: Settings) {
        for (name, setting) in other.map {
            self.map.entry(name).or_insert(setting);
        }
    }

    /// Fills what is still unset from the variables. An empty variable counts as unset, as in libpq.
    ///
    /// # Errors
    /// A variable asks for something refused.
    pub(super) fn fill_from_environment(
        &mut self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<(), ConnectError> {
        for parameter in PARAMETERS {
            let Some(variable) = parameter.variable else {
                continue;
            };
            if self.map.contains_key(parameter.name) {
                continue;
            }
            if let Some(value) = env(variable).filter(|value| !value.is_empty()) {
                self.put(parameter, value, Origin::Variable(variable))?;
            }
        }
        Ok(())
    }

    /// The setting of that name, unless it is unset or empty.
    pub(super) fn get(&self, name: &'static str) -> Option<&Setting> {
        debug_assert!(find(name).is_some(), "{name} is not in the table");
        self.map
            .get(name)
            .filter(|setting| !setting.value.is_empty())
    }

    /// The value of that name, unless it is unset or empty.
    pub(super) fn value(&self, name: &'static str) -> Option<&str> {
        self.get(name).map(|setting| setting.value.as_str())
    }

    /// A whole number.
    ///
    /// # Errors
    /// The value is no number.
    pub(super) fn number(&self, name: &'static str) -> Result<Option<i64>, ConnectError> {
        let Some(setting) = self.get(name) else {
            return Ok(None);
        };
        setting
            .value
            .trim()
            .parse()
            .map(Some)
            .map_err(|_| invalid(name, &setting.origin, "expected a whole number", None))
    }

    /// One of a fixed list of words, each with what it means.
    ///
    /// # Errors
    /// The value is not in the list.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<Option<T>, ConnectError> {
        let Some(setting) = self.get(name) else {
            return Ok(None);
        };
        if let Some((_, meaning)) = choices.iter().find(|(word, _)| *word == setting.value) {
            return Ok(Some(*meaning));
        }
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        let near = nearest(&setting.value, words.iter().copied());
        Err(invalid(
            name,
            &setting.origin,
            &format!("expected one of {}", words.join(", ")),
            near,
        ))
    }
}

/// The error for a name that is in no table.
fn unknown(name: &str, origin: &Origin, quotable: Quotable) -> ConnectError {
    let near = nearest(name, PARAMETERS.iter().map(|p| p.name));
    let plain = name
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    let shown = match quotable {
        Quotable::Yes if plain && !name.is_empty() => format!(" `{name}`"),
        _ => String::new(),
    };
    let hint = match (near, quotable) {
        (Some(near), Quotable::Yes) => format!("did you mean `{near}`?"),
        (_, Quotable::No) => "percent-encode `@`, `:`, `/`, `?`, `&` and `%` in a password, \
                              or quote it in a key=value string"
            .to_owned(),
        (None, Quotable::Yes) => {
            "the names are libpq's, as psql takes them; remove what another client added".to_owned()
        }
    };
    ConnectError::new(
        ConnectErrorKind::InvalidOptions,
        format!("use {origin}: unknown connection parameter{shown}"),
        hint,
    )
}

/// The error for a value that cannot be used. It never repeats the value: that may be a piece of a password.
pub(super) fn invalid(
    name: &str,
    origin: &Origin,
    expected: &str,
    near: Option<&str>,
) -> ConnectError {
    let hint = match near {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("change `{name}` in {origin}"),
    };
    ConnectError::new(
        ConnectErrorKind::InvalidOptions,
        format!("use `{name}` from {origin}: {expected}"),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_each_name_and_variable_once() {
        for (i, a) in PARAMETERS.iter().enumerate() {
            for b in &PARAMETERS[i + 1..] {
                assert_ne!(a.name, b.name);
                assert!(
                    a.variable.is_none() || a.variable != b.variable,
                    "{:?}",
                    a.variable
                );
            }
        }
    }

    #[test]
    fn a_refusal_tells_what_to_do() {
        for parameter in PARAMETERS {
            if let Handling::Refused(hint) = parameter.handling {
                assert!(hint.len() > 10, "{}", parameter.name);
            }
        }
    }

    #[rstest::rstest]
    #[case("sslmod", Some("sslmode"))]
    #[case("SSLMODE", Some("sslmode"))]
    #[case("databse", None)]
    #[case("dbnmae", Some("dbname"))]
    #[case("conect_timeout", Some("connect_timeout"))]
    #[case("schema", None)]
    fn nearest_parameter(#[case] word: &str, #[case] expected: Option<&str>) {
        assert_eq!(nearest(word, PARAMETERS.iter().map(|p| p.name)), expected);
    }
}
