//! What a plan asks of a database beyond its tables, and what it answers.

use serde::{Deserialize, Serialize};

use super::Replacing;
use crate::expr::Expr;
use crate::name::TableName;
use crate::object::{Object, ObjectFacts};

/// What lowering has to know of the database beyond its tables. Texts are
/// parsed by the database itself, in a transaction that is rolled back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// What type does this text name? Resolved with the plan's schema in the
    /// search path, after `pg_catalog`.
    Type {
        /// As the plan writes it.
        text: String,
    },
    /// What does this expression mean on a row of this table?
    Expression {
        /// The table; when the plan creates it, `extra` holds all its columns.
        table: TableName,
        /// The expression, as the plan writes it.
        text: String,
        /// Columns that the plan adds to the row: name and type, as written.
        extra: Vec<(String, String)>,
        /// The type of the column it will be assigned to, when it is: the
        /// answer says whether an assignment is possible.
        assigned_to: Option<String>,
    },
    /// What would hang on a column that takes another one's place? Tried on an
    /// empty table.
    Replacement(Replacing),
    /// What columns would a view over this query have?
    View {
        /// One SELECT, as the plan writes it.
        query: String,
    },
    /// The plan makes this first: the other questions are asked as if it were
    /// there. What cannot be made is not supposed.
    Suppose {
        /// A statement that makes something small, such as a type.
        statement: String,
    },
    /// Does this exist, and what is known of it? Only read, never tried.
    Object {
        /// What.
        object: Object,
    },
}

/// What the database said of a view's query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ViewAnswer {
    /// As asked.
    pub query: String,
    /// The columns with their types, or the server's message.
    pub result: Result<Vec<(String, String)>, ServerMessage>,
}

/// What the database said of something that a plan names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ObjectAnswer {
    /// As asked.
    pub object: Object,
    /// `None`: there is no such thing.
    pub facts: Option<ObjectFacts>,
}

/// What the database said of an expression.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExpressionAnswer {
    /// As asked.
    pub table: TableName,
    /// As asked.
    pub text: String,
    /// As asked.
    pub assigned_to: Option<String>,
    /// The analysed expression, or the server's message with its SQLSTATE.
    pub result: Result<ExprFacts, ServerMessage>,
}

/// An analysed expression with its type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExprFacts {
    /// Ready to be placed.
    pub expr: Expr,
    /// `format_type` of its result.
    pub type_name: String,
    /// The value with every column it reads set to NULL is NULL as well
    /// (unknown for expressions that cannot be evaluated alone: `None`).
    pub null_on_null: Option<bool>,
    /// Functions it calls that PUBLIC may not execute.
    pub private_functions: Vec<String>,
}

/// What the database said of a type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TypeAnswer {
    /// As asked.
    pub text: String,
    /// The type, or the server's message.
    pub result: Result<TypeFacts, ServerMessage>,
}

/// A resolved type.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TypeFacts {
    /// Canonical and schema-qualified, with modifiers: `character varying(10)`.
    pub name: String,
    /// The same without modifiers: `character varying`; see [`Column::base_type`](super::Column::base_type).
    pub base: String,
    /// A domain that is NOT NULL or has a CHECK: adding such a column rewrites
    /// the table.
    pub constrained_domain: bool,
    /// `pg_type.typstorage`: how its values are stored unless a column says
    /// otherwise. `None` in an answer of an older binary.
    #[serde(default)]
    pub storage: Option<char>,
}

/// A server's refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerMessage {
    /// The SQLSTATE.
    pub code: String,
    /// The primary message.
    pub message: String,
    /// The hint, when there is one.
    pub hint: Option<String>,
}
