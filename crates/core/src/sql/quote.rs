//! The one place where names and values become SQL text.
//!
//! Names are always quoted, also where PostgreSQL would not ask for it: a name
//! that is a keyword in some later version, or upper case, or a sentence with
//! spaces needs no second look then.

use crate::name::TableName;

/// A name as an identifier: `users` becomes `"users"`, `a"b` becomes `"a""b"`.
///
/// PostgreSQL has no way to write a NUL byte in a name; callers hold names that
/// a server gave or that a plan's parser let through.
pub fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table with its schema: `"public"."users"`.
pub fn quote_table(table: &TableName) -> String {
    quote_qualified(&table.schema, &table.name)
}

/// Anything that lives in a schema: `"public"."users_email_idx"`.
pub fn quote_qualified(schema: &str, name: &str) -> String {
    format!("{}.{}", quote_ident(schema), quote_ident(name))
}

/// Names as a comma-separated list: `"a", "b"`.
pub fn quote_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = names.into_iter().map(quote_ident).collect();
    quoted.join(", ")
}

/// A string literal that means the same whether `standard_conforming_strings`
/// is on or off: one with a backslash is written as `E'…'`.
pub fn quote_literal(value: &str) -> String {
    let quotes_doubled = value.replace('\'', "''");
    if value.contains('\\') {
        format!("E'{}'", quotes_doubled.replace('\\', "\\\\"))
    } else {
        format!("'{quotes_doubled}'")
    }
}

/// A text between dollar quotes, for bodies that people shall be able to read.
///
/// The tag is `hint`, with a number behind it when the text contains that tag
/// already (nested quoting works for that reason). `hint` must be made of
/// ASCII letters and underscores.
pub fn dollar_quote(hint: &str, text: &str) -> String {
    debug_assert!(
        !hint.is_empty() && hint.bytes().all(|b| b.is_ascii_alphabetic() || b == b'_'),
        "a dollar quote's tag is made of letters and underscores"
    );
    // Looking for `$tag` without the closing dollar also covers a text that
    // ends in `$tag`, where the delimiter's own first dollar would close it.
    let mut tag = hint.to_owned();
    let mut number = 1_u32;
    while text.contains(&format!("${tag}")) {
        number += 1;
        tag = format!("{hint}{number}");
    }
    format!("${tag}${text}${tag}$")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_whatever_they_hold() {
        assert_eq!(quote_ident("users"), "\"users\"");
        assert_eq!(quote_ident("Na\"me"), "\"Na\"\"me\"");
        assert_eq!(
            quote_table(&TableName::new("My schema", "a.b")),
            "\"My schema\".\"a.b\""
        );
        assert_eq!(quote_list(["a", "B"]), "\"a\", \"B\"");
    }

    #[test]
    fn literals_mean_the_same_with_and_without_conforming_strings() {
        assert_eq!(quote_literal("it's"), "'it''s'");
        assert_eq!(quote_literal("a\\'b"), "E'a\\\\''b'");
    }

    #[test]
    fn a_dollar_tag_never_occurs_in_its_text() {
        assert_eq!(dollar_quote("body", "x"), "$body$x$body$");
        assert_eq!(
            dollar_quote("body", "$body$x$body$"),
            "$body2$$body$x$body$$body2$"
        );
        assert_eq!(
            dollar_quote("body", "ends in $bod"),
            "$body$ends in $bod$body$"
        );
        assert_eq!(
            dollar_quote("body", "ends in $body"),
            "$body2$ends in $body$body2$"
        );
    }
}
