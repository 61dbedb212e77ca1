//! A folder of plans on disk, and what is said of it.
//!
//! How its plans stand to a database is found out in
//! [`pontoon_core::plan::folder`]; here are the files on one side of it and
//! the words on the other.

use std::path::{Path, PathBuf};

use pontoon_core::plan::folder::{
    FolderPlan, KnownRun, Problem, Standing, Survey, compare_versions,
};
use pontoon_core::plan::{self, Ceilings, Config, Diagnostic, Plan};
use serde::Serialize;

use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{files, words};

/// The plans of a folder, valid each by itself.
pub(crate) struct Folder {
    /// As it was typed.
    pub(crate) path: PathBuf,
    /// Folders in it that hold YAML files, which nobody looks into.
    pub(crate) nested: Vec<PathBuf>,
    /// The configuration that holds for it.
    pub(crate) config: Config,
    /// As their authors wrote them.
    plans: Vec<Plan>,
    /// The same, as they are held against a database.
    entries: Vec<FolderPlan>,
}

impl Folder {
    /// Reads every plan.
    ///
    /// # Errors
    /// Everything that is wrong with any of them; a folder without a plan.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        if path.is_file() {
            return Err(
                Failure::usage(format!("{} is a file, not a folder.", path.display())).command(
                    format!(
                        "pontoon run {}",
                        pontoon_engine::status::shell_word(&path.to_string_lossy())
                    ),
                ),
            );
        }
        let (inside, nested) = files::folder(path)?;
        let config = files::config(Some(&config_path(path)))?;
        let (mut plans, mut entries, mut findings) = (Vec::new(), Vec::new(), Vec::new());
        let mut bad = 0_u64;
        for file in inside {
            if file.file_name().is_some_and(|name| name == files::CONFIG) {
                continue;
            }
            let name = file.to_string_lossy();
            match plan::load(&name, &files::read(&file)?) {
                Ok(plan) => {
                    entries.push(FolderPlan::new(name, &plan));
                    plans.push(plan);
                }
                Err(found) => {
                    bad += 1;
                    findings.extend(found);
                }
            }
        }
        if bad > 0 {
            let message = match bad {
                1 => format!("A file in {} is not a valid plan.", path.display()),
                _ => format!("{bad} files in {} are not valid plans.", path.display()),
            };
            return Err(files::invalid(&message, &findings));
        }
        if plans.is_empty() {
            let failure = Failure::usage(format!("{} holds no plan.", path.display()));
            return Err(match nested.as_slice() {
                [] => failure.hint("plans are files whose names end in .yaml or .yml"),
                folders => failure.hint(format!(
                    "folders in it are not looked into: {}",
                    listed(folders)
                )),
            });
        }
        Ok(Self {
            path: path.to_owned(),
            nested,
            config,
            plans,
            entries,
        })
    }

    /// The place of its configuration.
    pub(crate) fn config_path(&self) -> PathBuf {
        config_path(&self.path)
    }

    /// What of a plan counts in a folder.
    pub(crate) fn entry(&self, index: usize) -> &FolderPlan {
        &self.entries[index]
    }

    /// Every plan, as its author wrote it.
    pub(crate) fn plans(&self) -> &[Plan] {
        &self.plans
    }

    /// How it stands to a database.
    pub(crate) fn survey(&self, known: &[KnownRun], last: Option<&str>) -> Survey {
        pontoon_core::plan::folder::survey(&self.entries, known, last)
    }

    /// These plans as they hold in an environment.
    ///
    /// # Errors
    /// Every ceiling that one of them exceeds.
    pub(crate) fn effective(
        &self,
        indexes: impl IntoIterator<Item = usize>,
        env: Option<&str>,
        ceilings: Ceilings,
    ) -> Result<Vec<(usize, Plan)>> {
        let (mut plans, mut findings): (Vec<_>, Vec<Diagnostic>) = (Vec::new(), Vec::new());
        for index in indexes {
            match self.plans[index].effective(&self.config, env, ceilings) {
                Ok(plan) => plans.push((index, plan)),
                Err(found) => findings.extend(found),
            }
        }
        match findings.is_empty() {
            true => Ok(plans),
            false => Err(files::invalid(
                "Not every plan holds in this environment.",
                &findings,
            )),
        }
    }

    /// A version that somebody typed, if the folder has it.
    ///
    /// # Errors
    /// When no plan has that version: a slip of the hand would otherwise run
    /// too few plans, or too many.
    pub(crate) fn check_version(&self, wanted: &str) -> Result<()> {
        let is_it = |other: &str| compare_versions(wanted, other).is_eq();
        if self.entries.iter().any(|entry| is_it(&entry.version)) {
            return Ok(());
        }
        let mut versions: Vec<&str> = self.versions();
        versions.sort_by(|one, other| compare_versions(one, other));
        let known = match versions.as_slice() {
            [only] => format!("its only version is {only}"),
            [first, .., last] => format!("its versions go from {first} to {last}"),
            [] => "it holds no plan".to_owned(),
        };
        Err(Failure::usage(format!(
            "No plan in {} has version {wanted}.",
            self.path.display()
        ))
        .hint(known))
    }

    fn versions(&self) -> Vec<&str> {
        let versions = self.entries.iter().map(|entry| entry.version.as_str());
        versions.collect()
    }

    /// One line per plan, for tables and JSON, lowest version first.
    pub(crate) fn rows(&self, survey: &Survey, known: &[KnownRun]) -> Vec<Row> {
        let row = |entry: &pontoon_core::plan::folder::Entry| {
            let plan = &self.plans[entry.plan];
            let (standing, state, run) = match entry.standing {
                Standing::Applied(run) => ("applied", "completed".to_owned(), Some(run)),
                Standing::Unfinished(run) => ("unfinished", known[run].state.clone(), Some(run)),
                Standing::GoingBack(run) => ("rolling_back", known[run].state.clone(), Some(run)),
                Standing::Pending(None) => ("pending", "pending".to_owned(), None),
                Standing::Pending(Some(_)) => {
                    ("pending", "pending, was rolled back".to_owned(), None)
                }
            };
            let run = run.map(|run| &known[run]);
            let out_of_order = survey.problems.iter().any(|problem| match problem {
                Problem::OutOfOrder { plan, .. } => *plan == entry.plan,
                Problem::SameVersion { .. }
                | Problem::Changed { .. }
                | Problem::GoingBack { .. }
                | Problem::Stranger { .. } => false,
            });
            let state = match out_of_order {
                true => format!("{state}, out of order"),
                false => state,
            };
            Row {
                version: plan.version.clone(),
                plan: plan.plan.clone(),
                issue: plan.issue.clone(),
                file: self.entries[entry.plan].file.clone(),
                standing,
                due: entry.due,
                out_of_order,
                run: run.map(|run| run.run.clone()),
                applied_at: run.and_then(|run| run.applied_at.clone()),
                state,
            }
        };
        survey.entries.iter().map(row).collect()
    }

    /// Everything that speaks against running what is due, unless force
    /// passes it. `again` is the command that force is added to.
    ///
    /// # Errors
    /// All of it at once.
    pub(crate) fn admit(
        &self,
        survey: &Survey,
        known: &[KnownRun],
        forced: bool,
        again: &str,
    ) -> Result<()> {
        let problems: Vec<&Problem> = survey
            .problems
            .iter()
            .filter(|problem| !forced || !problem.yields_to_force())
            .collect();
        if problems.is_empty() {
            return Ok(());
        }
        // A folder that is wrong itself weighs more than one that is refused
        // here: it has to be changed in any case.
        let is_invalid = problems.iter().any(|problem| match problem {
            Problem::SameVersion { .. } | Problem::Changed { .. } => true,
            Problem::GoingBack { .. } | Problem::OutOfOrder { .. } | Problem::Stranger { .. } => {
                false
            }
        });
        let exit = match is_invalid {
            true => Exit::Invalid,
            false => Exit::Refused,
        };
        let reasons = match problems.len() {
            1 => String::new(),
            n => format!(" for {n} reasons"),
        };
        let mut failure = Failure::new(
            exit,
            format!(
                "The plans in {} cannot be run as they are{reasons}.",
                self.path.display()
            ),
        );
        for problem in &problems {
            failure = self.tell(failure, problem, known);
        }
        let all_yield = problems.iter().all(|problem| problem.yields_to_force());
        Err(match all_yield {
            true => failure
                .hint("where that is right all the same, --force runs them, lowest version first")
                .command(format!("{again} --force")),
            false => failure,
        })
    }

    fn tell(&self, failure: Failure, problem: &Problem, known: &[KnownRun]) -> Failure {
        let file = |plan: usize| &self.entries[plan].file;
        let version = |plan: usize| &self.entries[plan].version;
        let hint = |text: &str| format!("  Hint: {}", words::hint(text));
        match problem {
            Problem::SameVersion { first, second } => failure
                .detail(format!(
                    "{} ({}) and {} ({}) have the same version, {}.",
                    file(*first),
                    self.plans[*first].plan,
                    file(*second),
                    self.plans[*second].plan,
                    version(*second)
                ))
                .detail(hint("give each plan a version of its own")),
            Problem::Changed { plan, run, changes } => {
                let known = &known[*run];
                let mut failure = failure.detail(format!(
                    "{} is not what version {} {} from (run {} of plan {}):",
                    file(*plan),
                    known.version,
                    match known.applied_at {
                        Some(_) => "was applied",
                        None => "was begun",
                    },
                    known.run,
                    known.plan
                ));
                for change in changes {
                    failure = failure.detail(format!("  {}", words::sentence(change)));
                }
                match known.applied_at {
                    Some(_) => failure.detail(hint(
                        "put the file back as it was; what shall change now is a new plan with a version of its own",
                    )),
                    None => failure.detail(hint(&format!(
                        "put the file back as it was to go on, or take the run back first: pontoon rollback {}",
                        known.run
                    ))),
                }
            }
            Problem::GoingBack { plan, run } => failure
                .detail(format!("{} is being rolled back.", file(*plan)))
                .detail(hint(&format!(
                    "finish that first: pontoon rollback {}",
                    known[*run].run
                ))),
            Problem::OutOfOrder { plan, after } => {
                let after = &known[*after];
                let since = match &after.applied_at {
                    Some(at) => format!("was applied at {at}"),
                    None => format!("has begun (it is {})", after.state),
                };
                failure
                    .detail(format!(
                        "{} is out of order: its version {} is below {} ({}), which {since}.",
                        file(*plan),
                        version(*plan),
                        after.version,
                        after.plan
                    ))
                    .detail(hint(
                        "give it a version above that one, or take the file away",
                    ))
            }
            Problem::Stranger { run, before } => {
                let run = &known[*run];
                failure
                    .detail(format!(
                        "Version {} ({}, run {}) is {} and its plan is not in this folder; version {} would overtake it.",
                        run.version,
                        run.plan,
                        run.run,
                        run.state,
                        version(*before)
                    ))
                    .detail(hint(&format!(
                        "run it to its end from where its plan is, or take it back: pontoon rollback {}",
                        run.run
                    )))
            }
        }
    }
}

/// A plan of a folder as it stands to a database.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) version: String,
    pub(crate) plan: String,
    pub(crate) issue: Option<String>,
    pub(crate) file: String,
    pub(crate) standing: &'static str,
    pub(crate) due: bool,
    pub(crate) out_of_order: bool,
    pub(crate) run: Option<String>,
    pub(crate) applied_at: Option<String>,
    #[serde(skip)]
    pub(crate) state: String,
}

fn config_path(folder: &Path) -> PathBuf {
    folder.join(files::CONFIG)
}

/// Paths in one line.
pub(crate) fn listed(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths
        .iter()
        .map(|path| path.display().to_string())
        .collect();
    paths.join(", ")
}
