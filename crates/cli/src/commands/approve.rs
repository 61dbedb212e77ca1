//! `pontoon approve`.

use pontoon_core::step::Phase;
use pontoon_engine::db::{Command, Database};

use super::PhaseName;
use super::run::no_gate;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, pick, session, sitting};

/// Approve a gate, so that the run may pass it
///
/// A run that waits there (`run --wait-gates`) goes on by itself; otherwise
/// type `pontoon run` again. A gate may be approved before it is reached.
#[derive(Debug, clap::Args)]
#[command(allow_missing_positional = true)]
pub(crate) struct Args {
    /// Id of the run, a unique beginning of it, or its plan's name
    ///
    /// May be left out when only one run is unfinished.
    #[arg(value_name = "RUN")]
    run: Option<String>,

    /// Gate to approve, named by the phase that it stands before
    #[arg(value_enum, value_name = "GATE")]
    gate: PhaseName,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let gate = args.gate.phase();
    context.block_on(async {
        let db = session::database(context, None)?;
        let run = pick::run(&db, args.run.as_deref()).await?;
        let id = run.new.id;
        if run.state.is_final() {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "Run {id} is {}; there is nothing to approve.",
                    run.state.name()
                ),
            ));
        }
        let gates: Vec<Phase> = run
            .new
            .settings
            .gates
            .iter()
            .map(|gate| gate.before)
            .collect();
        if !gates.contains(&gate) {
            return Err(no_gate(gate, &gates));
        }
        let before = run.approvals.iter().find(|(phase, _, _)| *phase == gate);
        let sentence = match before {
            Some((_, by, at)) => {
                format!(
                    "The gate before {} was approved before, by {by} at {at}.",
                    gate.name()
                )
            }
            None => {
                db.command(id, &Command::Approve { gate }, &holder::here())
                    .await?;
                format!("Approved the gate before {} of run {id}.", gate.name())
            }
        };
        super::tell_status(context, &sentence, sitting::status(&db, id, None).await?);
        Ok(Exit::Done)
    })
}
