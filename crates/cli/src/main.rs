//! The `pontoon` command: online migrations for PostgreSQL.

mod args;
mod commands;
mod context;
mod demo;
mod display;
mod error;
mod exit;
mod files;
mod folder;
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
