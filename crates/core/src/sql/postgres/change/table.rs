//! A whole table as statements for one transaction.

use super::object::{replica_identity, without_default_rights};
use super::{
    column_definition, comment_on_column, constraint_definition, create_index, grant_text,
};
use crate::catalog::{ReplicaIdentity, Table};
use crate::sql::quote::{quote_ident, quote_list, quote_literal, quote_table};

/// `CREATE TABLE` and everything that a [`Table`] says of itself: columns,
/// constraints, indexes, settings, comments, grants, row security, replica
/// identity. Policies, triggers and publications are named in a catalog but
/// not defined there; a plan cannot ask for them. With an owner it has the rights
/// that follow and no others, whatever ALTER DEFAULT PRIVILEGES says.
pub(super) fn create(table: &Table) -> Vec<String> {
    let name = quote_table(&table.name);
    let mut statements = vec![create_statement(table)];
    let alter = |action: &str| format!("ALTER TABLE {name} {action}");
    if !table.owner.is_empty() {
        statements.push(alter(&format!("OWNER TO {}", quote_ident(&table.owner))));
        statements.push(without_default_rights(&table.name));
    }
    for column in &table.columns {
        for setting in &column.settings {
            let column = quote_ident(&column.def.name);
            statements.push(alter(&format!("ALTER COLUMN {column} {setting}")));
        }
    }
    for index in &table.indexes {
        if index.constraint.is_none() {
            statements.push(create_index(&table.name, index));
        }
    }
    if table.replica_identity != ReplicaIdentity::Default {
        statements.push(alter(&replica_identity(&table.replica_identity)));
    }
    if table.row_security.enabled {
        statements.push(alter("ENABLE ROW LEVEL SECURITY"));
    }
    if table.row_security.forced {
        statements.push(alter("FORCE ROW LEVEL SECURITY"));
    }
    if let Some(comment) = &table.comment {
        statements.push(format!(
            "COMMENT ON TABLE {name} IS {}",
            quote_literal(comment)
        ));
    }
    for column in &table.columns {
        if column.def.comment.is_some() {
            let comment = column.def.comment.as_deref();
            statements.push(comment_on_column(&table.name, &column.def.name, comment));
        }
    }
    for grant in &table.grants {
        statements.push(grant_text(&table.name, None, grant));
    }
    for column in &table.columns {
        for grant in &column.grants {
            statements.push(grant_text(&table.name, Some(&column.def.name), grant));
        }
    }
    statements
}

fn create_statement(table: &Table) -> String {
    let mut parts: Vec<String> = table
        .columns
        .iter()
        .map(|column| column_definition(&column.def))
        .collect();
    parts.extend(
        table
            .constraints
            .iter()
            .map(|constraint| constraint_definition(constraint, None)),
    );
    let partitioning = table
        .partitioning
        .as_ref()
        .map_or_else(String::new, |partitioning| {
            let columns = partitioning.columns.iter().map(String::as_str);
            format!(
                " PARTITION BY {} ({})",
                partitioning.strategy.to_ascii_uppercase(),
                quote_list(columns)
            )
        });
    format!(
        "CREATE TABLE {} (\n    {}\n){partitioning}",
        quote_table(&table.name),
        parts.join(",\n    ")
    )
}
