//! What there is beside tables: only read, in a transaction of its own.

use std::collections::HashMap;

use pontoon_core::catalog::Question;
use pontoon_core::object::{Object, ObjectFacts};
use serde::Deserialize;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::rows::decode;
use super::{InspectError, server};

/// An answer: the question's place in the list, and what was found.
#[derive(Deserialize)]
struct Row {
    no: usize,
    #[serde(flatten)]
    facts: ObjectFacts,
}

/// The word for its kind in `objects.sql`, then its schema, its own name or
/// that of the table it belongs to, and its name there.
fn address(object: &Object) -> (&'static str, &str, &str, &str) {
    match object {
        Object::Schema { name } => ("schema", "", name, ""),
        Object::Extension { name } => ("extension", "", name, ""),
        Object::Role { name } => ("role", "", name, ""),
        Object::Type { name } => ("type", &name.schema, &name.name, ""),
        Object::Relation { name, .. } => ("relation", &name.schema, &name.name, ""),
        Object::Constraint { table, name } => ("constraint", &table.schema, &table.name, name),
        Object::Trigger { table, name } => ("trigger", &table.schema, &table.name, name),
        Object::Policy { table, name } => ("policy", &table.schema, &table.name, name),
    }
}

/// Something of that name is what the plan takes it for.
fn fits(object: &Object, facts: &ObjectFacts) -> bool {
    match object {
        Object::Relation { kind, .. } => facts.kind.is_some_and(|relkind| kind.fits(relkind)),
        Object::Schema { .. }
        | Object::Extension { .. }
        | Object::Role { .. }
        | Object::Type { .. }
        | Object::Constraint { .. }
        | Object::Trigger { .. }
        | Object::Policy { .. } => true,
    }
}

/// What was found, by the question's place in the list.
pub(super) async fn ask(
    client: &Client,
    questions: &[Question],
) -> Result<HashMap<usize, ObjectFacts>, InspectError> {
    let mut places: Vec<i64> = Vec::new();
    let mut asked: [Vec<&str>; 4] = Default::default();
    let mut wanted: HashMap<usize, &Object> = HashMap::new();
    for (no, question) in questions.iter().enumerate() {
        let Question::Object { object } = question else {
            continue;
        };
        let (kind, schema, name, part) = address(object);
        places.push(i64::try_from(no).unwrap_or(i64::MAX));
        for (list, text) in asked.iter_mut().zip([kind, schema, name, part]) {
            list.push(text);
        }
        wanted.insert(no, object);
    }
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let [kinds, schemas, names, parts] = &asked;
    // With nothing but pg_catalog in the search path, the server writes every
    // other name with its schema.
    super::begin(client, super::BEGIN).await?;
    let rows = client
        .query_typed(
            include_str!("sql/objects.sql"),
            &[
                (&places, Type::INT8_ARRAY),
                (kinds, Type::TEXT_ARRAY),
                (schemas, Type::TEXT_ARRAY),
                (names, Type::TEXT_ARRAY),
                (parts, Type::TEXT_ARRAY),
            ],
        )
        .await
        .map_err(server("look up what the plan names"));
    let rows = super::end(client, rows).await?;
    let found: Vec<Row> = decode("what the plan names", rows)?;
    Ok(found
        .into_iter()
        .filter(|row| {
            wanted
                .get(&row.no)
                .is_some_and(|object| fits(object, &row.facts))
        })
        .map(|row| (row.no, row.facts))
        .collect())
}
