//! Lets the server itself parse a plan's expressions and types.
//!
//! Nobody but the server knows what `lower(email)` means: which function, with
//! which casts, how volatile. So each expression is put into a CHECK
//! constraint, a view and an index predicate on a temporary table of the
//! target's shape, and read back in the server's canonical spelling, with
//! every name outside `pg_catalog` qualified and every column marked with
//! [`ROW`]. All of it happens in `sql/questions.sql`, in one transaction that
//! is always rolled back, with one subtransaction for each question.
//!
//! Names without a schema are looked up in `pg_catalog`, then in the plan's
//! schema, and nowhere else. Operators too: where an extension lives in a
//! third schema, `a = b` on its types may silently be another type's `=`;
//! write `a OPERATOR(ext.=) b`.
//!
//! Literals are read with the session's own settings (`DateStyle`, …) and
//! written back in ISO spelling. The canonical text means the same wherever
//! `pg_catalog` comes first in the search path and `IntervalStyle` is
//! `postgres`.
//!
//! It costs a few rows in the system catalogs that vacuum removes again, and
//! needs TEMPORARY on the database and a primary.

use std::collections::{BTreeMap, HashMap};

use pontoon_core::catalog::{
    Catalog, ExprFacts, ExpressionAnswer, ObjectAnswer, Question, Replacing, ServerMessage,
    TypeAnswer, TypeFacts,
};
use pontoon_core::expr::{Expr, ROW, Volatility};
use pontoon_core::lex::{self, TokenKind};
use pontoon_core::name::TableName;
use pontoon_core::sql::quote::dollar_quote;
use serde::{Deserialize, Serialize};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::objects;
use super::rows::{self, decode_one};
use super::{InspectError, Request, server};

/// SQLSTATE syntax_error, for what is refused before the server sees it.
const SYNTAX_ERROR: &str = "42601";
/// SQLSTATE feature_not_supported.
const NOT_SUPPORTED: &str = "0A000";

#[derive(Serialize)]
struct Asked {
    shapes: Vec<Shape>,
    types: Vec<TypeText>,
}

/// Questions with the same table and added columns share one temporary table.
type ShapeKey<'a> = (&'a TableName, &'a [(String, String)]);

/// A temporary table and what is asked on it.
#[derive(Serialize)]
struct Shape {
    /// The column list of its CREATE TABLE.
    columns: String,
    questions: Vec<ExpressionText>,
}

#[derive(Serialize)]
struct ExpressionText {
    no: usize,
    text: String,
    assigned_to: Option<String>,
}

#[derive(Serialize)]
struct TypeText {
    no: usize,
    text: String,
}

#[derive(Deserialize)]
struct Answered {
    expressions: Vec<RawExpression>,
    types: Vec<RawType>,
}

#[derive(Deserialize)]
struct RawExpression {
    no: usize,
    error: Option<ServerMessage>,
    template: Option<String>,
    type_name: Option<String>,
    volatility: Option<Volatility>,
    null_on_null: Option<bool>,
    #[serde(default)]
    private_functions: Vec<String>,
}

#[derive(Deserialize)]
struct RawType {
    no: usize,
    error: Option<ServerMessage>,
    name: Option<String>,
    base: Option<String>,
    storage: Option<char>,
    #[serde(default)]
    constrained_domain: bool,
}

/// Asks the request's questions, and adds the answers to the catalog in their
/// order.
pub(super) async fn ask(
    client: &Client,
    request: &Request,
    about: &rows::Server,
    catalog: &mut Catalog,
) -> Result<(), InspectError> {
    let mut refused: HashMap<usize, ServerMessage> = HashMap::new();
    let mut shapes: BTreeMap<ShapeKey, Vec<ExpressionText>> = BTreeMap::new();
    let mut types = Vec::new();
    let mut replacements: Vec<&Replacing> = Vec::new();
    let (mut supposed, mut views): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
    for (no, question) in request.questions.iter().enumerate() {
        match question {
            Question::Object { .. } => {}
            // The question about the type tells what is wrong with it.
            Question::Replacement(replacing) => {
                replacements.extend(type_text(&replacing.to).is_ok().then_some(replacing));
            }
            Question::Suppose { statement } => supposed.push(statement.as_str()),
            Question::View { query } => views.push(query.as_str()),
            Question::Type { text } => match type_text(text) {
                Err(message) => _ = refused.insert(no, message),
                Ok(()) => types.push(TypeText {
                    no,
                    text: text.clone(),
                }),
            },
            Question::Expression {
                table,
                text,
                extra,
                assigned_to,
            } => match expression_text(text, extra, assigned_to.as_deref()) {
                Err(message) => _ = refused.insert(no, message),
                Ok(()) => shapes
                    .entry((table, extra))
                    .or_default()
                    .push(ExpressionText {
                        no,
                        text: text.clone(),
                        assigned_to: assigned_to.clone(),
                    }),
            },
        }
    }
    let shapes: Vec<Shape> = shapes
        .into_iter()
        .map(|((table, extra), questions)| Shape {
            columns: column_list(catalog, table, extra),
            questions,
        })
        .collect();

    let mut answered = Answered {
        expressions: Vec::new(),
        types: Vec::new(),
    };
    if !(shapes.is_empty() && types.is_empty() && views.is_empty() && replacements.is_empty()) {
        if about.in_recovery {
            return Err(InspectError::Standby);
        }
        if !about.may_create_temp {
            return Err(InspectError::TemporaryDenied {
                role: about.role.clone(),
                database: about.database.clone(),
            });
        }
        let asked = Asked { shapes, types };
        answered = put(client, &request.schema, &supposed, &asked).await?;
        catalog.views = super::views::ask(client, &request.schema, &supposed, &views).await?;
        catalog.replacements =
            super::replacements::ask(client, &request.schema, &supposed, &replacements, catalog)
                .await?;
    }

    let mut objects = objects::ask(client, &request.questions).await?;
    let mut expressions: HashMap<usize, RawExpression> = answered
        .expressions
        .into_iter()
        .map(|raw| (raw.no, raw))
        .collect();
    let mut types: HashMap<usize, RawType> = answered
        .types
        .into_iter()
        .map(|raw| (raw.no, raw))
        .collect();
    for (no, question) in request.questions.iter().enumerate() {
        let refused = refused.remove(&no);
        match question {
            Question::Suppose { .. } | Question::View { .. } | Question::Replacement(_) => {}
            Question::Object { object } => catalog.objects.push(ObjectAnswer {
                object: object.clone(),
                facts: objects.remove(&no),
            }),
            Question::Type { text } => catalog.types.push(TypeAnswer {
                text: text.clone(),
                result: match refused {
                    Some(message) => Err(message),
                    None => type_facts(types.remove(&no))?,
                },
            }),
            Question::Expression {
                table,
                text,
                assigned_to,
                ..
            } => catalog.expressions.push(ExpressionAnswer {
                table: table.clone(),
                text: text.clone(),
                assigned_to: assigned_to.clone(),
                result: match refused {
                    Some(message) => Err(message),
                    None => expression_facts(expressions.remove(&no))?,
                },
            }),
        }
    }
    Ok(())
}

/// The beginning of a transaction in which the server reads a plan's texts.
pub(super) fn begin(schema: &str, supposed: &[&str]) -> String {
    let mut text = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
         SET LOCAL search_path = pg_catalog, {}, pg_temp;
         SET LOCAL standard_conforming_strings = on;
         SET LOCAL quote_all_identifiers = off;
         SET LOCAL client_min_messages = error;
         SET LOCAL lock_timeout = '15s';
         SET LOCAL statement_timeout = '60s'",
        quote(schema)
    );
    // What cannot be made is missed by whoever needs it, who says so better.
    for statement in supposed {
        let body = format!(
            "BEGIN EXECUTE {}; EXCEPTION WHEN OTHERS THEN NULL; END",
            dollar_quote("pontoon_step", statement)
        );
        text.push_str(&format!(";\nDO {}", dollar_quote("pontoon_suppose", &body)));
    }
    text
}

/// One round trip: every message is sent before the first answer is read. The
/// last one rolls back, whatever became of those before it.
async fn put(
    client: &Client,
    schema: &str,
    supposed: &[&str],
    asked: &Asked,
) -> Result<Answered, InspectError> {
    let asked = serde_json::to_string(asked).map_err(|source| InspectError::Decode {
        what: "the questions",
        source,
    })?;
    let begin = begin(schema, supposed);
    let asked = [(&asked as _, Type::TEXT)];
    let (begun, given, done, answers, ended) = futures_util::future::join5(
        client.batch_execute(&begin),
        client.query_typed("SELECT set_config('pontoon.asked', $1, true)", &asked),
        client.batch_execute(include_str!("sql/questions.sql")),
        client.query_typed("SELECT current_setting('pontoon.answered')", &[]),
        client.batch_execute("ROLLBACK"),
    )
    .await;
    let doing = "let the server parse the plan's expressions";
    begun.map_err(server(doing))?;
    given.map_err(server(doing))?;
    done.map_err(server(doing))?;
    let answers = answers.map_err(server(doing))?;
    ended.map_err(server(doing))?;
    decode_one("the plan's expressions", answers)
}

/// What the server has against a text; an error of another kind is one of the
/// reading: a server that has no room or no time says nothing of the text.
pub(super) fn refused(
    error: tokio_postgres::Error,
    doing: &'static str,
) -> Result<ServerMessage, InspectError> {
    match error.as_db_error() {
        Some(said) if !matches!(&said.code().code()[..2], "53" | "55" | "57" | "58") => {
            Ok(ServerMessage {
                code: said.code().code().to_owned(),
                message: said.message().to_owned(),
                hint: said.hint().map(str::to_owned),
            })
        }
        _ => Err(server(doing)(error)),
    }
}

/// A name in double quotes.
fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// The columns of the table, those that the plan adds in place of any of the
/// same name. A table that does not exist has the added ones only.
pub(super) fn column_list(
    catalog: &Catalog,
    table: &TableName,
    extra: &[(String, String)],
) -> String {
    let mut columns: Vec<String> = Vec::new();
    for column in catalog.tables.get(table).iter().flat_map(|t| &t.columns) {
        if extra.iter().any(|(name, _)| *name == column.def.name) {
            continue;
        }
        let mut text = format!("{} {}", quote(&column.def.name), column.def.type_name);
        if let Some(collation) = &column.def.collation {
            text.push_str(" COLLATE ");
            text.push_str(collation);
        }
        columns.push(text);
    }
    // A line break ends a comment that the plan's text may end with.
    columns.extend(
        extra
            .iter()
            .map(|(name, type_name)| format!("{} {type_name}\n", quote(name))),
    );
    columns.join(", ")
}

fn message(code: &str, message: impl Into<String>) -> ServerMessage {
    ServerMessage {
        code: code.into(),
        message: message.into(),
        hint: None,
    }
}

/// What a type's text must be, before it is placed inside a statement.
fn type_text(text: &str) -> Result<(), ServerMessage> {
    lex::single_expression(text)
        .map_err(|error| message(SYNTAX_ERROR, format!("type \"{text}\" is wrong: {error}")))?;
    if text.contains(ROW) {
        return Err(reserved());
    }
    let tokens = lex::tokens(text).unwrap_or_default();
    let first = tokens.iter().find(|token| !token.is_blank());
    if first.and_then(lex::Token::name).as_deref() == Some("setof") {
        return Err(message(
            NOT_SUPPORTED,
            "a column cannot hold a set; name the type of one value",
        ));
    }
    Ok(())
}

fn expression_text(
    text: &str,
    extra: &[(String, String)],
    assigned_to: Option<&str>,
) -> Result<(), ServerMessage> {
    lex::single_expression(text).map_err(|error| {
        message(
            SYNTAX_ERROR,
            format!("expression \"{text}\" is wrong: {error}"),
        )
    })?;
    if text.contains(ROW) || extra.iter().any(|(name, _)| name.contains(ROW)) {
        return Err(reserved());
    }
    for type_name in extra.iter().map(|(_, t)| t.as_str()).chain(assigned_to) {
        type_text(type_name)?;
    }
    Ok(())
}

fn reserved() -> ServerMessage {
    message(
        NOT_SUPPORTED,
        format!("\"{ROW}\" is reserved for Pontoon; name columns without their table"),
    )
}

/// What we had to write around the plan's text must not show in the server's
/// words about it.
fn cleaned(mut said: ServerMessage) -> ServerMessage {
    fn clean(text: &str) -> String {
        text.replace("column \"pontoon_probe\"", "the column")
            .replace(&format!("{ROW}."), "")
    }
    said.message = clean(&said.message);
    said.hint = said
        .hint
        .as_deref()
        .map(clean)
        .filter(|hint| !hint.is_empty());
    said
}

fn type_facts(raw: Option<RawType>) -> Result<Result<TypeFacts, ServerMessage>, InspectError> {
    let incomplete = InspectError::Incomplete {
        what: "the plan's types",
    };
    let Some(raw) = raw else {
        return Err(incomplete);
    };
    match (raw.error, raw.name, raw.base) {
        (Some(said), _, _) => Ok(Err(cleaned(said))),
        (None, Some(name), Some(base)) => Ok(Ok(TypeFacts {
            name,
            base,
            constrained_domain: raw.constrained_domain,
            storage: raw.storage,
        })),
        _ => Err(incomplete),
    }
}

fn expression_facts(
    raw: Option<RawExpression>,
) -> Result<Result<ExprFacts, ServerMessage>, InspectError> {
    let incomplete = InspectError::Incomplete {
        what: "the plan's expressions",
    };
    let Some(raw) = raw else {
        return Err(incomplete);
    };
    match (raw.error, raw.template, raw.type_name, raw.volatility) {
        (Some(said), _, _, _) => Ok(Err(cleaned(said))),
        (None, Some(template), Some(type_name), Some(volatility)) => {
            Ok(place(&template).map(|(template, columns)| ExprFacts {
                expr: Expr {
                    template,
                    columns,
                    volatility,
                },
                type_name,
                null_on_null: raw.null_on_null,
                private_functions: raw.private_functions,
            }))
        }
        _ => Err(incomplete),
    }
}

/// Straightens the white space of a deparsed expression and lists its columns.
/// Refuses what cannot be placed elsewhere: the row as a whole, and anything
/// of the temporary schema.
fn place(deparsed: &str) -> Result<(String, Vec<String>), ServerMessage> {
    let tokens = lex::tokens(deparsed).map_err(|error| {
        message(
            SYNTAX_ERROR,
            format!("the server's spelling of the expression is wrong: {error}"),
        )
    })?;
    let mut template = String::with_capacity(deparsed.len());
    let mut columns: Vec<String> = Vec::new();
    let mut references = 0;
    for (at, token) in tokens.iter().enumerate() {
        if token.is_blank() {
            // The server breaks lines inside CASE.
            let next = tokens.get(at + 1);
            if !(template.is_empty()
                || template.ends_with('(')
                || next.is_none_or(|t| t.is_symbol(")")))
            {
                template.push(' ');
            }
            continue;
        }
        if token.name().is_some_and(|name| name.starts_with("pg_temp")) {
            return Err(message(
                NOT_SUPPORTED,
                "the expression needs an object of a temporary schema",
            ));
        }
        let is_row = matches!(token.kind, TokenKind::Word | TokenKind::Quoted)
            && token.name().as_deref() == Some(ROW);
        if is_row {
            let column = match (tokens.get(at + 1), tokens.get(at + 2)) {
                (Some(dot), Some(column)) if dot.is_symbol(".") => column.name(),
                _ => None,
            };
            let Some(column) = column else {
                return Err(message(
                    NOT_SUPPORTED,
                    "the expression uses the whole row; name the columns it needs",
                ));
            };
            references += 1;
            if !columns.contains(&column) {
                columns.push(column);
            }
        }
        template.push_str(token.text);
    }
    // `Expr` places a template by replacing the marker's text.
    if template.matches(&format!("{ROW}.")).count() != references {
        return Err(reserved());
    }
    Ok((template, columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_and_white_space_is_straightened() {
        let (template, columns) = place(
            "CASE\n            WHEN (pontoon_row.id = 1) THEN 'a  \n b'::text\n            ELSE pontoon_row.\"A \"\"b\"\n        END",
        )
        .expect("it can be placed");
        assert_eq!(
            template,
            "CASE WHEN (pontoon_row.id = 1) THEN 'a  \n b'::text ELSE pontoon_row.\"A \"\"b\" END"
        );
        assert_eq!(columns, ["id", "A \"b"]);
    }

    #[test]
    fn whole_rows_and_temporary_things_are_refused() {
        for wrong in [
            "to_jsonb(pontoon_row.*)",
            "pontoon_row",
            "(pontoon_row.a)::pg_temp_3.t",
            "(pontoon_row.a)::pg_temp.t",
        ] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_literal_that_looks_like_a_column_is_refused() {
        assert!(place("pontoon_row.a || 'pontoon_row.b'").is_err());
        assert!(expression_text("'pontoon_row.b'", &[], None).is_err());
    }

    #[test]
    fn texts_that_break_out_are_refused() {
        for wrong in ["a) OR (b", "a; DROP TABLE t", "", "a, b", "'a"] {
            assert!(expression_text(wrong, &[], None).is_err(), "{wrong}");
            assert!(type_text(wrong).is_err(), "{wrong}");
        }
        assert!(type_text("SETOF int").is_err());
        assert!(expression_text("a", &[("b".into(), "int, c int".into())], None).is_err());
    }
}
