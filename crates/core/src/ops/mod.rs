//! Operations: what a person wants. To add one: a folder here with `mod.rs`,
//! `doc.md` and `example.yaml`, and one line in the list below.

pub mod common;
mod moving;
mod regroup;
mod restore;
pub mod rights;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Declares the list of operations once: modules, enum, names and texts.
macro_rules! operations {
    ($($module:ident => $variant:ident($type:ident)),+ $(,)?) => {
        $(pub mod $module;)+

        /// One operation of a plan.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Operation {
            $(
                #[doc = concat!("See [`", stringify!($module), "`].")]
                $variant($module::$type),
            )+
        }

        impl Operation {
            /// Its name in plans: `change_type`.
            pub fn name(&self) -> &'static str {
                match self {
                    $(Operation::$variant(_) => stringify!($module),)+
                }
            }

            /// What it tells of itself.
            pub(crate) fn as_declare(&self) -> &dyn $crate::plan::Declare {
                match self {
                    $(Operation::$variant(operation) => operation,)+
                }
            }

            /// Its part in lowering.
            pub(crate) fn as_lower(&self) -> &dyn $crate::lower::Lower {
                match self {
                    $(Operation::$variant(operation) => operation,)+
                }
            }
        }

        /// Every operation with its page and its example, in the list's order.
        pub const ALL: &[Doc] = &[
            $(Doc {
                name: stringify!($module),
                page: include_str!(concat!(stringify!($module), "/doc.md")),
                example: include_str!(concat!(stringify!($module), "/example.yaml")),
            },)+
        ];
    };
}

/// What an operation says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Doc {
    /// Its name in plans.
    pub name: &'static str,
    /// Its page, in Markdown.
    pub page: &'static str,
    /// A whole plan that uses it.
    pub example: &'static str,
}

/// A word that people look for, and that is no operation.
#[derive(Clone, Copy, Debug)]
pub struct Elsewhere {
    /// The word.
    pub word: &'static str,
    /// What is wrong with it: what stands behind `error:` when a plan says it.
    pub message: &'static str,
    /// Why, in one sentence without a period.
    pub reason: &'static str,
    /// What to write instead.
    pub instead: &'static str,
}

/// What is asked for and has another name, or cannot be done online.
pub const ELSEWHERE: &[Elsewhere] = &[
    Elsewhere {
        word: "transform",
        message: "`transform` is called `backfill`",
        reason: "`backfill` changes rows in batches, with `set`, `where` and `undo`",
        instead: "`- backfill: {table: …, set: {…}, where: …}`",
    },
    Elsewhere {
        word: "add_exclusion",
        message: "`add_exclusion` cannot be done online",
        reason: "PostgreSQL builds an exclusion constraint in one go, under ACCESS EXCLUSIVE: there is no NOT VALID for it, \
                 and it takes no index that was built CONCURRENTLY",
        instead: "on a small table `- sql: {phase: contract, run: \"ALTER TABLE t ADD CONSTRAINT c EXCLUDE …\", undo: \"ALTER TABLE \
                  t DROP CONSTRAINT c\"}`, which changes nothing unless it is done within `max_lock_duration`; on a large one \
                  create a table that has the constraint, and move the rows",
    },
];

operations! {
    create_table => CreateTable(CreateTable),
    drop_table => DropTable(DropTable),
    rename_table => RenameTable(RenameTable),
    split_table => SplitTable(SplitTable),
    extract_lookup => ExtractLookup(ExtractLookup),
    add_column => AddColumn(AddColumn),
    add_generated => AddGenerated(AddGenerated),
    drop_column => DropColumn(DropColumn),
    drop_columns => DropColumns(DropColumns),
    rename_column => RenameColumn(RenameColumn),
    merge_columns => MergeColumns(MergeColumns),
    split_column => SplitColumn(SplitColumn),
    change_type => ChangeType(ChangeType),
    change_collation => ChangeCollation(ChangeCollation),
    set_not_null => SetNotNull(SetNotNull),
    drop_not_null => DropNotNull(DropNotNull),
    set_default => SetDefault(SetDefault),
    drop_default => DropDefault(DropDefault),
    add_identity => AddIdentity(AddIdentity),
    add_index => AddIndex(AddIndex),
    drop_index => DropIndex(DropIndex),
    add_check => AddCheck(AddCheck),
    add_unique => AddUnique(AddUnique),
    add_foreign_key => AddForeignKey(AddForeignKey),
    drop_constraint => DropConstraint(DropConstraint),
    add_primary_key => AddPrimaryKey(AddPrimaryKey),
    replace_primary_key => ReplacePrimaryKey(ReplacePrimaryKey),
    widen_primary_key => WidenPrimaryKey(WidenPrimaryKey),
    replace_index => ReplaceIndex(ReplaceIndex),
    reindex => Reindex(Reindex),
    rename_constraint => RenameConstraint(RenameConstraint),
    validate_constraint => ValidateConstraint(ValidateConstraint),
    rename_index => RenameIndex(RenameIndex),
    set_comment => SetComment(SetComment),
    set_statistics => SetStatistics(SetStatistics),
    set_storage => SetStorage(SetStorage),
    set_compression => SetCompression(SetCompression),
    analyze => Analyze(Analyze),
    set_table_options => SetTableOptions(SetTableOptions),
    set_replica_identity => SetReplicaIdentity(SetReplicaIdentity),
    create_schema => CreateSchema(CreateSchema),
    create_extension => CreateExtension(CreateExtension),
    create_enum => CreateEnum(CreateEnum),
    add_enum_value => AddEnumValue(AddEnumValue),
    rename_enum_value => RenameEnumValue(RenameEnumValue),
    remove_enum_value => RemoveEnumValue(RemoveEnumValue),
    create_view => CreateView(CreateView),
    replace_view => ReplaceView(ReplaceView),
    drop_view => DropView(DropView),
    grant => Grant(Grant),
    revoke => Revoke(Revoke),
    backfill => Backfill(BackfillRows),
    wait_for => WaitFor(WaitFor),
    sql => Sql(Sql),
}
