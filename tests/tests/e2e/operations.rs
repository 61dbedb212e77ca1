//! Every operation: to its end, where the catalog must be what the same
//! change by hand makes of it, and back from the gate and from the last step,
//! where it must be what it was. Neither comparison uses Pontoon's catalog.

use std::time::Duration;

use pontoon_sandbox::dump::{CatalogDump, DumpOptions, pg_dump};
use pontoon_tests::wait_for_silence;

use super::scene::{Scene, plan, text};

const SETUP: &str = "
    CREATE TABLE parents (id bigint PRIMARY KEY, code text UNIQUE);
    CREATE TABLE items (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        parent bigint,
        name text NOT NULL DEFAULT 'none',
        size integer DEFAULT 7,
        weight integer NOT NULL,
        note text,
        age integer CONSTRAINT age_positive CHECK (age > 0),
        code text CONSTRAINT items_code UNIQUE,
        owner bigint CONSTRAINT items_owner REFERENCES parents ON DELETE CASCADE
    );
    CREATE TYPE mood AS ENUM ('sad', 'ok');
    CREATE TABLE labels (id integer PRIMARY KEY, label varchar(20), mood mood DEFAULT 'sad');
    CREATE VIEW far WITH (security_barrier = true) AS SELECT id, code FROM parents WHERE id > 10;
    COMMENT ON VIEW far IS 'things';
    COMMENT ON COLUMN far.code IS 'as printed';
    GRANT SELECT ON far TO PUBLIC;
    CREATE VIEW near AS SELECT id, code FROM parents WHERE id < 10;
    CREATE VIEW nearest AS SELECT id FROM near;
    ALTER TABLE parents ADD CONSTRAINT coded CHECK (code IS NOT NULL) NOT VALID;
    ALTER TABLE items ADD CONSTRAINT items_parent_known FOREIGN KEY (parent) REFERENCES parents NOT VALID,
        SET (fillfactor = 95, parallel_workers = 2);
    CREATE UNIQUE INDEX items_again ON items (id);
    CREATE INDEX items_note ON items (note) WHERE size > 3;
    COMMENT ON INDEX items_note IS 'for the search';
    CREATE TABLE loose (a integer, b text);
    CREATE TABLE remembered AS SELECT c.relname, c.relfilenode FROM pg_class c WHERE relname IN ('parents_pkey', 'parents_code_key', 'items_note');
    INSERT INTO loose SELECT g, 'b' || g FROM generate_series(1, 20) g;
    COMMENT ON COLUMN items.size IS 'in cm';
    COMMENT ON COLUMN items.name IS 'as printed';
    GRANT SELECT (name, size), UPDATE (name) ON items TO PUBLIC;
    INSERT INTO parents SELECT g, 'p' || g FROM generate_series(1, 20) g;
    INSERT INTO items (parent, name, size, weight, note, age, code, owner)
        SELECT g % 20 + 1, 'Name ' || g, nullif(g % 50, 0), g, CASE WHEN g % 3 > 0 THEN 'n' || g END, g, 'c' || g, g % 20 + 1
        FROM generate_series(1, 600) g;
    INSERT INTO labels VALUES (1, 'one');
    ANALYZE";

/// One operation on the tables of [`SETUP`].
struct Case {
    operations: &'static str,
    /// What must have led to the same catalog.
    by_hand: &'static str,
    /// Writes of old versions, which work at the gate and stay.
    old: &'static str,
    /// Writes of new versions, likewise.
    new: &'static str,
    /// Queries that give true at the end.
    holds: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        operations: "- create_table: {table: tags, columns: [{name: id, type: bigint, identity: always}, {name: item, type: bigint, nullable: false}, {name: label, type: text, default: \"'x'\", comment: a word}], primary_key: [id], comment: words}",
        by_hand: "CREATE TABLE tags (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, item bigint NOT NULL, label text DEFAULT 'x');
                  COMMENT ON TABLE tags IS 'words'; COMMENT ON COLUMN tags.label IS 'a word'",
        old: "",
        new: "INSERT INTO tags (item) VALUES (1)",
        holds: &["SELECT label = 'x' FROM tags"],
    },
    Case {
        operations: "- drop_table: {table: labels}",
        by_hand: "DROP TABLE labels",
        old: "INSERT INTO labels VALUES (2, 'two')",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_column: {table: items, column: {name: colour, type: text, nullable: false, default: \"'red'\", comment: of the hull}}",
        by_hand: "ALTER TABLE items ADD COLUMN colour text NOT NULL DEFAULT 'red'; COMMENT ON COLUMN items.colour IS 'of the hull'",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "INSERT INTO items (weight, colour) VALUES (1, 'blue')",
        holds: &["SELECT bool_and(colour IN ('red', 'blue')) FROM items"],
    },
    Case {
        operations: "- add_column: {table: items, column: {name: normalized, type: text, nullable: false, default: \"'?'\"}, up: lower(name)}",
        by_hand: "ALTER TABLE items ADD COLUMN normalized text; UPDATE items SET normalized = lower(name); ALTER TABLE items ALTER normalized SET NOT NULL, ALTER normalized SET DEFAULT '?'",
        old: "INSERT INTO items (name, weight) VALUES ('OLD', 1); UPDATE items SET name = 'UPDATED' WHERE id = 5",
        new: "INSERT INTO items (name, normalized, weight) VALUES ('New', 'own', 1)",
        holds: &["SELECT bool_and(normalized = lower(name) OR normalized = 'own') FROM items"],
    },
    Case {
        operations: "- add_column: {table: items, column: {name: density, type: numeric}, up: \"weight / nullif(size, 0)::numeric\", derived: true}",
        by_hand: "ALTER TABLE items ADD COLUMN density numeric",
        old: "UPDATE items SET weight = 1000 WHERE id = 5; INSERT INTO items (weight, size) VALUES (10, 4)",
        new: "UPDATE items SET density = -1 WHERE id = 6",
        holds: &["SELECT bool_and(density IS NOT DISTINCT FROM weight / nullif(size, 0)::numeric) FROM items"],
    },
    Case {
        operations: "- drop_column: {table: items, column: weight, down: \"coalesce(size, 1)\"}",
        by_hand: "ALTER TABLE items DROP COLUMN weight",
        old: "INSERT INTO items (weight) VALUES (3); SELECT weight FROM items",
        new: "INSERT INTO items (name) VALUES ('without')",
        holds: &[],
    },
    Case {
        operations: "- rename_column: {table: items, from: name, to: title}",
        by_hand: "ALTER TABLE items RENAME COLUMN name TO title",
        old: "INSERT INTO items (name, weight) VALUES ('by old', 1); UPDATE items SET name = 'old' WHERE id = 5",
        new: "INSERT INTO items (title, weight) VALUES ('by new', 1); UPDATE items SET title = 'new' WHERE id = 6; INSERT INTO items (weight) VALUES (77)",
        holds: &[
            "SELECT count(*) = 5 FROM items WHERE title IN ('by old', 'old', 'by new', 'new') OR (title = 'none' AND weight = 77)",
            "SELECT count(*) = 598 FROM items WHERE title LIKE 'Name %'",
        ],
    },
    Case {
        operations: "- change_type: {table: items, column: weight, to: bigint}",
        by_hand: "ALTER TABLE items ADD COLUMN w2 bigint; UPDATE items SET w2 = weight; ALTER TABLE items DROP COLUMN weight; ALTER TABLE items RENAME COLUMN w2 TO weight; ALTER TABLE items ALTER weight SET NOT NULL",
        old: "INSERT INTO items (weight) VALUES (3); UPDATE items SET weight = weight + 1 WHERE id = 5",
        new: "UPDATE items SET weight = 9 WHERE id = 6",
        holds: &["SELECT sum(weight) = 600 * 601 / 2 + 3 + 1 + 3 FROM items"],
    },
    Case {
        operations: "- change_type: {table: items, column: name, to: \"varchar(40)\", as: title}",
        by_hand: "ALTER TABLE items ADD COLUMN title varchar(40); UPDATE items SET title = name; ALTER TABLE items DROP COLUMN name;
                  ALTER TABLE items ALTER title SET NOT NULL, ALTER title SET DEFAULT ('none'::text)::varchar;
                  COMMENT ON COLUMN items.title IS 'as printed'; GRANT SELECT (title), UPDATE (title) ON items TO PUBLIC",
        old: "INSERT INTO items (name, weight) VALUES ('by old', 1); INSERT INTO items (weight) VALUES (77)",
        new: "INSERT INTO items (title, weight) VALUES ('by new', 1); UPDATE items SET title = 'new' WHERE id = 6",
        holds: &["SELECT count(*) = 4 FROM items WHERE title IN ('by old', 'by new', 'new') OR (title = 'none' AND weight = 77)"],
    },
    Case {
        operations: "- set_not_null: {table: items, column: note, fill: \"''\"}",
        by_hand: "UPDATE items SET note = '' WHERE note IS NULL; ALTER TABLE items ALTER note SET NOT NULL",
        old: "INSERT INTO items (weight) VALUES (1); UPDATE items SET note = NULL WHERE id = 1",
        new: "INSERT INTO items (weight, note) VALUES (1, 'given')",
        holds: &["SELECT count(*) = 202 FROM items WHERE note = ''"],
    },
    Case {
        operations: "- set_not_null: {table: items, column: parent}",
        by_hand: "ALTER TABLE items ALTER parent SET NOT NULL",
        old: "INSERT INTO items (weight, parent) VALUES (1, 1)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- drop_not_null: {table: items, column: weight}",
        by_hand: "ALTER TABLE items ALTER weight DROP NOT NULL",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- set_default: {table: items, column: note, default: \"'none'\"}",
        by_hand: "ALTER TABLE items ALTER note SET DEFAULT 'none'",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &["SELECT count(*) = 1 FROM items WHERE note = 'none'"],
    },
    Case {
        operations: "- set_default: {table: items, column: size, default: 8}",
        by_hand: "ALTER TABLE items ALTER size SET DEFAULT 8",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- drop_default: {table: items, column: size}",
        by_hand: "ALTER TABLE items ALTER size DROP DEFAULT",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &["SELECT count(*) = 1 FROM items WHERE id > 600 AND size = 7"],
    },
    Case {
        operations: "- add_index: {table: items, name: items_by_size, columns: [size, {expression: lower(name), opclass: text_pattern_ops}, {column: age, order: desc, nulls: last}], where: size > 3, include: [weight]}",
        by_hand: "CREATE INDEX items_by_size ON items (size, lower(name) text_pattern_ops, age DESC NULLS LAST) INCLUDE (weight) WHERE size > 3",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_index: {table: items, name: items_words, columns: [{expression: \"to_tsvector('english', name)\"}], method: gin}",
        by_hand: "CREATE INDEX items_words ON items USING gin (to_tsvector('english', name))",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_index: {table: items, name: items_one, columns: [name, weight], unique: true}",
        by_hand: "CREATE UNIQUE INDEX items_one ON items (name, weight)",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_column: {table: items, column: {name: normalized, type: text}, up: lower(name)}\n- add_index: {table: items, name: items_normalized, columns: [normalized]}",
        by_hand: "ALTER TABLE items ADD COLUMN normalized text; CREATE INDEX items_normalized ON items (normalized)",
        old: "INSERT INTO items (name, weight) VALUES ('OLD', 1)",
        new: "",
        holds: &["SELECT bool_and(normalized = lower(name)) FROM items"],
    },
    Case {
        operations: "- drop_index: {name: items_note}",
        by_hand: "DROP INDEX items_note",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_check: {table: items, name: weight_positive, check: weight > 0 AND name <> ''}",
        by_hand: "ALTER TABLE items ADD CONSTRAINT weight_positive CHECK (weight > 0 AND name <> '')",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_unique: {table: items, name: items_weight_key, columns: [weight]}",
        by_hand: "ALTER TABLE items ADD CONSTRAINT items_weight_key UNIQUE (weight)",
        old: "INSERT INTO items (weight) VALUES (9999)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_foreign_key: {table: items, name: items_parent, columns: [parent], references: {table: parents, columns: [id]}, on_delete: set_null, on_update: cascade, deferrable: initially_deferred}",
        by_hand: "ALTER TABLE items ADD CONSTRAINT items_parent FOREIGN KEY (parent) REFERENCES parents (id) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED",
        old: "INSERT INTO items (weight, parent) VALUES (1, 3)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- drop_constraint: {table: items, name: age_positive}",
        by_hand: "ALTER TABLE items DROP CONSTRAINT age_positive",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- drop_constraint: {table: items, name: items_owner}",
        by_hand: "ALTER TABLE items DROP CONSTRAINT items_owner",
        old: "INSERT INTO items (weight, owner) VALUES (1, 2)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- drop_constraint: {table: items, name: items_code}",
        by_hand: "ALTER TABLE items DROP CONSTRAINT items_code",
        old: "INSERT INTO items (weight, code) VALUES (1, 'other')",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- backfill: {table: items, set: {note: \"'pending'\"}, where: note IS NULL}",
        by_hand: "",
        old: "",
        new: "",
        holds: &["SELECT count(*) = 200 FROM items WHERE note = 'pending'"],
    },
    Case {
        operations: "- sql: {phase: expand, run: \"CREATE VIEW heavy AS SELECT id FROM items WHERE weight > 100; COMMENT ON VIEW heavy IS 'x'\", undo: DROP VIEW heavy}",
        by_hand: "CREATE VIEW heavy AS SELECT id FROM items WHERE weight > 100; COMMENT ON VIEW heavy IS 'x'",
        old: "",
        new: "SELECT * FROM heavy",
        holds: &[],
    },
    Case {
        operations: "- set_comment: {table: items, comment: \"it's\"}\n- set_comment: {table: items, column: size, comment: \"\"}\n- set_comment: {table: items, constraint: age_positive, comment: a}\n- set_comment: {index: items_note, comment: b}\n- set_comment: {schema: public, comment: c}",
        by_hand: "COMMENT ON TABLE items IS 'it''s'; COMMENT ON COLUMN items.size IS NULL; COMMENT ON CONSTRAINT age_positive ON items IS 'a'; COMMENT ON INDEX items_note IS 'b'; COMMENT ON SCHEMA public IS 'c'",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- set_statistics: {table: items, column: name, target: 500}\n- analyze: {table: items}",
        by_hand: "ALTER TABLE items ALTER name SET STATISTICS 500",
        old: "",
        new: "",
        // More bounds than the hundred and one of the target before.
        holds: &["SELECT cardinality(histogram_bounds::text::text[]) > 101 FROM pg_stats WHERE tablename = 'items' AND attname = 'name'"],
    },
    Case {
        operations: "- rename_constraint: {table: items, from: items_code, to: items_code_key}\n- rename_constraint: {table: items, from: items_owner, to: items_owner_fkey}\n- rename_constraint: {table: items, from: age_positive, to: items_age_check}",
        by_hand: "ALTER TABLE items RENAME CONSTRAINT items_code TO items_code_key; ALTER TABLE items RENAME CONSTRAINT items_owner TO items_owner_fkey; ALTER TABLE items RENAME CONSTRAINT age_positive TO items_age_check",
        old: "INSERT INTO items (weight, code) VALUES (1, 'c7') ON CONFLICT ON CONSTRAINT items_code DO NOTHING",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- rename_index: {name: items_note, to: items_note_idx}",
        by_hand: "ALTER INDEX items_note RENAME TO items_note_idx",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- backfill: {table: parents, set: {code: \"'none'\"}, where: code IS NULL}\n- validate_constraint: {table: parents, name: coded}\n- validate_constraint: {table: items, name: items_parent_known}",
        by_hand: "ALTER TABLE parents VALIDATE CONSTRAINT coded; ALTER TABLE items VALIDATE CONSTRAINT items_parent_known",
        old: "INSERT INTO parents VALUES (100, 'p100')",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- set_table_options: {table: items, set: {fillfactor: 70, toast.autovacuum_enabled: false}, reset: [parallel_workers]}",
        by_hand: "ALTER TABLE items SET (fillfactor = 70, toast.autovacuum_enabled = false); ALTER TABLE items RESET (parallel_workers)",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- set_replica_identity: {table: items, identity: index, index: items_again}",
        by_hand: "ALTER TABLE items REPLICA IDENTITY USING INDEX items_again",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- create_schema: {name: reports}\n- create_enum: {name: reports.kind, labels: [a, \"it's\"]}\n- create_table: {table: reports.lines, columns: [{name: kind, type: reports.kind}]}\n- grant: {privileges: [usage], schema: reports, to: [public]}\n- grant: {privileges: [select], table: reports.lines, to: [public]}",
        by_hand: "CREATE SCHEMA reports; CREATE TYPE reports.kind AS ENUM ('a', 'it''s'); CREATE TABLE reports.lines (kind reports.kind); GRANT USAGE ON SCHEMA reports TO PUBLIC; GRANT SELECT ON reports.lines TO PUBLIC",
        old: "",
        new: "INSERT INTO reports.lines VALUES ('it''s')",
        holds: &[],
    },
    Case {
        operations: "- create_extension: {name: pg_trgm}",
        by_hand: "CREATE EXTENSION pg_trgm SCHEMA public",
        old: "",
        new: "SELECT show_trgm('abc')",
        holds: &[],
    },
    Case {
        operations: "- add_enum_value: {name: mood, value: so-so, after: sad}\n- rename_enum_value: {name: mood, from: ok, to: okay}",
        by_hand: "ALTER TYPE mood ADD VALUE 'so-so' AFTER 'sad'; ALTER TYPE mood RENAME VALUE 'ok' TO 'okay'",
        old: "INSERT INTO labels VALUES (2, 'two', 'ok')",
        new: "INSERT INTO labels VALUES (3, 'three', 'so-so')",
        holds: &["SELECT string_agg(mood::text, ' ' ORDER BY mood, id) = 'sad so-so okay' FROM labels"],
    },
    Case {
        operations: "- add_column: {table: items, column: {name: shout, type: text}, up: upper(name)}\n- create_view: {name: loud, query: \"SELECT id, shout FROM items WHERE weight > 3 -- heavy\", security_barrier: true}\n- grant: {privileges: [select], table: loud, to: [public]}",
        by_hand: "ALTER TABLE items ADD COLUMN shout text; CREATE VIEW loud WITH (security_barrier = true) AS SELECT id, shout FROM items WHERE weight > 3; GRANT SELECT ON loud TO PUBLIC",
        old: "INSERT INTO items (name, weight) VALUES ('OLD', 4)",
        new: "SELECT * FROM loud",
        holds: &["SELECT bool_and(shout IS NOT NULL) FROM loud"],
    },
    Case {
        operations: "- replace_view: {name: far, query: \"SELECT id, code, upper(code) AS loud FROM parents WHERE id > 15\"}\n- replace_view: {name: near, query: \"SELECT id, code FROM parents WHERE id < 5;\"}\n- drop_view: {name: nearest}",
        by_hand: "CREATE OR REPLACE VIEW far WITH (security_barrier = true) AS SELECT id, code, upper(code) AS loud FROM parents WHERE id > 15; CREATE OR REPLACE VIEW near AS SELECT id, code FROM parents WHERE id < 5; DROP VIEW nearest",
        old: "SELECT id, code FROM far; SELECT id FROM nearest",
        new: "SELECT loud FROM far",
        holds: &["SELECT count(*) = 4 FROM near"],
    },
    Case {
        operations: "- replace_view: {name: near, query: \"SELECT id, code, 1 AS one FROM parents WHERE id < 5\", phase: contract}",
        by_hand: "CREATE OR REPLACE VIEW near AS SELECT id, code, 1 AS one FROM parents WHERE id < 5",
        old: "SELECT id, code FROM near",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- grant: {privileges: [select, delete], table: parents, to: [public]}\n- grant: {privileges: [insert], table: items, columns: [name, size], to: [public]}\n- revoke: {privileges: [select, update], table: items, columns: [name], from: [public]}\n- revoke: {privileges: [select], table: far, from: [public]}",
        by_hand: "GRANT SELECT, DELETE ON parents TO PUBLIC; GRANT INSERT (name, size) ON items TO PUBLIC; REVOKE SELECT (name), UPDATE (name) ON items FROM PUBLIC; REVOKE SELECT ON far FROM PUBLIC",
        old: "",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- add_primary_key: {table: loose, name: loose_key, columns: [b, a]}",
        by_hand: "ALTER TABLE loose ADD CONSTRAINT loose_key PRIMARY KEY (b, a)",
        old: "INSERT INTO loose VALUES (1000, 'x')",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- replace_index: {table: items, name: items_note, columns: [{expression: lower(note)}, size], where: size > 5}\n- replace_index: {table: items, name: items_again, columns: [id, weight], unique: true}",
        by_hand: "DROP INDEX items_note; CREATE INDEX items_note ON items (lower(note), size) WHERE size > 5; COMMENT ON INDEX items_note IS 'for the search'; DROP INDEX items_again; CREATE UNIQUE INDEX items_again ON items (id, weight)",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &[],
    },
    Case {
        operations: "- reindex: {table: parents}\n- reindex: {name: items_note}",
        by_hand: "",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "",
        holds: &["SELECT bool_and(c.relfilenode <> r.relfilenode) FROM pg_class c JOIN remembered r USING (relname)"],
    },
    Case {
        operations: "- wait_for: {query: \"SELECT count(*) >= 20 FROM parents;\", timeout: 30s, every: 100ms}\n- set_default: {table: items, column: note, default: \"'none'\"}",
        by_hand: "ALTER TABLE items ALTER note SET DEFAULT 'none'",
        old: "",
        new: "",
        holds: &[],
    },
    // All on one table at once: one trigger pair, one scan, one proof.
    Case {
        operations: "- rename_column: {table: items, from: name, to: title}\n\
                     - change_type: {table: items, column: weight, to: numeric, as: weight_exact}\n\
                     - add_column: {table: items, column: {name: shout, type: text, nullable: false}, up: upper(name)}\n\
                     - set_not_null: {table: items, column: size, fill: 0}\n\
                     - drop_index: {name: items_note}\n\
                     - drop_column: {table: items, column: note}\n\
                     - add_check: {table: items, name: light, check: age < 100000}",
        by_hand: "ALTER TABLE items RENAME COLUMN name TO title;
                  ALTER TABLE items ADD COLUMN weight_exact numeric; UPDATE items SET weight_exact = weight; ALTER TABLE items DROP COLUMN weight;
                  ALTER TABLE items ADD COLUMN shout text; UPDATE items SET shout = upper(title), size = coalesce(size, 0);
                  ALTER TABLE items ALTER weight_exact SET NOT NULL, ALTER shout SET NOT NULL, ALTER size SET NOT NULL, DROP COLUMN note, ADD CONSTRAINT light CHECK (age < 100000)",
        old: "INSERT INTO items (name, weight) VALUES ('by old', 1)",
        new: "INSERT INTO items (title, weight_exact, shout, size) VALUES ('by new', 1.5, 'own', 3)",
        holds: &[
            "SELECT bool_and(shout = upper(title) OR shout = 'own') FROM items",
            "SELECT count(*) = 602 FROM items WHERE size IS NOT NULL",
        ],
    },
];

/// What a rollback leaves on purpose, by the first words of a case: what the
/// operation's page says that it does not take back.
const STAYS: &[(&str, &str)] = &[
    (
        "- add_enum_value",
        "ALTER TYPE mood ADD VALUE 'so-so' AFTER 'sad'",
    ),
    (
        "- backfill: {table: parents",
        "ALTER TABLE parents VALIDATE CONSTRAINT coded; ALTER TABLE items VALIDATE CONSTRAINT items_parent_known",
    ),
];

/// The catalog that a rollback of a case leaves.
async fn before(version: u32, case: &Case) -> Scene {
    let scene = Scene::new(version, SETUP).await;
    for (start, stays) in STAYS {
        if case.operations.starts_with(start) {
            scene.sql(stays).await;
        }
    }
    scene
}

/// Every value of every row.
const ROWS: &str = "SELECT md5(string_agg(i::text, '|' ORDER BY id)) FROM items i";
/// A last step behind the gate, so that every plan has one.
const LAST: &str = "- sql: {phase: contract, run: SELECT 1, undo: nothing}";
const KEYS: &str = "limits: {max_batch_rows: 100}\nbackfill: {target_batch_time: 20ms, workers: 2}";

fn whole(case: &Case) -> String {
    plan("one", KEYS, &format!("{}\n{LAST}", case.operations))
}

/// Stands at the gate, with both versions having written.
async fn at_the_gate(version: u32, case: &Case) -> (Scene, String) {
    let scene = Scene::new(version, SETUP).await;
    let path = scene.pontoon.plan(&whole(case));
    let ended = scene.pontoon.call(&["run", &path]).await;
    assert_eq!(
        ended.code,
        Some(5),
        "{}\n{}\n{}",
        case.operations,
        ended.stdout,
        ended.stderr
    );
    scene.sql(case.old).await;
    scene.sql(case.new).await;
    (scene, path)
}

/// `PONTOON_OPERATION='add_index|rename_index'` tries only the cases with one
/// of these texts.
fn is_asked_for(case: &Case) -> bool {
    std::env::var("PONTOON_OPERATION").map_or(true, |asked| {
        asked.split('|').any(|text| case.operations.contains(text))
    })
}

/// Tries every case, and tells of all that fail.
async fn each<F>(attempt: impl Fn(u32, &'static Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut failed = Vec::new();
    for version in super::versions() {
        for case in CASES.iter().filter(|case| is_asked_for(case)) {
            // What went wrong has been printed when the attempt panicked.
            if tokio::spawn(attempt(version, case)).await.is_err() {
                failed.push(format!("PostgreSQL {version}: {}", case.operations));
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The catalog is what the same change by hand makes of it.
async fn same_as_by_hand(scene: &Scene, version: u32, case: &Case) {
    let made = catalog(scene).await;
    let hand = Scene::new(version, SETUP).await;
    hand.sql(case.by_hand).await;
    let differences = catalog(&hand).await.differences(&made);
    assert!(
        differences.is_empty(),
        "{}\n{differences:#?}",
        case.operations
    );
    hand.end().await;
}

async fn catalog(scene: &Scene) -> CatalogDump {
    CatalogDump::take(&scene.client, &DumpOptions::default())
        .await
        .expect("a dump")
}

#[tokio::test(flavor = "multi_thread")]
async fn to_the_end() {
    each(|version, case: &'static Case| async move {
        let (scene, path) = at_the_gate(version, case).await;
        scene
            .pontoon
            .call(&["run", &path, "--approve", "contract"])
            .await
            .expect(0);
        for query in case.holds {
            assert_eq!(scene.text(query).await, "t", "{query}");
        }
        scene.clean().await;
        same_as_by_hand(&scene, version, case).await;
        scene.end().await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn and_back_from_the_gate() {
    each(|version, case: &'static Case| async move {
        let before = before(version, case).await;
        let wanted = catalog(&before).await;
        let wanted_text = pg_dump(&before.database.url(), &DumpOptions::default())
            .await
            .expect("pg_dump");
        before.end().await;
        let (scene, _) = at_the_gate(version, case).await;
        back(&scene, &wanted, wanted_text.as_ref(), case).await;
        scene.end().await;
    })
    .await;
}

/// From as far as a rollback can be: everything is built, nothing is dropped.
#[tokio::test(flavor = "multi_thread")]
async fn and_back_from_the_last_step() {
    each(|version, case: &'static Case| async move {
        let before = before(version, case).await;
        let wanted = catalog(&before).await;
        before.end().await;
        let (scene, path) = at_the_gate(version, case).await;
        let steps = scene.status().await["steps"]
            .as_array()
            .expect("the steps")
            .len();
        let failpoint = format!("kill:step.{steps}.begin");
        let (ended, _) = scene
            .pontoon
            .spawn_with(
                &["run", &path, "--approve", "contract"],
                &[("PONTOON_FAILPOINT", &failpoint)],
            )
            .wait()
            .await;
        assert_eq!(ended.code, None, "{}\n{}", case.operations, ended.stderr);
        wait_for_silence(&scene.client).await;
        back(&scene, &wanted, None, case).await;
        scene.end().await;
    })
    .await;
}

/// The process dies at the end of every step, and the next one goes on to the
/// same end. On the newest version only (the older ones die once each, above),
/// and for a third of the cases; `PONTOON_KILL_ALL=1` tries all.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step() {
    let newest = super::versions().into_iter().max();
    let all = std::env::var_os("PONTOON_KILL_ALL").is_some();
    each(move |version, case: &'static Case| async move {
        let place = CASES.iter().position(|other| std::ptr::eq(other, case));
        let drawn = all || place.is_some_and(|place| place % 3 == 0);
        if Some(version) != newest || !drawn {
            return;
        }
        let scene = Scene::new(version, SETUP).await;
        let path = scene.pontoon.plan(&whole(case));
        let run = ["run", &path, "--approve", "contract"];
        let mut no = 1;
        loop {
            let failpoint = format!("kill:step.{no}.end");
            let (ended, _) = scene
                .pontoon
                .spawn_with(&run, &[("PONTOON_FAILPOINT", &failpoint)])
                .wait()
                .await;
            wait_for_silence(&scene.client).await;
            match ended.code {
                None => no += 1,
                Some(0) => break,
                Some(code) => panic!(
                    "{code} after step {no}\n{}\n{}\n{}",
                    case.operations, ended.stdout, ended.stderr
                ),
            }
        }
        assert!(no > 1, "it was never killed");
        scene.clean().await;
        same_as_by_hand(&scene, version, case).await;
        scene.end().await;
    })
    .await;
}

async fn back(scene: &Scene, wanted: &CatalogDump, wanted_text: Option<&String>, case: &Case) {
    let rows = scene.text("SELECT count(*) FROM items").await;
    let ended = scene.pontoon.call(&["rollback", "--yes"]).await;
    assert_eq!(
        ended.code,
        Some(0),
        "{}\n{}\n{}",
        case.operations,
        ended.stdout,
        ended.stderr
    );
    scene.clean().await;
    let differences = wanted.differences(&catalog(scene).await);
    assert!(
        differences.is_empty(),
        "{}\n{differences:#?}",
        case.operations
    );
    if let Some(wanted) = wanted_text {
        let made = pg_dump(&scene.database.url(), &DumpOptions::default())
            .await
            .expect("pg_dump");
        assert_eq!(Some(wanted), made.as_ref(), "{}", case.operations);
    }
    assert_eq!(
        scene.text("SELECT count(*) FROM items").await,
        rows,
        "{}",
        case.operations
    );
    // It can be run again, to the same end.
    let path = scene.pontoon.plan(&whole(case));
    tokio::time::timeout(
        Duration::from_secs(60),
        scene.pontoon.call(&["run", &path, "--approve", "contract"]),
    )
    .await
    .expect("in time")
    .expect(0);
    scene.clean().await;
}

/// New values that only new versions can hold come back through `down`, and
/// are counted as kept where the old shape has room for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_with_its_own_way_back() {
    for version in super::versions() {
        let scene = Scene::new(version, SETUP).await;
        let before = text(&scene.client, ROWS).await;
        let path = scene.pontoon.plan(&plan(
            "there_and_back",
            KEYS,
            &format!(
                "- backfill: {{table: items, set: {{size: size + 1000}}, where: size < 1000, undo: {{set: {{size: size - 1000}}, where: size >= 1000}}}}\n{LAST}"
            ),
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        assert_eq!(
            scene
                .text("SELECT count(*) FROM items WHERE size < 1000")
                .await,
            "0"
        );
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        assert_eq!(text(&scene.client, ROWS).await, before);
        scene.end().await;
    }
}
