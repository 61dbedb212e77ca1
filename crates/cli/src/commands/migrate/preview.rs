//! `pontoon migrate --dry-run`.

use pontoon_core::plan::folder::{KnownRun, Standing, Survey, compare_versions};
use pontoon_core::preview::Preview;
use pontoon_engine::db::Database;
use pontoon_engine::run::{self as engine, RunError};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::{Migration, Turn};
use crate::display::{self, Line};
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{sitting, words};

impl Migration<'_> {
    /// Shows what would be run, and what each plan would do.
    pub(super) async fn preview<D: Database>(&self, db: &D, cancel: &CancellationToken) -> Result {
        let output = &self.context.output;
        let (known, survey) = self.look(db, cancel).await?;
        let due = self.due(&survey, &[])?;
        self.tell_plans(&survey, &known);
        if !output.is_json() {
            output.text(&display::folder_table(&self.folder.rows(&survey, &known)));
            self.tell_elsewhere(&survey, &known);
            if due.is_empty() {
                self.tell_end(&survey, &[]);
            }
        }
        for (place, (index, plan)) in due.iter().enumerate() {
            let turn = Turn {
                index: *index,
                plan,
                standing: survey.standing(*index),
                no: place + 1,
                of: due.len(),
            };
            self.preview_one(db, &turn, &known, cancel).await?;
        }
        if !output.is_json() && !due.is_empty() {
            output.note("Nothing was changed.");
        }
        Ok(Exit::Done)
    }

    async fn preview_one<D: Database>(
        &self,
        db: &D,
        turn: &Turn<'_>,
        known: &[KnownRun],
        cancel: &CancellationToken,
    ) -> Result<()> {
        let output = &self.context.output;
        let title = turn.title(&self.folder);
        let entry = self.folder.entry(turn.index);
        let line = |run: Option<Uuid>, body: serde_json::Value| {
            let mut whole =
                json!({"version": entry.version, "plan": entry.plan, "file": entry.file});
            if let (Some(whole), serde_json::Value::Object(body)) = (whole.as_object_mut(), body) {
                whole.extend(body);
            }
            output.json(&Line::new("preview", run, whole));
        };
        if let Standing::Unfinished(run) = turn.standing {
            let run = &known[run];
            if output.is_json() {
                line(
                    Uuid::try_parse(&run.run).ok(),
                    json!({"preview": null, "state": run.state}),
                );
            } else {
                output.line(&format!(
                    "\n{} Run {} of it is {}, and goes on.",
                    words::sentence(&title),
                    run.run,
                    run.state
                ));
            }
            return Ok(());
        }
        let compiled = sitting::before(cancel, async { Ok(engine::compile(db, turn.plan).await) });
        match compiled.await? {
            Ok((catalog, lowered)) => {
                let preview = Preview::new(turn.plan, &catalog, &lowered);
                if output.is_json() {
                    line(None, json!({"preview": preview, "state": "pending"}));
                } else {
                    output.line(&format!("\n{}\n", words::sentence(&title)));
                    output.text(&preview.render());
                }
                Ok(())
            }
            // It may need what the plans before it make.
            Err(refused @ RunError::Refused { .. }) if turn.no > 1 => {
                let failure = Failure::from(refused);
                if output.is_json() {
                    let error = failure.record();
                    line(
                        None,
                        json!({"preview": null, "state": "pending", "refused": error}),
                    );
                } else {
                    output.line(&format!(
                        "\n{} It cannot be shown before the plans above it are applied; as the database stands:",
                        words::sentence(&title)
                    ));
                    for detail in &failure.details {
                        output.line(&format!("  {detail}"));
                    }
                }
                Ok(())
            }
            Err(error) => Err(self.placed(error.into(), turn, "")),
        }
    }

    fn tell_elsewhere(&self, survey: &Survey, known: &[KnownRun]) {
        let mut runs: Vec<&KnownRun> = survey.elsewhere.iter().map(|run| &known[*run]).collect();
        runs.sort_by(|one, other| compare_versions(&one.version, &other.version));
        let names: Vec<String> = runs
            .iter()
            .map(|run| format!("{} ({})", run.version, run.plan))
            .collect();
        if !names.is_empty() {
            self.context.output.note(&format!(
                "Applied, and not in this folder: {}.",
                names.join(", ")
            ));
        }
    }
}
