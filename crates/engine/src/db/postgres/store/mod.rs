//! What a run must not forget, in the schema `pontoon`.
//!
//! Persisted JSON has its own types ([`wire`]), apart from the runtime ones:
//! a newer binary reads what an older one wrote.

pub(crate) mod schema;
