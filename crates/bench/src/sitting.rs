//! One sitting of a plan in a process of its own, as people run it: parent
//! and child are this program.

use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use clap::Args;
use pontoon_core::plan;
use pontoon_core::step::Phase;
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;
use pontoon_engine::db::{Database, Holder};
use pontoon_engine::event::{Event, Sink};
use pontoon_engine::run::{self, Ending, RunOptions};
use pontoon_sandbox::Server;
use serde::{Deserialize, Serialize};
use tokio::process::{Child, Command};
use tokio_util::sync::CancellationToken;

use crate::server::TURN;
use crate::table::Work;
use crate::{Error, cpu, report};

/// The arguments of the child.
#[derive(Debug, Args)]
pub(crate) struct SittingArguments {
    /// The database
    #[arg(long)]
    url: String,
    /// The plan's text
    #[arg(long)]
    plan: String,
    /// The last phase
    #[arg(long)]
    until: String,
    /// The server's postmaster, to tell its processor time
    #[arg(long)]
    postmaster: Option<u32>,
}

/// What a sitting took.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Took {
    /// From the start of the process to its end.
    pub(crate) whole: Duration,
    /// The backfill's steps.
    pub(crate) backfill: Duration,
    /// Processor time of the server meanwhile; zero where it cannot be told.
    pub(crate) backfill_cpu: Duration,
    /// The verify steps.
    pub(crate) verify: Duration,
    /// Rows compared in it.
    pub(crate) checked: u64,
    /// The most memory the process had resident, in KiB; zero where it cannot be told.
    pub(crate) peak_kib: u64,
}

/// The key of `backfill` for a run that yields to nobody. The benchmark's own
/// sessions are an application to it.
pub(crate) const FULL_SPEED: &str = "nice_ratio: 0";

/// A plan's text; `backfill` are keys of that name.
pub(crate) fn plan_text(work: Work, backfill: &str, more: &str) -> String {
    with_keys(work, &format!("backfill: {{{backfill}}}\n{more}"))
}

/// A plan's text with these keys, one a line.
pub(crate) fn with_keys(work: Work, keys: &str) -> String {
    let operations = work.operations();
    format!(
        "plan: bench\nversion: 1\n{}\noperations:\n{operations}",
        keys.trim_end()
    )
}

/// The child's command.
pub(crate) fn command(server: &Server, plan: &str, until: Phase) -> Result<Command, Error> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .arg("sitting")
        .args(["--url", &server.url(TURN)])
        .args(["--plan", plan])
        .args(["--until", until.name()])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    if let Some(pid) = server.pid() {
        command.args(["--postmaster", &pid.to_string()]);
    }
    Ok(command)
}

/// Runs a plan up to the end of a phase.
pub(crate) async fn sit(server: &Server, plan: &str, until: Phase) -> Result<Took, Error> {
    let begun = Instant::now();
    let child = command(server, plan, until)?.spawn()?;
    finish(child, begun).await
}

/// Waits for a child that was started at `begun`.
pub(crate) async fn finish(child: Child, begun: Instant) -> Result<Took, Error> {
    let output = child.wait_with_output().await?;
    let text = String::from_utf8_lossy(&output.stdout);
    if !output.status.success() {
        return Err(format!("a sitting failed: {text}").into());
    }
    let last = text.lines().last().unwrap_or_default();
    let mut took: Took = serde_json::from_str(last)?;
    took.whole = begun.elapsed();
    Ok(took)
}

/// A step under way.
struct Clock {
    of_backfill: bool,
    begun: Instant,
    cpu: Duration,
}

impl Clock {
    fn start(of_backfill: bool, postmaster: Option<u32>) -> Self {
        Self {
            of_backfill,
            begun: Instant::now(),
            cpu: server_cpu(postmaster),
        }
    }
}

fn server_cpu(postmaster: Option<u32>) -> Duration {
    postmaster.and_then(cpu::of_server).unwrap_or_default()
}

impl SittingArguments {
    /// Runs the plan and says what it took, as JSON.
    pub(crate) async fn run(&self) -> Result<(), Error> {
        let plan =
            plan::load("bench.yaml", &self.plan).map_err(|findings| plan::render_all(&findings))?;
        let until = Phase::ALL
            .into_iter()
            .find(|phase| phase.name() == self.until)
            .ok_or("no such phase")?;
        let options = ConnectOptions::resolve(Some(&self.url), &|_| None)?;
        let database = Postgres::new(options)?;
        database.init(None).await?;
        let seen = Arc::new(Mutex::new((None::<Clock>, Took::default())));
        let (writer, postmaster) = (seen.clone(), self.postmaster);
        let sink = Sink::new(move |event| {
            let mut seen = writer.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::StepStarted { kind, .. } if kind == "backfill" || kind == "verify" => {
                    seen.0 = Some(Clock::start(kind == "backfill", postmaster));
                }
                Event::VerifyFinished(progress) => seen.1.checked = progress.checked,
                Event::StepFinished { .. } => {
                    if let Some(clock) = seen.0.take() {
                        let wall = clock.begun.elapsed();
                        if clock.of_backfill {
                            seen.1.backfill += wall;
                            seen.1.backfill_cpu += server_cpu(postmaster).saturating_sub(clock.cpu);
                        } else {
                            seen.1.verify += wall;
                        }
                    }
                }
                _ => {}
            }
        });
        let options = RunOptions {
            holder: Holder {
                host: "bench".to_owned(),
                pid: std::process::id(),
                boot: "bench".to_owned(),
                user: "bench".to_owned(),
            },
            until_gate: None,
            until_phase: Some(until),
            approve: Vec::new(),
            wait_gates: false,
            reconnect_for: RunOptions::RECONNECT_FOR,
        };
        let sitting = run::run(&database, &plan, options, sink, CancellationToken::new()).await?;
        if !matches!(sitting.ending, Ending::Until | Ending::Completed) {
            return Err(format!("the run ended with {:?}", sitting.ending).into());
        }
        let mut took = seen.lock().unwrap_or_else(PoisonError::into_inner).1;
        took.peak_kib = peak_kib();
        report::say(&serde_json::to_string(&took)?);
        Ok(())
    }
}

/// The most memory this process had resident, where the system tells (Linux).
fn peak_kib() -> u64 {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
            line.split_whitespace().nth(1)?.parse().ok()
        })
        .unwrap_or(0)
}
