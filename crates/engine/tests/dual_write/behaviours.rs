//! What each rule does for the application.

use pontoon_core::expr::Volatility;
use pontoon_core::sql::postgres::mapping::{mismatch, repairable};
use pontoon_core::sql::postgres::sync;
use pontoon_core::step::{Back, Conditions};
use pontoon_sandbox::connect;

use crate::dsl::{Case, Outcome, Scene, code, derived, fill, omitted, on, pair, run, same, stable};

const ORDERS: &str =
    "CREATE TABLE orders (id int PRIMARY KEY, note text, amount int, exact numeric(10,2));";

fn orders() -> pontoon_core::step::Sync {
    on(
        "orders",
        vec![pair(
            "amount: integer",
            "exact: numeric(10,2)",
            &["({amount})::numeric"],
            &["(round({exact}))::integer"],
        )],
    )
}

pub(crate) async fn old_writes_reach_new(case: Case) -> Outcome {
    let scene = Scene::new(case, ORDERS, orders()).await?;
    scene
        .run("INSERT INTO orders (id, amount) VALUES (1, 5)")
        .await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "5|5.00"
    );
    scene.run("UPDATE orders SET amount = 6").await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "6|6.00"
    );
    scene.run("UPDATE orders SET amount = NULL").await?;
    same!(scene.row("SELECT amount, exact FROM orders").await?, "∅|∅");
    same!(scene.mismatches().await?, "0");
    Ok(())
}

pub(crate) async fn new_writes_reach_old(case: Case) -> Outcome {
    let scene = Scene::new(case, ORDERS, orders()).await?;
    scene
        .run("INSERT INTO orders (id, exact) VALUES (1, 5.40)")
        .await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "5|5.40"
    );
    scene.run("UPDATE orders SET exact = 6.6").await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "7|6.60"
    );
    // An old version that now writes the same 7 takes nothing away.
    scene
        .run("UPDATE orders SET amount = 7, note = 'seen'")
        .await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "7|6.60"
    );
    // Both at once, and consistent.
    scene
        .run("UPDATE orders SET amount = 8, exact = 8.2")
        .await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "8|8.20"
    );
    same!(scene.mismatches().await?, "0");
    Ok(())
}

const USERS: &str = "CREATE TABLE users (id int PRIMARY KEY, note text, email text, normal text);
    INSERT INTO users VALUES (1, 'was there', 'A@X', NULL);";

pub(crate) async fn fill_follows_and_yields(case: Case) -> Outcome {
    let sync = on(
        "users",
        vec![fill("email: text", "normal: text", "lower({email})")],
    );
    let scene = Scene::new(case, USERS, sync).await?;
    scene
        .run(
            "UPDATE users SET note = 'touched' WHERE id = 1;
             INSERT INTO users (id, email) VALUES (2, 'B@X');
             INSERT INTO users (id, email, normal) VALUES (3, 'C@X', 'own');",
        )
        .await?;
    same!(
        scene
            .rows("SELECT id, normal FROM users ORDER BY id")
            .await?,
        ["1|a@x", "2|b@x", "3|own"]
    );
    scene
        .run(
            "UPDATE users SET email = 'D@X' WHERE id = 1;
             UPDATE users SET email = 'D@X', normal = 'mine' WHERE id = 2;
             UPDATE users SET note = 'touched' WHERE id = 3;",
        )
        .await?;
    same!(
        scene
            .rows("SELECT id, normal FROM users ORDER BY id")
            .await?,
        ["1|d@x", "2|mine", "3|own"]
    );
    // A NULL means that nobody gave a value, whoever writes it.
    scene
        .run("UPDATE users SET normal = NULL WHERE id = 2")
        .await?;
    same!(
        scene.row("SELECT normal FROM users WHERE id = 2").await?,
        "d@x"
    );
    Ok(())
}

pub(crate) async fn derived_is_always_computed(case: Case) -> Outcome {
    let sync = on(
        "users",
        vec![derived("email: text", "normal: text", "lower({email})")],
    );
    let scene = Scene::new(case, USERS, sync).await?;
    scene
        .run(
            "INSERT INTO users (id, email, normal) VALUES (2, 'B@X', 'own');
             UPDATE users SET normal = 'own' WHERE id = 1;",
        )
        .await?;
    same!(
        scene
            .rows("SELECT id, normal FROM users ORDER BY id")
            .await?,
        ["1|a@x", "2|b@x"]
    );
    scene.run("UPDATE users SET email = NULL").await?;
    same!(scene.mismatches().await?, "0");
    Ok(())
}

pub(crate) async fn omitted_is_filled_on_insert(case: Case) -> Outcome {
    let setup = "CREATE TABLE users (id int PRIMARY KEY, email text, legacy text NOT NULL);";
    let sync = on("users", vec![omitted("legacy: text", "upper({email})")]);
    let scene = Scene::new(case, setup, sync).await?;
    scene
        .run(
            "INSERT INTO users (id, email) VALUES (1, 'a');
             INSERT INTO users (id, email, legacy) VALUES (2, 'b', 'own');",
        )
        .await?;
    same!(
        scene.rows("SELECT legacy FROM users ORDER BY id").await?,
        ["A", "own"]
    );
    let null = scene.run("UPDATE users SET legacy = NULL").await;
    same!(code(null)?, "23502");
    Ok(())
}

pub(crate) async fn defaults_are_no_given_values(case: Case) -> Outcome {
    let setup = "CREATE TABLE tasks (id int PRIMARY KEY, status text DEFAULT 'new', state text);";
    let sync = on(
        "tasks",
        vec![pair(
            "status: text = 'new'::text",
            "state: text",
            &["upper({status})"],
            &["lower({state})"],
        )],
    );
    let scene = Scene::new(case, setup, sync).await?;
    scene
        .run(
            "INSERT INTO tasks (id) VALUES (1);
             INSERT INTO tasks (id, state) VALUES (2, 'DONE');
             INSERT INTO tasks (id, status) VALUES (3, 'done');
             INSERT INTO tasks (id, status, state) VALUES (4, 'a', 'A');",
        )
        .await?;
    same!(
        scene
            .rows("SELECT id, status, state FROM tasks ORDER BY id")
            .await?,
        ["1|new|NEW", "2|done|DONE", "3|done|DONE", "4|a|A"]
    );
    let both = scene.run("INSERT INTO tasks VALUES (5, 'a', 'B')").await;
    same!(code(both)?, sync::CONFLICT_SQLSTATE);

    // The new column has the default already, seen through `up`.
    let setup = "CREATE TABLE tasks (id int PRIMARY KEY, status text DEFAULT 'new', state text DEFAULT 'NEW');";
    let sync = on(
        "tasks",
        vec![pair(
            "status: text = 'new'::text",
            "state: text = 'NEW'::text",
            &["upper({status})"],
            &["lower({state})"],
        )],
    );
    let scene = Scene::new(case, setup, sync).await?;
    scene
        .run(
            "INSERT INTO tasks (id) VALUES (1);
             INSERT INTO tasks (id, state) VALUES (2, 'DONE');
             INSERT INTO tasks (id, status) VALUES (3, 'done');
             INSERT INTO tasks (id, status) VALUES (4, NULL);",
        )
        .await?;
    same!(
        scene
            .rows("SELECT id, status, state FROM tasks ORDER BY id")
            .await?,
        ["1|new|NEW", "2|done|DONE", "3|done|DONE", "4|new|NEW"]
    );
    Ok(())
}

pub(crate) async fn old_writes_are_seen(case: Case) -> Outcome {
    let setup = format!("{ORDERS} INSERT INTO orders (id, amount) VALUES (1, 1), (2, 2);");
    let scene = Scene::new(case, &setup, orders()).await?;
    same!(scene.fill().await?, "2");
    scene
        .run(
            "UPDATE orders SET note = 'unrelated';
             UPDATE orders SET exact = 3;
             INSERT INTO orders (id, exact) VALUES (3, 3);",
        )
        .await?;
    same!(scene.seen().await?, 0);
    // The note stays when the writer rolls back.
    scene
        .run("BEGIN; UPDATE orders SET amount = 9 WHERE id = 1; ROLLBACK")
        .await?;
    let seen = scene.seen().await?;
    let now: i64 = scene
        .row("SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint")
        .await?
        .parse()?;
    same!((now - 60_000..=now).contains(&seen), true);
    scene.run("UPDATE orders SET amount = 10").await?;
    same!(scene.seen().await?, seen);
    scene
        .run("SELECT pg_sleep(1.1); UPDATE orders SET amount = 11")
        .await?;
    same!(scene.seen().await? > seen, true);
    Ok(())
}

/// No old column tells who writes a row whose new column is filled from nothing.
pub(crate) async fn whoever_has_a_row_filled_may_be_old(case: Case) -> Outcome {
    let setup = "CREATE TABLE tasks (id int PRIMARY KEY, note text, state text);
                 INSERT INTO tasks (id) VALUES (1), (2);";
    let state = fill("", "state: text", "'open'");
    let scene = Scene::new(case, setup, on("tasks", vec![state])).await?;
    scene
        .run("UPDATE tasks SET state = 'done' WHERE id = 1")
        .await?;
    scene
        .run("UPDATE tasks SET note = 'filled already' WHERE id = 1")
        .await?;
    same!(scene.seen().await?, 0);
    scene
        .run("UPDATE tasks SET note = 'not yet' WHERE id = 2")
        .await?;
    same!(scene.seen().await? > 0, true);
    Ok(())
}

pub(crate) async fn every_way_to_write(case: Case) -> Outcome {
    let scene = Scene::new(case, ORDERS, orders()).await?;
    scene
        .run(
            "INSERT INTO orders (id, amount) VALUES (1, 1)
               ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount;
             INSERT INTO orders (id, amount) VALUES (1, 2)
               ON CONFLICT (id) DO UPDATE SET amount = EXCLUDED.amount;",
        )
        .await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "2|2.00"
    );
    scene
        .run(
            "INSERT INTO orders (id, exact) VALUES (1, 3.5)
               ON CONFLICT (id) DO UPDATE SET exact = EXCLUDED.exact;",
        )
        .await?;
    same!(
        scene.row("SELECT amount, exact FROM orders").await?,
        "4|3.50"
    );
    scene
        .run(
            "COPY orders (id, amount) FROM PROGRAM 'echo 2,20' (FORMAT csv);
             COPY orders (id, exact) FROM PROGRAM 'echo 3,30.5' (FORMAT csv);
             UPDATE orders o SET amount = s.amount + 1 FROM orders s WHERE o.id = 3 AND s.id = 2;
             PREPARE p (int) AS UPDATE orders SET amount = $1 WHERE id = 2; EXECUTE p (7);",
        )
        .await?;
    same!(
        scene
            .rows("SELECT id, amount, exact FROM orders ORDER BY id")
            .await?,
        ["1|4|3.50", "2|7|7.00", "3|21|21.00"]
    );
    if case.version >= 15 {
        scene
            .run(
                "MERGE INTO orders o USING (VALUES (1, 50), (9, 90)) v (id, amount) ON o.id = v.id
                   WHEN MATCHED THEN UPDATE SET amount = v.amount
                   WHEN NOT MATCHED THEN INSERT (id, exact) VALUES (v.id, v.amount);",
            )
            .await?;
        same!(
            scene
                .rows("SELECT id, amount, exact FROM orders WHERE id IN (1, 9) ORDER BY id")
                .await?,
            ["1|50|50.00", "9|90|90.00"]
        );
    }
    same!(scene.mismatches().await?, "0");
    Ok(())
}

pub(crate) async fn several_mappings_in_one_batch(case: Case) -> Outcome {
    let setup = "CREATE TABLE t (id int PRIMARY KEY, a int, b numeric(10,2), e text, n varchar(9), h int, s text);
        INSERT INTO t VALUES
            (1, 1, NULL, 'E', NULL, NULL, NULL),
            (2, 2, 2.4,  'F', 'own', NULL, NULL),
            (3, NULL, NULL, NULL, NULL, NULL, NULL),
            (4, 4, NULL, 'G', 'own', 1, 'x');";
    let sync = on(
        "t",
        vec![
            pair(
                "a: integer",
                "b: numeric(10,2)",
                &["({a})::numeric"],
                &["({b})::integer"],
            ),
            fill("e: text", "n: character varying(9)", "lower({e})"),
            derived("e: text", "h: integer", "length({e})"),
            fill("", "s: text", "'none'::text"),
        ],
    );
    let scene = Scene::new(case, setup, sync).await?;
    same!(scene.mismatches().await?, "4");
    same!(scene.fill().await?, "4");
    same!(
        scene
            .rows("SELECT id, b, n, h, s FROM t ORDER BY id")
            .await?,
        [
            "1|1.00|e|1|none",
            "2|2.40|own|1|none",
            "3|∅|∅|∅|none",
            "4|4.00|own|1|x"
        ]
    );
    same!(scene.mismatches().await?, "0");
    same!(scene.fill().await?, "0");
    Ok(())
}

pub(crate) async fn too_long_fails_and_is_not_cut(case: Case) -> Outcome {
    let setup = "CREATE TABLE t (id int, a text, b varchar(5), c int, d int);
        INSERT INTO t VALUES (1, 'abcdefgh');";
    let short = pair("a: text", "b: character varying(5)", &["{a}"], &["{b}"]);
    let scene = Scene::new(case, setup, on("t", vec![short.clone()])).await?;
    let insert = "INSERT INTO t (id, a) VALUES (2, 'abcdefgh')";
    same!(code(scene.run(insert).await)?, "22001");
    same!(code(scene.fill().await.map(|_| ()))?, "22001");
    // Next to another mapping, the value stands in a CASE.
    let two = on("t", vec![short, fill("c: integer", "d: integer", "{c}")]);
    let scene = Scene::new(case, setup, two).await?;
    same!(code(scene.run(insert).await)?, "22001");
    same!(code(scene.fill().await.map(|_| ()))?, "22001");
    Ok(())
}

pub(crate) async fn odd_names(case: Case) -> Outcome {
    let setup =
        "CREATE SCHEMA \"My \"\"schema\"; CREATE TABLE \"My \"\"schema\".\"sélect $pontoon$ t\"
            (id int, \"a 'b' \\c\" text, \"NEW\" text, old_given text, \"x\ny\" text);";
    let sync = on(
        "My \"schema.sélect $pontoon$ t",
        vec![
            pair(
                "a 'b' \\c: text",
                "NEW: text",
                &["upper({a 'b' \\c})"],
                &["lower({NEW})"],
            ),
            pair(
                "old_given: text",
                "x\ny: text",
                &["{old_given} || '\\'"],
                &["rtrim({x\ny}, '\\')"],
            ),
        ],
    );
    let scene = Scene::new(case, setup, sync).await?;
    let table = "\"My \"\"schema\".\"sélect $pontoon$ t\"";
    scene
        .run(&format!(
            "INSERT INTO {table} (id, \"a 'b' \\c\", old_given) VALUES (1, 'x', 'y')"
        ))
        .await?;
    same!(
        scene.row(&format!("SELECT * FROM {table}")).await?,
        "1|x|X|y|y\\"
    );
    scene
        .run(&format!(
            "UPDATE {table} SET \"NEW\" = 'Q'; UPDATE {table} SET old_given = 'z'"
        ))
        .await?;
    same!(
        scene.row(&format!("SELECT * FROM {table}")).await?,
        "1|q|Q|z|z\\"
    );
    same!(scene.mismatches().await?, "0");
    Ok(())
}

pub(crate) async fn nothing_is_left_after_drop(case: Case) -> Outcome {
    let scene = Scene::new(case, ORDERS, orders()).await?;
    let ours = "SELECT (SELECT count(*) FROM pg_trigger WHERE tgname LIKE '%pontoon%'),
        (SELECT count(*) FROM pg_proc WHERE pronamespace = 'pontoon'::regnamespace),
        (SELECT count(*) FROM pg_class WHERE relnamespace = 'pontoon'::regnamespace)";
    same!(scene.row(ours).await?, "4|2|2");
    same!(sync::trigger_names(&scene.sync, &scene.artifact).len(), 4);
    let statements = sync::drop(&scene.sync, &scene.artifact).join("; ");
    scene.run(&format!("BEGIN; {statements}; COMMIT")).await?;
    same!(scene.row(ours).await?, "0|0|0");
    scene
        .run("INSERT INTO orders (id, amount) VALUES (1, 5)")
        .await?;
    same!(scene.row("SELECT exact FROM orders").await?, "∅");
    Ok(())
}

/// A row that loses something while an unrelated write has it filled.
pub(crate) async fn a_loss_in_an_unfilled_row_is_counted(case: Case) -> Outcome {
    let setup =
        "CREATE TABLE prices (id int PRIMARY KEY, note text, p numeric(12,4), q numeric(12,2));
         INSERT INTO prices (id, p) VALUES (1, 1.25), (2, 1.2345);";
    let mut mapping = derived("p: numeric(12,4)", "q: numeric(12,2)", "({p})::numeric");
    mapping.back = Some(Back::Cast {
        volatility: Volatility::Immutable,
    });
    let scene = Scene::new(case, setup, on("prices", vec![mapping])).await?;
    let lost = format!(
        "SELECT is_called::int::text FROM {}",
        sync::lost_sequence(&scene.artifact)
    );
    for (id, expected) in [(1, "0"), (2, "1")] {
        scene
            .run(&format!("UPDATE prices SET note = 'x' WHERE id = {id}"))
            .await?;
        same!(scene.row(&lost).await?, expected);
    }
    Ok(())
}

pub(crate) async fn nobody_else_may_use_the_function(case: Case) -> Outcome {
    let scene = Scene::new(case, ORDERS, orders()).await?;
    let role = format!("eve_{}", scene.database.name());
    scene
        .run(&format!(
            "CREATE ROLE {role} LOGIN; GRANT USAGE ON SCHEMA pontoon TO {role};
             CREATE SCHEMA AUTHORIZATION {role};"
        ))
        .await?;
    let eve = connect(&scene.database.url_as(&role)).await?;
    run(&eve, "CREATE TABLE bait (amount int, exact numeric(10,2))").await?;
    for function in functions(&scene) {
        let attach = format!(
            "CREATE TRIGGER t BEFORE INSERT ON bait FOR EACH ROW EXECUTE FUNCTION {function}('first')"
        );
        same!(code(run(&eve, &attach).await)?, "42501");
    }
    Ok(())
}

/// What fills only, and what knows every rule.
fn functions(scene: &Scene) -> [String; 2] {
    let fill = format!("pontoon.\"{}_fill\"", scene.artifact);
    [fill, sync::function_name(&scene.artifact)]
}

pub(crate) async fn batches_and_unrelated_writes_stay_out_of_the_functions(case: Case) -> Outcome {
    let setup = format!("{ORDERS} INSERT INTO orders (id, amount) VALUES (1, 1), (2, NULL);");
    let scene = Scene::new(case, &setup, orders()).await?;
    let [fill, whole] = functions(&scene).map(|function| {
        format!(
            "CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql
             AS 'BEGIN RAISE EXCEPTION ''entered''; END'"
        )
    });
    let entered = format!("{fill}; {whole}");

    // A row that nobody has filled yet enters only what the write asks for.
    scene.run(&fill).await?;
    scene
        .run("BEGIN; UPDATE orders SET amount = 5, note = 'x' WHERE id = 1")
        .await?;
    same!(
        scene.row("SELECT exact FROM orders WHERE id = 1").await?,
        "5.00"
    );
    scene.run("ROLLBACK").await?;
    same!(
        code(scene.run("UPDATE orders SET note = 'x' WHERE id = 1").await)?,
        "P0001"
    );

    scene.run(&entered).await?;
    same!(scene.fill().await?, "1");
    scene
        .run(
            "UPDATE orders SET note = 'unrelated' WHERE id = 1;
             UPDATE orders SET exact = exact WHERE id = 1;",
        )
        .await?;
    for statement in [
        "UPDATE orders SET amount = 5",
        "UPDATE orders SET exact = 5 WHERE id = 1",
        "UPDATE orders SET note = 'unrelated' WHERE id = 2",
        "INSERT INTO orders (id) VALUES (4)",
    ] {
        same!(code(scene.run(statement).await)?, "P0001");
    }

    // Where `up` may not be computed in WHEN, an unrelated UPDATE still stays out.
    let mut zoned = orders();
    zoned.mappings = zoned.mappings.into_iter().map(stable).collect();
    let scene = Scene::new(case, &setup, zoned).await?;
    same!(scene.fill().await?, "1");
    scene.run(&entered).await?;
    scene
        .run("UPDATE orders SET note = 'unrelated' WHERE id = 1;")
        .await?;
    Ok(())
}

pub(crate) async fn private_functions_stay_in_the_body(case: Case) -> Outcome {
    let role = "PUBLIC";
    let setup = format!(
        "{ORDERS} CREATE SCHEMA app;
         CREATE FUNCTION app.twice(int) RETURNS numeric LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2.0';
         REVOKE ALL ON FUNCTION app.twice(int) FROM {role};"
    );
    let mut sync = on(
        "orders",
        vec![pair(
            "amount: integer",
            "exact: numeric(10,2)",
            &["app.twice({amount})"],
            &["({exact} / 2)::integer"],
        )],
    );
    sync.conditions = Conditions::InBody;
    let scene = Scene::new(case, &setup, sync).await?;
    let writer = format!("writer_{}", scene.database.name());
    scene
        .run(&format!(
            "CREATE ROLE {writer} LOGIN; GRANT SELECT, INSERT, UPDATE ON orders TO {writer};"
        ))
        .await?;
    let client = connect(&scene.database.url_as(&writer)).await?;
    run(
        &client,
        "INSERT INTO orders (id, amount) VALUES (1, 5); UPDATE orders SET amount = 6",
    )
    .await?;
    same!(scene.row("SELECT exact FROM orders").await?, "12.00");
    Ok(())
}

pub(crate) async fn repair_and_conflict_are_told_apart(case: Case) -> Outcome {
    let setup = format!(
        "{ORDERS} INSERT INTO orders VALUES (1, '', 1, 1), (2, '', 2, NULL), (3, '', 3, 99), (4, '', NULL, NULL);"
    );
    let mut sync = orders();
    sync.mappings[0].required = true;
    let scene = Scene::new(case, &setup, sync).await?;
    let (bad, sure) = (
        mismatch(&scene.sync.mappings[0], "t"),
        repairable(&scene.sync.mappings[0], "t"),
    );
    same!(
        scene
            .rows(&format!(
                "SELECT id, {bad}, {sure} FROM orders t ORDER BY id"
            ))
            .await?,
        ["1|f|f", "2|t|t", "3|t|f", "4|t|f"]
    );
    // A conflict that was there before is left alone by writes that do not
    // touch it, and by the backfill.
    scene.run("UPDATE orders SET note = 'touched'").await?;
    same!(scene.fill().await?, "0");
    same!(
        scene
            .rows("SELECT id, amount, exact FROM orders ORDER BY id")
            .await?,
        ["1|1|1.00", "2|2|2.00", "3|3|99.00", "4|∅|∅"]
    );
    Ok(())
}
