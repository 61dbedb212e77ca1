//! Long statements on a partition, which may be dropped or detached before its
//! turn, or in the middle of it.

use pontoon_core::sql::postgres::change::is_partition;
use pontoon_core::sql::quote::{quote_literal, quote_table};
use pontoon_core::step::{Concurrent, Partition};

use super::super::sqlstate::classify;
use super::{Act, concurrent, settle};
use crate::db::{ActReport, DbError, Direction, ErrorKind};
use crate::event::Event;

/// Does what the step says as long as the table is a partition. The way back
/// also clears what a partition that was detached has got.
pub(super) async fn perform(
    act: &Act<'_>,
    partition: &Partition,
    statement: &Concurrent,
    texts: &[String],
    direction: Direction,
) -> Result<ActReport, DbError> {
    if direction == Direction::Do && !is_one(act, partition, statement).await? {
        return leave(act, partition).await;
    }
    // Boxed, for a statement may hold another one.
    match Box::pin(concurrent(act, statement, texts, direction)).await {
        Err(error)
            if error.kind == ErrorKind::Failed && !is_one(act, partition, statement).await? =>
        {
            leave(act, partition).await
        }
        ended => ended,
    }
}

/// It is the partition that the steps before have met: a table that was made
/// again under its name has no constraint that could be validated.
async fn is_one(
    act: &Act<'_>,
    partition: &Partition,
    statement: &Concurrent,
) -> Result<bool, DbError> {
    let mut condition = is_partition(partition);
    if let Concurrent::Validate { table, name, .. } = statement {
        condition.push_str(&format!(
            " AND EXISTS (SELECT FROM pg_catalog.pg_constraint
                WHERE conrelid = pg_catalog.to_regclass({}) AND conname = {})",
            quote_literal(&quote_table(table)),
            quote_literal(name)
        ));
    }
    let row = act
        .database
        .session()
        .await?
        .query_typed_one(&format!("SELECT {condition}"), &[])
        .await
        .map_err(|error| classify(&error, &act.doing))?;
    Ok(row.get(0))
}

/// There is nothing to do any more.
async fn leave(act: &Act<'_>, partition: &Partition) -> Result<ActReport, DbError> {
    act.sink.emit(Event::Warning {
        message: format!(
            "{} is not the partition of {} any more that it was, and is left alone.",
            partition.table, partition.of
        ),
    });
    settle(act, String::new(), Vec::new()).await
}
