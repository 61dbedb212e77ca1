//! What may be asked for.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use crate::sitting::SittingArguments;

/// Measures Pontoon beside plain SQL and beside its peers.
#[derive(Debug, Parser)]
#[command(after_help = "\
reshape and pgroll take part when they are found on PATH.\n\
--quick takes some minutes, the full grid some hours.")]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// Fewer rows, three rounds, one table
    #[arg(long)]
    pub(crate) quick: bool,
    /// Only these sections
    #[arg(long, value_delimiter = ',')]
    pub(crate) section: Vec<Section>,
    /// Only contestants whose name contains one of these, and whom they are compared with
    #[arg(long, value_delimiter = ',')]
    pub(crate) only: Vec<String>,
    /// Rows of each table, instead of the grid's
    #[arg(long)]
    pub(crate) rows: Option<u32>,
    /// Times each contestant has its turn
    #[arg(long)]
    pub(crate) rounds: Option<u32>,
    /// Looks at the application beside runs whose plan has these keys, too: `backfill: {nice_ratio: 32}; limits: {max_batch_rows: 50}`
    #[arg(long, value_name = "KEYS")]
    pub(crate) beside: Vec<String>,
    /// PostgreSQL's major version
    #[arg(long)]
    pub(crate) version: Option<u32>,
    /// The server as it comes out of the box, instead of one whose cache holds the tables
    #[arg(long)]
    pub(crate) stock: bool,
    /// Writes every figure of every round there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// Ends with 1 unless every goal was reached
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One sitting of a plan, in a process of its own
    #[command(hide = true)]
    Sitting(SittingArguments),
}

/// A part of the benchmark.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Section {
    /// Rows per second of a backfill
    Rate,
    /// What the application feels
    Latency,
    /// Triggers, verify, starting, memory, round trips
    Costs,
    /// Several changes of a table in one plan
    Composition,
}

impl Section {
    pub(crate) const ALL: [Self; 4] = [Self::Rate, Self::Latency, Self::Costs, Self::Composition];
}

impl Arguments {
    pub(crate) fn wants(&self, section: Section) -> bool {
        self.section.is_empty() || self.section.contains(&section)
    }

    /// `--only` leaves a contestant of that name in.
    pub(crate) fn keeps(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only.as_str()))
    }

    /// Rounds of each contest.
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 3 } else { 5 }).max(1)
    }

    /// Rows of a table that stands for itself.
    pub(crate) fn rows_or(&self, quick: u32, full: u32) -> u32 {
        self.rows.unwrap_or(if self.quick { quick } else { full })
    }
}
