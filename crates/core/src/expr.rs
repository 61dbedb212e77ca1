//! SQL expressions of a plan after a database has parsed them.
//!
//! A plan's `up`, `down`, `where`, `fill` and so on are text. Before a plan is
//! lowered, the database itself parses each one against the table's shape
//! (see [`crate::catalog::Question`]) and answers with the canonical text, in
//! which every function, operator and type outside `pg_catalog` is
//! schema-qualified and every column reference is marked with [`ROW`]. The
//! text can then be placed anywhere, in a trigger's `WHEN`, its body, a
//! batch or a verify query, and means the same thing in each place, whatever
//! the `search_path` there is.

use serde::{Deserialize, Serialize};

/// What stands before the dot of every column reference in a template. A
/// plan whose own text contains it is refused.
pub const ROW: &str = "pontoon_row";

/// How much an expression's value may vary between two evaluations on equal
/// input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Volatility {
    /// Depends on its input only.
    Immutable,
    /// Also depends on settings such as `TimeZone`, or on the transaction's time.
    Stable,
    /// May differ at every call.
    Volatile,
}

/// One analysed expression.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Expr {
    /// Canonical text with `pontoon_row.` before each column.
    pub template: String,
    /// The columns it reads, in the order of their first appearance.
    pub columns: Vec<String>,
    /// Its volatility as the database judges it.
    pub volatility: Volatility,
}

impl Expr {
    /// The text with its columns taken from `row`, a row variable or a table
    /// alias that needs no quoting: `expr.on("NEW")`.
    pub fn on(&self, row: &str) -> String {
        self.template
            .replace(&format!("{ROW}."), &format!("{row}."))
    }

    /// The text with bare column names, for places where only one row is in
    /// scope (a CHECK constraint, an index predicate).
    pub fn bare(&self) -> String {
        self.template.replace(&format!("{ROW}."), "")
    }

    /// The text with each column replaced by what `value` gives for its name.
    pub fn with(&self, value: impl Fn(&str) -> String) -> String {
        let mark = format!("{ROW}.");
        let mut parts = self.template.split(mark.as_str());
        let mut text = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (name, rest) = leading_name(part);
            text.push_str(&value(&name));
            text.push_str(rest);
        }
        text
    }
}

/// The identifier at the beginning of a text, and what follows it.
fn leading_name(text: &str) -> (String, &str) {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text
            .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
            .unwrap_or(text.len());
        return (text[..end].to_owned(), &text[end..]);
    };
    let mut name = String::new();
    let mut rest = quoted;
    while let Some(at) = rest.find('"') {
        name.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        match rest.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => break,
        }
    }
    (name, rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_placed_on_the_named_row() {
        let expr = Expr {
            template: "lower(pontoon_row.email) || pontoon_row.\"odd name\"".into(),
            columns: vec!["email".into(), "odd name".into()],
            volatility: Volatility::Immutable,
        };
        assert_eq!(expr.on("NEW"), "lower(NEW.email) || NEW.\"odd name\"");
        assert_eq!(expr.bare(), "lower(email) || \"odd name\"");
    }
    #[test]
    fn columns_are_replaced_by_their_whole_names() {
        let expr = Expr {
            template:
                "(pontoon_row.first || pontoon_row.first_name) || pontoon_row.\"a \"\"b\"\"\""
                    .into(),
            columns: vec!["first".into(), "first_name".into(), "a \"b\"".into()],
            volatility: Volatility::Immutable,
        };
        assert_eq!(
            expr.with(|name| format!("<{name}>")),
            "(<first> || <first_name>) || <a \"b\">"
        );
    }
}
