//! What somebody does, or has to bear, who operates runs: wrong input, limits
//! and controls, several processes, connections that fail and servers that die.

mod bad_input;
mod conditions;
mod connections;
mod control;
mod corruption;
mod failover;
mod gates;
mod limits;
mod long_steps;
mod migrate;
mod pooler;
mod resources;
mod roles;
mod rollback;
mod takeover;
mod throttle;
mod workers;
