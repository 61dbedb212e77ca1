//! Changes to what is no part of a table's shape, as statements.

use super::{alter, alter_column};
use crate::catalog::ReplicaIdentity;
use crate::name::TableName;
use crate::object::{Object, ObjectChange, TableSetting};
use crate::sql::quote::{quote_ident, quote_list, quote_literal, quote_table};

/// The statements of a change.
pub(super) fn render(change: &ObjectChange) -> Vec<String> {
    match change {
        ObjectChange::Comment { on, comment } => vec![format!(
            "COMMENT ON {} IS {}",
            named(on),
            comment
                .as_deref()
                .map_or_else(|| "NULL".to_owned(), quote_literal)
        )],
        ObjectChange::RenameIndex { table, from, to } => {
            vec![super::rename_index(&table.schema, from, to)]
        }
    }
}

/// With its kind, as COMMENT ON names it.
fn named(object: &Object) -> String {
    let of = |word: &str, name: &str, table: &TableName| {
        format!("{word} {} ON {}", quote_ident(name), quote_table(table))
    };
    match object {
        Object::Schema { name } => format!("SCHEMA {}", quote_ident(name)),
        Object::Type { name } => format!("TYPE {}", quote_table(name)),
        Object::Relation { name, kind } => {
            format!(
                "{} {}",
                kind.words().to_ascii_uppercase(),
                quote_table(name)
            )
        }
        Object::Constraint { table, name } => of("CONSTRAINT", name, table),
        Object::Trigger { table, name } => of("TRIGGER", name, table),
        Object::Policy { table, name } => of("POLICY", name, table),
    }
}

/// The statements of a table's setting.
pub(super) fn set_table(table: &TableName, setting: &TableSetting) -> Vec<String> {
    match setting {
        TableSetting::Statistics { column, target } => {
            vec![alter_column(
                table,
                column,
                &format!("SET STATISTICS {target}"),
            )]
        }
        TableSetting::Options { set, reset } => {
            let mut statements = Vec::new();
            if !set.is_empty() {
                let values: Vec<String> = set
                    .iter()
                    .map(|(name, value)| format!("{} = {}", option(name), quote_literal(value)))
                    .collect();
                statements.push(alter(table, &format!("SET ({})", values.join(", "))));
            }
            if !reset.is_empty() {
                let names: Vec<String> = reset.iter().map(|name| option(name)).collect();
                statements.push(alter(table, &format!("RESET ({})", names.join(", "))));
            }
            statements
        }
        TableSetting::ReplicaIdentity { identity } => {
            vec![alter(table, &replica_identity(identity))]
        }
        TableSetting::RenameConstraint { from, to, .. } => vec![alter(
            table,
            &format!(
                "RENAME CONSTRAINT {} TO {}",
                quote_ident(from),
                quote_ident(to)
            ),
        )],
    }
}

/// A storage parameter; `toast.` is a namespace.
fn option(name: &str) -> String {
    match name.strip_prefix("toast.") {
        Some(name) => format!("toast.{}", quote_ident(name)),
        None => quote_list([name]),
    }
}

/// `REPLICA IDENTITY …`.
pub(super) fn replica_identity(identity: &ReplicaIdentity) -> String {
    match identity {
        ReplicaIdentity::Default => "REPLICA IDENTITY DEFAULT".to_owned(),
        ReplicaIdentity::Nothing => "REPLICA IDENTITY NOTHING".to_owned(),
        ReplicaIdentity::Full => "REPLICA IDENTITY FULL".to_owned(),
        ReplicaIdentity::Index(index) => {
            format!("REPLICA IDENTITY USING INDEX {}", quote_ident(index))
        }
    }
}
