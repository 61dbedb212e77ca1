//! One file per verb: its doc comment is its help, then its arguments, then
//! what it does.

mod check;
mod completions;
mod schema;

use clap::Subcommand;

use crate::context::Context;
use crate::error::Result;

/// The verbs, in the order in which a newcomer meets them.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Check(check::Args),
    Schema(schema::Args),
    Completions(completions::Args),
}

impl Command {
    /// Runs the verb.
    pub(crate) fn run(self, context: &Context) -> Result {
        match self {
            Command::Check(args) => check::run(&args, context),
            Command::Schema(args) => schema::run(&args, context),
            Command::Completions(args) => completions::run(&args, context),
        }
    }
}
