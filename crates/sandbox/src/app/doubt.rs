//! Learning the outcome of a commit whose answer was lost.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::client::{AppClient, Failure, cells};
use super::connection::Connection;
use super::latency::Statement;
use super::model::{Cell, Row};
use super::oracle::{Effects, Shard};

/// How long a client tries to learn the outcome of a write before it leaves the write in doubt.
const PATIENCE: Duration = Duration::from_secs(60);

impl AppClient {
    /// Learns what became of a commit whose answer was lost: waits until the old session is gone, then looks at a row.
    ///
    /// Only then, because a statement that the server had received may otherwise still commit after our look.
    pub(super) async fn resolve(
        &mut self,
        shard: &mut Shard,
        effects: Effects,
        lost: Option<Connection>,
    ) {
        let begun = Instant::now();
        let session = lost.map(|connection| connection.session());
        while begun.elapsed() < PATIENCE {
            if self.connected().await {
                match self.look(&effects, session.as_ref()).await {
                    Ok(Some(true)) => {
                        self.shared.resolved();
                        self.shared
                            .count(Statement::Transaction, effects.len() as u64);
                        return shard.apply(effects);
                    }
                    Ok(Some(false)) => return self.shared.resolved(),
                    Ok(None) => {}
                    Err(Failure::Postgres(error)) => {
                        tracing::debug!("a client could not look at a row in doubt: {error}");
                        self.connection = None;
                    }
                    Err(Failure::Unexpected(what)) => {
                        self.shared.finding(what);
                        break;
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        shard.doubt(effects);
    }

    /// Whether the effects are there; `None` while the session that wrote them may still be at work.
    async fn look(
        &mut self,
        effects: &Effects,
        session: Option<&(i32, String)>,
    ) -> Result<Option<bool>, Failure> {
        if let Some(session) = session
            && self.connection().is_alive(session).await?
        {
            return Ok(None);
        }
        let shared = Arc::clone(&self.shared);
        let revision = shared.model.revision();
        for (key, effect) in effects {
            let of = |row: &Option<Row>| row.as_ref().map(|row| row[revision].clone());
            let (before, after) = (of(&effect.before), of(&effect.after));
            if before == after {
                continue;
            }
            let rows = self
                .connection()
                .query(&shared.model.read_sql(&[revision]), &cells(key))
                .await?;
            let found = rows.first().map(|row| row.get::<_, Cell>(0));
            return if found == after {
                Ok(Some(true))
            } else if found == before {
                Ok(Some(false))
            } else {
                Err(Failure::Unexpected(format!(
                    "key {key:?} has revision {found:?} after a write in doubt: expected {before:?} or {after:?}"
                )))
            };
        }
        Ok(Some(true))
    }
}
