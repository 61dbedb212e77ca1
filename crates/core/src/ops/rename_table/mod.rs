//! `rename_table`: gives a table another name; both names work until contract.
//!
//! The phases, the locks and the way back are told in `doc.md`; why the new
//! name is the view, in decision 18.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Grant, Table};
use crate::lower::{Asking, Lower, Lowering, ddl, rights_on_view};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind, TableSetting};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, TableUse};
use crate::sql::quote::{quote_list, quote_table};
use crate::step::{Change, Phase, Undo};

/// Gives a table another name; both names work until contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameTable {
    /// The table: `name` or `schema.name`.
    pub table: TableRef,
    /// The name afterwards, in the same schema.
    #[schemars(extend("format" = "identifier"))]
    pub to: String,
}

impl Declare for RenameTable {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Renamed);
        let after = TableName::new(to.resolve(&self.table).schema, &self.to);
        to.relation(after, &["to"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        check.renamed(self.table.last(), &self.to, "table");
    }
}

impl Lower for RenameTable {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        for object in taken(&table.schema, &self.to) {
            asking.object(object);
        }
    }

    /// The table keeps its name until contract, and the new name is a view over
    /// it: what is known to work is touched last.
    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.table(&self.table) else {
            return;
        };
        let after = TableName::new(&table.name.schema, &self.to);
        for object in taken(&after.schema, &self.to) {
            if lowering.object(&object).is_some() {
                lowering.invalid(
                    format!("{object} exists already"),
                    "Choose another name. A table's name is that of its row type, too.",
                );
                return;
            }
        }
        self.refuse_blind(lowering, &table);
        let mut changes = vec![create_view(lowering, &table, &after)];
        changes.extend(rights_on_view(&table, &table.columns, &after));
        let drop = Change::Object {
            what: ObjectChange::DropView {
                name: after.clone(),
            },
        };
        lowering.step(
            Phase::Expand,
            format!("make {after} a view over {}", table.name),
            ddl(changes),
            Undo::Steps {
                actions: vec![ddl(vec![drop.clone()])],
            },
        );
        lowering.cutover(Change::Object {
            what: ObjectChange::HandOver {
                view: after.clone(),
                table: table.name.clone(),
            },
        });
        lowering.cutover(drop);
        lowering.cutover(Change::SetTable {
            table: table.name.clone(),
            setting: TableSetting::Rename {
                to: self.to.clone(),
                tree: !table.children.is_empty(),
            },
        });
        lowering.note(format!(
            "Until contract, {after} is a view: reads, INSERT, UPDATE, DELETE, RETURNING, ON CONFLICT (columns), SELECT … FOR UPDATE and LOCK work; \
             COPY, TRUNCATE, ON CONFLICT ON CONSTRAINT, GROUP BY the key alone, ctid and new foreign keys need {}.",
            table.name
        ));
        lowering.note(format!(
            "From contract on, {} is gone. What names it as text is not seen: functions in PL/pgSQL or with a body in quotes, jobs, dashboards.",
            table.name
        ));
    }
}

impl RenameTable {
    /// Refuses what a view would show to whom it must not, and subscribers that
    /// would not find the table.
    fn refuse_blind(&self, lowering: &mut Lowering<'_>, table: &Table) {
        let old_server = lowering.catalog().server.version < INVOKER_SINCE;
        if table.row_security.enabled && old_server {
            lowering.unsafe_(
                format!("{} has row level security, and before PostgreSQL 15 a view shows every row to whoever may read the view", table.name),
                "Rename it while no application runs, with a `sql` operation, or after an upgrade.",
            );
        } else if table.row_security.enabled {
            for role in readers_of_columns(table) {
                lowering.unsafe_(
                    format!("{} has row level security, and {role} may read some of its columns only: a view can keep one of the two, not both", table.name),
                    format!("Until contract, let {role} read the table, or take its column grants away."),
                );
            }
        }
        let mut tables = vec![table.clone()];
        tables.extend(lowering.descendants(table));
        for publication in tables.iter().flat_map(|table| &table.publications) {
            let word = format!("publication:{}", publication.name);
            if !lowering.acknowledges(&word) {
                lowering.unsafe_(
                    format!("publication {} streams {}: its subscribers look for a table of the new name from contract on, and stop until they have it", publication.name, table.name),
                    format!("Be ready to rename it there too, right after contract, then write `acknowledge: [\"{word}\"]` in the plan."),
                );
            }
        }
    }
}

/// What may bear the new name already: a relation, or a type.
fn taken(schema: &str, name: &str) -> [Object; 2] {
    let name = TableName::new(schema, name);
    [
        Object::Relation {
            name: name.clone(),
            kind: RelationKind::Any,
        },
        Object::Type { name },
    ]
}

/// The first version with views that have the rights of whoever asks.
const INVOKER_SINCE: u32 = 150_000;

/// Who may read some columns and not the table.
fn readers_of_columns(table: &Table) -> Vec<String> {
    let reads = |grant: &&Grant| grant.privilege == "SELECT";
    let may = |grantee: &Option<String>| {
        let whole = table.grants.iter().filter(reads);
        whole
            .into_iter()
            .any(|grant| grant.grantee == *grantee || grant.grantee.is_none())
    };
    let columns = table.columns.iter().flat_map(|column| &column.grants);
    let mut roles: Vec<String> = columns
        .filter(reads)
        .filter(|grant| !may(&grant.grantee))
        .map(|grant| {
            grant
                .grantee
                .as_ref()
                .map_or_else(|| "PUBLIC".to_owned(), |role| format!("role {role}"))
        })
        .collect();
    roles.sort();
    roles.dedup();
    roles
}

/// Every column, by name and in its order, so that the server writes through it.
fn create_view(lowering: &Lowering<'_>, table: &Table, name: &TableName) -> Change {
    let columns = quote_list(table.columns.iter().map(|column| column.def.name.as_str()));
    // With the rights and policies of whoever asks, if it can be: such a view
    // asks them for every column.
    let invoker = lowering.catalog().server.version >= INVOKER_SINCE
        && (table.row_security.enabled || readers_of_columns(table).is_empty());
    Change::Object {
        what: ObjectChange::CreateView {
            name: name.clone(),
            query: format!("SELECT {columns} FROM {}", quote_table(&table.name)),
            schema: None,
            options: Some("security_invoker=true".to_owned())
                .filter(|_| invoker)
                .into_iter()
                .collect(),
            replace: false,
            more_columns: Vec::new(),
            owner: Some(table.owner.clone()),
        },
    }
}
