//! `create_extension`: installs an extension.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::lower::{Asking, Lower, Lowering, nearest};
use crate::object::Object;
use crate::plan::{Declare, Mentions};
use crate::sql::quote::{quote_ident, quote_literal};
use crate::step::{Action, Phase, SqlText, Undo};

/// Installs an extension.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateExtension {
    /// Its name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Where its objects go; the plan's schema when left out.
    #[serde(default)]
    #[schemars(extend("format" = "schema-name"))]
    pub schema: Option<String>,
    /// Its version; the server's default when left out.
    #[serde(default)]
    pub version: Option<String>,
}

impl Declare for CreateExtension {
    fn declare(&self, _: &mut Mentions<'_>) {}
}

impl Lower for CreateExtension {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.object(Object::Extension {
            name: self.name.clone(),
        });
        let name = self
            .schema
            .clone()
            .unwrap_or_else(|| asking.schema().to_owned());
        asking.object(Object::Schema { name });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let object = Object::Extension {
            name: self.name.clone(),
        };
        let facts = lowering
            .object(&object)
            .and_then(|facts| facts.extension.clone());
        let Some(facts) = facts else {
            lowering.invalid(
                format!("{object} is not available on this server"),
                "Install its package on the server (and on its standbys), or ask whoever runs the server.",
            );
            return;
        };
        let insisted = facts.fixed_schema.as_ref();
        if let (Some(wanted), Some(fixed)) = (&self.schema, insisted)
            && wanted != fixed
        {
            lowering.invalid(
                format!("{object} insists on schema {fixed}"),
                "Leave `schema` out.",
            );
        }
        let schema = insisted
            .or(self.schema.as_ref())
            .cloned()
            .unwrap_or_else(|| lowering.schema().to_owned());
        if let Some(version) = &facts.installed {
            let other = self
                .version
                .as_ref()
                .is_some_and(|wanted| wanted != version)
                || self.schema.is_some() && facts.schema.as_ref() != Some(&schema);
            let place = facts.schema.unwrap_or_default();
            if other {
                lowering.invalid(
                    format!(
                        "{object} is installed already, as version {version} in schema {place}"
                    ),
                    "Update or move it with a `sql` operation: ALTER EXTENSION.",
                );
            } else {
                lowering.note(format!(
                    "The {object} is installed already, as version {version} in schema {place}; nothing is done."
                ));
            }
            return;
        }
        if let Some(version) = &self.version
            && !facts.available.contains(version)
        {
            let near = nearest(version, facts.available.iter().map(String::as_str));
            lowering.invalid(
                format!("{object} has no version {version} on this server"),
                near.map_or_else(
                    || format!("It has: {}.", facts.available.join(", ")),
                    |near| format!("Did you mean `{near}`?"),
                ),
            );
        }
        if insisted.is_none() {
            lowering.has_schema(&schema);
        }
        let version = self.version.as_deref().map_or_else(String::new, |version| {
            format!(" VERSION {}", quote_literal(version))
        });
        let sql = |text: String| Action::Sql(SqlText { text });
        lowering.step(
            Phase::Expand,
            format!("create {object}"),
            sql(format!(
                "CREATE EXTENSION {} WITH SCHEMA {}{version}",
                quote_ident(&self.name),
                quote_ident(&schema)
            )),
            Undo::Steps {
                actions: vec![sql(format!("DROP EXTENSION {}", quote_ident(&self.name)))],
            },
        );
    }
}
