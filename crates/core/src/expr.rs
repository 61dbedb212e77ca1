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
}
