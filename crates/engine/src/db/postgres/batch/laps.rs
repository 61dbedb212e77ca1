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
                "pg_catalog.hashtid(t.ctid) & {} = {}",
                self.of - 1,
                self.lap.no
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
        let Lap {
            no,
            begin,
            batches,
            rows,
            ..
        } = self.lap;
        let rows = rows.map_or_else(|| "NULL".to_owned(), |rows| rows.to_string());
        let (from, end, last) = (self.from, self.end, self.of - 1);
        let batches = batches + 1;
        let enough = if batches >= BATCHES {
            "true".to_owned()
        } else if batches >= FEWEST {
            format!("pontoon_to - {begin} >= {PAGES}")
        } else {
            "false".to_owned()
        };
        let Some(stretch) = self.lap.end else {
            // Where there is not a row on each page, there is nothing to
            // reuse: the last lap takes the others at once.
            let sparse = if from == begin {
                lap(last, begin, "pontoon_to", 0, "NULL")
            } else {
                lap(1, begin, from, 0, &rows)
            };
            let rows = format!("{rows} + pontoon_seen");
            return format!(
                "IF pontoon_seen < pontoon_to - {from} THEN
        pontoon_lap := {sparse};
        pontoon_to := {begin};
    ELSIF pontoon_to > {begin} AND (pontoon_to >= {end} OR {enough}) THEN
        pontoon_lap := {};
        pontoon_to := {begin};
    ELSE
        pontoon_lap := {};
    END IF;",
                lap(1, begin, "pontoon_to", 0, &rows),
                lap(0, begin, "NULL", batches, &rows),
            );
        };
        let (after, next) = if self.is_last() {
            (lap(0, stretch, "NULL", 0, "0"), stretch)
        } else {
            (lap(no + 1, begin, stretch, 0, &rows), begin)
        };
        format!(
            "IF pontoon_to >= {stretch} THEN
        pontoon_lap := {after};
        pontoon_to := {next};
    ELSE
        pontoon_lap := {};
    END IF;",
            lap(no, begin, stretch, 0, &rows),
        )
    }

    /// An expression for the pages behind the cursor, of `pontoon_position`;
    /// pages of a stretch count in parts, a part for each lap.
    pub(crate) fn pages_done(&self, range_begin: u64) -> String {
        let of = self.of;
        let field = |name: &str| format!("(pontoon_position->'lap'->>'{name}')::bigint");
        let page = "(pontoon_position->>'page')::bigint";
        format!(
            "coalesce({begin} - {range_begin}
            + ((coalesce({end}, {page}) - {begin}) * {no} + {page} - {begin}) / {of}, {page} - {range_begin})",
            begin = field("begin"),
            end = field("end"),
            no = field("no"),
        )
    }
}

fn lap(no: u32, begin: u64, end: impl Display, batches: u32, rows: &str) -> String {
    format!(
        "pg_catalog.jsonb_build_object('no', {no}, 'begin', {begin}, 'end', {end}, 'batches', {batches}, 'rows', {rows})"
    )
}
