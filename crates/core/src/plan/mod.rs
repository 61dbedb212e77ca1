//! Plans: what a person wants, as typed data with the places it came from.
//!
//! A file is read in four strides. [`node`] makes a tree of the YAML that
//! remembers where everything stands; [`shape`] holds the tree against the
//! JSON Schema that is derived from [`mod@file`] and the operations, key by key;
//! [`operations`] and [`conflicts`] judge what a schema cannot say; and only
//! what passed becomes a [`Plan`]. Every finding is a [`Diagnostic`] that
//! points at the exact field, and all of a file's findings come at once.
//!
//! Nothing here knows a database: whether a table, a type or a function
//! exists is asked later, by lowering.

pub mod config;
mod conflicts;
mod diagnostic;
pub mod file;
pub mod folder;
mod formats;
mod hash;
mod load;
mod node;
mod operations;
mod schema;
mod shape;
pub mod signals;
pub(crate) mod sql_text;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::ops::Operation;
use crate::step::{CursorKind, Phase};

pub use config::{Ceilings, Config};
pub(crate) use conflicts::{Mentions, Role, TableUse};
pub use diagnostic::{Diagnostic, render_all};
pub(crate) use file::time as time_span;
pub use formats::time_span as parse_duration;
pub use hash::{describe_change, operations_hash, operations_json};
pub use load::load;
pub(crate) use operations::{Check, Declare, columns};
pub use schema::{config_schema, schema};

use diagnostic::{SourceText, Span};
use node::{Kind, Node};

/// A plan that has passed every check that needs no database.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Its name, unique per version.
    pub plan: String,
    /// Digits; orders plans.
    pub version: String,
    /// The ticket it belongs to.
    pub issue: Option<String>,
    /// One or two sentences.
    pub description: Option<String>,
    /// The schema of unqualified names.
    pub schema: String,
    /// Bounds on what a run may do.
    pub limits: Limits,
    /// How rows are changed.
    pub backfill: BackfillOptions,
    /// Signals and their limits, by name, as written.
    pub throttle: BTreeMap<String, String>,
    /// Where the run stops for approval. Without the key: before contract.
    pub gates: Vec<Gate>,
    /// Effects the author accepts: `publication:NAME`, `trigger:NAME`, `standby`.
    pub acknowledge: Vec<String>,
    /// In the author's order.
    pub operations: Vec<Located<Operation>>,
    /// Where its bounds were written.
    pub origin: Origin,
}

/// Which keys outside its operations a plan wrote itself, and where. Empty for a plan that was made in code: its values then
/// count as defaults.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    source: SourceText,
    spans: BTreeMap<String, Span>,
    /// Who said what holds, by path (`limits.max_batch_rows`): see
    /// [`Origin::settings`].
    settings: BTreeMap<String, String>,
    /// Ceilings by path, as they are written.
    ceilings: BTreeMap<String, String>,
    /// Somebody answered for passing the ceilings.
    forced: bool,
}

impl Origin {
    fn new(source: &SourceText, root: &Node) -> Self {
        let mut spans = BTreeMap::new();
        let keys = ["plan", "version", "limits", "backfill", "throttle", "gates"];
        for section in keys {
            let Some(node) = root.get(section) else {
                continue;
            };
            spans.insert(section.to_owned(), node.span.clone());
            if let Kind::Map(entries) = &node.kind {
                for (key, value) in entries {
                    spans.insert(format!("{section}.{}", key.text), value.span.clone());
                }
            }
        }
        Self {
            source: source.clone(),
            spans,
            ..Self::default()
        }
    }

    /// Did the plan write this key? `limits.max_lock_duration`, `gates`.
    pub fn wrote(&self, key: &str) -> bool {
        self.spans.contains_key(key)
    }

    /// For each limit, backfill option and signal that somebody spoke of, by
    /// its path: `plan`, `pontoon.yaml`, `environment NAME` or `ceiling`.
    /// Empty before [`Plan::effective`].
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    /// The ceilings that held for the plan, by path. Empty before
    /// [`Plan::effective`].
    pub fn ceilings(&self) -> &BTreeMap<String, String> {
        &self.ceilings
    }

    /// May what is set pass the ceilings?
    pub fn is_forced(&self) -> bool {
        self.forced
    }
}

impl Plan {
    /// A finding about this plan that its own text did not show, at the place
    /// of one of its keys (`plan`, `version`, `limits.max_batch_rows`, …), or at
    /// the file's beginning.
    pub fn finding(&self, key: &str, message: impl Into<String>) -> Diagnostic {
        let span = self.origin.spans.get(key).cloned().unwrap_or(0..0);
        self.origin.source.finding(&span, message)
    }
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Located<T> {
    /// 1-based line; 0 when unknown.
    pub line: u32,
    /// 1-based column in characters; 0 when unknown.
    pub column: u32,
    /// The value.
    pub value: T,
}

/// Bounds on what a run may do to the application.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// From queueing for a lock to releasing it.
    pub max_lock_duration: Duration,
    /// How long a step may wait for a moment without conflicting locks.
    pub lock_patience: Duration,
    /// Rows changed in the whole run; `None`: no limit.
    pub max_rows_affected: Option<u64>,
    /// Rows changed in one transaction.
    pub max_batch_rows: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_lock_duration: Duration::from_millis(500),
            lock_patience: Duration::from_secs(30 * 60),
            max_rows_affected: None,
            max_batch_rows: 10_000,
        }
    }
}

/// The most workers of a process.
pub const MOST_WORKERS: u32 = 64;
/// The highest `nice_ratio`.
pub const MOST_NICE: u32 = 100;

/// How rows are changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackfillOptions {
    /// What a batch's execution time should approach.
    pub target_batch_time: Duration,
    /// Ranges changed at the same time by one process.
    pub workers: u32,
    /// While the application is at work, batches are short and each worker
    /// rests this many times as long as each took; 0: it never yields.
    pub nice_ratio: u32,
    /// `None`: chosen per table.
    pub cursor: Option<CursorKind>,
}

impl Default for BackfillOptions {
    fn default() -> Self {
        Self {
            target_batch_time: Duration::from_millis(200),
            workers: 1,
            nice_ratio: 32,
            cursor: None,
        }
    }
}

/// A durable stop.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// The phase it stands before; also its name in `approve RUN GATE`.
    pub before: Phase,
    /// What the approver should know.
    pub message: Option<String>,
    /// A condition beside approval: no old-version write for this long.
    pub old_writes_idle: Option<Duration>,
}
