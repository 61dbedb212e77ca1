//! `rename_enum_value`: renames a label of an enum at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::object::{Object, ObjectChange};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions};
use crate::step::Change;

/// Renames a label of an enum at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameEnumValue {
    /// The enum: `name` or `schema.name`.
    pub name: TableRef,
    /// The present label.
    #[schemars(extend("format" = "enum-label"))]
    pub from: String,
    /// The label afterwards.
    #[schemars(extend("format" = "enum-label"))]
    pub to: String,
}

impl Declare for RenameEnumValue {
    fn declare(&self, _: &mut Mentions<'_>) {}

    fn check(&self, check: &mut Check<'_>) {
        check.renamed(&self.from, &self.to, "from");
    }
}

impl Lower for RenameEnumValue {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.resolve(&self.name);
        asking.object(Object::Type { name });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some((name, labels)) = lowering.labels(&self.name) else {
            return;
        };
        lowering.label(&name, &labels, &self.from);
        if labels.contains(&self.to) {
            lowering.invalid(
                format!("enum {name} has a label '{}' already", self.to),
                "Bring the rows from one label to the other with a `backfill` instead.",
            );
        }
        lowering.cutover(Change::Object {
            what: ObjectChange::RenameEnumValue {
                name,
                from: self.from.clone(),
                to: self.to.clone(),
            },
        });
    }
}
