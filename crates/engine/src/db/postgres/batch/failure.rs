//! Which row a batch failed at.
//!
//! A server says why an expression failed, and not where. So the batch's rows
//! are looked at once more, without changing any: first each expression is
//! evaluated row by row under an exception handler; where that shows nothing
//! (a CHECK, a foreign key, a user's trigger refused the row), the number of
//! rows that can be updated is searched by bisection, in transactions that
//! are rolled back.
//!
//! Only the key of the row is told, never its other values: they may be
//! anybody's.

use std::time::Duration;

use pontoon_core::sql::quote::{quote_ident, quote_literal, quote_table};
use pontoon_core::step::CursorKind;
use serde::Deserialize;

use super::laps::Laps;
use super::pages::{stop, update};
use super::prologue::{Access, Prologue};
use super::work::{Work, row_name};
use super::{LOST, STILL_NEEDED};
use crate::db::postgres::Postgres;
use crate::db::postgres::ranges::position::{
    Facts, KeyPosition, KeyUpper, PagePosition, PageUpper, read,
};
use crate::db::postgres::routines::{Block, REPORT};
use crate::db::postgres::session::{Session, rows, text};
use crate::db::{BatchRequest, DbError, ErrorKind, Fence};

/// The search may take longer than a batch: it holds no lock for long.
const TIMEOUT: &str = "SET LOCAL statement_timeout = '10s';\n";

/// The ways out of a loss.
pub(crate) const GIVEN_UP: [&str; 2] = [
    "Mend the row, so that the new type keeps its value, and run again: the batches before it are kept.",
    "Or roll back, and write into the plan `lossy: true` if it may go, or `up` with what the new value is.",
];

/// Names the row in a batch's failure, where there is one.
pub(crate) async fn explain(
    database: &Postgres,
    fence: &Fence,
    request: &BatchRequest,
    work: &Work,
    error: DbError,
) -> DbError {
    let code = error.code.clone().unwrap_or_default();
    if code == "42501" && error.message.contains("row-level security") {
        return hidden_rows(request, error);
    }
    // Class 42: a column, table or right is missing; no row is to blame.
    if code.starts_with("42") {
        return error;
    }
    match search(database, fence, request, work, &code).await {
        Ok(Some(culprit)) => named(request, work, error, culprit),
        Ok(None) => error,
        Err(lost) => error.hint(format!("The row could not be found: {lost}.")),
    }
}

/// `row_security = off` made the server answer with an error.
pub(crate) fn hidden_rows(request: &BatchRequest, error: DbError) -> DbError {
    rls(&request.range.table.to_string(), error)
}

/// Explains what row level security does to us.
pub(crate) fn rls(table: &str, error: DbError) -> DbError {
    DbError {
        message: format!(
            "row level security of {table} applies to the role we connect as: rows that its policies hide would be left out, so nothing was changed"
        ),
        hints: vec![format!(
            "Connect as a role with BYPASSRLS, or: ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY (the owner is exempt then)"
        )],
        ..error
    }
}

/// A row and what it does.
#[derive(Debug, Deserialize)]
struct Culprit {
    /// `id = 42`.
    row: String,
    /// The column whose value could not be computed.
    column: Option<String>,
    /// What the server said of it.
    message: Option<String>,
}

fn named(request: &BatchRequest, work: &Work, error: DbError, culprit: Culprit) -> DbError {
    let table = &request.range.table;
    let expression = culprit.column.as_ref().and_then(|column| {
        work.columns
            .iter()
            .find(|(name, ..)| name == column)
            .map(|(name, _, value)| format!(" computing {name} as {value}"))
    });
    let still = error.code.as_deref() == Some(STILL_NEEDED);
    let message = match &culprit.message {
        Some(message) => message.clone(),
        None => error
            .message
            .split_once(": ")
            .map_or(error.message.clone(), |(_, rest)| rest.to_owned()),
    };
    if error.code.as_deref() == Some(LOST) {
        return DbError {
            message: format!("{table}, row {}: {message}", culprit.row),
            hints: GIVEN_UP.iter().map(|hint| (*hint).to_owned()).collect(),
            ..error
        };
    }
    let hint = if still {
        "Change `set` or `where` in the plan so that a changed row no longer matches; such a backfill would never end."
    } else {
        "Mend the row, or the expression in the plan, and run again: the batches before it are kept."
    };
    let mut hints = error.hints;
    hints.push(hint.to_owned());
    DbError {
        message: format!(
            "{table}, row {}{}: {message}",
            culprit.row,
            expression.unwrap_or_default()
        ),
        hints,
        ..error
    }
}

async fn search(
    database: &Postgres,
    fence: &Fence,
    request: &BatchRequest,
    work: &Work,
    code: &str,
) -> Result<Option<Culprit>, DbError> {
    let search = Search::new(fence, request, work)?;
    let session = database.batch_session().await?;
    if code == STILL_NEEDED {
        let Some(again) = &work.needs_again else {
            return Ok(None);
        };
        let culprit = search
            .first_row(&session, &format!("{} AND {again}", work.needs), 0)
            .await?;
        return Ok(culprit.map(|row| Culprit {
            row,
            column: None,
            message: None,
        }));
    }
    if let Some(culprit) = search.evaluate(&session).await? {
        return Ok(Some(culprit));
    }
    search.bisect(&session, code).await
}

/// The rows that the failed batch may have touched.
struct Search<'a> {
    work: &'a Work,
    request: &'a BatchRequest,
    prologue: String,
    facts: Facts,
    /// Condition on `t`.
    within: String,
    order: String,
    /// How many of them at most need work.
    rows: u64,
}

impl<'a> Search<'a> {
    fn new(fence: &Fence, request: &'a BatchRequest, work: &'a Work) -> Result<Self, DbError> {
        let range = &request.range;
        let mut rows = request.rows.clamp(1, request.max_batch_rows.max(1));
        let upper = range.upper.as_deref().unwrap_or_default();
        let (access, facts, within, order) = match range.cursor {
            CursorKind::Pages => {
                let position: PagePosition = read(&range.position)?;
                let upper: PageUpper = read(upper)?;
                let forward = position.page < upper.end;
                let (from, to) = if forward {
                    (position.page, stop(&position, &upper, request.rows))
                } else {
                    let open = position.open.first();
                    (open.map_or(upper.begin, |span| span.0), upper.end)
                };
                // A server tests conditions in the order that it likes: a row
                // may fail in a lap that is not its own.
                if let Some(laps) = Laps::of(&position, &upper).filter(|_| forward) {
                    rows = rows.saturating_mul(laps.count());
                }
                let within = format!("t.ctid >= '({from},0)'::tid AND t.ctid < '({to},0)'::tid");
                (Access::Pages, upper.facts, within, String::new())
            }
            CursorKind::Key => {
                let position: KeyPosition = read(&range.position)?;
                let upper: KeyUpper = read(upper)?;
                let columns: Vec<String> = upper
                    .columns
                    .iter()
                    .map(|(name, _)| format!("t.{}", quote_ident(name)))
                    .collect();
                let after = if position.ended {
                    position.open.first().and_then(|(lower, _)| lower.clone())
                } else {
                    position.after
                };
                let within = after.map_or_else(
                    || "true".to_owned(),
                    |point| {
                        let values: Vec<String> = point
                            .iter()
                            .zip(&upper.columns)
                            .map(|(value, (_, type_name))| {
                                format!("{}::{type_name}", quote_literal(value))
                            })
                            .collect();
                        format!("({}) > ({})", columns.join(", "), values.join(", "))
                    },
                );
                (
                    Access::Key,
                    upper.facts,
                    within,
                    format!("ORDER BY {}", columns.join(", ")),
                )
            }
        };
        let prologue = Prologue::new(fence, access, &work.pins, Duration::from_secs(10), &facts);
        Ok(Self {
            work,
            request,
            prologue: prologue.whole() + TIMEOUT,
            facts,
            within,
            order,
            rows,
        })
    }

    fn table(&self) -> String {
        quote_table(&self.request.range.table)
    }

    /// Evaluates condition and expressions row by row, until as many rows as
    /// a batch may take need work: those that need none, between them, count
    /// for nothing.
    async fn evaluate(&self, session: &Session) -> Result<Option<Culprit>, DbError> {
        let table = self.table();
        let mut declarations = String::new();
        let mut compute = String::new();
        for (at, (name, type_name, value)) in self.work.columns.iter().enumerate() {
            declarations.push_str(&format!("    pontoon_value_{at} {type_name};\n"));
            compute.push_str(&format!(
                "pontoon_column := {};
            SELECT {value} INTO pontoon_value_{at} FROM ONLY {table} AS t
            WHERE t.ctid = pontoon_row_at.place;
            ",
                quote_literal(name),
            ));
        }
        declarations.push_str(
            "    pontoon_row_at record;
    pontoon_seen bigint := 0;
    pontoon_column text;
    pontoon_message text;",
        );
        let steps = format!(
            "    PERFORM pg_catalog.set_config('pontoon.report', '', true);
    FOR pontoon_row_at IN
        SELECT t.ctid AS place, {name} AS name FROM ONLY {table} AS t WHERE {within} {order}
    LOOP
        EXIT WHEN pontoon_seen >= {rows};
        BEGIN
            pontoon_column := NULL;
            PERFORM FROM ONLY {table} AS t WHERE t.ctid = pontoon_row_at.place AND {needs};
            CONTINUE WHEN NOT FOUND;
            pontoon_seen := pontoon_seen + 1;
            {compute}
            pontoon_column := NULL;
            {losses}
        EXCEPTION WHEN OTHERS THEN
            GET STACKED DIAGNOSTICS pontoon_message = MESSAGE_TEXT;
            -- Where rows are compared, the condition has every expression in it.
            IF pontoon_column IS NULL THEN BEGIN
                {compute}
                pontoon_column := NULL;
            EXCEPTION WHEN OTHERS THEN NULL;
            END; END IF;
            PERFORM pg_catalog.set_config('pontoon.report', pg_catalog.jsonb_build_object(
                'row', pontoon_row_at.name, 'column', pontoon_column, 'message', pontoon_message)::text, true);
            RETURN;
        END;
    END LOOP;",
            name = row_name(&self.facts.names),
            within = self.within,
            order = self.order,
            rows = self.rows,
            needs = self.work.needs,
            losses = self.losses(&table),
        );
        let block = Block {
            values: Vec::new(),
            declarations,
            steps,
        }
        .inline();
        let messages = session
            .one_message(
                &format!("{}{block}{REPORT};\nCOMMIT", self.prologue),
                "evaluate the rows of the failed batch",
            )
            .await?;
        let Some(row) = rows(&messages).last() else {
            return Ok(None);
        };
        Ok(serde_json::from_str(text(row, "report")?).ok())
    }

    /// Fails for a row that would lose a value; where the way back ends in an
    /// error, that is the row as well.
    fn losses(&self, table: &str) -> String {
        let each = self.work.losses.iter().map(|loss| {
            format!(
                "IF (SELECT {} FROM ONLY {table} AS t WHERE t.ctid = pontoon_row_at.place) THEN
                RAISE EXCEPTION USING ERRCODE = '{LOST}', MESSAGE = {};
            END IF;",
                loss.would_lose,
                quote_literal(&loss.says),
            )
        });
        each.collect::<Vec<_>>().join("\n            ")
    }

    /// Finds how many rows can be updated before the failure, and names the next.
    async fn bisect(&self, session: &Session, code: &str) -> Result<Option<Culprit>, DbError> {
        let (mut good, mut bad) = (0, self.rows);
        let mut message = None;
        while bad - good > 1 || message.is_none() {
            let middle = if message.is_none() {
                bad
            } else {
                u64::midpoint(good, bad)
            };
            match self.try_rows(session, middle).await {
                Err(error) if error.code.as_deref() == Some(code) => {
                    bad = middle;
                    message = Some(error.message);
                }
                // It does not happen again: somebody has mended the row.
                Ok(()) if message.is_none() => return Ok(None),
                Ok(()) => good = middle,
                Err(error) if error.kind == ErrorKind::Failed => return Ok(None),
                Err(error) => return Err(error),
            }
        }
        let row = self.first_row(session, &self.work.needs, bad - 1).await?;
        Ok(row.map(|row| Culprit {
            row,
            column: None,
            message: None,
        }))
    }

    /// Updates the first `count` rows and takes it back.
    async fn try_rows(&self, session: &Session, count: u64) -> Result<(), DbError> {
        let table = self.table();
        let steps = format!(
            "    pontoon_tids := ARRAY(SELECT t.ctid FROM ONLY {table} AS t WHERE {} AND {} {} LIMIT {count} {} OF t SKIP LOCKED);
    {}",
            self.within,
            self.work.needs,
            self.order,
            Work::lock(&self.facts),
            update(
                &self.request.range.table,
                self.work,
                "t.ctid = ANY (pontoon_tids)"
            ),
        );
        let block = Block {
            values: Vec::new(),
            declarations: "    pontoon_tids tid[];
    pontoon_changed bigint;
    pontoon_again bigint;"
                .to_owned(),
            steps,
        }
        .inline();
        // The bound of a batch holds here: row locks are held.
        let message = format!("{}{block}ROLLBACK", self.prologue.replace(TIMEOUT, ""));
        session
            .one_message(&message, "try the rows of the failed batch")
            .await
            .map(|_| ())
    }

    async fn first_row(
        &self,
        session: &Session,
        condition: &str,
        skip: u64,
    ) -> Result<Option<String>, DbError> {
        let message = format!(
            "{}SELECT {} AS name FROM ONLY {} AS t WHERE {} AND {condition} {} OFFSET {skip} LIMIT 1;\nCOMMIT",
            self.prologue,
            row_name(&self.facts.names),
            self.table(),
            self.within,
            self.order,
        );
        let messages = session
            .one_message(&message, "name the row of the failed batch")
            .await?;
        let found = rows(&messages)
            .last()
            .and_then(|row| row.try_get("name").ok().flatten())
            .map(str::to_owned);
        Ok(found)
    }
}
