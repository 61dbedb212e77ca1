//! The list of servers: names, addresses and ports, paired as libpq pairs them.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::error::ConnectError;
use super::params::{Setting, Settings, invalid};

/// Where servers put their socket: Debian and Red Hat, then the default of PostgreSQL itself.
pub(super) const SOCKET_DIRECTORIES: &[&str] = &["/var/run/postgresql", "/tmp"];

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// A directory with a socket file.
    Unix(PathBuf),
    /// A name, and perhaps an address that spares looking it up.
    Tcp {
        name: String,
        address: Option<IpAddr>,
    },
}

/// One server of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    pub(super) place: Place,
    pub(super) port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Place::Unix(directory) => write!(f, "{}", printable(&directory.to_string_lossy()))?,
            Place::Tcp { name, .. } if name.contains(':') => write!(f, "[{}]", printable(name))?,
            Place::Tcp { name, .. } => write!(f, "{}", printable(name))?,
        }
        write!(f, ":{}", self.port)
    }
}

/// Control characters in a name would let it draw on the reader's terminal.
pub(super) fn printable(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect::<Vec<_>>()
            } else {
                vec![c]
            }
        })
        .collect()
}

/// Pairs hosts, addresses and ports as libpq does: lists of one length, or one port for all.
pub(super) fn hosts(settings: &Settings) -> Result<Vec<Host>, ConnectError> {
    let names = list(settings.get("host"));
    let addresses = list(settings.get("hostaddr"));
    let count = names.len().max(addresses.len()).max(1);
    if let Some(given) = settings.get("hostaddr")
        && !names.is_empty()
        && names.len() != addresses.len()
    {
        let expected = format!(
            "expected as many addresses as hosts: {} for {}",
            addresses.len(),
            names.len()
        );
        return Err(invalid("hostaddr", &given.origin, &expected, None));
    }
    let ports = ports(settings, count)?;
    (0..count)
        .map(|i| {
            let address = match (
                addresses.get(i).filter(|a| !a.is_empty()),
                settings.get("hostaddr"),
            ) {
                (Some(text), Some(given)) => Some(text.parse::<IpAddr>().map_err(|_| {
                    invalid(
                        "hostaddr",
                        &given.origin,
                        "expected an IP address (a name belongs into host)",
                        None,
                    )
                })?),
                _ => None,
            };
            let name = names.get(i).copied().unwrap_or("");
            let port = ports[i];
            let place = match (name, address) {
                ("", None) => default_place(port),
                ("", Some(address)) => Place::Tcp {
                    name: address.to_string(),
                    address: Some(address),
                },
                (path, None) if path.starts_with('/') => Place::Unix(PathBuf::from(path)),
                (name, address) => {
                    if name.contains(|c: char| c == '@' || c == '/' || c.is_whitespace())
                        && let Some(given) = settings.get("host")
                    {
                        return Err(invalid(
                            "host",
                            &given.origin,
                            "expected host names, addresses or socket directories",
                            None,
                        ));
                    }
                    Place::Tcp {
                        name: name.to_owned(),
                        address,
                    }
                }
            };
            Ok(Host { place, port })
        })
        .collect()
}

fn ports(settings: &Settings, count: usize) -> Result<Vec<u16>, ConnectError> {
    let Some(given) = settings.get("port") else {
        return Ok(vec![5432; count]);
    };
    let wrong = |expected: &str| invalid("port", &given.origin, expected, None);
    let ports = given
        .value
        .split(',')
        .map(|port| match port.trim() {
            "" => Ok(5432),
            port => match port.parse::<u16>() {
                Ok(port) if port > 0 => Ok(port),
                _ => Err(wrong("expected a number from 1 to 65535")),
            },
        })
        .collect::<Result<Vec<u16>, ConnectError>>()?;
    match ports.len() {
        1 => Ok(vec![ports[0]; count]),
        n if n == count => Ok(ports),
        n => Err(wrong(&format!(
            "expected one port, or as many as hosts: {n} for {count}"
        ))),
    }
}

fn list(setting: Option<&Setting>) -> Vec<&str> {
    setting.map_or_else(Vec::new, |setting| {
        setting.value.split(',').map(str::trim).collect()
    })
}

/// Without a host: the socket that is there, else this machine by TCP.
fn default_place(port: u16) -> Place {
    SOCKET_DIRECTORIES
        .iter()
        .map(PathBuf::from)
        .find(|directory| directory.join(format!(".s.PGSQL.{port}")).exists())
        .map_or_else(
            || Place::Tcp {
                name: "localhost".to_owned(),
                address: None,
            },
            Place::Unix,
        )
}
