//! A table, the answers of a server about it, and programs as text: what the
//! tests of lowering share.

use crate::catalog::{
    Catalog, Column, ColumnDef, ConstraintKind, Dependent, DependentKind, ExprFacts,
    ExpressionAnswer, Grant, Index, IndexSettings, ObjectAnswer, Question, Replacement, Replacing,
    ReplicaIdentity, RowSecurity, Server, Table, TableKind, TableSize, Tried, Trigger, TypeAnswer,
    TypeFacts, ViewAnswer,
};
use crate::expr::{Expr, ROW, Volatility};
use crate::name::TableName;
use crate::object::{ExtensionFacts, Object, ObjectFacts, RelationKind};
use crate::plan::{self, Plan};
use crate::step::{Action, Program, Undo};

use super::{Lowered, Refusal, lower, plain_index, request};

pub(super) const RUN: &str = "run";

pub(super) fn column(name: &str, type_name: &str, nullable: bool) -> Column {
    Column {
        def: ColumnDef {
            nullable,
            ..ColumnDef::new(name, type_name)
        },
        position: 0,
        base_type: type_name.split('(').next().unwrap_or(type_name).into(),
        not_null_domain: false,
        type_default: false,
        settings: Vec::new(),
        grants: Vec::new(),
        dependents: Vec::new(),
    }
}

pub(super) fn users() -> Table {
    Table {
        name: TableName::new("public", "users"),
        oid: 1,
        kind: TableKind::Ordinary,
        unlogged: false,
        owner: "app".into(),
        owned_by_us: true,
        columns: vec![
            column("id", "bigint", false),
            column("email", "text", false),
            column("amount", "integer", true),
            column("status", "text", true),
        ],
        constraints: vec![crate::catalog::Constraint {
            name: "users_amount_check".into(),
            kind: ConstraintKind::Check {
                expression: "amount > 0".into(),
                columns: vec!["amount".into()],
            },
            validated: true,
            deferrable: None,
            definition: "CHECK (amount > 0)".into(),
        }],
        indexes: Vec::new(),
        triggers: Vec::new(),
        row_security: RowSecurity::default(),
        publications: Vec::new(),
        replica_identity: ReplicaIdentity::Default,
        partitioning: None,
        children: Vec::new(),
        parents: Vec::new(),
        dependents: Vec::new(),
        referenced_by: Vec::new(),
        comment: None,
        grants: Vec::new(),
        size: TableSize {
            pages: 1000,
            rows: Some(50_000),
            total_bytes: 1 << 24,
        },
    }
}

/// Answers as a server would for the simple texts of these tests: words that
/// are columns are columns.
pub(super) fn answer(table: Table, plan: &Plan) -> Catalog {
    let mut catalog = Catalog {
        server: Server {
            version: 180_000,
            system_identifier: "1".into(),
            database: "shop".into(),
            compression: vec!["pglz".into()],
        },
        ..Catalog::default()
    };
    catalog.tables.insert(table.name.clone(), table.clone());
    let view = users_view();
    catalog.tables.insert(view.name.clone(), view);
    for question in request(plan, &catalog).questions {
        match question {
            Question::Type { text } => catalog.types.push(TypeAnswer {
                result: Ok(TypeFacts {
                    name: text.clone(),
                    base: text.split('(').next().unwrap_or(&text).into(),
                    constrained_domain: false,
                    storage: Some(if text == "text" { 'x' } else { 'p' }),
                }),
                text,
            }),
            Question::Suppose { .. } => {}
            Question::Replacement(asked) => {
                let replacement = replacement(&table, asked);
                catalog.replacements.push(replacement);
            }
            Question::View { query } => catalog.views.push(ViewAnswer {
                result: Ok(query
                    .trim_start_matches("SELECT ")
                    .split(" FROM ")
                    .next()
                    .unwrap_or_default()
                    .split(", ")
                    .map(|name| (name.to_owned(), "text".to_owned()))
                    .collect()),
                query,
            }),
            Question::Object { object } => catalog.objects.push(ObjectAnswer {
                facts: known(&object),
                object,
            }),
            Question::Expression {
                table: on,
                text,
                extra,
                assigned_to,
            } => {
                let names: Vec<String> = table
                    .columns
                    .iter()
                    .map(|column| column.def.name.clone())
                    .chain(extra.into_iter().map(|(name, _)| name))
                    .collect();
                catalog.expressions.push(ExpressionAnswer {
                    table: on,
                    result: Ok(ExprFacts {
                        expr: analysed(&text, &names),
                        type_name: assigned_to.clone().unwrap_or_else(|| "text".into()),
                        null_on_null: Some(!text.contains("coalesce")),
                        private_functions: Vec::new(),
                    }),
                    text,
                    assigned_to,
                });
            }
        }
    }
    catalog
}

/// What a server would say of simple definitions: the name is replaced.
pub(super) fn replacement(table: &Table, asked: Replacing) -> Replacement {
    let over = |text: &str| text.replace(&asked.column, &asked.second);
    let hangs = |name: &str| {
        let column = table.column(&asked.column);
        column.is_some_and(|column| column.dependents.iter().any(|d| d.name == name))
    };
    let indexes = table.indexes.iter().filter(|index| hangs(&index.name));
    let constraints = table.constraints.iter().filter(|c| hangs(&c.name));
    Replacement {
        collation: asked.collation.clone(),
        indexes: indexes
            .map(|index| {
                let mut result = index.clone();
                for key in &mut result.keys {
                    key.column = key.column.as_deref().map(over);
                }
                Tried {
                    name: index.name.clone(),
                    result: Ok(result),
                }
            })
            .collect(),
        constraints: constraints
            .map(|constraint| {
                let mut result = constraint.clone();
                if let ConstraintKind::Check {
                    expression,
                    columns,
                } = &mut result.kind
                {
                    *expression = over(expression);
                    columns.iter_mut().for_each(|name| *name = over(name));
                }
                Tried {
                    name: constraint.name.clone(),
                    result: Ok(result),
                }
            })
            .collect(),
        incoming: Vec::new(),
        settings: Vec::new(),
        followers: Vec::new(),
        computed: Vec::new(),
        identity: None,
        unchanged: "DO 'nothing new'".into(),
        asked,
    }
}

/// What stands beside the table `users`.
fn known(object: &Object) -> Option<ObjectFacts> {
    let facts = ObjectFacts {
        owner: "app".into(),
        owned_by_us: true,
        ..ObjectFacts::default()
    };
    match object {
        Object::Relation { name, kind } if name.name == "users" => Some(ObjectFacts {
            kind: Some('r').filter(|_| *kind == RelationKind::Table),
            options: vec!["fillfactor=90".into()],
            comment: Some("as it was".into()),
            ..facts
        }),
        Object::Relation { name, kind } if name.name == "users_view" => Some(ObjectFacts {
            kind: Some('v').filter(|_| *kind != RelationKind::Table),
            definition: Some("SELECT a, b FROM public.users".into()),
            options: vec!["security_barrier=true".into()],
            comment: Some("seen".into()),
            ..facts
        }),
        Object::Relation { name, .. } if name.name == "users_email" => Some(ObjectFacts {
            kind: Some('i'),
            comment: Some("kept".into()),
            ..facts
        }),
        Object::Relation { name, .. } if name.name == "users_seq" => Some(ObjectFacts {
            grants: vec![Grant {
                grantee: Some("app".into()),
                privilege: "USAGE".into(),
                grantable: false,
            }],
            ..facts
        }),
        Object::Type { name } if name.name == "state" => Some(ObjectFacts {
            kind: Some('e'),
            labels: vec!["open".into(), "closed".into()],
            uses: Some(crate::object::TypeUses {
                columns: vec![crate::object::UsingColumn {
                    table: TableName::new("public", "users"),
                    column: "status".into(),
                }],
                others: Vec::new(),
            }),
            ..facts
        }),
        Object::Role { name } if name == "app" => Some(facts),
        Object::Schema { name } if name == "public" => Some(facts),
        Object::Extension { name } if name == "pg_trgm" || name == "plpgsql" => {
            let there = name == "plpgsql";
            Some(ObjectFacts {
                extension: Some(ExtensionFacts {
                    installed: Some("1.0".to_owned()).filter(|_| there),
                    schema: Some("pg_catalog".to_owned()).filter(|_| there),
                    fixed_schema: None,
                    available: vec!["1.5".into(), "1.6".into()],
                }),
                ..facts
            })
        }
        _ => None,
    }
}

/// A view over `users`, with two columns.
pub(super) fn users_view() -> Table {
    Table {
        name: TableName::new("public", "users_view"),
        kind: TableKind::Other('v'),
        columns: vec![column("a", "text", true), column("b", "text", true)],
        constraints: Vec::new(),
        grants: vec![Grant {
            grantee: Some("app".into()),
            privilege: "SELECT".into(),
            grantable: false,
        }],
        ..users()
    }
}

pub(super) fn analysed(text: &str, names: &[String]) -> Expr {
    let mut columns: Vec<String> = Vec::new();
    let mut template = String::new();
    let mut word = String::new();
    for c in text.chars().chain([' ']) {
        if c.is_alphanumeric() || c == '_' {
            word.push(c);
            continue;
        }
        if names.contains(&word) {
            template.push_str(&format!("{ROW}.{word}"));
            if !columns.contains(&word) {
                columns.push(word.clone());
            }
        } else {
            template.push_str(&word);
        }
        word.clear();
        if c != '"' {
            template.push(c);
        }
    }
    Expr {
        template: template.trim_end().to_owned(),
        columns,
        volatility: if text.contains("random") {
            Volatility::Volatile
        } else {
            Volatility::Immutable
        },
    }
}

pub(super) fn parse(operations: &str) -> Plan {
    let text = format!("plan: p\nversion: 1\noperations:\n{operations}");
    plan::load("p.yaml", &text).unwrap_or_else(|findings| {
        panic!(
            "{}",
            findings
                .iter()
                .map(plan::Diagnostic::render)
                .collect::<String>()
        )
    })
}

pub(super) fn compile(table: Table, operations: &str) -> Result<Lowered, Vec<Refusal>> {
    let plan = parse(operations);
    let catalog = answer(table, &plan);
    lower(&plan, &catalog)
}

/// A program as short lines: what a reader of a golden test wants to see.
pub(super) fn outline(program: &Program) -> String {
    use std::fmt::Write as _;
    let mut out = String::new();
    for step in &program.steps {
        writeln!(
            out,
            "{} {} {}: {}",
            step.no,
            step.phase.name(),
            step.action.kind(),
            step.name
        )
        .expect("a String takes all");
        for text in crate::sql::postgres::texts(step, RUN) {
            if !matches!(
                step.action,
                Action::Sync(_) | Action::Backfill(_) | Action::Verify(_)
            ) {
                writeln!(out, "    {text}").expect("a String takes all");
            }
        }
        match &step.undo {
            Undo::Steps { .. } => {
                for text in crate::sql::postgres::undo_texts(step, RUN) {
                    if !matches!(step.action, Action::Sync(_)) {
                        writeln!(out, "    undo: {text}").expect("a String takes all");
                    }
                }
            }
            Undo::Nothing => {}
            Undo::Impossible { reason } => {
                writeln!(out, "    undo: none, {reason}").expect("a String takes all");
            }
        }
    }
    out
}

/// `users` with an index, a UNIQUE constraint and a CHECK over `amount`.
pub(super) fn with_dependents() -> Table {
    let mut table = users();
    let amounts = ["amount".to_owned()];
    table.indexes = vec![
        Index {
            unique: false,
            settings: IndexSettings {
                options: vec!["fillfactor=70".into()],
                statistics: vec![(1, 300)],
                ..IndexSettings::default()
            },
            ..plain_index("users_by_amount", &amounts)
        },
        Index {
            constraint: Some("users_amount_key".into()),
            ..plain_index("users_amount_key", &amounts)
        },
    ];
    table.constraints.push(crate::catalog::Constraint {
        name: "users_amount_key".into(),
        kind: ConstraintKind::Unique {
            columns: amounts.into(),
        },
        validated: true,
        deferrable: None,
        definition: "UNIQUE (amount)".into(),
    });
    for (kind, name) in [
        (DependentKind::Index, "users_by_amount"),
        (DependentKind::Unique, "users_amount_key"),
        (DependentKind::Check, "users_amount_check"),
    ] {
        table.columns[2].dependents.push(Dependent {
            kind,
            name: name.into(),
        });
    }
    table
}

pub(super) fn trigger(name: &str) -> Trigger {
    Trigger {
        name: name.into(),
        before: true,
        row: true,
        on_insert: true,
        on_update: false,
        on_delete: false,
        on_truncate: false,
        columns: Vec::new(),
        enabled: 'O',
        function: "public.f".into(),
        ours: false,
    }
}
