//! The signals that a plan may set limits for.
//!
//! Core knows their names, units and defaults, and what a reading that did not
//! come means, so that a plan is judged without a database; how they are
//! measured stands with the engine. To add one: an entry in [`table`], a page
//! beside it, and a file in the engine.
//!
//! A signal is written as its limit (`replication_lag: 10s`), as `on` (with
//! its default limit), as `off`, or as a mapping with further limits and
//! settings (`replication_lag: {limit: 10s, bytes: 1GB, unknown: ignore}`).
//! It is stored as text: a limit as it stands, a mapping as JSON.

mod address;
mod ceiling;
mod schema;
mod table;
mod unit;
mod watched;

use std::time::Duration;

pub use address::{HttpAddress, HttpFault};
pub use ceiling::{Excess, excesses};
pub(crate) use schema::{ceilings as ceilings_schema, throttle as throttle_schema};
pub use table::KNOWN;
pub use unit::Unit;
pub use watched::{Bound, Watched, change, check, off_by_name, stored, watched};

/// What a reading that failed, or did not come, means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unknown {
    /// Work is held until the next reading.
    Hold,
    /// Work goes on, with a warning.
    Ignore,
}

impl Unknown {
    /// The word in plans.
    pub fn name(self) -> &'static str {
        match self {
            Unknown::Hold => "hold",
            Unknown::Ignore => "ignore",
        }
    }
}

/// One of a signal's limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure {
    /// The key in plans; the first one of a signal is `limit`.
    pub key: &'static str,
    /// What it is given in.
    pub unit: Unit,
    /// What holds when the plan names none; `None`: it is not looked at.
    pub default: Option<&'static str>,
    /// What it measures, for people.
    pub about: &'static str,
}

/// A signal's further setting, which is text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The key in plans.
    pub key: &'static str,
    /// What it takes.
    pub kind: SettingKind,
    /// What it means, for people.
    pub about: &'static str,
}

/// What a setting takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SettingKind {
    /// Text of this `format`.
    Text(&'static str),
    /// One of these words.
    Words(&'static [&'static str]),
    /// A list of texts.
    List,
}

/// One signal.
#[derive(Clone, Copy, Debug)]
pub struct Signal {
    /// Its name in plans, events and `status`.
    pub name: &'static str,
    /// What it measures, for people.
    pub about: &'static str,
    /// Its limits.
    pub measures: &'static [Measure],
    /// Its further settings.
    pub settings: &'static [Setting],
    /// The key that a plan's single value stands for: `limit`, or the setting
    /// without which the signal means nothing (`sql`, `url`, `path`).
    pub short: &'static str,
    /// It is watched though no plan names it.
    pub on: bool,
    /// What a missing reading means when the plan does not say.
    pub unknown: Unknown,
    /// It may hang for reasons of its own, so it is sampled apart from the
    /// others.
    pub alone: bool,
    /// Time between two readings.
    pub every: Duration,
    /// How long readings must stay below before a hold ends.
    pub calm: Duration,
    /// Its page, in Markdown.
    pub page: &'static str,
}

/// A hold goes on until readings are below this share of the limit, so that a
/// value that hovers around the limit does not switch work on and off.
pub const RELEASE: f64 = 0.8;

/// The signal of that name.
pub fn find(name: &str) -> Option<&'static Signal> {
    KNOWN.iter().find(|signal| signal.name == name)
}

impl Signal {
    /// The limit or further limit of that key.
    pub fn measure(&self, key: &str) -> Option<&'static Measure> {
        self.measures.iter().find(|measure| measure.key == key)
    }

    /// Reads a limit as plans write it, in the unit of readings. `None` when
    /// it is neither positive nor in the signal's unit.
    pub fn limit(&self, text: &str) -> Option<f64> {
        self.measures.first()?.unit.read(text).ok()
    }

    /// Its page with a head made from this declaration.
    pub fn documentation(&self) -> String {
        use std::fmt::Write as _;
        let mut out = format!("# `{}`\n\n{}\n\n| | |\n|---|---|\n", self.name, self.about);
        let on = match (self.on, self.short) {
            (true, _) => "yes; `off` switches it off".to_owned(),
            (false, "limit") => {
                "no: it is watched once a plan names it; `on` means its default limit".to_owned()
            }
            (false, key) => format!("no: it is watched once a plan gives its `{key}`"),
        };
        let unknown = match self.unknown {
            Unknown::Hold => "holds",
            Unknown::Ignore => "is ignored, with a warning",
        };
        // Writing to a String cannot fail.
        let _infallible = (|| {
            writeln!(out, "| on by default | {on} |")?;
            writeln!(
                out,
                "| a reading that fails or does not come | {unknown}; `unknown: hold` or `unknown: ignore` decides otherwise |"
            )?;
            writeln!(
                out,
                "| read every | {} |",
                humantime::format_duration(self.every)
            )?;
            let calm = match self.calm.is_zero() {
                true => "one reading below four fifths of the limit".to_owned(),
                false => format!(
                    "readings stay below four fifths of the limit for {}",
                    humantime::format_duration(self.calm)
                ),
            };
            writeln!(out, "| a hold ends when | {calm} |")?;
            writeln!(out, "\n| key | takes | default | |\n|---|---|---|---|")?;
            for measure in self.measures {
                let default = measure
                    .default
                    .map_or("none".to_owned(), |text| format!("`{text}`"));
                writeln!(
                    out,
                    "| `{}` | {}, such as {} | {default} | {} |",
                    measure.key,
                    measure.unit.name(),
                    measure.unit.example(),
                    measure.about
                )?;
            }
            for setting in self.settings {
                let takes = match setting.kind {
                    SettingKind::Text(_) => "text".to_owned(),
                    SettingKind::Words(words) => words
                        .iter()
                        .map(|word| format!("`{word}`"))
                        .collect::<Vec<_>>()
                        .join(" or "),
                    SettingKind::List => "a list of names".to_owned(),
                };
                writeln!(
                    out,
                    "| `{}` | {takes} | none | {} |",
                    setting.key, setting.about
                )?;
            }
            write!(out, "\n{}", self.page)
        })();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_declaration_is_whole() {
        for signal in KNOWN {
            let name = signal.name;
            assert_eq!(find(name).map(|found| found.name), Some(name));
            let first = signal.measures.first().expect("a signal has a limit");
            assert_eq!(first.key, "limit", "{name}");
            assert!(first.default.is_some(), "{name} needs a default limit");
            for measure in signal.measures {
                if let Some(default) = measure.default {
                    measure.unit.read(default).expect(name);
                }
            }
            let keys: std::collections::BTreeSet<&str> = signal
                .measures
                .iter()
                .map(|measure| measure.key)
                .chain(signal.settings.iter().map(|setting| setting.key))
                .collect();
            assert_eq!(
                keys.len(),
                signal.measures.len() + signal.settings.len(),
                "{name}"
            );
            assert!(keys.contains(signal.short), "{name}");
            assert!(!keys.contains("unknown"), "{name}");
            assert!(signal.about.ends_with('.'), "{name}");
            assert!(!signal.every.is_zero(), "{name}");
            assert!(signal.page.len() > 200, "{name} has no page");
        }
        assert!(KNOWN.windows(2).all(|pair| pair[0].name < pair[1].name));
    }
}
