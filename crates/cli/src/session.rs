//! From options and environment to a database.

use std::path::Path;

use pontoon_core::plan::Config;
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;
use pontoon_engine::run::while_it_answers;

use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::files;

/// Does the work of a verb that asks the database something and ends.
///
/// # Errors
/// Those of the work; exit code 10 when the database answers nobody.
pub(crate) fn ask<T>(
    context: &Context,
    plan: Option<&Path>,
    work: impl AsyncFnOnce(&Postgres) -> Result<T>,
) -> Result<T> {
    context.block_on(async {
        let db = database(context, plan)?;
        while_it_answers(&db, work(&db)).await
    })
}

/// The database that the command line means. Nothing is connected yet.
///
/// # Errors
/// When no connection can be made of what is given.
pub(crate) fn database(context: &Context, plan: Option<&Path>) -> Result<Postgres> {
    let named = |key: EnvironmentKey, what| match &context.global.env {
        Some(env) => from_environment(env, plan, key, what),
        None => Ok(None),
    };
    let (url, direct, replicas) = match &context.global.url {
        Some(url) => (Some(url.clone()), None, None),
        None => match named(Config::url_env, "the URL")? {
            Some(url) => (
                Some(url),
                named(Config::direct_url_env, "the direct URL")?,
                named(Config::replica_urls_env, "the replicas' URLs")?,
            ),
            // DIRECT_URL goes with DATABASE_URL: beside any other URL it would
            // lead elsewhere.
            None => (
                variable("DATABASE_URL"),
                named(Config::direct_url_env, "the direct URL")?.or_else(|| variable("DIRECT_URL")),
                named(Config::replica_urls_env, "the replicas' URLs")?
                    .or_else(|| variable("REPLICA_URLS")),
            ),
        },
    };
    let direct = context.global.direct_url.clone().or(direct);
    let options = options(url, context.global.url.is_some())?;
    let direct = direct
        .filter(|url| !url.is_empty())
        .map(|url| self::options(Some(url), context.global.direct_url.is_some()))
        .transpose()?;
    let typed = &context.global.replica_url;
    let replicas: Vec<String> = match typed.is_empty() {
        false => typed.clone(),
        true => replicas
            .iter()
            .flat_map(|urls| urls.split_whitespace())
            .map(str::to_owned)
            .collect(),
    };
    let replicas = replicas
        .into_iter()
        .map(|url| self::options(Some(url), !typed.is_empty()))
        .collect::<Result<Vec<_>>>()?;
    Ok(Postgres::with_direct(options, direct)?.watching(replicas))
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// What a connection string means; without one, what the `PG*` variables mean.
fn options(url: Option<String>, is_typed: bool) -> Result<ConnectOptions> {
    let url = url.filter(|url| !url.is_empty());
    ConnectOptions::resolve(url.as_deref(), &variable).map_err(|error| {
        let exit = if is_typed { Exit::Usage } else { Exit::Invalid };
        Failure::new(exit, error.to_string()).hint(error.hint())
    })
}

/// Which variable an environment of `pontoon.yaml` names for something.
type EnvironmentKey = for<'a> fn(&'a Config, &str) -> Option<&'a str>;

/// The value of a variable that an environment of `pontoon.yaml` names; `None`
/// when it names none.
fn from_environment(
    env: &str,
    plan: Option<&Path>,
    key: EnvironmentKey,
    what: &str,
) -> Result<Option<String>> {
    let config = files::config(plan)?;
    files::check_environment(&config, Some(env))?;
    let Some(variable) = key(&config, env) else {
        return Ok(None);
    };
    match std::env::var(variable) {
        Ok(url) if !url.is_empty() => Ok(Some(url)),
        _ => Err(Failure::new(
            Exit::Invalid,
            format!("The variable {variable}, which holds {what} of {env}, is not set."),
        )),
    }
}
