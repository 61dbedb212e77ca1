//! `pontoon migrate`.

mod preview;

use std::path::PathBuf;

use pontoon_core::plan::folder::{Entry, Fate, KnownRun, Standing, Survey};
use pontoon_core::plan::{Ceilings, Plan};
use pontoon_core::step::Phase;
use pontoon_engine::db::Database;
use pontoon_engine::run as engine;
use pontoon_engine::status::shell_word;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Course, gates, no_gate_in};
use crate::context::Context;
use crate::display::Line;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::folder::{self, Folder};
use crate::sitting::{self, Subject, Told};
use crate::{interrupt, session, words};

/// Run the pending plans of a folder, lowest version first
///
/// Goes on with what is unfinished, then runs what is pending, each to its
/// gate or its end. A plan that does not reach its end stops the others, for
/// they may need it; the same command goes on. With --until every plan goes as
/// far as that and the next one follows, so that all of a deployment is
/// expanded before its tests and contracted after them. Plans that are not what
/// was applied under their version are refused, and so are, without --force,
/// versions below one that was applied.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Folder of the plans
    folder: PathBuf,

    /// Leave plans above this version alone
    #[arg(long, value_name = "VERSION", value_parser = digits)]
    to_version: Option<String>,

    /// Show which plans would be run and what they would do, and change nothing
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    course: Course,

    /// Run plans out of order, and let them pass the ceilings of pontoon.yaml
    #[arg(long)]
    force: bool,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    sitting::streamed(context, |told| {
        let migration = Migration::new(args, context)?;
        context.block_on(async {
            let db = session::database(context, Some(&migration.folder.config_path()))?;
            let cancel = interrupt::listen(&context.output)?;
            match args.dry_run {
                true => migration.preview(&db, &cancel).await,
                false => migration.perform(&db, told, &cancel).await,
            }
        })
    })
}

fn digits(text: &str) -> std::result::Result<String, String> {
    match !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        true => Ok(text.to_owned()),
        false => Err("a version is digits alone, such as 20261120101500".to_owned()),
    }
}

/// A folder on its way into a database.
struct Migration<'a> {
    args: &'a Args,
    context: &'a Context,
    folder: Folder,
    /// The same command again, without what is for one sitting only.
    again: String,
}

/// A plan whose turn it is.
struct Turn<'a> {
    /// Its place in the folder.
    index: usize,
    /// As it holds in this environment.
    plan: &'a Plan,
    /// What has become of it.
    standing: Standing,
    /// Its place among the plans of this command, from 1.
    no: usize,
    /// Their number.
    of: usize,
}

impl<'a> Migration<'a> {
    /// Everything that needs no database.
    fn new(args: &'a Args, context: &'a Context) -> Result<Self> {
        let folder = Folder::load(&args.folder)?;
        crate::files::check_environment(&folder.config, context.global.env.as_deref())?;
        if let Some(version) = &args.to_version {
            folder.check_version(version)?;
        }
        for gate in args.course.approve.iter().map(|name| name.phase()) {
            // Gates differ from plan to plan; one that no plan can have is a slip.
            let is_known = folder
                .plans()
                .iter()
                .any(|plan| gates(plan).contains(&gate));
            if gate != Phase::Contract && !is_known {
                return Err(no_gate_in(&folder.path, gate));
            }
        }
        let mut again = format!(
            "pontoon migrate {}",
            shell_word(&args.folder.to_string_lossy())
        );
        if let Some(version) = &args.to_version {
            again.push_str(&format!(" --to-version {version}"));
        }
        let migration = Self {
            args,
            context,
            folder,
            again,
        };
        Ok(migration)
    }

    /// How the folder stands to the database now.
    async fn look<D: Database>(
        &self,
        db: &D,
        cancel: &CancellationToken,
    ) -> Result<(Vec<KnownRun>, Survey)> {
        let known = sitting::before(cancel, async { Ok(engine::history(db).await?) }).await?;
        let survey = self.folder.survey(&known, self.args.to_version.as_deref());
        self.folder
            .admit(&survey, &known, self.args.force, &self.again)?;
        Ok((known, survey))
    }

    /// The plans that are to be run and were not yet, lowest version first.
    fn due(&self, survey: &Survey, done: &[usize]) -> Result<Vec<(usize, Plan)>> {
        let ceilings = match self.args.force {
            true => Ceilings::Exceed,
            false => Ceilings::Hold,
        };
        let due = survey
            .entries
            .iter()
            .filter(|entry| entry.due && !done.contains(&entry.plan))
            .map(|entry| entry.plan);
        self.folder
            .effective(due, self.context.global.env.as_deref(), ceilings)
    }

    /// Runs one plan after the other, until one of them stops.
    async fn perform<D: Database>(
        &self,
        db: &D,
        told: &mut Told,
        cancel: &CancellationToken,
    ) -> Result {
        let mut done: Vec<usize> = Vec::new();
        let mut of = None;
        loop {
            // What is known is looked at anew each time: a plan may take days,
            // and others work in the same database.
            let looked = self.look(db, cancel).await;
            let (known, survey) = looked.map_err(|failure| match failure.exit {
                Exit::Unreachable | Exit::Interrupted => failure.command(self.again.clone()),
                _ => failure,
            })?;
            let due = self.due(&survey, &done)?;
            if of.is_none() {
                self.tell_plans(&survey, &known);
            }
            let of = *of.get_or_insert(due.len());
            let Some((index, plan)) = due.first() else {
                self.tell_end(&survey, &done);
                return Ok(Exit::Done);
            };
            let turn = Turn {
                index: *index,
                plan,
                standing: survey.standing(*index),
                no: done.len() + 1,
                of: of.max(done.len() + due.len()),
            };
            let left = self.left(&due[1..]);
            match self.sit(db, &turn, &known, told, cancel).await {
                Ok(Exit::Done) => {}
                Ok(exit) => {
                    if !left.is_empty() {
                        self.context.output.note(&left);
                    }
                    return Ok(exit);
                }
                Err(failure) => return Err(self.placed(failure, &turn, &left)),
            }
            done.push(*index);
            if cancel.is_cancelled() && due.len() > 1 {
                let failure = Failure::new(Exit::Interrupted, "Interrupted between two plans.");
                return Err(failure.detail(left).command(self.again.clone()));
            }
        }
    }

    /// Sits on one plan.
    async fn sit<D: Database>(
        &self,
        db: &D,
        turn: &Turn<'_>,
        known: &[KnownRun],
        told: &mut Told,
        cancel: &CancellationToken,
    ) -> Result {
        let run = match turn.standing {
            Standing::Unfinished(run) => Uuid::try_parse(&known[run].run).ok(),
            Standing::Applied(_) | Standing::GoingBack(_) | Standing::Pending(_) => None,
        };
        // A name has one unfinished run at most.
        let namesake = known.iter().find(|other| {
            run.is_none()
                && other.plan == turn.plan.plan
                && matches!(other.fate, Fate::Unfinished | Fate::GoingBack)
        });
        if let Some(other) = namesake {
            return Err(Failure::new(
                Exit::Refused,
                format!(
                    "Version {} of plan {} is {}; version {} cannot begin before that has ended.",
                    other.version, other.plan, other.state, turn.plan.version
                ),
            )
            .hint("finish it, take it back, or give the plans different names")
            .command(format!("pontoon status {}", other.run)));
        }
        let entry = self.folder.entry(turn.index);
        if self.context.output.is_json() {
            let body = json!({
                "no": turn.no, "of": turn.of, "version": entry.version, "plan": entry.plan, "file": entry.file,
            });
            self.context.output.json(&Line::new("plan", run, body));
        } else {
            self.context
                .output
                .note(&words::sentence(&turn.title(&self.folder)));
        }
        let has = gates(turn.plan);
        let approved = self.args.course.approve.iter().map(|name| name.phase());
        let approve: Vec<Phase> = approved.filter(|gate| has.contains(gate)).collect();
        let options = self.args.course.options(turn.plan, approve);
        let mut again = self.again.clone();
        if self.args.force {
            again.push_str(" --force");
        }
        let subject = Subject {
            run,
            plan_file: Some(&entry.file),
            again: Some(again),
            stops: None,
        };
        let plan = turn.plan;
        sitting::sit(
            self.context,
            db,
            subject,
            told,
            cancel.clone(),
            |sink, cancel| async {
                let sitting = engine::run(db, plan, options, sink, cancel).await?;
                Ok(sitting.ending)
            },
        )
        .await
    }

    /// A failure that says which plan it is about.
    fn placed(&self, mut failure: Failure, turn: &Turn<'_>, left: &str) -> Failure {
        failure
            .details
            .insert(0, words::sentence(&turn.title(&self.folder)));
        match left.is_empty() {
            true => failure,
            false => failure.detail(left),
        }
    }

    /// Who has to wait for a plan that stops; empty when nobody does.
    fn left(&self, due: &[(usize, Plan)]) -> String {
        match due {
            [] => String::new(),
            [(_, plan)] => format!(
                "Version {} ({}) comes after it and has to wait.",
                plan.version, plan.plan
            ),
            [(_, first), .., (_, last)] => format!(
                "{} come after it and have to wait, from version {} to {}.",
                words::counted(due.len() as u64, "plan"),
                first.version,
                last.version
            ),
        }
    }

    fn tell_plans(&self, survey: &Survey, known: &[KnownRun]) {
        let output = &self.context.output;
        if output.is_json() {
            let elsewhere: Vec<_> = survey
                .elsewhere
                .iter()
                .map(|run| &known[*run])
                .map(|run| {
                    json!({
                        "version": run.version, "plan": run.plan, "run": run.run, "applied_at": run.applied_at,
                    })
                })
                .collect();
            let body = json!({
                "folder": self.folder.path,
                "plans": self.folder.rows(survey, known),
                "elsewhere": elsewhere,
                "nested": self.folder.nested,
            });
            output.json(&Line::new("plans", None, body));
        } else if !self.folder.nested.is_empty() {
            output.note(&format!(
                "Folders in {} are not looked into: {}.",
                self.folder.path.display(),
                folder::listed(&self.folder.nested)
            ));
        }
    }

    /// What has become of the plans of this command, when none of them has
    /// stopped the others.
    fn tell_end(&self, survey: &Survey, done: &[usize]) {
        let path = self.folder.path.display();
        let count = |is_wanted: &dyn Fn(&Entry) -> bool| {
            survey
                .entries
                .iter()
                .filter(|entry| is_wanted(entry))
                .count() as u64
        };
        let is_applied = |entry: &Entry| matches!(entry.standing, Standing::Applied(_));
        let all = survey.entries.len() as u64;
        let left = count(&|entry| !is_applied(entry));
        let applied = count(&|entry| is_applied(entry) && done.contains(&entry.plan));
        let done = done.len() as u64;
        let plans = |number: u64| {
            let verb = if number == 1 { "is" } else { "are" };
            (words::counted(number, "plan"), verb)
        };
        let text = match (done, left) {
            (0, 0) => {
                let (plans, verb) = plans(all);
                format!("There is nothing to do: all {plans} in {path} {verb} applied.")
            }
            (0, left) => {
                let (plans, verb) = plans(left);
                format!("There is nothing to do; {plans} above that version {verb} left.")
            }
            (done, _) if done == applied => {
                let (plans, verb) = plans(done);
                format!("{plans} of {path} {verb} applied.")
            }
            (done, _) => {
                let verb = plans(applied).1;
                format!(
                    "Of {}, {} {verb} applied; the others stand where --until asked.",
                    plans(done).0,
                    words::count(applied)
                )
            }
        };
        self.context.output.note(&text);
    }
}

impl Turn<'_> {
    /// `plan 2 of 3: version 20261120101500, orders_amount (plans/b.yaml)`.
    fn title(&self, folder: &Folder) -> String {
        let entry = folder.entry(self.index);
        format!(
            "plan {} of {}: version {}, {} ({})",
            self.no, self.of, entry.version, entry.plan, entry.file
        )
    }
}
