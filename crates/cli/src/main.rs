//! The `pontoon` command: online migrations for PostgreSQL.

#![expect(dead_code, reason = "the verbs that use it land with the engine")]

mod args;
mod commands;
mod context;
mod display;
mod error;
mod exit;
mod files;
mod holder;
mod interrupt;
mod output;
mod pick;
mod session;
mod sitting;
mod words;

fn main() -> std::process::ExitCode {
    args::main().into()
}
