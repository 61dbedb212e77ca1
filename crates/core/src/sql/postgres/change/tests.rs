use super::*;
use crate::catalog::{Column, ReplicaIdentity, RowSecurity, Table, TableKind, TableSize};
use crate::expr::{Expr, Volatility};
use crate::object::{Object, ObjectChange, RelationKind, TableSetting};

fn users() -> TableName {
    TableName::new("public", "users")
}

fn column(name: &str, type_name: &str) -> ColumnDef {
    ColumnDef {
        name: name.into(),
        type_name: type_name.into(),
        collation: None,
        nullable: true,
        default: None,
        identity: None,
        generated: None,
        comment: None,
    }
}

fn constraint(name: &str, kind: ConstraintKind) -> Constraint {
    Constraint {
        name: name.into(),
        kind,
        validated: false,
        deferrable: None,
        definition: String::new(),
    }
}

fn foreign_key() -> ConstraintKind {
    ConstraintKind::ForeignKey {
        columns: vec!["customer".into()],
        references: TableName::new("app", "customers"),
        referenced_columns: vec!["id".into()],
        on_delete: ReferentialAction::Cascade,
        on_update: ReferentialAction::NoAction,
        match_full: false,
    }
}

fn index() -> Index {
    Index {
        name: "users_email_idx".into(),
        method: "btree".into(),
        unique: true,
        nulls_not_distinct: false,
        keys: vec![
            IndexKey {
                column: None,
                expression: Some("lower(email)".into()),
                opclass: Some("text_pattern_ops".into()),
                collation: Some("C".into()),
                descending: true,
                nulls_first: false,
            },
            IndexKey {
                column: Some("Tenant".into()),
                expression: None,
                opclass: None,
                collation: None,
                descending: false,
                nulls_first: false,
            },
        ],
        include: vec!["id".into()],
        predicate: Some("deleted_at IS NULL".into()),
        valid: true,
        constraint: None,
        definition: String::new(),
        settings: Default::default(),
    }
}

#[test]
fn every_change_as_statements() {
    let add = |constraint: Constraint, using_index: Option<&str>| Change::AddConstraint {
        table: users(),
        constraint,
        using_index: using_index.map(str::to_owned),
    };
    let mut positive = column("balance", "numeric(10,2)");
    positive.nullable = false;
    positive.default = Some(Expr {
        template: "0".into(),
        columns: vec![],
        volatility: Volatility::Immutable,
    });
    positive.comment = Some("in euros, the customer's".into());
    let set = |setting| Change::SetTable {
        table: users(),
        setting,
    };
    let comment = |on| Change::Object {
        what: ObjectChange::Comment {
            on,
            comment: Some("the \\ user's".into()),
        },
    };
    let mut deferred = constraint("users_customer_fkey", foreign_key());
    deferred.deferrable = Some(Deferrable::InitiallyDeferred);
    let changes = vec![
        Change::DropTable {
            table: users(),
            related: vec![],
        },
        Change::AddColumn {
            table: users(),
            column: positive,
        },
        Change::DropColumn {
            table: users(),
            column: "E-mail".into(),
        },
        Change::RenameColumn {
            table: users(),
            from: "a".into(),
            to: "b".into(),
        },
        Change::SetDefault {
            table: users(),
            column: "a".into(),
            default: Some("'x'::text".into()),
        },
        Change::SetDefault {
            table: users(),
            column: "a".into(),
            default: None,
        },
        Change::SetNotNull {
            table: users(),
            column: "a".into(),
        },
        Change::DropNotNull {
            table: users(),
            column: "a".into(),
        },
        add(
            constraint(
                "users_age_check",
                ConstraintKind::Check {
                    expression: "age >= 0".into(),
                    columns: vec!["age".into()],
                },
            ),
            None,
        ),
        add(deferred, None),
        add(
            constraint(
                "users_email_key",
                ConstraintKind::Unique {
                    columns: vec!["email".into()],
                },
            ),
            Some("users_email_key"),
        ),
        Change::DropConstraint {
            table: users(),
            name: "users_age_check".into(),
            referenced: None,
        },
        Change::CommentOnColumn {
            table: users(),
            column: "a".into(),
            comment: None,
        },
        Change::GrantColumn {
            table: users(),
            column: "a".into(),
            grant: Grant {
                grantee: Some("App role".into()),
                privilege: "UPDATE".into(),
                grantable: true,
            },
        },
        Change::GrantColumn {
            table: users(),
            column: "a".into(),
            grant: Grant {
                grantee: None,
                privilege: "SELECT".into(),
                grantable: false,
            },
        },
        set(TableSetting::Statistics {
            column: "a".into(),
            target: -1,
        }),
        set(TableSetting::Identity {
            column: "a".into(),
            identity: crate::catalog::Identity::Always,
            takes_over: Some(crate::object::TakenOver {
                name: TableName::new("public", "users_a_seq"),
                aside: "_pontoon_1_sequence".into(),
                counts: crate::object::Counting {
                    start: 1,
                    increment: 5,
                    min: 1,
                    max: 2_147_483_647,
                    cache: 3,
                    cycle: true,
                },
                comment: Some("counts".into()),
                grants: vec![Grant {
                    grantee: None,
                    privilege: "USAGE".into(),
                    grantable: false,
                }],
            }),
            start: Some(7),
            above: true,
        }),
        set(TableSetting::Storage {
            column: "a".into(),
            storage: crate::object::ColumnStorage::External,
            type_default: crate::object::ColumnStorage::Extended,
        }),
        set(TableSetting::Compression {
            column: "a".into(),
            method: None,
        }),
        set(TableSetting::Options {
            set: vec![
                ("fillfactor".into(), "70".into()),
                ("toast.autovacuum_enabled".into(), "it's".into()),
            ],
            reset: vec!["parallel_workers".into()],
        }),
        set(TableSetting::Rename {
            to: "B \"b\"".into(),
            tree: true,
        }),
        set(TableSetting::RenameConstraint {
            from: "a".into(),
            to: "B \"b\"".into(),
            inherited: false,
        }),
        comment(Object::Relation {
            name: users(),
            kind: RelationKind::MaterializedView,
        }),
        comment(Object::Trigger {
            table: users(),
            name: "T".into(),
        }),
        comment(Object::Schema { name: "S".into() }),
    ];
    let statements: Vec<String> = changes
        .iter()
        .flat_map(|change| render(change, "7f3a"))
        .collect();
    insta::assert_snapshot!(statements.join(";\n"));
}

#[test]
fn indexes_are_built_under_another_name() {
    let name = build_name("7f3a", 4, 2);
    assert_eq!(
        create_index_concurrently(&users(), &index(), &name),
        "CREATE UNIQUE INDEX CONCURRENTLY \"_pontoon_7f3a_4_2\" ON \"public\".\"users\" \
         USING \"btree\" ((lower(email)) COLLATE \"C\" \"text_pattern_ops\" DESC NULLS LAST, \
         \"Tenant\") INCLUDE (\"id\") WHERE (deleted_at IS NULL)"
    );
    assert_eq!(
        rename_index("public", &name, "users_email_idx"),
        "ALTER INDEX \"public\".\"_pontoon_7f3a_4_2\" RENAME TO \"users_email_idx\""
    );
}

#[test]
fn a_whole_table() {
    let in_table = |def: ColumnDef| Column {
        base_type: def.type_name.clone(),
        def,
        position: 1,
        not_null_domain: false,
        type_default: false,
        settings: vec![],
        grants: vec![],
        dependents: vec![],
    };
    let mut id = column("id", "bigint");
    id.identity = Some(Identity::Always);
    id.nullable = false;
    let mut tenant = column("Tenant", "text");
    tenant.collation = Some("C".into());
    tenant.comment = Some("who pays".into());
    let mut tenant = in_table(tenant);
    tenant.settings = vec!["SET STATISTICS 500".into()];
    let table = Table {
        name: users(),
        oid: 0,
        kind: TableKind::Ordinary,
        unlogged: false,
        owner: String::new(),
        owned_by_us: true,
        columns: vec![in_table(id), tenant, in_table(column("customer", "bigint"))],
        constraints: vec![
            constraint(
                "users_pkey",
                ConstraintKind::PrimaryKey {
                    columns: vec!["id".into(), "Tenant".into()],
                },
            ),
            Constraint {
                validated: true,
                ..constraint("users_customer_fkey", foreign_key())
            },
        ],
        indexes: vec![index()],
        triggers: vec![],
        row_security: RowSecurity {
            enabled: true,
            ..RowSecurity::default()
        },
        publications: vec![],
        replica_identity: ReplicaIdentity::Full,
        partitioning: None,
        children: vec![],
        parents: vec![],
        dependents: vec![],
        referenced_by: vec![],
        comment: Some("people".into()),
        grants: vec![Grant {
            grantee: Some("app".into()),
            privilege: "SELECT".into(),
            grantable: false,
        }],
        size: TableSize::default(),
    };
    let statements = render(
        &Change::CreateTable {
            table: Box::new(table),
        },
        "7f3a",
    );
    insta::assert_snapshot!(statements.join(";\n"));
}
