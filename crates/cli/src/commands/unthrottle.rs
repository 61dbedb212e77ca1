//! `pontoon unthrottle`.

use std::time::Duration;

use pontoon_engine::db::Command;

use super::RunName;
use crate::context::Context;
use crate::error::Result;

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
    let wanted = args.run.run.as_deref();
    super::give(context, wanted, "there is nothing to throttle", |run| {
        let id = run.new.id;
        let seconds = args.time.as_secs();
        let sentence = match seconds {
            0 => format!("The throttle of run {id} is on."),
            _ => format!(
                "No signal holds run {id} back for {}.",
                humantime::format_duration(Duration::from_secs(seconds))
            ),
        };
        Ok((Some(Command::Unthrottle { seconds }), sentence))
    })
}
