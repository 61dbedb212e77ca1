//! From rows to a [`Catalog`].

use std::collections::{BTreeMap, BTreeSet, HashMap};

use pontoon_core::catalog::{
    Catalog, Column, ColumnDef, Constraint, ConstraintKind, Deferrable, Dependent, DependentKind,
    Generated, Identity, IncomingForeignKey, Index, Partitioning, Publication, ReferentialAction,
    ReplicaIdentity, RowSecurity, Server, Table, TableKind, TableSize, Trigger,
};
use pontoon_core::expr::{Expr, Volatility};
use pontoon_core::name::TableName;

use super::dependents;
use super::rows::{self, Decoded};

/// The triggers of a dual write; see DESIGN, "Dual write".
const OUR_TRIGGERS: [&str; 2] = ["!pontoon_", "~~pontoon_"];

/// A trigger that Pontoon installed.
pub(super) fn is_ours(trigger: &str) -> bool {
    OUR_TRIGGERS
        .iter()
        .any(|prefix| trigger.starts_with(prefix))
}

/// Joins what was read.
pub(super) fn catalog(about: &rows::Server, decoded: Decoded) -> Catalog {
    let Decoded {
        tables,
        columns,
        constraints,
        indexes,
        triggers,
        publications,
        dependents: edges,
    } = decoded;
    let replica_indexes: HashMap<u32, String> = tables
        .iter()
        .filter_map(|row| Some((row.oid, row.replica_index.clone()?)))
        .collect();
    let mut built: BTreeMap<u32, Table> = tables
        .into_iter()
        .map(|row| (row.oid, table(row)))
        .collect();

    for row in columns {
        if let Some(table) = built.get_mut(&row.table) {
            table.columns.push(column(row, table));
        }
    }
    for row in constraints {
        if let Some(table) = built.get_mut(&row.referenced)
            && row.contype == 'f'
            && !row.copy_of_parent
        {
            table.referenced_by.push(IncomingForeignKey {
                table: TableName::new(&row.table_schema, &row.table_name),
                constraint: row.name.clone(),
                columns: row.referenced_columns.clone(),
            });
        }
        if let Some(table) = built.get_mut(&row.table)
            && !row.copy_of_own
        {
            table.constraints.push(constraint(row));
        }
    }
    for row in indexes {
        if let Some(table) = built.get_mut(&row.table) {
            table.indexes.push(index(row));
        }
    }
    for row in triggers {
        if let Some(table) = built.get_mut(&row.table) {
            table.triggers.push(trigger(row));
        }
    }
    for row in publications {
        if let Some(table) = built.get_mut(&row.table) {
            publication(table, row);
        }
    }
    for edge in edges {
        if let Some(table) = built.get_mut(&edge.table) {
            let list = match table.columns.iter_mut().find(|c| c.position == edge.attnum) {
                Some(column) => &mut column.dependents,
                None => &mut table.dependents,
            };
            list.extend(dependents::classify(&edge));
        }
    }
    for (oid, table) in &mut built {
        derived_dependents(table, replica_indexes.get(oid));
        for list in table
            .columns
            .iter_mut()
            .map(|column| &mut column.dependents)
            .chain([&mut table.dependents])
        {
            let unique: BTreeSet<Dependent> = std::mem::take(list).into_iter().collect();
            list.extend(unique);
        }
        table.grants.sort();
        for column in &mut table.columns {
            column.grants.sort();
        }
    }

    let mut tables: BTreeMap<TableName, Table> = built
        .into_values()
        .map(|table| (table.name.clone(), table))
        .collect();
    sum_partitions(&mut tables);
    Catalog {
        neighbours: Vec::new(),
        server: Server {
            version: about.version,
            system_identifier: about.system_identifier.clone(),
            database: about.database.clone(),
            compression: about.compression.clone(),
        },
        tables,
        expressions: Vec::new(),
        types: Vec::new(),
        objects: Vec::new(),
        replacements: Vec::new(),
        views: Vec::new(),
    }
}

fn table(row: rows::Table) -> Table {
    let size = TableSize {
        pages: row.pages,
        rows: estimate(&row),
        total_bytes: row.total_bytes,
    };
    Table {
        name: TableName::new(row.schema, row.name),
        oid: row.oid,
        kind: match row.kind {
            'r' => TableKind::Ordinary,
            'p' => TableKind::Partitioned,
            other => TableKind::Other(other),
        },
        unlogged: row.unlogged,
        owner: row.owner,
        owned_by_us: row.owned_by_us,
        columns: Vec::new(),
        constraints: Vec::new(),
        indexes: Vec::new(),
        triggers: Vec::new(),
        row_security: RowSecurity {
            enabled: row.rls_enabled,
            forced: row.rls_forced,
            policies: row.policies,
            applies_to_us: row.rls_applies,
        },
        publications: Vec::new(),
        replica_identity: match (row.replica_identity, row.replica_index) {
            ('n', _) => ReplicaIdentity::Nothing,
            ('f', _) => ReplicaIdentity::Full,
            ('i', Some(index)) => ReplicaIdentity::Index(index),
            // An index that was dropped leaves `i` behind: nothing is logged.
            ('i', None) => ReplicaIdentity::Nothing,
            _ => ReplicaIdentity::Default,
        },
        partitioning: row.partition_strategy.map(|strategy| Partitioning {
            strategy: match strategy {
                'r' => "range".into(),
                'l' => "list".into(),
                'h' => "hash".into(),
                other => other.to_string(),
            },
            columns: row.partition_columns,
            expressions: row.partition_expressions,
        }),
        children: row.children,
        parents: row.parents,
        dependents: labels(&row.security_labels),
        referenced_by: Vec::new(),
        comment: row.comment,
        grants: row.grants,
        size,
    }
}

/// The planner's estimate: rows a page at the last VACUUM or ANALYZE, times
/// the pages now.
fn estimate(row: &rows::Table) -> Option<u64> {
    if !matches!(row.kind, 'r' | 'm') {
        return None;
    }
    if row.pages == 0 {
        return Some(0);
    }
    if row.known_pages <= 0 || row.known_rows < 0.0 {
        return None;
    }
    let density = row.known_rows / row.known_pages as f64;
    Some((density * row.pages as f64).round() as u64)
}

/// A security label is lost with its object; nothing of ours carries it over.
fn labels(providers: &[String]) -> Vec<Dependent> {
    providers
        .iter()
        .map(|provider| Dependent {
            kind: DependentKind::Unknown {
                class: "pg_seclabel".into(),
            },
            name: format!("security label of provider {provider}"),
        })
        .collect()
}

fn column(row: rows::Column, table: &Table) -> Column {
    let mut dependents = labels(&row.security_labels);
    dependents.extend(row.inherited_from.iter().map(|parent| Dependent {
        kind: DependentKind::InheritedColumn,
        name: parent.clone(),
    }));
    if let Some(partitioning) = &table.partitioning
        && partitioning.columns.contains(&row.name)
    {
        dependents.push(Dependent {
            kind: DependentKind::PartitionKey,
            name: table.name.to_string(),
        });
    }
    let generated = match (row.generated.as_str(), &row.default) {
        ("", _) | (_, None) => None,
        (kind, Some(expression)) => Some(Generated {
            expression: expression.clone(),
            stored: kind == "s",
        }),
    };
    let default = match (&generated, row.default) {
        (None, Some(template)) => Some(Expr {
            template,
            columns: Vec::new(),
            volatility: row.default_volatility.unwrap_or(Volatility::Volatile),
        }),
        _ => None,
    };
    Column {
        def: ColumnDef {
            name: row.name,
            type_name: row.type_name,
            collation: row.collation,
            nullable: !row.not_null,
            default,
            identity: match row.identity.as_str() {
                "a" => Some(Identity::Always),
                "d" => Some(Identity::ByDefault),
                _ => None,
            },
            generated,
            comment: row.comment,
        },
        position: row.position,
        base_type: row.base_type,
        not_null_domain: row.not_null_domain,
        type_default: row.type_default,
        settings: row.settings,
        grants: row.grants,
        dependents,
    }
}

pub(super) fn constraint(row: rows::Constraint) -> Constraint {
    let kind = match (
        row.contype,
        row.expression,
        row.referenced_schema,
        row.referenced_name,
    ) {
        // PERIOD, WITHOUT OVERLAPS and NOT ENFORCED (18) change what the
        // known kinds mean.
        (contype, _, _, _) if row.unusual => ConstraintKind::Other { contype },
        ('c', Some(expression), _, _) => ConstraintKind::Check {
            expression,
            columns: row.columns,
        },
        ('u', _, _, _) => ConstraintKind::Unique {
            columns: row.columns,
        },
        ('p', _, _, _) => ConstraintKind::PrimaryKey {
            columns: row.columns,
        },
        ('x', _, _, _) => ConstraintKind::Exclusion,
        ('f', _, Some(schema), Some(name)) => ConstraintKind::ForeignKey {
            columns: row.columns,
            references: TableName::new(schema, name),
            referenced_columns: row.referenced_columns,
            on_delete: action(row.on_delete),
            on_update: action(row.on_update),
            match_full: row.match_full,
        },
        (contype, _, _, _) => ConstraintKind::Other { contype },
    };
    Constraint {
        name: row.name,
        kind,
        validated: row.validated,
        deferrable: match (row.deferrable, row.deferred) {
            (false, _) => None,
            (true, false) => Some(Deferrable::InitiallyImmediate),
            (true, true) => Some(Deferrable::InitiallyDeferred),
        },
        definition: row.definition,
    }
}

fn action(letter: char) -> ReferentialAction {
    match letter {
        'r' => ReferentialAction::Restrict,
        'c' => ReferentialAction::Cascade,
        'n' => ReferentialAction::SetNull,
        'd' => ReferentialAction::SetDefault,
        _ => ReferentialAction::NoAction,
    }
}

pub(super) fn index(row: rows::Index) -> Index {
    Index {
        name: row.name,
        method: row.method,
        unique: row.unique,
        nulls_not_distinct: row.nulls_not_distinct,
        keys: row.keys,
        include: row.include,
        predicate: row.predicate,
        valid: row.valid,
        constraint: row.constraint,
        definition: row.definition,
        settings: row.settings,
    }
}

fn trigger(row: rows::Trigger) -> Trigger {
    Trigger {
        ours: is_ours(&row.name),
        name: row.name,
        before: row.bits & 2 != 0,
        row: row.bits & 1 != 0,
        on_insert: row.bits & 4 != 0,
        on_update: row.bits & 16 != 0,
        on_delete: row.bits & 8 != 0,
        on_truncate: row.bits & 32 != 0,
        columns: row.columns,
        enabled: row.enabled,
        function: row.function,
    }
}

fn publication(table: &mut Table, row: rows::Publication) {
    let lists = [
        (DependentKind::PublicationColumns, &row.columns),
        (DependentKind::PublicationFilter, &row.filter_columns),
    ];
    for (kind, names) in lists {
        for name in names.iter().flatten() {
            if let Some(column) = table.columns.iter_mut().find(|c| c.def.name == *name) {
                column.dependents.push(Dependent {
                    kind: kind.clone(),
                    name: row.name.clone(),
                });
            }
        }
    }
    table.publications.push(Publication {
        name: row.name,
        columns: row.columns,
        filtered: row.filter_columns.is_some(),
    });
}

/// What `pg_depend` does not say: an index that is the replica identity.
fn derived_dependents(table: &mut Table, replica_index: Option<&String>) {
    let Some(name) = replica_index else { return };
    let Some(index) = table.indexes.iter().find(|index| index.name == *name) else {
        return;
    };
    let columns: Vec<String> = index
        .keys
        .iter()
        .filter_map(|key| key.column.clone())
        .collect();
    for column in &mut table.columns {
        if columns.contains(&column.def.name) {
            column.dependents.push(Dependent {
                kind: DependentKind::ReplicaIdentity,
                name: name.clone(),
            });
        }
    }
}

/// A partitioned table has no rows of its own: its size is that of its leaves.
fn sum_partitions(tables: &mut BTreeMap<TableName, Table>) {
    fn total(tables: &BTreeMap<TableName, Table>, table: &Table) -> TableSize {
        if table.kind != TableKind::Partitioned {
            return table.size;
        }
        let none = TableSize {
            rows: Some(0),
            ..TableSize::default()
        };
        table
            .children
            .iter()
            .filter_map(|child| tables.get(child))
            .map(|child| total(tables, child))
            .fold(none, |sum, size| TableSize {
                pages: sum.pages + size.pages,
                rows: sum.rows.zip(size.rows).map(|(a, b)| a + b),
                total_bytes: sum.total_bytes + size.total_bytes,
            })
    }
    let sizes: Vec<(TableName, TableSize)> = tables
        .values()
        .filter(|table| table.kind == TableKind::Partitioned)
        .map(|table| (table.name.clone(), total(tables, table)))
        .collect();
    for (name, size) in sizes {
        if let Some(table) = tables.get_mut(&name) {
            table.size = size;
        }
    }
}
