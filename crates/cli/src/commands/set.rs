//! `pontoon set`.

use pontoon_engine::db::{Command, RunRecord};
use pontoon_engine::setting::{self, Effective};
use serde::Serialize;
use uuid::Uuid;

use super::Order;
use crate::context::Context;
use crate::error::{Failure, Result};
use crate::exit::Exit;
use crate::{display, pick, session};

/// Change a setting of a run while it goes on, or show them all
///
/// The run's process notices within a second or two, whatever machine it is
/// on. Settings: max-lock-duration, lock-patience, max-rows-affected,
/// max-batch-rows, target-batch-time, workers, nice-ratio, and throttle.SIGNAL
/// for the limit of a signal, or `on` or `off`; throttle.SIGNAL.KEY for its
/// further limits. What is set stays over restarts, until `--unset`, or until
/// plan or pontoon.yaml say something new about that setting. Without KEY it
/// shows what holds, and where each value comes from.
#[derive(Debug, clap::Args)]
#[command(override_usage = "pontoon set [OPTIONS] [RUN] KEY VALUE\n       \
                            pontoon set [OPTIONS] [RUN] --unset KEY\n       \
                            pontoon set [OPTIONS] [RUN] [--list]")]
pub(crate) struct Args {
    /// Setting and its new value; before them RUN, unless only one run is unfinished
    #[arg(
        value_name = "[RUN] [KEY VALUE]",
        num_args = 0..=3,
        allow_negative_numbers = true
    )]
    words: Vec<String>,

    /// Go back to what plan and pontoon.yaml say of this setting
    #[arg(long, value_name = "KEY", conflicts_with = "list")]
    unset: Option<String>,

    /// Show every setting and where it comes from
    #[arg(long)]
    list: bool,

    /// Let the value pass the ceiling of pontoon.yaml
    #[arg(long)]
    force: bool,
}

/// What is asked for.
enum Wish<'a> {
    Show,
    Set { key: &'a str, value: &'a str },
    Unset { key: &'a str },
}

/// What `--list` prints as JSON.
#[derive(Serialize)]
struct Settings {
    schema: u32,
    run: Uuid,
    settings: Vec<Effective>,
}

pub(crate) fn run(args: &Args, context: &Context) -> Result {
    let (wanted, wish) = wish(args)?;
    let nothing = "nothing can be set";
    match wish {
        Wish::Show => session::ask(context, None, async |db| {
            show(context, &pick::run(db, wanted).await?);
            Ok(Exit::Done)
        }),
        Wish::Set { key, value } => super::give(context, wanted, nothing, |run| {
            set(run, key, value, args.force)
        }),
        Wish::Unset { key } => super::give(context, wanted, nothing, |run| unset(run, key)),
    }
}

/// The run that was named, and what shall be done.
fn wish(args: &Args) -> Result<(Option<&str>, Wish<'_>)> {
    let words: Vec<&str> = args.words.iter().map(String::as_str).collect();
    if let Some(key) = &args.unset {
        return match words.as_slice() {
            [] => Ok((None, Wish::Unset { key })),
            [run] => Ok((Some(run), Wish::Unset { key })),
            _ => Err(Failure::usage("Give --unset a setting, and no value.")),
        };
    }
    match words.as_slice() {
        [] => Ok((None, Wish::Show)),
        // A run's id or a plan's name is no setting.
        [key] if !args.list && setting::canonical(key).is_ok() => {
            Err(Failure::usage(format!("Give {key} a value."))
                .hint("--unset goes back to what the plan says, --list shows what holds"))
        }
        [run] => Ok((Some(run), Wish::Show)),
        _ if args.list => Err(Failure::usage("Give --list no setting and no value.")),
        [key, value] => Ok((None, Wish::Set { key, value })),
        [run, key, value] => Ok((Some(run), Wish::Set { key, value })),
        _ => Err(Failure::usage("Give a setting and its value.")),
    }
}

fn set(run: &RunRecord, key: &str, value: &str, force: bool) -> Result<Order> {
    let known = setting::canonical(key).map_err(misspelled)?;
    setting::apply(&mut run.new.settings.clone(), &known, value).map_err(misspelled)?;
    let sentence = format!("Set {known} of run {} to {value}.", run.new.id);
    let command = Command::Set {
        key: known,
        value: value.to_owned(),
        force,
    };
    Ok((Some(command), sentence))
}

fn unset(run: &RunRecord, key: &str) -> Result<Order> {
    let key = setting::canonical(key).map_err(misspelled)?;
    let id = run.new.id;
    if !run.live_settings.iter().any(|live| live.key == key) {
        return Ok((None, format!("{key} of run {id} was not set live.")));
    }
    let sentence = format!("{key} of run {id} is what plan and pontoon.yaml say.");
    Ok((Some(Command::Unset { key }), sentence))
}

/// What was typed is wrong, whatever the run is.
fn misspelled(error: pontoon_engine::db::DbError) -> Failure {
    let failure = Failure::usage(crate::words::sentence(&error.message));
    error.hints.into_iter().fold(failure, Failure::hint)
}

fn show(context: &Context, run: &RunRecord) {
    let settings = setting::effective(&run.base, &run.live_settings);
    if context.output.is_json() {
        context.output.json(&Settings {
            schema: 1,
            run: run.new.id,
            settings,
        });
    } else {
        context.output.text(&display::settings_table(&settings));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_names_every_setting() {
        let command = <Args as clap::Args>::augment_args(clap::Command::new("set"));
        let about = command.get_long_about().expect("has a text").to_string();
        for setting in setting::SETTINGS {
            assert!(about.contains(setting.key), "{}: {about}", setting.key);
        }
    }
}
