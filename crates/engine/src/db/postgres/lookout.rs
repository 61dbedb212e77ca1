//! Noticing that the world has moved on while our connections have not.
//!
//! In a failover an address may move to the new primary while the old one is
//! still up: connections that are open stay where they are, and work. All that
//! they do there is lost. No server can tell that about itself, so every few
//! seconds a *new* connection is made, as an application would make one now,
//! to every host of a list when there is one. When it reaches another server
//! than the one on which the term was taken, the term is over.
//!
//! What cannot be told on the way (no slot is free, a host does not answer) is
//! no reason to end anything: the connections at work will tell soon enough.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::connect::{self, ConnectOptions, Purpose, identity};
use crate::db::{DbError, ErrorKind, Fence};

/// Between the end of one look and the next one.
const EVERY: Duration = Duration::from_secs(5);

/// What the looks have found.
#[derive(Clone, Default)]
pub(super) struct Lookout(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    is_looking: bool,
    looked: Option<Instant>,
    elsewhere: Option<DbError>,
}

impl Lookout {
    /// Tells what the last look has found, and begins the next one when it is
    /// time. Does not wait.
    ///
    /// # Errors
    /// [`ErrorKind::ServerChanged`] when new connections lead to another
    /// server than the term's.
    pub(super) fn look(&self, options: &ConnectOptions, fence: &Fence) -> Result<(), DbError> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(error) = &seen.elsewhere {
            return Err(error.clone());
        }
        // The first look waits its turn as well: the term has just begun.
        let looked = *seen.looked.get_or_insert_with(Instant::now);
        if seen.is_looking || looked.elapsed() < EVERY {
            return Ok(());
        }
        seen.is_looking = true;
        let (options, server, lookout) = (options.clone(), fence.server.clone(), self.clone());
        tokio::spawn(async move {
            let found = elsewhere(&options, &server).await;
            let mut seen = lookout.0.lock().unwrap_or_else(PoisonError::into_inner);
            seen.is_looking = false;
            seen.looked = Some(Instant::now());
            seen.elsewhere = found;
        });
        Ok(())
    }
}

/// The error when a new connection reaches another server process than this.
async fn elsewhere(options: &ConnectOptions, server: &str) -> Option<DbError> {
    if let Err(error) = connect::survey(options).await {
        tracing::debug!("not every host could be asked: {error}");
        return None;
    }
    let connection = connect::connect(options, Purpose::Watch).await;
    let connection = connection
        .inspect_err(|error| tracing::debug!("no new connection: {error}"))
        .ok()?;
    let found = identity(&connection).await.ok()?;
    let address = connection.address().to_owned();
    connection.close().await;
    (found.started != server && !found.recovering && !found.started.is_empty()).then(|| {
        DbError::new(
            ErrorKind::ServerChanged,
            format!("New connections reach another server ({address}) than those that are open"),
        )
        .hint("Everything committed there is kept: run again to go on from it.")
    })
}
