//! `pontoon run`.

use std::path::PathBuf;

use pontoon_core::plan::{Ceilings, Plan};
use pontoon_core::step::Phase;
use pontoon_engine::db::{Database, RunFilter};
use pontoon_engine::run::{self as engine, RunOptions};

use super::{PhaseName, Reconnect};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::sitting::{self, Subject};
use crate::{files, holder, interrupt, session};

/// Run a plan, or go on with its unfinished run
///
/// Starts the plan, or resumes the unfinished run of it from the last
/// committed batch, in this terminal or from another machine. Stops at the
/// plan's gates (exit code 5) until `pontoon approve` was typed. The first
/// Ctrl-C or SIGTERM lets the batch under way end; the second stops at once.
/// Nothing is lost either way.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File of the plan
    plan: PathBuf,

    /// End with success in front of this gate, or after this phase
    ///
    /// A name that the plan has a gate for means the gate. `contract` always
    /// means in front of contract.
    #[arg(long, value_enum, value_name = "GATE|PHASE")]
    until: Option<PhaseName>,

    /// Approve this gate beforehand; may be repeated
    #[arg(long, value_enum, value_name = "GATE")]
    approve: Vec<PhaseName>,

    /// Stay at gates until someone approves them
    #[arg(long)]
    wait_gates: bool,

    #[command(flatten)]
    reconnect: Reconnect,

    /// Let the plan pass the ceilings of pontoon.yaml
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    sitting::streamed(context, |told| {
        let config = files::config(Some(&args.plan))?;
        let ceilings = if args.force {
            Ceilings::Exceed
        } else {
            Ceilings::Hold
        };
        let env = context.global.env.as_deref();
        let plan = files::effective_plan(&args.plan, &config, env, ceilings)?;
        let options = options(args, &plan)?;
        let plan_file = args.plan.to_string_lossy().into_owned();
        context.block_on(async {
            let db = session::database(context, Some(&args.plan))?;
            let cancel = interrupt::listen(&context.output)?;
            let runs = sitting::before(&cancel, async {
                Ok(db.runs(&RunFilter::Plan(plan.plan.clone())).await?)
            });
            let unfinished = runs.await?.into_iter().find(|run| !run.state.is_final());
            let subject = Subject {
                run: unfinished.map(|run| run.new.id),
                plan_file: Some(&plan_file),
                again: Some(again(args, &plan_file)),
                stops: None,
            };
            sitting::sit(context, &db, subject, told, cancel, |sink, cancel| async {
                let sitting = engine::run(&db, &plan, options, sink, cancel).await?;
                Ok(sitting.ending)
            })
            .await
        })
    })
}

/// What the arguments mean for this plan.
fn options(args: &Args, plan: &Plan) -> Result<RunOptions> {
    let gates: Vec<Phase> = plan.gates.iter().map(|gate| gate.before).collect();
    let approve: Vec<Phase> = args.approve.iter().map(|name| name.phase()).collect();
    for gate in &approve {
        if !gates.contains(gate) {
            return Err(no_gate(*gate, &gates));
        }
    }
    let (until_gate, until_phase) = match args.until.map(PhaseName::phase) {
        None => (None, None),
        Some(phase) if phase == Phase::Contract || gates.contains(&phase) => (Some(phase), None),
        Some(phase) => (None, Some(phase)),
    };
    Ok(RunOptions {
        holder: holder::here(),
        until_gate,
        until_phase,
        approve,
        wait_gates: args.wait_gates,
        reconnect_for: args.reconnect.reconnect_for,
    })
}

/// A gate was named that the plan does not have.
pub(super) fn no_gate(gate: Phase, gates: &[Phase]) -> Failure {
    let failure = Failure::new(
        Exit::Usage,
        format!("The plan has no gate before {}.", gate.name()),
    );
    let names: Vec<&str> = gates.iter().map(|gate| gate.name()).collect();
    match names.as_slice() {
        [] => failure.hint("it has no gates and runs straight through"),
        names => failure.hint(format!("it has a gate before {}", names.join(", "))),
    }
}

/// The same command again, without what is for one sitting only.
fn again(args: &Args, plan_file: &str) -> String {
    let mut text = format!(
        "pontoon run {}",
        pontoon_engine::status::shell_word(plan_file)
    );
    if args.force {
        text.push_str(" --force");
    }
    text
}
