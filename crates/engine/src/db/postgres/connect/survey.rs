//! Looking at all hosts of a list, to find the one primary among them.
//!
//! After a failover the old primary may still be up, or come back, and answer
//! as one: of two hosts that both call themselves primary, the first that
//! answers would be taken, and a run would go on where no application is any
//! more. Their timelines tell them apart: the one that was promoted later has
//! the higher one. Where they do not (two standbys were promoted at once),
//! nobody but a person can tell.

use std::time::Duration;

use futures_util::future::join_all;

use super::error::{ConnectError, ConnectErrorKind};
use super::identity::{Identity, identity};
use super::options::{ConnectOptions, Purpose, Target};
use super::session::connect;

/// How long a host may take to answer; one that does not is no primary.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks every host, when there are several and a primary is wanted, so that
/// later connections know the newest history.
///
/// # Errors
/// Two hosts are primaries with one and the same timeline. Hosts that do not
/// answer are passed over: the connection itself will tell of them.
pub(in super::super) async fn survey(options: &ConnectOptions) -> Result<(), ConnectError> {
    let wants_primary = matches!(options.target, Target::Primary | Target::ReadWrite);
    if options.hosts.len() < 2 || !wants_primary {
        return Ok(());
    }
    let asked = options.hosts.iter().map(|host| {
        let one = ConnectOptions {
            hosts: vec![host.clone()],
            target: Target::Any,
            connect_timeout: Some(options.connect_timeout.unwrap_or(PATIENCE).min(PATIENCE)),
            ..options.clone()
        };
        async move {
            let connection = connect(&one, Purpose::Watch).await.ok()?;
            let seen = tokio::time::timeout(PATIENCE, identity(&connection)).await;
            Some((host.to_string(), seen.ok()?.ok()?))
        }
    });
    let mut primaries: Vec<(String, Identity)> = join_all(asked)
        .await
        .into_iter()
        .flatten()
        .filter(|(_, seen)| !seen.recovering && seen.timeline.is_some())
        .collect();
    primaries.sort_by_key(|(_, seen)| std::cmp::Reverse(seen.timeline));
    if let [(one, newest), (two, other), ..] = primaries.as_slice()
        && newest.system == other.system
        && newest.started != other.started
    {
        if newest.timeline == other.timeline {
            return Err(ConnectError::new(
                ConnectErrorKind::Unreachable,
                format!(
                    "connect to {}: {one} and {two} both say that they are the primary, on the same timeline",
                    options.display()
                ),
                "find out which one the applications write to, and stop the other one or take it off the list",
            ));
        }
        tracing::warn!(
            "{two} calls itself a primary and was left behind by a failover; {one} is newer"
        );
    }
    Ok(())
}
