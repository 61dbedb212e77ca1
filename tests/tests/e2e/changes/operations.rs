//! Every operation: to its end, where the catalog must be what the same
//! change by hand makes of it, and back from the gate and from the last step,
//! where it must be what it was. Neither comparison uses Pontoon's catalog.

use std::future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use pontoon_sandbox::dump::CatalogDump;
use tokio_postgres::Client;

use crate::clients::{Clients, Stop};
use crate::scene::{Scene, code, plan, text};

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
    CREATE TABLE days (day date NOT NULL, item bigint, note text) PARTITION BY RANGE (day);
    CREATE TABLE days_1 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
    CREATE TABLE days_2 PARTITION OF days FOR VALUES FROM ('2026-07-01') TO ('2027-01-01');
    CREATE INDEX days_2_own ON days_2 (item);
    CREATE INDEX days_by_day ON days (day DESC);
    CREATE TABLE remembered AS SELECT c.relname, c.relfilenode FROM pg_class c WHERE relname IN ('parents_pkey', 'parents_code_key', 'items_note');
    INSERT INTO loose SELECT g, 'b' || g FROM generate_series(1, 20) g;
    INSERT INTO loose VALUES (21, repeat('long ', 2000));
    CREATE TABLE serials (id serial PRIMARY KEY, note text);
    ALTER SEQUENCE serials_id_seq INCREMENT 5 CACHE 3 CYCLE;
    COMMENT ON SEQUENCE serials_id_seq IS 'counts';
    GRANT USAGE ON SEQUENCE serials_id_seq TO PUBLIC;
    COMMENT ON COLUMN items.size IS 'in cm';
    COMMENT ON COLUMN items.name IS 'as printed';
    GRANT SELECT (name, size), UPDATE (name) ON items TO PUBLIC;
    INSERT INTO parents SELECT g, 'p' || g FROM generate_series(1, 20) g;
    INSERT INTO items (parent, name, size, weight, note, age, code, owner)
        SELECT g % 20 + 1, 'Name ' || g, nullif(g % 50, 0), g, CASE WHEN g % 3 > 0 THEN 'n' || g END, g, 'c' || g, g % 20 + 1
        FROM generate_series(1, 600) g;
    INSERT INTO labels VALUES (1, 'one');
    INSERT INTO days SELECT date '2026-01-01' + g / 2, g % 600 + 1, 'Note ' || g FROM generate_series(1, 700) g;
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
        operations: "- drop_columns: {table: items, columns: [weight, code, age], down: {weight: \"coalesce(size, 1)\"}}",
        by_hand: "ALTER TABLE items DROP COLUMN weight, DROP COLUMN code, DROP COLUMN age",
        old: "INSERT INTO items (weight, age, code) VALUES (3, 4, 'd'); SELECT weight, code, age FROM items; UPDATE items SET code = 'e' WHERE id = 5",
        new: "INSERT INTO items (name) VALUES ('without'); UPDATE items SET name = 'changed' WHERE id = 6",
        holds: &["SELECT count(*) = 602 FROM items"],
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
        operations: "- rename_table: {table: items, to: things}\n- rename_table: {table: parents, to: \"Odd name\"}",
        by_hand: "ALTER TABLE items RENAME TO things; ALTER TABLE parents RENAME TO \"Odd name\"",
        old: "INSERT INTO items (name, weight) VALUES ('by old', 1); UPDATE items SET name = 'old' WHERE id = 5; INSERT INTO parents VALUES (30, 'p30')",
        new: "INSERT INTO things (name, weight) VALUES ('by new', 1); UPDATE things SET name = 'new' WHERE id = 6; INSERT INTO things (weight, owner) VALUES (77, 30);
              INSERT INTO \"Odd name\" VALUES (30, 'again') ON CONFLICT (id) DO UPDATE SET code = excluded.code",
        holds: &[
            "SELECT count(*) = 5 FROM things WHERE name IN ('by old', 'old', 'by new', 'new') OR (name = 'none' AND weight = 77 AND size = 7)",
            "SELECT count(*) = 603 FROM things",
            "SELECT code = 'again' FROM \"Odd name\" WHERE id = 30",
        ],
    },
    Case {
        operations: "- split_table: {table: items, into: details, columns: [note, size, age, code, name]}",
        by_hand: "CREATE TABLE details (id bigint CONSTRAINT details_pkey PRIMARY KEY, note text, size integer DEFAULT 7, age integer CONSTRAINT age_positive CHECK (age > 0),
                      code text, name text NOT NULL DEFAULT 'none');
                  ALTER TABLE items DROP COLUMN note, DROP COLUMN size, DROP COLUMN age, DROP COLUMN code, DROP COLUMN name;
                  CREATE INDEX items_note ON details (note) WHERE size > 3; COMMENT ON INDEX items_note IS 'for the search';
                  ALTER TABLE details ADD CONSTRAINT items_code UNIQUE (code),
                      ADD CONSTRAINT details_id_fkey FOREIGN KEY (id) REFERENCES items ON DELETE CASCADE ON UPDATE CASCADE;
                  COMMENT ON COLUMN details.size IS 'in cm'; COMMENT ON COLUMN details.name IS 'as printed';
                  GRANT SELECT (name, size), UPDATE (name) ON details TO PUBLIC",
        old: "INSERT INTO items (weight, note, code) VALUES (1, 'old', 'o'); UPDATE items SET note = 'changed' WHERE id = 5; DELETE FROM items WHERE id = 9",
        new: "INSERT INTO items (id, weight) OVERRIDING SYSTEM VALUE VALUES (9001, 1), (9002, 1); INSERT INTO details (id, note, name) VALUES (9001, 'new', 'New'); UPDATE details SET note = 'renewed' WHERE id = 7",
        holds: &[
            "SELECT count(*) = 602 FROM items NATURAL JOIN details",
            "SELECT count(*) = 602 FROM details",
            "SELECT string_agg(note, ',' ORDER BY note) = 'changed,new,old,renewed' FROM details WHERE note NOT LIKE 'n%0%' AND note NOT SIMILAR TO 'n[0-9]+'",
            "SELECT count(*) = 1 FROM details WHERE id = 9002 AND name = 'none' AND size = 7 AND note IS NULL",
            "SELECT count(*) = 599 FROM details WHERE name = 'Name ' || id",
        ],
    },
    Case {
        operations: "- extract_lookup: {table: items, columns: [name, weight], into: kinds, reference: kind}\n- add_index: {table: items, name: items_kind, columns: [kind]}",
        by_hand: "CREATE TABLE kinds (id bigint GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, name text NOT NULL, weight integer NOT NULL, UNIQUE (name, weight));
                  COMMENT ON COLUMN kinds.name IS 'as printed'; GRANT SELECT (id, name), UPDATE (name) ON kinds TO PUBLIC;
                  INSERT INTO kinds (name, weight) SELECT DISTINCT name, weight FROM items;
                  ALTER TABLE items ADD COLUMN kind bigint REFERENCES kinds; GRANT SELECT (kind), UPDATE (kind) ON items TO PUBLIC;
                  UPDATE items SET kind = k.id FROM kinds k WHERE (k.name, k.weight) = (items.name, items.weight);
                  ALTER TABLE items ALTER kind SET NOT NULL, DROP COLUMN name, DROP COLUMN weight; CREATE INDEX items_kind ON items (kind)",
        old: "INSERT INTO items (name, weight) VALUES ('by old', 1), ('by old', 1); UPDATE items SET name = 'Name 6', weight = 6 WHERE id = 5; INSERT INTO items (weight) VALUES (77)",
        new: "INSERT INTO kinds (name, weight) VALUES ('by new', 2) ON CONFLICT (name, weight) DO NOTHING; INSERT INTO items (kind) SELECT id FROM kinds WHERE name = 'by new';
              UPDATE items SET kind = (SELECT id FROM kinds WHERE name = 'Name 8') WHERE id = 7",
        holds: &[
            "SELECT count(*) = 604 FROM items JOIN kinds ON kinds.id = kind",
            "SELECT string_agg(name || weight, ',' ORDER BY items.id) = 'by old1,by old1,none77,by new2' FROM items JOIN kinds ON kinds.id = kind WHERE items.id > 600",
            "SELECT count(*) = 2 FROM items JOIN kinds ON kinds.id = kind WHERE name = 'Name 6' AND weight = 6",
            "SELECT count(*) = 2 FROM items JOIN kinds ON kinds.id = kind WHERE name = 'Name 8' AND weight = 8",
            "SELECT count(*) = 603 FROM kinds",
        ],
    },
    Case {
        operations: "- merge_columns: {table: items, columns: [name, note], as: words, type: text, nullable: false, comment: both, up: \"concat_ws(': ', name, note)\", down: {name: \"split_part(words, ': ', 1)\", note: \"nullif(substr(words, strpos(words || ': ', ': ') + 2), '')\"}}\n- drop_index: {name: items_note}\n- add_index: {table: items, name: items_words, columns: [words]}",
        by_hand: "ALTER TABLE items ADD COLUMN words text; UPDATE items SET words = concat_ws(': ', name, note);
                  DROP INDEX items_note; CREATE INDEX items_words ON items (words);
                  ALTER TABLE items DROP COLUMN name, DROP COLUMN note, ALTER words SET NOT NULL,
                      ALTER words SET DEFAULT concat_ws(': '::text, ('none'::text)::text, (NULL)::text); COMMENT ON COLUMN items.words IS 'both'",
        old: "INSERT INTO items (name, weight) VALUES ('by old', 1); UPDATE items SET note = 'changed' WHERE id IN (5, 6); INSERT INTO items (weight) VALUES (77)",
        new: "INSERT INTO items (words, weight) VALUES ('by new: it', 1); UPDATE items SET words = 'new' WHERE id = 7",
        holds: &[
            "SELECT count(*) = 6 FROM items WHERE words IN ('by old', 'Name 5: changed', 'Name 6: changed', 'none', 'by new: it', 'new')",
            "SELECT count(*) = 602 FROM items WHERE words LIKE 'Name %' OR words LIKE 'by new%' OR words = 'new' OR words = 'by old'",
        ],
    },
    Case {
        operations: "- split_column: {table: items, column: name, into: [{name: word, type: text, nullable: false, up: \"split_part(name, ' ', 1)\"}, {name: number, type: integer, up: \"nullif(split_part(name, ' ', 2), '')::integer\"}], down: \"nullif(concat_ws(' ', word, number), '')\"}",
        by_hand: "ALTER TABLE items ADD COLUMN word text; ALTER TABLE items ADD COLUMN number integer; UPDATE items SET word = 'Name', number = id;
                  ALTER TABLE items DROP COLUMN name, ALTER word SET NOT NULL, ALTER word SET DEFAULT split_part(('none'::text)::text, ' '::text, 1),
                      ALTER number SET DEFAULT (NULLIF(split_part(('none'::text)::text, ' '::text, 2), ''::text))::integer;
                  GRANT SELECT (word), UPDATE (word), SELECT (number), UPDATE (number) ON items TO PUBLIC",
        old: "INSERT INTO items (name, weight) VALUES ('Old 10', 1); UPDATE items SET name = 'Old 5' WHERE id = 5; INSERT INTO items (weight) VALUES (77)",
        new: "INSERT INTO items (word, weight) VALUES ('New', 1); UPDATE items SET number = 70 WHERE id = 7; UPDATE items SET number = NULL WHERE id = 8",
        holds: &[
            "SELECT array_agg(word || coalesce(number::text, '') ORDER BY id) = '{Old5,Name70,Name,Old10,none,New}' FROM items WHERE id IN (5, 7, 8) OR id > 600",
            "SELECT count(*) = 597 FROM items WHERE word = 'Name' AND number = id",
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
        operations: "- change_collation: {table: items, column: note, to: C}\n- change_collation: {table: labels, column: label, to: pg_catalog.POSIX}",
        by_hand: "ALTER TABLE items ADD COLUMN n2 text COLLATE \"C\"; UPDATE items SET n2 = note; ALTER TABLE items DROP COLUMN note; ALTER TABLE items RENAME COLUMN n2 TO note;
                  CREATE INDEX items_note ON items (note) WHERE size > 3; COMMENT ON INDEX items_note IS 'for the search';
                  ALTER TABLE labels ADD COLUMN l2 varchar(20) COLLATE \"POSIX\"; UPDATE labels SET l2 = label; ALTER TABLE labels DROP COLUMN label; ALTER TABLE labels RENAME COLUMN l2 TO label",
        old: "INSERT INTO items (weight, note) VALUES (1, 'Old'); UPDATE labels SET label = 'uno'",
        new: "UPDATE items SET note = 'new' WHERE id = 3; INSERT INTO labels VALUES (2, 'due')",
        holds: &[
            "SELECT count(*) = 402 FROM items WHERE note = 'Old' OR note = 'new' OR note = 'n' || id",
            "SELECT array_agg(label::text ORDER BY id) = '{uno,due}' FROM labels",
        ],
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
        operations: "- add_index: {table: days, name: by_note, columns: [{expression: lower(note)}, day], where: item > 3}",
        by_hand: "CREATE INDEX days_1_by_note ON days_1 (lower(note), day) WHERE item > 3; CREATE INDEX days_2_by_note ON days_2 (lower(note), day) WHERE item > 3;
                  CREATE INDEX by_note ON days (lower(note), day) WHERE item > 3",
        old: "INSERT INTO days VALUES ('2026-02-01', 4, 'Old')",
        new: "",
        holds: &["SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = 'by_note'::regclass"],
    },
    Case {
        operations: "- add_index: {table: days, name: by_item, columns: [item]}",
        by_hand: "CREATE INDEX days_1_by_item ON days_1 (item); CREATE INDEX by_item ON days (item)",
        old: "",
        new: "",
        holds: &["SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = 'by_item'::regclass"],
    },
    Case {
        operations: "- add_unique: {table: days, name: days_once, columns: [note, day]}",
        by_hand: "ALTER TABLE days_1 ADD CONSTRAINT days_1_days_once UNIQUE (note, day); ALTER TABLE days_2 ADD CONSTRAINT days_2_days_once UNIQUE (note, day);
                  ALTER TABLE days ADD CONSTRAINT days_once UNIQUE (note, day)",
        old: "INSERT INTO days VALUES ('2026-02-01', 4, 'Old')",
        new: "",
        holds: &["SELECT count(*) = 2 FROM pg_constraint c JOIN pg_constraint p ON p.oid = c.conparentid WHERE p.conname = 'days_once'"],
    },
    Case {
        operations: "- add_primary_key: {table: days, name: days_key, columns: [item, day]}\n- add_index: {table: days, name: days_note, columns: [{expression: lower(note)}, day], unique: true}",
        by_hand: "ALTER TABLE days ALTER item SET NOT NULL;
                  CREATE UNIQUE INDEX one ON days_1 (item, day); CREATE UNIQUE INDEX two ON days_2 (item, day);
                  ALTER TABLE days_1 ADD CONSTRAINT days_1_days_key PRIMARY KEY USING INDEX one; ALTER TABLE days_2 ADD CONSTRAINT days_2_days_key PRIMARY KEY USING INDEX two;
                  ALTER TABLE days ADD CONSTRAINT days_key PRIMARY KEY (item, day);
                  CREATE UNIQUE INDEX days_1_days_note ON days_1 (lower(note), day); CREATE UNIQUE INDEX days_2_days_note ON days_2 (lower(note), day); CREATE UNIQUE INDEX days_note ON days (lower(note), day)",
        old: "INSERT INTO days VALUES ('2026-02-01', 4000, 'Old')",
        new: "",
        holds: &["SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = 'days_key'::regclass", "SELECT count(*) = 2 FROM pg_inherits WHERE inhparent = 'days_note'::regclass"],
    },
    Case {
        operations: "- drop_index: {name: days_by_day}",
        by_hand: "DROP INDEX days_by_day",
        old: "INSERT INTO days VALUES ('2026-02-01', 4, 'Old')",
        new: "",
        holds: &[],
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
        operations: "- add_foreign_key: {table: days, name: days_item, columns: [item], references: {table: items, columns: [id]}, on_delete: cascade}",
        // Triggers that the server adopts depend on more than those that it makes.
        by_hand: "ALTER TABLE days_1 ADD CONSTRAINT days_item FOREIGN KEY (item) REFERENCES items (id) ON DELETE CASCADE;
                  ALTER TABLE days_2 ADD CONSTRAINT days_item FOREIGN KEY (item) REFERENCES items (id) ON DELETE CASCADE;
                  ALTER TABLE days ADD CONSTRAINT days_item FOREIGN KEY (item) REFERENCES items (id) ON DELETE CASCADE",
        old: "INSERT INTO days VALUES ('2026-02-01', 4, 'Old')",
        new: "",
        holds: &["SELECT count(*) = 2 FROM pg_constraint c JOIN pg_constraint p ON p.oid = c.conparentid WHERE p.conname = 'days_item' AND c.convalidated"],
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
    // What `check` recommends where somebody asks for `add_exclusion`.
    Case {
        operations: "- sql: {phase: contract, run: \"ALTER TABLE loose ADD CONSTRAINT apart EXCLUDE USING gist (int4range(a, a + 1) WITH &&)\", undo: ALTER TABLE loose DROP CONSTRAINT apart}",
        by_hand: "ALTER TABLE loose ADD CONSTRAINT apart EXCLUDE USING gist (int4range(a, a + 1) WITH &&)",
        old: "INSERT INTO loose VALUES (1000, 'x')",
        new: "",
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
        operations: "- set_storage: {table: loose, column: b, storage: external, rewrite: true}\n- set_storage: {table: items, column: name, storage: main}\n- set_compression: {table: items, column: note, method: pglz, rewrite: true}",
        by_hand: "ALTER TABLE loose ALTER b SET STORAGE EXTERNAL; ALTER TABLE items ALTER name SET STORAGE MAIN, ALTER note SET COMPRESSION pglz",
        old: "INSERT INTO items (weight) VALUES (1)",
        new: "INSERT INTO loose VALUES (1000, 'x')",
        holds: &[
            "SELECT bool_and(pg_column_compression(b) IS NULL AND b IN ('b' || a, 'x', repeat('long ', 2000))) FROM loose",
            "SELECT count(*) = 22 FROM loose",
        ],
    },
    Case {
        operations: "- add_identity: {table: serials, column: id, as: always}\n- add_identity: {table: parents, column: id, as: by_default, start: 500}\n- add_identity: {table: labels, column: id, as: by_default}",
        by_hand: "ALTER TABLE serials ALTER id DROP DEFAULT; DROP SEQUENCE serials_id_seq;
                  ALTER TABLE serials ALTER id ADD GENERATED ALWAYS AS IDENTITY (INCREMENT 5 CACHE 3 CYCLE);
                  GRANT USAGE ON SEQUENCE serials_id_seq TO PUBLIC; COMMENT ON SEQUENCE serials_id_seq IS 'counts';
                  ALTER TABLE parents ALTER id ADD GENERATED BY DEFAULT AS IDENTITY; ALTER TABLE labels ALTER id ADD GENERATED BY DEFAULT AS IDENTITY",
        old: "INSERT INTO serials (note) VALUES ('a'); INSERT INTO serials (id, note) VALUES (5000, 'by hand'); INSERT INTO parents VALUES (40, 'forty')",
        new: "INSERT INTO serials (note) VALUES ('b')",
        holds: &[
            "SELECT nextval('serials_id_seq') = 5001",
            "SELECT nextval('parents_id_seq') = 500",
            "SELECT nextval('labels_id_seq') = 2",
        ],
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
        operations: "- remove_enum_value: {name: mood, value: sad, replacement: ok, columns: [{table: labels, column: mood}]}",
        by_hand: "ALTER TYPE mood RENAME TO former; CREATE TYPE mood AS ENUM ('ok');
                  ALTER TABLE labels DROP COLUMN mood; ALTER TABLE labels ADD COLUMN mood mood DEFAULT 'ok'; DROP TYPE former",
        old: "INSERT INTO labels VALUES (2, 'two', 'sad'), (3, 'three', 'ok')",
        new: "INSERT INTO labels (id) VALUES (4); UPDATE labels SET label = 'eins' WHERE id = 1; INSERT INTO labels VALUES (5, 'five', NULL)",
        holds: &[
            "SELECT count(*) = 4 FROM labels WHERE mood = 'ok'",
            "SELECT count(*) = 1 FROM labels WHERE mood IS NULL",
        ],
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
        operations: "- replace_primary_key: {table: parents, columns: [code, id], keep_as: parents_id}",
        by_hand: "ALTER TABLE items DROP CONSTRAINT items_owner, DROP CONSTRAINT items_parent_known; ALTER TABLE parents DROP CONSTRAINT parents_pkey, ADD CONSTRAINT parents_id UNIQUE (id), ADD PRIMARY KEY (code, id);
                  ALTER TABLE items ADD CONSTRAINT items_owner FOREIGN KEY (owner) REFERENCES parents (id) ON DELETE CASCADE, ADD CONSTRAINT items_parent_known FOREIGN KEY (parent) REFERENCES parents (id) NOT VALID",
        old: "INSERT INTO parents VALUES (30, 'p30'); INSERT INTO items (weight, owner) VALUES (1, 30); UPDATE parents SET id = 31 WHERE id = 30 AND false; DELETE FROM parents WHERE id = 20 AND NOT EXISTS (SELECT FROM items WHERE parent = 20)",
        new: "INSERT INTO parents VALUES (40, 'p40') ON CONFLICT (id) DO NOTHING",
        holds: &["SELECT count(*) = 22 FROM parents"],
    },
    Case {
        operations: "- replace_primary_key: {table: items, columns: [weight, id], name: items_key}",
        by_hand: "ALTER TABLE items DROP CONSTRAINT items_pkey, ADD CONSTRAINT items_key PRIMARY KEY (weight, id)",
        old: "INSERT INTO items (weight) VALUES (1) ON CONFLICT (id) DO NOTHING",
        new: "INSERT INTO items (weight) VALUES (1)",
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

/// What PostgreSQL has from 18 on.
const SINCE_18: &[Case] = &[Case {
    operations: "- add_generated: {table: items, column: {name: doubled, type: integer, comment: twice}, expression: weight * 2, stored: false}",
    by_hand: "ALTER TABLE items ADD COLUMN doubled integer GENERATED ALWAYS AS (weight * 2) VIRTUAL; COMMENT ON COLUMN items.doubled IS 'twice'",
    old: "INSERT INTO items (weight) VALUES (3)",
    new: "UPDATE items SET weight = doubled WHERE id = 6",
    holds: &[
        "SELECT count(*) = 601 FROM items WHERE doubled = weight * 2",
        "SELECT doubled = 24 FROM items WHERE id = 6",
    ],
}];

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
    let scene = Scene::prepared(version, SETUP).await;
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
    let scene = Scene::prepared(version, SETUP).await;
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

/// Tries every case, two at a time (they mostly wait), and tells of all that fail.
async fn each<F>(attempt: impl Fn(u32, &'static Case) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let attempts = crate::versions().into_iter().flat_map(|version| {
        let later = if version >= 18 { SINCE_18 } else { &[] };
        let cases = CASES.iter().chain(later);
        cases.map(move |case| (version, case))
    });
    let failed: Vec<String> = futures_util::stream::iter(attempts)
        .filter(|(_, case)| future::ready(is_asked_for(case)))
        .map(async |(version, case)| {
            // What went wrong has been printed when the attempt panicked.
            let tried = tokio::spawn(attempt(version, case)).await;
            (tried.err()).map(|_| format!("PostgreSQL {version}: {}", case.operations))
        })
        .buffered(2)
        .filter_map(future::ready)
        .collect()
        .await;
    assert!(failed.is_empty(), "{failed:#?}");
}

/// The catalog is what the same change by hand makes of it.
async fn same_as_by_hand(scene: &Scene, version: u32, case: &Case) {
    let made = scene.catalog().await;
    let hand = Scene::prepared(version, SETUP).await;
    hand.sql(case.by_hand).await;
    let differences = hand.catalog().await.differences(&made);
    assert!(
        differences.is_empty(),
        "{}\n{differences:#?}",
        case.operations
    );
    hand.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn to_the_end() {
    each(|version, case: &'static Case| async move {
        let (scene, path) = at_the_gate(version, case).await;
        scene.pontoon.approved(&path).await.expect(0);
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
        let wanted = before.catalog().await;
        let wanted_text = before.dumped().await;
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
        let wanted = before.catalog().await;
        before.end().await;
        let (scene, path) = at_the_gate(version, case).await;
        scene.killed_before_the_last_step(&path).await;
        back(&scene, &wanted, None, case).await;
        scene.end().await;
    })
    .await;
}

/// What an old version does to the tables of [`SETUP`]; `$` is another number
/// each time.
const TRAFFIC: &[&str] = &[
    "INSERT INTO items (parent, name, weight, note) VALUES ($ % 20 + 1, 'Traffic ' || $, 10000 + $, 'new')",
    "UPDATE items SET size = size WHERE id = $ % 600 + 1",
    "DELETE FROM items WHERE name = 'Traffic ' || ($ - 40)",
    "INSERT INTO parents VALUES (100 + $, 't' || $)",
    "UPDATE labels SET label = label",
    "UPDATE days SET note = note WHERE item = $ % 600 + 1",
];

/// The old version works until it is stopped. Contract takes the names away
/// that it uses, and a lookup table takes nothing new from it then; but for
/// that, all it does succeeds. Gives how often it has written.
async fn traffic(client: Client, stop: Stop, case: &Case) -> u32 {
    let is_lookup = case.operations.starts_with("- extract_lookup");
    let mut writes = 0;
    for turn in 0_u32.. {
        if stop.is_told() {
            break;
        }
        for statement in TRAFFIC {
            let statement = statement.replace('$', &turn.to_string());
            match code(&client, &statement).await.as_str() {
                "00000" => writes += 1,
                // Undefined table, undefined column.
                "42P01" | "42703" => {}
                "23514" if is_lookup => {}
                code => panic!("{code}: {statement}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    writes
}

/// The process dies at the end of every step while an old version writes, and
/// the next one goes on to the same end. On the newest version only (the older
/// ones die once each, above); `PONTOON_KILL_ALL=1` tries all that are asked for.
#[tokio::test(flavor = "multi_thread")]
async fn killed_at_every_step() {
    static KILLS: AtomicU32 = AtomicU32::new(0);
    static WRITES: AtomicU32 = AtomicU32::new(0);
    let newest = crate::versions().into_iter().max();
    let all = std::env::var_os("PONTOON_KILL_ALL").is_some();
    each(move |version, case: &'static Case| async move {
        if Some(version) != newest && !all {
            return;
        }
        let scene = Scene::prepared(version, SETUP).await;
        let client = scene.database.client().await.expect("a connection");
        let clients = Clients::one(|stop| traffic(client, stop, case));
        let path = scene.pontoon.plan(&whole(case));
        let kills = scene.killed_at_steps(&path, 1).await;
        assert!(kills > 0, "it was never killed");
        let writes = clients.stop("every write is taken").await[0];
        assert!(writes > 0, "nobody wrote");
        KILLS.fetch_add(kills, Ordering::Relaxed);
        WRITES.fetch_add(writes, Ordering::Relaxed);
        scene.clean().await;
        same_as_by_hand(&scene, version, case).await;
        scene.end().await;
    })
    .await;
    eprintln!("killed {KILLS:?} times beside {WRITES:?} writes");
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
    let differences = wanted.differences(&scene.catalog().await);
    assert!(
        differences.is_empty(),
        "{}\n{differences:#?}",
        case.operations
    );
    if let Some(wanted) = wanted_text {
        let made = scene.dumped().await;
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
    tokio::time::timeout(Duration::from_secs(60), scene.pontoon.approved(&path))
        .await
        .expect("in time")
        .expect(0);
    scene.clean().await;
}

/// New values that only new versions can hold come back through `down`, and
/// are counted as kept where the old shape has room for them.
#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_with_its_own_way_back() {
    for version in crate::versions() {
        let scene = Scene::prepared(version, SETUP).await;
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

/// Every type that `rewrite` takes, and NULL and empty values of it: what was
/// compressed is stored plainly, and each value is what it was. A server with
/// lz4 compresses it all anew; one without says so before anything changes.
#[tokio::test(flavor = "multi_thread")]
async fn values_are_stored_anew_and_stay_what_they_are() {
    const COLUMNS: &[(&str, &str, &str)] = &[
        ("a", "text", "repeat('abc ', 3000)"),
        ("b", "varchar(20000)", "repeat('äbc ', 3000)"),
        ("c", "char(9000)", "repeat('abc ', 2000)"),
        ("d", "bytea", "convert_to(repeat('abc\\', 3000), 'UTF8')"),
        (
            "e",
            "json",
            "('{\"b\" : 1.00, \"a\":\"' || repeat('abc ', 3000) || '\", \"b\":2}')::json",
        ),
        (
            "f",
            "jsonb",
            "jsonb_build_object('k', repeat('abc ', 3000), 'n', 1.00)",
        ),
        (
            "g",
            "numeric",
            "(repeat('12345678', 2000) || '.500')::numeric",
        ),
        (
            "h",
            "text[]",
            "array_fill('abc'::text, ARRAY[50, 40], ARRAY[0, -1])",
        ),
        ("i", "jsonb", "to_jsonb(repeat('abc ', 3000))"),
    ];
    let columns = |each: fn(&(&str, &str, &str)) -> String| {
        COLUMNS.iter().map(each).collect::<Vec<_>>().join(", ")
    };
    let setup = format!(
        "CREATE TABLE long (id integer PRIMARY KEY, {});
         INSERT INTO long SELECT g, {} FROM generate_series(1, 30) g;
         INSERT INTO long (id) VALUES (31);
         INSERT INTO long (id, a, c, d, f, h) VALUES (32, '', '', '', '[]', '{{}}');
         CREATE TABLE images AS SELECT * FROM long",
        columns(|(name, kind, _)| format!("{name} {kind}")),
        columns(|(_, _, value)| (*value).to_owned()),
    );
    let same = format!(
        "SELECT count(*) = 32 FROM long l JOIN images i USING (id) WHERE ROW({})::record OPERATOR(pg_catalog.*=) ROW({})::record",
        columns(|(name, ..)| format!("l.{name}")),
        columns(|(name, ..)| format!("i.{name}")),
    );
    let compressed = |method: &str| {
        let each: Vec<String> = COLUMNS
            .iter()
            .map(|(name, ..)| format!("count(*) FILTER (WHERE pg_column_compression({name}) = '{method}') >= 30 AND count(*) FILTER (WHERE pg_column_compression({name}) <> '{method}') = 0"))
            .collect();
        format!("SELECT {} FROM long", each.join(" AND "))
    };
    for version in crate::versions() {
        let scene = Scene::new(version, &setup).await;
        assert_eq!(scene.text(&compressed("pglz")).await, "t", "the scene");
        let each = |operation: &str| {
            COLUMNS
                .iter()
                .map(|(name, ..)| {
                    format!("- {operation}, table: long, column: {name}, rewrite: true}}\n")
                })
                .collect::<String>()
        };
        let lz4 = scene
            .pontoon
            .plan(&plan("lz4", KEYS, &each("set_compression: {method: lz4")));
        let has_lz4 = scene
            .text("SELECT 'lz4' = ANY(enumvals) FROM pg_settings WHERE name = 'default_toast_compression'")
            .await;
        let ended = scene.pontoon.approved(&lz4).await;
        if has_lz4 == "t" {
            ended.expect(0);
            assert_eq!(scene.text(&compressed("lz4")).await, "t");
            assert_eq!(scene.text(&same).await, "t");
        } else {
            assert_eq!(ended.code, Some(4), "{}{}", ended.stdout, ended.stderr);
            assert!(
                ended.stderr.contains("built without lz4"),
                "{}",
                ended.stderr
            );
            assert_eq!(
                scene
                    .text("SELECT count(*) = 0 FROM pg_attribute WHERE attcompression <> ''")
                    .await,
                "t"
            );
        }
        let path = scene.pontoon.plan(&plan(
            "plainly",
            KEYS,
            &each("set_storage: {storage: external"),
        ));
        scene.pontoon.approved(&path).await.expect(0);
        let none = columns(|(name, ..)| format!("pg_column_compression({name})"));
        assert_eq!(
            scene
                .text(&format!(
                    "SELECT bool_and(num_nonnulls({none}) = 0) FROM long"
                ))
                .await,
            "t"
        );
        assert_eq!(scene.text(&same).await, "t");
        scene.clean().await;
        scene.end().await;
    }
}
