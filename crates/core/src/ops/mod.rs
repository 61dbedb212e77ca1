//! Operations: what a person wants. To add one: a folder here with `mod.rs`,
//! `doc.md` and `example.yaml`, and one line in the list below.

pub mod common;
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

operations! {
    create_table => CreateTable(CreateTable),
    drop_table => DropTable(DropTable),
    add_column => AddColumn(AddColumn),
    drop_column => DropColumn(DropColumn),
    rename_column => RenameColumn(RenameColumn),
    change_type => ChangeType(ChangeType),
    set_not_null => SetNotNull(SetNotNull),
    drop_not_null => DropNotNull(DropNotNull),
    set_default => SetDefault(SetDefault),
    drop_default => DropDefault(DropDefault),
    add_index => AddIndex(AddIndex),
    drop_index => DropIndex(DropIndex),
    add_check => AddCheck(AddCheck),
    add_unique => AddUnique(AddUnique),
    add_foreign_key => AddForeignKey(AddForeignKey),
    drop_constraint => DropConstraint(DropConstraint),
    add_primary_key => AddPrimaryKey(AddPrimaryKey),
    replace_index => ReplaceIndex(ReplaceIndex),
    reindex => Reindex(Reindex),
    rename_constraint => RenameConstraint(RenameConstraint),
    validate_constraint => ValidateConstraint(ValidateConstraint),
    rename_index => RenameIndex(RenameIndex),
    set_comment => SetComment(SetComment),
    set_statistics => SetStatistics(SetStatistics),
    analyze => Analyze(Analyze),
    set_table_options => SetTableOptions(SetTableOptions),
    set_replica_identity => SetReplicaIdentity(SetReplicaIdentity),
    create_schema => CreateSchema(CreateSchema),
    create_extension => CreateExtension(CreateExtension),
    create_enum => CreateEnum(CreateEnum),
    add_enum_value => AddEnumValue(AddEnumValue),
    rename_enum_value => RenameEnumValue(RenameEnumValue),
    create_view => CreateView(CreateView),
    replace_view => ReplaceView(ReplaceView),
    drop_view => DropView(DropView),
    grant => Grant(Grant),
    revoke => Revoke(Revoke),
    backfill => Backfill(BackfillRows),
    wait_for => WaitFor(WaitFor),
    sql => Sql(Sql),
}
