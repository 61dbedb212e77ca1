//! `pontoon set KEY VALUE`: from text to a changed setting.

use std::time::Duration;

use pontoon_core::plan::signals;

use crate::db::{DbError, ErrorKind, Settings};

/// The keys, for help and for did-you-mean.
pub(crate) const KEYS: [&str; 6] = [
    "max-lock-duration",
    "lock-patience",
    "max-rows-affected",
    "max-batch-rows",
    "target-batch-time",
    "workers",
];

/// Changes one setting. Keys are written with hyphens or underscores;
/// `batch-rows` is short for `max-batch-rows`, and `throttle.SIGNAL` changes
/// the limit of a signal.
///
/// # Errors
/// [`ErrorKind::Refused`] for an unknown key or an unusable value.
pub(super) fn apply(settings: &mut Settings, key: &str, value: &str) -> Result<(), DbError> {
    let value = value.trim();
    if let Some(signal) = key.strip_prefix("throttle.") {
        return signals::change(&mut settings.throttle, signal, value).map_err(
            |(message, hint)| {
                let error = DbError::new(ErrorKind::Refused, message);
                match hint.is_empty() {
                    true => error,
                    false => error.hint(hint),
                }
            },
        );
    }
    match key.replace('_', "-").as_str() {
        "max-lock-duration" => settings.limits.max_lock_duration = duration(key, value)?,
        "lock-patience" => settings.limits.lock_patience = duration(key, value)?,
        "max-rows-affected" if value == "none" => settings.limits.max_rows_affected = None,
        "max-rows-affected" => settings.limits.max_rows_affected = Some(number(key, value)?),
        "max-batch-rows" | "batch-rows" => settings.limits.max_batch_rows = number(key, value)?,
        "target-batch-time" => settings.backfill.target_batch_time = duration(key, value)?,
        "workers" => {
            settings.backfill.workers = u32::try_from(number(key, value)?)
                .map_err(|_| unusable(key, value, "a number of workers"))?;
        }
        unknown => {
            let nearest = KEYS
                .iter()
                .map(|known| (strsim::damerau_levenshtein(known, unknown), known))
                .min()
                .filter(|(distance, _)| *distance <= 4);
            let error = DbError::new(ErrorKind::Refused, format!("There is no setting `{key}`"));
            return Err(match nearest {
                Some((_, known)) => error.hint(format!("Did you mean `{known}`?")),
                None => error.hint(format!(
                    "Settings: {}, and throttle.SIGNAL.",
                    KEYS.join(", ")
                )),
            });
        }
    }
    Ok(())
}

fn duration(key: &str, value: &str) -> Result<Duration, DbError> {
    match humantime::parse_duration(value) {
        Ok(duration) if duration > Duration::ZERO => Ok(duration),
        _ => Err(unusable(
            key,
            value,
            "a duration above zero, such as 500ms or 2s",
        )),
    }
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

    fn settings() -> Settings {
        Settings {
            limits: Limits::default(),
            backfill: BackfillOptions::default(),
            throttle: std::collections::BTreeMap::new(),
            gates: Vec::new(),
        }
    }

    #[test]
    fn every_key_can_be_set() {
        for key in KEYS {
            let value =
                if key.contains("duration") || key.contains("patience") || key.ends_with("time") {
                    "3s"
                } else {
                    "3"
                };
            let mut changed = settings();
            apply(&mut changed, key, value).expect(key);
            assert_ne!(changed, settings(), "{key}");
            apply(&mut changed, &key.replace('-', "_"), value).expect(key);
        }
        let mut changed = settings();
        apply(&mut changed, "throttle.replication_lag", "2s").expect("is a signal");
        assert_eq!(changed.throttle["replication_lag"], "2s");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (key, value) in [
            ("workers", "0"),
            ("workers", "-1"),
            ("max-lock-duration", "0s"),
            ("max-lock-duration", "3"),
            ("max_batch_rows", "many"),
        ] {
            assert_eq!(
                apply(&mut settings(), key, value).expect_err(key).kind,
                ErrorKind::Refused
            );
        }
        let error = apply(&mut settings(), "worker", "2").expect_err("is misspelled");
        assert_eq!(error.hints, ["Did you mean `workers`?"]);
    }
}
