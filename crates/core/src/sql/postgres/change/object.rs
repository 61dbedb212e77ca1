//! Changes to what is no part of a table's shape, as statements.

use super::{alter, alter_column};
use crate::catalog::{Grant, Identity, ReplicaIdentity};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, Place, RelationKind, TableSetting, TakenOver};
use crate::sql::quote::{
    dollar_quote, quote_ident, quote_list, quote_literal, quote_qualified, quote_table,
};

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
        ObjectChange::IndexOverPartitions { table, index } => {
            vec![super::create_index(table, index)]
        }
        ObjectChange::DropIndexOverPartitions { table, index } => vec![format!(
            "DROP INDEX {}",
            quote_qualified(&table.schema, &index.name)
        )],
        ObjectChange::RenameIndex { table, from, to } => {
            vec![super::rename_index(&table.schema, from, to)]
        }
        ObjectChange::RenameIndexColumn {
            table,
            index,
            from,
            to,
        } => {
            let index = quote_qualified(&table.schema, index);
            // A key that is an expression may be named after the column, too.
            let body = format!(
                "BEGIN IF EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = {}::pg_catalog.regclass AND attname = {}) THEN ALTER TABLE {index} RENAME COLUMN {} TO {}; END IF; END",
                quote_literal(&index),
                quote_literal(from),
                quote_ident(from),
                quote_ident(to)
            );
            vec![format!("DO {}", dollar_quote("pontoon_rename", &body))]
        }
        ObjectChange::IndexStatistics {
            table,
            index,
            key,
            target,
        } => vec![format!(
            "ALTER INDEX {} ALTER COLUMN {key} SET STATISTICS {target}",
            quote_qualified(&table.schema, index)
        )],
        ObjectChange::Rehang { statements, .. } | ObjectChange::MoveIdentity { statements, .. } => {
            statements.clone()
        }
        ObjectChange::HandOver { view, table } => {
            let relation = |name| quote_literal(&quote_table(name));
            let body = include_str!("hand_over.sql")
                .replace("{view}", &relation(view))
                .replace("{table}", &relation(table));
            vec![format!("DO {}", dollar_quote("hand_over", body.trim_end()))]
        }
        ObjectChange::CreateSchema { name } => vec![format!("CREATE SCHEMA {}", quote_ident(name))],
        ObjectChange::DropSchema { name } => vec![format!("DROP SCHEMA {}", quote_ident(name))],
        ObjectChange::CreateEnum {
            name,
            labels,
            owner,
        } => {
            let mut statements = vec![create_enum(name, labels)];
            if let Some(owner) = owner {
                statements.push(format!(
                    "ALTER TYPE {} OWNER TO {}",
                    quote_table(name),
                    quote_ident(owner)
                ));
                statements.push(type_without_rights(name));
            }
            statements
        }
        ObjectChange::RenameType { name, to } => vec![format!(
            "ALTER TYPE {} RENAME TO {}",
            quote_table(name),
            quote_ident(to)
        )],
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
                statements.push(without_default_rights(name));
            }
            statements
        }
        // Their functions bear the run's name.
        ObjectChange::WriteThrough { .. } | ObjectChange::DropWriteThrough { .. } => Vec::new(),
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

/// Takes away what ALTER DEFAULT PRIVILEGES gives to every new relation: one
/// that is made for another owner has the rights that follow, and no others.
pub(super) fn without_default_rights(name: &TableName) -> String {
    let relation = quote_literal(&quote_table(name));
    revoke_all(
        &format!("TABLE {}", quote_table(name)),
        &format!(
            "pg_catalog.pg_class o, pg_catalog.aclexplode(o.relacl) g
        WHERE o.oid = {relation}::pg_catalog.regclass AND g.grantee <> o.relowner"
        ),
    )
}

/// The same for a type, on which PUBLIC has USAGE unless ALTER DEFAULT
/// PRIVILEGES says otherwise.
fn type_without_rights(name: &TableName) -> String {
    let found = quote_literal(&quote_table(name));
    revoke_all(
        &format!("TYPE {}", quote_table(name)),
        &format!(
            "pg_catalog.pg_type o, pg_catalog.aclexplode(coalesce(o.typacl, pg_catalog.acldefault('T', o.typowner))) g
        WHERE o.oid = {found}::pg_catalog.regtype AND g.grantee <> o.typowner"
        ),
    )
}

/// Revokes every right on `object` from each grantee that `grants`, the end of
/// a query, finds as `g`.
fn revoke_all(object: &str, grants: &str) -> String {
    let body = format!(
        "DECLARE found text; BEGIN
    FOR found IN SELECT DISTINCT CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(g.grantee)) END
        FROM {grants}
    LOOP EXECUTE pg_catalog.concat({}, found); END LOOP;
END",
        quote_literal(&format!("REVOKE ALL ON {object} FROM "))
    );
    format!("DO {}", dollar_quote("pontoon_rights", &body))
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
        TableSetting::Identity {
            column,
            identity,
            takes_over,
            start,
            above,
        } => {
            let kind = match identity {
                Identity::Always => "ALWAYS",
                Identity::ByDefault => "BY DEFAULT",
            };
            let add = format!("ADD GENERATED {kind} AS IDENTITY");
            match takes_over {
                Some(taken) => take_over(table, column, &add, taken, *start, *above),
                None => {
                    let mut statements = vec![alter_column(table, column, &add)];
                    let sequence = format!(
                        "pg_catalog.pg_get_serial_sequence({}, {})",
                        quote_literal(&quote_table(table)),
                        quote_literal(column)
                    );
                    statements.extend(next_value(&sequence, None, table, column, *start, *above));
                    statements
                }
            }
        }
        TableSetting::Storage {
            column, storage, ..
        } => vec![alter_column(
            table,
            column,
            &format!("SET STORAGE {}", storage.word()),
        )],
        TableSetting::Compression { column, method } => vec![alter_column(
            table,
            column,
            &format!(
                "SET COMPRESSION {}",
                method
                    .as_deref()
                    .map_or_else(|| "DEFAULT".to_owned(), quote_ident)
            ),
        )],
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
        TableSetting::Column { column, clause } => vec![alter_column(table, column, clause)],
        TableSetting::ClusterOn { index } => {
            vec![alter(table, &format!("CLUSTER ON {}", quote_ident(index)))]
        }
        TableSetting::ReplicaIdentity { identity } => {
            vec![alter(table, &replica_identity(identity))]
        }
        TableSetting::Rename { to, .. } => {
            vec![alter(table, &format!("RENAME TO {}", quote_ident(to)))]
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

/// Makes a column's sequence anew, as that of an identity column, under its
/// own name and with all that is known of it.
fn take_over(
    table: &TableName,
    column: &str,
    add: &str,
    taken: &TakenOver,
    start: Option<i64>,
    above: bool,
) -> Vec<String> {
    let name = quote_table(&taken.name);
    let aside = TableName::new(&taken.name.schema, &taken.aside);
    let counts = &taken.counts;
    let cycle = if counts.cycle { "CYCLE" } else { "NO CYCLE" };
    let options = format!(
        "{add} (SEQUENCE NAME {name} START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {} {cycle})",
        counts.start, counts.increment, counts.min, counts.max, counts.cache
    );
    let mut statements = vec![
        alter_column(table, column, "DROP DEFAULT"),
        format!(
            "ALTER SEQUENCE {name} RENAME TO {}",
            quote_ident(&taken.aside)
        ),
        alter_column(table, column, &options),
    ];
    let sequence = format!("{}::pg_catalog.regclass", quote_literal(&name));
    let former = Some((&aside, counts.increment));
    statements.extend(next_value(&sequence, former, table, column, start, above));
    statements.push(format!("DROP SEQUENCE {}", quote_table(&aside)));
    let on = Object::Relation {
        name: taken.name.clone(),
        kind: RelationKind::Sequence,
    };
    for grant in &taken.grants {
        statements.extend(render(&ObjectChange::Grant {
            on: on.clone(),
            grant: grant.clone(),
        }));
    }
    if taken.comment.is_some() {
        statements.extend(render(&ObjectChange::Comment {
            on,
            comment: taken.comment.clone(),
        }));
    }
    statements
}

/// Sets the next value of a sequence: that of the former one, above what the
/// column holds, and not below `start`.
fn next_value(
    sequence: &str,
    former: Option<(&TableName, i64)>,
    table: &TableName,
    column: &str,
    start: Option<i64>,
    above: bool,
) -> Option<String> {
    let mut least = Vec::new();
    let mut from = String::new();
    if let Some((former, increment)) = former {
        least.push(format!(
            "f.last_value + CASE WHEN f.is_called THEN {increment} ELSE 0 END"
        ));
        from = format!(" FROM {} AS f", quote_table(former));
    }
    if above {
        least.push(format!(
            "(SELECT max(t.{}) + 1::bigint FROM {} AS t)",
            quote_ident(column),
            quote_table(table)
        ));
    }
    least.extend(start.map(|start| start.to_string()));
    if least.is_empty() {
        return None;
    }
    if former.is_none() {
        least.push("1".to_owned());
    }
    Some(format!(
        "SELECT pg_catalog.setval({sequence}, greatest({}), false){from}",
        least.join(", ")
    ))
}

/// A storage parameter; `toast.` is a namespace.
pub(super) fn option(name: &str) -> String {
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
