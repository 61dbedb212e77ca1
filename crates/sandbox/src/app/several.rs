//! Statements that write several rows, or that look whether a row is there before they write it.

use std::collections::BTreeSet;
use std::sync::Arc;

use rand::Rng;

use super::client::{AppClient, Failure, NewRow, Sent, cells};
use super::model::{Cell, Key, KeySource, Model, Row};
use super::oracle::{Effect, Effects, Shard};
use crate::server::quote;

/// Rows of one COPY at most.
const COPIED: usize = 20;
/// Rows of one DELETE at most.
const DELETED: usize = 8;

impl AppClient {
    /// `COPY … FROM STDIN` of some new rows.
    pub(super) async fn copy(
        &mut self,
        effects: &mut Effects,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let count = self.rng.random_range(1..=COPIED);
        let (mut data, mut names) = (String::new(), String::new());
        for _ in 0..count {
            let Some(key) = self.new_key() else {
                return Ok(());
            };
            let NewRow {
                row,
                given,
                columns,
            } = self.new_row();
            names = column_list(&shared.model, &columns);
            let values = cells(&key);
            let values = values.iter().chain(columns.iter().map(|at| &row[*at]));
            let fields: Vec<String> = values.map(copy_field).collect();
            data.push_str(&fields.join("\t"));
            data.push('\n');
            let after = Some(shared.model.inserted(row, &given));
            effects.insert(
                key,
                Effect {
                    before: None,
                    after,
                },
            );
        }
        let sql = format!("COPY {} ({names}) FROM STDIN", shared.model.quoted_table());
        if let Some(sent) = commits {
            *sent = Sent::Commit;
        }
        let stored = self.connection().copy(&sql, data).await?;
        expect_rows(stored, count as u64, &sql)
    }

    /// `INSERT … ON CONFLICT`, with a key that is there in most cases.
    pub(super) async fn upsert(
        &mut self,
        shard: &mut Shard,
        effects: &mut Effects,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let model = &shared.model;
        let Some((key, found)) = self.there_or_not(shard, effects) else {
            return Ok(());
        };
        let new = self.new_row();
        let updates = self.rng.random_ratio(3, 4);
        let action = if updates {
            let sets: Vec<String> = new
                .columns
                .iter()
                .map(|at| {
                    let name = quote(model.columns[*at].name);
                    format!("{name} = excluded.{name}")
                })
                .collect();
            format!("UPDATE SET {}", sets.join(", "))
        } else {
            "NOTHING".to_owned()
        };
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ({}) DO {action}",
            model.quoted_table(),
            column_list(model, &new.columns),
            parameters(model, &new.columns).join(", "),
            key_list(model),
        );
        let values = values(&key, &new);
        let written = found.is_none() || updates;
        if written {
            note(model, effects, key, found, new);
        }
        self.write_rows(&sql, values, u64::from(written), commits)
            .await
    }

    /// `MERGE` of one row: changes it or deletes it where it is there, and inserts it where it is not.
    pub(super) async fn merge(
        &mut self,
        shard: &mut Shard,
        effects: &mut Effects,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        if !self.connection().merges() {
            return self.upsert(shard, effects, commits).await;
        }
        let shared = Arc::clone(&self.shared);
        let model = &shared.model;
        let Some((key, found)) = self.there_or_not(shard, effects) else {
            return Ok(());
        };
        let new = self.new_row();
        let deletes = self.rng.random_ratio(1, 8);
        let names: Vec<&str> = (model.key.iter().map(|(name, _)| *name))
            .chain(new.columns.iter().map(|at| model.columns[*at].name))
            .collect();
        let source: Vec<String> = (0..names.len()).map(|no| format!("s{no}")).collect();
        let matches: Vec<String> = (model.key.iter().zip(&source))
            .map(|((name, _), source)| format!("t.{} = s.{source}", quote(name)))
            .collect();
        let action = if deletes {
            "DELETE".to_owned()
        } else {
            let sets: Vec<String> = (names.iter().zip(&source))
                .skip(model.key.len())
                .map(|(name, source)| format!("{} = s.{source}", quote(name)))
                .collect();
            format!("UPDATE SET {}", sets.join(", "))
        };
        let sql = format!(
            "MERGE INTO {} AS t USING (VALUES ({})) AS s ({}) ON {} \
             WHEN MATCHED THEN {action} WHEN NOT MATCHED THEN INSERT ({}) VALUES (s.{})",
            model.quoted_table(),
            parameters(model, &new.columns).join(", "),
            source.join(", "),
            matches.join(" AND "),
            column_list(model, &new.columns),
            source.join(", s."),
        );
        let values = values(&key, &new);
        if deletes && found.is_some() {
            let before = first_before(effects, &key, found);
            effects.insert(
                key,
                Effect {
                    before,
                    after: None,
                },
            );
        } else {
            note(model, effects, key, found, new);
        }
        self.write_rows(&sql, values, 1, commits).await
    }

    /// One `DELETE` of several rows by their keys.
    pub(super) async fn delete_several(
        &mut self,
        shard: &mut Shard,
        effects: &mut Effects,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let shared = Arc::clone(&self.shared);
        let model = &shared.model;
        let mut keys = BTreeSet::new();
        for _ in 0..self.rng.random_range(1..=DELETED) {
            if let Some((key, row)) = self.pick(shard, effects) {
                let before = first_before(effects, &key, Some(row));
                effects.insert(
                    key.clone(),
                    Effect {
                        before,
                        after: None,
                    },
                );
                keys.insert(key);
            }
        }
        if keys.is_empty() {
            return Ok(());
        }
        let mut no = 0;
        let rows: Vec<String> = keys
            .iter()
            .map(|_| {
                let values: Vec<String> = (model.key.iter())
                    .map(|(_, sql_type)| {
                        no += 1;
                        format!("${no}::text::{sql_type}")
                    })
                    .collect();
                format!("({})", values.join(", "))
            })
            .collect();
        let sql = format!(
            "DELETE FROM {} WHERE ({}) IN ({})",
            model.quoted_table(),
            key_list(model),
            rows.join(", ")
        );
        let values = keys.iter().flat_map(cells).collect();
        self.write_rows(&sql, values, keys.len() as u64, commits)
            .await
    }

    /// The key of a row that is there, with the row, or in one of four cases a new key.
    fn there_or_not(&mut self, shard: &mut Shard, effects: &Effects) -> Option<(Key, Option<Row>)> {
        if self.rng.random_ratio(3, 4)
            && let Some((key, row)) = self.pick(shard, effects)
        {
            return Some((key, Some(row)));
        }
        Some((self.new_key()?, None))
    }

    /// A key that nobody has used; `None` where the database makes the keys.
    fn new_key(&self) -> Option<Key> {
        match self.shared.model.key_source {
            KeySource::Given { make, .. } => Some(make(self.shared.next_serial())),
            KeySource::Identity => None,
        }
    }

    /// Runs a statement that must concern exactly this many rows.
    async fn write_rows(
        &mut self,
        sql: &str,
        values: Vec<Cell>,
        rows: u64,
        commits: Option<&mut Sent>,
    ) -> Result<(), Failure> {
        let prepared = self.connection().prepare(sql).await?;
        if let Some(sent) = commits {
            *sent = Sent::Commit;
        }
        let changed = self.connection().change(&prepared, &values).await?;
        expect_rows(changed, rows, sql)
    }
}

fn expect_rows(found: u64, wanted: u64, sql: &str) -> Result<(), Failure> {
    if found == wanted {
        return Ok(());
    }
    Err(Failure::Unexpected(format!(
        "wrote {found} rows instead of {wanted}, by {sql}"
    )))
}

/// What becomes of a row that a statement finds, or of one that it inserts.
fn note(model: &Model, effects: &mut Effects, key: Key, found: Option<Row>, new: NewRow) {
    let after = match &found {
        None => model.inserted(new.row, &new.given),
        Some(row) => {
            let sets: Vec<(usize, Cell)> = (new.columns.iter())
                .map(|at| (*at, new.row[*at].clone()))
                .collect();
            model.updated(row, &sets)
        }
    };
    let before = first_before(effects, &key, found);
    effects.insert(
        key,
        Effect {
            before,
            after: Some(after),
        },
    );
}

/// What the row was when the operation began.
fn first_before(effects: &Effects, key: &Key, found: Option<Row>) -> Option<Row> {
    match effects.get(key) {
        Some(effect) => effect.before.clone(),
        None => found,
    }
}

/// The key's columns and then these, quoted.
fn column_list(model: &Model, columns: &[usize]) -> String {
    let names: Vec<String> = (model.key.iter().map(|(name, _)| quote(name)))
        .chain(columns.iter().map(|at| quote(model.columns[*at].name)))
        .collect();
    names.join(", ")
}

fn key_list(model: &Model) -> String {
    let names: Vec<String> = model.key.iter().map(|(name, _)| quote(name)).collect();
    names.join(", ")
}

/// Parameters for the key's columns and then these.
fn parameters(model: &Model, columns: &[usize]) -> Vec<String> {
    (model.key.iter().map(|(_, sql_type)| *sql_type))
        .chain(columns.iter().map(|at| model.columns[*at].sql_type))
        .enumerate()
        .map(|(no, sql_type)| format!("${}::text::{sql_type}", no + 1))
        .collect()
}

fn values(key: &Key, new: &NewRow) -> Vec<Cell> {
    let mut values = cells(key);
    values.extend(new.columns.iter().map(|at| new.row[*at].clone()));
    values
}

/// A value in COPY's text format.
fn copy_field(cell: &Cell) -> String {
    match cell {
        None => r"\N".to_owned(),
        Some(text) => text
            .replace('\\', r"\\")
            .replace('\t', r"\t")
            .replace('\n', r"\n")
            .replace('\r', r"\r"),
    }
}
