//! Changes to what is no part of a table's shape, as statements.

use super::{alter, alter_column};
use crate::catalog::{Grant, ReplicaIdentity};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, Place, RelationKind, TableSetting};
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
        ObjectChange::CreateSchema { name } => vec![format!("CREATE SCHEMA {}", quote_ident(name))],
        ObjectChange::DropSchema { name } => vec![format!("DROP SCHEMA {}", quote_ident(name))],
        ObjectChange::CreateEnum { name, labels } => vec![create_enum(name, labels)],
        ObjectChange::DropType { name } => vec![format!("DROP TYPE {}", quote_table(name))],
        ObjectChange::AddEnumValue { name, value, place } => {
            let place = match place {
                Some(Place::Before(label)) => format!(" BEFORE {}", quote_literal(label)),
                Some(Place::After(label)) => format!(" AFTER {}", quote_literal(label)),
                None => String::new(),
            };
            vec![format!(
                "ALTER TYPE {} ADD VALUE {}{place}",
                quote_table(name),
                quote_literal(value)
            )]
        }
        ObjectChange::RenameEnumValue { name, from, to } => vec![format!(
            "ALTER TYPE {} RENAME VALUE {} TO {}",
            quote_table(name),
            quote_literal(from),
            quote_literal(to)
        )],
        ObjectChange::CreateView {
            name,
            query,
            schema,
            options,
            replace,
            owner,
            ..
        } => {
            let mut statements = create_view(name, query, schema.as_deref(), options, *replace);
            if let Some(owner) = owner {
                statements.push(format!(
                    "ALTER VIEW {} OWNER TO {}",
                    quote_table(name),
                    quote_ident(owner)
                ));
            }
            statements
        }
        ObjectChange::DropView { name } => vec![format!("DROP VIEW {}", quote_table(name))],
        ObjectChange::Grant { on, grant } => {
            let option = if grant.grantable {
                " WITH GRANT OPTION"
            } else {
                ""
            };
            vec![format!(
                "GRANT {} ON {} TO {}{option}",
                grant.privilege,
                granted(on),
                grantee(grant)
            )]
        }
        ObjectChange::Revoke { on, column, grant } => {
            let option = if grant.grantable {
                "GRANT OPTION FOR "
            } else {
                ""
            };
            let column = column
                .as_ref()
                .map_or_else(String::new, |name| format!(" ({})", quote_ident(name)));
            vec![format!(
                "REVOKE {option}{}{column} ON {} FROM {}",
                grant.privilege,
                granted(on),
                grantee(grant)
            )]
        }
    }
}

/// `CREATE TYPE … AS ENUM`.
pub fn create_enum(name: &TableName, labels: &[String]) -> String {
    let labels: Vec<String> = labels.iter().map(|label| quote_literal(label)).collect();
    format!(
        "CREATE TYPE {} AS ENUM ({})",
        quote_table(name),
        labels.join(", ")
    )
}

/// Names in the query resolve as everywhere in a plan; what follows in the same
/// transaction finds the guard's own search path again.
fn create_view(
    name: &TableName,
    query: &str,
    schema: Option<&str>,
    options: &[String],
    replace: bool,
) -> Vec<String> {
    let create = if replace {
        "CREATE OR REPLACE VIEW"
    } else {
        "CREATE VIEW"
    };
    let options: Vec<String> = options
        .iter()
        .map(|text| match text.split_once('=') {
            Some((name, value)) => format!("{} = {}", quote_ident(name), quote_literal(value)),
            None => quote_ident(text),
        })
        .collect();
    let with = match options.as_slice() {
        [] => String::new(),
        options => format!(" WITH ({})", options.join(", ")),
    };
    let statement = format!("{create} {}{with} AS\n{}", quote_table(name), query.trim());
    match schema {
        None => vec![statement],
        Some(schema) => vec![
            format!(
                "SET LOCAL search_path = pg_catalog, {}, pg_temp",
                quote_ident(schema)
            ),
            statement,
            "SET LOCAL search_path = pg_catalog, pg_temp".to_owned(),
        ],
    }
}

fn grantee(grant: &Grant) -> String {
    grant
        .grantee
        .as_deref()
        .map_or_else(|| "PUBLIC".to_owned(), quote_ident)
}

/// As GRANT names it: views are tables to it.
fn granted(object: &Object) -> String {
    match object {
        Object::Relation {
            name,
            kind:
                RelationKind::Table
                | RelationKind::View
                | RelationKind::MaterializedView
                | RelationKind::Index
                | RelationKind::Any,
        } => format!("TABLE {}", quote_table(name)),
        other => named(other),
    }
}

/// With its kind, as COMMENT ON names it.
fn named(object: &Object) -> String {
    let of = |word: &str, name: &str, table: &TableName| {
        format!("{word} {} ON {}", quote_ident(name), quote_table(table))
    };
    match object {
        Object::Schema { name } => format!("SCHEMA {}", quote_ident(name)),
        Object::Extension { name } => format!("EXTENSION {}", quote_ident(name)),
        Object::Role { name } => format!("ROLE {}", quote_ident(name)),
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
