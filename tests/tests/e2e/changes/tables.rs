//! A plan on each kind of table, and tables that change their storage under
//! the backfill.

use std::fmt::Write as _;

use pontoon_sandbox::app::{Model, models};
use pontoon_tests::Pontoon;
use serde_json::Value;

use crate::scene::{REFILL, Scene, go_on, journey, plan, stopped, traffic};

const ROWS: u64 = 2_000;
/// Small batches, so that there is a middle.
const SMALL: &str = "limits: {max_batch_rows: 200}\nbackfill: {target_batch_time: 20ms}";

/// Installs the model and goes all the way.
async fn all_the_way(version: u32, model: &Model, rows: u64, more: &str) {
    let scene = Scene::new(version, "").await;
    install(&scene, model, rows).await;
    let plan = format!("{}{SMALL}\n{more}", model.plan("way", 1));
    let options = traffic(scene.database.url(), rows);
    journey(model, &plan, &scene.pontoon, &scene.client, options).await;
    scene.end().await;
}

async fn install(scene: &Scene, model: &Model, rows: u64) {
    pontoon_sandbox::app::App::install(model, &scene.client, rows)
        .await
        .expect("the model");
}

/// No key, composite key, GENERATED ALWAYS AS IDENTITY, uuid, text with odd
/// characters in a column whose name holds quotes, partitioned with default.
#[tokio::test(flavor = "multi_thread")]
async fn of_every_model() {
    for version in crate::versions() {
        for model in models::all() {
            all_the_way(version, &model, ROWS, "").await;
        }
    }
}

/// The same through the key cursor, where the table has a key of its own.
#[tokio::test(flavor = "multi_thread")]
async fn of_every_key_by_the_key_cursor() {
    for version in crate::versions() {
        for model in [
            models::orders(),
            models::uuid_key(),
            models::composite_key(),
            models::text_key(),
            models::partitioned(),
        ] {
            let scene = Scene::new(version, "").await;
            install(&scene, &model, ROWS).await;
            let plan = format!(
                "{}limits: {{max_batch_rows: 200}}\nbackfill: {{target_batch_time: 20ms, cursor: key, workers: 2}}\n",
                model.plan("keyed", 1)
            );
            let options = traffic(scene.database.url(), ROWS);
            journey(&model, &plan, &scene.pontoon, &scene.client, options).await;
            let kinds = scene
                .text("SELECT DISTINCT r.cursor_kind FROM pontoon.range r JOIN pontoon.step s ON (s.run, s.no) = (r.run, r.step) WHERE s.definition::text LIKE '%\"backfill\"%'")
                .await;
            assert_eq!(kinds, "key", "{}", model.name);
            scene.end().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_three_hundred_columns() {
    for version in crate::versions() {
        let mut model = models::orders();
        let mut more = String::new();
        for no in 1..=290 {
            write!(
                more,
                "{} ADD COLUMN filler_{no} integer DEFAULT {no}",
                if no == 1 { "" } else { "," }
            )
            .expect("a String takes everything");
        }
        model.ddl.push(format!("ALTER TABLE {{table}}{more}"));
        all_the_way(version, &model, ROWS, "").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn empty_and_with_one_row() {
    for version in crate::versions() {
        for rows in [0, 1] {
            for model in [models::orders(), models::partitioned(), models::no_key()] {
                all_the_way(version, &model, rows, "").await;
            }
            // Nobody writes either.
            let scene = Scene::new(version, "").await;
            install(&scene, &models::orders(), rows).await;
            scene.completed(&models::orders().plan("quiet", 1)).await;
            let filled = "SELECT count(*) FROM orders WHERE amount_exact IS NOT NULL";
            assert_eq!(scene.text(filled).await, rows.to_string());
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Upper case, quotes, dots, spaces and letters beyond ASCII, in another
/// schema than `public`.
#[tokio::test(flavor = "multi_thread")]
async fn of_odd_names() {
    for version in crate::versions() {
        for (schema, table) in [
            ("Größe \"x\"", "Bestell.ungen '26"),
            ("ЯЩИК", "select"),
            ("a\\b", "{table} -- /* $body$ %I :x"),
        ] {
            let model = models::orders().in_table(schema, table);
            let quoted = format!("\"{}\"", schema.replace('"', "\"\""));
            let scene = Scene::new(version, &format!("CREATE SCHEMA {quoted}")).await;
            install(&scene, &model, ROWS).await;
            // JSON's quoting is YAML's too.
            let json = |text: &str| Value::from(text).to_string();
            let name = format!("{{schema: {}, name: {}}}", json(schema), json(table));
            let operations: String = model.operations.replace("{table}", &name);
            let plan = plan("odd", SMALL, operations.trim_end());
            let options = traffic(scene.database.url(), ROWS);
            journey(&model, &plan, &scene.pontoon, &scene.client, options).await;
            scene.end().await;
        }
    }
}

/// Values that lie out of line, compressed and not, in the changed column and
/// beside it.
#[tokio::test(flavor = "multi_thread")]
async fn with_toasted_values() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE documents (id integer PRIMARY KEY, body text, raw text, size text);
             ALTER TABLE documents ALTER raw SET STORAGE EXTERNAL;
             INSERT INTO documents SELECT g,
                (SELECT string_agg(md5(g::text || i), '') FROM generate_series(1, 300) i),
                repeat('x' || g, 3000), g::text
             FROM generate_series(1, 400) g;
             CREATE TABLE before AS SELECT id, md5(body) AS body, md5(raw) AS raw FROM documents;
             ANALYZE documents",
        )
        .await;
        scene
            .completed(&plan(
                "toast",
                SMALL,
                "- change_type: {table: documents, column: body, to: varchar, as: contents}\n\
                 - rename_column: {table: documents, from: raw, to: bare}\n\
                 - change_type: {table: documents, column: size, to: bigint}",
            ))
            .await;
        let same = "SELECT count(*) FROM documents JOIN before USING (id)
                    WHERE md5(contents) = before.body AND md5(bare) = before.raw AND size = id";
        assert_eq!(scene.text(same).await, "400");
        scene.clean().await;
        scene.end().await;
    }
}

/// Rows would be skipped silently: refused, with the reason and what to do.
#[tokio::test(flavor = "multi_thread")]
async fn under_forced_row_level_security() {
    for version in crate::versions() {
        let scene = Scene::new(version, "CREATE ROLE tenant_owner LOGIN").await;
        let owner = format!("{}_owner", scene.database.name());
        scene
            .sql(&format!(
                "ALTER ROLE tenant_owner RENAME TO {owner};
                 CREATE SCHEMA tenants AUTHORIZATION {owner};
                 SET ROLE {owner};
                 CREATE TABLE tenants.users (id integer PRIMARY KEY, tenant integer, email text);
                 INSERT INTO tenants.users SELECT g, g % 5, 'U' || g FROM generate_series(1, 500) g;
                 ALTER TABLE tenants.users ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
                 CREATE POLICY own ON tenants.users USING (tenant = current_setting('app.tenant')::integer);
                 RESET ROLE"
            ))
            .await;
        let pontoon = Pontoon::new(scene.database.url_as(&owner));
        let path = pontoon.plan(&plan(
            "rls",
            "schema: tenants",
            "- rename_column: {table: users, from: email, to: mail}",
        ));
        let ended = pontoon.call(&["run", &path]).await.expect(4);
        assert!(ended.stderr.contains("Row security"), "{}", ended.stderr);
        assert!(ended.stderr.contains("BYPASSRLS"), "{}", ended.stderr);
        scene.clean().await;

        // A role that passes row security does it all.
        scene
            .completed(&plan(
                "rls",
                "schema: tenants",
                "- rename_column: {table: users, from: email, to: mail}",
            ))
            .await;
        assert_eq!(
            scene.text("SELECT count(mail) FROM tenants.users").await,
            "500"
        );
        scene.end().await;
    }
}

/// The table's own BEFORE triggers change the row, before and behind ours.
#[tokio::test(flavor = "multi_thread")]
async fn with_before_triggers_that_change_the_row() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE people (id integer PRIMARY KEY, email text, age integer, touched integer NOT NULL DEFAULT 0);
             CREATE FUNCTION tidy() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.email := trim(NEW.email); NEW.age := abs(NEW.age); RETURN NEW; END $$;
             CREATE FUNCTION count_up() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN NEW.touched := NEW.touched + 1; RETURN NEW; END $$;
             INSERT INTO people SELECT g, 'User' || g, g % 90 FROM generate_series(1, 2000) g;
             CREATE TRIGGER a_count BEFORE UPDATE ON people FOR EACH ROW EXECUTE FUNCTION count_up();
             CREATE TRIGGER zz_tidy BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION tidy();
             ANALYZE people",
        )
        .await;
        let operations = "- change_type: {table: people, column: age, to: numeric, as: age_exact}\n\
                          - add_column: {table: people, column: {name: email_normalized, type: text}, up: lower(email), derived: true}";
        let path = scene.pontoon.plan(&plan("triggers", SMALL, operations));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
        for name in ["a_count", "zz_tidy"] {
            assert!(ended.stderr.contains(name), "{}", ended.stderr);
        }

        let keys = format!("{SMALL}\nacknowledge: [\"trigger:a_count\", \"trigger:zz_tidy\"]");
        let path = scene.pontoon.plan(&plan("triggers", &keys, operations));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql(
                "UPDATE people SET email = '  New@X ', age = -7 WHERE id = 1;
                 UPDATE people SET age_exact = -9 WHERE id = 2;
                 INSERT INTO people (id, email, age) VALUES (3001, ' ONE ', -1);
                 INSERT INTO people (id, email, age_exact) VALUES (3002, ' TWO ', 2.5)",
            )
            .await;
        let rows =
            "SELECT format('%s|%s|%s|%s', email, email_normalized, age, age_exact) FROM people
                    WHERE id IN (1, 2, 3001, 3002) ORDER BY id";
        assert_eq!(
            scene.text(rows).await,
            "New@X|new@x|7|7,User2|user2|9|9,ONE|one|1|1,TWO|two|3|2.5"
        );
        scene.pontoon.approved(&path).await.expect(0);
        let wrong = "SELECT count(*) FROM people WHERE email_normalized IS DISTINCT FROM lower(email) OR age_exact IS NULL";
        assert_eq!(scene.text(wrong).await, "0");
        scene.clean().await;
        scene.end().await;
    }
}

/// Storage that changes between two batches, while the process lies still.
async fn rewritten(version: u32, rewrite: &str, restarts: bool) {
    let scene = Scene::new(
        version,
        "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL, note text);
         INSERT INTO items SELECT g, g * 3, 'n' || g FROM generate_series(1, 5000) g;
         DELETE FROM items WHERE id % 7 = 0;
         ANALYZE items",
    )
    .await;
    let path = scene.pontoon.plan(&plan(
        "rewritten",
        SMALL,
        "- change_type: {table: items, column: amount, to: numeric, as: amount_exact}",
    ));
    let mut running = scene.pontoon.spawn_with(
        &["run", &path],
        &[("PONTOON_FAILPOINT", "stop:batch.end@3")],
    );
    stopped(&mut running).await;
    let filled = "SELECT count(*) FROM items WHERE amount_exact IS NOT NULL";
    let before: i64 = scene.text(filled).await.parse().expect("a number");
    assert!(
        (1..4_000).contains(&before),
        "{before} rows are filled in the middle of {rewrite}"
    );
    scene.sql(rewrite).await;
    go_on(&running);
    let (ended, records) = running.wait().await;
    ended.expect(5);
    let restarted = records
        .iter()
        .any(|record| record["event"] == "backfill_restarted");
    assert_eq!(restarted, restarts, "{rewrite}");
    let wrong = "SELECT count(*) FROM items WHERE amount_exact IS DISTINCT FROM amount::numeric";
    assert_eq!(scene.text(wrong).await, "0", "{rewrite}");
    scene.pontoon.approved(&path).await.expect(0);
    assert_eq!(
        scene
            .text("SELECT count(*) FROM items WHERE amount_exact IS DISTINCT FROM id * 3")
            .await,
        "0",
        "{rewrite}"
    );
    scene.clean().await;
    scene.end().await;
}

/// Statements that may not run in a block with others come one by one.
#[tokio::test(flavor = "multi_thread")]
async fn rewrite_in_flight() {
    for version in crate::versions() {
        rewritten(version, "VACUUM FULL items", true).await;
        rewritten(version, "CLUSTER items USING items_pkey", true).await;
        rewritten(
            version,
            "BEGIN; CREATE TEMP TABLE kept AS SELECT id, amount, note FROM items; TRUNCATE items;
             INSERT INTO items (id, amount, note) SELECT id, amount, note FROM kept ORDER BY random(); COMMIT",
            true,
        )
        .await;
        // Restored with the triggers off, as some tools do: nothing heals these rows.
        rewritten(version, &format!("BEGIN; {REFILL}; COMMIT"), true).await;
    }
}

/// Every row moves behind the cursor, or past the pages that were there.
#[tokio::test(flavor = "multi_thread")]
async fn moved_before_its_turn() {
    for version in crate::versions() {
        rewritten(
            version,
            "UPDATE items SET note = repeat('moved', 100)",
            false,
        )
        .await;
        rewritten(
            version,
            "UPDATE items SET note = note || '!' WHERE id > 2000",
            false,
        )
        .await;
    }
}

/// A partition that was filled before it came gets its turn, and one that came
/// after the verify pass voids the proof.
#[tokio::test(flavor = "multi_thread")]
async fn partition_attached_midway() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE events (id integer, amount integer NOT NULL, note text, PRIMARY KEY (id)) PARTITION BY RANGE (id);
             CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (0) TO (10000);
             CREATE TABLE events_rest PARTITION OF events DEFAULT;
             INSERT INTO events SELECT g, g * 3, 'n' FROM generate_series(1, 4000) g;
             INSERT INTO events VALUES (90000, 1, 'far');
             ANALYZE events",
        )
        .await;
        let path = scene.pontoon.plan(&plan(
            "attached",
            SMALL,
            "- change_type: {table: events, column: amount, to: numeric, as: amount_exact}\n\
             - add_column: {table: events, column: {name: shout, type: text, nullable: false}, up: upper(note)}",
        ));
        let mut running = scene.pontoon.spawn_with(
            &["run", &path],
            &[("PONTOON_FAILPOINT", "stop:batch.end@3")],
        );
        stopped(&mut running).await;
        let attach = |name: &str, from: u32| {
            format!(
                "CREATE TABLE {name} (LIKE events INCLUDING DEFAULTS);
                 INSERT INTO {name} (id, amount, note) SELECT g, g * 3, 'late' FROM generate_series({from}, {from} + 999) g;
                 ALTER TABLE events ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({from} + 1000)"
            )
        };
        scene.sql(&attach("events_2", 20_000)).await;
        go_on(&running);
        let (ended, _) = running.wait().await;
        ended.expect(5);
        let wrong = "SELECT count(*) FROM events WHERE amount_exact IS DISTINCT FROM amount OR shout IS DISTINCT FROM upper(note)";
        assert_eq!(scene.text(wrong).await, "0");

        // Behind the backfill, before contract.
        scene.sql(&attach("events_3", 30_000)).await;
        let ended = scene.pontoon.approved(&path).await;
        if ended.code != Some(0) {
            // Refused until the rows are mended, and never contracted over them.
            ended.expect(7);
            assert_eq!(
                scene
                    .text("SELECT count(*) FROM events WHERE amount IS NULL")
                    .await,
                "0"
            );
            scene.sql("UPDATE events SET note = note").await;
            scene.pontoon.call(&["verify"]).await.expect(0);
            scene.pontoon.approved(&path).await.expect(0);
        }
        let wrong = "SELECT count(*) FROM events WHERE shout IS DISTINCT FROM upper(note) OR (id < 90000 AND amount_exact IS DISTINCT FROM id * 3)";
        assert_eq!(scene.text(wrong).await, "0");
        assert_eq!(scene.text("SELECT count(*) FROM events").await, "6001");
        scene.clean().await;
        scene.end().await;
    }
}
