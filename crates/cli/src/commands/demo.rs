//! `pontoon demo`.

use crate::context::Context;
use crate::demo::{self, Options};
use crate::error::Result;

/// Watch a table change under live traffic, with a kill in the middle
///
/// Starts a throwaway PostgreSQL server, loads a table, puts live traffic on
/// it, and runs a plan with this very program. Kills the runner with SIGKILL
/// in the middle of the backfill, resumes, verifies, approves and contracts,
/// and reports what the application felt, and whether a write was lost.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Rows of the table
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1_000_000,
        value_parser = clap::value_parser!(u64).range(1_000..=100_000_000)
    )]
    rows: u64,

    /// Leave the server (or, with --url, the table) behind, and say how to look at it
    #[arg(long)]
    keep: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let options = Options {
        rows: args.rows,
        keep: args.keep,
        url: context.global.url.clone(),
    };
    context.block_on(demo::run(context, options))
}
