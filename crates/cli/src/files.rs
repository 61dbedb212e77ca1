//! Plans and `pontoon.yaml` on disk.

use std::path::{Path, PathBuf};

use pontoon_core::plan::{self, Ceilings, Config, Diagnostic, Plan};

use crate::error::{Failure, Result};
use crate::exit::Exit;

/// The configuration's file name.
pub(crate) const CONFIG: &str = "pontoon.yaml";

/// A plan as its author wrote it.
pub(crate) fn plan(path: &Path) -> Result<Plan> {
    plan::load(&path.to_string_lossy(), &read(path)?)
        .map_err(|findings| invalid("The plan is not valid.", &findings))
}

/// A plan as it holds in an environment.
pub(crate) fn effective_plan(
    path: &Path,
    config: &Config,
    env: Option<&str>,
    ceilings: Ceilings,
) -> Result<Plan> {
    check_environment(config, env)?;
    plan(path)?
        .effective(config, env, ceilings)
        .map_err(|findings| invalid("The plan does not hold in this environment.", &findings))
}

/// An environment that the configuration does not know is a mistake on the
/// command line.
pub(crate) fn check_environment(config: &Config, env: Option<&str>) -> Result<()> {
    let Some(env) = env else {
        return Ok(());
    };
    let names: Vec<&str> = config.environments().collect();
    if names.contains(&env) {
        return Ok(());
    }
    let failure = Failure::usage(format!("There is no environment {env} in {CONFIG}."));
    Err(match names.as_slice() {
        [] => failure.hint(format!(
            "{CONFIG} is looked for beside the plan and in this directory"
        )),
        names => failure.hint(format!("it knows {}", names.join(", "))),
    })
}

/// The configuration beside the plan, else in the current directory, else in
/// its folder `plans`; an empty one where there is none.
pub(crate) fn config(plan: Option<&Path>) -> Result<Config> {
    let beside = plan.map(|plan| match plan.parent() {
        Some(parent) => parent.join(CONFIG),
        None => PathBuf::from(CONFIG),
    });
    let places = beside
        .into_iter()
        .chain([PathBuf::from(CONFIG), Path::new("plans").join(CONFIG)]);
    for path in places {
        if path.is_file() {
            return Config::load(&path.to_string_lossy(), &read(&path)?)
                .map_err(|findings| invalid("The configuration is not valid.", &findings));
        }
    }
    Ok(Config::default())
}

/// The YAML files of a folder, and those of its folders that hold some, by
/// name. Names that begin with a dot are somebody else's: an editor's copies,
/// a file system's notes.
pub(crate) fn folder(path: &Path) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let inside = listed(path)?;
    let (folders, files): (Vec<PathBuf>, Vec<PathBuf>) =
        inside.into_iter().partition(|path| path.is_dir());
    let mut nested = Vec::new();
    for folder in folders {
        // One that cannot be read is nobody's business here.
        if listed(&folder).is_ok_and(|files| files.iter().any(|path| is_yaml(path))) {
            nested.push(folder);
        }
    }
    Ok((
        files.into_iter().filter(|path| is_yaml(path)).collect(),
        nested,
    ))
}

fn listed(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = |error| Failure::usage(format!("read {}: {error}", folder.display()));
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().to_string_lossy().starts_with('.') {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

fn is_yaml(path: &Path) -> bool {
    path.is_file()
        && path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

/// A file's text.
pub(crate) fn read(path: &Path) -> Result<String> {
    std::fs::read_to_string(path).map_err(|error| {
        let exit = match error.kind() {
            // A name that leads nowhere is a mistake on the command line.
            std::io::ErrorKind::NotFound | std::io::ErrorKind::IsADirectory => Exit::Usage,
            _ => Exit::Invalid,
        };
        Failure::new(exit, format!("read {}: {error}", path.display()))
    })
}

/// Everything that is wrong with a file.
pub(crate) fn invalid(message: &str, findings: &[Diagnostic]) -> Failure {
    let mut failure = Failure::new(Exit::Invalid, message);
    failure.details = findings.iter().map(Diagnostic::render).collect();
    failure
}
