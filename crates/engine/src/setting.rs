//! Settings that an operator may change while a run goes on.
//!
//! What holds for a run comes in layers. The plan's own words, the defaults
//! and the environment of `pontoon.yaml` make its [`Base`], written down by
//! each `run`. Over it lie the live settings of `pontoon set`: they stay over
//! restarts, until somebody takes them back or the base itself says
//! something new about that key, for then the file was edited later than the
//! setting was made. Ceilings bound both, unless somebody answered for it
//! with `--force`.
//!
//! Durations are written as humantime reads them (`500ms`), counts as digits.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use pontoon_core::plan::{MOST_NICE, MOST_WORKERS, parse_duration, signals};
use uuid::Uuid;

use crate::db::{Base, DbError, ErrorKind, LiveSetting, Settings};

/// A setting that is not the limit of a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// As it is typed: `max-batch-rows`.
    pub key: &'static str,
    /// As plans and `pontoon.yaml` write it: `limits.max_batch_rows`.
    pub path: &'static str,
    /// What it bounds, for people.
    pub about: &'static str,
}

/// Every setting but the limits of signals.
pub const SETTINGS: [Setting; 7] = [
    Setting {
        key: "max-lock-duration",
        path: "limits.max_lock_duration",
        about: "from queueing for a lock to releasing it",
    },
    Setting {
        key: "lock-patience",
        path: "limits.lock_patience",
        about: "how long a step may wait for its locks in all",
    },
    Setting {
        key: "max-rows-affected",
        path: "limits.max_rows_affected",
        about: "rows changed in the whole run, or none",
    },
    Setting {
        key: "max-batch-rows",
        path: "limits.max_batch_rows",
        about: "rows changed in one transaction",
    },
    Setting {
        key: "target-batch-time",
        path: "backfill.target_batch_time",
        about: "what a batch's time should approach",
    },
    Setting {
        key: "workers",
        path: "backfill.workers",
        about: "ranges worked on at once, in each process",
    },
    Setting {
        key: "nice-ratio",
        path: "backfill.nice_ratio",
        about: "rest after a batch while the application is at work, in batches; 0: none",
    },
];

/// Before the name of a signal.
const THROTTLE: &str = "throttle.";

/// One setting as it holds now.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Effective {
    /// As it is typed.
    pub key: String,
    /// As it is typed; `none` where there is no bound.
    pub value: String,
    /// `default`, `plan`, `pontoon.yaml`, `environment NAME`, `ceiling` or `set`.
    pub origin: String,
    /// What would hold if it were not set live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub otherwise: Option<String>,
    /// Who set it live.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// When, RFC 3339 on the database's clock.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub set_at: Option<String>,
}

/// Every key of the list: plain settings, and the limit of each signal.
pub fn keys() -> impl Iterator<Item = String> {
    let plain = SETTINGS.iter().map(|setting| setting.key.to_owned());
    let limits = signals::KNOWN
        .iter()
        .map(|signal| format!("{THROTTLE}{}", signal.name));
    plain.chain(limits)
}

/// The key as it is stored: written with hyphens or underscores, by its path
/// in a plan, or as `batch-rows`, which is short for `max-batch-rows`. Of a
/// signal: `throttle.SIGNAL` or `throttle.SIGNAL.KEY`.
///
/// # Errors
/// [`ErrorKind::Refused`] for an unknown key, with the nearest known one.
pub fn canonical(key: &str) -> Result<String, DbError> {
    let key = key.trim();
    if let Some(signal) = key.strip_prefix(THROTTLE) {
        let signal = signal.replace('-', "_");
        // Switching it off demands nothing but that the signal exists.
        let name = signal.split('.').next().unwrap_or_default();
        signals::change(&mut BTreeMap::new(), name, "off").map_err(refused)?;
        return Ok(format!("{THROTTLE}{signal}"));
    }
    let hyphens = key
        .strip_prefix("limits.")
        .or_else(|| key.strip_prefix("backfill."))
        .unwrap_or(key)
        .replace('_', "-");
    let plain = match hyphens.as_str() {
        "batch-rows" => "max-batch-rows",
        other => other,
    };
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == plain) {
        return Ok(setting.key.to_owned());
    }
    let error = DbError::new(ErrorKind::Refused, format!("There is no setting `{key}`"));
    let nearest = keys()
        .map(|known| (strsim::damerau_levenshtein(&known, key), known))
        .min()
        .filter(|(distance, _)| *distance <= 4);
    Err(match nearest {
        Some((_, known)) => error.hint(format!("Did you mean `{known}`?")),
        None => error.hint(format!(
            "Settings: {}, and throttle.SIGNAL.",
            SETTINGS.map(|setting| setting.key).join(", ")
        )),
    })
}

/// Changes one setting; `key` is [`canonical`].
///
/// # Errors
/// [`ErrorKind::Refused`] for an unusable value.
pub fn apply(settings: &mut Settings, key: &str, value: &str) -> Result<(), DbError> {
    let value = value.trim();
    if let Some(signal) = key.strip_prefix(THROTTLE) {
        return signals::change(&mut settings.throttle, signal, value).map_err(refused);
    }
    match key {
        "max-lock-duration" => settings.limits.max_lock_duration = duration(key, value)?,
        "lock-patience" => settings.limits.lock_patience = duration(key, value)?,
        "max-rows-affected" if value == "none" => settings.limits.max_rows_affected = None,
        "max-rows-affected" => settings.limits.max_rows_affected = Some(number(key, value)?),
        "max-batch-rows" => settings.limits.max_batch_rows = number(key, value)?,
        "target-batch-time" => settings.backfill.target_batch_time = duration(key, value)?,
        "workers" => {
            settings.backfill.workers = within(key, value, 1..=MOST_WORKERS)?;
        }
        "nice-ratio" => {
            settings.backfill.nice_ratio = within(key, value, 0..=MOST_NICE)?;
        }
        // A live setting that a newer binary knew: it has no meaning here.
        _ => {}
    }
    Ok(())
}

fn refused((message, hint): (String, String)) -> DbError {
    let error = DbError::new(ErrorKind::Refused, message);
    if hint.is_empty() {
        error
    } else {
        error.hint(hint)
    }
}

/// The signal that a key speaks of.
fn signal_of(key: &str) -> Option<&str> {
    key.strip_prefix(THROTTLE)?.split('.').next()
}

/// A setting's value as people read it; `key` is [`canonical`]. Of a signal,
/// its limits, or `off`.
pub fn value(settings: &Settings, key: &str) -> String {
    let Some(name) = signal_of(key) else {
        return amount(settings, key).map_or_else(String::new, |amount| amount.to_string());
    };
    signals::watched(&settings.throttle)
        .iter()
        .find(|watched| watched.signal.name == name)
        .map_or_else(|| "off".to_owned(), signals::Watched::limits)
}

/// What holds: the base with the live settings over it.
pub(crate) fn layered(base: &Base, live: &[LiveSetting]) -> Settings {
    let mut settings = base.settings.clone();
    for over in live {
        // It was judged when it was set; a binary that no longer takes it
        // goes on with what the base says.
        if let Err(error) = apply(&mut settings, &over.key, &over.value) {
            tracing::warn!("a live setting is not used: {error}");
        }
    }
    settings
}

/// Those live settings that a new base leaves standing, and those about
/// which it says something new.
pub(crate) fn surviving(
    old: &Base,
    new: &Base,
    live: Vec<LiveSetting>,
) -> (Vec<LiveSetting>, Vec<LiveSetting>) {
    let said = |base: &Base, key: &str| match signal_of(key) {
        Some(name) => base.settings.throttle.get(name).cloned(),
        None => Some(value(&base.settings, key)),
    };
    live.into_iter()
        .partition(|over| said(old, &over.key) == said(new, &over.key))
}

/// Refuses a value above its ceiling.
///
/// # Errors
/// [`ErrorKind::Refused`], naming the ceiling.
pub(crate) fn below_ceiling(base: &Base, key: &str, given: &str) -> Result<(), DbError> {
    let ask = "Set less, or use --force if you answer for it.";
    if let Some(name) = signal_of(key) {
        return signal_below_ceiling(base, name, key, given).map_err(|error| error.hint(ask));
    }
    let path = SETTINGS
        .iter()
        .find(|setting| setting.key == key)
        .map_or(key, |setting| setting.path);
    let Some(ceiling) = base.ceilings.get(path) else {
        return Ok(());
    };
    let at = |text: &str| {
        let mut settings = base.settings.clone();
        apply(&mut settings, key, text)?;
        Ok::<_, DbError>(amount(&settings, key))
    };
    if at(given)? <= at(ceiling)? {
        return Ok(());
    }
    Err(DbError::new(
        ErrorKind::Refused,
        format!("`{key}` of {given} exceeds the ceiling of {ceiling} in pontoon.yaml"),
    )
    .hint(ask))
}

/// The same for a limit of a signal. What was above before is not judged
/// again.
fn signal_below_ceiling(base: &Base, name: &str, key: &str, given: &str) -> Result<(), DbError> {
    let Some(ceiling) = base.ceilings.get(&format!("{THROTTLE}{name}")) else {
        return Ok(());
    };
    let before = signals::excesses(&base.settings.throttle, name, ceiling);
    let mut settings = base.settings.clone();
    apply(&mut settings, key, given)?;
    let mut after = signals::excesses(&settings.throttle, name, ceiling).into_iter();
    match after.find(|excess| !before.contains(excess)) {
        None => Ok(()),
        Some(excess) => Err(DbError::new(
            ErrorKind::Refused,
            format!("{} in pontoon.yaml", excess.message),
        )),
    }
}

/// Refuses live settings above the ceilings of a new base, unless somebody
/// answered for them or for the base.
///
/// # Errors
/// [`ErrorKind::Refused`], naming the setting, who made it, and what to type.
pub(crate) fn admit(run: Uuid, base: &Base, live: &[LiveSetting]) -> Result<(), DbError> {
    for over in live.iter().filter(|over| !over.forced && !base.forced) {
        below_ceiling(base, &over.key, &over.value).map_err(|error| {
            DbError::new(
                ErrorKind::Refused,
                format!(
                    "{}. It was set live by {} at {}",
                    error.message, over.by, over.at
                ),
            )
            .hint(format!(
                "Take it back: pontoon set {run} --unset {}",
                over.key
            ))
        })?;
    }
    Ok(())
}

/// Every setting as it holds now, with where it comes from.
pub fn effective(base: &Base, live: &[LiveSetting]) -> Vec<Effective> {
    let settings = layered(base, live);
    keys()
        .map(|key| {
            let of_signal = |over: &&LiveSetting| {
                signal_of(&over.key).is_some() && signal_of(&over.key) == signal_of(&key)
            };
            let over = live
                .iter()
                .rev()
                .find(|over| over.key == key || of_signal(over));
            let path = SETTINGS
                .iter()
                .find(|setting| setting.key == key)
                .map_or(key.as_str(), |setting| setting.path);
            let origin = match over {
                Some(_) => "set",
                None => base.origins.get(path).map_or("default", String::as_str),
            };
            Effective {
                value: value(&settings, &key),
                origin: origin.to_owned(),
                otherwise: over.map(|_| value(&base.settings, &key)),
                set_by: over.map(|over| over.by.clone()),
                set_at: over.map(|over| over.at.clone()),
                key,
            }
        })
        .collect()
}

/// A value that can be compared with its ceiling.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd)]
enum Amount {
    Count(u64),
    Time(Duration),
    Boundless,
}

impl std::fmt::Display for Amount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Amount::Count(count) => count.fmt(f),
            Amount::Time(time) => humantime::format_duration(*time).fmt(f),
            Amount::Boundless => f.write_str("none"),
        }
    }
}

fn amount(settings: &Settings, key: &str) -> Option<Amount> {
    let (limits, backfill) = (&settings.limits, &settings.backfill);
    Some(match key {
        "max-lock-duration" => Amount::Time(limits.max_lock_duration),
        "lock-patience" => Amount::Time(limits.lock_patience),
        "max-rows-affected" => limits
            .max_rows_affected
            .map_or(Amount::Boundless, Amount::Count),
        "max-batch-rows" => Amount::Count(limits.max_batch_rows),
        "target-batch-time" => Amount::Time(backfill.target_batch_time),
        "workers" => Amount::Count(u64::from(backfill.workers)),
        "nice-ratio" => Amount::Count(u64::from(backfill.nice_ratio)),
        _ => return None,
    })
}

fn duration(key: &str, value: &str) -> Result<Duration, DbError> {
    parse_duration(value)
        .map_err(|_| unusable(key, value, "a time from 1ms to a year, such as 500ms or 2s"))
}

fn within(key: &str, value: &str, bounds: RangeInclusive<u32>) -> Result<u32, DbError> {
    let number = value.parse().ok();
    number
        .filter(|number| bounds.contains(number))
        .ok_or_else(|| {
            let (least, most) = (bounds.start(), bounds.end());
            let expected = format!("a whole number from {least} to {most}");
            unusable(key, value, &expected)
        })
}

fn number(key: &str, value: &str) -> Result<u64, DbError> {
    match value.replace('_', "").parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err(unusable(key, value, "a whole number above zero")),
    }
}

fn unusable(key: &str, value: &str, expected: &str) -> DbError {
    DbError::new(
        ErrorKind::Refused,
        format!("`{value}` does not fit the setting `{key}`: expected {expected}"),
    )
}

#[cfg(test)]
mod tests {
    use pontoon_core::plan::{BackfillOptions, Limits};

    use super::*;

    fn base() -> Base {
        Base {
            settings: Settings {
                limits: Limits::default(),
                backfill: BackfillOptions::default(),
                throttle: BTreeMap::new(),
                gates: Vec::new(),
            },
            origins: BTreeMap::from([("backfill.workers".to_owned(), "plan".to_owned())]),
            ceilings: BTreeMap::from([
                ("backfill.workers".to_owned(), "4".to_owned()),
                ("limits.max_rows_affected".to_owned(), "1000".to_owned()),
                ("limits.max_lock_duration".to_owned(), "2s".to_owned()),
                ("throttle.replication_lag".to_owned(), "10s".to_owned()),
            ]),
            forced: false,
        }
    }

    fn live(key: &str, value: &str) -> LiveSetting {
        LiveSetting {
            key: key.into(),
            value: value.into(),
            by: "ada@desk".into(),
            at: "2026-11-20T10:15:00Z".into(),
            forced: false,
        }
    }

    #[test]
    fn every_key_can_be_set_and_read() {
        for key in keys() {
            let text = match &key {
                // Some have to be pointed at something first, by a plan.
                key if key.starts_with("throttle.") => "off",
                key if key.contains("duration")
                    || key.contains("patience")
                    || key.ends_with("time") =>
                {
                    "3s"
                }
                _ => "3",
            };
            let mut changed = base().settings;
            apply(&mut changed, &key, text).expect(&key);
            assert_ne!(changed, base().settings, "{key}");
            assert_eq!(value(&changed, &key), text, "{key}");
            assert_eq!(canonical(&key).expect("known"), key);
            let underscores = canonical(&key.replace('-', "_"));
            assert_eq!(underscores.expect("known"), key);
        }
        for setting in SETTINGS {
            assert_eq!(canonical(setting.path).expect("known"), setting.key);
        }
        assert_eq!(canonical("batch-rows").expect("known"), "max-batch-rows");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (key, value) in [
            ("workers", "0"),
            ("workers", "-1"),
            ("workers", "65"),
            ("nice-ratio", "101"),
            ("lock-patience", "500d"),
            ("max-lock-duration", "0s"),
            ("max-lock-duration", "1us"),
            ("max-lock-duration", "3"),
            ("max-batch-rows", "many"),
            ("throttle.replication_lag", "3 apples"),
            ("throttle.blocked_sessions", "0"),
        ] {
            assert_eq!(
                apply(&mut base().settings, key, value).expect_err(key).kind,
                ErrorKind::Refused
            );
        }
        let hints = |key: &str| canonical(key).expect_err("is unknown").hints;
        assert_eq!(hints("worker"), ["Did you mean `workers`?"]);
        assert_eq!(
            hints("throttle.replication_lagg"),
            ["Did you mean `throttle.replication_lag`?"]
        );
    }

    #[test]
    fn a_live_setting_lies_over_the_base_until_the_base_speaks_of_it() {
        let set = vec![live("workers", "3"), live("max-batch-rows", "50")];
        let settings = layered(&base(), &set);
        assert_eq!(settings.backfill.workers, 3);
        assert_eq!(settings.limits.max_batch_rows, 50);

        let mut edited = base();
        edited.settings.backfill.workers = 2;
        edited.settings.limits.lock_patience = Duration::from_secs(5);
        let (kept, dropped) = surviving(&base(), &edited, set.clone());
        assert_eq!(kept, [live("max-batch-rows", "50")]);
        assert_eq!(dropped, [live("workers", "3")]);
        let (kept, dropped) = surviving(&base(), &base(), set.clone());
        assert_eq!((kept, dropped), (set, Vec::new()));
    }

    #[test]
    fn ceilings_bound_what_is_set() {
        let base = base();
        for (key, value) in [
            ("workers", "4"),
            ("max-rows-affected", "1000"),
            ("max-lock-duration", "2000ms"),
            ("max-batch-rows", "100000"),
            ("throttle.replication_lag", "10s"),
            ("throttle.replication_lag.bytes", "1GB"),
            ("throttle.blocked_sessions", "off"),
        ] {
            below_ceiling(&base, key, value).expect(key);
        }
        for (key, value) in [
            ("workers", "5"),
            ("max-rows-affected", "none"),
            ("max-lock-duration", "2001ms"),
            ("throttle.replication_lag", "11s"),
            ("throttle.replication_lag", "off"),
        ] {
            let error = below_ceiling(&base, key, value).expect_err(key);
            assert!(error.message.contains("ceiling"), "{error}");
        }
    }

    #[test]
    fn each_setting_says_where_it_comes_from() {
        let all = effective(&base(), &[live("max-batch-rows", "50")]);
        let of = |key: &str| all.iter().find(|one| one.key == key).expect("it is there");
        assert_eq!(of("workers").origin, "plan");
        assert_eq!(of("lock-patience").origin, "default");
        assert_eq!(of("lock-patience").value, "30m");
        let set = of("max-batch-rows");
        assert_eq!((set.value.as_str(), set.origin.as_str()), ("50", "set"));
        assert_eq!(set.otherwise.as_deref(), Some("10000"));
        assert_eq!(set.set_by.as_deref(), Some("ada@desk"));
        assert_eq!(of("throttle.blocked_sessions").value, "1");
    }
}
