//! What a person or a program sees while a run goes on.
//!
//! A view consumes events and status records, and nothing else. It runs on a
//! thread of its own behind an unbounded queue, so that a slow terminal never
//! holds up a batch; the engine already limits how often progress is told.

mod history;
mod json;
mod plain;
mod status;
mod terminal;

use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use pontoon_engine::event::{EVENT_VERSION, Event, Record, Sink};
use pontoon_engine::status::StatusRecord;
use uuid::Uuid;

use crate::output::Output;

pub(crate) use history::{Columns, Totals, folder as folder_table, runs as history_table};
pub(crate) use json::{Exit as ExitRecord, Line};
pub(crate) use status::{one as one_status, settings as settings_table, table as status_table};

/// How often a view may freshen what moves by itself, such as clocks.
const TICK: Duration = Duration::from_millis(200);

/// One way of showing a run.
trait View: Send {
    /// Something happened.
    fn event(&mut self, record: &Record);
    /// How the run stands now.
    fn status(&mut self, status: &StatusRecord);
    /// Time passed.
    fn tick(&mut self) {}
    /// Nothing more comes.
    fn finish(&mut self) {}
}

enum Message {
    Event(Record),
    Status(Box<StatusRecord>),
    Finish,
}

/// A view at work.
pub(crate) struct Display {
    sender: mpsc::Sender<Message>,
    seen: Arc<Mutex<Seen>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the events have told so far.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// The run.
    pub(crate) run: Option<Uuid>,
    /// The last state that was told.
    pub(crate) state: Option<String>,
}

impl Display {
    /// Starts the view that fits the output. `run` is known when an
    /// unfinished run goes on.
    pub(crate) fn start(output: &Arc<Output>, run: Option<Uuid>) -> Self {
        let mut view: Box<dyn View> = if output.is_json() {
            Box::new(json::Json::new(output.clone()))
        } else if output.is_terminal() {
            Box::new(terminal::Terminal::new(output.clone()))
        } else {
            Box::new(plain::Plain::new(output.clone()))
        };
        let (sender, receiver) = mpsc::channel();
        let thread = std::thread::spawn(move || {
            loop {
                match receiver.recv_timeout(TICK) {
                    Ok(Message::Event(record)) => view.event(&record),
                    Ok(Message::Status(status)) => view.status(&status),
                    Err(RecvTimeoutError::Timeout) => view.tick(),
                    Ok(Message::Finish) | Err(RecvTimeoutError::Disconnected) => break,
                }
            }
            view.finish();
        });
        Self {
            sender,
            seen: Arc::new(Mutex::new(Seen { run, state: None })),
            thread: Mutex::new(Some(thread)),
        }
    }

    /// Where the engine tells its events.
    pub(crate) fn sink(&self) -> Sink {
        let sender = self.sender.clone();
        let seen = self.seen.clone();
        Sink::with_run(move |run, event| {
            let run = {
                let mut seen = seen
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                seen.run = run.or(seen.run);
                if let Event::StateChanged { state, .. } = &event {
                    seen.state = Some(state.clone());
                }
                seen.run
            };
            // After the end nobody listens, and nobody needs to.
            drop(sender.send(Message::Event(record(run, event))));
        })
    }

    /// Tells how the run stands.
    pub(crate) fn status(&self, status: StatusRecord) {
        drop(self.sender.send(Message::Status(Box::new(status))));
    }

    /// What the events have told so far.
    pub(crate) fn seen(&self) -> Seen {
        self.seen
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }

    /// Shows what is still queued, clears the bars, and ends.
    pub(crate) fn close(&self) {
        drop(self.sender.send(Message::Finish));
        let thread = self
            .thread
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .take();
        if let Some(thread) = thread {
            // A view that panicked has told so on standard error.
            drop(thread.join());
        }
    }
}

/// An event as a record of this moment.
pub(crate) fn record(run: Option<Uuid>, event: Event) -> Record {
    Record {
        v: EVENT_VERSION,
        at: now(),
        run: run.unwrap_or_default(),
        event,
    }
}

/// This moment, RFC 3339, UTC.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_millis(SystemTime::now()).to_string()
}

/// The run of a record, when it was known.
fn run_of(record: &Record) -> Option<Uuid> {
    (!record.run.is_nil()).then_some(record.run)
}
