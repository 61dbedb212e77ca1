//! Virtual generated columns that read a replaced column: added to the copy
//! over the new type, and read back when the new column has its last name.

use pontoon_core::catalog::{Column, Computed, DependentKind, ServerMessage, Tried};
use pontoon_core::sql::postgres::change;
use pontoon_core::step::Change;

use super::InspectError;
use super::replacements::Trial;

/// What was found before the copy was made, and what came of the attempt.
pub(super) struct Trying {
    name: String,
    add: Vec<String>,
    unchanged: String,
    tried: Result<(), ServerMessage>,
}

impl Trial<'_> {
    /// Before the copy is made.
    pub(super) async fn computed(&self) -> Result<Vec<Trying>, InspectError> {
        let is_virtual =
            |column: &&Column| (column.def.generated.as_ref()).is_some_and(|found| !found.stored);
        let reads =
            |column: &&Column| self.hangs_here(&[DependentKind::GeneratedColumn], &column.def.name);
        let mut found = Vec::new();
        for column in self.table.columns.iter().filter(is_virtual).filter(reads) {
            // On the copy it is a plain column at first.
            let add = [
                Change::DropColumn {
                    table: self.copy(),
                    column: column.def.name.clone(),
                },
                Change::AddColumn {
                    table: self.copy(),
                    column: column.def.clone(),
                },
            ];
            found.push(Trying {
                name: column.def.name.clone(),
                add: add
                    .iter()
                    .flat_map(|change| change::render(change, ""))
                    .collect(),
                unchanged: self.unchanged(&column.def.name).await?,
                tried: Ok(()),
            });
        }
        Ok(found)
    }

    /// On the copy, which has the new type under the old name.
    pub(super) async fn try_computed(
        &self,
        mut all: Vec<Trying>,
    ) -> Result<Vec<Trying>, InspectError> {
        for trying in &mut all {
            trying.tried = self.attempt(&trying.add.join(";\n")).await?;
        }
        Ok(all)
    }

    /// Once the copy's column bears its last name.
    pub(super) async fn read_computed(
        &self,
        all: Vec<Trying>,
    ) -> Result<Vec<Tried<Computed>>, InspectError> {
        if all.is_empty() {
            return Ok(Vec::new());
        }
        let columns = self.columns_of_copy().await?;
        let read = |trying: Trying| {
            let result = match trying.tried {
                Ok(()) => {
                    let added = columns.iter().find(|column| column.name == trying.name);
                    let expression = added.and_then(|column| column.default.clone());
                    Ok(Computed {
                        expression: expression.ok_or(InspectError::Incomplete {
                            what: "what is computed from a column",
                        })?,
                        unchanged: trying.unchanged,
                    })
                }
                Err(said) => Err(said),
            };
            Ok(Tried {
                name: trying.name,
                result,
            })
        };
        all.into_iter().map(read).collect()
    }
}
