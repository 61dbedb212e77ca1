//! The persisted forms, apart from the runtime ones and versioned.
//!
//! A newer binary reads what an older one wrote (missing fields have
//! defaults) and refuses what a newer one wrote where it would act on it;
//! fields it does not know are skipped. Durations are milliseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use pontoon_core::plan::{BackfillOptions, Gate, Limits};
use pontoon_core::step::{CursorKind, Phase, Step, WIRE_VERSION};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::db::{
    Base, DbError, ErrorKind, Holder, NewRun, RunState, Settings, StepState, StoredError,
    WorkerRecord,
};
use crate::event::{EVENT_VERSION, Event};

/// `run.definition`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireRun {
    pub(super) wire: u32,
    pub(super) operations: Value,
    pub(super) operations_hash: String,
    pub(super) program_hash: String,
    pub(super) system_identifier: String,
    pub(super) catalog_fingerprint: String,
}

impl WireRun {
    pub(super) fn of(run: &NewRun) -> Self {
        Self {
            wire: WIRE_VERSION,
            operations: run.operations.clone(),
            operations_hash: run.operations_hash.clone(),
            program_hash: run.program_hash.clone(),
            system_identifier: run.system_identifier.clone(),
            catalog_fingerprint: run.catalog_fingerprint.clone(),
        }
    }
}

/// `step.definition`: the instruction with the SQL that was shown for it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct WireStep {
    pub(super) wire: u32,
    /// Core versions the step's own form with the same number.
    pub(crate) step: Step,
    /// Forward.
    #[serde(default)]
    pub(crate) sql: Vec<String>,
    /// For each action of its undo.
    #[serde(default)]
    pub(crate) undo_sql: Vec<Vec<String>>,
}

impl WireStep {
    pub(super) fn of(step: &Step, sql: Vec<String>, undo_sql: Vec<Vec<String>>) -> Self {
        Self {
            wire: WIRE_VERSION,
            step: step.clone(),
            sql,
            undo_sql,
        }
    }
}

/// `run.settings`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WireSettings {
    pub(super) wire: u32,
    max_lock_ms: Option<u64>,
    lock_patience_ms: Option<u64>,
    max_rows_affected: Option<u64>,
    max_batch_rows: Option<u64>,
    target_batch_ms: Option<u64>,
    workers: Option<u32>,
    nice_ratio: Option<u32>,
    cursor: Option<CursorKind>,
    throttle: BTreeMap<String, String>,
    gates: Vec<WireGate>,
}

#[derive(Debug, Serialize, Deserialize)]
struct WireGate {
    before: Phase,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    old_writes_idle_ms: Option<u64>,
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl WireSettings {
    pub(super) fn of(settings: &Settings) -> Self {
        let Settings {
            limits,
            backfill,
            throttle,
            gates,
        } = settings;
        Self {
            wire: WIRE_VERSION,
            max_lock_ms: Some(millis(limits.max_lock_duration)),
            lock_patience_ms: Some(millis(limits.lock_patience)),
            max_rows_affected: limits.max_rows_affected,
            max_batch_rows: Some(limits.max_batch_rows),
            target_batch_ms: Some(millis(backfill.target_batch_time)),
            workers: Some(backfill.workers),
            nice_ratio: Some(backfill.nice_ratio),
            cursor: backfill.cursor,
            throttle: throttle.clone(),
            gates: gates
                .iter()
                .map(|gate| WireGate {
                    before: gate.before,
                    message: gate.message.clone(),
                    old_writes_idle_ms: gate.old_writes_idle.map(millis),
                })
                .collect(),
        }
    }

    /// What is missing (an older writer) is what a plan that is silent gets.
    pub(super) fn read(self) -> Settings {
        let limits = Limits::default();
        let backfill = BackfillOptions::default();
        let or = |ms: Option<u64>, default| ms.map_or(default, Duration::from_millis);
        Settings {
            limits: Limits {
                max_lock_duration: or(self.max_lock_ms, limits.max_lock_duration),
                lock_patience: or(self.lock_patience_ms, limits.lock_patience),
                max_rows_affected: self.max_rows_affected,
                max_batch_rows: self.max_batch_rows.unwrap_or(limits.max_batch_rows),
            },
            backfill: BackfillOptions {
                target_batch_time: or(self.target_batch_ms, backfill.target_batch_time),
                workers: self.workers.unwrap_or(backfill.workers),
                nice_ratio: self.nice_ratio.unwrap_or(backfill.nice_ratio),
                cursor: self.cursor,
            },
            throttle: self.throttle,
            gates: self
                .gates
                .into_iter()
                .map(|gate| Gate {
                    before: gate.before,
                    message: gate.message,
                    old_writes_idle: gate.old_writes_idle_ms.map(Duration::from_millis),
                })
                .collect(),
        }
    }
}

/// `run.base`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WireBase {
    pub(super) wire: u32,
    settings: WireSettings,
    origins: BTreeMap<String, String>,
    ceilings: BTreeMap<String, String>,
    forced: bool,
}

impl WireBase {
    pub(super) fn of(base: &Base) -> Self {
        Self {
            wire: WIRE_VERSION,
            settings: WireSettings::of(&base.settings),
            origins: base.origins.clone(),
            ceilings: base.ceilings.clone(),
            forced: base.forced,
        }
    }

    pub(super) fn read(self) -> Base {
        Base {
            settings: self.settings.read(),
            origins: self.origins,
            ceilings: self.ceilings,
            forced: self.forced,
        }
    }
}

/// A row of `worker`, as runs are read with it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct WireWorker {
    holder: WireHolder,
    joined_at: String,
    ranges: Option<Vec<String>>,
    live: Option<Value>,
}

impl WireWorker {
    pub(super) fn read(self) -> WorkerRecord {
        WorkerRecord {
            holder: self.holder.read(),
            joined_at: self.joined_at,
            ranges: self.ranges.unwrap_or_default(),
            // A newer worker may tell things that this binary cannot read.
            live: self
                .live
                .and_then(|live| serde_json::from_value(live).ok())
                .unwrap_or_default(),
        }
    }
}

/// `lease.holder`.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct WireHolder {
    pub(super) host: String,
    pub(super) pid: u32,
    pub(super) boot: String,
    pub(super) user: String,
}

impl WireHolder {
    pub(super) fn of(holder: &Holder) -> Self {
        let Holder {
            host,
            pid,
            boot,
            user,
        } = holder.clone();
        Self {
            host,
            pid,
            boot,
            user,
        }
    }

    pub(super) fn read(self) -> Holder {
        let Self {
            host,
            pid,
            boot,
            user,
        } = self;
        Holder {
            host,
            pid,
            boot,
            user,
        }
    }
}

/// `run.error`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireError {
    #[serde(default)]
    code: String,
    message: String,
    #[serde(default)]
    hint: Option<String>,
}

impl WireError {
    pub(super) fn of(error: &StoredError) -> Self {
        let StoredError {
            code,
            message,
            hint,
        } = error.clone();
        Self {
            code,
            message,
            hint,
        }
    }

    pub(super) fn read(self) -> StoredError {
        StoredError {
            code: self.code,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// `event.event`, written.
#[derive(Serialize)]
struct WireEvent<'a> {
    v: u32,
    #[serde(flatten)]
    event: &'a Event,
}

/// An event as it is stored.
pub(crate) fn event_value(event: &Event) -> Result<Value, DbError> {
    to_value(
        &WireEvent {
            v: EVENT_VERSION,
            event,
        },
        "event",
    )
}

/// An event as it was stored. One that a newer binary wrote, and this one
/// does not know, becomes a warning that names it: history is for people.
pub(super) fn read_event(value: Value) -> Event {
    let name = value
        .get("event")
        .and_then(Value::as_str)
        .unwrap_or("?")
        .to_owned();
    serde_json::from_value(value).unwrap_or_else(|_| Event::Warning {
        message: format!("An event that this version of Pontoon does not know: {name}."),
    })
}

/// Serializes one of the types above.
pub(crate) fn to_value<T: Serialize>(value: &T, what: &str) -> Result<Value, DbError> {
    serde_json::to_value(value)
        .map_err(|error| DbError::new(ErrorKind::Internal, format!("write a {what}: {error}")))
}

/// Reads one of the types above. A `wire` above ours is refused by name: the
/// form may mean something that this binary does not know.
pub(crate) fn from_value<T: DeserializeOwned>(value: Value, what: &str) -> Result<T, DbError> {
    let wire = value.get("wire").and_then(Value::as_u64).unwrap_or(0);
    if wire > u64::from(WIRE_VERSION) {
        return Err(DbError::new(
            ErrorKind::Refused,
            format!("The stored {what} was written by a newer Pontoon (wire {wire}, this binary knows {WIRE_VERSION})"),
        )
        .hint("Use the newer binary."));
    }
    serde_json::from_value(value).map_err(|error| {
        DbError::new(
            ErrorKind::Internal,
            format!("read a stored {what}: {error}"),
        )
    })
}

/// The stored word of a state, read back.
pub(super) fn run_state(name: &str) -> Result<RunState, DbError> {
    word(name, "run state")
}

/// The stored word of a state, read back.
pub(super) fn step_state(name: &str) -> Result<StepState, DbError> {
    word(name, "step state")
}

/// The stored word of a phase, read back.
pub(super) fn phase(name: &str) -> Result<Phase, DbError> {
    word(name, "phase")
}

fn word<T: DeserializeOwned>(name: &str, what: &str) -> Result<T, DbError> {
    from_value(Value::String(name.to_owned()), what)
}

/// The word under which a step's state is stored.
pub(crate) fn step_state_name(state: StepState) -> &'static str {
    match state {
        StepState::Pending => "pending",
        StepState::Running => "running",
        StepState::Done => "done",
        StepState::Undone => "undone",
    }
}

#[cfg(test)]
mod tests {
    use pontoon_core::step::{Action, SqlText, Undo};
    use serde_json::json;

    use super::*;

    #[test]
    fn settings_survive_the_store() {
        let settings = Settings {
            limits: Limits {
                max_rows_affected: Some(7),
                ..Limits::default()
            },
            backfill: BackfillOptions::default(),
            throttle: BTreeMap::from([("replication_lag".into(), "10s".into())]),
            gates: vec![Gate {
                before: Phase::Contract,
                message: Some("app 4.2".into()),
                old_writes_idle: Some(Duration::from_secs(900)),
            }],
        };
        let value = to_value(&WireSettings::of(&settings), "settings").expect("serializes");
        let read: WireSettings = from_value(value, "settings").expect("reads");
        assert_eq!(read.read(), settings);
    }

    #[test]
    fn an_older_writer_left_fields_out_and_a_newer_one_added_some() {
        let old: WireSettings = from_value(json!({"workers": 3}), "settings").expect("reads");
        let settings = old.read();
        assert_eq!(settings.backfill.workers, 3);
        assert_eq!(settings.limits, Limits::default());

        let step = json!({
            "wire": 1,
            "added_later": [1, 2],
            "step": {
                "no": 1, "phase": "expand", "name": "run SQL", "operations": [0], "extra": true,
                "action": {"kind": "sql", "text": "SELECT 1", "more": null},
                "undo": {"undo": "nothing"}
            }
        });
        let step: WireStep = from_value(step, "step").expect("reads");
        assert_eq!(
            step.step.action,
            Action::Sql(SqlText {
                text: "SELECT 1".into()
            })
        );
        assert_eq!(step.step.undo, Undo::Nothing);
        assert!(step.sql.is_empty());

        let holder: WireHolder =
            from_value(json!({"host": "a", "pid": 4, "rank": 1}), "holder").expect("reads");
        assert_eq!(holder.read().host, "a");
    }

    #[test]
    fn a_newer_wire_is_refused_where_it_would_be_acted_upon() {
        let error = from_value::<WireStep>(json!({"wire": 2}), "step").expect_err("is newer");
        assert_eq!(error.kind, ErrorKind::Refused);
    }

    #[test]
    fn an_unknown_event_is_shown_by_name() {
        let Event::Warning { message } = read_event(json!({"v": 9, "event": "moon_landed"})) else {
            panic!("expected a warning");
        };
        assert!(message.contains("moon_landed"));
    }

    #[test]
    fn an_event_survives_the_store() {
        let event = Event::PhaseStarted {
            phase: Phase::Backfill,
        };
        assert_eq!(read_event(event_value(&event).expect("serializes")), event);
    }

    #[test]
    fn state_words_match_their_stored_names() {
        for state in [
            StepState::Pending,
            StepState::Running,
            StepState::Done,
            StepState::Undone,
        ] {
            assert_eq!(step_state(step_state_name(state)).expect("is known"), state);
        }
        for state in [
            RunState::Pending,
            RunState::Running,
            RunState::Waiting,
            RunState::Paused,
            RunState::Failed,
            RunState::RollingBack,
            RunState::RolledBack,
            RunState::Completed,
        ] {
            assert_eq!(run_state(state.name()).expect("is known"), state);
        }
    }
}
