//! Drain evidence: when an old application version last wrote.
//!
//! A dual write notes it in a sequence, at most once a second. What it cannot
//! see stays unknown: readers, writes that change nothing of the mapped
//! columns, those of versions that write the same columns by another name
//! (`split_table`), and the time before it was installed.

use std::time::Duration;

use pontoon_core::sql::postgres::sync::{artifact, conflicts_sequence, seen_sequence};
use pontoon_core::step::{Action, Rule};
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::act::text::run_word;
use super::super::sqlstate::classify;
use super::step::{number, steps};
use crate::db::{DbError, OldWrites};

/// Milliseconds since the last old-version write, over all tables of the run.
pub(crate) async fn old_writes(database: &Postgres, run: Uuid) -> Result<OldWrites, DbError> {
    let word = run_word(run);
    let (mut seen, mut conflicts, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
    let mut told_apart = true;
    for step in steps(database, run).await? {
        if let Action::Sync(sync) = &step.step.action {
            // Both versions write the same columns, by one name or the other.
            told_apart &= !sync
                .mappings
                .iter()
                .any(|mapping| matches!(mapping.rule, Rule::Copied { .. }));
            let artifact = artifact(&word, &sync.table);
            seen.push(seen_sequence(&artifact));
            conflicts.push(conflicts_sequence(&artifact));
            numbers.push(number(step.step.no)?);
        }
    }
    let rows = database
        .session()
        .await?
        .query_typed(
            include_str!("sql/old_writes.sql"),
            &[
                (&seen, Type::TEXT_ARRAY),
                (&conflicts, Type::TEXT_ARRAY),
                (&numbers, Type::INT4_ARRAY),
                (&run, Type::UUID),
            ],
        )
        .await
        .map_err(|error| classify(&error, "read when old versions last wrote"))?;
    let mut result = OldWrites::default();
    let mut unknown = !told_apart || rows.len() < numbers.len() || rows.is_empty();
    for row in &rows {
        unknown |= !row.get::<_, bool>("watched");
        let last_at: Option<String> = row.get("last_at");
        // The texts sort as the times do.
        result.last_at = result.last_at.max(last_at);
        let idle = row
            .get::<_, Option<f64>>("idle")
            .map(Duration::from_secs_f64);
        result.idle = match (result.idle, idle) {
            (Some(known), Some(idle)) => Some(known.min(idle)),
            (known, idle) => known.or(idle),
        };
        result.conflicts += u64::try_from(row.get::<_, i64>("conflicts")).unwrap_or_default();
    }
    if unknown {
        result.idle = None;
    }
    Ok(result)
}
