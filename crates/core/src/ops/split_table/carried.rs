//! What hangs on the columns that move: what goes along, and what cannot.

use std::collections::BTreeSet;

use crate::catalog::{
    Column, Constraint, ConstraintKind, Dependent, DependentKind, Index, ReferentialAction, Table,
};
use crate::lower::{Lowering, index_statistics, is_unusual};
use crate::name::TableName;
use crate::object::{Object, ObjectChange, RelationKind, TableSetting};
use crate::ops::moving::TWO_PLANS;
use crate::step::Change;

/// What the new table has of the old one.
#[derive(Default)]
pub(super) struct Carried {
    pub(super) checks: Vec<Constraint>,
    /// Each with the table that it refers to.
    pub(super) foreign_keys: Vec<(Constraint, TableName)>,
    pub(super) indexes: Vec<CarriedIndex>,
    /// Of constraints and indexes, by their last names.
    comments: Vec<(Comment, String)>,
}

/// On what a comment stands.
enum Comment {
    Index(String),
    Constraint(String),
}

/// An index of the new table, which has a name of ours until the old one goes.
pub(super) struct CarriedIndex {
    pub(super) built: Index,
    old: Index,
    /// The unique constraint that it bears.
    constraint: Option<Constraint>,
}

/// Things whose comments have to be known.
pub(super) fn commented(table: &Table, moved: &[String]) -> Vec<Object> {
    let mut found = BTreeSet::new();
    for column in table.columns.iter().filter(|c| moved.contains(&c.def.name)) {
        for dependent in &column.dependents {
            match dependent.kind {
                DependentKind::Index => {
                    found.insert(index(table, &dependent.name));
                }
                DependentKind::Unique => {
                    found.insert(index(table, &dependent.name));
                    found.insert(constraint(table, &dependent.name));
                }
                DependentKind::Check | DependentKind::ForeignKey => {
                    found.insert(constraint(table, &dependent.name));
                }
                _ => {}
            }
        }
    }
    found.into_iter().collect()
}

fn index(table: &Table, name: &str) -> Object {
    Object::Relation {
        name: TableName::new(&table.name.schema, name),
        kind: RelationKind::Index,
    }
}

fn constraint(table: &Table, name: &str) -> Object {
    Object::Constraint {
        table: table.name.clone(),
        name: name.to_owned(),
    }
}

impl Carried {
    /// What goes along with these columns; the rest is refused by name.
    pub(super) fn of(
        lowering: &mut Lowering<'_>,
        table: &Table,
        key: &[Column],
        moved: &[Column],
    ) -> Self {
        let mut carried = Self::default();
        let dependents: BTreeSet<&Dependent> =
            moved.iter().flat_map(|column| &column.dependents).collect();
        for dependent in dependents {
            let on: Vec<&str> = table
                .columns
                .iter()
                .filter(|column| column.dependents.contains(dependent))
                .map(|column| column.def.name.as_str())
                .collect();
            let goes = |name: &&&str| {
                let mut both = key.iter().chain(moved);
                !both.any(|column| column.def.name == **name)
            };
            let stays: Vec<&str> = on.iter().filter(goes).copied().collect();
            let here = Here {
                table,
                key,
                dependent,
            };
            if lowering.named_by_plan(&table.name, &dependent.name) {
                lowering.invalid(
                    format!(
                        "cannot split {}: another operation of the plan concerns {}, too",
                        table.name, dependent.name
                    ),
                    TWO_PLANS,
                );
            }
            match dependent.kind {
                DependentKind::Index
                | DependentKind::Unique
                | DependentKind::Check
                | DependentKind::ForeignKey
                    if !stays.is_empty() =>
                {
                    lowering.unsafe_(
                        format!(
                            "cannot split {}: {} reads columns that move and {}, which stays",
                            table.name,
                            dependent.name,
                            stays.join(", ")
                        ),
                        "Drop it in an earlier plan, or move all of its columns.",
                    );
                }
                DependentKind::Index => carried.index(lowering, &here),
                DependentKind::Unique => carried.unique(lowering, &here),
                DependentKind::Check => carried.check(lowering, &here),
                DependentKind::ForeignKey => carried.foreign_key(lowering, &here),
                // Said of the column itself.
                DependentKind::PrimaryKey => {}
                DependentKind::Exclusion
                | DependentKind::ReferencedByForeignKey
                | DependentKind::View
                | DependentKind::MaterializedView
                | DependentKind::Rule
                | DependentKind::Policy
                | DependentKind::TriggerColumns
                | DependentKind::TriggerWhen
                | DependentKind::GeneratedColumn
                | DependentKind::OwnedSequence
                | DependentKind::ExtendedStatistics
                | DependentKind::Function
                | DependentKind::PublicationColumns
                | DependentKind::PublicationFilter
                | DependentKind::ReplicaIdentity
                | DependentKind::PartitionKey
                | DependentKind::InheritedColumn
                | DependentKind::RowType
                | DependentKind::Unknown { .. } => {
                    let what = format!("{} ({})", table.name, on.join(", "));
                    lowering.refuse_dependents(&what, std::slice::from_ref(dependent), "split");
                }
            }
        }
        carried
    }

    fn comment(&mut self, lowering: &Lowering<'_>, here: &Here<'_>, on: Comment) {
        let object = match &on {
            Comment::Index(name) => index(here.table, name),
            Comment::Constraint(name) => constraint(here.table, name),
        };
        let facts = lowering.object(&object);
        if let Some(text) = facts.and_then(|facts| facts.comment.clone()) {
            self.comments.push((on, text));
        }
    }

    fn index(&mut self, lowering: &mut Lowering<'_>, here: &Here<'_>) {
        let name = &here.dependent.name;
        let found = here.table.indexes.iter().find(|index| index.name == *name);
        let Some(old) = found else { return };
        self.build(lowering, here, old, None);
        self.comment(lowering, here, Comment::Index(name.clone()));
    }

    fn build(
        &mut self,
        lowering: &mut Lowering<'_>,
        here: &Here<'_>,
        old: &Index,
        constraint: Option<Constraint>,
    ) {
        if !old.valid {
            lowering.unsafe_(
                format!(
                    "cannot split {}: index {} is INVALID",
                    here.table.name, old.name
                ),
                "Reindex or drop it first.",
            );
        }
        let name = lowering.artifact(&format!("index_{}", self.indexes.len() + 1));
        let built = old.anew(&name, old);
        self.indexes.push(CarriedIndex {
            built,
            old: old.clone(),
            constraint,
        });
    }

    fn unique(&mut self, lowering: &mut Lowering<'_>, here: &Here<'_>) {
        let Some(constraint) = here.constraint() else {
            return;
        };
        let name = &constraint.name;
        if constraint.deferrable.is_some() {
            lowering.unsafe_(
                format!("cannot split {}: unique constraint {name} is deferrable, and its copy could not wait", here.table.name),
                "Drop it in an earlier plan, and add it to the new table afterwards.",
            );
        }
        let mut indexes = here.table.indexes.iter();
        let Some(old) = indexes.find(|index| index.constraint.as_ref() == Some(name)) else {
            return;
        };
        self.build(lowering, here, old, Some(constraint.clone()));
        self.comment(lowering, here, Comment::Index(name.clone()));
        self.comment(lowering, here, Comment::Constraint(name.clone()));
    }

    fn check(&mut self, lowering: &mut Lowering<'_>, here: &Here<'_>) {
        let Some(constraint) = here.constraint() else {
            return;
        };
        here.refuse_unproven(lowering, constraint);
        self.checks.push(constraint.clone());
        self.comment(lowering, here, Comment::Constraint(constraint.name.clone()));
    }

    fn foreign_key(&mut self, lowering: &mut Lowering<'_>, here: &Here<'_>) {
        let Some(constraint) = here.constraint() else {
            return;
        };
        let ConstraintKind::ForeignKey {
            columns,
            references,
            on_delete,
            on_update,
            ..
        } = &constraint.kind
        else {
            return;
        };
        here.refuse_unproven(lowering, constraint);
        let way_out = "Drop it in an earlier plan, and add it to the new table afterwards.";
        let what = format!(
            "cannot split {}: foreign key {}",
            here.table.name, constraint.name
        );
        if *on_delete == ReferentialAction::Cascade {
            lowering.unsafe_(
                format!("{what} deletes rows of {} (ON DELETE CASCADE), and would delete the moved half of them only", here.table.name),
                way_out,
            );
        }
        let acts = |action: &ReferentialAction| {
            !matches!(
                action,
                ReferentialAction::NoAction | ReferentialAction::Restrict
            )
        };
        let keyed = here
            .key
            .iter()
            .any(|column| columns.contains(&column.def.name));
        if keyed && (acts(on_delete) || acts(on_update)) {
            lowering.unsafe_(
                format!("{what} changes the key that both tables have"),
                way_out,
            );
        } else if acts(on_update) || acts(on_delete) && *on_delete != ReferentialAction::Cascade {
            // It would stand twice, and either of the two may act first: on the
            // copy before the row, against the order of every other write.
            lowering.unsafe_(
                format!("{what} sets columns when a referenced row goes or changes, and would lock a row of the new table before that of the old one while both have it"),
                way_out,
            );
        }
        if is_unusual(constraint) {
            lowering.unsafe_(
                format!("{what} acts on some of its columns only, and this version does not make it again"),
                way_out,
            );
        }
        self.foreign_keys.push((
            Constraint {
                definition: String::new(),
                ..constraint.clone()
            },
            references.clone(),
        ));
        self.comment(lowering, here, Comment::Constraint(constraint.name.clone()));
    }

    /// When the old columns are gone, and their names free.
    pub(super) fn settle(self, copy: &TableName) -> Vec<Change> {
        let mut changes = Vec::new();
        let object = |what| Change::Object { what };
        for CarriedIndex {
            built,
            old,
            constraint,
        } in self.indexes
        {
            match constraint {
                Some(constraint) => changes.push(Change::AddConstraint {
                    table: copy.clone(),
                    constraint,
                    using_index: Some(built.name),
                }),
                None => changes.push(object(ObjectChange::RenameIndex {
                    table: copy.clone(),
                    from: built.name,
                    to: old.name.clone(),
                })),
            }
            changes.extend(index_statistics(copy, &old.name, &old));
            if old.settings.clustered {
                changes.push(Change::SetTable {
                    table: copy.clone(),
                    setting: TableSetting::ClusterOn { index: old.name },
                });
            }
        }
        for (on, comment) in self.comments {
            let on = match on {
                Comment::Index(name) => Object::Relation {
                    name: TableName::new(&copy.schema, name),
                    kind: RelationKind::Index,
                },
                Comment::Constraint(name) => Object::Constraint {
                    table: copy.clone(),
                    name,
                },
            };
            changes.push(object(ObjectChange::Comment {
                on,
                comment: Some(comment),
            }));
        }
        changes
    }
}

/// One thing that hangs on columns that move.
struct Here<'a> {
    table: &'a Table,
    key: &'a [Column],
    dependent: &'a Dependent,
}

impl Here<'_> {
    fn constraint(&self) -> Option<&Constraint> {
        let mut constraints = self.table.constraints.iter();
        constraints.find(|constraint| constraint.name == self.dependent.name)
    }

    /// Rows that break it would fail to be copied.
    fn refuse_unproven(&self, lowering: &mut Lowering<'_>, constraint: &Constraint) {
        if !constraint.validated {
            lowering.unsafe_(
                format!(
                    "cannot split {}: constraint {} is NOT VALID, and holds for new rows only",
                    self.table.name, constraint.name
                ),
                "Validate it in an earlier plan (`validate_constraint`), or drop it.",
            );
        }
    }
}
