//! A person's own SQL: one transaction with the fence, the record and the
//! text.
//!
//! Nothing is known of its locks. Each is waited for only briefly, and when
//! somebody has waited for us for half of `max_lock_duration` it is cancelled
//! and tried again, until `lock_patience` is spent. Unlike a guarded step it
//! has no timer on the server: while this process is stopped, nobody gives
//! way.
//!
//! The text is EXECUTEd, so that a COMMIT in it is an error and not a hole in
//! the transaction; statements that cannot run inside one (VACUUM, CREATE
//! INDEX CONCURRENTLY) are refused by the server for the same reason.

use std::time::Duration;

use pontoon_core::sql::quote::dollar_quote;
use tokio_postgres::error::SqlState;

use super::super::fence::fence_prologue;
use super::super::session::rows;
use super::super::sqlstate::classify;
use super::Act;
use super::long::{GAP, Gaps, Long, Outcome};
use crate::db::{ActReport, DbError};

/// How long a lock is waited for: long enough for short transactions, too
/// short to make the application's own deadlock checks find us.
const LONGEST_WAIT: Duration = Duration::from_millis(800);

/// Runs the text and records it.
pub(super) async fn perform(act: &Act<'_>, text: &str) -> Result<ActReport, DbError> {
    let wait = act.budget.max_lock_duration().min(LONGEST_WAIT);
    let mut gaps = Gaps::new(act);
    loop {
        let long = Long::open(act).await?;
        let message = format!(
            "{}DO {};\nSELECT coalesce(pg_catalog.current_setting('pontoon.guard', true), '') AS cost;\nCOMMIT",
            fence_prologue(act.fence, &long.settings(wait)),
            dollar_quote("pontoon_guard", &block(act, text, gaps.attempts)),
        );
        match long.run(act, &message).await {
            Ok(Outcome::Done(messages)) => {
                let already_done =
                    rows(&messages).any(|row| row.try_get("cost").ok().flatten() == Some("done"));
                return Ok(ActReport {
                    attempts: gaps.attempts,
                    already_done,
                    ..ActReport::default()
                });
            }
            Ok(Outcome::Again { blockers, gap }) => gaps.wait(blockers, gap).await?,
            Err(error) => match error.code().map(SqlState::code) {
                Some("55P03" | "40P01" | "40001") => {
                    gaps.wait(Vec::new(), wait * GAP).await?;
                }
                _ => return Err(classify(&error, &act.doing)),
            },
        }
    }
}

/// The record comes first: the text may change the role or the settings.
fn block(act: &Act<'_>, text: &str, attempts: u32) -> String {
    let (run, no) = (act.fence.run, act.no);
    format!(
        "DECLARE
    step_state text;
    step_undone integer;
BEGIN
    SELECT s.state, s.undone INTO step_state, step_undone
    FROM pontoon.step s WHERE s.run = '{run}' AND s.no = {no} FOR UPDATE;
    IF {done} THEN
        PERFORM pg_catalog.set_config('pontoon.guard', 'done', true);
        RETURN;
    END IF;
{record}    EXECUTE {text};
    SET CONSTRAINTS ALL IMMEDIATE;
END
",
        done = act.record.is_done_condition(),
        record = act
            .record
            .update(run, no, &format!("attempts = attempts + {attempts}")),
        text = dollar_quote("pontoon_step", text),
    )
}
