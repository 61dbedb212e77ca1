//! Reading a schema, and saying in words what it demands.

use serde_json::{Map, Value};

use super::super::diagnostic::{Diagnostic, similar};
use super::super::node::{Key, Node};
use super::Leaf;

/// With more choices than this, a mapping is one of the operations.
const SHORT_LIST: usize = 12;

/// The keys that an object must have.
pub(super) fn required_keys<'a>(leaf: Leaf<'a>) -> impl Iterator<Item = &'a str> {
    let keys = leaf.get("required").and_then(Value::as_array);
    keys.into_iter().flatten().filter_map(Value::as_str)
}

/// Does it take values of this JSON type?
pub(super) fn has_type(leaf: Leaf<'_>, name: &str) -> bool {
    match leaf.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(several)) => several.iter().any(|kind| kind == name),
        _ => false,
    }
}

/// Does it take certain words only?
pub(super) fn has_words(leaf: Leaf<'_>) -> bool {
    leaf.contains_key("const") || leaf.contains_key("enum")
}

/// All the words that are taken.
pub(super) fn allowed_words<'a>(leaves: &[Leaf<'a>]) -> Vec<&'a str> {
    leaves
        .iter()
        .flat_map(|leaf| {
            let one = leaf.get("const").and_then(Value::as_str);
            let several = leaf.get("enum").and_then(Value::as_array);
            one.into_iter()
                .chain(several.into_iter().flatten().filter_map(Value::as_str))
        })
        .collect()
}

/// The only key of an object that must have exactly that one.
pub(super) fn tag_of<'a>(leaf: Leaf<'a>) -> Option<&'a str> {
    let required = leaf.get("required")?.as_array()?;
    match required.as_slice() {
        [only] => only.as_str(),
        _ => None,
    }
}

/// For people: `text, or a mapping with name, schema`.
pub(super) fn wanted(leaves: &[Leaf<'_>]) -> String {
    let words = allowed_words(leaves);
    let mut kinds: Vec<String> = Vec::new();
    if !words.is_empty() {
        kinds.push(words.join(", "));
    }
    for leaf in leaves.iter().filter(|leaf| !has_words(leaf)) {
        let kind = if has_type(leaf, "string") {
            match leaf.get("format").and_then(Value::as_str) {
                Some("sql-expression") => "a SQL expression",
                Some("sql-statements" | "sql-undo") => "SQL",
                Some("sql-type") => "a type",
                Some("time-span") => "a time such as 500ms, 10s, 30m",
                Some("identifier" | "schema-name" | "plan-name") => "a name",
                Some("qualified-name") => "a name or schema.name",
                Some("digits") => "digits",
                Some("byte-size") => "a size such as 64MB, 2GB",
                Some("byte-rate") => "a size per second such as 20MB/s",
                Some("percentage") => "a percentage such as 80%",
                Some("http-url") => "a URL",
                Some("sql-query") => "a SELECT",
                _ => "text",
            }
            .to_owned()
        } else if has_type(leaf, "integer") {
            "a whole number".to_owned()
        } else if has_type(leaf, "boolean") {
            "true or false".to_owned()
        } else if has_type(leaf, "array") {
            "a list".to_owned()
        } else {
            let keys = leaf.get("properties").and_then(Value::as_object);
            let keys: Vec<&str> = keys
                .into_iter()
                .flat_map(Map::keys)
                .map(String::as_str)
                .collect();
            match keys.as_slice() {
                [] => "a mapping".to_owned(),
                keys if leaves.len() <= SHORT_LIST => format!("a mapping with {}", keys.join(", ")),
                _ => "an operation, a mapping with one key".to_owned(),
            }
        };
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds.join(", or ")
}

/// `expected one of a, b`.
pub(super) fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("expected {only}"),
        words => format!("expected one of {}", words.join(", ")),
    }
}

/// Adds a did-you-mean.
pub(super) fn suggest(finding: Diagnostic, word: &str, candidates: &[&str]) -> Diagnostic {
    match similar(word, candidates.iter().copied()) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    }
}

/// What to do about a mapping where text is expected: a blank behind a colon
/// makes one.
pub(super) fn unquoted(entries: &[(Key, Node)], leaves: &[Leaf<'_>]) -> Option<String> {
    let [(key, value)] = entries else {
        return None;
    };
    let text = value.text()?;
    let mut formats = leaves.iter().filter_map(|leaf| leaf.get("format"));
    if !leaves.iter().any(|leaf| has_type(leaf, "string")) {
        return None;
    }
    Some(if formats.any(|format| format == "acknowledgement") {
        format!("write `{}:{text}`, without a blank", key.text)
    } else {
        "put quotes around a value that holds `: `".to_owned()
    })
}

/// What to do about a single value where something else is expected.
pub(super) fn otherwise(text: &str, leaves: &[Leaf<'_>]) -> Option<String> {
    if leaves.iter().any(|leaf| has_type(leaf, "boolean")) {
        return match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "y" | "true" | "1" => Some("write `true`".to_owned()),
            "no" | "off" | "n" | "false" | "0" => Some("write `false`".to_owned()),
            _ => None,
        };
    }
    if leaves.iter().any(|leaf| has_type(leaf, "array")) {
        return Some(format!("write `[{text}]`"));
    }
    let is_tag = leaves.iter().any(|leaf| tag_of(leaf) == Some(text));
    is_tag.then(|| format!("write `{text}: {{…}}`, with its keys in the braces or under it"))
}

/// The first sentence of a description, on one line.
pub(super) fn first_sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ") {
        Some(end) => line[..=end].to_owned(),
        None => line,
    }
}
