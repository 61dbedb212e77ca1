//! `add_foreign_key`: adds a foreign key at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Constraint, ConstraintKind, Deferrable, ReferentialAction, TableKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, Role, TableUse, columns};

/// Adds a foreign key at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddForeignKey {
    /// The referencing table.
    pub table: TableRef,
    /// The constraint's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// In key order.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
    /// Where it points.
    pub references: References,
    /// What a DELETE of the referenced row does.
    #[serde(default)]
    pub on_delete: ReferentialAction,
    /// What a change of the referenced key does.
    #[serde(default)]
    pub on_update: ReferentialAction,
    /// MATCH.
    #[serde(default)]
    pub r#match: ForeignKeyMatch,
    /// DEFERRABLE.
    #[serde(default)]
    pub deferrable: Option<Deferrable>,
}

/// What a foreign key points at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct References {
    /// The referenced table.
    pub table: TableRef,
    /// Its columns, in key order.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub columns: Vec<String>,
}

/// MATCH SIMPLE or MATCH FULL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ForeignKeyMatch {
    /// One NULL column exempts the row.
    #[default]
    Simple,
    /// All columns are NULL, or none.
    Full,
}

impl Declare for AddForeignKey {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        let there = &self.references;
        to.table_at(&there.table, TableUse::Named, &["references", "table"]);
        to.columns(&self.table, &self.columns, Role::Key, &["columns"]);
        to.columns(
            &there.table,
            &there.columns,
            Role::Key,
            &["references", "columns"],
        );
        to.constraint(&self.table, &self.name, &["name"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        let (here, there) = (self.columns.len(), self.references.columns.len());
        if here != there {
            let span = check.written.span(&["references", "columns"]);
            check.report(
                &span,
                format!("{} here and {} there", columns(here), columns(there)),
                "expected one referenced column for each column",
                "",
            );
        }
    }
}

impl Lower for AddForeignKey {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
        asking.table(&self.references.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let (Some(table), Some(parent)) = (
            lowering.alterable(&self.table),
            lowering.table(&self.references.table),
        ) else {
            return;
        };
        lowering.new_constraint_name(&table, &self.name);
        if self.columns.len() != self.references.columns.len() {
            lowering.invalid(
                format!(
                    "foreign key {} has {} columns here and {} in {}",
                    self.name,
                    self.columns.len(),
                    self.references.columns.len(),
                    parent.name
                ),
                "Name as many on both sides.",
            );
            return;
        }
        for column in &self.columns {
            lowering.column_or_added(&table, column);
        }
        for column in &self.references.columns {
            lowering.column(&parent, column);
        }
        for (here, there) in self.columns.iter().zip(&self.references.columns) {
            let (Some(from), Some(to)) = (table.column(here), parent.column(there)) else {
                continue;
            };
            if family(&from.base_type) != family(&to.base_type) {
                lowering.invalid(
                    format!(
                        "{}.{here} is {} and {}.{there} is {}, which a foreign key cannot compare",
                        table.name, from.def.type_name, parent.name, to.def.type_name
                    ),
                    "Give both the same type first, with `change_type`.",
                );
            } else if from.base_type != to.base_type {
                lowering.note(format!(
                    "{}.{here} is {} and {}.{there} is {}: every check converts one of them. Consider the same type.",
                    table.name, from.def.type_name, parent.name, to.def.type_name
                ));
            }
        }
        let key_exists = parent.indexes.iter().any(|index| {
            index.unique
                && index.valid
                && index.predicate.is_none()
                && index.keys.len() == self.references.columns.len()
                && index.keys.iter().all(|key| {
                    key.column
                        .as_ref()
                        .is_some_and(|column| self.references.columns.contains(column))
                })
        });
        if !key_exists && parent.oid != 0 {
            lowering.invalid(
                format!("{} ({}) is not unique", parent.name, self.references.columns.join(", ")),
                "A foreign key needs a unique constraint or index on the referenced columns: see `add_unique`.",
            );
        }
        let indexed = table.indexes.iter().any(|index| {
            index.keys.first().and_then(|key| key.column.as_ref()) == self.columns.first()
        });
        if !indexed {
            lowering.note(format!(
                "No index of {} begins with {}: every delete in {} will scan it. Consider `add_index`.",
                table.name,
                self.columns.first().map_or("", String::as_str),
                parent.name
            ));
        }
        let constraint = Constraint {
            name: self.name.clone(),
            kind: ConstraintKind::ForeignKey {
                columns: self.columns.clone(),
                references: parent.name.clone(),
                referenced_columns: self.references.columns.clone(),
                on_delete: self.on_delete,
                on_update: self.on_update,
                match_full: self.r#match == ForeignKeyMatch::Full,
            },
            validated: false,
            deferrable: self.deferrable,
            definition: String::new(),
        };
        if table.kind == TableKind::Partitioned {
            lowering.foreign_key_below(&table, constraint, &parent.name);
        } else {
            lowering.add_foreign_key(&table.name, constraint, &parent.name);
        }
    }
}

/// Types of one family have an equality operator between them that an index
/// supports, which is what a foreign key needs.
fn family(base_type: &str) -> &str {
    match base_type {
        "smallint" | "integer" | "bigint" => "integer",
        "character varying" | "bpchar" => "text",
        other => other,
    }
}
