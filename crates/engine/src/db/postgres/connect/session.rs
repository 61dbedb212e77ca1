//! Opening one connection.
//!
//! Hosts are tried in order (or shuffled, with `load_balance_hosts=random`), and of each host every address. The
//! driver sees one address at a time, so that an error can name it, the passfile can give each host its own
//! password, and `connect_timeout` covers the whole attempt and not only the socket, as in libpq.

use std::fmt;
use std::net::IpAddr;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rand::seq::SliceRandom;
use tokio::task::JoinHandle;
use tokio_postgres::tls::MakeTlsConnect;
use tokio_postgres::{AsyncMessage, CancelToken, Client, NoTls, Socket};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::error::{ConnectError, suggests_plain_text};
use super::hosts::{Host, Place};
use super::identity;
use super::options::{ConnectOptions, Purpose, Secret, Target};
use super::tls::{self, SslMode};
use crate::db::postgres::routines::Routines;

/// How long [`Connection::close`] waits for the farewell to be sent.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// An open connection: the driver's client and the task that moves its messages.
///
/// Dropping it ends the session in the background: a statement that still runs on the server is not interrupted
/// by that. To stop it, use a [`Canceller`].
pub struct Connection {
    client: Client,
    task: JoinHandle<()>,
    lost: Arc<OnceLock<String>>,
    address: String,
    tls: Option<MakeRustlsConnect>,
    routines: Routines,
}

impl Connection {
    /// What the session keeps.
    pub(crate) fn routines(&self) -> &Routines {
        &self.routines
    }

    /// The server that answered, as `host:port (address)`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Why the connection ended, once it has ended by itself. The statement under way learns only that it did.
    #[must_use]
    pub fn lost(&self) -> Option<&str> {
        self.lost.get().map(String::as_str)
    }

    /// A handle that cancels the statement under way from elsewhere.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller {
            token: self.client.cancel_token(),
            tls: self.tls.clone(),
            address: self.address.clone(),
        }
    }

    /// Ends the session and waits, at most 5 seconds, until the server has been told.
    pub async fn close(self) {
        let Connection { client, task, .. } = self;
        drop(client);
        // Both outcomes are fine: the task ended, or the network is gone and the session with it.
        drop(tokio::time::timeout(CLOSE_TIMEOUT, task).await);
    }
}

impl Deref for Connection {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("address", &self.address)
            .field("lost", &self.lost.get())
            .finish_non_exhaustive()
    }
}

/// Cancels the statement that a connection is running.
///
/// PostgreSQL's cancel request has no answer and names a session, not a statement: what is running when it
/// arrives is what it hits. Use it only while no other statement than the one meant can be running there.
#[derive(Clone)]
pub struct Canceller {
    token: CancelToken,
    tls: Option<MakeRustlsConnect>,
    address: String,
}

impl Canceller {
    /// Sends the request.
    ///
    /// # Errors
    /// The server could not be reached. No error does not mean that anything was cancelled.
    pub async fn cancel(&self) -> Result<(), ConnectError> {
        let sent = match &self.tls {
            Some(tls) => self.token.cancel_query(tls.clone()).await,
            None => self.token.cancel_query(NoTls).await,
        };
        sent.map_err(|error| ConnectError::from_driver(&self.address, "", "", &error))
    }
}

impl fmt::Debug for Canceller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Canceller")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// Opens a connection for one purpose.
///
/// # Errors
/// See [`ConnectErrorKind`](super::ConnectErrorKind). Of several hosts, the next is tried when one does not answer,
/// is full, is starting, or is not of the kind that `target_session_attrs` asks for; a server that judged role,
/// password, database or TLS has the last word.
pub async fn connect(
    options: &ConnectOptions,
    purpose: Purpose,
) -> Result<Connection, ConnectError> {
    let over_tcp = options
        .hosts
        .iter()
        .any(|host| matches!(host.place, Place::Tcp { .. }));
    let tls = if over_tcp && options.tls.mode != SslMode::Disable {
        Some(tls::client_config(&options.tls)?)
    } else {
        None
    };
    let attempt = Attempt {
        options,
        purpose,
        tls,
    };
    let mut hosts: Vec<&Host> = options.hosts.iter().collect();
    if options.shuffle {
        hosts.shuffle(&mut rand::rng());
    }
    let passes: &[Target] = match options.target {
        Target::PreferStandby => &[Target::Standby, Target::Any],
        Target::Any => &[Target::Any],
        Target::ReadWrite => &[Target::ReadWrite],
        Target::ReadOnly => &[Target::ReadOnly],
        Target::Primary => &[Target::Primary],
        Target::Standby => &[Target::Standby],
    };
    let mut failures = Vec::new();
    for &target in passes {
        failures.clear();
        for host in &hosts {
            match attempt.host(host, target).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_about_one_host() => failures.push(error),
                Err(error) => return Err(error),
            }
        }
    }
    Err(ConnectError::for_all(failures, &options.display()))
}

struct Attempt<'a> {
    options: &'a ConnectOptions,
    purpose: Purpose,
    tls: Option<rustls::ClientConfig>,
}

/// One address to dial.
struct Dial<'a> {
    host: &'a Host,
    address: Option<IpAddr>,
    label: String,
    password: Option<&'a Secret>,
}

impl Attempt<'_> {
    async fn host(&self, host: &Host, target: Target) -> Result<Connection, ConnectError> {
        let found = self.options.password_for(host);
        let mut failures = Vec::new();
        for address in self.addresses(host).await? {
            let label = match (&host.place, address) {
                (Place::Tcp { name, .. }, Some(ip)) if *name != ip.to_string() => {
                    format!("{host} ({ip})")
                }
                _ => host.to_string(),
            };
            let dial = Dial {
                host,
                address,
                label,
                password: found.password.as_ref(),
            };
            match self.address(&dial, target).await {
                Ok(connection) => return Ok(connection),
                Err(error) if error.is_about_one_host() => failures.push(error),
                Err(error) => return Err(error.with_note(found.note.as_deref())),
            }
        }
        Err(ConnectError::for_all(failures, &host.to_string()))
    }

    async fn addresses(&self, host: &Host) -> Result<Vec<Option<IpAddr>>, ConnectError> {
        match &host.place {
            Place::Unix(_) => Ok(vec![None]),
            Place::Tcp {
                address: Some(address),
                ..
            } => Ok(vec![Some(*address)]),
            Place::Tcp { name, .. } => {
                let looked_up = self
                    .in_time(
                        &host.to_string(),
                        tokio::net::lookup_host((name.as_str(), host.port)),
                    )
                    .await?
                    .map_err(|error| ConnectError::lookup(&host.to_string(), &error))?;
                let mut addresses = Vec::new();
                for found in looked_up {
                    if !addresses.contains(&Some(found.ip())) {
                        addresses.push(Some(found.ip()));
                    }
                }
                if self.options.shuffle {
                    addresses.shuffle(&mut rand::rng());
                }
                Ok(addresses)
            }
        }
    }

    async fn address(&self, dial: &Dial<'_>, target: Target) -> Result<Connection, ConnectError> {
        let (Some(config), Place::Tcp { name, .. }) = (&self.tls, &dial.host.place) else {
            return self
                .session(dial, target, None)
                .await
                .map_err(Failure::into_error);
        };
        let server = tls::server_name(&self.options.tls, name)?;
        let mut config = config.clone();
        config.enable_sni &= server.is_some();
        let tls = MakeRustlsConnect::new(config);
        // Where no certificate can name the host, nothing looks at the name; the handshake only needs one.
        let server = server.unwrap_or_else(|| "localhost".to_owned());
        match self.session(dial, target, Some((tls, server))).await {
            Err(failure) if failure.plain_text && self.options.tls.mode == SslMode::Prefer => {
                tracing::debug!(address = %dial.label, reason = %failure.error, "connecting without TLS");
                self.session(dial, target, None)
                    .await
                    .map_err(Failure::into_error)
            }
            other => other.map_err(Failure::into_error),
        }
    }

    /// One session with one address, over TLS to a server of that name or in plain text.
    async fn session(
        &self,
        dial: &Dial<'_>,
        target: Target,
        tls: Option<(MakeRustlsConnect, String)>,
    ) -> Result<Connection, Failure> {
        use tokio_postgres::config::{SslMode as DriverMode, SslNegotiation};
        let options = self.options;
        let mut config = tokio_postgres::Config::new();
        config
            .user(&options.user)
            .dbname(&options.database)
            .port(dial.host.port)
            .application_name(options.application_name(self.purpose))
            .channel_binding(options.channel_binding)
            .keepalives(options.keepalive.on)
            .keepalives_idle(options.keepalive.idle)
            .keepalives_interval(options.keepalive.interval)
            .keepalives_retries(options.keepalive.count)
            .ssl_mode(match (&tls, options.tls.mode) {
                (None, _) => DriverMode::Disable,
                (Some(_), SslMode::Prefer) => DriverMode::Prefer,
                (Some(_), _) => DriverMode::Require,
            });
        if let Some(password) = dial.password {
            config.password(password.reveal());
        }
        if let Some(text) = &options.options {
            config.options(text);
        }
        if let Some(timeout) = options.tcp_user_timeout {
            config.tcp_user_timeout(timeout);
        }
        if let Some(timeout) = options.connect_timeout {
            // The cancel request connects anew and knows only this one.
            config.connect_timeout(timeout);
        }
        match (&dial.host.place, dial.address) {
            (Place::Unix(directory), _) => {
                config.host_path(directory);
            }
            (Place::Tcp { name, .. }, address) => {
                config.host(tls.as_ref().map_or(name, |(_, server)| server));
                if let Some(address) = address {
                    config.hostaddr(address);
                }
            }
        }
        match tls {
            Some((tls, _)) => {
                if options.tls.direct {
                    config.ssl_negotiation(SslNegotiation::Direct);
                }
                let connection = self.start(dial, &config, tls.clone()).await?;
                self.suits(
                    Connection {
                        tls: Some(tls),
                        ..connection
                    },
                    target,
                )
                .await
            }
            None => {
                let connection = self.start(dial, &config, NoTls).await?;
                self.suits(connection, target).await
            }
        }
    }

    async fn start<T>(
        &self,
        dial: &Dial<'_>,
        config: &tokio_postgres::Config,
        tls: T,
    ) -> Result<Connection, Failure>
    where
        T: MakeTlsConnect<Socket>,
        T::Stream: Send + 'static,
    {
        let (client, driver) = self
            .in_time(&dial.label, config.connect(tls))
            .await?
            .map_err(|error| self.failure(&dial.label, &error))?;
        let lost = Arc::new(OnceLock::new());
        let task = tokio::spawn(drive(driver, Arc::clone(&lost), dial.label.clone()));
        Ok(Connection {
            client,
            task,
            lost,
            address: dial.label.clone(),
            tls: None,
            routines: Routines::default(),
        })
    }

    /// Hands the connection on if its server is of the wanted kind, and no
    /// failover has left it behind.
    async fn suits(&self, connection: Connection, target: Target) -> Result<Connection, Failure> {
        let address = connection.address.clone();
        let seen = match self.in_time(&address, identity::ask(&connection)).await? {
            Ok(seen) => seen,
            // It does not tell, and nothing in particular was asked for.
            Err(error) if target == Target::Any && error.as_db_error().is_some() => {
                return Ok(connection);
            }
            Err(error) => return Err(self.failure(&address, &error)),
        };
        if let Some(newer) = self.options.history.note(&seen) {
            connection.close().await;
            return Err(ConnectError::left_behind(&address, seen.timeline, newer).into());
        }
        let (standby, read_only) = (seen.recovering, seen.read_only);
        let complaint = match target {
            Target::Primary if standby => "it is a standby, and a primary is wanted",
            Target::ReadWrite if standby || read_only => {
                "its sessions are read-only, and read-write ones are wanted"
            }
            Target::ReadOnly if !standby && !read_only => {
                "its sessions are read-write, and read-only ones are wanted"
            }
            Target::Standby if !standby => "it is a primary, and a standby is wanted",
            Target::Any
            | Target::ReadWrite
            | Target::ReadOnly
            | Target::Primary
            | Target::Standby
            | Target::PreferStandby => return Ok(connection),
        };
        connection.close().await;
        Err(ConnectError::unsuited(&address, complaint).into())
    }

    async fn in_time<F: Future>(&self, label: &str, work: F) -> Result<F::Output, ConnectError> {
        match self.options.connect_timeout {
            Some(limit) => tokio::time::timeout(limit, work)
                .await
                .map_err(|_| ConnectError::timed_out(label, limit)),
            None => Ok(work.await),
        }
    }

    fn failure(&self, label: &str, error: &tokio_postgres::Error) -> Failure {
        Failure {
            plain_text: suggests_plain_text(error),
            error: ConnectError::from_driver(
                label,
                &self.options.user,
                &self.options.database,
                error,
            ),
        }
    }
}

/// Why a session did not come about, and whether one without TLS may.
struct Failure {
    error: ConnectError,
    plain_text: bool,
}

impl Failure {
    fn into_error(self) -> ConnectError {
        self.error
    }
}

impl From<ConnectError> for Failure {
    fn from(error: ConnectError) -> Self {
        Failure {
            error,
            plain_text: false,
        }
    }
}

/// Moves messages until the client is dropped or the connection ends, and notes why it ended.
async fn drive<T>(
    mut driver: tokio_postgres::Connection<Socket, T>,
    lost: Arc<OnceLock<String>>,
    address: String,
) where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    while let Some(message) = std::future::poll_fn(|cx| driver.poll_message(cx)).await {
        match message {
            Ok(AsyncMessage::Notice(notice)) => {
                tracing::debug!(%address, severity = notice.severity(), "{}", notice.message());
            }
            Ok(_) => {}
            Err(error) => {
                let reason = match error.as_db_error() {
                    Some(report) => report.message().to_owned(),
                    None => match std::error::Error::source(&error) {
                        Some(cause) => format!("{error}: {cause}"),
                        None => error.to_string(),
                    },
                };
                tracing::debug!(%address, %reason, "connection lost");
                // The cell is set only here, and this is the task's last act.
                lost.get_or_init(|| reason);
                return;
            }
        }
    }
}
