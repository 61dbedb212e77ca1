//! A table, its mappings in short hand, and a server to try them on.

use std::error::Error;

use pontoon_core::expr::{Expr, ROW, Volatility};
use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::mapping;
use pontoon_core::sql::postgres::sync;
use pontoon_core::step::{Conditions, MappedColumn, Mapping, OnConflict, Rule, Sync};
use pontoon_sandbox::TestDatabase;
use tokio_postgres::{Client, SimpleQueryMessage};

pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error + Send + std::marker::Sync>>;

/// Fails the behaviour, and not the process: without one of its rules a
/// behaviour is expected to fail.
macro_rules! same {
    ($left:expr, $right:expr $(,)?) => {{
        let (left, right) = (&$left, &$right);
        if *left != *right {
            return Err(format!(
                "line {}: {} is {left:?}, expected {right:?}",
                line!(),
                stringify!($left)
            )
            .into());
        }
    }};
}
pub(crate) use same;

/// On which server, and without which rule of the trigger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) version: u32,
    pub(crate) without: Option<&'static str>,
}

/// `amount exact: numeric(10,2)`, with `= default` behind it where there is one.
pub(crate) fn columns(list: &str) -> Vec<MappedColumn> {
    list.split(';')
        .map(str::trim)
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (part, default) = match part.split_once('=') {
                Some((part, default)) => (part.trim(), Some(expr(default.trim()))),
                None => (part, None),
            };
            let (name, type_name) = part.split_once(':').expect("name: type");
            MappedColumn {
                name: name.trim().into(),
                type_name: type_name.trim().into(),
                default,
            }
        })
        .collect()
}

/// An expression with its columns in braces: `lower({email})`.
pub(crate) fn expr(text: &str) -> Expr {
    let mut template = String::new();
    let mut columns: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after.split_once('}').expect("a closing brace");
        template.push_str(before);
        template.push_str(&format!("{ROW}.\"{name}\""));
        if !columns.iter().any(|column| column == name) {
            columns.push(name.to_owned());
        }
        rest = after;
    }
    template.push_str(rest);
    Expr {
        template,
        columns,
        volatility: Volatility::Immutable,
    }
}

fn exprs(list: &[&str]) -> Vec<Expr> {
    list.iter().map(|text| expr(text)).collect()
}

fn mapping(old: &str, new: &str, rule: Rule) -> Mapping {
    Mapping {
        operation: 0,
        old: columns(old),
        new: columns(new),
        rule,
        required: false,
        back: None,
    }
}

pub(crate) fn pair(old: &str, new: &str, up: &[&str], down: &[&str]) -> Mapping {
    pair_on(OnConflict::Error, old, new, up, down)
}

pub(crate) fn pair_on(
    on_conflict: OnConflict,
    old: &str,
    new: &str,
    up: &[&str],
    down: &[&str],
) -> Mapping {
    mapping(
        old,
        new,
        Rule::Pair {
            up: exprs(up),
            down: exprs(down),
            on_conflict,
        },
    )
}

pub(crate) fn fill(old: &str, new: &str, up: &str) -> Mapping {
    mapping(old, new, Rule::Fill { up: exprs(&[up]) })
}

pub(crate) fn derived(old: &str, new: &str, up: &str) -> Mapping {
    mapping(old, new, Rule::Derived { up: exprs(&[up]) })
}

pub(crate) fn omitted(old: &str, down: &str) -> Mapping {
    mapping(
        old,
        "",
        Rule::Omitted {
            down: exprs(&[down]),
        },
    )
}

/// The same mapping with expressions that depend on the session.
pub(crate) fn stable(mut mapping: Mapping) -> Mapping {
    let lists: Vec<&mut Vec<Expr>> = match &mut mapping.rule {
        Rule::Pair { up, down, .. } => vec![up, down],
        Rule::Fill { up } | Rule::Derived { up } | Rule::Copied { up, .. } => vec![up],
        Rule::Omitted { down } => vec![down],
        Rule::Referred { .. } => vec![],
    };
    for expr in lists.into_iter().flatten() {
        expr.volatility = Volatility::Stable;
    }
    mapping
}

pub(crate) fn on(table: &str, mappings: Vec<Mapping>) -> Sync {
    let (schema, name) = table.split_once('.').unwrap_or(("public", table));
    Sync {
        table: TableName::new(schema, name),
        children: vec![],
        mappings,
        conditions: Conditions::InWhen,
        application_triggers: true,
    }
}

/// A database with a dual write.
pub(crate) struct Scene {
    pub(crate) database: TestDatabase,
    pub(crate) client: Client,
    pub(crate) sync: Sync,
    pub(crate) artifact: String,
}

impl Scene {
    /// Runs `setup` (tables, rows, the application's triggers), then installs
    /// the dual write.
    pub(crate) async fn new(case: Case, setup: &str, mut sync: Sync) -> Outcome<Self> {
        sync.application_triggers = setup.contains("CREATE TRIGGER");
        let database = TestDatabase::create(case.version).await?;
        let client = database.client().await?;
        let artifact = sync::artifact("7f3a", &sync.table);
        client
            .batch_execute(&format!("CREATE SCHEMA pontoon; {setup}"))
            .await?;
        let mut statements = sync::install(&sync, &artifact);
        if let Some(rule) = case.without {
            statements = crate::mutation::without(rule, statements);
        }
        let installed = client
            .batch_execute(&format!("BEGIN; {}; COMMIT", statements.join(";\n")))
            .await;
        if let Some(rule) = case.without {
            // A dual write that cannot be installed would prove no rule.
            installed.unwrap_or_else(|error| panic!("without {rule}: {error:?}"));
        } else {
            installed?;
        }
        Ok(Self {
            database,
            client,
            sync,
            artifact,
        })
    }

    pub(crate) async fn run(&self, sql: &str) -> Outcome {
        run(&self.client, sql).await
    }

    pub(crate) async fn rows(&self, sql: &str) -> Outcome<Vec<String>> {
        rows(&self.client, sql).await
    }

    /// The one row of a query, its columns tied by `|`.
    pub(crate) async fn row(&self, sql: &str) -> Outcome<String> {
        let rows = self.rows(sql).await?;
        match rows.as_slice() {
            [row] => Ok(row.clone()),
            _ => Err(format!("{sql}: {} rows", rows.len()).into()),
        }
    }

    /// How many rows a verify pass would report.
    pub(crate) async fn mismatches(&self) -> Outcome<String> {
        let any: Vec<String> = self
            .sync
            .mappings
            .iter()
            .map(|m| mapping::mismatch(m, "t"))
            .collect();
        let pins: String = mapping::pins(&self.sync.mappings)
            .into_iter()
            .map(|pin| format!("SET LOCAL {};", mapping::pin_text(pin)))
            .collect();
        let table = pontoon_core::sql::quote::quote_table(&self.sync.table);
        self.row(&format!(
            "BEGIN; {pins} SELECT count(*) FROM {table} AS t WHERE {}; COMMIT",
            mapping::any_of(any)
        ))
        .await
    }

    /// What the batch would do to the whole table; gives the changed rows.
    pub(crate) async fn fill(&self) -> Outcome<String> {
        let set: Vec<String> = mapping::fill_set(&self.sync.mappings, "t")
            .into_iter()
            .map(|(name, value)| {
                let name = pontoon_core::sql::quote::quote_ident(&name);
                format!("{name} = {value}")
            })
            .collect();
        let pins: String = mapping::pins(&self.sync.mappings)
            .into_iter()
            .map(|pin| format!("SET LOCAL {};", mapping::pin_text(pin)))
            .collect();
        let table = pontoon_core::sql::quote::quote_table(&self.sync.table);
        self.row(&format!(
            "BEGIN; {pins} WITH changed AS (UPDATE {table} AS t SET {} WHERE {} RETURNING 1) \
             SELECT count(*) FROM changed; COMMIT",
            set.join(", "),
            mapping::any_needs_fill(&self.sync.mappings, "t")
        ))
        .await
    }

    /// The time of the last write of an old version, in milliseconds; 0 when
    /// there was none.
    pub(crate) async fn seen(&self) -> Outcome<i64> {
        let sequence = sync::seen_sequence(&self.artifact);
        Ok(self
            .row(&format!(
                "SELECT coalesce(pg_sequence_last_value('{sequence}'::regclass), 0)"
            ))
            .await?
            .parse()?)
    }

    pub(crate) async fn conflicts(&self) -> Outcome<i64> {
        let sequence = sync::conflicts_sequence(&self.artifact);
        Ok(self
            .row(&format!(
                "SELECT coalesce(pg_sequence_last_value('{sequence}'::regclass), 0)"
            ))
            .await?
            .parse()?)
    }
}

pub(crate) async fn run(client: &Client, sql: &str) -> Outcome {
    Ok(client.batch_execute(sql).await?)
}

/// Rows as text: columns tied by `|`, NULL as `∅`.
pub(crate) async fn rows(client: &Client, sql: &str) -> Outcome<Vec<String>> {
    let messages = client.simple_query(sql).await?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => {
                let values: Vec<&str> = (0..row.len()).map(|i| row.get(i).unwrap_or("∅")).collect();
                Some(values.join("|"))
            }
            _ => None,
        })
        .collect())
}

/// The SQLSTATE of a failure that came from the server.
pub(crate) fn code(outcome: Outcome) -> Outcome<String> {
    match outcome {
        Ok(()) => Ok("none".to_owned()),
        Err(error) => match error.downcast_ref::<tokio_postgres::Error>() {
            Some(error) => Ok(error
                .code()
                .map_or_else(|| error.to_string(), |code| code.code().to_owned())),
            None => Err(error),
        },
    }
}
