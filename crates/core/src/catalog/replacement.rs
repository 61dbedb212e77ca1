//! A column that takes another one's place, and what would hang on it.
//!
//! The server answers by trying: on an empty temporary table of the shape
//! that the plan leads to it builds each index and adds each constraint by
//! the definition that it has today, renames the column to the name that the
//! second one bears until contract, and says what the definitions have become.
//! No text is rewritten by us, and what cannot be carried over is known before
//! anything is changed.

use serde::{Deserialize, Serialize};

use super::{Constraint, DependentKind, Identity, Index, ServerMessage};
use crate::name::TableName;

/// One column in the place of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Replacing {
    /// The table.
    pub table: TableName,
    /// The column that goes.
    pub column: String,
    /// The type of the one that comes, as the plan writes it.
    pub to: String,
    /// Its collation as SQL; without one it keeps the old one's where the new
    /// type has collations.
    pub collation: Option<String>,
    /// The name that it bears until the cutover.
    pub second: String,
    /// Its name afterwards.
    pub last: String,
    /// How the names of what is ours begin.
    pub ours: String,
    /// Columns that are replaced in the same cutover.
    #[serde(default)]
    pub along: Vec<Along>,
    /// The new type, when it gets the name of the old one in the same cutover:
    /// what names the old one is then tried with the new one.
    #[serde(default)]
    pub renamed: Option<RenamedType>,
}

/// A type that takes another one's place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RenamedType {
    /// The one that goes.
    pub old: TableName,
    /// The one that comes, in the same schema, until the cutover.
    pub new: TableName,
}

/// A column that is replaced in the same cutover as another one, of the same or
/// of another table.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Along {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub column: String,
    /// The type of the one that comes, as the plan writes it.
    pub to: String,
    /// The name that the one that comes bears until the cutover. Afterwards it
    /// has the old one's.
    pub second: String,
}

/// What the server made of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replacement {
    /// As asked.
    pub asked: Replacing,
    /// The collation of the new column, when it is not its type's own: the one
    /// that was asked for, or the old one's.
    pub collation: Option<String>,
    /// Indexes over the column, those behind constraints included.
    pub indexes: Vec<Tried<Index>>,
    /// CHECK constraints and foreign keys of the table that name the column.
    pub constraints: Vec<Tried<Constraint>>,
    /// Foreign keys that point at the column: the name is the one that they
    /// have among the column's dependents.
    pub incoming: Vec<Tried<Constraint>>,
    /// Settings of the column, as `ALTER COLUMN` clauses.
    pub settings: Vec<Tried<String>>,
    /// What is written into the catalog only, in the order in which it is made.
    pub followers: Vec<Tried<Follower>>,
    /// Virtual generated columns that read it, by their names.
    #[serde(default)]
    pub computed: Vec<Tried<Computed>>,
    /// The column's identity.
    pub identity: Option<Tried<MovedIdentity>>,
    /// Fails when something new hangs on the column.
    pub unchanged: String,
}

/// A virtual generated column that reads the new column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Computed {
    /// Its expression, when the new column has its last name.
    pub expression: String,
    /// Fails when something new hangs on it.
    pub unchanged: String,
}

/// Something that is written into the catalog only, and the statements by which
/// it follows the column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Follower {
    /// What it may be among the dependents of a column.
    pub kinds: Vec<DependentKind>,
    /// Its name there.
    pub name: String,
    /// For people.
    pub what: String,
    /// The view that it is.
    pub relation: Option<TableName>,
    /// It is one and the same on whichever column it is found: a view, or a
    /// function. Everything else belongs to its table.
    #[serde(default)]
    pub everywhere: bool,
    /// What is filled before the cutover, when it is a materialized view.
    #[serde(default)]
    pub filled: Option<Filled>,
    /// Makes it over the second column, under a name of ours, before the
    /// cutover.
    pub before: Vec<String>,
    /// Takes that back.
    pub undo: Vec<String>,
    /// In the cutover, before the old column goes.
    pub gone: Vec<String>,
    /// In the cutover, when the new column has its name.
    pub made: Vec<String>,
}

/// A materialized view of ours that comes for another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Its name until the cutover.
    pub view: TableName,
    /// Where functions that it calls may look names up, after `pg_catalog`.
    pub schemas: Vec<String>,
}

/// An identity that moves to another column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MovedIdentity {
    /// What it is.
    pub identity: Identity,
    /// Notes how far its sequence is.
    pub noted: String,
    /// Makes it again, with a sequence of the same name and value.
    pub made: Vec<String>,
}

/// Something that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tried<T> {
    /// The name that it has today.
    pub name: String,
    /// What it is over the second column, or the server's message.
    pub result: Result<T, ServerMessage>,
}
