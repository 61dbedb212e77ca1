//! `revoke`: takes rights from roles at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Granted, Lower, Lowering};
use crate::object::ObjectChange;
use crate::ops::common::TableRef;
use crate::ops::rights::{Privilege, Rights};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::Change;

/// Takes rights from roles at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Revoke {
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
    pub from: Vec<String>,
}

impl Revoke {
    pub(crate) fn rights(&self) -> Rights<'_> {
        Rights {
            privileges: &self.privileges,
            table: self.table.as_ref(),
            columns: &self.columns,
            schema: self.schema.as_ref(),
            sequence: self.sequence.as_ref(),
            roles: &self.from,
            grantable: false,
        }
    }
}

impl Declare for Revoke {
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

impl Lower for Revoke {
    fn ask(&self, asking: &mut Asking<'_>) {
        self.rights().ask(asking);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        for right in self.rights().each(lowering) {
            if right.granted == Granted::Not {
                lowering.note(format!(
                    "{} on {} is not granted to {}; nothing is taken away.",
                    right.grant.privilege,
                    right.on,
                    right.grant.grantee.as_deref().unwrap_or("PUBLIC")
                ));
                continue;
            }
            lowering.cutover(Change::Object {
                what: ObjectChange::Revoke {
                    on: right.on,
                    column: right.column,
                    grant: right.grant,
                },
            });
        }
    }
}
