//! What identifies a plan's work: version, schema and operations.
//!
//! A run stores the hash and the text; a resume with other operations is
//! refused with what changed. Limits, throttle, gates and descriptions may
//! change between two sittings and are no part of it.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::Plan;

/// Version, schema and operations in a canonical form: keys sorted, and what
/// an operation leaves at its default (`null`, `false`, an empty list) left
/// out, so that neither the order of keys nor a newer version's further
/// options make the same plan look changed.
pub fn operations_json(plan: &Plan) -> Value {
    let operations: Vec<Value> = plan
        .operations
        .iter()
        .map(|operation| serde_json::to_value(&operation.value).expect("operations are plain data"))
        .collect();
    canonical(&json!({
        "version": plan.version,
        "schema": plan.schema,
        "operations": operations,
    }))
}

/// SHA-256 of [`operations_json`], as 64 hexadecimal digits.
pub fn operations_hash(plan: &Plan) -> String {
    let digest = Sha256::digest(operations_json(plan).to_string());
    digest
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            write!(text, "{byte:02x}").expect("writing to a String cannot fail");
            text
        })
}

fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, Value)> = map
                .iter()
                .map(|(key, value)| (key, canonical(value)))
                .filter(|(_, value)| !is_default(value))
                .collect();
            entries.sort_by_key(|(key, _)| *key);
            let sorted = entries.into_iter().map(|(key, value)| (key.clone(), value));
            Value::Object(Map::from_iter(sorted))
        }
        Value::Array(items) => items.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

fn is_default(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::String(_) | Value::Object(_) => false,
    }
}

/// What differs between two results of [`operations_json`], one sentence
/// fragment each: `operation 2 (change_type users.amount): to was numeric, is
/// now text`. Empty when nothing does.
pub fn describe_change(old: &Value, new: &Value) -> Vec<String> {
    let mut found = Vec::new();
    for key in ["version", "schema"] {
        let (before, after) = (text(old.get(key)), text(new.get(key)));
        if before != after {
            found.push(format!("{key} was {before}, is now {after}"));
        }
    }
    let none = Vec::new();
    let list = |value: &Value| {
        value
            .get("operations")
            .and_then(Value::as_array)
            .unwrap_or(&none)
            .clone()
    };
    let (before, after) = (list(old), list(new));
    if before.len() != after.len() || before == after {
        found.extend(moved(&before, &after));
        return found;
    }
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        let title = format!("operation {} ({})", index + 1, title(before));
        if tag(before) != tag(after) {
            found.push(format!("{title} is now {}", self::title(after)));
            continue;
        }
        let mut fields = Vec::new();
        differences("", body(before), body(after), &mut fields);
        found.extend(fields.into_iter().map(|field| format!("{title}: {field}")));
    }
    found
}

/// Operations that are in one list only.
fn moved(before: &[Value], after: &[Value]) -> Vec<String> {
    let gone = before
        .iter()
        .enumerate()
        .filter(|(_, operation)| !after.contains(operation))
        .map(|(index, operation)| {
            format!(
                "operation {} ({}) was removed or changed",
                index + 1,
                title(operation)
            )
        });
    let come = after
        .iter()
        .enumerate()
        .filter(|(_, operation)| !before.contains(operation))
        .map(|(index, operation)| {
            format!(
                "operation {} ({}) is new or changed",
                index + 1,
                title(operation)
            )
        });
    let mut found: Vec<String> = gone.chain(come).collect();
    if found.is_empty() && before.len() != after.len() {
        found.push(format!(
            "the number of operations was {}, is now {}",
            before.len(),
            after.len()
        ));
    }
    found
}

fn differences(path: &str, before: &Value, after: &Value, out: &mut Vec<String>) {
    if before == after {
        return;
    }
    if let (Value::Object(old), Value::Object(new)) = (before, after) {
        let mut keys: Vec<&String> = old.keys().chain(new.keys()).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let path = match path {
                "" => key.clone(),
                path => format!("{path}.{key}"),
            };
            let value = |map: &Map<String, Value>| map.get(key).cloned().unwrap_or_default();
            differences(&path, &value(old), &value(new), out);
        }
        return;
    }
    out.push(format!(
        "{path} was {}, is now {}",
        text(Some(before)),
        text(Some(after))
    ));
}

/// For people: text without quotes, everything else as JSON.
fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "not given".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn tag(operation: &Value) -> &str {
    operation
        .as_object()
        .and_then(|map| map.keys().next())
        .map_or("", String::as_str)
}

fn body(operation: &Value) -> &Value {
    operation.get(tag(operation)).unwrap_or(&Value::Null)
}

/// `change_type users.amount`.
fn title(operation: &Value) -> String {
    let body = body(operation);
    let name = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(exact) => exact.get("name").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    };
    let table = body.get("table").and_then(name);
    let part = ["column", "from", "name"]
        .iter()
        .find_map(|key| body.get(*key).and_then(name));
    let subject: Vec<String> = table.into_iter().chain(part).collect();
    match subject.as_slice() {
        [] => tag(operation).to_owned(),
        parts => format!("{} {}", tag(operation), parts.join(".")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(operations: &str) -> Plan {
        let text = format!("plan: p\nversion: 1\noperations:\n{operations}");
        super::super::load("p.yaml", &text).expect("a good plan")
    }

    const FIRST: &str = "  - drop_not_null: {table: users, column: name}\n";
    const SECOND: &str =
        "  - change_type: {table: users, column: amount, to: numeric, as: exact}\n";

    #[test]
    fn spelling_does_not_change_the_hash() {
        let one = plan("  - set_not_null: {table: a, column: b}\n");
        let mut other = plan("  - set_not_null:\n      column: b\n      table: a\n");
        assert_eq!(operations_hash(&one), operations_hash(&other));
        assert_eq!(operations_hash(&one).len(), 64);
        other.description = Some("new words".into());
        other.limits.max_batch_rows = 1;
        assert_eq!(operations_hash(&one), operations_hash(&other));
        other.version = "2".into();
        assert_ne!(operations_hash(&one), operations_hash(&other));
        let explicit = plan(
            "  - add_column: {table: a, column: {name: b, type: int, nullable: true}, derived: false}\n",
        );
        let implicit = plan("  - add_column: {table: a, column: {name: b, type: int}}\n");
        assert_eq!(operations_hash(&explicit), operations_hash(&implicit));
        let required = plan(
            "  - add_column: {table: a, column: {name: b, type: int, nullable: false, default: 0}}\n",
        );
        assert_ne!(operations_json(&explicit), operations_json(&required));
    }

    #[test]
    fn the_hash_is_stable_across_releases() {
        // A run of an older binary must be recognised: this value never changes.
        let plan = plan(&format!("{FIRST}{SECOND}"));
        insta::assert_snapshot!(operations_json(&plan), @r##"{"operations":[{"drop_not_null":{"column":"name","table":"users"}},{"change_type":{"as":"exact","column":"amount","table":"users","to":"numeric"}}],"schema":"public","version":"1"}"##);
        insta::assert_snapshot!(operations_hash(&plan), @r##"274a95868e39925f023481d12e20228d80d372e39e57d2d642eace64b5beb5be"##);
    }

    #[test]
    fn changes_are_named() {
        let old = operations_json(&plan(&format!("{FIRST}{SECOND}")));
        let changed = SECOND.replace("numeric", "text").replace(", as: exact", "");
        let new = operations_json(&plan(&format!("{FIRST}{changed}")));
        assert_eq!(
            describe_change(&old, &new),
            [
                "operation 2 (change_type users.amount): as was exact, is now not given",
                "operation 2 (change_type users.amount): to was numeric, is now text",
            ]
        );
        let shorter = operations_json(&plan(FIRST));
        assert_eq!(
            describe_change(&old, &shorter),
            ["operation 2 (change_type users.amount) was removed or changed"]
        );
        let other = operations_json(&plan(&format!("{FIRST}  - drop_table: {{table: x}}\n")));
        assert_eq!(
            describe_change(&old, &other),
            ["operation 2 (change_type users.amount) is now drop_table x"]
        );
        assert!(describe_change(&old, &old).is_empty());
    }
}
