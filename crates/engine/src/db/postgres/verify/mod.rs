//! One chunk of a verify pass: an exact comparison on the server.
//!
//! The comparison is one statement, hence one snapshot, over a range of
//! pages: every row of it is compared by image (see
//! `pontoon_core::sql::postgres::mapping`). What is wrong and beyond doubt
//! (`repairable`) is filled in the same transaction, under the rules of a
//! batch: no row is waited for, limits hold, the fence stands before it. What
//! only a person can decide is shown by its key and left alone.
//!
//! What a chunk found is stored with the range in the same transaction, so
//! that a pass which was interrupted does not forget a mismatch.
//!
//! The last range of a leaf goes on to the table's end of the moment, where
//! rows stand now that were wrong and have been moved since. It reads at most as
//! much again as the table had when the pass began, and [`MARGIN`]: what comes
//! under the triggers is in step, and a table that grows faster than a pass that
//! yields can read would keep it going for ever.

use pontoon_core::sql::postgres::loss;
use pontoon_core::sql::postgres::mapping::{any_of, mismatch, repairable};
use pontoon_core::sql::quote::{quote_literal, quote_table};
use pontoon_core::step::{CursorKind, Mapping, Rule, Verify};

use super::Postgres;
use super::batch::pages::update;
use super::batch::prologue::{Access, Prologue};
use super::batch::record::{Record, Target};
use super::batch::work::{ROW, Work, row_name};
use super::batch::{MOVED, Told, failure};
use super::ranges::position::{PagePosition, PageUpper, read};
use super::ranges::reload;
use super::routines::{Block, Value};
use crate::db::{DbError, ErrorKind, Fence, VerifyReport, VerifyRequest};

/// Examples that a range keeps.
const MOST_EXAMPLES: usize = 20;
/// Pages that one chunk looks at, at most (32 MB).
const MOST_PAGES: u64 = 4_096;
/// Pages that are read behind the end of a small table, too (8 MB).
const MARGIN: u64 = 1_024;

/// One chunk. Part of the waist.
pub(super) async fn verify_chunk(
    database: &Postgres,
    fence: &Fence,
    request: &VerifyRequest,
) -> Result<VerifyReport, DbError> {
    let range = &request.range;
    if range.cursor != CursorKind::Pages {
        return Err(DbError::new(
            ErrorKind::Internal,
            "A verify pass goes along pages, and its range does not",
        ));
    }
    // What is lost is told of, and stops nothing that is mended beside it.
    let work = Work {
        losses: Vec::new(),
        ..Work::fill(&request.verify.mappings)
    };
    let (prologue, block) = message(fence, request, &work)?;
    let session = database.batch_session().await?;
    let doing = format!("compare rows of {}", range.table);
    let sent = session.block_message(&prologue, &block, &doing);
    let error = match sent.await {
        Ok(messages) => {
            let mut told = Told::of(&messages)?;
            let found = told.found.take().unwrap_or_default();
            return Ok(VerifyReport {
                checked: told.checked,
                mismatched: found.mismatched,
                conflicts: found.conflicts,
                repaired: found.repaired,
                examples: found.examples,
                elapsed: told.elapsed(),
                rewritten: told.rewritten,
                range: told.apply(range),
            });
        }
        Err(error) => error,
    };
    drop(session);
    match error.code.as_deref() {
        Some(MOVED) => Ok(VerifyReport {
            range: reload(database, fence, range).await?.0,
            checked: 0,
            mismatched: 0,
            conflicts: 0,
            repaired: 0,
            examples: Vec::new(),
            elapsed: std::time::Duration::ZERO,
            rewritten: false,
        }),
        Some("42501") if error.message.contains("row-level security") => {
            Err(failure::rls(&range.table.to_string(), error))
        }
        _ => Err(error),
    }
}

/// How a chunk's message begins, and its block.
fn message(
    fence: &Fence,
    request: &VerifyRequest,
    work: &Work,
) -> Result<(Prologue, Block), DbError> {
    let range = &request.range;
    let position: PagePosition = read(&range.position)?;
    let upper: PageUpper = read(range.upper.as_deref().unwrap_or_default())?;
    let chunk = Chunk {
        request,
        work,
        from: position.page,
        upper: &upper,
    };
    let target = Target {
        fence,
        range,
        max_rows_affected: request.max_rows_affected,
    };
    let prologue = Prologue::new(
        fence,
        Access::Pages,
        &work.pins,
        request.timeout,
        &upper.facts,
    );
    Ok((prologue, chunk.block(&target)))
}

struct Chunk<'a> {
    request: &'a VerifyRequest,
    work: &'a Work,
    from: u64,
    upper: &'a PageUpper,
}

impl Chunk<'_> {
    fn block(&self, target: &Target<'_>) -> Block {
        let range = &self.request.range;
        let table = quote_table(&range.table);
        let regclass = format!("{}::regclass", quote_literal(&table));
        let end = if self.upper.tail {
            format!(
                "least(greatest(pontoon_end, pg_catalog.pg_relation_size({regclass}) / pg_catalog.current_setting('block_size')::bigint), 2 * pontoon_end + {MARGIN})"
            )
        } else {
            "pontoon_end".to_owned()
        };
        let rows = self.request.rows.max(1);
        let known = &range.findings;
        let record = Record {
            target,
            done: format!("pontoon_to >= {end}"),
            pages_done: "pontoon_to - pontoon_begin".to_owned(),
            rows: "pontoon_checked",
            more: ", pages_total = greatest(r.pages_total, pontoon_to - pontoon_begin),
        detail = r.detail || pg_catalog.jsonb_build_object('findings', pg_catalog.jsonb_build_object(
            'mismatched', pontoon_mismatched_before + pontoon_mismatched,
            'conflicts', pontoon_conflicts_before + pontoon_conflicts,
            'lost', pontoon_lost_before + pontoon_lost,
            'repaired', pontoon_repaired_before + pontoon_changed,
            'examples', pontoon_examples_before || pg_catalog.to_jsonb(pontoon_examples[1:pontoon_room])))",
            told: ", 'checked', pontoon_checked,
        'found', pg_catalog.jsonb_build_object('mismatched', pontoon_mismatched, 'conflicts', pontoon_conflicts, 'lost', pontoon_lost,
            'repaired', pontoon_changed, 'examples', pontoon_examples)",
        };
        let examples = serde_json::to_string(&known.examples).expect("a list of texts is JSON");
        let room = MOST_EXAMPLES.saturating_sub(known.examples.len());
        let mut values = vec![
            Value::bigint("pontoon_from", self.from),
            Value::bigint("pontoon_begin", self.upper.begin),
            Value::bigint("pontoon_end", self.upper.end),
            Value::bigint("pontoon_rows", rows),
            Value::bigint("pontoon_window", rows.min(MOST_PAGES)),
            Value::bigint("pontoon_mismatched_before", known.mismatched),
            Value::bigint("pontoon_conflicts_before", known.conflicts),
            Value::bigint("pontoon_lost_before", known.lost),
            Value::bigint("pontoon_repaired_before", known.repaired),
            Value::of("pontoon_examples_before", "jsonb", &examples),
            Value::bigint("pontoon_room", room as u64),
        ];
        values.extend(record.values());
        Block {
            values,
            declarations: format!(
                "    pontoon_begun CONSTANT timestamptz := pg_catalog.clock_timestamp();
    pontoon_from_tid CONSTANT tid := pg_catalog.format('(%s,0)', pontoon_from)::tid;
    pontoon_storage bigint;
    pontoon_seen bigint;
    pontoon_last tid;
    pontoon_stop bigint;
    pontoon_stop_tid tid;
    pontoon_to bigint;
    pontoon_to_tid tid;
    pontoon_checked bigint;
    pontoon_mismatched bigint;
    pontoon_conflicts bigint;
    pontoon_lost bigint;
    pontoon_wrong tid[];
    pontoon_examples text[];
    pontoon_tids tid[];
    pontoon_changed bigint := 0;
    pontoon_contended bigint := 0;
    pontoon_position jsonb;
    {}",
                Record::DECLARATIONS
            ),
            steps: format!(
                "    pontoon_stop := least({end}, pontoon_from + pontoon_window);
    pontoon_stop_tid := pg_catalog.format('(%s,0)', pontoon_stop)::tid;
    SELECT pg_catalog.pg_relation_filenode({regclass}), pg_catalog.count(*), pg_catalog.max(place)
    INTO pontoon_storage, pontoon_seen, pontoon_last
    FROM (SELECT t.ctid AS place FROM ONLY {table} AS t
          WHERE t.ctid >= pontoon_from_tid AND t.ctid < pontoon_stop_tid LIMIT pontoon_rows) AS ahead;
    IF pontoon_storage IS DISTINCT FROM {storage} THEN
        {rewritten}
        RETURN;
    END IF;
    IF pontoon_seen < pontoon_rows THEN
        pontoon_to := pontoon_stop;
    ELSE
        pontoon_to := greatest(pontoon_from + 1, ((pontoon_last)::text::point)[0]::bigint);
    END IF;
    pontoon_to_tid := pg_catalog.format('(%s,0)', pontoon_to)::tid;
    {compare}
    {repair}
    pontoon_position := pg_catalog.jsonb_build_object('page', pontoon_to, 'open', '[]'::jsonb, 'careful', 0);
    {record}",
                storage = range.storage,
                rewritten = Record::rewritten(),
                compare = self.compare(&table),
                repair = self.repair(&table),
                record = record.text(),
            ),
        }
    }

    /// The comparison: one statement over `[from, pontoon_to)`.
    fn compare(&self, table: &str) -> String {
        let within = "t.ctid >= pontoon_from_tid AND t.ctid < pontoon_to_tid";
        format!(
            "WITH wrong AS MATERIALIZED (
        SELECT t.ctid AS place, {undecidable} AS undecidable, {lost} AS lost, {name} AS name
        FROM ONLY {table} AS t
        WHERE {within} AND {mismatched}
    )
    SELECT (SELECT pg_catalog.count(*) FROM ONLY {table} AS t WHERE {within}),
           pg_catalog.count(*), pg_catalog.count(undecidable),
           pg_catalog.count(*) FILTER (WHERE lost AND undecidable IS NOT NULL),
           coalesce(pg_catalog.array_agg(place), '{{}}'),
           coalesce((pg_catalog.array_agg(name || ' (' || undecidable || ')') FILTER (WHERE undecidable IS NOT NULL))[1:{MOST_EXAMPLES}], '{{}}')
    INTO pontoon_checked, pontoon_mismatched, pontoon_conflicts, pontoon_lost, pontoon_wrong, pontoon_examples
    FROM wrong;",
            undecidable = undecidable(&self.request.verify),
            lost = loss::any_lost(&self.request.verify.mappings, ROW)
                .unwrap_or_else(|| "false".to_owned()),
            name = row_name(&self.upper.facts.names),
            mismatched = any_of(
                self.request
                    .verify
                    .mappings
                    .iter()
                    .map(|mapping| mismatch(mapping, ROW))
                    .collect()
            ),
        )
    }

    fn repair(&self, table: &str) -> String {
        if !self.request.repair || self.work.is_empty() {
            return String::new();
        }
        format!(
            "IF pg_catalog.cardinality(pontoon_wrong) > 0 THEN
        pontoon_tids := ARRAY(
            SELECT t.ctid FROM ONLY {table} AS t
            WHERE t.ctid = ANY (pontoon_wrong) AND {needs}
            LIMIT pontoon_rows
            {lock} OF t SKIP LOCKED);
        {update}
    END IF;",
            needs = self.work.needs,
            lock = Work::lock(&self.upper.facts),
            update = update(
                &self.request.range.table,
                self.work,
                "t.ctid = ANY (pontoon_tids)"
            ),
        )
    }
}

/// What a mapping is called where a row contradicts it: by its columns.
fn concerns(mapping: &Mapping) -> String {
    match &mapping.rule {
        Rule::Copied { twin, .. } => format!("no equal row in {}", twin.table),
        Rule::Pair { .. }
        | Rule::Fill { .. }
        | Rule::Derived { .. }
        | Rule::Referred { .. }
        | Rule::Omitted { .. } => {
            let columns = mapping.old.iter().chain(&mapping.new);
            let names: Vec<&str> = columns.map(|column| column.name.as_str()).collect();
            names.join(", ")
        }
    }
}

/// An expression: which mappings of the row `t` contradict themselves in a
/// way that only a person can decide, by their columns; NULL when none does.
fn undecidable(verify: &Verify) -> String {
    let each: Vec<String> = verify
        .mappings
        .iter()
        .map(|mapping| {
            let (wrong, fills) = (mismatch(mapping, ROW), repairable(mapping, ROW));
            let concerns = quote_literal(&concerns(mapping));
            let lost = loss::lost(mapping, ROW)
                .zip(loss::says(mapping))
                .map_or_else(String::new, |(lost, says)| {
                    format!("WHEN {lost} THEN {} ", quote_literal(&says))
                });
            format!("CASE WHEN {fills} THEN NULL {lost}WHEN {wrong} THEN {concerns} END")
        })
        .collect();
    if each.is_empty() {
        return "NULL::text".to_owned();
    }
    format!(
        "nullif(pg_catalog.concat_ws('; ', {}), '')",
        each.join(", ")
    )
}
