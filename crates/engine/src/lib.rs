//! The part of Pontoon that talks to a database.
