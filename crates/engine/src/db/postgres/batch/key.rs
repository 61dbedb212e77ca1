//! The block of a batch that goes along a key.
//!
//! The same steps as in [`super::pages`], with intervals of a key instead of
//! pages: the batch's upper bound is found with a scan of the index alone,
//! then a range `UPDATE` runs between two known bounds. (A join on a limited
//! subquery would depend on statistics that a new table does not have.)
//! Intervals are `(lower, upper]`; a whole batch's interval stays open when
//! somebody held one of its rows.

use pontoon_core::name::TableName;
use pontoon_core::sql::quote::{quote_ident, quote_literal, quote_table};

use super::pages::{COUNT_STUCK, STUCK, do_block, in_line, update};
use super::record::{Record, Target};
use super::work::Work;
use crate::db::postgres::ranges::position::{KeyPosition, KeyUpper, Point, write};

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
    /// The block as a statement.
    pub(crate) fn text(&self) -> String {
        if self.position.ended || self.position.open.len() >= MOST_OPEN {
            self.revisit()
        } else {
            self.forward()
        }
    }

    fn forward(&self) -> String {
        let lower = self.position.after.as_ref().map(|point| self.beyond(point));
        let upper = self.upper.upto.as_ref().map(|point| self.up_to(point));
        let rest = and([lower.clone(), upper]);
        let bounded = and([lower, Some(self.up_to_variable())]);
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
    FROM (SELECT {keys} FROM ONLY {table} AS t WHERE {rest} ORDER BY {order} OFFSET {skip} LIMIT 1) AS found;
    pontoon_ended := NOT FOUND;",
            texts = texts.join(", "),
            keys = keys.join(", "),
            skip = self.rows.max(1) - 1,
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
        IF pontoon_changed > {most} THEN
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
                most = self.most,
            )
        };
        let open = quote_literal(&write(&self.position.open));
        let after = self
            .position
            .after
            .as_ref()
            .map_or_else(|| "'null'".to_owned(), |point| quote_literal(&write(point)));
        let upto = self
            .upper
            .upto
            .as_ref()
            .map_or_else(|| "'null'".to_owned(), |point| quote_literal(&write(point)));
        let steps = format!(
            "{bound}
    {at_once}
    IF pontoon_careful THEN
        {careful}
    END IF;
    pontoon_open := {open}::jsonb;
    pontoon_after := {after}::jsonb;
    IF pontoon_full THEN
        pontoon_ended := false;
    ELSE
        IF pontoon_contended > 0 THEN
            pontoon_open := pontoon_open || pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(
                pontoon_after,
                CASE WHEN pontoon_ended THEN {upto}::jsonb ELSE pg_catalog.to_jsonb(pontoon_bound) END));
        END IF;
        IF NOT pontoon_ended THEN
            pontoon_after := pg_catalog.to_jsonb(pontoon_bound);
            pontoon_seen := pontoon_seen + {rows};
        END IF;
    END IF;",
            careful = both(&|within| self.careful(within, "")),
            rows = self.rows,
        );
        self.block(&steps)
    }

    fn revisit(&self) -> String {
        let mut open = self.position.open.clone();
        let steps = if open.is_empty() {
            "pontoon_open := '[]';".to_owned()
        } else {
            let visited = open.remove(0);
            let within = and([
                visited.0.as_ref().map(|point| self.beyond(point)),
                visited.1.as_ref().map(|point| self.up_to(point)),
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
            format!(
                "{careful}
    pontoon_open := {rest}::jsonb;
    IF pontoon_full OR pontoon_contended > 0 THEN
        -- To the end: the others have their turn first.
        pontoon_open := pontoon_open || {visited}::jsonb;
    END IF;",
                careful = self.careful(&within, &in_line),
                rest = quote_literal(&write(&open)),
                visited = quote_literal(&write(&[visited])),
            )
        };
        let after = self
            .position
            .after
            .as_ref()
            .map_or_else(|| "'null'".to_owned(), |point| quote_literal(&write(point)));
        self.block(&format!(
            "{steps}
    pontoon_after := {after}::jsonb;
    pontoon_ended := {};",
            self.position.ended
        ))
    }

    fn block(&self, steps: &str) -> String {
        let record = Record {
            target: &self.target,
            done: "pontoon_ended AND pontoon_open = '[]'".to_owned(),
            pages_done: format!(
                "CASE WHEN pontoon_ended THEN {total}
             ELSE least({total}, pontoon_seen * {total} / {rows}) END",
                total = self.pages_total,
                rows = self.rows_estimate.max(1),
            ),
            rows: "pontoon_changed",
            more: String::new(),
            told: "",
        };
        do_block(&format!(
            "
#variable_conflict use_variable
DECLARE
    pontoon_begun CONSTANT timestamptz := pg_catalog.clock_timestamp();
    pontoon_lock_timeout CONSTANT text := pg_catalog.current_setting('lock_timeout');
    pontoon_bound text[];
    pontoon_ended boolean := false;
    pontoon_after jsonb;
    pontoon_seen bigint := {seen};
    pontoon_careful boolean := false;
    pontoon_left bigint := {careful};
    pontoon_stuck CONSTANT bigint := {stuck};
    pontoon_tids tid[] := '{{}}';
    pontoon_full boolean := false;
    pontoon_changed bigint := 0;
    pontoon_again bigint := 0;
    pontoon_contended bigint := 0;
    pontoon_open jsonb := '[]';
    pontoon_position jsonb;
    {declarations}
BEGIN
    {steps}
    pontoon_position := pg_catalog.jsonb_build_object(
        'after', pontoon_after, 'ended', pontoon_ended, 'seen', pontoon_seen,
        'open', pontoon_open, 'careful', greatest(pontoon_left - 1, 0), 'stuck', {COUNT_STUCK});
    {record}
END
",
            seen = self.position.seen,
            careful = self.position.careful,
            stuck = self.position.stuck,
            declarations = Record::DECLARATIONS,
            record = record.text(),
        ))
    }

    /// Locks what nobody holds, changes it, and counts what is left.
    fn careful(&self, within: &str, in_line: &str) -> String {
        let pick = self.rows.min(self.most).max(1);
        let table = quote_table(self.table);
        let needs = &self.work.needs;
        format!(
            "pontoon_tids := ARRAY(
            SELECT t.ctid FROM ONLY {table} AS t
            WHERE {within} AND {needs}
            ORDER BY {order}
            LIMIT {pick}
            {lock} OF t SKIP LOCKED);
        {in_line}
        {update}
        pontoon_full := pg_catalog.cardinality(pontoon_tids) >= {pick};
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

    fn compare(&self, operator: &str, values: &[String]) -> String {
        format!("({}) {operator} ({})", self.key_list(), values.join(", "))
    }

    fn literals(&self, point: &Point) -> Vec<String> {
        point
            .iter()
            .zip(&self.upper.columns)
            .map(|(value, (_, type_name))| format!("{}::{type_name}", quote_literal(value)))
            .collect()
    }

    fn beyond(&self, point: &Point) -> String {
        self.compare(">", &self.literals(point))
    }

    fn up_to(&self, point: &Point) -> String {
        self.compare("<=", &self.literals(point))
    }

    fn up_to_variable(&self) -> String {
        let values: Vec<String> = self
            .upper
            .columns
            .iter()
            .enumerate()
            .map(|(at, (_, type_name))| format!("(pontoon_bound[{}])::{type_name}", at + 1))
            .collect();
        self.compare("<=", &values)
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
