//! Single values: text, numbers, words, and what is written where none fits.

use serde_json::Value;

use super::super::formats;
use super::super::node::{Kind, Node, Style};
use super::place::Presence;
use super::wording::{
    allowed_words, has_type, has_words, one_of, otherwise, suggest, unquoted, wanted,
};
use super::{Checker, Leaf, Place};

impl<'a> Checker<'a> {
    pub(super) fn scalar(
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
                .expected(match leaves.iter().all(|leaf| has_words(leaf)) {
                    true => one_of(&words),
                    false => format!("expected {}", wanted(leaves)),
                });
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
        let fill = match place.presence {
            Presence::Required => "write a value",
            Presence::Optional => "write a value, or leave the key out",
        };
        let help = match quotable {
            true => format!("{fill}; if it is really a name, put quotes around it"),
            false => fill.to_owned(),
        };
        self.findings.push(finding.help(help));
        None
    }

    pub(super) fn mismatch(
        &mut self,
        node: &Node,
        leaves: &[Leaf<'a>],
        place: &Place,
    ) -> Option<Value> {
        let written = match node.text() {
            Some(text) => format!("`{}`", text.lines().next().unwrap_or_default()),
            None => node.describe().to_owned(),
        };
        let finding = self
            .source
            .finding(&node.span, format!("{} cannot be {written}", place.label))
            .expected(format!("expected {}", wanted(leaves)));
        let help = match &node.kind {
            Kind::Map(entries) => unquoted(entries, leaves),
            Kind::Scalar(text, _) => otherwise(text, leaves),
            Kind::List(_) => None,
        };
        self.findings.push(finding.helped(help));
        None
    }
}
