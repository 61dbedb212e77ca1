//! Why a connection could not be made, sorted by what a person has to do about it.
//!
//! The server's text is translated to the language of its `lc_messages`, so the sorting uses the SQLSTATE and the
//! name of the server's own C function (`routine` in the error report), which are never translated.
//! PgBouncer reports most of its refusals as `08P01` without a routine, in English only; there the text decides.

use std::error::Error as _;
use std::io;

use rustls::CertificateError;
use tokio_postgres::error::{DbError as Report, SqlState};

use crate::db::{DbError, ErrorKind};
use crate::retry::{Classify, Verdict};

/// What kind of failure it was.
///
/// For an exit code: [`InvalidOptions`](Self::InvalidOptions) is the caller's mistake in an option, a variable or a
/// file; each other kind means that the database could not be reached as described.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectErrorKind {
    /// Nobody answered: no such host, refused, timed out, cut off, or no host of the list is of the wanted kind.
    Unreachable,
    /// The server does not let this role in: wrong password, no such role, no rule for it in `pg_hba.conf`.
    Authentication,
    /// The server has no database of that name.
    NoSuchDatabase,
    /// No encrypted connection of the wanted strength came about.
    Tls,
    /// All connection slots are taken.
    TooManyConnections,
    /// The server is starting, recovering, or behind a pooler that cannot reach it yet.
    StartingUp,
    /// The server is shutting down.
    ShuttingDown,
    /// A parameter is unknown, malformed, or contradicts another.
    InvalidOptions,
    /// The server answered and refused for another reason.
    Refused,
}

/// A failed connection: what was tried, what happened, and what to do.
///
/// The text is a fragment that fits "failed to …". It never contains the password or any part of it, and neither
/// does the hint; there is no inner error that could.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ConnectError {
    kind: ConnectErrorKind,
    message: String,
    hint: String,
    sqlstate: Option<String>,
}

impl ConnectError {
    pub(super) fn new(
        kind: ConnectErrorKind,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) -> Self {
        ConnectError {
            kind,
            message: message.into(),
            hint: hint.into(),
            sqlstate: None,
        }
    }

    /// What kind of failure it was.
    #[must_use]
    pub fn kind(&self) -> ConnectErrorKind {
        self.kind
    }

    /// What to do about it, as one line without a period at the end.
    #[must_use]
    pub fn hint(&self) -> &str {
        &self.hint
    }

    /// The server's five-character error code, when the server answered.
    #[must_use]
    pub fn sqlstate(&self) -> Option<&str> {
        self.sqlstate.as_deref()
    }

    /// Whether the next host of a list may do better. A server that let us in far enough to judge the role, the
    /// password or the database has the last word, as in libpq.
    pub(super) fn is_about_one_host(&self) -> bool {
        match self.kind {
            ConnectErrorKind::Unreachable
            | ConnectErrorKind::TooManyConnections
            | ConnectErrorKind::StartingUp
            | ConnectErrorKind::ShuttingDown => true,
            ConnectErrorKind::Authentication
            | ConnectErrorKind::NoSuchDatabase
            | ConnectErrorKind::Tls
            | ConnectErrorKind::InvalidOptions
            | ConnectErrorKind::Refused => false,
        }
    }

    /// Adds what was noticed about the passfile, which is the likely reason for a missing password.
    pub(super) fn with_note(mut self, note: Option<&str>) -> Self {
        if let (ConnectErrorKind::Authentication, Some(note)) = (self.kind, note) {
            self.hint = note.to_owned();
        }
        self
    }

    /// One error for several hosts or addresses, all tried in vain. Its kind and hint are those of the attempt that
    /// came furthest.
    pub(super) fn for_all(mut attempts: Vec<ConnectError>, target: &str) -> Self {
        match attempts.len() {
            0 => ConnectError::new(
                ConnectErrorKind::Unreachable,
                format!("connect to {target}: the host name has no address"),
                "check the host name",
            ),
            1 => attempts.remove(0),
            count => {
                let worst = attempts
                    .iter()
                    .find(|e| e.kind != ConnectErrorKind::Unreachable)
                    .unwrap_or(&attempts[0]);
                let parts: Vec<&str> = attempts
                    .iter()
                    .map(|e| e.message.strip_prefix("connect to ").unwrap_or(&e.message))
                    .collect();
                ConnectError {
                    kind: worst.kind,
                    message: format!("connect to any of {count} addresses: {}", parts.join("; ")),
                    hint: worst.hint.clone(),
                    sqlstate: worst.sqlstate.clone(),
                }
            }
        }
    }

    /// Nobody answered in time.
    pub(super) fn timed_out(target: &str, after: std::time::Duration) -> Self {
        ConnectError::new(
            ConnectErrorKind::Unreachable,
            format!(
                "connect to {target}: no answer within {}",
                humantime::format_duration(after)
            ),
            "check the address and the firewall, or raise connect_timeout",
        )
    }

    /// The name could not be looked up.
    pub(super) fn lookup(target: &str, error: &io::Error) -> Self {
        ConnectError::new(
            ConnectErrorKind::Unreachable,
            format!("connect to {target}: the host name cannot be looked up: {error}"),
            "check the host name and this machine's DNS",
        )
    }

    /// The server is of another kind than `target_session_attrs` asks for.
    pub(super) fn unsuited(target: &str, what: &str) -> Self {
        ConnectError::new(
            ConnectErrorKind::Unreachable,
            format!("connect to {target}: {what}"),
            "name the server that is wanted, or change target_session_attrs",
        )
    }

    /// The server is a primary that a failover has left behind.
    pub(super) fn left_behind(target: &str, timeline: Option<u32>, newer: u32) -> Self {
        ConnectError::new(
            ConnectErrorKind::Unreachable,
            format!(
                "connect to {target}: a failover has left it behind, it writes timeline {} and {newer} has begun",
                timeline.unwrap_or_default()
            ),
            "stop the old primary, or make it a standby of the new one, and let the address lead to the new one",
        )
    }

    /// Sorts what the driver reported while connecting to `target` as `user`.
    pub(super) fn from_driver(
        target: &str,
        user: &str,
        database: &str,
        error: &tokio_postgres::Error,
    ) -> Self {
        if let Some(report) = error.as_db_error() {
            return Self::from_report(target, user, database, report);
        }
        let at = |what: &str| format!("connect to {target}: {what}");
        if let Some(problem) = tls_problem(error) {
            return ConnectError::new(ConnectErrorKind::Tls, at(&problem.0), problem.1);
        }
        if let Some(io) = io_cause(error) {
            let (what, hint) = io_problem(io);
            return ConnectError::new(ConnectErrorKind::Unreachable, at(&what), hint);
        }
        // What is left are the driver's own words; its causes are fixed texts without any value of ours.
        let text = match error.source() {
            Some(cause) => cause.to_string(),
            None => error.to_string(),
        };
        match (error.to_string().as_str(), text.as_str()) {
            ("invalid configuration", "password missing") => ConnectError::new(
                ConnectErrorKind::Authentication,
                at("the server asks for a password and none was given"),
                "set PGPASSWORD, add a line to ~/.pgpass, or put the password into the URL",
            ),
            ("authentication error", "server did not use channel binding") => ConnectError::new(
                ConnectErrorKind::Authentication,
                at("the server did not use channel binding"),
                "channel_binding=require needs TLS and a scram-sha-256 password on the server",
            ),
            ("authentication error", _) => ConnectError::new(
                ConnectErrorKind::Authentication,
                at(&text),
                "password (scram-sha-256, md5), certificate, peer and trust are supported",
            ),
            ("connection closed", _) => ConnectError::new(
                ConnectErrorKind::Unreachable,
                at("the server closed the connection while it was being made"),
                "look into the server's log; a proxy in between may have no server behind it",
            ),
            _ => ConnectError::new(
                ConnectErrorKind::Unreachable,
                at(&text),
                "check that host and port belong to a PostgreSQL server",
            ),
        }
    }

    fn from_report(target: &str, user: &str, database: &str, report: &Report) -> Self {
        let (kind, hint) = sort_report(user, database, report);
        ConnectError {
            kind,
            message: format!("connect to {target}: the server says: {}", report.message()),
            hint,
            sqlstate: Some(report.code().code().to_owned()),
        }
    }
}

impl From<ConnectError> for DbError {
    fn from(error: ConnectError) -> Self {
        let kind = match error.kind {
            ConnectErrorKind::Unreachable
            | ConnectErrorKind::StartingUp
            | ConnectErrorKind::ShuttingDown => ErrorKind::Unreachable,
            ConnectErrorKind::TooManyConnections => ErrorKind::Transient,
            ConnectErrorKind::Authentication
            | ConnectErrorKind::NoSuchDatabase
            | ConnectErrorKind::Tls
            | ConnectErrorKind::InvalidOptions
            | ConnectErrorKind::Refused => ErrorKind::Rejected,
        };
        DbError {
            kind,
            message: error.message,
            hints: vec![error.hint],
            code: error.sqlstate,
        }
    }
}

impl Classify for ConnectError {
    fn verdict(&self) -> Verdict {
        match self.kind {
            ConnectErrorKind::Unreachable
            | ConnectErrorKind::TooManyConnections
            | ConnectErrorKind::StartingUp
            | ConnectErrorKind::ShuttingDown => Verdict::Transient,
            ConnectErrorKind::Authentication
            | ConnectErrorKind::NoSuchDatabase
            | ConnectErrorKind::Tls
            | ConnectErrorKind::InvalidOptions
            | ConnectErrorKind::Refused => Verdict::Definite,
        }
    }
}

/// The kind and the hint for an error report of the server or of a pooler in front of it.
fn sort_report(user: &str, database: &str, report: &Report) -> (ConnectErrorKind, String) {
    use ConnectErrorKind as Kind;
    let code = report.code();
    if *code == SqlState::INVALID_PASSWORD {
        (
            Kind::Authentication,
            format!("check the password of role `{user}`, and which role you meant"),
        )
    } else if *code == SqlState::INVALID_AUTHORIZATION_SPECIFICATION {
        let hint = match report.routine() {
            Some("ClientAuthentication") => format!(
                "add a rule to pg_hba.conf for role `{user}`, database `{database}` and this client's \
                 address, and check sslmode"
            ),
            Some("InitializeSessionUserId" | "InitializeSessionUserIdStandalone") => {
                format!("create role `{user}` with the LOGIN right, or name another with user=")
            }
            _ => format!("check the role `{user}` and the rules in pg_hba.conf"),
        };
        (Kind::Authentication, hint)
    } else if *code == SqlState::INVALID_CATALOG_NAME {
        (
            Kind::NoSuchDatabase,
            format!("create the database `{database}`, or name another"),
        )
    } else if *code == SqlState::TOO_MANY_CONNECTIONS {
        (
            Kind::TooManyConnections,
            "free some connections, raise the limit, or use fewer workers".to_owned(),
        )
    } else if *code == SqlState::CANNOT_CONNECT_NOW {
        let kind = if report.message().contains("shutting down") {
            Kind::ShuttingDown
        } else {
            Kind::StartingUp
        };
        (
            kind,
            "wait until the server accepts connections, then try again".to_owned(),
        )
    } else if *code == SqlState::ADMIN_SHUTDOWN || *code == SqlState::CRASH_SHUTDOWN {
        (
            Kind::ShuttingDown,
            "wait until the server is back, then try again".to_owned(),
        )
    } else if *code == SqlState::INSUFFICIENT_PRIVILEGE {
        (
            Kind::Refused,
            format!("GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\""),
        )
    } else if *code == SqlState::OBJECT_NOT_IN_PREREQUISITE_STATE {
        (
            Kind::Refused,
            format!("ALTER DATABASE \"{database}\" ALLOW_CONNECTIONS true"),
        )
    } else if *code == SqlState::UNDEFINED_OBJECT
        || *code == SqlState::INVALID_PARAMETER_VALUE
        || *code == SqlState::CANT_CHANGE_RUNTIME_PARAM
        || *code == SqlState::SYNTAX_ERROR
    {
        (
            Kind::InvalidOptions,
            "change the settings given in `options` or PGOPTIONS".to_owned(),
        )
    } else if *code == SqlState::PROTOCOL_VIOLATION {
        sort_pooler_report(user, database, report.message())
    } else if code.code().starts_with("08") {
        (
            Kind::Unreachable,
            "try again; a proxy in between lost its server".to_owned(),
        )
    } else {
        (Kind::Refused, "look into the server's log".to_owned())
    }
}

fn sort_pooler_report(user: &str, database: &str, text: &str) -> (ConnectErrorKind, String) {
    use ConnectErrorKind as Kind;
    let any = |words: &[&str]| words.iter().any(|word| text.contains(word));
    if any(&["unsupported startup parameter"]) {
        (
            Kind::InvalidOptions,
            "drop `options` and PGOPTIONS, or use the server's own port: the pooler takes none"
                .to_owned(),
        )
    } else if any(&["no such database"]) {
        (
            Kind::NoSuchDatabase,
            format!("add `{database}` to the pooler's databases, or name another"),
        )
    } else if any(&[
        "no such user",
        "auth failed",
        "authentication failed",
        "not allowed",
    ]) {
        (
            Kind::Authentication,
            format!("check role `{user}` and its password in the pooler's user list"),
        )
    } else if any(&["no more connections", "too many"]) {
        (
            Kind::TooManyConnections,
            "raise the pooler's limit, or use fewer workers".to_owned(),
        )
    } else if any(&["shutting down", "suspended"]) {
        (
            Kind::ShuttingDown,
            "wait until the pooler is back, then try again".to_owned(),
        )
    } else if any(&[
        "cannot connect",
        "connect failed",
        "server login",
        "is disabled",
        "paused",
    ]) {
        (
            Kind::StartingUp,
            "wait until the pooler reaches its server, then try again".to_owned(),
        )
    } else {
        (
            Kind::Refused,
            "look into the log of the pooler or server".to_owned(),
        )
    }
}

/// Whether the failure came from the handshake. The driver tells this in its text alone.
fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string() == "error performing TLS handshake"
}

/// Whether `sslmode=prefer` should try again without TLS: the handshake failed, or the rules in `pg_hba.conf` have
/// no place for an encrypted connection. A wrong password is no reason to send it once more, in plain text.
pub(super) fn suggests_plain_text(error: &tokio_postgres::Error) -> bool {
    is_handshake(error) || error.code() == Some(&SqlState::INVALID_AUTHORIZATION_SPECIFICATION)
}

/// The I/O error somewhere among the causes.
fn io_cause(error: &tokio_postgres::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<io::Error>() {
            return Some(io);
        }
        cause = inner.source();
    }
    None
}

fn io_problem(error: &io::Error) -> (String, &'static str) {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => (
            "connection refused".to_owned(),
            "start the server, or correct host and port; listen_addresses must include this address",
        ),
        io::ErrorKind::NotFound => (
            "no socket file".to_owned(),
            "start the server, or correct the socket directory and the port",
        ),
        io::ErrorKind::PermissionDenied => (
            "permission denied on the socket".to_owned(),
            "run as a user who may open the server's socket, or connect by TCP",
        ),
        io::ErrorKind::TimedOut => (
            "timed out".to_owned(),
            "check the address and the firewall, or raise connect_timeout",
        ),
        io::ErrorKind::UnexpectedEof
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::ConnectionAborted
        | io::ErrorKind::BrokenPipe => (
            "the connection was cut while it was being made".to_owned(),
            "check that host and port belong to a PostgreSQL server, and look into its log",
        ),
        _ => (
            error.to_string(),
            "check the network between here and the server",
        ),
    }
}

/// Whether TLS itself failed, and then how.
fn tls_problem(error: &tokio_postgres::Error) -> Option<(String, &'static str)> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        let wrapped = inner
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        let tls = match wrapped {
            Some(wrapped) => wrapped.downcast_ref::<rustls::Error>(),
            None => inner.downcast_ref::<rustls::Error>(),
        };
        if let Some(tls) = tls {
            return Some(rustls_problem(tls));
        }
        cause = inner.source();
    }
    // A handshake that the network cut short says nothing about TLS, and may work the next time.
    if !is_handshake(error) || io_cause(error).is_some() {
        return None;
    }
    let text = error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string);
    if text == "server does not support TLS" {
        Some((
            "the server does not offer TLS, and sslmode insists on it".to_owned(),
            "set ssl = on in the server, or sslmode=prefer where plain text is acceptable",
        ))
    } else {
        Some((
            format!("the TLS handshake failed: {text}"),
            "check that host and port belong to a PostgreSQL server that offers TLS",
        ))
    }
}

fn rustls_problem(error: &rustls::Error) -> (String, &'static str) {
    match error {
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        ) => (
            "the server's certificate is for another host name".to_owned(),
            "connect by a name in the certificate's subjectAltName (a common name alone does not count), \
             or give the address in hostaddr and the certified name in host",
        ),
        rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => (
            "the server's certificate is not signed by a trusted authority".to_owned(),
            "name the authority's certificate in sslrootcert",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => (
            "the server's certificate has expired".to_owned(),
            "renew it on the server",
        ),
        rustls::Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => (
            "the server's certificate is not valid yet".to_owned(),
            "check the clocks of this machine and the server",
        ),
        other => (
            format!("the TLS handshake failed: {other}"),
            "the server needs an X.509 v3 certificate and TLS 1.2 or 1.3; see sslrootcert, sslcert, sslmode",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(
        "unsupported startup parameter: options",
        ConnectErrorKind::InvalidOptions
    )]
    #[case("no such database: shop", ConnectErrorKind::NoSuchDatabase)]
    #[case("no such user", ConnectErrorKind::Authentication)]
    #[case(
        "no more connections allowed (max_client_conn)",
        ConnectErrorKind::TooManyConnections
    )]
    #[case("pgbouncer cannot connect to server", ConnectErrorKind::StartingUp)]
    #[case("the database system is shutting down", ConnectErrorKind::ShuttingDown)]
    #[case("something else", ConnectErrorKind::Refused)]
    fn a_pooler_s_words(#[case] text: &str, #[case] kind: ConnectErrorKind) {
        assert_eq!(sort_pooler_report("app", "shop", text).0, kind);
    }

    #[test]
    fn several_hosts_make_one_error() {
        let refused = |host: &str| {
            ConnectError::new(
                ConnectErrorKind::Unreachable,
                format!("connect to {host}:5432: connection refused"),
                "start it",
            )
        };
        let starting = ConnectError::new(
            ConnectErrorKind::StartingUp,
            "connect to c:5432: starting",
            "wait",
        );
        let all = ConnectError::for_all(vec![refused("a"), refused("b"), starting], "a,b,c");
        assert_eq!(all.kind(), ConnectErrorKind::StartingUp);
        assert_eq!(
            all.to_string(),
            "connect to any of 3 addresses: a:5432: connection refused; b:5432: connection refused; c:5432: starting"
        );
        assert_eq!(all.hint(), "wait");
    }
}
