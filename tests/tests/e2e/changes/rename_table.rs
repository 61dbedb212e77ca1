//! Two names of one table: who may do what through the view, under traffic
//! through both, over the cutover and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio_postgres::Client;

use crate::clients::Clients;
use crate::scene::{Scene, code, plan, text, wait_until};

const RENAME: &str = "- rename_table: {table: orders, to: purchases}";
/// A last step behind the gate.
const LAST: &str = "- sql: {phase: contract, run: SELECT 1, undo: nothing}";

const ORDERS: &str = "
    CREATE TABLE orders (
        id bigint PRIMARY KEY,
        client integer NOT NULL,
        amount bigint NOT NULL DEFAULT 7,
        note text DEFAULT 'new'
    )";
const PARTITIONED: &str = "
    CREATE TABLE orders (
        id bigint PRIMARY KEY,
        client integer NOT NULL,
        amount bigint NOT NULL DEFAULT 7,
        note text DEFAULT 'new'
    ) PARTITION BY HASH (id);
    CREATE TABLE orders_0 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 0);
    CREATE TABLE orders_1 PARTITION OF orders FOR VALUES WITH (MODULUS 2, REMAINDER 1)";

/// What one client knows of its own rows.
type Rows = BTreeMap<i64, i64>;

/// Clients that write one table through two names in turn. A name that is not
/// there yet, or not any more, is left alone; any other error is one.
struct Traffic {
    /// Writes through the old and the new name.
    through: Arc<[AtomicU64; 2]>,
    clients: Clients<Rows>,
}

const NAMES: [&str; 2] = ["orders", "purchases"];

impl Traffic {
    async fn start(scene: &Scene, clients: i64) -> Self {
        let through = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
        let mut running = Clients::new();
        for no in 0..clients {
            let client = scene.database.client().await.expect("a client");
            let through = through.clone();
            running.spawn(|stop| async move {
                let mut rows = Rows::new();
                let mut turn = no;
                while !stop.is_told() {
                    turn += 1;
                    let place = usize::from(turn % 2 == 0);
                    match write(&client, NAMES[place], no, turn, &mut rows).await {
                        Ok(()) => {
                            through[place].fetch_add(1, Ordering::Relaxed);
                        }
                        // undefined_table, also of a prepared statement.
                        Err(error) if error.code().is_some_and(|c| c.code() == "42P01") => {}
                        Err(error) => panic!("through {}: {error:?}", NAMES[place]),
                    }
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                rows
            });
        }
        Self {
            through,
            clients: running,
        }
    }

    /// Waits until this name has been written through some more.
    async fn goes_on(&self, place: usize) {
        let before = self.through[place].load(Ordering::Relaxed);
        wait_until("writes go on", async || {
            self.through[place].load(Ordering::Relaxed) > before + 40
        })
        .await;
    }

    /// Ends it and compares every row.
    async fn end(self, scene: &Scene, name: &str) {
        let rows = self.clients.stop("no client failed").await;
        let wanted: Rows = rows.into_iter().flatten().collect();
        assert!(wanted.len() > 20, "{} rows", wanted.len());
        let wanted: Vec<String> = wanted.iter().map(|(id, a)| format!("{id}:{a}")).collect();
        let found = text(
            &scene.client,
            &format!("SELECT id || ':' || amount FROM {name} ORDER BY id"),
        )
        .await;
        assert_eq!(found, wanted.join(","));
    }
}

/// One statement of each kind in turn, and what it must have done.
async fn write(
    client: &Client,
    name: &str,
    no: i64,
    turn: i64,
    rows: &mut Rows,
) -> Result<(), tokio_postgres::Error> {
    let some = rows.keys().next().copied();
    match (turn / 2 % 5, some) {
        (0, _) | (_, None) => {
            let id = no * 1_000_000 + turn;
            let sql =
                format!("INSERT INTO {name} (id, client) VALUES ($1, $2) RETURNING amount, note");
            let statement = client.prepare(&sql).await?;
            let no = i32::try_from(no).expect("few clients");
            let row = client.query_one(&statement, &[&id, &no]).await?;
            assert_eq!((row.get(0), row.get(1)), (7_i64, "new"));
            rows.insert(id, 7);
        }
        (1, Some(id)) => {
            let sql =
                format!("UPDATE {name} SET amount = amount + 1 WHERE id = $1 RETURNING amount");
            let row = client.query_one(&sql, &[&id]).await?;
            rows.insert(id, row.get(0));
        }
        (2, Some(id)) => {
            let sql = format!(
                "INSERT INTO {name} (id, client, amount) VALUES ($1, 0, 3)
                 ON CONFLICT (id) DO UPDATE SET amount = {name}.amount * 2 RETURNING amount"
            );
            let row = client.query_one(&sql, &[&id]).await?;
            rows.insert(id, row.get(0));
        }
        (3, Some(id)) if rows.len() > 15 => {
            let sql = format!("DELETE FROM {name} WHERE id = $1");
            assert_eq!(client.execute(&sql, &[&id]).await?, 1);
            rows.remove(&id);
        }
        (_, Some(id)) => {
            let sql = format!("SELECT amount FROM {name} WHERE id = $1 FOR UPDATE");
            let row = client.query_one(&sql, &[&id]).await?;
            assert_eq!(row.get::<_, i64>(0), rows[&id]);
        }
    }
    Ok(())
}

/// Both versions write through both names while the run goes to its gate, on
/// to its end, or back; not one write is lost, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn both_names_are_written_through_in_every_phase() {
    for version in crate::versions() {
        for (setup, back) in [(ORDERS, false), (ORDERS, true), (PARTITIONED, false)] {
            let scene = Scene::new(version, setup).await;
            let traffic = Traffic::start(&scene, 4).await;
            traffic.goes_on(0).await;
            let path = scene
                .pontoon
                .plan(&plan("rename", "", &format!("{RENAME}\n{LAST}")));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            traffic.goes_on(0).await;
            traffic.goes_on(1).await;
            if back {
                scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
                traffic.goes_on(0).await;
            } else {
                let ended = scene.pontoon.approved(&path).await;
                ended.expect(0);
                traffic.goes_on(1).await;
            }
            traffic.end(&scene, NAMES[usize::from(!back)]).await;
            assert_eq!(
                scene
                    .text("SELECT string_agg(relname, ' ' ORDER BY relname) FROM pg_class WHERE relname IN ('orders', 'purchases') AND relkind <> 'i'")
                    .await,
                NAMES[usize::from(!back)]
            );
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Whoever uses the view has its lock first and that of the table after it. A
/// cutover that took them the other way round would meet, at each try, somebody
/// who holds the one and waits for the other.
#[tokio::test(flavor = "multi_thread")]
async fn the_cutover_takes_the_view_before_the_table() {
    for version in crate::versions() {
        let scene = Scene::new(version, ORDERS).await;
        scene.sql("INSERT INTO orders VALUES (1, 1)").await;
        let path = scene.pontoon.plan(&plan(
            "rename",
            "limits: {max_lock_duration: 400ms}",
            &format!("{RENAME}\n{LAST}"),
        ));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        // Through the view, and holding the table for a while, so that the
        // cutover has to queue and others come after it.
        let mut readers = Clients::new();
        for _ in 0..8 {
            let client = scene.database.client().await.expect("a client");
            readers.spawn(|stop| async move {
                while !stop.is_told() {
                    client
                        .batch_execute("SELECT pg_sleep(0.02) FROM purchases")
                        .await
                        .expect("the view or the table can be read");
                }
            });
        }
        let ended = tokio::time::timeout(Duration::from_secs(90), scene.pontoon.approved(&path))
            .await
            .expect("the cutover finds its way");
        ended.expect(0);
        readers.stop("no reader failed").await;
        let status = scene.status().await;
        let steps = status["steps"].as_array().expect("the steps");
        let cutover = steps.last().expect("a last step");
        assert!(
            cutover["attempts"].as_u64().is_some_and(|tries| tries < 20),
            "{cutover}"
        );
        scene.end().await;
    }
}

const ROLES: &str = "
    DO 'BEGIN CREATE ROLE rename_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE rename_stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE rename_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    GRANT CREATE, USAGE ON SCHEMA public TO rename_owner; GRANT USAGE ON SCHEMA public TO rename_reader, rename_stranger;
    CREATE TABLE orders (id bigint PRIMARY KEY, secret text, open text, client integer);
    ALTER TABLE orders OWNER TO rename_owner;
    INSERT INTO orders VALUES (1, 's', 'o', 1), (2, 's', 'o', 2);
    GRANT SELECT (id, open), INSERT, UPDATE (open) ON orders TO rename_reader;
    ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO rename_stranger";

/// Nobody may do through the view what they may not do on the table, also when
/// every new relation is given to somebody.
#[tokio::test(flavor = "multi_thread")]
async fn rights_are_those_of_the_table() {
    for version in crate::versions() {
        let scene = Scene::new(version, ROLES).await;
        let path = scene.pontoon.plan(&plan("rename", "", RENAME));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for (role, statement, wanted) in [
            ("rename_reader", "SELECT id, open FROM {}", "00000"),
            ("rename_reader", "SELECT secret FROM {}", "42501"),
            ("rename_reader", "SELECT * FROM {}", "42501"),
            (
                "rename_reader",
                "UPDATE {} SET open = 'x' WHERE id = 1",
                "00000",
            ),
            (
                "rename_reader",
                "UPDATE {} SET secret = 'x' WHERE id = 1",
                "42501",
            ),
            ("rename_reader", "DELETE FROM {} WHERE id = 1", "42501"),
            (
                "rename_reader",
                "INSERT INTO {} VALUES (nextval('more'), 's', 'o', 1)",
                "00000",
            ),
            ("rename_stranger", "SELECT id FROM {}", "42501"),
            ("rename_owner", "SELECT secret FROM {}", "00000"),
        ] {
            scene
                .sql("CREATE SEQUENCE IF NOT EXISTS more START 100; GRANT USAGE ON SEQUENCE more TO rename_reader")
                .await;
            for name in NAMES {
                let sql = statement.replace("{}", name);
                assert_eq!(scene.code_as(role, &sql).await, wanted, "{role}: {sql}");
            }
        }
        assert_eq!(
            scene
                .text("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'purchases'")
                .await,
            "rename_owner"
        );
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.end().await;
    }
}

/// Row policies hold through the view, or the plan is refused.
#[tokio::test(flavor = "multi_thread")]
async fn row_policies_hold() {
    for version in crate::versions() {
        let setup = format!(
            "{ROLES}; GRANT SELECT ON orders TO rename_reader;
             ALTER TABLE orders ENABLE ROW LEVEL SECURITY;
             CREATE POLICY own ON orders TO rename_reader USING (client = 1)"
        );
        let scene = Scene::new(version, &setup).await;
        let path = scene.pontoon.plan(&plan("rename", "", RENAME));
        let ended = scene.pontoon.call(&["run", &path]).await;
        if version < 15 {
            assert_eq!(ended.code, Some(4), "{}", ended.stderr);
            assert!(
                ended.stderr.contains("row level security"),
                "{}",
                ended.stderr
            );
        } else {
            ended.expect(5);
            scene.sql("SET ROLE rename_reader").await;
            for name in NAMES {
                let sql = format!("SELECT id FROM {name}");
                assert_eq!(scene.text(&sql).await, "1", "{name}");
            }
            scene.sql("RESET ROLE").await;
            scene
                .sql("REVOKE SELECT ON orders FROM rename_reader")
                .await;
            let late = scene
                .code_as("rename_reader", "SELECT id FROM purchases")
                .await;
            assert_eq!(late, "42501", "what is revoked is revoked through both");
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            scene
                .sql("GRANT SELECT (open) ON orders TO rename_reader")
                .await;
            let ended = scene.pontoon.call(&["run", &path]).await;
            assert_eq!(ended.code, Some(4), "{}", ended.stderr);
            assert!(
                ended.stderr.contains("some of its columns"),
                "{}",
                ended.stderr
            );
        }
        scene.end().await;
    }
}

/// What the page says that works through the view and what does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_view_can_what_its_page_says() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT orders_key PRIMARY KEY, code text UNIQUE DEFAULT 'none', twice text GENERATED ALWAYS AS (code || code) STORED);
             CREATE TABLE lines (order_id bigint REFERENCES orders)",
        )
        .await;
        let path = scene.pontoon.plan(&plan("rename", "", RENAME));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let merge = "MERGE INTO purchases p USING (VALUES ('m')) AS v (code) ON p.code = v.code WHEN NOT MATCHED THEN INSERT (code) VALUES (v.code)";
        for (statement, wanted) in [
            ("INSERT INTO purchases DEFAULT VALUES", "00000"),
            ("INSERT INTO purchases (code) VALUES ('a'), ('b')", "00000"),
            (
                "INSERT INTO purchases (id, code) VALUES (DEFAULT, 'c')",
                "00000",
            ),
            ("INSERT INTO purchases (id, code) VALUES (99, 'd')", "428C9"),
            (
                "INSERT INTO purchases (id, code) OVERRIDING SYSTEM VALUE VALUES (99, 'd')",
                "00000",
            ),
            (
                "INSERT INTO purchases (code) VALUES ('a') ON CONFLICT DO NOTHING",
                "00000",
            ),
            ("INSERT INTO purchases (code) VALUES ('a')", "23505"),
            ("INSERT INTO lines SELECT id FROM purchases", "00000"),
            (
                "BEGIN; LOCK TABLE purchases IN EXCLUSIVE MODE; ROLLBACK",
                "00000",
            ),
            ("COPY (SELECT * FROM purchases) TO '/dev/null'", "00000"),
            (
                "WITH gone AS (DELETE FROM purchases WHERE code = 'b' RETURNING *) SELECT * FROM gone",
                "23503",
            ),
            ("TRUNCATE purchases CASCADE", "42809"),
            ("COPY purchases TO '/dev/null'", "42809"),
            ("COPY purchases (code) FROM '/dev/null'", "42809"),
            (
                "CREATE TABLE more (id bigint REFERENCES purchases (id))",
                "42809",
            ),
            (
                "INSERT INTO purchases (code) VALUES ('a') ON CONFLICT ON CONSTRAINT orders_key DO NOTHING",
                "42704",
            ),
            ("SELECT id, code FROM purchases GROUP BY id", "42803"),
            ("SELECT ctid FROM purchases", "42703"),
            (
                merge,
                match version {
                    14 => "42601",
                    15 | 16 => "0A000",
                    _ => "00000",
                },
            ),
        ] {
            assert_eq!(code(&scene.client, statement).await, wanted, "{statement}");
        }
        scene.end().await;
    }
}

/// A prepared statement goes on over the cutover: of the same client, through
/// the new name, first on the view and then on the table.
#[tokio::test(flavor = "multi_thread")]
async fn prepared_statements_go_on_over_the_cutover() {
    for version in crate::versions() {
        let scene = Scene::new(version, ORDERS).await;
        let path = scene.pontoon.plan(&plan("rename", "", RENAME));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let client = scene.database.client().await.expect("a client");
        let insert = client
            .prepare("INSERT INTO purchases (id, client) VALUES ($1, 1) RETURNING *")
            .await
            .expect("prepared");
        let select = client
            .prepare("SELECT * FROM purchases WHERE id = $1")
            .await
            .expect("prepared");
        for id in 1..=8_i64 {
            client.query_one(&insert, &[&id]).await.expect("inserted");
            client.query_one(&select, &[&id]).await.expect("read");
            if id == 7 {
                scene.pontoon.approved(&path).await.expect(0);
            }
        }
        scene.end().await;
    }
}

/// What hangs on the view by then stops the cutover and the rollback, and
/// nothing is lost: the run goes on once it is gone.
#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_the_view_is_not_dropped() {
    for version in crate::versions() {
        let scene = Scene::new(version, ORDERS).await;
        let path = scene.pontoon.plan(&plan("rename", "", RENAME));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql("CREATE VIEW report AS SELECT id FROM purchases")
            .await;
        let before = scene.catalog().await;
        let ended = scene.pontoon.approved(&path).await;
        assert_eq!(ended.code, Some(7), "{}", ended.stderr);
        assert!(ended.stderr.contains("report"), "{}", ended.stderr);
        assert!(before.differences(&scene.catalog().await).is_empty());
        scene.sql("DROP VIEW report").await;
        scene.pontoon.approved(&path).await.expect(0);
        scene.end().await;
    }
}

/// What the new name was granted at the gate it has afterwards; what a table
/// cannot have of a view stops the cutover, by name.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_view_was_given_is_not_lost() {
    for version in crate::versions() {
        let scene = Scene::new(version, ORDERS).await;
        scene
            .sql(
                "DO $$ BEGIN CREATE ROLE rename_late; EXCEPTION WHEN OTHERS THEN NULL; END $$;
                  GRANT DELETE ON orders TO rename_late WITH GRANT OPTION",
            )
            .await;
        let path = scene.pontoon.plan(&plan("rename", "", RENAME));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql(
                "GRANT INSERT, DELETE ON purchases TO rename_late;
                  GRANT SELECT (id, note) ON purchases TO PUBLIC;
                  GRANT UPDATE (note) ON purchases TO rename_late WITH GRANT OPTION;
                  ALTER VIEW purchases ALTER note SET DEFAULT 'late'",
            )
            .await;
        let ended = scene.pontoon.approved(&path).await;
        assert_ne!(ended.code, Some(0));
        assert!(
            ended
                .stderr
                .contains("has been given a default of column note"),
            "{}",
            ended.stderr
        );
        scene
            .sql("ALTER VIEW purchases ALTER note DROP DEFAULT")
            .await;
        scene.pontoon.approved(&path).await.expect(0);
        let grants = "
            SELECT concat_ws(' ', attname, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END,
                privilege_type, CASE WHEN is_grantable THEN 'grantable' END)
            FROM (SELECT NULL::name AS attname, relacl AS acl, relowner FROM pg_class WHERE oid = 'purchases'::regclass
                  UNION ALL
                  SELECT attname, attacl, 0::oid FROM pg_attribute WHERE attrelid = 'purchases'::regclass) AS of,
                 aclexplode(acl)
            WHERE grantee <> relowner OR grantee = 0 ORDER BY 1";
        assert_eq!(
            scene.text(grants).await,
            "id PUBLIC SELECT,note PUBLIC SELECT,note rename_late UPDATE grantable,\
             rename_late DELETE grantable,rename_late INSERT",
            "{version}"
        );
        scene.clean().await;
        scene.end().await;
    }
}
