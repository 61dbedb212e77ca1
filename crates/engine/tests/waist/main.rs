//! What PostgreSQL does behind the waist, on real servers.

mod guard;
mod lease;
mod long;
mod store;
mod support;
