//! Not waiting for ever for a database that does not answer.
//!
//! A connection can hang: its socket stays open, the other side's kernel (or a
//! proxy's) takes what is sent, and no answer and no error ever come. No
//! timeout of the server helps, for the server never sees the statement, and
//! neither do TCP's own. So whoever waits for a database also asks it, every
//! [`LOOK`] and on another connection, for something small. When nothing has
//! answered for [`SILENCE`], the wait is given up.
//!
//! What was under way then may have happened or not. That is the same doubt as
//! after a crash of this process, and is resolved in the same way: by whoever
//! comes next, from what is stored.

use std::time::Duration;

use tokio::time::Instant;
use uuid::Uuid;

use crate::db::{Database, DbError, ErrorKind, RunFilter};

/// How often the database is asked.
const LOOK: Duration = Duration::from_secs(5);
/// How long it may be silent. Longer than a term of the lease: a sitting whose
/// connections fail cleanly ends by itself before that, and says more.
const SILENCE: Duration = Duration::from_secs(30);

/// Does `work` as long as the database answers anybody. An error is an answer.
///
/// # Errors
/// Those of `work`; [`ErrorKind::Unreachable`] after [`SILENCE`].
pub async fn while_it_answers<D: Database, T, E: From<DbError>>(
    db: &D,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    tokio::select! {
        biased;
        done = work => done,
        () = silence(LOOK, SILENCE, async || {
            db.runs(&RunFilter::Id(Uuid::nil())).await.map(drop)
        }) => Err(DbError::new(
            ErrorKind::Unreachable,
            format!("The database has not answered for {} s, on any connection", SILENCE.as_secs()),
        )
        .hint("Everything committed is kept: run again when the database answers.")
        .into()),
    }
}

/// Asks every `look`, and returns when nothing has answered for `longest`.
async fn silence(look: Duration, longest: Duration, ask: impl AsyncFn() -> Result<(), DbError>) {
    let mut heard = Instant::now();
    loop {
        tokio::time::sleep(look).await;
        // A connection refused is no answer, but may become one: a server that
        // restarts is asked again.
        let asked = Instant::now();
        match tokio::time::timeout_at(heard + longest, ask()).await {
            Ok(Err(error)) if error.kind == ErrorKind::Unreachable => {}
            Ok(_) => heard = asked,
            Err(_) => {}
        }
        if heard.elapsed() >= longest {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const LOOK: Duration = Duration::from_millis(10);
    const LONGEST: Duration = Duration::from_millis(100);

    #[tokio::test]
    async fn gives_up_on_what_never_answers() {
        let begun = Instant::now();
        silence(LOOK, LONGEST, std::future::pending).await;
        assert!(begun.elapsed() >= LONGEST);
        let begun = Instant::now();
        silence(LOOK, LONGEST, async || {
            Err(DbError::new(ErrorKind::Unreachable, "refused"))
        })
        .await;
        assert!(begun.elapsed() >= LONGEST);
    }

    #[tokio::test]
    async fn an_answer_begins_the_wait_anew() {
        let answers = Cell::new(20);
        let begun = Instant::now();
        silence(LOOK, LONGEST, async || {
            if answers.get() == 0 {
                std::future::pending::<()>().await;
            }
            answers.set(answers.get() - 1);
            Err(DbError::new(ErrorKind::Transient, "too busy"))
        })
        .await;
        assert!(begun.elapsed() >= LOOK * 20 + LONGEST);
    }
}
