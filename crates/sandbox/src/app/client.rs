//! One client of the application: chooses an operation, performs it, and tells the oracle what became of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::connection::{self, Connection};
use super::latency::Statement;
use super::model::{Cell, Content, Key, KeySource, Row, Side, Version};
use super::oracle::{Effect, Effects, Shard};
use super::shared::{Pace, Shared};

/// Why an operation did not happen as planned.
pub(super) enum Failure {
    Postgres(tokio_postgres::Error),
    /// The database did what no database may do; the text says what.
    Unexpected(String),
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Postgres(error)
    }
}

/// How far an operation got before it failed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    /// Nothing that could commit was sent: the server rolls back whatever was begun.
    NoCommit,
    /// COMMIT, or a statement that commits by itself, was sent.
    Commit,
}

/// A row to insert.
pub(super) struct NewRow {
    pub(super) row: Row,
    /// Which columns the statement names.
    pub(super) given: Vec<bool>,
    /// The positions of these.
    pub(super) columns: Vec<usize>,
}

/// A client's own state.
pub(crate) struct AppClient {
    pub(super) shared: Arc<Shared>,
    version: Version,
    number: usize,
    pub(super) rng: StdRng,
    pub(super) connection: Option<Connection>,
}

impl AppClient {
    pub(crate) fn new(shared: Arc<Shared>, version: Version, number: usize) -> Self {
        let seed = shared.options.seed ^ ((number as u64) << 32) ^ ((version as u64) << 16);
        Self {
            shared,
            version,
            number,
            rng: StdRng::seed_from_u64(seed),
            connection: None,
        }
    }

    /// Works until the version is told to stop.
    pub(crate) async fn run(mut self) {
        let shared = Arc::clone(&self.shared);
        let mut due = Instant::now();
        while !shared.stopping(self.version) {
            if let Pace::Open {
                per_client_per_second,
            } = shared.options.pace
            {
                due += Duration::from_secs_f64(1.0 / per_client_per_second.max(0.001));
                tokio::select! {
                    () = tokio::time::sleep_until(due.into()) => {}
                    () = shared.stopped(self.version) => break,
                }
            }
            let paused = shared.gate.try_read().is_err();
            let _pass = shared.gate.read().await;
            if paused || matches!(shared.options.pace, Pace::Closed { .. }) {
                // What was due during a pause of ours is nobody's latency.
                due = Instant::now();
            }
            let Some(mut shard) = shared.oracle.shard(&mut self.rng).await else {
                shared.finding(
                    "every shard has a write in doubt: this client has nothing left to do".into(),
                );
                return;
            };
            self.operate(&mut shard, due).await;
            drop(shard);
            if let Pace::Closed { think } = shared.options.pace
                && !think.is_zero()
            {
                tokio::time::sleep(think).await;
            }
        }
    }

    /// One operation on one shard, from its choice to its known outcome.
    async fn operate(&mut self, shard: &mut Shard, mut due: Instant) {
        let reconnects = self.connection.as_ref().is_none_or(Connection::is_closed);
        if !self.connected().await {
            return;
        }
        if reconnects {
            // The time without a server is no statement's latency.
            due = Instant::now();
        }
        let kind = self.shared.options.mix.choose(&mut self.rng);
        let mut effects = Effects::new();
        let mut sent = Sent::NoCommit;
        let result = match kind {
            Statement::Read => self.read(shard).await,
            _ => self.write(shard, kind, &mut effects, &mut sent).await,
        };
        let took = due.elapsed();
        match result {
            Ok(()) => {
                self.shared.record(self.version, self.number, kind, took);
                self.shared.count(kind, effects.len() as u64);
                shard.apply(effects);
            }
            Err(Failure::Unexpected(what)) => {
                self.shared.finding(what);
                self.roll_back().await;
            }
            Err(Failure::Postgres(error)) if connection::is_lost(&error) => {
                self.shared.connection_lost(&error.to_string());
                let lost = self.connection.take();
                if sent == Sent::Commit && !effects.is_empty() {
                    self.resolve(shard, effects, lost).await;
                }
            }
            Err(Failure::Postgres(error)) => {
                self.shared.record(self.version, self.number, kind, took);
                self.shared.sql_error(self.version, kind, &error);
                self.roll_back().await;
            }
        }
    }

    /// Reads a row of the shard and compares it at once: nobody else writes it now.
    async fn read(&mut self, shard: &mut Shard) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let Some((key, row)) = shared.oracle.pick(shard, &mut self.rng) else {
            return Ok(());
        };
        let columns = shared.model.comparable(self.version);
        let rows = self
            .connection()
            .query(&shared.model.read_sql(&columns), &cells(&key))
            .await?;
        let [found] = rows.as_slice() else {
            return Err(Failure::Unexpected(format!(
                "read {} rows of key {key:?} instead of one",
                rows.len()
            )));
        };
        for (no, at) in columns.iter().enumerate() {
            let found: Cell = found.get(no);
            let column = &shared.model.columns[*at];
            let unfilled = found.is_none() && column.side == Side::New && !shared.filled();
            if found != row[*at] && !unfilled {
                return Err(Failure::Unexpected(format!(
                    "{:?} version read {} of key {key:?}: expected {:?}, found {found:?}",
                    self.version, column.name, row[*at]
                )));
            }
        }
        Ok(())
    }

    async fn write(
        &mut self,
        shard: &mut Shard,
        kind: Statement,
        effects: &mut Effects,
        sent: &mut Sent,
    ) -> Result<(), Failure> {
        let single = kind != Statement::Transaction;
        // The key of an identity column is known only from the answer; a commit of its own makes it knowable before
        // anything can become doubtful.
        let identity = matches!(self.shared.model.key_source, KeySource::Identity);
        let inserts = matches!(
            kind,
            Statement::Insert | Statement::Copy | Statement::Upsert | Statement::Merge
        );
        let own_commit = !single || (inserts && identity) || self.rng.random_bool(0.3);
        if !own_commit {
            return self.write_one(shard, kind, effects, Some(sent)).await;
        }
        self.connection().batch("BEGIN").await?;
        let statements = if single {
            1
        } else {
            self.rng.random_range(2..=5)
        };
        for _ in 0..statements {
            let kind = if single {
                kind
            } else {
                self.shared.options.mix.choose_single_write(&mut self.rng)
            };
            self.write_one(shard, kind, effects, None).await?;
        }
        *sent = Sent::Commit;
        self.connection().batch("COMMIT").await?;
        Ok(())
    }

    /// One statement on one row. `commits` is given when the statement commits by itself, and set when it is sent.
    async fn write_one(
        &mut self,
        shard: &mut Shard,
        kind: Statement,
        effects: &mut Effects,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let given_key = matches!(shared.model.key_source, KeySource::Given { .. });
        match kind {
            Statement::Copy if given_key => return self.copy(effects, commits).await,
            Statement::Upsert if given_key => return self.upsert(shard, effects, commits).await,
            Statement::Merge if given_key => return self.merge(shard, effects, commits).await,
            Statement::DeleteSeveral => return self.delete_several(shard, effects, commits).await,
            _ => {}
        }
        let picked = match kind {
            Statement::Insert | Statement::Copy | Statement::Upsert | Statement::Merge => None,
            _ => self.pick(shard, effects),
        };
        let Some((key, row)) = picked else {
            return self.insert(effects, commits).await;
        };
        let before = effects
            .get(&key)
            .map_or_else(|| Some(row.clone()), |effect| effect.before.clone());
        match kind {
            Statement::Delete => {
                let sql = shared.model.delete_sql();
                effects.insert(
                    key.clone(),
                    Effect {
                        before,
                        after: None,
                    },
                );
                self.change_one(&sql, cells(&key), &key, commits).await
            }
            Statement::UpdateKey => match shared.model.key_source {
                KeySource::Identity => {
                    Box::pin(self.write_one(shard, Statement::UpdateUnrelated, effects, commits))
                        .await
                }
                KeySource::Given { make, .. } => {
                    let new_key = make(shared.next_serial());
                    let sets = self.with_revision(Vec::new());
                    let mut parameters: Vec<Cell> =
                        sets.iter().map(|(_, cell)| cell.clone()).collect();
                    parameters.extend(cells(&new_key));
                    parameters.extend(cells(&key));
                    let columns: Vec<usize> = sets.iter().map(|(at, _)| *at).collect();
                    let sql = shared.model.update_sql(&columns, true);
                    let after = shared.model.updated(&row, &sets);
                    effects.insert(
                        key.clone(),
                        Effect {
                            before,
                            after: None,
                        },
                    );
                    effects.insert(
                        new_key,
                        Effect {
                            before: None,
                            after: Some(after),
                        },
                    );
                    self.change_one(&sql, parameters, &key, commits).await
                }
            },
            _ => {
                let sets = self.choose_sets(kind, &row);
                let sets = self.with_revision(sets);
                let mut parameters: Vec<Cell> = sets.iter().map(|(_, cell)| cell.clone()).collect();
                parameters.extend(cells(&key));
                let columns: Vec<usize> = sets.iter().map(|(at, _)| *at).collect();
                let sql = shared.model.update_sql(&columns, false);
                let after = shared.model.updated(&row, &sets);
                effects.insert(
                    key.clone(),
                    Effect {
                        before,
                        after: Some(after),
                    },
                );
                self.change_one(&sql, parameters, &key, commits).await
            }
        }
    }

    async fn insert(
        &mut self,
        effects: &mut Effects,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let model = &shared.model;
        let NewRow {
            row,
            given,
            columns,
        } = self.new_row();
        let mut parameters: Vec<Cell> = Vec::new();
        let mut expected = None;
        if let KeySource::Given { make, .. } = model.key_source {
            let key = make(shared.next_serial());
            parameters.extend(cells(&key));
            expected = Some(key);
        }
        parameters.extend(columns.iter().map(|at| row[*at].clone()));
        let after = Some(model.inserted(row, &given));
        if let Some(key) = expected.clone() {
            effects.insert(
                key,
                Effect {
                    before: None,
                    after: after.clone(),
                },
            );
        }
        let sql = model.insert_sql(&columns);
        let prepared = self.connection().prepare(&sql).await?;
        if let Some(sent) = commits {
            *sent = Sent::Commit;
        }
        let answer = self.connection().run(&prepared, &parameters).await?;
        let key: Key = (0..model.key.len()).map(|at| answer[0].get(at)).collect();
        match expected {
            None => {
                effects.insert(
                    key,
                    Effect {
                        before: None,
                        after,
                    },
                );
            }
            Some(expected) if expected != key => {
                return Err(Failure::Unexpected(format!(
                    "inserted key {expected:?} and got back {key:?}"
                )));
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Values for all columns that this version writes.
    pub(super) fn new_row(&mut self) -> NewRow {
        let shared = Arc::clone(&self.shared);
        let mut row: Row = vec![None; shared.model.columns.len()];
        let mut given = vec![false; row.len()];
        for (at, column) in shared.model.columns.iter().enumerate() {
            if column.side.seen_by(self.version)
                && let Some(value) = self.generate(column.content)
            {
                row[at] = value;
                given[at] = true;
            }
        }
        for (at, value) in self.computed(&row, &given) {
            row[at] = value;
            given[at] = true;
        }
        let columns: Vec<usize> = (0..row.len()).filter(|at| given[*at]).collect();
        NewRow {
            row,
            given,
            columns,
        }
    }

    /// A row of the shard as this operation has left it so far.
    pub(super) fn pick(&mut self, shard: &mut Shard, effects: &Effects) -> Option<(Key, Row)> {
        let (key, row) = self.shared.oracle.pick(shard, &mut self.rng)?;
        match effects.get(&key) {
            None => Some((key, row)),
            Some(effect) => effect.after.clone().map(|row| (key, row)),
        }
    }

    /// Runs an UPDATE or DELETE that must concern exactly one row.
    async fn change_one(
        &mut self,
        sql: &str,
        parameters: Vec<Cell>,
        key: &Key,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let prepared = self.connection().prepare(sql).await?;
        if let Some(sent) = commits {
            *sent = Sent::Commit;
        }
        let changed = self.connection().change(&prepared, &parameters).await?;
        if changed == 1 {
            return Ok(());
        }
        Err(Failure::Unexpected(format!(
            "changed {changed} rows of key {key:?} instead of one, by {sql}"
        )))
    }

    /// The columns to set and their values, for one kind of update.
    fn choose_sets(&mut self, kind: Statement, row: &Row) -> Vec<(usize, Cell)> {
        let shared = Arc::clone(&self.shared);
        let model = &shared.model;
        let visible: Vec<usize> = (0..row.len())
            .filter(|at| {
                let column = &model.columns[*at];
                column.side.seen_by(self.version)
                    && matches!(column.content, Content::Value { .. } | Content::New(_))
            })
            .collect();
        let (mapped, other): (Vec<usize>, Vec<usize>) =
            visible.iter().partition(|at| model.is_mapped(**at));
        if kind == Statement::UpdateSame {
            return mapped.into_iter().map(|at| (at, row[at].clone())).collect();
        }
        let from = match kind {
            Statement::UpdateMapped if !mapped.is_empty() => mapped,
            Statement::UpdateMapped => visible,
            _ => other,
        };
        let written: Vec<usize> = from
            .into_iter()
            .filter(|at| !matches!(model.columns[*at].content, Content::New(None)))
            .collect();
        let certain = if written.is_empty() {
            0
        } else {
            self.rng.random_range(0..written.len())
        };
        let mut after = row.clone();
        let mut given = vec![false; row.len()];
        let mut sets = Vec::new();
        for (no, at) in written.into_iter().enumerate() {
            if (no == certain || self.rng.random_bool(0.3))
                && let Some(value) = self.generate(model.columns[at].content)
            {
                if value.is_none() && model.columns[at].side == Side::New && !shared.filled() {
                    // In a row that is not filled yet, a NULL that was written cannot be told from one that was there.
                    continue;
                }
                after[at].clone_from(&value);
                given[at] = true;
                sets.push((at, value));
            }
        }
        sets.extend(self.computed(&after, &given));
        sets
    }

    /// What the new version itself computes for columns that only follow, from the old columns that it writes.
    fn computed(&self, row: &Row, given: &[bool]) -> Vec<(usize, Cell)> {
        let model = &self.shared.model;
        let mut computed = Vec::new();
        if self.version == Version::Old {
            return computed;
        }
        for mapping in model
            .mappings
            .iter()
            .filter(|mapping| mapping.down.is_none())
        {
            let (old, new) = (model.positions(&mapping.old), model.positions(&mapping.new));
            if old.iter().any(|at| given[*at]) {
                let values: Vec<Cell> = old.iter().map(|at| row[*at].clone()).collect();
                computed.extend(new.into_iter().zip((mapping.up)(&values)));
            }
        }
        computed
    }

    fn generate(&mut self, content: Content) -> Option<Cell> {
        match content {
            Content::Value { generate, .. } | Content::New(Some(generate)) => {
                let write = self.shared.next_write();
                Some(generate(&mut self.rng, write))
            }
            Content::Revision => Some(Some(self.shared.next_write().to_string())),
            Content::Now | Content::New(None) => None,
        }
    }

    fn with_revision(&self, mut sets: Vec<(usize, Cell)>) -> Vec<(usize, Cell)> {
        sets.push((
            self.shared.model.revision(),
            Some(self.shared.next_write().to_string()),
        ));
        sets
    }

    /// Connects unless connected; `false` when told to stop before it worked.
    pub(super) async fn connected(&mut self) -> bool {
        let begun = Instant::now();
        loop {
            if self
                .connection
                .as_ref()
                .is_some_and(|connection| !connection.is_closed())
            {
                return true;
            }
            if self.connection.take().is_some() {
                self.shared.connection_lost("closed between two operations");
            }
            match Connection::open(&self.shared.options, self.version, self.number).await {
                Ok(connection) => self.connection = Some(connection),
                Err(error) => {
                    self.shared.connect_failed(&error);
                    if self.shared.stopping(self.version)
                        && begun.elapsed() > Duration::from_secs(5)
                    {
                        return false;
                    }
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    /// Ends a transaction that failed; a connection on which that fails is given up.
    async fn roll_back(&mut self) {
        if let Some(connection) = &self.connection
            && connection.batch("ROLLBACK").await.is_err()
        {
            self.connection = None;
        }
    }

    pub(super) fn connection(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("an operation begins only when connected, and only its end disconnects")
    }
}

pub(super) fn cells(key: &Key) -> Vec<Cell> {
    key.iter().cloned().map(Some).collect()
}
