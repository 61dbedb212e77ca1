//! Named places where a test can end or stop this process.
//!
//! A debug build reads `PONTOON_FAILPOINT`: `kill:NAME` sends SIGKILL to the
//! process when it reaches the place of that name, `stop:NAME` sends SIGSTOP,
//! and `NAME@N` means the N-th time (counted from 1). A release build holds
//! none of this.
//!
//! Places: `lease.taken`, `step.N.begin` and `step.N.end` (N is the step's
//! number), `undo.N.begin` and `undo.N.end`, `batch.end` (a batch has
//! committed), `verify.chunk` (a chunk has been compared), `gate`,
//! `run.absent` (none of this plan was found), `run.created`,
//! `lease.release`, `worker.joined` (a worker has joined the holder's term).

/// This process has reached a named place.
#[cfg(debug_assertions)]
pub(crate) fn reach(name: &str) {
    use std::collections::HashMap;
    use std::sync::{LazyLock, Mutex, PoisonError};

    use nix::sys::signal::{Signal, raise};

    static WANTED: LazyLock<Option<(Signal, String, u64)>> = LazyLock::new(|| {
        let text = std::env::var("PONTOON_FAILPOINT").ok()?;
        let (what, place) = text.split_once(':')?;
        let signal = match what {
            "kill" => Signal::SIGKILL,
            "stop" => Signal::SIGSTOP,
            _ => return None,
        };
        let (place, times) = match place.split_once('@') {
            Some((place, times)) => (place, times.parse().ok()?),
            None => (place, 1),
        };
        Some((signal, place.to_owned(), times))
    });
    static SEEN: LazyLock<Mutex<HashMap<String, u64>>> = LazyLock::new(Mutex::default);

    let Some((signal, place, times)) = WANTED.as_ref() else {
        return;
    };
    if place != name {
        return;
    }
    let mut seen = SEEN.lock().unwrap_or_else(PoisonError::into_inner);
    let count = seen.entry(name.to_owned()).or_default();
    *count += 1;
    let now = *count == *times;
    drop(seen);
    if now && let Err(error) = raise(*signal) {
        tracing::error!("the failpoint {name} could not send its signal: {error}");
    }
}

/// This process has reached a named place; of no effect in a release build.
#[cfg(not(debug_assertions))]
pub(crate) fn reach(_name: &str) {}
