//! The command line as a whole: what every verb shares.

use std::sync::Arc;

use clap::{ArgAction, Parser};

use crate::commands::Command;
use crate::context::Context;
use crate::exit::{self, Exit};
use crate::output::{Format, LogWriter, Loudness, Output};

/// Change live PostgreSQL tables without downtime
///
/// A plan (YAML) expands the schema, keeps the old and the new shape in step,
/// backfills in small batches, proves the copy, and contracts only after
/// approval. A run survives kill -9, restarts and failovers, and goes on from
/// the last committed batch.
#[derive(Debug, Parser)]
#[command(
    name = "pontoon",
    version,
    max_term_width = 100,
    arg_required_else_help = true,
    after_help = "`pontoon --help` explains the exit codes.",
    after_long_help = exit::help()
)]
pub(crate) struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every verb.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Connect to this database
    ///
    /// A URL (postgresql://user@host/database) or a key=value string, as psql
    /// takes it. Without it: the variable that --env names in pontoon.yaml,
    /// then DATABASE_URL, then the PG* variables, ~/.pgpass and the service
    /// file.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub(crate) url: Option<String>,

    /// Go around a connection pooler at this address
    ///
    /// The server's own address, in any form that --url takes, where that one
    /// leads to a pooler such as PgBouncer: indexes are built, constraints
    /// validated and a plan's own SQL is run there, and locks are watched.
    /// Without it: the variable that direct_url_env of --env names in
    /// pontoon.yaml, then DIRECT_URL beside DATABASE_URL.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub(crate) direct_url: Option<String>,

    /// Wait for long readers on this standby
    ///
    /// A standby replays strong locks and stalls or cancels the queries in
    /// their way. With each standby's address (repeat the option), such a lock
    /// is only asked for while nobody has been reading the table there for
    /// long. Without it: the variable that replica_urls_env of --env names in
    /// pontoon.yaml, then REPLICA_URLS beside DATABASE_URL, with blanks
    /// between the addresses.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        help_heading = "Global options"
    )]
    pub(crate) replica_url: Vec<String>,

    /// Use this environment of pontoon.yaml
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        help_heading = "Global options"
    )]
    pub(crate) env: Option<String>,

    /// Write results for people or for programs
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        default_value = "text",
        help_heading = "Global options"
    )]
    output: Format,

    /// Tell more; repeat it to see the log
    #[arg(
        short,
        long,
        global = true,
        action = ArgAction::Count,
        help_heading = "Global options"
    )]
    verbose: u8,

    /// Tell only results and errors
    #[arg(
        short,
        long,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    quiet: bool,

    /// Answer every question with yes
    #[arg(short, long, global = true, help_heading = "Global options")]
    pub(crate) yes: bool,
}

/// Reads the command line, runs the verb, tells of its failure, and ends.
pub(crate) fn main() -> Exit {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return not_parsed(&error),
    };
    let loudness = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Loudness::Quiet,
        (false, 0) => Loudness::Normal,
        (false, times) => Loudness::Verbose(times),
    };
    let output = Arc::new(Output::new(cli.global.output, loudness));
    start_log(&output, loudness);
    end_at_panics();
    let context = Context::new(output.clone(), cli.global);
    let exit = match cli.command.run(&context) {
        Ok(exit) => exit,
        Err(mut failure) => {
            if !output.is_json() {
                for command in &mut failure.commands {
                    *command = context.typed(command);
                }
            }
            output.failure(&failure);
            failure.exit
        }
    };
    output.finish(exit)
}

/// A broken assumption ends the process at once, whatever thread it is found
/// on: what has been committed is kept, and nothing else is tried.
fn end_at_panics() {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tell(panic);
        std::process::exit(i32::from(Exit::Internal.code()));
    }));
}

/// Help and version are results, everything else is a usage error.
fn not_parsed(error: &clap::Error) -> Exit {
    // A closed pipe is no failure, and nobody is left to be told.
    drop(error.print());
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

/// The log is for people who look for a fault: `-vv` and more. What an
/// operator needs are events.
fn start_log(output: &Arc<Output>, loudness: Loudness) {
    let level = match loudness {
        Loudness::Quiet | Loudness::Normal | Loudness::Verbose(0 | 1) => return,
        Loudness::Verbose(2) => "pontoon=debug,pontoon_engine=debug,pontoon_sandbox=debug,warn",
        Loudness::Verbose(_) => "trace",
    };
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::new(level))
        .with_ansi(false)
        .with_writer(LogWriter(output.clone()))
        .init();
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Every command that a document tells a reader to type is one that
    /// the command line takes.
    #[test]
    fn documented_commands_parse() {
        let top = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
        let mut seen = 0;
        for path in [
            "README.md",
            "docs/getting-started.md",
            "docs/exit-codes.md",
            "docs/grants.md",
            "docs/connecting.md",
            "docs/json.md",
            "docs/plan-folders.md",
            "examples/compose/run.sh",
            "examples/ci/workflow.yaml",
            "examples/ci/deploy.yaml",
        ] {
            let text = std::fs::read_to_string(format!("{top}/{path}")).expect("it exists");
            for line in text.lines() {
                let line = line
                    .trim()
                    .trim_start_matches("- run: ")
                    .trim_start_matches("run: ");
                let line = line
                    .strip_prefix("docker compose run --rm pontoon ")
                    .map(|rest| format!("pontoon {rest}"))
                    .unwrap_or_else(|| line.to_owned());
                let words = line.strip_prefix("$ ").unwrap_or(&line);
                let end = ["  #", " #", " ||", " &&", " >", " |", "`"]
                    .iter()
                    .filter_map(|mark| words.find(mark))
                    .min()
                    .unwrap_or(words.len());
                let words: Vec<&str> = words[..end]
                    .split_whitespace()
                    // An unquoted variable may hold options.
                    .filter(|word| !word.starts_with('$'))
                    .collect();
                if words.first() != Some(&"pontoon") || words.len() < 2 {
                    continue;
                }
                if let Err(error) = Cli::try_parse_from(&words) {
                    panic!("{path}: {line}\n{error}");
                }
                seen += 1;
            }
        }
        assert!(seen > 20, "{seen}");
    }

    #[test]
    fn help_begins_with_an_imperative_and_has_no_period() {
        let command = Cli::command();
        let all = std::iter::once(&command).chain(command.get_subcommands());
        for command in all {
            let about = command
                .get_about()
                .map(ToString::to_string)
                .unwrap_or_default();
            assert!(!about.is_empty(), "{} has no help", command.get_name());
            assert!(
                !about.ends_with('.') && about.starts_with(char::is_uppercase),
                "{}: {about}",
                command.get_name()
            );
            for arg in command.get_arguments() {
                let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
                assert!(
                    !help.is_empty() && !help.ends_with('.'),
                    "{} {}: {help}",
                    command.get_name(),
                    arg.get_id()
                );
            }
        }
    }
}
