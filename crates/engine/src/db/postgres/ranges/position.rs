//! Where a range stands, as text.
//!
//! Above the waist a position is opaque. Here it is JSON, written by the
//! batch itself on the server, in the transaction that changes the rows, and
//! read here to write the next batch.
//!
//! A scan goes forward and never waits for a row that somebody holds. Places
//! with such rows stay in `open` and are looked at again when the end is
//! reached; a range is done when the end is reached and nothing is open.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::db::{DbError, ErrorKind};

/// Open spans a position may hold; more are merged into fewer, longer ones.
const MAX_OPEN: usize = 128;

/// Pages `[from, to)`.
pub(crate) type Span = (u64, u64);

/// How far a range of pages is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PagePosition {
    /// Everything below this page is done, but for `open` and what later laps
    /// of its stretch will do.
    pub(crate) page: u64,
    /// Pages below `page` that hold rows somebody else had locked.
    #[serde(default)]
    pub(crate) open: Vec<Span>,
    /// Batches that shall skip locked rows from the start, because a recent
    /// one met a lock.
    #[serde(default)]
    pub(crate) careful: u32,
    /// Visits of `open` in a row that found nothing but rows somebody held.
    #[serde(default)]
    pub(crate) stuck: u32,
    /// Where it stands among the laps of its stretch of pages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lap: Option<Lap>,
}

/// One of several rounds over a stretch of pages (see
/// [`mod@super::super::batch::laps`]). Everything below `begin` is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Lap {
    /// Counts from 0.
    pub(crate) no: u32,
    /// The stretch's first page.
    pub(crate) begin: u64,
    /// The first page behind it; the first lap finds out.
    pub(crate) end: Option<u64>,
    /// Batches of the first lap so far.
    pub(crate) batches: u32,
    /// Rows that had their turn in the first lap. `None`: nobody knows how
    /// many are left for this one.
    #[serde(default)]
    pub(crate) rows: Option<u64>,
}

/// Where a range of pages ends, and what its batches must know of the table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PageUpper {
    /// The range's first page.
    pub(crate) begin: u64,
    /// The first page behind it.
    pub(crate) end: u64,
    /// The scan reads on behind it, where the table has grown.
    #[serde(default)]
    pub(crate) tail: bool,
    /// Laps over each stretch of pages; 1 and less: it is gone over once.
    #[serde(default)]
    pub(crate) laps: u32,
    /// Facts that a batch needs.
    #[serde(flatten)]
    pub(crate) facts: Facts,
}

/// What the batches of a table must know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    /// The shortest time, in milliseconds, after which a session that waits
    /// on us looks for a deadlock.
    #[serde(default)]
    pub(crate) deadlock_ms: Option<u32>,
    /// A column that is written belongs to a unique index that foreign keys
    /// could point to, so PostgreSQL takes the stronger row lock for it.
    #[serde(default)]
    pub(crate) key_lock: bool,
    /// A BEFORE ROW trigger may change what a batch writes.
    #[serde(default)]
    pub(crate) changing_triggers: bool,
    /// Columns that name a row to people; empty when the table has no key.
    #[serde(default)]
    pub(crate) names: Vec<String>,
}

impl Facts {
    /// The longest that a transaction may hold row locks: nobody who waits on
    /// it has looked for a deadlock by then.
    pub(crate) fn bound(&self) -> Duration {
        let deadlock = Duration::from_millis(u64::from(self.deadlock_ms.unwrap_or(1_000)));
        deadlock
            .saturating_sub(Duration::from_millis(100))
            .max(deadlock / 2)
    }
}

/// A point in the order of a key: its values in text form, in key order.
pub(crate) type Point = Vec<String>;

/// How far a range of a key is done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyPosition {
    /// The last key that is done; `None`: from the beginning.
    pub(crate) after: Option<Point>,
    /// Everything up to the range's end has been visited.
    #[serde(default)]
    pub(crate) ended: bool,
    /// Rows visited, for progress.
    #[serde(default)]
    pub(crate) seen: u64,
    /// Intervals `(lower, upper]` that hold rows somebody else had locked.
    #[serde(default)]
    pub(crate) open: Vec<(Option<Point>, Option<Point>)>,
    /// As in [`PagePosition::careful`].
    #[serde(default)]
    pub(crate) careful: u32,
    /// As in [`PagePosition::stuck`].
    #[serde(default)]
    pub(crate) stuck: u32,
}

/// Where a range of a key ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeyUpper {
    /// The last key of the range; `None` in an empty table.
    pub(crate) upto: Option<Point>,
    /// The key's columns with their types, in key order.
    pub(crate) columns: Vec<(String, String)>,
    /// Facts that a batch needs.
    #[serde(flatten)]
    pub(crate) facts: Facts,
}

/// Reads a position or an end.
///
/// # Errors
/// [`ErrorKind::Internal`] when it is not what we write.
pub(crate) fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|error| {
        DbError::new(
            ErrorKind::Internal,
            format!("read the position of a range: {error}"),
        )
    })
}

/// Writes a position or an end.
pub(crate) fn write<T: Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("positions are plain data with text keys")
}

/// The same pages in order, without overlaps, in at most `MAX_OPEN` spans.
/// Pages may be added where spans had to be merged, never lost: looking at a
/// page again is harmless.
pub(crate) fn tidy(mut spans: Vec<Span>) -> Vec<Span> {
    spans.retain(|(from, to)| from < to);
    spans.sort_unstable();
    let mut tidied: Vec<Span> = Vec::with_capacity(spans.len());
    for (from, to) in spans {
        match tidied.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => tidied.push((from, to)),
        }
    }
    while tidied.len() > MAX_OPEN {
        let nearest = (1..tidied.len())
            .min_by_key(|&at| tidied[at].0 - tidied[at - 1].1)
            .expect("there are more than MAX_OPEN spans");
        tidied[nearest - 1].1 = tidied[nearest].1;
        tidied.remove(nearest);
    }
    tidied
}

/// Takes spans of at most `pages` pages from the front; gives what to visit
/// and what is left.
pub(crate) fn take(spans: &[Span], pages: u64) -> (Vec<Span>, Vec<Span>) {
    let (mut visit, mut rest, mut room) = (Vec::new(), Vec::new(), pages.max(1));
    for &(from, to) in spans {
        let cut = from.saturating_add(room).min(to);
        if cut > from {
            visit.push((from, cut));
            room -= cut - from;
        }
        if cut < to {
            rest.push((cut, to));
        }
    }
    (visit, rest)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn pages(spans: &[Span]) -> BTreeSet<u64> {
        spans.iter().flat_map(|&(from, to)| from..to).collect()
    }

    proptest! {
        #[test]
        fn tidying_loses_no_page(spans in prop::collection::vec((0u64..2000, 0u64..6), 0..300)) {
            let spans: Vec<Span> = spans.into_iter().map(|(from, len)| (from, from + len)).collect();
            let tidied = tidy(spans.clone());
            prop_assert!(pages(&tidied).is_superset(&pages(&spans)));
            prop_assert!(tidied.len() <= MAX_OPEN);
            prop_assert!(tidied.windows(2).all(|pair| pair[0].1 < pair[1].0));
            if spans.len() <= MAX_OPEN {
                prop_assert_eq!(pages(&tidied), pages(&spans));
            }
        }

        #[test]
        fn taking_splits_without_loss(
            spans in prop::collection::vec((0u64..2000, 1u64..9), 0..50),
            room in 0u64..40,
        ) {
            let spans = tidy(spans.into_iter().map(|(from, len)| (from, from + len)).collect());
            let (visit, rest) = take(&spans, room);
            let (visited, left) = (pages(&visit), pages(&rest));
            prop_assert!(visited.is_disjoint(&left));
            prop_assert_eq!(&visited | &left, pages(&spans));
            prop_assert!(visited.len() as u64 <= room.max(1));
            prop_assert!(!visited.is_empty() || spans.is_empty());
        }
    }

    #[test]
    fn positions_survive_the_round_trip() {
        let position = KeyPosition {
            after: Some(vec!["a\"b\\c'd".into(), "ü".into()]),
            open: vec![(None, Some(vec!["x".into(), "y".into()]))],
            ..KeyPosition::default()
        };
        assert_eq!(
            read::<KeyPosition>(&write(&position)).expect("our own text"),
            position
        );
        assert!(read::<PagePosition>("{").is_err());
    }
}
