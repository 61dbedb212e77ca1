//! `grant`: gives rights to roles.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog;
use crate::lower::{Asking, Granted, Lower, Lowering, ddl};
use crate::object::{Object, ObjectChange};
use crate::ops::common::TableRef;
use crate::ops::rights::{Privilege, Right, Rights};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::{Change, Phase, Undo};

/// Gives rights to roles.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Grant {
    /// Which rights.
    #[schemars(schema_with = "crate::ops::rights::privileges")]
    pub privileges: Vec<Privilege>,
    /// On this table, view or materialized view.
    #[serde(default)]
    pub table: Option<TableRef>,
    /// On these columns of it only.
    #[serde(default)]
    #[schemars(schema_with = "crate::ops::common::names_or_none")]
    pub columns: Vec<String>,
    /// On this schema.
    #[serde(default)]
    #[schemars(extend("format" = "schema-name"))]
    pub schema: Option<String>,
    /// On this sequence.
    #[serde(default)]
    pub sequence: Option<TableRef>,
    /// The roles; `public` is everybody.
    #[schemars(schema_with = "crate::ops::common::names")]
    pub to: Vec<String>,
    /// They may hand the rights on.
    #[serde(default)]
    pub with_grant_option: bool,
}

impl Grant {
    pub(crate) fn rights(&self) -> Rights<'_> {
        Rights {
            privileges: &self.privileges,
            table: self.table.as_ref(),
            columns: &self.columns,
            schema: self.schema.as_ref(),
            sequence: self.sequence.as_ref(),
            roles: &self.to,
            grantable: self.with_grant_option,
        }
    }
}

fn give(right: &Right) -> Change {
    match (&right.on, &right.column) {
        (Object::Relation { name, .. }, Some(column)) => Change::GrantColumn {
            table: name.clone(),
            column: column.clone(),
            grant: right.grant.clone(),
        },
        _ => Change::Object {
            what: ObjectChange::Grant {
                on: right.on.clone(),
                grant: right.grant.clone(),
            },
        },
    }
}

impl Declare for Grant {
    fn declare(&self, to: &mut Mentions<'_>) {
        if let Some(table) = &self.table {
            to.table(table, TableUse::Named);
            to.columns(table, &self.columns, Role::Key, &["columns"]);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        check.rights(&self.rights());
    }
}

impl Lower for Grant {
    fn ask(&self, asking: &mut Asking<'_>) {
        self.rights().ask(asking);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let rights = self.rights();
        let all = rights.each(lowering);
        let (there, new): (Vec<Right>, Vec<Right>) = all
            .into_iter()
            .partition(|right| right.granted == Granted::Already);
        for right in &there {
            lowering.note(format!(
                "{} on {} is granted to {} already.",
                right.grant.privilege,
                right.on,
                right.grant.grantee.as_deref().unwrap_or("PUBLIC")
            ));
        }
        if new.is_empty() {
            return;
        }
        let back = new
            .iter()
            .map(|right| Change::Object {
                what: ObjectChange::Revoke {
                    on: right.on.clone(),
                    column: right.column.clone(),
                    grant: catalog::Grant {
                        grantable: right.granted == Granted::WithoutOption,
                        ..right.grant.clone()
                    },
                },
            })
            .collect();
        lowering.step(
            Phase::Expand,
            format!("grant {} to {}", rights.describe(&new), self.to.join(", ")),
            ddl(new.iter().map(give).collect()),
            Undo::Steps {
                actions: vec![ddl(back)],
            },
        );
    }
}
