//! `pontoon pause`.

use pontoon_engine::db::{Command, Database};

use super::RunName;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, pick, session, sitting};

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
    context.block_on(async {
        let db = session::database(context, None)?;
        let run = pick::run(&db, args.run.run.as_deref()).await?;
        let id = run.new.id;
        if run.state.is_final() {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "Run {id} is {}; there is nothing to pause.",
                    run.state.name()
                ),
            ));
        }
        let sentence = match (&run.pause_requested, &run.holder) {
            (Some(by), _) => format!("Run {id} was paused before, by {by}."),
            (None, holder) => {
                db.command(id, &Command::Pause, &holder::here()).await?;
                match holder {
                    Some(_) => format!("Run {id} pauses after the batch under way."),
                    None => format!("Run {id} is paused; no process was running it."),
                }
            }
        };
        super::tell_status(context, &sentence, sitting::status(&db, id, None).await?);
        Ok(Exit::Done)
    })
}
