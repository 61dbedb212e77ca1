//! What columns a view over a plan's query would have: the server makes such a
//! view among the temporary ones, in a transaction that is rolled back.

use pontoon_core::catalog::{ServerMessage, ViewAnswer};
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::questions::{begin, refused};
use super::{InspectError, end, server};

const DOING: &str = "let the server read the queries of views";

/// The answers, in the order of the questions.
pub(super) async fn ask(
    client: &Client,
    schema: &str,
    supposed: &[&str],
    queries: &[&str],
) -> Result<Vec<ViewAnswer>, InspectError> {
    if queries.is_empty() {
        return Ok(Vec::new());
    }
    super::begin(client, &begin(schema, supposed)).await?;
    let result = each(client, queries).await;
    end(client, result).await
}

async fn each(client: &Client, queries: &[&str]) -> Result<Vec<ViewAnswer>, InspectError> {
    let mut answers = Vec::new();
    for query in queries {
        answers.push(ViewAnswer {
            query: (*query).to_owned(),
            result: one(client, query).await?,
        });
    }
    Ok(answers)
}

async fn one(
    client: &Client,
    query: &str,
) -> Result<Result<Vec<(String, String)>, ServerMessage>, InspectError> {
    // The plan's check let through nothing but one SELECT.
    let create = format!(
        "SAVEPOINT pontoon_view; CREATE TEMPORARY VIEW pontoon_asked AS\n{}",
        query.trim().trim_end_matches(';')
    );
    let made = client.batch_execute(&create).await;
    let answer = match made {
        Ok(()) => Ok(client
            .query_typed(
                "SELECT a.attname::text, pg_catalog.format_type(a.atttypid, a.atttypmod)
                   FROM pg_catalog.pg_attribute a
                  WHERE a.attrelid = $1::text::pg_catalog.regclass AND a.attnum > 0
                  ORDER BY a.attnum",
                &[(&"pg_temp.pontoon_asked", Type::TEXT)],
            )
            .await
            .map_err(server(DOING))?
            .iter()
            .map(|row| (row.get(0), row.get(1)))
            .collect()),
        Err(error) => Err(refused(error, DOING)?),
    };
    client
        .batch_execute("ROLLBACK TO SAVEPOINT pontoon_view")
        .await
        .map_err(server(DOING))?;
    Ok(answer)
}
