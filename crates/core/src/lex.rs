//! The words of a piece of SQL: just enough to tell where a string, a comment
//! or a quoted name begins and ends.
//!
//! Nothing here understands SQL. What an expression means, the database says
//! (see [`crate::expr`]); this module only answers questions for which a plain
//! text search would be fooled by a string literal: is this one expression, or
//! does it break out of the parentheses around it; where does the text name a
//! column. It follows PostgreSQL's lexical rules with
//! `standard_conforming_strings = on`.

use std::fmt;

/// What a [`Token`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// White space.
    Space,
    /// `-- …` up to the line's end, or `/* … */` with nesting.
    Comment,
    /// A keyword or a name without quotes.
    Word,
    /// A name in double quotes.
    Quoted,
    /// A string in single quotes or dollar quotes, with its prefix.
    Text,
    /// A number, or a parameter such as `$1`.
    Number,
    /// Any other single character.
    Symbol,
}

/// A piece of the text; all pieces together are the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// What it is.
    pub kind: TokenKind,
    /// Its text, quotes and prefixes included.
    pub text: &'a str,
}

impl Token<'_> {
    /// The name that an unquoted or quoted identifier stands for, as
    /// PostgreSQL folds it (ASCII letters only).
    pub fn name(&self) -> Option<String> {
        match self.kind {
            TokenKind::Word => Some(self.text.to_ascii_lowercase()),
            TokenKind::Quoted => {
                let inner = self.text.strip_prefix('"')?.strip_suffix('"')?;
                Some(inner.replace("\"\"", "\""))
            }
            _ => None,
        }
    }

    /// White space or a comment.
    pub fn is_blank(&self) -> bool {
        matches!(self.kind, TokenKind::Space | TokenKind::Comment)
    }

    /// Exactly this symbol.
    pub fn is_symbol(&self, symbol: &str) -> bool {
        self.kind == TokenKind::Symbol && self.text == symbol
    }
}

/// Why a text is not what it should be. Fits "… is wrong: {error}".
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LexError {
    /// A string, quoted name or comment has no end.
    Unterminated {
        /// What has no end.
        what: &'static str,
    },
    /// Nothing but space and comments.
    Empty,
    /// `(`, `[`, `)` or `]` without its partner.
    Unbalanced {
        /// The symbol without a partner.
        symbol: char,
    },
    /// A semicolon.
    Semicolon,
    /// A comma outside every parenthesis.
    Comma,
}

impl fmt::Display for LexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LexError::Unterminated { what } => write!(f, "the {what} has no end"),
            LexError::Empty => f.write_str("it is empty"),
            LexError::Unbalanced { symbol } => write!(f, "\"{symbol}\" has no partner"),
            LexError::Semicolon => {
                f.write_str("it contains a semicolon, and one expression was expected")
            }
            LexError::Comma => f.write_str(
                "it contains a comma outside parentheses, and one expression was expected",
            ),
        }
    }
}

impl std::error::Error for LexError {}

/// Cuts a text into tokens.
///
/// # Errors
/// When a string, quoted name or comment has no end.
pub fn tokens(text: &str) -> Result<Vec<Token<'_>>, LexError> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (kind, length) = token(rest, first)?;
        let (piece, after) = rest.split_at(length);
        found.push(Token { kind, text: piece });
        rest = after;
    }
    Ok(found)
}

/// Checks that a text stays within parentheses that are put around it: it has
/// content, its own parentheses are balanced, and it holds no semicolon and no
/// comma outside them. Whether it is an expression, the database says.
///
/// # Errors
/// The first reason why not.
pub fn single_expression(text: &str) -> Result<(), LexError> {
    let mut open = Vec::new();
    let mut content = false;
    for token in tokens(text)? {
        content |= !token.is_blank();
        if token.kind != TokenKind::Symbol {
            continue;
        }
        match token.text {
            "(" => open.push('('),
            "[" => open.push('['),
            ")" if open.pop() != Some('(') => return Err(LexError::Unbalanced { symbol: ')' }),
            "]" if open.pop() != Some('[') => return Err(LexError::Unbalanced { symbol: ']' }),
            ";" => return Err(LexError::Semicolon),
            "," if open.is_empty() => return Err(LexError::Comma),
            _ => {}
        }
    }
    match open.pop() {
        Some(symbol) => Err(LexError::Unbalanced { symbol }),
        None if content => Ok(()),
        None => Err(LexError::Empty),
    }
}

fn token(rest: &str, first: char) -> Result<(TokenKind, usize), LexError> {
    let bytes = rest.as_bytes();
    if first.is_ascii_whitespace() || first == '\u{b}' {
        return Ok((
            TokenKind::Space,
            span(rest, |c| c.is_ascii_whitespace() || c == '\u{b}'),
        ));
    }
    if rest.starts_with("--") {
        return Ok((
            TokenKind::Comment,
            rest.find(['\n', '\r']).unwrap_or(rest.len()),
        ));
    }
    if rest.starts_with("/*") {
        return Ok((TokenKind::Comment, block_comment(bytes)?));
    }
    match first {
        '\'' => Ok((TokenKind::Text, string(rest, 0, Escapes::None)?)),
        '"' => Ok((TokenKind::Quoted, quoted(rest, 0)?)),
        '$' => dollar(rest),
        '0'..='9' => Ok((TokenKind::Number, number(bytes))),
        c if starts_word(c) => word(rest),
        c => Ok((TokenKind::Symbol, c.len_utf8())),
    }
}

fn starts_word(c: char) -> bool {
    c.is_ascii_alphabetic() || c == '_' || !c.is_ascii()
}

fn span(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

/// A word, unless it turns out to be the prefix of a string.
fn word(rest: &str) -> Result<(TokenKind, usize), LexError> {
    let length = span(rest, |c| starts_word(c) || c.is_ascii_digit() || c == '$');
    let (word, after) = rest.split_at(length);
    match (word.to_ascii_lowercase().as_str(), after.as_bytes()) {
        ("e", [b'\'', ..]) => Ok((TokenKind::Text, string(rest, length, Escapes::Backslash)?)),
        ("b" | "x" | "n", [b'\'', ..]) => {
            Ok((TokenKind::Text, string(rest, length, Escapes::None)?))
        }
        ("u", [b'&', b'\'', ..]) => Ok((TokenKind::Text, string(rest, length + 1, Escapes::None)?)),
        ("u", [b'&', b'"', ..]) => Ok((TokenKind::Quoted, quoted(rest, length + 1)?)),
        _ => Ok((TokenKind::Word, length)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    None,
    Backslash,
}

/// The length of a string whose opening quote is at `start`. A string goes on
/// after white space with a line break and another quote.
fn string(rest: &str, start: usize, escapes: Escapes) -> Result<usize, LexError> {
    let bytes = rest.as_bytes();
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => return Err(LexError::Unterminated { what: "string" }),
            Some(b'\\') if escapes == Escapes::Backslash => at += 2,
            Some(b'\'') if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            Some(b'\'') => {
                let after = &rest[at + 1..];
                let blank = span(after, |c| c.is_ascii_whitespace());
                let goes_on = after[..blank].contains(['\n', '\r'])
                    && after.as_bytes().get(blank) == Some(&b'\'');
                if !goes_on {
                    return Ok(at + 1);
                }
                at += blank + 2;
            }
            Some(_) => at += 1,
        }
    }
}

fn quoted(rest: &str, start: usize) -> Result<usize, LexError> {
    let bytes = rest.as_bytes();
    let mut at = start + 1;
    loop {
        match bytes.get(at) {
            None => {
                return Err(LexError::Unterminated {
                    what: "quoted name",
                });
            }
            Some(b'"') if bytes.get(at + 1) == Some(&b'"') => at += 2,
            Some(b'"') => return Ok(at + 1),
            Some(_) => at += 1,
        }
    }
}

fn block_comment(bytes: &[u8]) -> Result<usize, LexError> {
    let mut depth = 1;
    let mut at = 2;
    while depth > 0 {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                at += 2;
            }
            (Some(_), _) => at += 1,
            (None, _) => return Err(LexError::Unterminated { what: "comment" }),
        }
    }
    Ok(at)
}

/// `$tag$ … $tag$`, a parameter, or a lone `$`.
fn dollar(rest: &str) -> Result<(TokenKind, usize), LexError> {
    let after = &rest[1..];
    let digits = span(after, |c| c.is_ascii_digit());
    if digits > 0 {
        return Ok((TokenKind::Number, 1 + digits));
    }
    let tag = span(after, |c| starts_word(c) || c.is_ascii_digit());
    if after.as_bytes().get(tag) != Some(&b'$') {
        return Ok((TokenKind::Symbol, 1));
    }
    let fence = &rest[..tag + 2];
    match rest[fence.len()..].find(fence) {
        Some(at) => Ok((TokenKind::Text, fence.len() + at + fence.len())),
        None => Err(LexError::Unterminated {
            what: "dollar-quoted string",
        }),
    }
}

fn number(bytes: &[u8]) -> usize {
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        let belongs = byte.is_ascii_alphanumeric()
            || *byte == b'_'
            || (*byte == b'.' && bytes.get(at + 1) != Some(&b'.'))
            || (matches!(byte, b'+' | b'-')
                && matches!(bytes[at - 1], b'e' | b'E')
                && bytes.get(at + 1).is_some_and(u8::is_ascii_digit));
        if !belongs {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(text: &str) -> Vec<(TokenKind, &str)> {
        tokens(text)
            .expect("the text is well formed")
            .into_iter()
            .filter(|token| token.kind != TokenKind::Space)
            .map(|token| (token.kind, token.text))
            .collect()
    }

    #[test]
    fn strings_names_and_comments_end_where_postgresql_ends_them() {
        use TokenKind::*;
        assert_eq!(
            cut(r#"a."B ""q"""||'it''s'"#),
            [
                (Word, "a"),
                (Symbol, "."),
                (Quoted, r#""B ""q""""#),
                (Symbol, "|"),
                (Symbol, "|"),
                (Text, "'it''s'"),
            ]
        );
        assert_eq!(cut(r"E'a\'b' 'a\'"), [(Text, r"E'a\'b'"), (Text, r"'a\'")]);
        assert_eq!(
            cut("$x$ ' $y$ $x$ $1"),
            [(Text, "$x$ ' $y$ $x$"), (Number, "$1")]
        );
        assert_eq!(
            cut("/* a /* b */ ' */ x -- ' y\nz"),
            [
                (Comment, "/* a /* b */ ' */"),
                (Word, "x"),
                (Comment, "-- ' y"),
                (Word, "z")
            ]
        );
        assert_eq!(cut("'a'\n  'b' 'c'"), [(Text, "'a'\n  'b'"), (Text, "'c'")]);
        assert_eq!(
            cut("1.5e-3+2 a$1 größe U&\"x\""),
            [
                (Number, "1.5e-3"),
                (Symbol, "+"),
                (Number, "2"),
                (Word, "a$1"),
                (Word, "größe"),
                (Quoted, "U&\"x\"")
            ]
        );
    }

    #[test]
    fn nothing_breaks_out_of_its_parentheses() {
        for fine in [
            "a",
            "lower(a) -- )",
            "f(a, b)[1]",
            "')' || $$;$$",
            "a /* ; */",
        ] {
            assert_eq!(single_expression(fine), Ok(()), "{fine}");
        }
        let wrong = [
            ("", LexError::Empty),
            (" -- a", LexError::Empty),
            ("a) OR (b", LexError::Unbalanced { symbol: ')' }),
            ("(a", LexError::Unbalanced { symbol: '(' }),
            ("f(a])", LexError::Unbalanced { symbol: ']' }),
            ("a; b", LexError::Semicolon),
            ("a, b", LexError::Comma),
            ("'a", LexError::Unterminated { what: "string" }),
            ("/* a", LexError::Unterminated { what: "comment" }),
        ];
        for (text, error) in wrong {
            assert_eq!(single_expression(text), Err(error), "{text}");
        }
    }

    #[test]
    fn names_fold_as_postgresql_folds_them() {
        let names: Vec<_> = tokens("Abc \"A\"\"b\" ÄÖ")
            .expect("the text is well formed")
            .iter()
            .filter_map(Token::name)
            .collect();
        assert_eq!(names, ["abc", "A\"b", "ÄÖ"]);
    }
}
