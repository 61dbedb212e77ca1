//! `create_view`: creates a view.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering};
use crate::object::{Object, ObjectChange, RelationKind};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions};
use crate::step::{Change, Phase};

/// Creates a view.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateView {
    /// The view: `name` or `schema.name`.
    pub name: TableRef,
    /// One SELECT.
    #[schemars(extend("format" = "sql-query"))]
    pub query: String,
    /// Conditions of whoever reads it see no hidden rows.
    #[serde(default)]
    pub security_barrier: bool,
    /// Rights and row policies are those of whoever reads it (15).
    #[serde(default)]
    pub security_invoker: bool,
}

impl Declare for CreateView {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.relation(to.resolve(&self.name), &["name"]);
    }
}

impl Lower for CreateView {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.resolve(&self.name);
        asking.view(&self.query);
        asking.object(Object::Schema {
            name: name.schema.clone(),
        });
        asking.object(Object::Relation {
            name,
            kind: RelationKind::Any,
        });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.name);
        lowering.has_schema(&name.schema);
        let any = Object::Relation {
            name: name.clone(),
            kind: RelationKind::Any,
        };
        if lowering.object(&any).is_some() {
            lowering.invalid(
                format!("{any} exists already"),
                "Choose another name; to give a view another query, use `replace_view`.",
            );
            return;
        }
        if self.security_invoker && lowering.catalog().server.version < 150_000 {
            lowering.invalid(
                "`security_invoker` is new in PostgreSQL 15",
                "Leave it out for this server.",
            );
        }
        lowering.view_columns(&name, &self.query);
        let options = [
            ("security_barrier=true", self.security_barrier),
            ("security_invoker=true", self.security_invoker),
        ];
        lowering.ddl(
            Phase::Expand,
            format!("create view {name}"),
            Change::Object {
                what: ObjectChange::CreateView {
                    name: name.clone(),
                    query: self.query.clone(),
                    schema: Some(lowering.schema().to_owned()),
                    options: options
                        .into_iter()
                        .filter(|(_, given)| *given)
                        .map(|(option, _)| option.to_owned())
                        .collect(),
                    replace: false,
                    more_columns: Vec::new(),
                    owner: None,
                },
            },
            vec![Change::Object {
                what: ObjectChange::DropView { name },
            }],
        );
    }
}
