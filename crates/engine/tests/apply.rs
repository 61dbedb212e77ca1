//! What `Catalog::apply` makes of a change is what a real server makes of it.
//! `PONTOON_TEST_VERSIONS` chooses which.

use std::collections::BTreeSet;

use pontoon_core::catalog::{
    Catalog, Column, ColumnDef, Constraint, ConstraintKind, Dependent, DependentKind, Grant,
    Identity, Index, IndexKey, Partitioning, Question, ReferentialAction, ReplicaIdentity,
    RowSecurity, Table, TableKind, TableSize,
};
use pontoon_core::expr::{Expr, Volatility};
use pontoon_core::name::TableName;
use pontoon_core::object::{
    ColumnStorage, Hanging, Object, ObjectChange, Place, RelationKind, TableSetting,
};
use pontoon_core::step::{Action, Change, Concurrent, Conditions, Ddl, Sync};
use pontoon_engine::db::postgres::introspect::{Request, read};
use pontoon_sandbox::{TestDatabase, test_versions};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const SCHEMA: &str = r#"
DO 'BEGIN CREATE ROLE reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
CREATE TABLE users (id int PRIMARY KEY, code int NOT NULL);
CREATE TABLE t (
    id int PRIMARY KEY,
    a int,
    b text DEFAULT 'x',
    c int,
    d int,
    e int,
    user_id int,
    CONSTRAINT t_b_check CHECK (b <> 'a' AND a > 0)
);
CREATE INDEX t_a_idx ON t (a, lower(b)) WHERE c > 0;
CREATE INDEX t_d_idx ON t (d, e);
CREATE TABLE refers (t_id int CONSTRAINT refers_fk REFERENCES t (id));
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER t_touch BEFORE UPDATE OF a ON t FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TRIGGER "!pontoon_1" BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION touch();
CREATE VIEW v AS SELECT 1 AS one;
CREATE VIEW over_users AS SELECT code FROM users;
CREATE TABLE base (a int, b int);
CREATE TABLE derived (extra int) INHERITS (base);
CREATE TABLE counted (id serial);
CREATE TABLE parts (id int, v int, long text) PARTITION BY RANGE (id);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (100);
"#;

fn public(name: &str) -> TableName {
    TableName::new("public", name)
}

fn text(name: &str) -> String {
    name.to_owned()
}

fn def(name: &str, type_name: &str) -> ColumnDef {
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

fn constraint(name: &str, kind: ConstraintKind, validated: bool) -> Constraint {
    Constraint {
        name: name.into(),
        kind,
        validated,
        deferrable: None,
        definition: String::new(),
    }
}

fn key(column: &str) -> IndexKey {
    IndexKey {
        column: Some(column.into()),
        expression: None,
        opclass: None,
        collation: None,
        descending: false,
        nulls_first: false,
    }
}

fn index(name: &str, keys: Vec<IndexKey>, unique: bool) -> Index {
    Index {
        name: name.into(),
        method: "btree".into(),
        unique,
        nulls_not_distinct: false,
        keys,
        include: Vec::new(),
        predicate: None,
        valid: true,
        constraint: None,
        definition: String::new(),
        settings: Default::default(),
    }
}

fn ddl(change: Change) -> Action {
    Action::Ddl(Ddl {
        changes: vec![change],
        cutover: false,
    })
}

fn add_check(table: &str, name: &str, expression: &str, columns: &[&str]) -> Action {
    let columns = columns.iter().map(|c| text(c)).collect();
    ddl(Change::AddConstraint {
        table: public(table),
        constraint: constraint(
            name,
            ConstraintKind::Check {
                expression: expression.into(),
                columns,
            },
            false,
        ),
        using_index: None,
    })
}

fn add_foreign_key(
    table: &str,
    name: &str,
    column: &str,
    references: &str,
    referenced: &str,
) -> Change {
    Change::AddConstraint {
        table: public(table),
        constraint: constraint(
            name,
            ConstraintKind::ForeignKey {
                columns: vec![text(column)],
                references: public(references),
                referenced_columns: vec![text(referenced)],
                on_delete: ReferentialAction::Cascade,
                on_update: ReferentialAction::NoAction,
                match_full: false,
            },
            false,
        ),
        using_index: None,
    }
}

fn rename(table: &str, from: &str, to: &str) -> Action {
    ddl(Change::RenameColumn {
        table: public(table),
        from: from.into(),
        to: to.into(),
    })
}

fn set_default(column: &str, default: Option<&str>) -> Action {
    ddl(Change::SetDefault {
        table: public("t"),
        column: column.into(),
        default: default.map(text),
    })
}

fn drop_constraint(table: &str, name: &str, referenced: Option<&str>) -> Action {
    ddl(Change::DropConstraint {
        table: public(table),
        name: name.into(),
        referenced: referenced.map(public),
    })
}

fn drop_column(table: &str, column: &str) -> Action {
    ddl(Change::DropColumn {
        table: public(table),
        column: column.into(),
    })
}

fn new_table() -> Table {
    let column = |position: i16, name: &str, type_name: &str, base: &str| Column {
        def: def(name, type_name),
        position,
        base_type: base.into(),
        not_null_domain: false,
        type_default: false,
        settings: Vec::new(),
        grants: Vec::new(),
        dependents: Vec::new(),
    };
    let mut id = column(1, "id", "bigint", "bigint");
    id.def.nullable = false;
    id.def.comment = Some("the key".into());
    Table {
        name: public("fresh"),
        oid: 0,
        kind: TableKind::Ordinary,
        unlogged: false,
        owner: String::new(),
        owned_by_us: true,
        columns: vec![
            id,
            column(2, "v", "character varying(10)", "character varying"),
        ],
        constraints: vec![constraint(
            "fresh_pkey",
            ConstraintKind::PrimaryKey {
                columns: vec!["id".into()],
            },
            true,
        )],
        indexes: Vec::new(),
        triggers: Vec::new(),
        row_security: RowSecurity::default(),
        publications: Vec::new(),
        replica_identity: ReplicaIdentity::Default,
        partitioning: None::<Partitioning>,
        children: Vec::new(),
        parents: Vec::new(),
        dependents: Vec::new(),
        referenced_by: Vec::new(),
        comment: Some("new".into()),
        grants: Vec::new(),
        size: TableSize::default(),
    }
}

fn set(table: &str, setting: TableSetting) -> Action {
    ddl(Change::SetTable {
        table: public(table),
        setting,
    })
}

fn compression(method: Option<&str>) -> TableSetting {
    TableSetting::Compression {
        column: "long".into(),
        method: method.map(str::to_owned),
    }
}

fn storage(storage: ColumnStorage) -> TableSetting {
    TableSetting::Storage {
        column: "long".into(),
        storage,
        type_default: ColumnStorage::Extended,
    }
}

fn statistics(column: &str, target: i32) -> TableSetting {
    TableSetting::Statistics {
        column: column.into(),
        target,
    }
}

fn rename_constraint(from: &str, to: &str, inherited: bool) -> TableSetting {
    TableSetting::RenameConstraint {
        from: from.into(),
        to: to.into(),
        inherited,
    }
}

fn rename_to(name: &str) -> TableSetting {
    TableSetting::Rename {
        to: name.into(),
        tree: false,
    }
}

fn object(what: ObjectChange) -> Action {
    ddl(Change::Object { what })
}

fn relation(name: &str, kind: RelationKind) -> Object {
    Object::Relation {
        name: public(name),
        kind,
    }
}

fn comment(on: Object) -> Action {
    object(ObjectChange::Comment {
        on,
        comment: Some("things".into()),
    })
}

fn add_label(value: &str, place: Option<Place>) -> Action {
    object(ObjectChange::AddEnumValue {
        name: TableName::new("made", "mood"),
        value: value.into(),
        place,
    })
}

fn view(name: &str, replace: bool, more: &[(&str, &str)]) -> Action {
    object(ObjectChange::CreateView {
        name: public(name),
        query: String::new(),
        schema: None,
        options: vec!["security_barrier=true".into()],
        replace,
        more_columns: more.iter().map(|(a, b)| (text(a), text(b))).collect(),
        owner: None,
    })
}

/// Revoked or granted, to whom, what, and with the right to hand it on.
fn rights(all: &[(bool, Option<&str>, &str, bool)], on: Object) -> Action {
    let change = |(revoke, grantee, privilege, grantable): &(bool, Option<&str>, &str, bool)| {
        let (on, grant) = (
            on.clone(),
            Grant {
                grantee: grantee.map(text),
                privilege: text(privilege),
                grantable: *grantable,
            },
        );
        Change::Object {
            what: match revoke {
                true => ObjectChange::Revoke {
                    on,
                    column: None,
                    grant,
                },
                false => ObjectChange::Grant { on, grant },
            },
        }
    };
    Action::Ddl(Ddl {
        changes: all.iter().map(change).collect(),
        cutover: false,
    })
}

/// Everything beside tables that some case changes.
fn objects() -> BTreeSet<Object> {
    cases()
        .into_iter()
        .filter_map(|(_, action)| match action {
            Action::Ddl(ddl) => match ddl.changes.into_iter().next() {
                Some(Change::Object { what }) => match what {
                    ObjectChange::Comment { on, .. }
                    | ObjectChange::Grant { on, .. }
                    | ObjectChange::Revoke { on, .. } => Some(on),
                    ObjectChange::CreateView { name, .. } => Some(Object::Relation {
                        name,
                        kind: RelationKind::View,
                    }),
                    _ => None,
                },
                _ => None,
            },
            _ => None,
        })
        .collect()
}

fn hangs(column: &str, kind: DependentKind, name: &str) -> Hanging {
    Hanging {
        table: public("t"),
        column: Some(text(column)),
        dependent: Dependent {
            kind,
            name: text(name),
        },
    }
}

fn rehang(off: &[Hanging], on: &[Hanging]) -> Action {
    object(ObjectChange::Rehang {
        statements: Vec::new(),
        locks: Vec::new(),
        off: off.to_vec(),
        on: on.to_vec(),
    })
}

fn column_setting(column: &str, clause: &str) -> Action {
    set(
        "t",
        TableSetting::Column {
            column: text(column),
            clause: text(clause),
        },
    )
}

/// What a server runs, and what is folded over the catalog.
fn cases() -> Vec<(&'static str, Action)> {
    let added = ColumnDef {
        nullable: false,
        default: Some(Expr {
            template: "7.50".into(),
            columns: Vec::new(),
            volatility: Volatility::Immutable,
        }),
        comment: Some("a price".into()),
        ..def("price", "numeric(10,2)")
    };
    vec![
        (
            "ALTER TABLE t ADD COLUMN price numeric(10,2) NOT NULL DEFAULT 7.50; COMMENT ON COLUMN t.price IS 'a price'",
            ddl(Change::AddColumn {
                table: public("t"),
                column: added,
            }),
        ),
        (
            "ALTER TABLE base ADD COLUMN added varchar(5)[]",
            ddl(Change::AddColumn {
                table: public("base"),
                column: def("added", "character varying(5)[]"),
            }),
        ),
        (
            "ALTER TABLE parts ADD COLUMN w timestamp(3)",
            ddl(Change::AddColumn {
                table: public("parts"),
                column: def("w", "timestamp(3) without time zone"),
            }),
        ),
        (
            "ALTER TABLE t ALTER b SET DEFAULT now()::text",
            set_default("b", Some("(now())::text")),
        ),
        ("ALTER TABLE t ALTER b DROP DEFAULT", set_default("b", None)),
        (
            "ALTER TABLE t ADD CONSTRAINT c_given CHECK (c IS NOT NULL) NOT VALID",
            add_check("t", "c_given", "(c IS NOT NULL)", &["c"]),
        ),
        (
            "ALTER TABLE t VALIDATE CONSTRAINT c_given",
            Action::Concurrent(Concurrent::Validate {
                table: public("t"),
                name: "c_given".into(),
                referenced: None,
            }),
        ),
        (
            "ALTER TABLE t ALTER c SET NOT NULL",
            ddl(Change::SetNotNull {
                table: public("t"),
                column: "c".into(),
            }),
        ),
        (
            "ALTER TABLE t DROP CONSTRAINT c_given",
            drop_constraint("t", "c_given", None),
        ),
        (
            "ALTER TABLE t ALTER c DROP NOT NULL",
            ddl(Change::DropNotNull {
                table: public("t"),
                column: "c".into(),
            }),
        ),
        (
            "ALTER TABLE base ADD CONSTRAINT base_alone CHECK (b <> 3) NO INHERIT NOT VALID",
            ddl(Change::AddConstraint {
                table: public("base"),
                constraint: Constraint {
                    definition: "CHECK ((b <> 3)) NO INHERIT NOT VALID".into(),
                    ..constraint(
                        "base_alone",
                        ConstraintKind::Check {
                            expression: "(b <> 3)".into(),
                            columns: vec!["b".into()],
                        },
                        false,
                    )
                },
                using_index: None,
            }),
        ),
        (
            "ALTER TABLE t CLUSTER ON t_d_idx",
            set(
                "t",
                TableSetting::ClusterOn {
                    index: "t_d_idx".into(),
                },
            ),
        ),
        (
            "ALTER INDEX t_a_idx ALTER COLUMN 2 SET STATISTICS 40",
            object(ObjectChange::IndexStatistics {
                table: public("t"),
                index: "t_a_idx".into(),
                key: 2,
                target: 40,
            }),
        ),
        (
            "ALTER TABLE t_d_idx RENAME COLUMN e TO f",
            object(ObjectChange::RenameIndexColumn {
                table: public("t"),
                index: "t_d_idx".into(),
                from: "e".into(),
                to: "f".into(),
            }),
        ),
        (
            "CREATE SEQUENCE tally OWNED BY t.e",
            rehang(&[], &[hangs("e", DependentKind::OwnedSequence, "public.tally")]),
        ),
        (
            "ALTER SEQUENCE tally OWNED BY t.user_id",
            rehang(
                &[hangs("e", DependentKind::OwnedSequence, "public.tally")],
                &[hangs("user_id", DependentKind::OwnedSequence, "public.tally")],
            ),
        ),
        (
            "DROP SEQUENCE tally",
            rehang(
                &[hangs("user_id", DependentKind::OwnedSequence, "public.tally")],
                &[],
            ),
        ),
        (
            "ALTER TABLE users ALTER code ADD GENERATED ALWAYS AS IDENTITY",
            object(ObjectChange::MoveIdentity {
                table: public("users"),
                column: "code".into(),
                identity: Identity::Always,
                statements: Vec::new(),
            }),
        ),
        (
            "ALTER TABLE t ALTER b SET STORAGE EXTERNAL",
            column_setting("b", "SET STORAGE EXTERNAL"),
        ),
        (
            "ALTER TABLE t ALTER b SET (n_distinct = 5)",
            column_setting("b", "SET (n_distinct=5)"),
        ),
        (
            "ALTER TABLE t ALTER b SET STATISTICS 9",
            column_setting("b", "SET STATISTICS 9"),
        ),
        (
            "ALTER TABLE base ADD CONSTRAINT base_b CHECK (b > 0) NOT VALID",
            add_check("base", "base_b", "(b > 0)", &["b"]),
        ),
        (
            "ALTER TABLE parts ADD CONSTRAINT parts_v CHECK (v > 0) NOT VALID",
            add_check("parts", "parts_v", "(v > 0)", &["v"]),
        ),
        (
            "ALTER TABLE t ADD CONSTRAINT t_user FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE NOT VALID",
            ddl(add_foreign_key("t", "t_user", "user_id", "users", "id")),
        ),
        (
            "ALTER TABLE users RENAME COLUMN id TO \"User Id\"",
            rename("users", "id", "User Id"),
        ),
        (
            "CREATE UNIQUE INDEX CONCURRENTLY codes ON users (code)",
            Action::Concurrent(Concurrent::CreateIndex {
                table: public("users"),
                index: index("codes", vec![key("code")], true),
            }),
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT users_code UNIQUE USING INDEX codes",
            ddl(Change::AddConstraint {
                table: public("users"),
                constraint: constraint(
                    "users_code",
                    ConstraintKind::Unique {
                        columns: vec!["code".into()],
                    },
                    true,
                ),
                using_index: Some("codes".into()),
            }),
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT users_code",
            drop_constraint("users", "users_code", None),
        ),
        (
            "CREATE INDEX CONCURRENTLY t_low ON t (lower(b) DESC) INCLUDE (e) WHERE d > 0",
            Action::Concurrent(Concurrent::CreateIndex {
                table: public("t"),
                index: Index {
                    include: vec!["e".into()],
                    predicate: Some("(d > 0)".into()),
                    ..index(
                        "t_low",
                        vec![IndexKey {
                            column: None,
                            expression: Some("lower(b)".into()),
                            descending: true,
                            nulls_first: true,
                            ..key("")
                        }],
                        false,
                    )
                },
            }),
        ),
        (
            "DROP INDEX CONCURRENTLY t_low",
            Action::Concurrent(Concurrent::DropIndex {
                table: public("t"),
                name: "t_low".into(),
            }),
        ),
        ("ALTER TABLE t RENAME COLUMN a TO z", rename("t", "a", "z")),
        (
            "ALTER TABLE t RENAME COLUMN id TO key",
            rename("t", "id", "key"),
        ),
        (
            "ALTER TABLE base RENAME COLUMN b TO bb",
            rename("base", "b", "bb"),
        ),
        (
            "COMMENT ON COLUMN t.d IS 'it''s'",
            ddl(Change::CommentOnColumn {
                table: public("t"),
                column: "d".into(),
                comment: Some("it's".into()),
            }),
        ),
        (
            "ALTER TABLE parts ALTER v SET STATISTICS 77",
            set("parts", statistics("v", 77)),
        ),
        (
            "ALTER TABLE counted ALTER id DROP DEFAULT; DROP SEQUENCE counted_id_seq; ALTER TABLE counted ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
            set(
                "counted",
                TableSetting::Identity {
                    column: "id".into(),
                    identity: Identity::ByDefault,
                    takes_over: None,
                    start: None,
                    above: false,
                },
            ),
        ),
        (
            "ALTER TABLE parts ALTER long SET COMPRESSION pglz",
            set("parts", compression(Some("pglz"))),
        ),
        (
            "ALTER TABLE parts ALTER long SET STATISTICS 3",
            set("parts", statistics("long", 3)),
        ),
        (
            "ALTER TABLE parts ALTER long SET STORAGE EXTERNAL",
            set("parts", storage(ColumnStorage::External)),
        ),
        (
            "ALTER TABLE parts ALTER long SET STORAGE EXTENDED",
            set("parts", storage(ColumnStorage::Extended)),
        ),
        (
            "ALTER TABLE parts ALTER long SET COMPRESSION DEFAULT",
            set("parts", compression(None)),
        ),
        (
            "ALTER TABLE t ALTER e SET STATISTICS 5; ALTER TABLE t ALTER e SET STATISTICS -1",
            set("t", statistics("e", -1)),
        ),
        (
            "ALTER TABLE t SET (fillfactor = 70, toast.autovacuum_enabled = false); ALTER TABLE t RESET (parallel_workers)",
            set(
                "t",
                TableSetting::Options {
                    set: vec![
                        ("fillfactor".into(), "70".into()),
                        ("toast.autovacuum_enabled".into(), "false".into()),
                    ],
                    reset: vec!["parallel_workers".into()],
                },
            ),
        ),
        (
            "ALTER TABLE t RENAME CONSTRAINT t_pkey TO t_key",
            set("t", rename_constraint("t_pkey", "t_key", false)),
        ),
        (
            "ALTER TABLE t REPLICA IDENTITY USING INDEX t_key",
            set(
                "t",
                TableSetting::ReplicaIdentity {
                    identity: ReplicaIdentity::Index("t_key".into()),
                },
            ),
        ),
        (
            "ALTER TABLE t RENAME CONSTRAINT t_key TO t_pkey",
            set("t", rename_constraint("t_key", "t_pkey", false)),
        ),
        (
            "ALTER TABLE t REPLICA IDENTITY DEFAULT",
            set(
                "t",
                TableSetting::ReplicaIdentity {
                    identity: ReplicaIdentity::Default,
                },
            ),
        ),
        (
            "ALTER TABLE parts RENAME CONSTRAINT parts_v TO a_v",
            set("parts", rename_constraint("parts_v", "a_v", true)),
        ),
        (
            "ALTER TABLE t RENAME CONSTRAINT t_user TO a_user",
            set("t", rename_constraint("t_user", "a_user", false)),
        ),
        (
            "ALTER INDEX t_a_idx RENAME TO \"Zs\"",
            object(ObjectChange::RenameIndex {
                table: public("t"),
                from: "t_a_idx".into(),
                to: "Zs".into(),
            }),
        ),
        (
            "COMMENT ON TABLE t IS 'things'",
            comment(relation("t", RelationKind::Table)),
        ),
        (
            "COMMENT ON CONSTRAINT t_b_check ON t IS 'things'",
            comment(Object::Constraint {
                table: public("t"),
                name: "t_b_check".into(),
            }),
        ),
        (
            "COMMENT ON INDEX t_d_idx IS 'things'",
            comment(relation("t_d_idx", RelationKind::Index)),
        ),
        (
            "COMMENT ON TRIGGER t_touch ON t IS 'things'",
            comment(Object::Trigger {
                table: public("t"),
                name: "t_touch".into(),
            }),
        ),
        (
            "COMMENT ON SCHEMA public IS 'things'",
            comment(Object::Schema {
                name: "public".into(),
            }),
        ),
        (
            "CREATE SCHEMA made",
            object(ObjectChange::CreateSchema { name: "made".into() }),
        ),
        (
            "CREATE TYPE made.mood AS ENUM ('sad', 'ok')",
            object(ObjectChange::CreateEnum {
                name: TableName::new("made", "mood"),
                labels: vec!["sad".into(), "ok".into()],
                owner: None,
            }),
        ),
        (
            "ALTER TYPE made.mood ADD VALUE 'so-so' AFTER 'sad'",
            add_label("so-so", Some(Place::After("sad".into()))),
        ),
        (
            "ALTER TYPE made.mood ADD VALUE 'worst' BEFORE 'sad'",
            add_label("worst", Some(Place::Before("sad".into()))),
        ),
        (
            "ALTER TYPE made.mood ADD VALUE 'best'",
            add_label("best", None),
        ),
        (
            "ALTER TYPE made.mood RENAME VALUE 'ok' TO 'okay'",
            object(ObjectChange::RenameEnumValue {
                name: TableName::new("made", "mood"),
                from: "ok".into(),
                to: "okay".into(),
            }),
        ),
        (
            "COMMENT ON TYPE made.mood IS 'things'",
            comment(Object::Type {
                name: TableName::new("made", "mood"),
            }),
        ),
        (
            "GRANT USAGE ON SCHEMA made TO reader WITH GRANT OPTION; GRANT CREATE ON SCHEMA made TO PUBLIC",
            rights(
                &[
                    (false, Some("reader"), "USAGE", true),
                    (false, None, "CREATE", false),
                ],
                Object::Schema {
                    name: "made".into(),
                },
            ),
        ),
        (
            "REVOKE GRANT OPTION FOR USAGE ON SCHEMA made FROM reader; REVOKE CREATE ON SCHEMA made FROM PUBLIC",
            rights(
                &[
                    (true, Some("reader"), "USAGE", true),
                    (true, None, "CREATE", false),
                ],
                Object::Schema {
                    name: "made".into(),
                },
            ),
        ),
        (
            "GRANT SELECT, UPDATE ON t TO reader",
            rights(
                &[
                    (false, Some("reader"), "SELECT", false),
                    (false, Some("reader"), "UPDATE", false),
                ],
                relation("t", RelationKind::Table),
            ),
        ),
        (
            "GRANT SELECT (e) ON t TO reader; REVOKE SELECT ON t FROM reader",
            rights(
                &[(true, Some("reader"), "SELECT", false)],
                relation("t", RelationKind::Table),
            ),
        ),
        (
            "DROP TYPE made.mood",
            object(ObjectChange::DropType {
                name: TableName::new("made", "mood"),
            }),
        ),
        (
            "DROP SCHEMA made",
            object(ObjectChange::DropSchema { name: "made".into() }),
        ),
        (
            "CREATE VIEW fresh_view WITH (security_barrier = true) AS SELECT 1 AS one",
            view("fresh_view", false, &[]),
        ),
        (
            "CREATE OR REPLACE VIEW v WITH (security_barrier = true) AS SELECT 1 AS one, 'x'::varchar(3) AS two",
            view("v", true, &[("two", "character varying(3)")]),
        ),
        (
            "COMMENT ON VIEW v IS 'things'",
            comment(relation("v", RelationKind::View)),
        ),
        (
            "DROP VIEW v",
            object(ObjectChange::DropView { name: public("v") }),
        ),
        (
            "DROP VIEW over_users",
            object(ObjectChange::DropView {
                name: public("over_users"),
            }),
        ),
        (
            "ALTER TABLE users RENAME TO people",
            set("users", rename_to("people")),
        ),
        (
            "ALTER TABLE people RENAME TO users",
            set("people", rename_to("users")),
        ),
        ("ALTER TABLE refers RENAME TO referrers", set("refers", rename_to("referrers"))),
        ("ALTER TABLE referrers RENAME TO refers", set("referrers", rename_to("refers"))),
        ("ALTER TABLE base RENAME TO bases", set("base", rename_to("bases"))),
        ("ALTER TABLE bases RENAME TO base", set("bases", rename_to("base"))),
        ("ALTER TABLE parts RENAME TO portions", set("parts", rename_to("portions"))),
        ("ALTER TABLE portions RENAME TO parts", set("portions", rename_to("parts"))),
        (
            "ANALYZE t",
            Action::Concurrent(Concurrent::Analyze { table: public("t") }),
        ),
        (
            "COMMENT ON COLUMN t.d IS NULL",
            ddl(Change::CommentOnColumn {
                table: public("t"),
                column: "d".into(),
                comment: None,
            }),
        ),
        (
            "GRANT UPDATE (d) ON t TO reader WITH GRANT OPTION",
            ddl(Change::GrantColumn {
                table: public("t"),
                column: "d".into(),
                grant: Grant {
                    grantee: Some("reader".into()),
                    privilege: "UPDATE".into(),
                    grantable: true,
                },
            }),
        ),
        (
            "DROP TRIGGER \"!pontoon_1\" ON t",
            ddl(Change::DropSync {
                sync: Sync {
                    table: public("t"),
                    children: Vec::new(),
                    mappings: Vec::new(),
                    conditions: Conditions::InWhen,
                    application_triggers: true,
                },
            }),
        ),
        ("ALTER TABLE t DROP COLUMN d", drop_column("t", "d")),
        (
            "ALTER TABLE t DROP COLUMN user_id",
            drop_column("t", "user_id"),
        ),
        ("ALTER TABLE t DROP COLUMN b", drop_column("t", "b")),
        ("ALTER TABLE base DROP COLUMN bb", drop_column("base", "bb")),
        (
            "CREATE TABLE fresh (id bigint PRIMARY KEY, v varchar(10)); COMMENT ON TABLE fresh IS 'new';
             COMMENT ON COLUMN fresh.id IS 'the key'",
            ddl(Change::CreateTable {
                table: Box::new(new_table()),
            }),
        ),
        (
            "ALTER TABLE refers DROP CONSTRAINT refers_fk",
            drop_constraint("refers", "refers_fk", Some("t")),
        ),
        (
            "ALTER TABLE refers ADD CONSTRAINT again FOREIGN KEY (t_id) REFERENCES t (key) ON DELETE CASCADE NOT VALID",
            ddl(add_foreign_key("refers", "again", "t_id", "t", "key")),
        ),
        (
            "DROP TABLE refers",
            ddl(Change::DropTable {
                table: public("refers"),
                related: vec![public("t")],
            }),
        ),
    ]
}

/// What `apply` does not promise: see its module's documentation.
fn settle(mut catalog: Catalog) -> Catalog {
    for facts in catalog.objects.iter_mut().filter_map(|a| a.facts.as_mut()) {
        facts.owner.clear();
        facts.definition = None;
    }
    for table in catalog.tables.values_mut() {
        table.oid = 0;
        table.owner.clear();
        table.size = TableSize::default();
        for column in &mut table.columns {
            if let Some(default) = &mut column.def.default {
                default.volatility = Volatility::Volatile;
            }
        }
        for constraint in &mut table.constraints {
            constraint.definition.clear();
        }
        for index in &mut table.indexes {
            index.definition.clear();
        }
    }
    catalog
}

#[tokio::test]
async fn a_change_makes_of_a_catalog_what_a_server_makes_of_it() -> Outcome {
    for version in test_versions()? {
        let database = TestDatabase::create(version).await?;
        let client = database.client().await?;
        client.batch_execute(SCHEMA).await?;
        let request = Request {
            schema: "public".into(),
            tables: [
                "t",
                "users",
                "refers",
                "base",
                "parts",
                "fresh",
                "v",
                "people",
                "referrers",
                "bases",
                "portions",
            ]
            .map(public)
            .to_vec(),
            questions: objects()
                .into_iter()
                .map(|object| Question::Object { object })
                .collect(),
        };
        let mut folded = settle(read(&client, &request).await?);
        for (sql, action) in cases() {
            client
                .batch_execute(sql)
                .await
                .map_err(|error| format!("{sql}: {error}"))?;
            folded.apply_action(&action);
            let real = settle(read(&client, &request).await?);
            let folded_now = settle(folded.clone());
            for (name, table) in &real.tables {
                assert_eq!(
                    folded_now.tables.get(name),
                    Some(table),
                    "PostgreSQL {version}: {sql}"
                );
            }
            assert_eq!(
                folded_now.objects, real.objects,
                "PostgreSQL {version}: {sql}"
            );
            assert_eq!(
                folded_now.tables.len(),
                real.tables.len(),
                "PostgreSQL {version}: {sql}"
            );
        }
    }
    Ok(())
}

#[tokio::test]
async fn renamed_definitions_are_what_the_server_writes() -> Outcome {
    for version in test_versions()? {
        let database = TestDatabase::create(version).await?;
        let client = database.client().await?;
        client.batch_execute(SCHEMA).await?;
        let request = Request {
            schema: "public".into(),
            tables: vec![public("t")],
            questions: Vec::new(),
        };
        let mut folded = read(&client, &request).await?;
        for (from, to) in [("a", "New a"), ("b", "beta"), ("id", "key")] {
            client
                .batch_execute(&format!("ALTER TABLE t RENAME COLUMN {from} TO \"{to}\""))
                .await?;
            folded.apply_action(&rename("t", from, to));
        }
        assert_eq!(
            folded,
            read(&client, &request).await?,
            "PostgreSQL {version}"
        );
        let view = Dependent {
            kind: DependentKind::TriggerColumns,
            name: "t_touch".into(),
        };
        let t = &folded.tables[&public("t")];
        assert!(
            t.columns[1].dependents.contains(&view),
            "{:?}",
            t.columns[1]
        );
    }
    Ok(())
}
