//! Reading files: text → tree → checked values → types.
//!
//! Each part of a file is read on its own, so that one slip hides no other:
//! what a broken operation means for the rest is the only thing not said.

use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::diagnostic::{Diagnostic, SourceText, Span};
use super::file::MAX_OPERATIONS;
use super::file::{BackfillFile, GateFile, LimitsFile};
use super::node::{Key, Kind, Node};
use super::operations::Written;
use super::shape::{Checker, ENOUGH, Place, plain_value};
use super::{
    BackfillOptions, Gate, Limits, Located, Origin, Plan, conflicts, formats, node, operations,
    schema, signals,
};
use crate::ops::Operation;
use crate::step::Phase;

/// Reads a plan. The error holds everything that is wrong with the file and
/// can be said without a database, in the file's order; it is never empty.
///
/// `file_name` is used in messages only: nothing is opened.
pub fn load(file_name: &str, text: &str) -> Result<Plan, Vec<Diagnostic>> {
    static SCHEMA: OnceLock<Value> = OnceLock::new();
    let source = SourceText::new(file_name, text);
    let root = node::parse(&source).map_err(|finding| vec![*finding])?;
    let mut sections = Sections::read(&source, &root, SCHEMA.get_or_init(schema));

    let plan_schema: String = sections
        .take("schema")
        .unwrap_or_else(|| "public".to_owned());
    let located = sections.operations(&plan_schema);
    let limits = sections.take("limits");
    let backfill = sections.take("backfill");
    let gates = sections.take::<Vec<GateFile>>("gates");
    check_gates(root.get("gates"), &source, &mut sections.findings);
    check_throttle(root.get("throttle"), &source, &mut sections.findings);
    let plan = Plan {
        plan: sections.take("plan").unwrap_or_default(),
        version: sections.take("version").unwrap_or_default(),
        issue: sections.take("issue"),
        description: sections.take("description"),
        schema: plan_schema,
        limits: limits
            .map(|file: LimitsFile| file.over(Limits::default()))
            .unwrap_or_default(),
        backfill: backfill
            .map(|file: BackfillFile| file.over(BackfillOptions::default()))
            .unwrap_or_default(),
        throttle: super::file::throttle_text(&sections.take("throttle").unwrap_or_default()),
        gates: gates.map_or_else(default_gates, |list| {
            list.iter().map(GateFile::gate).collect()
        }),
        acknowledge: sections.take("acknowledge").unwrap_or_default(),
        operations: located,
        origin: Origin::new(&source, &root),
    };
    sections.finish().map(|()| plan)
}

/// Without the key `gates`: a stop before contract.
fn default_gates() -> Vec<Gate> {
    vec![Gate {
        before: Phase::Contract,
        message: None,
        old_writes_idle: None,
    }]
}

/// A file's top-level keys, each checked on its own.
pub(super) struct Sections<'a> {
    source: &'a SourceText,
    root: &'a Node,
    schema: &'a Value,
    values: std::collections::BTreeMap<String, Option<Value>>,
    pub(super) findings: Vec<Diagnostic>,
}

impl<'a> Sections<'a> {
    pub(super) fn read(source: &'a SourceText, root: &'a Node, schema: &'a Value) -> Self {
        let mut checker = Checker::new(source, schema);
        let values = checker.fields(root);
        Self {
            source,
            root,
            schema,
            values,
            findings: checker.findings,
        }
    }

    /// A section's value, when it is there and passed its checks.
    pub(super) fn take<T: DeserializeOwned>(&mut self, key: &str) -> Option<T> {
        let value = self.values.remove(key)??;
        match serde_json::from_value(value) {
            Ok(value) => Some(value),
            Err(error) => {
                let span = self.root.get(key).map_or(0..0, |node| node.span.clone());
                let finding = self.source.finding(&span, format!("`{key}`: {error}"));
                self.findings.push(finding);
                None
            }
        }
    }

    /// The operations that passed; findings about them are added.
    fn operations(&mut self, plan_schema: &str) -> Vec<Located<Operation>> {
        self.values.remove("operations");
        let Some(list) = self.root.get("operations") else {
            return Vec::new();
        };
        let mut read: Vec<(usize, Key, &Node, Operation)> = Vec::new();
        for (index, item) in list.items().iter().enumerate().take(MAX_OPERATIONS) {
            if self.findings.len() >= ENOUGH {
                break;
            }
            if let Some((key, body, operation)) = self.operation(item) {
                read.push((index, key, body, operation));
            }
        }
        let written: Vec<(usize, Written<'_>)> = read
            .iter()
            .map(|(index, key, body, operation)| {
                let written = Written {
                    operation,
                    key: key.span.clone(),
                    body,
                };
                (*index, written)
            })
            .collect();
        for (_, written) in &written {
            operations::check(written, self.source, &mut self.findings);
        }
        conflicts::check(&written, plan_schema, self.source, &mut self.findings);
        read.into_iter()
            .map(|(_, key, _, operation)| {
                let (line, column) = self.source.position(key.span.start);
                Located {
                    line,
                    column,
                    value: operation,
                }
            })
            .collect()
    }

    /// One operation, when nothing is wrong in it.
    fn operation(&mut self, item: &'a Node) -> Option<(Key, &'a Node, Operation)> {
        // Its findings are known already from the check of the whole list.
        let mut checker = Checker::new(self.source, self.schema);
        let schema = checker.item_schema("operations")?;
        let value = checker.value(item, schema, &Place::root())?;
        let Kind::Map(entries) = &item.kind else {
            return None;
        };
        let (key, body) = entries.first()?;
        match serde_json::from_value(value) {
            Ok(operation) => Some((key.clone(), body, operation)),
            Err(error) => {
                let finding = self
                    .source
                    .finding(&key.span, format!("`{}`: {error}", key.text));
                self.findings.push(finding);
                None
            }
        }
    }

    /// What was found, in the file's order.
    pub(super) fn finish(mut self) -> Result<(), Vec<Diagnostic>> {
        if self.findings.is_empty() {
            return Ok(());
        }
        self.findings
            .sort_by_key(|finding| (finding.line, finding.column));
        self.findings.dedup();
        Err(self.findings)
    }
}

/// What gates may not say, beyond the kinds of their fields.
pub(super) fn check_gates(list: Option<&Node>, source: &SourceText, out: &mut Vec<Diagnostic>) {
    let mut seen: Vec<(&str, Span)> = Vec::new();
    for gate in list.map(Node::items).unwrap_or_default() {
        let Some((phase, place)) = gate
            .get("before")
            .and_then(|node| Some((node.text()?, node.span.clone())))
        else {
            continue;
        };
        if let Some((_, first)) = seen.iter().find(|(other, _)| *other == phase) {
            let finding = source
                .finding(&place, format!("two gates stand before {phase}"))
                .expected("expected one gate before a phase")
                .note(format!("the first one is at {}", source.place(first)));
            out.push(finding);
        }
        if let Some(idle) = gate.get("old_writes_idle")
            && phase == Phase::DualWrite.name()
        {
            let finding = source
                .finding(
                    &idle.span,
                    "`old_writes_idle` cannot be known before dual_write",
                )
                .expected("the triggers that notice old writes come in that phase")
                .help("give it at a gate before backfill, verify or contract");
            out.push(finding);
        }
        seen.push((phase, place));
    }
}

/// What signals may not say, beyond the kinds of their fields.
pub(super) fn check_throttle(node: Option<&Node>, source: &SourceText, out: &mut Vec<Diagnostic>) {
    let Some(Kind::Map(entries)) = node.map(|node| &node.kind) else {
        return;
    };
    for (key, value) in entries {
        let text = signals::stored(&plain_value(value));
        if let Some((field, message, expected)) = signals::check(&key.text, &text) {
            let place = value.get(field).map_or(&key.span, |node| &node.span);
            out.push(source.finding(place, message).expected(expected));
        }
    }
}

impl LimitsFile {
    /// These limits, and `base` where they are silent.
    pub(super) fn over(&self, base: Limits) -> Limits {
        Limits {
            max_lock_duration: time(&self.max_lock_duration).unwrap_or(base.max_lock_duration),
            lock_patience: time(&self.lock_patience).unwrap_or(base.lock_patience),
            max_rows_affected: self.max_rows_affected.or(base.max_rows_affected),
            max_batch_rows: self.max_batch_rows.unwrap_or(base.max_batch_rows),
        }
    }
}

impl BackfillFile {
    /// These options, and `base` where they are silent.
    pub(super) fn over(&self, base: BackfillOptions) -> BackfillOptions {
        BackfillOptions {
            target_batch_time: time(&self.target_batch_time).unwrap_or(base.target_batch_time),
            workers: self.workers.unwrap_or(base.workers),
            nice_ratio: self.nice_ratio.unwrap_or(base.nice_ratio),
            cursor: self.cursor.or(base.cursor),
        }
    }
}

impl GateFile {
    /// The gate it describes.
    pub(super) fn gate(&self) -> Gate {
        Gate {
            before: self.before.into(),
            message: self.message.clone(),
            old_writes_idle: time(&self.old_writes_idle),
        }
    }
}

/// A time that has passed its check.
pub(super) fn time(text: &Option<String>) -> Option<std::time::Duration> {
    formats::time_span(text.as_deref()?).ok()
}
