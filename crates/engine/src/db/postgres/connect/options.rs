//! What a connection needs, resolved from text, service file, environment and defaults.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::ChannelBinding;

use super::error::{ConnectError, ConnectErrorKind};
use super::history::History;
use super::hosts::{Host, Place, SOCKET_DIRECTORIES, hosts, printable};
use super::params::{Setting, Settings, invalid};
use super::passfile::{self, Found, Wanted};
use super::tls::{self, SslMode, TlsSettings};
use super::{service, text};

/// How long one address may take to answer when nothing else is said. libpq waits without end, which in a job
/// that nobody watches looks like work.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// When nothing comes from the server for this long, the kernel asks whether it is still there. The kernel's own
/// default of two hours would let a run hang behind a firewall that forgot the connection.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(30);
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(10);
const KEEPALIVES_COUNT: u32 = 3;

/// How long sent data may stay unacknowledged. Without it a cut network is noticed after a quarter of an hour.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(30);

/// PostgreSQL keeps 63 bytes of an application name.
const APPLICATION_NAME_BYTES: usize = 63;

/// A text that no rendering shows.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Secret(text)
    }

    /// The text itself, for the driver only.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a connection is for. The server shows it in `pg_stat_activity.application_name`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Purpose {
    /// Changes rows in batches.
    Batch,
    /// Runs DDL under the guard.
    Guard,
    /// Reads and writes the state of a run.
    Control,
    /// Watches what the others do and cancels it when it takes too long.
    Watch,
    /// Reads the catalog.
    Introspect,
    /// Keeps the lease.
    Lease,
    /// Reads the throttle's signals.
    Signals,
}

impl Purpose {
    /// Every purpose.
    pub(crate) const ALL: [Self; 7] = [
        Self::Batch,
        Self::Guard,
        Self::Control,
        Self::Watch,
        Self::Introspect,
        Self::Lease,
        Self::Signals,
    ];

    /// The word in the application name.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Purpose::Batch => "batch",
            Purpose::Guard => "guard",
            Purpose::Control => "control",
            Purpose::Watch => "watch",
            Purpose::Introspect => "introspect",
            Purpose::Lease => "lease",
            Purpose::Signals => "signals",
        }
    }
}

/// Which servers of a list are good enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Any,
    ReadWrite,
    ReadOnly,
    Primary,
    Standby,
    PreferStandby,
}

const TARGETS: &[(&str, Target)] = &[
    ("any", Target::Any),
    ("read-write", Target::ReadWrite),
    ("read-only", Target::ReadOnly),
    ("primary", Target::Primary),
    ("standby", Target::Standby),
    ("prefer-standby", Target::PreferStandby),
];

/// When the kernel asks a silent server whether it is still there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) on: bool,
    pub(super) idle: Duration,
    pub(super) interval: Duration,
    pub(super) count: u32,
}

/// Everything needed to open connections to one database, as one user.
///
/// Neither `Debug` nor [`display`](Self::display) shows a password, the `options` or the path of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct ConnectOptions {
    pub(super) hosts: Vec<Host>,
    pub(super) database: String,
    pub(super) user: String,
    pub(super) password: Option<Secret>,
    pub(super) passfile: Option<PathBuf>,
    pub(super) application: Option<String>,
    pub(super) options: Option<String>,
    pub(super) connect_timeout: Option<Duration>,
    pub(super) keepalive: Keepalive,
    pub(super) tcp_user_timeout: Option<Duration>,
    pub(super) target: Target,
    pub(super) shuffle: bool,
    pub(super) channel_binding: ChannelBinding,
    pub(super) tls: TlsSettings,
    /// The newest history that connections made with these options have met.
    pub(super) history: History,
}

impl ConnectOptions {
    /// Lets connections made with these options and with `other` know of the
    /// same history.
    pub(crate) fn share_history(&self, other: &ConnectOptions) {
        self.history.share(&other.history);
    }

    /// Resolves a connection string, or the `PG*` variables where there is none.
    ///
    /// Each parameter is taken from the first of: the string, the named service, its environment variable, the
    /// default. Defaults differ from libpq's where a migration needs it: `connect_timeout` is 10 s, keepalives
    /// begin after 30 s, `tcp_user_timeout` is 30 s, and of several hosts the primary is chosen. Files named for
    /// TLS are read once here, so that a wrong one is noticed before any work.
    ///
    /// # Errors
    /// [`ConnectErrorKind::InvalidOptions`]: a parameter is unknown or malformed, a file is missing or unreadable.
    pub fn resolve(
        url: Option<&str>,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ConnectOptions, ConnectError> {
        let mut settings = match url {
            Some(text) => text::parse(text)?,
            None => Settings::default(),
        };
        let variable = |name: &str| env(name).filter(|value| !value.is_empty());
        let home = home(&variable);

        let from_env =
            |own: Option<&str>, name: &str| own.map(str::to_owned).or_else(|| variable(name));
        if let Some(service) = from_env(settings.value("service"), "PGSERVICE") {
            let files = service::Files {
                named: from_env(settings.value("servicefile"), "PGSERVICEFILE").map(PathBuf::from),
                home: home.clone(),
                system: variable("PGSYSCONFDIR").map(PathBuf::from),
            };
            settings.fill_from(service::read(&service, &files)?);
        }
        settings.fill_from_environment(env)?;
        build(&settings, &variable, home.as_deref())
    }

    /// Where this leads, for people: `host:port/database as user`, several hosts separated by commas.
    #[must_use]
    pub fn display(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(ToString::to_string).collect();
        format!(
            "{}/{} as {}",
            hosts.join(","),
            printable(&self.database),
            printable(&self.user)
        )
    }

    /// The database's name.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The role's name.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }

    /// The same server and role, another database.
    #[must_use]
    pub fn with_database(&self, database: impl Into<String>) -> ConnectOptions {
        ConnectOptions {
            database: database.into(),
            ..self.clone()
        }
    }

    /// What the server shows as the name of a connection for `purpose`: `pontoon/<purpose>`, with the user's
    /// `application_name` in place of `pontoon` if one was given, cut so that the purpose fits in 63 bytes.
    #[must_use]
    pub fn application_name(&self, purpose: Purpose) -> String {
        let base = self.application.as_deref().unwrap_or("pontoon");
        let room = APPLICATION_NAME_BYTES - 1 - purpose.word().len();
        let mut end = base.len().min(room);
        while !base.is_char_boundary(end) {
            end -= 1;
        }
        format!("{}/{}", &base[..end], purpose.word())
    }

    /// The password for one host: the one given, else the passfile's, read anew each time.
    pub(super) fn password_for(&self, host: &Host) -> Found {
        if let Some(password) = &self.password {
            return Found {
                password: Some(password.clone()),
                note: None,
            };
        }
        let Some(path) = &self.passfile else {
            return Found::default();
        };
        let (name, usual);
        let hosts: &[&str] = match &host.place {
            Place::Unix(directory) => {
                name = directory.to_string_lossy();
                usual = [name.as_ref(), "localhost"];
                let is_usual = SOCKET_DIRECTORIES.contains(&name.as_ref());
                if is_usual { &usual } else { &usual[..1] }
            }
            Place::Tcp { name, .. } => &[name.as_str()],
        };
        passfile::look_up(
            path,
            Wanted {
                hosts,
                port: host.port,
                database: &self.database,
                user: &self.user,
            },
        )
    }
}

impl fmt::Debug for ConnectOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectOptions")
            .field("to", &self.display())
            .field("password", &self.password)
            .field("sslmode", &self.tls.mode)
            .field("target", &self.target)
            .field("connect_timeout", &self.connect_timeout)
            .finish_non_exhaustive()
    }
}

fn home(variable: &dyn Fn(&str) -> Option<String>) -> Option<PathBuf> {
    variable("HOME")
        .map(PathBuf::from)
        .or_else(|| account().map(|account| account.dir))
}

/// The account of this process. A container may run under a number that has none.
fn account() -> Option<nix::unistd::User> {
    nix::unistd::User::from_uid(nix::unistd::geteuid())
        .ok()
        .flatten()
}

fn build(
    settings: &Settings,
    variable: &dyn Fn(&str) -> Option<String>,
    home: Option<&Path>,
) -> Result<ConnectOptions, ConnectError> {
    let hosts = hosts(settings)?;
    let user = match settings.value("user") {
        Some(user) => user.to_owned(),
        None => account().map(|account| account.name).ok_or_else(|| {
            ConnectError::new(
                ConnectErrorKind::InvalidOptions,
                "find the role to connect as: none was given and this process has no account name",
                "set PGUSER, or write user@ in the URL",
            )
        })?,
    };
    let database = match settings.get("dbname") {
        Some(given) => database(given)?,
        None => user.clone(),
    };
    let several = hosts.len() > 1;
    let gss = settings.choice(
        "gssencmode",
        &[("disable", true), ("prefer", true), ("require", false)],
    )?;
    if gss == Some(false) {
        return Err(ConnectError::new(
            ConnectErrorKind::InvalidOptions,
            "use gssencmode=require: GSSAPI encryption is not supported",
            "use sslmode=verify-full instead",
        ));
    }
    let options = ConnectOptions {
        hosts,
        database,
        user,
        password: settings
            .value("password")
            .map(|p| Secret::new(p.to_owned())),
        passfile: settings
            .value("passfile")
            .map(PathBuf::from)
            .or_else(|| home.map(|home| home.join(".pgpass"))),
        application: settings.value("application_name").map(str::to_owned),
        options: settings.value("options").map(str::to_owned),
        connect_timeout: match settings.number("connect_timeout")? {
            Some(seconds) => positive(seconds).map(Duration::from_secs),
            None => Some(CONNECT_TIMEOUT),
        },
        keepalive: keepalive(settings)?,
        tcp_user_timeout: match settings.number("tcp_user_timeout")? {
            Some(milliseconds) => positive(milliseconds).map(Duration::from_millis),
            None => Some(TCP_USER_TIMEOUT),
        },
        // Of several hosts, a migration wants the one that takes writes.
        target: settings
            .choice("target_session_attrs", TARGETS)?
            .unwrap_or(if several {
                Target::Primary
            } else {
                Target::Any
            }),
        shuffle: settings
            .choice(
                "load_balance_hosts",
                &[("disable", false), ("random", true)],
            )?
            .unwrap_or(false),
        channel_binding: settings
            .choice(
                "channel_binding",
                &[
                    ("disable", ChannelBinding::Disable),
                    ("prefer", ChannelBinding::Prefer),
                    ("require", ChannelBinding::Require),
                ],
            )?
            .unwrap_or(ChannelBinding::Prefer),
        tls: tls::settings(settings, variable, home)?,
        history: History::default(),
    };
    if options.tls.mode != SslMode::Disable
        && options
            .hosts
            .iter()
            .any(|host| matches!(host.place, Place::Tcp { .. }))
    {
        tls::client_config(&options.tls)?;
    }
    Ok(options)
}

/// A count that libpq takes as "off" when it is zero or negative.
fn positive(number: i64) -> Option<u64> {
    u64::try_from(number).ok().filter(|number| *number > 0)
}

fn keepalive(settings: &Settings) -> Result<Keepalive, ConnectError> {
    let seconds = |name, default| -> Result<Duration, ConnectError> {
        Ok(settings
            .number(name)?
            .and_then(positive)
            .map_or(default, Duration::from_secs))
    };
    Ok(Keepalive {
        on: settings.number("keepalives")? != Some(0),
        idle: seconds("keepalives_idle", KEEPALIVES_IDLE)?,
        interval: seconds("keepalives_interval", KEEPALIVES_INTERVAL)?,
        count: settings
            .number("keepalives_count")?
            .and_then(positive)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(KEEPALIVES_COUNT),
    })
}

fn database(given: &Setting) -> Result<String, ConnectError> {
    // psql expands a connection string in this place. Here it would end up, password and all, in what is shown.
    if given.value.contains("://") || given.value.contains("password=") {
        return Err(invalid(
            "dbname",
            &given.origin,
            "expected a database name, found a connection string",
            None,
        ));
    }
    Ok(given.value.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rstest::rstest;

    fn resolve(url: Option<&str>, env: &[(&str, &str)]) -> Result<ConnectOptions, ConnectError> {
        // A home of our own: the tester's passfile and certificates are none of our business.
        ConnectOptions::resolve(url, &|name| match name {
            "HOME" => Some("/nonexistent".to_owned()),
            _ => env
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, v)| (*v).to_owned()),
        })
    }

    #[rstest]
    #[case("postgres://me@h/d", "h:5432/d as me")]
    #[case("postgres://me@h", "h:5432/me as me")]
    #[case("postgres://me@a,b:6000,c/d", "a:5432,b:6000,c:5432/d as me")]
    #[case("host=a,b port=6000 user=me", "a:6000,b:6000/me as me")]
    #[case("postgres://me@[::1]:6000/d", "[::1]:6000/d as me")]
    #[case("postgres://me@%2Ftmp%2Fx:6000/d", "/tmp/x:6000/d as me")]
    #[case("hostaddr=127.0.0.1 user=me", "127.0.0.1:5432/me as me")]
    #[case("host=db hostaddr=10.0.0.1 user=me", "db:5432/me as me")]
    #[case("host=h user='a\x1b[2J' dbname=d", "h:5432/d as a\\u{1b}[2J")]
    fn displays(#[case] url: &str, #[case] expected: &str) {
        assert_eq!(
            resolve(Some(url), &[]).expect("resolves").display(),
            expected
        );
    }

    #[test]
    fn text_then_service_then_environment_then_default() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("services");
        std::fs::write(
            &file,
            "[s]\nhost=fromservice\nuser=fromservice\ndbname=fromservice\n",
        )
        .expect("write");
        let file = file.to_str().expect("UTF-8 path");
        let env = [
            ("PGSERVICEFILE", file),
            ("PGSERVICE", "s"),
            ("PGUSER", "fromenv"),
            ("PGPORT", "6001"),
            ("PGHOST", "fromenv"),
        ];
        let options = resolve(Some("postgres:///fromtext"), &env).expect("resolves");
        assert_eq!(
            options.display(),
            "fromservice:6001/fromtext as fromservice"
        );
        let options = resolve(None, &env[2..]).expect("resolves");
        assert_eq!(options.display(), "fromenv:6001/fromenv as fromenv");
        let options = resolve(Some("service=s host=text"), &env[..1]).expect("resolves");
        assert_eq!(options.display(), "text:5432/fromservice as fromservice");
    }

    #[rstest]
    #[case(
        "host=h port=70000",
        "`port` from the connection string at byte 12: expected a number"
    )]
    #[case("host=h port=0", "expected a number from 1")]
    #[case("host=a,b port=1,2,3", "3 for 2")]
    #[case("host=a,b hostaddr=::1", "1 for 2")]
    #[case("hostaddr=db", "expected an IP address")]
    #[case("host=u:p@h", "expected host names")]
    #[case("host=@abstract", "expected host names")]
    #[case("host=h dbname=postgres://u:p@h", "expected a database name")]
    #[case("host=h sslmode=requrie", "expected one of disable")]
    #[case("host=h connect_timeout=10s", "expected a whole number")]
    #[case("host=h target_session_attrs=primray", "expected one of any")]
    #[case("host=h gssencmode=require", "not supported")]
    #[case(
        "host=h sslrootcert=/nonexistent/root.crt sslmode=verify-full",
        "/nonexistent/root.crt"
    )]
    #[case("host=h sslrootcert=system sslmode=require", "verify-full")]
    #[case("host=h sslmode=verify-ca", "sslrootcert")]
    fn refuses(#[case] url: &str, #[case] message: &str) {
        let error = resolve(Some(url), &[("PGUSER", "me")]).expect_err("refused");
        assert_eq!(error.kind(), ConnectErrorKind::InvalidOptions);
        assert!(error.to_string().contains(message), "{error}");
        assert!(!error.hint().is_empty());
    }

    #[test]
    fn a_variable_is_named() {
        let error = resolve(None, &[("PGPORT", "x"), ("PGUSER", "me")]).expect_err("refused");
        assert!(
            error
                .to_string()
                .contains("the environment variable PGPORT"),
            "{error}"
        );
        let error = resolve(None, &[("PGREQUIREAUTH", "scram-sha-256")]).expect_err("refused");
        assert!(error.to_string().contains("PGREQUIREAUTH"), "{error}");
    }

    #[test]
    fn tuning() {
        let o = resolve(Some("host=h user=u"), &[]).expect("resolves");
        assert_eq!(o.connect_timeout, Some(Duration::from_secs(10)));
        assert_eq!(o.target, Target::Any);
        assert_eq!(o.keepalive.idle, Duration::from_secs(30));
        assert_eq!(o.application_name(Purpose::Batch), "pontoon/batch");
        let o = resolve(
            Some("host=a,b user=u connect_timeout=0 keepalives=0 keepalives_count=9 tcp_user_timeout=1500"),
            &[("PGAPPNAME", "deploy 7")],
        )
        .expect("resolves");
        assert_eq!(o.connect_timeout, None);
        assert_eq!(o.target, Target::Primary);
        assert!(!o.keepalive.on);
        assert_eq!(o.keepalive.count, 9);
        assert_eq!(o.tcp_user_timeout, Some(Duration::from_millis(1500)));
        assert_eq!(o.application_name(Purpose::Guard), "deploy 7/guard");
    }

    #[test]
    fn a_long_application_name_keeps_its_purpose() {
        let url = format!("host=h user=u application_name={}", "é".repeat(60));
        let name = resolve(Some(&url), &[])
            .expect("resolves")
            .application_name(Purpose::Introspect);
        assert!(name.len() <= 63 && name.ends_with("é/introspect"), "{name}");
    }

    fn percent(text: &str) -> String {
        text.bytes().map(|b| format!("%{b:02X}")).collect()
    }

    /// Any password of some length. A shorter one is in every message by chance.
    fn password() -> impl Strategy<Value = String> {
        proptest::string::string_regex("[A-Za-z0-9@:/?#&%=' \\\\é\\[\\],+]{6,24}")
            .expect("a valid pattern")
            .prop_map(|s| format!("Zq{s}9X"))
    }

    /// Every piece between separators that is long enough not to be there by chance.
    fn pieces(password: &str) -> Vec<String> {
        let mut pieces: Vec<String> = password
            .split(|c: char| !c.is_ascii_alphanumeric())
            .filter(|piece| piece.len() >= 5)
            .map(str::to_owned)
            .collect();
        pieces.push(password.to_owned());
        pieces
    }

    fn renderings(result: &Result<ConnectOptions, ConnectError>) -> String {
        match result {
            Ok(o) => format!(
                "{o:?} {o:#?} {} {}",
                o.display(),
                o.application_name(Purpose::Watch)
            ),
            Err(e) => format!("{e} {e:?} {e:#?} {}", e.hint()),
        }
    }

    proptest! {
        #[test]
        fn an_encoded_password_arrives_and_is_never_shown(password in password()) {
            let url = format!("postgres://me:{}@db:6000/shop", percent(&password));
            let options = resolve(Some(&url), &[]).expect("resolves");
            prop_assert_eq!(options.password.as_ref().map(Secret::reveal), Some(password.as_str()));
            let shown = renderings(&Ok(options));
            prop_assert!(!shown.contains(&password), "{}", shown);

            let quoted = password.replace('\\', "\\\\").replace('\'', "\\'");
            let options = resolve(Some(&format!("host=db user=me password='{quoted}'")), &[]).expect("resolves");
            prop_assert_eq!(options.password.as_ref().map(Secret::reveal), Some(password.as_str()));
            prop_assert!(!renderings(&Ok(options)).contains(&password));
        }

        /// However the text is broken by a raw password, what is refused repeats no piece of it, and what is
        /// accepted shows none.
        #[test]
        fn a_raw_password_is_never_shown(password in password(), form in 0..7usize) {
            let url = match form {
                0 => format!("postgres://me:{password}@db:6000/shop?sslmode=require"),
                1 => format!("postgres://db/shop?user=me&password={password}&sslmode=require"),
                2 => format!("host=db user=me password={password} sslmode=require"),
                3 => format!("host=db user=me password='{password}' sslmode=require"),
                4 => format!("postgres://me:{password}@db,other:70000/shop"),
                5 => format!("postgres://me:{password}@db/shop?sslmod=require"),
                _ => format!("me:{password}@db/shop"),
            };
            let result = resolve(Some(&url), &[]);
            let shown = renderings(&result);
            for piece in pieces(&password) {
                prop_assert!(!shown.contains(&piece), "{} in {}", piece, shown);
            }
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "\\PC{0,60}") {
            drop(resolve(Some(&text), &[]));
            drop(resolve(Some(&format!("postgres://{text}")), &[]));
        }
    }
}
