//! Configuration files, and a port to listen on.

use rand::Rng;

use super::Server;
use crate::error::{Error, Result};

/// How many ports are tried before a start fails because every one was taken.
const PORT_TRIES: u32 = 20;

impl Server {
    /// Writes the configuration and starts, with another port as long as somebody else takes ours first.
    pub(super) fn start_on_free_port(&mut self, extra_settings: &str) -> Result<()> {
        for _ in 0..PORT_TRIES {
            self.port = free_port()?;
            self.write_configuration(extra_settings)?;
            match self.place.launch() {
                Ok(child) => {
                    *self.postmaster() = Some(child);
                    return Ok(());
                }
                Err(Error::Server { message, .. })
                    if message.contains("Address already in use") => {}
                Err(error) => return Err(error),
            }
        }
        Err(self.error("start", format!("{PORT_TRIES} ports in a row were taken")))
    }

    fn write_configuration(&self, extra_settings: &str) -> Result<()> {
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nport = {}\nunix_socket_directories = '{}'\n\
             max_connections = 200\nmax_prepared_transactions = 10\nwal_level = logical\n\
             password_encryption = 'scram-sha-256'\nlog_line_prefix = '%m [%p] %a '\ntimezone = 'UTC'\n",
            self.port,
            self.place.dir.display()
        );
        if !self.spec.durable {
            settings.push_str("fsync = off\n");
        }
        settings.push_str(extra_settings);
        for (name, value) in &self.spec.settings {
            settings.push_str(&format!("{name} = {value}\n"));
        }
        let others = if self.spec.require_passwords {
            "scram-sha-256"
        } else {
            "trust"
        };
        let access = format!(
            "local all all trust\nlocal replication all trust\n\
             host all postgres 127.0.0.1/32 scram-sha-256\nhost replication postgres 127.0.0.1/32 scram-sha-256\n\
             host all all 127.0.0.1/32 {others}\nhost replication all 127.0.0.1/32 {others}\n"
        );
        for (name, content) in [("postgresql.conf", settings), ("pg_hba.conf", access)] {
            let path = self.place.data().join(name);
            std::fs::write(&path, content).map_err(|e| Error::io("write", &path, e))?;
            self.place.account.own(&path)?;
        }
        Ok(())
    }
}

/// A port on 127.0.0.1 that is free now.
///
/// It is taken from below the range that the kernel gives to outgoing connections: a client that retries a closed
/// port of that range can end up connected to itself.
pub(super) fn free_port() -> Result<u16> {
    let mut last = None;
    for _ in 0..200 {
        let port = rand::rng().random_range(16_000..32_000);
        match std::net::TcpListener::bind(("127.0.0.1", port)) {
            Ok(_) => return Ok(port),
            Err(error) => last = Some(error),
        }
    }
    let reason = last.map(|e| e.to_string()).unwrap_or_default();
    Err(Error::Unusable(format!(
        "find a free port on 127.0.0.1: {reason}"
    )))
}
