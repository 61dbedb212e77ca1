//! Tables and what hangs on them, as data.
//!
//! The engine reads a [`Catalog`] from a database; lowering reads nothing
//! else. It holds the tables that a plan names, everything that depends on
//! them, and the answers to the plan's [`Question`]s.

mod apply;
mod compare;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use compare::{diff, fingerprint};

use crate::expr::Expr;
use crate::name::TableName;
use crate::object::{Object, ObjectFacts};

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
}

/// What lowering has to know of the database beyond its tables. Texts are
/// parsed by the database itself, in a transaction that is rolled back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What type does this text name? Resolved with the plan's schema in the
    /// search path, after `pg_catalog`.
    Type {
        /// As the plan writes it.
        text: String,
    },
    /// What does this expression mean on a row of this table?
    Expression {
        /// The table; when the plan creates it, `extra` holds all its columns.
        table: TableName,
        /// The expression, as the plan writes it.
        text: String,
        /// Columns that the plan adds to the row: name and type, as written.
        extra: Vec<(String, String)>,
        /// The type of the column it will be assigned to, when it is: the
        /// answer says whether an assignment is possible.
        assigned_to: Option<String>,
    },
    /// What columns would a view over this query have?
    View {
        /// One SELECT, as the plan writes it.
        query: String,
    },
    /// The plan makes this first: the other questions are asked as if it were
    /// there. What cannot be made is not supposed.
    Suppose {
        /// A statement that makes something small, such as a type.
        statement: String,
    },
    /// Does this exist, and what is known of it? Only read, never tried.
    Object {
        /// What.
        object: Object,
    },
}

/// What the database said of a view's query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewAnswer {
    /// As asked.
    pub query: String,
    /// The columns with their types, or the server's message.
    pub result: Result<Vec<(String, String)>, ServerMessage>,
}

/// What the database said of something that a plan names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectAnswer {
    /// As asked.
    pub object: Object,
    /// `None`: there is no such thing.
    pub facts: Option<ObjectFacts>,
}

/// What the database said of an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpressionAnswer {
    /// As asked.
    pub table: TableName,
    /// As asked.
    pub text: String,
    /// As asked.
    pub assigned_to: Option<String>,
    /// The analysed expression, or the server's message with its SQLSTATE.
    pub result: Result<ExprFacts, ServerMessage>,
}

/// An analysed expression with its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExprFacts {
    /// Ready to be placed.
    pub expr: Expr,
    /// `format_type` of its result.
    pub type_name: String,
    /// The value with every column it reads set to NULL is NULL as well
    /// (unknown for expressions that cannot be evaluated alone: `None`).
    pub null_on_null: Option<bool>,
    /// Functions it calls that PUBLIC may not execute.
    pub private_functions: Vec<String>,
}

/// What the database said of a type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeAnswer {
    /// As asked.
    pub text: String,
    /// The type, or the server's message.
    pub result: Result<TypeFacts, ServerMessage>,
}

/// A resolved type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeFacts {
    /// Canonical and schema-qualified, with modifiers: `character varying(10)`.
    pub name: String,
    /// The same without modifiers: `character varying`; see [`Column::base_type`].
    pub base: String,
    /// A domain that is NOT NULL or has a CHECK: adding such a column rewrites
    /// the table.
    pub constrained_domain: bool,
}

/// A server's refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMessage {
    /// The SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// The hint, when there is one.
    pub hint: Option<String>,
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
    /// The column of that exact name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.def.name == name)
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
