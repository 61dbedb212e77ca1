//! The pages of operations and signals in `docs/` are made from those beside
//! the code.
//!
//! `UPDATE_DOCS=1 cargo test --package pontoon --test docs` writes them.

use std::path::{Path, PathBuf};

use pontoon_core::ops;
use pontoon_core::plan::{load, signals};

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs")
}

fn assert_current(path: &Path, text: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::create_dir_all(path.parent().expect("it has a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(
        found,
        text,
        "{} is stale; run UPDATE_DOCS=1 cargo test --package pontoon --test docs",
        path.display()
    );
}

#[test]
fn every_operation_has_its_page() {
    let folder = docs().join("operations");
    let mut index = String::from(
        "# Operations\n\nEach page stands beside the operation's code; these are copies with the example.\n\n",
    );
    for operation in ops::ALL {
        let page = format!(
            "{}\n\n## Example\n\n```yaml\n{}\n```\n",
            operation.page.trim_end(),
            operation.example.trim_end()
        );
        assert_current(&folder.join(format!("{}.md", operation.name)), &page);
        index.push_str(&format!("- [`{0}`]({0}.md)\n", operation.name));
    }
    index.push_str(
        "\n## What is no operation\n\n| asked for | why not | write instead |\n|---|---|---|\n",
    );
    for known in ops::ELSEWHERE {
        index.push_str(&format!(
            "| `{}` | {} | {} |\n",
            known.word, known.reason, known.instead
        ));
    }
    assert_current(&folder.join("README.md"), &index);
    let pages = std::fs::read_dir(&folder)
        .expect("the folder exists")
        .count();
    assert_eq!(pages, ops::ALL.len() + 1, "a page has no operation");
}

#[test]
fn every_signal_has_its_page() {
    let folder = docs().join("signals");
    let mut index = String::from(concat!(
        "# Signals\n\nA signal is one measured reason to hold a backfill or a verify pass back. While a reading is at or ",
        "above its limit,\nno new batch is begun; a hold ends by itself. `pontoon preview` shows what a run will be throttled ",
        "by, `pontoon status`\nwhat holds it now, `pontoon set throttle.SIGNAL LIMIT` changes a limit while the run goes on, ",
        "and `pontoon unthrottle\n--for 10m` lets nothing hold it for ten minutes.\n\n",
        "On by default is what is cheap to read and right everywhere: it protects others from lasting harm (a lost standby, ",
        "a full\ndisk, a database that runs out of transaction ids, sessions that wait for us). What depends on the machine ",
        "or on its\nhabits is off until a plan or `pontoon.yaml` names it.\n\n",
        "| signal | default limit | |\n|---|---|---|\n"
    ));
    for signal in signals::KNOWN {
        assert_current(
            &folder.join(format!("{}.md", signal.name)),
            &signal.documentation(),
        );
        let limit = match signal.on {
            true => format!("`{}`", signal.measures[0].default.unwrap_or_default()),
            false => "off".to_owned(),
        };
        index.push_str(&format!(
            "| [`{0}`]({0}.md) | {limit} | {1} |\n",
            signal.name, signal.about
        ));
    }
    assert_current(&folder.join("README.md"), &index);
    let pages = std::fs::read_dir(&folder)
        .expect("the folder exists")
        .count();
    assert_eq!(pages, signals::KNOWN.len() + 1, "a page has no signal");
}

#[test]
fn links_lead_somewhere() {
    let top = docs().join("..");
    let mut files = vec![
        top.join("README.md"),
        top.join("ARCHITECTURE.md"),
        top.join("examples/README.md"),
    ];
    for folder in [
        docs(),
        docs().join("decisions"),
        docs().join("operations"),
        docs().join("signals"),
    ] {
        for entry in std::fs::read_dir(&folder).expect("the folder exists") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "md") {
                files.push(path);
            }
        }
    }
    let mut links = 0;
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a file");
        for piece in text.split("](").skip(1) {
            let target = piece.split(')').next().unwrap_or_default();
            if target.contains("://") || target.starts_with('#') {
                continue;
            }
            let path = target.split('#').next().unwrap_or(target);
            let folder = file.parent().expect("it has a folder");
            assert!(folder.join(path).exists(), "{}: {target}", file.display());
            links += 1;
        }
    }
    assert!(links > 10, "{links}");
}

#[test]
fn the_plans_of_the_comparison_are_plans() {
    let text = std::fs::read_to_string(docs().join("comparison.md")).expect("the page");
    // A pipe in a table stands behind a backslash.
    let text = text.replace("\\|", "|");
    let plans: Vec<&str> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|code| code.starts_with("- "))
        .collect();
    assert!(plans.len() > 20, "{}", plans.len());
    for plan in plans {
        let file = format!("plan: comparison\nversion: \"1\"\noperations:\n  {plan}\n");
        if let Err(findings) = load("comparison.md", &file) {
            panic!("{plan}\n{findings:?}");
        }
    }
}
