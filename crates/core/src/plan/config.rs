//! `pontoon.yaml`: the places where plans run, and what no plan may exceed.
//!
//! One plan serves every environment. What holds in the end is found key by
//! key: Pontoon's own value, then the file's `defaults`, then the plan's own
//! words. Over them stands the environment: of two limits the lower one holds,
//! its signals and gates take the place of the plan's. `ceilings` bound the
//! result: a plan that names more is refused, one that names nothing is held
//! at the ceiling.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use super::diagnostic::{Diagnostic, SourceText, Span, similar};
use super::file::{
    CeilingsFile, ConfigFile, DefaultsFile, EnvironmentFile, GateFile, throttle_text,
};
use super::load::{Sections, check_gates, check_throttle, time};
use super::node::{self, Kind, Node};
use super::shape::plain_value;
use super::{BackfillOptions, Gate, Limits, Plan, signals};

/// A configuration that has passed every check.
#[derive(Clone, Debug, Default)]
pub struct Config {
    file: ConfigFile,
    source: SourceText,
    /// The places of ceilings, by key or signal.
    ceilings: BTreeMap<&'static str, Span>,
    /// The place of the key `environments`.
    environments: Span,
}

/// What becomes of a plan that exceeds a ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ceilings {
    /// It is refused.
    Hold,
    /// Somebody said `--force`: its own values hold.
    Exceed,
}

/// A bound that ceilings know.
struct Bound {
    key: &'static str,
    section: &'static str,
    ceiling: Option<Amount>,
}

/// A value of a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Amount {
    Rows(u64),
    Time(Duration),
}

impl Amount {
    /// A value as it is written; `None` when it is neither.
    fn read(node: &Node) -> Option<Self> {
        let text = node.text()?;
        let rows = text.parse().ok().map(Amount::Rows);
        rows.or_else(|| super::formats::time_span(text).ok().map(Amount::Time))
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

impl Config {
    /// Reads a configuration. The error holds everything that is wrong with
    /// it, in the file's order, and is never empty. An empty file is an empty
    /// configuration. `file_name` is used in messages only.
    pub fn load(file_name: &str, text: &str) -> Result<Self, Vec<Diagnostic>> {
        static SCHEMA: OnceLock<Value> = OnceLock::new();
        let source = SourceText::new(file_name, text);
        let only_comments = text.lines().all(|line| {
            let line = line.trim();
            line.is_empty() || line.starts_with('#')
        });
        if only_comments {
            return Ok(Self::default());
        }
        let root = node::parse(&source).map_err(|finding| vec![*finding])?;
        let mut sections = Sections::read(&source, &root, SCHEMA.get_or_init(super::config_schema));
        let file = ConfigFile {
            defaults: sections.take("defaults"),
            ceilings: sections.take("ceilings"),
            environments: sections.take("environments").unwrap_or_default(),
        };
        for part in parts(&root) {
            check_gates(part.get("gates"), &source, &mut sections.findings);
            check_throttle(part.get("throttle"), &source, &mut sections.findings);
        }
        check_own_ceilings(&root, &source, &mut sections.findings);
        sections.finish()?;
        let highest = root.get("ceilings");
        let bounds = BOUNDS
            .iter()
            .filter_map(|(_, key)| Some((*key, highest?.get(key)?.span.clone())));
        let signals = signals::KNOWN.iter().filter_map(|signal| {
            let node = highest?.get("throttle")?.get(signal.name)?;
            Some((signal.name, node.span.clone()))
        });
        let ceilings = bounds.chain(signals).collect();
        let environments = root
            .entry("environments")
            .map_or(0..0, |(key, _)| key.span.clone());
        Ok(Self {
            file,
            source,
            ceilings,
            environments,
        })
    }

    /// The names of its environments, sorted.
    pub fn environments(&self) -> impl Iterator<Item = &str> {
        self.file.environments.keys().map(String::as_str)
    }

    /// The environment variable that holds an environment's URL.
    pub fn url_env(&self, env: &str) -> Option<&str> {
        self.file.environments.get(env)?.url_env.as_deref()
    }

    /// The environment variable that holds the URL of an environment's server
    /// itself, where the other one leads to a pooler.
    pub fn direct_url_env(&self, env: &str) -> Option<&str> {
        self.file.environments.get(env)?.direct_url_env.as_deref()
    }

    /// The environment variable that holds the URLs of an environment's
    /// standbys.
    pub fn replica_urls_env(&self, env: &str) -> Option<&str> {
        self.file.environments.get(env)?.replica_urls_env.as_deref()
    }

    /// Ceilings over signals, as they are written.
    fn signal_ceilings(&self) -> BTreeMap<String, String> {
        let ceilings = self.file.ceilings.as_ref();
        ceilings
            .and_then(|ceilings| ceilings.throttle.as_ref())
            .map(throttle_text)
            .unwrap_or_default()
    }

    /// The environment of that name; `None` stands for no environment at all.
    fn environment(&self, env: Option<&str>) -> Result<Option<&EnvironmentFile>, Box<Diagnostic>> {
        let Some(name) = env else {
            return Ok(None);
        };
        self.file.environments.get(name).map(Some).ok_or_else(|| {
            let names: Vec<&str> = self.environments().collect();
            let finding = self.source.finding(
                &self.environments,
                format!("there is no environment `{name}`"),
            );
            let finding = match names.as_slice() {
                [] => finding.expected("this configuration names none"),
                names => finding.expected(format!("expected one of {}", names.join(", "))),
            };
            Box::new(match similar(name, names.iter().copied()) {
                Some(near) => finding.help(format!("did you mean `{near}`?")),
                None => finding,
            })
        })
    }
}

impl Plan {
    /// The plan as it holds in an environment. The error names each ceiling
    /// that the plan exceeds, at the place in the plan, or an environment
    /// that the configuration does not know.
    pub fn effective(
        &self,
        config: &Config,
        env: Option<&str>,
        ceilings: Ceilings,
    ) -> Result<Plan, Vec<Diagnostic>> {
        let environment = config.environment(env).map_err(|finding| vec![*finding])?;
        let none = DefaultsFile::default();
        let defaults = config.file.defaults.as_ref().unwrap_or(&none);
        let mut plan = self.clone();
        plan.limits = self.limits_in(defaults, environment);
        plan.backfill = self.backfill_in(defaults);
        plan.throttle = throttle_text(&defaults.throttle.clone().unwrap_or_default());
        plan.throttle.extend(self.throttle.clone());
        let over = environment.and_then(|environment| environment.throttle.clone());
        plan.throttle
            .extend(throttle_text(&over.unwrap_or_default()));
        plan.gates = self.gates_in(defaults, environment);

        let mut exceeded = Vec::new();
        for bound in bounds(config.file.ceilings.as_ref()) {
            plan.hold_below(&bound, config, &mut exceeded);
        }
        let signals = config.signal_ceilings();
        for (signal, ceiling) in &signals {
            plan.hold_signal_below(signal, ceiling, config, &mut exceeded);
        }
        if ceilings == Ceilings::Hold && !exceeded.is_empty() {
            return Err(exceeded);
        }
        plan.origin.settings = self.spoken(&plan, defaults, environment.zip(env));
        plan.origin.ceilings = bounds(config.file.ceilings.as_ref())
            .filter_map(|bound| {
                let path = format!("{}.{}", bound.section, bound.key);
                Some((path, bound.ceiling?.to_string()))
            })
            .chain(
                signals
                    .into_iter()
                    .map(|(signal, ceiling)| (format!("throttle.{signal}"), ceiling)),
            )
            .collect();
        plan.origin.forced = ceilings == Ceilings::Exceed;
        Ok(plan)
    }

    /// Who spoke last of each setting of the effective plan.
    fn spoken(
        &self,
        effective: &Plan,
        defaults: &DefaultsFile,
        environment: Option<(&EnvironmentFile, &str)>,
    ) -> BTreeMap<String, String> {
        let with = |environment: Option<&EnvironmentFile>| {
            let mut plan = self.clone();
            plan.limits = self.limits_in(defaults, environment);
            plan.backfill = self.backfill_in(defaults);
            plan
        };
        let (without, within) = (with(None), with(environment.map(|(file, _)| file)));
        let silent = Plan {
            limits: Limits::default(),
            backfill: BackfillOptions::default(),
            ..self.clone()
        };
        let place = |name: &str| format!("environment {name}");
        let mut spoken = BTreeMap::new();
        for (section, key) in BOUNDS {
            let path = format!("{section}.{key}");
            let who = if effective.amount(key) != within.amount(key) {
                "ceiling".to_owned()
            } else if let Some((_, name)) = environment
                && within.amount(key) != without.amount(key)
            {
                place(name)
            } else if self.origin.wrote(&path) {
                "plan".to_owned()
            } else if without.amount(key) != silent.amount(key) {
                "pontoon.yaml".to_owned()
            } else {
                continue;
            };
            spoken.insert(path, who);
        }
        for signal in effective.throttle.keys() {
            let over = environment.filter(|(file, _)| {
                file.throttle
                    .as_ref()
                    .is_some_and(|throttle| throttle.contains_key(signal))
            });
            let who = match over {
                Some((_, name)) => place(name),
                None if self.throttle.contains_key(signal) => "plan".to_owned(),
                None if defaults
                    .throttle
                    .as_ref()
                    .is_some_and(|throttle| throttle.contains_key(signal)) =>
                {
                    "pontoon.yaml".to_owned()
                }
                None => "ceiling".to_owned(),
            };
            spoken.insert(format!("throttle.{signal}"), who);
        }
        spoken
    }

    fn limits_in(&self, defaults: &DefaultsFile, environment: Option<&EnvironmentFile>) -> Limits {
        let silent = Limits::default();
        let base = defaults
            .limits
            .as_ref()
            .map_or(silent.clone(), |file| file.over(silent));
        let wrote = |key: &str| self.origin.wrote(&format!("limits.{key}"));
        let own = &self.limits;
        let said = Limits {
            max_lock_duration: if wrote("max_lock_duration") {
                own.max_lock_duration
            } else {
                base.max_lock_duration
            },
            lock_patience: if wrote("lock_patience") {
                own.lock_patience
            } else {
                base.lock_patience
            },
            max_rows_affected: if wrote("max_rows_affected") {
                own.max_rows_affected
            } else {
                base.max_rows_affected
            },
            max_batch_rows: if wrote("max_batch_rows") {
                own.max_batch_rows
            } else {
                base.max_batch_rows
            },
        };
        let Some(file) = environment.and_then(|environment| environment.limits.as_ref()) else {
            return said;
        };
        let over = file.over(said.clone());
        let mut limits = over.clone();
        if wrote("max_lock_duration") {
            limits.max_lock_duration = over.max_lock_duration.min(said.max_lock_duration);
        }
        if wrote("lock_patience") {
            limits.lock_patience = over.lock_patience.min(said.lock_patience);
        }
        if wrote("max_rows_affected") {
            limits.max_rows_affected = [over.max_rows_affected, said.max_rows_affected]
                .into_iter()
                .flatten()
                .min();
        }
        if wrote("max_batch_rows") {
            limits.max_batch_rows = over.max_batch_rows.min(said.max_batch_rows);
        }
        limits
    }

    fn backfill_in(&self, defaults: &DefaultsFile) -> BackfillOptions {
        let silent = BackfillOptions::default();
        let base = defaults
            .backfill
            .as_ref()
            .map_or(silent.clone(), |file| file.over(silent));
        let wrote = |key: &str| self.origin.wrote(&format!("backfill.{key}"));
        let own = &self.backfill;
        BackfillOptions {
            target_batch_time: if wrote("target_batch_time") {
                own.target_batch_time
            } else {
                base.target_batch_time
            },
            workers: if wrote("workers") {
                own.workers
            } else {
                base.workers
            },
            nice_ratio: if wrote("nice_ratio") {
                own.nice_ratio
            } else {
                base.nice_ratio
            },
            cursor: if wrote("cursor") {
                own.cursor
            } else {
                base.cursor
            },
        }
    }

    fn gates_in(
        &self,
        defaults: &DefaultsFile,
        environment: Option<&EnvironmentFile>,
    ) -> Vec<Gate> {
        let own = match &defaults.gates {
            Some(list) if !self.origin.wrote("gates") => list.iter().map(GateFile::gate).collect(),
            _ => self.gates.clone(),
        };
        let Some(list) = environment.and_then(|environment| environment.gates.as_ref()) else {
            return own;
        };
        // The environment says where to stop; what the plan's author wanted the
        // approver to know is still worth reading there.
        list.iter()
            .map(|file| {
                let mut gate = file.gate();
                if let Some(same) = own.iter().find(|own| own.before == gate.before) {
                    gate.message = gate.message.or_else(|| same.message.clone());
                    gate.old_writes_idle = gate.old_writes_idle.or(same.old_writes_idle);
                }
                gate
            })
            .collect()
    }

    /// Compares one value with its ceiling.
    fn hold_below(&mut self, bound: &Bound, config: &Config, exceeded: &mut Vec<Diagnostic>) {
        let Some(ceiling) = bound.ceiling else {
            return;
        };
        let value = self.amount(bound.key);
        if value.is_some_and(|value| value <= ceiling) {
            return;
        }
        let key = format!("{}.{}", bound.section, bound.key);
        let Some(value) = value.filter(|_| self.origin.wrote(&key)) else {
            self.set_amount(bound.key, ceiling);
            return;
        };
        let message = format!(
            "`{}` of {value} exceeds the ceiling of {ceiling}",
            bound.key
        );
        let mut finding = self
            .finding(&key, message)
            .expected(format!("expected at most {ceiling}"))
            .help("lower it, or run with --force if you answer for it");
        if let Some(place) = config.ceilings.get(bound.key) {
            finding = finding.note(format!(
                "the ceiling is set at {}",
                config.source.place(place)
            ));
        }
        exceeded.push(finding);
    }

    /// Compares the limits of one signal with its ceiling.
    fn hold_signal_below(
        &mut self,
        signal: &str,
        ceiling: &str,
        config: &Config,
        exceeded: &mut Vec<Diagnostic>,
    ) {
        for excess in signals::excesses(&self.throttle, signal, ceiling) {
            if !excess.is_said {
                // It is a signal's limit, in its unit: it was read as one.
                let held = signals::change(&mut self.throttle, &excess.key, &excess.ceiling);
                debug_assert!(held.is_ok(), "{held:?}");
                continue;
            }
            let finding = self
                .finding(&format!("throttle.{signal}"), excess.message)
                .expected(format!("expected at most {}", excess.ceiling))
                .help("lower it, or run with --force if you answer for it");
            exceeded.push(match config.ceilings.get(signal) {
                Some(place) => finding.note(format!(
                    "the ceiling is set at {}",
                    config.source.place(place)
                )),
                None => finding,
            });
        }
    }

    fn amount(&self, key: &str) -> Option<Amount> {
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

/// Sections and keys that ceilings know.
const BOUNDS: [(&str, &str); 6] = [
    ("limits", "max_lock_duration"),
    ("limits", "lock_patience"),
    ("limits", "max_rows_affected"),
    ("limits", "max_batch_rows"),
    ("backfill", "target_batch_time"),
    ("backfill", "workers"),
];

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

/// The parts of a file that hold limits and gates: its defaults and each
/// environment.
fn parts(root: &Node) -> impl Iterator<Item = &Node> {
    let environments = match root.get("environments").map(|node| &node.kind) {
        Some(Kind::Map(entries)) => entries.as_slice(),
        _ => &[],
    };
    root.get("defaults")
        .into_iter()
        .chain(environments.iter().map(|(_, node)| node))
}

/// A configuration that exceeds its own ceilings is a slip in one of the two.
fn check_own_ceilings(root: &Node, source: &SourceText, out: &mut Vec<Diagnostic>) {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::Phase;

    const OPERATIONS: &str = "operations:\n  - drop_not_null: {table: a, column: b}\n";

    fn plan(head: &str) -> Plan {
        let text = format!("plan: p\nversion: 1\n{head}{OPERATIONS}");
        super::super::load("plans/p.yaml", &text).expect("a good plan")
    }

    fn config(text: &str) -> Config {
        Config::load("pontoon.yaml", text).expect("a good configuration")
    }

    #[test]
    fn silence_is_filled_from_the_defaults() {
        let config = config(
            "defaults:\n  limits: {max_lock_duration: 200ms, max_batch_rows: 500}\n  backfill: {workers: 3}\n  throttle: {replication_lag: 3s}\n  gates: []\n",
        );
        let plan = plan("limits: {max_batch_rows: 700}\nthrottle: {blocked_sessions: 2}\n");
        let now = plan.effective(&config, None, Ceilings::Hold).expect("fits");
        assert_eq!(now.limits.max_lock_duration, Duration::from_millis(200));
        assert_eq!(now.limits.max_batch_rows, 700);
        assert_eq!(now.backfill.workers, 3);
        assert_eq!(
            now.throttle.get("replication_lag").map(String::as_str),
            Some("3s")
        );
        assert_eq!(
            now.throttle.get("blocked_sessions").map(String::as_str),
            Some("2")
        );
        assert!(now.gates.is_empty());
    }

    #[test]
    fn the_lower_of_two_limits_holds_and_gates_are_the_environments() {
        let config = config(
            "environments:\n  staging: {url_env: STAGING_URL, gates: []}\n  production:\n    limits: {max_lock_duration: 100ms, max_batch_rows: 90000, lock_patience: 2h}\n    throttle: {replication_lag: 2s}\n    gates: [{before: backfill}, {before: contract}]\n",
        );
        let plan = plan(
            "limits: {max_lock_duration: 1s, max_batch_rows: 700}\nthrottle: {replication_lag: 9s}\ngates: [{before: contract, message: all deployed}]\n",
        );
        let staging = plan
            .effective(&config, Some("staging"), Ceilings::Hold)
            .expect("fits");
        assert!(staging.gates.is_empty());
        assert_eq!(staging.limits, plan.limits);
        assert_eq!(config.url_env("staging"), Some("STAGING_URL"));
        let production = plan
            .effective(&config, Some("production"), Ceilings::Hold)
            .expect("fits");
        assert_eq!(
            production.limits.max_lock_duration,
            Duration::from_millis(100)
        );
        assert_eq!(production.limits.max_batch_rows, 700);
        assert_eq!(production.limits.lock_patience, Duration::from_secs(7200));
        assert_eq!(production.throttle["replication_lag"], "2s");
        assert_eq!(production.gates.len(), 2);
        assert_eq!(production.gates[0].before, Phase::Backfill);
        assert_eq!(production.gates[1].message.as_deref(), Some("all deployed"));
    }

    #[test]
    fn ceilings_refuse_what_is_said_and_hold_what_is_not() {
        let config =
            config("ceilings: {max_lock_duration: 1s, max_rows_affected: 1000, workers: 2}\n");
        let silent = plan("")
            .effective(&config, None, Ceilings::Hold)
            .expect("fits");
        assert_eq!(silent.limits.max_rows_affected, Some(1000));
        assert_eq!(silent.limits.max_lock_duration, Duration::from_millis(500));
        let loud = plan(
            "limits: {max_lock_duration: 2s, max_rows_affected: 1000}\nbackfill: {workers: 8}\n",
        );
        let findings = loud
            .effective(&config, None, Ceilings::Hold)
            .expect_err("exceeds");
        insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: `max_lock_duration` of 2s exceeds the ceiling of 1s
  --> plans/p.yaml:3:29
   |
 3 | limits: {max_lock_duration: 2s, max_rows_affected: 1000}
   |                             ^^ expected at most 1s
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:31

error: `workers` of 8 exceeds the ceiling of 2
  --> plans/p.yaml:4:21
   |
 4 | backfill: {workers: 8}
   |                     ^ expected at most 2
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:69
"##);
        let forced = loud
            .effective(&config, None, Ceilings::Exceed)
            .expect("forced");
        assert_eq!(forced.backfill.workers, 8);
    }

    #[test]
    fn ceilings_over_signals_do_the_same() {
        let config = config(
            "ceilings: {throttle: {replication_lag: {limit: 10s, bytes: 1GB}, lock_waits: 4, query: 9}}\n",
        );
        let held = |throttle: &str| {
            plan(throttle)
                .effective(&config, None, Ceilings::Hold)
                .map(|plan| plan.throttle)
        };
        let silent = held("throttle: {replication_lag: 5s}\n").expect("fits");
        assert_eq!(silent["replication_lag"], r#"{"limit":"5s","bytes":"1GB"}"#);
        assert_eq!(silent["lock_waits"], "4", "it is switched on");
        assert!(!silent.contains_key("query"), "there is nothing to ask");
        let text = "throttle: {replication_lag: 30s, lock_waits: off}\n";
        let findings = held(text).expect_err("exceeds");
        insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: `lock_waits` is off, and its ceiling is 4
  --> plans/p.yaml:3:46
   |
 3 | throttle: {replication_lag: 30s, lock_waits: off}
   |                                              ^^^ expected at most 4
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:78

error: `replication_lag` of 30s exceeds the ceiling of 10s
  --> plans/p.yaml:3:29
   |
 3 | throttle: {replication_lag: 30s, lock_waits: off}
   |                             ^^^ expected at most 10s
   = help: lower it, or run with --force if you answer for it
   = note: the ceiling is set at pontoon.yaml:1:40
"##);
        let forced = plan(text)
            .effective(&config, None, Ceilings::Exceed)
            .expect("forced");
        assert_eq!(forced.throttle["lock_waits"], "off");
        assert_eq!(forced.origin.ceilings()["throttle.lock_waits"], "4");

        let own = "ceilings: {throttle: {replication_lag: 5s}}\ndefaults: {throttle: {replication_lag: 6s}}\n";
        let findings = Config::load("pontoon.yaml", own).expect_err("its own ceiling");
        insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: `replication_lag` of 6s exceeds the ceiling of 5s
  --> pontoon.yaml:2:40
   |
 2 | defaults: {throttle: {replication_lag: 6s}}
   |                                        ^^ expected at most 5s
"##);
        let unknown = "ceilings: {throttle: {replication_lag: {sql: x}}}\n";
        let findings = Config::load("pontoon.yaml", unknown).expect_err("no limit");
        insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: unknown key `sql` in ceilings.throttle.replication_lag
  --> pontoon.yaml:1:41
   |
 1 | ceilings: {throttle: {replication_lag: {sql: x}}}
   |                                         ^^^ expected one of limit, bytes, slot_retained, slot_used
"##);
    }

    #[test]
    fn an_unknown_environment_is_refused() {
        let config = config("environments:\n  staging: {url_env: A}\n  production: {url_env: B}\n");
        let findings = plan("")
            .effective(&config, Some("prod"), Ceilings::Hold)
            .expect_err("unknown");
        insta::assert_snapshot!(super::super::render_all(&findings), @r##"
error: there is no environment `prod`
  --> pontoon.yaml:1:1
   |
 1 | environments:
   | ^^^^^^^^^^^^ expected one of production, staging
   = help: did you mean `production`?
"##);
        let none = Config::load("pontoon.yaml", "# nothing yet\n").expect("empty is fine");
        assert_eq!(none.environments().count(), 0);
    }

    #[test]
    fn a_bad_configuration_is_told_all_at_once_and_keeps_its_secrets() {
        let text = "\
ceilings: {max_lock_duration: 1s, max_lock_time: 1s}
defaults: {limits: {max_lock_duration: 3s}, gates: [{before: expand}]}
environments:
  staging: {url_env: 'postgres://joe:hunter2@db/shop', limits: {max_batch_rows: -1}}
  production: {gates: [{before: contract}, {before: contract}], throttle: {replication_leg: 1s}}
";
        let findings = Config::load("pontoon.yaml", text).expect_err("bad");
        let text = super::super::render_all(&findings);
        assert!(!text.contains("hunter2"));
        insta::assert_snapshot!(text, @r##"
error: unknown key `max_lock_time` in ceilings
  --> pontoon.yaml:1:35
   |
 1 | ceilings: {max_lock_duration: 1s, max_lock_time: 1s}
   |                                   ^^^^^^^^^^^^^ expected one of lock_patience, max_rows_affected, max_batch_rows, target_batch_time, workers, throttle

error: `max_lock_duration` exceeds this file's own ceiling of 1s
  --> pontoon.yaml:2:40
   |
 2 | defaults: {limits: {max_lock_duration: 3s}, gates: [{before: expand}]}
   |                                        ^^ expected at most 1s

error: `before` cannot be `expand`
  --> pontoon.yaml:2:62
   |
 2 | defaults: {limits: {max_lock_duration: 3s}, gates: [{before: expand}]}
   |                                                              ^^^^^^ expected one of dual_write, backfill, verify, contract

error: `url_env` must be the name of an environment variable
  --> pontoon.yaml:4:22
   |
 4 |   staging: {url_env: 'postgres://***********@db/shop', limits: {max_batch_rows: -1}}
   |                      ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ expected a name such as STAGING_DATABASE_URL
   = help: a URL with its password never stands in a file: put it into that variable

error: `max_batch_rows` is negative
  --> pontoon.yaml:4:81
   |
 4 |   staging: {url_env: 'postgres://***********@db/shop', limits: {max_batch_rows: -1}}
   |                                                                                 ^^ expected a whole number, at least 1

error: two gates stand before contract
  --> pontoon.yaml:5:53
   |
 5 |   production: {gates: [{before: contract}, {before: contract}], throttle: {replication_leg: 1s}}
   |                                                     ^^^^^^^^ expected one gate before a phase
   = note: the first one is at pontoon.yaml:5:33

error: unknown signal `replication_leg` in environments.production.throttle
  --> pontoon.yaml:5:76
   |
 5 |   production: {gates: [{before: contract}, {before: contract}], throttle: {replication_leg: 1s}}
   |                                                                            ^^^^^^^^^^^^^^^ expected one of active_sessions, archiver_backlog, blocked_sessions, checkpoint_requests, commit_latency, dead_tuples, file, http, lock_waits, oldest_transaction, query, replication_lag, wal_rate, wraparound_vacuum
   = help: did you mean `replication_lag`?
"##);
    }
}
