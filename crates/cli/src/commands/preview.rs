//! `pontoon preview`.

use std::path::PathBuf;

use pontoon_core::plan::Ceilings;
use pontoon_core::preview::Preview;
use pontoon_engine::run as engine;

use crate::context::Context;
use crate::error::Result;
use crate::exit::Exit;
use crate::{files, session};

/// Show what a plan would do to this database, and change nothing
///
/// Shows each step with its SQL, its locks and its way back, the rows it
/// touches, and what old and new application versions may read and write in
/// each phase.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// File of the plan
    plan: PathBuf,

    /// Let the plan pass the ceilings of pontoon.yaml
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let config = files::config(Some(&args.plan))?;
    let ceilings = if args.force {
        Ceilings::Exceed
    } else {
        Ceilings::Hold
    };
    let env = context.global.env.as_deref();
    let plan = files::effective_plan(&args.plan, &config, env, ceilings)?;
    session::ask(context, Some(&args.plan), async |db| {
        let (catalog, lowered) = engine::compile(db, &plan).await?;
        let preview = Preview::new(&plan, &catalog, &lowered);
        if context.output.is_json() {
            context.output.json(&preview);
        } else {
            context.output.text(&preview.render());
        }
        Ok(Exit::Done)
    })
}
