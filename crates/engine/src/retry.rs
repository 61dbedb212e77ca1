//! Doing something again when it failed for a reason that passes.
//!
//! The waits come from `backoff::ExponentialBackoff` as a policy: they grow by half each time, jittered by half up
//! or down so that several workers do not come back together. How long to go on is always said by the caller; the
//! crate's own default, which gives up after 15 minutes, is never used, and neither is its blocking retry.
//!
//! An operation that has begun is never interrupted: dropping a COMMIT that is under way would leave the doubt
//! whether it happened. Cancellation is looked at between tries, and ends a wait at once.
//!
//! **Doubt.** A connection lost during a COMMIT is transient by its kind, yet the transaction may have been
//! committed. Whoever retries such an operation must first look at what it left behind, or be idempotent.

use std::time::{Duration, Instant};

use backoff::SystemClock;
use backoff::backoff::Backoff;
use backoff::exponential::{ExponentialBackoff, ExponentialBackoffBuilder};
use tokio_util::sync::CancellationToken;

use crate::db::{DbError, ErrorKind};

/// Whether an error may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same attempt may succeed later.
    Transient,
    /// The same attempt will fail again.
    Definite,
}

/// An error that knows whether it may pass.
pub trait Classify {
    /// The verdict on this error.
    fn verdict(&self) -> Verdict;
}

impl Classify for tokio_postgres::Error {
    fn verdict(&self) -> Verdict {
        if let Some(code) = self.code() {
            return of_sqlstate(code.code());
        }
        if self.is_closed() {
            return Verdict::Transient;
        }
        let mut cause = std::error::Error::source(self);
        while let Some(inner) = cause {
            if let Some(io) = inner.downcast_ref::<std::io::Error>() {
                return io.verdict();
            }
            cause = inner.source();
        }
        Verdict::Definite
    }
}

impl Classify for std::io::Error {
    /// What the network does passes; data that makes no sense (a bad certificate, a value that cannot be encoded)
    /// does not.
    fn verdict(&self) -> Verdict {
        match self.kind() {
            std::io::ErrorKind::InvalidData | std::io::ErrorKind::InvalidInput => Verdict::Definite,
            _ => Verdict::Transient,
        }
    }
}

impl Classify for DbError {
    fn verdict(&self) -> Verdict {
        match self.kind {
            ErrorKind::Unreachable | ErrorKind::Transient => Verdict::Transient,
            ErrorKind::Rejected
            | ErrorKind::ServerChanged
            | ErrorKind::Fenced
            | ErrorKind::Held { .. }
            | ErrorKind::Conflict
            | ErrorKind::LockPatience { .. }
            | ErrorKind::RowLimit { .. }
            | ErrorKind::ProofVoid
            | ErrorKind::Refused
            | ErrorKind::Failed
            | ErrorKind::Internal => Verdict::Definite,
        }
    }
}

/// The verdict on an error code of the server (appendix "PostgreSQL Error Codes" of its manual).
///
/// Transient are lost connections (class 08), shutdown, crash and start-up (57P01 to 57P03), too many connections
/// (53300), serialization failure (40001), deadlock (40P01) and lock not available (55P03). Everything else is
/// definite, also 57014: whoever set the timeout or cancelled must decide what it means.
#[must_use]
pub fn of_sqlstate(code: &str) -> Verdict {
    match code {
        "57P01" | "57P02" | "57P03" | "53300" | "40001" | "40P01" | "55P03" => Verdict::Transient,
        _ if code.starts_with("08") => Verdict::Transient,
        _ => Verdict::Definite,
    }
}

/// How long to wait between tries, and for how long to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    first_wait: Duration,
    longest_wait: Duration,
    give_up_after: Option<Duration>,
}

impl RetryPolicy {
    /// Goes on until the next wait would end later than `patience` after the first try began.
    #[must_use]
    pub const fn within(patience: Duration) -> Self {
        RetryPolicy {
            first_wait: Duration::from_millis(100),
            longest_wait: Duration::from_secs(5),
            give_up_after: Some(patience),
        }
    }

    /// Goes on until it succeeds, fails for good, or is cancelled.
    #[must_use]
    pub const fn endless() -> Self {
        RetryPolicy {
            give_up_after: None,
            ..Self::within(Duration::ZERO)
        }
    }

    /// Waits about `first` after the first failure, growing to about `longest`. The defaults are 100 ms and 5 s.
    #[must_use]
    pub const fn waiting(self, first: Duration, longest: Duration) -> Self {
        RetryPolicy {
            first_wait: first,
            longest_wait: longest,
            ..self
        }
    }

    fn backoff(self) -> ExponentialBackoff<SystemClock> {
        ExponentialBackoffBuilder::new()
            .with_initial_interval(self.first_wait)
            .with_max_interval(self.longest_wait)
            .with_multiplier(1.5)
            .with_randomization_factor(0.5)
            .with_max_elapsed_time(self.give_up_after)
            .build()
    }
}

/// One wait between two tries, for events and logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wait {
    /// How many tries have failed so far, from 1.
    pub tries: u32,
    /// How long the wait will be.
    pub pause: Duration,
}

/// Why something that was retried did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum RetryError<E> {
    /// It failed for a reason that does not pass.
    #[error(transparent)]
    Definite(E),
    /// It kept failing until patience was spent.
    #[error("{error} (gave up after {tries} tries in {})", humantime::format_duration(round(*elapsed)))]
    GaveUp {
        /// The last failure.
        error: E,
        /// How many tries there were.
        tries: u32,
        /// How long all of it took.
        elapsed: Duration,
    },
    /// It was told to stop, before the first try or while waiting for the next.
    #[error("interrupted before it succeeded")]
    Cancelled {
        /// The last failure, if there was a try.
        last: Option<E>,
    },
}

impl<E> RetryError<E> {
    /// The failure itself, unless it was cancelled before the first try.
    pub fn into_failure(self) -> Option<E> {
        match self {
            RetryError::Definite(error) | RetryError::GaveUp { error, .. } => Some(error),
            RetryError::Cancelled { last } => last,
        }
    }
}

/// Tenths of a second are enough for a message.
fn round(duration: Duration) -> Duration {
    let tenths = u64::try_from(duration.as_millis() / 100).unwrap_or(u64::MAX);
    Duration::from_millis(tenths.saturating_mul(100))
}

/// Retries operations under one policy until a token says stop.
#[derive(Debug, Clone)]
pub struct Retry {
    policy: RetryPolicy,
    cancel: CancellationToken,
}

impl Retry {
    /// Combines a policy with the token that ends the waiting.
    #[must_use]
    pub fn new(policy: RetryPolicy, cancel: CancellationToken) -> Self {
        Retry { policy, cancel }
    }

    /// Runs `operation` until it succeeds, fails for good, patience is spent, or the token is cancelled.
    /// `on_wait` hears of each failure that is going to be retried, before the wait.
    ///
    /// # Errors
    /// See [`RetryError`].
    pub async fn run<T, E, F>(
        &self,
        mut operation: impl FnMut() -> F,
        mut on_wait: impl FnMut(&E, Wait),
    ) -> Result<T, RetryError<E>>
    where
        E: Classify,
        F: Future<Output = Result<T, E>>,
    {
        let begun = Instant::now();
        let mut backoff = self.policy.backoff();
        let mut tries = 0u32;
        if self.cancel.is_cancelled() {
            return Err(RetryError::Cancelled { last: None });
        }
        loop {
            let error = match operation().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tries = tries.saturating_add(1);
            match error.verdict() {
                Verdict::Definite => return Err(RetryError::Definite(error)),
                Verdict::Transient => {}
            }
            let Some(pause) = backoff.next_backoff() else {
                return Err(RetryError::GaveUp {
                    error,
                    tries,
                    elapsed: begun.elapsed(),
                });
            };
            on_wait(&error, Wait { tries, pause });
            if self
                .cancel
                .run_until_cancelled(tokio::time::sleep(pause))
                .await
                .is_none()
            {
                return Err(RetryError::Cancelled { last: Some(error) });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::io;

    fn failing() -> io::Error {
        io::ErrorKind::ConnectionReset.into()
    }

    fn quick(patience: Duration) -> RetryPolicy {
        RetryPolicy::within(patience).waiting(Duration::from_millis(1), Duration::from_millis(4))
    }

    #[rstest::rstest]
    #[case("08006", Verdict::Transient)]
    #[case("08P01", Verdict::Transient)]
    #[case("57P01", Verdict::Transient)]
    #[case("57P02", Verdict::Transient)]
    #[case("57P03", Verdict::Transient)]
    #[case("57P04", Verdict::Definite)]
    #[case("57014", Verdict::Definite)]
    #[case("53300", Verdict::Transient)]
    #[case("53100", Verdict::Definite)]
    #[case("40001", Verdict::Transient)]
    #[case("40P01", Verdict::Transient)]
    #[case("55P03", Verdict::Transient)]
    #[case("28P01", Verdict::Definite)]
    #[case("22012", Verdict::Definite)]
    fn sqlstates(#[case] code: &str, #[case] verdict: Verdict) {
        assert_eq!(of_sqlstate(code), verdict);
    }

    #[tokio::test]
    async fn goes_on_until_it_succeeds() {
        let tries = Cell::new(0);
        let mut heard = Vec::new();
        let retry = Retry::new(quick(Duration::from_secs(10)), CancellationToken::new());
        let value = retry
            .run(
                || {
                    tries.set(tries.get() + 1);
                    std::future::ready(if tries.get() < 4 {
                        Err(failing())
                    } else {
                        Ok(tries.get())
                    })
                },
                |_, wait| heard.push(wait.tries),
            )
            .await
            .expect("succeeds");
        assert_eq!((value, heard), (4, vec![1, 2, 3]));
    }

    #[tokio::test]
    async fn a_definite_error_is_tried_once() {
        let tries = Cell::new(0);
        let retry = Retry::new(RetryPolicy::endless(), CancellationToken::new());
        let result: Result<(), _> = retry
            .run(
                || {
                    tries.set(tries.get() + 1);
                    std::future::ready(Err(io::Error::from(io::ErrorKind::InvalidData)))
                },
                |_, _| panic!("must not wait"),
            )
            .await;
        assert!(matches!(result, Err(RetryError::Definite(_))));
        assert_eq!(tries.get(), 1);
    }

    #[tokio::test]
    async fn patience_ends() {
        // Long beside the pauses, so that a busy machine still gets its tries.
        let patience = Duration::from_secs(1);
        let retry = Retry::new(quick(patience), CancellationToken::new());
        let begun = Instant::now();
        let result: Result<(), _> = retry
            .run(|| std::future::ready(Err(failing())), |_, _| {})
            .await;
        let Err(RetryError::GaveUp { tries, elapsed, .. }) = result else {
            panic!("{result:?}")
        };
        assert!(tries > 3, "{tries}");
        assert!(elapsed < patience * 5 && begun.elapsed() < patience * 10);
    }

    #[tokio::test]
    async fn cancelling_ends_a_long_wait_at_once() {
        let cancel = CancellationToken::new();
        let policy =
            RetryPolicy::endless().waiting(Duration::from_secs(600), Duration::from_secs(600));
        let retry = Retry::new(policy, cancel.clone());
        let begun = Instant::now();
        let result: Result<(), _> = retry
            .run(
                || std::future::ready(Err(failing())),
                |_, _| cancel.cancel(),
            )
            .await;
        assert!(matches!(
            result,
            Err(RetryError::Cancelled { last: Some(_) })
        ));
        assert!(begun.elapsed() < Duration::from_secs(60));
    }

    #[tokio::test]
    async fn nothing_is_begun_after_cancelling() {
        let cancel = CancellationToken::new();
        cancel.cancel();
        let retry = Retry::new(RetryPolicy::endless(), cancel);
        let result: Result<(), RetryError<io::Error>> = retry
            .run(|| async { panic!("must not be tried") }, |_, _| {})
            .await;
        assert!(matches!(result, Err(RetryError::Cancelled { last: None })));
    }
}
