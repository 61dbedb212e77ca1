//! `pontoon work`.

use pontoon_engine::run::{self as engine, WorkOptions};

use super::{Reconnect, RunName};
use crate::context::Context;
use crate::error::Result;
use crate::sitting::{self, Subject};
use crate::{holder, interrupt, pick, session};

/// Help with the backfill of a run, from any machine
///
/// Joins the process that runs it and shares the ranges of its tables, with
/// as many workers as the run's setting says, under the same limits, signals
/// and pauses. Any number of processes may help, any of them may die at any
/// time, and none is needed. It waits while there is nothing to do yet, joins
/// again after a takeover, and ends with 0 when the run needs no help any
/// more.
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
            let cancel = interrupt::listen(&context.output)?;
            let picked = sitting::before(&cancel, pick::run(&db, args.run.run.as_deref()));
            let run = picked.await?.new.id;
            let options = WorkOptions {
                holder: holder::here(),
                reconnect_for: args.reconnect.reconnect_for,
            };
            let subject = Subject {
                run: Some(run),
                plan_file: None,
                again: Some(format!("pontoon work {run}")),
                stops: Some("needs no help any more"),
            };
            sitting::sit(context, &db, subject, told, cancel, |sink, cancel| async {
                let sitting = engine::work(&db, run, options, sink, cancel).await?;
                Ok(sitting.ending)
            })
            .await
        })
    })
}
