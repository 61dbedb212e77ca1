//! One batch: one message, one transaction.
//!
//! The message is `BEGIN`, the settings and the fence (see [`mod@prologue`]),
//! then one block that changes rows and writes cursor and counts (a `DO`, or
//! a function that the session has kept, see [`mod@super::routines`]), then
//! the block's report and `COMMIT`. The server gets it whole, so no pause of
//! ours can hold a row's lock.
//!
//! **Doubt.** The block writes its range only while the position is the one
//! the request was made from. After a connection was lost in a COMMIT, asking
//! again is therefore harmless: either the batch is done now, or the range as
//! it stands is returned.
//!
//! **Limits.** A batch that would pass `max_rows_affected` changes nothing.
//! It is then asked for again with what is left, so that a run ends at its
//! limit and never above it, whatever the number of its workers.

pub(crate) mod failure;
mod key;
pub(crate) mod laps;
pub(crate) mod left;
pub(crate) mod pages;
pub(crate) mod prologue;
pub(crate) mod record;
pub(crate) mod work;

use std::time::Duration;

use pontoon_core::step::CursorKind;
use serde::Deserialize;
use tokio_postgres::SimpleQueryMessage;

use self::key::KeyBatch;
use self::pages::PageBatch;
use self::prologue::{Access, Prologue};
use self::record::Target;
use self::work::Work;
use super::Postgres;
use super::ranges::position::{KeyPosition, KeyUpper, PagePosition, PageUpper, read};
use super::ranges::{Detail, reload};
use super::routines::Block;
use super::session::{rows, text};
use crate::db::{BatchReport, BatchRequest, DbError, ErrorKind, Fence, RangeRecord};

/// Raised by a batch: the range is not where the request saw it.
pub(crate) const MOVED: &str = "PT410";
/// Raised by a batch: its condition is still true of a row it has changed.
pub(crate) const STILL_NEEDED: &str = "PT422";
/// Raised by a batch: a row's old value is not found again in its new one.
pub(crate) const LOST: &str = "PT423";
/// How often what is left of a limit is asked for, while other workers take
/// from it as well.
const LIMIT_TRIES: u32 = 8;

/// What a block leaves behind for us.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Told {
    pub(crate) rewritten: bool,
    pub(crate) elapsed_ms: f64,
    pub(crate) position: String,
    pub(crate) done: bool,
    pub(crate) rows: u64,
    pub(crate) pages_done: u64,
    pub(crate) pages_total: u64,
    pub(crate) detail: Option<Detail>,
    pub(crate) changed: u64,
    pub(crate) contended: u64,
    /// Of a verify chunk: rows compared in it.
    pub(crate) checked: u64,
    /// Of a verify chunk: what it found.
    pub(crate) found: Option<crate::db::Findings>,
}

impl Told {
    /// Reads the report out of a message's answer.
    pub(crate) fn of(messages: &[SimpleQueryMessage]) -> Result<Self, DbError> {
        let row = rows(messages).last().ok_or_else(|| {
            DbError::new(ErrorKind::Internal, "The server's answer lacks the report")
        })?;
        serde_json::from_str(text(row, "report")?).map_err(|error| {
            DbError::new(
                ErrorKind::Internal,
                format!("read the report of a batch: {error}"),
            )
        })
    }

    /// Server time.
    pub(crate) fn elapsed(&self) -> Duration {
        Duration::from_secs_f64((self.elapsed_ms / 1000.0).max(0.0))
    }

    /// The range as it stands now.
    pub(crate) fn apply(self, range: &RangeRecord) -> RangeRecord {
        if self.rewritten {
            return range.clone();
        }
        let findings = self
            .detail
            .map_or_else(|| range.findings.clone(), |detail| detail.findings);
        RangeRecord {
            position: self.position,
            done: self.done,
            rows: self.rows,
            pages_done: self.pages_done,
            pages_total: self.pages_total,
            findings,
            ..range.clone()
        }
    }
}

/// One batch. Part of the waist.
pub(super) async fn batch(
    database: &Postgres,
    fence: &Fence,
    request: &BatchRequest,
) -> Result<BatchReport, DbError> {
    let work = Work::of(&request.backfill.work);
    let mut most = request.max_batch_rows.max(1);
    let mut tries = 0;
    loop {
        let (prologue, block) = message(fence, request, &work, most)?;
        let session = database.batch_session().await?;
        let doing = format!("change rows of {}", request.range.table);
        let sent = session.block_message(&prologue, &block, &doing);
        let error = match sent.await {
            Ok(messages) => {
                let told = Told::of(&messages)?;
                return Ok(BatchReport {
                    changed: told.changed,
                    contended: told.contended,
                    elapsed: told.elapsed(),
                    rewritten: told.rewritten,
                    taken: false,
                    range: told.apply(&request.range),
                });
            }
            Err(error) => error,
        };
        drop(session);
        match (&error.kind, error.code.as_deref()) {
            (ErrorKind::RowLimit { affected, limit }, _) => {
                tries += 1;
                let left = limit.saturating_sub(*affected);
                if left == 0 || tries > LIMIT_TRIES {
                    return Err(row_limit(error.clone(), *affected, *limit));
                }
                most = most.min(left);
            }
            (_, Some(MOVED)) => {
                let (range, taken) = reload(database, fence, &request.range).await?;
                return Ok(BatchReport {
                    range,
                    taken,
                    changed: 0,
                    contended: 0,
                    elapsed: Duration::ZERO,
                    rewritten: false,
                });
            }
            (ErrorKind::Failed, _) => {
                return Err(failure::explain(database, fence, request, &work, error).await);
            }
            _ => return Err(error),
        }
    }
}

fn row_limit(error: DbError, affected: u64, limit: u64) -> DbError {
    DbError {
        message: format!(
            "The run has changed {affected} rows, and max_rows_affected is {limit}"
        ),
        hints: vec![
            "Raise limits.max_rows_affected in the plan, or set max-rows-affected on the run, and run it again: it goes on from here.".to_owned(),
        ],
        ..error
    }
}

/// A batch that changes at most `most` rows: how its message begins, and its
/// block.
fn message(
    fence: &Fence,
    request: &BatchRequest,
    work: &Work,
    most: u64,
) -> Result<(Prologue, Block), DbError> {
    let range = &request.range;
    let upper = range.upper.as_deref().unwrap_or_default();
    let target = Target {
        fence,
        range,
        max_rows_affected: request.max_rows_affected,
    };
    let rows = request.rows.clamp(1, request.max_batch_rows.max(1));
    let (access, facts, block) = match range.cursor {
        CursorKind::Pages => {
            let upper = read::<PageUpper>(upper)?;
            let block = PageBatch {
                table: &range.table,
                work: &work.clone().on_table(&upper.facts),
                position: &read::<PagePosition>(&range.position)?,
                upper: &upper,
                storage: range.storage,
                rows,
                most,
                target,
            };
            let block = block.block();
            (Access::Pages, upper.facts, block)
        }
        CursorKind::Key => {
            let upper = read::<KeyUpper>(upper)?;
            let block = KeyBatch {
                table: &range.table,
                work: &work.clone().on_table(&upper.facts),
                position: &read::<KeyPosition>(&range.position)?,
                upper: &upper,
                rows,
                most,
                rows_estimate: range.rows_estimate,
                pages_total: range.pages_total,
                target,
            };
            let block = block.block();
            (Access::Key, upper.facts, block)
        }
    };
    let prologue = Prologue::new(fence, access, &work.pins, request.timeout, &facts);
    Ok((prologue, block))
}
