//! `pontoon verify`.

use pontoon_engine::run::{self as engine, RunOptions};

use super::{Reconnect, RunName};
use crate::context::Context;
use crate::error::Result;
use crate::sitting::{self, Subject};
use crate::{holder, interrupt, pick, session};

/// Compare every row of both shapes again
///
/// A clean pass lifts an earlier failure; one that finds rows which only a
/// person can decide ends with exit code 7 and shows their keys.
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
            let options = RunOptions::new(holder::here(), args.reconnect.reconnect_for);
            let subject = Subject {
                run: Some(run),
                plan_file: None,
                again: Some(format!("pontoon verify {run}")),
                stops: Some("is verified: every row has both shapes in step"),
            };
            sitting::sit(context, &db, subject, told, cancel, |sink, cancel| async {
                let (ending, _) = engine::verify(&db, run, options, sink, cancel).await?;
                Ok(ending)
            })
            .await
        })
    })
}
