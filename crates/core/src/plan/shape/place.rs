//! Where a value stands, in the words of messages.

use super::super::diagnostic::Span;
use super::super::node::{Key, Node};

/// Where a value stands, for messages.
#[derive(Clone)]
pub(crate) struct Place {
    /// The mapping around it: `limits`, `add_column.column`; empty at the top.
    pub(super) container: String,
    /// What the value is called: `` `table` ``, ``an entry of `columns` ``.
    pub(super) label: String,
    /// What to mark when the value itself is empty.
    pub(super) owner: Span,
    /// Whether it may be left out.
    pub(super) presence: Presence,
}

/// Whether a key may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Presence {
    Required,
    Optional,
}

impl Place {
    /// The whole document.
    pub(crate) fn root() -> Self {
        Self {
            container: String::new(),
            label: "the file".to_owned(),
            owner: 0..0,
            presence: Presence::Required,
        }
    }

    pub(super) fn field(&self, key: &Key, presence: Presence) -> Self {
        let container = match self.container.as_str() {
            "" => key.text.clone(),
            outer => format!("{outer}.{}", key.text),
        };
        Self {
            container,
            label: format!("`{}`", key.text),
            owner: key.span.clone(),
            presence,
        }
    }

    pub(super) fn item(&self, node: &Node) -> Self {
        Self {
            container: self.container.clone(),
            label: format!("an entry of {}", self.label),
            owner: node.span.clone(),
            presence: Presence::Required,
        }
    }

    /// An operation's content: messages name the operation, not the list.
    pub(super) fn operation(key: &Key) -> Self {
        Self {
            container: key.text.clone(),
            label: format!("`{}`", key.text),
            owner: key.span.clone(),
            presence: Presence::Required,
        }
    }

    pub(super) fn within(&self) -> String {
        match self.container.as_str() {
            "" => "at the top of the file".to_owned(),
            container => format!("in {container}"),
        }
    }
}
