//! `add_index`: builds an index concurrently.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::{Index, IndexKey, Table, TableKind};
use crate::lower::{Asking, Lower, Lowering};
use crate::ops::common::{SqlExpr, TableRef};
use crate::plan::{Check, Declare, Mentions, Role, TableUse};
use crate::step::Phase;

/// Builds an index concurrently.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AddIndex {
    /// The table.
    pub table: TableRef,
    /// The index's name.
    #[schemars(extend("format" = "identifier"))]
    pub name: String,
    /// Its keys, in order.
    #[schemars(length(min = 1, max = 32))]
    pub columns: Vec<IndexColumn>,
    /// UNIQUE; enforced from contract on.
    #[serde(default)]
    pub unique: bool,
    /// Predicate of a partial index.
    #[serde(default)]
    pub r#where: Option<SqlExpr>,
    /// `btree` (default), `gin`, `gist`, `brin`, `hash`, `spgist` or an extension's.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub method: Option<String>,
    /// Columns that are stored beside the key.
    #[serde(default)]
    #[schemars(schema_with = "crate::ops::common::names_or_none")]
    pub include: Vec<String>,
}

/// One key of an index: a column's name, or the long form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum IndexColumn {
    /// A column.
    Name(#[schemars(extend("format" = "identifier"))] String),
    /// A column or an expression with its options.
    Key(IndexKeySpec),
}

/// The long form of an index key: exactly one of `column` and `expression`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IndexKeySpec {
    /// A column.
    #[serde(default)]
    #[schemars(extend("format" = "identifier"))]
    pub column: Option<String>,
    /// An expression over the row.
    #[serde(default)]
    pub expression: Option<SqlExpr>,
    /// Operator class.
    #[serde(default)]
    pub opclass: Option<String>,
    /// Collation.
    #[serde(default)]
    pub collation: Option<String>,
    /// `asc` (default) or `desc`.
    #[serde(default)]
    pub order: SortOrder,
    /// `first` or `last`; default as PostgreSQL has it for the order.
    #[serde(default)]
    pub nulls: Option<NullsOrder>,
}

/// ASC or DESC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SortOrder {
    /// Ascending.
    #[default]
    Asc,
    /// Descending.
    Desc,
}

/// NULLS FIRST or NULLS LAST.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NullsOrder {
    /// NULLS FIRST.
    First,
    /// NULLS LAST.
    Last,
}

impl AddIndex {
    fn key(
        &self,
        lowering: &mut Lowering<'_>,
        table: &Table,
        key: &IndexColumn,
    ) -> Option<IndexKey> {
        let (column, expression, spec) = match key {
            IndexColumn::Name(name) => (Some(name), None, None),
            IndexColumn::Key(spec) => (spec.column.as_ref(), spec.expression.as_ref(), Some(spec)),
        };
        if let Some(column) = column {
            lowering.column_or_added(table, column)?;
        }
        let expression = match expression {
            Some(text) => {
                let facts = lowering.facts(&table.name, text.postgresql(), None, "expression")?;
                if facts.expr.volatility != crate::expr::Volatility::Immutable {
                    lowering.invalid(
                        format!("index expression `{}` is not immutable", text.postgresql()),
                        "An index may call immutable functions only.",
                    );
                }
                Some(facts.expr.bare())
            }
            None => None,
        };
        let descending = spec.is_some_and(|spec| spec.order == SortOrder::Desc);
        Some(IndexKey {
            column: column.cloned(),
            expression,
            opclass: spec.and_then(|spec| spec.opclass.clone()),
            collation: spec.and_then(|spec| spec.collation.clone()),
            descending,
            nulls_first: match spec.and_then(|spec| spec.nulls) {
                Some(NullsOrder::First) => true,
                Some(NullsOrder::Last) => false,
                None => descending,
            },
        })
    }

    /// An index over a column that this plan fills is built once it is full:
    /// before, every filled row would have to be put into it one by one, and
    /// a unique one would make each UPDATE key-changing.
    fn phase(&self, lowering: &Lowering<'_>, table: &Table) -> Phase {
        if self.unique {
            return Phase::Contract;
        }
        let reads_new = self.columns.iter().any(|key| match key {
            IndexColumn::Name(name) => table.column(name).is_none(),
            IndexColumn::Key(spec) => spec
                .column
                .as_ref()
                .is_some_and(|name| table.column(name).is_none()),
        });
        if reads_new && lowering.is_filled(&table.name) {
            Phase::Backfill
        } else {
            Phase::Expand
        }
    }
}

impl Declare for AddIndex {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.table(&self.table, TableUse::Named);
        to.index(&self.table, &self.name, &["name"]);
        let columns: &[&str] = &["columns"];
        for (index, key) in self.columns.iter().enumerate() {
            let at = (columns, index);
            let (name, expression) = match key {
                IndexColumn::Name(name) => (Some(name), None),
                IndexColumn::Key(key) => (key.column.as_ref(), key.expression.as_ref()),
            };
            if let Some(name) = name {
                to.item(&self.table, name, Role::Key, at);
            }
            if let Some(expression) = expression {
                to.expression_item(&self.table, expression, at);
            }
        }
        to.columns(&self.table, &self.include, Role::Key, &["include"]);
        if let Some(filter) = &self.r#where {
            to.expression(&self.table, filter, &["where"]);
        }
    }

    fn check(&self, check: &mut Check<'_>) {
        for (index, column) in self.columns.iter().enumerate() {
            let IndexColumn::Key(key) = column else {
                continue;
            };
            let span = check.written.item(&["columns"], index);
            match (&key.column, &key.expression) {
                (Some(_), None) | (None, Some(_)) => {}
                (None, None) => check.report(
                    &span,
                    "this key names nothing",
                    "expected `column` or `expression`",
                    "",
                ),
                (Some(_), Some(_)) => check.report(
                    &span,
                    "this key has a column and an expression",
                    "expected one of the two",
                    "write them as two keys, in the order the index shall have",
                ),
            }
        }
        let method = self.method.as_deref().unwrap_or("btree");
        if self.unique && method != "btree" {
            let span = check.written.span(&["method"]);
            check.report(
                &span,
                format!("a {method} index cannot be unique"),
                "expected btree",
                "",
            );
        }
    }
}

impl Lower for AddIndex {
    fn ask(&self, asking: &mut Asking<'_>) {
        let table = asking.table(&self.table);
        for key in &self.columns {
            if let IndexColumn::Key(IndexKeySpec {
                expression: Some(expression),
                ..
            }) = key
            {
                asking.expression(&table, expression.postgresql(), None);
            }
        }
        if let Some(predicate) = &self.r#where {
            asking.expression(&table, predicate.postgresql(), None);
        }
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let Some(table) = lowering.alterable(&self.table) else {
            return;
        };
        lowering.new_relation_name(&table, &self.name);
        let keys: Vec<IndexKey> = self
            .columns
            .iter()
            .filter_map(|key| self.key(lowering, &table, key))
            .collect();
        for column in &self.include {
            lowering.column_or_added(&table, column);
        }
        let predicate = self.r#where.as_ref().and_then(|predicate| {
            lowering
                .facts(&table.name, predicate.postgresql(), None, "where")
                .map(|facts| facts.expr.bare())
        });
        let phase = self.phase(lowering, &table);
        let index = Index {
            name: self.name.clone(),
            method: self.method.clone().unwrap_or_else(|| "btree".to_owned()),
            unique: self.unique,
            nulls_not_distinct: false,
            keys,
            include: self.include.clone(),
            predicate,
            valid: true,
            constraint: None,
            definition: String::new(),
            settings: Default::default(),
        };
        if table.kind == TableKind::Partitioned {
            if self.unique {
                let keys = index.keys.iter().filter_map(|key| key.column.clone());
                lowering.holds_partition_key(&table, &keys.collect::<Vec<String>>());
            }
            lowering.index_below(phase, &table, index);
        } else {
            let step = format!("build index {} on {}", self.name, table.name);
            lowering.build_index(phase, step, &table.name, index);
        }
        if self.unique {
            lowering.note(format!(
                "Duplicates in {} stop contract before anything is taken away.",
                self.name
            ));
        }
    }
}
