//! `pontoon rollback`.

use std::io::{BufRead, IsTerminal};

use pontoon_engine::db::{Database, RunFilter, RunRecord};
use pontoon_engine::run::{self as engine, RunOptions};
use tokio_util::sync::CancellationToken;

use super::{Reconnect, RunName};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::sitting::{self, Subject, Told};
use crate::{holder, interrupt, pick, session};

/// Take an unfinished run back, with every write to the old shape kept
///
/// Leaves the catalog as it was before the run, but for what an operation's
/// page says stays. Possible until contract has ended. Asks first on a
/// terminal; --yes answers.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,

    /// Take back every unfinished run of this database, newest first
    #[arg(long, conflicts_with = "run")]
    all: bool,

    #[command(flatten)]
    reconnect: Reconnect,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    sitting::streamed(context, |told| {
        context.block_on(async {
            let db = session::database(context, None)?;
            let cancel = interrupt::listen(&context.output)?;
            if args.all {
                return all(args, context, &db, told, cancel).await;
            }
            // A run that has completed says so itself, which tells more than that
            // there is none to take back.
            let picked = pick::run_or_newest(&db, args.run.run.as_deref());
            let run = sitting::before(&cancel, picked).await?;
            let again = format!("pontoon rollback {}", run.new.id);
            one(args, context, &db, &run, again, told, cancel).await
        })
    })
}

/// The newest goes first: it may stand on what an older one has made.
async fn all<D: Database>(
    args: &Args,
    context: &Context,
    db: &D,
    told: &mut Told,
    cancel: CancellationToken,
) -> Result {
    let look = async { Ok(db.runs(&RunFilter::Unfinished).await?) };
    let runs = sitting::before(&cancel, look).await?;
    if runs.is_empty() {
        context
            .output
            .note("There is no unfinished run in this database.");
    }
    for run in &runs {
        let again = "pontoon rollback --all".to_owned();
        let exit = one(args, context, db, run, again, told, cancel.clone()).await?;
        if exit != Exit::Done {
            return Ok(exit);
        }
    }
    Ok(Exit::Done)
}

async fn one<D: Database>(
    args: &Args,
    context: &Context,
    db: &D,
    run: &RunRecord,
    again: String,
    told: &mut Told,
    cancel: CancellationToken,
) -> Result {
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
        again: Some(again),
        stops: None,
    };
    sitting::sit(context, db, subject, told, cancel, |sink, cancel| async {
        let sitting = engine::rollback(db, id, options, sink, cancel).await?;
        Ok(sitting.ending)
    })
    .await
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
