//! Checks a document against its JSON Schema, to the end.
//!
//! The schema is the one that [`super::schema()`] publishes, derived from the
//! types of [`super::file`] and of the operations; every complaint here is
//! one that an editor would make as well, and the other way round. A value
//! that passes can be deserialized into its type.
//!
//! Only what our own schemas use is understood: `$ref`, `anyOf`, `oneOf`,
//! `type`, `const`, `enum`, `properties`, `required`, `additionalProperties`,
//! `propertyNames`, `items`, `minItems`, `minProperties`, `uniqueItems`,
//! `minLength`, `minimum`, `maximum` and the formats of [`super::formats`].

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::diagnostic::{Diagnostic, SourceText, Span, similar};
use super::formats;
use super::node::{Key, Kind, Node, Style};

/// After so many findings the rest of a file is not looked at.
const ENOUGH: usize = 100;

/// Lists of expected words longer than this stand in a note.
const SHORT_LIST: usize = 12;

/// Where a value stands, for messages.
#[derive(Clone)]
pub(crate) struct Place {
    /// The mapping around it: `limits`, `add_column.column`; empty at the top.
    container: String,
    /// What the value is called: `` `table` ``, ``an entry of `columns` ``.
    label: String,
    /// What to mark when the value itself is empty.
    owner: Span,
}

impl Place {
    /// The whole document.
    pub(crate) fn root() -> Self {
        Self {
            container: String::new(),
            label: "the file".to_owned(),
            owner: 0..0,
        }
    }

    fn field(&self, key: &Key) -> Self {
        let container = match self.container.as_str() {
            "" => key.text.clone(),
            outer => format!("{outer}.{}", key.text),
        };
        Self {
            container,
            label: format!("`{}`", key.text),
            owner: key.span.clone(),
        }
    }

    fn item(&self, node: &Node) -> Self {
        Self {
            container: self.container.clone(),
            label: format!("an entry of {}", self.label),
            owner: node.span.clone(),
        }
    }

    /// An operation's content: messages name the operation, not the list.
    fn operation(key: &Key) -> Self {
        Self {
            container: key.text.clone(),
            label: format!("`{}`", key.text),
            owner: key.span.clone(),
        }
    }

    fn within(&self) -> String {
        match self.container.as_str() {
            "" => "at the top of the file".to_owned(),
            container => format!("in {container}"),
        }
    }
}

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

    fn scalar(
        &mut self,
        node: &Node,
        text: &str,
        style: Style,
        leaves: &[Leaf<'a>],
        place: &Place,
    ) -> Option<Value> {
        let words = allowed_words(leaves);
        if words.contains(&text) {
            return Some(Value::String(text.to_owned()));
        }
        let takes_text = leaves
            .iter()
            .find(|leaf| has_type(leaf, "string") && !has_words(leaf));
        let takes_null = takes_text.is_some_and(|leaf| has_type(leaf, "null"));
        let null_word = style == Style::Plain && text.eq_ignore_ascii_case("null");
        if node.is_blank() || null_word && !takes_null {
            return self.blank(node, leaves, place, null_word && takes_text.is_some());
        }
        if let Some(leaf) = takes_text {
            return self.text(node, text, leaf, place);
        }
        if let Some(leaf) = leaves.iter().find(|leaf| has_type(leaf, "integer")) {
            return self.number(node, text, leaf, place);
        }
        if leaves.iter().any(|leaf| has_type(leaf, "boolean")) && style == Style::Plain {
            match text {
                "true" => return Some(Value::Bool(true)),
                "false" => return Some(Value::Bool(false)),
                _ => {}
            }
        }
        if !words.is_empty() {
            let finding = self
                .source
                .finding(&node.span, format!("{} cannot be `{text}`", place.label))
                .expected(one_of(&words));
            self.findings.push(suggest(finding, text, &words));
            return None;
        }
        self.mismatch(node, leaves, place)
    }

    fn text(&mut self, node: &Node, text: &str, leaf: Leaf<'a>, place: &Place) -> Option<Value> {
        let before = self.findings.len();
        if leaf
            .get("minLength")
            .and_then(Value::as_u64)
            .is_some_and(|least| least > 0)
            && text.trim().is_empty()
        {
            let finding = self
                .source
                .finding(&node.span, format!("{} is empty", place.label));
            self.findings.push(finding);
        }
        if let Some(format) = leaf.get("format").and_then(Value::as_str) {
            formats::check(format, node, &place.label, self.source, &mut self.findings);
        }
        (self.findings.len() == before).then(|| Value::String(text.to_owned()))
    }

    fn number(&mut self, node: &Node, text: &str, leaf: Leaf<'a>, place: &Place) -> Option<Value> {
        let least = leaf.get("minimum").and_then(Value::as_u64).unwrap_or(0);
        let most = leaf
            .get("maximum")
            .and_then(Value::as_u64)
            .unwrap_or(u64::MAX);
        let range = match most {
            u64::MAX => format!("expected a whole number, at least {least}"),
            most => format!("expected a whole number from {least} to {most}"),
        };
        let label = &place.label;
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let message = match text.parse::<u64>() {
            Ok(number) if digits && (least..=most).contains(&number) => {
                return Some(Value::from(number));
            }
            Ok(0) if digits => format!("{label} is zero"),
            Ok(number) if digits && number > most => format!("{label} is too large"),
            _ if digits => format!("{label} is too large"),
            _ if text.starts_with('-') => format!("{label} is negative"),
            _ => format!("{label} is not a whole number"),
        };
        let mut finding = self.source.finding(&node.span, message).expected(range);
        let bare: String = text.chars().filter(char::is_ascii_digit).collect();
        if !digits
            && !bare.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_digit() || "_, '.".contains(c))
            && !text.contains('.')
        {
            finding = finding.help(format!("write `{bare}`"));
        }
        self.findings.push(finding);
        None
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
                self.unknown_key(key, properties, entries, place);
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
            let checked = self.value(value, schema, &place.field(key));
            found.insert(key.text.clone(), checked);
        }
        self.required(node, &seen, leaf, place);
        found
    }

    fn required(
        &mut self,
        node: &Node,
        seen: &BTreeMap<&str, &Key>,
        leaf: Leaf<'a>,
        place: &Place,
    ) {
        let at = if place.owner.is_empty() {
            node.span.start..node.span.start
        } else {
            place.owner.clone()
        };
        let keys = leaf.get("required").and_then(Value::as_array);
        for key in keys.into_iter().flatten().filter_map(Value::as_str) {
            if seen.contains_key(key) {
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

    fn unknown_key(
        &mut self,
        key: &Key,
        properties: Option<&'a Map<String, Value>>,
        entries: &[(Key, Node)],
        place: &Place,
    ) {
        let present = |name: &&str| entries.iter().any(|(key, _)| key.text == **name);
        let open: Vec<&str> = properties
            .into_iter()
            .flat_map(Map::keys)
            .map(String::as_str)
            .filter(|name| !present(name))
            .collect();
        let message = format!("unknown key `{}` {}", key.text, place.within());
        let mut finding = self.source.finding(&key.span, message);
        if key.text == "<<" {
            finding = finding.help("merge keys are not read: write the keys out");
        } else if !open.is_empty() {
            finding = finding.expected(one_of(&open));
            finding = suggest(finding, &key.text, &open);
        }
        if finding.help.is_none()
            && let Some(home) = self.home_of(&key.text)
        {
            finding = finding.help(home);
        }
        self.findings.push(finding);
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
                "`{key}` is an operation: it belongs into the list `operations`"
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
            holds.then(|| format!("`{key}` belongs into `{section}`"))
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

    fn blank(
        &mut self,
        node: &Node,
        leaves: &[Leaf<'a>],
        place: &Place,
        quotable: bool,
    ) -> Option<Value> {
        let at = if node.span.is_empty() {
            &place.owner
        } else {
            &node.span
        };
        let finding = self
            .source
            .finding(at, format!("{} has no value", place.label))
            .expected(format!("expected {}", wanted(leaves)));
        let help = if quotable {
            "put quotes around it if it is really a name; else write a value or leave the key out"
        } else {
            "write a value or leave the key out"
        };
        self.findings.push(finding.help(help));
        None
    }

    fn mismatch(&mut self, node: &Node, leaves: &[Leaf<'a>], place: &Place) -> Option<Value> {
        let written = match node.text() {
            Some(text) => format!("`{}`", text.lines().next().unwrap_or_default()),
            None => node.describe().to_owned(),
        };
        let mut finding = self
            .source
            .finding(&node.span, format!("{} cannot be {written}", place.label))
            .expected(format!("expected {}", wanted(leaves)));
        if let (Kind::Map(entries), true) = (
            &node.kind,
            leaves.iter().any(|leaf| has_type(leaf, "string")),
        ) && let [(key, value)] = entries.as_slice()
            && let Some(text) = value.text()
        {
            let unspaced = format!("{}:{text}", key.text);
            finding = finding.help(if text.is_empty() {
                format!("put quotes around `{}:`", key.text)
            } else if leaves.iter().any(|leaf| {
                leaf.get("format")
                    .is_some_and(|format| format == "acknowledgement")
            }) {
                format!("write `{unspaced}`, without a blank")
            } else {
                "put quotes around a value that holds `: `".to_owned()
            });
        }
        self.findings.push(finding);
        None
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
fn plain_value(node: &Node) -> Value {
    match &node.kind {
        Kind::Scalar(text, _) => Value::String(text.clone()),
        Kind::List(items) => items.iter().map(plain_value).collect(),
        Kind::Map(entries) => entries
            .iter()
            .map(|(key, value)| (key.text.clone(), plain_value(value)))
            .collect(),
    }
}

fn has_type(leaf: Leaf<'_>, name: &str) -> bool {
    match leaf.get("type") {
        Some(Value::String(only)) => only == name,
        Some(Value::Array(several)) => several.iter().any(|kind| kind == name),
        _ => false,
    }
}

fn has_words(leaf: Leaf<'_>) -> bool {
    leaf.contains_key("const") || leaf.contains_key("enum")
}

fn allowed_words<'a>(leaves: &[Leaf<'a>]) -> Vec<&'a str> {
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
fn tag_of<'a>(leaf: Leaf<'a>) -> Option<&'a str> {
    let required = leaf.get("required")?.as_array()?;
    match required.as_slice() {
        [only] => only.as_str(),
        _ => None,
    }
}

/// For people: `text, or a mapping with name, schema`.
fn wanted(leaves: &[Leaf<'_>]) -> String {
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

fn one_of(words: &[&str]) -> String {
    match words {
        [only] => format!("expected {only}"),
        words if words.len() <= SHORT_LIST => format!("expected one of {}", words.join(", ")),
        _ => "expected one of the words below".to_owned(),
    }
}

fn suggest(mut finding: Diagnostic, word: &str, candidates: &[&str]) -> Diagnostic {
    if candidates.len() > SHORT_LIST && finding.note.is_none() {
        finding.note = Some(format!("possible are {}", candidates.join(", ")));
    }
    match similar(word, candidates.iter().copied()) {
        Some(near) => finding.help(format!("did you mean `{near}`?")),
        None => finding,
    }
}

/// The first sentence of a description, on one line.
fn first_sentence(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.find(". ") {
        Some(end) => line[..=end].to_owned(),
        None => line,
    }
}
