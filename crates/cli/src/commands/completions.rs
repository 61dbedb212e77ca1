//! `pontoon completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::args::Cli;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;

/// Print completions for a shell
///
/// For bash: pontoon completions bash > ~/.local/share/bash-completion/completions/pontoon
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Shell to complete for
    #[arg(value_enum)]
    shell: Shell,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "pontoon", &mut script);
    let script = String::from_utf8(script)
        .map_err(|error| Failure::new(Exit::Internal, format!("write completions: {error}")))?;
    context.output.text(&script);
    Ok(Exit::Done)
}
