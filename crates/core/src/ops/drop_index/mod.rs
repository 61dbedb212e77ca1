//! `drop_index`: drops an index concurrently at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::ops::common::TableRef;
use crate::lower::{Asking, Lower, Lowering};
use crate::step::{Action, Concurrent, Phase, Undo};

/// Drops an index concurrently at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropIndex {
    /// The index: `name` or `schema.name`.
    pub name: TableRef,
}

impl Lower for DropIndex {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.index(&self.name);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.name);
        let Some((table, index)) = lowering.index(&self.name) else {
            return;
        };
        if let Some(constraint) = &index.constraint {
            lowering.unsafe_(
                format!("index {name} backs constraint {constraint} of {}", table.name),
                "Use `drop_constraint`, which says what it takes away.",
            );
            return;
        }
        lowering.refuse_partitioned(&table, "an index");
        if table.replica_identity == crate::catalog::ReplicaIdentity::Index(index.name.clone()) {
            lowering.unsafe_(
                format!("index {name} is the replica identity of {}", table.name),
                "Choose another replica identity first, or logical replication stops.",
            );
        }
        lowering.step(
            Phase::Contract,
            format!("drop index {name}"),
            Action::Concurrent(Concurrent::DropIndex {
                table: table.name.clone(),
                name: index.name.clone(),
            }),
            Undo::Steps {
                actions: vec![Action::Concurrent(Concurrent::CreateIndex {
                    table: table.name,
                    index,
                })],
            },
        );
    }
}
