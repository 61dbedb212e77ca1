//! `pontoon events`.

use std::time::Duration;

use pontoon_engine::db::{Database, StoredEvent};
use pontoon_engine::event::{EVENT_VERSION, Event, Record};
use serde::Serialize;
use uuid::Uuid;

use super::RunName;
use crate::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::{pick, session, words};

/// Between two looks for new events.
const LOOK: Duration = Duration::from_secs(1);

/// Tell what has happened in a run, oldest first
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    run: RunName,

    /// Go on telling until the run is finished
    #[arg(short, long)]
    follow: bool,
}

/// A stored event as a JSON line.
#[derive(Serialize)]
struct Line {
    #[serde(flatten)]
    record: Record,
    by: Option<String>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    session::ask(context, None, async |db| {
        let run = pick::run_or_newest(db, args.run.run.as_deref())
            .await?
            .new
            .id;
        let mut told = 0;
        loop {
            // The state first: what happened before it became final is then
            // among the events.
            let finished = pick::run(db, Some(&run.to_string()))
                .await?
                .state
                .is_final();
            let events = db.events(run).await?;
            for event in events.iter().skip(told) {
                tell(context, run, event);
            }
            told = events.len();
            if finished || !args.follow {
                return Ok(Exit::Done);
            }
            tokio::time::sleep(LOOK).await;
        }
    })
}

fn tell(context: &Context, run: Uuid, event: &StoredEvent) {
    if context.output.is_json() {
        context.output.json(&Line {
            record: Record {
                v: EVENT_VERSION,
                at: event.at.clone(),
                run,
                event: event.event.clone(),
            },
            by: event.by.clone(),
        });
        return;
    }
    // Commands name their giver themselves.
    let is_command = matches!(
        event.event,
        Event::Command { .. } | Event::GateApproved { .. }
    );
    let by = event
        .by
        .as_ref()
        .filter(|_| !is_command)
        .map_or_else(String::new, |by| format!("  [{by}]"));
    context.output.line(&format!(
        "{}  {}{by}",
        event.at,
        words::event(Some(run), &event.event)
    ));
}
