//! Any text is a connection string or an error about one: never a panic, and
//! its password in neither.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pontoon_engine::db::postgres::connect::ConnectOptions;

/// Appended as a password; no other part of a text looks like it.
const SECRET: &str = "S3cr3tFuzz";

fuzz_target!(|text: &str| {
    let nothing = |_: &str| None;
    let shown = |text: &str| match ConnectOptions::resolve(Some(text), &nothing) {
        Ok(options) => options.display(),
        Err(error) => format!("{error} {error:?}"),
    };
    shown(text);
    if text.contains(SECRET) {
        return;
    }
    let url = format!("postgres://u:{SECRET}@{text}");
    assert!(!shown(&url).contains(SECRET), "{url}");
    // In front, where no quote and no backslash of the text makes it a part of another value.
    let dsn = format!("password={SECRET} {text}");
    if ConnectOptions::resolve(Some(&dsn), &nothing).is_ok() {
        assert!(!shown(&dsn).contains(SECRET), "{dsn}");
    }
});
