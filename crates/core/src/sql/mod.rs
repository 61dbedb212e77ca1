//! Steps as SQL text, one renderer per database.
//!
//! Everything here is pure: the same step gives the same text for ever, which
//! is what lets a run persist its program, a preview show it and a golden test
//! hold it. Every identifier goes through [`quote`], and nothing depends on
//! the `search_path` of whoever executes the text.

pub mod postgres;
pub mod quote;
