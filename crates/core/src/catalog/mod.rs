//! Tables and what hangs on them, as data.
//!
//! The engine reads a [`Catalog`] from a database; lowering reads nothing
//! else. It holds the tables that a plan names, everything that depends on
//! them, and the answers to the plan's [`Question`]s.

mod apply;
mod compare;
mod question;
mod replacement;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compare::{diff, fingerprint};
pub use question::{
    ExprFacts, ExpressionAnswer, ObjectAnswer, Question, ServerMessage, TypeAnswer, TypeFacts,
    ViewAnswer,
};
pub use replacement::{
    Along, Computed, Filled, Follower, MovedIdentity, RenamedType, Replacement, Replacing, Tried,
};

use crate::expr::Expr;
use crate::name::TableName;

/// What a database looked like at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Catalog {
    /// The server.
    pub server: Server,
    /// The tables that were asked for, and those tied to them by foreign
    /// keys, inheritance or partitioning. Serialized as a list.
    #[serde(with = "table_list")]
    pub tables: BTreeMap<TableName, Table>,
    /// Tables beside one that was asked for and does not exist, for a
    /// did-you-mean; empty when all exist.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub neighbours: Vec<TableName>,
    /// Answers to [`Question::Expression`].
    pub expressions: Vec<ExpressionAnswer>,
    /// Answers to [`Question::Type`].
    pub types: Vec<TypeAnswer>,
    /// Answers to [`Question::Object`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectAnswer>,
    /// Answers to [`Question::View`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub views: Vec<ViewAnswer>,
    /// Answers to [`Question::Replacement`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replacements: Vec<Replacement>,
}

/// The server behind a catalog.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version_num`, as 180004.
    pub version: u32,
    /// `pg_control_system().system_identifier`: the same on primary and standby.
    pub system_identifier: String,
    /// The database's name.
    pub database: String,
    /// How it can compress values: `pglz`, and `lz4` where it was built with
    /// it. Empty in a catalog of an older binary.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compression: Vec<String>,
}

/// A table, partitioned table, partition or inheritance child.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Schema and name.
    pub name: TableName,
    /// `pg_class.oid`; 0 for a table that a plan is about to create.
    pub oid: u32,
    /// What it is.
    pub kind: TableKind,
    /// UNLOGGED or temporary: a crash empties it. `false` in a catalog of an
    /// older binary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlogged: bool,
    /// Its owner.
    pub owner: String,
    /// The connected role owns it, or is a member of the owner.
    pub owned_by_us: bool,
    /// In the order of `attnum`, dropped ones left out.
    pub columns: Vec<Column>,
    /// All constraints that are not plain, validated NOT NULL.
    pub constraints: Vec<Constraint>,
    /// All indexes, those behind constraints included.
    pub indexes: Vec<Index>,
    /// User triggers, in firing order.
    pub triggers: Vec<Trigger>,
    /// Row level security.
    pub row_security: RowSecurity,
    /// Publications that stream it.
    pub publications: Vec<Publication>,
    /// `d`, `n`, `f` or `i` of `pg_class.relreplident`, in words.
    pub replica_identity: ReplicaIdentity,
    /// How it is partitioned, when it is.
    pub partitioning: Option<Partitioning>,
    /// Partitions or inheritance children, direct ones only.
    pub children: Vec<TableName>,
    /// The partitioned table or inheritance parents it belongs to.
    pub parents: Vec<TableName>,
    /// Things that hang on the whole table and not on a column: views that
    /// count its rows, functions that use its row type, conditions that compare
    /// whole rows. See also [`Table::row_readers`].
    pub dependents: Vec<Dependent>,
    /// Foreign keys of other tables that point here.
    pub referenced_by: Vec<IncomingForeignKey>,
    /// The table's comment.
    pub comment: Option<String>,
    /// Table-level grants, those of the owner left out.
    pub grants: Vec<Grant>,
    /// Sizes as the server believes them.
    pub size: TableSize,
}

impl Table {
    /// A relation that a plan is about to create: ours, and nothing hangs on it.
    pub fn to_come(name: TableName, kind: TableKind) -> Self {
        Self {
            name,
            oid: 0,
            kind,
            unlogged: false,
            owner: String::new(),
            owned_by_us: true,
            columns: Vec::new(),
            constraints: Vec::new(),
            indexes: Vec::new(),
            triggers: Vec::new(),
            row_security: RowSecurity::default(),
            publications: Vec::new(),
            replica_identity: ReplicaIdentity::Default,
            partitioning: None,
            children: Vec::new(),
            parents: Vec::new(),
            dependents: Vec::new(),
            referenced_by: Vec::new(),
            comment: None,
            grants: Vec::new(),
            size: TableSize::default(),
        }
    }

    /// The column of that exact name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.def.name == name)
    }

    /// The primary key with its columns, in key order.
    pub fn primary_key(&self) -> Option<(&Constraint, &[String])> {
        self.constraints.iter().find_map(|it| match &it.kind {
            ConstraintKind::PrimaryKey { columns } => Some((it, columns.as_slice())),
            _ => None,
        })
    }

    /// The column is in the primary key.
    pub fn is_in_key(&self, column: &str) -> bool {
        let key = self.primary_key();
        key.is_some_and(|(_, columns)| columns.iter().any(|name| name == column))
    }

    /// What reads or stores rows as a whole and so feels every column that is
    /// added, replaced or dropped, though it names none: functions, columns
    /// and views of the row type; checks, indexes and policies over the whole
    /// row. A trigger whose WHEN compares whole rows is none of them: it goes
    /// on comparing whatever columns there are.
    pub fn row_readers(&self) -> impl Iterator<Item = &Dependent> {
        self.dependents.iter().filter(|dependent| {
            matches!(
                dependent.kind,
                DependentKind::RowType
                    | DependentKind::Check
                    | DependentKind::Index
                    | DependentKind::Policy
                    | DependentKind::Unknown { .. }
            )
        })
    }
}

/// `pg_class.relkind`, and how it hangs in a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TableKind {
    /// An ordinary table (it may have inheritance children).
    Ordinary,
    /// The root or an inner node of declarative partitioning.
    Partitioned,
    /// Anything else that has columns (foreign table, view, …), by its `relkind`.
    Other(char),
}

/// What a column is by its definition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnDef {
    /// Its name.
    pub name: String,
    /// Canonical type with modifiers.
    pub type_name: String,
    /// `None` when it is the type's own; else SQL text, qualified.
    pub collation: Option<String>,
    /// May it hold NULL? A NOT NULL that is not validated yet (18) lets old
    /// rows hold it: such a column is nullable, and the constraint is listed.
    pub nullable: bool,
    /// The default, analysed over no columns.
    pub default: Option<Expr>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<Identity>,
    /// GENERATED ALWAYS AS (…).
    pub generated: Option<Generated>,
    /// Its comment.
    pub comment: Option<String>,
}

impl ColumnDef {
    /// One that may hold NULL, and has nothing but its type.
    pub fn new(name: impl Into<String>, type_name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            type_name: type_name.into(),
            collation: None,
            nullable: true,
            default: None,
            identity: None,
            generated: None,
            comment: None,
        }
    }
}

/// A column in a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Column {
    /// The definition.
    #[serde(flatten)]
    pub def: ColumnDef,
    /// `attnum`.
    pub position: i16,
    /// The type without modifiers, spelt so that a cast to it changes nothing
    /// (`bpchar`, not `character`, which is `character(1)`).
    pub base_type: String,
    /// The type is a domain that refuses NULL.
    pub not_null_domain: bool,
    /// The type, a domain as a rule, has a default of its own, which counts
    /// where the column has none. `false` in a catalog of an older binary.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub type_default: bool,
    /// Storage, compression and statistics settings that differ from the
    /// type's: as `ALTER COLUMN` clauses (`SET STATISTICS 500`).
    pub settings: Vec<String>,
    /// Column-level grants, those of the owner left out.
    pub grants: Vec<Grant>,
    /// Everything that names this column: a column with dependents that an
    /// operation does not carry over is not replaced.
    pub dependents: Vec<Dependent>,
}

/// `GENERATED { ALWAYS | BY DEFAULT } AS IDENTITY`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Identity {
    /// Writers may not give a value.
    Always,
    /// Writers may.
    ByDefault,
}

/// A generated column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generated {
    /// The expression.
    pub expression: String,
    /// `true` for STORED, `false` for VIRTUAL (18).
    pub stored: bool,
}

/// A thing of the database that would break, vanish or change its meaning if
/// the column (or table) it hangs on were replaced.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Dependent {
    /// What it is.
    pub kind: DependentKind,
    /// Its name, qualified where that helps a person find it.
    pub name: String,
}

/// The kinds of dependents that Pontoon knows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are PostgreSQL's own")]
pub enum DependentKind {
    Index,
    PrimaryKey,
    Unique,
    Check,
    Exclusion,
    ForeignKey,
    ReferencedByForeignKey,
    View,
    MaterializedView,
    Rule,
    Policy,
    TriggerColumns,
    TriggerWhen,
    GeneratedColumn,
    OwnedSequence,
    ExtendedStatistics,
    Function,
    PublicationColumns,
    PublicationFilter,
    ReplicaIdentity,
    PartitionKey,
    InheritedColumn,
    RowType,
    /// A dependency that Pontoon does not know; always a refusal.
    Unknown {
        /// `pg_depend.classid::regclass`.
        class: String,
    },
}

/// A constraint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// Its name.
    pub name: String,
    /// What it demands.
    pub kind: ConstraintKind,
    /// `convalidated`.
    pub validated: bool,
    /// `None`, or DEFERRABLE with its initial mode.
    pub deferrable: Option<Deferrable>,
    /// `pg_get_constraintdef`; empty for one that a plan is about to add.
    pub definition: String,
}

impl Constraint {
    /// A CHECK that inheritance children do not have; only the server's own
    /// text tells.
    pub fn no_inherit(&self) -> bool {
        let text = self.definition.as_str();
        text.strip_suffix(" NOT VALID")
            .unwrap_or(text)
            .ends_with(" NO INHERIT")
    }
}

/// When a deferrable constraint is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Deferrable {
    /// DEFERRABLE INITIALLY IMMEDIATE.
    InitiallyImmediate,
    /// DEFERRABLE INITIALLY DEFERRED.
    InitiallyDeferred,
}

/// The kinds of constraints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "type")]
pub enum ConstraintKind {
    /// CHECK.
    Check {
        /// Canonical text over bare column names.
        expression: String,
        /// Columns it reads.
        columns: Vec<String>,
    },
    /// UNIQUE.
    Unique {
        /// In key order.
        columns: Vec<String>,
    },
    /// PRIMARY KEY.
    PrimaryKey {
        /// In key order.
        columns: Vec<String>,
    },
    /// EXCLUDE.
    Exclusion,
    /// FOREIGN KEY.
    ForeignKey {
        /// In key order.
        columns: Vec<String>,
        /// Where it points.
        references: TableName,
        /// In key order.
        referenced_columns: Vec<String>,
        /// ON DELETE.
        on_delete: ReferentialAction,
        /// ON UPDATE.
        on_update: ReferentialAction,
        /// MATCH FULL instead of SIMPLE.
        match_full: bool,
    },
    /// A kind this version does not know, by `contype`.
    Other {
        /// `pg_constraint.contype`.
        contype: char,
    },
}

/// What a foreign key does to its rows.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are SQL's own")]
pub enum ReferentialAction {
    #[default]
    NoAction,
    Restrict,
    Cascade,
    SetNull,
    SetDefault,
}

/// An index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Index {
    /// Its name, in the table's schema.
    pub name: String,
    /// `btree`, `gin`, …
    pub method: String,
    /// UNIQUE.
    pub unique: bool,
    /// UNIQUE NULLS NOT DISTINCT (15).
    pub nulls_not_distinct: bool,
    /// In key order.
    pub keys: Vec<IndexKey>,
    /// INCLUDE columns.
    pub include: Vec<String>,
    /// Predicate, canonical over bare column names.
    pub predicate: Option<String>,
    /// `indisvalid`.
    pub valid: bool,
    /// The constraint that it backs.
    pub constraint: Option<String>,
    /// `pg_get_indexdef`; empty for one that a plan is about to build.
    pub definition: String,
    /// What changes nothing about which rows it finds.
    #[serde(default, skip_serializing_if = "IndexSettings::is_empty")]
    pub settings: IndexSettings,
}

impl Index {
    /// The same under another name, as it is built anew: with no constraint yet,
    /// and with those settings of `like` that a build takes.
    pub fn anew(&self, name: &str, like: &Index) -> Index {
        Index {
            name: name.to_owned(),
            constraint: None,
            valid: true,
            definition: String::new(),
            settings: IndexSettings {
                options: like.settings.options.clone(),
                tablespace: like.settings.tablespace.clone(),
                ..IndexSettings::default()
            },
            ..self.clone()
        }
    }
}

/// What an index has beside its definition.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IndexSettings {
    /// Storage parameters, as `fillfactor=70`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<String>,
    /// Where it lies, when not in the database's own tablespace.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tablespace: Option<String>,
    /// Statistics targets of keys that are expressions: 1-based number of the
    /// key, and the target.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub statistics: Vec<(u16, i32)>,
    /// `CLUSTER` without an index orders the table by this one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub clustered: bool,
}

impl IndexSettings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One key of an index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexKey {
    /// A bare column, or `None` for an expression.
    pub column: Option<String>,
    /// Canonical text of the expression.
    pub expression: Option<String>,
    /// Operator class when it is not the default, qualified, with its options:
    /// SQL text when it comes from a server.
    pub opclass: Option<String>,
    /// Collation when it is not the column's, qualified: SQL text when it comes
    /// from a server.
    pub collation: Option<String>,
    /// DESC.
    pub descending: bool,
    /// NULLS FIRST where given or implied.
    pub nulls_first: bool,
}

/// A user trigger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trigger {
    /// Its name: row triggers of one kind fire in the byte order of names.
    pub name: String,
    /// BEFORE (true) or AFTER / INSTEAD OF.
    pub before: bool,
    /// FOR EACH ROW.
    pub row: bool,
    /// Fires on INSERT.
    pub on_insert: bool,
    /// Fires on UPDATE (of `columns`, or of any when that is empty).
    pub on_update: bool,
    /// Fires on DELETE.
    pub on_delete: bool,
    /// Fires on TRUNCATE.
    pub on_truncate: bool,
    /// The UPDATE OF list.
    pub columns: Vec<String>,
    /// `tgenabled`: `O`, `D`, `R` or `A`.
    pub enabled: char,
    /// The function, qualified.
    pub function: String,
    /// Installed by Pontoon.
    pub ours: bool,
}

/// Row level security of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowSecurity {
    /// ENABLE ROW LEVEL SECURITY.
    pub enabled: bool,
    /// FORCE ROW LEVEL SECURITY.
    pub forced: bool,
    /// Names of its policies.
    pub policies: Vec<String>,
    /// The connected role would be subject to the policies.
    pub applies_to_us: bool,
}

/// A publication that streams a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// Its name.
    pub name: String,
    /// Its column list (15), or `None` for all columns.
    pub columns: Option<Vec<String>>,
    /// It has a row filter (15).
    pub filtered: bool,
}

/// `pg_class.relreplident`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplicaIdentity {
    /// The primary key.
    #[default]
    Default,
    /// None.
    Nothing,
    /// The whole row.
    Full,
    /// This index.
    Index(String),
}

/// How a table is partitioned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partitioning {
    /// `range`, `list` or `hash`.
    pub strategy: String,
    /// Columns in the key, those inside expressions included.
    pub columns: Vec<String>,
    /// Some of the key are expressions.
    #[serde(default)]
    pub expressions: bool,
}

/// A foreign key of another table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncomingForeignKey {
    /// The referencing table.
    pub table: TableName,
    /// The constraint's name.
    pub constraint: String,
    /// The referenced columns here.
    pub columns: Vec<String>,
}

/// One grant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Grant {
    /// The role, or `None` for PUBLIC.
    pub grantee: Option<String>,
    /// `SELECT`, `UPDATE`, …
    pub privilege: String,
    /// WITH GRANT OPTION.
    pub grantable: bool,
}

/// What the server believes of a table's size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TableSize {
    /// Heap pages now (`pg_relation_size / block size`); for a partitioned
    /// table the sum over its leaves.
    pub pages: u64,
    /// Rows, estimated as the planner does (density of the last ANALYZE times
    /// the pages now); `None` when the table was never analysed.
    pub rows: Option<u64>,
    /// Heap, TOAST and indexes, in bytes.
    pub total_bytes: u64,
}

mod table_list {
    use std::collections::BTreeMap;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::{Table, TableName};

    pub(super) fn serialize<S: Serializer>(
        tables: &BTreeMap<TableName, Table>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        tables.values().collect::<Vec<_>>().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<BTreeMap<TableName, Table>, D::Error> {
        let tables = Vec::<Table>::deserialize(deserializer)?;
        Ok(tables
            .into_iter()
            .map(|table| (table.name.clone(), table))
            .collect())
    }
}
