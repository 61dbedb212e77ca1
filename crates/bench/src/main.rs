//! How fast a backfill is, beside one plain `UPDATE` of the same rows.
//!
//! All contestants work on copies of one table on one throwaway server, in
//! turn and for several rounds, so that whatever else the machine does meets
//! all of them. Each copy is vacuumed, analysed and checkpointed before its
//! turn. What counts is the time from the first batch to the last commit;
//! a backfill does everything it does in a run: fence, cursor, limits,
//! throttle, events, under the triggers of the dual write.

mod contest;
mod cpu;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use pontoon_sandbox::{Server, ServerSpec};

use crate::contest::{Contest, Contestant, Turn};

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
    /// Only contestants whose name contains this, and whom they are compared with
    #[arg(long)]
    only: Option<String>,
    /// The server as it comes out of the box, instead of one whose cache holds the table
    #[arg(long)]
    stock: bool,
    /// Ends with 1 unless one worker reaches 0.9 of the plain UPDATE and two reach 1.4
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
    let mut spec = ServerSpec {
        version: arguments.version,
        durable: true,
        ..ServerSpec::default()
    };
    if !arguments.stock {
        spec = spec
            .setting("shared_buffers", "'512MB'")
            .setting("max_wal_size", "'8GB'")
            .setting("checkpoint_timeout", "'30min'")
            .setting("autovacuum", "off");
    }
    let server = Server::start(spec).await?;
    let contest = Contest::new(&server, rows).await?;
    say(&format!(
        "PostgreSQL {}, {} cores, {rows} rows, {rounds} rounds, fsync on",
        server.version(),
        std::thread::available_parallelism()?
    ));
    let contestants: Vec<Contestant> = Contestant::ALL
        .into_iter()
        .filter(|contestant| {
            arguments.only.as_ref().is_none_or(|only| {
                let wanted = |one: Contestant| one.name().contains(only.as_str());
                wanted(*contestant)
                    || Contestant::ALL
                        .into_iter()
                        .any(|one| wanted(one) && one.rival() == *contestant)
            })
        })
        .collect();
    let mut turns: Vec<Vec<Turn>> = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for (contestant, turns) in contestants.iter().copied().zip(&mut turns) {
            turns.push(contest.turn(contestant).await?);
        }
    }
    let medians: Vec<f64> = turns
        .iter()
        .map(|turns| median(turns, |turn| turn.wall))
        .collect();
    let costs: Vec<f64> = turns
        .iter()
        .map(|turns| median(turns, |turn| turn.cpu))
        .collect();
    let of = |figures: &[f64], wanted| {
        contestants
            .iter()
            .copied()
            .zip(figures)
            .find_map(|(contestant, figure)| (contestant == wanted).then_some(*figure))
            .unwrap_or(f64::NAN)
    };
    let mut reached = true;
    for &contestant in &contestants {
        let rival = contestant.rival();
        let (median, cost) = (of(&medians, contestant), of(&costs, contestant));
        let share = of(&medians, rival) / median;
        let goal = contestant.goal().map_or_else(String::new, |goal| {
            reached &= share >= goal;
            format!(", goal {goal}")
        });
        say(&format!(
            "{:<40} {median:>6.2} s {:>8.0} rows/s, server CPU {cost:>5.2} s ({:.2}); {share:.2} of {}{goal}",
            contestant.name(),
            f64::from(rows) / median,
            cost / of(&costs, rival),
            rival.name(),
        ));
    }
    Ok(reached)
}

fn median(turns: &[Turn], of: fn(&Turn) -> Duration) -> f64 {
    let mut times: Vec<Duration> = turns.iter().map(of).collect();
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
