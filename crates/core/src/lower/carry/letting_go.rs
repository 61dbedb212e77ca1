//! A key that is no longer the primary one, and the foreign keys that refer to
//! it.
//!
//! PostgreSQL makes no UNIQUE constraint of a primary key, and a foreign key
//! stays with the index that it was made with. So a unique index is built over
//! the same columns, and each foreign key is added again, NOT VALID, and
//! validated: both hold until the cutover drops the old one. A new foreign key
//! takes the first fitting index in the order of their object ids. So the old
//! key's index is built anew beforehand: what is built concurrently gets a
//! higher id, and its constraint and foreign keys move to it. Should another
//! order come about all the same, the cutover fails and changes nothing, for
//! the server drops no key that something refers to.

use crate::catalog::{Constraint, ConstraintKind, Index, Table, TableKind};
use crate::name::TableName;
use crate::object::TableSetting;
use crate::step::{Action, Change, Concurrent, Phase, Undo};

use super::super::Lowering;
use super::refused::is_unusual;

impl Lowering<'_> {
    /// The primary key goes in the cutover; with `kept`, its columns have a
    /// UNIQUE constraint of that name from then on, to which refers what
    /// referred to the key. [`Lowering::finish_letting_go`] has to follow once
    /// the cutover has all else.
    pub fn let_go(
        &mut self,
        table: &Table,
        old: &Constraint,
        columns: &[String],
        kept: Option<&str>,
    ) {
        let incoming = self.incoming_keys(table, columns);
        if let (None, Some((from, key))) = (kept, incoming.first()) {
            self.unsafe_(
                format!(
                    "foreign key {} of {from} refers to primary key {} of {}",
                    key.name, old.name, table.name
                ),
                "Write `keep_as` with a name: the old key stays as a UNIQUE constraint, to which it refers then.",
            );
            return;
        }
        let index = self.artifact("kept");
        if kept.is_some() {
            self.build_kept(table, old, columns, &index);
        }
        if !incoming.is_empty() {
            self.step(
                Phase::Contract,
                format!("build index {} of {} anew", old.name, table.name),
                Action::Concurrent(Concurrent::Reindex {
                    table: table.name.clone(),
                    name: old.name.clone(),
                }),
                Undo::Nothing,
            );
        }
        for (number, (from, key)) in incoming.iter().enumerate() {
            let name = self.artifact(&format!("incoming_{}", number + 1));
            self.add_again(from, key, key, &name, Some(&table.name));
            self.cutover(Change::DropConstraint {
                table: from.clone(),
                name: key.name.clone(),
                referenced: Some(table.name.clone()),
            });
        }
        self.cutover(Change::DropConstraint {
            table: table.name.clone(),
            name: old.name.clone(),
            referenced: None,
        });
        let Some(kept) = kept else {
            return;
        };
        let kind = ConstraintKind::Unique {
            columns: columns.to_vec(),
        };
        self.key_of_index(table, kept, kind, old.deferrable, &index);
        let behind = table.indexes.iter().find(|index| index.name == old.name);
        if behind.is_some_and(|index| index.settings.clustered) {
            self.cutover(Change::SetTable {
                table: table.name.clone(),
                setting: TableSetting::ClusterOn {
                    index: kept.to_owned(),
                },
            });
        }
    }

    /// What was added again gets its names.
    pub fn finish_letting_go(&mut self) {
        self.name_carried();
    }

    /// The unique index that does the work of the old key's.
    fn build_kept(&mut self, table: &Table, old: &Constraint, columns: &[String], name: &str) {
        let behind = table.indexes.iter().find(|index| index.name == old.name);
        let plain = super::super::plain_index(name, columns);
        let like = behind.map(|index| Index {
            include: index.include.clone(),
            ..plain.anew(name, index)
        });
        let step = format!("build a unique index for what {} was", old.name);
        self.build_index(Phase::Contract, step, &table.name, like.unwrap_or(plain));
    }

    /// Foreign keys that refer to these columns, with their tables; a refusal
    /// for each that cannot be added again.
    fn incoming_keys(&mut self, table: &Table, columns: &[String]) -> Vec<(TableName, Constraint)> {
        let mut found = Vec::new();
        for key in &table.referenced_by {
            let same = key.columns.len() == columns.len()
                && key.columns.iter().all(|column| columns.contains(column));
            let from = self.catalog.tables.get(&key.table);
            let constraint =
                from.and_then(|from| from.constraints.iter().find(|c| c.name == key.constraint));
            if !same {
                continue;
            }
            let plain = from.is_some_and(|from| {
                from.owned_by_us && from.kind == TableKind::Ordinary && from.parents.is_empty()
            });
            match constraint {
                Some(constraint) if plain && !is_unusual(constraint) => {
                    found.push((key.table.clone(), constraint.clone()));
                }
                _ => self.unsafe_(
                    format!(
                        "foreign key {} of {} refers to the key, and cannot be added again: its table is partitioned or another role's, or it is of a kind that this version does not make",
                        key.constraint, key.table
                    ),
                    "Drop it in an earlier plan, and add it again afterwards.",
                ),
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{compile, partitioned, referring, refusals, shop};
    use crate::catalog::{Publication, ReplicaIdentity};
    use crate::lower::fixtures::outline;

    #[test]
    fn what_referred_to_the_key_refers_to_what_it_has_become() {
        let operation =
            "  - replace_primary_key: {table: orders, columns: [at, up], keep_as: orders_id}";
        let lowered =
            compile(shop(vec![referring("items", &["order_id"])]), operation).expect("lowers");
        insta::assert_snapshot!("replace_primary_key", outline(&lowered.program));
        let mut alone = shop(Vec::new());
        for table in alone.tables.values_mut() {
            table.referenced_by.clear();
        }
        let operation = "  - replace_primary_key: {table: orders, columns: [at], name: by_day}";
        let lowered = compile(alone, operation).expect("lowers");
        insta::assert_snapshot!("replace_primary_key_alone", outline(&lowered.program));
    }

    #[test]
    fn what_cannot_follow_is_refused() {
        let operation = "  - replace_primary_key: {table: orders, columns: [at], keep_as: kept}";
        let mut published = shop(Vec::new());
        let mut identified = shop(Vec::new());
        for table in published.tables.values_mut() {
            table.publications.push(Publication {
                name: "streamed".into(),
                columns: Some(vec!["id".into()]),
                filtered: true,
            });
        }
        for table in identified.tables.values_mut() {
            table.replica_identity = ReplicaIdentity::Index("orders_pkey".into());
        }
        for (catalog, operation, told) in [
            (
                shop(partitioned()),
                operation.to_owned(),
                "foreign key events_order_id of public.events refers to the key, and cannot be added again",
            ),
            (
                shop(Vec::new()),
                operation.replace(", keep_as: kept", ""),
                "foreign key orders_up of public.orders refers to primary key orders_pkey",
            ),
            (
                shop(Vec::new()),
                operation.replace("[at]", "[id]"),
                "id is the primary key of public.orders already",
            ),
            (
                shop(Vec::new()),
                operation.replace("kept", "orders_pkey"),
                "both the new key and the old one would be called orders_pkey",
            ),
            (
                shop(Vec::new()),
                format!(
                    "{operation}\n  - rename_constraint: {{table: orders, from: orders_pkey, to: k}}"
                ),
                "another operation of the plan concerns primary key orders_pkey",
            ),
            (identified, operation.to_owned(), "is the replica identity"),
            (
                published.clone(),
                operation.to_owned(),
                "publication streamed does not send public.orders.at",
            ),
            (
                published,
                operation.to_owned(),
                "publication streamed filters the rows",
            ),
        ] {
            let messages = refusals(catalog, &operation);
            assert!(
                messages.iter().any(|it| it.contains(told)),
                "{told}: {messages:?}"
            );
        }
    }
}
