//! How fast a backfill is, beside one plain `UPDATE` of the same rows.
//!
//! All contestants work on copies of one table on one throwaway server, in
//! turn and for several rounds, so that whatever else the machine does meets
//! all of them. Each copy is vacuumed, analysed and checkpointed before its
//! turn. What counts is the time from the first batch to the last commit;
//! a backfill does everything it does in a run: fence, cursor, limits,
//! throttle, events, under the triggers of the dual write.

mod contest;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pontoon_sandbox::{Server, ServerSpec};

use crate::contest::{Contest, Contestant};

/// Measures a backfill beside one plain UPDATE of the same rows.
#[derive(Debug, Parser)]
struct Arguments {
    /// Rows of the table
    #[arg(long, default_value_t = 1_000_000)]
    rows: u32,
    /// Times each contestant has its turn; the median counts
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// A fifth of the rows, three rounds
    #[arg(long)]
    quick: bool,
    /// PostgreSQL's major version
    #[arg(long)]
    version: Option<u32>,
    /// Ends with 1 unless one worker reaches 0.9 of the plain UPDATE, and two 1.4
    #[arg(long)]
    check: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match measure(&arguments).await {
        Ok(ok) if ok || !arguments.check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

type Error = Box<dyn std::error::Error + Send + Sync>;

async fn measure(arguments: &Arguments) -> Result<bool, Error> {
    let (rows, rounds) = if arguments.quick {
        (arguments.rows / 5, 3)
    } else {
        (arguments.rows, arguments.rounds.max(1))
    };
    let spec = ServerSpec {
        version: arguments.version,
        durable: true,
        ..ServerSpec::default()
    }
    .setting("shared_buffers", "'512MB'")
    .setting("max_wal_size", "'8GB'")
    .setting("checkpoint_timeout", "'30min'")
    .setting("autovacuum", "off");
    let server = Server::start(spec).await?;
    let contest = Contest::new(&server, rows).await?;
    say(&format!(
        "PostgreSQL {}, {} cores, {rows} rows, {rounds} rounds, fsync on",
        server.version(),
        std::thread::available_parallelism()?
    ));
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); Contestant::ALL.len()];
    for _ in 0..rounds {
        for (contestant, times) in Contestant::ALL.into_iter().zip(&mut times) {
            times.push(contest.turn(contestant).await?);
        }
    }
    let medians: Vec<f64> = times.iter_mut().map(|times| median(times)).collect();
    for (contestant, median) in Contestant::ALL.into_iter().zip(&medians) {
        say(&format!(
            "{:<36} {median:>7.2} s {:>9.0} rows/s {:>6.2} of plain",
            contestant.name(),
            f64::from(rows) / median,
            medians[0] / median,
        ));
    }
    Ok(medians[0] / medians[2] >= 0.9 && medians[0] / medians[3] >= 1.4)
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]
fn say(line: &str) {
    println!("{line}");
}
