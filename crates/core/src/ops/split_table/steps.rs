//! The steps of a split, once nothing is refused.

use crate::catalog::{
    Column, ColumnDef, Constraint, ConstraintKind, ReferentialAction, Table, TableKind,
};
use crate::expr::{Expr, Volatility};
use crate::lower::{Lowering, cut, ddl, rights_on_view};
use crate::name::TableName;
use crate::object::{ObjectChange, TableSetting, WriteThrough};
use crate::ops::moving::bare;
use crate::sql::postgres::change::view_query;
use crate::sql::quote::{quote_ident, quote_list, quote_table};
use crate::step::{
    Action, Change, Concurrent, LockMode, MappedColumn, Mapping, Phase, Rule, Twin, Undo, Verify,
};

use super::carried::Carried;

/// What is known by then.
pub(super) struct Split<'a> {
    pub(super) table: &'a Table,
    /// The view until contract, the new table afterwards.
    pub(super) into: &'a TableName,
    /// The new table until contract.
    pub(super) copy: &'a TableName,
    /// The column that says that a row has its copy.
    pub(super) mark: String,
    pub(super) key: Vec<MappedColumn>,
    pub(super) moved: Vec<MappedColumn>,
    pub(super) primary_key: String,
    pub(super) foreign_key: String,
    /// A NOT NULL has a name, which would else be that of the table of ours.
    pub(super) names_not_null: bool,
}

/// The first version in which a NOT NULL has a name.
pub(super) const NAMED_NOT_NULL_SINCE: u32 = 180_000;

impl Split<'_> {
    pub(super) fn expand(
        &self,
        lowering: &mut Lowering<'_>,
        key: &[Column],
        moved: &[Column],
        carried: &Carried,
    ) {
        let table = &self.table.name;
        lowering.ddl(
            Phase::Expand,
            format!("create the table that becomes {}", self.into),
            Change::CreateTable {
                table: Box::new(self.new_table(key, moved, carried)),
            },
            vec![Change::DropTable {
                table: self.copy.clone(),
                related: Vec::new(),
            }],
        );
        lowering.ddl(
            Phase::Expand,
            format!("add a mark for copied rows to {table}"),
            Change::AddColumn {
                table: table.clone(),
                column: ColumnDef::new(&self.mark, "boolean"),
            },
            vec![Change::DropColumn {
                table: table.clone(),
                column: self.mark.clone(),
            }],
        );
        let object = |what| Change::Object { what };
        // What an index or a CHECK calls may look for things along a search path
        // that triggers of ours do not have: better here than in every write.
        let (from, to) = (quote_table(table), quote_table(self.copy));
        let columns = self.key.iter().chain(&self.moved);
        let columns = quote_list(columns.map(|column| column.name.as_str()));
        lowering.step(
            Phase::Expand,
            format!("copy one row of {table} on trial"),
            ddl(vec![object(ObjectChange::Rehang {
                statements: vec![
                    format!(
                        "INSERT INTO {to} ({columns})\nSELECT {columns} FROM ONLY {from} LIMIT 1"
                    ),
                    format!("DELETE FROM ONLY {to}"),
                ],
                locks: vec![(table.clone(), LockMode::AccessShare)],
                off: Vec::new(),
                on: Vec::new(),
            })]),
            Undo::Nothing,
        );
        let mut changes = vec![
            object(ObjectChange::CreateView {
                name: self.into.clone(),
                query: view_query(table, &self.key, &self.moved),
                schema: None,
                options: Vec::new(),
                replace: false,
                more_columns: Vec::new(),
                owner: Some(self.table.owner.clone()),
            }),
            object(ObjectChange::WriteThrough {
                through: WriteThrough {
                    view: self.into.clone(),
                    table: table.clone(),
                    key: self.key.clone(),
                    columns: self.moved.clone(),
                    required: moved
                        .iter()
                        .filter(|column| !column.def.nullable || column.not_null_domain)
                        .map(|column| column.def.name.clone())
                        .collect(),
                    constraints: (self.foreign_key.clone(), self.primary_key.clone()),
                },
            }),
        ];
        changes.extend(rights_on_view(
            self.table,
            key.iter().chain(moved),
            self.into,
        ));
        lowering.step(
            Phase::Expand,
            format!("make {} a view of {table}", self.into),
            ddl(changes),
            Undo::Steps {
                actions: vec![ddl(self.drop_view())],
            },
        );
    }

    fn drop_view(&self) -> Vec<Change> {
        let object = |what| Change::Object { what };
        vec![
            object(ObjectChange::DropView {
                name: self.into.clone(),
            }),
            object(ObjectChange::DropWriteThrough {
                view: self.into.clone(),
            }),
        ]
    }

    fn new_table(&self, key: &[Column], moved: &[Column], carried: &Carried) -> Table {
        let kept = key.iter().map(|column| Column {
            def: ColumnDef {
                default: None,
                identity: None,
                comment: None,
                ..column.def.clone()
            },
            ..bare(column)
        });
        let mut constraints = vec![Constraint {
            name: self.primary_key.clone(),
            kind: ConstraintKind::PrimaryKey {
                columns: self.key.iter().map(|c| c.name.clone()).collect(),
            },
            validated: true,
            deferrable: None,
            definition: String::new(),
        }];
        constraints.extend(carried.checks.iter().cloned());
        if self.names_not_null {
            let required = key.iter().chain(moved).filter(|c| !c.def.nullable);
            constraints.extend(required.map(|column| {
                let name = &column.def.name;
                Constraint {
                    name: cut(&format!("{}_{name}", self.into.name), "_not_null"),
                    kind: ConstraintKind::Other { contype: 'n' },
                    validated: true,
                    deferrable: None,
                    definition: format!("NOT NULL {}", quote_ident(name)),
                }
            }));
        }
        Table {
            owner: self.table.owner.clone(),
            columns: kept.chain(moved.iter().map(bare)).collect(),
            constraints,
            indexes: carried.indexes.iter().map(|i| i.built.clone()).collect(),
            ..Table::to_come(self.copy.clone(), TableKind::Ordinary)
        }
    }

    /// The mark with its triggers, the batches that set it, and both proofs.
    pub(super) fn fill(&self, lowering: &mut Lowering<'_>) {
        let twin = |table: &TableName| {
            Box::new(Twin {
                table: table.clone(),
                key: self.key.clone(),
                columns: self.moved.clone(),
            })
        };
        let mapping = |new, up, twin, required| Mapping {
            operation: lowering.operation(),
            old: Vec::new(),
            new,
            rule: Rule::Copied { up, twin },
            required,
            back: None,
        };
        let mark = MappedColumn {
            name: self.mark.clone(),
            type_name: "boolean".to_owned(),
            default: None,
        };
        let yes = Expr {
            template: "true".to_owned(),
            columns: Vec::new(),
            volatility: Volatility::Immutable,
        };
        let forth = mapping(vec![mark], vec![yes], twin(self.copy), true);
        let back = mapping(Vec::new(), Vec::new(), twin(&self.table.name), false);
        lowering.mapping(self.table, forth);
        lowering.step(
            Phase::Verify,
            format!("verify that no row of {} is one too many", self.into),
            Action::Verify(Verify {
                table: self.copy.clone(),
                mappings: vec![back],
            }),
            Undo::Nothing,
        );
    }

    pub(super) fn contract(&self, lowering: &mut Lowering<'_>, carried: Carried) {
        let names = || self.key.iter().map(|c| c.name.clone()).collect::<Vec<_>>();
        lowering.add_foreign_key(
            self.copy,
            Constraint {
                name: self.foreign_key.clone(),
                kind: ConstraintKind::ForeignKey {
                    columns: names(),
                    references: self.table.name.clone(),
                    referenced_columns: names(),
                    on_delete: ReferentialAction::Cascade,
                    on_update: ReferentialAction::Cascade,
                    match_full: false,
                },
                validated: false,
                deferrable: None,
                definition: String::new(),
            },
            &self.table.name,
        );
        for (constraint, referenced) in &carried.foreign_keys {
            lowering.add_foreign_key(self.copy, constraint.clone(), referenced);
        }
        lowering.step(
            Phase::Contract,
            format!("gather statistics of what becomes {}", self.into),
            Action::Concurrent(Concurrent::Analyze {
                table: self.copy.clone(),
            }),
            Undo::Nothing,
        );
        // Whoever may use the view by then, and nobody else.
        lowering.cutover(Change::Object {
            what: ObjectChange::HandOver {
                view: self.into.clone(),
                table: self.copy.clone(),
            },
        });
        for change in self.drop_view() {
            lowering.cutover(change);
        }
        let gone = self.moved.iter().map(|column| &column.name);
        for column in gone.chain([&self.mark]) {
            lowering.cutover(Change::DropColumn {
                table: self.table.name.clone(),
                column: column.clone(),
            });
        }
        for change in carried.settle(self.copy) {
            lowering.cutover(change);
        }
        lowering.cutover(Change::SetTable {
            table: self.copy.clone(),
            setting: TableSetting::Rename {
                to: self.into.name.clone(),
                tree: false,
            },
        });
    }

    pub(super) fn tell(&self, lowering: &mut Lowering<'_>) {
        let (into, table) = (self.into, &self.table.name);
        lowering.note(format!(
            "Until contract, {into} is a view of {table}: reads, UPDATE, INSERT (for a row of {table} that holds nothing of it yet), DELETE, \
             RETURNING, COPY FROM and SELECT … FOR UPDATE work; ON CONFLICT, MERGE, TRUNCATE, an UPDATE of the key and foreign keys to it do not."
        ));
        lowering.note(format!(
            "At contract each row of {table} has one row in {into}, be it empty. From then on an INSERT into {table} makes none: new versions insert both, in one transaction."
        ));
        let triggers: Vec<&str> = self
            .table
            .triggers
            .iter()
            .filter(|trigger| trigger.row && !trigger.ours)
            .map(|trigger| trigger.name.as_str())
            .collect();
        if !triggers.is_empty() {
            lowering.note(format!(
                "What functions of triggers read is not seen: those of {} must not name what moves when contract ends.",
                triggers.join(", ")
            ));
        }
    }
}
