//! One file per verb: its doc comment is its help, then its arguments, then
//! what it does.

mod approve;
mod check;
mod completions;
mod demo;
mod events;
mod history;
mod init;
mod migrate;
mod pause;
mod preview;
mod resume;
mod rollback;
mod run;
mod schema;
mod set;
mod status;
mod unthrottle;
mod verify;
mod work;

use std::path::Path;

use clap::Subcommand;
use pontoon_core::plan::Plan;
use pontoon_core::step::Phase;
use pontoon_engine::db::{self, Database, RunRecord};
use pontoon_engine::run::RunOptions;
use pontoon_engine::status::StatusRecord;

use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, pick, session, sitting};

/// The verbs, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Schema(schema::Args),
    Init(init::Args),
    Preview(preview::Args),
    Run(run::Args),
    Migrate(migrate::Args),
    Status(status::Args),
    Approve(approve::Args),
    Verify(verify::Args),
    Pause(pause::Args),
    Resume(resume::Args),
    Set(set::Args),
    Unthrottle(unthrottle::Args),
    Work(work::Args),
    Rollback(rollback::Args),
    History(history::Args),
    Events(events::Args),
    Demo(demo::Args),
    Completions(completions::Args),
}

impl Command {
    /// Runs the verb.
    pub(crate) fn run(self, context: &Context) -> Result {
        match self {
            Command::Check(args) => check::run(&args, context),
            Command::Schema(args) => schema::run(&args, context),
            Command::Init(args) => init::run(&args, context),
            Command::Preview(args) => preview::run(&args, context),
            Command::Run(args) => run::run(&args, context),
            Command::Migrate(args) => migrate::run(&args, context),
            Command::Status(args) => status::run(&args, context),
            Command::Approve(args) => approve::run(&args, context),
            Command::Verify(args) => verify::run(&args, context),
            Command::Pause(args) => pause::run(&args, context),
            Command::Resume(args) => resume::run(&args, context),
            Command::Set(args) => set::run(&args, context),
            Command::Unthrottle(args) => unthrottle::run(&args, context),
            Command::Work(args) => work::run(&args, context),
            Command::Rollback(args) => rollback::run(&args, context),
            Command::History(args) => history::run(&args, context),
            Command::Events(args) => events::run(&args, context),
            Command::Demo(args) => demo::run(&args, context),
            Command::Completions(args) => completions::run(&args, context),
        }
    }
}

/// How long a verb that sits on a run waits for its database.
#[derive(Clone, Copy, Debug, clap::Args)]
struct Reconnect {
    /// Try for this long to come back when the database goes away
    ///
    /// After a restart or a failover in the middle of a run, it goes on from
    /// what the server that answers knows. When this time has passed without
    /// one it ends with exit code 10; `0s` ends at once.
    #[arg(
        long,
        value_name = "TIME",
        default_value = "2m",
        value_parser = humantime::parse_duration
    )]
    reconnect_for: std::time::Duration,
}

/// How far to go with a plan, and how patiently.
#[derive(Debug, clap::Args)]
struct Course {
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
}

impl Course {
    /// The gates that are approved beforehand, all of which the plan has to
    /// have.
    fn approved(&self, plan: &Plan) -> Result<Vec<Phase>> {
        let gates = gates(plan);
        let approved: Vec<Phase> = self.approve.iter().map(|name| name.phase()).collect();
        match approved.iter().find(|gate| !gates.contains(gate)) {
            Some(missing) => Err(no_gate(*missing, &gates)),
            None => Ok(approved),
        }
    }

    /// What it means for this plan.
    fn options(&self, plan: &Plan, approve: Vec<Phase>) -> RunOptions {
        let (until_gate, until_phase) = match self.until.map(PhaseName::phase) {
            None => (None, None),
            Some(phase) if phase == Phase::Contract || gates(plan).contains(&phase) => {
                (Some(phase), None)
            }
            Some(phase) => (None, Some(phase)),
        };
        RunOptions {
            holder: holder::here(),
            until_gate,
            until_phase,
            approve,
            wait_gates: self.wait_gates,
            reconnect_for: self.reconnect.reconnect_for,
        }
    }
}

/// The gates of a plan, by the phase that each stands before.
fn gates(plan: &Plan) -> Vec<Phase> {
    plan.gates.iter().map(|gate| gate.before).collect()
}

/// A gate was named that the plan does not have.
fn no_gate(gate: Phase, gates: &[Phase]) -> Failure {
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

/// A gate was named that no plan of a folder has.
fn no_gate_in(folder: &Path, gate: Phase) -> Failure {
    Failure::usage(format!(
        "No plan in {} has a gate before {}.",
        folder.display(),
        gate.name()
    ))
}

/// A phase, or the gate before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
enum PhaseName {
    Expand,
    #[value(alias = "dual-write")]
    DualWrite,
    Backfill,
    Verify,
    Contract,
}

impl PhaseName {
    fn phase(self) -> Phase {
        match self {
            PhaseName::Expand => Phase::Expand,
            PhaseName::DualWrite => Phase::DualWrite,
            PhaseName::Backfill => Phase::Backfill,
            PhaseName::Verify => Phase::Verify,
            PhaseName::Contract => Phase::Contract,
        }
    }
}

/// The run that a verb works on.
#[derive(Debug, clap::Args)]
struct RunName {
    /// Id of the run, a unique beginning of it, or its plan's name
    ///
    /// May be left out when only one run is unfinished.
    #[arg(value_name = "RUN")]
    run: Option<String>,
}

/// What an operator asks of a run: the command, unless it stands as wanted
/// already, and what to say of it.
type Order = (Option<db::Command>, String);

/// Gives an operator's command to the run that is meant, and tells how it
/// stands then. `nothing` ends the sentence on a run that is finished.
fn give(
    context: &Context,
    wanted: Option<&str>,
    nothing: &str,
    order: impl FnOnce(&RunRecord) -> Result<Order>,
) -> Result {
    session::ask(context, None, async |db| {
        let run = pick::run(db, wanted).await?;
        let id = run.new.id;
        if run.state.is_final() {
            return Err(Failure::new(
                Exit::Refused,
                format!("Run {id} is {}; {nothing}.", run.state.name()),
            ));
        }
        let (command, sentence) = order(&run)?;
        if let Some(command) = command {
            db.command(id, &command, &holder::here()).await?;
        }
        tell_status(context, &sentence, sitting::status(db, id, None).await?);
        Ok(Exit::Done)
    })
}

/// What an operator's command has done, and how the run stands then.
fn tell_status(context: &Context, sentence: &str, status: Option<StatusRecord>) {
    if context.output.is_json() {
        if let Some(status) = status {
            context.output.json(&status);
        }
        return;
    }
    context.output.note(sentence);
    if let Some(next) = status.and_then(|status| status.next) {
        context.output.note(context.hints(&[next]).trim_end());
    }
}
