//! Bars for a person who watches: one per table under way, one line that says
//! what holds the run up, and a lasting line for everything that is done.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use pontoon_engine::event::{BackfillProgress, Event, Record, VerifyProgress};
use pontoon_engine::status::StatusRecord;

use super::plain::is_told;
use super::{View, run_of};
use crate::output::{Loudness, Output};
use crate::words;

/// A wait that was not told again for this long is over.
const STALE: Duration = Duration::from_secs(15);

pub(super) struct Terminal {
    output: Arc<Output>,
    bars: MultiProgress,
    /// By step.
    tables: BTreeMap<u32, ProgressBar>,
    /// The step under way, while it has no bar.
    step: Option<ProgressBar>,
    /// What holds the run up.
    wait: Option<(ProgressBar, Instant)>,
}

impl Terminal {
    pub(super) fn new(output: Arc<Output>) -> Self {
        let bars = output.bars().clone();
        if output.loudness == Loudness::Quiet {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Self {
            output,
            bars,
            tables: BTreeMap::new(),
            step: None,
            wait: None,
        }
    }

    fn table(&mut self, no: u32, label: String, done: u64, total: u64, message: String) {
        let bars = &self.bars;
        let bar = self.tables.entry(no).or_insert_with(|| {
            let bar = bars.add(ProgressBar::new(total));
            bar.set_style(style("  {prefix} {bar:28.cyan/238} {percent:>3}%  {msg}"));
            bar
        });
        bar.set_prefix(label);
        bar.set_length(total.max(1));
        bar.set_position(done.min(total.max(1)));
        bar.set_message(message);
    }

    fn waits(&mut self, text: String) {
        let bars = &self.bars;
        let (bar, told) = self.wait.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("  {spinner:.yellow} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(250));
            (bar, Instant::now())
        });
        *told = Instant::now();
        bar.set_message(text);
    }

    fn goes_on(&mut self) {
        if let Some((bar, _)) = self.wait.take() {
            bar.finish_and_clear();
        }
    }

    fn begins(&mut self, text: String) {
        let bars = &self.bars;
        let bar = self.step.get_or_insert_with(|| {
            let bar = bars.add(ProgressBar::new_spinner());
            bar.set_style(style("  {spinner:.cyan} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(250));
            bar
        });
        bar.set_message(text);
    }

    fn ends(&mut self, no: u32) {
        if let Some(bar) = self.step.take() {
            bar.finish_and_clear();
        }
        if let Some(bar) = self.tables.remove(&no) {
            bar.finish_and_clear();
        }
        self.goes_on();
    }
}

impl View for Terminal {
    fn event(&mut self, record: &Record) {
        match &record.event {
            Event::StepStarted { no, kind, name, .. } => match kind.as_str() {
                "backfill" | "verify" => {}
                _ => self.begins(format!("{no} {name}")),
            },
            Event::StepProgress {
                no,
                doing,
                done,
                total,
            } if *total > 0 => {
                if let Some(spinner) = self.step.take() {
                    spinner.finish_and_clear();
                }
                self.table(*no, format!("step {no}"), *done, *total, doing.clone());
                return;
            }
            Event::StepProgress { no, doing, .. } => {
                self.begins(format!("{no} {doing}"));
                return;
            }
            Event::BackfillProgress(progress) => {
                let (label, message) = (progress.table.to_string(), backfill_message(progress));
                self.table(
                    progress.no,
                    label,
                    progress.pages_done,
                    progress.pages_total,
                    message,
                );
                return;
            }
            Event::VerifyProgress(progress) => {
                let (label, message) = verify_message(progress);
                self.table(
                    progress.no,
                    label,
                    progress.pages_done,
                    progress.pages_total,
                    message,
                );
                return;
            }
            Event::LockWaiting { .. }
            | Event::Held { .. }
            | Event::Holding { .. }
            | Event::Retrying { .. } => {
                self.waits(words::event(run_of(record), &record.event));
                return;
            }
            Event::HoldEnded { .. } => {
                self.goes_on();
                return;
            }
            Event::StepFinished { no, .. } => self.ends(*no),
            Event::VerifyFinished(progress) => self.ends(progress.no),
            Event::RunStarted { .. }
            | Event::RunResumed { .. }
            | Event::LeaseTaken { .. }
            | Event::PhaseStarted { .. }
            | Event::BackfillRestarted { .. }
            | Event::Yielding { .. }
            | Event::FullSpeed
            | Event::ThrottleOn
            | Event::GateReached { .. }
            | Event::GateApproved { .. }
            | Event::Command { .. }
            | Event::WorkerJoined { .. }
            | Event::WorkerLeft { .. }
            | Event::WorkerLost { .. }
            | Event::StateChanged { .. }
            | Event::Warning { .. } => {}
        }
        // A spinner shows what begins; only ends get a lasting line.
        let lasting = !matches!(record.event, Event::StepStarted { .. });
        if lasting && is_told(&record.event, self.output.loudness) {
            self.output
                .line(&words::event(run_of(record), &record.event));
        }
    }

    fn status(&mut self, _: &StatusRecord) {}

    fn tick(&mut self) {
        if self
            .wait
            .as_ref()
            .is_some_and(|(_, told)| told.elapsed() > STALE)
        {
            self.goes_on();
        }
    }

    fn finish(&mut self) {
        self.goes_on();
        for bar in std::mem::take(&mut self.tables)
            .into_values()
            .chain(self.step.take())
        {
            bar.finish_and_clear();
        }
    }
}

/// A template of this file; a wrong one shows in the first test run.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .expect("the templates of this file are valid")
        .progress_chars("━━─")
}

fn backfill_message(progress: &BackfillProgress) -> String {
    let mut parts = vec![match progress.rows_total {
        Some(total) => format!(
            "{} of ~{} rows",
            words::count(progress.rows_done),
            words::count(total)
        ),
        None => words::counted(progress.rows_done, "row"),
    }];
    parts.push(format!(
        "{} rows/s",
        words::count(words::whole(progress.rows_per_second))
    ));
    if let Some(eta) = progress.eta_seconds {
        parts.push(format!("{} to go", words::seconds(eta)));
    }
    if progress.batch_rows > 0 {
        parts.push(format!("batch {}", words::count(progress.batch_rows)));
    }
    parts.join("  ")
}

fn verify_message(progress: &VerifyProgress) -> (String, String) {
    (
        format!("verify {}, pass {}", progress.table, progress.pass),
        words::verify(progress),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_valid() {
        for template in [
            "  {prefix} {bar:28.cyan/238} {percent:>3}%  {msg}",
            "  {spinner:.yellow} {wide_msg}",
            "  {spinner:.cyan} {wide_msg}",
        ] {
            drop(style(template));
        }
    }
}
