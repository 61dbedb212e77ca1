//! `create_schema`: creates a schema.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::object::{Object, ObjectChange};
use crate::plan::{Declare, Mentions};
use crate::sql::postgres::change;
use crate::step::{Change, Phase};

/// Creates a schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateSchema {
    /// Its name.
    #[schemars(extend("format" = "schema-name"))]
    pub name: String,
}

impl CreateSchema {
    fn change(&self) -> Change {
        Change::Object {
            what: ObjectChange::CreateSchema {
                name: self.name.clone(),
            },
        }
    }
}

impl Declare for CreateSchema {
    fn declare(&self, _: &mut Mentions<'_>) {}
}

impl Lower for CreateSchema {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.object(Object::Schema {
            name: self.name.clone(),
        });
        for statement in change::render(&self.change(), "") {
            asking.suppose(statement);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let object = Object::Schema {
            name: self.name.clone(),
        };
        if lowering.object(&object).is_some() {
            lowering.invalid(
                format!("{object} exists already"),
                "Choose another name, or leave the operation out.",
            );
            return;
        }
        lowering.ddl(
            Phase::Expand,
            format!("create {object}"),
            self.change(),
            vec![Change::Object {
                what: ObjectChange::DropSchema {
                    name: self.name.clone(),
                },
            }],
        );
    }
}
