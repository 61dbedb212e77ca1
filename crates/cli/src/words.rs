//! From data to words: numbers, spans of time, sentences. Nothing here writes
//! anywhere.

use std::fmt::Write as _;

use pontoon_engine::db::hold_text;
use pontoon_engine::event::{BackfillProgress, Blocker, Caller, Event, VerifyProgress};
use uuid::Uuid;

/// `1234567` as `1,234,567`.
pub(crate) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count with its noun: `1 row`, `2,000 rows`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", count(number))
}

/// Sessions of the application at work, in brackets; nothing when they are
/// hidden from our role.
pub(crate) fn at_work(sessions: Option<u64>) -> String {
    sessions.map_or_else(String::new, |sessions| {
        format!(" ({} at work)", counted(sessions, "session"))
    })
}

/// Milliseconds as people say them: `3 ms`, `1.2 s`, `2 min 3 s`.
pub(crate) fn millis(ms: f64) -> String {
    if ms < 1000.0 {
        // Fractions matter only where there is nothing else to see.
        if ms > 0.0 && ms < 10.0 {
            format!("{ms:.1} ms")
        } else {
            format!("{ms:.0} ms")
        }
    } else if ms < 10_000.0 {
        format!("{:.1} s", ms / 1000.0)
    } else {
        seconds(ms / 1000.0)
    }
}

/// Seconds as people say them, two units at most: `7 s`, `2 min 3 s`, `1 h 4 min`.
pub(crate) fn seconds(seconds: f64) -> String {
    let whole = whole(seconds);
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big} {big_unit}"),
        _ => format!("{big} {big_unit} {small} {small_unit}"),
    };
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => two(minutes, "min", rest, "s"),
        3600..86_400 => two(hours, "h", minutes, "min"),
        _ => two(days, "d", hours, "h"),
    }
}

/// A positive number without its fraction, rounded.
pub(crate) fn whole(number: f64) -> u64 {
    // The cast saturates and takes NaN for 0, which is what is wanted here.
    number.round() as u64
}

/// `done` of `total` in whole percent; 100 only when all is done.
pub(crate) fn percent(done: u64, total: u64) -> u64 {
    if total == 0 || done >= total {
        return 100;
    }
    u64::try_from(u128::from(done) * 100 / u128::from(total)).unwrap_or(99)
}

/// A text as a sentence: upper case first, period last.
pub(crate) fn sentence(text: &str) -> String {
    let text = text.trim();
    let mut result = String::with_capacity(text.len() + 1);
    let mut chars = text.chars();
    // A word with an inner underscore, dot or capital is a name and keeps its case.
    let first_word: &str = text.split_whitespace().next().unwrap_or_default();
    let is_plain_word = first_word
        .trim_end_matches([',', ';', ':'])
        .chars()
        .all(|c| c.is_lowercase() || c == '\'' || c == '-');
    match chars.next() {
        Some(first) if is_plain_word => result.extend(first.to_uppercase()),
        Some(first) => result.push(first),
        None => return result,
    }
    result.push_str(chars.as_str());
    if !result.ends_with(['.', '!', '?', '…']) {
        result.push('.');
    }
    result
}

/// Who gave a command, and from where.
fn caller(by: &str, from: Option<&Caller>) -> String {
    let Some(from) = from else {
        return by.to_owned();
    };
    let address = from
        .address
        .as_ref()
        .map_or_else(String::new, |address| format!(" from {address}"));
    format!("{by} (pid {}, role {}{address})", from.pid, from.role)
}

/// A hint as a sentence; one that ends with a command has no period after it,
/// since it is there to be copied.
pub(crate) fn hint(text: &str) -> String {
    let sentence = sentence(text);
    if text.starts_with("pontoon ") || text.contains(": pontoon ") || text.contains(": SELECT ") {
        sentence.trim_end_matches('.').to_owned()
    } else {
        sentence
    }
}

/// Words with which a sentence begins, and no fragment that fits "failed to …".
const SUBJECTS: [&str; 14] = [
    "a",
    "all",
    "an",
    "another",
    "at",
    "failed",
    "it",
    "no",
    "operation",
    "some",
    "step",
    "the",
    "there",
    "this",
];

/// A failure's message as a sentence. In the crates below, a text that begins
/// in lower case is a fragment that fits "failed to …", unless it begins with
/// its subject.
pub(crate) fn failure_sentence(text: &str) -> String {
    let mut words = text.split_whitespace();
    let first = words.next().unwrap_or_default();
    let is_run = first == "run" && words.next().is_some_and(|id| Uuid::try_parse(id).is_ok());
    if text.starts_with(char::is_lowercase) && !SUBJECTS.contains(&first) && !is_run {
        sentence(&format!("failed to {text}"))
    } else {
        sentence(text)
    }
}

/// Hints on lines of their own, then commands to copy; ends with a line break
/// unless there are none.
pub(crate) fn hints(hints: &[String], commands: &[String]) -> String {
    let mut text = String::new();
    for hint in hints {
        line(&mut text, format_args!("Hint: {hint}"));
    }
    match commands {
        [] => {}
        [command] => line(&mut text, format_args!("Hint: {command}")),
        commands => {
            line(&mut text, format_args!("Hint:"));
            for command in commands {
                line(&mut text, format_args!("  {command}"));
            }
        }
    }
    text
}

fn line(text: &mut String, content: std::fmt::Arguments<'_>) {
    writeln!(text, "{content}").expect("writing to a String cannot fail");
}

/// Who holds a lock: `pid 4121 (ada, psql, idle in transaction) holds
/// AccessShareLock on public.users since 2 min 3 s`.
pub(crate) fn blocker(blocker: &Blocker) -> String {
    let who = match &blocker.gid {
        Some(gid) => format!("prepared transaction {gid}"),
        None => format!("pid {}", blocker.pid),
    };
    let about: Vec<&str> = [&blocker.user, &blocker.application, &blocker.state]
        .into_iter()
        .flatten()
        .map(String::as_str)
        .filter(|part| !part.is_empty())
        .collect();
    let about = match about.as_slice() {
        [] => String::new(),
        parts => format!(" ({})", parts.join(", ")),
    };
    let query = match &blocker.query {
        Some(query) => format!("; its query: {}", one_line(query, 120)),
        None => String::new(),
    };
    format!(
        "{who}{about} holds {} on {}, its transaction is {} old{query}",
        blocker.mode,
        blocker.relation,
        seconds(blocker.age_ms as f64 / 1000.0)
    )
}

/// What ends a blocker, as SQL to copy.
pub(crate) fn release_blocker(blocker: &Blocker) -> Option<String> {
    match (&blocker.gid, blocker.pid) {
        (Some(gid), _) => Some(format!("ROLLBACK PREPARED '{}'", gid.replace('\'', "''"))),
        (None, 0) => None,
        (None, pid) => Some(format!("SELECT pg_terminate_backend({pid})")),
    }
}

/// At most `limit` characters on one line, blanks folded.
pub(crate) fn one_line(text: &str, limit: usize) -> String {
    let folded = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if folded.chars().count() <= limit {
        return folded;
    }
    let cut: String = folded.chars().take(limit.saturating_sub(1)).collect();
    format!("{cut}…")
}

/// `63%, 631,204 of about 1,000,000 rows, 52,310 rows/s, 7 s to go, batches of 4,000 rows`.
pub(crate) fn backfill(progress: &BackfillProgress) -> String {
    let rows = match progress.rows_total {
        Some(total) => format!(
            "{} of about {}",
            count(progress.rows_done),
            counted(total, "row")
        ),
        None => counted(progress.rows_done, "row"),
    };
    let mut text = format!(
        "{}%, {rows}, {} rows/s",
        percent(progress.pages_done, progress.pages_total),
        count(whole(progress.rows_per_second))
    );
    if let Some(eta) = progress.eta_seconds {
        write!(text, ", {} to go", seconds(eta)).expect("writing to a String cannot fail");
    }
    if progress.batch_rows > 0 {
        write!(text, ", batches of {}", counted(progress.batch_rows, "row"))
            .expect("writing to a String cannot fail");
    }
    text
}

/// `checked 1,000 rows: 3 out of step, 2 repaired, 1 conflict`.
pub(crate) fn verify(progress: &VerifyProgress) -> String {
    let mut text = format!("checked {}", counted(progress.checked, "row"));
    if progress.mismatched == 0 {
        text.push_str(", all in step");
    } else {
        write!(
            text,
            ": {} out of step, {} repaired, {}",
            count(progress.mismatched),
            count(progress.repaired),
            counted(progress.conflicts, "conflict")
        )
        .expect("writing to a String cannot fail");
    }
    text
}

/// An event as one sentence.
pub(crate) fn event(run: Option<Uuid>, event: &Event) -> String {
    let text = match event {
        Event::RunStarted {
            plan,
            version,
            steps,
        } => {
            let id = run.map_or_else(|| "a run".to_owned(), |run| format!("run {run}"));
            format!(
                "Started {id} of plan {plan}, version {version}: {}.",
                counted(u64::from(*steps), "step")
            )
        }
        Event::RunResumed { phase, step } => {
            let id = run.map_or_else(|| "the run".to_owned(), |run| format!("run {run}"));
            let step = step.map_or_else(String::new, |no| format!(", at step {no}"));
            format!("Resumed {id} in phase {}{step}.", phase.name())
        }
        Event::LeaseTaken {
            epoch,
            taken_over_from,
        } => match taken_over_from {
            Some(former) => {
                format!(
                    "Took the run over from {former}, which had not released it (epoch {epoch})."
                )
            }
            None => format!("This process holds the run now (epoch {epoch})."),
        },
        Event::PhaseStarted { phase } => format!("Phase {}.", phase.name()),
        Event::StepStarted {
            no,
            kind,
            name,
            undo,
            ..
        } => {
            let back = if *undo { "taking back: " } else { "" };
            format!("Step {no} ({kind}): {back}{name}.")
        }
        Event::StepFinished {
            no,
            name,
            undo,
            attempts,
            wait_ms,
            hold_ms,
            rows,
        } => step_finished(*no, name, *undo, *attempts, (*wait_ms, *hold_ms), *rows),
        Event::StepProgress {
            no,
            doing,
            done,
            total,
        } => match total {
            0 => format!("Step {no}: {doing}."),
            _ => format!("Step {no}: {doing}, {}%.", percent(*done, *total)),
        },
        Event::LockWaiting {
            no,
            attempts,
            blockers,
            patience_ms,
        } => lock_waiting(*no, *attempts, blockers, *patience_ms),
        Event::BackfillProgress(progress) => {
            format!("Backfill of {}: {}.", progress.table, backfill(progress))
        }
        Event::BackfillRestarted { table, reason } => {
            format!("The backfill of {table} begins again: {reason}.")
        }
        Event::VerifyProgress(progress) => format!(
            "Verify of {}, pass {}: {}%, {}.",
            progress.table,
            progress.pass,
            percent(progress.pages_done, progress.pages_total),
            verify(progress)
        ),
        Event::VerifyFinished(progress) => verify_finished(progress),
        Event::Held {
            signal,
            reading,
            limit,
        }
        | Event::Holding {
            signal,
            reading,
            limit,
        } => format!("Holding back: {}.", hold_text(signal, reading, limit)),
        Event::Yielding { sessions } => {
            format!("Yielding to the application{}.", at_work(*sessions))
        }
        Event::FullSpeed => "Going at full speed.".to_owned(),
        Event::ThrottleOn => "The throttle is on again.".to_owned(),
        Event::HoldEnded { signal, held_ms } => format!(
            "Going on: {signal} is below its limit again, after {}.",
            millis(*held_ms as f64)
        ),
        Event::GateReached { gate, message } => {
            let message = message
                .as_ref()
                .map_or_else(String::new, |message| format!(": {message}"));
            format!("Reached the gate before {}{message}.", gate.name())
        }
        Event::GateApproved { gate, by, from } => {
            let by = caller(by, from.as_ref());
            format!("The gate before {} was approved by {by}.", gate.name())
        }
        Event::Retrying { error, after_ms } => {
            format!("Trying again in {}: {error}.", millis(*after_ms as f64))
        }
        Event::Command { command, by, from } => {
            format!("{} asked for: {command}.", caller(by, from.as_ref()))
        }
        Event::WorkerJoined { worker } => format!("{worker} helps with the backfill."),
        Event::WorkerLeft { worker, rows } => {
            format!("{worker} has left, after {} rows.", count(*rows))
        }
        Event::WorkerLost { worker, rows } => format!(
            "The membership of {worker} has ended, after {} rows; its ranges are free.",
            count(*rows)
        ),
        Event::StateChanged { state, reason } => {
            let reason = reason
                .as_ref()
                .map_or_else(String::new, |reason| format!(": {reason}"));
            format!("The run is {}{reason}.", state.replace('_', " "))
        }
        Event::Warning { message } => format!("Warning: {message}"),
    };
    // Messages from elsewhere may bring a period of their own.
    let trimmed = text.trim_end_matches('.');
    format!("{trimmed}.")
}

fn step_finished(
    no: u32,
    name: &str,
    undo: bool,
    attempts: u32,
    (wait_ms, hold_ms): (f64, f64),
    rows: u64,
) -> String {
    let mut cost = Vec::new();
    if rows > 0 {
        cost.push(counted(rows, "row"));
    }
    if attempts > 1 {
        cost.push(counted(u64::from(attempts), "try").replace("trys", "tries"));
    }
    if wait_ms > 0.0 {
        cost.push(format!("waited {}", millis(wait_ms)));
    }
    if hold_ms > 0.0 {
        cost.push(format!("held locks {}", millis(hold_ms)));
    }
    let cost = match cost.as_slice() {
        [] => String::new(),
        parts => format!(" ({})", parts.join(", ")),
    };
    let done = if undo { "taken back" } else { "done" };
    format!("Step {no} is {done}: {name}{cost}.")
}

fn lock_waiting(no: u32, attempts: u32, blockers: &[Blocker], patience_ms: u64) -> String {
    let who = match blockers {
        [] => "another session".to_owned(),
        [first] => blocker(first),
        [first, rest @ ..] => format!(
            "{}; and {}",
            blocker(first),
            counted(rest.len() as u64, "more session").replace("more sessions", "more")
        ),
    };
    let tries = match attempts {
        0 => String::new(),
        n => format!(
            " after {}",
            counted(u64::from(n), "try").replace("trys", "tries")
        ),
    };
    format!(
        "Step {no} waits for a moment without conflicting locks{tries}: {who}. It stays patient for {}.",
        seconds(patience_ms as f64 / 1000.0)
    )
}

fn verify_finished(progress: &VerifyProgress) -> String {
    let verdict = if progress.clean {
        "clean"
    } else if progress.conflicts > 0 {
        "not clean, a person has to decide"
    } else {
        "not clean yet"
    };
    let mut text = format!(
        "Verify of {}, pass {} is {verdict}: {}",
        progress.table,
        progress.pass,
        verify(progress)
    );
    if !progress.examples.is_empty() {
        write!(text, "; conflicts at {}", progress.examples.join(", "))
            .expect("writing to a String cannot fail");
    }
    text.push('.');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart() {
        let texts: Vec<String> = [0, 7, 999, 1000, 12_345, 1_234_567].map(count).into();
        assert_eq!(texts, ["0", "7", "999", "1,000", "12,345", "1,234,567"]);
    }

    #[test]
    fn spans_have_two_units_at_most() {
        assert_eq!(millis(0.0), "0 ms");
        assert_eq!(millis(3.25), "3.2 ms");
        assert_eq!(millis(312.4), "312 ms");
        assert_eq!(millis(1200.0), "1.2 s");
        assert_eq!(seconds(59.4), "59 s");
        assert_eq!(seconds(123.0), "2 min 3 s");
        assert_eq!(seconds(3600.0), "1 h");
        assert_eq!(seconds(90_061.0), "1 d 1 h");
    }

    #[test]
    fn a_hundred_percent_means_all() {
        assert_eq!(percent(999_999, 1_000_000), 99);
        assert_eq!(percent(5, 5), 100);
        assert_eq!(percent(0, 0), 100);
        assert_eq!(percent(0, 10), 0);
    }

    #[test]
    fn names_keep_their_case_at_the_start_of_a_sentence() {
        assert_eq!(sentence("check the password"), "Check the password.");
        assert_eq!(
            sentence("max_rows_affected is 0"),
            "max_rows_affected is 0."
        );
        assert_eq!(
            sentence("public.users has no key."),
            "public.users has no key."
        );
        assert_eq!(sentence("Done!"), "Done!");
        assert_eq!(hint("see: pontoon history"), "See: pontoon history");
        assert_eq!(hint("check the password"), "Check the password.");
    }

    #[test]
    fn fragments_become_sentences_and_sentences_stay() {
        for (text, sentence) in [
            (
                "connect to db:5432: refused",
                "Failed to connect to db:5432: refused.",
            ),
            (
                "there is no setting `wokers`",
                "There is no setting `wokers`.",
            ),
            (
                "run 00000000-0000-0000-0000-000000000000 is completed already",
                "Run 00000000-0000-0000-0000-000000000000 is completed already.",
            ),
            ("run step 3: no", "Failed to run step 3: no."),
            ("The lease was lost.", "The lease was lost."),
        ] {
            assert_eq!(failure_sentence(text), sentence);
        }
    }

    #[test]
    fn commands_have_lines_of_their_own_without_a_period() {
        assert_eq!(
            hints(
                &["Approve it first.".into()],
                &[
                    "pontoon approve a contract".into(),
                    "pontoon run p.yaml".into()
                ]
            ),
            "Hint: Approve it first.\nHint:\n  pontoon approve a contract\n  pontoon run p.yaml\n"
        );
    }

    #[test]
    fn a_prepared_transaction_is_named_by_its_gid() {
        let held = Blocker {
            pid: 0,
            gid: Some("batch'7".into()),
            user: Some("app".into()),
            application: None,
            state: None,
            age_ms: 60_000,
            mode: "RowExclusiveLock".into(),
            relation: "public.users".into(),
            query: None,
        };
        assert_eq!(
            blocker(&held),
            "prepared transaction batch'7 (app) holds RowExclusiveLock on public.users, its transaction is 1 min old"
        );
        assert_eq!(
            release_blocker(&held).as_deref(),
            Some("ROLLBACK PREPARED 'batch''7'")
        );
    }

    #[test]
    fn long_queries_are_cut_by_characters() {
        assert_eq!(one_line("SELECT  'ä'\n FROM t", 9), "SELECT '…");
    }
}
