//! Connections, and the two forms in which we speak on them.
//!
//! A [`Session`] is a connection that is either between transactions or
//! thrown away: whoever drops one in the middle of something (a cancelled
//! task, a failed rollback) takes it out of the pool, so that no statement
//! ever runs in a transaction that somebody else began.

use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::connect;
use super::routines::Routines;
use super::sqlstate::classify;
use crate::db::{DbError, ErrorKind};

/// Bounds of a short transaction that spans several messages: when this
/// process is stopped in the middle, the server ends it.
const SHORT: &str = "SET LOCAL idle_in_transaction_session_timeout = '3s';
SET LOCAL statement_timeout = '30s';
SET LOCAL lock_timeout = '10s';
";

/// Where a session's connection comes from.
enum Connection {
    Pooled(connect::Pooled),
    Own(connect::Connection),
}

impl Connection {
    fn inner(&self) -> &connect::Connection {
        match self {
            Self::Pooled(object) => object,
            Self::Own(connection) => connection,
        }
    }
}

/// A connection between transactions.
pub(crate) struct Session {
    connection: Option<Connection>,
    clean: AtomicBool,
}

impl Session {
    pub(crate) fn pooled(object: connect::Pooled) -> Self {
        Self {
            connection: Some(Connection::Pooled(object)),
            clean: AtomicBool::new(true),
        }
    }

    pub(crate) fn own(connection: connect::Connection) -> Self {
        Self {
            connection: Some(Connection::Own(connection)),
            clean: AtomicBool::new(true),
        }
    }

    fn connection(&self) -> &connect::Connection {
        self.connection
            .as_ref()
            .expect("the connection is only taken when the session is dropped")
            .inner()
    }

    /// Blocks that the session keeps.
    pub(super) fn routines(&self) -> &Routines {
        self.connection().routines()
    }

    /// A handle that cancels what it is doing, for a connection of its own.
    pub(crate) fn canceller(&self) -> Option<connect::Canceller> {
        match &self.connection {
            Some(Connection::Own(connection)) => Some(connection.canceller()),
            Some(Connection::Pooled(_)) | None => None,
        }
    }

    /// Sends several statements as one simple query: one round trip, and no
    /// pause of ours can fall between them. An error ends the transaction
    /// that the text began.
    pub(crate) async fn one_message(
        &self,
        text: &str,
        doing: &str,
    ) -> Result<Vec<SimpleQueryMessage>, DbError> {
        self.try_message(text)
            .await
            .map_err(|error| classify(&error, doing))
    }

    /// The same, with the driver's error.
    pub(crate) async fn try_message(
        &self,
        text: &str,
    ) -> Result<Vec<SimpleQueryMessage>, tokio_postgres::Error> {
        self.clean.store(false, Ordering::Relaxed);
        match self.simple_query(text).await {
            Ok(messages) => {
                self.clean.store(true, Ordering::Relaxed);
                Ok(messages)
            }
            Err(error) => {
                // The server skips the rest of the message, COMMIT included,
                // and stays in the failed transaction.
                if !self.is_closed() && self.batch_execute("ROLLBACK").await.is_ok() {
                    self.clean.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }

    /// Runs `work` between BEGIN ISOLATION LEVEL READ COMMITTED and COMMIT;
    /// `begin` holds further statements of the first message (settings, the
    /// fence). For short transactions that hold no lock an application could
    /// wait for; others are [one message](Self::one_message).
    pub(crate) async fn transaction<T>(
        &self,
        begin: &str,
        doing: &str,
        work: impl AsyncFnOnce(&Client) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        self.clean.store(false, Ordering::Relaxed);
        let outcome = async {
            self.batch_execute(&format!("{}{SHORT}{begin}", super::fence::BEGIN))
                .await
                .map_err(|error| classify(&error, doing))?;
            let value = work(self).await?;
            self.batch_execute("COMMIT")
                .await
                .map_err(|error| classify(&error, doing))?;
            Ok(value)
        }
        .await;
        match outcome {
            Ok(value) => {
                self.clean.store(true, Ordering::Relaxed);
                Ok(value)
            }
            Err(error) => {
                if !self.is_closed() && self.batch_execute("ROLLBACK").await.is_ok() {
                    self.clean.store(true, Ordering::Relaxed);
                }
                Err(error)
            }
        }
    }
}

impl Deref for Session {
    type Target = Client;

    fn deref(&self) -> &Client {
        self.connection()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let clean = *self.clean.get_mut();
        match self.connection.take() {
            Some(Connection::Pooled(object)) if !clean => {
                drop(deadpool::managed::Object::take(object));
            }
            other => drop(other),
        }
    }
}

/// The rows of one message, all its statements in a row.
pub(crate) fn rows(messages: &[SimpleQueryMessage]) -> impl Iterator<Item = &SimpleQueryRow> {
    messages.iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    })
}

/// A column of a row of one message.
///
/// # Errors
/// When there is none of that name, or it is NULL.
pub(crate) fn text<'a>(row: &'a SimpleQueryRow, column: &str) -> Result<&'a str, DbError> {
    row.try_get(column).ok().flatten().ok_or_else(|| {
        DbError::new(
            ErrorKind::Internal,
            format!("The server's answer lacks the column {column}"),
        )
    })
}
