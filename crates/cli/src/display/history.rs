//! What has been applied, and what is still to come: tables of plans.

use pontoon_engine::status::StatusRecord;
use serde::Serialize;

use super::status::{finished, plain_table};
use crate::folder::Row;
use crate::words;

/// Which columns a table of runs has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Columns {
    /// What people look for.
    Usual,
    /// And the ids of the runs.
    WithRuns,
}

/// The history of a database, one line for each run.
pub(crate) fn runs(runs: &[StatusRecord], columns: Columns) -> String {
    let mut header = vec!["VERSION", "PLAN", "ISSUE", "STATUS", "APPLIED AT"];
    if columns == Columns::WithRuns {
        header.push("RUN");
    }
    let mut table = plain_table(header);
    for run in runs {
        let mut cells = vec![
            run.version.clone(),
            run.plan.clone(),
            run.issue.clone().unwrap_or_default(),
            run.standing.clone(),
            applied_at(run).map(second).unwrap_or_default(),
        ];
        if columns == Columns::WithRuns {
            cells.push(run.run.to_string());
        }
        table.add_row(cells);
    }
    finished(&table)
}

/// The plans of a folder, one line each.
pub(crate) fn folder(rows: &[Row]) -> String {
    let mut table = plain_table(vec![
        "VERSION",
        "PLAN",
        "ISSUE",
        "STATUS",
        "APPLIED AT",
        "FILE",
    ]);
    for row in rows {
        table.add_row([
            row.version.clone(),
            row.plan.clone(),
            row.issue.clone().unwrap_or_default(),
            row.state.clone(),
            row.applied_at.as_deref().map(second).unwrap_or_default(),
            row.file.clone(),
        ]);
    }
    finished(&table)
}

/// How a history adds up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Totals {
    runs: u64,
    completed: u64,
    rolled_back: u64,
    unfinished: u64,
    rows_changed: u64,
}

impl Totals {
    pub(crate) fn of(runs: &[StatusRecord]) -> Self {
        let mut totals = Self::default();
        for run in runs {
            totals.runs += 1;
            match run.state {
                "completed" => totals.completed += 1,
                "rolled_back" => totals.rolled_back += 1,
                _ => totals.unfinished += 1,
            }
            let rows = run.backfill.iter().map(|backfill| backfill.rows_done);
            totals.rows_changed += rows.sum::<u64>();
        }
        totals
    }

    /// In one line.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}: {} completed, {} unfinished, {} rolled back; {} changed.",
            words::counted(self.runs, "run"),
            words::count(self.completed),
            words::count(self.unfinished),
            words::count(self.rolled_back),
            words::counted(self.rows_changed, "row")
        )
    }
}

/// When a run was completed.
fn applied_at(run: &StatusRecord) -> Option<&str> {
    run.finished_at
        .as_deref()
        .filter(|_| run.state == "completed")
}

/// `2026-11-20T10:15:00.123Z` as `2026-11-20 10:15:00`.
fn second(at: &str) -> String {
    at.get(..19).unwrap_or(at).replace('T', " ")
}

#[cfg(test)]
mod tests {
    use super::super::status::tests::record;
    use super::*;

    #[test]
    fn a_history_in_columns_with_its_totals() {
        let mut waiting = record();
        waiting.state = "waiting";
        waiting.standing = "waiting at contract".into();
        waiting.issue = Some("234".into());
        let mut back = record();
        back.state = "rolled_back";
        back.standing = "rolled back".into();
        back.version = "7".into();
        back.backfill = Vec::new();
        back.finished_at = Some("2026-11-20T11:00:00.5Z".into());
        let mut done = back.clone();
        done.state = "completed";
        done.standing = "completed".into();
        let all = [waiting, back, done];
        let text = format!(
            "{}\n{}",
            runs(&all, Columns::Usual),
            Totals::of(&all).line()
        );
        insta::assert_snapshot!(text);
        let with = runs(&all, Columns::WithRuns);
        assert!(with.contains(&all[0].run.to_string()), "{with}");
    }
}
