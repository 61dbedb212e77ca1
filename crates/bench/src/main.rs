//! Side-by-side benchmarks: Pontoon beside what people do by hand, and beside
//! its peers.
//!
//! Everything in one run works on one throwaway server, in turn and for
//! several rounds, so that whatever else the machine does meets all
//! contestants alike. Figures are medians of the rounds; what they are worth
//! is their ratio, and the processor time of the server beside the wall time.
//!
//! - [`rate`]: rows per second of a backfill.
//! - [`latency`]: what the application feels meanwhile.
//! - [`costs`]: triggers, verify, starting, memory, round trips.
//! - [`composition`]: several changes of a table in one plan.

mod args;
mod composition;
mod costs;
mod cpu;
mod latency;
mod peers;
mod rate;
mod report;
mod server;
mod sitting;
mod table;
mod traffic;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Arguments, Command, Section};
use crate::report::Report;

type Error = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match &arguments.command {
        Some(Command::Sitting(sitting)) => sitting.run().await.map(|()| true),
        None => measure(&arguments).await,
    };
    match outcome {
        Ok(reached) if reached || !arguments.check => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            report::say(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Whether every goal was reached.
async fn measure(arguments: &Arguments) -> Result<bool, Error> {
    let server = server::start(arguments).await?;
    let mut report = Report::new(arguments, server.version());
    for section in Section::ALL {
        if !arguments.wants(section) {
            continue;
        }
        match section {
            Section::Rate => rate::measure(&server, arguments, &mut report).await?,
            Section::Latency => latency::measure(&server, arguments, &mut report).await?,
            Section::Costs => costs::measure(&server, arguments, &mut report).await?,
            Section::Composition => composition::measure(&server, arguments, &mut report).await?,
        }
    }
    if let Some(path) = &arguments.json {
        std::fs::write(path, report.json()?)?;
    }
    Ok(report.reached())
}
