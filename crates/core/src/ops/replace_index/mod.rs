//! `replace_index`: gives an index another definition under its name.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Index, ReplicaIdentity, Table};
use crate::lower::{Asking, Lower, Lowering, ddl};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::add_index::{AddIndex, IndexColumn};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Check, Declare, Mentions};
use crate::step::{Action, Change, Concurrent, Phase, Undo};

/// Gives an index another definition under its name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceIndex {
    /// The table.
    pub table: TableRef,
    /// The index's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Its new keys, in order.
    #[schemars(length(min = 1, max = 32))]
    pub columns: Vec<IndexColumn>,
    /// UNIQUE; enforced from contract on.
    #[serde(default)]
    pub unique: bool,
    /// Predicate of a partial index.
    #[serde(default)]
    pub r#where: Option<SqlExpr>,
    /// `btree` (default), `gin`, `gist`, `brin`, `hash`, `spgist` or an extension's.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub method: Option<String>,
    /// Columns that are stored beside the key.
    #[serde(default)]
    #[schemars(schema_with = "crate::ops::common::names_or_none")]
    pub include: Vec<String>,
}

impl ReplaceIndex {
    /// The same keys as `add_index` has, under another name.
    pub(crate) fn new_index(&self, name: &str) -> AddIndex {
        AddIndex {
            table: self.table.clone(),
            name: name.to_owned(),
            columns: self.columns.clone(),
            unique: self.unique,
            r#where: self.r#where.clone(),
            method: self.method.clone(),
            include: self.include.clone(),
        }
    }

    fn relation(&self, table: &TableName) -> Object {
        Object::Relation {
            name: TableName::new(&table.schema, &self.name),
            kind: RelationKind::Index,
        }
    }

    /// Refuses what would be lost with the old index.
    fn refuse_lost(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        index: &Index,
        options: &[String],
    ) {
        if let Some(constraint) = &index.constraint {
            lowering.unsafe_(
                format!("index {} backs constraint {constraint} of {}", self.name, table.name),
                "Add the new constraint with `add_unique` and drop the old one with `drop_constraint` in a later plan.",
            );
        }
        if table.replica_identity == ReplicaIdentity::Index(self.name.clone()) {
            lowering.unsafe_(
                format!(
                    "index {} is the replica identity of {}",
                    self.name, table.name
                ),
                "Choose another one with `set_replica_identity` first.",
            );
        }
        for option in options {
            lowering.unsafe_(
                format!("index {} has the storage parameter `{option}`, which this version does not carry over", self.name),
                "Reset it before the plan, and set it again afterwards.",
            );
        }
        let keys: Vec<&String> = index
            .keys
            .iter()
            .filter_map(|key| key.column.as_ref())
            .collect();
        for key in table.referenced_by.iter().filter(|_| index.unique) {
            if key.columns.len() == keys.len()
                && key.columns.iter().all(|column| keys.contains(&column))
            {
                lowering.unsafe_(
                    format!("foreign key {} of {} may rest on index {}", key.constraint, key.table, self.name),
                    "Give the columns a unique constraint with `add_unique`, and add the foreign key anew.",
                );
            }
        }
    }
}

impl Declare for ReplaceIndex {
    fn declare(&self, to: &mut Mentions<'_>) {
        self.new_index(&self.name).declare(to);
    }

    fn check(&self, check: &mut Check<'_>) {
        self.new_index(&self.name).check(check);
    }
}

impl Lower for ReplaceIndex {
    fn ask(&self, asking: &mut Asking<'_>) {
        self.new_index(&self.name).ask(asking);
        let table = asking.resolve(&self.table);
        asking.object(self.relation(&table));
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(old) = table
            .indexes
            .iter()
            .find(|index| index.name == self.name)
            .cloned()
        else {
            lowering.no_such_index(&table, &self.name);
            return;
        };
        let object = self.relation(&table.name);
        let facts = lowering.object(&object).cloned().unwrap_or_default();
        self.refuse_lost(lowering, &table, &old, &facts.options);
        let (building, retired) = (
            lowering.artifact("new_index"),
            lowering.artifact("old_index"),
        );
        self.new_index(&building).lower(lowering);
        let change = |what| Change::Object { what };
        let rename = |from: &str, to: &str| {
            change(ObjectChange::RenameIndex {
                table: table.name.clone(),
                from: from.to_owned(),
                to: to.to_owned(),
            })
        };
        let mut swap = vec![rename(&self.name, &retired), rename(&building, &self.name)];
        let mut back = vec![rename(&self.name, &building), rename(&retired, &self.name)];
        if facts.comment.is_some() {
            let comment = change(ObjectChange::Comment {
                on: object,
                comment: facts.comment,
            });
            swap.push(comment.clone());
            // An old index that was dropped and built again has lost it.
            back.push(comment);
        }
        lowering.step(
            Phase::Contract,
            format!(
                "let the new index take the name {} on {}",
                self.name, table.name
            ),
            ddl(swap),
            Undo::Steps {
                actions: vec![ddl(back)],
            },
        );
        lowering.step(
            Phase::Contract,
            format!("drop the old index {} of {}", self.name, table.name),
            Action::Concurrent(Concurrent::DropIndex {
                table: table.name.clone(),
                name: retired.clone(),
            }),
            Undo::Steps {
                actions: vec![Action::Concurrent(Concurrent::CreateIndex {
                    table: table.name,
                    index: Index {
                        name: retired,
                        valid: true,
                        ..old
                    },
                })],
            },
        );
    }
}
