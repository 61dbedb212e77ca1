//! Catalog changes and dual writes, under the guard.

use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::locks::{locks, recurses};
use pontoon_core::sql::postgres::sync;
use pontoon_core::sql::quote::{quote_literal, quote_table};
use pontoon_core::step::{Action, Change, Ddl, LockMode, Rule, Sync, Verify};
use serde_json::json;
use tokio_postgres::types::Type;

use super::super::guard::locks::Wanted;
use super::super::guard::{Guarded, perform as guarded};
use super::super::sqlstate::classify;
use super::super::store::step::steps;
use super::text::run_word;
use super::{Act, fill};
use crate::db::{ActReport, DbError, StepRecord};

/// Performs catalog changes.
pub(super) async fn perform(
    act: &Act<'_>,
    ddl: &Ddl,
    texts: &[String],
) -> Result<ActReport, DbError> {
    let mut wanted = Vec::new();
    for change in &ddl.changes {
        let recurse = recurses(change);
        for (table, mode) in locks(change) {
            want(&mut wanted, table, mode, recurse);
        }
    }
    for parent in foreign_key_parents(act, &ddl.changes).await? {
        want(&mut wanted, parent, LockMode::AccessExclusive, false);
    }
    let (before, after) = if ddl.cutover {
        let all = steps(act.database, act.fence.run).await?;
        fill::again(act, &all).await?;
        let checks = cutover(act, ddl, &all) + &fill::must_be_new(act, &all);
        (checks, completed(act))
    } else {
        (String::new(), String::new())
    };
    guarded(
        act.database,
        Guarded {
            fence: act.fence,
            no: act.no,
            locks: wanted,
            shows_the_new: ddl.cutover,
            beforehand: Vec::new(),
            before,
            statements: texts.to_vec(),
            after,
            record: act.record.clone(),
            doing: &act.doing,
        },
        act.budget,
        act.sink,
    )
    .await
}

/// Each table once, with its strongest mode.
fn want(wanted: &mut Vec<Wanted>, table: TableName, mode: LockMode, recurse: bool) {
    match wanted.iter_mut().find(|known| known.table == table) {
        Some(known) => {
            known.mode = known.mode.max(mode);
            known.recurse |= recurse;
        }
        None => wanted.push(Wanted {
            table,
            mode,
            recurse,
        }),
    }
}

/// A foreign key that goes with its column or table locks the other table,
/// too. Which ones there are is asked now, not remembered from the plan.
async fn foreign_key_parents(act: &Act<'_>, changes: &[Change]) -> Result<Vec<TableName>, DbError> {
    let session = act.database.session().await?;
    let mut parents = Vec::new();
    for change in changes {
        let (table, column) = match change.itself() {
            Change::DropColumn { table, column } => (table, Some(column)),
            Change::DropTable { table, .. } => (table, None),
            _ => continue,
        };
        let rows = session
            .query_typed(
                include_str!("sql/fk_parents.sql"),
                &[
                    (&table.schema, Type::TEXT),
                    (&table.name, Type::TEXT),
                    (&column, Type::TEXT),
                ],
            )
            .await
            .map_err(|error| classify(&error, &act.doing))?;
        parents.extend(rows.iter().map(|row| {
            TableName::new(
                row.get::<_, String>("schema_name"),
                row.get::<_, String>("table_name"),
            )
        }));
    }
    Ok(parents)
}

/// What must still hold under the locks of contract's last step.
fn cutover(act: &Act<'_>, ddl: &Ddl, all: &[StepRecord]) -> String {
    let word = run_word(act.fence.run);
    let mut checks = String::new();
    for change in &ddl.changes {
        let Change::DropSync { sync } = change else {
            continue;
        };
        let artifact = sync::artifact(&word, &sync.table);
        // A dual write that needs no scan has nothing to verify.
        let verified = verified_of(act, all, &sync.table);
        if !sync.application_triggers {
            checks.push_str(&foreign_triggers(sync, &artifact));
        }
        checks.push_str(
            &include_str!("sql/cutover.sql")
                .replace("{verified}", &verified)
                .replace("{triggers}", &trigger_array(sync, &artifact))
                .replace("{table}", &quote_literal(&quote_table(&sync.table))),
        );
        for (lookup, triggers) in sync::kept(sync, &artifact) {
            checks.push_str(
                &include_str!("sql/cutover.sql")
                    .replace("{verified}", "")
                    .replace("{triggers}", &names(&triggers))
                    .replace("{table}", &quote_literal(&quote_table(&lookup))),
            );
        }
        for twin in twins(sync) {
            checks.push_str(
                &include_str!("sql/cutover_copy.sql")
                    .replace("{verified}", &verified_of(act, all, twin))
                    .replace("{table}", &quote_literal(&quote_table(twin))),
            );
        }
    }
    checks
}

/// What the verify steps of a table must have found.
fn verified_of(act: &Act<'_>, all: &[StepRecord], table: &TableName) -> String {
    all.iter()
        .filter(
            |step| matches!(&step.step.action, Action::Verify(verify) if verify.table == *table),
        )
        .map(|step| {
            let losses = match &step.step.action {
                Action::Verify(verify) if sync::may_lose(&verify.mappings) => {
                    let artifact = sync::artifact(&run_word(act.fence.run), table);
                    let (given, hint) = losses_of(verify);
                    include_str!("sql/lost.sql")
                        .replace(
                            "{sequence}",
                            &quote_literal(&sync::lost_sequence(&artifact)),
                        )
                        .replace("{given}", &quote_literal(given))
                        .replace("{hint}", &quote_literal(hint))
                }
                _ => String::new(),
            };
            format!("{}{losses}", include_str!("sql/verified.sql"))
                .replace("{run}", &act.fence.run.to_string())
                .replace("{verify}", &step.step.no.to_string())
        })
        .collect()
}

/// What a table was given that a verify pass does not know of, and what to do
/// about it.
fn losses_of(verify: &Verify) -> (&'static str, &'static str) {
    if verify.mappings.iter().any(|mapping| mapping.back.is_some()) {
        (
            "a value that its new type does not keep",
            "Run `pontoon verify` for a new pass, then run again. Writes that were taken back, or that ON CONFLICT left out, count as well: where they go on and on, roll back and write `lossy: true` into the plan, or `up` with what the new value is.",
        )
    } else {
        (
            "values that its lookup table did not have, and that could not be added at once",
            "Run `pontoon verify` for a new pass, which adds them, then run again. Writes that were taken back count as well.",
        )
    }
}

/// The tables to which a dual write copies rows.
fn twins(sync: &Sync) -> impl Iterator<Item = &TableName> {
    sync.mappings
        .iter()
        .filter_map(|mapping| match &mapping.rule {
            Rule::Copied { twin, .. } => Some(&twin.table),
            Rule::Pair { .. }
            | Rule::Fill { .. }
            | Rule::Derived { .. }
            | Rule::Referred { .. }
            | Rule::Omitted { .. } => None,
        })
}

/// The run is completed by the transaction that cannot be taken back.
fn completed(act: &Act<'_>) -> String {
    format!(
        "    UPDATE pontoon.run
    SET state = 'completed', phase = 'contract', gate = NULL, reason = NULL, error = NULL,
        finished_at = pg_catalog.clock_timestamp()
    WHERE id = '{}';\n",
        act.fence.run
    )
}

fn trigger_array(sync: &Sync, artifact: &str) -> String {
    names(&sync::trigger_names(sync, artifact))
}

fn names(triggers: &[String]) -> String {
    let names: Vec<String> = triggers.iter().map(|name| quote_literal(name)).collect();
    format!("ARRAY[{}]::name[]", names.join(", "))
}

/// Refuses triggers of the application that ours do not stand around.
fn foreign_triggers(sync: &Sync, artifact: &str) -> String {
    let mut names = sync::trigger_names(sync, artifact);
    names.sort();
    let edge = |name: Option<&String>| quote_literal(name.map_or("", String::as_str));
    include_str!("sql/foreign_triggers.sql")
        .replace("{triggers}", &trigger_array(sync, artifact))
        .replace("{alone}", &(!sync.application_triggers).to_string())
        .replace("{first}", &edge(names.first()))
        .replace("{last}", &edge(names.last()))
        .replace("{table}", &quote_literal(&quote_table(&sync.table)))
}

/// Installs a table's dual write.
pub(super) async fn install(act: &Act<'_>, sync: &Sync) -> Result<ActReport, DbError> {
    let artifact = sync::artifact(&run_word(act.fence.run), &sync.table);
    let triggers = trigger_array(sync, &artifact);
    let before = foreign_triggers(sync, &artifact);
    let after = include_str!("sql/private_functions.sql").replace("{triggers}", &triggers);
    let lookups = sync::kept(sync, &artifact);
    let wanted = std::iter::once(&sync.table)
        .chain(&sync.children)
        .map(|table| Wanted {
            table: table.clone(),
            mode: LockMode::ShareRowExclusive,
            recurse: true,
        })
        .chain(lookups.into_iter().map(|(table, _)| Wanted {
            table,
            mode: LockMode::ShareRowExclusive,
            recurse: false,
        }))
        .collect();
    guarded(
        act.database,
        Guarded {
            fence: act.fence,
            no: act.no,
            locks: wanted,
            shows_the_new: false,
            beforehand: sync::create(sync, &artifact),
            before,
            statements: sync::attach(sync, &artifact),
            after,
            record: act.record.clone().detail(json!({ "artifact": artifact })),
            doing: &act.doing,
        },
        act.budget,
        act.sink,
    )
    .await
}
