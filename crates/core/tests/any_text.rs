//! Whatever a file holds, reading it ends, does not panic, and every finding
//! points at a place that exists.

use pontoon_core::ops;
use pontoon_core::plan::{Config, Diagnostic, load};
use proptest::prelude::*;

/// Pieces that plans are made of, and pieces that break them.
const PIECES: [&str; 44] = [
    "plan",
    "version",
    "operations",
    "limits",
    "gates",
    "throttle",
    "add_column",
    "sql",
    "up",
    "table",
    "column",
    "name",
    "type",
    ":",
    ": ",
    "\n",
    "\n  ",
    "\n  - ",
    "\n      ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "'",
    "\"",
    "#",
    "|\n",
    ">\n",
    "&a ",
    "*a",
    "!x ",
    "\t",
    "500ms",
    "-1",
    "lower(x)",
    "((((",
    "--",
    "/*",
    "$$",
    ";",
    "\u{feff}",
    "ä🦀",
];

fn examine(text: &str) {
    if let Err(findings) = load("any.yaml", text) {
        plausible(text, &findings);
    }
    if let Err(findings) = Config::load("any.yaml", text) {
        plausible(text, &findings);
    }
}

fn plausible(text: &str, findings: &[Diagnostic]) {
    assert!(!findings.is_empty());
    for finding in findings {
        let line = text.split('\n').nth(finding.line as usize - 1);
        let line = line.expect("a line of the file");
        assert!(
            finding.column as usize <= line.chars().count() + 1,
            "{finding:?}"
        );
        assert!(finding.length >= 1);
        assert!(!finding.message.is_empty());
        assert!(finding.render().ends_with('\n'));
        assert!(!finding.message.contains('\n'), "{finding:?}");
    }
    let places: Vec<(u32, u32)> = findings
        .iter()
        .map(|finding| (finding.line, finding.column))
        .collect();
    assert!(places.is_sorted());
}

/// A good plan in which one stretch is replaced by a few pieces.
fn damaged() -> impl Strategy<Value = String> {
    let pieces = prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..5);
    (
        0..ops::ALL.len(),
        any::<prop::sample::Index>(),
        0usize..12,
        pieces,
    )
        .prop_map(|(which, at, length, pieces)| {
            let mut chars: Vec<char> = ops::ALL[which].example.chars().collect();
            let start = at.index(chars.len());
            let end = (start + length).min(chars.len());
            chars.splice(start..end, pieces.concat().chars());
            chars.into_iter().collect()
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_characters(text in "\\PC{0,200}") {
        examine(&text);
    }

    #[test]
    fn any_pieces(pieces in prop::collection::vec(prop::sample::select(PIECES.to_vec()), 0..60)) {
        examine(&pieces.concat());
    }

    #[test]
    fn damaged_plans(text in damaged()) {
        examine(&text);
    }

    #[test]
    fn any_expression(text in "[a-z0-9_ ()'\"$;:,.*/+\\-\\[\\]\n]{0,120}") {
        let quoted = serde_json::to_string(&text).expect("a string");
        examine(&format!("plan: p\nversion: 1\noperations:\n  - add_check: {{table: t, name: c, check: {quoted}}}\n  - sql: {{phase: expand, undo: nothing, run: {quoted}}}\n"));
    }
}

#[test]
fn hostile_files_are_cheap() {
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000));
    let head = "plan: p\nversion: 1\noperations:\n";
    for text in [
        deep("[", "]"),
        deep("{a: ", "}"),
        format!(
            "{head}  - add_check: {{table: t, name: c, check: \"{}\"}}\n",
            deep("(", ")")
        ),
        format!(
            "{head}  - sql: {{phase: expand, undo: nothing, run: \"{}\"}}\n",
            deep("(", ")")
        ),
        format!(
            "{head}  - sql: {{phase: expand, undo: nothing, run: \"{}\"}}\n",
            "not ".repeat(50_000)
        ),
        format!("operations: [{}]\n", "x, ".repeat(90_000)),
        format!("{head}{}", "  - {a: b}\n".repeat(20_000)),
        format!("x: '{}'\n", "'".repeat(500_001)),
        "a: ".repeat(100_000),
        "- ".repeat(100_000),
        format!("limits: {{{}}}\n", "k: 1, ".repeat(50_000)),
        format!(
            "plan: p\nversion: 1\noperations: [{}]\n",
            "drop_table: {table: t}, ".repeat(20_000)
        ),
        format!(
            "{head}  - add_unique: {{table: t, name: u, columns: [{}]}}\n",
            "a, ".repeat(90_000)
        ),
        format!("{head}{}", "  - drop_table: {table: t}\n".repeat(400)),
        format!(
            "{head}{}",
            format!(
                "  - add_check: {{table: t, name: c, check: {}}}\n",
                "a+".repeat(900)
            )
            .repeat(100)
        ),
    ] {
        examine(&text);
        // SQL that is too long to be judged here is left to the database.
        let findings = load("any.yaml", &text).err().unwrap_or_default();
        assert!(findings.len() < 500, "{} findings", findings.len());
        let longest = findings.iter().map(|it| it.source.chars().count()).max();
        assert!(longest.unwrap_or(0) < 200);
    }
}
