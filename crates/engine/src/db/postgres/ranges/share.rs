//! Who has which range, when several processes work on one run.
//!
//! A range belongs to the token that stands in it, for as long as that
//! token's own term lasts: the lease's, or that of a worker which has joined
//! the holder's term. Taking one locks its row for an instant and passes over
//! rows that others have locked, so no process waits for another here. What
//! keeps two from doing the same rows is not this: a batch commits only while
//! its range stands where the batch began and belongs to nobody else.

use std::time::Duration;

use tokio_postgres::Client;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::fence::work_statement;
use super::super::sqlstate::classify;
use super::{number, record, stored};
use crate::db::{Claim, DbError, Fence, RangeRecord};

/// How long a process that finds nothing free waits before it asks again:
/// others give ranges back when they stop, or their term ends.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// Passes of an undo are numbered from here: the holder's alone.
const UNDO_PASS: i32 = 1_000;

/// A transaction that only says who has what. When it is lost in a crash of
/// the server, so are all terms.
fn begin(fence: &Fence) -> String {
    format!(
        "SET LOCAL synchronous_commit = off;\n{}",
        work_statement(fence)
    )
}

/// The ranges of a backfill's newest pass as they stand.
pub(crate) async fn listed(
    database: &Postgres,
    run: Uuid,
    step: u32,
) -> Result<Vec<RangeRecord>, DbError> {
    const DOING: &str = "list the ranges of a backfill";
    let session = database.session().await?;
    let newest = session
        .query_typed_one(
            include_str!("sql/newest_pass.sql"),
            &[
                (&run, Type::UUID),
                (&number(step)?, Type::INT4),
                (&UNDO_PASS, Type::INT4),
            ],
        )
        .await
        .map_err(|error| classify(&error, DOING))?
        .get::<_, Option<i32>>("pass")
        .and_then(|pass| u32::try_from(pass).ok());
    let Some(pass) = newest else {
        return Ok(Vec::new());
    };
    let ranges = stored(&session, run, step, pass).await?;
    Ok(ranges.into_iter().map(|(_, range)| range).collect())
}

/// Frees what this process has taken in a step.
pub(super) async fn disown(client: &Client, fence: &Fence, step: u32) -> Result<(), DbError> {
    client
        .execute_typed(
            include_str!("sql/disown.sql"),
            &[
                (&fence.run, Type::UUID),
                (&number(step)?, Type::INT4),
                (&fence.token.to_string(), Type::TEXT),
            ],
        )
        .await
        .map_err(|error| classify(&error, "give ranges back"))?;
    Ok(())
}

/// Takes the next range that nobody has.
pub(crate) async fn claim(
    database: &Postgres,
    fence: &Fence,
    step: u32,
    pass: u32,
) -> Result<Claim, DbError> {
    const DOING: &str = "take a range";
    let session = database.session().await?;
    session
        .transaction(&begin(fence), DOING, async |client| {
            let (run, no, of) = (fence.run, number(step)?, number(pass)?);
            let claimed = client
                .query_typed_opt(
                    include_str!("sql/claim.sql"),
                    &[
                        (&run, Type::UUID),
                        (&no, Type::INT4),
                        (&of, Type::INT4),
                        (&fence.token.to_string(), Type::TEXT),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            if let Some(row) = claimed {
                return Ok(Claim::Range(Box::new(record(&row, step, pass)?)));
            }
            let left = client
                .query_typed_one(
                    include_str!("sql/left.sql"),
                    &[(&run, Type::UUID), (&no, Type::INT4), (&of, Type::INT4)],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            if left.get::<_, i64>("open") == 0 {
                return Ok(Claim::Nothing);
            }
            let rested = left
                .get::<_, Option<f64>>("rested_in")
                .map_or(ASK_AGAIN, |seconds| {
                    Duration::from_secs_f64(seconds.max(0.01))
                });
            Ok(Claim::Later(rested.min(ASK_AGAIN)))
        })
        .await
}

/// Lets others take a range, once it has rested.
pub(crate) async fn give_back(
    database: &Postgres,
    fence: &Fence,
    range: &RangeRecord,
    rest: Duration,
) -> Result<(), DbError> {
    const DOING: &str = "give a range back";
    let session = database.session().await?;
    session
        .transaction(&begin(fence), DOING, async |client| {
            client
                .execute_typed(
                    include_str!("sql/give_back.sql"),
                    &[
                        (&fence.run, Type::UUID),
                        (&number(range.step)?, Type::INT4),
                        (&number(range.pass)?, Type::INT4),
                        (&number(range.no)?, Type::INT4),
                        (&fence.token.to_string(), Type::TEXT),
                        (&(rest.as_secs_f64() * 1e6), Type::FLOAT8),
                    ],
                )
                .await
                .map_err(|error| classify(&error, DOING))?;
            Ok(())
        })
        .await
}
