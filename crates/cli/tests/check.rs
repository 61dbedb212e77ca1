//! `pontoon check` and `pontoon schema`, as a shell sees them.

use std::path::{Path, PathBuf};

use assert_cmd::Command;
use serde_json::Value;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Runs the binary in the repository's top folder: exit code, stdout, stderr.
fn pontoon(args: &[&str]) -> (i32, String, String) {
    let output = Command::cargo_bin("pontoon")
        .expect("the binary")
        .current_dir(top())
        .args(args)
        .output()
        .expect("it runs");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code().expect("an exit code"),
        text(output.stdout),
        text(output.stderr),
    )
}

const BAD: &str = "crates/core/tests/bad_plans";

#[test]
fn the_sample_plans_and_their_configuration_are_valid() {
    for env in [None, Some("staging"), Some("production")] {
        let mut args = vec!["check", "plans"];
        if let Some(env) = env {
            args.extend(["--env", env]);
        }
        let (code, out, err) = pontoon(&args);
        assert_eq!((code, err.as_str()), (0, ""), "{out}");
        assert_eq!(out.lines().count(), 7);
        let line = "plans/02_change_type.yaml: payments_amount_exact 20261120091000, 1 operation\n";
        assert!(out.contains(line), "{out}");
        assert!(out.contains("plans/pontoon.yaml: configuration\n"));
    }
}

#[test]
fn every_mistake_of_every_file_is_told_at_once() {
    let first = format!("{BAD}/many_at_once.yaml");
    let second = format!("{BAD}/limits_unknown_key.yaml");
    let (code, out, err) = pontoon(&["check", &first, &second, "plans/03_rename_column.yaml"]);
    assert_eq!(code, 3);
    assert_eq!(out.matches("error: ").count(), 10, "{out}");
    assert!(out.contains("limits_unknown_key.yaml:3:12"));
    assert!(out.contains("did you mean `max_lock_duration`?"));
    assert!(err.contains("2 of 3 files are not valid."), "{err}");
}

#[test]
fn json_holds_the_same_findings() {
    let bad = format!("{BAD}/limits_unknown_key.yaml");
    let good = "plans/01_add_filled_column.yaml";
    let (code, out, err) = pontoon(&["check", &bad, good, "--output", "json"]);
    assert_eq!((code, err.as_str()), (3, ""));
    let value: Value = serde_json::from_str(&out).expect("one JSON object");
    assert_eq!(value["valid"], false);
    let finding = &value["files"][0]["findings"][0];
    assert_eq!(finding["line"], 3);
    assert_eq!(finding["column"], 12);
    assert_eq!(finding["help"], "did you mean `max_lock_duration`?");
    assert_eq!(value["files"][1]["valid"], true);
    assert_eq!(value["files"][1]["plan"], "customers_email_normalized");
    assert_eq!(value["files"][1]["findings"], serde_json::json!([]));
}

#[test]
fn a_file_that_is_missing_hides_no_other() {
    let bad = format!("{BAD}/limits_unknown_key.yaml");
    let (code, out, err) = pontoon(&["check", "plans/none.yaml", &bad]);
    assert_eq!(code, 2);
    assert!(out.contains("max_lock_time"));
    assert!(err.contains("plans/none.yaml"));
    let (code, out, err) = pontoon(&["check", "plans/none.yaml", "--output", "json"]);
    assert_eq!((code, err.as_str()), (2, ""));
    let records: Vec<Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(records[0]["valid"], false, "{out}");
    assert_eq!(records[1]["exit"], 2, "{out}");
}

#[test]
fn ceilings_and_twins_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let plan = "plan: p\nversion: 1\nlimits: {max_batch_rows: 500}\noperations:\n  - drop_table: {table: t}\n";
    for name in ["a.yaml", "b.yaml"] {
        std::fs::write(folder.path().join(name), plan).expect("written");
    }
    let config = "ceilings: {max_batch_rows: 100}\n";
    std::fs::write(folder.path().join("pontoon.yaml"), config).expect("written");
    let path = folder.path().to_str().expect("UTF-8");
    let one = format!("{path}/a.yaml");
    let (code, out, _) = pontoon(&["check", path]);
    assert_eq!(code, 3);
    let exceeds = "exceeds the ceiling of 100";
    assert_eq!(out.matches(exceeds).count(), 2, "{out}");
    let twin = "has a twin of the same version";
    assert_eq!(out.matches(twin).count(), 1, "{out}");
    // Of one folder, plans of one version are told, whatever their names; of two they are not.
    let other = plan.replace("plan: p\nversion: 1", "plan: q\nversion: \"01\"");
    std::fs::write(folder.path().join("b.yaml"), &other).expect("written");
    let (code, out, _) = pontoon(&["check", "--force", path]);
    assert_eq!(code, 3);
    assert!(
        out.contains("another plan of this folder has version 01") && out.contains("b.yaml:2:"),
        "{out}"
    );
    let elsewhere = folder.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).expect("a folder");
    std::fs::rename(folder.path().join("b.yaml"), elsewhere.join("b.yaml")).expect("moved");
    let elsewhere = elsewhere.to_str().expect("UTF-8");
    let (code, out, _) = pontoon(&["check", "--force", path, elsewhere]);
    assert_eq!(code, 0, "{out}");
    let (code, out, _) = pontoon(&["check", "--force", &one]);
    assert_eq!(code, 0, "{out}");
    let (code, out, _) = pontoon(&["check", "--env", "prod", &one]);
    assert_eq!(code, 3);
    assert!(out.contains("there is no environment `prod`"));
}

#[test]
fn schemas_are_printed() {
    for (args, title) in [
        (vec!["schema"], "Pontoon plan"),
        (vec!["schema", "--config"], "Pontoon configuration"),
    ] {
        let (code, out, err) = pontoon(&args);
        assert_eq!((code, err.as_str()), (0, ""));
        let schema: Value = serde_json::from_str(&out).expect("JSON");
        assert_eq!(schema["title"], title);
    }
}
