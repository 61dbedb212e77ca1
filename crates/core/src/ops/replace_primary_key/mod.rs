//! `replace_primary_key`: other columns become the primary key.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Constraint, ConstraintKind, ReplicaIdentity, Table, TableKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::name::TableName;
use crate::object::{Object, RelationKind};
use crate::ops::Operation;
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions, Role, TableUse};

/// Makes other columns the primary key.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplacePrimaryKey {
    /// The table.
    pub table: TableRef,
    /// The columns of the new key, in key order.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
    /// The new key's name. Default: that of the old one.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub name: Option<String>,
    /// The old key stays as a UNIQUE constraint of this name.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub keep_as: Option<String>,
}

/// What bears a comment of the key.
fn commented(table: &TableName, name: &str) -> [Object; 2] {
    [
        Object::Constraint {
            table: table.clone(),
            name: name.to_owned(),
        },
        Object::Relation {
            name: TableName::new(&table.schema, name),
            kind: RelationKind::Index,
        },
    ]
}

impl ReplacePrimaryKey {
    /// The columns become NOT NULL, or a refusal.
    fn require(&self, lowering: &mut Lowering<'_>, table: &Table) {
        for column in &self.columns {
            if lowering.column_or_added(table, column).is_some() {
                lowering.key_column(table, column);
            }
        }
    }

    /// What would break, or mean something else, when the key is another one.
    fn refuse_users(&self, lowering: &mut Lowering<'_>, table: &Table, old: &Constraint) {
        let [constraint, _] = commented(&table.name, &old.name);
        let needed_by = lowering.object(&constraint).map(|facts| &facts.needed_by);
        for user in needed_by.into_iter().flatten() {
            lowering.unsafe_(
                format!(
                    "{user} needs primary key {} of {}: it groups by the key, or names it in ON CONFLICT",
                    old.name, table.name
                ),
                "Let it name every column that it selects in GROUP BY, or drop it before the plan and make it again afterwards.",
            );
        }
        let adds_reference = lowering.operations().any(|operation| {
            matches!(operation, Operation::AddForeignKey(add) if lowering.name(&add.references.table) == table.name)
        });
        if adds_reference || lowering.named_by_plan(&table.name, &old.name) {
            lowering.unsafe_(
                format!(
                    "another operation of the plan concerns primary key {} of {}, too",
                    old.name, table.name
                ),
                "Use two plans, the second one after the first one's contract.",
            );
        }
        match &table.replica_identity {
            ReplicaIdentity::Index(index) if *index == old.name => lowering.unsafe_(
                format!(
                    "index {index} of the old key is the replica identity of {}",
                    table.name
                ),
                "Choose another one with `set_replica_identity` in an earlier plan: `default` follows the primary key.",
            ),
            ReplicaIdentity::Default => self.refuse_publications(lowering, table),
            ReplicaIdentity::Index(_) | ReplicaIdentity::Full | ReplicaIdentity::Nothing => {}
        }
    }

    /// The replica identity follows the primary key.
    fn refuse_publications(&self, lowering: &mut Lowering<'_>, table: &Table) {
        for publication in &table.publications {
            let name = &publication.name;
            let missing = publication
                .columns
                .as_ref()
                .and_then(|listed| self.columns.iter().find(|column| !listed.contains(column)));
            if let Some(column) = missing {
                lowering.unsafe_(
                    format!("publication {name} does not send {}.{column}, and every UPDATE and DELETE of a published table has to send its key", table.name),
                    "Add the column to the publication's list first, or choose another replica identity with `set_replica_identity`.",
                );
            }
            if publication.filtered {
                lowering.unsafe_(
                    format!("publication {name} filters the rows of {}, and a filter may read columns of the key only: UPDATE and DELETE would fail", table.name),
                    "Set the replica identity to `full` with `set_replica_identity` in an earlier plan.",
                );
            }
            let word = format!("publication:{name}");
            if !lowering.acknowledges(&word) {
                lowering.unsafe_(
                    format!("publication {name} streams {}, and from contract on its subscribers find rows by the new key", table.name),
                    format!("Make sure that they have {} and an index over it, then write `acknowledge: [\"{word}\"]` in the plan.", self.columns.join(", ")),
                );
            }
        }
    }

    fn notes(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        (key, old): (&Constraint, &[String]),
        clustered: bool,
    ) {
        let old = old.join(", ");
        lowering.note(format!(
            "Duplicates and NULLs in {} stop contract before anything is taken away.",
            self.columns.join(", ")
        ));
        lowering.note(format!(
            "From contract on, a statement with GROUP BY {old} has to name every other column of {} that it selects.",
            table.name
        ));
        if self.keep_as.is_none() {
            lowering.note(format!(
                "Nothing keeps {old} unique from contract on, and ON CONFLICT ({old}) fails, unless another unique index is over it; `keep_as` keeps the old key as a UNIQUE constraint."
            ));
        }
        if self.name.as_ref().is_none_or(|name| *name == key.name) {
            lowering.note(format!(
                "The new key takes the name {0}: from contract on, ON CONFLICT ON CONSTRAINT {0} does not fail but looks for {1}; with another `name` it fails.",
                key.name,
                self.columns.join(", ")
            ));
        }
        if clustered {
            lowering.note(format!(
                "CLUSTER ordered {} by the old key's index, which goes: name another one when you need it.",
                table.name
            ));
        }
        if table.replica_identity == ReplicaIdentity::Default {
            lowering.note(format!(
                "The replica identity of {} is its primary key: from contract on, UPDATE and DELETE send the new one to whoever reads the log.",
                table.name
            ));
        }
    }
}

impl Declare for ReplacePrimaryKey {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.columns(&self.table, &self.columns, Role::Key, &["columns"]);
        for (name, key) in [(&self.name, "name"), (&self.keep_as, "keep_as")] {
            if let Some(name) = name {
                to.constraint_with_index(&self.table, name, &[key]);
            }
        }
    }
}

impl Lower for ReplacePrimaryKey {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        let Some(table) = asking.catalog().tables.get(&table) else {
            return;
        };
        if let Some((old, _)) = table.primary_key() {
            for object in commented(&table.name, &old.name) {
                asking.object(object);
            }
        }
        for key in &table.referenced_by {
            asking.object(Object::Constraint {
                table: key.table.clone(),
                name: key.constraint.clone(),
            });
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        if table.kind == TableKind::Partitioned {
            lowering.unsafe_(
                format!("{} is partitioned, and its parts of a key change only with the whole of it", table.name),
                "Drop the key with `drop_constraint` in one plan, and make the new one with `add_primary_key` in the next.",
            );
        }
        let Some((old, old_columns)) = table.primary_key() else {
            lowering.invalid(
                format!("table {} has no primary key", table.name),
                "Use `add_primary_key`.",
            );
            return;
        };
        if old_columns == self.columns {
            lowering.invalid(
                format!(
                    "{} is the primary key of {} already",
                    self.columns.join(", "),
                    table.name
                ),
                "Name the columns that shall be.",
            );
        }
        let name = self.name.as_ref().unwrap_or(&old.name);
        for name in [Some(name), self.keep_as.as_ref()].into_iter().flatten() {
            // The old key's own name is free once it is gone.
            if *name != old.name {
                lowering.new_constraint_name(&table, name);
                lowering.new_relation_name(&table, name);
            }
        }
        if self.keep_as.as_ref() == Some(name) {
            lowering.invalid(
                format!("both the new key and the old one would be called {name}"),
                "Give the new key a `name`, or the old one another `keep_as`.",
            );
        }
        for column in old_columns {
            lowering.alone(&table.name, column);
        }
        self.refuse_users(lowering, &table, old);
        let behind = |name: &str| table.indexes.iter().find(|index| index.name == name);
        let clustered = behind(&old.name).is_some_and(|index| index.settings.clustered);
        let index = lowering.artifact("key");
        lowering.unique_index(&table, &index, &self.columns);
        lowering.let_go(&table, old, old_columns, self.keep_as.as_deref());
        self.require(lowering, &table);
        lowering.key_of_index(
            &table,
            name,
            ConstraintKind::PrimaryKey {
                columns: self.columns.clone(),
            },
            None,
            &index,
        );
        if let Some(kept) = &self.keep_as {
            let pairs = commented(&table.name, &old.name);
            for (from, on) in pairs.iter().zip(commented(&table.name, kept)) {
                lowering.comment_as(from, on);
            }
        }
        lowering.finish_letting_go();
        let clustered = clustered && self.keep_as.is_none();
        self.notes(lowering, &table, (old, old_columns), clustered);
    }
}
