//! What the matrix says of itself.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::case::Case;
use super::drive::Figures;

/// How a case ended.
pub(crate) struct Ended {
    pub(crate) case: Case,
    /// Draws that hit nothing before this one.
    pub(crate) missed: u32,
    /// How long it took, all draws together.
    pub(crate) took: Duration,
    /// What was seen, or why it did not hold.
    pub(crate) outcome: Result<Figures, String>,
}

#[derive(Default)]
struct Row {
    cases: u32,
    hit: u32,
    held: u32,
    redone: i64,
    sittings: u32,
    worst: Duration,
    took: Duration,
}

/// How often it is told how far the matrix is.
const TELL: Duration = Duration::from_secs(30);

/// All cases of one call.
#[derive(Default)]
pub(crate) struct Tally {
    ended: Vec<Ended>,
    told: Option<Instant>,
}

impl Tally {
    pub(crate) fn push(&mut self, ended: Ended) {
        let Ended { case, outcome, .. } = &ended;
        if let Err(error) = outcome {
            eprintln!(
                "\nDID NOT HOLD: {case}\n{error}\nto repeat it: {}\n",
                repeat(case)
            );
        }
        self.ended.push(ended);
        if self.told.is_none_or(|told| told.elapsed() > TELL) {
            self.told = Some(Instant::now());
            eprintln!("{} cases, {} held", self.ended.len(), self.held());
        }
    }

    pub(crate) fn failed(&self) -> usize {
        self.ended.len() - self.held()
    }

    fn held(&self) -> usize {
        self.ended
            .iter()
            .filter(|ended| ended.outcome.is_ok())
            .count()
    }

    /// One row for each fault on each version.
    fn rows(&self) -> BTreeMap<(u32, &'static str), Row> {
        let mut rows: BTreeMap<(u32, &'static str), Row> = BTreeMap::new();
        for Ended {
            case,
            outcome,
            took,
            ..
        } in &self.ended
        {
            let row = rows.entry((case.version, case.fault.name())).or_default();
            row.cases += 1;
            row.took += *took;
            if let Ok(figures) = outcome {
                row.held += 1;
                row.hit += u32::from(figures.hit);
                row.redone += figures.redone;
                row.sittings += figures.sittings;
                row.worst = row.worst.max(figures.worst);
            }
        }
        rows
    }

    /// Prints the table.
    pub(crate) fn print(&self, took: Duration) {
        eprintln!(
            "version  fault        cases    hit   held  rows redone  sittings  seconds each  app. worst ms"
        );
        for ((version, fault), row) in self.rows() {
            eprintln!(
                "{version:>7}  {fault:<11}  {:>5}  {:>5}  {:>5}  {:>11}  {:>8}  {:>12.1}  {:>13}",
                row.cases,
                row.hit,
                row.held,
                row.redone,
                row.sittings,
                row.took.as_secs_f64() / f64::from(row.cases),
                row.worst.as_millis()
            );
        }
        let minutes = took.as_secs_f64() / 60.0;
        eprintln!(
            "{} cases, {} held, in {minutes:.1} min ({:.0} cases/min)",
            self.ended.len(),
            self.held(),
            self.ended.len() as f64 / minutes.max(0.001)
        );
    }

    /// The same for programs.
    pub(crate) fn json(&self, took: Duration, seed: u64) -> Value {
        let seen = || {
            self.ended
                .iter()
                .filter_map(|ended| ended.outcome.as_ref().ok())
        };
        let faults: Vec<Value> = self
            .rows()
            .into_iter()
            .map(|((version, fault), row)| {
                json!({
                    "version": version, "fault": fault, "cases": row.cases, "hit": row.hit,
                    "held": row.held, "rows_redone": row.redone, "sittings": row.sittings,
                    "application_worst_ms": row.worst.as_millis(),
                })
            })
            .collect();
        let failed: Vec<Value> = self
            .ended
            .iter()
            .filter_map(|Ended { case, outcome, .. }| {
                let error = outcome.as_ref().err()?;
                Some(json!({"case": case.to_string(), "error": error, "repeat": repeat(case)}))
            })
            .collect();
        json!({
            "schema": 1,
            "seed": seed,
            "seconds": took.as_secs_f64(),
            "cases": self.ended.len(),
            "held": self.held(),
            "hit": seen().filter(|figures| figures.hit).count(),
            "missed_draws": self.ended.iter().map(|ended| ended.missed).sum::<u32>(),
            "rows_redone": seen().map(|figures| figures.redone).sum::<i64>(),
            "application_writes": seen().map(|figures| figures.writes).sum::<u64>(),
            "application_worst_ms": seen().map(|figures| figures.worst.as_millis()).max().unwrap_or(0),
            "faults": faults,
            "failed": failed,
        })
    }
}

/// What to type to see this case again.
fn repeat(case: &Case) -> String {
    format!(
        "PONTOON_FAULTS='{case}' cargo test -p pontoon-tests --test faults matrix -- --nocapture"
    )
}
