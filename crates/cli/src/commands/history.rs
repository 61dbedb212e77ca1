//! `pontoon history`.

use pontoon_engine::db::{Database, OldWrites, RunFilter};
use pontoon_engine::status::StatusRecord;

use crate::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::{display, session};

/// List every run of this database, newest first
#[derive(Debug, clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Result {
    session::ask(context, None, async |db| {
        let mut shown = Vec::new();
        for run in db.runs(&RunFilter::All).await? {
            let steps = db.steps(run.new.id).await?;
            // Drain evidence is of the present and has no place in a history.
            let record = StatusRecord::new(&run, &steps, &OldWrites::default(), None);
            shown.push(record.without_steps());
        }
        if context.output.is_json() {
            context.output.json(&serde_json::json!({ "runs": shown }));
        } else if shown.is_empty() {
            context
                .output
                .note("No plan has been run in this database.");
        } else {
            context.output.text(&display::status_table(&shown));
        }
        Ok(Exit::Done)
    })
}
