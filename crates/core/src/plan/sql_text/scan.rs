//! A scanner that knows words, quotes and comments as PostgreSQL does.

use std::ops::Range;

/// A piece of SQL text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: TokenKind,
    pub(super) text: &'a str,
    pub(super) at: usize,
}

/// The kinds that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword, a name or a number.
    Word,
    /// A name in double quotes.
    Name,
    /// A text constant of any form.
    Text,
    /// One sign.
    Sign,
    /// A comment of either form.
    Comment,
}

impl Token<'_> {
    /// Is it this keyword? `word` is in lower case.
    pub(super) fn is(&self, word: &str) -> bool {
        self.kind == TokenKind::Word && self.text.eq_ignore_ascii_case(word)
    }

    pub(super) fn is_sign(&self, sign: &str) -> bool {
        self.kind == TokenKind::Sign && self.text == sign
    }

    pub(super) fn range(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }

    /// The column it would name, folded as PostgreSQL folds.
    pub(super) fn column(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_lowercase()),
            TokenKind::Name => {
                let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
                Some(inner.replace("\"\"", "\""))
            }
            TokenKind::Text | TokenKind::Sign | TokenKind::Comment => None,
        }
    }
}

/// Splits a text into tokens; what is never closed reaches to the end.
pub(super) fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let rest = &text[at..];
        if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        }
        let (kind, length) = token(rest, first);
        found.push(Token {
            kind,
            text: &rest[..length],
            at,
        });
        at += length;
    }
    found
}

fn token(rest: &str, first: char) -> (TokenKind, usize) {
    if rest.starts_with("--") {
        let end = rest.find(['\n', '\r']).unwrap_or(rest.len());
        return (TokenKind::Comment, end);
    }
    if rest.starts_with("/*") {
        return (TokenKind::Comment, block_comment(rest));
    }
    match first {
        '\'' => (TokenKind::Text, quoted(rest, 1, '\'', false)),
        '"' => (TokenKind::Name, quoted(rest, 1, '"', false)),
        '$' => match dollar_quoted(rest) {
            Some(end) => (TokenKind::Text, end),
            None => (TokenKind::Sign, 1),
        },
        c if is_word(c) => {
            let end = rest.find(|c| !is_word(c) && c != '$').unwrap_or(rest.len());
            match (&rest[..end], rest[end..].starts_with('\'')) {
                ("e" | "E", true) => (TokenKind::Text, quoted(rest, end + 1, '\'', true)),
                ("b" | "B" | "x" | "X" | "n" | "N", true) => {
                    (TokenKind::Text, quoted(rest, end + 1, '\'', false))
                }
                _ => (TokenKind::Word, end),
            }
        }
        c => (TokenKind::Sign, c.len_utf8()),
    }
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// The end of a quoted piece whose content begins at `start`.
fn quoted(rest: &str, start: usize, quote: char, escapes: bool) -> usize {
    let mut chars = rest[start..].char_indices().peekable();
    while let Some((at, c)) = chars.next() {
        if escapes && c == '\\' {
            chars.next();
        } else if c == quote {
            match chars.peek() {
                Some((_, next)) if *next == quote => {
                    chars.next();
                }
                _ => return start + at + quote.len_utf8(),
            }
        }
    }
    rest.len()
}

/// Block comments nest in PostgreSQL.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0usize;
    let mut at = 0;
    while at < rest.len() {
        let here = &rest[at..];
        if here.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if here.starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += here.chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

fn dollar_quoted(rest: &str) -> Option<usize> {
    let tag_end = rest[1..].find('$')? + 2;
    let tag = &rest[..tag_end];
    let name = &tag[1..tag_end - 1];
    let well_formed = name.chars().all(is_word) && !name.starts_with(|c: char| c.is_ascii_digit());
    if !well_formed {
        return None;
    }
    let close = rest[tag_end..].find(tag);
    Some(close.map_or(rest.len(), |at| tag_end + at + tag_end))
}
