//! What every verb is given.

use std::sync::Arc;

use pontoon_engine::status::shell_word;

use crate::args::Global;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::output::Output;
use crate::words;

/// The command line's options and the way out.
pub(crate) struct Context {
    /// Where results go.
    pub(crate) output: Arc<Output>,
    /// Options of every verb.
    pub(crate) global: Global,
}

impl Context {
    pub(crate) fn new(output: Arc<Output>, global: Global) -> Self {
        Self { output, global }
    }

    /// A command to type, with the options that lead it to the same database.
    /// A connection string with a password is never repeated.
    pub(crate) fn typed(&self, command: &str) -> String {
        let mut text = command.to_owned();
        if !text.starts_with("pontoon ") {
            return text;
        }
        if let Some(env) = &self.global.env {
            text.push_str(" --env ");
            text.push_str(&shell_word(env));
        }
        let urls = self.global.url.iter().map(|url| (" --url ", url));
        let direct = self.global.direct_url.iter();
        let replicas = self.global.replica_url.iter();
        for (option, url) in urls
            .chain(direct.map(|url| (" --direct-url ", url)))
            .chain(replicas.map(|url| (" --replica-url ", url)))
        {
            text.push_str(option);
            if holds_password(url) {
                text.push('…');
            } else {
                text.push_str(&shell_word(url));
            }
        }
        text
    }

    /// Commands on lines of their own, to be copied.
    pub(crate) fn hints(&self, commands: &[String]) -> String {
        let commands: Vec<String> = commands.iter().map(|command| self.typed(command)).collect();
        words::hints(&[], &commands)
    }

    /// Runs asynchronous work. Made only by verbs that talk to a database, so
    /// that the others start at once.
    pub(crate) fn block_on<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.min(4))
            .enable_all()
            .build()
            .map_err(|error| Failure::new(Exit::Internal, format!("start the runtime: {error}")))?
            .block_on(work)
    }
}

/// Might there be a password in this connection string? In doubt, yes.
fn holds_password(url: &str) -> bool {
    let lower = url.to_ascii_lowercase();
    let authority = lower.split_once("://").map_or("", |(_, rest)| {
        rest.split(['/', '?']).next().unwrap_or(rest)
    });
    let user = authority.rsplit_once('@').map_or("", |(user, _)| user);
    user.contains(':') || lower.contains("password")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_noticed() {
        for url in [
            "postgresql://app:secret@db/shop",
            "postgres://app:p@ss:w@rd@db:5432/shop",
            "host=db password=secret",
            "postgresql://app@db/shop?sslpassword=x",
        ] {
            assert!(holds_password(url), "{url}");
        }
        for url in [
            "postgresql://app@db:5432/shop",
            "postgresql://db:5432/shop?options=-c%20a:b@c",
            "host=db user=app",
        ] {
            assert!(!holds_password(url), "{url}");
        }
    }
}
