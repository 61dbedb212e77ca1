//! What `locks` says of a change is what the server takes, for every change
//! and action, on every version of `$PONTOON_TEST_VERSIONS`.
//!
//! A change runs in a transaction that is rolled back; before that, another
//! session reads from `pg_locks` which tables it holds, and how. Statements
//! that cannot be rolled back are watched while they wait for a row's writer.

use std::collections::BTreeMap;
use std::error::Error;
use std::time::Duration;

use pontoon_core::catalog::{
    Column, ColumnDef, Constraint, ConstraintKind, Grant, Identity, Index, IndexKey,
    ReferentialAction, ReplicaIdentity, RowSecurity, Table, TableKind, TableSize,
};
use pontoon_core::expr::{Expr, Volatility};
use pontoon_core::name::TableName;
use pontoon_core::object::{ColumnStorage, Object, ObjectChange, RelationKind, TableSetting};
use pontoon_core::sql::postgres::locks::{action_locks, locks, recurses};
use pontoon_core::sql::postgres::{change, texts};
use pontoon_core::step::{
    Action, Backfill, BackfillWork, Change, Concurrent, Conditions, LockMode, MappedColumn,
    Mapping, Phase, Rule, Step, Sync, Undo, Verify,
};
use pontoon_sandbox::{TestDatabase, test_versions};
use tokio_postgres::Client;

type Outcome<T = ()> = Result<T, Box<dyn Error>>;
type Held = BTreeMap<String, String>;

const SETUP: &str = "
    CREATE SCHEMA pontoon;
    CREATE ROLE reader_of_locks;
    CREATE TABLE parents (id int PRIMARY KEY);
    CREATE TABLE orders (id int PRIMARY KEY, parent int, filled int NOT NULL, a text, b text,
        CONSTRAINT orders_parent_fkey FOREIGN KEY (parent) REFERENCES parents,
        CONSTRAINT a_is_there CHECK (a IS NOT NULL),
        CONSTRAINT unproven CHECK (filled > 0) NOT VALID);
    CREATE UNIQUE INDEX orders_b_key ON orders (b);
    CREATE TABLE children (id int, order_id int REFERENCES orders);
    CREATE TABLE alone (id int);
    CREATE TABLE parts (id int, a text, b text) PARTITION BY RANGE (id);
    CREATE VIEW names AS SELECT 1 AS one;
    CREATE TYPE mood AS ENUM ('a');
    CREATE TABLE moods (mood mood DEFAULT 'a');
    ALTER TABLE parts ADD CONSTRAINT a_is_there CHECK (a IS NOT NULL);
    CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER nothing AFTER UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION nothing();
    CREATE TRIGGER nothing AFTER UPDATE ON parts FOR EACH ROW EXECUTE FUNCTION nothing();
    CREATE POLICY nobody ON orders USING (false);
    CREATE POLICY nobody ON parts USING (false);
    CREATE INDEX parts_old ON parts (a);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
    CREATE TABLE parts_rest PARTITION OF parts DEFAULT;
    INSERT INTO parents VALUES (1);
    INSERT INTO orders VALUES (1, 1, 1, 'x', 'y');";

fn public(name: &str) -> TableName {
    TableName::new("public", name)
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
        comment: Some("a comment".into()),
    }
}

fn column_setting(clause: &str) -> Change {
    Change::SetTable {
        table: public("orders"),
        setting: TableSetting::Column {
            column: "b".into(),
            clause: clause.into(),
        },
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

fn foreign_key(to: &str) -> Constraint {
    constraint(
        "new_fkey",
        ConstraintKind::ForeignKey {
            columns: vec!["id".into()],
            references: public(to),
            referenced_columns: vec!["id".into()],
            on_delete: ReferentialAction::NoAction,
            on_update: ReferentialAction::NoAction,
            match_full: false,
        },
    )
}

fn new_table() -> Table {
    Table {
        name: public("fresh"),
        oid: 0,
        kind: TableKind::Ordinary,
        unlogged: false,
        owner: String::new(),
        owned_by_us: true,
        columns: vec![Column {
            def: column("id", "integer"),
            position: 1,
            base_type: "integer".into(),
            not_null_domain: false,
            type_default: false,
            settings: vec![],
            grants: vec![],
            dependents: vec![],
        }],
        constraints: vec![Constraint {
            validated: true,
            ..foreign_key("parents")
        }],
        indexes: vec![],
        triggers: vec![],
        row_security: RowSecurity::default(),
        publications: vec![],
        replica_identity: ReplicaIdentity::Default,
        partitioning: None,
        children: vec![],
        parents: vec![],
        dependents: vec![],
        referenced_by: vec![],
        comment: None,
        grants: vec![],
        size: TableSize::default(),
    }
}

fn sync(table: &str) -> Sync {
    let mapped = |name: &str| MappedColumn {
        name: name.into(),
        type_name: "text".into(),
        default: None,
    };
    Sync {
        table: public(table),
        children: vec![],
        conditions: Conditions::InWhen,
        application_triggers: true,
        mappings: vec![Mapping {
            operation: 0,
            old: vec![mapped("a")],
            new: vec![mapped("b")],
            rule: Rule::Fill {
                up: vec![Expr {
                    template: "lower(pontoon_row.a)".into(),
                    columns: vec!["a".into()],
                    volatility: Volatility::Immutable,
                }],
            },
            required: false,
            back: None,
        }],
    }
}

fn object(what: ObjectChange) -> Change {
    Change::Object { what }
}

fn comment(on: Object) -> Change {
    object(ObjectChange::Comment {
        on,
        comment: Some("text".into()),
    })
}

fn right(name: TableName, revoke: bool) -> Change {
    let on = Object::Relation {
        name,
        kind: RelationKind::Table,
    };
    let grant = Grant {
        grantee: Some("reader_of_locks".into()),
        privilege: "SELECT".into(),
        grantable: false,
    };
    object(match revoke {
        true => ObjectChange::Revoke {
            on,
            column: None,
            grant,
        },
        false => ObjectChange::Grant { on, grant },
    })
}

/// GRANT and REVOKE, which lock the table only since 18.
fn is_right(change: &Change) -> bool {
    matches!(
        change,
        Change::GrantColumn { .. }
            | Change::Object {
                what: ObjectChange::Grant { .. } | ObjectChange::Revoke { .. }
            }
    )
}

/// Every kind of change; on `orders`, which has foreign keys both ways, and on
/// a partitioned table.
fn changes() -> Vec<Change> {
    let mut all = vec![
        Change::CreateTable {
            table: Box::new(new_table()),
        },
        Change::DropTable {
            table: public("alone"),
            related: vec![],
        },
        Change::DropTable {
            table: public("children"),
            related: vec![public("orders")],
        },
        Change::SetNotNull {
            table: public("orders"),
            column: "a".into(),
        },
        Change::DropNotNull {
            table: public("orders"),
            column: "filled".into(),
        },
        Change::AddConstraint {
            table: public("alone"),
            constraint: foreign_key("parents"),
            using_index: None,
        },
        Change::AddConstraint {
            table: public("orders"),
            constraint: constraint(
                "orders_b_key",
                ConstraintKind::Unique {
                    columns: vec!["b".into()],
                },
            ),
            using_index: Some("orders_b_key".into()),
        },
        Change::DropConstraint {
            table: public("orders"),
            name: "orders_parent_fkey".into(),
            referenced: Some(public("parents")),
        },
        Change::SetTable {
            table: public("orders"),
            setting: TableSetting::Options {
                set: [
                    "fillfactor",
                    "toast_tuple_target",
                    "parallel_workers",
                    "autovacuum_freeze_max_age",
                    "toast.autovacuum_vacuum_threshold",
                    "log_autovacuum_min_duration",
                ]
                .map(|name| {
                    (
                        name.into(),
                        if name.contains("age") {
                            "200000"
                        } else if name.contains("target") {
                            "200"
                        } else {
                            "50"
                        }
                        .into(),
                    )
                })
                .to_vec(),
                reset: vec!["autovacuum_enabled".into(), "vacuum_truncate".into()],
            },
        },
        Change::SetTable {
            table: public("orders"),
            setting: TableSetting::Identity {
                column: "id".into(),
                identity: Identity::Always,
                takes_over: None,
                start: Some(7),
                above: true,
            },
        },
        Change::SetTable {
            table: public("orders"),
            setting: TableSetting::Rename {
                to: "renamed".into(),
                tree: false,
            },
        },
        Change::SetTable {
            table: public("orders"),
            setting: TableSetting::RenameConstraint {
                from: "orders_parent_fkey".into(),
                to: "renamed".into(),
                inherited: false,
            },
        },
        Change::Object {
            what: ObjectChange::RenameIndex {
                table: public("orders"),
                from: "orders_b_key".into(),
                to: "renamed".into(),
            },
        },
        object(ObjectChange::DropIndexOverPartitions {
            table: public("parts"),
            index: pontoon_core::lower::plain_index("parts_old", &["a".to_owned()]),
        }),
        object(ObjectChange::IndexOverPartitions {
            table: public("parts"),
            index: pontoon_core::lower::plain_index("parts_new", &["id".to_owned()]),
        }),
        Change::Object {
            what: ObjectChange::RenameIndexColumn {
                table: public("orders"),
                index: "orders_b_key".into(),
                from: "b".into(),
                to: "renamed".into(),
            },
        },
        column_setting("SET STORAGE PLAIN"),
        column_setting("SET STATISTICS 7"),
        column_setting("SET (n_distinct = 7)"),
        Change::SetTable {
            table: public("orders"),
            setting: TableSetting::ClusterOn {
                index: "orders_b_key".into(),
            },
        },
        comment(Object::Relation {
            name: public("orders_b_key"),
            kind: RelationKind::Index,
        }),
        comment(Object::Relation {
            name: public("names"),
            kind: RelationKind::View,
        }),
        comment(Object::Schema {
            name: "pontoon".into(),
        }),
        object(ObjectChange::CreateSchema { name: "s".into() }),
        object(ObjectChange::CreateEnum {
            name: public("fresh_enum"),
            labels: vec!["a".into()],
            owner: None,
        }),
        object(ObjectChange::AddEnumValue {
            name: public("mood"),
            value: "new".into(),
            place: None,
        }),
        object(ObjectChange::RenameEnumValue {
            name: public("mood"),
            from: "a".into(),
            to: "b".into(),
        }),
        object(ObjectChange::CreateView {
            name: public("names"),
            query: "SELECT 1 AS one".into(),
            schema: Some("public".into()),
            options: vec!["security_barrier=true".into()],
            replace: true,
            more_columns: vec![],
            owner: Some("reader_of_locks".into()),
        }),
        object(ObjectChange::CreateView {
            name: public("fresh"),
            query: "SELECT 1 AS one".into(),
            schema: Some("public".into()),
            options: vec![],
            replace: false,
            more_columns: vec![],
            owner: None,
        }),
        object(ObjectChange::DropView {
            name: public("names"),
        }),
        right(public("names"), false),
        right(public("names"), true),
        Change::DropConstraint {
            table: public("orders"),
            name: "a_is_there".into(),
            referenced: None,
        },
    ];
    for table in ["orders", "parts"] {
        let table = public(table);
        all.extend([
            Change::AddColumn {
                table: table.clone(),
                column: column("c", "integer"),
            },
            Change::DropColumn {
                table: table.clone(),
                column: "a".into(),
            },
            Change::RenameColumn {
                table: table.clone(),
                from: "a".into(),
                to: "aa".into(),
            },
            Change::SetDefault {
                table: table.clone(),
                column: "a".into(),
                default: Some("'x'::text".into()),
            },
            Change::AddConstraint {
                table: table.clone(),
                constraint: constraint(
                    "new_check",
                    ConstraintKind::Check {
                        expression: "a <> ''".into(),
                        columns: vec!["a".into()],
                    },
                ),
                using_index: None,
            },
            Change::CommentOnColumn {
                table: table.clone(),
                column: "a".into(),
                comment: Some("text".into()),
            },
            Change::SetTable {
                table: table.clone(),
                setting: TableSetting::Statistics {
                    column: "a".into(),
                    target: 5,
                },
            },
            Change::SetTable {
                table: table.clone(),
                setting: TableSetting::Storage {
                    column: "a".into(),
                    storage: ColumnStorage::External,
                    type_default: ColumnStorage::Extended,
                },
            },
            Change::SetTable {
                table: table.clone(),
                setting: TableSetting::Compression {
                    column: "a".into(),
                    method: Some("pglz".into()),
                },
            },
            Change::SetTable {
                table: table.clone(),
                setting: TableSetting::ReplicaIdentity {
                    identity: ReplicaIdentity::Full,
                },
            },
            comment(Object::Relation {
                name: table.clone(),
                kind: RelationKind::Table,
            }),
            Change::SetTable {
                table: table.clone(),
                setting: TableSetting::Rename {
                    to: "renamed".into(),
                    tree: false,
                },
            },
            Change::SetTable {
                table: table.clone(),
                setting: TableSetting::RenameConstraint {
                    from: "a_is_there".into(),
                    to: "renamed".into(),
                    inherited: true,
                },
            },
            right(table.clone(), false),
            right(table.clone(), true),
            comment(Object::Constraint {
                table: table.clone(),
                name: "a_is_there".into(),
            }),
            comment(Object::Trigger {
                table: table.clone(),
                name: "nothing".into(),
            }),
            comment(Object::Policy {
                table: table.clone(),
                name: "nobody".into(),
            }),
            Change::GrantColumn {
                table: table.clone(),
                column: "a".into(),
                grant: Grant {
                    grantee: Some("reader_of_locks".into()),
                    privilege: "SELECT".into(),
                    grantable: false,
                },
            },
        ]);
    }
    all
}

/// What a session holds on the tables that existed before.
async fn held(watcher: &Client, pid: i32) -> Outcome<Held> {
    let rows = watcher
        .query(
            "SELECT c.relname::text, l.mode FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
             WHERE l.pid = $1 AND l.granted AND c.relkind IN ('r', 'p', 'v', 'm')
               AND c.relnamespace = 'public'::regnamespace",
            &[&pid],
        )
        .await?;
    let mut held = Held::new();
    for row in rows {
        let (table, mode): (String, String) = (row.get(0), row.get(1));
        let strongest = held.entry(table).or_insert_with(|| mode.clone());
        if rank(&mode) > rank(strongest) {
            *strongest = mode;
        }
    }
    Ok(held)
}

const MODES: [&str; 8] = [
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    "ShareUpdateExclusiveLock",
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
];

fn rank(mode: &str) -> Option<usize> {
    MODES.iter().position(|known| *known == mode)
}

fn mode_name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::AccessShare => MODES[0],
        LockMode::RowShare => MODES[1],
        LockMode::RowExclusive => MODES[2],
        LockMode::ShareUpdateExclusive => MODES[3],
        LockMode::Share => MODES[4],
        LockMode::ShareRowExclusive => MODES[5],
        LockMode::Exclusive => MODES[6],
        LockMode::AccessExclusive => MODES[7],
    }
}

fn expected(locks: &[(TableName, LockMode)], with_children: bool) -> Held {
    let mut all = Held::new();
    for (table, mode) in locks {
        all.insert(table.name.clone(), mode_name(*mode).to_owned());
        if with_children && table.name == "parts" {
            for child in ["parts_1", "parts_rest"] {
                all.insert(child.to_owned(), mode_name(*mode).to_owned());
            }
        }
    }
    all
}

async fn pid(client: &Client) -> Outcome<i32> {
    Ok(client
        .query_one("SELECT pg_backend_pid()", &[])
        .await?
        .get(0))
}

/// Runs statements in a transaction that is rolled back, and tells what they
/// held at its end.
async fn held_by(client: &Client, watcher: &Client, statements: &[String]) -> Outcome<Held> {
    client.batch_execute("BEGIN").await?;
    for statement in statements {
        client
            .batch_execute(statement)
            .await
            .map_err(|error| format!("{statement}: {error:?}"))?;
    }
    let mut held = held(watcher, pid(client).await?).await?;
    client.batch_execute("ROLLBACK").await?;
    // A table that the transaction itself created waits for nobody.
    held.remove("fresh");
    Ok(held)
}

#[tokio::test]
async fn changes_lock_what_they_say() -> Outcome {
    for version in test_versions()? {
        let database = TestDatabase::create(version).await?;
        let (client, watcher) = (database.client().await?, database.client().await?);
        client.batch_execute(SETUP).await?;
        for change in changes() {
            let statements = change::render(&change, "7f3a");
            let held = held_by(&client, &watcher, &statements).await?;
            let mut expected = expected(&locks(&change), recurses(&change));
            if version < 18 && is_right(&change) {
                expected.clear();
            }
            assert_eq!(held, expected, "PostgreSQL {version}: {statements:?}");
        }
        client
            .batch_execute("DROP OWNED BY reader_of_locks; DROP ROLE reader_of_locks")
            .await?;
    }
    Ok(())
}

fn step(action: Action) -> Step {
    Step {
        no: 1,
        phase: Phase::Backfill,
        name: "a step".into(),
        operations: vec![0],
        action,
        undo: Undo::Nothing,
    }
}

#[tokio::test]
async fn dual_writes_lock_what_they_say() -> Outcome {
    for version in test_versions()? {
        let database = TestDatabase::create(version).await?;
        let (client, watcher) = (database.client().await?, database.client().await?);
        client.batch_execute(&without_role()).await?;
        for table in ["orders", "parts"] {
            let install = Action::Sync(sync(table));
            let statements = texts(&step(install.clone()), "7f3a");
            assert_eq!(
                held_by(&client, &watcher, &statements).await?,
                expected(&action_locks(&install), true),
                "PostgreSQL {version}: {statements:#?}"
            );
            for statement in &statements {
                client.batch_execute(statement).await?;
            }
            let drop = Change::DropSync { sync: sync(table) };
            assert_eq!(
                held_by(&client, &watcher, &change::render(&drop, "7f3a")).await?,
                expected(&locks(&drop), recurses(&drop)),
                "PostgreSQL {version}: drop on {table}"
            );
        }
        let Sync {
            table, mappings, ..
        } = sync("orders");
        for action in [
            Action::Backfill(Backfill {
                table: table.clone(),
                work: BackfillWork::Mappings {
                    mappings: mappings.clone(),
                },
                cursor: None,
            }),
            Action::Verify(Verify { table, mappings }),
        ] {
            let held = held_by(&client, &watcher, &texts(&step(action.clone()), "7f3a")).await?;
            let at_most = expected(&action_locks(&action), false);
            for (table, mode) in &held {
                assert!(rank(mode) <= rank(&at_most[table]), "{action:?}: {held:?}");
            }
        }
    }
    Ok(())
}

/// Roles belong to the whole server, and these tests run side by side.
fn without_role() -> String {
    SETUP.replace("CREATE ROLE reader_of_locks;", "")
}

/// Starts a statement that waits for `blocker`'s transaction, and tells what
/// it holds meanwhile.
async fn held_while_waiting(
    database: &TestDatabase,
    blocker: &str,
    statement: String,
) -> Outcome<Held> {
    let watcher = database.client().await?;
    let holder = database.client().await?;
    holder.batch_execute(&format!("BEGIN; {blocker}")).await?;
    let client = database.client().await?;
    let pid = pid(&client).await?;
    let running = tokio::spawn(async move { client.batch_execute(&statement).await });
    let mut waits = false;
    for _ in 0..200 {
        waits = watcher
            .query_one("SELECT cardinality(pg_blocking_pids($1)) > 0", &[&pid])
            .await?
            .get(0);
        if waits {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let held = held(&watcher, pid).await?;
    holder.batch_execute("COMMIT").await?;
    running.await??;
    assert!(waits, "the statement waited for nobody");
    Ok(held)
}

#[tokio::test]
async fn concurrent_statements_lock_what_they_say() -> Outcome {
    for version in test_versions()? {
        let database = TestDatabase::create(version).await?;
        let client = database.client().await?;
        client.batch_execute(&without_role()).await?;
        let table = public("orders");
        let index = Index {
            name: "orders_a_idx".into(),
            method: "btree".into(),
            unique: false,
            nulls_not_distinct: false,
            keys: vec![IndexKey {
                column: Some("a".into()),
                expression: None,
                opclass: None,
                collation: None,
                descending: false,
                nulls_first: false,
            }],
            include: vec![],
            predicate: None,
            valid: true,
            constraint: None,
            definition: String::new(),
            settings: Default::default(),
        };
        let build_name = change::build_name("7f3a", 1, 1);
        let building = change::create_index_concurrently(&table, &index, &build_name);
        let write = "UPDATE orders SET filled = filled + 1";
        let create = Concurrent::CreateIndex {
            table: table.clone(),
            index: index.clone(),
        };
        assert_eq!(
            held_while_waiting(&database, write, building).await?,
            expected(&action_locks(&Action::Concurrent(create)), false),
            "PostgreSQL {version}: create index"
        );

        let renaming = change::rename_index("public", &build_name, &index.name);
        let watcher = database.client().await?;
        assert_eq!(
            held_by(&client, &watcher, std::slice::from_ref(&renaming)).await?,
            Held::new(),
            "PostgreSQL {version}: rename index"
        );
        client.batch_execute(&renaming).await?;

        let reindex = Concurrent::Reindex {
            table: table.clone(),
            name: index.name.clone(),
        };
        let reindexing = change::reindex_concurrently(&table, &index.name);
        assert_eq!(
            held_while_waiting(&database, write, reindexing).await?,
            expected(&action_locks(&Action::Concurrent(reindex)), false),
            "PostgreSQL {version}: reindex"
        );

        let drop = Concurrent::DropIndex {
            table: table.clone(),
            name: index.name.clone(),
        };
        let dropping = change::drop_index_concurrently(&table, &index.name);
        assert_eq!(
            held_while_waiting(&database, write, dropping).await?,
            expected(&action_locks(&Action::Concurrent(drop)), false),
            "PostgreSQL {version}: drop index"
        );

        let validate = Concurrent::Validate {
            table: table.clone(),
            name: "unproven".into(),
            referenced: None,
        };
        let validating = vec![change::validate_constraint(&table, "unproven")];
        assert_eq!(
            held_by(&client, &watcher, &validating).await?,
            expected(&action_locks(&Action::Concurrent(validate)), false),
            "PostgreSQL {version}: validate a check"
        );

        let analyze = Action::Concurrent(Concurrent::Analyze {
            table: table.clone(),
        });
        assert_eq!(
            held_by(&client, &watcher, &texts(&step(analyze.clone()), "7f3a")).await?,
            expected(&action_locks(&analyze), false),
            "PostgreSQL {version}: analyze"
        );
        client
            .batch_execute(
                "CREATE MATERIALIZED VIEW old AS SELECT filled FROM orders;
                 CREATE MATERIALIZED VIEW filled AS SELECT filled FROM orders WITH NO DATA",
            )
            .await?;
        let fill = Action::Concurrent(Concurrent::Fill {
            view: public("filled"),
            of: public("old"),
            table: table.clone(),
            schemas: vec!["public".into()],
        });
        let mut held = held_by(&client, &watcher, &texts(&step(fill.clone()), "7f3a")).await?;
        // It is ours, and nobody reads it yet.
        held.remove("filled");
        assert_eq!(
            held,
            expected(&action_locks(&fill), false),
            "PostgreSQL {version}: fill a materialized view"
        );
        client
            .batch_execute("DROP MATERIALIZED VIEW old, filled")
            .await?;

        let analyze = Action::Concurrent(Concurrent::Analyze {
            table: public("parts"),
        });
        assert_eq!(
            held_by(&client, &watcher, &texts(&step(analyze.clone()), "7f3a")).await?,
            expected(&action_locks(&analyze), true),
            "PostgreSQL {version}: analyze partitions"
        );

        let add = Change::AddConstraint {
            table: public("alone"),
            constraint: foreign_key("parents"),
            using_index: None,
        };
        client
            .batch_execute(&change::render(&add, "7f3a").join(";"))
            .await?;
        let validate = Concurrent::Validate {
            table: public("alone"),
            name: "new_fkey".into(),
            referenced: Some(public("parents")),
        };
        let validating = vec![change::validate_constraint(&public("alone"), "new_fkey")];
        assert_eq!(
            held_by(&client, &watcher, &validating).await?,
            expected(&action_locks(&Action::Concurrent(validate)), false),
            "PostgreSQL {version}: validate a foreign key"
        );
    }
    Ok(())
}
