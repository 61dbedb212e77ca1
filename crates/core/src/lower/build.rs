//! What is built or proven beside the application, each as a step of its own.

use crate::catalog::{Constraint, Index};
use crate::name::TableName;
use crate::step::{Action, Change, Concurrent, Phase, Undo};

use super::Lowering;

impl Lowering<'_> {
    /// Builds an index concurrently; the way back drops it.
    pub fn build_index(
        &mut self,
        phase: Phase,
        step: impl Into<String>,
        table: &TableName,
        index: Index,
    ) {
        let name = index.name.clone();
        self.step(
            phase,
            step,
            Action::Concurrent(Concurrent::CreateIndex {
                table: table.clone(),
                index,
            }),
            Undo::Steps {
                actions: vec![Action::Concurrent(Concurrent::DropIndex {
                    table: table.clone(),
                    name,
                })],
            },
        );
    }

    /// Proves at contract that every row meets a constraint that was added
    /// NOT VALID.
    pub fn validate(
        &mut self,
        step: impl Into<String>,
        table: &TableName,
        name: &str,
        referenced: Option<&TableName>,
    ) {
        self.step(
            Phase::Contract,
            step,
            Action::Concurrent(Concurrent::Validate {
                table: table.clone(),
                name: name.to_owned(),
                referenced: referenced.cloned(),
            }),
            Undo::Nothing,
        );
    }

    /// Adds a foreign key at contract, for new rows first, and proves it.
    pub fn add_foreign_key(
        &mut self,
        table: &TableName,
        constraint: Constraint,
        referenced: &TableName,
    ) {
        let name = constraint.name.clone();
        self.ddl(
            Phase::Contract,
            format!("add foreign key {name} from {table} to {referenced}"),
            Change::AddConstraint {
                table: table.clone(),
                constraint: Constraint {
                    validated: false,
                    ..constraint
                },
                using_index: None,
            },
            vec![Change::DropConstraint {
                table: table.clone(),
                name: name.clone(),
                referenced: Some(referenced.clone()),
            }],
        );
        let step = format!("validate foreign key {name} of {table}");
        self.validate(step, table, &name, Some(referenced));
    }
}
