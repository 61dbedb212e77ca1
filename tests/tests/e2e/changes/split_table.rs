//! Columns that move to a table of their own: both versions under traffic to
//! the end, what the view takes and refuses, copies that are wrong, ghosts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use pontoon_tests::wait_for_silence;
use tokio_postgres::Client;

use crate::clients::{Clients, NEW, OLD, Versions};
use crate::scene::{Scene, code, plan, run, text, wait_until};

const SPLIT: &str = "- split_table: {table: users, into: profiles, columns: [bio, avatar, visits]}";

const USERS: &str = "
    CREATE TABLE users (
        id bigint PRIMARY KEY,
        email text NOT NULL,
        bio text CONSTRAINT bio_short CHECK (length(bio) < 1000),
        avatar numeric,
        visits integer DEFAULT 0
    )";

/// Rows that nobody but the batches writes.
const SEEDED: &str = "
    INSERT INTO users SELECT -g, 'seed ' || g, nullif('bio ' || g, 'bio 7'), (g || '.50')::numeric, g
    FROM generate_series(1, 3000) g; ANALYZE users";

/// The row that all clients count in.
const SHARED: &str = "INSERT INTO users (id, email) VALUES (0, 'shared')";

/// Rows that differ between the table and what is being filled beside it,
/// either way: the test's own comparison.
async fn differences(scene: &Scene) -> String {
    let copy = copy(&scene.client).await;
    let both = |one: &str, other: &str| {
        format!(
            "SELECT count(*) FROM {one} a WHERE NOT EXISTS (SELECT FROM {other} b
                WHERE (b.id, b.bio, b.avatar::text, b.visits) IS NOT DISTINCT FROM (a.id, a.bio, a.avatar::text, a.visits))"
        )
    };
    scene
        .text(&format!(
            "SELECT ({}) || '/' || ({})",
            both("users", &copy),
            both(&copy, "users")
        ))
        .await
}

/// The new table, before it has its name.
async fn copy(client: &Client) -> String {
    text(
        client,
        r"SELECT relname FROM pg_class WHERE relname LIKE '\_pontoon\_%\_copy' AND relkind = 'r'",
    )
    .await
}

/// What one client knows of its own rows: e-mail, bio, avatar.
type Rows = BTreeMap<i64, (String, Option<String>, Option<String>)>;

/// Clients of old and new versions, each with rows of its own, and one that
/// all count in.
struct Traffic {
    versions: Versions,
    /// What the shared row must have come to.
    counted: Arc<AtomicI64>,
    clients: Clients<Rows>,
}

impl Traffic {
    async fn start(scene: &Scene, clients: i64) -> Self {
        let versions = Versions::old();
        let counted = Arc::new(AtomicI64::new(0));
        let mut running = Clients::new();
        for no in 1..=clients {
            let mut client = scene.database.client().await.expect("a client");
            let versions = versions.clone();
            let counted = counted.clone();
            running.spawn(|stop| async move {
                let mut rows = Rows::new();
                let mut turn = 0;
                while !stop.is_told() {
                    turn += 1;
                    let version = versions.of(turn);
                    let id = no * 1_000_000 + turn;
                    write(&mut client, version, id, &mut rows, &counted).await;
                    versions.wrote(version);
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                rows
            });
        }
        Self {
            versions,
            counted,
            clients: running,
        }
    }

    /// Ends it, and compares every row with what this query gives.
    async fn end(self, scene: &Scene, from: &str) {
        let rows = self.clients.stop("no client failed").await;
        let mut wanted = Vec::new();
        for (id, (email, bio, avatar)) in rows.into_iter().flatten() {
            let or = |value: Option<String>| value.unwrap_or_else(|| "∅".to_owned());
            wanted.push(format!("{id}:{email}:{}:{}", or(bio), or(avatar)));
        }
        assert!(wanted.len() > 20, "{} rows", wanted.len());
        let found = scene
            .text(&format!(
                "SELECT concat_ws(':', id, email, coalesce(bio, '∅'), coalesce(avatar::text, '∅')) FROM {from} WHERE id > 0 ORDER BY id"
            ))
            .await;
        assert_eq!(found, wanted.join(","));
        let counted = scene
            .text(&format!("SELECT visits FROM {from} WHERE id = 0"))
            .await;
        assert_eq!(counted, self.counted.load(Ordering::Relaxed).to_string());
        let seeds = scene
            .text(&format!(
                "SELECT count(*) FROM {from} WHERE id < 0 AND bio IS NOT DISTINCT FROM nullif('bio ' || -id, 'bio 7') AND avatar::text = -id || '.50' AND visits = -id"
            ))
            .await;
        assert_eq!(seeds, "3000");
    }
}

/// One transaction as a version writes it, of each kind in turn.
async fn write(client: &mut Client, version: u64, id: i64, rows: &mut Rows, counted: &AtomicI64) {
    let some = rows
        .keys()
        .nth(usize::try_from(id % 7).expect("small") % rows.len().max(1))
        .copied();
    let moved = if version == OLD { "users" } else { "profiles" };
    let email = format!("mail {id}");
    match (id % 9, some) {
        (0 | 1, _) | (_, None) => {
            let (bio, avatar) = (format!("bio {id}"), format!("{}.10", id % 100));
            let sql = match version {
                OLD => format!("INSERT INTO users (id, email, bio, avatar) VALUES ({id}, '{email}', '{bio}', {avatar})"),
                _ => format!(
                    "BEGIN; INSERT INTO users (id, email) VALUES ({id}, '{email}');
                     INSERT INTO profiles (id, bio, avatar) VALUES ({id}, '{bio}', {avatar}); COMMIT"
                ),
            };
            run(client, &sql).await;
            rows.insert(id, (email, Some(bio), Some(avatar)));
        }
        (2, Some(old)) => {
            // The same number, another image.
            let avatar = format!("{}.100", id % 100);
            run(
                client,
                &format!("UPDATE {moved} SET avatar = {avatar} WHERE id = {old}"),
            )
            .await;
            rows.get_mut(&old).expect("known").2 = Some(avatar);
        }
        (3, Some(old)) => {
            run(
                client,
                &format!("UPDATE {moved} SET bio = NULL, avatar = NULL WHERE id = {old}"),
            )
            .await;
            let row = rows.get_mut(&old).expect("known");
            (row.1, row.2) = (None, None);
        }
        (4, Some(old)) => {
            run(
                client,
                &format!("UPDATE users SET email = '{email}' WHERE id = {old}"),
            )
            .await;
            rows.get_mut(&old).expect("known").0 = email;
        }
        (5, _) => {
            run(
                client,
                &format!("UPDATE {moved} SET visits = visits + 1 WHERE id = 0"),
            )
            .await;
            counted.fetch_add(1, Ordering::Relaxed);
        }
        (6, Some(old)) if rows.len() > 12 => {
            // As a version under another isolation level does: it may be told
            // to try again, and nothing else.
            let begin = client.build_transaction();
            let level = tokio_postgres::IsolationLevel::RepeatableRead;
            let transaction = begin.isolation_level(level).start().await.expect("begins");
            transaction
                .query("SELECT count(*) FROM users WHERE id < 0", &[])
                .await
                .expect("reads");
            let done = transaction
                .execute("DELETE FROM users WHERE id = $1", &[&old])
                .await;
            match done {
                Ok(count) => {
                    assert_eq!(count, 1);
                    transaction.commit().await.expect("commits");
                    rows.remove(&old);
                }
                Err(error) => {
                    assert_eq!(error.code().map(|c| c.code()), Some("40001"), "{error:?}")
                }
            }
        }
        (7, Some(old)) => {
            // A key that moves, and what hangs on it.
            run(
                client,
                &format!("UPDATE users SET id = {id} WHERE id = {old}"),
            )
            .await;
            let row = rows.remove(&old).expect("known");
            rows.insert(id, row);
        }
        (_, Some(old)) => {
            let sql = format!(
                "SELECT coalesce(bio, '∅') || coalesce(avatar::text, '∅') FROM {moved} WHERE id = {old} FOR UPDATE"
            );
            let (_, bio, avatar) = &rows[&old];
            let or = |value: &Option<String>| value.clone().unwrap_or_else(|| "∅".to_owned());
            assert_eq!(text(client, &sql).await, or(bio) + &or(avatar));
        }
    }
}

/// Old and new versions write while the run goes to its gate, then only new
/// ones, to the end, or back. No write is lost, and none fails.
#[tokio::test(flavor = "multi_thread")]
async fn both_versions_write_to_the_end() {
    for version in crate::versions() {
        for back in [false, true] {
            let scene = Scene::new(version, &format!("{USERS}; {SEEDED}; {SHARED}")).await;
            let before = scene.dumped().await;
            let traffic = Traffic::start(&scene, 4).await;
            traffic.versions.goes_on(OLD).await;
            let path = scene.pontoon.plan(&plan("split", "", SPLIT));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            traffic.versions.run(OLD | NEW);
            traffic.versions.goes_on(OLD).await;
            traffic.versions.goes_on(NEW).await;
            // Of one moment, whatever is being written.
            assert_eq!(differences(&scene).await, "0/0");
            if back {
                traffic.versions.run(OLD);
                traffic.versions.goes_on(OLD).await;
                traffic.versions.goes_on(OLD).await;
                scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
                traffic.versions.goes_on(OLD).await;
                traffic.end(&scene, "users").await;
                if let Some(before) = before {
                    assert_eq!(scene.dumped().await, Some(before));
                }
            } else {
                traffic.versions.run(NEW);
                traffic.versions.goes_on(NEW).await;
                traffic.versions.goes_on(NEW).await;
                let ended = scene.pontoon.approved(&path).await;
                ended.expect(0);
                traffic.versions.goes_on(NEW).await;
                traffic.end(&scene, "users JOIN profiles USING (id)").await;
                assert_eq!(
                    scene
                        .text(
                            "SELECT count(*) FROM profiles WHERE id NOT IN (SELECT id FROM users)"
                        )
                        .await,
                    "0"
                );
            }
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// What the view takes and refuses is what the table after it will.
#[tokio::test(flavor = "multi_thread")]
async fn the_view_answers_as_the_table_will() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            &format!("{USERS}; INSERT INTO users (id, email, bio) VALUES (1, 'a', 'first'), (2, 'b', NULL), (3, 'c', NULL), (4, 'd', 'gone')"),
        )
        .await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for (statement, wanted) in [
            (
                "INSERT INTO profiles (id, bio) VALUES (1, 'again')",
                "23505",
            ),
            (
                "INSERT INTO profiles (id, bio) VALUES (99, 'nobody')",
                "23503",
            ),
            ("INSERT INTO profiles (id, bio) VALUES (NULL, 'x')", "23503"),
            (
                "INSERT INTO profiles (id, bio) VALUES (2, repeat('x', 1000))",
                "23514",
            ),
            (
                "INSERT INTO profiles (id, bio) VALUES (1, 'x') ON CONFLICT (id) DO NOTHING",
                "42P10",
            ),
            (
                "INSERT INTO profiles (id, bio) VALUES (1, 'x') ON CONFLICT DO NOTHING",
                "23505",
            ),
            ("UPDATE profiles SET id = 7 WHERE id = 1", "0A000"),
            ("TRUNCATE profiles", "42809"),
        ] {
            assert_eq!(code(&scene.client, statement).await, wanted, "{statement}");
        }
        let filled = "INSERT INTO profiles (id, bio) VALUES (2, 'second') RETURNING bio || visits";
        assert_eq!(scene.text(filled).await, "second0");
        let updated = "UPDATE profiles SET visits = visits + 1 WHERE id = 2 RETURNING visits";
        assert_eq!(scene.text(updated).await, "1");
        let deleted = "DELETE FROM profiles WHERE bio = 'gone' RETURNING id";
        assert_eq!(scene.text(deleted).await, "4");
        assert_eq!(scene.text("SELECT bio FROM users WHERE id = 4").await, "∅");
        // The index of the key is found through the view.
        scene.sql("SET enable_seqscan = off").await;
        let plan_text = scene
            .text("EXPLAIN SELECT bio FROM profiles WHERE id = 3")
            .await;
        scene.sql("RESET enable_seqscan").await;
        assert!(plan_text.contains("Index Cond: (id = 3)"), "{plan_text}");
        // Of two at a time none is lost, and none deletes what it has not seen.
        let other = scene.database.client().await.expect("a client");
        run(
            &other,
            "BEGIN; UPDATE users SET visits = visits + 1, bio = 'new' WHERE id = 2",
        )
        .await;
        let (counted, deleted) = {
            let counting = scene.database.client().await.expect("a client");
            let deleting = scene.database.client().await.expect("a client");
            let counting = tokio::spawn(async move {
                code(
                    &counting,
                    "UPDATE profiles SET visits = visits + 1 WHERE id = 2",
                )
                .await
            });
            wait_for_waiters(&scene, 1).await;
            let deleting = tokio::spawn(async move {
                code(&deleting, "DELETE FROM profiles WHERE bio = 'second'").await
            });
            wait_for_waiters(&scene, 2).await;
            run(&other, "COMMIT").await;
            (counting.await.expect("ends"), deleting.await.expect("ends"))
        };
        assert_eq!((counted.as_str(), deleted.as_str()), ("00000", "40001"));
        assert_eq!(
            scene
                .text("SELECT bio || visits FROM profiles WHERE id = 2")
                .await,
            "new3"
        );
        assert_eq!(differences(&scene).await, "0/0");
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        for (statement, wanted) in [
            (
                "INSERT INTO profiles (id, bio) VALUES (1, 'again')",
                "23505",
            ),
            (
                "INSERT INTO profiles (id, bio) VALUES (99, 'nobody')",
                "23503",
            ),
            (
                "INSERT INTO profiles (id, bio) VALUES (1, repeat('x', 1000)) ON CONFLICT (id) DO UPDATE SET bio = excluded.bio",
                "23514",
            ),
            ("DELETE FROM users WHERE id = 3", "00000"),
        ] {
            assert_eq!(code(&scene.client, statement).await, wanted, "{statement}");
        }
        assert_eq!(
            scene
                .text("SELECT string_agg(id || coalesce(bio, '∅'), ' ' ORDER BY id) FROM profiles")
                .await,
            "1first 2new 4∅"
        );
        scene.end().await;
    }
}

async fn wait_for_waiters(scene: &Scene, count: u32) {
    wait_until("they wait", async || {
        scene
            .text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
            .await
            == count.to_string()
    })
    .await;
}

/// Where a column is NOT NULL there is nothing that a DELETE could leave.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_emptied_is_not_deleted() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE users (id integer, part text, bio text NOT NULL DEFAULT '', PRIMARY KEY (id, part));
             INSERT INTO users VALUES (1, 'x', DEFAULT), (2, 'y', 'mine')",
        )
        .await;
        let split = "- split_table: {table: users, into: profiles, columns: [bio]}";
        let path = scene.pontoon.plan(&plan("split", "", split));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for (statement, wanted) in [
            ("DELETE FROM profiles WHERE id = 2", "0A000"),
            ("INSERT INTO profiles VALUES (1, 'x', NULL)", "23502"),
            ("INSERT INTO profiles VALUES (1, 'x', 'new')", "00000"),
            ("INSERT INTO profiles VALUES (1, 'x', 'again')", "23505"),
            ("UPDATE profiles SET part = 'z'", "0A000"),
            ("UPDATE users SET part = 'z' WHERE id = 2", "00000"),
        ] {
            assert_eq!(code(&scene.client, statement).await, wanted, "{statement}");
        }
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        assert_eq!(
            scene
                .text("SELECT string_agg(p::text, ' ' ORDER BY id) FROM profiles p")
                .await,
            "(1,x,new) (2,z,mine)"
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// Deletes whose snapshot is older than a copy, which they cannot see.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_that_does_not_see_the_copy_leaves_none_behind() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}")).await;
        let early = scene.database.client().await.expect("a client");
        run(&early, "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1").await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        // A batch has copied the row meanwhile.
        assert_eq!(
            code(&early, "DELETE FROM users WHERE id = -5").await,
            "40001"
        );
        run(&early, "ROLLBACK").await;
        for level in ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"] {
            // An application has.
            run(
                &early,
                &format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM users"),
            )
            .await;
            scene.sql("UPDATE profiles SET bio = bio || '+' WHERE id = -6; INSERT INTO users VALUES (1, 'new')").await;
            let deleted = code(&early, "DELETE FROM users WHERE id = -6").await;
            let wanted = if level == "READ COMMITTED" {
                "00000"
            } else {
                "40001"
            };
            assert_eq!(deleted, wanted, "{level}");
            run(&early, "ROLLBACK").await;
            // The row was unchanged since, and so was its copy.
            run(
                &early,
                &format!("BEGIN ISOLATION LEVEL {level}; SELECT count(*) FROM users"),
            )
            .await;
            scene.sql("UPDATE profiles SET bio = bio || '+' WHERE id = -6; DELETE FROM users WHERE id = 1").await;
            run(&early, "DELETE FROM users WHERE id = -8; UPDATE users SET id = -8 WHERE id = -9; UPDATE users SET bio = 'x' WHERE id = -10; COMMIT").await;
            scene
                .sql("INSERT INTO users SELECT -9, 'nine', 'bio'")
                .await;
            assert_eq!(differences(&scene).await, "0/0", "{level}");
        }
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// One statement, or a trigger of the application behind ours, may write a row
/// more than once before it is copied, and let keys go from row to row.
#[tokio::test(flavor = "multi_thread")]
async fn what_counts_is_the_row_as_it_is_in_the_end() {
    const TRIGGERS: &str = "
        CREATE FUNCTION sign() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            IF pg_trigger_depth() = 1 THEN UPDATE users SET bio = bio || ' signed' WHERE email = NEW.email; END IF; RETURN NULL; END $$;
        CREATE TRIGGER \" early\" AFTER INSERT ON users FOR EACH ROW EXECUTE FUNCTION sign();
        CREATE FUNCTION shout() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            NEW.bio := upper(NEW.bio); RETURN NEW; END $$;
        CREATE TRIGGER shout BEFORE INSERT OR UPDATE ON users FOR EACH ROW EXECUTE FUNCTION shout()";
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}; {TRIGGERS}")).await;
        let keys = "acknowledge: [\"trigger:shout\"]";
        let path = scene.pontoon.plan(&plan("split", keys, SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        for statement in [
            "INSERT INTO users SELECT g, 'same', 'bio ' || g FROM generate_series(1, 4) g",
            "UPDATE users SET email = 'other' WHERE id IN (1, -1)",
            "WITH gone AS (DELETE FROM users WHERE id = 2 RETURNING *) UPDATE users SET email = 'third' WHERE id = 3",
            "BEGIN; DELETE FROM users WHERE id = 4; INSERT INTO users VALUES (4, 'again', 'four'); COMMIT",
            "BEGIN; INSERT INTO users VALUES (5, 'x', 'five'); UPDATE users SET id = 6 WHERE id = 5; SAVEPOINT s; DELETE FROM users WHERE id = 6; ROLLBACK TO s; COMMIT",
            "UPDATE users SET id = id + 1000 WHERE id > 0; UPDATE users SET id = id - 2 WHERE id > 1000",
        ] {
            scene.sql(statement).await;
            assert_eq!(differences(&scene).await, "0/0", "{statement}");
        }
        assert!(
            scene
                .text("SELECT bio FROM profiles WHERE id = 999")
                .await
                .contains("SIGNED")
        );
        let ended = scene.pontoon.approved(&path).await;
        // The application's trigger reads the columns, as the preview says.
        ended.expect(0);
        scene.end().await;
    }
}

/// Keys that move from row to row within a statement, also where a unique index
/// moved along and where the foreign key of contract follows; rows that a trigger
/// brings back; a TRUNCATE whose snapshot does not see the last copies.
#[tokio::test(flavor = "multi_thread")]
async fn copies_follow_whatever_a_statement_does() {
    const ROWS: &str = "
        INSERT INTO users SELECT g, CASE WHEN g < 30 THEN 'mail' ELSE 'kept' END, 'mine ' || g, g, g FROM generate_series(2, 40) g";
    const MORE: &str = "
        CREATE UNIQUE INDEX users_bio ON users (bio);
        CREATE FUNCTION keep() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            INSERT INTO users VALUES (OLD.id, OLD.email, OLD.bio || ' kept', OLD.avatar, OLD.visits); RETURN NULL; END $$;
        CREATE TRIGGER \"Keep\" AFTER DELETE ON users FOR EACH ROW WHEN (OLD.email = 'kept' AND pg_trigger_depth() = 0) EXECUTE FUNCTION keep()";
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {MORE}; {ROWS}")).await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        // The snapshot of a TRUNCATE may not see the last copies.
        let other = scene.database.client().await.expect("a client");
        scene.sql("TRUNCATE users").await;
        let looks = "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM profiles";
        run(&other, looks).await;
        let late = "INSERT INTO users (id, email, bio) VALUES (7000, 'x', 'late')";
        scene.sql(late).await;
        run(&other, "TRUNCATE users; COMMIT").await;
        assert_eq!(differences(&scene).await, "0/0", "{version}: truncated");
        scene.sql(&format!("{late}; TRUNCATE users; {ROWS}")).await;
        // Along the index, so that no row meets the one before it.
        scene
            .sql("SET enable_seqscan = off; SET enable_bitmapscan = off")
            .await;
        for with_foreign_key in [false, true] {
            if with_foreign_key {
                scene.killed_before_the_last_step(&path).await;
            }
            for statement in [
                "UPDATE users SET id = id - 1 WHERE id > -9999",
                "UPDATE users SET id = -id WHERE id < 20",
                "UPDATE users SET id = -id WHERE id < 0",
                "UPDATE users SET id = id + 1000, bio = bio || '!'",
                "UPDATE users SET id = id - 999",
                "DELETE FROM users WHERE id = (SELECT max(id) FROM users)",
            ] {
                scene.sql(statement).await;
                let found = differences(&scene).await;
                assert_eq!(found, "0/0", "{version}, {with_foreign_key}: {statement}");
            }
        }
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        scene.sql("DROP TRIGGER \"Keep\" ON users").await;
        scene.clean().await;
        scene.end().await;
    }
}

/// An index may call what only the application's search path finds (before 17):
/// the run stops before any write of the application could.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_index_calls_is_tried_first() {
    const CALLS: &str = "
        CREATE FUNCTION inner_one(text) RETURNS text IMMUTABLE LANGUAGE sql AS 'SELECT $1';
        CREATE FUNCTION outer_one(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN inner_one($1); END';
        CREATE INDEX calls ON users (outer_one(bio));
        INSERT INTO users (id, email, bio) VALUES (1, 'x', 'y')";
    for version in crate::versions()
        .into_iter()
        .filter(|version| *version < 17)
    {
        let scene = Scene::new(version, &format!("{USERS}; {CALLS}")).await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        let ended = scene.pontoon.call(&["run", &path]).await;
        assert_eq!(ended.code, Some(7), "{}\n{}", ended.stdout, ended.stderr);
        assert!(ended.stderr.contains("inner_one"), "{}", ended.stderr);
        scene.sql("UPDATE users SET bio = 'z'").await;
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        scene.clean().await;
        scene.end().await;
    }
}

/// The table is emptied and filled again while batches go over it, and once
/// more at the gate.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_emptied_midway() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}")).await;
        let keys = "limits: {max_batch_rows: 100}\nbackfill: {nice_ratio: 0}";
        let path = scene.pontoon.plan(&plan("split", keys, SPLIT));
        let (ended, _) = scene
            .pontoon
            .spawn_with(&["run", &path], &[("PONTOON_FAILPOINT", "kill:batch.end")])
            .wait()
            .await;
        assert_eq!(ended.code, None, "{}\n{}", ended.stdout, ended.stderr);
        wait_for_silence(&scene.client).await;
        let refill =
            "INSERT INTO users SELECT g, 'mail', 'bio ' || g FROM generate_series(1, 500) g";
        scene.sql(&format!("TRUNCATE users; {refill}")).await;
        scene.pontoon.call(&["run", &path]).await.expect(5);
        assert_eq!(differences(&scene).await, "0/0");
        scene.sql("BEGIN; TRUNCATE users; ROLLBACK").await;
        assert_eq!(differences(&scene).await, "0/0");
        scene
            .sql(&format!("TRUNCATE users CASCADE; {refill}"))
            .await;
        assert_eq!(differences(&scene).await, "0/0");
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        assert_eq!(
            scene
                .text(
                    "SELECT count(*) FROM users JOIN profiles USING (id) WHERE bio = 'bio ' || id"
                )
                .await,
            "500"
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// A copy that was changed, one that is missing and one too many are named;
/// the verdict stands until a pass finds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn copies_that_are_wrong_are_found() {
    // What is done to the copies, and the rows that are named.
    const WRONG: &[(&str, &[&str])] = &[
        (
            "UPDATE {} SET avatar = avatar::numeric(10, 3) WHERE id = -17;
             UPDATE {} SET bio = NULL WHERE id = -18; UPDATE {} SET bio = '' WHERE id = -7;
             DELETE FROM {} WHERE id = -19; UPDATE {} SET id = 78 WHERE id = -2999",
            &[
                "id = -17 ",
                "id = -18 ",
                "id = -7 ",
                "id = -19 ",
                "id = -2999 ",
            ],
        ),
        ("INSERT INTO {} (id) VALUES (77)", &["id = 77 "]),
    ];
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}")).await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let copy = copy(&scene.client).await;
        let mend = format!(
            "DELETE FROM {copy}; INSERT INTO {copy} SELECT id, bio, avatar, visits FROM users"
        );
        for (wrong, named) in WRONG {
            scene.sql(&wrong.replace("{}", &copy)).await;
            let ended = scene.pontoon.call(&["verify"]).await.expect(7);
            let told = ended.stderr.to_lowercase();
            for row in *named {
                assert!(told.contains(row), "{row}: {told}");
            }
            // Whoever starts again: nothing is mended, nothing goes on.
            scene.pontoon.approved(&path).await.expect(7);
            assert_eq!(scene.status().await["state"], "failed", "{wrong}");
            scene.sql(&mend).await;
            scene.pontoon.call(&["run", &path]).await.expect(7);
            scene.pontoon.call(&["verify"]).await.expect(0);
        }
        // Another storage since the pass: what it holds, nobody has seen.
        scene.sql(&format!("VACUUM FULL {copy}")).await;
        scene
            .sql(&format!("UPDATE {copy} SET bio = 'behind' WHERE id = -20"))
            .await;
        let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
        assert!(
            ended.stderr.to_lowercase().contains("id = -20 "),
            "{}",
            ended.stderr
        );
        scene.sql(&mend).await;
        scene.pontoon.call(&["verify"]).await.expect(0);
        scene.sql(&format!("VACUUM FULL {copy}")).await;
        scene.pontoon.call(&["run", &path]).await.expect(0);
        assert_eq!(scene.text("SELECT count(*) FROM profiles").await, "3000");
        scene.clean().await;
        scene.end().await;
    }
}

/// A trigger that is switched off, and a write that it misses.
#[tokio::test(flavor = "multi_thread")]
async fn a_copying_trigger_that_was_off_voids_the_proof() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}")).await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let trigger = scene
            .text(r"SELECT tgname FROM pg_trigger WHERE tgrelid = 'users'::regclass AND tgname LIKE '!pontoon\_%\_c1u'")
            .await;
        scene
            .sql(&format!(
                "ALTER TABLE users DISABLE TRIGGER \"{trigger}\"; UPDATE users SET bio = 'unseen' WHERE id = -4;
                 ALTER TABLE users ENABLE ALWAYS TRIGGER \"{trigger}\""
            ))
            .await;
        let ended = scene.pontoon.approved(&path).await.expect(7);
        assert!(ended.stderr.contains("-4"), "{}", ended.stderr);
        // A replica role does not get past triggers that fire always.
        scene
            .sql("UPDATE users SET bio = 'seen' WHERE id = -4")
            .await;
        scene
            .sql("SET session_replication_role = replica; UPDATE users SET bio = 'replica' WHERE id = -3; RESET session_replication_role")
            .await;
        assert_eq!(differences(&scene).await, "0/0");
        scene.pontoon.call(&["verify"]).await.expect(0);
        scene.pontoon.call(&["run", &path]).await.expect(0);
        scene.end().await;
    }
}

const ROLES: &str = "
    DO 'BEGIN CREATE ROLE split_reader; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE split_writer; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE split_stranger; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    DO 'BEGIN CREATE ROLE split_owner; EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL; END';
    GRANT CREATE, USAGE ON SCHEMA public TO split_owner; GRANT USAGE ON SCHEMA public TO split_reader, split_writer, split_stranger;
    ALTER TABLE users OWNER TO split_owner;
    INSERT INTO users SELECT g, 'mail', 'bio' FROM generate_series(1, 20) g;
    INSERT INTO users SELECT g, 'mail' FROM generate_series(21, 40) g;
    GRANT SELECT (id, bio), UPDATE (bio, email) ON users TO split_reader;
    GRANT SELECT, INSERT, UPDATE, DELETE ON users TO split_writer;
    ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO split_stranger;
    CREATE SEQUENCE fresh START 21; GRANT USAGE ON SEQUENCE fresh TO PUBLIC";

/// Who may do what with the columns, may do it in either place, before contract
/// and after it, and nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn rights_go_along() {
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {ROLES}")).await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        let copy = copy(&scene.client).await;
        for role in ["split_reader", "split_writer", "split_stranger"] {
            let sql = format!("SELECT id FROM {copy}");
            assert_eq!(scene.code_as(role, &sql).await, "42501", "{role}");
        }
        for done in [false, true] {
            if done {
                // What is given and taken at the gate counts at the end.
                scene
                    .sql(
                        "GRANT UPDATE (bio) ON profiles TO split_stranger;
                          REVOKE INSERT ON profiles FROM split_writer",
                    )
                    .await;
                let ended = scene.pontoon.approved(&path).await;
                ended.expect(0);
                scene
                    .sql("DELETE FROM profiles WHERE id > 30; ALTER SEQUENCE fresh RESTART 31")
                    .await;
            }
            let then = |before, after| if done { after } else { before };
            for (role, statement, wanted) in [
                ("split_reader", "SELECT id, bio FROM profiles", "00000"),
                (
                    "split_stranger",
                    "UPDATE profiles SET bio = 'x'",
                    then("42501", "00000"),
                ),
                ("split_reader", "SELECT avatar FROM profiles", "42501"),
                (
                    "split_reader",
                    "UPDATE profiles SET bio = 'x' WHERE id = 1",
                    "00000",
                ),
                (
                    "split_reader",
                    "UPDATE profiles SET visits = 1 WHERE id = 1",
                    "42501",
                ),
                ("split_reader", "DELETE FROM profiles WHERE id = 1", "42501"),
                (
                    "split_reader",
                    "INSERT INTO profiles (id, bio) VALUES (nextval('fresh'), 'x')",
                    "42501",
                ),
                ("split_writer", "SELECT * FROM profiles", "00000"),
                (
                    "split_writer",
                    "INSERT INTO profiles (id, bio) VALUES (nextval('fresh'), 'x')",
                    then("00000", "42501"),
                ),
                (
                    "split_writer",
                    "UPDATE profiles SET visits = 1 WHERE id = 2",
                    "00000",
                ),
                ("split_writer", "DELETE FROM profiles WHERE id = 3", "00000"),
                (
                    "split_writer",
                    "UPDATE users SET email = 'y' WHERE id = 4",
                    "00000",
                ),
                ("split_stranger", "SELECT id FROM profiles", "42501"),
                (
                    "split_stranger",
                    "INSERT INTO profiles (id) VALUES (5)",
                    "42501",
                ),
                ("split_owner", "SELECT avatar FROM profiles", "00000"),
            ] {
                assert_eq!(
                    scene.code_as(role, statement).await,
                    wanted,
                    "{done} {role}: {statement}"
                );
            }
        }
        assert_eq!(
            scene
                .text("SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'profiles'")
                .await,
            "split_owner"
        );
        scene.end().await;
    }
}

/// Two splits of one table and a column that is filled: one pair of triggers
/// that heal, one scan, and each new table has its own.
#[tokio::test(flavor = "multi_thread")]
async fn two_tables_of_one() {
    const BOTH: &str = "- split_table: {table: users, into: profiles, columns: [bio]}\n\
        - split_table: {table: users, into: pictures, columns: [avatar, visits]}\n\
        - add_column: {table: users, column: {name: folded, type: text}, up: lower(email)}";
    for version in crate::versions() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}")).await;
        let path = scene.pontoon.plan(&plan("split", "", BOTH));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql(
                "BEGIN; INSERT INTO users (id, email) VALUES (1, 'One'); INSERT INTO profiles VALUES (1, 'one');
                 INSERT INTO pictures (id, avatar) VALUES (1, 1.10); COMMIT;
                 INSERT INTO users (id, email, bio) VALUES (2, 'Two', 'two'); UPDATE pictures SET visits = 7 WHERE id IN (2, -5);
                 UPDATE users SET id = 5, bio = 'five' WHERE id = -5; DELETE FROM users WHERE id = -6",
            )
            .await;
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        assert_eq!(
            scene
                .text("SELECT string_agg(concat_ws(' ', id, folded, bio, avatar, visits), '; ' ORDER BY id) FROM users JOIN profiles USING (id) JOIN pictures USING (id) WHERE id > 0")
                .await,
            "1 one one 1.10 0; 2 two two 7; 5 seed 5 five 5.50 7"
        );
        let counts = "SELECT (SELECT count(*) FROM users) || ' ' || (SELECT count(*) FROM profiles) || ' ' || (SELECT count(*) FROM pictures)";
        assert_eq!(scene.text(counts).await, "3001 3001 3001");
        scene.clean().await;
        scene.end().await;
    }
}

/// Whatever hangs on the columns hangs on them afterwards: the catalog is what
/// the same split by hand makes of it. Keys of other tables hold on the way.
#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_the_columns_goes_along() {
    const TABLES: &str = "
        CREATE DOMAIN short AS varchar(40) CHECK (VALUE <> 'long'); CREATE TYPE mood AS ENUM ('sad', 'ok');
        CREATE TABLE pets (id integer PRIMARY KEY);
        CREATE TABLE users (
            tenant integer, id bigint GENERATED ALWAYS AS IDENTITY, email text NOT NULL, PRIMARY KEY (tenant, id),
            pet integer CONSTRAINT pet_known REFERENCES pets ON DELETE RESTRICT DEFERRABLE,
            \"Nick name\" varchar(20) COLLATE \"C\" DEFAULT 'nobody', nature short, mood mood DEFAULT 'ok',
            tags text[] NOT NULL DEFAULT '{}', price numeric(8, 2) CONSTRAINT dear CHECK (price > 0 OR mood = 'sad'),
            CONSTRAINT nick_of_tenant UNIQUE (tenant, \"Nick name\") INCLUDE (mood) WITH (fillfactor = 80));
        CREATE INDEX users_tags ON users USING gin (tags);
        CREATE INDEX users_low ON users (lower(\"Nick name\") DESC, price) INCLUDE (mood) WHERE mood = 'ok';
        CREATE INDEX users_price ON users (price NULLS FIRST); ALTER TABLE users CLUSTER ON users_price;
        ALTER INDEX users_low ALTER COLUMN 1 SET STATISTICS 300;
        ALTER TABLE users ALTER price SET STATISTICS 200, ALTER tags SET STORAGE EXTERNAL, ALTER pet SET (n_distinct = 20);
        COMMENT ON CONSTRAINT dear ON users IS 'not for nothing'; COMMENT ON CONSTRAINT nick_of_tenant ON users IS 'one each';
        COMMENT ON INDEX users_tags IS 'to search'; COMMENT ON COLUMN users.mood IS 'today';
        INSERT INTO pets SELECT generate_series(1, 20);
        INSERT INTO users (tenant, email, pet, \"Nick name\", price) SELECT 1, 'mail', g % 20 + 1, 'nick' || g, g FROM generate_series(1, 500) g";
    const SPLIT: &str = "- split_table: {table: users, into: \"Faces\", columns: [mood, pet, \"Nick name\", nature, tags, price]}";
    const BY_HAND: &str = "
        CREATE TABLE \"Faces\" (tenant integer, id bigint, mood mood DEFAULT 'ok', pet integer, \"Nick name\" varchar(20) COLLATE \"C\" DEFAULT 'nobody', nature short,
            tags text[] NOT NULL DEFAULT '{}', price numeric(8, 2), CONSTRAINT \"Faces_pkey\" PRIMARY KEY (tenant, id), CONSTRAINT dear CHECK (price > 0 OR mood = 'sad'));
        ALTER TABLE users DROP mood, DROP pet, DROP \"Nick name\", DROP nature, DROP tags, DROP price;
        ALTER TABLE \"Faces\" ADD CONSTRAINT nick_of_tenant UNIQUE (tenant, \"Nick name\") INCLUDE (mood) WITH (fillfactor = 80);
        CREATE INDEX users_tags ON \"Faces\" USING gin (tags);
        CREATE INDEX users_low ON \"Faces\" (lower(\"Nick name\") DESC, price) INCLUDE (mood) WHERE mood = 'ok';
        CREATE INDEX users_price ON \"Faces\" (price NULLS FIRST); ALTER TABLE \"Faces\" CLUSTER ON users_price;
        ALTER INDEX users_low ALTER COLUMN 1 SET STATISTICS 300;
        ALTER TABLE \"Faces\" ALTER price SET STATISTICS 200, ALTER tags SET STORAGE EXTERNAL, ALTER pet SET (n_distinct = 20),
            ADD CONSTRAINT pet_known FOREIGN KEY (pet) REFERENCES pets ON DELETE RESTRICT DEFERRABLE,
            ADD CONSTRAINT \"Faces_tenant_id_fkey\" FOREIGN KEY (tenant, id) REFERENCES users ON DELETE CASCADE ON UPDATE CASCADE;
        COMMENT ON CONSTRAINT dear ON \"Faces\" IS 'not for nothing'; COMMENT ON CONSTRAINT nick_of_tenant ON \"Faces\" IS 'one each';
        COMMENT ON INDEX users_tags IS 'to search'; COMMENT ON COLUMN \"Faces\".mood IS 'today'";
    for version in crate::versions() {
        let by_hand = Scene::new(version, &format!("{TABLES}; {BY_HAND}")).await;
        let wanted = by_hand.catalog_but_key_triggers().await;
        by_hand.end().await;
        let scene = Scene::new(version, TABLES).await;
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene.sql("UPDATE users SET tenant = 2 WHERE id <= 5").await;
        // Both foreign keys stand, the old one and the new one.
        scene.killed_before_the_last_step(&path).await;
        scene
            .sql(
                "UPDATE users SET tenant = 3 WHERE id <= 3;
                 DELETE FROM users WHERE id = 400; UPDATE \"Faces\" SET pet = 6 WHERE id = 401",
            )
            .await;
        for statement in [
            "UPDATE users SET pet = 9999 WHERE id = 7",
            "UPDATE \"Faces\" SET pet = 9999 WHERE id = 7",
        ] {
            assert_eq!(code(&scene.client, statement).await, "23503");
        }
        let ended = scene.pontoon.call(&["run", &path]).await;
        ended.expect(0);
        let made = scene.catalog_but_key_triggers().await;
        let differences = wanted.differences(&made);
        assert!(differences.is_empty(), "{differences:#?}");
        assert_eq!(
            scene
                .text("SELECT count(*) || ' ' || count(pet) || ' ' || max(tenant) FROM users JOIN \"Faces\" USING (tenant, id)")
                .await,
            "499 499 3"
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// Nothing tells an old version's write from a new one's, and so a gate that
/// waits until there are none is never open.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_tell_when_an_old_version_wrote() {
    const IDLE: &str = "gates: [{before: contract, old_writes_idle: 1s}]";
    if let Some(version) = crate::versions().into_iter().max() {
        let scene = Scene::new(version, &format!("{USERS}; {SEEDED}")).await;
        let idle = scene.pontoon.plan(&plan("split", IDLE, SPLIT));
        let ended = scene.pontoon.call(&["run", &idle]).await.expect(3);
        assert!(ended.stderr.contains("old_writes_idle"), "{}", ended.stderr);
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        let idle = scene.pontoon.plan(&plan("split", IDLE, SPLIT));
        let ended = scene.pontoon.approved(&idle).await.expect(5);
        let told = format!("{}{}", ended.stdout, ended.stderr);
        assert!(told.contains("known"), "{told}");
        let path = scene.pontoon.plan(&plan("split", "", SPLIT));
        let ended = scene.pontoon.approved(&path).await;
        ended.expect(0);
        scene.end().await;
    }
}

/// What cannot go along is refused with its name, and nothing is changed.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_split_is_refused() {
    const BASE: &str = "CREATE TABLE users (id integer PRIMARY KEY, email text, bio text, avatar text, pet integer, seen timestamptz);
        CREATE TABLE pets (id integer PRIMARY KEY)";
    let cases: &[(&str, &str, &str)] = &[
        (
            "ALTER TABLE users DROP CONSTRAINT users_pkey",
            "bio",
            "no primary key",
        ),
        (
            "ALTER TABLE users DROP CONSTRAINT users_pkey, ADD PRIMARY KEY (id) DEFERRABLE",
            "bio",
            "deferrable",
        ),
        (
            "CREATE DOMAIN no AS integer; ALTER TABLE users ALTER id TYPE no",
            "bio",
            "public.no",
        ),
        ("", "id", "in the primary key"),
        ("", "boi", "Did you mean `bio`?"),
        (
            "CREATE INDEX mixed ON users (email, bio)",
            "bio",
            "mixed reads columns that move and email, which stays",
        ),
        (
            "CREATE INDEX partial ON users (bio) WHERE email > ''",
            "bio",
            "partial reads",
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT pair CHECK (email > bio)",
            "bio",
            "pair reads",
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT half CHECK (bio > '') NOT VALID",
            "bio",
            "half is NOT VALID",
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT late UNIQUE (bio) DEFERRABLE",
            "bio",
            "late is deferrable",
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT owner FOREIGN KEY (pet) REFERENCES pets ON DELETE CASCADE",
            "pet",
            "owner deletes rows",
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT owner FOREIGN KEY (pet) REFERENCES pets ON DELETE SET NULL",
            "pet",
            "owner sets columns",
        ),
        (
            "ALTER TABLE users ADD CONSTRAINT owner FOREIGN KEY (pet) REFERENCES pets ON UPDATE CASCADE",
            "pet",
            "owner sets columns",
        ),
        (
            "ALTER TABLE users ADD UNIQUE (bio); CREATE TABLE fans (bio text CONSTRAINT fan REFERENCES users (bio))",
            "bio",
            "fan",
        ),
        ("CREATE VIEW shown AS SELECT bio FROM users", "bio", "shown"),
        (
            "CREATE MATERIALIZED VIEW kept AS SELECT bio FROM users",
            "bio",
            "kept",
        ),
        (
            "ALTER TABLE users ADD long integer GENERATED ALWAYS AS (length(bio)) STORED",
            "bio",
            "long",
        ),
        (
            "ALTER TABLE users ADD no bigint GENERATED ALWAYS AS IDENTITY",
            "no",
            "identity",
        ),
        (
            "ALTER TABLE users ADD no serial",
            "no",
            "default of public.users.no gives another value",
        ),
        (
            "ALTER TABLE users ALTER seen SET DEFAULT now()",
            "seen",
            "default of public.users.seen",
        ),
        (
            "ALTER TABLE users SET UNLOGGED",
            "bio",
            "not a permanent table",
        ),
        (
            "CREATE DOMAIN told AS text DEFAULT 'x'; CREATE DOMAIN told_too AS told; ALTER TABLE users ALTER bio TYPE told_too",
            "bio",
            "ype public.told_too of public.users.bio has a default of its own",
        ),
        (
            "ALTER TABLE users ALTER bio SET NOT NULL",
            "bio",
            "NOT NULL without a default",
        ),
        (
            "CREATE STATISTICS tied ON bio, avatar FROM users",
            "bio",
            "tied",
        ),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER listed BEFORE UPDATE OF bio ON users FOR EACH ROW EXECUTE FUNCTION f()",
            "bio",
            "listed",
        ),
        (
            "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; CREATE TRIGGER asked BEFORE INSERT ON users FOR EACH ROW WHEN (NEW.bio > '') EXECUTE FUNCTION f()",
            "bio",
            "asked",
        ),
        (
            "CREATE POLICY own ON users USING (bio > ''); ALTER TABLE users ENABLE ROW LEVEL SECURITY",
            "bio",
            "own",
        ),
        (
            "ALTER TABLE users ENABLE ROW LEVEL SECURITY",
            "bio",
            "row level security",
        ),
        (
            "CREATE PUBLICATION feed FOR TABLE users",
            "bio",
            "ublication feed",
        ),
        (
            "CREATE TABLE younger () INHERITS (users)",
            "bio",
            "inheritance",
        ),
        (
            "CREATE TABLE profiles (id integer)",
            "bio",
            "public.profiles exists",
        ),
        (
            "CREATE TYPE profiles AS ENUM ()",
            "bio",
            "public.profiles exists",
        ),
        (
            "CREATE TABLE profiles_pkey ()",
            "bio",
            "public.profiles_pkey exists",
        ),
        ("CREATE TABLE other (u users)", "bio", "other"),
    ];
    // Other operations of the plan that are in its way.
    let beside: &[(&str, &str, &str)] = &[
        (
            "ALTER TABLE users ADD CONSTRAINT short CHECK (bio < 'x')",
            "- drop_constraint: {table: users, name: short}",
            "concerns short",
        ),
        (
            "CREATE INDEX by_bio ON users (bio)",
            "- drop_index: {name: by_bio}",
            "concerns by_bio",
        ),
        (
            "ALTER TABLE users ADD other integer NOT NULL DEFAULT 1",
            "- replace_primary_key: {table: users, columns: [other], keep_as: former}",
            "concerns the primary key",
        ),
        (
            "",
            "- widen_primary_key: {table: users, column: id}",
            "public.users.id",
        ),
        (
            "",
            "- set_default: {table: users, column: bio, default: \"'x'\"}",
            "both concern column `bio`",
        ),
        (
            "",
            "- rename_table: {table: users, to: people}",
            "renames table public.users",
        ),
    ];
    // A catalog is a catalog: once is enough.
    if let Some(version) = crate::versions().into_iter().max() {
        let scene = Scene::new(version, BASE).await;
        let alone = cases.iter().map(|case| (case.0, case.1, "", case.2));
        let beside = beside.iter().map(|case| (case.0, "bio", case.1, case.2));
        for (setup, column, other, named) in alone.chain(beside) {
            let split = format!(
                "- split_table: {{table: users, into: profiles, columns: [{column}]}}\n{other}"
            );
            scene.sql(setup).await;
            let path = scene.pontoon.plan(&plan("split", "", &split));
            let ended = scene.pontoon.call(&["run", &path]).await;
            assert!(
                matches!(ended.code, Some(3 | 4)),
                "{setup}: {:?}\n{}\n{}",
                ended.code,
                ended.stdout,
                ended.stderr
            );
            assert!(
                ended.stderr.contains(named),
                "{setup}: {named}\n{}",
                ended.stderr
            );
            scene.sql(
                &format!("DROP SCHEMA public CASCADE; CREATE SCHEMA public; DROP PUBLICATION IF EXISTS feed; {BASE}"),
            )
            .await;
        }
        scene.end().await;
    }
}
