//! The end of a batch's block: what commits together with its rows.

use crate::db::postgres::routines::Value;
use crate::db::{Fence, RangeRecord};

/// Where the block writes.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) fence: &'a Fence,
    pub(crate) range: &'a RangeRecord,
    pub(crate) max_rows_affected: Option<u64>,
}

/// Writes position and counts. Reads the block's `pontoon_position`,
/// `pontoon_changed`, `pontoon_contended` and `pontoon_begun`.
pub(crate) struct Record<'a> {
    pub(crate) target: &'a Target<'a>,
    /// Expression: the range is done.
    pub(crate) done: String,
    /// Expression: pages behind the cursor.
    pub(crate) pages_done: String,
    /// Expression: what is added to the range's rows.
    pub(crate) rows: &'static str,
    /// Further assignments of `pontoon.range`, each with a comma before it.
    pub(crate) more: &'static str,
    /// Further pairs of the report, each with a comma before it.
    pub(crate) told: &'static str,
}

impl Record<'_> {
    /// Variables that [`Record::text`] needs.
    pub(crate) const DECLARATIONS: &'static str =
        "pontoon_affected bigint;\n    pontoon_result record;";

    /// Values that [`Record::text`] needs.
    pub(crate) fn values(&self) -> [Value; 2] {
        [
            Value::bigint("pontoon_range", u64::from(self.target.range.no)),
            Value::of(
                "pontoon_position_before",
                "text",
                &self.target.range.position,
            ),
        ]
    }

    /// The statements.
    pub(crate) fn text(&self) -> String {
        let Target {
            fence,
            range,
            max_rows_affected,
        } = self.target;
        let run = fence.run;
        let within = max_rows_affected.map_or_else(String::new, |limit| {
            format!(" AND r.rows_affected + pontoon_changed <= {limit}")
        });
        let refuse = max_rows_affected.map_or_else(String::new, |limit| {
            format!(
                "
        IF NOT FOUND THEN
            SELECT r.rows_affected INTO pontoon_affected FROM pontoon.run AS r WHERE r.id = '{run}';
            RAISE EXCEPTION USING ERRCODE = '{code}',
                MESSAGE = 'max_rows_affected would be passed',
                DETAIL = pg_catalog.format('%s rows changed, limit %s', pontoon_affected, {limit});
        END IF;",
                code = super::super::sqlstate::ROW_LIMIT,
            )
        });
        format!(
            "UPDATE pontoon.range AS r
    SET position = pontoon_position::text, done = ({done}), rows = r.rows + {rows},
        pages_done = {pages_done}{more}
    WHERE r.run = '{run}' AND r.step = {step} AND r.pass = {pass} AND r.no = pontoon_range
      AND r.position = pontoon_position_before AND (r.owner IS NULL OR r.owner = '{token}')
    RETURNING r.position, r.done, r.rows, r.pages_done, r.pages_total, r.detail INTO pontoon_result;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = '{moved}', MESSAGE = 'the range has moved on meanwhile';
    END IF;
    -- Last, because every worker of the run meets at this row.
    IF pontoon_changed > 0 THEN
        UPDATE pontoon.run AS r SET rows_affected = r.rows_affected + pontoon_changed
        WHERE r.id = '{run}'{within};{refuse}
    END IF;
    PERFORM pg_catalog.set_config('pontoon.report', pg_catalog.jsonb_build_object(
        'position', pontoon_result.position, 'done', pontoon_result.done, 'rows', pontoon_result.rows,
        'pages_done', pontoon_result.pages_done, 'pages_total', pontoon_result.pages_total,
        'detail', pontoon_result.detail, 'changed', pontoon_changed, 'contended', pontoon_contended{told},
        'elapsed_ms', {elapsed})::text, true);",
            done = self.done,
            pages_done = self.pages_done,
            rows = self.rows,
            more = self.more,
            told = self.told,
            step = range.step,
            pass = range.pass,
            token = fence.token,
            moved = super::MOVED,
            elapsed = ELAPSED,
        )
    }

    /// The report of a block that found the table rewritten and did nothing.
    pub(crate) fn rewritten() -> String {
        format!(
            "PERFORM pg_catalog.set_config('pontoon.report', \
             pg_catalog.jsonb_build_object('rewritten', true, 'elapsed_ms', {ELAPSED})::text, true);"
        )
    }
}

const ELAPSED: &str =
    "extract(epoch FROM pg_catalog.clock_timestamp() - pontoon_begun)::double precision * 1000";
