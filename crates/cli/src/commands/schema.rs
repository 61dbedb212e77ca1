//! `pontoon schema`.

use pontoon_core::plan;

use crate::context::Context;
use crate::error::Result;
use crate::exit::Exit;

/// Print the JSON Schema of plans, for editors
///
/// An editor with the YAML language server then completes and checks plans as
/// they are typed:
///   pontoon schema > pontoon.schema.json
/// and, at the top of a plan:
///   # yaml-language-server: $schema=../pontoon.schema.json
#[derive(Debug, clap::Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct Args {
    /// Print the schema of pontoon.yaml instead
    #[arg(long)]
    config: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let schema = match args.config {
        true => plan::config_schema(),
        false => plan::schema(),
    };
    context.output.pretty_json(&schema);
    Ok(Exit::Done)
}
