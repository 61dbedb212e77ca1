//! The demo: what Pontoon promises, shown on a real server.
//!
//! Everything in it is real: the server, the application with its oracle
//! (which knows what every row must be, and never asks Pontoon), and the
//! runner, which is this very program as a child that really gets SIGKILL.

mod child;
mod report;
mod stage;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pontoon_core::step::Phase;
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;
use pontoon_engine::db::{Command, Database, RunFilter, RunRecord};
use pontoon_engine::event::{BackfillProgress, Event};
use pontoon_sandbox::app::{
    App, AppOptions, Model, Pace, ProbeOptions, Running, Shape, StallProbe, StallReport, models,
};

use self::child::{Line, Runner};
use self::report::{Backfill, Figures, Kill, Latencies};
use self::stage::Stage;
use crate::context::Context;
use crate::display::Display;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{holder, interrupt, words};

/// The plan's name.
const PLAN: &str = "demo";
/// What the plan allows; the report compares it with what was felt.
const MAX_LOCK_DURATION: Duration = Duration::from_millis(500);
/// How far the backfill gets before the kill.
const KILL_AT_PERCENT: u64 = 40;
/// Connections are made and caches filled before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);
/// The application alone, before the plan and after it.
const ALONE: Duration = Duration::from_secs(5);
/// Both versions of the application together, at the gate.
const TOGETHER: Duration = Duration::from_secs(5);
/// A killed client's last statement ends by itself within this time.
const LAST_STATEMENT: Duration = Duration::from_secs(20);

/// What the demo shall do.
pub(crate) struct Options {
    /// Rows of the table.
    pub(crate) rows: u64,
    /// Leave everything behind.
    pub(crate) keep: bool,
    /// An empty database to use in place of a throwaway server.
    pub(crate) url: Option<String>,
}

/// Everything that the acts of the demo share.
struct Play<'a> {
    context: &'a Context,
    url: String,
    db: Postgres,
    plan: PathBuf,
    rows: u64,
}

/// Plays the demo from the server's start to the report. A signal ends it,
/// with its server and its runner.
pub(crate) async fn run(context: &Context, options: Options) -> Result {
    tokio::select! {
        ended = perform(context, options) => ended,
        failure = interrupt::once() => Err(failure),
    }
}

async fn perform(context: &Context, options: Options) -> Result {
    let model = models::orders();
    let stage = Stage::set(context, &options, &model).await?;
    let directory = tempfile::tempdir()
        .map_err(|error| Failure::new(Exit::Internal, format!("make a directory: {error}")))?;
    let plan = directory.path().join("demo.yaml");
    std::fs::write(&plan, plan_text(&model, options.rows))
        .map_err(|error| Failure::new(Exit::Internal, format!("write the plan: {error}")))?;
    let resolved = ConnectOptions::resolve(Some(stage.url()), &|name| std::env::var(name).ok())
        .map_err(|error| Failure::usage(error.to_string()).hint(error.hint()))?;
    let play = Play {
        context,
        url: stage.url().to_owned(),
        db: Postgres::new(resolved)?,
        plan,
        rows: options.rows,
    };
    let figures = play.play(&model).await?;
    if context.output.is_json() {
        context.output.pretty_json(&figures);
    } else {
        context.output.text(&figures.render());
    }
    stage.leave(context, &options).await?;
    if figures.is_clean() {
        Ok(Exit::Done)
    } else {
        Err(Failure::new(
            Exit::StepFailed,
            "The application noticed the change; see the report.",
        ))
    }
}

/// The model's plan with the demo's limits. Small tables get small batches,
/// so that there is a middle in which to kill; and batches rest less than by
/// default, because people watch.
fn plan_text(model: &Model, rows: u64) -> String {
    let batch = (rows / 200).clamp(20, 10_000);
    let limits = format!(
        "limits: {{max_lock_duration: {}ms, max_batch_rows: {batch}}}\n\
         backfill: {{nice_ratio: 4}}\n\
         gates:\n  - {{before: contract, message: \"the new version is everywhere\"}}\n",
        MAX_LOCK_DURATION.as_millis()
    );
    let plan = model.plan(PLAN, 1);
    plan.replace("operations:\n", &format!("{limits}operations:\n"))
}

impl Play<'_> {
    fn say(&self, line: &str) {
        self.context.output.note(line);
    }

    async fn play(&self, model: &Model) -> Result<Figures> {
        let mut options = AppOptions::new(self.url.clone(), self.rows);
        // Fixed times of arrival: a stall shows in every operation that it delays.
        options.pace = Pace::Open {
            per_client_per_second: 50.0,
        };
        let app = App::start(model.clone(), options);
        let mut probing = ProbeOptions::new(self.url.clone());
        probing.per_second = 50.0;
        probing.sampling = Duration::from_millis(20);
        let probe = StallProbe::start(probing, model.probe())
            .await
            .map_err(sandbox)?;

        self.say(
            "The application's old version works on the table; this is its life before the change.",
        );
        tokio::time::sleep(WARM_UP).await;
        app.mark("before");
        tokio::time::sleep(ALONE).await;

        app.mark("during");
        let (kill, backfill) = self.change(&app).await?;

        self.say("Both versions work side by side, and the gate is open for approval.");
        app.expect_filled();
        app.join_new_version();
        tokio::time::sleep(TOGETHER).await;
        self.contract(&app).await?;

        app.mark("after");
        self.say("The old shape is gone; this is the new version's life after the change.");
        tokio::time::sleep(ALONE).await;
        let stalls = probe.stop().await;
        let version = self.server_version().await?;
        let report = app.stop().await;
        self.say("The oracle compares every row with what the application wrote.");
        let client = pontoon_sandbox::connect(&self.url).await.map_err(sandbox)?;
        let rows = report
            .oracle
            .check(&client, Shape::New)
            .await
            .map_err(sandbox)?;
        Ok(figures(
            self.rows, version, kill, backfill, &stalls, &report, &rows,
        ))
    }

    /// Runs to the gate, with a kill on the way.
    async fn change(&self, app: &Running) -> Result<(Option<Kill>, Backfill)> {
        self.say("Pontoon runs the plan.");
        let mut backfill = Backfill::default();
        let killed = self.sit_until_killed(&mut backfill).await?;
        let kill = match killed {
            None => None,
            Some(last) => Some(self.resume(&mut backfill, last, app).await?),
        };
        Ok((kill, backfill))
    }

    /// The first sitting; `None` when it came to the gate before it could be
    /// killed, else the last progress that it told.
    async fn sit_until_killed(&self, backfill: &mut Backfill) -> Result<Option<BackfillProgress>> {
        let mut runner = self.runner(&[])?;
        let display = Display::start(&self.context.output, None);
        let mut last = None;
        while let Some(line) = runner.next().await? {
            let Line::Event(record) = line else {
                continue;
            };
            backfill.watch(&record.event);
            let progress = match &record.event {
                Event::BackfillProgress(progress) => Some(progress.clone()),
                _ => None,
            };
            display.sink().of(record.run).emit(record.event);
            if let Some(progress) = progress {
                let percent = words::percent(progress.pages_done, progress.pages_total);
                let is_middle = (KILL_AT_PERCENT..100).contains(&percent);
                last = Some(progress);
                if is_middle {
                    runner.kill().await?;
                    backfill.pause();
                    display.close();
                    return Ok(last);
                }
            }
        }
        display.close();
        self.ended(runner, Exit::Gate).await?;
        drop(last);
        Ok(None)
    }

    /// The sitting after the kill, to the gate.
    async fn resume(
        &self,
        backfill: &mut Backfill,
        last: BackfillProgress,
        app: &Running,
    ) -> Result<Kill> {
        self.say("Killed the runner with SIGKILL in the middle of the backfill.");
        let writes = app.live().writes;
        let committed = self.committed().await?;
        self.say(&format!(
            "The database holds {} of finished batches. Running the same command again.",
            words::counted(committed, "row")
        ));
        let again = Instant::now();
        let mut runner = self.runner(&[])?;
        let display = Display::start(&self.context.output, None);
        let mut resumed: Option<(u64, Duration)> = None;
        while let Some(line) = runner.next().await? {
            let Line::Event(record) = line else {
                continue;
            };
            backfill.watch(&record.event);
            if let (None, Event::BackfillProgress(progress)) = (&resumed, &record.event) {
                resumed = Some((progress.rows_done, again.elapsed()));
            }
            display.sink().of(record.run).emit(record.event);
        }
        display.close();
        self.ended(runner, Exit::Gate).await?;
        let (resumed_at, after) = resumed.unwrap_or((committed, again.elapsed()));
        Ok(Kill {
            percent: words::percent(last.pages_done, last.pages_total),
            committed,
            resumed_at,
            resumed_after_ms: millis(after),
            redone: committed.saturating_sub(resumed_at),
            open_batch: last.batch_rows,
            writes_meanwhile: app.live().writes.saturating_sub(writes),
        })
    }

    /// Approves, retires the old version, and runs to the end.
    async fn contract(&self, app: &Running) -> Result<()> {
        let run = self.record().await?;
        self.db
            .command(
                run.new.id,
                &Command::Approve {
                    gate: Phase::Contract,
                },
                &holder::here(),
            )
            .await?;
        self.say("Approved. The old version retires, and Pontoon contracts.");
        app.retire_old_version().await;
        let mut runner = self.runner(&[])?;
        let display = Display::start(&self.context.output, None);
        while let Some(line) = runner.next().await? {
            if let Line::Event(record) = line {
                display.sink().of(record.run).emit(record.event);
            }
        }
        display.close();
        self.ended(runner, Exit::Done).await
    }

    fn runner(&self, more: &[&str]) -> Result<Runner> {
        Runner::start(&self.url, &self.plan, more)
    }

    /// Every sitting of the demo has one good end.
    async fn ended(&self, runner: Runner, expected: Exit) -> Result<()> {
        let (code, told) = runner.end().await?;
        if code == Some(i32::from(expected.code())) {
            return Ok(());
        }
        let code = code.map_or_else(|| "a signal".to_owned(), |code| format!("code {code}"));
        Err(Failure::new(
            Exit::StepFailed,
            format!(
                "The runner ended with {code}, and not with {}.",
                expected.code()
            ),
        )
        .detail(told))
    }

    /// The run of the demo's plan.
    async fn record(&self) -> Result<RunRecord> {
        self.db
            .runs(&RunFilter::Plan(PLAN.to_owned()))
            .await?
            .into_iter()
            .next()
            .ok_or_else(|| Failure::new(Exit::Internal, "The runner left no run behind."))
    }

    /// Rows of committed batches, once the killed runner's last statement has
    /// ended: the server finishes what it had been sent.
    async fn committed(&self) -> Result<u64> {
        let client = pontoon_sandbox::connect(&self.url).await.map_err(sandbox)?;
        let sql = "SELECT count(*) FROM pg_stat_activity \
                   WHERE application_name LIKE 'pontoon%' AND datname = current_database() \
                   AND state <> 'idle' AND query LIKE '%UPDATE%'";
        let begun = Instant::now();
        while begun.elapsed() < LAST_STATEMENT {
            let busy: i64 = client
                .query_one(sql, &[])
                .await
                .map_err(|error| {
                    Failure::new(Exit::Internal, format!("look for sessions: {error}"))
                })?
                .get(0);
            if busy == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(self.record().await?.rows_affected)
    }

    async fn server_version(&self) -> Result<String> {
        let client = pontoon_sandbox::connect(&self.url).await.map_err(sandbox)?;
        let row = client
            .query_one("SHOW server_version", &[])
            .await
            .map_err(|error| {
                Failure::new(Exit::Internal, format!("ask for the version: {error}"))
            })?;
        Ok(row.get(0))
    }
}

fn figures(
    rows: u64,
    version: String,
    kill: Option<Kill>,
    backfill: Backfill,
    stalls: &StallReport,
    report: &pontoon_sandbox::app::Report,
    oracle: &pontoon_sandbox::app::OracleReport,
) -> Figures {
    let latencies = |name: &str| {
        let total = report.window(name).map(pontoon_sandbox::app::Window::total);
        total.map_or_else(Latencies::default, |total| Latencies {
            p50_ms: millis(total.percentile(0.5)),
            p99_ms: millis(total.percentile(0.99)),
            worst_ms: millis(total.worst()),
        })
    };
    let mut notes: Vec<String> = report
        .errors
        .iter()
        .map(|error| {
            format!(
                "{} times {} ({}): {}",
                error.count,
                error.sqlstate,
                error.statement.name(),
                error.message
            )
        })
        .collect();
    notes.extend(report.findings.iter().take(10).cloned());
    if !oracle.is_clean() {
        notes.push(oracle.to_string());
    }
    Figures {
        server: version,
        rows,
        rows_per_second: backfill.rows_per_second(),
        backfill_seconds: backfill.seconds(),
        kill,
        max_lock_duration_ms: millis(MAX_LOCK_DURATION),
        worst_stall_ms: millis(stalls.table.attributed),
        worst_statement_ms: millis(stalls.table.worst()),
        worst_control_ms: millis(stalls.control.worst()),
        before: latencies("before"),
        during: latencies("during"),
        after: latencies("after"),
        writes: report.live.writes,
        reads: report.live.reads,
        errors: report.live.errors,
        lost: oracle.lost + oracle.ghosts + oracle.wrong_rows,
        findings: report.live.findings,
        rows_compared: oracle.rows,
        notes,
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// An error of the sandbox as one of ours.
fn sandbox(error: pontoon_sandbox::Error) -> Failure {
    let exit = match &error {
        pontoon_sandbox::Error::NoServer { .. } => Exit::Unreachable,
        _ => Exit::Internal,
    };
    Failure::new(exit, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_is_valid_for_any_size() {
        for rows in [1_000, 1_000_000, 100_000_000] {
            let text = plan_text(&models::orders(), rows);
            let plan = pontoon_core::plan::load("demo.yaml", &text)
                .unwrap_or_else(|findings| panic!("{findings:?}\n{text}"));
            assert_eq!(plan.limits.max_lock_duration, MAX_LOCK_DURATION);
            assert_eq!(plan.gates.len(), 1);
        }
    }
}
