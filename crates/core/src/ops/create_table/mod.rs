//! `create_table`: creates a table.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Identity;
use crate::catalog::{Column, ColumnDef, Constraint, ConstraintKind, Table, TableKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef, yes};
use crate::plan::{Check, Declare, Mentions, TableUse, sql_text};
use crate::step::{Change, Phase};

/// Creates a table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateTable {
    /// The new table.
    pub table: TableRef,
    /// At least one.
    #[schemars(length(min = 1, max = 1600))]
    pub columns: Vec<NewColumn>,
    /// Columns of the primary key, in order.
    #[serde(default)]
    #[schemars(schema_with = "crate::ops::common::names_or_none")]
    pub primary_key: Vec<String>,
    /// The table's comment.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A column of a new table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NewColumn {
    /// Its name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Its type.
    #[schemars(extend("format" = "sql-type"))]
    pub r#type: String,
    /// May it hold NULL? Default: true.
    #[serde(default = "yes")]
    pub nullable: bool,
    /// Its default.
    #[serde(default)]
    pub default: Option<SqlExpr>,
    /// GENERATED … AS IDENTITY.
    #[serde(default)]
    pub identity: Option<Identity>,
    /// Its comment.
    #[serde(default)]
    pub comment: Option<String>,
}

impl Declare for CreateTable {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Created);
    }

    fn check(&self, check: &mut Check<'_>) {
        for (index, column) in self.columns.iter().enumerate() {
            let span = check.written.item(&["columns"], index);
            let node = check
                .written
                .body
                .get("columns")
                .and_then(|list| list.items().get(index));
            let at = |key: &str| {
                node.and_then(|node| node.get(key))
                    .map_or_else(|| span.clone(), |node| node.span.clone())
            };
            check.new_column(&column.name, &at("name"));
            if let Some(first) = self.columns[..index]
                .iter()
                .position(|other| other.name == column.name)
            {
                let first = check.written.item(&["columns"], first);
                let finding = check
                    .source
                    .finding(
                        &at("name"),
                        format!("column `{}` stands twice in `columns`", column.name),
                    )
                    .note(format!(
                        "the first one is at {}",
                        check.source.place(&first)
                    ));
                check.out.push(finding);
            }
            if column.identity.is_some() && column.default.is_some() {
                check.report(
                    &at("identity"),
                    format!("column `{}` has an identity and a default", column.name),
                    "expected one of the two",
                    "",
                );
            }
            let lone = column
                .default
                .as_ref()
                .map(SqlExpr::postgresql)
                .filter(|text| sql_text::is_lone_name(text));
            if let Some(text) = lone {
                check.report(
                    &at("default"),
                    format!("`default`: `{text}` names a column, and a default reads none"),
                    "expected a value",
                    &format!("a text constant has SQL's quotes inside YAML's: \"'{text}'\""),
                );
            }
        }
        for (index, key) in self.primary_key.iter().enumerate() {
            if !self.columns.iter().any(|column| column.name == *key) {
                let names: Vec<&str> = self
                    .columns
                    .iter()
                    .map(|column| column.name.as_str())
                    .collect();
                let span = check.written.item(&["primary_key"], index);
                check.report(
                    &span,
                    format!("the table has no column `{key}`"),
                    &format!("expected one of {}", names.join(", ")),
                    "",
                );
            }
        }
    }
}

impl Lower for CreateTable {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        for column in &self.columns {
            asking.column(&table, &column.name, &column.r#type);
            if let Some(default) = &column.default {
                asking.expression(&table, default.postgresql(), Some(&column.r#type));
            }
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.table);
        if lowering.catalog().tables.contains_key(&name) {
            lowering.invalid(
                format!("table {name} exists already"),
                "Choose another name, or leave the operation out.",
            );
            return;
        }
        let mut columns = Vec::new();
        for (position, column) in (1..).zip(&self.columns) {
            let Some(facts) = lowering.type_facts(&column.r#type) else {
                continue;
            };
            let default = column.default.as_ref().and_then(|default| {
                lowering.facts(&name, default.postgresql(), Some(&column.r#type), "default")
            });
            columns.push(Column {
                def: ColumnDef {
                    name: column.name.clone(),
                    type_name: facts.name,
                    collation: None,
                    nullable: column.nullable && !self.primary_key.contains(&column.name),
                    default: default.map(|facts| facts.expr),
                    identity: column.identity,
                    generated: None,
                    comment: column.comment.clone(),
                },
                position,
                base_type: facts.base,
                not_null_domain: false,
                type_default: false,
                settings: Vec::new(),
                grants: Vec::new(),
                dependents: Vec::new(),
            });
        }
        let mut constraints = Vec::new();
        if !self.primary_key.is_empty() {
            for key in &self.primary_key {
                if !self.columns.iter().any(|column| &column.name == key) {
                    lowering.invalid(
                        format!("primary_key names `{key}`, which is no column of {name}"),
                        "List it under `columns`.",
                    );
                }
            }
            constraints.push(Constraint {
                name: format!("{}_pkey", name.name),
                kind: ConstraintKind::PrimaryKey {
                    columns: self.primary_key.clone(),
                },
                validated: true,
                deferrable: None,
                definition: String::new(),
            });
        }
        let table = Table {
            columns,
            constraints,
            comment: self.comment.clone(),
            ..Table::to_come(name.clone(), TableKind::Ordinary)
        };
        lowering.ddl(
            Phase::Expand,
            format!("create table {name}"),
            Change::CreateTable {
                table: Box::new(table.clone()),
            },
            vec![Change::DropTable {
                table: name,
                related: Vec::new(),
            }],
        );
        lowering.note("Rollback drops the new table with the rows that were written to it.");
        lowering.create(table);
    }
}
