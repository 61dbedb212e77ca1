//! Nothing is silently lost: a change of type whose cast would round, cut or
//! strip a value stops, unless the plan gives that up; and the application,
//! which writes meanwhile, never pays for it.

use crate::clients::Clients;
use crate::scene::{Scene, plan, run, text};

const ITEMS: &str = "
    CREATE TABLE items (id integer PRIMARY KEY, amount numeric(12,4) NOT NULL, note text);
    INSERT INTO items SELECT g, g / 100.0, 'n' || g FROM generate_series(1, 3000) g;
    ANALYZE items";

const ROUND: &str = "- change_type: {table: items, column: amount, to: \"numeric(12,2)\"}";
const ROUND_AS: &str =
    "- change_type: {table: items, column: amount, to: \"numeric(12,2)\", as: cents}";
const NOT_FOUND: &str = "amount of type numeric(12,4) is not found again in numeric(12,2)";
/// No message may tell a value.
const SECRET: &str = "77.7777";

/// An application that writes all the time and must never see an error.
struct Traffic(Clients<u32>);

impl Traffic {
    async fn start(scene: &Scene) -> Self {
        let client = scene.database.client().await.expect("a connection");
        Self(Clients::one(|stop| async move {
            let mut writes = 0;
            while !stop.is_told() {
                let id = 100 + writes % 900;
                run(
                    &client,
                    &format!(
                        "UPDATE items SET amount = amount + 0.01, note = 'w' WHERE id = {id};
                         INSERT INTO items (id, amount) VALUES ({}, 1.25)",
                        10_000 + writes
                    ),
                )
                .await;
                writes += 1;
                tokio::time::sleep(std::time::Duration::from_millis(3)).await;
            }
            writes
        }))
    }

    async fn end(self) {
        let ended = self.0.stop("the application saw no error").await;
        let writes: u32 = ended.into_iter().sum();
        assert!(writes > 0, "the application wrote");
    }
}

/// In the table when the run begins: the backfill stops at it.
#[tokio::test(flavor = "multi_thread")]
async fn in_the_table() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        scene
            .sql(&format!(
                "UPDATE items SET amount = {SECRET} WHERE id = 2345"
            ))
            .await;
        let before = scene.catalog().await;
        let traffic = Traffic::start(&scene).await;
        for (name, operation) in [("round", ROUND), ("round_as", ROUND_AS)] {
            let path = scene.pontoon.plan(&plan(name, "gates: []", operation));
            let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
            for word in [
                "public.items, row id = 2345",
                NOT_FOUND,
                "lossy: true",
                "`up`",
            ] {
                assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
            }
            assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
            let status = scene.status().await;
            assert_eq!(status["state"], "failed", "{status}");
            assert_eq!(status["phase"], "backfill", "{status}");
            let stored = "SELECT coalesce(string_agg(e::text, ''), '') FROM pontoon.event e";
            assert!(!scene.text(stored).await.contains(SECRET));
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            scene.clean().await;
            assert_eq!(scene.catalog().await, before);
        }
        let amount = "SELECT amount FROM items WHERE id = 2345";
        assert_eq!(scene.text(amount).await, SECRET);
        // Mended while the run is stopped, it goes on.
        let path = scene.pontoon.plan(&plan("mended", "gates: []", ROUND));
        scene.pontoon.call(&["run", &path]).await.expect(7);
        scene
            .sql("UPDATE items SET amount = 77.78 WHERE id = 2345")
            .await;
        scene.pontoon.call(&["run", &path]).await.expect(0);
        traffic.end().await;
        assert_eq!(scene.text(amount).await, "77.78");
        scene.clean().await;
        scene.end().await;
    }
}

/// Given up in the plan: rounded, as the server's cast does it.
#[tokio::test(flavor = "multi_thread")]
async fn given_up() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        scene
            .sql("UPDATE items SET amount = 1.2345 WHERE id = 7")
            .await;
        let lossy = ROUND.replace("\"}", "\", lossy: true}");
        let path = scene.pontoon.plan(&plan("lossy", "gates: []", &lossy));
        scene.pontoon.call(&["run", &path]).await.expect(0);
        assert_eq!(
            scene.text("SELECT amount FROM items WHERE id = 7").await,
            "1.23"
        );
        scene.clean().await;
        // Nothing is left that could be lost.
        let wider = ROUND
            .replace("(12,2)", "(14,2)")
            .replace("\"}", "\", lossy: true}");
        let path = scene.pontoon.plan(&plan("wider", "gates: []", &wider));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(3);
        assert!(ended.stderr.contains("loses nothing"), "{}", ended.stderr);
        scene.end().await;
    }
}

/// Written by the application before a pass: verify finds it, for ever, and the
/// writer is let pass.
#[tokio::test(flavor = "multi_thread")]
async fn written_meanwhile() {
    for version in crate::versions() {
        for operation in [ROUND, ROUND_AS] {
            let scene = Scene::new(version, ITEMS).await;
            let gates = "gates: [{before: verify}, {before: contract}]";
            let path = scene.pontoon.plan(&plan("meanwhile", gates, operation));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            scene
                .sql(&format!("UPDATE items SET amount = {SECRET} WHERE id = 42"))
                .await;
            let verified = ["run", &path, "--approve", "verify"];
            let ended = scene.pontoon.call(&verified).await.expect(7);
            for word in [
                "1 row whose values the new type does not keep",
                "= 42 (amount",
                NOT_FOUND,
            ] {
                assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
            }
            assert!(!ended.stderr.contains(SECRET), "{}", ended.stderr);
            // Durable, also when the row is right again.
            scene
                .sql("UPDATE items SET amount = 1.2300 WHERE id = 42")
                .await;
            let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
            assert!(ended.stderr.contains(NOT_FOUND), "{}", ended.stderr);
            scene.pontoon.call(&["verify"]).await.expect(0);
            scene.pontoon.approved(&path).await.expect(0);
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Written after the pass that the cutover relies on: that one proves nothing
/// any more.
#[tokio::test(flavor = "multi_thread")]
async fn written_after_the_proof() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let path = scene.pontoon.plan(&plan("late", "", ROUND));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql(&format!(
                "INSERT INTO items VALUES (5000, {SECRET}, 'late')"
            ))
            .await;
        let ended = scene.pontoon.approved(&path).await.expect(7);
        assert!(ended.stderr.contains("= 5000 (amount"), "{}", ended.stderr);
        let amount = "SELECT amount FROM items WHERE id = 5000";
        assert_eq!(scene.text(amount).await, SECRET);
        scene
            .sql("UPDATE items SET amount = 77.78 WHERE id = 5000")
            .await;
        scene.pontoon.call(&["verify"]).await.expect(0);

        // A writer that had not committed when the pass began, and does then.
        let writer = scene.database.client().await.expect("a connection");
        run(
            &writer,
            &format!("BEGIN; UPDATE items SET amount = {SECRET} WHERE id = 42"),
        )
        .await;
        scene.pontoon.call(&["verify"]).await.expect(0);
        run(&writer, "COMMIT").await;
        let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
        assert!(ended.stderr.contains("= 42 (amount"), "{}", ended.stderr);
        assert_eq!(
            text(&writer, "SELECT amount FROM items WHERE id = 42").await,
            SECRET
        );
        scene
            .sql("UPDATE items SET amount = 1.23 WHERE id = 42")
            .await;
        scene.pontoon.call(&["verify"]).await.expect(0);

        // One that was taken back has lost nothing: one more pass, and on.
        run(
            &writer,
            &format!("BEGIN; UPDATE items SET amount = {SECRET} WHERE id = 43; ROLLBACK"),
        )
        .await;
        let ended = scene.pontoon.call(&["run", &path]).await.expect(0);
        assert!(
            (ended.stderr.clone() + &ended.stdout).contains("its new type does not keep"),
            "{}\n{}",
            ended.stdout,
            ended.stderr
        );
        let kind = "SELECT format_type(atttypid, atttypmod) FROM pg_attribute
                    WHERE attrelid = 'items'::regclass AND attname = 'amount'";
        assert_eq!(scene.text(kind).await, "numeric(12,2)");
        scene.clean().await;
        scene.end().await;
    }
}

/// What a trigger of the application has rounded was never lost.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_applications_trigger_leaves() {
    for version in crate::versions() {
        let rounds = "CREATE FUNCTION rounds() RETURNS trigger LANGUAGE plpgsql
                AS $$ BEGIN NEW.amount := round(NEW.amount, 2); RETURN NEW; END $$;
             CREATE TRIGGER rounds BEFORE INSERT OR UPDATE ON items FOR EACH ROW EXECUTE FUNCTION rounds()";
        let scene = Scene::new(version, &format!("{ITEMS}; {rounds}")).await;
        let keys = "acknowledge: [\"trigger:rounds\"]\n";
        let path = scene.pontoon.plan(&plan("rounded", keys, ROUND));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql(&format!(
                "INSERT INTO items VALUES (5000, {SECRET}, 'late'); UPDATE items SET amount = {SECRET} WHERE id = 42"
            ))
            .await;
        let ended = scene.pontoon.approved(&path).await.expect(0);
        let told = ended.stdout + &ended.stderr;
        assert!(!told.contains("Verifying again"), "{told}");
        let amounts = "SELECT string_agg(amount::text, ' ') FROM items WHERE id IN (42, 5000)";
        assert_eq!(scene.text(amounts).await, "77.78 77.78");
        scene.clean().await;
        scene.end().await;
    }
}

/// Values of a new version that the old type does not hold are no loss: the new
/// column has them, old versions see them rounded, and what cannot be cast is
/// the writer's error.
#[tokio::test(flavor = "multi_thread")]
async fn what_new_versions_write() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer);
             INSERT INTO items SELECT g, g FROM generate_series(1, 100) g",
        )
        .await;
        let operation =
            "- change_type: {table: items, column: amount, to: \"double precision\", as: exact}";
        let path = scene.pontoon.plan(&plan("finer", "", operation));
        scene.pontoon.call(&["run", &path]).await.expect(5);
        scene
            .sql("UPDATE items SET exact = 2.25 WHERE id = 2")
            .await;
        assert_eq!(
            scene.text("SELECT amount FROM items WHERE id = 2").await,
            "2"
        );
        let too_much =
            crate::scene::code(&scene.client, "UPDATE items SET exact = 1e12 WHERE id = 3");
        assert_eq!(too_much.await, "22003");
        // An old version that writes something else into the row leaves it.
        scene
            .sql("UPDATE items SET amount = amount WHERE id = 2")
            .await;
        scene.pontoon.approved(&path).await.expect(0);
        assert_eq!(
            scene.text("SELECT exact FROM items WHERE id = 2").await,
            "2.25"
        );
        scene.end().await;
    }
}

/// Any cast there is, in both directions; else the plan is refused, and told
/// what to write.
#[tokio::test(flavor = "multi_thread")]
async fn every_cast_there_is() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TYPE mood AS ENUM ('ok', 'sad'); CREATE TYPE state AS ENUM ('ok', 'sad');
             CREATE TABLE t (id integer PRIMARY KEY, v text)",
        )
        .await;
        let mut number = 0;
        let mut next = |operation: &str| {
            number += 1;
            scene
                .pontoon
                .plan(&plan(&format!("cast_{number}"), "gates: []", operation))
        };
        for (from, value, to, back) in [
            ("text", "42", "integer", "43"),
            ("integer", "1", "boolean", "false"),
            ("mood", "sad", "text", "ok"),
            ("text", "sad", "mood", "ok"),
        ] {
            scene
                .sql(&format!(
                    "DROP TABLE t; CREATE TABLE t (id integer PRIMARY KEY, v {from});
                     INSERT INTO t VALUES (1, '{value}'), (2, NULL)"
                ))
                .await;
            let operation = format!("- change_type: {{table: t, column: v, to: {to}, as: w}}");
            let path = next(&operation);
            let until = scene
                .pontoon
                .call(&["run", &path, "--until", "contract"])
                .await;
            until.expect(0);
            // Old versions see what new ones write.
            let (name, kind) = (from, to.trim_matches('"'));
            scene
                .sql(&format!("UPDATE t SET w = '{back}'::{kind} WHERE id = 2"))
                .await;
            let seen = format!(
                "SELECT v IS NOT NULL AND CAST(v AS {name})::text = v::text FROM t WHERE id = 2"
            );
            assert_eq!(scene.text(&seen).await, "t", "{from} to {to}");
            scene.pontoon.call(&["run", &path]).await.expect(0);
            let kept = "SELECT w::text FROM t ORDER BY id";
            let as_cast = format!("SELECT CAST('{value}'::{from} AS {to})::text");
            let as_cast = scene.text(&as_cast).await;
            assert_eq!(
                scene.text(kept).await,
                format!("{as_cast},{back}"),
                "{from} to {to}"
            );
        }
        for (from, to, code, words) in [
            ("text", "jsonb", 4, "neither blanks nor the order of keys"),
            ("json", "jsonb", 4, "lossy: true"),
            ("timestamp", "time", 4, "cast leads back"),
            ("mood", "state", 3, "`up: v::text::public.state`"),
            ("boolean", "numeric", 3, "`up: v::integer::numeric`"),
            (
                "integer",
                "uuid",
                3,
                "cast leads from public.t.v of type integer to uuid",
            ),
        ] {
            scene
                .sql(&format!(
                    "DROP TABLE t; CREATE TABLE t (id integer PRIMARY KEY, v {from})"
                ))
                .await;
            let path = next(&format!("- change_type: {{table: t, column: v, to: {to}}}"));
            let ended = scene.pontoon.call(&["run", &path]).await.expect(code);
            assert!(
                ended.stderr.contains(words),
                "{from} to {to}: {}",
                ended.stderr
            );
            let runs = scene.pontoon.call(&["status", "--output", "json"]).await;
            assert!(!runs.stdout.contains("\"failed\""), "{}", runs.stdout);
        }
        // The way back alone is missing.
        scene
            .sql("DROP TABLE t; CREATE TABLE t (id integer PRIMARY KEY, v timestamp)")
            .await;
        let operation = "- change_type: {table: t, column: v, to: time, as: w, lossy: true}";
        let path = next(operation);
        let ended = scene.pontoon.call(&["run", &path]).await.expect(3);
        assert!(
            ended.stderr.contains("`down: w::text::timestamp"),
            "{}",
            ended.stderr
        );
        scene.clean().await;
        scene.end().await;
    }
}

/// The plan's own way back finds what the cast does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_of_the_plan() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            "CREATE TABLE places (id integer PRIMARY KEY, code text);
             INSERT INTO places SELECT g, lpad(g::text, 5, '0') FROM generate_series(1, 300) g",
        )
        .await;
        let number = "- change_type: {table: places, column: code, to: integer, as: number";
        let path = scene
            .pontoon
            .plan(&plan("bare", "gates: []", &format!("{number}}}")));
        let ended = scene.pontoon.call(&["run", &path]).await.expect(7);
        assert!(
            ended
                .stderr
                .contains("code of type text is not found again in integer"),
            "{}",
            ended.stderr
        );
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        let padded = format!("{number}, down: \"lpad(number::text, 5, '0')\"}}");
        let path = scene.pontoon.plan(&plan("padded", "gates: []", &padded));
        scene.pontoon.call(&["run", &path]).await.expect(0);
        assert_eq!(
            scene.text("SELECT number FROM places WHERE id = 12").await,
            "12"
        );
        scene.clean().await;
        scene.end().await;
    }
}
