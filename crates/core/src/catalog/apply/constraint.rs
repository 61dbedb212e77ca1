//! Constraints, with the indexes behind them and the tables they point at.

use super::super::{
    Catalog, Constraint, ConstraintKind, DependentKind, IncomingForeignKey, Index, IndexKey,
};
use crate::name::TableName;

/// How a foreign key is named among the dependents of the columns it points at.
pub(super) fn incoming(constraint: &str, from: &TableName) -> String {
    format!("{constraint} on {from}")
}

impl Catalog {
    pub(super) fn add_constraint(
        &mut self,
        root: &TableName,
        constraint: &Constraint,
        using_index: Option<&str>,
    ) {
        let tables = match constraint.kind {
            // A CHECK holds for what inherits, too.
            ConstraintKind::Check { .. } if !constraint.no_inherit() => self.tree(root),
            _ => vec![root.clone()],
        };
        for name in tables {
            let Some(table) = self.tables.get_mut(&name) else {
                continue;
            };
            if table.constraints.iter().any(|c| c.name == constraint.name) {
                continue;
            }
            table.constraints.push(constraint.clone());
            table.constraints.sort_by(|a, b| a.name.cmp(&b.name));
            match &constraint.kind {
                ConstraintKind::Check { columns, .. } => {
                    table.depend(columns, DependentKind::Check, &constraint.name);
                }
                ConstraintKind::Unique { columns } => {
                    self.back(&name, constraint, columns, using_index);
                }
                ConstraintKind::PrimaryKey { columns } => {
                    for column in &mut table.columns {
                        if columns.contains(&column.def.name) {
                            column.def.nullable = false;
                        }
                    }
                    self.back(&name, constraint, columns, using_index);
                }
                ConstraintKind::ForeignKey {
                    columns,
                    references,
                    referenced_columns,
                    ..
                } => {
                    table.depend(columns, DependentKind::ForeignKey, &constraint.name);
                    self.point_at(&name, &constraint.name, references, referenced_columns);
                }
                ConstraintKind::Exclusion | ConstraintKind::Other { .. } => {}
            }
        }
    }

    /// The index behind a UNIQUE or PRIMARY KEY takes the constraint's name;
    /// where none is given, the server builds one.
    fn back(
        &mut self,
        name: &TableName,
        constraint: &Constraint,
        columns: &[String],
        using_index: Option<&str>,
    ) {
        let Some(table) = self.tables.get_mut(name) else {
            return;
        };
        let kind = match constraint.kind {
            ConstraintKind::PrimaryKey { .. } => DependentKind::PrimaryKey,
            _ => DependentKind::Unique,
        };
        let mut covered = columns.to_vec();
        let wanted = using_index.unwrap_or(&constraint.name);
        if let Some(index) = table.indexes.iter_mut().find(|index| index.name == wanted) {
            index.name.clone_from(&constraint.name);
            index.constraint = Some(constraint.name.clone());
            covered.extend(index.include.clone());
        } else {
            table.indexes.push(Index {
                name: constraint.name.clone(),
                method: "btree".into(),
                unique: true,
                nulls_not_distinct: false,
                keys: columns.iter().map(|column| key(column)).collect(),
                include: Vec::new(),
                predicate: None,
                valid: true,
                constraint: Some(constraint.name.clone()),
                definition: String::new(),
                settings: Default::default(),
            });
        }
        table.indexes.sort_by(|a, b| a.name.cmp(&b.name));
        if let Some(index) = using_index {
            table.forget(&DependentKind::Index, index);
        }
        table.depend(&covered, kind, &constraint.name);
    }

    fn point_at(
        &mut self,
        from: &TableName,
        constraint: &str,
        references: &TableName,
        columns: &[String],
    ) {
        let Some(target) = self.tables.get_mut(references) else {
            return;
        };
        target.referenced_by.push(IncomingForeignKey {
            table: from.clone(),
            constraint: constraint.to_owned(),
            columns: columns.to_vec(),
        });
        target
            .referenced_by
            .sort_by(|a, b| (&a.table, &a.constraint).cmp(&(&b.table, &b.constraint)));
        target.depend(
            columns,
            DependentKind::ReferencedByForeignKey,
            &incoming(constraint, from),
        );
    }

    pub(super) fn drop_constraint(&mut self, name: &TableName, constraint: &str) {
        let Some(table) = self.tables.get_mut(name) else {
            return;
        };
        let Some(at) = table.constraints.iter().position(|c| c.name == constraint) else {
            return;
        };
        let dropped = table.constraints.remove(at);
        for kind in [
            DependentKind::PrimaryKey,
            DependentKind::Unique,
            DependentKind::Check,
            DependentKind::Exclusion,
            DependentKind::ForeignKey,
        ] {
            table.forget(&kind, constraint);
        }
        let behind = table
            .indexes
            .iter()
            .find(|index| index.constraint.as_deref() == Some(constraint))
            .map(|index| index.name.clone());
        if let Some(index) = behind {
            table.drop_index(&index);
        }
        if let ConstraintKind::ForeignKey { references, .. } = &dropped.kind
            && let Some(target) = self.tables.get_mut(references)
        {
            target
                .referenced_by
                .retain(|key| key.table != *name || key.constraint != constraint);
            target.forget(
                &DependentKind::ReferencedByForeignKey,
                &incoming(constraint, name),
            );
        }
    }

    /// Renames a column in the foreign keys that point at it.
    pub(super) fn rename_referenced(&mut self, name: &TableName, from: &str, to: &str) {
        for table in self.tables.values_mut() {
            for constraint in &mut table.constraints {
                if let ConstraintKind::ForeignKey {
                    references,
                    referenced_columns,
                    ..
                } = &mut constraint.kind
                    && references == name
                {
                    super::rename::in_list(referenced_columns, from, to);
                    super::rename::after_references(&mut constraint.definition, from, to);
                }
            }
        }
    }
}

fn key(column: &str) -> IndexKey {
    IndexKey {
        column: Some(column.to_owned()),
        expression: None,
        opclass: None,
        collation: None,
        descending: false,
        nulls_first: false,
    }
}
