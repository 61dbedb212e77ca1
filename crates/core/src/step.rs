//! The closed instruction set: what a plan compiles to.
//!
//! Operations are open (anyone may add one); steps are closed. An operation
//! performs nothing, it lowers to steps, so previews, lints, rollback and
//! golden tests come free, and the engine never learns that operations exist.
//!
//! Steps hold structure, not SQL text: a renderer per database turns them
//! into text, and [`Step::apply`](crate::catalog) folds them over a catalog.

use serde::{Deserialize, Serialize};

use crate::catalog::{ColumnDef, Constraint, Index, Table};
use crate::expr::{Expr, Volatility};
use crate::name::TableName;
use crate::object::{ObjectChange, TableSetting};

/// The version of the persisted form of everything in this module. A newer
/// binary reads older versions; an older binary refuses a newer one.
pub const WIRE_VERSION: u32 = 1;

/// The five phases of a program, in their order.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    schemars::JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Add what new versions need, without disturbing old ones.
    Expand,
    /// Install the triggers that keep both shapes in step.
    DualWrite,
    /// Bring the rows that nobody writes into the new shape.
    Backfill,
    /// Prove that every row is in step.
    Verify,
    /// Take the old shape away. Nothing before its last step is irreversible.
    Contract,
}

impl Phase {
    /// Every phase, in the order in which a run goes through them.
    pub const ALL: [Phase; 5] = [
        Phase::Expand,
        Phase::DualWrite,
        Phase::Backfill,
        Phase::Verify,
        Phase::Contract,
    ];

    /// The phase's name in plans, messages, JSON and tables.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Expand => "expand",
            Phase::DualWrite => "dual_write",
            Phase::Backfill => "backfill",
            Phase::Verify => "verify",
            Phase::Contract => "contract",
        }
    }
}

/// What a plan compiles to against one catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// [`WIRE_VERSION`] of the binary that wrote it.
    pub wire: u32,
    /// In the order of execution; `steps[i].no == i + 1`.
    pub steps: Vec<Step>,
}

/// One instruction with its place, its name and the way back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// 1-based place in the program.
    pub no: u32,
    /// The phase it runs in.
    pub phase: Phase,
    /// A short sentence fragment for people: `add column users.email_normalized`.
    pub name: String,
    /// 0-based indexes of the plan's operations that asked for it.
    pub operations: Vec<usize>,
    /// What it does.
    pub action: Action,
    /// How `rollback` takes it back.
    pub undo: Undo,
}

/// What a step does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Action {
    /// Transactional, under the guard, in one message.
    Ddl(Ddl),
    /// Long, under a weak lock, in its own transaction or none.
    Concurrent(Concurrent),
    /// Installs the dual-write triggers of one table.
    Sync(Sync),
    /// Changes rows in batches.
    Backfill(Backfill),
    /// Compares both shapes, chunk by chunk.
    Verify(Verify),
    /// A person's own SQL.
    Sql(SqlText),
    /// Waits for a condition of the plan.
    Wait(Wait),
}

impl Action {
    /// The word for it in `status`, events and messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Ddl(_) => "ddl",
            Action::Concurrent(_) => "concurrent",
            Action::Sync(_) => "sync",
            Action::Backfill(_) => "backfill",
            Action::Verify(_) => "verify",
            Action::Sql(_) => "sql",
            Action::Wait(_) => "wait",
        }
    }
}

/// The way back from a step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "undo")]
pub enum Undo {
    /// Run these, in this order.
    Steps {
        /// Each runs as a step of its own, under the same guard.
        actions: Vec<Action>,
    },
    /// There is nothing to take back.
    Nothing,
    /// It cannot be taken back; rollback stops before it.
    Impossible {
        /// Why, in the words of the operation's author.
        reason: String,
    },
}

/// Catalog changes that commit together with the record of their step.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ddl {
    /// In the order of execution.
    pub changes: Vec<Change>,
    /// The step is contract's last one: it refuses unless each table that a
    /// [`Change::DropSync`] releases has a clean verify pass that still
    /// holds (triggers enabled `A`, same filenodes, same partitions).
    pub cutover: bool,
}

/// One catalog change. Every variant is fast by construction: no scan, no
/// rewrite, no index build while a strong lock is held.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "change")]
pub enum Change {
    /// `CREATE TABLE` with its columns, primary key and comments.
    CreateTable {
        /// The whole new table.
        table: Box<Table>,
    },
    /// `DROP TABLE`, without CASCADE.
    DropTable {
        /// The table.
        table: TableName,
        /// Other tables whose foreign keys end or start here; they are locked too.
        related: Vec<TableName>,
    },
    /// `ALTER TABLE … ADD COLUMN`.
    AddColumn {
        /// The table.
        table: TableName,
        /// The new column; a default here is one that needs no rewrite.
        column: ColumnDef,
    },
    /// `ALTER TABLE … DROP COLUMN`, without CASCADE.
    DropColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// `ALTER TABLE … RENAME COLUMN`.
    RenameColumn {
        /// The table.
        table: TableName,
        /// The present name.
        from: String,
        /// The name afterwards.
        to: String,
    },
    /// `SET DEFAULT`, or `DROP DEFAULT` when `default` is `None`.
    SetDefault {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Canonical text of the default.
        default: Option<String>,
    },
    /// `SET NOT NULL`; a valid CHECK constraint that proves it must stand.
    SetNotNull {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// `DROP NOT NULL`.
    DropNotNull {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
    },
    /// `ADD CONSTRAINT … NOT VALID` for CHECK and FOREIGN KEY, `USING INDEX`
    /// for UNIQUE and PRIMARY KEY.
    AddConstraint {
        /// The table.
        table: TableName,
        /// Its `validated` says whether NOT VALID is written (false: it is).
        constraint: Constraint,
        /// The index that a UNIQUE or PRIMARY KEY adopts.
        using_index: Option<String>,
    },
    /// `DROP CONSTRAINT`, without CASCADE.
    DropConstraint {
        /// The table.
        table: TableName,
        /// The constraint's name.
        name: String,
        /// The referenced table of a foreign key, which is locked too.
        referenced: Option<TableName>,
    },
    /// `COMMENT ON COLUMN`.
    CommentOnColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// `None` removes it.
        comment: Option<String>,
    },
    /// `GRANT` of column privileges.
    GrantColumn {
        /// The table.
        table: TableName,
        /// The column.
        column: String,
        /// Who gets what.
        grant: crate::catalog::Grant,
    },
    /// `ALTER TABLE` for what is neither a column nor a row.
    SetTable {
        /// The table.
        table: TableName,
        /// What is set.
        setting: TableSetting,
    },
    /// What happens to something that is no part of a table's shape.
    Object {
        /// What, and to which.
        what: ObjectChange,
    },
    /// Drops the triggers and the function of one table's dual write.
    DropSync {
        /// As it was installed.
        sync: Sync,
    },
    /// A change to a partition; nothing, once it is none any more.
    OnPartition {
        /// The partition.
        partition: Partition,
        /// What changes there.
        what: Box<Change>,
    },
}

impl Change {
    /// What is changed, wherever it is.
    pub fn itself(&self) -> &Change {
        match self {
            Change::OnPartition { what, .. } => what.itself(),
            change => change,
        }
    }
}

/// A partition, as the plan found it. Old partitions are dropped and detached
/// while runs last, which is no reason to stop one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// Its name.
    pub table: TableName,
    /// The partitioned table.
    pub of: TableName,
}

/// A long statement under a weak lock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "concurrent")]
pub enum Concurrent {
    /// `CREATE INDEX CONCURRENTLY` under an artifact name, renamed under the
    /// fence once it is valid.
    CreateIndex {
        /// The table.
        table: TableName,
        /// The index as it shall be.
        index: Index,
    },
    /// `DROP INDEX CONCURRENTLY`.
    DropIndex {
        /// The table.
        table: TableName,
        /// The index's name, in the table's schema.
        name: String,
    },
    /// `VALIDATE CONSTRAINT`.
    Validate {
        /// The table.
        table: TableName,
        /// The constraint's name.
        name: String,
        /// The referenced table of a foreign key.
        referenced: Option<TableName>,
    },
    /// `REINDEX INDEX CONCURRENTLY`.
    Reindex {
        /// The table.
        table: TableName,
        /// The index's name, in the table's schema.
        name: String,
    },
    /// `ANALYZE`: a sample of the table and of all its partitions.
    Analyze {
        /// The table.
        table: TableName,
    },
    /// `REFRESH MATERIALIZED VIEW` and `ANALYZE` of one of ours that comes for
    /// another one; as empty as that one is.
    Fill {
        /// The one that is filled.
        view: TableName,
        /// The one whose place it takes.
        of: TableName,
        /// The table that it reads.
        table: TableName,
        /// Where functions that it calls may look names up, after `pg_catalog`.
        schemas: Vec<String>,
    },
    /// A statement on a partition; nothing, once it is none any more.
    OnPartition {
        /// The partition.
        partition: Partition,
        /// What is done there.
        statement: Box<Concurrent>,
    },
}

impl Concurrent {
    /// What is done, wherever it is.
    pub fn itself(&self) -> &Concurrent {
        match self {
            Concurrent::OnPartition { statement, .. } => statement.itself(),
            statement => statement,
        }
    }
}

/// One table's dual write: the mappings that its one trigger pair keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sync {
    /// The table.
    pub table: TableName,
    /// Its inheritance children or partitions that carry the triggers
    /// themselves (empty for an ordinary or a declaratively partitioned table).
    pub children: Vec<TableName>,
    /// In the order in which they are applied; repeated to a fixpoint.
    pub mappings: Vec<Mapping>,
    /// Where their expressions may be evaluated.
    pub conditions: Conditions,
    /// The application has BEFORE ROW triggers on the table or on what is
    /// below it. Only then ours stand behind them as well.
    pub application_triggers: bool,
}

/// Where the expressions of a table's mappings may be evaluated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Conditions {
    /// In the trigger's WHEN, as the writer.
    InWhen,
    /// Only in the function: some expression calls a function that PUBLIC may
    /// not execute.
    InBody,
}

/// A tie between a group of old columns and a group of new ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mapping {
    /// 0-based index of the plan's operation.
    pub operation: usize,
    /// The old shape's columns. Empty for a fill.
    pub old: Vec<MappedColumn>,
    /// The new shape's columns. Empty for a dropped column.
    pub new: Vec<MappedColumn>,
    /// How the two follow each other.
    pub rule: Rule,
    /// After the plan the new columns are NOT NULL: verify counts a NULL there
    /// as a mismatch.
    pub required: bool,
    /// How the old value is found again in the new one, where the two types do
    /// not promise it and the plan does not give it up: a row whose old value
    /// is not found again is a loss. Such a mapping has one column on each side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub back: Option<Back>,
}

/// The way from a new value to the old one, by which a loss is seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "by")]
pub enum Back {
    /// The server's own cast.
    Cast {
        /// As the database judges it.
        volatility: Volatility,
    },
    /// The plan's `down`.
    Down {
        /// Over the new column.
        down: Expr,
    },
}

/// A column of a mapping.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedColumn {
    /// Its name.
    pub name: String,
    /// Its type with modifiers, canonical: `numeric(10,2)`.
    pub type_name: String,
    /// Its default before the plan, canonical, when it has one that is not
    /// volatile: an INSERT that leaves the column out is recognised by it.
    pub default: Option<Expr>,
}

/// How old and new follow each other. DESIGN calls the conditions by name:
/// *in step* is `new = up(old) OR old = down(new)` by image.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
pub enum Rule {
    /// Both are written by applications (`change_type … as`, `rename_column`).
    Pair {
        /// One expression per new column, over the old columns.
        up: Vec<Expr>,
        /// One expression per old column, over the new columns.
        down: Vec<Expr>,
        /// What an inconsistent pair in one write means.
        on_conflict: OnConflict,
    },
    /// `new` follows `old`; a value that the writer gives itself wins
    /// (`add_column … up`). With `old` empty: a NULL is replaced
    /// (`set_not_null … fill`).
    Fill {
        /// One expression per new column.
        up: Vec<Expr>,
    },
    /// `new` is computed on every write (`derived: true`, hidden shadows).
    Derived {
        /// One expression per new column.
        up: Vec<Expr>,
    },
    /// `new`, a mark of ours, is computed as by `Derived`, and the row has an
    /// equal one in another table (`split_table`): behind each write that
    /// concerns it, a trigger makes it so. In the [`Verify`] of that other
    /// table the twin is the table it is filled from, and `new` is empty.
    Copied {
        /// One expression per new column.
        up: Vec<Expr>,
        /// Where the equal row is.
        twin: Box<Twin>,
    },
    /// `new`, one column, refers to the row of a lookup table that holds the
    /// values of `old` (`extract_lookup`); both are written by applications.
    /// Where nobody has added the values to the lookup table yet, the
    /// transaction that writes them does when it commits.
    Referred {
        /// Where the values are.
        lookup: Box<Lookup>,
    },
    /// `old` is filled on INSERT where it is NULL (`drop_column … down`).
    Omitted {
        /// One expression per old column, over the rest of the row.
        down: Vec<Expr>,
    },
}

/// A table that has a row with the same values for each row of another one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Twin {
    /// The table.
    pub table: TableName,
    /// The columns that say which rows belong together: a primary key of both.
    pub key: Vec<MappedColumn>,
    /// The other columns that both have.
    pub columns: Vec<MappedColumn>,
}

/// A table with one row for each combination of values that the old columns of
/// a mapping hold. Its columns are called as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Lookup {
    /// The table.
    pub table: TableName,
    /// Its key, to which the mapping's new column refers.
    pub id: String,
    /// The collations of the old columns, in their order; `None` for what is no
    /// text.
    pub collations: Vec<Option<String>>,
    /// The primary key of the table that refers to it: a row is found again by
    /// it when the transaction that wrote it commits.
    pub key: Vec<MappedColumn>,
    /// The foreign key that stands between the two once the run is over.
    pub foreign_key: String,
    /// The function of ours that finds values, and adds those that are missing.
    pub find: String,
}

/// What a write that gives both shapes inconsistently means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnConflict {
    /// The new shape wins.
    New,
    /// The old shape wins.
    Old,
    /// The write fails with a message that says so.
    Error,
}

/// Rows changed in batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backfill {
    /// The table.
    pub table: TableName,
    /// What is done to each row.
    pub work: BackfillWork,
    /// What the plan asks for; the engine chooses when it is silent.
    pub cursor: Option<CursorKind>,
}

/// What a backfill does to a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "work")]
pub enum BackfillWork {
    /// Brings the new columns of these mappings into step; the table's
    /// triggers cover rows that move meanwhile, so one pass is enough.
    Mappings {
        /// The same list as the table's [`Sync`].
        mappings: Vec<Mapping>,
    },
    /// `UPDATE … SET … WHERE`, repeated until a pass finds no row.
    Update {
        /// Columns and their new values.
        set: Vec<(MappedColumn, Expr)>,
        /// Must be false for a row once `set` is applied.
        filter: Expr,
    },
}

/// The two ways through a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CursorKind {
    /// Ranges of heap pages (TID range scans).
    Pages,
    /// Ranges of a unique NOT NULL key.
    Key,
}

/// A full comparison of both shapes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// The table.
    pub table: TableName,
    /// The same list as the table's [`Sync`].
    pub mappings: Vec<Mapping>,
}

/// A person's SQL, run as it stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SqlText {
    /// One or more statements.
    pub text: String,
}

/// A condition that has to become true before the run goes on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wait {
    /// One SELECT that gives one boolean.
    pub query: String,
    /// Where names without a schema are looked up, after `pg_catalog`.
    pub schema: String,
    /// Milliseconds after which one sitting gives up.
    pub timeout_ms: u64,
    /// Milliseconds between two looks.
    pub every_ms: u64,
}

/// The lock modes of PostgreSQL, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[expect(missing_docs, reason = "the names are PostgreSQL's own")]
pub enum LockMode {
    AccessShare,
    RowShare,
    RowExclusive,
    ShareUpdateExclusive,
    Share,
    ShareRowExclusive,
    Exclusive,
    AccessExclusive,
}
