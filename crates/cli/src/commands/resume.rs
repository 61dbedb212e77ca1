//! `pontoon resume`.

use pontoon_engine::db::{Command, Database};

use super::RunName;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, pick, session, sitting};

/// Lift an operator's pause
///
/// The run goes on when `pontoon run` is typed, here or elsewhere.
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
                    "Run {id} is {}; there is nothing to resume.",
                    run.state.name()
                ),
            ));
        }
        let sentence = match &run.pause_requested {
            Some(by) => {
                db.command(id, &Command::Resume, &holder::here()).await?;
                format!("Lifted the pause of run {id}, which {by} had asked for.")
            }
            None => format!("Run {id} is not paused by an operator."),
        };
        super::tell_status(context, &sentence, sitting::status(&db, id, None).await?);
        Ok(Exit::Done)
    })
}
