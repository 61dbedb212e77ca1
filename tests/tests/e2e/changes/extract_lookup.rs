//! Values that become a reference to a lookup table: both versions under traffic
//! to the end, values that nobody had added before, and who waits for whom.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pontoon_tests::wait_for_silence;
use rand::seq::SliceRandom;
use tokio_postgres::Client;

use crate::clients::{Clients, NEW, OLD, Versions};
use crate::scene::{Scene, code, plan, run, text};

const EXTRACT: &str =
    "- extract_lookup: {table: orders, columns: [city, country], into: cities, reference: city_id}";

const ORDERS: &str = "
    CREATE TABLE orders (
        id bigint PRIMARY KEY,
        city text NOT NULL,
        country varchar(10) NOT NULL DEFAULT 'DE',
        note text
    )";

/// Rows that nobody but the batches writes.
const SEEDED: &str = "
    INSERT INTO orders SELECT -g, 'City ' || g % 300, 'C' || g % 3 FROM generate_series(1, 3000) g; ANALYZE orders";

/// Rows whose reference is not what their values say: the test's own
/// comparison, which leaves out rows without a reference.
const WRONG: &str = "SELECT count(*) FROM orders o LEFT JOIN cities c ON c.id = o.city_id
    WHERE o.city_id IS NOT NULL AND (c.city, c.country) IS DISTINCT FROM (o.city, o.country)";

/// Rows without a reference.
const OPEN: &str = "SELECT count(*) FROM orders WHERE city_id IS NULL";

/// For sessions to come: whoever waits in a circle is found soon.
async fn deadlock_timeout(scene: &Scene, change: &str) {
    let name = scene.text("SELECT quote_ident(current_database())").await;
    scene.sql(&format!("ALTER DATABASE {name} {change}")).await;
}

async fn level(client: &Client, level: &str) {
    run(
        client,
        &format!("SET default_transaction_isolation = '{level}'"),
    )
    .await;
}

/// What one client knows of its own rows: the city, with its country.
type Rows = BTreeMap<i64, String>;

/// Clients of old and new versions, each with rows of its own, and values that
/// they share.
struct Traffic {
    versions: Versions,
    clients: Clients<Rows>,
}

impl Traffic {
    async fn start(scene: &Scene, clients: i64) -> Self {
        let versions = Versions::old();
        let mut running = Clients::new();
        for no in 1..=clients {
            let client = scene.database.client().await.expect("a client");
            // Each third of them works under another isolation level.
            match no % 3 {
                0 => level(&client, "repeatable read").await,
                1 => level(&client, "read committed").await,
                _ => level(&client, "serializable").await,
            }
            let versions = versions.clone();
            running.spawn(|stop| async move {
                let mut rows = Rows::new();
                let mut turn = 0;
                while !stop.is_told() {
                    turn += 1;
                    let version = versions.of(turn);
                    write(&client, version, no, turn, &mut rows).await;
                    versions.wrote(version);
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
                rows
            });
        }
        Self {
            versions,
            clients: running,
        }
    }

    /// Ends it, and compares every row with what this query gives.
    async fn end(self, scene: &Scene, from: &str) {
        let rows = self.clients.stop("no client failed").await;
        let wanted: Vec<String> = rows
            .into_iter()
            .flatten()
            .map(|(id, value)| format!("{id}:{value}"))
            .collect();
        assert!(wanted.len() > 20, "{} rows", wanted.len());
        let found = scene
            .text(&format!(
                "SELECT concat_ws(':', o.id, city, country) FROM {from} WHERE o.id > 0 ORDER BY o.id"
            ))
            .await;
        assert_eq!(found, wanted.join(","));
        let seeds = scene
            .text(&format!(
                "SELECT count(*) FROM {from} WHERE o.id < 0 AND city = 'City ' || -o.id % 300 AND country = 'C' || -o.id % 3"
            ))
            .await;
        assert_eq!(seeds, "3000");
    }
}

/// One transaction as a version writes it. A serialization failure is tried
/// again, as such an application does; nothing else may fail.
async fn write(client: &Client, version: u64, no: i64, turn: i64, rows: &mut Rows) {
    let id = no * 1_000_000 + turn * 10;
    let old = rows
        .keys()
        .nth(usize::try_from(turn % 7).expect("small") % rows.len().max(1))
        .copied();
    // New to all of them every now and then, at about the same time.
    let fresh = |k: i64| format!("Town {}", (turn / 5) * 3 + (k * 7 + no) % 3);
    let mut written = Rows::new();
    let mut gone = None;
    let mut statements = Vec::new();
    let insert = |id: i64, city: &str| {
        match version {
        OLD => format!("INSERT INTO orders (id, city) VALUES ({id}, '{city}')"),
        _ => format!(
            "INSERT INTO cities (city, country) VALUES ('{city}', 'DE') ON CONFLICT (city, country) DO NOTHING;
             INSERT INTO orders (id, city_id) SELECT {id}, id FROM cities WHERE (city, country) = ('{city}', 'DE')"
        ),
    }
    };
    match (turn % 6, old) {
        (0 | 1, _) | (_, None) => {
            let mut cities = [fresh(0), fresh(1), fresh(2)];
            if version == NEW {
                // Of its own deadlocks it keeps clear itself.
                cities.sort();
            }
            for (k, city) in (0..).zip(cities) {
                statements.push(insert(id + k, &city));
                written.insert(id + k, format!("{city}:DE"));
            }
        }
        (2, Some(row)) => {
            let city = fresh(1);
            statements.push(match version {
                OLD => {
                    format!("UPDATE orders SET city = '{city}', country = 'DE' WHERE id = {row}")
                }
                _ => format!(
                    "INSERT INTO cities (city, country) VALUES ('{city}', 'DE') ON CONFLICT (city, country) DO UPDATE SET city = excluded.city;
                     UPDATE orders SET city_id = (SELECT id FROM cities WHERE (city, country) = ('{city}', 'DE')) WHERE id = {row}"
                ),
            });
            written.insert(row, format!("{city}:DE"));
        }
        (3, Some(row)) => {
            // Given back, and then not: only what counts counts.
            let city = fresh(2);
            statements.push("SAVEPOINT one".to_owned());
            statements.push(insert(id, "never"));
            statements.push("ROLLBACK TO one".to_owned());
            statements.push(insert(id, &city));
            statements.push(format!("DELETE FROM orders WHERE id = {row}"));
            written.insert(id, format!("{city}:DE"));
            gone = Some(row);
        }
        (4, Some(row)) => {
            statements.push(format!("UPDATE orders SET note = 'n' WHERE id = {row}"));
        }
        (_, Some(row)) => {
            // A key that moves in the transaction that writes the value.
            let city = fresh(0);
            statements.push(insert(id, &city));
            statements.push(format!("UPDATE orders SET id = {} WHERE id = {id}", id + 1));
            statements.push(format!("UPDATE orders SET note = city WHERE id = {row}"));
            written.insert(id + 1, format!("{city}:DE"));
            if version == NEW {
                statements.pop();
            }
        }
    }
    let whole = format!("BEGIN; {}; COMMIT", statements.join("; "));
    loop {
        match client.batch_execute(&whole).await {
            Ok(()) => break,
            Err(error) => {
                let code = error.code().map_or("", |code| code.code()).to_owned();
                assert_eq!(code, "40001", "{whole}: {error:?}");
                run(client, "ROLLBACK").await;
            }
        }
    }
    rows.extend(written);
    if let Some(gone) = gone {
        rows.remove(&gone);
    }
}

/// Old and new versions write while the run goes to its gate, then only new
/// ones, to the end, or back. No write is lost, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn both_versions_write_to_the_end() {
    for version in crate::versions() {
        for back in [false, true] {
            let scene = Scene::new(version, &format!("{ORDERS}; {SEEDED}")).await;
            let before = scene.dumped().await;
            let traffic = Traffic::start(&scene, 6).await;
            traffic.versions.goes_on(OLD).await;
            let path = scene.pontoon.plan(&plan("extract", "", EXTRACT));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            traffic.versions.run(OLD | NEW);
            traffic.versions.goes_on(OLD).await;
            traffic.versions.goes_on(NEW).await;
            assert_eq!(scene.text(WRONG).await, "0");
            if back {
                traffic.versions.run(OLD);
                traffic.versions.goes_on(OLD).await;
                traffic.versions.goes_on(OLD).await;
                scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
                traffic.versions.goes_on(OLD).await;
                traffic.end(&scene, "orders o").await;
                if let Some(before) = before {
                    assert_eq!(scene.dumped().await, Some(before));
                }
            } else {
                traffic.versions.run(NEW);
                traffic.versions.goes_on(NEW).await;
                traffic.versions.goes_on(NEW).await;
                scene.pontoon.approved(&path).await.expect(0);
                traffic.versions.goes_on(NEW).await;
                traffic
                    .end(&scene, "orders o JOIN cities c ON c.id = o.city_id")
                    .await;
                let doubled = "SELECT count(*) - count(DISTINCT (city, country)) FROM cities";
                assert_eq!(scene.text(doubled).await, "0");
            }
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Old versions that write several new values each, all of them at once and in
/// any order: nobody is the victim of a deadlock, and each row is right.
#[tokio::test(flavor = "multi_thread")]
async fn writers_of_new_values_never_deadlock() {
    const ROUNDS: u64 = 12;
    const WRITERS: u64 = 12;
    const VALUES: u64 = 6;
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{ORDERS}; {SEEDED}")).await;
        let path = scene.pontoon.plan(&plan("extract", "", EXTRACT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        deadlock_timeout(&scene, "SET deadlock_timeout = '50ms'").await;
        for round in 0..ROUNDS {
            let mut writers = Clients::new();
            for no in 0..WRITERS {
                let client = scene.database.client().await.expect("a client");
                writers.spawn(|_| async move {
                    let mut values: Vec<u64> = (0..VALUES).collect();
                    values.shuffle(&mut rand::rng());
                    let rows: Vec<String> = values
                        .iter()
                        .map(|value| {
                            format!(
                                "INSERT INTO orders (id, city) VALUES ({}, 'New {round} {value}')",
                                (round * WRITERS + no) * VALUES + value + 1
                            )
                        })
                        .collect();
                    let sql = format!("BEGIN; {}; COMMIT", rows.join("; "));
                    code(&client, &sql).await
                });
            }
            let codes = writers.stop("no writer panicked").await;
            assert!(codes.iter().all(|code| code == "00000"), "{codes:?}");
        }
        assert_eq!(scene.text(WRONG).await, "0");
        deadlock_timeout(&scene, "RESET deadlock_timeout").await;
        scene.pontoon.approved(&path).await.expect(0);
        let right = "SELECT count(*) FROM orders o JOIN cities c ON c.id = city_id WHERE o.id > 0
             AND city = 'New ' || (o.id - 1) / 72 || ' ' || (o.id - 1) % 6 AND country = 'DE'";
        assert_eq!(
            scene.text(right).await,
            (ROUNDS * WRITERS * VALUES).to_string()
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// A new version has added a value and not committed, and wants a row that an old
/// one has written, which commits the same value: nobody is ended, the commit
/// is not late, and the row is filled before contract ends.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_somebody_holds_is_left_open() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{ORDERS}; {SEEDED}")).await;
        let path = scene.pontoon.plan(&plan("extract", "", EXTRACT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        deadlock_timeout(&scene, "SET deadlock_timeout = '50ms'").await;
        for turn in 1..=8 {
            let old = scene.database.client().await.expect("a client");
            let new = scene.database.client().await.expect("a client");
            run(
                &new,
                &format!("BEGIN; INSERT INTO cities (city, country) VALUES ('Held {turn}', 'DE')"),
            )
            .await;
            run(
                &old,
                &format!("BEGIN; UPDATE orders SET city = 'Held {turn}', country = 'DE' WHERE id = -{turn};
                          INSERT INTO orders (id, city) VALUES ({turn}, 'Held {turn}')"),
            )
            .await;
            let waiting = tokio::spawn(async move {
                let sql = format!("UPDATE orders SET note = 'mine' WHERE id = -{turn}; COMMIT");
                code(&new, &sql).await
            });
            // The search for a circle begins in the middle of the commit.
            tokio::time::sleep(Duration::from_millis(5 * turn)).await;
            let begun = Instant::now();
            assert_eq!(code(&old, "COMMIT").await, "00000");
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(1), "the commit took {took:?}");
            assert_eq!(waiting.await.expect("it ends"), "00000", "turn {turn}");
        }
        assert_ne!(scene.text(OPEN).await, "0", "nothing was left open");
        assert_eq!(scene.text(WRONG).await, "0");
        // The next write of a row fills it.
        scene.sql("UPDATE orders SET note = 'x' WHERE id = 1").await;
        let filled = "SELECT city_id IS NOT NULL FROM orders WHERE id = 1";
        assert_eq!(scene.text(filled).await, "t");
        deadlock_timeout(&scene, "RESET deadlock_timeout").await;
        scene.pontoon.approved(&path).await.expect(0);
        let right = "SELECT count(*) FROM orders o JOIN cities c ON c.id = city_id WHERE abs(o.id) <= 8 AND city = 'Held ' || abs(o.id)";
        assert_eq!(scene.text(right).await, "16");
        scene.clean().await;
        scene.end().await;
    }
}

/// A value that is held while batches come to it, which are killed besides: they
/// give up by themselves, and come again.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_waits_for_nobody() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{ORDERS}; {SEEDED}")).await;
        let keys = "limits: {max_batch_rows: 100}\nbackfill: {nice_ratio: 0}";
        let path = scene.pontoon.plan(&plan("extract", keys, EXTRACT));
        let killed = [("PONTOON_FAILPOINT", "kill:batch.end")];
        let (ended, _) = scene
            .pontoon
            .spawn_with(&["run", &path], &killed)
            .wait()
            .await;
        assert_eq!(ended.code, None, "{}\n{}", ended.stdout, ended.stderr);
        wait_for_silence(&scene.client).await;
        let other = scene.database.client().await.expect("a client");
        run(
            &other,
            "BEGIN; INSERT INTO cities (city, country) SELECT city, country FROM orders o
                WHERE NOT EXISTS (SELECT FROM cities c WHERE (c.city, c.country) = (o.city, o.country)) LIMIT 1",
        )
        .await;
        let running = scene.pontoon.spawn(&["run", &path]);
        tokio::time::sleep(Duration::from_secs(2)).await;
        // It wants a row that a batch may hold at that moment.
        run(&other, "UPDATE orders SET note = 'n' WHERE id < 0; COMMIT").await;
        let (ended, _) = running.wait().await;
        assert_eq!(ended.code, Some(5), "{}\n{}", ended.stdout, ended.stderr);
        assert_eq!(scene.text(OPEN).await, "0");
        assert_eq!(scene.text(WRONG).await, "0");
        assert_eq!(scene.text("SELECT count(*) FROM cities").await, "300");
        scene.pontoon.approved(&path).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// What each version may do, and what it is told where it may not.
#[tokio::test(flavor = "multi_thread")]
async fn both_sides_follow_each_other() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            &format!("{ORDERS}; INSERT INTO orders VALUES (1, 'Bonn', 'DE'), (2, 'Lyon', 'FR')"),
        )
        .await;
        let path = scene.pontoon.plan(&plan("extract", "", EXTRACT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let told = "SELECT city || country FROM orders WHERE id = ";
        let kept = |sql: &str| sql.to_owned();
        for (statement, wanted) in [
            (
                kept("INSERT INTO orders (id, city_id) VALUES (9, 777)"),
                "23503",
            ),
            (
                kept("UPDATE orders SET city_id = 777 WHERE id = 1"),
                "23503",
            ),
            (
                kept(
                    "INSERT INTO orders (id, city, city_id) SELECT 9, 'Rome', id FROM cities WHERE city = 'Lyon'",
                ),
                "P0P01",
            ),
            (kept("UPDATE cities SET city = 'Köln'"), "P0P02"),
            (kept("UPDATE cities SET id = id + 100"), "P0P02"),
            (kept("DELETE FROM cities WHERE city = 'Bonn'"), "P0P02"),
            (kept("TRUNCATE cities CASCADE"), "P0P02"),
            (
                kept("INSERT INTO cities (city, country) VALUES ('Bonn', 'DE')"),
                "23505",
            ),
            (kept("UPDATE orders SET city = NULL WHERE id = 1"), "23502"),
            (
                kept("UPDATE orders SET city_id = NULL WHERE id = 1"),
                "23502",
            ),
        ] {
            assert_eq!(code(&scene.client, &statement).await, wanted, "{statement}");
        }
        // A snapshot without the row that is referred to.
        let other = scene.database.client().await.expect("a client");
        run(
            &other,
            "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM orders",
        )
        .await;
        scene
            .sql("SELECT setval('cities_id_seq', 499); INSERT INTO cities (city, country) VALUES ('Metz', 'FR')")
            .await;
        let unseen = "INSERT INTO orders (id, city_id) VALUES (9, 500)";
        assert_eq!(code(&other, unseen).await, "40001");
        // And without values that somebody has added since: left open.
        run(
            &other,
            "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1 FROM orders",
        )
        .await;
        scene
            .sql("INSERT INTO orders VALUES (3, 'Nice', 'FR')")
            .await;
        assert_eq!(scene.text(OPEN).await, "0");
        run(
            &other,
            "INSERT INTO orders VALUES (4, 'Nice', 'FR'); COMMIT",
        )
        .await;
        assert_eq!(scene.text(OPEN).await, "1");
        for (statement, row, wanted) in [
            ("UPDATE orders SET city_id = 500 WHERE id = 1", 1, "MetzFR"),
            ("UPDATE orders SET city = 'Lyon' WHERE id = 1", 1, "LyonFR"),
            (
                "INSERT INTO orders (id, city_id) VALUES (5, 500)",
                5,
                "MetzFR",
            ),
            (
                "INSERT INTO orders (id, city, city_id) VALUES (6, 'Metz', NULL)",
                6,
                "MetzDE",
            ),
            (
                "INSERT INTO orders (id, city, country, city_id) VALUES (7, 'Metz', 'FR', 500)",
                7,
                "MetzFR",
            ),
            (
                "INSERT INTO cities (city, country) VALUES ('Metz', 'FR') ON CONFLICT (city, country) DO UPDATE SET city = excluded.city, country = excluded.country",
                7,
                "MetzFR",
            ),
            (
                "BEGIN; INSERT INTO orders VALUES (8, 'Ulm', 'DE'); UPDATE orders SET city = 'Lahr' WHERE id = 8; COMMIT",
                8,
                "LahrDE",
            ),
            (
                "BEGIN; SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO orders VALUES (10, 'Kehl', 'DE'); UPDATE orders SET id = 11 WHERE id = 10; COMMIT",
                11,
                "KehlDE",
            ),
            (
                "SET session_replication_role = replica; INSERT INTO orders VALUES (12, 'Wien', 'AT'); RESET session_replication_role",
                12,
                "WienAT",
            ),
            (
                "BEGIN; INSERT INTO orders VALUES (13, 'Gone', 'DE'); DELETE FROM orders WHERE id = 13; INSERT INTO orders VALUES (13, 'Back', 'DE'); COMMIT",
                13,
                "BackDE",
            ),
        ] {
            scene.sql(statement).await;
            assert_eq!(
                scene.text(&format!("{told}{row}")).await,
                wanted,
                "{statement}"
            );
            assert_eq!(scene.text(WRONG).await, "0", "{statement}");
            assert_eq!(
                scene.text(&format!("{OPEN} AND id <> 4")).await,
                "0",
                "{statement}"
            );
        }
        // Many rows, many values, one transaction.
        scene
            .sql("INSERT INTO orders SELECT g, 'Many ' || g % 500, 'DE' FROM generate_series(1000, 2999) g")
            .await;
        assert_eq!(scene.text(&format!("{OPEN} AND id <> 4")).await, "0");
        // What was taken back has added nothing.
        scene
            .sql("BEGIN; INSERT INTO orders VALUES (99, 'Nowhere', 'DE'); ROLLBACK")
            .await;
        assert_eq!(
            scene
                .text("SELECT count(*) FROM cities WHERE city IN ('Nowhere', 'Ulm', 'Gone')")
                .await,
            "0"
        );
        // A value that no index can hold troubles no writer.
        let long = "INSERT INTO orders SELECT 98, string_agg(md5(g::text), ''), 'DE' FROM generate_series(1, 200) g";
        assert_eq!(code(&scene.client, long).await, "00000");
        let ended = scene.pontoon.approved(&path).await;
        assert_eq!(ended.code, Some(7), "{}\n{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("index row"), "{}", ended.stderr);
        scene.sql("DELETE FROM orders WHERE id = 98").await;
        scene.pontoon.approved(&path).await.expect(0);
        assert_eq!(
            scene
                .text("SELECT city FROM orders o JOIN cities c ON c.id = city_id WHERE o.id = 4")
                .await,
            "Nice"
        );
        // Everything is free now.
        scene.sql("UPDATE cities SET city = 'Mainz' WHERE city = 'Bonn'; DELETE FROM cities WHERE id NOT IN (SELECT city_id FROM orders)").await;
        scene.clean().await;
        scene.end().await;
    }
}

/// One column that may hold NULL, of an enum; nothing refers to nothing.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_refers_to_nothing() {
    const KINDS: &str = "CREATE TYPE kind AS ENUM ('a', 'b', 'c');
        CREATE TABLE things (code text, day date, kind kind, PRIMARY KEY (code, day));
        INSERT INTO things SELECT 'c' || g, '2026-01-01', CASE WHEN g % 2 = 0 THEN 'a'::kind END FROM generate_series(1, 50) g";
    for version in crate::versions() {
        let scene = Scene::new(version, KINDS).await;
        let operation =
            "- extract_lookup: {table: things, columns: [kind], into: kinds, reference: kind_id}";
        let path = scene.pontoon.plan(&plan("extract", "", operation));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let state = "SELECT count(kind) || '/' || count(kind_id) FROM things";
        assert_eq!(scene.text(state).await, "25/25");
        scene
            .sql("UPDATE things SET kind = 'b' WHERE code = 'c1'")
            .await;
        scene
            .sql("UPDATE things SET kind_id = NULL WHERE code = 'c2'; UPDATE things SET kind = NULL WHERE code = 'c4';
                  INSERT INTO things (code, day, kind_id) SELECT 'n', '2026-02-01', id FROM kinds WHERE kind = 'b'")
            .await;
        assert_eq!(scene.text(state).await, "25/25");
        // No NOT NULL would stop a row that is left open from losing its value.
        let other = scene.database.client().await.expect("a client");
        run(&other, "BEGIN; INSERT INTO kinds (kind) VALUES ('c')").await;
        scene
            .sql("UPDATE things SET kind = 'c' WHERE code = 'c6'")
            .await;
        run(&other, "COMMIT").await;
        assert_eq!(scene.text(state).await, "25/24");
        scene.pontoon.approved(&path).await.expect(0);
        let rows = "SELECT string_agg(code || coalesce(kind::text, '-'), ',' ORDER BY code) FROM things LEFT JOIN kinds ON kinds.id = kind_id WHERE code IN ('c1', 'c2', 'c3', 'c4', 'c6', 'n')";
        assert_eq!(scene.text(rows).await, "c1b,c2-,c3-,c4-,c6c,nb");
        scene.clean().await;
        scene.end().await;
    }
}

/// A reference that leads elsewhere is named and never mended; a trigger that was
/// off, on either table, keeps contract from ending.
#[tokio::test(flavor = "multi_thread")]
async fn references_that_are_wrong_are_found() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{ORDERS}; {SEEDED}")).await;
        let path = scene.pontoon.plan(&plan("extract", "", EXTRACT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let off = |table: &str, state: &str| {
            format!(
                "DO $$ DECLARE found name; BEGIN
                    FOR found IN SELECT tgname FROM pg_trigger WHERE tgrelid = '{table}'::regclass AND NOT tgisinternal LOOP
                        EXECUTE format('ALTER TABLE {table} {state} TRIGGER %I', found);
                    END LOOP; END $$"
            )
        };
        let (orders, cities) = ("orders", "cities");
        scene
            .sql(&format!(
                "{}; UPDATE orders SET city_id = (SELECT max(id) FROM cities WHERE city <> orders.city) WHERE id = -17; {}",
                off(orders, "DISABLE"),
                off(orders, "ENABLE ALWAYS")
            ))
            .await;
        let ended = scene.pontoon.approved(&path).await.expect(7);
        assert!(
            ended.stderr.to_lowercase().contains("id = -17 "),
            "{}",
            ended.stderr
        );
        scene
            .sql("UPDATE orders SET city = 'City 1', country = 'C1' WHERE id = -17")
            .await;
        scene.pontoon.call(&["verify"]).await.expect(0);
        scene.sql(&off(cities, "DISABLE")).await;
        let ended = scene.pontoon.call(&["run", &path]).await.expect(4);
        assert!(ended.stderr.contains("cities"), "{}", ended.stderr);
        scene.sql(&off(cities, "ENABLE ALWAYS")).await;
        scene.pontoon.call(&["run", &path]).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

const ROLES: &str = "
    DO 'BEGIN CREATE ROLE lookup_old; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE lookup_new; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE lookup_stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE lookup_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    GRANT CREATE, USAGE ON SCHEMA public TO lookup_owner; GRANT USAGE ON SCHEMA public TO lookup_old, lookup_new, lookup_stranger;
    ALTER TABLE orders OWNER TO lookup_owner;
    GRANT INSERT (id, city), UPDATE (city), SELECT (id, city) ON orders TO lookup_old;
    GRANT SELECT, INSERT, UPDATE, DELETE ON orders TO lookup_new;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO lookup_stranger";

/// Who may write the values needs no right on the lookup table; who had rights on
/// the table has them there.
#[tokio::test(flavor = "multi_thread")]
async fn rights_go_along() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{ORDERS}; {SEEDED}; {ROLES}")).await;
        let path = scene.pontoon.plan(&plan("extract", "", EXTRACT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let old = scene.database.client().await.expect("a client");
        run(&old, "SET ROLE lookup_old").await;
        run(&old, "INSERT INTO orders (id, city) VALUES (1, 'New'); UPDATE orders SET city = 'Newer' WHERE id = -1").await;
        for refused in [
            "INSERT INTO cities (city, country) VALUES ('x', 'y')",
            "DELETE FROM cities",
            "SELECT country FROM cities",
        ] {
            assert_eq!(code(&old, refused).await, "42501", "{refused}");
        }
        run(&old, "SELECT id, city FROM cities; UPDATE orders SET city_id = city_id WHERE id = 1; SET ROLE lookup_new").await;
        run(&old, "INSERT INTO cities (city, country) VALUES ('x', 'y'); INSERT INTO orders (id, city_id) SELECT 2, id FROM cities WHERE city = 'x'").await;
        assert_eq!(code(&old, "TRUNCATE cities").await, "42501");
        run(&old, "SET ROLE lookup_stranger").await;
        assert_eq!(code(&old, "SELECT FROM cities").await, "42501");
        assert_eq!(text(&old, "SELECT count(*) FROM pg_proc WHERE proname ~ '_(find|settle1|keep1|mark1)$' AND has_function_privilege(oid, 'EXECUTE')").await, "0");
        assert_eq!(scene.text(OPEN).await, "0");
        scene.pontoon.approved(&path).await.expect(0);
        let owner = "SELECT relowner::regrole FROM pg_class WHERE relname = 'cities'";
        assert_eq!(scene.text(owner).await, "lookup_owner");
        scene.clean().await;
        scene.end().await;
    }
}

/// What cannot become a reference is refused with its name, and nothing is
/// changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_move_is_refused() {
    const BASE: &str = "CREATE TABLE orders (id integer PRIMARY KEY, city text, country text NOT NULL, code char(3) NOT NULL, price numeric NOT NULL);
        CREATE TABLE pets (name text PRIMARY KEY)";
    // What is done first, the columns, what is told.
    let cases: &[(&str, &str, &str)] = &[
        (
            "ALTER TABLE orders DROP CONSTRAINT orders_pkey",
            "city",
            "no primary key",
        ),
        ("", "city, country", "orders.city may be NULL"),
        ("", "code", "character(3)"),
        ("", "price", "numeric"),
        ("", "citi", "Did you mean `city`?"),
        (
            "CREATE DOMAIN words AS text; ALTER TABLE orders ALTER city TYPE words",
            "city",
            "public.words",
        ),
        ("ALTER TABLE orders ADD tags text[]", "tags", "text[]"),
        (
            "ALTER TABLE orders ALTER city SET DEFAULT random()::text",
            "city",
            "gives another value each time",
        ),
        (
            "CREATE INDEX by_city ON orders (city)",
            "city",
            "index by_city is over",
        ),
        (
            "ALTER TABLE orders ADD CONSTRAINT once UNIQUE (city)",
            "city",
            "once",
        ),
        (
            "ALTER TABLE orders ADD CONSTRAINT short CHECK (length(city) < 9)",
            "city",
            "short",
        ),
        (
            "ALTER TABLE orders ADD CONSTRAINT pet FOREIGN KEY (city) REFERENCES pets",
            "city",
            "pet",
        ),
        (
            "CREATE VIEW shown AS SELECT city FROM orders",
            "city",
            "shown",
        ),
        (
            "ALTER TABLE orders ENABLE ROW LEVEL SECURITY",
            "city",
            "row level security",
        ),
        (
            "ALTER TABLE orders SET UNLOGGED",
            "city",
            "not a permanent table",
        ),
        (
            "CREATE TABLE child () INHERITS (orders)",
            "city",
            "inheritance",
        ),
        (
            "CREATE TABLE cities (a integer)",
            "city",
            "cities exists already",
        ),
        (
            "CREATE TABLE t (a integer); CREATE INDEX cities_pkey ON t (a)",
            "city",
            "cities_pkey",
        ),
        ("ALTER TABLE orders ADD city_id bigint", "city", "city_id"),
        (
            "CREATE PUBLICATION told FOR TABLE orders",
            "city",
            "publication told",
        ),
    ];
    for version in crate::versions() {
        for (first, columns, told) in cases {
            let scene = Scene::new(version, &format!("{BASE}; {first}")).await;
            let before = scene.catalog().await;
            let operation = format!(
                "- extract_lookup: {{table: orders, columns: [{columns}], into: cities, reference: city_id}}"
            );
            let path = scene.pontoon.plan(&plan("extract", "", &operation));
            let ended = scene.pontoon.call(&["run", &path]).await;
            assert!(
                matches!(ended.code, Some(3 | 4)),
                "{first}: {:?}\n{}\n{}",
                ended.code,
                ended.stdout,
                ended.stderr
            );
            let said = ended.stderr.to_lowercase();
            assert!(said.contains(&told.to_lowercase()), "{first}: {said}");
            let differences = before.differences(&scene.catalog().await);
            assert!(differences.is_empty(), "{first}: {differences:#?}");
            scene.end().await;
        }
    }
}
