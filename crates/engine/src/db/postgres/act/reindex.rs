//! `REINDEX INDEX CONCURRENTLY`: builds an index anew beside itself.
//!
//! The server builds `<name>_ccnew`, lets it take the name, and drops the old
//! one as `<name>_ccold`. Whatever breaks it off leaves one of the two, INVALID
//! and kept up to date by every write; it is dropped before the next try. That
//! the index was built anew cannot be seen afterwards, so a try whose end
//! nobody heard is made again: it costs time and does no harm.

use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::change::{drop_index_concurrently, reindex_concurrently};
use tokio_postgres::types::Type;

use super::super::sqlstate::classify;
use super::index::{
    find, is_valid, prepare, still_ours, tell_of_old_transactions, wait_for_builders,
};
use super::long::{Gaps, Long, Outcome};
use super::{Act, settle};
use crate::db::{ActReport, DbError, ErrorKind};

/// Builds the index anew and records it.
pub(super) async fn perform(
    act: &Act<'_>,
    table: &TableName,
    name: &str,
) -> Result<ActReport, DbError> {
    let mut gaps = Gaps::new(act);
    loop {
        match rebuild(act, table, name, gaps.attempts).await? {
            Outcome::Done(()) => break,
            Outcome::Again { blockers, gap } => gaps.wait(blockers, gap).await?,
        }
    }
    settle(act, is_valid(&table.schema, name), Vec::new()).await?;
    Ok(ActReport {
        attempts: gaps.attempts,
        ..ActReport::default()
    })
}

/// One try.
async fn rebuild(
    act: &Act<'_>,
    table: &TableName,
    name: &str,
    attempt: u32,
) -> Result<Outcome<()>, DbError> {
    let long = Long::open(act).await?;
    prepare(act, &long).await?;
    wait_for_builders(act, &long, name).await?;
    match find(act, &long.control, table, name).await? {
        Some(found) if found.of_table && found.relkind == "i" => {}
        _ => {
            return Err(DbError::new(
                ErrorKind::Failed,
                format!(
                    "{}: {}.{name} is no index of {table}",
                    act.doing, table.schema
                ),
            )
            .hint("Somebody dropped or renamed it after the run began."));
        }
    }
    clear(act, &long, table, name).await?;
    if attempt == 1 {
        tell_of_old_transactions(act, &long).await?;
    }
    still_ours(act, &long).await?;
    match long.run(act, &reindex_concurrently(table, name)).await {
        Ok(Outcome::Done(_)) => Ok(Outcome::Done(())),
        Ok(Outcome::Again { blockers, gap }) => {
            clear(act, &long, table, name).await?;
            Ok(Outcome::Again { blockers, gap })
        }
        Err(error) => {
            let failure = classify(&error, &act.doing);
            if !matches!(
                failure.kind,
                ErrorKind::Unreachable | ErrorKind::ServerChanged
            ) {
                // The first error is the one to tell; what it left is looked
                // for again by the next try.
                if let Err(second) = clear(act, &long, table, name).await {
                    tracing::warn!("an unfinished index was left behind: {second}");
                }
            }
            Err(failure)
        }
    }
}

/// Drops what an earlier try left.
async fn clear(act: &Act<'_>, long: &Long, table: &TableName, name: &str) -> Result<(), DbError> {
    let failed = |error| classify(&error, &act.doing);
    let left = long
        .control
        .query_typed(
            include_str!("sql/reindex_left.sql"),
            &[
                (&table.schema, Type::TEXT),
                (&table.name, Type::TEXT),
                (&name, Type::TEXT),
            ],
        )
        .await
        .map_err(failed)?;
    for row in left {
        still_ours(act, long).await?;
        prepare(act, long).await?;
        long.session
            .batch_execute(&drop_index_concurrently(table, row.get(0)))
            .await
            .map_err(failed)?;
    }
    Ok(())
}
