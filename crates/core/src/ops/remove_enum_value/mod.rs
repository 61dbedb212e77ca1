//! `remove_enum_value`: takes a label from an enum, through a new type.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Along, Column, RenamedType, Table};
use crate::expr::Expr;
use crate::lower::{Asking, Lower, Lowering, Over, Replace, ddl, mapped};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, ObjectFacts, UsingColumn};
use crate::ops::common::{SqlExpr, TableRef};
use crate::ops::widen_primary_key::prefix;
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::sql::quote::{dollar_quote, quote_ident, quote_literal, quote_table};
use crate::step::{Change, Phase, Rule, Undo};

/// Takes a label from an enum, through a new type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RemoveEnumValue {
    /// The enum: `name` or `schema.name`.
    pub name: TableRef,
    /// The label.
    #[schemars(extend("format" = "enum-label"))]
    pub value: String,
    /// The label that rows get which have the removed one. Without it there may be none.
    #[serde(default)]
    #[schemars(extend("format" = "enum-label"))]
    pub replacement: Option<String>,
    /// Every column of this type, in all tables.
    #[schemars(length(min = 1, max = 100))]
    pub columns: Vec<EnumColumn>,
}

/// A column of the enum's type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EnumColumn {
    /// The table.
    pub table: TableRef,
    /// The column.
    #[schemars(extend("format" = "identifier"))]
    pub column: String,
}

impl RemoveEnumValue {
    /// The new type until the cutover, beside the old one.
    fn new_type(&self, schema: &str, artifact: &str) -> TableName {
        TableName::new(self.name.resolve(schema).schema, artifact)
    }

    /// Makes the new type for the questions; which labels there are, the server
    /// knows.
    fn suppose(&self, old: &TableName, new: &TableName) -> String {
        let body = format!(
            "BEGIN EXECUTE (SELECT pg_catalog.concat({}, ' AS ENUM (', pg_catalog.string_agg(pg_catalog.quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder), ')') \
             FROM pg_catalog.pg_enum e WHERE e.enumtypid = {}::pg_catalog.regtype AND e.enumlabel <> {}); END",
            quote_literal(&format!("CREATE TYPE {}", quote_table(new))),
            quote_literal(&quote_table(old)),
            quote_literal(&self.value)
        );
        format!("DO {}", dollar_quote("pontoon_labels", &body))
    }

    /// The new value: the same label, and the replacement for the removed one.
    fn up(&self, column: &str, to: &str) -> String {
        let label = format!("CAST({} AS pg_catalog.text)", quote_ident(column));
        match &self.replacement {
            Some(other) => format!(
                "CAST(CASE {label} WHEN {} THEN {} ELSE {label} END AS {to})",
                quote_literal(&self.value),
                quote_literal(other)
            ),
            None => format!("CAST({label} AS {to})"),
        }
    }

    /// The default of a column, as one of the new type.
    fn new_default(
        &self,
        lowering: &mut Lowering<'_>,
        what: &str,
        default: &str,
        type_name: &str,
        labels: &[String],
        to: &str,
    ) -> Option<String> {
        let label = labels
            .iter()
            .find(|label| default == format!("{}::{type_name}", quote_literal(label)));
        let Some(label) = label else {
            lowering.unsafe_(
                format!("the default of {what} ({default}) is no plain label, so it cannot be carried over"),
                "Drop it in an earlier plan, and set it again afterwards.",
            );
            return None;
        };
        let label = match &self.replacement {
            Some(other) if *label == self.value => other,
            None if *label == self.value => {
                lowering.unsafe_(
                    format!("the default of {what} is '{label}', which is to be removed"),
                    "Set another default in an earlier plan, or give a `replacement`.",
                );
                return None;
            }
            _ => label,
        };
        Some(format!("{}::{to}", quote_literal(label)))
    }

    /// Refuses what uses the type and is none of the columns that are listed.
    fn refuse_others(&self, lowering: &mut Lowering<'_>, name: &TableName, facts: &ObjectFacts) {
        let Some(uses) = &facts.uses else {
            return;
        };
        for used in &uses.columns {
            let listed = self.columns.iter().any(|column| {
                lowering.name(&column.table) == used.table && column.column == used.column
            });
            if !listed {
                lowering.unsafe_(
                    format!("{}.{} is of type {name}, and is not listed", used.table, used.column),
                    format!("Write `- {{table: {}, column: {}}}` under `columns`: each of them is changed.", used.table, used.column),
                );
            }
        }
        for other in &uses.others {
            lowering.unsafe_(
                format!("{other} uses type {name}, and cannot be carried over to another one"),
                "Drop it before the plan, and make it again afterwards.",
            );
        }
    }

    /// The new type, with all that the old one has.
    fn create(
        &self,
        lowering: &mut Lowering<'_>,
        old: &TableName,
        new: &TableName,
        facts: &ObjectFacts,
    ) {
        let labels = facts.labels.iter().filter(|label| **label != self.value);
        let on = Object::Type { name: new.clone() };
        let object = |what| Change::Object { what };
        let mut changes = vec![object(ObjectChange::CreateEnum {
            name: new.clone(),
            labels: labels.cloned().collect(),
            owner: Some(facts.owner.clone()),
        })];
        changes.extend(facts.grants.iter().map(|grant| {
            object(ObjectChange::Grant {
                on: on.clone(),
                grant: grant.clone(),
            })
        }));
        if facts.comment.is_some() {
            changes.push(object(ObjectChange::Comment {
                on,
                comment: facts.comment.clone(),
            }));
        }
        lowering.step(
            Phase::Expand,
            format!("create what {old} will be without '{}'", self.value),
            ddl(changes),
            Undo::Steps {
                actions: vec![ddl(vec![object(ObjectChange::DropType {
                    name: new.clone(),
                })])],
            },
        );
    }

    /// Changes nothing, and holds until the cutover ends the lock for which
    /// whoever adds or renames a label, or comments the type, has to wait: one
    /// that is not committed yet is seen afterwards.
    fn hold(&self, old: &TableName) -> String {
        format!(
            "ALTER TYPE {} ADD VALUE IF NOT EXISTS {}",
            quote_table(old),
            quote_literal(&self.value)
        )
    }

    /// Fails when the type is no longer what it was when the plan was compiled:
    /// what somebody has changed since would be lost with it.
    fn unchanged(old: &TableName, facts: &ObjectFacts) -> String {
        let list = |all: &mut dyn Iterator<Item = String>| {
            let all: Vec<String> = all.map(|text| quote_literal(&text)).collect();
            format!("ARRAY[{}]::text[]", all.join(", "))
        };
        let mut grants: Vec<String> = facts
            .grants
            .iter()
            .map(|grant| {
                let to = grant.grantee.as_deref().unwrap_or_default();
                format!("{to} {} {}", grant.privilege, grant.grantable)
            })
            .collect();
        grants.sort();
        let comment = facts.comment.as_ref();
        let wanted = format!(
            "({}, {}, {}, {})",
            list(&mut facts.labels.iter().cloned()),
            quote_literal(&facts.owner),
            comment.map_or_else(
                || "NULL::text".to_owned(),
                |text| format!("{}::text", quote_literal(text))
            ),
            list(&mut grants.into_iter()),
        );
        let (_, state) = include_str!("state.sql")
            .split_once("SELECT")
            .unwrap_or_default();
        let state = state.replace(
            "$1",
            &format!("{}::regtype", quote_literal(&quote_table(old))),
        );
        let body = format!(
            "BEGIN IF (SELECT {state}) IS DISTINCT FROM {wanted}::text THEN RAISE EXCEPTION USING ERRCODE = 'PT412', MESSAGE = {}, HINT = {}; END IF; END",
            quote_literal(&format!("enum {old} was changed during the run")),
            quote_literal(
                "The change would be lost. Take it back, or roll back and run the plan again."
            ),
        );
        format!("DO {}", dollar_quote("pontoon_enum", &body))
    }

    /// The columns that are listed, each with what it takes to replace it; a
    /// refusal for each that cannot be.
    fn members(
        &self,
        lowering: &mut Lowering<'_>,
        to: &str,
        facts: &ObjectFacts,
    ) -> Option<Vec<Member>> {
        let (labels, uses) = (&facts.labels, facts.uses.as_ref());
        let mut members = Vec::new();
        for (place, listed) in self.columns.iter().enumerate() {
            let Some(table) = lowering.alterable(&listed.table) else {
                continue;
            };
            let Some(column) = lowering.column(&table, &listed.column) else {
                continue;
            };
            let what = format!("{}.{}", table.name, listed.column);
            let is_used =
                |used: &UsingColumn| used.table == table.name && used.column == listed.column;
            if !uses.is_some_and(|uses| uses.columns.iter().any(is_used)) {
                lowering.invalid(
                    format!("{what} is of type {}", column.def.type_name),
                    "List the columns that are of the enum themselves, and no others.",
                );
                continue;
            }
            lowering.refuse_unwritable(&table, &column);
            let default = column.def.default.as_ref().map(Expr::bare);
            let default = default.map(|text| {
                self.new_default(lowering, &what, &text, &column.def.type_name, labels, to)
            });
            let up = lowering.mapping_expr(
                &table,
                &SqlExpr::Any(self.up(&listed.column, to)),
                to,
                "up",
                &Over::OldShape,
                false.into(),
            );
            let Some(up) = up else {
                continue;
            };
            members.push(Member {
                second: lowering.artifact(&format!("{}shadow", prefix(place))),
                prefix: prefix(place),
                default: default.flatten(),
                table,
                column,
                up: up.expr,
            });
        }
        (members.len() == self.columns.len()).then_some(members)
    }
}

/// A listed column.
struct Member {
    table: Table,
    column: Column,
    second: String,
    prefix: String,
    default: Option<String>,
    up: Expr,
}

impl Declare for RemoveEnumValue {
    fn declare(&self, to: &mut Mentions<'_>) {
        for (place, column) in self.columns.iter().enumerate() {
            to.table_at(&column.table, TableUse::Shaped, &["columns"]);
            let role = Role::Retyped { visible: false };
            to.item(&column.table, &column.column, role, (&["columns"], place));
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        if self.replacement.as_ref() == Some(&self.value) {
            let span = check.written.span(&["replacement"]);
            check.report(
                &span,
                "`replacement` is the label that is removed",
                "expected another label",
                "",
            );
        }
        for (place, column) in self.columns.iter().enumerate() {
            if self.columns[..place].contains(column) {
                let span = check.written.item(&["columns"], place);
                check.report(&span, "this column is listed twice", "expected it once", "");
            }
        }
    }
}

impl Lower for RemoveEnumValue {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.resolve(&self.name);
        let new = self.new_type(asking.schema(), &asking.artifact("type"));
        let to = quote_table(&new);
        asking.suppose(self.suppose(&name, &new));
        asking.type_name(&to);
        let mut all = Vec::new();
        for (place, column) in self.columns.iter().enumerate() {
            let table = asking.table(&column.table);
            asking.expression(&table, &self.up(&column.column, &to), Some(&to));
            all.push(Along {
                table,
                column: column.column.clone(),
                to: to.clone(),
                second: asking.artifact(&format!("{}shadow", prefix(place))),
            });
        }
        for name in [&name, &new] {
            asking.object(Object::Type { name: name.clone() });
        }
        asking.replacements_under(&all, Some(&RenamedType { old: name, new }));
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some((name, labels)) = lowering.labels(&self.name) else {
            return;
        };
        lowering.label(&name, &labels, &self.value);
        if let Some(other) = &self.replacement {
            lowering.label(&name, &labels, other);
        }
        let object = Object::Type { name: name.clone() };
        let Some(facts) = lowering.owned_object(&object).cloned() else {
            return;
        };
        self.refuse_others(lowering, &name, &facts);
        let new = self.new_type(lowering.schema(), &lowering.artifact("type"));
        let to = quote_table(&new);
        let Some(members) = self.members(lowering, &to, &facts) else {
            return;
        };
        let Some(type_name) = lowering.type_facts(&to).map(|facts| facts.name) else {
            return;
        };
        self.create(lowering, &name, &new, &facts);
        let all: Vec<Replace<'_>> = members
            .iter()
            .map(|member| Replace {
                table: &member.table,
                column: &member.column,
                to: &to,
                type_name: &type_name,
                second: &member.second,
                last: &member.column.def.name,
                old: vec![mapped(&member.column)],
                rule: Rule::Derived {
                    up: vec![member.up.clone()],
                },
                back: None,
                prefix: member.prefix.clone(),
                default: member.default.clone(),
            })
            .collect();
        let object = |what| Change::Object { what };
        let between = vec![
            object(ObjectChange::Rehang {
                statements: vec![self.hold(&name), Self::unchanged(&name, &facts)],
                locks: Vec::new(),
                off: Vec::new(),
                on: Vec::new(),
            }),
            object(ObjectChange::DropType { name: name.clone() }),
            object(ObjectChange::RenameType {
                name: new,
                to: name.name.clone(),
            }),
        ];
        lowering.replace_and(&all, between);
        match &self.replacement {
            Some(other) => lowering.note(format!(
                "Rows with '{}' hold '{other}' from contract on. Until then every version reads and writes both.",
                self.value
            )),
            None => lowering.note(format!(
                "A row that holds '{0}' stops the backfill, and from dual_write on a write of '{0}' fails.",
                self.value
            )),
        }
        lowering.note(format!(
            "Contract gives {name} another object id: statements that a session prepared with a parameter of the type, and what its PL/pgSQL functions remember of it, fail until they are prepared anew."
        ));
        lowering.note_place("each of the columns");
    }
}
