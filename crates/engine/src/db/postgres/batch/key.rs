//! The block of a batch that goes along a key.
//!
//! The same steps as in [`super::pages`], with intervals of a key instead of
//! pages: the batch's upper bound is found with a scan of the index alone,
//! then a range `UPDATE` runs between two known bounds. (A join on a limited
//! subquery would depend on statistics that a new table does not have.)
//! Intervals are `(lower, upper]`; a whole batch's interval stays open when
//! somebody held one of its rows.

use pontoon_core::name::TableName;
use pontoon_core::sql::quote::{quote_ident, quote_table};

use super::pages::{COUNT_STUCK, STUCK, in_line, update};
use super::record::{Record, Target};
use super::work::Work;
use crate::db::postgres::ranges::position::{KeyPosition, KeyUpper, write};
use crate::db::postgres::routines::{Block, Value};

/// Batches that are careful after one has met a lock.
const CAREFUL: u32 = 16;
/// Open intervals a position may hold. Beyond it, a batch that meets a lock
/// ends before the interval and visits open ones first.
const MOST_OPEN: usize = 64;

/// What a batch is made of.
pub(crate) struct KeyBatch<'a> {
    pub(crate) table: &'a TableName,
    pub(crate) work: &'a Work,
    pub(crate) position: &'a KeyPosition,
    pub(crate) upper: &'a KeyUpper,
    /// Rows to look at.
    pub(crate) rows: u64,
    /// Rows that may be changed.
    pub(crate) most: u64,
    /// Rows the range is believed to hold, and its share of the table's pages.
    pub(crate) rows_estimate: u64,
    pub(crate) pages_total: u64,
    pub(crate) target: Target<'a>,
}

impl KeyBatch<'_> {
    /// The block.
    pub(crate) fn block(&self) -> Block {
        if self.position.ended || self.position.open.len() >= MOST_OPEN {
            self.revisit()
        } else {
            self.forward()
        }
    }

    fn forward(&self) -> Block {
        let after = self.position.after.as_ref();
        let upto = self.upper.upto.as_ref();
        let lower = after.map(|_| self.compare(">", "pontoon_lower"));
        let upper = upto.map(|_| self.compare("<=", "pontoon_upper"));
        let rest = and([lower.clone(), upper]);
        let bounded = and([lower, Some(self.compare("<=", "pontoon_bound"))]);
        let order = self.key_list();
        let texts: Vec<String> = (0..self.upper.columns.len())
            .map(|at| format!("found.k{at}::text"))
            .collect();
        let keys: Vec<String> = self
            .upper
            .columns
            .iter()
            .enumerate()
            .map(|(at, (name, _))| format!("t.{} AS k{at}", quote_ident(name)))
            .collect();
        let table = quote_table(self.table);
        let bound = format!(
            "SELECT ARRAY[{texts}] INTO pontoon_bound
    FROM (SELECT {keys} FROM ONLY {table} AS t WHERE {rest} ORDER BY {order} OFFSET pontoon_rows - 1 LIMIT 1) AS found;
    pontoon_ended := NOT FOUND;",
            texts = texts.join(", "),
            keys = keys.join(", "),
        );
        // Two texts for each step, so that each has plain bounds that an
        // index scan can use.
        let both = |make: &dyn Fn(&str) -> String| {
            format!(
                "IF pontoon_ended THEN
        {}
    ELSE
        {}
    END IF;",
                make(&rest),
                make(&bounded)
            )
        };
        let at_once = if self.position.careful > 0 {
            "pontoon_careful := true;".to_owned()
        } else {
            format!(
                "BEGIN
        PERFORM pg_catalog.set_config('lock_timeout', '1', true);
        {update}
        IF pontoon_changed > pontoon_most THEN
            RAISE lock_not_available;
        END IF;
        PERFORM pg_catalog.set_config('lock_timeout', pontoon_lock_timeout, true);
    EXCEPTION WHEN lock_not_available THEN
        pontoon_careful := true;
        pontoon_left := {CAREFUL} + 1;
    END;",
                update = both(&|within| update(
                    self.table,
                    self.work,
                    &format!("{within} AND {}", self.work.needs)
                )),
            )
        };
        let steps = format!(
            "    {bound}
    {at_once}
    IF pontoon_careful THEN
        {careful}
    END IF;
    pontoon_open := pontoon_open_before;
    pontoon_after := pg_catalog.to_jsonb(pontoon_lower);
    IF pontoon_full THEN
        pontoon_ended := false;
    ELSE
        IF pontoon_contended > 0 THEN
            pontoon_open := pontoon_open || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(
                pontoon_after,
                CASE WHEN pontoon_ended THEN pg_catalog.to_jsonb(pontoon_upper) ELSE pg_catalog.to_jsonb(pontoon_bound) END));
        END IF;
        IF NOT pontoon_ended THEN
            pontoon_after := pg_catalog.to_jsonb(pontoon_bound);
            pontoon_seen := pontoon_seen + pontoon_rows;
        END IF;
    END IF;",
            careful = both(&|within| self.careful(within, "")),
        );
        let values = vec![
            Value::texts("pontoon_lower", after.map(Vec::as_slice)),
            Value::texts("pontoon_upper", upto.map(Vec::as_slice)),
            Value::of("pontoon_open_before", "jsonb", &write(&self.position.open)),
        ];
        self.whole(values, &steps)
    }

    fn revisit(&self) -> Block {
        let mut open = self.position.open.clone();
        let mut values = vec![
            Value::texts("pontoon_last", self.position.after.as_deref()),
            Value::bigint("pontoon_ended_before", u64::from(self.position.ended)),
        ];
        let steps = if open.is_empty() {
            "pontoon_open := '[]';".to_owned()
        } else {
            let visited = open.remove(0);
            let within = and([
                visited
                    .0
                    .as_ref()
                    .map(|_| self.compare(">", "pontoon_lower")),
                visited
                    .1
                    .as_ref()
                    .map(|_| self.compare("<=", "pontoon_upper")),
            ]);
            let in_line = if self.position.stuck < STUCK {
                String::new()
            } else {
                in_line(&format!(
                    "SELECT t.ctid FROM ONLY {} AS t WHERE {within} AND {} ORDER BY pg_catalog.random() LIMIT 1 {} OF t",
                    quote_table(self.table),
                    self.work.needs,
                    Work::lock(&self.upper.facts),
                ))
            };
            values.extend([
                Value::texts("pontoon_lower", visited.0.as_deref()),
                Value::texts("pontoon_upper", visited.1.as_deref()),
                Value::of("pontoon_rest", "jsonb", &write(&open)),
            ]);
            format!(
                "{careful}
    pontoon_open := pontoon_rest;
    IF pontoon_full OR pontoon_contended > 0 THEN
        -- To the end: the others have their turn first.
        pontoon_open := pontoon_open || pg_catalog.jsonb_build_array(
            pg_catalog.jsonb_build_array(pontoon_lower, pontoon_upper));
    END IF;",
                careful = self.careful(&within, &in_line),
            )
        };
        self.whole(
            values,
            &format!(
                "    {steps}
    pontoon_after := pg_catalog.to_jsonb(pontoon_last);
    pontoon_ended := pontoon_ended_before = 1;"
            ),
        )
    }

    /// The block around its steps.
    fn whole(&self, mut values: Vec<Value>, steps: &str) -> Block {
        let record = Record {
            target: &self.target,
            done: "pontoon_ended AND pontoon_open = '[]'".to_owned(),
            pages_done: "CASE WHEN pontoon_ended THEN pontoon_pages_total
             ELSE least(pontoon_pages_total, pontoon_seen * pontoon_pages_total / pontoon_rows_estimate) END"
                .to_owned(),
            rows: "pontoon_changed",
            more: "",
            told: "",
        };
        values.extend([
            Value::bigint("pontoon_rows", self.rows.max(1)),
            Value::bigint("pontoon_most", self.most),
            Value::bigint("pontoon_pages_total", self.pages_total),
            Value::bigint("pontoon_rows_estimate", self.rows_estimate.max(1)),
            Value::bigint("pontoon_seen_before", self.position.seen),
            Value::bigint("pontoon_careful_before", u64::from(self.position.careful)),
            Value::bigint("pontoon_stuck", u64::from(self.position.stuck)),
        ]);
        values.extend(record.values());
        Block {
            values,
            declarations: format!(
                "    pontoon_begun CONSTANT timestamptz := pg_catalog.clock_timestamp();
    pontoon_lock_timeout CONSTANT text := pg_catalog.current_setting('lock_timeout');
    pontoon_bound text[];
    pontoon_ended boolean := false;
    pontoon_after jsonb;
    pontoon_seen bigint := pontoon_seen_before;
    pontoon_careful boolean := false;
    pontoon_left bigint := pontoon_careful_before;
    pontoon_tids tid[] := '{{}}';
    pontoon_full boolean := false;
    pontoon_changed bigint := 0;
    pontoon_again bigint := 0;
    pontoon_contended bigint := 0;
    pontoon_open jsonb := '[]';
    pontoon_position jsonb;
    {}",
                Record::DECLARATIONS
            ),
            steps: format!(
                "{steps}
    pontoon_position := pg_catalog.jsonb_build_object(
        'after', pontoon_after, 'ended', pontoon_ended, 'seen', pontoon_seen,
        'open', pontoon_open, 'careful', greatest(pontoon_left - 1, 0), 'stuck', {COUNT_STUCK});
    {record}",
                record = record.text(),
            ),
        }
    }

    /// Locks what nobody holds, changes it, and counts what is left.
    fn careful(&self, within: &str, in_line: &str) -> String {
        const PICK: &str = "greatest(1, least(pontoon_rows, pontoon_most))";
        let table = quote_table(self.table);
        let needs = &self.work.needs;
        format!(
            "pontoon_tids := ARRAY(
            SELECT t.ctid FROM ONLY {table} AS t
            WHERE {within} AND {needs}
            ORDER BY {order}
            LIMIT {PICK}
            {lock} OF t SKIP LOCKED);
        {in_line}
        {update}
        pontoon_full := pg_catalog.cardinality(pontoon_tids) >= {PICK};
        IF NOT pontoon_full THEN
            SELECT pg_catalog.count(*) INTO pontoon_contended
            FROM ONLY {table} AS t
            WHERE {within} AND {needs} AND t.xmin <> pg_catalog.pg_current_xact_id()::xid;
        END IF;",
            order = self.key_list(),
            lock = Work::lock(&self.upper.facts),
            update = update(self.table, self.work, "t.ctid = ANY (pontoon_tids)"),
        )
    }

    /// `t."a", t."b"`.
    fn key_list(&self) -> String {
        let columns: Vec<String> = self
            .upper
            .columns
            .iter()
            .map(|(name, _)| format!("t.{}", quote_ident(name)))
            .collect();
        columns.join(", ")
    }

    /// The key beside a point, whose values are the texts of an array.
    fn compare(&self, operator: &str, point: &str) -> String {
        let values: Vec<String> = self
            .upper
            .columns
            .iter()
            .enumerate()
            .map(|(at, (_, type_name))| format!("({point}[{}])::{type_name}", at + 1))
            .collect();
        format!("({}) {operator} ({})", self.key_list(), values.join(", "))
    }
}

fn and<const N: usize>(conditions: [Option<String>; N]) -> String {
    let conditions: Vec<String> = conditions.into_iter().flatten().collect();
    if conditions.is_empty() {
        "true".to_owned()
    } else {
        conditions.join(" AND ")
    }
}
