//! Another primary key, under traffic that lives by the old one; and what keeps
//! it from being replaced.

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};

use crate::scene::{Scene, Writers, plan};

const SETUP: &str = "
    CREATE TABLE accounts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        tenant integer NOT NULL,
        number bigint,
        up bigint CONSTRAINT accounts_up REFERENCES accounts ON DELETE SET NULL
    );
    COMMENT ON CONSTRAINT accounts_pkey ON accounts IS 'the first one';
    ALTER TABLE accounts CLUSTER ON accounts_pkey;
    CREATE TABLE entries (
        account bigint NOT NULL CONSTRAINT entries_account REFERENCES accounts ON DELETE CASCADE,
        amount integer NOT NULL
    );
    COMMENT ON CONSTRAINT entries_account ON entries IS 'whose';
    CREATE INDEX ON entries (account);
    INSERT INTO accounts (tenant, number, up)
        SELECT g % 7, g, CASE WHEN g > 100 THEN g - 100 END FROM generate_series(1, 1000) g;
    INSERT INTO entries SELECT g, 1 FROM generate_series(1, 1000) g";

const OPERATION: &str =
    "- replace_primary_key: {table: accounts, columns: [tenant, number], keep_as: accounts_id}";

/// Until the end the foreign keys hold, and afterwards they refer to what the
/// old key has become.
#[tokio::test(flavor = "multi_thread")]
async fn another_key_comes_under_traffic() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        let write = |turn: u64| {
            format!(
                "WITH made AS (INSERT INTO accounts (tenant, number, up) VALUES ({}, {} , {}) RETURNING id)
                     INSERT INTO entries SELECT id, 2 FROM made;
                 DELETE FROM accounts WHERE number = {} AND number > 1000",
                turn % 7,
                turn + 2000,
                turn % 50 + 1,
                turn + 1900
            )
        };
        let writers = Writers::start(&scene, 3, write, |_, _| false).await;
        let path = scene.pontoon.plan(&plan("key", "", OPERATION));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        writers.go_on().await;
        scene.pontoon.approved(&path).await.expect(0);
        writers.go_on().await;
        writers.stop().await;
        let refused = scene
            .client
            .batch_execute("INSERT INTO entries VALUES (-1, 1)")
            .await
            .expect_err("a foreign key refers to the old key");
        assert_eq!(refused.code().map(|code| code.code()), Some("23503"));
        scene.sql("DELETE FROM accounts WHERE id = 7").await;
        for (query, wanted) in [
            (
                "SELECT string_agg(pg_get_constraintdef(oid), '; ' ORDER BY contype, conname) FROM pg_constraint WHERE conrelid = 'accounts'::regclass AND contype <> 'n'",
                "FOREIGN KEY (up) REFERENCES accounts(id) ON DELETE SET NULL; PRIMARY KEY (tenant, number); UNIQUE (id)",
            ),
            (
                "SELECT string_agg(conname || ' ' || conindid::regclass || ' ' || convalidated, ', ' ORDER BY conname) FROM pg_constraint WHERE contype = 'f' AND connamespace = 'public'::regnamespace",
                "accounts_up accounts_id true, entries_account accounts_id true",
            ),
            (
                "SELECT obj_description(oid, 'pg_constraint') FROM pg_constraint WHERE conname IN ('accounts_id', 'entries_account') ORDER BY conname",
                "the first one,whose",
            ),
            (
                "SELECT indexrelid::regclass FROM pg_index WHERE indrelid = 'accounts'::regclass AND indisclustered",
                "accounts_id",
            ),
            (
                "SELECT count(*) FROM entries LEFT JOIN accounts ON id = account WHERE id IS NULL",
                "0",
            ),
            ("SELECT count(*) FROM entries WHERE account = 7", "0"),
            ("SELECT count(*) FROM accounts WHERE up = 7", "0"),
        ] {
            assert_eq!(scene.text(query).await, wanted, "{query}");
        }
        scene.clean().await;
        scene.end().await;
    }
}

/// A duplicate stops contract, and rollback restores everything.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_stops_the_run_and_nothing_is_lost() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        scene
            .sql("INSERT INTO accounts (tenant, number) VALUES (1, 1)")
            .await;
        let before = CatalogDump::take(&scene.client, &DumpOptions::default()).await;
        let before = before.expect("a dump");
        let path = scene.pontoon.plan(&plan("key", "", OPERATION));
        scene.pontoon.approved(&path).await.expect(7);
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        let after = CatalogDump::take(&scene.client, &DumpOptions::default()).await;
        let differences = before.differences(&after.expect("a dump"));
        assert!(differences.is_empty(), "{differences:#?}");
        scene.end().await;
    }
}

/// Each thing that would break is named, and nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn what_needs_the_old_key_is_named() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        scene
            .sql("CREATE VIEW totals AS SELECT a.id, a.tenant, sum(e.amount) FROM accounts a JOIN entries e ON e.account = a.id GROUP BY a.id;
                  CREATE PUBLICATION streamed FOR TABLE accounts")
            .await;
        let before = CatalogDump::take(&scene.client, &DumpOptions::default()).await;
        let before = before.expect("a dump");
        let operation = OPERATION.replace(", keep_as: accounts_id", "");
        let path = scene.pontoon.plan(&plan("key", "", &operation));
        let ended = scene.pontoon.call(&["run", &path]).await;
        let said = format!("{}{}", ended.stdout, ended.stderr);
        assert_eq!(ended.code, Some(4), "{said}");
        for name in [
            "view public.totals",
            "foreign key accounts_up",
            "acknowledge: [\"publication:streamed\"]",
        ] {
            assert!(said.to_lowercase().contains(name), "{name}: {said}");
        }
        let after = CatalogDump::take(&scene.client, &DumpOptions::default()).await;
        let differences = before.differences(&after.expect("a dump"));
        assert!(differences.is_empty(), "{differences:#?}");
        scene.end().await;
    }
}

/// A wider key runs out as early as before when its sequence keeps its end:
/// preview says so, and how to mend it.
#[tokio::test(flavor = "multi_thread")]
async fn a_sequence_that_ends_before_its_key_is_told() {
    // One version is enough: no server does it differently.
    if let Some(version) = crate::versions().into_iter().max() {
        let scene = Scene::new(
            version,
            "CREATE TABLE good (id serial PRIMARY KEY);
             CREATE SEQUENCE \"Loose\" AS integer;
             CREATE TABLE loose (id integer PRIMARY KEY DEFAULT nextval('\"Loose\"'));
             CREATE TABLE ended (id serial PRIMARY KEY);
             ALTER SEQUENCE ended_id_seq AS bigint MAXVALUE 2147483647;
             CREATE TABLE limited (id integer GENERATED ALWAYS AS IDENTITY (MAXVALUE 1000000) PRIMARY KEY);
             CREATE TABLE plain (id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY)",
        )
        .await;
        let tables = ["good", "loose", "ended", "limited", "plain"];
        let operations =
            tables.map(|table| format!("- widen_primary_key: {{table: {table}, column: id}}"));
        let path = scene
            .pontoon
            .plan(&plan("wide", "", &operations.join("\n")));
        let preview = scene.pontoon.call(&["preview", &path]).await.expect(0);
        let said: Vec<&str> = preview.stdout.split_whitespace().collect();
        let said = said.join(" ");
        assert_eq!(said.matches("still ends at").count(), 3, "{said}");
        let mends = [
            (
                "Loose",
                "ALTER SEQUENCE \"public\".\"Loose\" AS bigint NO MAXVALUE",
            ),
            (
                "ended_id_seq",
                "ALTER SEQUENCE \"public\".\"ended_id_seq\" AS bigint NO MAXVALUE",
            ),
            (
                "limited",
                "ALTER TABLE \"public\".\"limited\" ALTER COLUMN \"id\" SET NO MAXVALUE",
            ),
        ];
        for (what, mend) in mends {
            assert!(said.contains(mend), "{what}: {said}");
        }
        scene.pontoon.approved(&path).await.expect(0);
        for (_, mend) in mends {
            scene.sql(mend).await;
        }
        for sequence in [
            "good_id_seq",
            "\"Loose\"",
            "ended_id_seq",
            "limited_id_seq",
            "plain_id_seq",
        ] {
            scene
                .sql(&format!("SELECT setval('{sequence}', 3000000000)"))
                .await;
        }
        for table in tables {
            let id = scene
                .text(&format!("INSERT INTO {table} DEFAULT VALUES RETURNING id"))
                .await;
            assert_eq!(id, "3000000001", "{table}");
        }
        scene.end().await;
    }
}

/// What the refusals of a partitioned table's key recommend: plans that widen
/// it, and that make another one of it.
#[tokio::test(flavor = "multi_thread")]
async fn the_key_of_a_partitioned_table_goes_and_comes_again() {
    // One version is enough: no server does it differently.
    if let Some(version) = crate::versions().into_iter().max() {
        let scene = Scene::new(
            version,
            "CREATE TABLE events (id integer NOT NULL, at date NOT NULL, note text, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
             CREATE TABLE events_rest PARTITION OF events DEFAULT;
             INSERT INTO events SELECT g, date '2026-01-01' + g, 'n' || g FROM generate_series(1, 300) g",
        )
        .await;
        for (name, operation, told) in [
            (
                "w",
                "- widen_primary_key: {table: events, column: id}",
                "build it again afterwards, partition by partition",
            ),
            (
                "r",
                "- replace_primary_key: {table: events, columns: [at, note]}",
                "`drop_constraint` in one plan",
            ),
        ] {
            let path = scene.pontoon.plan(&plan(name, "", operation));
            let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
            let said: Vec<&str> = ended.stderr.split_whitespace().collect();
            assert!(said.join(" ").contains(told), "{}", ended.stderr);
        }
        let mut turn = 1000;
        for (name, operation) in [
            (
                "one",
                "- drop_constraint: {table: events, name: events_pkey}",
            ),
            (
                "two",
                "- change_type: {table: events, column: id, to: bigint}",
            ),
            (
                "three",
                "- add_primary_key: {table: events, name: events_pkey, columns: [at, id, note]}",
            ),
        ] {
            scene.completed(&plan(name, "", operation)).await;
            turn += 1;
            scene
                .sql(&format!(
                    "INSERT INTO events (id, at, note) VALUES ({turn}, '2026-03-01', 'new')"
                ))
                .await;
        }
        for (query, wanted) in [
            (
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'events'::regclass AND contype = 'p'",
                "PRIMARY KEY (at, id, note)",
            ),
            (
                "SELECT count(*) FROM pg_inherits WHERE inhparent = 'events_pkey'::regclass",
                "2",
            ),
            (
                "SELECT count(*) FROM pg_index WHERE indrelid IN ('events_1'::regclass, 'events_rest'::regclass)",
                "2",
            ),
            (
                "SELECT format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = 'events'::regclass AND attname = 'id'",
                "bigint",
            ),
            ("SELECT count(*) FROM events", "303"),
        ] {
            assert_eq!(scene.text(query).await, wanted, "{query}");
        }
        scene.clean().await;
        scene.end().await;
    }
}
