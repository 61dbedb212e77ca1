//! A materialized view of ours is filled, which comes for another one in the
//! cutover.
//!
//! One transaction with its record, which gives way as every long one does: what
//! is broken off leaves it empty, and is done again. With the record stands which
//! file the other one had *before* the query began, and in which term of the
//! lease it was. REFRESH gives it another file; then ours would be older than
//! what its readers have seen, and it is filled again before the cutover, which
//! looks once more. REFRESH … CONCURRENTLY changes rows of the same file, and
//! nothing tells of it surely; but whatever happened between two sittings, days
//! maybe, is not lost: what was filled in an earlier term is filled again.

use pontoon_core::name::TableName;
use pontoon_core::sql::quote::{quote_literal, quote_table};
use pontoon_core::step::{Action, Concurrent};

use super::super::sqlstate::{REFUSED, classify};
use super::{Act, Record, load, validate};
use crate::db::{ActReport, DbError, Direction, StepRecord};
use crate::event::Event;

/// A setting of the transaction, which holds the file.
const FILE: &str = "pontoon.filled";

/// Fills it and records it.
pub(super) async fn perform(
    act: &Act<'_>,
    of: &TableName,
    texts: &[String],
) -> Result<ActReport, DbError> {
    let file = format!("coalesce({}, '')", file(of));
    let note = format!("SELECT pg_catalog.set_config('{FILE}', {file}, true)");
    let texts = [vec![note], texts.to_vec()].concat();
    let noted = format!(
        "detail = detail || pg_catalog.jsonb_build_object('file', pg_catalog.current_setting('{FILE}'), 'term', {})",
        act.fence.epoch
    );
    validate::recorded(act, &texts, Some(&noted)).await
}

/// Fills again what is older than the one whose place it takes, or may be.
pub(super) async fn again(act: &Act<'_>, all: &[StepRecord]) -> Result<(), DbError> {
    for (no, view, of) in filled(all) {
        let sql = format!(
            "SELECT {}, {}",
            is_older(act, no, of),
            is_of_another_term(act, no)
        );
        let session = act.database.session().await?;
        let row = session.query_typed_one(&sql, &[]).await;
        let row = row.map_err(|error| classify(&error, &act.doing))?;
        let message = match (row.get::<_, bool>(0), row.get::<_, bool>(1)) {
            (true, _) => {
                format!("{of} was refreshed after {view} had been filled, which is filled again.")
            }
            (false, true) => format!(
                "{view} was filled in an earlier sitting, and is filled again: {of} may have been refreshed since."
            ),
            (false, false) => continue,
        };
        act.sink.emit(Event::Warning { message });
        let (stored, _, _) = load(act.database, act.fence, no).await?;
        let step = Act {
            no,
            record: Record::new(&stored.step, Direction::Do),
            doing: stored.step.name.clone(),
            ..*act
        };
        perform(&step, of, &stored.sql).await?;
    }
    Ok(())
}

/// Refuses, in the cutover, what has become older just now.
pub(super) fn must_be_new(act: &Act<'_>, all: &[StepRecord]) -> String {
    filled(all)
        .map(|(no, _, of)| {
            format!(
                "    IF {} THEN
        RAISE EXCEPTION USING ERRCODE = '{REFUSED}',
            MESSAGE = {},
            HINT = 'Run again: it is filled again first.';
    END IF;\n",
                is_older(act, no, of),
                quote_literal(&format!(
                    "materialized view {of} was refreshed after what comes for it had been filled"
                ))
            )
        })
        .collect()
}

fn filled(all: &[StepRecord]) -> impl Iterator<Item = (u32, &TableName, &TableName)> {
    all.iter().filter_map(|record| match &record.step.action {
        Action::Concurrent(Concurrent::Fill { view, of, .. }) => Some((record.step.no, view, of)),
        _ => None,
    })
}

/// Its file; NULL when it is gone, which the cutover tells.
fn file(of: &TableName) -> String {
    let name = quote_literal(&quote_table(of));
    format!("pg_catalog.pg_relation_filenode(pg_catalog.to_regclass({name}))::text")
}

fn is_older(act: &Act<'_>, no: u32, of: &TableName) -> String {
    format!(
        "coalesce({} <> {}, false)",
        file(of),
        recorded(act, no, "file")
    )
}

fn is_of_another_term(act: &Act<'_>, no: u32) -> String {
    let term = recorded(act, no, "term");
    format!("{term} IS DISTINCT FROM '{}'", act.fence.epoch)
}

/// What stands with the record of its step.
fn recorded(act: &Act<'_>, no: u32, key: &str) -> String {
    format!(
        "(SELECT s.detail ->> '{key}' FROM pontoon.step s WHERE s.run = '{}' AND s.no = {no})",
        act.fence.run
    )
}
