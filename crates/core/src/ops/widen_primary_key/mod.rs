//! `widen_primary_key`: a wider key, and with it every column that refers to
//! it, in one cutover.
//!
//! The phases, the locks and the way back are told in `doc.md`; why there is
//! one cutover, in decision 19.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Along, Catalog, Column, ConstraintKind, DependentKind, Table};
use crate::expr::{Expr, Volatility};
use crate::lex;
use crate::lower::{Asking, Lower, Lowering, Replace, column_expr, mapped};
use crate::name::TableName;
use crate::object::{Object, RelationKind};
use crate::ops::add_identity::largest;
use crate::ops::common::{ExactName, TableRef};
use crate::plan::{Declare, Mentions, Role, TableUse};
use crate::sql::quote::{quote_ident, quote_table};
use crate::step::Rule;

/// Widens a primary key together with every column that refers to it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct WidenPrimaryKey {
    /// The table.
    pub table: TableRef,
    /// The column of its primary key.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
    /// The new type. Default: bigint.
    #[serde(default)]
    pub to: Wide,
}

/// What a key can be widened to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Wide {
    /// Up to 2147483647.
    Integer,
    /// Up to 9223372036854775807.
    #[default]
    Bigint,
}

impl Wide {
    /// As PostgreSQL writes it.
    fn name(self) -> &'static str {
        match self {
            Wide::Integer => "integer",
            Wide::Bigint => "bigint",
        }
    }

    /// The integer type of this name is narrower.
    fn is_wider_than(self, type_name: &str) -> bool {
        match type_name {
            "smallint" => true,
            "integer" => self == Wide::Bigint,
            _ => false,
        }
    }
}

/// The columns that refer to this one through foreign keys, directly or through
/// another one, each after the one that it refers to; this one is the first. A
/// column that is wide enough already ends its branch: what refers to it need
/// not follow.
fn chain(catalog: &Catalog, table: &TableName, column: &str, to: Wide) -> Vec<(TableName, String)> {
    let mut found = vec![(table.clone(), column.to_owned())];
    let mut at = 0;
    while let Some((table, column)) = found.get(at).cloned() {
        at += 1;
        let keys = catalog.tables.get(&table).map(|t| &t.referenced_by);
        for key in keys.into_iter().flatten() {
            let from = catalog.tables.get(&key.table);
            let constraint =
                from.and_then(|t| t.constraints.iter().find(|c| c.name == key.constraint));
            let Some(ConstraintKind::ForeignKey {
                columns,
                referenced_columns,
                ..
            }) = constraint.map(|constraint| &constraint.kind)
            else {
                continue;
            };
            for (name, _) in columns
                .iter()
                .zip(referenced_columns)
                .filter(|(_, referenced)| **referenced == column)
            {
                let narrow = from
                    .and_then(|table| table.column(name))
                    .is_some_and(|column| to.is_wider_than(&column.base_type));
                let next = (key.table.clone(), name.clone());
                if narrow && !found.contains(&next) {
                    found.push(next);
                }
            }
        }
    }
    found
}

/// The sequence from which a column takes its default, as far as it is a plain
/// one. The server writes names with their schemas, and quotes where it must.
fn sequence(column: &Column) -> Option<TableName> {
    let default = column.def.default.as_ref()?.bare();
    let name = default.strip_prefix("nextval('")?;
    let name = name.strip_suffix("'::regclass)")?.replace("''", "'");
    let tokens = lex::tokens(&name).ok()?;
    match tokens.as_slice() {
        [schema, dot, name] if dot.is_symbol(".") => {
            Some(TableName::new(schema.name()?, name.name()?))
        }
        _ => None,
    }
}

/// The end that somebody has set for a column's identity, which it keeps.
fn identity_ends(catalog: &Catalog, member: &Member) -> Option<i64> {
    let tried = catalog.replacements.iter().find(|tried| {
        tried.asked.table == member.table.name && tried.asked.column == member.column.def.name
    })?;
    let moved = tried.identity.as_ref()?.result.as_ref().ok()?;
    let words: Vec<&str> = moved.made.first()?.split([' ', ')']).collect();
    let value = |of: &str| {
        let at = words.iter().position(|word| *word == of)?;
        words.get(at + 1)?.parse::<i64>().ok()
    };
    // Without an end of its own, it says NO MAXVALUE.
    value("MAXVALUE").filter(|_| value("INCREMENT").is_some_and(|step| step > 0))
}

fn sequence_of(name: &TableName) -> Object {
    Object::Relation {
        name: name.clone(),
        kind: RelationKind::Sequence,
    }
}

/// What tells the artifacts of one column from those of the others.
pub(super) fn prefix(number: usize) -> String {
    match number {
        0 => String::new(),
        number => format!("{}_", number + 1),
    }
}

/// One column of the chain.
struct Member {
    table: Table,
    column: Column,
    second: String,
    prefix: String,
}

impl WidenPrimaryKey {
    /// Tells of a sequence that would end before the wider type does. One that
    /// the column owns follows its type, and ends where that does when it ended
    /// where the old one did; any other keeps its end, and so does one whose end
    /// somebody has set.
    fn note_ends(&self, lowering: &mut Lowering<'_>, member: &Member) {
        let column = &member.column;
        let what = format!("{}.{}", member.table.name, column.def.name);
        if let Some(end) = identity_ends(lowering.catalog(), member) {
            lowering.note(format!(
                "The identity of {what} still ends at {end} afterwards: ALTER TABLE {} ALTER COLUMN {} SET NO MAXVALUE; once the run has completed.",
                quote_table(&member.table.name),
                quote_ident(&column.def.name)
            ));
        }
        let Some(name) = sequence(column) else {
            return;
        };
        let facts = lowering.object(&sequence_of(&name));
        let Some(known) = facts.and_then(|facts| facts.sequence.as_ref()) else {
            return;
        };
        let owned = column.dependents.iter().any(|dependent| {
            dependent.kind == DependentKind::OwnedSequence
                && dependent.name == format!("{}.{}", name.schema, name.name)
        });
        let end = largest(&known.type_name);
        let follows =
            owned && end == Some(known.counts.max) && self.to.is_wider_than(&known.type_name);
        let enough = largest(self.to.name()).is_none_or(|end| known.counts.max >= end);
        if follows || enough || known.counts.increment < 0 {
            return;
        }
        lowering.note(format!(
            "Sequence {name}, which gives {what} its values, still ends at {} afterwards: ALTER SEQUENCE {} AS {} NO MAXVALUE; once the run has completed.",
            known.counts.max,
            quote_table(&name),
            self.to.name()
        ));
    }

    /// The columns, or a refusal that names each that cannot follow.
    fn members(&self, lowering: &mut Lowering<'_>, first: &Table) -> Option<Vec<Member>> {
        let mut members = Vec::new();
        let chain = chain(lowering.catalog(), &first.name, &self.column, self.to);
        let count = chain.len();
        for (number, (table, column)) in chain.into_iter().enumerate() {
            let exact = TableRef::Exact(ExactName {
                schema: Some(table.schema),
                name: table.name,
            });
            let Some(table) = lowering.alterable(&exact) else {
                continue;
            };
            let Some(column) = lowering.column(&table, &column) else {
                continue;
            };
            let what = format!("{}.{}", table.name, column.def.name);
            if column.def.generated.is_some() {
                lowering.unsafe_(
                    format!("{what} is a generated column, which nobody can write"),
                    "Drop the foreign key in an earlier plan, and add it again afterwards.",
                );
            }
            if column.def.type_name != column.base_type {
                lowering.unsafe_(
                    format!(
                        "{what} is of the domain {}, whose type a column cannot change by itself",
                        column.def.type_name
                    ),
                    format!(
                        "Give it the type {} in an earlier plan (`change_type`).",
                        column.base_type
                    ),
                );
            }
            members.push(Member {
                second: lowering.artifact(&format!("{}shadow", prefix(number))),
                prefix: prefix(number),
                table,
                column,
            });
        }
        (members.len() == count).then_some(members)
    }
}

impl Declare for WidenPrimaryKey {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        let role = Role::Retyped { visible: false };
        to.column(&self.table, &self.column, role, &["column"]);
    }
}

impl Lower for WidenPrimaryKey {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        asking.type_name(self.to.name());
        let chain = chain(asking.catalog(), &table, &self.column, self.to);
        let all: Vec<Along> = chain
            .into_iter()
            .enumerate()
            .map(|(number, (table, column))| Along {
                table,
                column,
                to: self.to.name().to_owned(),
                second: asking.artifact(&format!("{}shadow", prefix(number))),
            })
            .collect();
        for one in &all {
            asking.also(&one.table);
            let column = asking.present(&one.table, &one.column);
            if let Some(sequence) = column.and_then(sequence) {
                asking.object(sequence_of(&sequence));
            }
        }
        asking.replacements(&all);
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(column) = lowering.column(&table, &self.column) else {
            return;
        };
        let what = format!("{}.{}", table.name, self.column);
        let is_key = table.is_in_key(&self.column);
        if !is_key {
            lowering.invalid(
                format!("{what} is not in the primary key of {}", table.name),
                "Name a column of the primary key; any other column is widened by `change_type`.",
            );
        }
        if !self.to.is_wider_than(&column.base_type) {
            lowering.invalid(
                format!(
                    "{what} is of type {}, which is not narrower than {}",
                    column.def.type_name,
                    self.to.name()
                ),
                "Keys of type smallint and integer can be widened.",
            );
            return;
        }
        let Some(members) = self.members(lowering, &table) else {
            return;
        };
        let all: Vec<Replace<'_>> = members
            .iter()
            .map(|member| Replace {
                table: &member.table,
                column: &member.column,
                to: self.to.name(),
                type_name: self.to.name(),
                second: &member.second,
                last: &member.column.def.name,
                old: vec![mapped(&member.column)],
                rule: Rule::Derived {
                    up: vec![cast(&member.column, self.to)],
                },
                back: None,
                prefix: member.prefix.clone(),
                default: member.column.def.default.as_ref().map(Expr::bare),
            })
            .collect();
        lowering.replace_all(&all);
        for member in &members {
            lowering.alone(&member.table.name, &member.column.def.name);
            self.note_ends(lowering, member);
        }
        let others: Vec<String> = members
            .iter()
            .skip(1)
            .map(|member| format!("{}.{}", member.table.name, member.column.def.name))
            .collect();
        lowering.note(match others.as_slice() {
            [] => format!("No column refers to {what}."),
            others => format!(
                "What refers to {what} is widened with it: {}.",
                others.join(", ")
            ),
        });
        lowering.note(format!(
            "Until contract ends, {what} still takes no value above the end of {}.",
            column.base_type
        ));
        lowering.note_place("each column that is widened");
    }
}

fn cast(column: &Column, to: Wide) -> Expr {
    Expr {
        template: format!(
            "CAST({} AS {})",
            column_expr(&column.def.name).template,
            to.name()
        ),
        columns: vec![column.def.name.clone()],
        volatility: Volatility::Immutable,
    }
}
