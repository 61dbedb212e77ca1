//! `add_enum_value`: adds a label to an enum.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::object::{Object, ObjectChange, Place};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions};
use crate::step::{Change, Phase};

/// Adds a label to an enum.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddEnumValue {
    /// The enum: `name` or `schema.name`.
    pub name: TableRef,
    /// The new label.
    #[schemars(extend("format" = "enum-label"))]
    pub value: String,
    /// It sorts before this label.
    #[serde(default)]
    #[schemars(extend("format" = "enum-label"))]
    pub before: Option<String>,
    /// It sorts after this label.
    #[serde(default)]
    #[schemars(extend("format" = "enum-label"))]
    pub after: Option<String>,
}

impl Declare for AddEnumValue {
    fn declare(&self, _: &mut Mentions<'_>) {}

    fn check(&self, check: &mut Check<'_>) {
        if self.before.is_some() && self.after.is_some() {
            let span = check.written.key_span("after");
            check.report(
                &span,
                "`before` and `after` are both given",
                "expected one of the two, or neither",
                "",
            );
        }
    }
}

impl Lower for AddEnumValue {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.resolve(&self.name);
        asking.object(Object::Type { name });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some((name, labels)) = lowering.labels(&self.name) else {
            return;
        };
        if labels.contains(&self.value) {
            lowering.note(format!(
                "Enum {name} has the label '{}' already; nothing is done.",
                self.value
            ));
            return;
        }
        let place = match (&self.before, &self.after) {
            (Some(label), _) => Some(Place::Before(label.clone())),
            (None, Some(label)) => Some(Place::After(label.clone())),
            (None, None) => None,
        };
        if let Some(Place::Before(label) | Place::After(label)) = &place {
            lowering.label(&name, &labels, label);
        }
        lowering.ddl(
            Phase::Expand,
            format!("add label '{}' to enum {name}", self.value),
            Change::Object {
                what: ObjectChange::AddEnumValue {
                    name: name.clone(),
                    value: self.value.clone(),
                    place,
                },
            },
            Vec::new(),
        );
        lowering.note(format!(
            "The label '{}' of {name} stays after a rollback: PostgreSQL cannot take one away.",
            self.value
        ));
    }
}
