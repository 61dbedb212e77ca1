//! Columns of several tables that are replaced in one cutover.

use crate::catalog::{
    Catalog, Constraint, ConstraintKind, Dependent, DependentKind, IncomingForeignKey, Index,
    Partitioning, Question, ReferentialAction, Server, Table, TableKind, Tried, TypeAnswer,
    TypeFacts,
};
use crate::lower::fixtures::{column, outline, parse, replacement, users};
use crate::lower::{Lowered, Refusal, lower, plain_index, request};
use crate::name::TableName;

fn name(table: &str) -> TableName {
    TableName::new("public", table)
}

fn foreign_key(constraint: &str, column: &str) -> Constraint {
    Constraint {
        name: constraint.into(),
        kind: ConstraintKind::ForeignKey {
            columns: vec![column.into()],
            references: name("orders"),
            referenced_columns: vec!["id".into()],
            on_delete: ReferentialAction::Cascade,
            on_update: ReferentialAction::NoAction,
            match_full: false,
        },
        validated: true,
        deferrable: None,
        definition: String::new(),
    }
}

fn depend(table: &mut Table, on: &str, kind: DependentKind, dependent: &str) {
    let column = table.columns.iter_mut().find(|c| c.def.name == on);
    column
        .expect("the column is there")
        .dependents
        .push(Dependent {
            kind,
            name: dependent.into(),
        });
}

/// A table with a column that refers to `orders.id`.
pub(super) fn referring(table: &str, columns: &[&str]) -> Table {
    let mut made = Table {
        name: name(table),
        columns: vec![column("at", "date", false)],
        constraints: Vec::new(),
        ..users()
    };
    for referring in columns {
        made.columns.push(column(referring, "integer", true));
        let key = format!("{table}_{referring}");
        made.constraints.push(foreign_key(&key, referring));
        depend(&mut made, referring, DependentKind::ForeignKey, &key);
    }
    made
}

/// `orders`, which refers to itself, and tables that refer to it.
pub(in crate::lower) fn shop(others: Vec<Table>) -> Catalog {
    let mut orders = referring("orders", &["up"]);
    orders.columns.push(column("id", "integer", false));
    orders.indexes = vec![Index {
        constraint: Some("orders_pkey".into()),
        ..plain_index("orders_pkey", &["id".to_owned()])
    }];
    orders.constraints.push(Constraint {
        name: "orders_pkey".into(),
        kind: ConstraintKind::PrimaryKey {
            columns: vec!["id".into()],
        },
        validated: true,
        deferrable: None,
        definition: String::new(),
    });
    depend(&mut orders, "id", DependentKind::PrimaryKey, "orders_pkey");
    let mut catalog = Catalog {
        server: Server {
            version: 180_000,
            system_identifier: "1".into(),
            database: "shop".into(),
            compression: Vec::new(),
        },
        ..Catalog::default()
    };
    for table in std::iter::once(&orders.clone()).chain(&others) {
        if !table.parents.is_empty() {
            continue;
        }
        for key in &table.constraints {
            if matches!(key.kind, ConstraintKind::ForeignKey { .. }) {
                orders.referenced_by.push(IncomingForeignKey {
                    table: table.name.clone(),
                    constraint: key.name.clone(),
                    columns: vec!["id".into()],
                });
                let what = format!("{} on {}", key.name, table.name);
                depend(
                    &mut orders,
                    "id",
                    DependentKind::ReferencedByForeignKey,
                    &what,
                );
            }
        }
    }
    for table in others.into_iter().chain([orders]) {
        catalog.tables.insert(table.name.clone(), table);
    }
    catalog
}

/// A partitioned table with two partitions, an index and the foreign key.
pub(in crate::lower) fn partitioned() -> Vec<Table> {
    let mut root = referring("events", &["order_id"]);
    let keys = ["order_id".to_owned()];
    let index = |name: &str| Index {
        unique: false,
        ..plain_index(name, &keys)
    };
    let mut tables = Vec::new();
    for part in ["events_a", "events_b"] {
        let mut made = root.clone();
        made.name = name(part);
        made.parents = vec![name("events")];
        made.indexes = vec![index(&format!("{part}_idx"))];
        depend(
            &mut made,
            "order_id",
            DependentKind::Index,
            &format!("{part}_idx"),
        );
        root.children.push(made.name.clone());
        tables.push(made);
    }
    root.kind = TableKind::Partitioned;
    root.partitioning = Some(Partitioning {
        strategy: "range".into(),
        columns: vec!["at".into()],
        expressions: false,
    });
    root.indexes = vec![index("events_idx")];
    depend(&mut root, "order_id", DependentKind::Index, "events_idx");
    tables.push(root);
    tables
}

pub(in crate::lower) fn compile(
    mut catalog: Catalog,
    operations: &str,
) -> Result<Lowered, Vec<Refusal>> {
    let plan = parse(operations);
    for question in request(&plan, &catalog).questions {
        match question {
            Question::Type { text } => catalog.types.push(TypeAnswer {
                result: Ok(TypeFacts {
                    name: text.clone(),
                    base: text.clone(),
                    constrained_domain: false,
                    storage: Some('p'),
                }),
                text,
            }),
            Question::Replacement(asked) => {
                let table = &catalog.tables[&asked.table];
                let seconds = |on: &TableName, names: &mut Vec<String>| {
                    for name in names {
                        let own =
                            (*on == asked.table && *name == asked.column).then_some(&asked.second);
                        let mut along = asked.along.iter();
                        let along = along.find(|along| along.table == *on && along.column == *name);
                        if let Some(second) = own.or(along.map(|along| &along.second)) {
                            name.clone_from(second);
                        }
                    }
                };
                let incoming = table.referenced_by.iter().filter(|_| asked.column == "id");
                let incoming = incoming.map(|key| {
                    let from = &catalog.tables[&key.table];
                    let mut over = from.constraints.iter().find(|c| c.name == key.constraint);
                    let mut over = over.take().cloned().expect("the key is there");
                    if let ConstraintKind::ForeignKey {
                        columns,
                        references,
                        referenced_columns,
                        ..
                    } = &mut over.kind
                    {
                        seconds(&key.table, columns);
                        seconds(references, referenced_columns);
                    }
                    Tried {
                        name: format!("{} on {}", key.constraint, key.table),
                        result: Ok(over),
                    }
                });
                let incoming = incoming.collect();
                let made = replacement(table, asked);
                catalog
                    .replacements
                    .push(crate::catalog::Replacement { incoming, ..made });
            }
            _ => {}
        }
    }
    lower(&plan, &catalog)
}

const WIDEN: &str = "  - widen_primary_key: {table: orders, column: id}";

pub(in crate::lower) fn refusals(catalog: Catalog, operations: &str) -> Vec<String> {
    let refused = compile(catalog, operations).expect_err("the plan is refused");
    refused.into_iter().map(|refusal| refusal.message).collect()
}

#[test]
fn a_key_and_what_refers_to_it_have_one_cutover() {
    let mut tables = partitioned();
    tables.push(referring("pairs", &["one", "other"]));
    let lowered = compile(shop(tables), WIDEN).expect("the plan lowers");
    insta::assert_snapshot!("widen_primary_key", outline(&lowered.program));
    let told = &lowered.notes[0].1;
    for column in ["orders.up", "pairs.one", "pairs.other", "events.order_id"] {
        assert!(told.contains(column), "{column}: {told}");
    }
}

#[test]
fn what_cannot_follow_a_key_is_named() {
    let foreign = Table {
        owned_by_us: false,
        owner: "ledger".into(),
        ..referring("bills", &["order_id"])
    };
    let mut nested = partitioned();
    nested[0].kind = TableKind::Partitioned;
    let mut unique = partitioned();
    for table in &mut unique {
        table.indexes[0].unique = true;
    }
    let part = Table {
        parents: vec![name("events")],
        ..referring("events_alone", &["order_id"])
    };
    let mut alone = shop(vec![part.clone()]);
    let orders = alone.tables.get_mut(&name("orders")).expect("it is there");
    orders.referenced_by.push(IncomingForeignKey {
        table: part.name,
        constraint: "events_alone_order_id".into(),
        columns: vec!["id".into()],
    });
    for (catalog, told) in [
        (shop(vec![foreign]), "bills belongs to role ledger"),
        (
            shop(nested),
            "events_order_id belongs to public.events, a partition of which is partitioned itself",
        ),
        (shop(unique), "events_idx would have to be built"),
        (alone, "public.events_alone is a partition"),
    ] {
        let messages = refusals(catalog, WIDEN);
        assert!(
            messages.iter().any(|message| message.contains(told)),
            "{told}: {messages:#?}"
        );
    }
    for (operation, told) in [
        ("{table: orders, column: up}", "is not in the primary key"),
        ("{table: orders, column: id, to: integer}", "not narrower"),
    ] {
        let operations = format!("  - widen_primary_key: {operation}");
        let messages = refusals(shop(Vec::new()), &operations);
        assert!(messages.iter().any(|m| m.contains(told)), "{messages:?}");
    }
}

/// The plan names `orders.id` only, and the others are found.
#[test]
fn what_refers_to_the_key_belongs_to_one_operation() {
    for other in [
        "set_default: {table: lines, column: order_id, default: 1}",
        "drop_not_null: {table: lines, column: order_id}",
        "drop_constraint: {table: lines, name: lines_order_id}",
        "set_statistics: {table: lines, column: order_id, target: 5}",
        "add_index: {table: lines, name: lines_new, columns: [at, order_id]}",
        "add_index: {table: lines, name: lines_new, columns: [at], include: [order_id]}",
        "add_unique: {table: lines, name: lines_new, columns: [order_id]}",
    ] {
        let mut lines = referring("lines", &["order_id"]);
        lines.columns[1].def.nullable = false;
        let operations = format!("{WIDEN}\n  - {other}");
        let messages = refusals(shop(vec![lines]), &operations);
        let told = |m: &&String| m.contains("too") && m.contains("lines");
        assert!(messages.iter().any(|m| told(&m)), "{other}: {messages:?}");
    }
}

/// A constraint of another table is another one, whatever its name.
#[test]
fn a_name_is_that_of_its_table() {
    let lines = referring("lines", &["order_id"]);
    let mut visits = referring("visits", &[]);
    visits.constraints.push(Constraint {
        kind: ConstraintKind::Check {
            expression: "true".into(),
            columns: Vec::new(),
        },
        ..foreign_key("lines_order_id", "at")
    });
    let tables = vec![lines, visits];
    for (table, refused) in [("visits", false), ("lines", true)] {
        let drop = format!("  - drop_constraint: {{table: {table}, name: lines_order_id}}");
        let operations = format!("{WIDEN}\n{drop}");
        let outcome = compile(shop(tables.clone()), &operations);
        assert_eq!(outcome.is_err(), refused, "{table}: {:?}", outcome.err());
    }
}

/// Two equal foreign keys stand while contract lasts, and either may act first.
#[test]
fn a_foreign_key_that_sets_columns_is_refused_where_the_order_matters() {
    use ReferentialAction::{Cascade, NoAction, SetDefault, SetNull};
    for (both, on_delete, on_update, refused) in [
        (false, SetNull, Cascade, false),
        (false, Cascade, SetNull, false),
        (false, SetDefault, NoAction, true),
        (false, NoAction, SetDefault, true),
        (true, Cascade, NoAction, false),
        (true, SetNull, NoAction, true),
        (true, NoAction, Cascade, true),
    ] {
        let mut lines = referring("lines", &["order_id"]);
        let key = &mut lines.constraints[0].kind;
        if let ConstraintKind::ForeignKey {
            columns,
            referenced_columns,
            on_delete: delete,
            on_update: update,
            ..
        } = key
        {
            (*delete, *update) = (on_delete, on_update);
            if both {
                columns.push("at".into());
                referenced_columns.push("at".into());
            }
        }
        let outcome = compile(shop(vec![lines]), WIDEN);
        let told = outcome.err().into_iter().flatten();
        let told: Vec<String> = told.map(|refusal| refusal.message).collect();
        let named = told
            .iter()
            .any(|m| m.contains("lines_order_id of public.lines sets columns"));
        assert_eq!(
            named, refused,
            "{both} {on_delete:?} {on_update:?}: {told:?}"
        );
    }
}
