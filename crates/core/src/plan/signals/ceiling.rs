//! Ceilings over the limits of signals: a higher limit holds a run back
//! later, and a signal that is off never does.

use std::collections::BTreeMap;

use super::{Signal, find, watched, watched::fields};

/// A limit that is above its ceiling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excess {
    /// The limit, as [`super::change`] takes it: `replication_lag.bytes`.
    pub key: String,
    /// What is wrong, to begin a sentence with.
    pub message: String,
    /// The ceiling, as it was written.
    pub ceiling: String,
    /// Somebody wrote the limit; it does not just hold by default.
    pub is_said: bool,
}

/// The limits of a signal that are above its ceiling, which is written as a
/// limit of its own or as a mapping of several. A signal that has nothing to
/// look at (a `query` without its SQL) exceeds nothing.
pub fn excesses(throttle: &BTreeMap<String, String>, name: &str, ceiling: &str) -> Vec<Excess> {
    let Some(signal) = find(name) else {
        return Vec::new();
    };
    let written = throttle.get(name).map(String::as_str);
    let now = watched(throttle)
        .into_iter()
        .find(|watched| watched.signal.name == name);
    if now.is_none() && signal.short != "limit" {
        return Vec::new();
    }
    let said = match written {
        None | Some("on" | "off") => serde_json::Map::new(),
        Some(text) => fields(signal, text),
    };
    limits(signal, ceiling)
        .filter_map(|(key, ceiling)| {
            let highest = signal.measure(key)?.unit.read(&ceiling).ok()?;
            let path = match key {
                "limit" => name.to_owned(),
                key => format!("{name}.{key}"),
            };
            let message = match now.as_ref().map(|now| now.bound(key)) {
                Some(Some(bound)) if bound.value <= highest => return None,
                Some(Some(bound)) => {
                    format!(
                        "`{path}` of {} exceeds the ceiling of {ceiling}",
                        bound.text
                    )
                }
                Some(None) => format!("`{path}` has no limit, and its ceiling is {ceiling}"),
                None => format!("`{name}` is off, and its ceiling is {ceiling}"),
            };
            Some(Excess {
                key: format!("{name}.{key}"),
                message,
                is_said: written == Some("off") || said.contains_key(key),
                ceiling,
            })
        })
        .collect()
}

/// What a ceiling says of each limit.
fn limits(signal: &'static Signal, ceiling: &str) -> impl Iterator<Item = (&'static str, String)> {
    let mapping = serde_json::from_str::<serde_json::Value>(ceiling)
        .ok()
        .filter(serde_json::Value::is_object);
    let ceiling = ceiling.to_owned();
    signal.measures.iter().filter_map(move |measure| {
        let text = match &mapping {
            Some(mapping) => super::stored(mapping.get(measure.key)?),
            None if measure.key == "limit" => ceiling.clone(),
            None => return None,
        };
        Some((measure.key, text))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(written: &[(&str, &str)], name: &str, ceiling: &str) -> Vec<(String, bool)> {
        let throttle = written
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect();
        excesses(&throttle, name, ceiling)
            .into_iter()
            .map(|excess| (excess.message, excess.is_said))
            .collect()
    }

    #[test]
    fn higher_limits_and_silence_exceed() {
        let lag = "replication_lag";
        assert_eq!(found(&[(lag, "9s")], lag, "10s"), []);
        assert_eq!(found(&[], lag, "10s"), [], "the default is not above it");
        let one = |text: &str, is_said| [(text.to_owned(), is_said)];
        assert_eq!(
            found(&[(lag, "11s")], lag, "10s"),
            one("`replication_lag` of 11s exceeds the ceiling of 10s", true)
        );
        assert_eq!(
            found(&[], lag, "5s"),
            one("`replication_lag` of 10s exceeds the ceiling of 5s", false)
        );
        assert_eq!(
            found(&[(lag, "off")], lag, "10s"),
            one("`replication_lag` is off, and its ceiling is 10s", true)
        );
        assert_eq!(
            found(&[(lag, r#"{"limit":"5s"}"#)], lag, r#"{"bytes":"1GB"}"#),
            one(
                "`replication_lag.bytes` has no limit, and its ceiling is 1GB",
                false
            )
        );
        assert_eq!(
            found(&[], "lock_waits", "4"),
            one("`lock_waits` is off, and its ceiling is 4", false)
        );
        assert_eq!(found(&[], "query", "4"), [], "there is nothing to look at");
        assert_eq!(
            found(
                &[("query", r#"{"limit":5,"sql":"SELECT 1"}"#)],
                "query",
                "4"
            ),
            one("`query` of 5 exceeds the ceiling of 4", true)
        );
    }
}
