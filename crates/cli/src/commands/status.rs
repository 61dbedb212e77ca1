//! `pontoon status`.

use pontoon_engine::db::{Database, RunFilter};
use pontoon_engine::status::StatusRecord;

use super::RunName;
use crate::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::{display, pick, session, sitting};

/// How many finished runs stand beside the unfinished ones.
const FINISHED: usize = 20;

/// Show what is happening, why it waits, and what to type
///
/// With RUN, everything about that run. Without it: the unfinished run when
/// there is exactly one, else a list.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    session::ask(context, None, async |db| match args.run.run.as_deref() {
        Some(wanted) => one(context, db, Some(wanted)).await,
        None => several(context, db).await,
    })
}

async fn one<D: Database>(context: &Context, db: &D, wanted: Option<&str>) -> Result {
    let run = pick::run(db, wanted).await?.new.id;
    // The record was there a moment ago, and runs are never deleted.
    if let Some(mut status) = sitting::status(db, run, None).await? {
        if context.output.is_json() {
            context.output.json(&status);
        } else {
            status.next = status.next.map(|next| context.typed(&next));
            context.output.text(&display::one_status(&status));
        }
    }
    Ok(Exit::Done)
}

async fn several<D: Database>(context: &Context, db: &D) -> Result {
    let runs = db.runs(&RunFilter::All).await?;
    let unfinished = runs.iter().filter(|run| !run.state.is_final()).count();
    if !context.output.is_json() && unfinished == 1 {
        return one(context, db, None).await;
    }
    let mut finished = 0;
    let mut shown: Vec<StatusRecord> = Vec::new();
    for run in &runs {
        if run.state.is_final() {
            finished += 1;
            if finished > FINISHED {
                continue;
            }
        }
        shown.extend(sitting::status(db, run.new.id, None).await?);
    }
    if context.output.is_json() {
        context.output.json(&serde_json::json!({ "runs": shown }));
        return Ok(Exit::Done);
    }
    if unfinished == 0 {
        context
            .output
            .note("There is no unfinished run in this database.");
    }
    if !shown.is_empty() {
        context.output.text(&display::status_table(&shown));
    }
    Ok(Exit::Done)
}
