//! Blocks of PL/pgSQL that a session runs again and again.
//!
//! A `DO` block is parsed, compiled and planned each time: three quarters of
//! what a small batch costs. A block that comes a second time on the same
//! connection is therefore kept as a function in the session's `pg_temp`, with
//! what differs from one time to the next as its arguments; the server then
//! has its plans at hand. The function ends with the session, nobody else can
//! see it, and both forms run the same text.
//!
//! Nothing depends on it. Behind a pooler, where the next transaction may meet
//! another backend, blocks stay `DO` blocks; so they do where the function
//! cannot be created (no right to temporary objects, an event trigger that
//! forbids it) or is gone.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pontoon_core::sql::quote::{dollar_quote, quote_literal};
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

use super::batch::prologue::Prologue;
use super::connect::is_pooler;
use super::session::Session;
use super::sqlstate::classify;
use crate::db::DbError;

/// Functions that a session keeps. Each holds some 100 kB of plans on the
/// server, and a run with many partitions has different blocks for each.
const MOST_KEPT: usize = 8;
/// How the functions are called.
const NAME: &str = "pg_temp.pontoon_block";

/// What a block leaves in a setting when it ends.
pub(crate) const REPORT: &str = "SELECT pg_catalog.current_setting('pontoon.report') AS report";

/// A value that differs from one time to the next, under a name that the
/// block's text uses.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    name: &'static str,
    type_name: &'static str,
    literal: String,
}

impl Value {
    /// A number, or NULL.
    pub(crate) fn bigint(name: &'static str, value: impl Into<Option<u64>>) -> Self {
        let literal = value
            .into()
            .map_or_else(|| "NULL".to_owned(), |value| value.to_string());
        Self {
            name,
            type_name: "bigint",
            literal,
        }
    }

    /// Anything that has a text form.
    pub(crate) fn of(name: &'static str, type_name: &'static str, value: &str) -> Self {
        Self {
            name,
            type_name,
            literal: quote_literal(value),
        }
    }

    /// Texts, or NULL.
    pub(crate) fn texts(name: &'static str, values: Option<&[String]>) -> Self {
        let literal = values.map_or_else(
            || "NULL".to_owned(),
            |values| {
                let each: Vec<String> = values.iter().map(|value| quote_literal(value)).collect();
                format!("ARRAY[{}]::text[]", each.join(", "))
            },
        );
        Self {
            name,
            type_name: "text[]",
            literal,
        }
    }
}

/// A block that changes or compares rows and returns nothing.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub(crate) values: Vec<Value>,
    /// Its variables.
    pub(crate) declarations: String,
    /// What stands between BEGIN and END. Of two blocks with the same text
    /// only the values differ.
    pub(crate) steps: String,
}

impl Block {
    fn body(&self, constants: &str, first: &str) -> String {
        format!(
            "
#variable_conflict use_variable
DECLARE
{constants}{}
BEGIN
{first}{}
END
",
            self.declarations, self.steps
        )
    }

    /// As a statement that leaves nothing behind.
    pub(crate) fn inline(&self) -> String {
        let constants: String = self
            .values
            .iter()
            .map(|value| {
                let Value {
                    name,
                    type_name,
                    literal,
                } = value;
                format!("    {name} CONSTANT {type_name} := {literal};\n")
            })
            .collect();
        format!(
            "DO {};\n",
            dollar_quote("pontoon", &self.body(&constants, ""))
        )
    }

    /// The whole message, which leaves nothing behind.
    pub(crate) fn message(&self, prologue: &Prologue) -> String {
        format!("{}{}{REPORT};\nCOMMIT", prologue.whole(), self.inline())
    }

    /// All but the function's name.
    fn definition(&self, prologue: &Prologue) -> String {
        let parameters: Vec<String> = self
            .values
            .iter()
            .map(|value| format!("{} {}", value.name, value.type_name))
            .collect();
        format!(
            "({}) RETURNS void LANGUAGE plpgsql{} AS {}",
            parameters.join(", "),
            prologue.clauses(),
            dollar_quote("pontoon", &self.body("", &prologue.first()))
        )
    }

    fn call(&self, number: u32) -> String {
        let arguments: Vec<&str> = self
            .values
            .iter()
            .map(|value| value.literal.as_str())
            .collect();
        format!("{REPORT} FROM {NAME}_{number}({});\n", arguments.join(", "))
    }
}

/// What a connection's session keeps.
#[derive(Debug, Default)]
pub(crate) struct Routines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Nothing is kept here. `None`: nobody has asked yet.
    refuses: Option<bool>,
    /// Definitions that came once, the latest last.
    once: Vec<String>,
    /// Definitions that are functions by now, with their numbers, the latest
    /// used last.
    kept: Vec<(String, u32)>,
    /// The number of the next one.
    next: u32,
}

/// How a block is run this time.
#[derive(Debug)]
enum Form {
    Inline,
    Create { number: u32, instead: Option<u32> },
    Call { number: u32 },
}

impl Routines {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refuse(&self) {
        *self.state() = State {
            refuses: Some(true),
            ..State::default()
        };
    }

    /// The block has come before, and nobody knows yet whether this session
    /// can keep anything.
    fn asks(&self, definition: &str) -> bool {
        let state = self.state();
        state.refuses.is_none() && state.once.iter().any(|known| known == definition)
    }

    fn form(&self, definition: &str) -> Form {
        let state = self.state();
        if state.refuses != Some(false) {
            return Form::Inline;
        }
        if let Some((_, number)) = state.kept.iter().find(|(known, _)| known == definition) {
            return Form::Call { number: *number };
        }
        if !state.once.iter().any(|known| known == definition) {
            return Form::Inline;
        }
        let instead = state.kept.first().filter(|_| state.kept.len() >= MOST_KEPT);
        Form::Create {
            number: state.next,
            instead: instead.map(|(_, number)| *number),
        }
    }

    /// It has committed in that form.
    fn done(&self, form: &Form, definition: String) {
        let mut state = self.state();
        match *form {
            Form::Inline => {
                if state.refuses != Some(true) {
                    state.once.retain(|known| *known != definition);
                    state.once.push(definition);
                    if state.once.len() > MOST_KEPT {
                        state.once.remove(0);
                    }
                }
            }
            Form::Create { number, instead } => {
                state.once.retain(|known| *known != definition);
                state.kept.retain(|(_, known)| Some(*known) != instead);
                state.kept.push((definition, number));
                state.next = number + 1;
            }
            Form::Call { number } => {
                state.kept.retain(|(_, known)| *known != number);
                state.kept.push((definition, number));
            }
        }
    }
}

impl Form {
    fn message(&self, prologue: &Prologue, block: &Block, definition: &str) -> String {
        match self {
            Self::Inline => block.message(prologue),
            Self::Create { number, instead } => {
                let drop = instead
                    .map_or_else(String::new, |old| format!("DROP FUNCTION {NAME}_{old};\n"));
                format!(
                    "{}{drop}CREATE FUNCTION {NAME}_{number}{definition};\n{}COMMIT",
                    prologue.whole(),
                    block.call(*number)
                )
            }
            Self::Call { number } => {
                format!("{}{}COMMIT", prologue.brief(), block.call(*number))
            }
        }
    }
}

impl Session {
    /// One message whose work is a block, in the form that is best by now.
    pub(crate) async fn block_message(
        &self,
        prologue: &Prologue,
        block: &Block,
        doing: &str,
    ) -> Result<Vec<SimpleQueryMessage>, DbError> {
        let definition = block.definition(prologue);
        let routines = self.routines();
        if routines.asks(&definition) {
            let refuses = is_pooler(self).await.unwrap_or(true);
            routines.state().refuses = Some(refuses);
        }
        let form = routines.form(&definition);
        let text = form.message(prologue, block, &definition);
        let error = match self.try_message(&text).await {
            Ok(messages) => {
                routines.done(&form, definition);
                return Ok(messages);
            }
            Err(error) => error,
        };
        let kept_is_to_blame = match form {
            Form::Inline => false,
            Form::Create { .. } => error.as_db_error().is_some(),
            Form::Call { .. } => error.code() == Some(&SqlState::UNDEFINED_FUNCTION),
        };
        if !kept_is_to_blame || self.is_closed() {
            return Err(classify(&error, doing));
        }
        // Nothing of the message has happened. Where the block itself fails,
        // it does so again.
        let messages = self.one_message(&block.message(prologue), doing).await?;
        routines.refuse();
        Ok(messages)
    }
}
