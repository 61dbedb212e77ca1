//! The only place that writes to the terminal.
//!
//! Results and the story of a run go to standard output; bars, notes, logs
//! and errors go to standard error. With `--output json` everything that a
//! machine wants, errors included, is on standard output, and standard error
//! stays quiet.
//!
//! A reader that went away (`pontoon events … | head`) is no failure: what is
//! written after that is dropped, and a run goes on.

use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock};

use indicatif::MultiProgress;
use serde::Serialize;

use crate::error::Failure;
use crate::exit::Exit;

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Text,
    /// For programs: one JSON value per line.
    Json,
}

/// How much is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loudness {
    /// Results and errors only.
    Quiet,
    /// What an operator wants to know.
    Normal,
    /// Every step and lease, and the log of this many `-v`.
    Verbose(u8),
}

/// Where everything is written.
pub(crate) struct Output {
    /// For people or programs.
    pub(crate) format: Format,
    /// How much.
    pub(crate) loudness: Loudness,
    stdout: Mutex<Stdout>,
    /// Bars that have to step aside while a line is written.
    bars: OnceLock<MultiProgress>,
}

struct Stdout {
    stream: io::Stdout,
    state: Health,
}

enum Health {
    Open,
    /// The reader went away.
    Gone,
    /// Something else happened: the disk is full.
    Failed(io::Error),
}

impl Output {
    pub(crate) fn new(format: Format, loudness: Loudness) -> Self {
        Self {
            format,
            loudness,
            stdout: Mutex::new(Stdout {
                stream: io::stdout(),
                state: Health::Open,
            }),
            bars: OnceLock::new(),
        }
    }

    /// Does a person watch?
    pub(crate) fn is_terminal(&self) -> bool {
        self.format == Format::Text && io::stdout().is_terminal() && io::stderr().is_terminal()
    }

    /// Is JSON wanted?
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// The bars, made when they are first asked for.
    pub(crate) fn bars(&self) -> &MultiProgress {
        self.bars.get_or_init(MultiProgress::new)
    }

    /// Text on standard output, as it stands.
    pub(crate) fn text(&self, text: &str) {
        self.aside(|| self.write(text.as_bytes()));
    }

    /// A line on standard output.
    pub(crate) fn line(&self, line: &str) {
        self.text(&format!("{line}\n"));
    }

    /// A line that only people want, unless they asked for quiet.
    pub(crate) fn note(&self, line: &str) {
        match (self.format, self.loudness) {
            (Format::Json, _) | (Format::Text, Loudness::Quiet) => {}
            (Format::Text, Loudness::Normal | Loudness::Verbose(_)) => self.line(line),
        }
    }

    /// One JSON value on a line of its own.
    pub(crate) fn json(&self, value: &impl Serialize) {
        match serde_json::to_vec(value) {
            Ok(mut bytes) => {
                bytes.push(b'\n');
                self.write(&bytes);
            }
            Err(error) => self.fail(io::Error::other(error)),
        }
    }

    /// One JSON value over several lines, for a person's eye or a file.
    pub(crate) fn pretty_json(&self, value: &impl Serialize) {
        match serde_json::to_string_pretty(value) {
            Ok(text) => self.line(&text),
            Err(error) => self.fail(io::Error::other(error)),
        }
    }

    /// A line on standard error.
    pub(crate) fn aside_line(&self, line: &str) {
        self.aside(|| write_stderr(format!("{line}\n").as_bytes()));
    }

    /// Tells why a command failed.
    pub(crate) fn failure(&self, failure: &Failure) {
        match self.format {
            Format::Text => self.aside(|| write_stderr(failure.render().as_bytes())),
            Format::Json => self.json(&serde_json::json!({
                "error": failure.record(),
                "exit": failure.exit.code(),
            })),
        }
    }

    /// The exit code, corrected when the result could not be written.
    pub(crate) fn finish(&self, exit: Exit) -> Exit {
        let mut stdout = self.stdout();
        if let Err(error) = stdout.stream.flush() {
            stdout.note(error);
        }
        match &stdout.state {
            Health::Open | Health::Gone => exit,
            Health::Failed(error) => {
                write_stderr(
                    format!("Error: Failed to write to standard output: {error}.\n").as_bytes(),
                );
                match exit {
                    Exit::Done => Exit::Internal,
                    other => other,
                }
            }
        }
    }

    fn write(&self, bytes: &[u8]) {
        let mut stdout = self.stdout();
        match stdout.state {
            Health::Open => {}
            Health::Gone | Health::Failed(_) => return,
        }
        if let Err(error) = stdout
            .stream
            .write_all(bytes)
            .and_then(|()| stdout.stream.flush())
        {
            stdout.note(error);
        }
    }

    fn fail(&self, error: io::Error) {
        self.stdout().note(error);
    }

    fn aside<R>(&self, write: impl FnOnce() -> R) -> R {
        match self.bars.get() {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }

    fn stdout(&self) -> MutexGuard<'_, Stdout> {
        self.stdout
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Stdout {
    fn note(&mut self, error: io::Error) {
        self.state = match error.kind() {
            io::ErrorKind::BrokenPipe => Health::Gone,
            _ => Health::Failed(error),
        };
    }
}

/// Nobody can be told when standard error is closed.
fn write_stderr(bytes: &[u8]) {
    let mut stream = io::stderr().lock();
    drop(stream.write_all(bytes).and_then(|()| stream.flush()));
}

/// Lets the log's lines step aside for bars.
#[derive(Clone)]
pub(crate) struct LogWriter(pub(crate) std::sync::Arc<Output>);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.aside(|| write_stderr(bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> tracing_subscriber::fmt::MakeWriter<'a> for LogWriter {
    type Writer = LogWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}
