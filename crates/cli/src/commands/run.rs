//! `pontoon run`.

use std::path::PathBuf;

use pontoon_core::plan::Ceilings;
use pontoon_engine::db::{Database, RunFilter};
use pontoon_engine::run as engine;

use super::Course;
use crate::context::Context;
use crate::error::Result;
use crate::sitting::{self, Subject};
use crate::{files, interrupt, session};

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

    #[command(flatten)]
    course: Course,

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
        let options = args.course.options(&plan, args.course.approved(&plan)?);
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
