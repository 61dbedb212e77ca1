//! `replace_view`: gives a view another query.
//!
//! The phases, the locks and the way back are told in `doc.md`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Table;
use crate::lower::{Asking, Lower, Lowering, ddl, hanging_on};
use crate::object::{Object, ObjectChange, ObjectFacts, RelationKind};
use crate::ops::common::TableRef;
use crate::plan::{Declare, Mentions};
use crate::step::{Change, Phase, Undo};

/// Gives a view another query.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReplaceView {
    /// The view: `name` or `schema.name`.
    pub name: TableRef,
    /// One SELECT.
    #[schemars(extend("format" = "sql-query"))]
    pub query: String,
    /// When: `expand` (default), or `contract`, in the cutover.
    #[serde(default)]
    pub phase: When,
}

/// When a view is replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// While both versions run.
    #[default]
    Expand,
    /// Once old versions are gone.
    Contract,
}

type Columns = Vec<(String, String)>;

impl ReplaceView {
    fn create(
        &self,
        name: &crate::name::TableName,
        facts: &ObjectFacts,
        schema: &str,
        more_columns: Columns,
    ) -> ObjectChange {
        ObjectChange::CreateView {
            name: name.clone(),
            query: self.query.clone(),
            schema: Some(schema.to_owned()),
            options: facts.options.clone(),
            replace: true,
            more_columns,
            owner: None,
        }
    }

    /// The columns that the new query has besides; PostgreSQL lets a view
    /// keep its columns and get more at the end, and nothing else.
    fn more(
        &self,
        lowering: &mut Lowering<'_>,
        view: &Table,
        columns: &Columns,
    ) -> Option<Columns> {
        for (place, present) in view.columns.iter().enumerate() {
            let (name, type_name) = (&present.def.name, &present.def.type_name);
            let problem = match columns.get(place) {
                None => format!("the new query has no column `{name}`"),
                Some((new, _)) if new != name => {
                    format!(
                        "column {} is called `{name}`, and `{new}` in the new query",
                        place + 1
                    )
                }
                Some((_, new)) if new != type_name => {
                    format!("column `{name}` is of type {type_name}, and {new} in the new query")
                }
                Some(_) => continue,
            };
            lowering.unsafe_(
                format!("view {} cannot be replaced: {problem}", view.name),
                "A view keeps its columns and may get more at the end. Create one of another name, let versions move to it, and drop this one with `drop_view`.",
            );
            return None;
        }
        Some(
            columns
                .get(view.columns.len()..)
                .unwrap_or_default()
                .to_vec(),
        )
    }

    /// A view that got more columns goes back by being made anew, with all
    /// that hung on it.
    fn anew(
        lowering: &mut Lowering<'_>,
        view: &Table,
        facts: &ObjectFacts,
        old: ObjectChange,
    ) -> Vec<Change> {
        for dependent in hanging_on(view) {
            lowering.unsafe_(
                format!("view {} gets more columns, and {} depends on it: rollback could not take the columns away again", view.name, dependent.name),
                "Write `phase: contract`, or create a view of another name.",
            );
        }
        if !view.triggers.is_empty()
            || view
                .columns
                .iter()
                .any(|column| column.def.default.is_some())
        {
            lowering.unsafe_(
                format!("view {} gets more columns, and has triggers or defaults of its own, which rollback could not carry over", view.name),
                "Write `phase: contract`, or create a view of another name.",
            );
        }
        let object = |what| Change::Object { what };
        let relation = Object::Relation {
            name: view.name.clone(),
            kind: RelationKind::View,
        };
        let mut back = vec![
            object(ObjectChange::DropView {
                name: view.name.clone(),
            }),
            object(old),
        ];
        if facts.comment.is_some() {
            back.push(object(ObjectChange::Comment {
                on: relation.clone(),
                comment: facts.comment.clone(),
            }));
        }
        back.extend(view.grants.iter().map(|grant| {
            object(ObjectChange::Grant {
                on: relation.clone(),
                grant: grant.clone(),
            })
        }));
        for column in &view.columns {
            if column.def.comment.is_some() {
                back.push(Change::CommentOnColumn {
                    table: view.name.clone(),
                    column: column.def.name.clone(),
                    comment: column.def.comment.clone(),
                });
            }
            back.extend(column.grants.iter().map(|grant| Change::GrantColumn {
                table: view.name.clone(),
                column: column.def.name.clone(),
                grant: grant.clone(),
            }));
        }
        back
    }
}

impl Declare for ReplaceView {
    fn declare(&self, to: &mut Mentions<'_>) {
        to.relation(to.resolve(&self.name), &["name"]);
    }
}

impl Lower for ReplaceView {
    fn ask(&self, asking: &mut Asking<'_>) {
        let name = asking.table(&self.name);
        asking.view(&self.query);
        asking.object(Object::Relation {
            name,
            kind: RelationKind::View,
        });
    }

    fn lower(&self, lowering: &mut Lowering<'_>) {
        let name = lowering.name(&self.name);
        let object = Object::Relation {
            name: name.clone(),
            kind: RelationKind::View,
        };
        let Some(facts) = lowering.owned_object(&object).cloned() else {
            return;
        };
        let Some(view) = lowering.catalog().tables.get(&name).cloned() else {
            return;
        };
        let columns = lowering.view_columns(&name, &self.query);
        let more = match &columns {
            Some(columns) => match self.more(lowering, &view, columns) {
                Some(more) => Some(more),
                None => return,
            },
            None => None,
        };
        let schema = lowering.schema().to_owned();
        let new = self.create(&name, &facts, &schema, more.clone().unwrap_or_default());
        if self.phase == When::Contract {
            lowering.cutover(Change::Object { what: new });
            return;
        }
        let (Some(more), Some(definition)) = (more, facts.definition.clone()) else {
            lowering.unsafe_(
                format!("the new query of view {name} reads what the plan only adds, so nobody can say now how to take it back"),
                "Write `phase: contract`, or replace the view in a later plan.",
            );
            return;
        };
        let old = ObjectChange::CreateView {
            name: name.clone(),
            query: definition,
            schema: None,
            options: facts.options.clone(),
            replace: more.is_empty(),
            more_columns: Vec::new(),
            owner: Some(facts.owner.clone()).filter(|_| !more.is_empty()),
        };
        let back = match more.as_slice() {
            [] => vec![Change::Object { what: old }],
            _ => Self::anew(lowering, &view, &facts, old),
        };
        lowering.step(
            Phase::Expand,
            format!("replace view {name}"),
            ddl(vec![Change::Object { what: new }]),
            Undo::Steps {
                actions: vec![ddl(back)],
            },
        );
    }
}
