//! From an SQLSTATE to what the engine does about it, in one place.
//!
//! The server's own words are kept: message, detail, hint and the object it
//! names. What is added says what to do. Nothing here ever holds a
//! connection string or a password.

use tokio_postgres::Error;
use tokio_postgres::error::{DbError as ServerError, ErrorPosition};

use crate::db::{DbError, ErrorKind};

/// Raised by `pontoon.fence`: another process owns the run.
pub(crate) const FENCED: &str = "PT409";
/// Raised by the fence: another server process answers than the one on which
/// the lease was taken.
pub(crate) const SERVER_CHANGED: &str = "PT503";
/// Raised in a guarded transaction: a safety rule refuses.
pub(crate) const REFUSED: &str = "PT412";
/// Raised at the cutover: the verify pass no longer holds.
pub(crate) const PROOF_VOID: &str = "PT414";
/// Raised in a batch: `max_rows_affected` would be passed.
pub(crate) const ROW_LIMIT: &str = "PT429";
/// Raised when one of our own assumptions does not hold.
pub(crate) const BROKEN: &str = "PT500";

/// Turns a driver's error into ours. `doing` fits "failed to …".
pub(crate) fn classify(error: &Error, doing: &str) -> DbError {
    match error.as_db_error() {
        Some(server) => from_server(server, doing),
        None => without_server(error, doing),
    }
}

/// The server said nothing: the connection failed, or the driver did.
fn without_server(error: &Error, doing: &str) -> DbError {
    let cause = std::error::Error::source(error)
        .map(|cause| format!(": {cause}"))
        .unwrap_or_default();
    let is_io = std::error::Error::source(error)
        .is_some_and(|cause| cause.downcast_ref::<std::io::Error>().is_some());
    if error.is_closed() || is_io {
        DbError::new(
            ErrorKind::Unreachable,
            format!("{doing}: the connection to the server was lost{cause}"),
        )
    } else {
        DbError::new(ErrorKind::Internal, format!("{doing}: {error}{cause}"))
    }
}

/// Sorts a server's refusal by its SQLSTATE.
fn from_server(server: &ServerError, doing: &str) -> DbError {
    let code = server.code().code();
    let (kind, hint) = kind_of(code, server);
    let mut result = DbError::new(kind, describe(server, doing)).code(code);
    if let Some(hint) = server.hint() {
        result = result.hint(hint.to_owned());
    }
    if let Some(hint) = hint {
        result = result.hint(hint);
    }
    result
}

/// One line: what we did, what the server said, where.
fn describe(server: &ServerError, doing: &str) -> String {
    let mut text = format!("{doing}: {}", server.message());
    if let Some(detail) = server.detail() {
        text.push_str(" (");
        text.push_str(detail.trim_end_matches('.'));
        text.push(')');
    }
    // A position within one of our own messages would tell nobody anything;
    // one within a step's text is `Internal`, for the text is EXECUTEd.
    if let Some(ErrorPosition::Internal { position, query }) = server.position() {
        let near: String = query
            .chars()
            .skip((*position as usize).saturating_sub(1))
            .take_while(|letter| *letter != '\n')
            .take(40)
            .collect();
        text.push_str(&format!(" at character {position}, before `{near}`"));
    }
    let mentioned = |name: &str| server.message().contains(name);
    if let Some(table) = server.table().filter(|table| !mentioned(table)) {
        let schema = server.schema().unwrap_or("?");
        text.push_str(&format!(" [table {schema}.{table}]"));
    }
    text
}

/// The class of a code, and what a person can do about it.
fn kind_of(code: &str, server: &ServerError) -> (ErrorKind, Option<String>) {
    let (kind, hint) = match code {
        FENCED => (ErrorKind::Fenced, None),
        SERVER_CHANGED => (
            ErrorKind::ServerChanged,
            Some("Everything committed is kept: run again to go on from it."),
        ),
        REFUSED => (ErrorKind::Refused, None),
        PROOF_VOID => (ErrorKind::ProofVoid, None),
        BROKEN => (ErrorKind::Internal, None),
        // Whoever raises it puts both numbers into the detail: "affected of limit".
        ROW_LIMIT => (row_limit(server.detail()), None),
        "40001" | "40P01" => (ErrorKind::Transient, None),
        "53300" => (
            ErrorKind::Transient,
            Some(
                "All connection slots are taken; fewer workers, or a larger max_connections, leave room.",
            ),
        ),
        "55P03" => (
            ErrorKind::Transient,
            Some("Another transaction holds a lock that conflicts; it is tried again."),
        ),
        "57014" => (
            ErrorKind::Transient,
            Some(
                "The server cancelled the statement, at its time limit or because somebody asked it to.",
            ),
        ),
        "25P03" | "25P04" => (
            ErrorKind::Transient,
            Some(
                "The server ended a transaction that stood idle or lasted too long; was this process stopped?",
            ),
        ),
        "57P01" | "57P02" | "57P03" | "57P05" => (ErrorKind::Unreachable, None),
        "25006" => (
            ErrorKind::Rejected,
            Some(
                "The server is read-only (a standby, or default_transaction_read_only); connect to the primary.",
            ),
        ),
        "28000" | "28P01" | "3D000" => (ErrorKind::Rejected, None),
        "42501" => (ErrorKind::Failed, Some(missing_right(server.message()))),
        "53100" => (
            ErrorKind::Failed,
            Some("The server's disk is full; make room and run again."),
        ),
        "53200" | "53400" => (ErrorKind::Transient, None),
        "26000" | "08P01" => (
            ErrorKind::Unreachable,
            Some(
                "A pooler in front of the server may have mixed up sessions; give its direct address as direct_url.",
            ),
        ),
        _ => match code.get(..2) {
            Some("08") => (ErrorKind::Unreachable, None),
            Some("XX") => (ErrorKind::Internal, None),
            _ => (ErrorKind::Failed, None),
        },
    };
    (kind, hint.map(str::to_owned))
}

fn row_limit(detail: Option<&str>) -> ErrorKind {
    let mut numbers = detail
        .unwrap_or_default()
        .split(|letter: char| !letter.is_ascii_digit())
        .filter_map(|digits| digits.parse::<u64>().ok());
    ErrorKind::RowLimit {
        affected: numbers.next().unwrap_or_default(),
        limit: numbers.next().unwrap_or_default(),
    }
}

/// Which grant is missing, told from the server's message. Its words are
/// only matched to choose an advice: in another language the general one
/// remains.
fn missing_right(message: &str) -> &'static str {
    if message.contains("must be owner") {
        "DDL needs the table's owner: connect as it, or GRANT the owning role to the role you connect as."
    } else if message.contains("for schema pontoon") {
        "The schema pontoon belongs to another role: connect as that one, or GRANT it to the role you connect as."
    } else if message.contains("for schema") {
        "GRANT USAGE, CREATE ON SCHEMA … to the role you connect as."
    } else if message.contains("for database") {
        "GRANT CREATE ON DATABASE … to the role you connect as, or let a DBA run the output of `pontoon init --print-sql`."
    } else if message.contains("row-level security") {
        "The role is subject to row level security; connect as one with BYPASSRLS, or as the owner without FORCE."
    } else {
        "GRANT the missing right to the role you connect as, or connect as the owner of the tables."
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_limit_carries_both_numbers() {
        assert_eq!(
            row_limit(Some("4980 rows changed, limit 5000")),
            ErrorKind::RowLimit {
                affected: 4980,
                limit: 5000
            }
        );
    }
}
