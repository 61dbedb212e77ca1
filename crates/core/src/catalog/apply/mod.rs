//! What a step makes of a catalog, without a database: the fold that previews,
//! lints and tests work with.
//!
//! [`Catalog::apply`] gives what a server would tell after the change, with
//! these exceptions: object ids, sizes and `definition` texts of what is new
//! are left as the step gives them; a default that is set is judged by its
//! look (see [`Change::SetDefault`]); the position of a new column does not
//! know of columns that were dropped before; foreign keys and indexes of a
//! partitioned table are not copied to its partitions; an answer about some
//! object is not made where the object appears under another name; `definition`
//! texts, and the names of policies, rules and views of other tables, name a
//! renamed table as before; and nothing of a
//! [`Sync`](crate::step::Sync) appears, whose triggers count for no
//! comparison. A test holds each kind of change against real servers.
//!
//! A change to something that is not in the catalog changes nothing: whether a
//! step can run is for the database to say.

mod constraint;
mod object;
mod rename;

use super::{Catalog, Column, ColumnDef, Dependent, DependentKind, Index, ReplicaIdentity, Table};
use crate::expr::{Expr, Volatility};
use crate::lex::{self, TokenKind};
use crate::name::TableName;
use crate::step::{Action, Change, Concurrent};

impl Catalog {
    /// Applies everything that an action changes in the catalog. Rows are no
    /// part of it, nor is a person's own SQL.
    pub fn apply_action(&mut self, action: &Action) {
        match action {
            Action::Ddl(ddl) => ddl.changes.iter().for_each(|change| self.apply(change)),
            Action::Concurrent(concurrent) => {
                self.apply_concurrent(concurrent);
                self.forget_gone();
            }
            Action::Sync(_)
            | Action::Backfill(_)
            | Action::Verify(_)
            | Action::Sql(_)
            | Action::Wait(_) => {}
        }
    }

    /// Applies one change.
    pub fn apply(&mut self, change: &Change) {
        self.change(change);
        self.forget_gone();
    }

    fn change(&mut self, change: &Change) {
        match change {
            Change::CreateTable { table } => self.create_table(table),
            Change::DropTable { table, .. } => self.drop_table(table),
            Change::AddColumn { table, column } => self.add_column(table, column),
            Change::DropColumn { table, column } => {
                for name in self.tree(table) {
                    self.drop_column(&name, column);
                }
            }
            Change::RenameColumn { table, from, to } => {
                for name in self.tree(table) {
                    self.rename_column(&name, from, to);
                }
            }
            Change::SetDefault {
                table,
                column,
                default,
            } => self.each_column(table, column, |def| {
                def.default = default.as_deref().map(judged);
            }),
            Change::SetNotNull { table, column } => {
                self.each_column(table, column, |def| def.nullable = false);
            }
            Change::DropNotNull { table, column } => {
                self.each_column(table, column, |def| def.nullable = true);
            }
            Change::AddConstraint {
                table,
                constraint,
                using_index,
            } => self.add_constraint(table, constraint, using_index.as_deref()),
            Change::DropConstraint { table, name, .. } => {
                for table in self.tree(table) {
                    self.drop_constraint(&table, name);
                }
            }
            Change::CommentOnColumn {
                table,
                column,
                comment,
            } => {
                if let Some(found) = self.column_mut(table, column) {
                    found.def.comment.clone_from(comment);
                }
            }
            Change::GrantColumn {
                table,
                column,
                grant,
            } => {
                if let Some(found) = self.column_mut(table, column) {
                    object::give(&mut found.grants, grant);
                }
            }
            Change::SetTable { table, setting } => self.set_table(table, setting),
            Change::OnPartition { what, .. } => self.change(what),
            Change::Object { what } => self.apply_object(what),
            Change::DropSync { sync } => {
                for name in sync.children.iter().chain([&sync.table]) {
                    if let Some(table) = self.tables.get_mut(name) {
                        table.triggers.retain(|trigger| !trigger.ours);
                    }
                }
            }
        }
    }

    fn apply_concurrent(&mut self, concurrent: &Concurrent) {
        match concurrent {
            Concurrent::OnPartition { statement, .. } => self.apply_concurrent(statement),
            Concurrent::CreateIndex { table, index } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.add_index(index.clone());
                }
            }
            Concurrent::DropIndex { table, name } => {
                if let Some(table) = self.tables.get_mut(table) {
                    table.drop_index(name);
                }
            }
            // Rows and statistics are data, not shape.
            Concurrent::Analyze { .. } | Concurrent::Fill { .. } => {}
            // An index that was INVALID is none afterwards.
            Concurrent::Reindex { table, name } => {
                if let Some(index) = self
                    .tables
                    .get_mut(table)
                    .and_then(|t| t.indexes.iter_mut().find(|i| i.name == *name))
                {
                    index.valid = true;
                }
            }
            Concurrent::Validate { table, name, .. } => {
                for table in self.tree(table) {
                    let constraint = self
                        .tables
                        .get_mut(&table)
                        .and_then(|t| t.constraints.iter_mut().find(|c| c.name == *name));
                    if let Some(constraint) = constraint {
                        constraint.validated = true;
                        if let Some(definition) = constraint.definition.strip_suffix(" NOT VALID") {
                            constraint.definition = definition.to_owned();
                        }
                    }
                }
            }
        }
    }

    /// A table and everything below it.
    fn tree(&self, root: &TableName) -> Vec<TableName> {
        let mut names = vec![root.clone()];
        let mut at = 0;
        while let Some(name) = names.get(at) {
            let children = self.tables.get(name).map(|table| table.children.clone());
            for child in children.unwrap_or_default() {
                if !names.contains(&child) {
                    names.push(child);
                }
            }
            at += 1;
        }
        names
    }

    fn column_mut(&mut self, table: &TableName, column: &str) -> Option<&mut Column> {
        self.tables
            .get_mut(table)?
            .columns
            .iter_mut()
            .find(|found| found.def.name == column)
    }

    fn each_column(&mut self, table: &TableName, column: &str, change: impl Fn(&mut ColumnDef)) {
        for name in self.tree(table) {
            if let Some(found) = self.column_mut(&name, column) {
                change(&mut found.def);
            }
        }
    }

    fn create_table(&mut self, table: &Table) {
        let name = table.name.clone();
        let mut bare = table.clone();
        let constraints = std::mem::take(&mut bare.constraints);
        let indexes = std::mem::take(&mut bare.indexes);
        self.tables.insert(name.clone(), bare);
        if let Some(created) = self.tables.get_mut(&name) {
            for index in indexes {
                created.add_index(index);
            }
        }
        for constraint in constraints {
            self.add_constraint(&name, &constraint, None);
        }
    }

    fn drop_table(&mut self, name: &TableName) {
        let Some(dropped) = self.tables.get(name) else {
            return;
        };
        let constraints: Vec<String> = dropped
            .constraints
            .iter()
            .map(|constraint| constraint.name.clone())
            .collect();
        for constraint in constraints {
            self.drop_constraint(name, &constraint);
        }
        self.tables.remove(name);
        for table in self.tables.values_mut() {
            table.children.retain(|child| child != name);
            table.parents.retain(|parent| parent != name);
        }
    }

    fn add_column(&mut self, root: &TableName, def: &ColumnDef) {
        // What a domain brings along is known where it is in use already.
        let known = |what: fn(&Column) -> bool| {
            let mut columns = self.tables.values().flat_map(|table| &table.columns);
            columns.any(|column| what(column) && column.def.type_name == def.type_name)
        };
        let not_null_domain = known(|column| column.not_null_domain);
        let type_default = known(|column| column.type_default);
        let tree = self.tree(root);
        for name in &tree {
            let Some(table) = self.tables.get_mut(name) else {
                continue;
            };
            let mut dependents: Vec<Dependent> = Vec::new();
            if name != root {
                let above = table.parents.iter().filter(|parent| tree.contains(parent));
                dependents.extend(above.map(|parent| Dependent {
                    kind: DependentKind::InheritedColumn,
                    name: parent.to_string(),
                }));
            }
            let present = table
                .columns
                .iter_mut()
                .find(|column| column.def.name == def.name);
            if let Some(present) = present {
                present.dependents.extend(dependents);
                present.dependents.sort();
                continue;
            }
            if let Some(generated) = &def.generated {
                let read = table.columns_in(Some(&generated.expression));
                table.depend(&read, DependentKind::GeneratedColumn, &def.name);
            }
            let position = table.columns.iter().map(|c| c.position).max().unwrap_or(0) + 1;
            table.columns.push(Column {
                def: ColumnDef {
                    comment: def.comment.clone().filter(|_| name == root),
                    ..def.clone()
                },
                position,
                base_type: base_type(&def.type_name),
                not_null_domain,
                type_default,
                settings: Vec::new(),
                grants: Vec::new(),
                dependents,
            });
        }
    }

    fn drop_column(&mut self, name: &TableName, column: &str) {
        let Some(dropped) = self.tables.get(name).and_then(|table| table.column(column)) else {
            return;
        };
        // What PostgreSQL drops along with a column, without CASCADE.
        for dependent in dropped.dependents.clone() {
            match dependent.kind {
                DependentKind::Index => {
                    if let Some(table) = self.tables.get_mut(name) {
                        table.drop_index(&dependent.name);
                    }
                }
                DependentKind::PrimaryKey
                | DependentKind::Unique
                | DependentKind::Check
                | DependentKind::Exclusion
                | DependentKind::ForeignKey => self.drop_constraint(name, &dependent.name),
                DependentKind::ExtendedStatistics => {
                    if let Some(table) = self.tables.get_mut(name) {
                        table.forget(&dependent.kind, &dependent.name);
                    }
                }
                _ => {}
            }
        }
        if let Some(table) = self.tables.get_mut(name) {
            table.columns.retain(|found| found.def.name != column);
            table.forget(&DependentKind::GeneratedColumn, column);
        }
    }
}

impl Table {
    fn add_index(&mut self, index: Index) {
        let mut columns: Vec<String> = index.include.clone();
        for key in &index.keys {
            columns.extend(key.column.clone());
            columns.extend(self.columns_in(key.expression.as_deref()));
        }
        columns.extend(self.columns_in(index.predicate.as_deref()));
        if index.constraint.is_none() {
            self.depend(&columns, DependentKind::Index, &index.name);
        }
        self.indexes.push(index);
        self.indexes.sort_by(|a, b| a.name.cmp(&b.name));
    }

    fn drop_index(&mut self, name: &str) {
        self.indexes.retain(|index| index.name != name);
        self.forget(&DependentKind::Index, name);
        self.forget(&DependentKind::ReplicaIdentity, name);
        if self.replica_identity == ReplicaIdentity::Index(name.to_owned()) {
            self.replica_identity = ReplicaIdentity::Nothing;
        }
    }

    /// Columns of this table that an expression of its own names.
    fn columns_in(&self, expression: Option<&str>) -> Vec<String> {
        let tokens = lex::tokens(expression.unwrap_or_default()).unwrap_or_default();
        tokens
            .iter()
            .filter_map(lex::Token::name)
            .filter(|name| self.column(name).is_some())
            .collect()
    }

    /// Notes that something hangs on these columns.
    fn depend(&mut self, columns: &[String], kind: DependentKind, name: &str) {
        for column in &mut self.columns {
            if !columns.contains(&column.def.name) {
                continue;
            }
            let dependent = Dependent {
                kind: kind.clone(),
                name: name.to_owned(),
            };
            if let Err(at) = column.dependents.binary_search(&dependent) {
                column.dependents.insert(at, dependent);
            }
        }
    }

    /// Takes a dependent off every column and the table.
    fn forget(&mut self, kind: &DependentKind, name: &str) {
        for list in self
            .columns
            .iter_mut()
            .map(|column| &mut column.dependents)
            .chain([&mut self.dependents])
        {
            list.retain(|dependent| dependent.kind != *kind || dependent.name != name);
        }
    }
}

/// A default as text, judged by its look: a literal is immutable, `now()` and
/// its kin are stable, and whatever else calls anything counts as volatile,
/// which is the careful guess.
fn judged(text: &str) -> Expr {
    const STABLE: [&str; 7] = [
        "now",
        "current_date",
        "current_time",
        "current_timestamp",
        "localtime",
        "localtimestamp",
        "transaction_timestamp",
    ];
    let tokens: Vec<_> = lex::tokens(text)
        .unwrap_or_default()
        .into_iter()
        .filter(|token| !token.is_blank())
        .collect();
    let mut volatility = Volatility::Immutable;
    let mut in_type = false;
    for (at, token) in tokens.iter().enumerate() {
        // A type's name follows `::` and may have several words and modifiers.
        in_type = match token.kind {
            TokenKind::Symbol if token.text == ":" => true,
            TokenKind::Word | TokenKind::Quoted | TokenKind::Number => in_type,
            TokenKind::Symbol if matches!(token.text, "." | "(" | "," | "[" | "]") => in_type,
            _ => false,
        };
        let Some(name) = token.name().filter(|_| !in_type) else {
            continue;
        };
        let calls = tokens.get(at + 1).is_some_and(|next| next.is_symbol("("));
        if STABLE.contains(&name.as_str()) {
            volatility = match volatility {
                Volatility::Volatile => Volatility::Volatile,
                Volatility::Immutable | Volatility::Stable => Volatility::Stable,
            };
        } else if calls {
            volatility = Volatility::Volatile;
        }
    }
    Expr {
        template: text.to_owned(),
        columns: Vec::new(),
        volatility,
    }
}

/// A type's name without its modifiers, as `format_type(oid, -1)` writes it.
fn base_type(type_name: &str) -> String {
    let element = type_name.trim_end_matches("[]");
    let arrays = &type_name[element.len()..];
    let bare = match element.split_once(' ') {
        Some(("interval", _)) => "interval".to_owned(),
        _ => without_modifiers(element),
    };
    let spelt = match bare.as_str() {
        "character" => "bpchar",
        "bit" => "\"bit\"",
        other => other,
    };
    format!("{spelt}{arrays}")
}

fn without_modifiers(type_name: &str) -> String {
    let tokens = lex::tokens(type_name).unwrap_or_default();
    let mut depth = 0_u32;
    let mut bare = String::new();
    for token in tokens {
        if token.is_symbol("(") {
            depth += 1;
        } else if token.is_symbol(")") {
            depth = depth.saturating_sub(1);
        } else if depth == 0 {
            bare.push_str(token.text);
        }
    }
    bare
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_are_stripped_as_the_server_does() {
        for (full, base) in [
            ("integer", "integer"),
            ("character varying(10)", "character varying"),
            ("numeric(10,2)[]", "numeric[]"),
            ("timestamp(3) with time zone", "timestamp with time zone"),
            ("character(3)", "bpchar"),
            ("bit(3)", "\"bit\""),
            ("bit varying(3)", "bit varying"),
            ("interval day to second(2)", "interval"),
            ("app.\"Odd (type)\"", "app.\"Odd (type)\""),
        ] {
            assert_eq!(base_type(full), base, "{full}");
        }
    }

    #[test]
    fn defaults_are_judged_carefully() {
        for (text, volatility) in [
            ("'x'::character varying(10)", Volatility::Immutable),
            ("'{}'::app.pairs", Volatility::Immutable),
            ("'-1'::integer", Volatility::Immutable),
            ("now()", Volatility::Stable),
            ("(CURRENT_TIMESTAMP)::date", Volatility::Stable),
            ("nextval('s'::regclass)", Volatility::Volatile),
            ("('x'::text || app.f(1))", Volatility::Volatile),
        ] {
            assert_eq!(judged(text).volatility, volatility, "{text}");
        }
    }
}
