//! `rename_column`: renames a column; both names live until contract.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::ColumnDef;
use crate::expr::Volatility;
use crate::lower::{Asking, Lower, Lowering, column_expr, mapped};
use crate::ops::common::TableRef;
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::OnConflict;
use crate::step::{Change, MappedColumn, Mapping, Phase, Rule};

/// Renames a column; both names live until contract.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RenameColumn {
    /// The table.
    pub table: TableRef,
    /// The present name.
    #[schemars(extend("format" = "identifier"))]
    pub from: String,
    /// The new name.
    #[schemars(extend("format" = "identifier"))]
    pub to: String,
    /// What a write that gives both names different values means. Default: error.
    #[serde(default)]
    pub on_conflict: Option<OnConflict>,
}

impl Declare for RenameColumn {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Shaped);
        to.column(&self.table, &self.from, Role::RenamedFrom, &["from"]);
        to.column(&self.table, &self.to, Role::RenamedTo, &["to"]);
    }

    fn check(&self, check: &mut Check<'_>) {
        let to = check.written.span(&["to"]);
        check.new_column(&self.to, &to);
        if self.from == self.to {
            check.report(
                &to,
                "`from` and `to` are the same",
                "expected another name",
                "",
            );
        }
    }
}

impl Lower for RenameColumn {
    fn ask(&self, asking: &mut Asking<'_>) {
        asking.table(&self.table);
    }

    /// The second column lives only until contract: there the original is
    /// renamed, so everything that hangs on it stays attached.
    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        let Some(from) = lowering.column(&table, &self.from) else {
            return;
        };
        lowering.new_column_name(&table, &self.to);
        lowering.refuse_unwritable(&table, &from);
        lowering.refuse_key_columns(&table, &[self.from.as_str()]);
        let volatile = from
            .def
            .default
            .as_ref()
            .is_some_and(|default| default.volatility == Volatility::Volatile);
        if volatile && self.on_conflict.is_none() {
            lowering.unsafe_(
                format!("{}.{} has a volatile default, so an INSERT that gives only `{}` cannot be told from one that gives both", table.name, self.from, self.to),
                "Say `on_conflict: new`: what a writer gives under the new name then wins.",
            );
        }
        lowering.ddl(
            Phase::Expand,
            format!("add column {}.{} beside {}", table.name, self.to, self.from),
            Change::AddColumn {
                table: table.name.clone(),
                column: ColumnDef {
                    name: self.to.clone(),
                    type_name: from.def.type_name.clone(),
                    collation: from.def.collation.clone(),
                    nullable: true,
                    default: None,
                    identity: None,
                    generated: None,
                    comment: from.def.comment.clone(),
                },
            },
            vec![Change::DropColumn {
                table: table.name.clone(),
                column: self.to.clone(),
            }],
        );
        lowering.adds_column(&table);
        lowering.copy_grants(&table, &from, &self.to);
        lowering.mapping(
            &table,
            Mapping {
                operation: lowering.operation(),
                old: vec![mapped(&from)],
                new: vec![MappedColumn {
                    name: self.to.clone(),
                    type_name: from.def.type_name.clone(),
                    default: None,
                }],
                rule: Rule::Pair {
                    up: vec![column_expr(&self.from)],
                    down: vec![column_expr(&self.to)],
                    on_conflict: self.on_conflict.unwrap_or(OnConflict::Error),
                },
                required: !from.def.nullable,
                back: None,
            },
        );
        lowering.cutover(Change::DropColumn {
            table: table.name.clone(),
            column: self.to.clone(),
        });
        lowering.cutover(Change::RenameColumn {
            table: table.name.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
        });
        lowering.note(format!(
            "Until contract, {}.{} is a column of its own: indexes, constraints and ON CONFLICT targets name {}.",
            table.name, self.to, self.from
        ));
    }
}
