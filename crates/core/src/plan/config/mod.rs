//! `pontoon.yaml`: the places where plans run, and what no plan may exceed.
//!
//! One plan serves every environment. What holds in the end is found key by
//! key: Pontoon's own value, then the file's `defaults`, then the plan's own
//! words. Over them stands the environment: of two limits the lower one holds,
//! its signals and gates take the place of the plan's. `ceilings` bound the
//! result: a plan that names more is refused, one that names nothing is held
//! at the ceiling.

mod ceilings;
mod effective;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde_json::Value;

use super::diagnostic::{Diagnostic, SourceText, Span, similar};
use super::file::{ConfigFile, EnvironmentFile};
use super::load::{Sections, check_gates, check_throttle};
use super::node::{self, Kind, Node};

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
        ceilings::check_own(&root, &source, &mut sections.findings);
        sections.finish()?;
        let environments = root
            .entry("environments")
            .map_or(0..0, |(key, _)| key.span.clone());
        Ok(Self {
            file,
            source,
            ceilings: ceilings::places(&root),
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
