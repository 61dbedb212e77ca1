//! The pages of operations and signals in `docs/` are made from those beside
//! the code; what other pages say of keys, defaults and plans is held against it.
//!
//! `UPDATE_DOCS=1 cargo test --package pontoon --test docs` writes them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use pontoon_core::ops;
use pontoon_core::plan::{
    BackfillOptions, Config, Limits, config_schema, load, render_all, schema, signals,
};
use pontoon_engine::setting;
use serde_json::Value;

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

/// The keys of a file by their paths on its page, each with what its schema
/// says of it. What a key holds is told where a plan has it: a mapping that
/// `told` names already is not gone into, and neither are operations.
fn keys(schema: &Value, told: &[String]) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    let mut open = vec![(String::new(), schema.clone())];
    while let Some((prefix, mapping)) = open.pop() {
        let properties = mapping["properties"].as_object();
        for (key, property) in properties.expect("a mapping's keys") {
            let path = format!("{prefix}{key}");
            let about = property["description"].as_str().unwrap_or_default();
            // A list's items and a mapping's free names are one more level.
            let (level, inner) = [("[]", "items"), (".NAME", "additionalProperties")]
                .into_iter()
                .find(|(_, word)| property[word]["$ref"].is_string())
                .map_or(("", property), |(level, word)| (level, &property[word]));
            if let Some(name) = definition(inner).filter(|name| !told.contains(name)) {
                let definition = &schema["$defs"][&name];
                if definition["properties"].is_object() {
                    open.push((format!("{path}{level}."), definition.clone()));
                }
            }
            keys.insert(path, about.replace('\n', " "));
        }
    }
    keys
}

fn definition(schema: &Value) -> Option<String> {
    let name = schema["$ref"].as_str()?.strip_prefix("#/$defs/")?;
    Some(name.to_owned())
}

/// The names of the definitions of a schema.
fn definitions(schema: &Value) -> Vec<String> {
    let definitions = schema["$defs"].as_object();
    definitions
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// The rows of a page's tables under this heading, each as its cells.
fn rows(page: &str, heading: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        if line.starts_with(heading) {
            inside = true;
        } else if !line.starts_with('|') {
            inside = false;
        } else if inside && !line.starts_with("|---") {
            let cells = line.trim_matches('|').split(" | ");
            rows.push(cells.map(|cell| cell.trim().replace('`', "")).collect());
        }
    }
    rows
}

#[test]
fn the_page_of_the_plan_has_every_key_and_its_default() {
    let page = std::fs::read_to_string(docs().join("plan-file.md")).expect("the page");
    let (plan, config) = (schema(), config_schema());
    let mut known = keys(&plan, &[]);
    known.extend(keys(&config, &definitions(&plan)));
    let told: BTreeMap<String, String> = rows(&page, "| key |")
        .into_iter()
        .map(|cells| (cells[0].clone(), cells[2].clone()))
        .collect();
    assert!(known.len() > 40, "{known:?}");
    assert_eq!(
        told.keys().collect::<Vec<_>>(),
        known.keys().collect::<Vec<_>>(),
        "the page's keys and those of the schemas"
    );

    // `Default: 500ms.` in a description; a default may be followed by more.
    for (key, about) in &known {
        let Some((_, default)) = about.split_once("Default: ") else {
            continue;
        };
        let default = default.split([';', '.']).next().unwrap_or_default();
        assert_eq!(told[key], default, "the default of {key} in the schema");
    }
    let (limits, backfill) = (Limits::default(), BackfillOptions::default());
    let time = |time| humantime::format_duration(time).to_string();
    for (key, default) in [
        ("limits.max_lock_duration", time(limits.max_lock_duration)),
        ("limits.lock_patience", time(limits.lock_patience)),
        ("limits.max_batch_rows", limits.max_batch_rows.to_string()),
        (
            "backfill.target_batch_time",
            time(backfill.target_batch_time),
        ),
        ("backfill.workers", backfill.workers.to_string()),
        ("backfill.nice_ratio", backfill.nice_ratio.to_string()),
    ] {
        assert_eq!(told[key], default, "the default of {key}");
    }
    assert_eq!(limits.max_rows_affected, None);
    assert_eq!(told["limits.max_rows_affected"], "no limit");
}

#[test]
fn the_page_of_the_plan_has_every_setting() {
    let page = std::fs::read_to_string(docs().join("plan-file.md")).expect("the page");
    let told: Vec<(String, String)> = rows(&page, "| name |")
        .into_iter()
        .filter(|cells| !cells[0].starts_with("throttle."))
        .map(|cells| (cells[0].clone(), cells[1].clone()))
        .collect();
    let known = setting::SETTINGS.map(|known| (known.key.to_owned(), known.path.to_owned()));
    assert_eq!(told, known);
}

#[test]
fn the_examples_of_the_plan_page_are_valid() {
    let page = std::fs::read_to_string(docs().join("plan-file.md")).expect("the page");
    let mut examples = 0;
    for block in page.split("```yaml\n").skip(1) {
        let text = block.split("```").next().unwrap_or_default();
        let findings = if text.contains("environments:") {
            Config::load("pontoon.yaml", text).err()
        } else if text.starts_with("plan:") {
            load("plan.yaml", text).err()
        } else {
            let rest = "operations: [{drop_table: {table: old}}]";
            load("plan.yaml", &format!("plan: p\nversion: 1\n{text}{rest}\n")).err()
        };
        if let Some(findings) = findings {
            panic!("{text}\n{}", render_all(&findings));
        }
        examples += 1;
    }
    assert_eq!(examples, 4);
}
