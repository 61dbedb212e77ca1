//! `create_enum`: creates an enum type.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions};
use crate::sql::postgres::change::object::create_enum;
use crate::step::{Change, Phase};

/// Creates an enum type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateEnum {
    /// The type: `name` or `schema.name`.
    pub name: TableRef,
    /// Its labels, in the order in which they sort.
    #[schemars(schema_with = "labels")]
    pub labels: Vec<String>,
}

/// The schema of a list of labels: names in all but what they may begin with.
fn labels(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": {"type": "string", "format": "enum-label"},
        "uniqueItems": true,
        "minItems": 1,
        "maxItems": 1600,
    })
}

impl Declare for CreateEnum {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.relation(to.resolve(&self.name), &["name"]);
    }
}

impl Lower for CreateEnum {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.resolve(&self.name);
        asking.object(Object::Schema {
            name: name.schema.clone(),
        });
        asking.suppose(create_enum(&name, &self.labels));
        asking.object(Object::Type { name: name.clone() });
        asking.object(Object::Relation {
            name,
            kind: RelationKind::Any,
        });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.name);
        lowering.has_schema(&name.schema);
        let taken = [
            Object::Type { name: name.clone() },
            Object::Relation {
                name: name.clone(),
                kind: RelationKind::Any,
            },
        ];
        if let Some(object) = taken
            .iter()
            .find(|object| lowering.object(object).is_some())
        {
            lowering.invalid(
                format!("{object} exists already"),
                "Choose another name; to give an enum another label, use `add_enum_value`.",
            );
            return;
        }
        lowering.ddl(
            Phase::Expand,
            format!("create enum {name}"),
            Change::Object {
                what: ObjectChange::CreateEnum {
                    name: name.clone(),
                    labels: self.labels.clone(),
                    owner: None,
                },
            },
            vec![Change::Object {
                what: ObjectChange::DropType { name },
            }],
        );
    }
}
