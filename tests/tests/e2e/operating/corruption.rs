//! Corruption behind our back: whatever somebody does to rows while our
//! triggers are off, the next verify pass finds every one of them; what is
//! beyond doubt is mended, nothing else is touched, and contract waits for a
//! person.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::scene::{Scene, plan};

/// Rows: several pages, and two partitions in the second layout.
const ROWS: u32 = 3_000;

/// Where the rows lie.
const LAYOUTS: [&str; 2] = [
    "",
    " PARTITION BY RANGE (id); \
     CREATE TABLE things_low PARTITION OF things FOR VALUES FROM (MINVALUE) TO (2000); \
     CREATE TABLE things_high PARTITION OF things FOR VALUES FROM (2000) TO (MAXVALUE)",
];

/// A type, a value, and another one that a careless comparison takes for the
/// same, or for nothing.
const TYPES: [(&str, &str, &str); 20] = [
    ("integer", "7", "8"),
    ("bigint", "9007199254740992", "9007199254740993"),
    ("numeric", "1.0", "1.00"),
    ("float8", "0", "'-0'"),
    ("real", "0.1", "0.10000001"),
    ("text", "'Müller'", "'müller'"),
    ("varchar(20)", "'a'", "'a '"),
    ("char(4)", "'ab'", "'aB'"),
    ("bytea", "'\\x00'", "'\\x0000'"),
    ("boolean", "true", "false"),
    ("date", "'2024-02-29'", "'2024-03-01'"),
    (
        "timestamptz",
        "'2024-01-01 00:00:00.000001+00'",
        "'2024-01-01 00:00:00+00'",
    ),
    ("interval", "'1 day'", "'24 hours'"),
    (
        "uuid",
        "'00000000-0000-0000-0000-000000000001'",
        "'00000000-0000-0000-0000-000000000010'",
    ),
    ("json", "'{\"a\":1}'", "'{\"a\": 1}'"),
    ("jsonb", "'{\"a\": 1.0}'", "'{\"a\": 1.00}'"),
    ("text[]", "'{a,NULL}'", "'{a,\"NULL\"}'"),
    ("inet", "'10.0.0.1'", "'10.0.0.1/24'"),
    ("int4range", "'[1,3)'", "'empty'"),
    ("pair", "'(1,)'", "'(1,\"\")'"),
];

/// Runs `sql` on `things` while our triggers are off, on every table of it.
fn behind(sql: &str) -> String {
    let sql = sql.trim_end().trim_end_matches(';');
    format!(
        "DO $$ DECLARE found record; BEGIN
            FOR found IN SELECT tgrelid::regclass AS owner, tgname FROM pg_trigger
                WHERE tgname ~ '^(!|~~)pontoon' AND tgparentid = 0 LOOP
                EXECUTE format('ALTER TABLE %s DISABLE TRIGGER %I', found.owner, found.tgname);
            END LOOP;
            {sql};
            FOR found IN SELECT tgrelid::regclass AS owner, tgname FROM pg_trigger
                WHERE tgname ~ '^(!|~~)pontoon' LOOP
                EXECUTE format('ALTER TABLE %s ENABLE ALWAYS TRIGGER %I', found.owner, found.tgname);
            END LOOP;
         END $$"
    )
}

/// The passes that a command made.
fn passes(records: &[Value]) -> Vec<&Value> {
    records
        .iter()
        .filter(|record| record["event"] == "verify_finished")
        .collect()
}

/// A copy that only follows from another column is compared by image in every
/// type, and its right value is beyond doubt.
#[tokio::test(flavor = "multi_thread")]
async fn every_type_is_compared_by_image() {
    for version in crate::versions() {
        for layout in LAYOUTS {
            let columns: String = TYPES
                .iter()
                .enumerate()
                .map(|(no, (name, ..))| format!(", c{no} {name}"))
                .collect();
            let values: String = TYPES
                .iter()
                .map(|(_, value, _)| format!(", {value}"))
                .collect();
            let scene = Scene::new(
                version,
                &format!(
                    "CREATE TYPE pair AS (a integer, b text);
                     CREATE TABLE things (id integer PRIMARY KEY{columns}){layout};
                     INSERT INTO things SELECT g{values} FROM generate_series(1, {ROWS}) g;
                     ANALYZE things"
                ),
            )
            .await;
            let operations: String = TYPES
                .iter()
                .enumerate()
                .map(|(no, (name, ..))| {
                    format!("- add_column: {{table: things, column: {{name: d{no}, type: \"{name}\"}}, up: c{no}, derived: true}}\n")
                })
                .collect();
            let path = scene.pontoon.plan(&plan("images", "", &operations));
            scene.pontoon.call(&["run", &path]).await.expect(5);

            // Each type in a row of its own, and NULL in one more; the first
            // and the last row are among them.
            let mut wrong = String::new();
            for (no, (name, _, other)) in TYPES.iter().enumerate() {
                let (id, empty) = (1 + no, ROWS as usize - no);
                wrong.push_str(&format!(
                    "UPDATE things SET d{no} = {other}::{name} WHERE id = {id};
                     UPDATE things SET d{no} = NULL WHERE id = {empty};\n"
                ));
            }
            scene.sql(&behind(&wrong)).await;
            let ended = scene
                .pontoon
                .call(&["verify", "--output", "json"])
                .await
                .expect(0);
            let records = ended.records();
            let passes = passes(&records);
            let first = passes.first().expect("a pass");
            assert_eq!(first["mismatched"], TYPES.len() * 2, "{first}");
            assert_eq!(first["repaired"], TYPES.len() * 2, "{first}");
            assert_eq!(first["conflicts"], 0, "{first}");
            assert_eq!(first["clean"], false, "a repair voids its pass: {first}");
            let last = passes.last().expect("a pass");
            assert_eq!(last["clean"], true, "{last}");
            assert_eq!(last["checked"], ROWS, "{last}");
            let differing: String = (0..TYPES.len())
                .map(|no| format!(" OR ROW(c{no})::record *<> ROW(d{no})::record"))
                .collect();
            let left = format!("SELECT count(*) FROM things WHERE false{differing}");
            assert_eq!(scene.text(&left).await, "0");
            scene.pontoon.approved(&path).await.expect(0);
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// Two shapes that disagree, in the ways that break checksums: pairs that
/// cancel out, a value too many, one that differs in its case only.
#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_can_decide_is_named_and_left_alone() {
    const PAIRS: &str = "- change_type: {table: things, column: amount, to: bigint, as: wide}\n\
        - change_type: {table: things, column: name, to: text, as: title}\n\
        - change_type: {table: things, column: at, to: timestamp, as: moment}";
    // What is done, and the rows that are wrong by it.
    let wrongs: [(&str, &[u32]); 9] = [
        ("UPDATE things SET wide = wide + 1 WHERE id = 1", &[1]),
        ("UPDATE things SET amount = -amount WHERE id = 2", &[2]),
        ("UPDATE things SET amount = 5 WHERE id = 30", &[30]),
        (
            "UPDATE things t SET wide = u.amount FROM things u WHERE t.id IN (41, 2042) AND u.id = 2083 - t.id",
            &[41, 2042],
        ),
        (
            "UPDATE things t SET wide = u.amount, title = u.name FROM things u WHERE t.id IN (51, 52) AND u.id = 103 - t.id",
            &[51, 52],
        ),
        (
            "UPDATE things SET title = upper(title) WHERE id = 1999",
            &[1999],
        ),
        (
            "UPDATE things SET title = title || ' ' WHERE id = 2000",
            &[2000],
        ),
        (
            "UPDATE things SET moment = moment + interval '1 day' WHERE id = 2001",
            &[2001],
        ),
        (
            "UPDATE things SET wide = 0, amount = 1 WHERE id = 3000",
            &[3000],
        ),
    ];
    // What is beyond doubt: a copy that is missing. And what the old shape
    // cannot say, but does not contradict either, is no finding: a new version
    // may have written it.
    let missing = "UPDATE things SET moment = moment + interval '1 microsecond' WHERE id = 2002;
        UPDATE things SET wide = NULL WHERE id IN (3, 2998);
        UPDATE things SET title = NULL, moment = NULL WHERE id = 2999;
        INSERT INTO things (id, amount, name, at) VALUES (4000, 4000, 'behind', now())";
    for version in crate::versions() {
        for layout in LAYOUTS {
            let scene = Scene::new(
                version,
                &format!(
                    "CREATE TABLE things (id integer PRIMARY KEY, amount integer, name varchar(40), at date){layout};
                     INSERT INTO things SELECT g, nullif(g, 30), 'Name ' || g, date '2024-01-01' + g
                     FROM generate_series(1, {ROWS}) g;
                     ANALYZE things"
                ),
            )
            .await;
            let path = scene.pontoon.plan(&plan("disagree", "", PAIRS));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            // The extra value: the old shape has none.
            let extra = "UPDATE things SET wide = 5, amount = NULL WHERE id = 31";
            scene.sql("CREATE TABLE kept AS SELECT * FROM things").await;

            let mut ids: BTreeSet<u32> = BTreeSet::from([31]);
            let mut sql = format!("{missing}; {extra};");
            for (wrong, rows) in wrongs {
                sql.push_str(wrong);
                sql.push(';');
                ids.extend(rows);
            }
            // Row 30 had no old value and no copy: now it lacks the copy only.
            ids.remove(&30);
            scene.sql(&behind(&sql)).await;
            let ended = scene
                .pontoon
                .call(&["verify", "--output", "json"])
                .await
                .expect(7);
            let records = ended.records();
            let passes = passes(&records);
            let [pass] = passes[..] else {
                panic!("a pass that failed is not followed by another: {passes:?}");
            };
            assert_eq!(pass["conflicts"], ids.len(), "{pass:#}");
            let repaired = 5;
            assert_eq!(pass["repaired"], repaired, "{pass:#}");
            assert_eq!(pass["mismatched"], ids.len() + repaired, "{pass:#}");
            let named: BTreeSet<u32> = pass["examples"]
                .as_array()
                .expect("examples")
                .iter()
                .map(|example| key(example.as_str().expect("text")))
                .collect();
            assert_eq!(named, ids, "{pass:#}");

            // The verdict stands, whoever starts again and whatever is typed.
            let snapshot = "SELECT md5(string_agg(t::text, ',' ORDER BY id)) FROM things t";
            let before = scene.text(snapshot).await;
            for _ in 0..2 {
                scene.pontoon.approved(&path).await.expect(7);
                assert_eq!(scene.status().await["state"], "failed");
            }
            assert_eq!(
                scene.text(snapshot).await,
                before,
                "nothing is mended by guess"
            );
            // Also when the rows are right again: only a new pass lifts it.
            scene
                .sql(&behind(
                    "UPDATE things t SET amount = k.amount, name = k.name, at = k.at, wide = k.wide, title = k.title, moment = k.moment
                     FROM kept k WHERE k.id = t.id AND t.id <> 30",
                ))
                .await;
            scene.pontoon.call(&["run", &path]).await.expect(7);
            scene.pontoon.call(&["verify"]).await.expect(0);
            scene.pontoon.call(&["run", &path]).await.expect(0);
            let wrong = "SELECT count(*) FROM things t LEFT JOIN kept k USING (id) WHERE t.id NOT IN (30, 4000)
                AND ROW(t.wide, t.title, t.moment)::record *<> ROW(k.wide, k.title, k.moment)::record";
            assert_eq!(scene.text(wrong).await, "0");
            let filled = "SELECT wide || title FROM things WHERE id = 4000";
            assert_eq!(scene.text(filled).await, "4000behind");
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// After the pass, in the moments before contract: triggers that were off for
/// a while leave a sign, even when they are on again.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_that_were_off_for_a_while_void_the_proof() {
    for version in crate::versions() {
        for layout in LAYOUTS {
            let scene = Scene::new(
                version,
                &format!(
                    "CREATE TABLE things (id integer PRIMARY KEY, amount integer){layout};
                     INSERT INTO things SELECT g, g FROM generate_series(1, {ROWS}) g; ANALYZE things"
                ),
            )
            .await;
            let path = scene.pontoon.plan(&plan(
                "afterwards",
                "",
                "- change_type: {table: things, column: amount, to: bigint, as: wide}",
            ));
            scene.pontoon.call(&["run", &path]).await.expect(5);
            // The replica role does not get past triggers that fire always.
            scene
                .sql("SET session_replication_role = replica; UPDATE things SET amount = 70 WHERE id = 7; RESET session_replication_role")
                .await;
            assert_eq!(
                scene.text("SELECT wide FROM things WHERE id = 7").await,
                "70"
            );

            scene
                .sql(&behind("UPDATE things SET wide = 9 WHERE id = 2500"))
                .await;
            let ended = scene.pontoon.approved(&path).await.expect(7);
            assert!(ended.stderr.contains("2500"), "{}", ended.stderr);
            assert_eq!(
                scene
                    .text("SELECT amount FROM things WHERE id = 2500")
                    .await,
                "2500",
                "the old shape is still there"
            );
            scene
                .sql("UPDATE things SET amount = 1 WHERE id = 2500")
                .await;
            scene.pontoon.call(&["verify"]).await.expect(0);
            scene.pontoon.call(&["run", &path]).await.expect(0);
            assert_eq!(
                scene.text("SELECT string_agg(wide::text, ',' ORDER BY id) FROM things WHERE id IN (7, 2500)").await,
                "70,1"
            );
            scene.clean().await;
            scene.end().await;
        }
    }
}

/// The key in `… id = 77 …`.
fn key(example: &str) -> u32 {
    let digits: String = example
        .chars()
        .skip_while(|letter| !letter.is_ascii_digit())
        .take_while(char::is_ascii_digit)
        .collect();
    digits
        .parse()
        .unwrap_or_else(|_| panic!("no key in `{example}`"))
}
