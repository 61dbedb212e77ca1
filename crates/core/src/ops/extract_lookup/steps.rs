//! The steps of an extraction, once nothing is refused.

use crate::catalog::{
    Column, ColumnDef, Constraint, ConstraintKind, Grant, Identity, ReferentialAction, Table,
    TableKind,
};
use crate::lower::{Lowering, mapped};
use crate::name::TableName;
use crate::ops::moving::bare;
use crate::sql::postgres::image;
use crate::step::{Change, Lookup, MappedColumn, Mapping, Phase, Rule};

use super::ID;

/// The collation of a text that has none of its own.
const DEFAULT_COLLATION: &str = "pg_catalog.\"default\"";

/// What is known by then.
pub(super) struct Extraction<'a> {
    pub(super) table: &'a Table,
    /// The lookup table.
    pub(super) into: &'a TableName,
    /// The column that refers to it.
    pub(super) reference: &'a str,
    /// The primary key of the table.
    pub(super) key: Vec<MappedColumn>,
    pub(super) moved: &'a [Column],
    /// Constraints of the lookup table: its key, and the values.
    pub(super) primary_key: String,
    pub(super) unique: String,
    /// The constraint between the two.
    pub(super) foreign_key: String,
}

impl Extraction<'_> {
    /// A real table from the beginning: new versions add values before anybody
    /// refers to them.
    pub(super) fn expand(&self, lowering: &mut Lowering<'_>) {
        let table = &self.table.name;
        lowering.ddl(
            Phase::Expand,
            format!("create table {}", self.into),
            Change::CreateTable {
                table: Box::new(self.new_table()),
            },
            vec![Change::DropTable {
                table: self.into.clone(),
                related: Vec::new(),
            }],
        );
        lowering.ddl(
            Phase::Expand,
            format!("add column {table}.{}", self.reference),
            Change::AddColumn {
                table: table.clone(),
                column: ColumnDef::new(self.reference, "bigint"),
            },
            vec![Change::DropColumn {
                table: table.clone(),
                column: self.reference.to_owned(),
            }],
        );
        lowering.adds_column(self.table);
        lowering.grant_column(self.table, self.reference, &self.grants(|_| true));
    }

    /// What is granted on some column that moves, once.
    fn grants(&self, counts: impl Fn(&Grant) -> bool) -> Vec<Grant> {
        let mut grants: Vec<Grant> = Vec::new();
        for grant in self.moved.iter().flat_map(|column| &column.grants) {
            if counts(grant) && !grants.contains(grant) {
                grants.push(grant.clone());
            }
        }
        grants
    }

    /// Owned and granted as the table is. Who may read or refer to values may do
    /// so by their key; nobody needs a right on the identity's sequence.
    fn new_table(&self) -> Table {
        let id = Column {
            def: ColumnDef {
                nullable: false,
                identity: Some(Identity::ByDefault),
                ..ColumnDef::new(ID, "bigint")
            },
            position: 0,
            base_type: "bigint".to_owned(),
            not_null_domain: false,
            type_default: false,
            settings: Vec::new(),
            grants: self
                .grants(|grant| matches!(grant.privilege.as_str(), "SELECT" | "REFERENCES")),
            dependents: Vec::new(),
        };
        let values = self.moved.iter().map(|column| Column {
            def: ColumnDef {
                nullable: false,
                default: None,
                ..column.def.clone()
            },
            grants: column.grants.clone(),
            ..bare(column)
        });
        let constraint = |name: &str, kind| Constraint {
            name: name.to_owned(),
            kind,
            validated: true,
            deferrable: None,
            definition: String::new(),
        };
        Table {
            owner: self.table.owner.clone(),
            columns: std::iter::once(id).chain(values).collect(),
            constraints: vec![
                constraint(
                    &self.primary_key,
                    ConstraintKind::PrimaryKey {
                        columns: vec![ID.to_owned()],
                    },
                ),
                constraint(
                    &self.unique,
                    ConstraintKind::Unique {
                        columns: self.names(),
                    },
                ),
            ],
            grants: self.table.grants.clone(),
            ..Table::to_come(self.into.clone(), TableKind::Ordinary)
        }
    }

    fn names(&self) -> Vec<String> {
        let names = self.moved.iter().map(|column| column.def.name.clone());
        names.collect()
    }

    /// Every row has values to refer to.
    fn is_required(&self) -> bool {
        self.moved.iter().all(|column| !column.def.nullable)
    }

    pub(super) fn fill(&self, lowering: &mut Lowering<'_>) {
        let collation = |column: &Column| {
            let own = column.def.collation.clone();
            image::is_collated(&column.def.type_name)
                .then(|| own.unwrap_or_else(|| DEFAULT_COLLATION.to_owned()))
        };
        let lookup = Lookup {
            table: self.into.clone(),
            id: ID.to_owned(),
            collations: self.moved.iter().map(collation).collect(),
            key: self.key.clone(),
            foreign_key: self.foreign_key.clone(),
            find: lowering.artifact("find"),
        };
        let mapping = Mapping {
            operation: lowering.operation(),
            old: self.moved.iter().map(mapped).collect(),
            new: vec![MappedColumn {
                name: self.reference.to_owned(),
                type_name: "bigint".to_owned(),
                default: None,
            }],
            rule: Rule::Referred {
                lookup: Box::new(lookup),
            },
            required: self.is_required(),
            back: None,
        };
        lowering.mapping(self.table, mapping);
    }

    pub(super) fn contract(&self, lowering: &mut Lowering<'_>) {
        let table = &self.table.name;
        lowering.add_foreign_key(
            table,
            Constraint {
                name: self.foreign_key.clone(),
                kind: ConstraintKind::ForeignKey {
                    columns: vec![self.reference.to_owned()],
                    references: self.into.clone(),
                    referenced_columns: vec![ID.to_owned()],
                    on_delete: ReferentialAction::NoAction,
                    on_update: ReferentialAction::NoAction,
                    match_full: false,
                },
                validated: false,
                deferrable: None,
                definition: String::new(),
            },
            self.into,
        );
        if self.is_required() {
            lowering.not_null(self.table, self.reference, self.reference);
        }
        for column in self.moved {
            lowering.cutover(Change::DropColumn {
                table: table.clone(),
                column: column.def.name.clone(),
            });
        }
    }

    pub(super) fn tell(&self, lowering: &mut Lowering<'_>) {
        let (table, into, reference) = (&self.table.name, self.into, self.reference);
        let values = self.names().join(", ");
        lowering.note(format!(
            "From expand on, new versions add rows to {into} ({values}) and write {table}.{reference}. Until contract is over no row of {into} changes or goes: UPDATE of its values, DELETE and TRUNCATE fail with P0P02."
        ));
        lowering.note(format!(
            "Values that an old version writes and {into} does not have are added when its transaction commits, which writes the row once more; until then, and where somebody is just adding the same ones, {table}.{reference} is NULL."
        ));
        if self.moved.iter().any(is_long) {
            lowering.note(format!(
                "{into} has an index over ({values}), which holds at most 2,704 bytes for a row: longer values stop the backfill at their row. Look for them first."
            ));
        }
        lowering.note(format!(
            "{table}.{reference} has no index: `add_index` makes one, also in this plan. A DELETE from {into} after contract looks through all of {table} otherwise."
        ));
        let defaults = self
            .moved
            .iter()
            .filter(|column| column.def.default.is_some());
        let defaults: Vec<&str> = defaults.map(|column| column.def.name.as_str()).collect();
        if !defaults.is_empty() {
            lowering.note(format!(
                "The default of {} goes with its column when contract ends: {table}.{reference} has none.",
                defaults.join(", ")
            ));
        }
    }
}

/// Some values of the type are too long for an index.
fn is_long(column: &Column) -> bool {
    let type_name = column.def.type_name.as_str();
    type_name == "bytea" || image::is_collated(type_name)
}
