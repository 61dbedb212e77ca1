//! The JSON Schema of `throttle`, from the declarations.

use schemars::{Schema, SchemaGenerator, json_schema};
use serde_json::{Map, Value, json};

use super::{KNOWN, SettingKind, Signal, Unit};

/// The schema of a plan's or environment's `throttle`.
pub(crate) fn throttle(_: &mut SchemaGenerator) -> Schema {
    let properties: Map<String, Value> = KNOWN
        .iter()
        .map(|signal| (signal.name.to_owned(), of(signal)))
        .collect();
    json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The schema of `throttle` in the ceilings of `pontoon.yaml`.
pub(crate) fn ceilings(_: &mut SchemaGenerator) -> Schema {
    let properties: Map<String, Value> = KNOWN
        .iter()
        .map(|signal| {
            let keys = limits(signal);
            let highest = json!({
                "description": signal.about,
                "anyOf": [
                    keys["limit"],
                    {"type": "object", "properties": keys, "additionalProperties": false, "minProperties": 1},
                ],
            });
            (signal.name.to_owned(), highest)
        })
        .collect();
    json_schema!({"type": "object", "properties": properties, "additionalProperties": false})
}

/// The schemas of a signal's limits, by key.
fn limits(signal: &Signal) -> Map<String, Value> {
    let mut keys = Map::new();
    for measure in signal.measures {
        let mut schema = limit(measure.unit);
        schema.insert("description".into(), measure.about.into());
        keys.insert(measure.key.into(), schema.into());
    }
    keys
}

fn of(signal: &Signal) -> Value {
    let words: &[&str] = match signal.short {
        "limit" => &["on", "off"],
        _ => &["off"],
    };
    let default = match signal.on {
        true => format!(
            " Default: {}.",
            signal.measures[0].default.unwrap_or_default()
        ),
        false => String::new(),
    };
    let mut keys = limits(signal);
    for setting in signal.settings {
        let mut schema = kind(setting.kind);
        schema.insert("description".into(), setting.about.into());
        keys.insert(setting.key.into(), schema.into());
    }
    let about = format!(
        "What a reading that fails or does not come means. Default: {}.",
        signal.unknown.name()
    );
    keys.insert(
        "unknown".into(),
        json!({"type": "string", "enum": ["hold", "ignore"], "description": about}),
    );
    let short = keys[signal.short].clone();
    json!({
        "description": format!("{}{default}", signal.about),
        "anyOf": [
            short,
            {"type": "string", "enum": words},
            {"type": "object", "properties": keys, "additionalProperties": false, "minProperties": 1},
        ],
    })
}

/// What a limit in this unit may be.
fn limit(unit: Unit) -> Map<String, Value> {
    let pattern = match unit {
        Unit::Count => {
            return object(json!({"type": "integer", "minimum": 1, "maximum": u32::MAX}));
        }
        Unit::Time => "^ *[0-9.]+ *[A-Za-zµ]+( *[0-9.]+ *[A-Za-zµ]+)* *$",
        Unit::Bytes => "^ *[0-9.]+ *[kKmMgGtT]?[bB] *$",
        Unit::Rate => "^ *[0-9.]+ *[kKmMgGtT]?[bB]/s *$",
        Unit::Percent => "^ *[0-9.]+ *% *$",
    };
    let examples: Vec<&str> = unit.example().split(", ").collect();
    object(json!({
        "type": "string",
        "format": unit.format(),
        "pattern": pattern,
        "examples": examples,
    }))
}

fn kind(kind: SettingKind) -> Map<String, Value> {
    object(match kind {
        SettingKind::Text("time-span") => return limit(Unit::Time),
        SettingKind::Text(format) => json!({"type": "string", "format": format, "minLength": 1}),
        SettingKind::Words(words) => json!({"type": "string", "enum": words}),
        SettingKind::List => {
            json!({"type": "array", "items": {"type": "string", "minLength": 1}, "uniqueItems": true})
        }
    })
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
