//! What was measured: a table for people, JSON for programs.

use std::time::Duration;

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use crate::Error;
use crate::args::Arguments;

/// The version of the JSON form.
const VERSION: u32 = 1;

/// All figures of a run.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    v: u32,
    postgresql: u32,
    cores: usize,
    server: &'static str,
    rounds: u32,
    contests: Vec<Contest>,
}

/// Contestants that met under the same conditions.
#[derive(Debug, Serialize)]
pub(crate) struct Contest {
    section: &'static str,
    /// What was the same for all.
    name: String,
    figures: Vec<Figure>,
}

/// One contestant's figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) contestant: String,
    pub(crate) what: &'static str,
    pub(crate) unit: &'static str,
    /// One value a round.
    pub(crate) rounds: Vec<f64>,
    pub(crate) median: f64,
    /// This median as a share of a rival's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) compared: Option<Compared>,
}

/// A figure beside a rival's.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Compared {
    pub(crate) rival: String,
    pub(crate) share: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) goal: Option<Goal>,
}

/// What a share shall be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

impl Goal {
    fn holds(self, share: f64) -> bool {
        match self {
            Self::AtLeast(least) => share >= least,
            Self::AtMost(most) => share <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!("≥ {least}"),
            Self::AtMost(most) => format!("≤ {most}"),
        }
    }
}

impl Figure {
    pub(crate) fn new(
        contestant: impl Into<String>,
        what: &'static str,
        unit: &'static str,
        rounds: Vec<f64>,
    ) -> Self {
        Self {
            contestant: contestant.into(),
            what,
            unit,
            median: median(&rounds),
            rounds,
            compared: None,
        }
    }

    /// The same beside a rival's figure: median to median.
    #[must_use]
    pub(crate) fn beside(self, rival: &Self, goal: Option<Goal>) -> Self {
        let share = self.median / rival.median;
        self.with_share(share, rival, goal)
    }

    /// The same beside a rival's figure, of which it is that share.
    #[must_use]
    pub(crate) fn with_share(mut self, share: f64, rival: &Self, goal: Option<Goal>) -> Self {
        self.compared = Some(Compared {
            rival: rival.contestant.clone(),
            share,
            goal,
        });
        self
    }

    fn reached(&self) -> bool {
        self.compared
            .as_ref()
            .and_then(|compared| compared.goal.map(|goal| goal.holds(compared.share)))
            .unwrap_or(true)
    }
}

impl Report {
    pub(crate) fn new(arguments: &Arguments, postgresql: u32) -> Self {
        let report = Self {
            v: VERSION,
            postgresql,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            server: if arguments.stock {
                "stock"
            } else {
                "large cache"
            },
            rounds: arguments.rounds(),
            contests: Vec::new(),
        };
        say(&format!(
            "PostgreSQL {postgresql}, {} cores, {} server, fsync on, {} rounds",
            report.cores, report.server, report.rounds
        ));
        report
    }

    /// Shows a contest and keeps it.
    pub(crate) fn add(&mut self, section: &'static str, name: String, figures: Vec<Figure>) {
        say(&format!("\n{name}"));
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header(["", "", "median", "", "compared", "with", "goal"]);
        for figure in &figures {
            let (share, rival, goal) = figure.compared.as_ref().map_or_else(
                || (String::new(), String::new(), String::new()),
                |compared| {
                    let goal = compared.goal.map_or_else(String::new, |goal| {
                        let verdict = if goal.holds(compared.share) {
                            ""
                        } else {
                            ", missed"
                        };
                        format!("{}{verdict}", goal.text())
                    });
                    (
                        format!("{:.2}", compared.share),
                        compared.rival.clone(),
                        goal,
                    )
                },
            );
            table.add_row([
                figure.contestant.clone(),
                figure.what.to_owned(),
                number(figure.median),
                figure.unit.to_owned(),
                share,
                rival,
                goal,
            ]);
        }
        for column in [2, 4] {
            if let Some(column) = table.column_mut(column) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        say(&table.trim_fmt());
        self.contests.push(Contest {
            section,
            name,
            figures,
        });
    }

    /// Every goal was reached.
    pub(crate) fn reached(&self) -> bool {
        self.contests
            .iter()
            .flat_map(|contest| &contest.figures)
            .all(Figure::reached)
    }

    pub(crate) fn json(&self) -> Result<String, Error> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }
}

fn number(value: f64) -> String {
    if value >= 1_000.0 {
        format!("{value:.0}")
    } else if value >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.3}")
    }
}

/// The middle one; of an even number the mean of the two middle ones.
pub(crate) fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => f64::midpoint(sorted[even / 2 - 1], sorted[even / 2]),
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

#[expect(
    clippy::print_stdout,
    reason = "the figures are what this program is for"
)]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
