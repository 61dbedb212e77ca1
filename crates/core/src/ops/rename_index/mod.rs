//! `rename_index`: renames an index.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::name::TableName;
use crate::object::ObjectChange;
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions};
use crate::step::{Change, Phase};

/// Renames an index.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameIndex {
    /// The index: `name` or `schema.name`.
    pub name: TableRef,
    /// The name afterwards, in the same schema.
    #[schemars(extend("format" = "identifier"))]
    pub to: String,
}

impl Declare for RenameIndex {
    fn declare(&self, to: &mut Mentions<'_>) {
        let from = to.resolve(&self.name);
        let after = TableName::new(&from.schema, &self.to);
        to.relation(from, &["name"]);
        to.relation(after, &["to"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        check.renamed(self.name.last(), &self.to, "name");
    }
}

impl Lower for RenameIndex {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.index(&self.name);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some((table, index)) = lowering.index(&self.name) else {
            return;
        };
        if let Some(constraint) = &index.constraint {
            lowering.unsafe_(
                format!(
                    "index {} backs constraint {constraint} of {}, which bears its name",
                    index.name, table.name
                ),
                "Use `rename_constraint`, which renames both.",
            );
        }
        lowering.new_relation_name(&table, &self.to);
        let rename = |from: &str, to: &str| Change::Object {
            what: ObjectChange::RenameIndex {
                table: table.name.clone(),
                from: from.to_owned(),
                to: to.to_owned(),
            },
        };
        lowering.ddl(
            Phase::Expand,
            format!(
                "rename index {} to {}",
                self.name.resolve(&table.name.schema),
                self.to
            ),
            rename(&index.name, &self.to),
            vec![rename(&self.to, &index.name)],
        );
    }
}
