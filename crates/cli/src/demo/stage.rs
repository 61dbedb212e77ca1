//! Where the demo plays: a throwaway server, or an empty database of yours.

use pontoon_sandbox::app::{App, Model};
use pontoon_sandbox::{Server, ServerSpec, StopMode};

use super::{Options, sandbox};
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::words;

/// The demo's database on a server of its own.
const DATABASE: &str = "demo";

/// The place, with the table in it.
pub(super) enum Stage {
    /// A server of our own.
    Throwaway { server: Box<Server>, url: String },
    /// A database of somebody else.
    Given { url: String },
}

impl Stage {
    /// Starts or finds the server, and loads the table.
    pub(super) async fn set(context: &Context, options: &Options, model: &Model) -> Result<Self> {
        let stage = match &options.url {
            Some(url) => Stage::Given { url: url.clone() },
            None => {
                context
                    .output
                    .note("Starting a throwaway PostgreSQL server.");
                let server = Server::start(ServerSpec::default())
                    .await
                    .map_err(sandbox)?;
                let url = server.create_database(DATABASE).await.map_err(sandbox)?;
                Stage::Throwaway {
                    server: Box::new(server),
                    url,
                }
            }
        };
        if let Stage::Given { url } = &stage {
            refuse_unless_empty(url).await?;
        }
        let client = pontoon_sandbox::connect(stage.url())
            .await
            .map_err(sandbox)?;
        context.output.note(&format!(
            "Loading {} into the table {}.",
            words::counted(options.rows, "row"),
            model.table
        ));
        App::install(model, &client, options.rows)
            .await
            .map_err(sandbox)?;
        // What loading leaves to be done later would show in the first
        // measurements. A role that may not checkpoint does without.
        for statement in ["VACUUM", "CHECKPOINT"] {
            if let Err(error) = client.batch_execute(statement).await {
                tracing::debug!("{statement}: {error}");
            }
        }
        Ok(stage)
    }

    /// Where the demo's database is.
    pub(super) fn url(&self) -> &str {
        match self {
            Stage::Throwaway { url, .. } | Stage::Given { url } => url,
        }
    }

    /// Cleans up, or says how to look.
    pub(super) async fn leave(self, context: &Context, options: &Options) -> Result<()> {
        match (self, options.keep) {
            (Stage::Throwaway { server, .. }, false) => {
                server.stop(StopMode::Immediate).await.map_err(sandbox)
            }
            (Stage::Throwaway { server, url }, true) => {
                let pid = server.pid();
                let directory = server.keep().map_err(sandbox)?;
                look(context, &url);
                context.output.note("To end the server:");
                if let Some(pid) = pid {
                    context.output.note(&format!(
                        "  kill {pid} && sleep 1 && rm -r {}",
                        pontoon_engine::status::shell_word(&directory.to_string_lossy())
                    ));
                }
                Ok(())
            }
            (Stage::Given { url }, true) => {
                look(context, &url);
                Ok(())
            }
            (Stage::Given { url }, false) => {
                let client = pontoon_sandbox::connect(&url).await.map_err(sandbox)?;
                client
                    .batch_execute(
                        "DROP TABLE IF EXISTS public.orders, public.pontoon_probe_control; \
                         DROP SCHEMA IF EXISTS pontoon CASCADE",
                    )
                    .await
                    .map_err(|error| Failure::new(Exit::Internal, format!("clean up: {error}")))
            }
        }
    }
}

/// Says how to look at what is left.
fn look(context: &Context, url: &str) {
    let url = pontoon_engine::status::shell_word(url);
    context.output.note("To look around:");
    context.output.note(&format!("  psql {url}"));
    context
        .output
        .note(&format!("  pontoon history --url {url}"));
    context
        .output
        .note(&format!("  pontoon events demo --url {url}"));
}

/// The demo writes into a database, and at its end removes what it made; it
/// must not be able to hit anything else.
async fn refuse_unless_empty(url: &str) -> Result<()> {
    let client = pontoon_sandbox::connect(url).await.map_err(sandbox)?;
    let sql = "SELECT count(*), coalesce(min(format('%I.%I', n.nspname, c.relname)), '') \
               FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') \
               AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')";
    let row = client.query_one(sql, &[]).await.map_err(|error| {
        Failure::new(Exit::Internal, format!("look into the database: {error}"))
    })?;
    let (count, example): (i64, String) = (row.get(0), row.get(1));
    if count == 0 {
        return Ok(());
    }
    Err(Failure::new(
        Exit::Refused,
        format!("The database is not empty: it holds {example}; nothing was changed."),
    )
    .hint("give the demo an empty database, or leave --url out"))
}
