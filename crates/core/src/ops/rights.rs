//! What `grant` and `revoke` share: on what, which privileges, which roles.

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use crate::catalog::Grant;
use crate::lower::{Asking, Granted, Lowering};
use crate::object::{Object, RelationKind};
use crate::ops::common::TableRef;

/// A privilege, in the words of GRANT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are SQL's own")]
pub enum Privilege {
    Select,
    Insert,
    Update,
    Delete,
    Truncate,
    References,
    Trigger,
    Maintain,
    Usage,
    Create,
}

impl Privilege {
    fn sql(self) -> &'static str {
        match self {
            Privilege::Select => "SELECT",
            Privilege::Insert => "INSERT",
            Privilege::Update => "UPDATE",
            Privilege::Delete => "DELETE",
            Privilege::Truncate => "TRUNCATE",
            Privilege::References => "REFERENCES",
            Privilege::Trigger => "TRIGGER",
            Privilege::Maintain => "MAINTAIN",
            Privilege::Usage => "USAGE",
            Privilege::Create => "CREATE",
        }
    }
}

/// The schema of `privileges`.
pub(crate) fn privileges(generator: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "items": generator.subschema_for::<Privilege>(),
        "uniqueItems": true,
        "minItems": 1,
    })
}

/// Who is meant by this name when it stands for everybody.
const EVERYBODY: &str = "public";

/// What an operation on rights says.
pub(crate) struct Rights<'a> {
    pub(crate) privileges: &'a [Privilege],
    pub(crate) table: Option<&'a TableRef>,
    pub(crate) columns: &'a [String],
    pub(crate) schema: Option<&'a String>,
    pub(crate) sequence: Option<&'a TableRef>,
    pub(crate) roles: &'a [String],
    pub(crate) grantable: bool,
}

/// A right on one thing, with how far it is granted now.
pub(crate) struct Right {
    pub(crate) on: Object,
    pub(crate) column: Option<String>,
    pub(crate) grant: Grant,
    pub(crate) granted: Granted,
}

impl Rights<'_> {
    /// How many things it names: exactly one is right.
    pub(crate) fn subjects(&self) -> usize {
        usize::from(self.table.is_some())
            + usize::from(self.schema.is_some())
            + usize::from(self.sequence.is_some())
    }

    /// The privileges that do not exist on what it names, and those that do.
    pub(crate) fn strange(&self) -> Option<(Privilege, &'static str)> {
        use Privilege::{
            Create, Delete, Insert, Maintain, References, Select, Trigger, Truncate, Update, Usage,
        };
        let (fitting, words): (&[Privilege], _) = if self.schema.is_some() {
            (&[Usage, Create], "usage, create")
        } else if self.sequence.is_some() {
            (&[Usage, Select, Update], "usage, select, update")
        } else if self.columns.is_empty() {
            (
                &[
                    Select, Insert, Update, Delete, Truncate, References, Trigger, Maintain,
                ],
                "select, insert, update, delete, truncate, references, trigger, maintain",
            )
        } else {
            (
                &[Select, Insert, Update, References],
                "select, insert, update, references",
            )
        };
        let strange = self.privileges.iter().find(|one| !fitting.contains(one))?;
        Some((*strange, words))
    }

    fn beside_tables(
        &self,
        resolve: impl Fn(&TableRef) -> crate::name::TableName,
    ) -> Option<Object> {
        if let Some(name) = self.schema {
            return Some(Object::Schema { name: name.clone() });
        }
        self.sequence.map(|name| Object::Relation {
            name: resolve(name),
            kind: RelationKind::Sequence,
        })
    }

    pub(crate) fn ask(&self, asking: &mut Asking<'_>) {
        if let Some(table) = self.table {
            asking.table(table);
        }
        if let Some(object) = self.beside_tables(|name| asking.resolve(name)) {
            asking.object(object);
        }
        for role in self.roles.iter().filter(|role| *role != EVERYBODY) {
            asking.object(Object::Role { name: role.clone() });
        }
    }

    /// Every single right, or nothing after a refusal.
    pub(crate) fn each(&self, lowering: &mut Lowering<'_>) -> Vec<Right> {
        if self.privileges.contains(&Privilege::Maintain)
            && lowering.catalog().server.version < 170_000
        {
            lowering.invalid(
                "the privilege `maintain` is new in PostgreSQL 17",
                "Leave it out for this server.",
            );
        }
        for role in self.roles.iter().filter(|role| *role != EVERYBODY) {
            let object = Object::Role { name: role.clone() };
            if lowering.object(&object).is_none() {
                lowering.invalid(
                    format!("{object} does not exist"),
                    "Roles belong to the server: create it there first. `public` means everybody.",
                );
            }
        }
        let mut targets: Vec<(Object, Option<String>, Vec<Grant>)> = Vec::new();
        if let Some(table) = self.table {
            let Some(table) = lowering.relation(table) else {
                return Vec::new();
            };
            let object = Object::Relation {
                name: table.name.clone(),
                kind: RelationKind::Table,
            };
            for column in self.columns {
                if lowering.column_or_added(&table, column).is_some() {
                    let grants = table.column(column).map(|column| column.grants.clone());
                    targets.push((
                        object.clone(),
                        Some(column.clone()),
                        grants.unwrap_or_default(),
                    ));
                }
            }
            if self.columns.is_empty() {
                targets.push((object, None, table.grants));
            }
        }
        if let Some(object) = self.beside_tables(|name| lowering.name(name)) {
            let created =
                matches!(&object, Object::Schema { name } if lowering.creates_schema(name));
            let grants = if created {
                Vec::new()
            } else {
                match lowering.owned_object(&object) {
                    Some(facts) => facts.grants.clone(),
                    None => return Vec::new(),
                }
            };
            targets.push((object, None, grants));
        }
        let mut all = Vec::new();
        for (on, column, grants) in &targets {
            for role in self.roles {
                for privilege in self.privileges {
                    let grant = Grant {
                        grantee: Some(role.clone()).filter(|role| role != EVERYBODY),
                        privilege: privilege.sql().to_owned(),
                        grantable: self.grantable,
                    };
                    all.push(Right {
                        on: on.clone(),
                        column: column.clone(),
                        granted: Lowering::has_grant(grants, &grant),
                        grant,
                    });
                }
            }
        }
        all
    }

    /// For people: `select, insert on table public.orders`.
    pub(crate) fn describe(&self, all: &[Right]) -> String {
        let privileges: Vec<String> = self
            .privileges
            .iter()
            .map(|one| one.sql().to_ascii_lowercase())
            .collect();
        let on = all
            .first()
            .map_or_else(String::new, |right| right.on.to_string());
        let columns = match self.columns {
            [] => String::new(),
            columns => format!(" ({})", columns.join(", ")),
        };
        format!("{}{columns} on {on}", privileges.join(", "))
    }
}
