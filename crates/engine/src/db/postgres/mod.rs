//! PostgreSQL behind the waist.
