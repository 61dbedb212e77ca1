//! From options and environment to a database.

use std::path::Path;

use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;

use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::files;

/// The database that the command line means. Nothing is connected yet.
///
/// # Errors
/// When no connection can be made of what is given.
pub(crate) fn database(context: &Context, plan: Option<&Path>) -> Result<Postgres> {
    let options = options(context, plan)?;
    Ok(Postgres::new(options)?)
}

/// Where the command line leads.
fn options(context: &Context, plan: Option<&Path>) -> Result<ConnectOptions> {
    let variable = |name: &str| std::env::var(name).ok();
    let url = match (&context.global.url, &context.global.env) {
        (Some(url), _) => Some(url.clone()),
        (None, Some(env)) => environment_url(env, plan)?.or_else(|| variable("DATABASE_URL")),
        (None, None) => variable("DATABASE_URL"),
    };
    let url = url.filter(|url| !url.is_empty());
    ConnectOptions::resolve(url.as_deref(), &variable).map_err(|error| {
        let exit = match context.global.url {
            Some(_) => Exit::Usage,
            None => Exit::Invalid,
        };
        Failure::new(exit, error.to_string()).hint(error.hint())
    })
}

/// The URL of an environment of `pontoon.yaml`; `None` when it names no
/// variable.
fn environment_url(env: &str, plan: Option<&Path>) -> Result<Option<String>> {
    let config = files::config(plan)?;
    files::check_environment(&config, Some(env))?;
    let Some(variable) = config.url_env(env) else {
        return Ok(None);
    };
    match std::env::var(variable) {
        Ok(url) if !url.is_empty() => Ok(Some(url)),
        _ => Err(Failure::new(
            Exit::Invalid,
            format!("The variable {variable}, which holds the URL of {env}, is not set."),
        )),
    }
}
