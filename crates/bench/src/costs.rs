//! What else a run costs: each write under the triggers, a verify pass, the
//! time to the first batch, memory, and round trips.

use std::time::{Duration, Instant};

use pontoon_core::step::Phase;
use pontoon_sandbox::Server;
use tokio_postgres::Client;

use crate::args::Arguments;
use crate::report::{Figure, Report, millis};
use crate::server::{TURN, original, settle, turn};
use crate::sitting::{FULL_SPEED, Took, command, finish, plan_text, sit};
use crate::table::{Table, Work};
use crate::{Error, cpu};

/// Single-row statements that are timed at once.
const STATEMENTS: u32 = 10_000;
/// Tables of a large catalog.
const TABLES: u32 = 2_000;
/// How often is looked for the first batch.
const LOOK: Duration = Duration::from_millis(3);

/// Measures all of it.
pub(crate) async fn measure(
    server: &Server,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<(), Error> {
    let table = Table::usual(arguments.rows_or(300_000, 1_000_000));
    original(server, &table).await?;
    let figures = writes(server, arguments).await?;
    report.add("costs", "a write of one row".to_owned(), figures);
    let figures = passes(server, arguments).await?;
    report.add("costs", format!("{}: a run", table.name()), figures);
    let figures = first_batch(server, arguments, &table).await?;
    report.add("costs", format!("a catalog of {TABLES} tables"), figures);
    Ok(())
}

/// Single-row writes of an old application version, without and under the triggers.
async fn writes(server: &Server, arguments: &Arguments) -> Result<Vec<Figure>, Error> {
    const KINDS: [(&str, &str); 3] = [
        (
            "UPDATE of an unrelated column",
            "UPDATE users SET note = 'x' WHERE id = i",
        ),
        (
            "UPDATE of an old column",
            "UPDATE users SET amount = amount + 1 WHERE id = i",
        ),
        (
            "INSERT of an old version",
            "INSERT INTO users (id, email, amount) VALUES (-i, 'A@Example.Com', i)",
        ),
    ];
    let mut rounds: Vec<(Vec<f64>, Vec<f64>)> = vec![(Vec::new(), Vec::new()); KINDS.len()];
    for _ in 0..arguments.rounds() {
        for under in [false, true] {
            let client = turn(server).await?;
            if under {
                sit(
                    server,
                    &plan_text(Work::Shapes, FULL_SPEED, ""),
                    Phase::Backfill,
                )
                .await?;
            } else if let Some(columns) = Work::Shapes.columns() {
                client.batch_execute(columns).await?;
                let update = format!("UPDATE users SET {}", Work::Shapes.set());
                client.batch_execute(&update).await?;
            }
            settle(&client).await?;
            for ((_, statement), rounds) in KINDS.iter().zip(&mut rounds) {
                let cost = each(server, &client, statement).await?;
                if under { &mut rounds.1 } else { &mut rounds.0 }.push(cost);
            }
        }
    }
    Ok(KINDS
        .iter()
        .zip(rounds)
        .flat_map(|((name, _), (bare, under))| {
            let bare = Figure::new(*name, "server CPU without triggers", "µs", bare);
            let under = Figure::new(*name, "under the dual write", "µs", under);
            let under = under.beside(&bare, None);
            [bare, under]
        })
        .collect())
}

/// Microseconds of the server's processor time for each statement: executed
/// in one go, so that neither commits nor round trips hide the difference.
async fn each(server: &Server, client: &Client, statement: &str) -> Result<f64, Error> {
    let used = || server.pid().and_then(cpu::of_server).unwrap_or_default();
    let before = used();
    client
        .batch_execute(&format!(
            "DO $$ BEGIN FOR i IN 1 .. {STATEMENTS} LOOP {statement}; END LOOP; END $$"
        ))
        .await?;
    let cost = used().saturating_sub(before);
    Ok(cost.as_secs_f64() * 1e6 / f64::from(STATEMENTS))
}

/// A whole run up to its verify pass.
async fn passes(server: &Server, arguments: &Arguments) -> Result<Vec<Figure>, Error> {
    let mut runs: Vec<(Took, f64)> = Vec::new();
    for _ in 0..arguments.rounds() {
        let client = turn(server).await?;
        settle(&client).await?;
        let plan = plan_text(Work::Shapes, FULL_SPEED, "");
        sit(server, &plan, Phase::DualWrite).await?;
        client
            .batch_execute(&format!(
                "ALTER DATABASE {TURN} SET log_min_duration_statement = 0"
            ))
            .await?;
        let before = std::fs::metadata(server.log_path())?.len();
        let mut took = sit(server, &plan, Phase::Backfill).await?;
        let log = std::fs::read(server.log_path())?;
        let log = String::from_utf8_lossy(&log[usize::try_from(before)?..]).into_owned();
        client
            .batch_execute(&format!(
                "ALTER DATABASE {TURN} RESET log_min_duration_statement"
            ))
            .await?;
        let batches = log.matches("#variable_conflict use_variable").count();
        let backfilled = backfill_messages(&log);
        let verified = sit(server, &plan, Phase::Verify).await?;
        took.verify = verified.verify;
        took.checked = verified.checked;
        took.peak_kib = took.peak_kib.max(verified.peak_kib);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let trips = backfilled as f64 / (batches.max(1) as f64);
        runs.push((took, trips));
    }
    let column = |value: &dyn Fn(&Took) -> f64| runs.iter().map(|(took, _)| value(took)).collect();
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    Ok(vec![
        Figure::new(
            "verify pass",
            "rate",
            "rows/s",
            column(&|took| took.checked as f64 / took.verify.as_secs_f64()),
        ),
        Figure::new(
            "process",
            "most memory resident",
            "MiB",
            column(&|took| took.peak_kib as f64 / 1_024.0),
        ),
        Figure::new(
            "batch",
            "messages of the worker's session",
            "each",
            runs.iter().map(|(_, trips)| *trips).collect(),
        ),
    ])
}

/// Messages of sessions that executed batches, from the server's own log.
fn backfill_messages(log: &str) -> usize {
    let pid = |line: &str| -> Option<String> {
        let (_, rest) = line.split_once(" [")?;
        let (pid, _) = rest.split_once(']')?;
        Some(pid.to_owned())
    };
    let mut entries: Vec<(String, bool)> = Vec::new();
    for line in log.lines() {
        if line.contains("LOG:  duration:") {
            if let Some(pid) = pid(line) {
                entries.push((pid, false));
            }
        } else if line.contains("#variable_conflict use_variable")
            && let Some(last) = entries.last_mut()
        {
            last.1 = true;
        }
    }
    let workers: Vec<&String> = entries
        .iter()
        .filter(|(_, batch)| *batch)
        .map(|(pid, _)| pid)
        .collect();
    entries
        .iter()
        .filter(|(pid, _)| workers.contains(&pid))
        .count()
}

/// From the start of a process to its first batch.
async fn first_batch(
    server: &Server,
    arguments: &Arguments,
    table: &Table,
) -> Result<Vec<Figure>, Error> {
    let (mut starts, mut resumes) = (Vec::new(), Vec::new());
    for _ in 0..arguments.rounds() {
        let client = turn(server).await?;
        client
            .batch_execute(&format!(
                "DO $$ BEGIN FOR i IN 1 .. {TABLES} LOOP
                     EXECUTE format('CREATE TABLE other_%s (id bigint PRIMARY KEY, name text NOT NULL, at timestamptz)', i);
                     IF i % 200 = 0 THEN COMMIT; END IF;
                 END LOOP; END $$"
            ))
            .await?;
        settle(&client).await?;
        let plan = plan_text(
            Work::Constant,
            FULL_SPEED,
            "limits: {max_batch_rows: 2000}\n",
        );
        let (begun, mut child) = (
            Instant::now(),
            command(server, &plan, Phase::Backfill)?.spawn()?,
        );
        starts.push(millis(until_batch(&client, begun, 0).await?));
        child.start_kill()?;
        child.wait().await?;
        let done = affected(&client).await?;
        let (begun, child) = (
            Instant::now(),
            command(server, &plan, Phase::Backfill)?.spawn()?,
        );
        resumes.push(millis(until_batch(&client, begun, done).await?));
        finish(child, begun).await?;
        let left: i64 = client
            .query_one("SELECT count(*) FROM users WHERE note IS NULL", &[])
            .await?
            .get(0);
        if left != 0 {
            return Err(format!("{left} of {} rows were left", table.rows).into());
        }
    }
    Ok(vec![
        Figure::new("start", "to the first batch", "ms", starts),
        Figure::new("resume after SIGKILL", "to the first batch", "ms", resumes),
    ])
}

/// Waits until more than `done` rows were changed.
async fn until_batch(client: &Client, begun: Instant, done: i64) -> Result<Duration, Error> {
    while affected(client).await? <= done {
        if begun.elapsed() > Duration::from_secs(60) {
            return Err("no batch within a minute".into());
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(begun.elapsed())
}

/// Rows changed so far.
async fn affected(client: &Client) -> Result<i64, Error> {
    let there: bool = client
        .query_one("SELECT to_regclass('pontoon.run') IS NOT NULL", &[])
        .await?
        .get(0);
    if !there {
        return Ok(0);
    }
    Ok(client
        .query_one(
            "SELECT coalesce(max(rows_affected), 0)::bigint FROM pontoon.run",
            &[],
        )
        .await?
        .get(0))
}
