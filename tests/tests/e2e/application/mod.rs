//! What the clients of an application feel while a run goes on.

mod contention;
mod deadlock;
mod hot_rows;
mod isolation;
mod row_locks;
mod stall;
mod standby_readers;
mod subscribers;
mod writes;
