//! The block of a batch that goes along pages.
//!
//! 1. **How far.** Count rows from the cursor on that look as if they needed
//!    work, up to the number aimed at; the batch ends at the last whole page.
//!    Where none does (a second pass, a table half done) it goes far in one
//!    step and changes nothing. In the same statement the table's filenode is
//!    read: it is locked then, so no rewrite can come between, and a rewrite
//!    that came before is seen.
//! 2. **At once.** A range `UPDATE` in a subtransaction with a lock_timeout
//!    of 1 ms, the least there is. Where nobody holds a row it is as fast as a plain
//!    `UPDATE`. Where somebody does, the subtransaction is undone, which
//!    frees its locks, and
//! 3. **Carefully**, rows are locked with SKIP LOCKED first and changed then.
//!    Pages with rows that somebody else holds stay open in the position.
//!    After such a meeting, the next batches of the range are careful from
//!    the start, so that a hot table costs no second work.
//! 4. Position, counts and the run's total are written, the total against
//!    its limit.
//!
//! Where the range is gone over in laps, a batch sees only the rows whose turn
//! has come; see [`mod@super::laps`].
//!
//! Rows that somebody holds at every moment (a queue in a table, a counter)
//! would be skipped for ever. After some visits of open pages that found
//! nothing else, a batch therefore stands in line for *one* row, for as long
//! as it waits for any lock, while it holds none. Nobody can wait for it then
//! who does not wait for the row's holder anyway, so it closes no circle.
//!
//! No step waits for a row longer than 1 ms while it holds others, and the
//! whole block is younger than `deadlock_timeout` when it ends (see
//! [`mod@super::prologue`]), so no application session can find itself in a
//! deadlock with it.

use pontoon_core::name::TableName;
use pontoon_core::sql::quote::{quote_literal, quote_table};

use super::laps::{self, Laps};
use super::record::{Record, Target};
use super::work::{Check, Work};
use crate::db::postgres::ranges::position::{PagePosition, PageUpper, Span, take, tidy, write};
use crate::db::postgres::routines::{Block, Value};

/// Batches that are careful after one has met a lock.
const CAREFUL: u32 = 16;
/// No batch looks at more pages than this (32 MB), however few rows they hold.
const MOST_PAGES: u64 = 4_096;
/// Spans that one batch revisits.
const MOST_SPANS: usize = 64;
/// Visits that find nothing but held rows before one stands in line.
pub(super) const STUCK: u32 = 3;
/// What counts them, behind the steps of a visit.
pub(super) const COUNT_STUCK: &str = "CASE WHEN pontoon_contended = 0 THEN 0
        WHEN pontoon_changed = 0 THEN pontoon_stuck + 1 ELSE pontoon_stuck END";

/// What a batch is made of.
pub(crate) struct PageBatch<'a> {
    pub(crate) table: &'a TableName,
    pub(crate) work: &'a Work,
    pub(crate) position: &'a PagePosition,
    pub(crate) upper: &'a PageUpper,
    pub(crate) storage: u32,
    /// Rows to aim at.
    pub(crate) rows: u64,
    /// Rows that may be changed.
    pub(crate) most: u64,
    pub(crate) target: Target<'a>,
}

/// The first page that a batch of `rows` rows which goes forward may not look
/// at.
pub(super) fn stop(position: &PagePosition, upper: &PageUpper, rows: u64) -> u64 {
    Laps::of(position, upper)
        .map_or(upper.end, |laps| laps.bound())
        .min(position.page + rows.clamp(1, MOST_PAGES))
}

impl PageBatch<'_> {
    /// The block.
    pub(crate) fn block(&self) -> Block {
        if self.position.page < self.upper.end {
            self.forward()
        } else {
            self.revisit()
        }
    }

    fn forward(&self) -> Block {
        let from = self.position.page;
        let laps = Laps::of(self.position, self.upper);
        let turn = laps.as_ref().and_then(Laps::turn);
        let with_turn = |needs: &str| {
            turn.as_ref()
                .map_or_else(|| needs.to_owned(), |turn| format!("{turn} AND {needs}"))
        };
        let needs = with_turn(&self.work.needs);
        let stop = stop(self.position, self.upper, self.rows);
        let known = laps.as_ref().and_then(|it| it.end_of_batch(self.rows));
        let (ahead, how_far, overfull) = if known.is_some() {
            (
                self.known(),
                "pontoon_to := pontoon_stop;",
                "false".to_owned(),
            )
        } else {
            let (ahead, overfull) = self.counted(&with_turn(&self.work.may_need));
            (ahead, HOW_FAR, overfull)
        };
        let open = write(&tidy(self.position.open.clone()));
        let at_once = if self.position.careful > 0 {
            "pontoon_careful := true;".to_owned()
        } else {
            format!(
                "-- A page with more rows than the batch may have is gone through bit by bit.
    pontoon_careful := {overfull};
    IF pontoon_seen > 0 AND NOT pontoon_careful THEN BEGIN
        PERFORM pg_catalog.set_config('lock_timeout', '1', true);
        {update}
        IF pontoon_changed > pontoon_most THEN
            RAISE lock_not_available;
        END IF;
        PERFORM pg_catalog.set_config('lock_timeout', pontoon_lock_timeout, true);
    EXCEPTION WHEN lock_not_available THEN
        pontoon_careful := true;
        pontoon_left := {CAREFUL} + 1;
    END; END IF;",
                update = self.update(&format!(
                    "t.ctid >= pontoon_from_tid AND t.ctid < pontoon_tid AND {needs}"
                )),
            )
        };
        let steps = format!(
            "    {how_far}
    pontoon_tid := {to_tid};
    {at_once}
    IF pontoon_careful THEN
        pontoon_spans := ARRAY[ARRAY[pontoon_from, pontoon_to]];
        {careful_steps}
        IF pontoon_full THEN
            pontoon_to := pontoon_from;
            pontoon_open := '[]';
        END IF;
    END IF;
    {next_lap}
    pontoon_open := pontoon_open_before || pontoon_open;
    pontoon_position := pg_catalog.jsonb_build_object(
        'page', pontoon_to, 'open', pontoon_open, 'careful', greatest(pontoon_left - 1, 0){lap});
",
            to_tid = tid("pontoon_to"),
            next_lap = laps.as_ref().map(Laps::next).unwrap_or_default(),
            lap = laps.as_ref().map_or("", |_| ", 'lap', pontoon_lap"),
            careful_steps = self.careful(&needs, "", laps.as_ref().is_none_or(Laps::is_last)),
        );
        let mut values = vec![
            Value::bigint("pontoon_from", from),
            Value::bigint("pontoon_stop", known.unwrap_or(stop)),
            Value::of("pontoon_open_before", "jsonb", &open),
        ];
        values.extend(laps::values(laps.as_ref()));
        self.whole(values, &ahead, laps.as_ref(), &steps)
    }

    /// Counts rows ahead that may need work: what is selected, and a condition
    /// for a first page that holds more of them than the batch may have.
    fn counted(&self, may_need: &str) -> (String, String) {
        let ahead = format!(
            "pg_catalog.count(*), pg_catalog.max(place)
    INTO pontoon_storage, pontoon_seen, pontoon_last
    FROM (SELECT t.ctid AS place FROM ONLY {table} AS t
          WHERE t.ctid >= pontoon_from_tid AND t.ctid < pontoon_stop_tid AND {may_need} LIMIT pontoon_rows) AS ahead",
            table = quote_table(self.table),
        );
        let overfull = format!(
            "pontoon_seen >= pontoon_rows AND {} <= pontoon_from",
            page("pontoon_last")
        );
        (ahead, overfull)
    }

    /// Nothing is counted; the table is locked all the same.
    fn known(&self) -> String {
        format!(
            "1, NULL
    INTO pontoon_storage, pontoon_seen, pontoon_last
    FROM (SELECT pg_catalog.count(*) FROM (SELECT FROM ONLY {table} LIMIT 0) AS none) AS locked",
            table = quote_table(self.table),
        )
    }

    fn revisit(&self) -> Block {
        let tidied = tidy(self.position.open.clone());
        let (near, far) = tidied.split_at(tidied.len().min(MOST_SPANS));
        let (visit, mut rest) = take(near, self.rows.clamp(1, MOST_PAGES));
        rest.extend_from_slice(far);
        let in_line = if self.position.stuck < STUCK {
            String::new()
        } else {
            let place = "pontoon_spans[1 + pg_catalog.floor(pg_catalog.random() * pg_catalog.array_length(pontoon_spans, 1))::integer:][1:2]";
            format!(
                "FOREACH pontoon_span SLICE 1 IN ARRAY ({place}) LOOP
        {}
        EXIT;
    END LOOP;",
                in_line(&format!(
                    "SELECT t.ctid FROM ONLY {} AS t WHERE {WITHIN} AND {} ORDER BY pg_catalog.random() LIMIT 1 {} OF t",
                    quote_table(self.table),
                    self.work.needs,
                    Work::lock(&self.upper.facts),
                ))
            )
        };
        let steps = format!(
            "    pontoon_spans := pontoon_visit;
    {careful}
    IF pontoon_full THEN
        pontoon_open := pg_catalog.to_jsonb(pontoon_visit);
    END IF;
    -- What was visited goes to the end: the others have their turn first.
    pontoon_open := pontoon_rest || pontoon_open;
    pontoon_position := pg_catalog.jsonb_build_object(
        'page', pontoon_from, 'open', pontoon_open, 'careful', greatest(pontoon_left - 1, 0),
        'stuck', {COUNT_STUCK});
",
            careful = self.careful(&self.work.needs, &in_line, true),
        );
        let values = vec![
            Value::bigint("pontoon_from", self.position.page),
            Value::bigint("pontoon_stop", None),
            Value::of("pontoon_visit", "bigint[]", &spans(&visit)),
            Value::of("pontoon_rest", "jsonb", &write(&rest)),
        ];
        self.whole(values, &self.known(), None, &steps)
    }

    /// The block around its steps. `laps` are those of the range, as long as
    /// it goes forward.
    fn whole(
        &self,
        mut values: Vec<Value>,
        ahead: &str,
        laps: Option<&Laps>,
        steps: &str,
    ) -> Block {
        let record = Record {
            target: &self.target,
            done: "(pontoon_position->>'page')::bigint >= pontoon_end AND pontoon_open = '[]'"
                .to_owned(),
            pages_done: format!(
                "greatest(0, {} - (
            SELECT coalesce(pg_catalog.sum((span->>1)::bigint - (span->>0)::bigint), 0)
            FROM pg_catalog.jsonb_array_elements(pontoon_open) AS span))::bigint",
                laps.map_or_else(
                    || "(pontoon_position->>'page')::bigint - pontoon_begin".to_owned(),
                    Laps::pages_done,
                )
            ),
            rows: "pontoon_changed",
            more: "",
            told: "",
        };
        values.extend([
            Value::bigint("pontoon_begin", self.upper.begin),
            Value::bigint("pontoon_end", self.upper.end),
            Value::bigint("pontoon_rows", self.rows),
            Value::bigint("pontoon_most", self.most),
            Value::bigint("pontoon_careful_before", u64::from(self.position.careful)),
            Value::bigint("pontoon_stuck", u64::from(self.position.stuck)),
        ]);
        values.extend(record.values());
        Block {
            values,
            declarations: format!(
                "    pontoon_begun CONSTANT timestamptz := pg_catalog.clock_timestamp();
    pontoon_lock_timeout CONSTANT text := pg_catalog.current_setting('lock_timeout');
    pontoon_from_tid CONSTANT tid := {from_tid};
    pontoon_stop_tid CONSTANT tid := {stop_tid};
    pontoon_storage bigint;
    pontoon_seen bigint;
    pontoon_last tid;
    pontoon_to bigint;
    pontoon_tid tid;
    pontoon_careful boolean := false;
    pontoon_left bigint := pontoon_careful_before;
    pontoon_spans bigint[];
    pontoon_span bigint[];
    pontoon_tids tid[] := '{{}}';
    pontoon_full boolean := false;
    pontoon_changed bigint := 0;
    pontoon_again bigint := 0;
    pontoon_contended bigint := 0;
    pontoon_pages bigint[] := '{{}}';
    pontoon_some bigint[];
    pontoon_count bigint;
    pontoon_open jsonb := '[]';
    pontoon_batches bigint;
    pontoon_lap jsonb;
    pontoon_position jsonb;
    {}",
                Record::DECLARATIONS,
                from_tid = tid("pontoon_from"),
                stop_tid = tid("pontoon_stop"),
            ),
            steps: format!(
                "    SELECT pg_catalog.pg_relation_filenode({regclass}::regclass), {ahead};
    IF pontoon_storage IS DISTINCT FROM {storage} THEN
        {rewritten}
        RETURN;
    END IF;
{steps}
    {record}",
                regclass = quote_literal(&quote_table(self.table)),
                storage = self.storage,
                rewritten = Record::rewritten(),
                record = record.text(),
            ),
        }
    }

    /// Locks what nobody holds in `pontoon_spans` and changes it; `in_line` may
    /// lock a row when nothing was found. Unless a later lap will come by, it
    /// finds the pages where something is left.
    fn careful(&self, needs: &str, in_line: &str, is_last: bool) -> String {
        const PICK: &str = "greatest(1, least(pontoon_rows, pontoon_most))";
        let table = quote_table(self.table);
        let within = WITHIN;
        let pick_and_update = format!(
            "FOREACH pontoon_span SLICE 1 IN ARRAY pontoon_spans LOOP
            EXIT WHEN pg_catalog.cardinality(pontoon_tids) >= {PICK};
            pontoon_tids := pontoon_tids || ARRAY(
                SELECT t.ctid FROM ONLY {table} AS t
                WHERE {within} AND {needs}
                LIMIT {PICK} - pg_catalog.cardinality(pontoon_tids)
                {lock} OF t SKIP LOCKED);
        END LOOP;
        {in_line}
        {update}
        pontoon_full := pg_catalog.cardinality(pontoon_tids) >= {PICK};",
            lock = Work::lock(&self.upper.facts),
            update = self.update("t.ctid = ANY (pontoon_tids)"),
        );
        if !is_last {
            return pick_and_update;
        }
        format!(
            "{pick_and_update}
        IF NOT pontoon_full THEN
            -- Rows that we have changed are not looked at again: what a user's
            -- trigger made of them is for verify to judge.
            FOREACH pontoon_span SLICE 1 IN ARRAY pontoon_spans LOOP
                SELECT coalesce(pg_catalog.array_agg(DISTINCT {page_of_row}), '{{}}'), pg_catalog.count(*)
                INTO pontoon_some, pontoon_count
                FROM ONLY {table} AS t
                WHERE {within} AND {needs} AND t.xmin <> pg_catalog.pg_current_xact_id()::xid;
                pontoon_pages := pontoon_pages || pontoon_some;
                pontoon_contended := pontoon_contended + pontoon_count;
            END LOOP;
            IF pontoon_contended > 0 THEN
                SELECT CASE WHEN pg_catalog.count(*) <= {MOST_SPANS}
                            THEN pg_catalog.jsonb_agg(pg_catalog.jsonb_build_array(low, high) ORDER BY low)
                            ELSE pg_catalog.jsonb_build_array(pg_catalog.jsonb_build_array(pg_catalog.min(low), pg_catalog.max(high))) END
                INTO pontoon_open
                FROM (SELECT pg_catalog.min(page) AS low, pg_catalog.max(page) + 1 AS high
                      FROM (SELECT page, page - pg_catalog.row_number() OVER (ORDER BY page) AS island
                            FROM (SELECT DISTINCT page FROM pg_catalog.unnest(pontoon_pages) AS u (page)) AS every) AS marked
                      GROUP BY island) AS islands;
            END IF;
        END IF;",
            page_of_row = page("t.ctid"),
        )
    }

    fn update(&self, condition: &str) -> String {
        update(self.table, self.work, condition)
    }
}

/// Ends the batch at the last whole page, where there is more than it may have.
const HOW_FAR: &str = "IF pontoon_seen < pontoon_rows THEN
        pontoon_to := pontoon_stop;
    ELSE
        pontoon_to := greatest(pontoon_from + 1, ((pontoon_last)::text::point)[0]::bigint);
    END IF;";

/// A row stands in `pontoon_span`.
const WITHIN: &str = "t.ctid >= pg_catalog.format('(%s,0)', pontoon_span[1])::tid
              AND t.ctid < pg_catalog.format('(%s,0)', pontoon_span[2])::tid";

/// Waits for the row of `select`, when no row is locked so far.
pub(super) fn in_line(select: &str) -> String {
    format!(
        "IF pg_catalog.cardinality(pontoon_tids) = 0 THEN BEGIN
            pontoon_tids := ARRAY({select});
        EXCEPTION WHEN lock_not_available THEN
            pontoon_tids := '{{}}';
        END; END IF;"
    )
}

/// The update itself; sets `pontoon_changed`.
pub(crate) fn update(table: &TableName, work: &Work, condition: &str) -> String {
    let update = format!(
        "UPDATE ONLY {} AS t SET {} WHERE {condition}",
        quote_table(table),
        work.set
    );
    let refuse = format!(
        "RAISE EXCEPTION USING ERRCODE = '{}',
                MESSAGE = 'the condition is still true of rows once they are changed';",
        super::STILL_NEEDED
    );
    if !work.losses.is_empty() {
        let lost: Vec<&str> = work.losses.iter().map(|loss| loss.lost.as_str()).collect();
        return format!(
            "WITH pontoon_rows AS ({update} RETURNING {lost} AS lost)
        SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE lost)
        INTO pontoon_changed, pontoon_again FROM pontoon_rows;
        IF pontoon_again > 0 THEN
            RAISE EXCEPTION USING ERRCODE = '{code}',
                MESSAGE = 'the new type does not keep the values of some rows';
        END IF;",
            lost = lost.join(" OR "),
            code = super::LOST,
        );
    }
    match (work.check, &work.needs_again) {
        (Check::Once, Some(again)) => format!(
            "IF {again} THEN
            {refuse}
        END IF;
        {update};
        GET DIAGNOSTICS pontoon_changed = ROW_COUNT;"
        ),
        (Check::EachRow, _) => format!(
            "WITH pontoon_rows AS ({update} RETURNING {needs} IS TRUE AS again)
        SELECT pg_catalog.count(*), pg_catalog.count(*) FILTER (WHERE again)
        INTO pontoon_changed, pontoon_again FROM pontoon_rows;
        IF pontoon_again > 0 THEN
            {refuse}
        END IF;",
            needs = work.needs,
        ),
        (Check::Once | Check::Never, _) => {
            format!("{update};\n        GET DIAGNOSTICS pontoon_changed = ROW_COUNT;")
        }
    }
}

/// Where a page begins, of an expression.
fn tid(page: &str) -> String {
    format!("pg_catalog.format('(%s,0)', {page})::tid")
}

/// The page of a tuple identifier.
fn page(tid: &str) -> String {
    format!("(({tid})::text::point)[0]::bigint")
}

fn spans(spans: &[Span]) -> String {
    let texts: Vec<String> = spans
        .iter()
        .map(|(from, to)| format!("{{{from},{to}}}"))
        .collect();
    format!("{{{}}}", texts.join(","))
}
