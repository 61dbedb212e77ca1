//! Things of a database that are no part of a table's shape: schemas, types,
//! views, extensions, roles, and whatever else bears a comment or a right.
//!
//! A catalog does not hold them all; lowering asks for those that a plan names
//! ([`Question::Object`](crate::catalog::Question::Object)).

use serde::{Deserialize, Serialize};

use crate::catalog::Grant;
use crate::name::TableName;

/// The name of something.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "object")]
pub enum Object {
    /// A schema.
    Schema {
        /// Its name.
        name: String,
    },
    /// An extension.
    Extension {
        /// Its name.
        name: String,
    },
    /// A role.
    Role {
        /// Its name.
        name: String,
    },
    /// A type: an enum, a domain, a composite type.
    Type {
        /// Schema and name.
        name: TableName,
    },
    /// What `pg_class` holds.
    Relation {
        /// Schema and name.
        name: TableName,
        /// What it has to be.
        kind: RelationKind,
    },
    /// A constraint of a table.
    Constraint {
        /// The table.
        table: TableName,
        /// Its name.
        name: String,
    },
    /// A trigger of a table or view.
    Trigger {
        /// The table.
        table: TableName,
        /// Its name.
        name: String,
    },
    /// A row policy of a table.
    Policy {
        /// The table.
        table: TableName,
        /// Its name.
        name: String,
    },
}

/// What a relation has to be for a statement that names its kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RelationKind {
    /// An ordinary or partitioned table.
    Table,
    /// A view.
    View,
    /// A materialized view.
    MaterializedView,
    /// An index, partitioned or not.
    Index,
    /// A sequence.
    Sequence,
    /// Whatever it is: to look whether a name is free.
    Any,
}

impl RelationKind {
    /// As in `COMMENT ON …`, in lower case.
    pub fn words(self) -> &'static str {
        match self {
            RelationKind::Table => "table",
            RelationKind::View => "view",
            RelationKind::MaterializedView => "materialized view",
            RelationKind::Index => "index",
            RelationKind::Sequence => "sequence",
            RelationKind::Any => "relation",
        }
    }

    /// Is this `pg_class.relkind` one of it?
    pub fn fits(self, relkind: char) -> bool {
        match self {
            RelationKind::Table => matches!(relkind, 'r' | 'p'),
            RelationKind::View => relkind == 'v',
            RelationKind::MaterializedView => relkind == 'm',
            RelationKind::Index => matches!(relkind, 'i' | 'I'),
            RelationKind::Sequence => relkind == 'S',
            RelationKind::Any => true,
        }
    }
}

/// For people: `constraint orders_total_check of public.orders`.
impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Object::Schema { name } => write!(f, "schema {name}"),
            Object::Extension { name } => write!(f, "extension {name}"),
            Object::Role { name } => write!(f, "role {name}"),
            Object::Type { name } => write!(f, "type {name}"),
            Object::Relation { name, kind } => write!(f, "{} {name}", kind.words()),
            Object::Constraint { table, name } => write!(f, "constraint {name} of {table}"),
            Object::Trigger { table, name } => write!(f, "trigger {name} of {table}"),
            Object::Policy { table, name } => write!(f, "policy {name} of {table}"),
        }
    }
}

/// What a database says of something.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ObjectFacts {
    /// `pg_class.relkind` or `pg_type.typtype`; `None` where there is one kind
    /// only.
    pub kind: Option<char>,
    /// Its owner; a table's for what belongs to one.
    pub owner: String,
    /// The connected role owns it, or is a member of the owner.
    pub owned_by_us: bool,
    /// Its comment.
    pub comment: Option<String>,
    /// Storage parameters, as `fillfactor=70`; those of the TOAST table begin
    /// with `toast.`.
    pub options: Vec<String>,
    /// Grants, those of the owner left out.
    pub grants: Vec<Grant>,
    /// An enum's labels, in their order.
    pub labels: Vec<String>,
    /// A view's query, as the server writes it.
    pub definition: Option<String>,
    /// What is special to an extension.
    pub extension: Option<ExtensionFacts>,
}

/// An extension that the server could install, or has installed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExtensionFacts {
    /// The version that is installed.
    pub installed: Option<String>,
    /// Where it is installed.
    pub schema: Option<String>,
    /// The schema that it insists on.
    pub fixed_schema: Option<String>,
    /// The versions that can be installed.
    pub available: Vec<String>,
}

/// What happens to something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "does")]
pub enum ObjectChange {
    /// `COMMENT ON …`.
    Comment {
        /// What is commented on.
        on: Object,
        /// `None` removes it.
        comment: Option<String>,
    },
    /// `ALTER INDEX … RENAME`.
    RenameIndex {
        /// The index's table.
        table: TableName,
        /// The present name.
        from: String,
        /// The name afterwards.
        to: String,
    },
    /// `CREATE SCHEMA`.
    CreateSchema {
        /// Its name.
        name: String,
    },
    /// `DROP SCHEMA`, without CASCADE.
    DropSchema {
        /// Its name.
        name: String,
    },
    /// `CREATE TYPE … AS ENUM`.
    CreateEnum {
        /// Its name.
        name: TableName,
        /// In their order.
        labels: Vec<String>,
    },
    /// `DROP TYPE`, without CASCADE.
    DropType {
        /// Its name.
        name: TableName,
    },
    /// `ALTER TYPE … ADD VALUE`.
    AddEnumValue {
        /// The enum.
        name: TableName,
        /// The new label.
        value: String,
        /// Beside which label, when not at the end.
        place: Option<Place>,
    },
    /// `ALTER TYPE … RENAME VALUE`.
    RenameEnumValue {
        /// The enum.
        name: TableName,
        /// The present label.
        from: String,
        /// The label afterwards.
        to: String,
    },
    /// `CREATE VIEW`, or `CREATE OR REPLACE VIEW`.
    CreateView {
        /// Its name.
        name: TableName,
        /// One SELECT.
        query: String,
        /// The schema in which names without one are looked up, after
        /// `pg_catalog`; `None` for a text that has them all.
        schema: Option<String>,
        /// Its options, as `security_barrier=true`.
        options: Vec<String>,
        /// There is one of that name, which is replaced.
        replace: bool,
        /// Columns that it has besides those of the one that it replaces, with
        /// their types.
        more_columns: Vec<(String, String)>,
        /// Whose it becomes; `None`: ours, or whose it was.
        owner: Option<String>,
    },
    /// `DROP VIEW`, without CASCADE.
    DropView {
        /// Its name.
        name: TableName,
    },
    /// `GRANT`.
    Grant {
        /// On what.
        on: Object,
        /// Who gets what.
        grant: Grant,
    },
    /// `REVOKE`.
    Revoke {
        /// On what.
        on: Object,
        /// On a column of it.
        column: Option<String>,
        /// Who loses what; with `grantable` only the right to hand it on.
        grant: Grant,
    },
}

/// The place of a new enum label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// Before this label.
    Before(String),
    /// After this label.
    After(String),
}

/// A setting of a table that changes neither its columns nor its rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "alters")]
pub enum TableSetting {
    /// `ALTER COLUMN … SET STATISTICS`.
    Statistics {
        /// The column.
        column: String,
        /// 0 to 10,000; -1 for the server's default.
        target: i32,
    },
    /// `SET (…)` and `RESET (…)`.
    Options {
        /// Names and values.
        set: Vec<(String, String)>,
        /// Names.
        reset: Vec<String>,
    },
    /// `REPLICA IDENTITY …`.
    ReplicaIdentity {
        /// What identifies a row to subscribers.
        identity: crate::catalog::ReplicaIdentity,
    },
    /// `RENAME CONSTRAINT`.
    RenameConstraint {
        /// The present name.
        from: String,
        /// The name afterwards.
        to: String,
        /// A CHECK, which partitions and inheritance children have under the
        /// same name.
        inherited: bool,
    },
}
