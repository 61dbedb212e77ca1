//! A column's new name, everywhere the catalog spells it.
//!
//! Expressions are text; a name in them is replaced where it stands as a name
//! of its own: not after a dot (a field), not after `::` (a type), not before
//! a parenthesis (a function). A new name that is a keyword may be spelt
//! without the quotes that the server gives it or with ones that it does not.

use super::super::{Catalog, ConstraintKind, DependentKind, Table};
use super::constraint::incoming;
use crate::lex::{self, TokenKind};
use crate::name::TableName;
use crate::object::{Object, ObjectFacts, TypeUses, UsingColumn};

impl Catalog {
    /// Whatever is of the type, or names it, does so under its new name. The
    /// server writes a type with its schema.
    pub(super) fn rename_type(&mut self, name: &TableName, to: &str) {
        let renamed = TableName::new(&name.schema, to);
        let spelt_out = |name: &TableName| format!("{}.{}", spelt(&name.schema), spelt(&name.name));
        let (before, after) = (spelt_out(name), spelt_out(&renamed));
        let mut columns = Vec::new();
        for table in self.tables.values_mut() {
            for text in table.texts() {
                *text = text.replace(&before, &after);
            }
            let own = table.columns.iter();
            let own = own.filter(|column| column.def.type_name == after);
            columns.extend(own.map(|column| UsingColumn {
                table: table.name.clone(),
                column: column.def.name.clone(),
            }));
        }
        let asked = |object: &Object, name: &TableName| matches!(object, Object::Type { name: asked } if asked == name);
        let facts = self
            .objects
            .iter_mut()
            .find(|answer| asked(&answer.object, name))
            .and_then(|answer| answer.facts.take());
        for answer in &mut self.objects {
            if asked(&answer.object, &renamed) {
                answer.facts = facts.clone().map(|facts| ObjectFacts {
                    uses: facts.uses.map(|uses| TypeUses {
                        columns: columns.clone(),
                        ..uses
                    }),
                    ..facts
                });
            }
        }
    }

    pub(super) fn rename_column(&mut self, name: &TableName, from: &str, to: &str) {
        let Some(table) = self.tables.get_mut(name) else {
            return;
        };
        if table.column(from).is_none() {
            return;
        }
        table.rename(from, to);
        self.rename_referenced(name, from, to);
    }

    /// Everything that hangs on a table stays with it; who names it, names it
    /// anew.
    pub(super) fn rename_table(&mut self, from: &TableName, to: &str) {
        let Some(mut table) = self.tables.remove(from) else {
            return;
        };
        let after = TableName::new(&from.schema, to);
        table.name = after.clone();
        let own: Vec<String> = table.constraints.iter().map(|c| c.name.clone()).collect();
        self.tables.insert(after.clone(), table);
        let (before_text, after_text) = (from.to_string(), after.to_string());
        for other in self.tables.values_mut() {
            let names = other.parents.iter_mut().chain(&mut other.children);
            names
                .filter(|name| *name == from)
                .for_each(|name| name.clone_from(&after));
            other.children.sort();
            for constraint in &mut other.constraints {
                if let ConstraintKind::ForeignKey { references, .. } = &mut constraint.kind
                    && references == from
                {
                    references.clone_from(&after);
                }
            }
            for key in other.referenced_by.iter_mut().filter(|k| k.table == *from) {
                key.table.clone_from(&after);
            }
            other
                .referenced_by
                .sort_by(|a, b| (&a.table, &a.constraint).cmp(&(&b.table, &b.constraint)));
            for kind in [DependentKind::InheritedColumn, DependentKind::PartitionKey] {
                other.rename_dependent(&kind, &before_text, &after_text);
            }
            for constraint in &own {
                other.rename_dependent(
                    &DependentKind::ReferencedByForeignKey,
                    &incoming(constraint, from),
                    &incoming(constraint, &after),
                );
            }
        }
    }
}

impl Table {
    /// Every text that may name a type.
    fn texts(&mut self) -> Vec<&mut String> {
        let mut texts = Vec::new();
        for column in &mut self.columns {
            texts.extend([&mut column.def.type_name, &mut column.base_type]);
            texts.extend(column.def.default.as_mut().map(|d| &mut d.template));
            texts.extend(column.def.generated.as_mut().map(|g| &mut g.expression));
        }
        for constraint in &mut self.constraints {
            texts.push(&mut constraint.definition);
            if let ConstraintKind::Check { expression, .. } = &mut constraint.kind {
                texts.push(expression);
            }
        }
        for index in &mut self.indexes {
            texts.push(&mut index.definition);
            texts.extend(index.predicate.as_mut());
            let keys = index.keys.iter_mut();
            texts.extend(keys.filter_map(|key| key.expression.as_mut()));
        }
        texts
    }

    fn rename(&mut self, from: &str, to: &str) {
        for column in &mut self.columns {
            if column.def.name == from {
                column.def.name = to.to_owned();
            }
            if let Some(generated) = &mut column.def.generated {
                generated.expression = in_text(&generated.expression, from, to);
            }
            for dependent in &mut column.dependents {
                if dependent.kind == DependentKind::GeneratedColumn && dependent.name == from {
                    dependent.name = to.to_owned();
                }
            }
            column.dependents.sort();
        }
        for constraint in &mut self.constraints {
            match &mut constraint.kind {
                ConstraintKind::Check {
                    expression,
                    columns,
                } => {
                    *expression = in_text(expression, from, to);
                    in_list(columns, from, to);
                }
                ConstraintKind::Unique { columns }
                | ConstraintKind::PrimaryKey { columns }
                | ConstraintKind::ForeignKey { columns, .. } => in_list(columns, from, to),
                ConstraintKind::Exclusion | ConstraintKind::Other { .. } => {}
            }
            // What follows REFERENCES belongs to the other table.
            let (own, others) = split_at_word(&constraint.definition, "references");
            constraint.definition = in_text(own, from, to) + others;
        }
        for index in &mut self.indexes {
            for key in &mut index.keys {
                if key.column.as_deref() == Some(from) {
                    key.column = Some(to.to_owned());
                }
                if let Some(expression) = &mut key.expression {
                    *expression = in_text(expression, from, to);
                }
            }
            in_list(&mut index.include, from, to);
            if let Some(predicate) = &mut index.predicate {
                *predicate = in_text(predicate, from, to);
            }
            // What precedes USING are the names of index and table.
            let (names, rest) = split_at_word(&index.definition, "using");
            index.definition = names.to_owned() + &in_text(rest, from, to);
        }
        for trigger in &mut self.triggers {
            in_list(&mut trigger.columns, from, to);
        }
        for publication in &mut self.publications {
            in_list(
                publication.columns.as_deref_mut().unwrap_or_default(),
                from,
                to,
            );
        }
        if let Some(partitioning) = &mut self.partitioning {
            in_list(&mut partitioning.columns, from, to);
        }
        for key in &mut self.referenced_by {
            in_list(&mut key.columns, from, to);
        }
    }
}

/// Renames in a list of names.
pub(super) fn in_list(names: &mut [String], from: &str, to: &str) {
    for name in names.iter_mut().filter(|name| *name == from) {
        *name = to.to_owned();
    }
}

/// Renames in the part of a foreign key's definition that names the columns
/// it points at.
pub(super) fn after_references(definition: &mut String, from: &str, to: &str) {
    let (own, others) = split_at_word(definition, "references");
    *definition = own.to_owned() + &in_text(others, from, to);
}

/// Cuts a text before the first unquoted word of this name; the second part is
/// empty when there is none.
fn split_at_word<'a>(text: &'a str, word: &str) -> (&'a str, &'a str) {
    let mut at = 0;
    for token in lex::tokens(text).unwrap_or_default() {
        if token.kind == TokenKind::Word && token.text.eq_ignore_ascii_case(word) {
            return text.split_at(at);
        }
        at += token.text.len();
    }
    (text, "")
}

/// Renames a column in an expression over bare column names.
fn in_text(text: &str, from: &str, to: &str) -> String {
    let Ok(tokens) = lex::tokens(text) else {
        return text.to_owned();
    };
    let mut renamed = String::with_capacity(text.len());
    for (at, token) in tokens.iter().enumerate() {
        let before = tokens[..at].iter().rev().find(|t| !t.is_blank());
        let after = tokens[at + 1..].iter().find(|t| !t.is_blank());
        let is_part = before.is_some_and(|t| t.is_symbol(".") || t.is_symbol(":"))
            || after.is_some_and(|t| t.is_symbol("("));
        if token.name().as_deref() == Some(from) && !is_part {
            renamed.push_str(&spelt(to));
        } else {
            renamed.push_str(token.text);
        }
    }
    renamed
}

/// A name as PostgreSQL writes it, keywords aside.
fn spelt(name: &str) -> String {
    let plain = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        && name.bytes().next().is_some_and(|b| !b.is_ascii_digit());
    if plain {
        name.to_owned()
    } else {
        format!("\"{}\"", name.replace('"', "\"\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_column_is_renamed() {
        assert_eq!(
            in_text(
                "((a > 0) AND (b(a) <> 'a'::a) AND ((c).a = \"a\"))",
                "a",
                "New"
            ),
            "((\"New\" > 0) AND (b(\"New\") <> 'a'::a) AND ((c).a = \"New\"))"
        );
        assert_eq!(in_text("a(a)", "a", "b"), "a(b)");
    }

    #[test]
    fn a_foreign_key_names_columns_of_two_tables() {
        let mut definition = "FOREIGN KEY (id) REFERENCES t(id) ON DELETE CASCADE".to_owned();
        after_references(&mut definition, "id", "key");
        assert_eq!(
            definition,
            "FOREIGN KEY (id) REFERENCES t(key) ON DELETE CASCADE"
        );
        assert_eq!(
            split_at_word("CREATE INDEX \"using\" ON t USING btree (a)", "using").1,
            "USING btree (a)"
        );
    }
}
