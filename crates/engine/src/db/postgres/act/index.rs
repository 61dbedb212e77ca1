//! Indexes built and dropped concurrently.
//!
//! No transaction ties these statements to a record, so the catalog is asked
//! what happened. An index is built as `_pontoon_<run>_<step>_<epoch>` and
//! renamed to its own name under the fence, together with the record:
//! - The final name with an open record is therefore never ours.
//! - Whatever bears the building name of this step on this table is ours. A
//!   valid one is adopted, an invalid one dropped. While a session whose
//!   client is dead still builds, it is waited for: the server does not know
//!   that nobody listens, and the work is good.
//! - A stopped process that comes back may still send its statement. It
//!   builds under its own epoch's name and never gets to rename.
//!
//! `lock_timeout` must be 0: a concurrent build counts the wait for any older
//! transaction in the database as a lock wait, and leaves an INVALID index.
//! The effective setting is read back, for a role's default may say otherwise.

use std::time::Duration;

use pontoon_core::catalog::Index;
use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::change::{
    build_name, create_index_concurrently, drop_index_concurrently, rename_index,
};
use pontoon_core::sql::quote::{quote_ident, quote_literal, quote_qualified};
use tokio::time::sleep;
use tokio_postgres::types::Type;

use super::super::fence::fence_prologue;
use super::super::session::Session;
use super::super::sqlstate::{BROKEN, classify};
use super::long::{Gaps, Long, Outcome};
use super::text::run_word;
use super::{Act, settle};
use crate::db::{ActReport, DbError, Direction, ErrorKind};
use crate::event::Event;

/// Builds an index, or finishes what an earlier process began. As the way
/// back from a drop it may find the index in place: the drop never began.
pub(super) async fn create(
    act: &Act<'_>,
    table: &TableName,
    index: &Index,
    direction: Direction,
) -> Result<ActReport, DbError> {
    let mut gaps = Gaps::new(act);
    let built = loop {
        match build(act, table, index, direction, gaps.attempts).await? {
            Outcome::Done(name) => break name,
            Outcome::Again { blockers, gap } => gaps.wait(blockers, gap).await?,
        }
    };
    let in_place = built == index.name;
    let rename = match in_place {
        true => Vec::new(),
        false => vec![rename_index(&table.schema, &built, &index.name)],
    };
    let report = settle(act, is_valid(&table.schema, &built), rename).await?;
    Ok(ActReport {
        attempts: gaps.attempts,
        already_done: in_place || report.already_done,
        ..ActReport::default()
    })
}

/// What must hold of an index that was built: it is there, and valid.
pub(super) fn is_valid(schema: &str, name: &str) -> String {
    let relation = quote_literal(&quote_qualified(schema, name));
    format!(
        "    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_index i
        WHERE i.indexrelid = {relation}::pg_catalog.regclass AND i.indisvalid
    ) THEN
        RAISE EXCEPTION 'the index is not valid' USING ERRCODE = '{BROKEN}';
    END IF;\n"
    )
}

/// One try to have a valid index under the building name.
async fn build(
    act: &Act<'_>,
    table: &TableName,
    index: &Index,
    direction: Direction,
    attempt: u32,
) -> Result<Outcome<String>, DbError> {
    let long = Long::open(act).await?;
    prepare(act, &long).await?;
    wait_for_builders(act, &long, &index.name).await?;
    if let Some(found) = find(act, &long.control, table, &index.name).await? {
        let ours = found.of_table && found.relkind == "i";
        match direction {
            Direction::Undo(_) if ours && found.valid => {
                return Ok(Outcome::Done(index.name.clone()));
            }
            // Our drop was broken off in the middle: the rest of it, then a
            // new one is built.
            Direction::Undo(_) if ours => {
                still_ours(act, &long).await?;
                let message = drop_index_concurrently(table, &index.name);
                match long.run(act, &message).await {
                    Ok(Outcome::Done(_)) => {}
                    Ok(Outcome::Again { blockers, gap }) => {
                        return Ok(Outcome::Again { blockers, gap });
                    }
                    Err(error) => return Err(classify(&error, &act.doing)),
                }
            }
            Direction::Do | Direction::Undo(_) => return Err(taken(act, table, index, &found)),
        }
    }
    if let Some(adopted) = clean_up(act, &long, table, Keep::OneValid).await? {
        return Ok(Outcome::Done(adopted));
    }
    if attempt == 1 {
        tell_of_old_transactions(act, &long).await?;
    }
    let name = build_name(&run_word(act.fence.run), act.no, act.fence.epoch);
    still_ours(act, &long).await?;
    let message = create_index_concurrently(table, index, &name);
    match long.run(act, &message).await {
        Ok(Outcome::Done(_)) => Ok(Outcome::Done(name)),
        Ok(Outcome::Again { blockers, gap }) => {
            clean_up(act, &long, table, Keep::Nothing).await?;
            Ok(Outcome::Again { blockers, gap })
        }
        Err(error) => {
            let failure = classify(&error, &act.doing);
            if !matches!(
                failure.kind,
                ErrorKind::Unreachable | ErrorKind::ServerChanged
            ) {
                // The first error is the one to tell; what it left is looked
                // for again by the next try.
                if let Err(second) = clean_up(act, &long, table, Keep::Nothing).await {
                    tracing::warn!("an unfinished index was left behind: {second}");
                }
            }
            Err(failure)
        }
    }
}

/// Drops an index, and whatever unfinished builds of this step are left.
pub(super) async fn drop(
    act: &Act<'_>,
    table: &TableName,
    name: &str,
) -> Result<ActReport, DbError> {
    let mut gaps = Gaps::new(act);
    let already_done = loop {
        match remove(act, table, name).await? {
            Outcome::Done(already_done) => break already_done,
            Outcome::Again { blockers, gap } => gaps.wait(blockers, gap).await?,
        }
    };
    let relation = quote_literal(&quote_qualified(&table.schema, name));
    let is_gone = format!(
        "    IF pg_catalog.to_regclass({relation}) IS NOT NULL THEN
        RAISE EXCEPTION 'the index is still there' USING ERRCODE = '{BROKEN}';
    END IF;\n"
    );
    settle(act, is_gone, Vec::new()).await?;
    Ok(ActReport {
        attempts: gaps.attempts,
        already_done,
        ..ActReport::default()
    })
}

/// One try to drop the index. `true`: it was gone before.
async fn remove(act: &Act<'_>, table: &TableName, name: &str) -> Result<Outcome<bool>, DbError> {
    let long = Long::open(act).await?;
    prepare(act, &long).await?;
    wait_for_builders(act, &long, name).await?;
    clean_up(act, &long, table, Keep::Nothing).await?;
    match find(act, &long.control, table, name).await? {
        None => return Ok(Outcome::Done(true)),
        Some(found) if !found.of_table => {
            return Err(DbError::new(
                ErrorKind::Refused,
                format!(
                    "{}: {}.{name} is no index of {table}",
                    act.doing, table.schema
                ),
            ));
        }
        Some(_) => {}
    }
    still_ours(act, &long).await?;
    let message = drop_index_concurrently(table, name);
    match long.run(act, &message).await {
        Ok(Outcome::Done(_)) => Ok(Outcome::Done(false)),
        Ok(Outcome::Again { blockers, gap }) => Ok(Outcome::Again { blockers, gap }),
        Err(error) => Err(classify(&error, &act.doing)),
    }
}

/// Takes every timer away, and looks whether that worked.
pub(super) async fn prepare(act: &Act<'_>, long: &Long) -> Result<(), DbError> {
    let failed = |error| classify(&error, &act.doing);
    let mut text = format!(
        "SET application_name = '{}'; SET lock_timeout = 0; SET statement_timeout = 0;
         SET idle_in_transaction_session_timeout = 0; SET default_transaction_isolation = 'read committed'",
        long.name
    );
    if long.version >= 170_000 {
        text.push_str("; SET transaction_timeout = 0");
    }
    long.session.batch_execute(&text).await.map_err(failed)?;
    let in_force = long
        .session
        .query_typed(include_str!("sql/long_settings.sql"), &[])
        .await
        .map_err(failed)?;
    let in_force: Vec<String> = in_force
        .iter()
        .map(|row| format!("{} = {}", row.get::<_, &str>(0), row.get::<_, &str>(1)))
        .collect();
    if in_force.is_empty() {
        return Ok(());
    }
    Err(DbError::new(
        ErrorKind::Refused,
        format!(
            "{}: timers stay in force that would leave an INVALID index: {}",
            act.doing,
            in_force.join(", ")
        ),
    )
    .hint("A pooler or the server resets them; connect to the server itself."))
}

/// A relation of the wanted name.
pub(super) struct Found {
    pub(super) relkind: String,
    valid: bool,
    pub(super) of_table: bool,
}

pub(super) async fn find(
    act: &Act<'_>,
    control: &Session,
    table: &TableName,
    name: &str,
) -> Result<Option<Found>, DbError> {
    let row = control
        .query_typed_opt(
            include_str!("sql/index.sql"),
            &[
                (&table.schema, Type::TEXT),
                (&name, Type::TEXT),
                (&table.schema, Type::TEXT),
                (&table.name, Type::TEXT),
            ],
        )
        .await
        .map_err(|error| classify(&error, &act.doing))?;
    Ok(row.map(|row| Found {
        relkind: row.get("relkind"),
        valid: row.get::<_, Option<bool>>("valid").unwrap_or(false),
        of_table: row.get("of_table"),
    }))
}

/// Somebody else's relation has the name: building over it is never right.
fn taken(act: &Act<'_>, table: &TableName, index: &Index, found: &Found) -> DbError {
    let what = match (found.relkind.as_str(), found.of_table, found.valid) {
        ("i", true, true) => "an index of that name exists already",
        ("i", true, false) => "an INVALID index of that name is left from somebody's failed build",
        ("i", false, _) => "an index of another table has that name",
        _ => "another relation has that name",
    };
    DbError::new(
        ErrorKind::Failed,
        format!("{}: {what}: {}.{}", act.doing, table.schema, index.name),
    )
    .hint("Drop or rename it, then run again.")
}

/// What [`clean_up`] leaves.
#[derive(Clone, Copy, PartialEq)]
enum Keep {
    Nothing,
    OneValid,
}

fn prefix(act: &Act<'_>) -> String {
    // The name with its epoch cut off, and the underscore kept: step 1 is
    // not step 11.
    let name = build_name(&run_word(act.fence.run), act.no, 0);
    name.trim_end_matches('0').to_owned()
}

/// Drops what earlier builds left; returns the one that was kept.
async fn clean_up(
    act: &Act<'_>,
    long: &Long,
    table: &TableName,
    keep: Keep,
) -> Result<Option<String>, DbError> {
    let failed = |error| classify(&error, &act.doing);
    let rows = long
        .control
        .query_typed(
            include_str!("sql/builds.sql"),
            &[
                (&table.schema, Type::TEXT),
                (&table.name, Type::TEXT),
                (&prefix(act), Type::TEXT),
            ],
        )
        .await
        .map_err(failed)?;
    let mut kept = None;
    for row in rows {
        let (name, valid): (String, bool) = (row.get("name"), row.get("valid"));
        if keep == Keep::OneValid && valid && kept.is_none() {
            kept = Some(name);
            continue;
        }
        still_ours(act, long).await?;
        prepare(act, long).await?;
        long.session
            .batch_execute(&drop_index_concurrently(table, &name))
            .await
            .map_err(failed)?;
    }
    Ok(kept)
}

/// Waits until no session builds for this step any more, or drops the index
/// of this name. One that makes others wait is cancelled.
pub(super) async fn wait_for_builders(
    act: &Act<'_>,
    long: &Long,
    name: &str,
) -> Result<(), DbError> {
    let failed = |error| classify(&error, &act.doing);
    let prefix = format!("\"{}", prefix(act));
    let name = quote_ident(name);
    let ours = [long.pid, long.control_pid];
    let budget = act.budget.max_lock_duration();
    let mut told = false;
    loop {
        let builders = long
            .control
            .query_typed(
                include_str!("sql/builders.sql"),
                &[
                    (&prefix, Type::TEXT),
                    (&&ours[..], Type::INT4_ARRAY),
                    (&name, Type::TEXT),
                ],
            )
            .await
            .map_err(failed)?;
        let Some(builder) = builders.first() else {
            return Ok(());
        };
        let pid: i32 = builder.get("pid");
        if !told {
            told = true;
            act.sink.emit(Event::Warning {
                message: format!(
                    "The server still works for a process that is gone (pid {pid}); waiting for it."
                ),
            });
        }
        let waiting = super::super::guard::watch::waiters(&long.control, pid).await?;
        if waiting
            .iter()
            .any(|waiter| waiter.waited_ms >= budget.as_secs_f64() * 500.0)
        {
            long.control
                .query_typed(
                    "SELECT pg_catalog.pg_cancel_backend(a.pid) FROM pg_catalog.pg_stat_activity a
                     WHERE a.pid = $1 AND a.application_name = $2 AND a.xact_start::text = $3",
                    &[
                        (&pid, Type::INT4),
                        (&builder.get::<_, String>("application_name"), Type::TEXT),
                        (&builder.get::<_, Option<String>>("xact_start"), Type::TEXT),
                    ],
                )
                .await
                .map_err(failed)?;
        }
        tell_progress(act, &long.control, pid).await?;
        sleep((budget / 5).clamp(Duration::from_millis(20), Duration::from_millis(500))).await;
    }
}

/// These statements cannot carry the fence, so the lease is read just before.
pub(super) async fn still_ours(act: &Act<'_>, long: &Long) -> Result<(), DbError> {
    let text = format!(
        "{}COMMIT",
        fence_prologue(act.fence, "SET LOCAL lock_timeout = '5s';")
    );
    long.control.one_message(&text, &act.doing).await?;
    Ok(())
}

/// A build waits for every older transaction of the database: say for which.
pub(super) async fn tell_of_old_transactions(act: &Act<'_>, long: &Long) -> Result<(), DbError> {
    let rows = long
        .control
        .query_typed(include_str!("sql/old_transactions.sql"), &[])
        .await
        .map_err(|error| classify(&error, &act.doing))?;
    if rows.is_empty() {
        return Ok(());
    }
    let named: Vec<String> = rows
        .iter()
        .map(|row| {
            format!(
                "pid {} ({}, {}, {}, {} s)",
                row.get::<_, i32>("pid"),
                row.get::<_, Option<&str>>("usename").unwrap_or("?"),
                row.get::<_, Option<&str>>("application_name")
                    .unwrap_or("?"),
                row.get::<_, Option<&str>>("state").unwrap_or("?"),
                (row.get::<_, f64>("age_ms") / 1e3).round(),
            )
        })
        .collect();
    act.sink.emit(Event::Warning {
        message: format!(
            "A concurrent build waits for every transaction that is older: {}.",
            named.join("; ")
        ),
    });
    Ok(())
}

/// Tells how far the index build of a backend is; nothing when it builds none.
pub(super) async fn tell_progress(
    act: &Act<'_>,
    control: &Session,
    pid: i32,
) -> Result<(), DbError> {
    let row = control
        .query_typed_opt(
            include_str!("sql/index_progress.sql"),
            &[(&pid, Type::INT4)],
        )
        .await
        .map_err(|error| classify(&error, &act.doing))?;
    let Some(row) = row else { return Ok(()) };
    let count = |column: &str| {
        row.get::<_, Option<i64>>(column)
            .and_then(|count| u64::try_from(count).ok())
            .unwrap_or_default()
    };
    let mut doing: String = row.get::<_, Option<String>>("phase").unwrap_or_default();
    if let Some(pid) = row.get::<_, Option<i32>>("waits_for") {
        doing.push_str(&format!(" (pid {pid})"));
    }
    act.sink.emit(Event::StepProgress {
        no: act.no,
        doing,
        done: count("done"),
        total: count("total"),
    });
    Ok(())
}
