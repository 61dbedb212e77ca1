//! From a table to ranges.
//!
//! A scan's ranges tile every *leaf* of its table (the table itself, its
//! partitions, its inheritance children) without a gap. They are stored, so
//! that a later sitting goes on where the last one ended, and brought up to
//! date on each call:
//!
//! - a leaf that came meanwhile (an attached partition) gets ranges of its own;
//! - a leaf that has gone loses its ranges;
//! - a leaf whose storage was rewritten (VACUUM FULL, CLUSTER, TRUNCATE) gets
//!   new ranges in place of the old ones: its rows stand elsewhere now. Doing
//!   rows again is harmless.
//!
//! **The fixed end.** The last range ends where the table ended when it was
//! made: behind its last page, or at its greatest key. For a scan that a dual
//! write covers that is enough: a row nobody touches never moves, and every
//! touch brings its row into step. Without the end, rows that come faster than
//! a scan that yields goes would keep it going for ever. A verify pass reads
//! on behind it, as far as [`verify`](mod@super::verify) says.

mod key;
mod leaf;
pub(crate) mod position;
pub(super) mod share;

use std::collections::BTreeMap;

use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::mapping::fill_set;
use pontoon_core::sql::postgres::sync;
use pontoon_core::sql::quote::quote_literal;
use pontoon_core::step::{BackfillWork, CursorKind};
use serde::{Deserialize, Serialize};
use tokio_postgres::types::{Json, Type};
use tokio_postgres::{Client, Row};

use self::leaf::Leaf;
use self::position::{Facts, KeyPosition, KeyUpper, PagePosition, PageUpper};
use super::act::text::run_word;
use super::batch::prologue::TEXT_FORM;
use super::fence::fence_statement;
use super::sqlstate::classify;
use super::{DEADLOCK_MS, Postgres};
use crate::db::{DbError, ErrorKind, Fence, Findings, RangeRecord, Scan, ScanKind};

/// A range is split off for each of these many pages (256 MB), so that
/// workers find something to do whatever their number becomes.
const PAGES_PER_RANGE: u64 = 32_768;
/// No range is smaller than this for the sake of several workers.
const FEWEST_PAGES: u64 = 32;
/// Ranges per worker, so that none is idle at the end,
const RANGES_PER_WORKER: u32 = 8;
/// where they have as many pages: laps over short ranges come too soon after
/// one another to reuse anything.
const PAGES_FOR_MORE: u64 = 1_024;
/// More ranges than this help nobody; they grow instead.
const MOST_RANGES: u64 = 2_048;
/// In place of a number of losses: some are neither committed nor taken back.
const UNSETTLED: &str = "unsettled";

/// What `pontoon.range.detail` holds.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Detail {
    #[serde(default)]
    pub(crate) rows_estimate: u64,
    #[serde(default)]
    pub(crate) findings: Findings,
}

/// A range before it is stored.
#[derive(Debug, Serialize)]
struct NewRange {
    no: i32,
    schema_name: String,
    table_name: String,
    relid: u32,
    filenode: u32,
    cursor_kind: &'static str,
    position: String,
    upper: String,
    done: bool,
    pages_total: u64,
    detail: Detail,
}

/// The ranges of a scan, stored and up to date. Part of the waist.
pub(super) async fn ranges(
    database: &Postgres,
    fence: &Fence,
    scan: &Scan,
) -> Result<Vec<RangeRecord>, DbError> {
    const DOING: &str = "prepare the ranges of a scan";
    let mut begin = "SET LOCAL search_path = pg_catalog, pg_temp;\n".to_owned();
    for (name, value) in TEXT_FORM {
        begin.push_str(&format!("SET LOCAL {name} = {};\n", quote_literal(value)));
    }
    begin.push_str(&fence_statement(fence));
    let session = database.session().await?;
    session
        .transaction(&begin, DOING, async |client| {
            let maker = Maker {
                client,
                fence,
                scan,
            };
            share::disown(client, fence, scan.no).await?;
            maker.bring_up_to_date().await?;
            maker
                .stored()
                .await
                .map(|rows| rows.into_iter().map(|(_, range)| range).collect())
        })
        .await
}

/// One range as it is stored now, and whether another process has it.
pub(super) async fn reload(
    database: &Postgres,
    fence: &Fence,
    range: &RangeRecord,
) -> Result<(RangeRecord, bool), DbError> {
    const DOING: &str = "read a range again";
    let session = database.session().await?;
    let row = session
        .query_typed_opt(
            include_str!("sql/select_one.sql"),
            &[
                (&fence.run, Type::UUID),
                (&number(range.step)?, Type::INT4),
                (&number(range.pass)?, Type::INT4),
                (&number(range.no)?, Type::INT4),
            ],
        )
        .await
        .map_err(|error| classify(&error, DOING))?
        .ok_or_else(|| {
            DbError::new(
                ErrorKind::Transient,
                format!("{DOING}: range {} of step {} is gone", range.no, range.step),
            )
        })?;
    let taken = row
        .get::<_, Option<&str>>("owner")
        .is_some_and(|owner| owner != fence.token.to_string());
    Ok((record(&row, range.step, range.pass)?, taken))
}

struct Maker<'a> {
    client: &'a Client,
    fence: &'a Fence,
    scan: &'a Scan,
}

impl Maker<'_> {
    async fn bring_up_to_date(&self) -> Result<(), DbError> {
        let leaves = leaf::leaves(self.client, self.table()).await?;
        let stored = self.stored().await?;
        let mut next = stored.last().map_or(1, |(_, range)| range.no + 1);
        let mut by_leaf: BTreeMap<u32, Vec<&RangeRecord>> = BTreeMap::new();
        for (relid, range) in &stored {
            by_leaf.entry(*relid).or_default().push(range);
        }
        let mut new = Vec::new();
        for leaf in &leaves {
            let old = by_leaf.remove(&leaf.relid).unwrap_or_default();
            // Where a key leads, it does not matter where the rows stand.
            let holds = !old.is_empty()
                && old
                    .iter()
                    .all(|range| range.cursor == CursorKind::Key || range.storage == leaf.filenode);
            if holds {
                assert_tiled(&old)?;
                continue;
            }
            self.forget(leaf.relid).await?;
            for range in self.tile(leaf).await? {
                new.push(NewRange {
                    no: number(next)?,
                    ..range
                });
                next += 1;
            }
        }
        for gone in by_leaf.into_keys() {
            self.forget(gone).await?;
        }
        self.store(new).await
    }

    async fn stored(&self) -> Result<Vec<(u32, RangeRecord)>, DbError> {
        stored(self.client, self.fence.run, self.scan.no, self.scan.pass).await
    }

    async fn forget(&self, relid: u32) -> Result<(), DbError> {
        self.client
            .execute_typed(
                "DELETE FROM pontoon.range WHERE run = $1 AND step = $2 AND pass = $3 AND relid = $4",
                &[
                    (&self.fence.run, Type::UUID),
                    (&number(self.scan.no)?, Type::INT4),
                    (&number(self.scan.pass)?, Type::INT4),
                    (&relid, Type::OID),
                ],
            )
            .await
            .map_err(|error| classify(&error, "drop outdated ranges"))?;
        Ok(())
    }

    async fn store(&self, ranges: Vec<NewRange>) -> Result<(), DbError> {
        if ranges.is_empty() {
            return Ok(());
        }
        let losses = self.losses().await?;
        self.client
            .execute_typed(
                include_str!("sql/insert.sql"),
                &[
                    (&self.fence.run, Type::UUID),
                    (&number(self.scan.no)?, Type::INT4),
                    (&number(self.scan.pass)?, Type::INT4),
                    (&Json(&ranges), Type::JSONB),
                    (&losses, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| classify(&error, "store the ranges of a scan"))?;
        Ok(())
    }

    /// How often writers have lost a value so far, for a verify pass that is
    /// about to look at its ranges: it says nothing of what is written later.
    /// A writer that has not committed yet is counted already, and no pass sees
    /// its row; then this is no number, and the pass will not be taken for a
    /// proof. The count is read first: whoever is counted holds his lock until
    /// his row can be seen.
    async fn losses(&self) -> Result<Option<String>, DbError> {
        let ScanKind::Verify(verify) = &self.scan.kind else {
            return Ok(None);
        };
        if !sync::may_lose(&verify.mappings) {
            return Ok(None);
        }
        let artifact = sync::artifact(&run_word(self.fence.run), &verify.table);
        let sequence = sync::lost_sequence(&artifact);
        let read = |error| classify(&error, "read how many values were lost");
        let row = self
            .client
            .query_typed_one(
                "SELECT coalesce(pg_catalog.pg_sequence_last_value($1::text::pg_catalog.regclass), 0)::text AS losses",
                &[(&sequence, Type::TEXT)],
            )
            .await
            .map_err(read)?;
        let losses: String = row.get("losses");
        let row = self
            .client
            .query_typed_one(
                include_str!("sql/losing.sql"),
                &[(&sync::LOSING, Type::INT4), (&sequence, Type::TEXT)],
            )
            .await
            .map_err(read)?;
        Ok(Some(if row.get("losing") {
            UNSETTLED.to_owned()
        } else {
            losses
        }))
    }

    /// New ranges for a leaf; their numbers are given later.
    async fn tile(&self, leaf: &Leaf) -> Result<Vec<NewRange>, DbError> {
        let (facts, laps) = self.facts(leaf).await?;
        if let ScanKind::Backfill(_) = self.scan.kind
            && !written_columns(&self.scan.kind).is_empty()
            && let Some(key) = key::choose(self.client, leaf, self.scan).await?
        {
            let parts = parts(leaf.pages, self.scan.workers);
            let bounds = key::split(self.client, leaf, &key, parts).await?;
            let last = key::last(self.client, leaf, &key).await?;
            return Ok(key_ranges(leaf, &key, &bounds, last, &facts));
        }
        Ok(self.page_ranges(leaf, &facts, laps))
    }

    fn page_ranges(&self, leaf: &Leaf, facts: &Facts, laps: u32) -> Vec<NewRange> {
        let tail = matches!(self.scan.kind, ScanKind::Verify(_));
        let idle = !tail && written_columns(&self.scan.kind).is_empty();
        let parts = parts(leaf.pages, self.scan.workers);
        (0..parts)
            .map(|part| {
                let begin = share(leaf.pages, part, parts);
                let end = share(leaf.pages, part + 1, parts);
                let tail = tail && part + 1 == parts;
                let position = PagePosition {
                    page: begin,
                    ..PagePosition::default()
                };
                let upper = PageUpper {
                    begin,
                    end,
                    tail,
                    laps: if end - begin < FEWEST_PAGES { 1 } else { laps },
                    facts: facts.clone(),
                };
                new_range(
                    leaf,
                    CursorKind::Pages,
                    position::write(&position),
                    position::write(&upper),
                    idle || (begin == end && !tail),
                    end - begin,
                    leaf.rows.unwrap_or(0) / parts,
                )
            })
            .collect()
    }

    /// What batches must know of the table, and the laps that pay there.
    async fn facts(&self, leaf: &Leaf) -> Result<(Facts, u32), DbError> {
        let row = self
            .client
            .query_typed_one(
                &include_str!("sql/facts.sql").replace("{deadlock_ms}", DEADLOCK_MS),
                &[
                    (&leaf.relid, Type::OID),
                    (&written_columns(&self.scan.kind), Type::TEXT_ARRAY),
                ],
            )
            .await
            .map_err(|error| classify(&error, "read the keys of a table"))?;
        let laps = if row.get("conflicts") {
            1
        } else {
            self.scan.laps
        };
        let facts = Facts {
            deadlock_ms: u32::try_from(row.get::<_, i32>("deadlock_ms")).ok(),
            key_lock: row.get("key_lock"),
            changing_triggers: row.get("changing_triggers"),
            names: row.get("names"),
        };
        Ok((facts, laps))
    }

    fn table(&self) -> &TableName {
        match &self.scan.kind {
            ScanKind::Backfill(backfill) => &backfill.table,
            ScanKind::Verify(verify) => &verify.table,
        }
    }
}

/// The ranges of a pass with their tables, in order.
async fn stored(
    client: &Client,
    run: uuid::Uuid,
    step: u32,
    pass: u32,
) -> Result<Vec<(u32, RangeRecord)>, DbError> {
    client
        .query_typed(
            include_str!("sql/select.sql"),
            &[
                (&run, Type::UUID),
                (&number(step)?, Type::INT4),
                (&number(pass)?, Type::INT4),
            ],
        )
        .await
        .map_err(|error| classify(&error, "read the ranges of a scan"))?
        .iter()
        .map(|row| Ok((row.get("relid"), record(row, step, pass)?)))
        .collect()
}

fn key_ranges(
    leaf: &Leaf,
    key: &key::Key,
    bounds: &[position::Point],
    last: Option<position::Point>,
    facts: &Facts,
) -> Vec<NewRange> {
    let parts = bounds.len() as u64 + 1;
    let empty = last.is_none();
    let lower = std::iter::once(None).chain(bounds.iter().cloned().map(Some));
    let upper = bounds
        .iter()
        .cloned()
        .map(Some)
        .chain(std::iter::once(last));
    lower
        .zip(upper)
        .zip(0..)
        .map(|((after, upto), part)| {
            let position = KeyPosition {
                after,
                ..KeyPosition::default()
            };
            let end = KeyUpper {
                upto,
                columns: key.columns.clone(),
                facts: facts.clone(),
            };
            new_range(
                leaf,
                CursorKind::Key,
                position::write(&position),
                position::write(&end),
                empty,
                share(leaf.pages, part + 1, parts) - share(leaf.pages, part, parts),
                leaf.rows.unwrap_or(0) / parts,
            )
        })
        .collect()
}

fn new_range(
    leaf: &Leaf,
    cursor: CursorKind,
    position: String,
    upper: String,
    done: bool,
    pages_total: u64,
    rows_estimate: u64,
) -> NewRange {
    NewRange {
        no: 0,
        schema_name: leaf.table.schema.clone(),
        table_name: leaf.table.name.clone(),
        relid: leaf.relid,
        filenode: leaf.filenode,
        cursor_kind: cursor_name(cursor),
        position,
        upper,
        done,
        pages_total,
        detail: Detail {
            rows_estimate,
            findings: Findings::default(),
        },
    }
}

/// The columns that a scan may write.
fn written_columns(kind: &ScanKind) -> Vec<String> {
    let mappings = match kind {
        ScanKind::Backfill(backfill) => match &backfill.work {
            BackfillWork::Mappings { mappings } => mappings,
            BackfillWork::Update { set, .. } => {
                return set.iter().map(|(column, _)| column.name.clone()).collect();
            }
        },
        ScanKind::Verify(verify) => &verify.mappings,
    };
    fill_set(mappings, "t")
        .into_iter()
        .map(|(name, _)| name)
        .collect()
}

/// How many ranges a leaf of this size is split into.
fn parts(pages: u64, workers: u32) -> u64 {
    let one_each = u64::from(workers).min(pages / FEWEST_PAGES);
    let several = u64::from(workers.saturating_mul(RANGES_PER_WORKER)).min(pages / PAGES_FOR_MORE);
    pages
        .div_ceil(PAGES_PER_RANGE)
        .min(MOST_RANGES)
        .max(one_each)
        .max(several)
        .max(1)
}

/// Where part `part` of `parts` begins in `whole`.
fn share(whole: u64, part: u64, parts: u64) -> u64 {
    let at = u128::from(whole) * u128::from(part) / u128::from(parts);
    u64::try_from(at).unwrap_or(whole)
}

/// Stored ranges of pages cover their leaf without a gap or an overlap, up to
/// the end that was fixed. Anything else would be rows nobody looks at.
fn assert_tiled(ranges: &[&RangeRecord]) -> Result<(), DbError> {
    let mut uppers = Vec::with_capacity(ranges.len());
    for range in ranges {
        if range.cursor == CursorKind::Pages {
            uppers.push(position::read::<PageUpper>(
                range.upper.as_deref().unwrap_or_default(),
            )?);
        }
    }
    uppers.sort_by_key(|upper| (upper.begin, upper.end));
    let mut reached = 0;
    for upper in &uppers {
        if upper.begin != reached {
            return Err(DbError::new(
                ErrorKind::Internal,
                format!(
                    "The stored ranges of {} leave pages {reached} to {} out",
                    ranges[0].table, upper.begin
                ),
            ));
        }
        reached = upper.end;
    }
    Ok(())
}

fn record(row: &Row, step: u32, pass: u32) -> Result<RangeRecord, DbError> {
    let Json(detail): Json<Detail> = row.try_get("detail").map_err(|error| {
        DbError::new(ErrorKind::Internal, format!("read a stored range: {error}"))
    })?;
    let cursor = match row.get("cursor_kind") {
        "pages" => CursorKind::Pages,
        "key" => CursorKind::Key,
        other => {
            return Err(DbError::new(
                ErrorKind::Internal,
                format!("A stored range has the unknown cursor `{other}`"),
            ));
        }
    };
    Ok(RangeRecord {
        step,
        pass,
        no: u32::try_from(row.get::<_, i32>("no")).unwrap_or_default(),
        table: TableName::new(
            row.get::<_, String>("schema_name"),
            row.get::<_, String>("table_name"),
        ),
        cursor,
        position: row.get("position"),
        upper: row.get("upper"),
        done: row.get("done"),
        rows: count(row.get("rows")),
        pages_done: count(row.get("pages_done")),
        pages_total: count(row.get("pages_total")),
        storage: row.get("filenode"),
        rows_estimate: detail.rows_estimate,
        findings: detail.findings,
    })
}

fn cursor_name(cursor: CursorKind) -> &'static str {
    match cursor {
        CursorKind::Pages => "pages",
        CursorKind::Key => "key",
    }
}

/// Numbers of steps, passes and ranges as the database holds them.
fn number(value: u32) -> Result<i32, DbError> {
    i32::try_from(value).map_err(|_| {
        DbError::new(
            ErrorKind::Internal,
            format!("{value} is no number of a step, pass or range"),
        )
    })
}

fn count(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate needs no exact integer"
)]
fn as_float(value: u64) -> f64 {
    value as f64
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "casts from a float saturate, and an estimate is never negative"
)]
fn whole(value: f64) -> u64 {
    value as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn parts_tile_the_table(pages in 0u64..10_000_000, workers in 0u32..64) {
            let parts = parts(pages, workers);
            prop_assert!(parts >= 1);
            prop_assert_eq!(share(pages, 0, parts), 0);
            prop_assert_eq!(share(pages, parts, parts), pages);
            for part in 0..parts {
                prop_assert!(share(pages, part, parts) <= share(pages, part + 1, parts));
            }
        }
    }

    #[test]
    fn small_tables_stay_whole_and_large_ones_are_split() {
        assert_eq!(parts(0, 8), 1);
        assert_eq!(parts(10, 8), 1);
        assert_eq!(parts(100, 8), 3);
        assert_eq!(parts(10_000, 1), 8);
        assert_eq!(parts(5_000, 2), 4);
        assert_eq!(parts(100_000, 2), 16);
        assert_eq!(parts(PAGES_PER_RANGE * 20, 1), 20);
        assert_eq!(parts(u64::MAX / 4, 8), MOST_RANGES);
    }
}
