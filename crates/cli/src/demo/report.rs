//! What the demo found, as data and as text.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use pontoon_engine::event::Event;
use serde::Serialize;

use crate::words;

/// The time that batches took, sittings together.
#[derive(Debug, Default)]
pub(super) struct Backfill {
    began: Option<Instant>,
    step: Option<u32>,
    worked: Duration,
    rows: u64,
}

impl Backfill {
    /// Notes when a backfill begins and ends.
    pub(super) fn watch(&mut self, event: &Event) {
        match event {
            Event::StepStarted { no, kind, .. } if kind == "backfill" => {
                self.step = Some(*no);
                self.began.get_or_insert_with(Instant::now);
            }
            Event::BackfillProgress(progress) => {
                self.step = Some(progress.no);
                self.began.get_or_insert_with(Instant::now);
                self.rows = self.rows.max(progress.rows_done);
            }
            Event::StepFinished { no, rows, .. } if Some(*no) == self.step => {
                self.rows = self.rows.max(*rows);
                self.pause();
            }
            _ => {}
        }
    }

    /// Nobody works on it any more.
    pub(super) fn pause(&mut self) {
        if let Some(began) = self.began.take() {
            self.worked += began.elapsed();
        }
    }

    pub(super) fn seconds(&self) -> f64 {
        self.worked.as_secs_f64()
    }

    pub(super) fn rows_per_second(&self) -> f64 {
        if self.worked.is_zero() {
            return 0.0;
        }
        self.rows as f64 / self.seconds()
    }
}

/// The kill and what came after it.
#[derive(Debug, Serialize)]
pub(super) struct Kill {
    /// How far the backfill was, as it had told.
    pub(super) percent: u64,
    /// Rows of committed batches, read from the database after the kill.
    pub(super) committed: u64,
    /// Rows at which the next sitting began.
    pub(super) resumed_at: u64,
    /// From its start to its first batch.
    pub(super) resumed_after_ms: f64,
    /// Committed rows that were done again.
    pub(super) redone: u64,
    /// Rows of the batch that was open when it died, at most.
    pub(super) open_batch: u64,
    /// Writes of the application between the kill and the gate.
    pub(super) writes_meanwhile: u64,
}

/// How long the application's operations took.
#[derive(Debug, Default, Serialize)]
pub(super) struct Latencies {
    pub(super) p50_ms: f64,
    pub(super) p99_ms: f64,
    pub(super) worst_ms: f64,
}

/// The demo's result.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) server: String,
    pub(super) rows: u64,
    pub(super) rows_per_second: f64,
    pub(super) backfill_seconds: f64,
    pub(super) kill: Option<Kill>,
    pub(super) max_lock_duration_ms: f64,
    /// The longest that a one-row statement waited on Pontoon, by pg_blocking_pids.
    pub(super) worst_stall_ms: f64,
    /// The longest one-row statement on the table, whatever the reason.
    pub(super) worst_statement_ms: f64,
    /// The same on a table that Pontoon does not touch.
    pub(super) worst_control_ms: f64,
    pub(super) before: Latencies,
    pub(super) during: Latencies,
    pub(super) after: Latencies,
    pub(super) writes: u64,
    pub(super) reads: u64,
    pub(super) errors: u64,
    pub(super) lost: u64,
    pub(super) findings: u64,
    pub(super) rows_compared: u64,
    pub(super) notes: Vec<String>,
}

impl Figures {
    /// Did every promise hold?
    pub(super) fn is_clean(&self) -> bool {
        self.lost == 0
            && self.findings == 0
            && self.errors == 0
            && self.worst_stall_ms <= self.max_lock_duration_ms
    }

    /// For people.
    pub(super) fn render(&self) -> String {
        let mut text = String::from("\n");
        let mut put = |name: &str, value: &str| {
            writeln!(text, "  {name:<13} {value}").expect("writing to a String cannot fail");
        };
        put(
            "Table",
            &format!(
                "orders, {} loaded, on PostgreSQL {}",
                words::counted(self.rows, "row"),
                self.server
            ),
        );
        put(
            "Backfill",
            &format!(
                "{} rows/s, {} of work under live traffic",
                words::count(words::whole(self.rows_per_second)),
                words::millis(self.backfill_seconds * 1000.0)
            ),
        );
        match &self.kill {
            Some(kill) => {
                put(
                    "Killed",
                    &format!(
                        "with SIGKILL at {}%; {} were committed",
                        kill.percent,
                        words::counted(kill.committed, "row")
                    ),
                );
                put(
                    "Resumed",
                    &format!(
                        "at row {}, {} after it was started again",
                        words::count(kill.resumed_at),
                        words::millis(kill.resumed_after_ms)
                    ),
                );
                put(
                    "Redone",
                    &format!(
                        "{} of committed batches; the batch that was open (at most {}) was rolled back by the server",
                        words::counted(kill.redone, "row"),
                        words::counted(kill.open_batch, "row")
                    ),
                );
            }
            None => put(
                "Killed",
                "not: the backfill was over too soon (try more --rows)",
            ),
        }
        put(
            "Worst stall",
            &format!(
                "{} that a statement waited on Pontoon; max_lock_duration is {}",
                words::millis(self.worst_stall_ms),
                words::millis(self.max_lock_duration_ms)
            ),
        );
        put(
            "",
            &format!(
                "{} the longest one-row statement for any reason; {} on a table that nobody changes",
                words::millis(self.worst_statement_ms),
                words::millis(self.worst_control_ms)
            ),
        );
        for (name, latencies) in [
            ("Before", &self.before),
            ("During", &self.during),
            ("After", &self.after),
        ] {
            put(
                name,
                &format!(
                    "application p50 {:>7}   p99 {:>7}   worst {:>7}",
                    words::millis(latencies.p50_ms),
                    words::millis(latencies.p99_ms),
                    words::millis(latencies.worst_ms)
                ),
            );
        }
        put(
            "Writes",
            &format!(
                "{} made, {} lost ({} compared)",
                words::count(self.writes),
                words::count(self.lost),
                words::counted(self.rows_compared, "row")
            ),
        );
        put(
            "Errors",
            &format!("{} that the application saw", words::count(self.errors)),
        );
        for note in &self.notes {
            put("", note);
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures() -> Figures {
        Figures {
            server: "18.4".into(),
            rows: 1_000_000,
            rows_per_second: 52_310.2,
            backfill_seconds: 19.1,
            kill: Some(Kill {
                percent: 40,
                committed: 403_211,
                resumed_at: 403_211,
                resumed_after_ms: 412.0,
                redone: 0,
                open_batch: 8_000,
                writes_meanwhile: 3_000,
            }),
            max_lock_duration_ms: 500.0,
            worst_stall_ms: 21.0,
            worst_statement_ms: 48.0,
            worst_control_ms: 37.0,
            before: Latencies {
                p50_ms: 0.8,
                p99_ms: 2.4,
                worst_ms: 9.0,
            },
            during: Latencies {
                p50_ms: 1.1,
                p99_ms: 6.0,
                worst_ms: 48.0,
            },
            after: Latencies {
                p50_ms: 0.8,
                p99_ms: 2.2,
                worst_ms: 8.0,
            },
            writes: 9_412,
            reads: 4_100,
            errors: 0,
            lost: 0,
            findings: 0,
            rows_compared: 1_000_633,
            notes: Vec::new(),
        }
    }

    #[test]
    fn the_report_is_one_screen() {
        insta::assert_snapshot!(figures().render());
    }

    #[test]
    fn a_lost_write_or_a_long_stall_is_no_success() {
        assert!(figures().is_clean());
        let lost = Figures {
            lost: 1,
            ..figures()
        };
        assert!(!lost.is_clean());
        let stalled = Figures {
            worst_stall_ms: 501.0,
            ..figures()
        };
        assert!(!stalled.is_clean());
    }
}
