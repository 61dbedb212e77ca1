//! `pontoon set`.

use pontoon_engine::db::{Command, Database};

use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, pick, session, sitting};

/// Change a setting of a run while it goes on
///
/// The run's process notices within seconds, whatever machine it is on.
/// Settings: max-lock-duration, lock-patience, max-rows-affected,
/// max-batch-rows, target-batch-time, workers, and throttle.SIGNAL for the
/// limit of a signal, or `on` or `off`; throttle.SIGNAL.KEY for its further
/// limits.
#[derive(Debug, clap::Args)]
#[command(override_usage = "pontoon set [OPTIONS] [RUN] KEY VALUE")]
pub(crate) struct Args {
    /// Setting and its new value; before them RUN, unless only one run is unfinished
    #[arg(
        value_name = "[RUN] KEY VALUE",
        num_args = 2..=3,
        required = true,
        allow_hyphen_values = true
    )]
    words: Vec<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let (wanted, key, value) = match args.words.as_slice() {
        [key, value] => (None, key, value),
        [run, key, value] => (Some(run.as_str()), key, value),
        _ => return Err(Failure::usage("Give a setting and its value.")),
    };
    context.block_on(async {
        let db = session::database(context, None)?;
        let run = pick::run(&db, wanted).await?;
        let id = run.new.id;
        if run.state.is_final() {
            return Err(Failure::new(
                Exit::Refused,
                format!("Run {id} is {}; nothing can be set.", run.state.name()),
            ));
        }
        let command = Command::Set {
            key: key.clone(),
            value: value.clone(),
        };
        db.command(id, &command, &holder::by()).await?;
        let sentence = format!("Set {key} of run {id} to {value}.");
        super::tell_status(context, &sentence, sitting::status(&db, id, None).await?);
        Ok(Exit::Done)
    })
}
