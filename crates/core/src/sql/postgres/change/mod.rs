//! Catalog changes as statements.
//!
//! `IF EXISTS` and `IF NOT EXISTS` are never written: a statement that finds
//! something else than expected must fail, not pass in silence. CASCADE is
//! never written either. A partition alone may be gone: statements on one ask
//! first whether it is one still.

pub mod object;
mod table;
mod write_through;

pub use write_through::query as view_query;

use super::sync;
use crate::catalog::{
    ColumnDef, Constraint, ConstraintKind, Deferrable, Grant, Identity, Index, IndexKey,
    ReferentialAction,
};
use crate::name::TableName;
use crate::object::ObjectChange;
use crate::sql::quote::{
    dollar_quote, quote_ident, quote_list, quote_literal, quote_qualified, quote_table,
};
use crate::step::{Change, Partition};

/// The statements of a change, in their order. `run` is as in
/// [`texts`](super::texts).
pub fn render(change: &Change, run: &str) -> Vec<String> {
    match change {
        Change::CreateTable { table } => table::create(table),
        Change::DropTable { table, .. } => vec![format!("DROP TABLE {}", quote_table(table))],
        Change::AddColumn { table, column } => {
            let mut statements = vec![alter(
                table,
                &format!("ADD COLUMN {}", column_definition(column)),
            )];
            if column.comment.is_some() {
                statements.push(comment_on_column(
                    table,
                    &column.name,
                    column.comment.as_deref(),
                ));
            }
            statements
        }
        Change::DropColumn { table, column } => {
            vec![alter(
                table,
                &format!("DROP COLUMN {}", quote_ident(column)),
            )]
        }
        Change::RenameColumn { table, from, to } => vec![alter(
            table,
            &format!("RENAME COLUMN {} TO {}", quote_ident(from), quote_ident(to)),
        )],
        Change::SetDefault {
            table,
            column,
            default,
        } => {
            let action = match default {
                Some(expression) => format!("SET DEFAULT {expression}"),
                None => "DROP DEFAULT".to_owned(),
            };
            vec![alter_column(table, column, &action)]
        }
        Change::SetNotNull { table, column } => vec![alter_column(table, column, "SET NOT NULL")],
        Change::DropNotNull { table, column } => {
            vec![alter_column(table, column, "DROP NOT NULL")]
        }
        Change::AddConstraint {
            table,
            constraint,
            using_index,
        } => vec![alter(
            table,
            &format!(
                "ADD {}",
                constraint_definition(constraint, using_index.as_deref())
            ),
        )],
        Change::DropConstraint { table, name, .. } => {
            vec![alter(
                table,
                &format!("DROP CONSTRAINT {}", quote_ident(name)),
            )]
        }
        Change::CommentOnColumn {
            table,
            column,
            comment,
        } => vec![comment_on_column(table, column, comment.as_deref())],
        Change::GrantColumn {
            table,
            column,
            grant,
        } => vec![grant_text(table, Some(column), grant)],
        Change::SetTable { table, setting } => object::set_table(table, setting),
        Change::Object {
            what: ObjectChange::WriteThrough { through },
        } => write_through::install(through, run),
        Change::Object {
            what: ObjectChange::DropWriteThrough { view },
        } => write_through::drop(view, run),
        Change::Object { what } => object::render(what),
        Change::DropSync { sync } => sync::drop(sync, &sync::artifact(run, &sync.table)),
        Change::OnPartition { partition, what } => {
            let statements = render(what, run).into_iter();
            statements
                .map(|statement| while_partition(partition, &statement))
                .collect()
        }
    }
}

/// The condition that a table is a partition, and not about to be detached.
pub fn is_partition(partition: &Partition) -> String {
    let relation = |name| quote_literal(&quote_table(name));
    format!(
        "EXISTS (SELECT FROM pg_catalog.pg_inherits
        WHERE inhrelid = pg_catalog.to_regclass({})
          AND inhparent = pg_catalog.to_regclass({}) AND NOT inhdetachpending)",
        relation(&partition.table),
        relation(&partition.of)
    )
}

/// The statement where the table is a partition still, and nothing elsewhere;
/// nor where what it names is missing, for the table may have been dropped and
/// made again: what is done for the whole table does it there, too.
fn while_partition(partition: &Partition, statement: &str) -> String {
    let block = format!(
        "BEGIN
    IF {} THEN
        {statement};
    END IF;
EXCEPTION WHEN undefined_object OR undefined_table THEN
    NULL;
END",
        is_partition(partition)
    );
    format!("DO {}", dollar_quote("partition", &block))
}

/// The name under which an index is built, before it is renamed under the
/// fence. `epoch` tells the attempts of two owners of a run apart.
pub fn build_name(run: &str, step: u32, epoch: i64) -> String {
    format!("_pontoon_{run}_{step}_{epoch}")
}

/// `CREATE INDEX CONCURRENTLY` under the building name.
pub fn create_index_concurrently(table: &TableName, index: &Index, build_name: &str) -> String {
    index_text(table, index, build_name, "INDEX CONCURRENTLY")
}

/// The index in the transaction that creates its table, which nobody else sees.
pub fn create_index(table: &TableName, index: &Index) -> String {
    index_text(table, index, &index.name, "INDEX")
}

/// `ALTER INDEX … RENAME TO`, which takes SHARE UPDATE EXCLUSIVE on the index
/// and no lock on the table.
pub fn rename_index(schema: &str, from: &str, to: &str) -> String {
    format!(
        "ALTER INDEX {} RENAME TO {}",
        quote_qualified(schema, from),
        quote_ident(to)
    )
}

/// `DROP INDEX CONCURRENTLY`. An index lives in its table's schema.
pub fn drop_index_concurrently(table: &TableName, name: &str) -> String {
    format!(
        "DROP INDEX CONCURRENTLY {}",
        quote_qualified(&table.schema, name)
    )
}

/// Fills a materialized view, when the one whose place it takes is filled, and
/// gathers its statistics. Functions that it calls may need a search path.
pub fn fill(view: &TableName, of: &TableName, schemas: &[String]) -> Vec<String> {
    let (name, of) = (quote_table(view), quote_literal(&quote_table(of)));
    let body = format!(
        "BEGIN
    IF (SELECT c.relispopulated FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass({of})) THEN
        REFRESH MATERIALIZED VIEW {name};
        ANALYZE {name};
    ELSE
        REFRESH MATERIALIZED VIEW {name} WITH NO DATA;
    END IF;
END"
    );
    vec![
        format!(
            "SET LOCAL search_path = pg_catalog, {}",
            quote_list(schemas.iter().map(String::as_str))
        ),
        format!("DO {}", dollar_quote("pontoon_fill", &body)),
        "SET LOCAL search_path = pg_catalog, pg_temp".to_owned(),
    ]
}

/// `VALIDATE CONSTRAINT`.
pub fn validate_constraint(table: &TableName, name: &str) -> String {
    alter(table, &format!("VALIDATE CONSTRAINT {}", quote_ident(name)))
}

/// `REINDEX INDEX CONCURRENTLY`. An index lives in its table's schema.
pub fn reindex_concurrently(table: &TableName, name: &str) -> String {
    format!(
        "REINDEX INDEX CONCURRENTLY {}",
        quote_qualified(&table.schema, name)
    )
}

/// `ANALYZE`.
pub fn analyze(table: &TableName) -> String {
    format!("ANALYZE {}", quote_table(table))
}

fn alter(table: &TableName, action: &str) -> String {
    format!("ALTER TABLE {} {action}", quote_table(table))
}

fn alter_column(table: &TableName, column: &str, action: &str) -> String {
    alter(
        table,
        &format!("ALTER COLUMN {} {action}", quote_ident(column)),
    )
}

fn comment_on_column(table: &TableName, column: &str, comment: Option<&str>) -> String {
    format!(
        "COMMENT ON COLUMN {}.{} IS {}",
        quote_table(table),
        quote_ident(column),
        comment.map_or_else(|| "NULL".to_owned(), quote_literal)
    )
}

/// A grant on a column, or on the whole table.
fn grant_text(table: &TableName, column: Option<&str>, grant: &Grant) -> String {
    let column = column.map_or_else(String::new, |name| format!(" ({})", quote_ident(name)));
    let grantee = grant
        .grantee
        .as_deref()
        .map_or_else(|| "PUBLIC".to_owned(), quote_ident);
    let option = if grant.grantable {
        " WITH GRANT OPTION"
    } else {
        ""
    };
    format!(
        "GRANT {}{column} ON {} TO {grantee}{option}",
        grant.privilege,
        quote_table(table)
    )
}

/// A column as in CREATE TABLE and ADD COLUMN.
fn column_definition(column: &ColumnDef) -> String {
    let mut text = format!("{} {}", quote_ident(&column.name), column.type_name);
    if let Some(collation) = &column.collation {
        text.push_str(&format!(" COLLATE {}", object_name(collation)));
    }
    if let Some(default) = &column.default {
        text.push_str(&format!(" DEFAULT {}", default.bare()));
    }
    match column.identity {
        Some(Identity::Always) => text.push_str(" GENERATED ALWAYS AS IDENTITY"),
        Some(Identity::ByDefault) => text.push_str(" GENERATED BY DEFAULT AS IDENTITY"),
        None => {}
    }
    if let Some(generated) = &column.generated {
        let kind = if generated.stored {
            "STORED"
        } else {
            "VIRTUAL"
        };
        text.push_str(&format!(
            " GENERATED ALWAYS AS ({}) {kind}",
            generated.expression
        ));
    }
    if !column.nullable {
        text.push_str(" NOT NULL");
    }
    text
}

/// A constraint as in CREATE TABLE and ADD CONSTRAINT.
fn constraint_definition(constraint: &Constraint, using_index: Option<&str>) -> String {
    let key = |word: &str, columns: &[String]| match using_index {
        Some(index) => format!("{word} USING INDEX {}", quote_ident(index)),
        None => format!(
            "{word} ({})",
            quote_list(columns.iter().map(String::as_str))
        ),
    };
    let mut text = match &constraint.kind {
        ConstraintKind::Check { expression, .. } if constraint.no_inherit() => {
            format!("CHECK ({expression}) NO INHERIT")
        }
        ConstraintKind::Check { expression, .. } => format!("CHECK ({expression})"),
        ConstraintKind::Unique { columns } => key("UNIQUE", columns),
        ConstraintKind::PrimaryKey { columns } => key("PRIMARY KEY", columns),
        ConstraintKind::ForeignKey {
            columns,
            references,
            referenced_columns,
            on_delete,
            on_update,
            match_full,
        } => {
            let mut text = format!(
                "FOREIGN KEY ({}) REFERENCES {} ({})",
                quote_list(columns.iter().map(String::as_str)),
                quote_table(references),
                quote_list(referenced_columns.iter().map(String::as_str)),
            );
            if *match_full {
                text.push_str(" MATCH FULL");
            }
            text.push_str(&referential(" ON DELETE ", *on_delete));
            text.push_str(&referential(" ON UPDATE ", *on_update));
            text
        }
        // The server's own text holds everything, NOT VALID included.
        ConstraintKind::Exclusion | ConstraintKind::Other { .. } => {
            return format!(
                "CONSTRAINT {} {}",
                quote_ident(&constraint.name),
                constraint.definition
            );
        }
    };
    match constraint.deferrable {
        Some(Deferrable::InitiallyImmediate) => text.push_str(" DEFERRABLE"),
        Some(Deferrable::InitiallyDeferred) => text.push_str(" DEFERRABLE INITIALLY DEFERRED"),
        None => {}
    }
    let may_be_invalid = matches!(
        constraint.kind,
        ConstraintKind::Check { .. } | ConstraintKind::ForeignKey { .. }
    );
    if may_be_invalid && !constraint.validated {
        text.push_str(" NOT VALID");
    }
    format!("CONSTRAINT {} {text}", quote_ident(&constraint.name))
}

fn referential(prefix: &str, action: ReferentialAction) -> String {
    let words = match action {
        ReferentialAction::NoAction => return String::new(),
        ReferentialAction::Restrict => "RESTRICT",
        ReferentialAction::Cascade => "CASCADE",
        ReferentialAction::SetNull => "SET NULL",
        ReferentialAction::SetDefault => "SET DEFAULT",
    };
    format!("{prefix}{words}")
}

fn index_text(table: &TableName, index: &Index, name: &str, what: &str) -> String {
    let unique = if index.unique { "UNIQUE " } else { "" };
    let keys: Vec<String> = index.keys.iter().map(index_key).collect();
    let mut text = format!(
        "CREATE {unique}{what} {} ON {} USING {} ({})",
        quote_ident(name),
        quote_table(table),
        quote_ident(&index.method),
        keys.join(", ")
    );
    if !index.include.is_empty() {
        text.push_str(&format!(
            " INCLUDE ({})",
            quote_list(index.include.iter().map(String::as_str))
        ));
    }
    if index.nulls_not_distinct {
        text.push_str(" NULLS NOT DISTINCT");
    }
    if !index.settings.options.is_empty() {
        let options: Vec<String> = index
            .settings
            .options
            .iter()
            .map(|text| match text.split_once('=') {
                Some((name, value)) => {
                    format!("{} = {}", object::option(name), quote_literal(value))
                }
                None => object::option(text),
            })
            .collect();
        text.push_str(&format!(" WITH ({})", options.join(", ")));
    }
    if let Some(tablespace) = &index.settings.tablespace {
        text.push_str(&format!(" TABLESPACE {}", quote_ident(tablespace)));
    }
    if let Some(predicate) = &index.predicate {
        text.push_str(&format!(" WHERE ({predicate})"));
    }
    text
}

fn index_key(key: &IndexKey) -> String {
    let mut text = match (&key.column, &key.expression) {
        (Some(column), _) => quote_ident(column),
        (None, Some(expression)) => format!("({expression})"),
        (None, None) => String::new(),
    };
    if let Some(collation) = &key.collation {
        text.push_str(&format!(" COLLATE {}", object_name(collation)));
    }
    if let Some(opclass) = &key.opclass {
        text.push_str(&format!(" {}", object_name(opclass)));
    }
    if key.descending {
        text.push_str(" DESC");
    }
    // NULLS FIRST is what DESC implies, NULLS LAST what its absence implies.
    if key.nulls_first != key.descending {
        text.push_str(if key.nulls_first {
            " NULLS FIRST"
        } else {
            " NULLS LAST"
        });
    }
    text
}

/// A collation or operator class: `name` or `schema.name`, taken literally,
/// unless it is SQL text already (quoted, or with options in parentheses).
fn object_name(text: &str) -> String {
    if text.contains('"') || text.contains('(') {
        return text.to_owned();
    }
    match text.split_once('.') {
        Some((schema, name)) => quote_qualified(schema, name),
        None => quote_ident(text),
    }
}

#[cfg(test)]
mod tests;
