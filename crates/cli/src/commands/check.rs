//! `pontoon check`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use pontoon_core::plan::folder::version_digits;
use pontoon_core::plan::{self, Ceilings, Config, Diagnostic, Plan};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{files, words};

/// Check plans without a database
///
/// Tells everything that is wrong with every file at once, each mistake with
/// its line. Plans are held against the ceilings of the pontoon.yaml beside
/// them, as they would be with --env. A file called pontoon.yaml is checked as
/// a configuration; a folder stands for the YAML files in it, in which no two
/// plans may have one version.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Files of plans
    #[arg(required = true, value_name = "PLAN")]
    plans: Vec<PathBuf>,

    /// Let the plans pass the ceilings of pontoon.yaml
    #[arg(long)]
    force: bool,
}

/// What was found in one file.
#[derive(Debug, Serialize)]
struct Report {
    file: String,
    kind: Kind,
    valid: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operations: Option<usize>,
    findings: Vec<Diagnostic>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Plan,
    Configuration,
}

impl Report {
    fn of(path: &Path, kind: Kind, findings: Vec<Diagnostic>) -> Self {
        Self {
            file: path.display().to_string(),
            kind,
            valid: findings.is_empty(),
            plan: None,
            version: None,
            operations: None,
            findings,
        }
    }

    /// One line for people.
    fn line(&self) -> String {
        match (&self.plan, &self.version, self.operations) {
            (Some(plan), Some(version), Some(operations)) => {
                let operations = words::counted(operations as u64, "operation");
                format!("{}: {plan} {version}, {operations}", self.file)
            }
            _ => format!("{}: configuration", self.file),
        }
    }
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let mut checker = Checker {
        env: context.global.env.as_deref(),
        ceilings: match args.force {
            true => Ceilings::Exceed,
            false => Ceilings::Hold,
        },
        seen: BTreeMap::new(),
        versions: BTreeMap::new(),
    };
    let mut reports = Vec::new();
    let mut unreadable = None;
    for path in expand(&args.plans)? {
        match checker.file(&path) {
            Ok(report) => reports.push(report),
            // The other files are worth a look all the same.
            Err(failure) => {
                unreadable.get_or_insert(failure);
            }
        }
    }
    tell(&reports, unreadable.is_none(), context);
    if let Some(failure) = unreadable {
        return Err(failure);
    }
    let bad = reports.iter().filter(|report| !report.valid).count();
    match (bad, context.output.is_json()) {
        (0, _) => Ok(Exit::Done),
        (_, true) => Ok(Exit::Invalid),
        (bad, false) => Err(Failure::new(
            Exit::Invalid,
            match (bad, reports.len()) {
                (1, 1) => "The file is not valid.".to_owned(),
                (bad, all) => format!("{bad} of {all} files are not valid."),
            },
        )),
    }
}

/// Folders become the YAML files in them; everything else stays.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if !path.is_dir() {
            found.push(path.clone());
            continue;
        }
        let (mut inside, _) = files::folder(path)?;
        if inside.is_empty() {
            return Err(Failure::usage(format!(
                "{} holds no YAML file.",
                path.display()
            )));
        }
        found.append(&mut inside);
    }
    Ok(found)
}

struct Checker<'a> {
    env: Option<&'a str>,
    ceilings: Ceilings,
    /// The files of plans by name and version.
    seen: BTreeMap<(String, String), PathBuf>,
    /// The files of plans by folder and version.
    versions: BTreeMap<(PathBuf, String), PathBuf>,
}

impl Checker<'_> {
    fn file(&mut self, path: &Path) -> Result<Report> {
        let text = files::read(path)?;
        let name = path.to_string_lossy();
        if path.file_name().is_some_and(|name| name == files::CONFIG) {
            let findings = Config::load(&name, &text).err().unwrap_or_default();
            return Ok(Report::of(path, Kind::Configuration, findings));
        }
        let plan = match plan::load(&name, &text) {
            Ok(plan) => plan,
            Err(findings) => return Ok(Report::of(path, Kind::Plan, findings)),
        };
        let mut findings: Vec<Diagnostic> = self.twin(&plan, path).into_iter().collect();
        // A configuration that is wrong itself is told when it is checked.
        if let Ok(config) = files::config(Some(path)) {
            let effective = plan.effective(&config, self.env, self.ceilings);
            findings.extend(effective.err().unwrap_or_default());
        }
        let mut report = Report::of(path, Kind::Plan, findings);
        report.operations = Some(plan.operations.len());
        report.plan = Some(plan.plan);
        report.version = Some(plan.version);
        Ok(report)
    }

    /// Two plans of one name and version would be taken for each other, and
    /// two of one version in a folder have no order.
    fn twin(&mut self, plan: &Plan, path: &Path) -> Option<Diagnostic> {
        let folder = path.parent().unwrap_or(Path::new("")).to_owned();
        let version = version_digits(&plan.version).to_owned();
        let sibling = self.versions.entry((folder, version));
        let sibling = sibling.or_insert_with(|| path.to_owned()).clone();
        let key = (plan.plan.clone(), plan.version.clone());
        let first = self.seen.entry(key).or_insert_with(|| path.to_owned());
        if first == path {
            if sibling == path {
                return None;
            }
            let message = format!("another plan of this folder has version {}", plan.version);
            return Some(
                plan.finding("version", message)
                    .expected(
                        "expected a version of its own, for versions order the plans of a folder",
                    )
                    .note(format!("the other one is {}", sibling.display())),
            );
        }
        let message = format!("plan `{}` has a twin of the same version", plan.plan);
        Some(
            plan.finding("version", message)
                .expected("expected another version, or another name")
                .note(format!("the other one is {}", first.display())),
        )
    }
}

fn tell(reports: &[Report], complete: bool, context: &Context) {
    let output = &context.output;
    if output.is_json() {
        let valid = complete && reports.iter().all(|report| report.valid);
        output.json(&serde_json::json!({ "valid": valid, "files": reports }));
        return;
    }
    let findings: Vec<&Diagnostic> = reports.iter().flat_map(|report| &report.findings).collect();
    for finding in findings {
        let text = finding.render();
        let text = match output.is_terminal() && std::env::var_os("NO_COLOR").is_none() {
            true => coloured(&text),
            false => text,
        };
        output.text(&format!("{text}\n"));
    }
    for report in reports.iter().filter(|report| report.valid) {
        output.note(&report.line());
    }
}

/// Colours for a rendered finding, line by line.
fn coloured(text: &str) -> String {
    const RED: &str = "\x1b[1;31m";
    const BLUE: &str = "\x1b[34m";
    const CYAN: &str = "\x1b[36m";
    const END: &str = "\x1b[0m";
    let mut out = String::new();
    for line in text.lines() {
        let bare = line.trim_start();
        let colour = if bare.starts_with("error:") || bare.starts_with("| ") && bare.contains('^') {
            RED
        } else if bare.starts_with("-->") {
            BLUE
        } else if bare.starts_with("= ") {
            CYAN
        } else {
            ""
        };
        let end = if colour.is_empty() { "" } else { END };
        writeln!(out, "{colour}{line}{end}").expect("writing to a String cannot fail");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_leave_the_words_alone() {
        let text = "error: x\n  --> a.yaml:1:1\n   |\n 1 | a\n   | ^ b\n   = help: c\n";
        let coloured = coloured(text);
        let mut bare = coloured.clone();
        for code in ["\x1b[1;31m", "\x1b[34m", "\x1b[36m", "\x1b[0m"] {
            bare = bare.replace(code, "");
        }
        assert_eq!(bare, text);
        assert_eq!(coloured.matches("\x1b[0m").count(), 4);
    }
}
