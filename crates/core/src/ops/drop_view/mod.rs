//! `drop_view`: drops a view at contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Dependent;
use crate::lower::{Asking, Lower, Lowering, hanging_on};
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions};
use crate::step::Change;

/// Drops a view at contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DropView {
    /// The view: `name` or `schema.name`.
    pub name: TableRef,
}

impl Declare for DropView {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.relation(to.resolve(&self.name), &["name"]);
    }
}

impl Lower for DropView {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.table(&self.name);
        asking.object(Object::Relation {
            name,
            kind: RelationKind::View,
        });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.name);
        let object = Object::Relation {
            name: name.clone(),
            kind: RelationKind::View,
        };
        if lowering.owned_object(&object).is_none() {
            return;
        }
        let Some(view) = lowering.catalog().tables.get(&name).cloned() else {
            return;
        };
        let dependents: Vec<Dependent> = hanging_on(&view)
            .into_iter()
            .filter(|dependent| !lowering.view_dropped_by_plan(&dependent.name))
            .collect();
        lowering.refuse_dependents(&object.to_string(), &dependents, "drop");
        lowering.cutover(Change::Object {
            what: ObjectChange::DropView { name },
        });
    }
}
