//! PostgreSQL 14 to 18.

pub mod mapping;
pub mod sync;
