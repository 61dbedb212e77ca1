//! `set_replica_identity`: says how subscribers recognise a row.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{ConstraintKind, Index, ReplicaIdentity, Table};
use crate::lower::{Asking, Lower, Lowering};
use crate::object::TableSetting;
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, TableUse};
use crate::step::{Change, Phase};

/// Says how subscribers recognise a row.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetReplicaIdentity {
    /// The table.
    pub table: TableRef,
    /// `default` (the primary key), `full` (the whole row), `nothing`, or
    /// `index`, which `index` then names.
    pub identity: IdentityKind,
    /// The index, with `identity: index`.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub index: Option<String>,
}

/// The kinds of replica identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentityKind {
    /// The primary key.
    Default,
    /// The whole row.
    Full,
    /// None: UPDATE and DELETE cannot be replicated.
    Nothing,
    /// A unique index.
    Index,
}

/// Why an index cannot identify rows, as PostgreSQL judges it.
fn unfit(table: &Table, index: &Index) -> Option<&'static str> {
    let deferrable = index.constraint.as_ref().is_some_and(|name| {
        table
            .constraints
            .iter()
            .any(|constraint| constraint.name == *name && constraint.deferrable.is_some())
    });
    let nullable = index.keys.iter().any(|key| {
        key.column
            .as_ref()
            .and_then(|name| table.column(name))
            .is_none_or(|column| column.def.nullable)
    });
    match () {
        () if !index.valid => Some("it is not valid"),
        () if !index.unique => Some("it is not unique"),
        () if index.predicate.is_some() => Some("it is partial"),
        () if index.keys.iter().any(|key| key.expression.is_some()) => {
            Some("a key of it is an expression")
        }
        () if deferrable => Some("its constraint is deferrable"),
        () if nullable => Some("a column of it is not NOT NULL"),
        () => None,
    }
}

impl SetReplicaIdentity {
    fn wanted(&self, lowering: &mut Lowering<'_>, table: &Table) -> Option<ReplicaIdentity> {
        let name = match (self.identity, &self.index) {
            (IdentityKind::Default, _) => return Some(ReplicaIdentity::Default),
            (IdentityKind::Full, _) => return Some(ReplicaIdentity::Full),
            (IdentityKind::Nothing, _) => return Some(ReplicaIdentity::Nothing),
            (IdentityKind::Index, name) => name.clone()?,
        };
        let Some(index) = table.indexes.iter().find(|index| index.name == name) else {
            let names: Vec<&str> = table
                .indexes
                .iter()
                .filter(|index| unfit(table, index).is_none())
                .map(|index| index.name.as_str())
                .collect();
            lowering.invalid(
                format!("table {} has no index `{name}`", table.name),
                match names.as_slice() {
                    [] => "None of its indexes could identify a row: one that is unique over NOT NULL columns could.".to_owned(),
                    names => format!("These could identify its rows: {}.", names.join(", ")),
                },
            );
            return None;
        };
        if let Some(why) = unfit(table, index) {
            lowering.unsafe_(
                format!(
                    "index {name} cannot be the replica identity of {}: {why}",
                    table.name
                ),
                "It has to be unique, not partial, immediate, and over NOT NULL columns.",
            );
        }
        Some(ReplicaIdentity::Index(name))
    }
}

impl Declare for SetReplicaIdentity {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
    }

    fn check(&self, check: &mut Check<'_>) {
        match (self.identity, &self.index) {
            (IdentityKind::Index, None) => {
                let span = check.written.span(&["identity"]);
                check.report(
                    &span,
                    "it does not say which index",
                    "expected `index` beside it",
                    "",
                );
            }
            (IdentityKind::Default | IdentityKind::Full | IdentityKind::Nothing, Some(_)) => {
                let span = check.written.key_span("index");
                check.report(
                    &span,
                    "`index` is used with `identity: index` only",
                    "expected `identity: index`, or no `index`",
                    "",
                );
            }
            (IdentityKind::Index, Some(_))
            | (IdentityKind::Default | IdentityKind::Full | IdentityKind::Nothing, None) => {}
        }
    }
}

impl Lower for SetReplicaIdentity {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        let Some(identity) = self.wanted(lowering, &table) else {
            return;
        };
        let keyed = table
            .constraints
            .iter()
            .any(|constraint| matches!(constraint.kind, ConstraintKind::PrimaryKey { .. }));
        let none = match identity {
            ReplicaIdentity::Nothing => true,
            ReplicaIdentity::Default => !keyed,
            ReplicaIdentity::Full | ReplicaIdentity::Index(_) => false,
        };
        if let (true, Some(publication)) = (none, table.publications.first()) {
            lowering.unsafe_(
                format!("publication {} streams {}, and without a replica identity every UPDATE and DELETE on it fails", publication.name, table.name),
                "Choose `full`, or an index.",
            );
        }
        let set = |identity| Change::SetTable {
            table: table.name.clone(),
            setting: TableSetting::ReplicaIdentity { identity },
        };
        lowering.ddl(
            Phase::Expand,
            format!("set the replica identity of {}", table.name),
            set(identity),
            vec![set(table.replica_identity.clone())],
        );
        if !table.children.is_empty() {
            lowering.note(format!(
                "Each partition or child of {} has a replica identity of its own, which stays.",
                table.name
            ));
        }
    }
}
