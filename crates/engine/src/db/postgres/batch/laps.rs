//! Going over a stretch of pages in laps, so that a backfill reuses the space
//! that it frees.
//!
//! An UPDATE of every row of a full page has to put the new versions on other
//! pages, with an entry in each index for each: the table and its indexes
//! grow to twice their size. A lap changes only one row in so many of each
//! page, chosen by a hash of its place. By the next lap the old versions of
//! the lap before are dead to everyone, PostgreSQL prunes them when the page
//! is read, and the new versions fit where the old ones were: no new page, no
//! index entries (heap-only tuples, see `src/backend/access/heap/README.HOT`
//! in PostgreSQL's sources).
//!
//! Laps are about speed and space only. The last lap of a stretch takes
//! whatever still needs work, so whether the ones before it found their rows,
//! skipped those that somebody held, or could not reuse anything because an
//! old snapshot is open, makes no difference to what is done in the end.
//!
//! A stretch is as long as some batches of the first lap make it (see
//! [`BATCHES`] and [`PAGES`]): long enough for transactions that were running
//! beside them, other workers' batches among them, to end before the next lap
//! comes, and short enough for its pages to stay cached. What runs for longer,
//! anywhere on the server, keeps the space of its time from being used again.

use std::fmt::Display;

use crate::db::postgres::ranges::position::{Lap, PagePosition, PageUpper};
use crate::db::postgres::routines::Value;

/// The first lap ends after so many batches,
const BATCHES: u32 = 16;
/// or after so many pages (32 MB), where rows are wide,
const PAGES: u64 = 4_096;
/// but not before so many batches.
const FEWEST: u32 = 2;

/// Where a batch is among the laps of its range.
pub(crate) struct Laps {
    /// Laps over each stretch, a power of two, at least 2.
    of: u32,
    lap: Lap,
    /// The batch's first page.
    from: u64,
    /// The first page behind the range.
    end: u64,
}

/// The values of a batch where there are no laps, or of a lap.
pub(crate) fn values(laps: Option<&Laps>) -> [Value; 5] {
    let lap = laps.map(|laps| &laps.lap);
    [
        Value::bigint("pontoon_lap_no", lap.map(|lap| u64::from(lap.no))),
        Value::bigint("pontoon_lap_begin", lap.map(|lap| lap.begin)),
        Value::bigint("pontoon_lap_end", lap.and_then(|lap| lap.end)),
        Value::bigint("pontoon_lap_batches", lap.map(|lap| u64::from(lap.batches))),
        Value::bigint("pontoon_lap_rows", lap.and_then(|lap| lap.rows)),
    ]
}

impl Laps {
    /// `None`: the range is gone over once.
    pub(crate) fn of(position: &PagePosition, upper: &PageUpper) -> Option<Self> {
        (upper.laps > 1).then(|| Self {
            of: upper.laps.next_power_of_two(),
            lap: position.lap.clone().unwrap_or(Lap {
                no: 0,
                begin: position.page,
                end: None,
                batches: 0,
                rows: Some(0),
            }),
            from: position.page,
            end: upper.end,
        })
    }

    /// Laps over each stretch.
    pub(crate) fn count(&self) -> u64 {
        u64::from(self.of)
    }

    /// The first page that the batch may not look at.
    pub(crate) fn bound(&self) -> u64 {
        self.lap.end.unwrap_or(self.end)
    }

    /// Everything that is left is done in this lap.
    pub(crate) fn is_last(&self) -> bool {
        self.lap.no + 1 >= self.of
    }

    /// A condition on `t`: the row's turn is in this lap. `hashtid` is what
    /// PostgreSQL's own hash joins use for places, and takes some nanoseconds.
    pub(crate) fn turn(&self) -> Option<String> {
        (!self.is_last()).then(|| {
            format!(
                "pg_catalog.hashtid(t.ctid) & {} = pontoon_lap_no",
                self.of - 1
            )
        })
    }

    /// Where a batch of `rows` rows ends, without counting them: a hash gives
    /// every lap about as many rows of a page as the first one had. `None`:
    /// they have to be counted.
    pub(crate) fn end_of_batch(&self, rows: u64) -> Option<u64> {
        let end = self.lap.end?;
        let known = self.lap.rows.filter(|rows| *rows > 0)?;
        let stretch = end - self.lap.begin;
        // Chance adds some rows, seldom more than three times their root, and
        // a batch that passes its limit is done twice.
        let aim = rows
            .saturating_sub((rows / 10).max(3 * rows.isqrt()))
            .max(1);
        let pages = u128::from(aim) * u128::from(stretch) / u128::from(known);
        let pages = u64::try_from(pages).unwrap_or(u64::MAX).max(1);
        // Batches of one size, and no small one at the end.
        let left = end.saturating_sub(self.from);
        let batches = left.div_ceil(pages).max(1);
        Some(self.from + left.div_ceil(batches))
    }

    /// Statements that set `pontoon_lap`, and `pontoon_to` where the next
    /// batch begins, from `pontoon_to` where this one ended and
    /// `pontoon_seen`, the rows that had their turn.
    pub(crate) fn next(&self) -> String {
        const BEGIN: &str = "pontoon_lap_begin";
        const ROWS: &str = "pontoon_lap_rows";
        let last = self.of - 1;
        if self.lap.end.is_none() {
            // Where there is not a row on each page, there is nothing to
            // reuse: the last lap takes the others at once.
            return format!(
                "pontoon_batches := pontoon_lap_batches + 1;
    IF pontoon_seen < pontoon_to - pontoon_from THEN
        IF pontoon_from = {BEGIN} THEN
            pontoon_lap := {};
        ELSE
            pontoon_lap := {};
        END IF;
        pontoon_to := {BEGIN};
    ELSIF pontoon_to > {BEGIN} AND (pontoon_to >= pontoon_end OR pontoon_batches >= {BATCHES}
            OR pontoon_batches >= {FEWEST} AND pontoon_to - {BEGIN} >= {PAGES}) THEN
        pontoon_lap := {};
        pontoon_to := {BEGIN};
    ELSE
        pontoon_lap := {};
    END IF;",
                lap(last, BEGIN, "pontoon_to", "0", "NULL"),
                lap(1, BEGIN, "pontoon_from", "0", ROWS),
                lap(
                    1,
                    BEGIN,
                    "pontoon_to",
                    "0",
                    "pontoon_lap_rows + pontoon_seen"
                ),
                lap(
                    0,
                    BEGIN,
                    "NULL",
                    "pontoon_batches",
                    "pontoon_lap_rows + pontoon_seen"
                ),
            );
        }
        let (after, next) = if self.is_last() {
            (
                lap(0, "pontoon_lap_end", "NULL", "0", "0"),
                "pontoon_lap_end",
            )
        } else {
            (
                lap("pontoon_lap_no + 1", BEGIN, "pontoon_lap_end", "0", ROWS),
                BEGIN,
            )
        };
        format!(
            "IF pontoon_to >= pontoon_lap_end THEN
        pontoon_lap := {after};
        pontoon_to := {next};
    ELSE
        pontoon_lap := {};
    END IF;",
            lap("pontoon_lap_no", BEGIN, "pontoon_lap_end", "0", ROWS),
        )
    }

    /// An expression for the pages behind the cursor, of `pontoon_position`;
    /// pages of a stretch count in parts, a part for each lap.
    pub(crate) fn pages_done(&self) -> String {
        let of = self.of;
        let field = |name: &str| format!("(pontoon_position->'lap'->>'{name}')::bigint");
        let page = "(pontoon_position->>'page')::bigint";
        format!(
            "coalesce({begin} - pontoon_begin
            + ((coalesce({end}, {page}) - {begin}) * {no} + {page} - {begin}) / {of}, {page} - pontoon_begin)",
            begin = field("begin"),
            end = field("end"),
            no = field("no"),
        )
    }
}

fn lap(no: impl Display, begin: &str, end: &str, batches: &str, rows: &str) -> String {
    format!(
        "pg_catalog.jsonb_build_object('no', {no}, 'begin', {begin}, 'end', {end}, 'batches', {batches}, 'rows', {rows})"
    )
}
