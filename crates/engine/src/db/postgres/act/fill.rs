//! A materialized view of ours is filled, which comes for another one in the
//! cutover.
//!
//! One transaction with its record, which gives way as every long one does: what
//! is broken off leaves it empty, and is done again. With the record stands which
//! file the other one had *before* the query began. REFRESH gives it another
//! file; then ours would be older than what its readers have seen, and it is
//! filled again before the cutover, which looks once more. REFRESH …
//! CONCURRENTLY changes rows of the same file, and nothing tells of it surely.

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
        "detail = detail || pg_catalog.jsonb_build_object('file', pg_catalog.current_setting('{FILE}'))"
    );
    validate::recorded(act, &texts, Some(&noted)).await
}

/// Fills again what is older than the one whose place it takes.
pub(super) async fn again(act: &Act<'_>, all: &[StepRecord]) -> Result<(), DbError> {
    for (no, view, of) in filled(all) {
        let sql = format!("SELECT {}", is_older(act, no, of));
        let session = act.database.session().await?;
        let row = session.query_typed_one(&sql, &[]).await;
        let row = row.map_err(|error| classify(&error, &act.doing))?;
        if !row.get::<_, bool>(0) {
            continue;
        }
        act.sink.emit(Event::Warning {
            message: format!(
                "{of} was refreshed after {view} had been filled, which is filled again."
            ),
        });
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
        "coalesce({} <> (SELECT s.detail ->> 'file' FROM pontoon.step s WHERE s.run = '{}' AND s.no = {no}), false)",
        file(of),
        act.fence.run
    )
}
