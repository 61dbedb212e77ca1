//! JSON lines: `{v, at, run, event, …}`, status records among them, and last
//! `{event: "exit", code, state}`.

use std::sync::Arc;

use pontoon_engine::event::{EVENT_VERSION, Record};
use pontoon_engine::status::StatusRecord;
use serde::Serialize;
use uuid::Uuid;

use super::{View, run_of};
use crate::error::ErrorRecord;
use crate::output::Output;

pub(super) struct Json {
    output: Arc<Output>,
}

impl Json {
    pub(super) fn new(output: Arc<Output>) -> Self {
        Self { output }
    }
}

impl View for Json {
    fn event(&mut self, record: &Record) {
        match (run_of(record), serde_json::to_value(record)) {
            // Nobody knows the run yet.
            (None, Ok(mut line)) => {
                line["run"] = serde_json::Value::Null;
                self.output.json(&line);
            }
            _ => self.output.json(record),
        }
    }

    fn status(&mut self, status: &StatusRecord) {
        self.output.json(&status_line(status));
    }
}

/// A status record as a line among events.
#[derive(Serialize)]
struct StatusLine<'a> {
    v: u32,
    at: String,
    event: &'static str,
    /// Holds `run` among its fields.
    #[serde(flatten)]
    status: &'a StatusRecord,
}

/// A status record as a line among events, at this moment.
fn status_line(status: &StatusRecord) -> StatusLine<'_> {
    StatusLine {
        v: EVENT_VERSION,
        at: super::now(),
        event: "status",
        status,
    }
}

/// A line about something beside a run.
#[derive(Serialize)]
pub(crate) struct Line<T> {
    v: u32,
    at: String,
    run: Option<Uuid>,
    event: &'static str,
    #[serde(flatten)]
    body: T,
}

impl<T: Serialize> Line<T> {
    /// The line of this moment.
    pub(crate) fn new(event: &'static str, run: Option<Uuid>, body: T) -> Self {
        Self {
            v: EVENT_VERSION,
            at: super::now(),
            run,
            event,
            body,
        }
    }
}

/// The last line.
#[derive(Serialize)]
pub(crate) struct Exit {
    v: u32,
    at: String,
    run: Option<Uuid>,
    event: &'static str,
    code: u8,
    state: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ErrorRecord>,
}

impl Exit {
    /// The last line of a sitting that ended with this code.
    pub(crate) fn new(
        run: Option<Uuid>,
        code: u8,
        state: Option<String>,
        error: Option<ErrorRecord>,
    ) -> Self {
        Self {
            v: EVENT_VERSION,
            at: super::now(),
            run,
            event: "exit",
            code,
            state,
            error,
        }
    }
}
