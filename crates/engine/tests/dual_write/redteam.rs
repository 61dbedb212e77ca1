//! Cases that broke earlier drafts of the trigger, each with its own name.

use pontoon_core::name::TableName;
use pontoon_core::sql::postgres::sync::CONFLICT_SQLSTATE;
use pontoon_core::step::{OnConflict, Sync};
use pontoon_sandbox::connect;

use crate::dsl::{Case, Outcome, Scene, code, fill, on, pair, pair_on, rows, run, same, stable};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, note text, a text, b text, c text);";

/// `b` is `a` in upper case, and back.
fn shouting(on_conflict: OnConflict) -> Sync {
    on(
        "t",
        vec![pair_on(
            on_conflict,
            "a: text",
            "b: text",
            &["upper({a})"],
            &["lower({b})"],
        )],
    )
}

/// Rows that nobody has filled move when an unrelated column changes; the scan
/// will not come by again.
pub(crate) async fn moved_before_its_turn(case: Case) -> Outcome {
    let setup = format!(
        "{TABLE} INSERT INTO t (id, a) SELECT i, 'x' || i FROM generate_series(1, 2000) i;"
    );
    let scene = Scene::new(case, &setup, shouting(OnConflict::Error)).await?;
    scene.run("UPDATE t SET note = repeat('y', 500)").await?;
    same!(
        scene
            .row("SELECT count(*) FROM t WHERE b = upper(a)")
            .await?,
        "2000"
    );
    same!(scene.mismatches().await?, "0");
    same!(scene.seen().await?, 0);
    Ok(())
}

pub(crate) async fn moved_before_its_turn_in_a_filled_column(case: Case) -> Outcome {
    let setup =
        format!("{TABLE} INSERT INTO t (id, a) SELECT i, 'x' || i FROM generate_series(1, 200) i;");
    let sync = on("t", vec![fill("a: text", "b: text", "upper({a})")]);
    let scene = Scene::new(case, &setup, sync).await?;
    scene.run("UPDATE t SET note = repeat('y', 500)").await?;
    same!(
        scene
            .row("SELECT count(*) FROM t WHERE b = upper(a)")
            .await?,
        "200"
    );
    Ok(())
}

pub(crate) async fn not_valid_check_on_unfilled(case: Case) -> Outcome {
    let setup = format!(
        "{TABLE} INSERT INTO t (id, a) VALUES (1, 'x');
         ALTER TABLE t ADD CONSTRAINT filled CHECK (b IS NOT NULL) NOT VALID;"
    );
    let scene = Scene::new(case, &setup, shouting(OnConflict::Error)).await?;
    same!(
        code(scene.run("UPDATE t SET note = 'touched'").await)?,
        "none"
    );
    Ok(())
}

pub(crate) async fn replica_role(case: Case) -> Outcome {
    let scene = Scene::new(case, TABLE, shouting(OnConflict::Error)).await?;
    scene
        .run(
            "SET session_replication_role = replica; SET search_path = '';
             INSERT INTO public.t (id, a) VALUES (1, 'x');
             UPDATE public.t SET b = 'Q';",
        )
        .await?;
    same!(scene.row("SELECT a, b FROM public.t").await?, "q|Q");
    Ok(())
}

/// An application's trigger of this name, body and event.
fn application(name: &str, body: &str) -> String {
    format!(
        "CREATE FUNCTION \"{name}\"() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} RETURN NEW; END $$;
         CREATE TRIGGER \"{name}\" BEFORE INSERT OR UPDATE ON t FOR EACH ROW EXECUTE FUNCTION \"{name}\"();"
    )
}

pub(crate) async fn app_before_trigger_reads_new(case: Case) -> Outcome {
    for name in ["A_reads", "zzzz"] {
        let setup = format!("{TABLE} {}", application(name, "NEW.c := NEW.b;"));
        let scene = Scene::new(case, &setup, shouting(OnConflict::Error)).await?;
        scene.run("INSERT INTO t (id, a) VALUES (1, 'x')").await?;
        same!(scene.row("SELECT a, b, c FROM t").await?, "x|X|X");
        scene.run("UPDATE t SET a = 'y'").await?;
        same!(scene.row("SELECT a, b, c FROM t").await?, "y|Y|Y");
    }
    Ok(())
}

pub(crate) async fn app_before_trigger_requires_old(case: Case) -> Outcome {
    let body = "IF NEW.a IS NULL THEN RAISE EXCEPTION 'a is required'; END IF;";
    let setup = format!("{TABLE} {}", application("requires", body));
    let scene = Scene::new(case, &setup, shouting(OnConflict::Error)).await?;
    same!(
        code(scene.run("INSERT INTO t (id, b) VALUES (1, 'X')").await)?,
        "none"
    );
    same!(scene.row("SELECT a, b FROM t").await?, "x|X");
    Ok(())
}

pub(crate) async fn app_before_trigger_trims_old(case: Case) -> Outcome {
    let setup = format!("{TABLE} {}", application("zzzz", "NEW.a := trim(NEW.a);"));
    let scene = Scene::new(case, &setup, shouting(OnConflict::Error)).await?;
    scene
        .run("INSERT INTO t (id, a) VALUES (1, ' x '); INSERT INTO t (id, b) VALUES (2, ' Y ')")
        .await?;
    same!(
        scene.rows("SELECT a, b FROM t ORDER BY id").await?,
        ["x|X", "y|Y"]
    );
    scene
        .run("UPDATE t SET a = ' v ' WHERE id = 1; UPDATE t SET b = ' W ' WHERE id = 2")
        .await?;
    same!(
        scene.rows("SELECT a, b FROM t ORDER BY id").await?,
        ["v|V", "w|W"]
    );
    same!(scene.conflicts().await?, 0);
    Ok(())
}

/// An old version that copies a whole row, with its own column changed.
pub(crate) async fn row_clone(case: Case) -> Outcome {
    let clone = "INSERT INTO t SELECT (r).* FROM (
        SELECT jsonb_populate_record(t, '{\"id\": 2, \"a\": \"clone\"}') r FROM t WHERE id = 1) s";
    let both = "UPDATE t SET a = 'one', b = 'TWO' WHERE id = 1";
    for (on_conflict, cloned, updated) in [
        (OnConflict::Error, None, None),
        (OnConflict::Old, Some("clone|CLONE"), Some("one|ONE")),
        (OnConflict::New, Some("x|X"), Some("two|TWO")),
    ] {
        let scene = Scene::new(case, TABLE, shouting(on_conflict)).await?;
        scene.run("INSERT INTO t (id, a) VALUES (1, 'x')").await?;
        for (write, id, result) in [(clone, 2, cloned), (both, 1, updated)] {
            let outcome = code(scene.run(write).await)?;
            match result {
                None => same!(outcome, CONFLICT_SQLSTATE),
                Some(row) => {
                    same!(outcome, "none");
                    let select = format!("SELECT a, b FROM t WHERE id = {id}");
                    same!(scene.row(&select).await?, row);
                }
            }
        }
        same!(scene.conflicts().await?, 2);
        same!(scene.mismatches().await?, "0");
    }
    Ok(())
}

pub(crate) async fn column_group(case: Case) -> Outcome {
    let setup = "CREATE TABLE p (id int, full_name text, first text, last text);";
    let sync = on(
        "p",
        vec![pair(
            "full_name: text",
            "first: text; last: text",
            &[
                "split_part({full_name}, ' ', 1)",
                "split_part({full_name}, ' ', 2)",
            ],
            &["{first} || ' ' || {last}"],
        )],
    );
    let scene = Scene::new(case, setup, sync).await?;
    let shown = "SELECT full_name, first, last FROM p";
    scene
        .run("INSERT INTO p (id, full_name) VALUES (1, 'Ada Lovelace')")
        .await?;
    same!(scene.row(shown).await?, "Ada Lovelace|Ada|Lovelace");
    scene.run("UPDATE p SET first = 'Augusta Ada'").await?;
    same!(
        scene.row(shown).await?,
        "Augusta Ada Lovelace|Augusta Ada|Lovelace"
    );
    scene.run("UPDATE p SET full_name = 'Grace Hopper'").await?;
    same!(scene.row(shown).await?, "Grace Hopper|Grace|Hopper");
    same!(scene.mismatches().await?, "0");
    Ok(())
}

/// Several old columns and one new one, with a default on one of the old:
/// every write of either side, also of one old column alone, and rows that
/// hold some of the old columns only.
pub(crate) async fn merged_columns(case: Case) -> Outcome {
    let setup = "CREATE TABLE p (id int, first text DEFAULT 'Ms', last text, full_name text);
        INSERT INTO p VALUES (1, 'Ada', 'Lovelace'), (2, 'Grace', NULL), (3, NULL, 'Hopper'), (4, NULL, NULL);";
    let sync = on(
        "p",
        vec![pair(
            "first: text = 'Ms'; last: text",
            "full_name: text",
            &["nullif(concat_ws(' ', {first}, {last}), '')"],
            &[
                "split_part({full_name}, ' ', 1)",
                "nullif(substr({full_name}, strpos({full_name} || ' ', ' ') + 1), '')",
            ],
        )],
    );
    let scene = Scene::new(case, setup, sync).await?;
    // A row that holds nothing at all needs no filling.
    same!(scene.fill().await?, "3");
    let shown = "SELECT first, last, full_name FROM p ORDER BY id";
    same!(
        scene.rows(shown).await?,
        [
            "Ada|Lovelace|Ada Lovelace",
            "Grace|∅|Grace",
            "∅|Hopper|Hopper",
            "∅|∅|∅"
        ]
    );
    scene
        .run(
            "UPDATE p SET last = 'King' WHERE id = 1;
             UPDATE p SET full_name = 'Grace Brewster Hopper' WHERE id = 2;
             UPDATE p SET first = NULL, last = NULL WHERE id = 3;
             UPDATE p SET full_name = 'Mary Jackson' WHERE id = 4;
             INSERT INTO p (id, full_name) VALUES (5, 'Katherine Johnson');
             INSERT INTO p (id, last) VALUES (6, 'Vaughan');
             INSERT INTO p (id, first, last) VALUES (7, 'Annie', 'Easley');
             INSERT INTO p (id) VALUES (8);
             INSERT INTO p (id, first, last, full_name) VALUES (9, 'Christine', 'Darden', 'Christine Darden');",
        )
        .await?;
    same!(
        scene.rows(shown).await?,
        [
            "Ada|King|Ada King",
            "Grace|Brewster Hopper|Grace Brewster Hopper",
            "∅|∅|∅",
            "Mary|Jackson|Mary Jackson",
            "Katherine|Johnson|Katherine Johnson",
            "Ms|Vaughan|Ms Vaughan",
            "Annie|Easley|Annie Easley",
            "Ms|∅|Ms",
            "Christine|Darden|Christine Darden"
        ]
    );
    // One old column and the new one in the same write, against each other.
    same!(
        code(
            scene
                .run("UPDATE p SET first = 'Eve', full_name = 'Adam King' WHERE id = 1")
                .await
        )?,
        CONFLICT_SQLSTATE
    );
    scene
        .run("UPDATE p SET first = 'Eve', full_name = 'Eve King' WHERE id = 1")
        .await?;
    same!(scene.mismatches().await?, "0");
    Ok(())
}

/// One old column and several new ones, of which a write names one alone, and
/// rows that hold some of the new columns only.
pub(crate) async fn split_column(case: Case) -> Outcome {
    let setup = "CREATE TABLE p (id int, price text, amount numeric, currency text);
        INSERT INTO p VALUES (1, '10.00 EUR'), (2, '7 USD'), (3, NULL), (4, '5');";
    let sync = on(
        "p",
        vec![pair(
            "price: text",
            "amount: numeric; currency: text",
            &[
                "nullif(split_part({price}, ' ', 1), '')::numeric",
                "nullif(split_part({price}, ' ', 2), '')",
            ],
            &["nullif(concat_ws(' ', {amount}, {currency}), '')"],
        )],
    );
    let scene = Scene::new(case, setup, sync).await?;
    same!(scene.fill().await?, "3");
    scene
        .run(
            "UPDATE p SET amount = 10.0 WHERE id = 1;
             UPDATE p SET currency = NULL WHERE id = 2;
             UPDATE p SET currency = 'CHF' WHERE id = 3;
             UPDATE p SET price = '6 GBP' WHERE id = 4;
             INSERT INTO p (id, amount) VALUES (5, 1);
             INSERT INTO p (id, price) VALUES (6, '2 EUR');
             INSERT INTO p (id) VALUES (7);
             UPDATE p SET amount = NULL, currency = NULL WHERE id = 6;",
        )
        .await?;
    same!(
        scene
            .rows("SELECT price, amount, currency FROM p ORDER BY id")
            .await?,
        [
            "10.0 EUR|10.0|EUR",
            "7|7|∅",
            "CHF|∅|CHF",
            "6 GBP|6|GBP",
            "1|1|∅",
            "∅|∅|∅",
            "∅|∅|∅"
        ]
    );
    same!(scene.mismatches().await?, "0");
    Ok(())
}

pub(crate) async fn one_old_two_new(case: Case) -> Outcome {
    let sync = on(
        "t",
        vec![
            pair("a: text", "b: text", &["upper({a})"], &["lower({b})"]),
            pair("a: text", "c: text", &["{a} || '!'"], &["rtrim({c}, '!')"]),
        ],
    );
    let scene = Scene::new(case, TABLE, sync).await?;
    scene
        .run(
            "INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'x'), (3, 'x');
             UPDATE t SET a = 'k' WHERE id = 1;
             UPDATE t SET b = 'L' WHERE id = 2;
             UPDATE t SET c = 'm!' WHERE id = 3;
             INSERT INTO t (id, c) VALUES (4, 'n!');",
        )
        .await?;
    same!(
        scene.rows("SELECT a, b, c FROM t ORDER BY id").await?,
        ["k|K|k!", "l|L|l!", "m|M|m!", "n|N|n!"]
    );
    same!(
        code(scene.run("UPDATE t SET b = 'P', c = 'q!'").await)?,
        CONFLICT_SQLSTATE
    );
    same!(scene.mismatches().await?, "0");
    Ok(())
}

pub(crate) async fn chain(case: Case) -> Outcome {
    let links = [
        pair("a: text", "b: text", &["upper({a})"], &["lower({b})"]),
        pair("b: text", "c: text", &["{b} || '!'"], &["rtrim({c}, '!')"]),
    ];
    for turned in [false, true] {
        let mut mappings = links.to_vec();
        if turned {
            mappings.reverse();
        }
        let setup = format!("{TABLE} INSERT INTO t (id, a) VALUES (5, 'before');");
        let scene = Scene::new(case, &setup, on("t", mappings)).await?;
        scene
            .run(
                "INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'x'), (3, 'x');
                 UPDATE t SET a = 'k' WHERE id = 1;
                 UPDATE t SET b = 'L' WHERE id = 2;
                 UPDATE t SET c = 'M!' WHERE id = 3;
                 INSERT INTO t (id, c) VALUES (4, 'N!');
                 UPDATE t SET note = 'touched' WHERE id = 5;",
            )
            .await?;
        same!(
            scene.rows("SELECT a, b, c FROM t ORDER BY id").await?,
            [
                "k|K|K!",
                "l|L|L!",
                "m|M|M!",
                "n|N|N!",
                "before|BEFORE|BEFORE!"
            ]
        );
        same!(scene.mismatches().await?, "0");
    }
    Ok(())
}

/// Values of one type that `=` takes for one, or that have no `=`.
const IMAGES: &[(&str, &[&str])] = &[
    ("numeric", &["1.0", "1.00", "'NaN'"]),
    ("double precision", &["'0'", "'-0'", "'NaN'"]),
    ("real", &["'0'", "'-0'"]),
    ("interval", &["'24 hours'", "'1 day'", "'1 mon'"]),
    ("json", &["'{\"a\":1}'", "'{\"a\": 1}'", "'null'"]),
    ("jsonb", &["'{\"a\":1}'", "'{\"a\":1.0}'", "'null'"]),
    ("bytea", &["'\\x00'", "'\\x0000'", "''"]),
    ("text", &["'a'", "'A'", "''"]),
    ("character(4)", &["'a'", "'b'"]),
    ("integer[]", &["'{}'", "'{1,NULL}'", "'[2:2]={1}'"]),
    ("text[]", &["'{}'", "'{a}'", "'{NULL}'"]),
    ("timestamp with time zone", &["'2026-01-01'", "'infinity'"]),
    ("public.point3", &["'(1,2,)'", "'(,,)'", "'(1.0,2,x)'"]),
    ("public.short", &["'a'", "'b'"]),
    ("public.mood", &["'sad'", "'glad'"]),
    ("box", &["'(0,0),(1,1)'", "'(0,0),(1,2)'"]),
    ("int4range", &["'[1,2)'", "'empty'"]),
    ("xml", &["'<a/>'", "'<a></a>'"]),
];

pub(crate) async fn images(case: Case) -> Outcome {
    let types = "CREATE TYPE public.point3 AS (x numeric, y int, z text);
        CREATE TYPE public.mood AS ENUM ('sad', 'glad'); CREATE DOMAIN public.short AS varchar(3);";
    let mut columns = String::new();
    let mut mappings = Vec::new();
    for (i, (type_name, _)) in IMAGES.iter().enumerate() {
        columns.push_str(&format!(", o{i} {type_name}, n{i} {type_name}"));
        mappings.push(pair(
            &format!("o{i}: {type_name}"),
            &format!("n{i}: {type_name}"),
            &[&format!("{{o{i}}}")],
            &[&format!("{{n{i}}}")],
        ));
    }
    let setup =
        format!("{types} CREATE TABLE t (id int {columns}); INSERT INTO t (id) VALUES (1);");
    let scene = Scene::new(case, &setup, on("t", mappings)).await?;
    for (i, (type_name, values)) in IMAGES.iter().enumerate() {
        let mut literals = vec!["NULL"];
        literals.extend(*values);
        for from in &literals {
            for to in &literals {
                for (written, other) in [("o", "n"), ("n", "o")] {
                    let change = format!(
                        "UPDATE t SET {written}{i} = {from}; UPDATE t SET {written}{i} = {to};"
                    );
                    scene.run(&change).await?;
                    let agreed = scene
                        .row(&format!(
                            "SELECT ROW({other}{i})::record *= ROW({to}::{type_name})::record,
                                    ROW({written}{i})::record *= ROW({to}::{type_name})::record FROM t"
                        ))
                        .await?;
                    same!(
                        (type_name, from, to, agreed.as_str()),
                        (type_name, from, to, "t|t")
                    );
                }
            }
        }
    }
    same!(scene.mismatches().await?, "0");
    same!(scene.conflicts().await?, 0);
    Ok(())
}

/// `=` would take these changes for none.
pub(crate) async fn images_that_equal(case: Case) -> Outcome {
    let setup = "CREATE TABLE t (id int, a numeric, b numeric, c float8, d float8);
        INSERT INTO t (id) VALUES (1);";
    let sync = on(
        "t",
        vec![
            pair("a: numeric", "b: numeric", &["{a}"], &["{b}"]),
            pair(
                "c: double precision",
                "d: double precision",
                &["{c}"],
                &["{d}"],
            ),
        ],
    );
    let scene = Scene::new(case, setup, sync).await?;
    scene
        .run("UPDATE t SET a = 1.0, c = '0'; UPDATE t SET a = 1.00, d = '-0'")
        .await?;
    same!(
        scene.row("SELECT a, b, c, d FROM t").await?,
        "1.00|1.00|-0|-0"
    );
    Ok(())
}

pub(crate) async fn stable_up(case: Case) -> Outcome {
    let setup = "CREATE TABLE e (id int PRIMARY KEY, at timestamp, at_tz timestamptz);";
    let sync = on(
        "e",
        vec![stable(pair(
            "at: timestamp without time zone",
            "at_tz: timestamp with time zone",
            &["({at})::timestamp with time zone"],
            &["({at_tz})::timestamp without time zone"],
        ))],
    );
    let scene = Scene::new(case, setup, sync).await?;
    for (id, zone) in [(1, "Asia/Tokyo"), (2, "America/New_York")] {
        scene
            .run(&format!(
                "SET timezone = '{zone}';
                 INSERT INTO e (id, at) VALUES ({id}, '2026-01-01 12:00');
                 INSERT INTO e (id, at_tz) VALUES ({id} + 10, '2026-01-01 12:00+00');
                 UPDATE e SET at = '2026-07-01 12:00' WHERE id = {id};"
            ))
            .await?;
    }
    scene.run("SET timezone = 'UTC'").await?;
    same!(
        scene
            .rows("SELECT id, at = at_tz::timestamp, at FROM e ORDER BY id")
            .await?,
        [
            "1|t|2026-07-01 12:00:00",
            "2|t|2026-07-01 12:00:00",
            "11|t|2026-01-01 12:00:00",
            "12|t|2026-01-01 12:00:00",
        ]
    );
    scene.run("SET timezone = 'Asia/Tokyo'").await?;
    same!(scene.mismatches().await?, "0");
    Ok(())
}

/// A new version writes NULL, and means it.
pub(crate) async fn explicit_null(case: Case) -> Outcome {
    let scene = Scene::new(case, TABLE, shouting(OnConflict::Error)).await?;
    scene
        .run("INSERT INTO t (id, a) VALUES (1, 'x'); UPDATE t SET b = NULL")
        .await?;
    same!(scene.row("SELECT a, b FROM t").await?, "∅|∅");
    // On INSERT, NULL and nothing are one.
    scene
        .run("INSERT INTO t (id, a, b) VALUES (2, 'y', NULL)")
        .await?;
    same!(scene.row("SELECT a, b FROM t WHERE id = 2").await?, "y|Y");

    // Where `down` makes a value of NULL (which lowering refuses when it can
    // tell), that value comes back through `up`: both sides agree again.
    let sync = on(
        "t",
        vec![pair(
            "a: text",
            "b: text",
            &["{a}"],
            &["COALESCE({b}, ''::text)"],
        )],
    );
    let scene = Scene::new(case, TABLE, sync).await?;
    scene
        .run("INSERT INTO t (id, a) VALUES (1, 'x'); UPDATE t SET b = NULL")
        .await?;
    same!(scene.row("SELECT a, b FROM t").await?, "|");
    same!(scene.mismatches().await?, "0");

    // Where `up` makes a value of NULL, a NULL never stands in the new column.
    let sync = on(
        "t",
        vec![pair(
            "a: text",
            "b: text",
            &["COALESCE({a}, 'none'::text)"],
            &["NULLIF({b}, 'none'::text)"],
        )],
    );
    let scene = Scene::new(case, TABLE, sync).await?;
    scene
        .run("INSERT INTO t (id, a) VALUES (1, 'x'), (2, NULL); UPDATE t SET b = NULL WHERE id = 1")
        .await?;
    same!(
        scene.rows("SELECT a, b FROM t ORDER BY id").await?,
        ["∅|none", "∅|none"]
    );
    same!(scene.mismatches().await?, "0");
    Ok(())
}

/// A writer without any right on anything of ours, who has a `lower()` of his own.
pub(crate) async fn poor_writer(case: Case) -> Outcome {
    let scene = Scene::new(case, TABLE, {
        on(
            "t",
            vec![pair("a: text", "b: text", &["lower({a})"], &["{b}"])],
        )
    })
    .await?;
    let role = format!("poor_{}", scene.database.name());
    scene
        .run(&format!(
            "CREATE ROLE {role} LOGIN; CREATE SCHEMA AUTHORIZATION {role};
             GRANT SELECT, INSERT, UPDATE ON t TO {role}; REVOKE ALL ON SCHEMA pontoon FROM PUBLIC;"
        ))
        .await?;
    let poor = connect(&scene.database.url_as(&role)).await?;
    run(
        &poor,
        &format!(
            "CREATE FUNCTION {role}.lower(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'garbage' $$;
             SET search_path = {role}, pg_catalog, public;
             INSERT INTO t (id, a) VALUES (1, 'X');
             UPDATE t SET a = 'Y';"
        ),
    )
    .await?;
    same!(rows(&poor, "SELECT a, b FROM t").await?, ["Y|y"]);
    same!(scene.seen().await? > 0, true);
    Ok(())
}

pub(crate) async fn inheritance_child(case: Case) -> Outcome {
    let setup = format!("{TABLE} CREATE TABLE child (extra int) INHERITS (t);");
    let mut sync = shouting(OnConflict::Error);
    sync.children = vec![TableName::new("public", "child")];
    let scene = Scene::new(case, &setup, sync).await?;
    scene
        .run("INSERT INTO child (id, a) VALUES (1, 'x'); UPDATE t SET b = 'Q'; INSERT INTO t (id, a) VALUES (2, 'y')")
        .await?;
    same!(
        scene.rows("SELECT a, b FROM t ORDER BY id").await?,
        ["q|Q", "y|Y"]
    );
    Ok(())
}

pub(crate) async fn partition_attached_midway(case: Case) -> Outcome {
    let setup =
        "CREATE TABLE t (id int PRIMARY KEY, note text, a text, b text) PARTITION BY RANGE (id);
        CREATE TABLE t1 PARTITION OF t FOR VALUES FROM (0) TO (100);
        CREATE TABLE t_rest PARTITION OF t DEFAULT;";
    let scene = Scene::new(case, setup, shouting(OnConflict::Error)).await?;
    scene
        .run(
            "CREATE TABLE t2 (note text, id int PRIMARY KEY, b text, a text);
             INSERT INTO t2 (id, a) VALUES (101, 'before');
             ALTER TABLE t ATTACH PARTITION t2 FOR VALUES FROM (100) TO (200);
             CREATE TABLE t3 PARTITION OF t FOR VALUES FROM (200) TO (300);
             INSERT INTO t (id, a) VALUES (1, 'x'), (2, 'x'), (102, 'x'), (202, 'x'), (302, 'x');
             UPDATE t SET a = 'k' WHERE id IN (1, 102);
             UPDATE t SET b = 'L' WHERE id IN (202, 302);
             UPDATE t SET id = 103, a = 'moved' WHERE id = 2;
             UPDATE t SET note = 'touched' WHERE id = 101;",
        )
        .await?;
    same!(
        scene.rows("SELECT id, a, b FROM t ORDER BY id").await?,
        [
            "1|k|K",
            "101|before|BEFORE",
            "102|k|K",
            "103|moved|MOVED",
            "202|l|L",
            "302|l|L"
        ]
    );
    // Each clone fires for replication, too.
    same!(
        scene
            .rows(
                "SELECT tgrelid::regclass, string_agg(DISTINCT tgenabled::text, '') FROM pg_trigger
                 WHERE tgname LIKE '%pontoon%' GROUP BY 1 ORDER BY tgrelid::regclass::text COLLATE \"C\""
            )
            .await?,
        ["t|A", "t1|A", "t2|A", "t3|A", "t_rest|A"]
    );
    scene
        .run(
            "SET session_replication_role = replica;
             UPDATE t SET a = 'replicated' WHERE id IN (1, 102, 202);
             RESET session_replication_role",
        )
        .await?;
    same!(scene.mismatches().await?, "0");
    Ok(())
}
