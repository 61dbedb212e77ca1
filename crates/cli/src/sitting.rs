//! One sitting on a run, whatever the verb: its display, its signals, its
//! last words and its exit code.

use std::sync::Arc;
use std::time::Duration;

use pontoon_core::step::Phase;
use pontoon_engine::db::{Database, OldWrites, RunFilter};
use pontoon_engine::event::Sink;
use pontoon_engine::run::{Ending, RunError};
use pontoon_engine::status::StatusRecord;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::context::Context;
use crate::display::{Display, ExitRecord};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::words;

/// Between two status records among the JSON lines.
const STATUS: Duration = Duration::from_secs(5);
/// How long the last look at a run may take; its end is told in any case.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What is known at a sitting's end.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// The run.
    pub(crate) run: Option<Uuid>,
    /// Its state.
    pub(crate) state: Option<String>,
}

/// Runs a verb whose JSON form is a stream of lines: whatever happens, the
/// last one is `{event: "exit", …}`.
pub(crate) fn streamed(
    context: &Context,
    work: impl FnOnce(&mut Told) -> Result<Exit>,
) -> Result<Exit> {
    let mut told = Told::default();
    let result = work(&mut told);
    if !context.output.is_json() {
        return result;
    }
    let (exit, error) = match &result {
        Ok(exit) => (*exit, None),
        Err(failure) => (failure.exit, Some(failure.record())),
    };
    context
        .output
        .json(&ExitRecord::new(told.run, exit.code(), told.state, error));
    Ok(exit)
}

/// What a sitting works on, for its last words.
pub(crate) struct Subject<'a> {
    /// The run, when it is known before.
    pub(crate) run: Option<Uuid>,
    /// The plan's path as the person typed it.
    pub(crate) plan_file: Option<&'a str>,
    /// What to type to go on after an interruption or a failure; `None`: what
    /// the status says.
    pub(crate) again: Option<String>,
    /// What it means when the work stops short of an end; `None`: `--until`.
    pub(crate) stops: Option<&'static str>,
}

/// How long a look before the sitting may take: longer than the time in which
/// a connection is made or refused.
const FIRST_LOOK: Duration = Duration::from_secs(40);

/// Looks at the database before a sitting; a signal ends that at once, and a
/// database that never answers ends it too.
pub(crate) async fn before<T>(
    cancel: &CancellationToken,
    look: impl Future<Output = Result<T>>,
) -> Result<T> {
    tokio::select! {
        found = look => found,
        () = cancel.cancelled() => Err(Failure::new(Exit::Interrupted, "Interrupted before anything began.")),
        () = tokio::time::sleep(FIRST_LOOK) => Err(Failure::new(
            Exit::Unreachable,
            format!("The database has not answered for {} s.", FIRST_LOOK.as_secs()),
        )),
    }
}

/// Sits: `work` gets a sink and a token, and says how it ended.
pub(crate) async fn sit<D: Database, F>(
    context: &Context,
    db: &D,
    subject: Subject<'_>,
    told: &mut Told,
    cancel: CancellationToken,
    work: impl FnOnce(Sink, CancellationToken) -> F,
) -> Result<Exit>
where
    F: Future<Output = std::result::Result<Ending, RunError>>,
{
    let display = Arc::new(Display::start(&context.output, subject.run));
    let reporter = context.output.is_json().then(|| {
        tokio::spawn(report(
            db.clone(),
            display.clone(),
            subject.plan_file.map(str::to_owned),
        ))
    });
    let ended = work(display.sink(), cancel).await;
    if let Some(reporter) = reporter {
        reporter.abort();
        // It ends by our own wish.
        drop(reporter.await);
    }
    let seen = display.seen();
    told.run = seen.run;
    let last = match seen.run {
        Some(run) => tokio::time::timeout(LAST_LOOK, status(db, run, subject.plan_file))
            .await
            .ok()
            .and_then(Result::ok)
            .flatten(),
        None => None,
    };
    told.state = last
        .as_ref()
        .map(|last| last.state.to_owned())
        .or(seen.state);
    if let Some(last) = &last {
        display.status(last.clone());
    }
    display.close();
    match ended {
        Ok(ending) => {
            context
                .output
                .note(&last_words(context, &ending, last.as_ref(), &subject));
            Ok(exit_of(&ending))
        }
        Err(error) => Err(with_next(error.into(), last.as_ref(), &subject)),
    }
}

/// How a run stands now; `None` when there is no such run.
pub(crate) async fn status<D: Database>(
    db: &D,
    run: Uuid,
    plan_file: Option<&str>,
) -> Result<Option<StatusRecord>> {
    let runs = db.runs(&RunFilter::Id(run)).await?;
    let Some(record) = runs.first() else {
        return Ok(None);
    };
    let steps = db.steps(run).await?;
    let old_writes = if record.state.is_final() {
        OldWrites::default()
    } else {
        db.old_writes(run).await?
    };
    Ok(Some(StatusRecord::new(
        record,
        &steps,
        &old_writes,
        plan_file,
    )))
}

/// Puts status records among the lines until it is aborted.
async fn report<D: Database>(db: D, display: Arc<Display>, plan_file: Option<String>) {
    loop {
        if let Some(run) = display.seen().run
            // A failing look is the engine's to tell of: it asks the same server.
            && let Ok(Some(status)) = status(&db, run, plan_file.as_deref()).await
        {
            display.status(status);
            tokio::time::sleep(STATUS).await;
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn exit_of(ending: &Ending) -> Exit {
    match ending {
        Ending::Completed | Ending::AlreadyCompleted | Ending::RolledBack | Ending::Until => {
            Exit::Done
        }
        Ending::Gate { .. } => Exit::Gate,
        Ending::Interrupted | Ending::Left => Exit::Interrupted,
        Ending::Paused { .. } | Ending::Relieved { .. } => Exit::Paused,
    }
}

/// What to type to go on.
fn again(last: Option<&StatusRecord>, subject: &Subject<'_>) -> Vec<String> {
    subject
        .again
        .clone()
        .or_else(|| last.and_then(|last| last.next.clone()))
        .into_iter()
        .collect()
}

fn last_words(
    context: &Context,
    ending: &Ending,
    last: Option<&StatusRecord>,
    subject: &Subject<'_>,
) -> String {
    let run = last.map_or_else(|| "The run".to_owned(), |last| format!("Run {}", last.run));
    let again = again(last, subject);
    let (sentence, hints) = match ending {
        Ending::Completed => (format!("{run} is completed.{}", cost(last)), String::new()),
        Ending::AlreadyCompleted => (
            format!("{run} of this plan has been completed before; there is nothing to do."),
            String::new(),
        ),
        Ending::RolledBack => (
            format!("{run} was rolled back; every write was kept.{}", cost(last)),
            String::new(),
        ),
        Ending::Until => match subject.stops {
            Some(stops) => (format!("{run} {stops}."), String::new()),
            None => (
                format!("{run} stops here, as --until asked."),
                context.hints(&again),
            ),
        },
        Ending::Gate {
            gate,
            message,
            unmet,
        } => gate_words(
            context,
            &run,
            *gate,
            message.as_deref(),
            unmet.as_deref(),
            last,
            &again,
        ),
        Ending::Interrupted => (
            format!("{run} was interrupted; everything committed is kept, and nothing holds it."),
            context.hints(&again),
        ),
        Ending::Left => (
            format!("{run} goes on without this process; everything committed is kept."),
            context.hints(&again),
        ),
        Ending::Relieved { by } => (
            format!("{run} is taken back by {by}; this process has let it go."),
            context.hints(
                &last
                    .map(|last| format!("pontoon status {}", last.run))
                    .into_iter()
                    .collect::<Vec<_>>(),
            ),
        ),
        Ending::Paused { by } => {
            let resume = last.and_then(|last| last.next.clone());
            let commands: Vec<String> = resume.into_iter().chain(subject.again.clone()).collect();
            (
                format!("{run} is paused, by {by}."),
                context.hints(&commands),
            )
        }
    };
    format!("{sentence}\n{hints}").trim_end().to_owned()
}

fn gate_words(
    context: &Context,
    run: &str,
    gate: Phase,
    message: Option<&str>,
    unmet: Option<&str>,
    last: Option<&StatusRecord>,
    again: &[String],
) -> (String, String) {
    let message = message.map_or_else(String::new, |message| format!(": {message}"));
    let mut text = words::sentence(&format!(
        "{run} stands at the gate before {}{message}",
        gate.name()
    ));
    if let Some(unmet) = unmet {
        text.push_str(&format!("\nNot met yet: {}", words::sentence(unmet)));
    }
    if let Some(conflicts) = last
        .map(|last| last.old_writes.conflicts)
        .filter(|conflicts| *conflicts > 0)
    {
        text.push_str(&format!(
            "\n{} gave both shapes inconsistently.",
            words::counted(conflicts, "write")
        ));
    }
    let approve = last
        .and_then(|last| last.next.clone())
        .filter(|next| next.starts_with("pontoon approve"));
    let mut commands: Vec<String> = approve.into_iter().collect();
    for command in again {
        if !commands.contains(command) {
            commands.push(command.clone());
        }
    }
    (text, context.hints(&commands))
}

/// What a finished run has cost.
fn cost(last: Option<&StatusRecord>) -> String {
    let Some(last) = last else {
        return String::new();
    };
    let rows: u64 = last
        .backfill
        .iter()
        .map(|backfill| backfill.rows_done)
        .sum();
    let rows = match rows {
        0 => String::new(),
        rows => format!(" It changed {}.", words::counted(rows, "row")),
    };
    format!(
        "{rows} Longest wait for a lock: {}; longest hold: {} (max_lock_duration {}).",
        words::millis(last.locks.worst_wait_ms),
        words::millis(last.locks.worst_hold_ms),
        words::millis(last.locks.budget_ms as f64)
    )
}

/// Says how to go on after a failure that leaves the run resumable.
fn with_next(failure: Failure, last: Option<&StatusRecord>, subject: &Subject<'_>) -> Failure {
    match failure.exit {
        Exit::Internal
        | Exit::StepFailed
        | Exit::BudgetSpent
        | Exit::Unreachable
        | Exit::Interrupted => again(last, subject)
            .into_iter()
            .fold(failure, Failure::command),
        Exit::Held => match last {
            Some(last) => failure.command(format!("pontoon status {}", last.run)),
            None => failure,
        },
        Exit::Done | Exit::Usage | Exit::Invalid | Exit::Refused | Exit::Gate | Exit::Paused => {
            failure
        }
    }
}
