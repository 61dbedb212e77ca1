//! `pontoon rollback`.

use std::io::{BufRead, IsTerminal};

use pontoon_engine::run::{self as engine, RunOptions};

use super::{Reconnect, RunName};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::sitting::{self, Subject};
use crate::{holder, interrupt, pick, session};

/// Take an unfinished run back, with every write kept
///
/// Leaves the catalog as it was before the run. Possible until contract has
/// ended. Asks first on a terminal; --yes answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,

    #[command(flatten)]
    reconnect: Reconnect,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    sitting::streamed(context, |told| {
        context.block_on(async {
            let db = session::database(context, None)?;
            // A run that has completed says so itself, which tells more than that
            // there is none to take back.
            let cancel = interrupt::listen(&context.output)?;
            let picked = pick::run_or_newest(&db, args.run.run.as_deref());
            let run = sitting::before(&cancel, picked).await?;
            let id = run.new.id;
            if !run.state.is_final() {
                confirm(
                context,
                &format!(
                    "Take back run {id} of {} in database {}? Application versions that use the new shape stop working. [y/N] ",
                    run.new.plan, run.database
                ),
            )?;
            }
            let options = RunOptions::new(holder::here(), args.reconnect.reconnect_for);
            let subject = Subject {
                run: Some(id),
                plan_file: None,
                again: Some(format!("pontoon rollback {id}")),
                stops: None,
            };
            sitting::sit(context, &db, subject, told, cancel, |sink, cancel| async {
                let sitting = engine::rollback(&db, id, options, sink, cancel).await?;
                Ok(sitting.ending)
            })
            .await
        })
    })
}

/// Asks a person. A script that types the verb has decided already.
fn confirm(context: &Context, question: &str) -> Result<()> {
    let stdin = std::io::stdin();
    if context.global.yes || !stdin.is_terminal() || !context.output.is_terminal() {
        return Ok(());
    }
    context.output.text(question);
    let mut answer = String::new();
    stdin
        .lock()
        .read_line(&mut answer)
        .map_err(|error| Failure::new(Exit::Internal, format!("read the answer: {error}")))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new(Exit::Interrupted, "Nothing was changed.")),
    }
}
