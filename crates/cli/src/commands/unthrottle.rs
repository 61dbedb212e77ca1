//! `pontoon unthrottle`.

use std::time::Duration;

use pontoon_engine::db::{Command, Database};

use super::RunName;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, pick, session, sitting};

/// Let no signal hold a run back for some time
///
/// Ends by itself, on the database's clock, whatever becomes of any process;
/// `--for 0s` ends it at once. The run's process notices within seconds, on
/// whatever machine it is. The limits on locks, rows and batches go on to
/// hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,

    /// How long, at most a day: 10m, 1h
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    time: Duration,
}

/// Whoever wants it off for longer switches signals off in the plan.
const LONGEST: Duration = Duration::from_secs(24 * 3600);

fn time(text: &str) -> std::result::Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time > LONGEST => Err("at most a day: 24h".to_owned()),
        Ok(time) if time.is_zero() || time.as_secs() > 0 => Ok(time),
        Ok(_) => Err("at least a second, or 0s to end it".to_owned()),
        Err(error) => Err(format!("{error}; give a time such as 10m or 1h")),
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    context.block_on(async {
        let db = session::database(context, None)?;
        let run = pick::run(&db, args.run.run.as_deref()).await?;
        let id = run.new.id;
        if run.state.is_final() {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "Run {id} is {}; there is nothing to throttle.",
                    run.state.name()
                ),
            ));
        }
        let command = Command::Unthrottle {
            seconds: args.time.as_secs(),
        };
        db.command(id, &command, &holder::here()).await?;
        let status = sitting::status(&db, id, None).await?;
        let until = status
            .as_ref()
            .and_then(|status| status.throttle_off_until.clone());
        let sentence = match until {
            Some(until) => format!("No signal holds run {id} back until {until}."),
            None => format!("The throttle of run {id} is on."),
        };
        super::tell_status(context, &sentence, status);
        Ok(Exit::Done)
    })
}
