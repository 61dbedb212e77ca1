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
    /// What needs a constraint, foreign keys left out, in the server's words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub needed_by: Vec<String>,
    /// What is special to a sequence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sequence: Option<SequenceFacts>,
    /// What uses a type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uses: Option<TypeUses>,
}

/// What uses a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeUses {
    /// Columns of tables, those that are inherited left out.
    pub columns: Vec<UsingColumn>,
    /// What is neither such a column nor hangs on one, in the server's words.
    pub others: Vec<String>,
}

/// A column of a type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsingColumn {
    /// Its table.
    pub table: TableName,
    /// Its name.
    pub column: String,
}

/// What a sequence counts, and for whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SequenceFacts {
    /// Its type: `integer`.
    #[serde(default)]
    pub type_name: String,
    /// How it counts.
    pub counts: Counting,
    /// The columns whose defaults it gives, as `schema.table.column`.
    pub defaults: Vec<String>,
    /// Whatever else depends on it, in the server's words.
    pub others: Vec<String>,
}

/// How a sequence counts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counting {
    /// START WITH.
    pub start: i64,
    /// INCREMENT BY.
    pub increment: i64,
    /// MINVALUE.
    pub min: i64,
    /// MAXVALUE.
    pub max: i64,
    /// CACHE.
    pub cache: i64,
    /// CYCLE.
    pub cycle: bool,
}

/// A sequence that becomes that of an identity column: it is made anew under
/// its name, for PostgreSQL turns no sequence into one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TakenOver {
    /// Its name.
    pub name: TableName,
    /// Its name while the new one is made.
    pub aside: String,
    /// How it counts.
    pub counts: Counting,
    /// Its comment.
    pub comment: Option<String>,
    /// Its grants.
    pub grants: Vec<Grant>,
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
    /// `CREATE INDEX` on a partitioned table whose partitions all have such an
    /// index already: nothing is built.
    IndexOverPartitions {
        /// The partitioned table.
        table: TableName,
        /// The index.
        index: crate::catalog::Index,
    },
    /// `DROP INDEX` of a partitioned table, with its part on each partition.
    DropIndexOverPartitions {
        /// The partitioned table.
        table: TableName,
        /// The index.
        index: crate::catalog::Index,
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
    /// Renames an index's own column, where it has one of that name: an index
    /// does not follow its table's columns.
    RenameIndexColumn {
        /// The index's table.
        table: TableName,
        /// The index.
        index: String,
        /// The present name.
        from: String,
        /// The name afterwards.
        to: String,
    },
    /// `ALTER INDEX … ALTER COLUMN … SET STATISTICS`.
    IndexStatistics {
        /// The index's table.
        table: TableName,
        /// The index.
        index: String,
        /// The 1-based number of its key, which is an expression.
        key: u16,
        /// 0 to 10,000; -1 for the server's default.
        target: i32,
    },
    /// Something that hangs on columns goes, or is made over the second column
    /// or over the one that has come into the first one's place.
    Rehang {
        /// The server's own statements.
        statements: Vec<String>,
        /// What they lock.
        locks: Vec<(TableName, crate::step::LockMode)>,
        /// What it hung on.
        off: Vec<Hanging>,
        /// What it hangs on from now on.
        on: Vec<Hanging>,
    },
    /// What a view has been granted goes to the table whose place it held, before
    /// it is dropped. What else it was given is refused: it would be lost.
    HandOver {
        /// The view.
        view: TableName,
        /// The table.
        table: TableName,
    },
    /// A column becomes the table's identity, in the place of one that is gone.
    MoveIdentity {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// What it becomes.
        identity: crate::catalog::Identity,
        /// The server's own statements.
        statements: Vec<String>,
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
        /// Whose it becomes, without any right of somebody else on it; `None`:
        /// ours, with the rights that every new type has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        owner: Option<String>,
    },
    /// `ALTER TYPE … RENAME TO`.
    RenameType {
        /// The present name.
        name: TableName,
        /// The name afterwards, in the same schema.
        to: String,
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
    /// INSTEAD OF triggers that write INSERT and DELETE through a view to the
    /// table behind it.
    WriteThrough {
        /// What is written through what.
        through: WriteThrough,
    },
    /// What is left of that when the view is gone.
    DropWriteThrough {
        /// The view.
        view: TableName,
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

/// A view of some columns of a table, one row for each of its rows, that takes
/// INSERT and DELETE as a table of these columns would.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct WriteThrough {
    /// The view.
    pub view: TableName,
    /// The table behind it.
    pub table: TableName,
    /// The key of both.
    pub key: Vec<crate::step::MappedColumn>,
    /// The other columns of the view.
    pub columns: Vec<crate::step::MappedColumn>,
    /// Those of them that are NOT NULL: with one, no row can be deleted.
    pub required: Vec<String>,
    /// Names in errors of the foreign key and the primary key to come.
    pub constraints: (String, String),
}

/// A place at which something hangs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hanging {
    /// The table.
    pub table: TableName,
    /// Its column; `None`: the table as a whole.
    pub column: Option<String>,
    /// What hangs there.
    pub dependent: crate::catalog::Dependent,
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

/// How the values of a column are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ColumnStorage {
    /// In the row, as they are.
    Plain,
    /// Beside the table when they are long, as they are.
    External,
    /// Compressed when they are long, and beside the table when that is not enough.
    Extended,
    /// Compressed when they are long, and beside the table only when a row has no room for them.
    Main,
}

impl ColumnStorage {
    /// From `pg_attribute.attstorage`.
    pub fn of(letter: char) -> Option<Self> {
        match letter {
            'p' => Some(ColumnStorage::Plain),
            'e' => Some(ColumnStorage::External),
            'x' => Some(ColumnStorage::Extended),
            'm' => Some(ColumnStorage::Main),
            _ => None,
        }
    }

    /// As in `SET STORAGE`.
    pub fn word(self) -> &'static str {
        match self {
            ColumnStorage::Plain => "PLAIN",
            ColumnStorage::External => "EXTERNAL",
            ColumnStorage::Extended => "EXTENDED",
            ColumnStorage::Main => "MAIN",
        }
    }
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
    /// `ALTER COLUMN … ADD GENERATED … AS IDENTITY`.
    Identity {
        /// The column.
        column: String,
        /// Who may give a value.
        identity: crate::catalog::Identity,
        /// The sequence that gives the column its default until then.
        takes_over: Option<TakenOver>,
        /// The next value is this one at least.
        start: Option<i64>,
        /// The next value is above all that the column holds. An index has to
        /// lead there: the table is locked.
        above: bool,
    },
    /// `ALTER COLUMN … SET STORAGE`.
    Storage {
        /// The column.
        column: String,
        /// How its values are stored.
        storage: ColumnStorage,
        /// How values of its type are stored otherwise.
        type_default: ColumnStorage,
    },
    /// `ALTER COLUMN … SET COMPRESSION`, of this one table alone.
    Compression {
        /// The column.
        column: String,
        /// `pglz` or `lz4`; `None` for the server's default.
        method: Option<String>,
    },
    /// `SET (…)` and `RESET (…)`.
    Options {
        /// Names and values.
        set: Vec<(String, String)>,
        /// Names.
        reset: Vec<String>,
    },
    /// `ALTER COLUMN …` with a clause that changes no row.
    Column {
        /// The column.
        column: String,
        /// As in the catalog's settings of a column: `SET STORAGE EXTERNAL`.
        clause: String,
    },
    /// `CLUSTER ON …`: what a later CLUSTER orders the table by.
    ClusterOn {
        /// The index.
        index: String,
    },
    /// `REPLICA IDENTITY …`.
    ReplicaIdentity {
        /// What identifies a row to subscribers.
        identity: crate::catalog::ReplicaIdentity,
    },
    /// `RENAME TO`: everything that hangs on the table stays with it.
    Rename {
        /// The name afterwards, in the same schema.
        to: String,
        /// Its partitions and inheritance children are locked as well: a view
        /// over it that goes in the same transaction is locked with all that
        /// it reads.
        tree: bool,
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
