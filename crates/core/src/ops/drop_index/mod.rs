//! `drop_index`: drops an index concurrently at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering, ddl};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::common::TableRef;
use crate::step::{Action, Change, Concurrent, Phase, Undo};

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
        asking.object(relation(asking.resolve(&self.name)));
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.name);
        let Some((table, index)) = lowering.index(&self.name) else {
            return;
        };
        if let Some(constraint) = &index.constraint {
            lowering.unsafe_(
                format!(
                    "index {name} backs constraint {constraint} of {}",
                    table.name
                ),
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
        let object = relation(name.clone());
        let facts = lowering.object(&object).cloned().unwrap_or_default();
        if !facts.options.is_empty() {
            lowering.note(format!(
                "Rollback builds index {name} without its storage parameters ({}).",
                facts.options.join(", ")
            ));
        }
        let mut back = vec![Action::Concurrent(Concurrent::CreateIndex {
            table: table.name.clone(),
            index: index.clone(),
        })];
        if facts.comment.is_some() {
            back.push(ddl(vec![Change::Object {
                what: ObjectChange::Comment {
                    on: object,
                    comment: facts.comment,
                },
            }]));
        }
        lowering.step(
            Phase::Contract,
            format!("drop index {name}"),
            Action::Concurrent(Concurrent::DropIndex {
                table: table.name,
                name: index.name,
            }),
            Undo::Steps { actions: back },
        );
    }
}

fn relation(name: TableName) -> Object {
    Object::Relation {
        name,
        kind: RelationKind::Index,
    }
}
