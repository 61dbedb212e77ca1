//! What operators ask for, from any machine and without the lease: a row in
//! `command` for the audit, the effect on the run's record, and an event,
//! in one transaction. The holder of the lease sees the effect when it next
//! reads its run.

use std::time::Duration;

use serde_json::Value;
use tokio_postgres::types::Type;
use uuid::Uuid;

use super::super::Postgres;
use super::super::sqlstate::classify;
use super::run::no_such;
use super::wire::{self, WireSettings};
use super::{event, setting};
use crate::db::{Command, DbError, ErrorKind};
use crate::event::Event;

/// Writes an operator's command.
///
/// # Errors
/// [`ErrorKind::Refused`] when there is no such run, it is finished, or a
/// setting makes no sense.
pub(crate) async fn command(
    database: &Postgres,
    run: Uuid,
    command: &Command,
    by: &str,
) -> Result<(), DbError> {
    const DOING: &str = "write the command";
    let value = wire::to_value(command, "command")?;
    let session = database.session().await?;
    session
        .transaction("", DOING, async |client| {
            let failed = |error| classify(&error, DOING);
            let row = client
                .query_typed_opt(include_str!("sql/lock_run.sql"), &[(&run, Type::UUID)])
                .await
                .map_err(failed)?
                .ok_or_else(|| no_such(run))?;
            let state = wire::run_state(row.get("state"))?;
            if state.is_final() {
                return Err(DbError::new(
                    ErrorKind::Refused,
                    format!("Run {run} is {} already", state.name()),
                ));
            }
            client
                .execute_typed(
                    include_str!("sql/insert_command.sql"),
                    &[(&run, Type::UUID), (&by, Type::TEXT), (&value, Type::JSONB)],
                )
                .await
                .map_err(failed)?;
            let mut changed = 1;
            let told = match command {
                Command::Pause | Command::Resume => {
                    let asked_by = matches!(command, Command::Pause).then_some(by);
                    client
                        .execute_typed(
                            include_str!("sql/request_pause.sql"),
                            &[(&run, Type::UUID), (&asked_by, Type::TEXT)],
                        )
                        .await
                        .map_err(failed)?;
                    told(
                        if asked_by.is_some() {
                            "pause"
                        } else {
                            "resume"
                        },
                        by,
                    )
                }
                Command::Approve { gate } => {
                    changed = client
                        .execute_typed(
                            include_str!("sql/insert_approval.sql"),
                            &[
                                (&run, Type::UUID),
                                (&gate.name(), Type::TEXT),
                                (&by, Type::TEXT),
                            ],
                        )
                        .await
                        .map_err(failed)?;
                    Event::GateApproved {
                        gate: *gate,
                        by: by.to_owned(),
                    }
                }
                // The command's own row says until when, on this clock.
                Command::Unthrottle { seconds: 0 } => told("throttle", by),
                Command::Unthrottle { seconds } => {
                    let time = humantime::format_duration(Duration::from_secs(*seconds));
                    told(&format!("unthrottle for {time}"), by)
                }
                Command::Set { key, value } => {
                    let stored: Value = row.get("settings");
                    let mut settings =
                        wire::from_value::<WireSettings>(stored, "run's settings")?.read();
                    setting::apply(&mut settings, key, value)?;
                    let settings = wire::to_value(&WireSettings::of(&settings), "run's settings")?;
                    client
                        .execute_typed(
                            include_str!("sql/update_settings.sql"),
                            &[(&run, Type::UUID), (&settings, Type::JSONB)],
                        )
                        .await
                        .map_err(failed)?;
                    told(&format!("set {key} {value}"), by)
                }
            };
            // A gate that was approved before is approved once.
            if changed > 0 {
                event::insert(client, run, &told, Some(by)).await?;
            }
            Ok(())
        })
        .await
}

fn told(command: &str, by: &str) -> Event {
    Event::Command {
        command: command.to_owned(),
        by: by.to_owned(),
    }
}
