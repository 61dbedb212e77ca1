//! Any text is a plan and a configuration, or findings about one: never a
//! panic, and every finding can be shown.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pontoon_core::plan::{self, Config};

fuzz_target!(|text: &str| {
    match plan::load("plan.yaml", text) {
        Ok(plan) => {
            // What was understood once is understood the same way again.
            let again = plan::load("plan.yaml", text).expect("the same text");
            assert_eq!(format!("{plan:?}"), format!("{again:?}"));
        }
        Err(findings) => {
            assert!(!findings.is_empty());
            assert!(!plan::render_all(&findings).is_empty());
        }
    }
    if let Err(findings) = Config::load("pontoon.yaml", text) {
        assert!(!plan::render_all(&findings).is_empty());
    }
});
