//! `pontoon resume`.

use pontoon_engine::db::Command;

use super::RunName;
use crate::context::Context;
use crate::error::Result;

/// Lift an operator's pause
///
/// The run goes on when `pontoon run` is typed, here or elsewhere.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let wanted = args.run.run.as_deref();
    super::give(context, wanted, "there is nothing to resume", |run| {
        let id = run.new.id;
        Ok(match &run.pause_requested {
            Some(by) => (
                Some(Command::Resume),
                format!("Lifted the pause of run {id}, which {by} had asked for."),
            ),
            None => (None, format!("Run {id} is not paused by an operator.")),
        })
    })
}
