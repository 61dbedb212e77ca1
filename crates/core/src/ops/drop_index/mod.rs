//! `drop_index`: drops an index concurrently at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Index, ReplicaIdentity, Table, TableKind};
use crate::lower::{Asking, Lower, Lowering, ddl, same_index};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions};
use crate::step::{Action, Change, Concurrent, Phase, Undo};

/// Drops an index concurrently at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropIndex {
    /// The index: `name` or `schema.name`.
    pub name: TableRef,
}

impl Declare for DropIndex {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.relation(to.resolve(&self.name), &["name"]);
    }
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
        if table.replica_identity == ReplicaIdentity::Index(index.name.clone()) {
            lowering.unsafe_(
                format!("index {name} is the replica identity of {}", table.name),
                "Choose another replica identity first, or logical replication stops.",
            );
        }
        for parent in &table.parents {
            let above = lowering.catalog().tables.get(parent);
            if above.is_some_and(|above| Lowering::belongs_above(above, &table, &index.name)) {
                lowering.unsafe_(
                    format!("index {name} is a part of one of {parent}, and PostgreSQL drops no part alone"),
                    format!("Name the index of {parent}."),
                );
            }
        }
        if table.kind == TableKind::Partitioned {
            drop_with_parts(lowering, &table, index);
            return;
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

/// PostgreSQL drops no index of a partitioned table concurrently.
fn drop_with_parts(lowering: &mut Lowering<'_>, table: &Table, index: Index) {
    for partition in lowering.descendants(table) {
        let identity = match &partition.replica_identity {
            ReplicaIdentity::Index(own) => partition.indexes.iter().find(|it| it.name == *own),
            _ => None,
        };
        if identity.is_some_and(|own| same_index(own, &index)) {
            lowering.unsafe_(
                format!(
                    "the part of index {} on {} is the replica identity there",
                    index.name, partition.name
                ),
                "Choose another replica identity first, or logical replication stops.",
            );
        }
    }
    lowering.note(format!(
        "Index {} of {} goes in the cutover, with its part on each partition: PostgreSQL drops none of a partitioned table concurrently, and locks the table and all partitions with ACCESS EXCLUSIVE for it.",
        index.name, table.name
    ));
    lowering.cutover(Change::Object {
        what: ObjectChange::DropIndexOverPartitions {
            table: table.name.clone(),
            index,
        },
    });
}

fn relation(name: TableName) -> Object {
    Object::Relation {
        name,
        kind: RelationKind::Index,
    }
}
