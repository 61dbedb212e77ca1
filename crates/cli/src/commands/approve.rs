//! `pontoon approve`.

use pontoon_core::step::Phase;
use pontoon_engine::db::Command;

use super::PhaseName;
use super::no_gate;
use crate::context::Context;
use crate::error::Result;

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
    let wanted = args.run.as_deref();
    super::give(context, wanted, "there is nothing to approve", |run| {
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
        let name = gate.name();
        Ok(match before {
            Some((_, by, at)) => (
                None,
                format!("The gate before {name} was approved before, by {by} at {at}."),
            ),
            None => (
                Some(Command::Approve { gate }),
                format!("Approved the gate before {name} of run {}.", run.new.id),
            ),
        })
    })
}
