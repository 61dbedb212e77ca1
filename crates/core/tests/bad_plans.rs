//! Every file of `bad_plans/` is refused, and says why in the words that are
//! stored beside it. Read each one aloud before accepting a change.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pontoon_core::plan::{load, render_all};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bad_plans")
}

fn names(extension: &str) -> BTreeSet<String> {
    let files = fs::read_dir(folder()).expect("the folder of bad plans");
    files
        .filter_map(|file| {
            let name = file.expect("a file").file_name().into_string().ok()?;
            Some(name.strip_suffix(extension)?.to_owned())
        })
        .collect()
}

#[test]
fn each_bad_plan_is_told_what_is_wrong() {
    let cases = names(".yaml");
    assert!(cases.len() >= 50, "only {} bad plans", cases.len());
    for case in &cases {
        let file = format!("{case}.yaml");
        let text = fs::read_to_string(folder().join(&file)).expect("a bad plan");
        let findings = load(&file, &text).expect_err(&file);
        assert!(!findings.is_empty(), "{file}");
        insta::with_settings!({
            snapshot_path => folder(),
            prepend_module_to_snapshot => false,
            omit_expression => true,
        }, {
            insta::assert_snapshot!(case.as_str(), render_all(&findings));
        });
    }
    let golden = names(".snap");
    let orphans: Vec<&String> = golden.difference(&cases).collect();
    assert!(orphans.is_empty(), "messages without a plan: {orphans:?}");
}

#[test]
fn findings_are_data_as_well() {
    let text = "plan: p\nversion: 1\nlimits:   {max_lock_time: 500ms}\noperations:\n  - drop_table: {table: t}\n";
    let findings = load("plans/a.yaml", text).expect_err("a bad plan");
    let json = serde_json::to_value(&findings).expect("plain data");
    assert_eq!(
        json,
        serde_json::json!([{
            "file": "plans/a.yaml",
            "line": 3,
            "column": 12,
            "length": 13,
            "message": "unknown key `max_lock_time` in limits",
            "expected": "expected one of max_lock_duration, lock_patience, max_rows_affected, max_batch_rows",
            "help": "did you mean `max_lock_duration`?",
            "source": "limits:   {max_lock_time: 500ms}",
        }])
    );
}
