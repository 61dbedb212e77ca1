//! What the two files may hold, as it is written.
//!
//! These types are the one declaration of the language: the JSON Schema that
//! `pontoon schema` prints is derived from them and from the operations, the
//! reader checks a file against that same schema, and their comments are what
//! an editor shows. What the words mean is in [`super::Plan`].

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;

use super::signals::{KNOWN, Unit};
use crate::ops::Operation;
use crate::step::{CursorKind, Phase};

/// One change of a schema: what shall be, and within which bounds.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// The plan's name.
    #[schemars(extend("format" = "plan-name"))]
    pub plan: String,
    /// Digits, quoted or not, that order plans: a date and time, or a number.
    #[schemars(schema_with = "digits")]
    pub version: String,
    /// The ticket it belongs to.
    #[serde(default)]
    #[schemars(schema_with = "word")]
    pub issue: Option<String>,
    /// One or two sentences for whoever reads it later.
    #[serde(default)]
    pub description: Option<String>,
    /// The schema of tables that are named without one. Default: public.
    #[serde(default)]
    #[schemars(extend("format" = "schema-name"))]
    pub schema: Option<String>,
    /// Bounds on what a run may do to the application.
    #[serde(default)]
    pub limits: Option<LimitsFile>,
    /// How rows are changed.
    #[serde(default)]
    pub backfill: Option<BackfillFile>,
    /// Signals and the readings at which work is held.
    #[serde(default)]
    #[schemars(schema_with = "throttle")]
    pub throttle: Option<BTreeMap<String, serde_json::Value>>,
    /// Where the run stops for approval. Default: before contract; `[]` runs
    /// straight through.
    #[serde(default)]
    pub gates: Option<Vec<GateFile>>,
    /// Effects that the author accepts: `publication:NAME` (its subscribers
    /// will see the new columns), `trigger:NAME` (it will fire for every
    /// changed row), `standby` (its readers may be stopped).
    #[serde(default)]
    #[schemars(schema_with = "acknowledgements")]
    pub acknowledge: Vec<String>,
    /// What shall be done, in this order.
    #[schemars(length(min = 1))]
    pub operations: Vec<Operation>,
}

/// Bounds on what a run may do to the application.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LimitsFile {
    /// The longest time for which a statement of the application may wait for
    /// us, from queueing for a lock to releasing it. Default: 500ms.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub max_lock_duration: Option<String>,
    /// How long a step may wait for a moment without conflicting locks before
    /// the run pauses. Default: 30m.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub lock_patience: Option<String>,
    /// The most rows that the whole run may change. Default: no limit.
    #[serde(default)]
    #[schemars(schema_with = "count")]
    pub max_rows_affected: Option<u64>,
    /// The most rows that one transaction may change. Default: 10000.
    #[serde(default)]
    #[schemars(schema_with = "count")]
    pub max_batch_rows: Option<u64>,
}

/// How rows are changed.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BackfillFile {
    /// What the execution time of a batch should approach. Default: 200ms.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub target_batch_time: Option<String>,
    /// Ranges that one process changes at the same time. Default: 1.
    #[serde(default)]
    #[schemars(schema_with = "workers")]
    pub workers: Option<u32>,
    /// The way through a table. Default: chosen for each table.
    #[serde(default)]
    pub cursor: Option<CursorKind>,
}

/// A durable stop: the run waits there for `pontoon approve`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct GateFile {
    /// The phase it stands before; also its name in `pontoon approve`.
    pub before: GatePhase,
    /// What the approver should know.
    #[serde(default)]
    pub message: Option<String>,
    /// A condition beside approval: no write of the old version for this long.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub old_writes_idle: Option<String>,
}

/// The phases that a gate may stand before. Nothing happens before `expand`:
/// who wants to stop there does not start the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GatePhase {
    /// Before the triggers are installed.
    DualWrite,
    /// Before rows are changed.
    Backfill,
    /// Before both shapes are compared.
    Verify,
    /// Before the old shape is taken away.
    Contract,
}

impl From<GatePhase> for Phase {
    fn from(phase: GatePhase) -> Self {
        match phase {
            GatePhase::DualWrite => Phase::DualWrite,
            GatePhase::Backfill => Phase::Backfill,
            GatePhase::Verify => Phase::Verify,
            GatePhase::Contract => Phase::Contract,
        }
    }
}

/// `pontoon.yaml`: where plans run, and what no plan may do.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfigFile {
    /// What plans leave unsaid.
    #[serde(default)]
    pub defaults: Option<DefaultsFile>,
    /// What no plan may exceed without `--force`.
    #[serde(default)]
    pub ceilings: Option<CeilingsFile>,
    /// The places where plans run, chosen by `--env`.
    #[serde(default)]
    pub environments: BTreeMap<String, EnvironmentFile>,
}

/// What plans leave unsaid.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DefaultsFile {
    /// For the plan's `limits`.
    #[serde(default)]
    pub limits: Option<LimitsFile>,
    /// For the plan's `backfill`.
    #[serde(default)]
    pub backfill: Option<BackfillFile>,
    /// For the plan's `throttle`.
    #[serde(default)]
    #[schemars(schema_with = "throttle")]
    pub throttle: Option<BTreeMap<String, serde_json::Value>>,
    /// For a plan without `gates`.
    #[serde(default)]
    pub gates: Option<Vec<GateFile>>,
}

/// What no plan may exceed without `--force`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CeilingsFile {
    /// The highest `limits: {max_lock_duration}`.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub max_lock_duration: Option<String>,
    /// The highest `limits: {lock_patience}`.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub lock_patience: Option<String>,
    /// The highest `limits: {max_rows_affected}`.
    #[serde(default)]
    #[schemars(schema_with = "count")]
    pub max_rows_affected: Option<u64>,
    /// The highest `limits: {max_batch_rows}`.
    #[serde(default)]
    #[schemars(schema_with = "count")]
    pub max_batch_rows: Option<u64>,
    /// The highest `backfill: {target_batch_time}`.
    #[serde(default)]
    #[schemars(schema_with = "time")]
    pub target_batch_time: Option<String>,
    /// The highest `backfill: {workers}`.
    #[serde(default)]
    #[schemars(schema_with = "workers")]
    pub workers: Option<u32>,
}

/// A place where plans run.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnvironmentFile {
    /// The environment variable that holds the database's URL.
    #[serde(default)]
    #[schemars(extend("format" = "environment-variable"))]
    pub url_env: Option<String>,
    /// Where a plan has a limit too, the lower one holds.
    #[serde(default)]
    pub limits: Option<LimitsFile>,
    /// Each signal named here takes the place of the plan's.
    #[serde(default)]
    #[schemars(schema_with = "throttle")]
    pub throttle: Option<BTreeMap<String, serde_json::Value>>,
    /// Takes the place of the plan's gates.
    #[serde(default)]
    pub gates: Option<Vec<GateFile>>,
}

/// Limits of signals as they were written.
pub(super) fn throttle_text(
    limits: BTreeMap<String, serde_json::Value>,
) -> BTreeMap<String, String> {
    limits
        .into_iter()
        .map(|(signal, limit)| match limit {
            serde_json::Value::String(text) => (signal, text),
            number => (signal, number.to_string()),
        })
        .collect()
}

fn digits(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "integer"], "format": "digits", "pattern": "^[0-9]{1,100}$", "minimum": 0})
}

fn word(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": ["string", "integer"]})
}

fn time(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "string",
        "format": "time-span",
        "pattern": "^ *[0-9.]+ *[A-Za-zµ]+( *[0-9.]+ *[A-Za-zµ]+)* *$",
        "examples": ["500ms", "10s", "30m"],
    })
}

fn count(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1})
}

fn workers(_: &mut SchemaGenerator) -> Schema {
    json_schema!({"type": "integer", "minimum": 1, "maximum": 64})
}

fn acknowledgements(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "format": "acknowledgement"},
        "uniqueItems": true,
    })
}

fn throttle(generator: &mut SchemaGenerator) -> Schema {
    let mut properties = serde_json::Map::new();
    for signal in KNOWN {
        let mut schema = match signal.unit {
            Unit::Count => count(generator),
            Unit::Time => time(generator),
        };
        let about = format!("{} Default: {}.", signal.about, signal.default);
        schema.insert("description".into(), about.into());
        properties.insert(signal.name.to_owned(), schema.into());
    }
    json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
}
