//! `ceilings`: what no plan may exceed, and what becomes of one that does.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Config, parts};
use crate::plan::diagnostic::{Diagnostic, SourceText, Span};
use crate::plan::file::{CeilingsFile, throttle_text};
use crate::plan::load::time;
use crate::plan::node::Node;
use crate::plan::shape::plain_value;
use crate::plan::{Plan, formats, signals};

/// Sections and keys that ceilings know.
pub(super) const BOUNDS: [(&str, &str); 6] = [
    ("limits", "max_lock_duration"),
    ("limits", "lock_patience"),
    ("limits", "max_rows_affected"),
    ("limits", "max_batch_rows"),
    ("backfill", "target_batch_time"),
    ("backfill", "workers"),
];

/// A bound that ceilings know.
struct Bound {
    key: &'static str,
    section: &'static str,
    ceiling: Option<Amount>,
}

/// A value of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
pub(super) enum Amount {
    Rows(u64),
    Time(Duration),
}

impl Amount {
    /// A value as it is written; `None` when it is neither.
    fn read(node: &Node) -> Option<Self> {
        let text = node.text()?;
        let rows = text.parse().ok().map(Amount::Rows);
        rows.or_else(|| formats::time_span(text).ok().map(Amount::Time))
    }
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Amount::Rows(rows) => rows.fmt(f),
            Amount::Time(time) => humantime::format_duration(*time).fmt(f),
        }
    }
}

fn bounds(file: Option<&CeilingsFile>) -> impl Iterator<Item = Bound> {
    let none = CeilingsFile::default();
    let file = file.unwrap_or(&none);
    let ceilings = [
        time(&file.max_lock_duration).map(Amount::Time),
        time(&file.lock_patience).map(Amount::Time),
        file.max_rows_affected.map(Amount::Rows),
        file.max_batch_rows.map(Amount::Rows),
        time(&file.target_batch_time).map(Amount::Time),
        file.workers.map(|workers| Amount::Rows(u64::from(workers))),
    ];
    BOUNDS
        .into_iter()
        .zip(ceilings)
        .map(|((section, key), ceiling)| Bound {
            key,
            section,
            ceiling,
        })
}

/// The places of a file's ceilings, by key or signal.
pub(super) fn places(root: &Node) -> BTreeMap<&'static str, Span> {
    let highest = root.get("ceilings");
    let bounds = BOUNDS
        .iter()
        .filter_map(|(_, key)| Some((*key, highest?.get(key)?.span.clone())));
    let signals = signals::KNOWN.iter().filter_map(|signal| {
        let node = highest?.get("throttle")?.get(signal.name)?;
        Some((signal.name, node.span.clone()))
    });
    bounds.chain(signals).collect()
}

/// A configuration that exceeds its own ceilings is a slip in one of the two.
pub(super) fn check_own(root: &Node, source: &SourceText, out: &mut Vec<Diagnostic>) {
    for part in parts(root) {
        for (section, key) in BOUNDS {
            let node = part.get(section).and_then(|section| section.get(key));
            let ceiling = root.get("ceilings").and_then(|ceilings| ceilings.get(key));
            let (Some(node), Some(limit)) = (node, ceiling.and_then(Amount::read)) else {
                continue;
            };
            if Amount::read(node).is_some_and(|value| value > limit) {
                let finding = source
                    .finding(
                        &node.span,
                        format!("`{key}` exceeds this file's own ceiling of {limit}"),
                    )
                    .expected(format!("expected at most {limit}"));
                out.push(finding);
            }
        }
        let highest = root
            .get("ceilings")
            .and_then(|ceilings| ceilings.get("throttle"));
        for signal in signals::KNOWN {
            let node = part
                .get("throttle")
                .and_then(|throttle| throttle.get(signal.name));
            let ceiling = highest.and_then(|highest| highest.get(signal.name));
            let (Some(node), Some(ceiling)) = (node, ceiling) else {
                continue;
            };
            let [given, ceiling] = [node, ceiling].map(|node| signals::stored(&plain_value(node)));
            let given = BTreeMap::from([(signal.name.to_owned(), given)]);
            out.extend(
                signals::excesses(&given, signal.name, &ceiling)
                    .into_iter()
                    .filter(|excess| excess.is_said)
                    .map(|excess| {
                        source
                            .finding(&node.span, excess.message)
                            .expected(format!("expected at most {}", excess.ceiling))
                    }),
            );
        }
    }
}

impl Config {
    /// Every ceiling by its path, as text.
    pub(super) fn ceilings(&self) -> BTreeMap<String, String> {
        let values = bounds(self.file.ceilings.as_ref()).filter_map(|bound| {
            let path = format!("{}.{}", bound.section, bound.key);
            Some((path, bound.ceiling?.to_string()))
        });
        let signals = self.signal_ceilings();
        let signals = signals
            .into_iter()
            .map(|(signal, ceiling)| (format!("throttle.{signal}"), ceiling));
        values.chain(signals).collect()
    }

    /// What to do about a value beyond a ceiling, and where that one is set.
    fn beyond(&self, key: &str, ceiling: &str, finding: Diagnostic) -> Diagnostic {
        let finding = finding
            .expected(format!("expected at most {ceiling}"))
            .help("lower it, or run with --force if you answer for it");
        match self.ceilings.get(key) {
            Some(place) => finding.note(format!(
                "the ceiling is set at {}",
                self.source.place(place)
            )),
            None => finding,
        }
    }

    /// Ceilings over signals, as they are written.
    fn signal_ceilings(&self) -> BTreeMap<String, String> {
        let ceilings = self.file.ceilings.as_ref();
        ceilings
            .and_then(|ceilings| ceilings.throttle.as_ref())
            .map(throttle_text)
            .unwrap_or_default()
    }
}

impl Plan {
    /// Lowers what the plan does not say to the ceilings, and tells what it
    /// says beyond them.
    pub(super) fn hold_below(&mut self, config: &Config) -> Vec<Diagnostic> {
        let mut exceeded = Vec::new();
        for bound in bounds(config.file.ceilings.as_ref()) {
            exceeded.extend(self.hold_value_below(&bound, config));
        }
        for (signal, ceiling) in config.signal_ceilings() {
            exceeded.extend(self.hold_signal_below(&signal, &ceiling, config));
        }
        exceeded
    }

    /// Compares one value with its ceiling.
    fn hold_value_below(&mut self, bound: &Bound, config: &Config) -> Option<Diagnostic> {
        let ceiling = bound.ceiling?;
        let value = self.amount(bound.key);
        if value.is_some_and(|value| value <= ceiling) {
            return None;
        }
        let key = format!("{}.{}", bound.section, bound.key);
        let Some(value) = value.filter(|_| self.origin.wrote(&key)) else {
            self.set_amount(bound.key, ceiling);
            return None;
        };
        let message = format!(
            "`{}` of {value} exceeds the ceiling of {ceiling}",
            bound.key
        );
        let finding = self.finding(&key, message);
        Some(config.beyond(bound.key, &ceiling.to_string(), finding))
    }

    /// Compares the limits of one signal with its ceiling.
    fn hold_signal_below(
        &mut self,
        signal: &str,
        ceiling: &str,
        config: &Config,
    ) -> Vec<Diagnostic> {
        let mut exceeded = Vec::new();
        for excess in signals::excesses(&self.throttle, signal, ceiling) {
            if excess.is_said {
                let finding = self.finding(&format!("throttle.{signal}"), excess.message);
                exceeded.push(config.beyond(signal, &excess.ceiling, finding));
            } else {
                // It is a signal's limit, in its unit: it was read as one.
                let held = signals::change(&mut self.throttle, &excess.key, &excess.ceiling);
                debug_assert!(held.is_ok(), "{held:?}");
            }
        }
        exceeded
    }

    pub(super) fn amount(&self, key: &str) -> Option<Amount> {
        match key {
            "max_lock_duration" => Some(Amount::Time(self.limits.max_lock_duration)),
            "lock_patience" => Some(Amount::Time(self.limits.lock_patience)),
            "max_rows_affected" => self.limits.max_rows_affected.map(Amount::Rows),
            "max_batch_rows" => Some(Amount::Rows(self.limits.max_batch_rows)),
            "target_batch_time" => Some(Amount::Time(self.backfill.target_batch_time)),
            "workers" => Some(Amount::Rows(u64::from(self.backfill.workers))),
            _ => None,
        }
    }

    fn set_amount(&mut self, key: &str, amount: Amount) {
        match (key, amount) {
            ("max_lock_duration", Amount::Time(time)) => self.limits.max_lock_duration = time,
            ("lock_patience", Amount::Time(time)) => self.limits.lock_patience = time,
            ("max_rows_affected", Amount::Rows(rows)) => self.limits.max_rows_affected = Some(rows),
            ("max_batch_rows", Amount::Rows(rows)) => self.limits.max_batch_rows = rows,
            ("target_batch_time", Amount::Time(time)) => self.backfill.target_batch_time = time,
            ("workers", Amount::Rows(workers)) => {
                self.backfill.workers = u32::try_from(workers).unwrap_or(u32::MAX);
            }
            _ => {}
        }
    }
}
