//! SIGINT and SIGTERM: the first one lets the batch under way end, the second
//! one ends the process at once.
//!
//! Neither loses anything: whatever has not been committed is done again by
//! the next `run`. The difference is the lease, which the second one leaves to
//! expire.

use std::sync::Arc;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::display::ExitRecord;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;

/// Listens from now on. The token is cancelled by the first signal.
///
/// # Errors
/// When the signals cannot be listened to.
pub(crate) fn listen(output: &Arc<Output>) -> Result<CancellationToken> {
    let (mut interrupt, mut terminate) = streams()?;
    let token = CancellationToken::new();
    let cancel = token.clone();
    let output = output.clone();
    tokio::spawn(async move {
        next(&mut interrupt, &mut terminate).await;
        cancel.cancel();
        if !output.is_json() {
            output.aside_line("Stopping after the batch under way. A second signal stops at once.");
        }
        next(&mut interrupt, &mut terminate).await;
        if output.is_json() {
            output.json(&ExitRecord::new(None, Exit::Interrupted.code(), None, None));
        } else {
            output.aside_line(
                "Stopped at once. Nothing that was committed is lost; run again to go on.",
            );
        }
        std::process::exit(i32::from(output.finish(Exit::Interrupted).code()));
    });
    Ok(token)
}

/// Ends with the first signal, for work that has nothing to finish.
pub(crate) async fn once() -> Failure {
    match streams() {
        Ok((mut interrupt, mut terminate)) => {
            next(&mut interrupt, &mut terminate).await;
            Failure::new(Exit::Interrupted, "Interrupted.")
        }
        Err(failure) => failure,
    }
}

fn streams() -> Result<(Signal, Signal)> {
    let failed = |error| Failure::new(Exit::Internal, format!("listen to signals: {error}"));
    Ok((
        signal(SignalKind::interrupt()).map_err(failed)?,
        signal(SignalKind::terminate()).map_err(failed)?,
    ))
}

async fn next(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}
