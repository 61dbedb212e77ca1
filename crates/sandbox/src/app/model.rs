//! What a model application knows about its table: columns, key, seed, and how the old and the new shape of a row
//! follow from each other.
//!
//! A model is data and plain functions over text. It names no expression of a plan: where a plan says
//! `up: lower(customer)`, the model has a Rust function, so that a plan's mistake shows as a difference.

use rand::rngs::StdRng;

use crate::server::quote;

/// A column's value as PostgreSQL prints it; `None` is NULL.
pub type Cell = Option<String>;

/// The values of all columns but the key's, in the order of [`Model::columns`]. Both shapes at once.
pub type Row = Vec<Cell>;

/// The key's values as PostgreSQL prints them.
pub type Key = Vec<String>;

/// Which version of the application knows a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Only the old version: the column goes at contract.
    Old,
    /// Only the new version: the column comes at expand.
    New,
    /// Both versions.
    Both,
}

/// A version of the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// Knows the shape before the migration.
    Old,
    /// Knows the shape after it.
    New,
}

impl Side {
    /// Whether this version of the application reads and writes the column.
    pub fn seen_by(self, version: Version) -> bool {
        matches!(
            (self, version),
            (Self::Both, _) | (Self::Old, Version::Old) | (Self::New, Version::New)
        )
    }
}

/// Makes a value for a write. The number is unique to the write.
pub type Generate = fn(&mut StdRng, u64) -> Cell;

/// What a column holds.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    /// A value of the application's.
    Value {
        /// The value of seed row `g`, as an SQL expression over the bigint `g`.
        seed_sql: &'static str,
        /// The same in Rust.
        seed: fn(u64) -> Cell,
        /// A value for a write.
        generate: Generate,
    },
    /// A value of the new shape, which seed rows do not have. Without a generator the new version computes it itself
    /// from the old columns of its mapping, whenever it writes one of these.
    New(Option<Generate>),
    /// A number that differs for every write (bigint). It tells which write a row has seen last.
    Revision,
    /// `now()` at every write; not compared.
    Now,
}

/// A column that is not part of the key.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// Its name, unquoted.
    pub name: &'static str,
    /// Its type, as in a cast.
    pub sql_type: &'static str,
    /// Who knows it.
    pub side: Side,
    /// What it holds.
    pub content: Content,
}

/// A function from the columns of one shape to those of the other.
pub type Convert = fn(&[Cell]) -> Vec<Cell>;

/// A group of old columns and the group of new columns that stands for them.
#[derive(Clone, Debug)]
pub struct Mapping {
    /// Names of the old columns. They may be known to both versions.
    pub old: Vec<&'static str>,
    /// Names of the new columns.
    pub new: Vec<&'static str>,
    /// What the new columns hold when a writer changes the old ones.
    pub up: Convert,
    /// What the old columns hold when a writer changes the new ones; `None` when the new columns only follow.
    pub down: Option<Convert>,
}

/// How a table's keys come about.
#[derive(Clone, Copy, Debug)]
pub enum KeySource {
    /// One column, GENERATED ALWAYS AS IDENTITY. Keys never change.
    Identity,
    /// The application makes its keys from a serial number; keys may change.
    Given {
        /// The key of serial number `n`; seed row `g` has number `g`.
        make: fn(u64) -> Key,
        /// The same for seed rows: one SQL expression over the bigint `g` for each key column.
        seed_sql: &'static [&'static str],
    },
}

/// A table, its application and what a migration makes of it.
#[derive(Clone, Debug)]
pub struct Model {
    /// A short name, for messages.
    pub name: &'static str,
    /// The table's schema, unquoted.
    pub schema: String,
    /// The table's name, unquoted.
    pub table: String,
    /// Statements that create the table in its old shape; `{table}` stands for its quoted name with schema, `{schema}` for
    /// its quoted schema, `{name}` for its bare name.
    pub ddl: Vec<String>,
    /// The key's columns: name and type.
    pub key: Vec<(&'static str, &'static str)>,
    /// How keys come about.
    pub key_source: KeySource,
    /// All other columns, of both shapes. Exactly one is [`Content::Revision`], known to both versions.
    pub columns: Vec<Column>,
    /// How the shapes follow from each other.
    pub mappings: Vec<Mapping>,
    /// The operations that migrate the table, as the items of a plan's `operations:` list, with `{table}` for the
    /// table's bare name. For the caller's convenience: the oracle never reads it.
    pub operations: &'static str,
}

impl Model {
    /// The same model for another table.
    #[must_use]
    pub fn in_table(mut self, schema: &str, table: &str) -> Self {
        schema.clone_into(&mut self.schema);
        table.clone_into(&mut self.table);
        self
    }

    /// The table's quoted name with its schema.
    pub fn quoted_table(&self) -> String {
        format!("{}.{}", quote(&self.schema), quote(&self.table))
    }

    /// A plan that migrates the table, straight through but for the default gate.
    pub fn plan(&self, name: &str, version: u64) -> String {
        let operations: String = self
            .operations
            .replace("{table}", &self.table)
            .lines()
            .map(|line| format!("  {line}\n"))
            .collect();
        format!(
            "plan: {name}\nversion: {version}\nschema: {}\noperations:\n{operations}",
            self.schema
        )
    }

    /// The statements that create the table in its old shape.
    pub fn ddl(&self) -> Vec<String> {
        self.ddl
            .iter()
            .map(|statement| {
                statement
                    .replace("{table}", &self.quoted_table())
                    .replace("{schema}", &quote(&self.schema))
                    .replace("{name}", &self.table)
            })
            .collect()
    }

    /// One statement that fills the table with the seed rows 1 to `rows`.
    pub fn seed_sql(&self, rows: u64) -> String {
        let mut names: Vec<String> = self.key.iter().map(|(name, _)| quote(name)).collect();
        let (mut values, overriding): (Vec<String>, &str) = match self.key_source {
            KeySource::Identity => (vec!["g".into()], " OVERRIDING SYSTEM VALUE"),
            KeySource::Given { seed_sql, .. } => {
                (seed_sql.iter().map(|sql| (*sql).to_owned()).collect(), "")
            }
        };
        for column in &self.columns {
            let value = match column.content {
                Content::Value { seed_sql, .. } => seed_sql,
                Content::Revision => "0",
                Content::Now | Content::New(_) => continue,
            };
            names.push(quote(column.name));
            values.push(format!("({value})::{}", column.sql_type));
        }
        format!(
            "INSERT INTO {} ({}){overriding} SELECT {} FROM generate_series(1::bigint, {rows}) AS g",
            self.quoted_table(),
            names.join(", "),
            values.join(", ")
        )
    }

    /// The key of seed row `g`.
    pub fn seed_key(&self, g: u64) -> Key {
        match self.key_source {
            KeySource::Identity => vec![g.to_string()],
            KeySource::Given { make, .. } => make(g),
        }
    }

    /// The values of seed row `g`, of both shapes.
    pub fn seed_row(&self, g: u64) -> Row {
        let row = self
            .columns
            .iter()
            .map(|column| match column.content {
                Content::Value { seed, .. } => seed(g),
                Content::Revision => Some("0".into()),
                Content::Now | Content::New(_) => None,
            })
            .collect();
        self.inserted(row, &vec![false; self.columns.len()])
    }

    /// Completes a row that was inserted with the `given` columns.
    pub fn inserted(&self, mut row: Row, given: &[bool]) -> Row {
        for mapping in &self.mappings {
            let (old, new) = (self.positions(&mapping.old), self.positions(&mapping.new));
            match mapping.down {
                Some(down) if new.iter().any(|at| given[*at]) => {
                    self.convert(&mut row, &new, &old, down)
                }
                _ if new.iter().all(|at| given[*at]) => {}
                _ => self.convert(&mut row, &old, &new, mapping.up),
            }
        }
        row
    }

    /// What becomes of a row when a writer sets some columns: a changed group decides about the other one, and what is
    /// written without being changed decides nothing.
    pub fn updated(&self, before: &Row, sets: &[(usize, Cell)]) -> Row {
        let mut row = before.clone();
        for (at, value) in sets {
            row[*at].clone_from(value);
        }
        for mapping in &self.mappings {
            let (old, new) = (self.positions(&mapping.old), self.positions(&mapping.new));
            let changed = |group: &[usize]| group.iter().any(|at| before[*at] != row[*at]);
            match (changed(&old), changed(&new), mapping.down) {
                (true, false, _) => self.convert(&mut row, &old, &new, mapping.up),
                (false, true, Some(down)) => self.convert(&mut row, &new, &old, down),
                (true, true, _) | (false, false, _) | (false, true, None) => {}
            }
        }
        row
    }

    fn convert(&self, row: &mut Row, from: &[usize], to: &[usize], convert: Convert) {
        let values: Vec<Cell> = from.iter().map(|at| row[*at].clone()).collect();
        for (at, value) in to.iter().zip(convert(&values)) {
            row[*at] = value;
        }
    }

    /// The positions of columns in a [`Row`].
    ///
    /// # Panics
    /// When the model names a column that it does not have: a mistake in the model.
    pub(crate) fn positions(&self, names: &[&str]) -> Vec<usize> {
        names
            .iter()
            .map(|name| {
                self.columns
                    .iter()
                    .position(|column| column.name == *name)
                    .expect("a mapping names columns of its own model")
            })
            .collect()
    }

    /// The position of the revision column.
    ///
    /// # Panics
    /// When the model has none: a mistake in the model.
    pub(crate) fn revision(&self) -> usize {
        self.columns
            .iter()
            .position(|column| matches!(column.content, Content::Revision))
            .expect("every model has a revision column")
    }

    /// Positions of the columns that a version knows and whose values can be foretold.
    pub(crate) fn comparable(&self, version: Version) -> Vec<usize> {
        (0..self.columns.len())
            .filter(|at| {
                let column = &self.columns[*at];
                column.side.seen_by(version) && !matches!(column.content, Content::Now)
            })
            .collect()
    }

    /// Whether the column takes part in a mapping.
    pub(crate) fn is_mapped(&self, at: usize) -> bool {
        let name = self.columns[at].name;
        self.mappings
            .iter()
            .any(|mapping| mapping.old.contains(&name) || mapping.new.contains(&name))
    }
}

/// The application's SQL, over the columns that one version knows. Every value travels as text.
impl Model {
    /// `INSERT … VALUES … RETURNING key`, with parameters for the key (where the application gives it) and `columns`.
    pub(crate) fn insert_sql(&self, columns: &[usize]) -> String {
        let mut names = Vec::new();
        let mut values = Vec::new();
        let keys: &[(&str, &str)] = match self.key_source {
            KeySource::Identity => &[],
            KeySource::Given { .. } => &self.key,
        };
        let columns = columns
            .iter()
            .map(|at| (self.columns[*at].name, self.columns[*at].sql_type));
        for (no, (name, sql_type)) in keys.iter().copied().chain(columns).enumerate() {
            names.push(quote(name));
            values.push(format!("${}::text::{sql_type}", no + 1));
        }
        let returned: Vec<String> = self
            .key
            .iter()
            .map(|(name, _)| format!("{}::text", quote(name)))
            .collect();
        format!(
            "INSERT INTO {} ({}) VALUES ({}) RETURNING {}",
            self.quoted_table(),
            names.join(", "),
            values.join(", "),
            returned.join(", ")
        )
    }

    /// `UPDATE … SET … WHERE key`, with parameters for `columns`, for the new key if it changes, and for the key.
    pub(crate) fn update_sql(&self, columns: &[usize], new_key: bool) -> String {
        let mut no = 0;
        let mut parameter = |sql_type: &str| {
            no += 1;
            format!("${no}::text::{sql_type}")
        };
        let mut sets: Vec<String> = columns
            .iter()
            .map(|at| {
                format!(
                    "{} = {}",
                    quote(self.columns[*at].name),
                    parameter(self.columns[*at].sql_type)
                )
            })
            .collect();
        if new_key {
            sets.extend(
                self.key
                    .iter()
                    .map(|(name, sql_type)| format!("{} = {}", quote(name), parameter(sql_type))),
            );
        }
        sets.extend(
            self.columns
                .iter()
                .filter(|column| matches!(column.content, Content::Now))
                .map(|column| format!("{} = now()", quote(column.name))),
        );
        let filter = self.key_filter(no);
        format!(
            "UPDATE {} SET {} WHERE {filter}",
            self.quoted_table(),
            sets.join(", ")
        )
    }

    /// `DELETE … WHERE key`.
    pub(crate) fn delete_sql(&self) -> String {
        format!(
            "DELETE FROM {} WHERE {}",
            self.quoted_table(),
            self.key_filter(0)
        )
    }

    /// `SELECT columns WHERE key`, each as text.
    pub(crate) fn read_sql(&self, columns: &[usize]) -> String {
        let names: Vec<String> = columns
            .iter()
            .map(|at| format!("{}::text", quote(self.columns[*at].name)))
            .collect();
        format!(
            "SELECT {} FROM {} WHERE {}",
            names.join(", "),
            self.quoted_table(),
            self.key_filter(0)
        )
    }

    /// `SELECT key, columns` of every row, each as text.
    pub(crate) fn scan_sql(&self, columns: &[usize]) -> String {
        let names: Vec<String> = self
            .key
            .iter()
            .map(|(name, _)| *name)
            .chain(columns.iter().map(|at| self.columns[*at].name))
            .map(|name| format!("{}::text", quote(name)))
            .collect();
        format!("SELECT {} FROM {}", names.join(", "), self.quoted_table())
    }

    /// The key's condition, with parameters numbered after `used`.
    fn key_filter(&self, used: usize) -> String {
        let parts: Vec<String> = self
            .key
            .iter()
            .enumerate()
            .map(|(no, (name, sql_type))| {
                format!("{} = ${}::text::{sql_type}", quote(name), used + no + 1)
            })
            .collect();
        parts.join(" AND ")
    }
}
