//! Every example and sample plan loads, and the three descriptions of the
//! language (the types, the JSON Schema, the pages) say the same.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pontoon_core::ops;
use pontoon_core::plan::{Ceilings, Config, Plan, config_schema, load, render_all, schema};
use serde_json::Value;

fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans")
}

/// The sample plans by name; `pontoon.yaml` is no plan.
fn sample_plans() -> Vec<(String, String)> {
    let mut plans: Vec<(String, String)> = fs::read_dir(samples())
        .expect("the folder of sample plans")
        .map(|file| file.expect("a file").path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .filter(|path| !path.ends_with("pontoon.yaml"))
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a sample plan");
            (path.display().to_string(), text)
        })
        .collect();
    plans.sort();
    plans
}

fn all_plans() -> Vec<(String, String)> {
    let examples = ops::ALL
        .iter()
        .map(|doc| (format!("{}/example.yaml", doc.name), doc.example.to_owned()));
    examples.chain(sample_plans()).collect()
}

fn loaded(name: &str, text: &str) -> Plan {
    load(name, text).unwrap_or_else(|findings| panic!("{}", render_all(&findings)))
}

#[test]
fn examples_and_samples_load() {
    for (name, text) in all_plans() {
        let plan = loaded(&name, &text);
        for operation in &plan.operations {
            let line = text.lines().nth(operation.line as usize - 1);
            let place = line.map(|line| &line[operation.column as usize - 1..]);
            let expected = format!("{}:", operation.value.name());
            assert!(place.is_some_and(|at| at.starts_with(&expected)), "{name}");
        }
    }
    assert_eq!(sample_plans().len(), 6);
}

#[test]
fn an_example_shows_its_operation() {
    for doc in ops::ALL {
        let plan = loaded(doc.name, doc.example);
        let shown = plan
            .operations
            .iter()
            .any(|operation| operation.value.name() == doc.name);
        assert!(shown, "{} has an example of something else", doc.name);
    }
}

#[test]
fn sample_plans_fit_the_sample_configuration() {
    let text = fs::read_to_string(samples().join("pontoon.yaml")).expect("the configuration");
    let config = Config::load("plans/pontoon.yaml", &text)
        .unwrap_or_else(|findings| panic!("{}", render_all(&findings)));
    let environments: Vec<&str> = config.environments().collect();
    assert_eq!(environments, ["production", "staging"]);
    for (name, text) in sample_plans() {
        let plan = loaded(&name, &text);
        for env in [None, Some("staging"), Some("production")] {
            let effective = plan.effective(&config, env, Ceilings::Hold);
            assert!(effective.is_ok(), "{name} in {env:?}");
        }
    }
}

/// The keys of an operation according to the schema, and those it requires.
fn schema_keys(schema: &Value, operation: &str) -> (BTreeSet<String>, BTreeSet<String>) {
    let choices = schema["$defs"]["Operation"]["oneOf"]
        .as_array()
        .expect("the operations");
    let reference = choices
        .iter()
        .find_map(|choice| choice["properties"].get(operation)?["$ref"].as_str())
        .expect("a reference");
    let definition = schema.pointer(&reference[1..]).expect("its target");
    let keys = definition["properties"].as_object().expect("properties");
    // One of several keys may be required, which no schema of ours says.
    let required = definition["required"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    (
        keys.keys().cloned().collect(),
        required
            .iter()
            .filter_map(|key| Some(key.as_str()?.to_owned()))
            .collect(),
    )
}

#[test]
fn pages_list_exactly_the_keys_of_their_operation() {
    let schema = schema();
    for doc in ops::ALL {
        let (keys, required) = schema_keys(&schema, doc.name);
        let section = doc.page.split("## Keys").nth(1).unwrap_or_default();
        let section = section.split("\n## ").next().unwrap_or_default();
        let mut listed = BTreeSet::new();
        let mut demanded = BTreeSet::new();
        for row in section.lines().filter_map(|line| line.strip_prefix("| `")) {
            let (key, rest) = row.split_once('`').expect("a closed key");
            listed.insert(key.to_owned());
            if rest.starts_with(" | yes |") {
                demanded.insert(key.to_owned());
            }
        }
        assert_eq!(listed, keys, "keys of {}", doc.name);
        assert_eq!(demanded, required, "required keys of {}", doc.name);
    }
}

#[test]
fn pages_have_every_section() {
    for doc in ops::ALL {
        assert!(doc.page.starts_with(&format!("# `{}`\n\n", doc.name)));
        let sections: Vec<&str> = doc
            .page
            .lines()
            .filter_map(|line| line.strip_prefix("## "))
            .collect();
        let expected = [
            "Keys",
            "What happens",
            "What application versions may do",
            "The way back",
            "Refused",
        ];
        let required: Vec<&str> = expected
            .into_iter()
            .filter(|section| *section != "Refused" || sections.contains(section))
            .collect();
        assert_eq!(sections, required, "{}", doc.name);
    }
}

#[test]
fn everything_in_the_schema_is_described() {
    for schema in [schema(), config_schema()] {
        let definitions = schema["$defs"].as_object().expect("definitions");
        for (name, definition) in definitions.iter().chain([(&"root".to_owned(), &schema)]) {
            assert!(
                definition["description"].is_string(),
                "{name} has no description"
            );
            for (key, property) in definition["properties"].as_object().into_iter().flatten() {
                assert!(
                    property["description"].is_string(),
                    "{name}.{key} has no description"
                );
            }
        }
    }
}

/// What an editor's validator would do, for the keywords that our schema
/// uses; any other keyword is an error here, so that none is overlooked.
fn violations(root: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    let mut found = Vec::new();
    let Some(rules) = schema.as_object() else {
        return match schema.as_bool() {
            Some(true) => found,
            _ => vec![format!("{place}: not allowed")],
        };
    };
    for (keyword, rule) in rules {
        let fits = match keyword.as_str() {
            "title" | "description" | "default" | "examples" | "format" | "pattern" | "$schema"
            | "$defs" => true,
            "$ref" => {
                let path = rule
                    .as_str()
                    .and_then(|rule| rule.strip_prefix('#'))
                    .expect("a local reference");
                let target = root.pointer(path).expect("its target");
                found.extend(violations(root, target, value, place));
                true
            }
            "type" => {
                let kinds = rule
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![rule.clone()]);
                kinds
                    .iter()
                    .filter_map(Value::as_str)
                    .any(|kind| match kind {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "integer" => value.is_u64() || value.is_i64(),
                        "number" => value.is_number(),
                        "boolean" => value.is_boolean(),
                        "null" => value.is_null(),
                        other => panic!("unknown type {other}"),
                    })
            }
            "const" => value == rule,
            "enum" => rule.as_array().is_some_and(|words| words.contains(value)),
            "anyOf" | "oneOf" => {
                let choices = rule.as_array().expect("choices");
                let fitting = choices
                    .iter()
                    .filter(|choice| violations(root, choice, value, place).is_empty())
                    .count();
                fitting == 1 || keyword == "anyOf" && fitting > 1
            }
            "properties" | "additionalProperties" => {
                let known = rules.get("properties").and_then(Value::as_object);
                for (key, value) in value.as_object().into_iter().flatten() {
                    let own = known.and_then(|known| known.get(key));
                    let schema = match keyword.as_str() {
                        "properties" => own,
                        _ if own.is_none() => Some(rule),
                        _ => None,
                    };
                    if let Some(schema) = schema {
                        found.extend(violations(root, schema, value, &format!("{place}.{key}")));
                    }
                }
                true
            }
            "propertyNames" => true,
            "required" => {
                let keys = rule.as_array().expect("keys");
                keys.iter()
                    .filter_map(Value::as_str)
                    .all(|key| value.get(key).is_some() || !value.is_object())
            }
            "items" => {
                for item in value.as_array().into_iter().flatten() {
                    found.extend(violations(root, rule, item, place));
                }
                true
            }
            "minItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 >= rule.as_u64().expect("a number")),
            "maxItems" => value
                .as_array()
                .is_none_or(|items| items.len() as u64 <= rule.as_u64().expect("a number")),
            "uniqueItems" => value.as_array().is_none_or(|items| {
                items
                    .iter()
                    .enumerate()
                    .all(|(index, item)| !items[..index].contains(item))
            }),
            "minProperties" => value
                .as_object()
                .is_none_or(|map| map.len() as u64 >= rule.as_u64().expect("a number")),
            "minLength" => value
                .as_str()
                .is_none_or(|text| text.chars().count() as u64 >= rule.as_u64().expect("a number")),
            "minimum" => value
                .as_u64()
                .is_none_or(|number| number >= rule.as_u64().expect("a number")),
            "maximum" => value
                .as_u64()
                .is_none_or(|number| number <= rule.as_u64().expect("a number")),
            other => panic!("{place}: unknown keyword {other}"),
        };
        if !fits {
            found.push(format!("{place}: {keyword} {rule}"));
        }
    }
    found
}

/// YAML as an editor sees it: plain scalars get the kinds of the core schema.
fn as_editors_see_it(text: &str) -> Value {
    use granit_parser::{Event, Parser, ScalarStyle};
    fn value<'a>(events: &mut impl Iterator<Item = Event<'a>>, event: Event<'a>) -> Value {
        match event {
            Event::Scalar(text, ScalarStyle::Plain, ..) => match text.as_ref() {
                "null" | "NULL" | "Null" | "~" | "" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                text => text
                    .parse::<u64>()
                    .map_or_else(|_| Value::from(text), Value::from),
            },
            Event::Scalar(text, ..) => Value::from(text.as_ref()),
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                while let Some(event) = events.next().filter(|event| *event != Event::SequenceEnd) {
                    items.push(value(events, event));
                }
                Value::Array(items)
            }
            Event::MappingStart(..) => {
                let mut map = serde_json::Map::new();
                while let Some(Event::Scalar(key, ..)) = events.next() {
                    let event = events.next().expect("a value");
                    map.insert(key.into_owned(), value(events, event));
                }
                Value::Object(map)
            }
            other => panic!("unexpected {other:?}"),
        }
    }
    let mut events = Parser::new_from_str(text)
        .map(|event| event.expect("YAML").0)
        .filter(|event| !matches!(event, Event::StreamStart | Event::DocumentStart(..)));
    let first = events.next().expect("a document");
    value(&mut events, first)
}

#[test]
fn examples_and_samples_are_valid_by_the_schema() {
    let plans = schema();
    for (name, text) in all_plans() {
        let found = violations(&plans, &plans, &as_editors_see_it(&text), "plan");
        assert!(found.is_empty(), "{name}: {found:#?}");
    }
    let config = config_schema();
    let text = fs::read_to_string(samples().join("pontoon.yaml")).expect("the configuration");
    let found = violations(&config, &config, &as_editors_see_it(&text), "config");
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn bad_plans_of_a_wrong_shape_are_bad_by_the_schema_too() {
    let plans = schema();
    for case in [
        "limits_unknown_key",
        "operation_unknown",
        "operation_missing_keys",
        "top_missing_keys",
        "lists_empty_and_repeated",
        "throttle_unknown_signal",
        "throttle_settings",
        "gates_before_expand",
        "top_no_value",
    ] {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/bad_plans/{case}.yaml"));
        let text = fs::read_to_string(path).expect("a bad plan");
        let found = violations(&plans, &plans, &as_editors_see_it(&text), "plan");
        assert!(!found.is_empty(), "{case}");
    }
}

#[test]
fn versions_of_any_length_keep_their_digits() {
    let operations = "operations:\n  - drop_table: {table: t}\n";
    for (written, kept) in [
        ("7", "7"),
        ("\"007\"", "007"),
        ("007", "007"),
        (
            "99999999999999999999999999999999",
            "99999999999999999999999999999999",
        ),
        ("'20261120101500'", "20261120101500"),
    ] {
        let plan = loaded(
            "v.yaml",
            &format!("plan: p\nversion: {written}\n{operations}"),
        );
        assert_eq!(plan.version, kept);
    }
}

#[test]
fn words_that_yaml_takes_for_other_things_stay_words() {
    let plan = loaded(
        "w.yaml",
        "plan: on\nversion: 1\nissue: 0x2A\noperations:\n  - drop_not_null: {table: yes, column: no}\n  - set_default: {table: t, column: '1.0', default: NULL}\n  - backfill: {table: u, set: {c: 1.50, d: true}, where: c IS NULL}\n",
    );
    assert_eq!(plan.plan, "on");
    assert_eq!(plan.issue.as_deref(), Some("0x2A"));
    let json = serde_json::to_value(
        plan.operations
            .iter()
            .map(|it| &it.value)
            .collect::<Vec<_>>(),
    )
    .expect("data");
    assert_eq!(json[0]["drop_not_null"]["table"], "yes");
    assert_eq!(json[0]["drop_not_null"]["column"], "no");
    assert_eq!(json[1]["set_default"]["default"], "NULL");
    assert_eq!(json[2]["backfill"]["set"]["c"], "1.50");
    assert_eq!(json[2]["backfill"]["set"]["d"], "true");
}

#[test]
fn every_signal_can_be_written_short_and_in_full() {
    let plan = loaded(
        "s.yaml",
        "plan: p\nversion: 1\nthrottle:\n  active_sessions: 40\n  archiver_backlog: off\n  blocked_sessions: on\n  checkpoint_requests: {limit: 2, unknown: hold}\n  commit_latency: 50ms\n  dead_tuples: {limit: 30%, rows: 20000000}\n  file: /run/pontoon/hold\n  http: {url_env: GATE_URL, read: body, limit: 80, timeout: 1s, unknown: ignore}\n  lock_waits: 5\n  oldest_transaction: 1h\n  query: SELECT count(*) FROM jobs\n  replication_lag: {limit: 5s, bytes: 512MB, slot_retained: 50GB, slot_used: 80%, except: [late]}\n  wal_rate: 20MB/s\n  wraparound_vacuum: on\noperations:\n  - drop_table: {table: t}\n",
    );
    let watched = pontoon_core::plan::signals::watched(&plan.throttle);
    let shown: Vec<String> = watched
        .iter()
        .map(|it| format!("{} {}", it.signal.name, it.limits()))
        .collect();
    assert_eq!(
        shown,
        [
            "active_sessions 40",
            "blocked_sessions 1",
            "checkpoint_requests 2",
            "commit_latency 50ms",
            "dead_tuples 30%, rows 20000000",
            "file 1",
            "http 80",
            "lock_waits 5",
            "oldest_transaction 1h",
            "query 1",
            "replication_lag 5s, bytes 512MB, slot_retained 50GB, slot_used 80%",
            "wal_rate 20MB/s",
            "wraparound_vacuum 1",
        ]
    );
}
