//! Keys to go along instead of pages.
//!
//! **When.** Pages are read in disk order and need no key, so they are the
//! rule. On a random key (a version 4 uuid) each new row version adds index
//! entries all over the key's index; going in key order keeps those writes
//! together. That wins only while the heap, which is then read at random,
//! stays in memory. So the key is chosen by itself when
//!
//! - its order has little to do with the order on disk
//!   (`pg_stats.correlation` between -0.5 and 0.5), and
//! - its index is larger than 32 MB (a smaller one is in memory whatever we
//!   do), and
//! - heap and indexes together are at most half of `effective_cache_size`.
//!
//! A plan's `backfill.cursor` overrides the choice, and a chase after rows that
//! passes along pages have not met goes along a key wherever there is one.

use pontoon_core::sql::quote::{quote_ident, quote_list, quote_table};
use pontoon_core::step::CursorKind;
use tokio_postgres::Client;
use tokio_postgres::types::Type;

use super::super::sqlstate::classify;
use super::leaf::Leaf;
use super::position::Point;
use crate::db::{DbError, ErrorKind, Scan};

/// An index up to this size is taken to be in memory.
const SMALL_INDEX: i64 = 32 << 20;
/// Rows of the sample that the bounds of ranges are taken from, per range.
const SAMPLE_PER_PART: u64 = 500;

/// A unique key without NULLs whose order is the columns' own.
#[derive(Clone, Debug)]
pub(super) struct Key {
    /// Columns with their types, in key order.
    pub(super) columns: Vec<(String, String)>,
}

impl Key {
    /// Its columns: `"a", "b"`.
    fn list(&self) -> String {
        quote_list(self.columns.iter().map(|(name, _)| name.as_str()))
    }

    /// Its columns, each with this behind it: `"a" DESC, "b" DESC`.
    fn list_with(&self, behind: &str) -> String {
        let columns = self.columns.iter();
        let columns = columns.map(|(name, _)| format!("{}{behind}", quote_ident(name)));
        columns.collect::<Vec<_>>().join(", ")
    }
}

/// The key to go along, or `None` for pages.
pub(super) async fn choose(
    client: &Client,
    leaf: &Leaf,
    scan: &Scan,
) -> Result<Option<Key>, DbError> {
    let wanted = scan.cursor;
    if wanted == Some(CursorKind::Pages) && !scan.chase {
        return Ok(None);
    }
    let row = client
        .query_typed_opt(include_str!("sql/key.sql"), &[(&leaf.relid, Type::OID)])
        .await
        .map_err(|error| classify(&error, "look for a key"))?;
    let Some(row) = row else {
        if wanted == Some(CursorKind::Key) {
            return Err(DbError::new(
                ErrorKind::Refused,
                format!("Table {} has no key that a backfill could go along", leaf.table),
            )
            .hint("A key cursor needs a unique btree index over NOT NULL columns, ascending, with their own collation; `cursor: pages` needs none."));
        }
        return Ok(None);
    };
    let names: Vec<String> = row.get("columns");
    let types: Vec<String> = row.get("types");
    let key = Key {
        columns: names.into_iter().zip(types).collect(),
    };
    let fits = Fit {
        correlation: row.get("correlation"),
        index: row.get("index_bytes"),
        indexes: row.get("indexes_bytes"),
        heap: row.get("heap_bytes"),
        cache: row.get("cache_bytes"),
    };
    let goes = scan.chase || wanted == Some(CursorKind::Key) || fits.favours_key();
    Ok(goes.then_some(key))
}

/// The figures of the choice, in bytes.
struct Fit {
    correlation: Option<f64>,
    index: i64,
    indexes: i64,
    heap: i64,
    cache: i64,
}

impl Fit {
    fn favours_key(&self) -> bool {
        self.correlation.is_some_and(|value| value.abs() < 0.5)
            && self.index > SMALL_INDEX
            && self.heap.saturating_add(self.indexes) <= self.cache / 2
    }
}

/// Keys that split a leaf into about equal parts, from a sample of its pages.
/// Fewer, or none, where the sample does not tell.
pub(super) async fn split(
    client: &Client,
    leaf: &Leaf,
    key: &Key,
    parts: u64,
) -> Result<Vec<Point>, DbError> {
    if parts < 2 || leaf.pages == 0 {
        return Ok(Vec::new());
    }
    let rows = leaf.rows.unwrap_or(leaf.pages * 50).max(1);
    let percent = (super::as_float(parts * SAMPLE_PER_PART) / super::as_float(rows) * 100.0)
        .clamp(0.000_001, 100.0);
    let (columns, texts) = (key.list(), key.list_with("::text"));
    // The number of rows in the sample is not known beforehand, and neither
    // is whether there are as many as parts.
    let sql = format!(
        "SELECT ARRAY[{texts}] AS bound \
         FROM (SELECT {columns}, pg_catalog.row_number() OVER (ORDER BY {columns}) AS place, \
                      pg_catalog.count(*) OVER () AS sampled \
               FROM ONLY {} TABLESAMPLE SYSTEM ({percent}) REPEATABLE (7)) AS sample \
         WHERE sampled >= {parts} AND place < sampled \
           AND (place - 1) * {parts} / sampled <> place * {parts} / sampled \
         ORDER BY {columns}",
        quote_table(&leaf.table)
    );
    let rows = client
        .query_typed(&sql, &[])
        .await
        .map_err(|error| classify(&error, &format!("sample the key of {}", leaf.table)))?;
    Ok(rows.iter().map(|row| row.get("bound")).collect())
}

/// The greatest key of a leaf, where its last range ends; `None` when it is
/// empty.
pub(super) async fn last(
    client: &Client,
    leaf: &Leaf,
    key: &Key,
) -> Result<Option<Point>, DbError> {
    let sql = format!(
        "SELECT ARRAY[{}] AS bound FROM (SELECT {} FROM ONLY {} ORDER BY {} LIMIT 1) AS greatest",
        key.list_with("::text"),
        key.list(),
        quote_table(&leaf.table),
        key.list_with(" DESC")
    );
    let row = client
        .query_typed_opt(&sql, &[])
        .await
        .map_err(|error| classify(&error, &format!("look for the end of {}", leaf.table)))?;
    Ok(row.map(|row| row.get("bound")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[rstest::rstest]
    #[case(Some(0.01), 1 << 30, true)]
    #[case(Some(0.99), 1 << 30, false)]
    #[case(None, 1 << 30, false)]
    #[case(Some(-0.2), 9 << 30, false)]
    fn a_key_must_be_random_and_the_table_in_memory(
        #[case] correlation: Option<f64>,
        #[case] heap: i64,
        #[case] expected: bool,
    ) {
        let fit = Fit {
            correlation,
            index: 100 << 20,
            indexes: 200 << 20,
            heap,
            cache: 4 << 30,
        };
        assert_eq!(fit.favours_key(), expected);
    }

    #[test]
    fn a_small_index_is_no_reason() {
        let fit = Fit {
            correlation: Some(0.0),
            index: 1 << 20,
            indexes: 1 << 20,
            heap: 10 << 20,
            cache: 4 << 30,
        };
        assert!(!fit.favours_key());
    }
}
