//! YAML as a tree that remembers where everything stands.
//!
//! The only module that knows the YAML library. Scalars stay text: whether
//! `on`, `007` or `20261120101500` is a word, a number or a truth value is
//! decided by what is expected at that place, so nothing is lost or guessed
//! on the way. A typed deserializer would stop at the first error; a tree can
//! be checked to its end.
//!
//! What a file can cost us is bounded before it is read: its size, the depth
//! of its nesting, and the number of nodes that its aliases unfold to.

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, ScanError};

use super::diagnostic::{Diagnostic, SourceText, Span};

/// The longest file that is read, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// The most nodes a file may unfold to.
const MAX_NODES: usize = 100_000;
/// The deepest nesting.
const MAX_DEPTH: usize = 32;

/// One node of a document.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Where it stands, quotes included.
    pub(crate) span: Span,
    /// What it is.
    pub(crate) kind: Kind,
}

/// What a node is.
#[derive(Clone, Debug)]
pub(crate) enum Kind {
    /// Text, with the way in which it is written.
    Scalar(String, Style),
    /// A list.
    List(Vec<Node>),
    /// A mapping, in the file's order, duplicates included.
    Map(Vec<(Key, Node)>),
}

/// How a scalar is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// Without quotes.
    Plain,
    /// In single or double quotes.
    Quoted,
    /// As a block (`|` or `>`).
    Block,
}

/// A key of a mapping.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// Its text.
    pub(crate) text: String,
    /// Where it stands.
    pub(crate) span: Span,
}

impl Node {
    /// The value of a key, when this is a mapping that has it.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|(_, node)| node)
    }

    /// A key with its value.
    pub(crate) fn entry(&self, key: &str) -> Option<&(Key, Node)> {
        match &self.kind {
            Kind::Map(entries) => entries.iter().find(|(found, _)| found.text == key),
            Kind::Scalar(..) | Kind::List(_) => None,
        }
    }

    /// The node's items, when it is a list.
    pub(crate) fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::List(items) => items,
            Kind::Scalar(..) | Kind::Map(_) => &[],
        }
    }

    /// The scalar's text.
    pub(crate) fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            Kind::List(_) | Kind::Map(_) => None,
        }
    }

    /// Nothing was written: an empty plain scalar, or `~`.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, Style::Plain) if text.is_empty() || text == "~")
    }

    /// For people: `a list`.
    pub(crate) fn describe(&self) -> &'static str {
        match &self.kind {
            Kind::Scalar(..) => "a single value",
            Kind::List(_) => "a list",
            Kind::Map(_) => "a mapping",
        }
    }

    /// The place in the file of a byte offset in a scalar's text.
    ///
    /// Blanks may be folded and quotes doubled, but every other character of
    /// the text occurs in the file in the same order: the two are walked side
    /// by side. Where an escape breaks that (`"\x41"`) the scalar's start is
    /// the answer.
    pub(crate) fn place_of(&self, source: &SourceText, offset: usize) -> usize {
        let Kind::Scalar(text, style) = &self.kind else {
            return self.span.start;
        };
        let Some(written) = source.text.get(self.span.clone()) else {
            return self.span.start;
        };
        let mut at = match style {
            // The span of a block begins behind its header.
            Style::Plain | Style::Block => 0,
            Style::Quoted => 1,
        };
        let found = |at: usize, wanted: char| {
            let rest = written.get(at..)?;
            rest.find(wanted).map(|skipped| at + skipped)
        };
        for (position, wanted) in text.char_indices() {
            let next = written.get(at..).and_then(|rest| rest.chars().next());
            let blank = wanted.is_whitespace();
            if !blank && next != Some(wanted) {
                match found(at, wanted) {
                    Some(later) => at = later,
                    None => return self.span.start,
                }
            }
            if position >= offset {
                return self.span.start + at;
            }
            match next {
                Some(c) if blank && c != wanted && c.is_whitespace() => {
                    let rest = &written[at..];
                    at += rest.len() - rest.trim_start().len();
                }
                Some(c) if blank && c == wanted => at += c.len_utf8(),
                _ if blank => {}
                _ => at += wanted.len_utf8(),
            }
        }
        (self.span.start + at).min(self.span.end)
    }
}

/// Reads one document. The error is the first thing that is not YAML, or that
/// is YAML of a kind that plans do not use.
pub(crate) fn parse(source: &SourceText) -> Result<Node, Box<Diagnostic>> {
    if source.text.len() > MAX_BYTES {
        return Err(Box::new(source.finding(
            &(0..0),
            format!("the file is larger than {} KiB", MAX_BYTES / 1024),
        )));
    }
    let options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
        disallow_directives: true,
    };
    let mut reader = Reader {
        source,
        events: Parser::new_from_str_with_options(&source.text, options),
        anchors: HashMap::new(),
        nodes: 0,
    };
    reader.document()
}

struct Reader<'a> {
    source: &'a SourceText,
    events: Parser<'a, granit_parser::StrInput<'a>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

type Read<T> = Result<T, Box<Diagnostic>>;

impl<'a> Reader<'a> {
    /// The next event that says something.
    fn next(&mut self) -> Read<Option<(Event<'a>, Span)>> {
        match self.events.next() {
            None => Ok(None),
            Some(Ok((event, span))) => Ok(Some((event, byte_span(span)))),
            Some(Err(error)) => Err(Box::new(self.not_yaml(&error))),
        }
    }

    fn document(&mut self) -> Read<Node> {
        let mut root = None;
        while let Some((event, span)) = self.next()? {
            match event {
                Event::StreamStart | Event::DocumentEnd | Event::StreamEnd => {}
                Event::DocumentStart(..) if root.is_some() => {
                    return Err(Box::new(
                        self.source
                            .finding(&span, "a second document begins here")
                            .expected("expected one document in a file")
                            .help("move it to a file of its own"),
                    ));
                }
                Event::DocumentStart(..) => {}
                event => root = Some(self.node(event, span, 0)?),
            }
        }
        root.filter(|node| !node.is_blank())
            .ok_or_else(|| Box::new(self.source.finding(&(0..0), "the file is empty")))
    }

    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Read<Node> {
        self.count(&span, 1)?;
        if depth > MAX_DEPTH {
            return Err(self.refuse(&span, "this is nested too deeply"));
        }
        if event.tag().is_some_and(|tag| !tag.is_yaml_core_schema()) {
            return Err(self.refuse(&span, "a YAML tag has no meaning here"));
        }
        let anchor = event.anchor_id();
        let node = match event {
            Event::Scalar(text, style, ..) => {
                let style = match style {
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted => Style::Quoted,
                    ScalarStyle::Literal | ScalarStyle::Folded => Style::Block,
                };
                Node {
                    span,
                    kind: Kind::Scalar(text.into_owned(), style),
                }
            }
            Event::SequenceStart(..) => self.list(span, depth)?,
            Event::MappingStart(..) => self.map(span, depth)?,
            Event::Alias(id) => self.alias(id, &span)?,
            _ => return Err(self.refuse(&span, "expected a value")),
        };
        if let Some(id) = anchor {
            self.anchors.insert(id, node.clone());
        }
        Ok(node)
    }

    fn list(&mut self, mut span: Span, depth: usize) -> Read<Node> {
        let mut items = Vec::new();
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::SequenceEnd) {
                span.end = span.end.max(at.end);
                break;
            }
            items.push(self.node(event, at, depth + 1)?);
        }
        Ok(Node {
            span,
            kind: Kind::List(items),
        })
    }

    fn map(&mut self, mut span: Span, depth: usize) -> Read<Node> {
        let mut entries = Vec::new();
        while let Some((event, at)) = self.next()? {
            if matches!(event, Event::MappingEnd) {
                span.end = span.end.max(at.end);
                break;
            }
            let key = self.node(event, at, depth + 1)?;
            let Kind::Scalar(text, _) = key.kind else {
                return Err(self.refuse(&key.span, "a key must be a single word"));
            };
            let Some((event, at)) = self.next()? else {
                break;
            };
            let value = self.node(event, at, depth + 1)?;
            let key = Key {
                text,
                span: key.span,
            };
            entries.push((key, value));
        }
        Ok(Node {
            span,
            kind: Kind::Map(entries),
        })
    }

    fn alias(&mut self, id: usize, span: &Span) -> Read<Node> {
        let Some(node) = self.anchors.get(&id).cloned() else {
            return Err(self.refuse(span, "this alias stands inside its own anchor"));
        };
        self.count(span, weight(&node))?;
        Ok(node)
    }

    fn count(&mut self, span: &Span, more: usize) -> Read<()> {
        self.nodes = self.nodes.saturating_add(more);
        if self.nodes > MAX_NODES {
            return Err(self.refuse(span, "the file unfolds to too many values"));
        }
        Ok(())
    }

    fn refuse(&self, span: &Span, message: &str) -> Box<Diagnostic> {
        Box::new(self.source.finding(span, message))
    }

    fn not_yaml(&self, error: &ScanError) -> Diagnostic {
        let at = error.marker().byte_offset().unwrap_or(0);
        let finding = self
            .source
            .finding(&(at..at + 1), format!("this is not YAML: {}", error.info()));
        let (line, _) = self.source.position(at);
        let start = self.source.text.lines().nth(line as usize - 1);
        if start.is_some_and(|line| line.trim_start_matches(' ').starts_with('\t')) {
            return finding.help("indent with blanks: YAML allows no tabs there");
        }
        finding.help("look at the indentation; put quotes around a value that holds `: `, ` #` or begins with a sign")
    }
}

fn byte_span(span: granit_parser::Span) -> Span {
    span.byte_range().unwrap_or(0..0)
}

/// How many nodes a tree holds.
fn weight(node: &Node) -> usize {
    match &node.kind {
        Kind::Scalar(..) => 1,
        Kind::List(items) => 1 + items.iter().map(weight).sum::<usize>(),
        Kind::Map(entries) => {
            1 + entries
                .iter()
                .map(|(_, node)| 1 + weight(node))
                .sum::<usize>()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(text: &str) -> (SourceText, Node) {
        let source = SourceText::new("t.yaml", text);
        let node = parse(&source).expect("YAML");
        (source, node)
    }

    fn refused(text: &str) -> String {
        let source = SourceText::new("t.yaml", text);
        parse(&source).expect_err("not a document").message
    }

    #[test]
    fn scalars_keep_their_text_and_place() {
        let (source, root) = tree("a: 007\nb: [on, '20261120101500999999999', 1.0]\n");
        let a = root.get("a").expect("a");
        assert_eq!(a.text(), Some("007"));
        assert_eq!(&source.text[a.span.clone()], "007");
        let b = root.get("b").expect("b");
        let texts: Vec<_> = b.items().iter().filter_map(Node::text).collect();
        assert_eq!(texts, ["on", "20261120101500999999999", "1.0"]);
        assert_eq!(
            &source.text[b.items()[1].span.clone()],
            "'20261120101500999999999'"
        );
    }

    #[test]
    fn places_inside_scalars_are_found() {
        let cases = [
            ("a: lower(x) !! y\n", '!'),
            ("a: 'it''s ! here'\n", '!'),
            ("a: \"one\\n two ! \"\n", '!'),
            ("a: |\n    one\n    two !\n", '!'),
            ("a: >\n  one\n\n  two\n  three !\n", '!'),
            ("a: one\n   two\n   ! three\n", '!'),
            ("a: \"ü ö ! \"\n", '!'),
        ];
        for (text, wanted) in cases {
            let (source, root) = tree(text);
            let node = root.get("a").expect("a");
            let value = node.text().expect("text");
            let offset = value.find(wanted).expect("the sign");
            let place = node.place_of(&source, offset);
            assert_eq!(
                source.text[place..].chars().next(),
                Some(wanted),
                "{text:?}"
            );
            // The end of the text is inside the file too.
            assert!(node.place_of(&source, value.len()) <= source.text.len());
        }
    }

    #[test]
    fn aliases_unfold_within_bounds() {
        let (_, root) = tree("a: &x {k: v}\nb: *x\n");
        assert_eq!(
            root.get("b").and_then(|b| b.get("k")).and_then(Node::text),
            Some("v")
        );
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..9 {
            let below = level - 1;
            let list = vec![format!("*a{below}"); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{list}]\n"));
        }
        assert_eq!(refused(&bomb), "the file unfolds to too many values");
    }

    #[test]
    fn what_is_no_document_is_refused() {
        assert_eq!(refused(""), "the file is empty");
        assert_eq!(refused("# only a comment\n"), "the file is empty");
        assert_eq!(
            refused("a: 1\n---\nb: 2\n"),
            "a second document begins here"
        );
        assert_eq!(refused("a: !secret 1\n"), "a YAML tag has no meaning here");
        assert_eq!(refused("[a, b]: 1\n"), "a key must be a single word");
        assert!(refused("a: [1\n").starts_with("this is not YAML"));
        assert!(refused(&"[".repeat(5000)).starts_with("this is not YAML"));
        assert!(refused(&"x".repeat(MAX_BYTES + 1)).contains("larger than"));
    }
}
