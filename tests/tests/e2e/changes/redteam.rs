//! Cases that broke earlier drafts, through the real binary: what hangs on a
//! table, and what its rows hold. Those about locks are in `contention`; the
//! trigger's own are beside the engine.

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};
use pontoon_tests::Pontoon;

use crate::scene::{REFILL, Scene, code, plan, run, text};

const ITEMS: &str =
    "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, note text);
     INSERT INTO items SELECT g, g, 'n' || g FROM generate_series(1, 1000) g; ANALYZE items";
const RETYPE: &str = "- change_type: {table: items, column: amount, to: numeric, as: exact}";

/// The owner may read everything when the plan is started, and row security is
/// forced in the middle: an error, never a "clean" with rows unfilled.
#[tokio::test(flavor = "multi_thread")]
async fn force_rls() {
    for version in crate::versions() {
        let scene = Scene::new(version, "").await;
        let owner = format!("owner_{}", uuid::Uuid::new_v4().simple());
        scene
            .sql(&format!(
                "CREATE ROLE {owner} LOGIN; GRANT CREATE ON DATABASE {0} TO {owner};
                 CREATE SCHEMA s AUTHORIZATION {owner}; SET ROLE {owner};
                 CREATE TABLE s.users (id integer PRIMARY KEY, tenant integer, email text);
                 INSERT INTO s.users SELECT g, g % 5, 'U' || g FROM generate_series(1, 500) g;
                 ALTER TABLE s.users ENABLE ROW LEVEL SECURITY;
                 CREATE POLICY own ON s.users USING (tenant = current_setting('app.tenant', true)::integer);
                 RESET ROLE; ALTER ROLE {owner} IN DATABASE {0} SET app.tenant = '1'",
                scene.database.name()
            ))
            .await;
        let pontoon = Pontoon::new(scene.database.url_as(&owner));
        let path = pontoon.plan(&plan(
            "rls",
            "schema: s",
            "- rename_column: {table: users, from: email, to: mail}",
        ));
        pontoon
            .call(&["run", &path, "--until", "dual_write"])
            .await
            .expect(0);
        scene
            .sql("ALTER TABLE s.users FORCE ROW LEVEL SECURITY")
            .await;
        let ended = pontoon.call(&["run", &path]).await;
        assert!(matches!(ended.code, Some(4 | 7)), "{ended:?}");
        assert!(
            ended.stderr.contains("FORCE ROW LEVEL SECURITY") && ended.stderr.contains("BYPASSRLS"),
            "{}",
            ended.stderr
        );
        scene
            .sql("ALTER TABLE s.users NO FORCE ROW LEVEL SECURITY")
            .await;
        pontoon.call(&["run", &path]).await.expect(5);
        // The same in the verify pass.
        scene
            .sql("ALTER TABLE s.users FORCE ROW LEVEL SECURITY")
            .await;
        let ended = pontoon.call(&["verify"]).await;
        assert!(matches!(ended.code, Some(4 | 7)), "{ended:?}");
        scene
            .sql("ALTER TABLE s.users NO FORCE ROW LEVEL SECURITY")
            .await;
        pontoon.call(&["verify"]).await.expect(0);
        pontoon.approved(&path).await.expect(0);
        assert_eq!(scene.text("SELECT count(mail) FROM s.users").await, "500");
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn published_table() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        scene
            .sql(
                "SET client_min_messages = error;
                 CREATE PUBLICATION one FOR TABLE items; CREATE PUBLICATION everything FOR ALL TABLES",
            )
            .await;
        let path = scene.pontoon.plan(&plan("published", "", RETYPE));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
        for word in ["publication:one", "publication:everything"] {
            assert!(ended.stderr.contains(word), "{}", ended.stderr);
        }
        scene.clean().await;
        let keys = "acknowledge: [\"publication:one\", \"publication:everything\"]";
        scene.completed(&plan("published", keys, RETYPE)).await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn updated_at() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        scene
            .sql(
                "ALTER TABLE items ADD COLUMN updated_at timestamptz DEFAULT '2001-01-01';
                 CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.updated_at := now(); RETURN NEW; END $$;
                 CREATE TRIGGER stamp BEFORE UPDATE ON items FOR EACH ROW EXECUTE FUNCTION stamp();
                 CREATE TRIGGER stamp_note BEFORE UPDATE OF note ON items FOR EACH ROW EXECUTE FUNCTION stamp()",
            )
            .await;
        let path = scene.pontoon.plan(&plan("stamped", "", RETYPE));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
        assert!(ended.stderr.contains("trigger:stamp\""), "{}", ended.stderr);
        assert!(
            !ended.stderr.contains("stamp_note"),
            "a batch does not write `note`: {}",
            ended.stderr
        );
        let old = "SELECT count(*) FROM items WHERE updated_at < '2002-01-01'";
        assert_eq!(scene.text(old).await, "1000");
        scene
            .completed(&plan("stamped", "acknowledge: [\"trigger:stamp\"]", RETYPE))
            .await;
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn partition_key_as_old() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE items (id integer, day date NOT NULL) PARTITION BY RANGE (day);
             CREATE TABLE items_1 PARTITION OF items DEFAULT;
             INSERT INTO items SELECT g, date '2026-01-01' + g FROM generate_series(1, 50) g",
        )
        .await;
        for operation in [
            "- change_type: {table: items, column: day, to: timestamptz}",
            "- change_type: {table: items, column: day, to: timestamptz, as: at}",
            "- rename_column: {table: items, from: day, to: at}",
            "- drop_column: {table: items, column: day, down: current_date}",
        ] {
            let path = scene.pontoon.plan(&plan("parted", "", operation));
            let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
            assert!(
                ended.stderr.contains("partition key"),
                "{operation}: {}",
                ended.stderr
            );
        }
        scene.clean().await;
        scene.end().await;
    }
}

/// Everything that PostgreSQL can hang on a column by its number.
const DEPENDENTS: &str = "
    CREATE TABLE others (id integer UNIQUE);
    CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL DEFAULT 1 UNIQUE, note text,
        twice integer GENERATED ALWAYS AS (amount * 2) STORED,
        CONSTRAINT amount_checked CHECK (amount > 0), CONSTRAINT amount_there FOREIGN KEY (amount) REFERENCES others (id),
        CONSTRAINT amount_excluded EXCLUDE USING btree (amount WITH =));
    CREATE TABLE points_here (amount integer CONSTRAINT points REFERENCES items (amount));
    CREATE INDEX by_amount ON items (note) INCLUDE (amount);
    CREATE INDEX by_expression ON items ((amount % 10));
    CREATE INDEX by_predicate ON items (note) WHERE amount > 5;
    CREATE VIEW items_seen AS SELECT amount FROM items;
    CREATE MATERIALIZED VIEW items_kept AS SELECT amount FROM items;
    CREATE POLICY amount_policy ON items USING (amount > 0);
    CREATE RULE amount_rule AS ON DELETE TO items WHERE OLD.amount > 1000000 DO ALSO SELECT 1;
    CREATE FUNCTION watch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
    CREATE TRIGGER amount_trigger AFTER UPDATE OF amount ON items FOR EACH ROW EXECUTE FUNCTION watch();
    CREATE TRIGGER amount_when AFTER INSERT ON items FOR EACH ROW WHEN (NEW.amount > 3) EXECUTE FUNCTION watch();
    CREATE STATISTICS amount_statistics ON amount, note FROM items;
    CREATE FUNCTION amounts() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT sum(amount) FROM items; END;
    ALTER TABLE items REPLICA IDENTITY USING INDEX items_amount_key;
    GRANT SELECT (amount) ON items TO PUBLIC;
    COMMENT ON COLUMN items.amount IS 'in cents';
    INSERT INTO others SELECT generate_series(1, 100);
    INSERT INTO items (id, amount) SELECT g, g FROM generate_series(1, 100) g;
    ANALYZE";

/// Replacing a column names each dependent that it would lose; renaming it
/// keeps every one.
#[tokio::test(flavor = "multi_thread")]
async fn contract_attnum() {
    for version in crate::versions() {
        let mut setup = format!("SET client_min_messages = error; {DEPENDENTS};");
        if version >= 15 {
            setup.push_str(
                "CREATE PUBLICATION amount_list FOR TABLE items (id, amount);
                 CREATE PUBLICATION amount_filter FOR TABLE items WHERE (amount > 1)",
            );
        }
        // All else is carried over: see `dependents`.
        let names = ["twice", "amount_excluded"];
        let scene = Scene::new(version, &setup).await;
        let options = DumpOptions::default();
        let before = CatalogDump::take(&scene.client, &options)
            .await
            .expect("a dump");
        for operation in [
            "- change_type: {table: items, column: amount, to: bigint}",
            "- change_type: {table: items, column: amount, to: bigint, as: exact}",
        ] {
            let path = scene.pontoon.plan(&plan("attnum", "", operation));
            let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
            for name in &names {
                assert!(
                    ended.stderr.contains(name),
                    "{operation} does not name {name}:\n{}",
                    ended.stderr
                );
            }
        }
        let path = scene.pontoon.plan(&plan(
            "attnum",
            "",
            "- drop_column: {table: items, column: amount}",
        ));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
        for name in ["items_seen", "twice", "amount_policy", "amounts", "points"] {
            assert!(ended.stderr.contains(name), "{name}:\n{}", ended.stderr);
        }
        let after = CatalogDump::take(&scene.client, &options)
            .await
            .expect("a dump");
        assert_eq!(
            before.differences(&after),
            Vec::<String>::new(),
            "a refusal changes nothing"
        );

        let acknowledge =
            "acknowledge: [\"publication:amount_filter\", \"trigger:amount_trigger\"]";
        scene
            .completed(&plan(
                "renamed",
                acknowledge,
                "- rename_column: {table: items, from: amount, to: price}",
            ))
            .await;
        let hand = Scene::new(version, &setup).await;
        hand.sql("ALTER TABLE items RENAME COLUMN amount TO price")
            .await;
        let made = CatalogDump::take(&scene.client, &options)
            .await
            .expect("a dump");
        let wanted = CatalogDump::take(&hand.client, &options)
            .await
            .expect("a dump");
        assert_eq!(wanted.differences(&made), Vec::<String>::new());
        hand.end().await;
        scene.end().await;
    }
}

/// INSERT without a column list feels it when columns come and go: said at
/// the gate, where it can still be helped.
#[tokio::test(flavor = "multi_thread")]
async fn positions() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan("positions", "", RETYPE));
        let shown = scene
            .pontoon
            .call(&["preview", &path])
            .await
            .expect(0)
            .stdout;
        assert!(shown.contains("column list"), "{shown}");
        let ended = scene.pontoon.call(&["run", &path]).await.expect(5);
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert!(said.contains("column list"), "{said}");
        scene.end().await;
    }
}

/// Values that are equal by `=` and different as images, or have no `=`.
#[tokio::test(flavor = "multi_thread")]
async fn images() {
    const COLUMNS: [(&str, &str, &str, &str); 9] = [
        ("n", "numeric", "1.0", "1.00"),
        ("f", "double precision", "0", "-0"),
        ("i", "interval", "1 day", "24:00:00"),
        ("j", "json", r#"{"a": 1}"#, r#"{"a":1}"#),
        ("b", "jsonb", r#"{"a": 1}"#, r#"{"a": 1.0}"#),
        ("y", "bytea", r"\x00ff", r"\x00fe"),
        ("r", "numeric[]", "{1.0,NULL}", "{1.00,NULL}"),
        ("c", "pair", "(1.0,x)", "(1.00,x)"),
        ("p", "point", "(0,1)", "(-0,1)"),
    ];
    for version in crate::versions() {
        let columns: Vec<String> = COLUMNS
            .iter()
            .map(|(name, kind, ..)| format!("{name} {kind}"))
            .collect();
        let values: Vec<String> = COLUMNS
            .iter()
            .map(|(.., first, _)| format!("'{first}'"))
            .collect();
        let scene = Scene::new(
            version,
            &format!(
                "CREATE TYPE pair AS (a numeric, b text);
                 CREATE TABLE t (id integer PRIMARY KEY, {});
                 INSERT INTO t SELECT g, {} FROM generate_series(1, 300) g;
                 INSERT INTO t (id) SELECT g FROM generate_series(301, 400) g; ANALYZE t",
                columns.join(", "),
                values.join(", ")
            ),
        )
        .await;
        let operations: Vec<String> = COLUMNS
            .iter()
            .map(|(name, ..)| {
                format!("- rename_column: {{table: t, from: {name}, to: new_{name}}}")
            })
            .collect();
        let path = scene
            .pontoon
            .plan(&plan("images", "", &operations.join("\n")));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        // Old and new versions write the other image; each reaches the other side.
        let old: Vec<String> = COLUMNS
            .iter()
            .map(|(name, .., other)| format!("{name} = '{other}'"))
            .collect();
        let new: Vec<String> = COLUMNS
            .iter()
            .map(|(name, .., other)| format!("new_{name} = '{other}'"))
            .collect();
        let null: Vec<String> = COLUMNS
            .iter()
            .map(|(name, ..)| format!("new_{name} = NULL"))
            .collect();
        scene
            .sql(&format!(
                "UPDATE t SET {} WHERE id % 3 = 0; UPDATE t SET {} WHERE id % 3 = 1; UPDATE t SET {} WHERE id = 2",
                old.join(", "),
                new.join(", "),
                null.join(", ")
            ))
            .await;
        for (name, ..) in COLUMNS {
            let apart = format!(
                "SELECT count(*) FROM t WHERE {name}::text IS DISTINCT FROM new_{name}::text"
            );
            assert_eq!(scene.text(&apart).await, "0", "{name}");
        }
        scene.pontoon.call(&["verify"]).await.expect(0);
        let wanted = scene
            .text("SELECT md5(string_agg((id, n, f, i, j, b, y, r, c, p)::text, '|' ORDER BY id)) FROM t")
            .await;
        scene.pontoon.approved(&path).await.expect(0);
        let made = scene
            .text("SELECT md5(string_agg((id, new_n, new_f, new_i, new_j, new_b, new_y, new_r, new_c, new_p)::text, '|' ORDER BY id)) FROM t")
            .await;
        assert_eq!(made, wanted);
        scene.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn explicit_null() {
    for version in crate::versions() {
        let scene = Scene::new(version, "CREATE TABLE t (id integer PRIMARY KEY, a text)").await;
        let path = scene.pontoon.plan(&plan(
            "nulls",
            "",
            "- change_type: {table: t, column: a, to: varchar, as: b, down: \"coalesce(b, '')\"}",
        ));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
        assert!(ended.stderr.contains("NULL"), "{}", ended.stderr);
        scene.clean().await;
        scene.end().await;
    }
}

/// The same local time means the same moment, whoever writes it and wherever.
#[tokio::test(flavor = "multi_thread")]
async fn stable_up() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "SET timezone = 'UTC';
             CREATE TABLE t (id integer PRIMARY KEY, at timestamp NOT NULL);
             INSERT INTO t SELECT g, timestamp '2026-07-01 12:00' FROM generate_series(1, 500) g; ANALYZE t",
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "moments",
            "",
            "- change_type: {table: t, column: at, to: timestamptz, as: moment}",
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for (id, zone) in [(1001, "Asia/Tokyo"), (1002, "America/New_York")] {
            let writer = scene.database.client().await.expect("a connection");
            run(
                &writer,
                &format!("SET timezone = '{zone}'; INSERT INTO t (id, at) VALUES ({id}, '2026-07-01 12:00')"),
            )
            .await;
            assert_eq!(
                text(
                    &writer,
                    "SELECT count(*) FROM t WHERE moment <> '2026-07-01 12:00 UTC'"
                )
                .await,
                scene
                    .text("SELECT count(*) FROM t WHERE moment <> '2026-07-01 12:00 UTC'")
                    .await
            );
        }
        assert_eq!(
            scene.text("SELECT count(DISTINCT moment) FROM t").await,
            "1"
        );
        scene.pontoon.call(&["verify"]).await.expect(0);
        scene.pontoon.approved(&path).await.expect(0);
        scene.end().await;
    }
}

/// Whatever the defaults of our role and database are.
#[tokio::test(flavor = "multi_thread")]
async fn repeatable_read_default() {
    for version in crate::versions() {
        for isolation in ["repeatable read", "serializable"] {
            let scene = Scene::new(version, ITEMS).await;
            scene
                .sql(&format!(
                    "ALTER DATABASE {0} SET default_transaction_isolation = '{isolation}';
                     ALTER DATABASE {0} SET search_path = pg_temp;
                     ALTER DATABASE {0} SET statement_timeout = '1s';
                     ALTER DATABASE {0} SET row_security = off;
                     ALTER DATABASE {0} SET datestyle = 'SQL, DMY';
                     ALTER DATABASE {0} SET standard_conforming_strings = off;
                     ALTER DATABASE {0} SET idle_in_transaction_session_timeout = '500ms';
                     ALTER DATABASE {0} SET bytea_output = 'escape';
                     ALTER DATABASE {0} SET client_min_messages = 'debug1'",
                    scene.database.name()
                ))
                .await;
            let operations = format!(
                "{RETYPE}\n- add_index: {{table: items, name: items_note, columns: [note]}}"
            );
            let small = "limits: {max_batch_rows: 100}\nbackfill: {workers: 3}";
            scene.completed(&plan("defaults", small, &operations)).await;
            assert_eq!(
                scene
                    .text("SELECT count(*) FROM public.items WHERE exact = id")
                    .await,
                "1000"
            );
            scene.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inheritance_child() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE items (id integer, amount integer NOT NULL, note text);
             CREATE TABLE special (extra text) INHERITS (items);
             CREATE TABLE more_special () INHERITS (special);
             INSERT INTO items SELECT g, g FROM generate_series(1, 500) g;
             INSERT INTO special SELECT g, g FROM generate_series(501, 1000) g;
             INSERT INTO more_special SELECT g, g FROM generate_series(1001, 1500) g;
             ANALYZE",
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "inherited",
            "limits: {max_batch_rows: 100}",
            &format!("{RETYPE}\n- rename_column: {{table: items, from: note, to: remark}}"),
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql("UPDATE special SET amount = -1 WHERE id = 501; UPDATE items SET exact = -2 WHERE id = 1001; INSERT INTO more_special (id, amount, note) VALUES (2000, 2000, 'x')")
            .await;
        let apart = "SELECT count(*) FROM items WHERE exact IS DISTINCT FROM amount OR remark IS DISTINCT FROM note";
        assert_eq!(scene.text(apart).await, "0");
        scene.pontoon.approved(&path).await.expect(0);
        assert_eq!(
            scene
                .text("SELECT count(*) FROM items WHERE exact = id")
                .await,
            "1499"
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// An old application copies whole rows: handled as the plan declares, counted
/// and told.
#[tokio::test(flavor = "multi_thread")]
async fn row_clone() {
    const CLONE: &str = "INSERT INTO items SELECT (jsonb_populate_record(i, jsonb_build_object('id', 5001, 'amount', 77))).* FROM items i WHERE id = 5";
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan("cloned", "", RETYPE));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        assert_ne!(
            code(&scene.client, CLONE).await,
            "00000",
            "the default is an error"
        );
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);

        let old = RETYPE.replace("as: exact", "as: exact, on_conflict: old");
        let path = scene.pontoon.plan(&plan("cloned", "", &old));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.sql(CLONE).await;
        assert_eq!(
            scene
                .text("SELECT amount || ' ' || exact FROM items WHERE id = 5001")
                .await,
            "77 77"
        );
        let told = scene.pontoon.call(&["run", &path]).await.expect(5);
        let told = format!("{}{}", told.stdout, told.stderr);
        assert!(told.contains("inconsistently"), "{told}");
        scene.pontoon.approved(&path).await.expect(0);
        scene.end().await;
    }
}

/// No row says which version wrote a name that changes its meaning.
#[tokio::test(flavor = "multi_thread")]
async fn names_that_swap_or_move_on() {
    let scene = Scene::new(
        crate::versions()[0],
        "CREATE TABLE t (id integer, a text, b text)",
    )
    .await;
    for operations in [
        "- rename_column: {table: t, from: a, to: b}\n- rename_column: {table: t, from: b, to: a}",
        "- rename_column: {table: t, from: b, to: c}\n- rename_column: {table: t, from: a, to: b}",
    ] {
        let path = scene.pontoon.plan(&plan("swap", "", operations));
        scene.pontoon.call(&["check", &path]).await.expect(3);
        scene.pontoon.call(&["run", &path]).await.expect(3);
    }
    scene.clean().await;
    scene.end().await;
}

/// A conflict is found by the verify pass, named by its key, never repaired
/// by guess, and not forgotten by a restart.
#[tokio::test(flavor = "multi_thread")]
async fn a_failed_verify_is_durable() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan("corrupted", "", RETYPE));
        scene
            .pontoon
            .call(&["run", &path, "--until", "backfill"])
            .await
            .expect(0);
        // What a broken tool might do, behind the triggers' back.
        scene
            .sql(
                "DO $$ DECLARE found name; BEGIN
                    FOR found IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass LOOP
                        EXECUTE format('ALTER TABLE items DISABLE TRIGGER %I', found);
                    END LOOP;
                    UPDATE items SET exact = -1 WHERE id = 77;
                    UPDATE items SET exact = NULL WHERE id = 78;
                    FOR found IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass LOOP
                        EXECUTE format('ALTER TABLE items ENABLE ALWAYS TRIGGER %I', found);
                    END LOOP;
                 END $$",
            )
            .await;
        for _ in 0..2 {
            let ended = scene.pontoon.approved(&path).await.expect(7);
            assert!(ended.stderr.contains("77"), "{}", ended.stderr);
            assert!(ended.stderr.contains("pontoon verify"), "{}", ended.stderr);
        }
        assert_eq!(
            scene.text("SELECT exact FROM items WHERE id = 77").await,
            "-1"
        );
        assert_eq!(scene.status().await["state"], "failed");
        // Verifying again does not make it better, mending does.
        scene.pontoon.call(&["verify"]).await.expect(7);
        scene
            .sql("UPDATE items SET amount = 7777 WHERE id = 77")
            .await;
        scene.pontoon.call(&["verify"]).await.expect(0);
        scene.pontoon.call(&["run", &path]).await.expect(0);
        assert_eq!(
            scene.text("SELECT string_agg(exact::text, ',' ORDER BY id) FROM items WHERE id IN (77, 78)").await,
            "7777,78"
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// A rewrite behind the proof voids it.
#[tokio::test(flavor = "multi_thread")]
async fn contract_only_on_proof() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan("proven", "", RETYPE));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.sql(&format!("BEGIN; {REFILL}; COMMIT")).await;
        let ended = scene.pontoon.approved(&path).await;
        match ended.code {
            // Verified again, and the certain ones repaired.
            Some(0) => {
                assert_eq!(
                    scene
                        .text("SELECT count(*) FROM items WHERE exact = id")
                        .await,
                    "1000"
                );
            }
            Some(7 | 8) => {
                assert_eq!(scene.text("SELECT count(amount) FROM items").await, "1000");
            }
            code => panic!("{code:?}\n{}\n{}", ended.stdout, ended.stderr),
        }
        scene.end().await;

        // Triggers that somebody disabled are noticed under contract's lock.
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan("proven", "", RETYPE));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.sql("ALTER TABLE items DISABLE TRIGGER ALL").await;
        let ended = scene.pontoon.approved(&path).await;
        assert_ne!(ended.code, Some(0), "{}", ended.stdout);
        assert_eq!(scene.text("SELECT count(amount) FROM items").await, "1000");
        scene.end().await;
    }
}

/// Names of 63 bytes, which no artifact's name may be made of.
#[tokio::test(flavor = "multi_thread")]
async fn names_as_long_as_they_may_be() {
    for version in crate::versions() {
        let name = |last: char| format!("{}x{last}", "ü".repeat(30)) + "y";
        let (table, a, b, c) = (name('t'), name('a'), name('b'), name('c'));
        assert_eq!(table.len(), 63);
        let scene = Scene::new(
            version,
            &format!(
                "CREATE TABLE \"{table}\" (id integer PRIMARY KEY, \"{a}\" integer NOT NULL, \"{b}\" text, \"{c}\" text);
                 INSERT INTO \"{table}\" SELECT g, g, 'B' || g, 'C' || g FROM generate_series(1, 500) g; ANALYZE"
            ),
        )
        .await;
        let (d, e, f) = (name('d'), name('e'), name('f'));
        let operations = format!(
            "- change_type: {{table: {table}, column: {a}, to: bigint, as: {d}}}\n\
             - change_type: {{table: {table}, column: {b}, to: varchar}}\n\
             - rename_column: {{table: {table}, from: {c}, to: {e}}}\n\
             - add_column: {{table: {table}, column: {{name: {f}, type: text, nullable: false}}, up: 'lower(\"{b}\")'}}\n\
             - add_check: {{table: {table}, name: {a}, check: 'id > 0'}}\n\
             - add_unique: {{table: {table}, name: {b}, columns: [{d}]}}\n\
             - add_index: {{table: {table}, name: {c}, columns: [{f}]}}"
        );
        for way in ["back", "there"] {
            let path = scene.pontoon.plan(&plan("long_names", "", &operations));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            if way == "back" {
                scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            } else {
                scene.pontoon.approved(&path).await.expect(0);
            }
            scene.clean().await;
        }
        let right = format!(
            "SELECT count(*) FROM \"{table}\" WHERE \"{d}\" = id AND \"{b}\" = 'B' || id AND \"{e}\" = 'C' || id AND \"{f}\" = 'b' || id"
        );
        assert_eq!(scene.text(&right).await, "500");
        scene.end().await;
    }
}

/// Two plans at once: on two tables they do not know each other; on one table
/// the second either fits beside the first or is refused before anything
/// changes.
#[tokio::test(flavor = "multi_thread")]
async fn two_plans_at_once() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        scene
            .sql("CREATE TABLE others AS SELECT * FROM items; ANALYZE")
            .await;
        let first = scene.pontoon.file("first.yaml", &plan("first", "", RETYPE));
        let second = scene.pontoon.file(
            "second.yaml",
            &plan(
                "second",
                "",
                "- rename_column: {table: others, from: note, to: remark}",
            ),
        );
        let (first, second) = (first.display().to_string(), second.display().to_string());
        let one = scene.pontoon.spawn(&["run", &first]);
        let other = scene.pontoon.spawn(&["run", &second]);
        one.wait().await.0.expect(5);
        other.wait().await.0.expect(5);
        // Which run is meant has to be said now.
        scene.pontoon.call(&["approve", "contract"]).await.expect(2);

        let third = scene.pontoon.file(
            "third.yaml",
            &plan(
                "third",
                "",
                "- rename_column: {table: items, from: note, to: remark}",
            ),
        );
        let third = third.display().to_string();
        let ended = scene.pontoon.call(&["run", &third]).await;
        match ended.code {
            Some(4) => {}
            Some(5) => {
                scene
                    .sql("UPDATE items SET amount = 5, note = 'both' WHERE id = 1; UPDATE items SET exact = 6, remark = 'new' WHERE id = 2")
                    .await;
                scene.pontoon.approved(&third).await.expect(0);
                assert_eq!(
                    scene
                        .text("SELECT exact || remark FROM items WHERE id IN (1, 2) ORDER BY id")
                        .await,
                    "5both,6new"
                );
            }
            code => panic!("{code:?}\n{}\n{}", ended.stdout, ended.stderr),
        }
        for path in [&first, &second] {
            scene.pontoon.approved(path).await.expect(0);
        }
        assert_eq!(
            scene
                .text("SELECT count(*) FROM items WHERE exact IS NULL")
                .await,
            "0"
        );
        assert_eq!(scene.text("SELECT count(remark) FROM others").await, "1000");
        scene.clean().await;
        scene.end().await;
    }
}

/// Everything that an application may say while both shapes live.
#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_write() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan(
            "ways",
            "",
            &format!("{RETYPE}\n- rename_column: {{table: items, from: note, to: remark}}"),
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for sql in [
            "INSERT INTO items (id, amount, note) VALUES (1, 11, 'up') ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, note = excluded.note",
            "INSERT INTO items (id, exact, remark) VALUES (2, 22, 'up') ON CONFLICT (id) DO UPDATE SET exact = excluded.exact, remark = excluded.remark",
            "INSERT INTO items (id, amount) VALUES (3, 33) ON CONFLICT DO NOTHING",
            "INSERT INTO items (id, amount) SELECT 5000 + id, id FROM items WHERE id <= 10",
            "INSERT INTO items (id, exact) SELECT 6000 + id, id FROM items WHERE id <= 10",
            "WITH gone AS (DELETE FROM items WHERE id = 4 RETURNING id, exact) INSERT INTO items (id, exact) SELECT id, exact FROM gone WHERE false",
            "WITH moved AS (UPDATE items SET amount = -amount WHERE id BETWEEN 20 AND 30 RETURNING id) UPDATE items SET remark = 'moved' FROM moved WHERE items.id = moved.id + 100",
            "UPDATE items SET amount = other.amount FROM items other WHERE items.id = other.id + 1 AND items.id BETWEEN 40 AND 50",
            "DO $$ BEGIN BEGIN UPDATE items SET amount = 0 WHERE id = 60; RAISE EXCEPTION 'undone'; EXCEPTION WHEN raise_exception THEN NULL; END; UPDATE items SET exact = 61 WHERE id = 61; END $$",
            "BEGIN; SAVEPOINT a; UPDATE items SET amount = 1 WHERE id = 70; ROLLBACK TO a; UPDATE items SET amount = 2 WHERE id = 70; COMMIT",
            "UPDATE items SET amount = NULL, exact = 5 WHERE id = 80",
            "UPDATE items SET id = id + 10000 WHERE id BETWEEN 90 AND 95",
        ] {
            let got = code(&scene.client, sql).await;
            assert!(
                got == "00000"
                    || (got.starts_with("23") || got.starts_with('P'))
                        && sql.contains("NULL, exact"),
                "{sql}: {got}"
            );
        }
        if version >= 15 {
            scene
                .sql("MERGE INTO items USING (VALUES (1, 111), (9001, 9001)) AS s (id, amount) ON items.id = s.id
                      WHEN MATCHED THEN UPDATE SET amount = s.amount
                      WHEN NOT MATCHED THEN INSERT (id, amount) VALUES (s.id, s.amount)")
                .await;
        }
        let apart = "SELECT count(*) FROM items WHERE exact IS DISTINCT FROM amount OR remark IS DISTINCT FROM note";
        assert_eq!(scene.text(apart).await, "0");
        scene.pontoon.call(&["verify"]).await.expect(0);
        scene.pontoon.approved(&path).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}
