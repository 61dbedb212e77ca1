//! `VALIDATE CONSTRAINT`, a whole scan, and `ANALYZE`, a sample: both under SHARE
//! UPDATE EXCLUSIVE, in one transaction with their record. Doing them twice is
//! harmless.

use std::time::Duration;

use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::sync::lookup_of;
use pontoon_core::step::Action;
use tokio_postgres::types::Type;

use super::super::fence::fence_prologue;
use super::super::sqlstate::classify;
use super::super::store::step::steps;
use super::Act;
use super::long::{Gaps, Long, Outcome};
use crate::db::{ActReport, DbError, ErrorKind};

const CHECK_VIOLATION: &str = "23514";

/// Validates a constraint and records it.
pub(super) async fn perform(
    act: &Act<'_>,
    table: &TableName,
    name: &str,
    texts: &[String],
) -> Result<ActReport, DbError> {
    let mut gaps = Gaps::new(act);
    loop {
        let long = Long::open(act).await?;
        let already_done = is_valid(act, &long, table, name).await?;
        let texts = if already_done { &[] } else { texts };
        let done = match attempt(act, &long, &mut gaps, texts, None).await {
            Err(error) if error.code.as_deref() == Some(CHECK_VIOLATION) => {
                return Err(left_open(act, table, error).await?);
            }
            done => done?,
        };
        if done {
            return Ok(ActReport {
                attempts: gaps.attempts,
                already_done,
                ..ActReport::default()
            });
        }
    }
}

/// A row fails a CHECK. Where rows refer to a lookup table, its reference may have
/// been left open since the verify pass: that one proves nothing any more, and
/// the next one fills the row.
async fn left_open(act: &Act<'_>, table: &TableName, error: DbError) -> Result<DbError, DbError> {
    let all = steps(act.database, act.fence.run).await?;
    let refers = all.iter().any(|step| match &step.step.action {
        Action::Sync(sync) => {
            sync.table == *table && sync.mappings.iter().any(|it| lookup_of(it).is_some())
        }
        _ => false,
    });
    Ok(DbError {
        kind: if refers {
            ErrorKind::ProofVoid
        } else {
            error.kind
        },
        ..error
    })
}

/// Gathers statistics and records it.
pub(super) async fn analyze(act: &Act<'_>, texts: &[String]) -> Result<ActReport, DbError> {
    recorded(act, texts, None).await
}

/// Performs statements and records them, with this assignment to the record.
pub(super) async fn recorded(
    act: &Act<'_>,
    texts: &[String],
    noted: Option<&str>,
) -> Result<ActReport, DbError> {
    let mut gaps = Gaps::new(act);
    loop {
        let long = Long::open(act).await?;
        if attempt(act, &long, &mut gaps, texts, noted).await? {
            return Ok(ActReport {
                attempts: gaps.attempts,
                ..ActReport::default()
            });
        }
    }
}

/// One transaction with the statements and the record. `false`: it gave way,
/// and the gap before the next try has passed.
async fn attempt(
    act: &Act<'_>,
    long: &Long,
    gaps: &mut Gaps<'_>,
    texts: &[String],
    noted: Option<&str>,
) -> Result<bool, DbError> {
    let noted = noted.map_or_else(String::new, |noted| format!(",\n        {noted}"));
    let statements: String = texts.iter().map(|text| format!("{text};\n")).collect();
    // Whoever holds the lock is not hindered by our waiting for it, and an
    // autovacuum yields after deadlock_timeout.
    let message = format!(
        "{}{statements}{}COMMIT",
        fence_prologue(act.fence, &long.settings(Duration::ZERO)),
        act.record.update(
            act.fence.run,
            act.no,
            &format!("attempts = attempts + {}{noted}", gaps.attempts)
        )
    );
    match long.run(act, &message).await {
        Ok(Outcome::Done(_)) => Ok(true),
        Ok(Outcome::Again { blockers, gap }) => {
            gaps.wait(blockers, gap).await?;
            Ok(false)
        }
        Err(error) => Err(classify(&error, &act.doing)),
    }
}

async fn is_valid(
    act: &Act<'_>,
    long: &Long,
    table: &TableName,
    name: &str,
) -> Result<bool, DbError> {
    long.control
        .query_typed_opt(
            include_str!("sql/constraint.sql"),
            &[
                (&table.schema, Type::TEXT),
                (&table.name, Type::TEXT),
                (&name, Type::TEXT),
            ],
        )
        .await
        .map_err(|error| classify(&error, &act.doing))?
        .map(|row| row.get(0))
        .ok_or_else(|| {
            DbError::new(
                ErrorKind::Failed,
                format!("{}: {table} has no constraint {name}", act.doing),
            )
            .hint("Somebody dropped it after the plan added it.")
        })
}
