//! A label that is taken from an enum: from all its columns at once, under
//! traffic that writes it; and what keeps it from going.

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};

use crate::scene::{Scene, Writers, plan, run, wait_until};

const SETUP: &str = "
    CREATE TYPE status AS ENUM ('open', 'held', 'paid');
    COMMENT ON TYPE status IS 'where it stands';
    REVOKE USAGE ON TYPE status FROM PUBLIC;
    GRANT USAGE ON TYPE status TO pg_monitor WITH GRANT OPTION;
    CREATE TABLE orders (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        status status NOT NULL DEFAULT 'held',
        before status,
        amount integer NOT NULL DEFAULT 1
    );
    CREATE INDEX orders_status ON orders (status, id DESC);
    COMMENT ON COLUMN orders.status IS 'now';
    CREATE INDEX orders_open ON orders (id) WHERE status = 'open';
    CREATE UNIQUE INDEX orders_both ON orders (before, status, id);
    ALTER TABLE orders ADD CONSTRAINT paid_amount CHECK (status <> 'paid' OR amount > 0);
    CREATE POLICY shown ON orders USING (status <> 'paid');
    CREATE VIEW overview AS SELECT id, status FROM orders WHERE status <> 'paid' OR before = 'paid';
    CREATE TABLE history (id bigint, at date NOT NULL, status status) PARTITION BY RANGE (at);
    CREATE TABLE history_1 PARTITION OF history FOR VALUES FROM ('2026-01-01') TO ('2026-07-01');
    CREATE TABLE history_rest PARTITION OF history DEFAULT;
    CREATE MATERIALIZED VIEW counted AS SELECT o.status, count(*) FROM orders o
        WHERE o.status <> 'paid' AND EXISTS (SELECT FROM history h WHERE h.status = o.status) GROUP BY o.status;
    CREATE UNIQUE INDEX counted_unpaid ON counted (status) WHERE status <> 'paid';
    CREATE FUNCTION is_known(which bigint) RETURNS boolean LANGUAGE sql
        RETURN EXISTS (SELECT FROM orders o JOIN history h ON h.status = o.status WHERE o.id = which AND o.status <> 'paid');
    INSERT INTO orders (status, before)
        SELECT (ARRAY['open', 'held', 'paid', 'held']::status[])[g % 4 + 1], (ARRAY['held', NULL, 'open']::status[])[g % 3 + 1]
        FROM generate_series(1, 1200) g;
    INSERT INTO history SELECT g, date '2026-05-01' + g % 100, (ARRAY['open', 'held']::status[])[g % 2 + 1] FROM generate_series(1, 400) g";

const COLUMNS: &str = "columns: [{table: orders, column: status}, {table: orders, column: before}, {table: history, column: status}]";
const KEYS: &str =
    "limits: {max_batch_rows: 100}\nbackfill: {target_batch_time: 20ms, nice_ratio: 0}";

/// The label that a turn writes.
fn label(turn: u64) -> &'static str {
    match turn / 3 % 3 {
        0 => "open",
        1 => "held",
        _ => "paid",
    }
}

async fn catalog(scene: &Scene) -> CatalogDump {
    CatalogDump::take(&scene.client, &DumpOptions::default())
        .await
        .expect("a dump")
}

/// Until the cutover everybody writes the label as ever; afterwards it is gone,
/// from every column of every table, and no row was lost or changed otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_goes_from_every_column_under_traffic() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        let write = |turn: u64| {
            let label = label(turn);
            format!(
                "INSERT INTO orders (status) VALUES ('{label}');
                 UPDATE orders SET before = status, status = '{label}' WHERE id = {};
                 INSERT INTO history VALUES ({turn}, '2026-08-01', '{label}')",
                turn % 1200 + 1
            )
        };
        // Once it is gone, the label is none.
        let gone = |turn: u64, code: &str| label(turn) == "held" && code == "22P02";
        let writers = Writers::start(&scene, 3, write, gone).await;
        let operation = format!(
            "- remove_enum_value: {{name: status, value: held, replacement: open, {COLUMNS}}}"
        );
        let path = scene.pontoon.plan(&plan("held", KEYS, &operation));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        writers.go_on().await;
        assert_ne!(
            scene
                .text("SELECT count(*) FROM orders WHERE status = 'held'")
                .await,
            "0"
        );
        scene.pontoon.approved(&path).await.expect(0);
        writers.go_on().await;
        writers.stop().await;
        for (query, wanted) in [
            ("SELECT enum_range(NULL::status)::text", "{open,paid}"),
            (
                "SELECT has_type_privilege('pg_monitor', 'status', 'USAGE WITH GRANT OPTION')",
                "t",
            ),
            (
                "SELECT has_type_privilege('pg_read_all_data', 'status', 'USAGE')",
                "f",
            ),
            (
                "SELECT obj_description('status'::regtype, 'pg_type')",
                "where it stands",
            ),
            (
                "SELECT count(*) FROM pg_type WHERE typname LIKE '%pontoon%'",
                "0",
            ),
            (
                "SELECT count(*) = (SELECT max(id) FROM orders) FROM orders WHERE status IN ('open', 'paid')",
                "t",
            ),
            (
                "SELECT count(*) >= 400 FROM history WHERE status IN ('open', 'paid')",
                "t",
            ),
            (
                "SELECT pg_get_indexdef('orders_status'::regclass)",
                "CREATE INDEX orders_status ON public.orders USING btree (status, id DESC)",
            ),
            ("INSERT INTO orders DEFAULT VALUES RETURNING status", "open"),
            (
                "SELECT count(*) > 0 FROM overview WHERE status = 'open'",
                "t",
            ),
            (
                "SELECT pg_get_indexdef('orders_open'::regclass)",
                "CREATE INDEX orders_open ON public.orders USING btree (id) WHERE (status = 'open'::status)",
            ),
            (
                "SELECT pg_get_indexdef('orders_both'::regclass)",
                "CREATE UNIQUE INDEX orders_both ON public.orders USING btree (before, status, id)",
            ),
            (
                "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conname = 'paid_amount'",
                "CHECK (((status <> 'paid'::status) OR (amount > 0)))",
            ),
            (
                "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = 'shown'",
                "(status <> 'paid'::status)",
            ),
        ] {
            assert_eq!(scene.text(query).await, wanted, "{query}");
        }
        scene.clean().await;
        scene.end().await;
    }
}

/// Rows that nobody has given another label stop the run, and one is named;
/// rollback leaves everything as it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_holds_the_label_stops_the_run() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        scene.sql("ALTER TABLE orders ALTER status SET DEFAULT 'open'; UPDATE orders SET before = NULL; UPDATE orders SET status = 'open' WHERE status = 'held' AND id <> 41; DELETE FROM history").await;
        let before = catalog(&scene).await;
        let operation = format!("- remove_enum_value: {{name: status, value: held, {COLUMNS}}}");
        let path = scene.pontoon.plan(&plan("held", KEYS, &operation));
        let ended = scene.pontoon.call(&["run", &path]).await;
        let held = scene
            .text("SELECT id FROM orders WHERE status = 'held'")
            .await;
        assert_eq!(ended.code, Some(7), "{}{}", ended.stdout, ended.stderr);
        assert!(!held.is_empty());
        assert!(ended.stderr.contains("held"), "{}", ended.stderr);
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        let differences = before.differences(&catalog(&scene).await);
        assert!(differences.is_empty(), "{differences:#?}");
        // What somebody adds meanwhile is not lost.
        let operation = format!(
            "- remove_enum_value: {{name: status, value: held, replacement: open, {COLUMNS}}}"
        );
        let path = scene.pontoon.plan(&plan("late", KEYS, &operation));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.sql("ALTER TYPE status ADD VALUE 'late'").await;
        let ended = scene.pontoon.approved(&path).await.expect(4);
        let told = "enum public.status was changed during the run";
        assert!(ended.stderr.contains(told), "{}", ended.stderr);
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.end().await;
    }
}

/// What ALTER DEFAULT PRIVILEGES says of new types is said of none that takes an
/// old one's place: who might use the enum may use it afterwards, and nobody
/// else.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_type_has_the_rights_of_the_old_one() {
    const RIGHTS: &str = "SELECT g.grantee::regrole || ' ' || g.privilege_type || ' ' || g.is_grantable || ' ' || g.grantor::regrole
        FROM pg_type t, aclexplode(coalesce(t.typacl, acldefault('T', t.typowner))) g
        WHERE t.oid = 'status'::regtype ORDER BY 1";
    for version in crate::versions() {
        for given in [
            "ALTER TYPE status OWNER TO pg_monitor",
            "REVOKE USAGE ON TYPE status FROM PUBLIC; GRANT USAGE ON TYPE status TO pg_monitor WITH GRANT OPTION",
        ] {
            let scene = Scene::new(
                version,
                "
                CREATE TYPE status AS ENUM ('open', 'held');
                CREATE TABLE orders (id integer PRIMARY KEY, status status);
                INSERT INTO orders VALUES (1, 'held')",
            )
            .await;
            scene.sql(given).await;
            scene
                .sql("ALTER DEFAULT PRIVILEGES REVOKE USAGE ON TYPES FROM PUBLIC;
                      ALTER DEFAULT PRIVILEGES GRANT USAGE ON TYPES TO pg_read_all_data WITH GRANT OPTION")
                .await;
            let (before, rights) = (catalog(&scene).await, scene.text(RIGHTS).await);
            let operation = "- remove_enum_value: {name: status, value: held, replacement: open, columns: [{table: orders, column: status}]}";
            let path = scene.pontoon.plan(&plan("held", KEYS, operation));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            let differences = before.differences(&catalog(&scene).await);
            assert!(differences.is_empty(), "{differences:#?}");
            scene.completed(&plan("held_again", KEYS, operation)).await;
            assert_eq!(scene.text(RIGHTS).await, rights, "{given}");
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// A label that is added in a transaction that is open when the cutover looks
/// is waited for, and seen.
#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_is_not_committed_yet_is_not_lost() {
    const WAITS: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND wait_event = 'object'";
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "
            CREATE TYPE status AS ENUM ('open', 'held');
            CREATE TABLE orders (id integer PRIMARY KEY, status status);
            INSERT INTO orders VALUES (1, 'held')",
        )
        .await;
        let operation = "- remove_enum_value: {name: status, value: held, replacement: open, columns: [{table: orders, column: status}]}";
        let path = scene.pontoon.plan(&plan("held", KEYS, operation));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let other = scene.database.client().await.expect("a connection");
        run(&other, "BEGIN; ALTER TYPE status ADD VALUE 'late'").await;
        let running = scene.pontoon.spawn_approved(&path);
        wait_until("the cutover waits for the type", async || {
            scene.text(WAITS).await != "0"
        })
        .await;
        run(&other, "COMMIT").await;
        let (ended, _) = running.wait().await;
        let said = ended.expect(4).said();
        let told = "enum public.status was changed during the run";
        assert!(said.contains(told), "{said}");
        assert_eq!(
            scene.text("SELECT enum_range(NULL::status)::text").await,
            "{open,held,late}"
        );
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// Whatever else uses the type is named, and what would name the label that
/// goes; nothing changes.
#[tokio::test(flavor = "multi_thread")]
async fn what_uses_the_type_is_named() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        scene
            .sql("CREATE FUNCTION f(status) RETURNS integer LANGUAGE sql AS 'SELECT 1';
                  CREATE DOMAIN busy AS status CHECK (VALUE <> 'paid');
                  CREATE TABLE lists (all_of status[]);
                  CREATE TYPE pair AS (one status);
                  CREATE VIEW constant AS SELECT 'open'::status AS one;
                  ALTER TABLE orders ADD CONSTRAINT no_held CHECK (status <> 'held' OR amount > 0);
                  CREATE INDEX orders_held ON orders (id) WHERE status = 'held';
                  ALTER TABLE orders ALTER before SET DEFAULT CASE WHEN now() > '2020-01-01' THEN 'open'::status END")
            .await;
        let before = catalog(&scene).await;
        let fewer = "columns: [{table: orders, column: status}, {table: history, column: status}]";
        for (columns, names) in [
            (
                COLUMNS,
                &[
                    "function public.f(public.status)",
                    "type public.busy",
                    "column all_of of table public.lists",
                    "column one of composite type public.pair",
                    "view public.constant",
                    "no_held",
                    "orders_held",
                    "the default of public.orders.before",
                ] as &[&str],
            ),
            (
                fewer,
                &["public.orders.before is of type public.status, and is not listed"],
            ),
        ] {
            let operation = format!(
                "- remove_enum_value: {{name: status, value: held, replacement: open, {columns}}}"
            );
            let path = scene.pontoon.plan(&plan("held", KEYS, &operation));
            let ended = scene.pontoon.call(&["run", &path]).await;
            let said = format!("{}{}", ended.stdout, ended.stderr).to_lowercase();
            assert_eq!(ended.code, Some(4), "{said}");
            for name in names {
                assert!(said.contains(name), "{name}: {said}");
            }
        }
        let differences = before.differences(&catalog(&scene).await);
        assert!(differences.is_empty(), "{differences:#?}");
        scene.end().await;
    }
}
