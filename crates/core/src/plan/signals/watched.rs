//! From what a plan says of its signals to what is watched.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Map, Value};

use super::{HttpAddress, KNOWN, Measure, Setting, SettingKind, Signal, Unknown, find};

/// How long an answer may take when the plan does not say.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A limit that is looked at.
#[derive(Clone, Debug, PartialEq)]
pub struct Bound {
    /// Which.
    pub measure: &'static Measure,
    /// The limit in the unit of readings.
    pub value: f64,
    /// As it was written: `10s`.
    pub text: String,
}

/// A signal as a run watches it.
#[derive(Clone, Debug)]
pub struct Watched {
    /// The signal.
    pub signal: &'static Signal,
    /// A plan or configuration names it; it is not watched by default alone.
    pub named: bool,
    /// What is looked at.
    pub bounds: Vec<Bound>,
    /// What a reading that does not come means.
    pub unknown: Unknown,
    texts: BTreeMap<&'static str, String>,
    lists: BTreeMap<&'static str, Vec<String>>,
}

impl PartialEq for Watched {
    fn eq(&self, other: &Self) -> bool {
        self.signal.name == other.signal.name
            && self.named == other.named
            && self.bounds == other.bounds
            && self.unknown == other.unknown
            && self.texts == other.texts
            && self.lists == other.lists
    }
}

impl Watched {
    /// A signal's text setting.
    pub fn text(&self, key: &str) -> Option<&str> {
        self.texts.get(key).map(String::as_str)
    }

    /// The query of the signal `query`, fit to stand in brackets.
    pub fn query(&self) -> Option<&str> {
        self.text("sql").map(super::super::sql_text::query_body)
    }

    /// How long an answer may take.
    pub fn timeout(&self) -> Duration {
        self.text("timeout")
            .and_then(|text| super::super::formats::time_span(text).ok())
            .unwrap_or(TIMEOUT)
    }

    /// The limit of that key, when it is looked at.
    pub fn bound(&self, key: &str) -> Option<&Bound> {
        self.bounds.iter().find(|bound| bound.measure.key == key)
    }

    /// A signal's list; empty when it was not given.
    pub fn list(&self, key: &str) -> &[String] {
        self.lists.get(key).map_or(&[], Vec::as_slice)
    }

    /// What is sampled, without secrets, for signals that a plan points at
    /// something.
    pub fn source(&self) -> Option<String> {
        match (self.text("url"), self.text("url_env")) {
            (Some(url), _) => {
                return Some(HttpAddress::read(url).map_or_else(
                    |_| "an address that cannot be read".to_owned(),
                    |address| address.shown(),
                ));
            }
            (None, Some(variable)) => return Some(format!("the address in ${variable}")),
            (None, None) => {}
        }
        self.text("sql")
            .or_else(|| self.text("path"))
            .map(str::to_owned)
    }

    /// Its limits as people read them: `10s`, or `10s, bytes 1GB`.
    pub fn limits(&self) -> String {
        let parts: Vec<String> = self
            .bounds
            .iter()
            .map(|bound| match bound.measure.key {
                "limit" => bound.text.clone(),
                key => format!("{key} {}", bound.text),
            })
            .collect();
        parts.join(", ")
    }

    fn new(signal: &'static Signal, written: Option<&str>) -> Option<Self> {
        let given = match written {
            None if signal.on => Map::new(),
            None | Some("off") => return None,
            Some("on") => Map::new(),
            Some(text) => fields(signal, text),
        };
        let mut watched = Self {
            signal,
            named: written.is_some(),
            bounds: Vec::new(),
            unknown: match given.get("unknown").and_then(Value::as_str) {
                Some("hold") => Unknown::Hold,
                Some("ignore") => Unknown::Ignore,
                _ => signal.unknown,
            },
            texts: BTreeMap::new(),
            lists: BTreeMap::new(),
        };
        for measure in signal.measures {
            let text = given
                .get(measure.key)
                .map(plain)
                .or_else(|| measure.default.map(str::to_owned));
            // What was stored has passed the checks; should it not be readable
            // all the same, the default protects.
            let read = |text: String| {
                let value = measure.unit.read(&text).ok()?;
                Some(Bound {
                    measure,
                    value,
                    text,
                })
            };
            let bound = text
                .and_then(read)
                .or_else(|| measure.default.map(str::to_owned).and_then(read));
            watched.bounds.extend(bound);
        }
        for Setting { key, kind, .. } in signal.settings {
            match (kind, given.get(*key)) {
                (SettingKind::List, Some(Value::Array(items))) => {
                    watched.lists.insert(key, items.iter().map(plain).collect());
                }
                (SettingKind::Text(_) | SettingKind::Words(_), Some(value)) => {
                    watched.texts.insert(key, plain(value));
                }
                _ => {}
            }
        }
        Some(watched)
    }
}

/// The signals that hold work back under these settings, in the order of
/// their names.
pub fn watched(throttle: &BTreeMap<String, String>) -> Vec<Watched> {
    KNOWN
        .iter()
        .filter_map(|signal| Watched::new(signal, throttle.get(signal.name).map(String::as_str)))
        .collect()
}

/// Signals that would be watched by default and were switched off.
pub fn off_by_name(throttle: &BTreeMap<String, String>) -> Vec<&'static str> {
    KNOWN
        .iter()
        .filter(|signal| signal.on && throttle.get(signal.name).is_some_and(|text| text == "off"))
        .map(|signal| signal.name)
        .collect()
}

/// What a plan wrote for a signal, as it is stored.
pub fn stored(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The fields of a signal that was written as a mapping or as a single value.
pub(super) fn fields(signal: &Signal, text: &str) -> Map<String, Value> {
    if text.trim_start().starts_with('{')
        && let Ok(Value::Object(map)) = serde_json::from_str(text)
    {
        return map;
    }
    Map::from_iter([(signal.short.to_owned(), Value::String(text.to_owned()))])
}

fn plain(value: &Value) -> String {
    stored(value)
}

/// Changes one limit of a stored throttle while a run goes on. `key` is
/// `SIGNAL` or `SIGNAL.KEY`, for a limit or `unknown`; `on` and `off` switch
/// a signal. What is sampled (a URL, a query) cannot be changed this way: it
/// would stand in the history.
///
/// # Errors
/// What is wrong, as a sentence's beginning, and what to do about it.
pub fn change(
    throttle: &mut BTreeMap<String, String>,
    key: &str,
    value: &str,
) -> Result<(), (String, String)> {
    let (name, part) = key.split_once('.').unwrap_or((key, "limit"));
    let value = value.trim();
    let Some(signal) = find(name) else {
        let names = KNOWN.iter().map(|signal| signal.name);
        let hint = match super::super::diagnostic::similar(name, names.clone()) {
            Some(near) => format!("Did you mean `throttle.{near}`?"),
            None => format!("Signals: {}.", names.collect::<Vec<_>>().join(", ")),
        };
        return Err((format!("There is no signal `{name}`"), hint));
    };
    let mut map = match throttle.get(name).map(String::as_str) {
        None | Some("on" | "off") => Map::new(),
        Some(text) => fields(signal, text),
    };
    if part == "limit" && value == "off" {
        throttle.insert(name.to_owned(), value.to_owned());
        return Ok(());
    }
    let lacks = signal.short != "limit"
        && !signal.settings.iter().any(|setting| {
            matches!(setting.kind, SettingKind::Text(_)) && map.contains_key(setting.key)
        });
    if lacks {
        return Err((
            format!("The run has no `{}` for the signal `{name}`", signal.short),
            "Write it into the plan or pontoon.yaml and run again: limits and signals may change between sittings."
                .to_owned(),
        ));
    }
    match part {
        "limit" if value == "on" => {
            map.remove("limit");
        }
        "unknown" if value == "hold" || value == "ignore" => {
            map.insert(part.to_owned(), value.into());
        }
        "unknown" => {
            return Err((
                format!("`{value}` does not fit `throttle.{key}`: expected hold or ignore"),
                String::new(),
            ));
        }
        part => {
            let Some(measure) = signal.measure(part) else {
                let keys: Vec<&str> = signal.measures.iter().map(|measure| measure.key).collect();
                return Err((
                    format!("The signal `{name}` has no limit `{part}` that can be set"),
                    format!("What can be set: {}, unknown.", keys.join(", ")),
                ));
            };
            if let Err(why) = measure.unit.read(value) {
                return Err((
                    format!(
                        "`throttle.{key}` {why}: expected {} such as {}",
                        measure.unit.name(),
                        measure.unit.example()
                    ),
                    String::new(),
                ));
            }
            map.insert(part.to_owned(), value.into());
        }
    }
    let text = match map.len() {
        0 => "on".to_owned(),
        1 if map.contains_key("limit") => value.to_owned(),
        _ => Value::Object(map).to_string(),
    };
    throttle.insert(name.to_owned(), text);
    Ok(())
}

/// What is wrong with a signal that its schema does not say: the key at
/// fault, the finding, and what was expected.
pub fn check(name: &str, text: &str) -> Option<(&'static str, String, String)> {
    let signal = find(name)?;
    if text == "on" || text == "off" {
        return match (text, signal.short) {
            ("on", key) if key != "limit" => Some((
                "",
                format!("`{name}` needs its `{key}`"),
                format!("expected `{name}: {{{key}: …}}`"),
            )),
            _ => None,
        };
    }
    let map = fields(signal, text);
    let has = |key: &str| map.contains_key(key);
    match name {
        "http" if has("url") == has("url_env") => Some((
            "",
            "`http` needs its address, once".to_owned(),
            "expected `url`, or `url_env` with the name of an environment variable".to_owned(),
        )),
        "http" | "query" | "file" if signal.short != "url" && !has(signal.short) => Some((
            "",
            format!("`{name}` needs its `{}`", signal.short),
            format!("expected `{}: …`", signal.short),
        )),
        "http" if map.get("read").map(plain).as_deref() == Some("body") && !has("limit") => Some((
            "read",
            "a number in the body needs a `limit`".to_owned(),
            "without `read: body`, the limit is the status code 400".to_owned(),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn throttle(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn names(throttle: &BTreeMap<String, String>) -> Vec<&'static str> {
        watched(throttle)
            .iter()
            .map(|watched| watched.signal.name)
            .collect()
    }

    #[test]
    fn defaults_are_watched_and_names_switch_on_and_off() {
        let silent = names(&throttle(&[]));
        assert_eq!(
            silent,
            [
                "archiver_backlog",
                "blocked_sessions",
                "replication_lag",
                "wraparound_vacuum"
            ]
        );
        let some = throttle(&[("replication_lag", "off"), ("lock_waits", "on")]);
        assert_eq!(
            names(&some),
            [
                "archiver_backlog",
                "blocked_sessions",
                "lock_waits",
                "wraparound_vacuum"
            ]
        );
        assert_eq!(off_by_name(&some), ["replication_lag"]);
    }

    #[test]
    fn a_mapping_adds_limits_and_settings() {
        let text = r#"{"limit":"5s","bytes":"1GB","unknown":"ignore","except":["late"]}"#;
        let all = watched(&throttle(&[("replication_lag", text)]));
        let lag = all
            .iter()
            .find(|watched| watched.signal.name == "replication_lag")
            .expect("it is on");
        assert!(lag.named);
        assert_eq!(lag.unknown, Unknown::Ignore);
        assert_eq!(lag.list("except"), ["late"]);
        assert_eq!(lag.limits(), "5s, bytes 1GB, slot_used 90%");
        let all = watched(&throttle(&[
            ("file", "/run/hold"),
            ("blocked_sessions", "2"),
        ]));
        assert_eq!(all[1].bounds[0].text, "2");
        assert_eq!(all[2].text("path"), Some("/run/hold"));
    }

    #[test]
    fn what_cannot_be_read_any_more_falls_back_to_the_default() {
        let all = watched(&throttle(&[("replication_lag", "soon")]));
        assert_eq!(all[2].bounds[0].text, "10s");
    }

    #[test]
    fn limits_change_while_the_rest_stays() {
        let mut now = throttle(&[("query", r#"{"limit":5,"sql":"SELECT 1"}"#)]);
        change(&mut now, "query", "7").expect("fits");
        let query = watched(&now).into_iter().find(|w| w.signal.name == "query");
        let query = query.expect("it is on");
        assert_eq!(
            (query.limits().as_str(), query.text("sql")),
            ("7", Some("SELECT 1"))
        );
        change(&mut now, "replication_lag.bytes", "1GB").expect("fits");
        change(&mut now, "replication_lag", "3s").expect("fits");
        let lag = watched(&now)
            .into_iter()
            .find(|w| w.signal.name == "replication_lag");
        assert_eq!(
            lag.expect("it is on").limits(),
            "3s, bytes 1GB, slot_used 90%"
        );
        change(&mut now, "replication_lag", "off").expect("fits");
        assert_eq!(now["replication_lag"], "off");
        change(&mut now, "replication_lag", "on").expect("fits");
        change(&mut now, "lock_waits", "4").expect("fits");
        assert_eq!(
            (now["replication_lag"].as_str(), now["lock_waits"].as_str()),
            ("on", "4")
        );
        change(&mut now, "lock_waits.unknown", "ignore").expect("fits");
        assert_eq!(now["lock_waits"], r#"{"limit":"4","unknown":"ignore"}"#);
    }

    #[test]
    fn what_cannot_be_set_says_why() {
        let mut now = throttle(&[]);
        for (key, value, part) in [
            ("replication_leg", "1s", "There is no signal"),
            ("replication_lag", "12", "has no unit"),
            ("replication_lag", "0s", "is zero"),
            ("replication_lag.url", "x", "has no limit `url`"),
            (
                "replication_lag.unknown",
                "maybe",
                "expected hold or ignore",
            ),
            ("http", "500", "has no `url`"),
            ("http.url", "https://joe:pw@h/", "has no `url`"),
        ] {
            let (message, _) = change(&mut now, key, value).expect_err(key);
            assert!(message.contains(part), "{key}: {message}");
            assert!(!message.contains("pw"), "{message}");
        }
        assert!(now.is_empty());
    }
}
