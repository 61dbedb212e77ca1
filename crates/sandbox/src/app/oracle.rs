//! Knows what every row must be, from the application's own writes, and compares.
//!
//! The rows are dealt to *shards*. A client holds a shard for the length of one operation, so the order of all writes to
//! a key is known although clients of both versions share every row. Rows that nobody has touched are not stored: they are
//! computed from their number when they are compared.
//!
//! A write whose outcome the client could not learn, not even by looking at the row later, leaves both values possible.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt;
use rand::Rng;
use rand::rngs::StdRng;
use tokio::sync::{Mutex, MutexGuard};
use tokio_postgres::types::ToSql;

use super::model::{Cell, Key, Model, Row, Side, Version};
use crate::error::{Error, Result};

/// At most this many differences are kept as examples; all are counted.
const EXAMPLES: usize = 50;

/// What one operation does to one key.
#[derive(Clone, Debug)]
pub(crate) struct Effect {
    pub(crate) before: Option<Row>,
    pub(crate) after: Option<Row>,
}

pub(crate) type Effects = BTreeMap<Key, Effect>;

/// The rows that one client at a time may write.
#[derive(Debug, Default)]
pub(crate) struct Shard {
    number: u64,
    touched: HashMap<Key, Option<Row>>,
    /// Keys that came after the seed; those that went again are weeded out when they are met.
    inserted: Vec<Key>,
    doubts: Vec<Effects>,
    /// All that each row has been since [`Oracle::remember`], the oldest first.
    history: Option<HashMap<Key, Vec<Option<Row>>>>,
}

impl Shard {
    pub(crate) fn apply(&mut self, effects: Effects) {
        for (key, effect) in effects {
            if let Some(history) = &mut self.history {
                history
                    .entry(key.clone())
                    .or_insert_with(|| vec![effect.before.clone()])
                    .push(effect.after.clone());
            }
            if effect.before.is_none() && effect.after.is_some() {
                self.inserted.push(key.clone());
            }
            self.touched.insert(key, effect.after);
        }
    }

    /// Gives up on learning the outcome; the shard is not written any more.
    pub(crate) fn doubt(&mut self, effects: Effects) {
        self.doubts.push(effects);
    }

    pub(crate) fn is_usable(&self) -> bool {
        self.doubts.is_empty()
    }
}

/// The application's knowledge of its table.
#[derive(Debug)]
pub struct Oracle {
    model: Arc<Model>,
    rows: u64,
    reserved: u64,
    shards: Vec<Mutex<Shard>>,
}

impl Oracle {
    /// An oracle over a table with seed rows 1 to `rows`, of which clients never write the first `reserved`.
    pub(crate) fn new(model: Arc<Model>, rows: u64, reserved: u64, shards: u64) -> Self {
        let shards = (0..shards.max(1))
            .map(|number| {
                Mutex::new(Shard {
                    number,
                    ..Shard::default()
                })
            })
            .collect();
        Self {
            model,
            rows,
            reserved,
            shards,
        }
    }

    /// A shard that nobody holds, at random.
    pub(crate) async fn shard(&self, rng: &mut StdRng) -> Option<MutexGuard<'_, Shard>> {
        for _ in 0..4 * self.shards.len() {
            if let Ok(shard) = self.shards[rng.random_range(0..self.shards.len())].try_lock()
                && shard.is_usable()
            {
                return Some(shard);
            }
        }
        for shard in &self.shards {
            let shard = shard.lock().await;
            if shard.is_usable() {
                return Some(shard);
            }
        }
        None
    }

    /// A key of this shard and its row, as far as one is found quickly.
    pub(crate) fn pick(&self, shard: &mut Shard, rng: &mut StdRng) -> Option<(Key, Row)> {
        let count = self.shards.len() as u64;
        // Seed rows of this shard are reserved + 1 + number + k * count.
        let first = self.reserved + 1 + shard.number;
        let seeds = if self.rows < first {
            0
        } else {
            (self.rows - first) / count + 1
        };
        for _ in 0..8 {
            if !shard.inserted.is_empty() && (seeds == 0 || rng.random_ratio(3, 10)) {
                let at = rng.random_range(0..shard.inserted.len());
                if let Some(Some(row)) = shard.touched.get(&shard.inserted[at]) {
                    return Some((shard.inserted[at].clone(), row.clone()));
                }
                shard.inserted.swap_remove(at);
            } else if seeds > 0 {
                let g = first + rng.random_range(0..seeds) * count;
                let key = self.model.seed_key(g);
                match shard.touched.get(&key) {
                    None => return Some((key, self.model.seed_row(g))),
                    Some(Some(row)) => return Some((key, row.clone())),
                    Some(None) => {}
                }
            }
        }
        None
    }

    /// Compares every row of the table with what it must be.
    ///
    /// Call it when no client writes: after [`Running::stop`](super::Running::stop), or through
    /// [`Running::check`](super::Running::check). `client` must see all rows.
    ///
    /// # Errors
    /// When the table cannot be read, for example because a column of this shape is missing.
    pub async fn check(
        &self,
        client: &tokio_postgres::Client,
        shape: Shape,
    ) -> Result<OracleReport> {
        let mut shards = Vec::new();
        for shard in &self.shards {
            shards.push(shard.lock().await);
        }
        let columns = self.columns(shape);
        let mut check = Check {
            oracle: self,
            shape,
            touched: HashMap::new(),
            doubts: HashMap::new(),
            seen: HashSet::new(),
            seen_seeds: vec![false; usize::try_from(self.rows).unwrap_or(usize::MAX)],
            seed_numbers: None,
            report: OracleReport {
                shape,
                ..OracleReport::default()
            },
        };
        for shard in &shards {
            check
                .touched
                .extend(shard.touched.iter().map(|(key, row)| (key, row.as_ref())));
            for (key, effect) in shard.doubts.iter().flatten() {
                check
                    .doubts
                    .entry(key)
                    .or_default()
                    .extend([effect.before.as_ref(), effect.after.as_ref()]);
            }
        }

        let sql = self.model.scan_sql(&columns);
        let action = || format!("read every row of {}", self.model.quoted_table());
        let no_parameters: [&(dyn ToSql + Sync); 0] = [];
        let rows = client
            .query_raw(&sql, no_parameters)
            .await
            .map_err(|e| Error::postgres(action(), e))?;
        let mut rows = std::pin::pin!(rows);
        while let Some(row) = rows
            .try_next()
            .await
            .map_err(|e| Error::postgres(action(), e))?
        {
            let width = self.model.key.len();
            // A key of NULL is no key of ours; it shows as a ghost.
            let key: Key = (0..width)
                .map(|at| row.get::<_, Cell>(at).unwrap_or_else(|| "NULL".into()))
                .collect();
            let cells: Vec<Cell> = (0..columns.len()).map(|at| row.get(width + at)).collect();
            check.row(key, &columns, cells);
        }
        Ok(check.finish())
    }

    /// From now on, or from the first call on, remembers all that each row has been, for [`Oracle::after_failover`].
    pub async fn remember(&self) {
        for shard in &self.shards {
            shard.lock().await.history.get_or_insert_default();
        }
    }

    /// Takes over what a promoted standby holds, which may lack the last commits of its primary. Call it while no client
    /// writes, on the new primary.
    ///
    /// Each row must be what it has been at some moment since [`Oracle::remember`], in every column of the shape at once;
    /// what is neither that nor what it must be now is a difference, as in [`Oracle::check`]. From now on each row must be
    /// what it was found to be. Returns how many rows went back, and the comparison.
    ///
    /// # Errors
    /// As [`Oracle::check`].
    pub async fn after_failover(
        &self,
        client: &tokio_postgres::Client,
        shape: Shape,
    ) -> Result<(u64, OracleReport)> {
        let columns = self.columns(shape);
        let mut found: HashMap<Key, Vec<Cell>> = HashMap::new();
        let rows = client
            .query(&self.model.scan_sql(&columns), &[])
            .await
            .map_err(|e| {
                let action = format!("read every row of {}", self.model.quoted_table());
                Error::postgres(action, e)
            })?;
        let width = self.model.key.len();
        for row in rows {
            let key: Key = (0..width)
                .map(|at| row.get::<_, Cell>(at).unwrap_or_else(|| "NULL".into()))
                .collect();
            let cells = (0..columns.len()).map(|at| row.get(width + at)).collect();
            found.insert(key, cells);
        }
        let mut went_back = 0;
        for shard in &self.shards {
            let mut shard = shard.lock().await;
            let Some(history) = shard.history.take() else {
                continue;
            };
            for (key, versions) in history {
                let is_this = |version: &&Option<Row>| match (version, found.get(&key)) {
                    (None, None) => true,
                    (Some(row), Some(cells)) => columns.iter().zip(cells).all(|(at, cell)| {
                        let unfilled = shape == Shape::Filling
                            && cell.is_none()
                            && self.model.columns[*at].side == Side::New;
                        row[*at] == *cell || unfilled
                    }),
                    _ => false,
                };
                // The newest that fits; a difference stays for the comparison to tell.
                let Some(at) = versions.iter().rposition(|version| is_this(&version)) else {
                    continue;
                };
                went_back += u64::from(at + 1 < versions.len());
                if versions[at].is_none() && versions[0].is_none() {
                    // Perhaps it never was: a sequence may give the key again, to whoever asks then.
                    shard.touched.remove(&key);
                } else if at + 1 < versions.len() {
                    let version = versions[at].clone();
                    if version.is_some() && !shard.inserted.contains(&key) {
                        shard.inserted.push(key.clone());
                    }
                    shard.touched.insert(key, version);
                }
            }
        }
        Ok((went_back, self.check(client, shape).await?))
    }

    /// The columns of a shape. Where old and new column share a name, both shapes at once means the old one.
    fn columns(&self, shape: Shape) -> Vec<usize> {
        match shape {
            Shape::Old => self.model.comparable(Version::Old),
            Shape::New => self.model.comparable(Version::New),
            Shape::Both | Shape::Filling => {
                let mut columns = self.model.comparable(Version::Old);
                for at in self.model.comparable(Version::New) {
                    let name = self.model.columns[at].name;
                    if !columns
                        .iter()
                        .any(|other| self.model.columns[*other].name == name)
                    {
                        columns.push(at);
                    }
                }
                columns
            }
        }
    }
}

/// Which columns are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// The columns that the old version knows: before a migration, and after a rollback.
    #[default]
    Old,
    /// All columns, every one filled: between backfill and contract.
    Both,
    /// All columns, where those of the new shape may still be NULL: during the backfill.
    Filling,
    /// The columns that the new version knows: after contract.
    New,
}

/// The state of one comparison.
struct Check<'a> {
    oracle: &'a Oracle,
    shape: Shape,
    touched: HashMap<&'a Key, Option<&'a Row>>,
    doubts: HashMap<&'a Key, Vec<Option<&'a Row>>>,
    seen: HashSet<Key>,
    seen_seeds: Vec<bool>,
    seed_numbers: Option<HashMap<Key, u64>>,
    report: OracleReport,
}

impl Check<'_> {
    fn row(&mut self, key: Key, columns: &[usize], found: Vec<Cell>) {
        self.report.rows += 1;
        if let Some(possible) = self.doubts.get(&key) {
            let rows: Vec<Row> = possible.iter().copied().flatten().cloned().collect();
            if !self.seen.insert(key.clone()) {
                return self.ghost(key, "twice");
            }
            return self.compare(key, columns, &rows, &found);
        }
        match self.touched.get(&key).copied() {
            Some(Some(row)) => {
                let row = row.clone();
                if !self.seen.insert(key.clone()) {
                    return self.ghost(key, "twice");
                }
                self.compare(key, columns, &[row], &found);
            }
            Some(None) => self.ghost(key, "deleted"),
            None => match self.seed_number(&key) {
                Some(g) => {
                    let seen = &mut self.seen_seeds[(g - 1) as usize];
                    if std::mem::replace(seen, true) {
                        return self.ghost(key, "twice");
                    }
                    let row = self.oracle.model.seed_row(g);
                    self.compare(key, columns, &[row], &found);
                }
                None => self.ghost(key, "never written"),
            },
        }
    }

    fn compare(&mut self, key: Key, columns: &[usize], possible: &[Row], found: &[Cell]) {
        let model = &self.oracle.model;
        let differs = |row: &Row| {
            columns.iter().zip(found).find_map(|(at, found)| {
                let unfilled = self.shape == Shape::Filling
                    && found.is_none()
                    && model.columns[*at].side == Side::New;
                (row[*at] != *found && !unfilled).then_some((*at, found))
            })
        };
        let Some((at, found)) = possible.first().and_then(differs) else {
            return;
        };
        if possible.iter().skip(1).any(|row| differs(row).is_none()) {
            return;
        }
        self.report.wrong_rows += 1;
        if self.report.wrong.len() < EXAMPLES {
            self.report.wrong.push(Difference {
                key,
                column: model.columns[at].name,
                expected: possible.iter().map(|row| row[at].clone()).collect(),
                found: found.clone(),
            });
        }
    }

    fn ghost(&mut self, key: Key, why: &'static str) {
        self.report.ghosts += 1;
        if self.report.ghost_keys.len() < EXAMPLES {
            self.report.ghost_keys.push((key, why));
        }
    }

    fn seed_number(&mut self, key: &Key) -> Option<u64> {
        let (model, rows) = (&self.oracle.model, self.oracle.rows);
        if let [text] = key.as_slice()
            && let Ok(g @ 1..) = text.parse()
            && g <= rows
            && model.seed_key(g) == *key
        {
            return Some(g);
        }
        let simple = rows > 0 && model.seed_key(1) == ["1"];
        if simple {
            return None;
        }
        let numbers = self
            .seed_numbers
            .get_or_insert_with(|| (1..=rows).map(|g| (model.seed_key(g), g)).collect());
        numbers.get(key).copied()
    }

    fn finish(mut self) -> OracleReport {
        let mut lost = Vec::new();
        for (key, row) in &self.touched {
            if row.is_some() && !self.seen.contains(*key) && !self.doubts.contains_key(*key) {
                lost.push((*key).clone());
            }
        }
        for (key, possible) in &self.doubts {
            if !possible.contains(&None) && !self.seen.contains(*key) {
                lost.push((*key).clone());
            }
        }
        for g in (1..)
            .zip(&self.seen_seeds)
            .filter(|(_, seen)| !**seen)
            .map(|(g, _)| g)
        {
            let key = self.oracle.model.seed_key(g);
            if !self.touched.contains_key(&key) && !self.doubts.contains_key(&key) {
                lost.push(key);
            }
        }
        self.report.in_doubt = self.doubts.len() as u64;
        self.report.lost = lost.len() as u64;
        lost.truncate(EXAMPLES);
        self.report.lost_keys = lost;
        self.report
    }
}

/// A row that is there and has a wrong value.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The row's key.
    pub key: Key,
    /// The first column that differs.
    pub column: &'static str,
    /// What it must hold; more than one value after a write with unknown outcome.
    pub expected: Vec<Cell>,
    /// What it holds.
    pub found: Cell,
}

/// The result of a comparison.
#[derive(Clone, Debug, Default)]
pub struct OracleReport {
    /// The shape that was compared.
    pub shape: Shape,
    /// How many rows the table has.
    pub rows: u64,
    /// Rows that must be there and are not.
    pub lost: u64,
    /// Rows that must not be there.
    pub ghosts: u64,
    /// Rows with a wrong value.
    pub wrong_rows: u64,
    /// Keys for which two values were accepted, because a write's outcome stayed unknown.
    pub in_doubt: u64,
    /// The first lost rows.
    pub lost_keys: Vec<Key>,
    /// The first ghosts, each with the reason: `deleted`, `twice` or `never written`.
    pub ghost_keys: Vec<(Key, &'static str)>,
    /// The first wrong values.
    pub wrong: Vec<Difference>,
}

impl OracleReport {
    /// Whether every row is what it must be and no other row exists.
    pub fn is_clean(&self) -> bool {
        self.lost == 0 && self.ghosts == 0 && self.wrong_rows == 0
    }
}

impl fmt::Display for OracleReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:?} shape, {} rows: {} lost, {} ghosts, {} wrong, {} in doubt",
            self.shape, self.rows, self.lost, self.ghosts, self.wrong_rows, self.in_doubt
        )?;
        for key in self.lost_keys.iter().take(5) {
            write!(f, "\n  lost: {}", key.join(", "))?;
        }
        for (key, why) in self.ghost_keys.iter().take(5) {
            write!(f, "\n  ghost ({why}): {}", key.join(", "))?;
        }
        for difference in self.wrong.iter().take(5) {
            write!(
                f,
                "\n  wrong: {} of {}: expected {:?}, found {:?}",
                difference.column,
                difference.key.join(", "),
                difference.expected,
                difference.found
            )?;
        }
        Ok(())
    }
}
