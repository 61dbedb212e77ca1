//! What operators ask for, from any machine and without the lease: a row in
//! `command` for the audit, the effect on the run's record, and an event
//! that says who asked from where, in one transaction. Each counts the run's
//! revision up, which the holder of the lease sees with its next heartbeat.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::types::Type;
use tokio_postgres::{Client, Row};
use uuid::Uuid;

use super::super::Postgres;
use super::super::sqlstate::classify;
use super::event;
use super::run::no_such;
use super::wire::{self, WireBase, WireSettings};
use crate::db::{Base, Command, DbError, ErrorKind, Holder, LiveSetting};
use crate::event::{Caller, Event};
use crate::setting;

const DOING: &str = "write the command";

/// Writes an operator's command.
///
/// # Errors
/// [`ErrorKind::Refused`] when there is no such run, it is finished, or a
/// setting makes no sense or exceeds its ceiling.
pub(crate) async fn command(
    database: &Postgres,
    run: Uuid,
    command: &Command,
    holder: &Holder,
) -> Result<(), DbError> {
    let value = wire::to_value(command, "command")?;
    let by = &format!("{}@{}", holder.user, holder.host);
    let session = database.session().await?;
    session
        .transaction("", DOING, async |client| {
            let row = lock(client, run).await?;
            let state = wire::run_state(row.get("state"))?;
            if state.is_final() {
                return Err(DbError::new(
                    ErrorKind::Refused,
                    format!("Run {run} is {} already", state.name()),
                ));
            }
            let audit = include_str!("sql/insert_command.sql");
            let change = Change {
                client,
                run,
                row: &row,
                by,
            };
            change
                .write(audit, &[(by, Type::TEXT), (&value, Type::JSONB)])
                .await?;
            let from = Some(Caller {
                user: holder.user.clone(),
                host: holder.host.clone(),
                pid: holder.pid,
                role: row.get("role"),
                address: row.get("address"),
            });
            let told = |command: String| Event::Command {
                command,
                by: by.clone(),
                from: from.clone(),
            };
            let told = match command {
                Command::Pause => {
                    change.pause(Some(by)).await?;
                    told("pause".to_owned())
                }
                Command::Resume => {
                    change.pause(None).await?;
                    told("resume".to_owned())
                }
                Command::Approve { gate } => {
                    let insert = include_str!("sql/insert_approval.sql");
                    let approved = change
                        .write(insert, &[(&gate.name(), Type::TEXT), (by, Type::TEXT)])
                        .await?;
                    // A gate that was approved before is approved once.
                    if approved == 0 {
                        return Ok(());
                    }
                    Event::GateApproved {
                        gate: *gate,
                        by: by.clone(),
                        from,
                    }
                }
                // The command's own row says until when, on this clock.
                Command::Unthrottle { seconds: 0 } => told("throttle".to_owned()),
                Command::Unthrottle { seconds } => {
                    let time = humantime::format_duration(Duration::from_secs(*seconds));
                    told(format!("unthrottle for {time}"))
                }
                Command::Set { key, value, force } => {
                    let key = setting::canonical(key)?;
                    change.set(&key, value, *force).await?;
                    told(format!("set {key} {value}"))
                }
                Command::Unset { key } => {
                    let key = setting::canonical(key)?;
                    if !change.unset(&key).await? {
                        return Ok(());
                    }
                    told(format!("unset {key}"))
                }
                Command::Rollback => {
                    let ask = include_str!("sql/request_stop.sql");
                    let who = holder.name();
                    change.write(ask, &[(&who, Type::TEXT)]).await?;
                    told("rollback".to_owned())
                }
            };
            change
                .write(include_str!("sql/count_command.sql"), &[])
                .await?;
            event::insert(client, run, &told, Some(by)).await
        })
        .await
}

/// The run's row, kept from other commands until the transaction ends.
pub(super) async fn lock(client: &Client, run: Uuid) -> Result<Row, DbError> {
    client
        .query_typed_opt(include_str!("sql/lock_run.sql"), &[(&run, Type::UUID)])
        .await
        .map_err(|error| classify(&error, DOING))?
        .ok_or_else(|| no_such(run))
}

/// Base and live settings of a row of `pontoon.run`. A run that an older
/// binary started has no base: what it has stored is one.
pub(super) fn layers(row: &Row) -> Result<(Base, Vec<LiveSetting>), DbError> {
    let base = match row.get::<_, Option<Value>>("base") {
        Some(base) => wire::from_value::<WireBase>(base, "run's base settings")?.read(),
        None => Base {
            settings: wire::from_value::<WireSettings>(row.get("settings"), "run's settings")?
                .read(),
            origins: std::collections::BTreeMap::new(),
            ceilings: std::collections::BTreeMap::new(),
            forced: false,
        },
    };
    let live = wire::from_value(row.get("live_settings"), "live setting")?;
    Ok((base, live))
}

/// Writes base and live settings, and what holds because of them.
pub(super) async fn store_layers(
    client: &Client,
    run: Uuid,
    base: &Base,
    live: &[LiveSetting],
) -> Result<(), DbError> {
    let settings = setting::layered(base, live);
    let settings = wire::to_value(&WireSettings::of(&settings), "run's settings")?;
    let base = wire::to_value(&WireBase::of(base), "run's base settings")?;
    let live = wire::to_value(&live, "live setting")?;
    client
        .execute_typed(
            include_str!("sql/update_settings.sql"),
            &[
                (&run, Type::UUID),
                (&settings, Type::JSONB),
                (&base, Type::JSONB),
                (&live, Type::JSONB),
            ],
        )
        .await
        .map_err(|error| classify(&error, DOING))?;
    Ok(())
}

/// A command on its way to a locked run.
struct Change<'a> {
    client: &'a Client,
    run: Uuid,
    row: &'a Row,
    by: &'a str,
}

impl Change<'_> {
    /// Executes a statement whose first parameter is the run.
    async fn write(
        &self,
        sql: &str,
        parameters: &[(&(dyn tokio_postgres::types::ToSql + Sync), Type)],
    ) -> Result<u64, DbError> {
        let mut all: Vec<(&(dyn tokio_postgres::types::ToSql + Sync), Type)> =
            vec![(&self.run, Type::UUID)];
        all.extend_from_slice(parameters);
        self.client
            .execute_typed(sql, &all)
            .await
            .map_err(|error| classify(&error, DOING))
    }

    async fn pause(&self, by: Option<&str>) -> Result<(), DbError> {
        let request = include_str!("sql/request_pause.sql");
        self.write(request, &[(&by, Type::TEXT)]).await.map(drop)
    }

    async fn set(&self, key: &str, value: &str, force: bool) -> Result<(), DbError> {
        let (base, mut live) = layers(self.row)?;
        if !force {
            setting::below_ceiling(&base, key, value)?;
        }
        live.retain(|over| over.key != key);
        let mut holds = setting::layered(&base, &live);
        setting::apply(&mut holds, key, value)?;
        live.push(LiveSetting {
            key: key.to_owned(),
            value: value.trim().to_owned(),
            by: self.by.to_owned(),
            at: self.row.get("now"),
            forced: force,
        });
        store_layers(self.client, self.run, &base, &live).await
    }

    /// Takes a live setting back; `false` when there is none.
    async fn unset(&self, key: &str) -> Result<bool, DbError> {
        let (base, mut live) = layers(self.row)?;
        let before = live.len();
        live.retain(|over| over.key != key);
        if live.len() == before {
            return Ok(false);
        }
        store_layers(self.client, self.run, &base, &live).await?;
        Ok(true)
    }
}
