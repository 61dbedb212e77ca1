//! The JSON Schema of both files, for editors and for our own reader.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::file::{ConfigFile, PlanFile};

/// The JSON Schema (draft 2020-12) of a plan.
pub fn schema() -> Value {
    of::<PlanFile>("Pontoon plan")
}

/// The JSON Schema of `pontoon.yaml`.
pub fn config_schema() -> Value {
    of::<ConfigFile>("Pontoon configuration")
}

fn of<T: JsonSchema>(title: &str) -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = Value::from(generator.into_root_schema_for::<T>());
    if let Some(root) = schema.as_object_mut() {
        root.insert("title".to_owned(), json!(title));
    }
    require_values(&mut schema);
    describe_operations(&mut schema);
    schema
}

/// A key that may be left out may not be written without a value: `up:` and
/// nothing behind it is a slip. Expressions keep their `null`, which is SQL's.
fn require_values(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            drop_null_type(map);
            drop_null_choice(map);
            if map.get("default").is_some_and(Value::is_null) {
                map.remove("default");
            }
            map.values_mut().for_each(require_values);
        }
        Value::Array(items) => items.iter_mut().for_each(require_values),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn drop_null_type(map: &mut Map<String, Value>) {
    let Some(Value::Array(types)) = map.get_mut("type") else {
        return;
    };
    if types.len() == 2 {
        types.retain(|kind| kind != "null");
    }
    if let [only] = types.as_slice() {
        let only = only.clone();
        map.insert("type".to_owned(), only);
    }
}

fn drop_null_choice(map: &mut Map<String, Value>) {
    let Some(Value::Array(choices)) = map.get_mut("anyOf") else {
        return;
    };
    choices.retain(|choice| choice != &json!({"type": "null"}));
    if choices.len() == 1
        && let Some(Value::Object(only)) = choices.pop()
    {
        map.remove("anyOf");
        for (key, value) in only {
            map.entry(key).or_insert(value);
        }
    }
}

/// An operation's description is that of its own page, not of the enum's
/// variant.
fn describe_operations(schema: &mut Value) {
    let Some(definitions) = schema.get("$defs").cloned() else {
        return;
    };
    let Some(Value::Array(choices)) = schema.pointer_mut("/$defs/Operation/oneOf") else {
        return;
    };
    for choice in choices {
        let target = choice
            .get("properties")
            .and_then(Value::as_object)
            .and_then(|properties| properties.values().next())
            .and_then(|property| property.get("$ref"))
            .and_then(Value::as_str)
            .and_then(|reference| reference.strip_prefix("#/$defs/"));
        let text = target
            .and_then(|name| definitions.get(name))
            .and_then(|definition| definition.get("description"))
            .cloned();
        if let (Some(choice), Some(text)) = (choice.as_object_mut(), text) {
            choice.insert("description".to_owned(), text);
        }
    }
}
