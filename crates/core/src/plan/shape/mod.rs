//! Checks a document against its JSON Schema, to the end.
//!
//! The schema is the one that [`super::schema()`] publishes, derived from the
//! types of [`super::file`] and of the operations; every complaint here is
//! one that an editor would make as well, and the other way round. A value
//! that passes can be deserialized into its type.
//!
//! Only what our own schemas use is understood: `$ref`, `anyOf`, `oneOf`,
//! `type`, `const`, `enum`, `properties`, `required`, `additionalProperties`,
//! `propertyNames`, `items`, `minItems`, `maxItems`, `minProperties`, `uniqueItems`,
//! `minLength`, `minimum`, `maximum` and the formats of [`super::formats`].

mod place;
mod scalar;
mod wording;

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, SourceText, similar};
use super::formats;
use super::node::{Key, Kind, Node, Style};
use crate::ops::ELSEWHERE;
use place::Presence;
use wording::{first_sentence, has_type, one_of, required_keys, suggest, tag_of};

pub(crate) use place::Place;

/// After so many findings the rest of a file is not looked at.
pub(crate) const ENOUGH: usize = 100;

/// Checks values of one file.
pub(crate) struct Checker<'a> {
    source: &'a SourceText,
    root: &'a Value,
    /// What was found.
    pub(crate) findings: Vec<Diagnostic>,
}

/// The part of a schema that describes objects, lists or scalars.
type Leaf<'a> = &'a Map<String, Value>;

impl<'a> Checker<'a> {
    /// For one file and the schema of its kind.
    pub(crate) fn new(source: &'a SourceText, root: &'a Value) -> Self {
        Self {
            source,
            root,
            findings: Vec::new(),
        }
    }

    /// Checks a node; `None` when something is wrong in it.
    pub(crate) fn value(&mut self, node: &Node, schema: &'a Value, place: &Place) -> Option<Value> {
        if self.findings.len() >= ENOUGH {
            return None;
        }
        let leaves = self.leaves(schema);
        if leaves.is_empty() {
            return Some(plain_value(node));
        }
        match &node.kind {
            Kind::Scalar(text, style) => self.scalar(node, text, *style, &leaves, place),
            Kind::List(items) => match leaves.iter().find(|leaf| has_type(leaf, "array")) {
                Some(leaf) => self.list(node, items, leaf, place),
                None => self.mismatch(node, &leaves, place),
            },
            Kind::Map(entries) => {
                let objects: Vec<Leaf<'a>> = leaves
                    .iter()
                    .copied()
                    .filter(|leaf| has_type(leaf, "object"))
                    .collect();
                match objects.as_slice() {
                    [] => self.mismatch(node, &leaves, place),
                    [only] => {
                        let before = self.findings.len();
                        let fields = self.object(node, entries, only, place);
                        let clean = self.findings.len() == before;
                        clean.then(|| assemble(fields))
                    }
                    several => self.tagged(node, entries, several),
                }
            }
        }
    }

    /// Checks the fields of the document itself, each on its own.
    pub(crate) fn fields(&mut self, node: &Node) -> BTreeMap<String, Option<Value>> {
        let root = self.root;
        match (&node.kind, root.as_object()) {
            (Kind::Map(entries), Some(leaf)) => self.object(node, entries, leaf, &Place::root()),
            _ => {
                let title = root
                    .get("title")
                    .and_then(Value::as_str)
                    .unwrap_or("mapping");
                self.findings.push(
                    self.source
                        .finding(&node.span, format!("the file holds {}", node.describe()))
                        .expected(format!("expected the keys of a {title}")),
                );
                BTreeMap::new()
            }
        }
    }

    /// The schema of the items under one of the document's keys.
    pub(crate) fn item_schema(&self, key: &str) -> Option<&'a Value> {
        self.root.get("properties")?.get(key)?.get("items")
    }

    /// Follows references and choices down to what describes values.
    fn leaves(&self, schema: &'a Value) -> Vec<Leaf<'a>> {
        let Some(map) = schema.as_object() else {
            return Vec::new();
        };
        if let Some(reference) = map.get("$ref").and_then(Value::as_str) {
            let target = reference
                .strip_prefix('#')
                .and_then(|path| self.root.pointer(path));
            return target.map(|schema| self.leaves(schema)).unwrap_or_default();
        }
        let choices = ["anyOf", "oneOf"]
            .iter()
            .find_map(|word| map.get(*word)?.as_array());
        match choices {
            Some(choices) => choices
                .iter()
                .flat_map(|choice| self.leaves(choice))
                .collect(),
            None => vec![map],
        }
    }

    fn list(
        &mut self,
        node: &Node,
        items: &[Node],
        leaf: Leaf<'a>,
        place: &Place,
    ) -> Option<Value> {
        let before = self.findings.len();
        let least = leaf.get("minItems").and_then(Value::as_u64).unwrap_or(0);
        if (items.len() as u64) < least {
            let finding = self
                .source
                .finding(&node.span, format!("{} is empty", place.label))
                .expected("expected at least one entry");
            self.findings.push(finding);
        }
        let most = leaf.get("maxItems").and_then(Value::as_u64);
        if most.is_some_and(|most| items.len() as u64 > most) {
            let finding = self
                .source
                .finding(&node.span, format!("{} is too long", place.label))
                .expected(format!(
                    "expected at most {} entries",
                    most.unwrap_or_default()
                ));
            self.findings.push(finding);
            return None;
        }
        let mut values = Vec::new();
        for item in items {
            let value = match leaf.get("items") {
                Some(schema) => self.value(item, schema, &place.item(item)),
                None => Some(plain_value(item)),
            };
            values.extend(value);
        }
        if leaf.get("uniqueItems").is_some_and(|unique| unique == true) {
            self.unique(items, place);
        }
        (self.findings.len() == before).then_some(Value::Array(values))
    }

    fn unique(&mut self, items: &[Node], place: &Place) {
        let mut seen: BTreeMap<&str, &Node> = BTreeMap::new();
        for item in items {
            let Some(text) = item.text() else { continue };
            if self.findings.len() >= ENOUGH {
                break;
            }
            match seen.get(text) {
                Some(first) => {
                    let finding = self
                        .source
                        .finding(
                            &item.span,
                            format!("`{text}` stands twice in {}", place.label),
                        )
                        .note(format!(
                            "the first one is at {}",
                            self.source.place(&first.span)
                        ));
                    self.findings.push(finding);
                }
                None => {
                    seen.insert(text, item);
                }
            }
        }
    }

    /// Checks each key of a mapping on its own.
    fn object(
        &mut self,
        node: &Node,
        entries: &[(Key, Node)],
        leaf: Leaf<'a>,
        place: &Place,
    ) -> BTreeMap<String, Option<Value>> {
        let properties = leaf.get("properties").and_then(Value::as_object);
        let others = leaf
            .get("additionalProperties")
            .filter(|schema| schema.is_object());
        let mut seen: BTreeMap<&str, &Key> = BTreeMap::new();
        let mut found = BTreeMap::new();
        let mut meant = Vec::new();
        for (key, value) in entries {
            if self.findings.len() >= ENOUGH {
                break;
            }
            if let Some(first) = seen.get(key.text.as_str()) {
                let finding = self
                    .source
                    .finding(
                        &key.span,
                        format!("duplicate key `{}` {}", key.text, place.within()),
                    )
                    .note(format!(
                        "the first one is at {}",
                        self.source.place(&first.span)
                    ));
                self.findings.push(finding);
                continue;
            }
            seen.insert(&key.text, key);
            let schema = properties.and_then(|known| known.get(&key.text)).or(others);
            let Some(schema) = schema else {
                meant.extend(self.unknown_key(key, properties, entries, place));
                continue;
            };
            if let Some(format) = leaf
                .get("propertyNames")
                .and_then(|names| names.get("format")?.as_str())
            {
                let word = Node {
                    span: key.span.clone(),
                    kind: Kind::Scalar(key.text.clone(), Style::Plain),
                };
                let label = format!("a key of {}", place.label);
                formats::check(format, &word, &label, self.source, &mut self.findings);
            }
            let presence = match required_keys(leaf).any(|required| required == key.text) {
                true => Presence::Required,
                false => Presence::Optional,
            };
            let checked = self.value(value, schema, &place.field(key, presence));
            found.insert(key.text.clone(), checked);
        }
        self.required(node, &seen, &meant, leaf, place);
        found
    }

    /// `meant` holds the keys that misspelt ones were taken for.
    fn required(
        &mut self,
        node: &Node,
        seen: &BTreeMap<&str, &Key>,
        meant: &[&str],
        leaf: Leaf<'a>,
        place: &Place,
    ) {
        let at = if place.owner.is_empty() {
            node.span.start..node.span.start
        } else {
            place.owner.clone()
        };
        for key in required_keys(leaf) {
            // A key that was misspelt is told once.
            if seen.contains_key(key) || meant.contains(&key) {
                continue;
            }
            let about = leaf
                .get("properties")
                .and_then(|properties| properties.get(key)?.get("description")?.as_str())
                .map(first_sentence);
            let mut finding = self
                .source
                .finding(&at, format!("missing key `{key}` {}", place.within()))
                .expected(format!("`{key}` is required"));
            if let Some(about) = about {
                finding = finding.help(format!("`{key}`: {about}"));
            }
            self.findings.push(finding);
        }
        let least = leaf
            .get("minProperties")
            .and_then(Value::as_u64)
            .unwrap_or(0);
        if (seen.len() as u64) < least {
            let finding = self
                .source
                .finding(&node.span, format!("{} is empty", place.label))
                .expected("expected at least one entry");
            self.findings.push(finding);
        }
    }

    /// Reports a key; returns the one that it was taken for.
    fn unknown_key(
        &mut self,
        key: &Key,
        properties: Option<&'a Map<String, Value>>,
        entries: &[(Key, Node)],
        place: &Place,
    ) -> Option<&'a str> {
        let present = |name: &&str| entries.iter().any(|(key, _)| key.text == **name);
        let open: Vec<&'a str> = properties
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|name| !present(name))
            .collect();
        let what = match place.container.ends_with("throttle") {
            true => "signal",
            false => "key",
        };
        let message = format!("unknown {what} `{}` {}", key.text, place.within());
        let mut finding = self.source.finding(&key.span, message);
        if !open.is_empty() {
            finding = finding.expected(one_of(&open));
        }
        let meant = similar(&key.text, open.iter().copied());
        finding = finding.helped(match meant {
            _ if key.text == "<<" => Some("merge keys are not read: write the keys out".to_owned()),
            Some(meant) => Some(format!("did you mean `{meant}`?")),
            None => self.home_of(&key.text),
        });
        self.findings.push(finding);
        meant
    }

    /// Where a key that stands in the wrong place belongs.
    fn home_of(&self, key: &str) -> Option<String> {
        let properties = self.root.get("properties")?.as_object()?;
        let operations = self
            .item_schema("operations")
            .map(|schema| self.leaves(schema));
        let is_operation = operations
            .iter()
            .flatten()
            .any(|leaf| tag_of(leaf).is_some_and(|tag| tag == key));
        if is_operation {
            return Some(format!(
                "`{key}` is an operation: it belongs in the list `operations`"
            ));
        }
        if properties.contains_key(key) {
            return Some(format!("`{key}` belongs at the top of the file"));
        }
        properties.iter().find_map(|(section, schema)| {
            let leaves = self.leaves(schema);
            let holds = leaves.iter().any(|leaf| {
                leaf.get("properties")
                    .is_some_and(|known| known.get(key).is_some())
            });
            holds.then(|| format!("`{key}` belongs under `{section}`"))
        })
    }

    /// A mapping with one key that says what the value is: an operation.
    fn tagged(
        &mut self,
        node: &Node,
        entries: &[(Key, Node)],
        choices: &[Leaf<'a>],
    ) -> Option<Value> {
        let tags: Vec<&str> = choices.iter().filter_map(|leaf| tag_of(leaf)).collect();
        let Some((key, value)) = entries.first() else {
            self.findings.push(
                self.source
                    .finding(&node.span, "this operation is empty")
                    .expected("expected the name of an operation"),
            );
            return None;
        };
        let before = self.findings.len();
        let chosen = choices
            .iter()
            .find(|leaf| tag_of(leaf) == Some(key.text.as_str()));
        let elsewhere = ELSEWHERE.iter().find(|known| known.word == key.text);
        if let (None, Some(known)) = (chosen, elsewhere) {
            let finding = self
                .source
                .finding(&key.span, known.message)
                .expected("no operation of this name")
                .help(known.instead)
                .note(known.reason);
            self.findings.push(finding);
            return None;
        }
        let Some(chosen) = chosen else {
            let finding = self
                .source
                .finding(&key.span, format!("unknown operation `{}`", key.text))
                .expected("expected the name of an operation")
                .note(format!("the operations are {}", tags.join(", ")));
            self.findings.push(suggest(finding, &key.text, &tags));
            return None;
        };
        if let Some((second, _)) = entries.get(1) {
            let mut finding = self
                .source
                .finding(
                    &second.span,
                    format!(
                        "a second key `{}` stands beside `{}`",
                        second.text, key.text
                    ),
                )
                .expected("expected one operation in each entry of the list");
            finding = if tags.contains(&second.text.as_str()) {
                finding.help(format!("begin it with `- {}:`", second.text))
            } else {
                finding.help(format!(
                    "indent it: the keys of `{}` stand under it",
                    key.text
                ))
            };
            self.findings.push(finding);
            return None;
        }
        let schema = chosen
            .get("properties")
            .and_then(|properties| properties.get(&key.text))?;
        let content = self.value(value, schema, &Place::operation(key));
        let content = content.filter(|_| self.findings.len() == before)?;
        Some(Value::Object(Map::from_iter([(key.text.clone(), content)])))
    }
}

/// The fields that passed, as one object. Left out are those that did not,
/// of which there are none when the object is used.
fn assemble(fields: BTreeMap<String, Option<Value>>) -> Value {
    let fields = fields
        .into_iter()
        .filter_map(|(key, value)| Some((key, value?)));
    Value::Object(fields.collect())
}

/// A node of which nothing is demanded.
pub(crate) fn plain_value(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(text, _) => Value::String(text.clone()),
        Kind::List(items) => items.iter().map(plain_value).collect(),
        Kind::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.text.clone(), plain_value(value)))
            .collect(),
    }
}
