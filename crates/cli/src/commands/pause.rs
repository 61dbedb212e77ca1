//! `pontoon pause`.

use pontoon_engine::db::Command;

use super::RunName;
use crate::context::Context;
use crate::error::Result;

/// Pause a run after the batch under way, from any machine
///
/// Its process ends with exit code 11 and releases the run. Only `pontoon
/// resume` lifts the pause. Both shapes stay in step meanwhile.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let wanted = args.run.run.as_deref();
    super::give(context, wanted, "there is nothing to pause", |run| {
        let id = run.new.id;
        Ok(match (&run.pause_requested, &run.holder) {
            (Some(by), _) => (None, format!("Run {id} was paused before, by {by}.")),
            (None, Some(_)) => (
                Some(Command::Pause),
                format!("Run {id} pauses after the batch under way."),
            ),
            (None, None) => (
                Some(Command::Pause),
                format!("Run {id} is paused; no process was running it."),
            ),
        })
    })
}
