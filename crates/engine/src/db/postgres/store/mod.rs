//! What a run must not forget, in the schema `pontoon`.
//!
//! - [`schema`]: creates and upgrades it.
//! - [`run`], [`step`], [`event`], [`command`]: one module per kind of record.
//! - [`lease`]: who may act for a run; [`worker`]: who may help.
//! - [`wire`]: the persisted forms, apart from the runtime ones: a newer
//!   binary reads what an older one wrote.
//!
//! Every change for a run is fenced and says so in its signature; a command
//! of an operator needs no lease.

pub(super) mod command;
pub(super) mod event;
pub(super) mod lease;
pub(super) mod old_writes;
pub(super) mod run;
pub(crate) mod schema;
pub(super) mod step;
pub(crate) mod wire;
pub(super) mod worker;
