//! `pontoon history`.

use pontoon_engine::db::{Database, OldWrites, RunFilter};
use pontoon_engine::status::StatusRecord;

use crate::context::Context;
use crate::display::{self, Columns, Totals};
use crate::error::Result;
use crate::exit::Exit;
use crate::output::Loudness;
use crate::session;

/// List what was applied to this database, newest first
///
/// One line for each run of a plan, whatever became of it, and the totals
/// below. With -v the ids of the runs stand beside them.
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
        let output = &context.output;
        let totals = Totals::of(&shown);
        if output.is_json() {
            output.json(&serde_json::json!({ "runs": shown, "totals": totals }));
        } else if shown.is_empty() {
            output.note("No plan has been run in this database.");
        } else {
            let columns = match output.loudness {
                Loudness::Quiet | Loudness::Normal => Columns::Usual,
                Loudness::Verbose(_) => Columns::WithRuns,
            };
            output.text(&display::history_table(&shown, columns));
            output.line(&totals.line());
        }
        Ok(Exit::Done)
    })
}
