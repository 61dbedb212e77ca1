//! Generated columns, and what pages and `check` recommend where there is no
//! operation: plans that are run as they stand there.

use crate::scene::{Scene, code, plan};

const ITEMS: &str = "
    CREATE TABLE order_items (id integer PRIMARY KEY, quantity integer, unit_price numeric);
    INSERT INTO order_items SELECT g, g % 7, g FROM generate_series(1, 500) g";
const VIRTUAL: &str = "- add_generated: {table: order_items, column: {name: total, type: numeric, comment: a product}, expression: quantity * unit_price, stored: false}";

/// On 18 as by hand, and back; before, refused with the way out.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_column_is_added_and_taken_back() {
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        let before = scene.catalog().await;
        let path = scene.pontoon.plan(&plan(
            "virtual",
            "",
            &format!("{VIRTUAL}\n- sql: {{phase: contract, run: SELECT 1, undo: nothing}}"),
        ));
        let ended = scene.pontoon.call(&["run", &path]).await;
        if version < 18 {
            assert_eq!(ended.code, Some(3), "{}", ended.stderr);
            assert!(
                ended.stderr.contains("trigger of your own"),
                "{}",
                ended.stderr
            );
            scene.end().await;
            continue;
        }
        ended.expect(5);
        scene
            .sql("INSERT INTO order_items VALUES (501, 2, 3)")
            .await;
        assert_eq!(
            scene
                .text("SELECT total FROM order_items WHERE id = 501")
                .await,
            "6"
        );
        assert_eq!(
            code(&scene.client, "UPDATE order_items SET total = 1").await,
            "428C9"
        );
        scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        assert!(before.differences(&scene.catalog().await).is_empty());
        let path = scene.pontoon.plan(&plan("virtual", "", VIRTUAL));
        scene.pontoon.approved(&path).await.expect(0);
        let made = scene.catalog().await;
        let hand = Scene::new(version, ITEMS).await;
        hand.sql("ALTER TABLE order_items ADD COLUMN total numeric GENERATED ALWAYS AS (quantity * unit_price) VIRTUAL; COMMENT ON COLUMN order_items.total IS 'a product'").await;
        let differences = hand.catalog().await.differences(&made);
        assert!(differences.is_empty(), "{differences:#?}");
        hand.end().await;
        // What only the server knows fails in expand, and nothing is changed.
        scene.sql("CREATE FUNCTION own(integer) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT $1'").await;
        let before = scene.catalog().await;
        let own = "- add_generated: {table: order_items, column: {name: mine, type: integer}, expression: public.own(quantity), stored: false}";
        let path = scene.pontoon.plan(&plan("own", "", own));
        let ended = scene.pontoon.call(&["run", &path]).await;
        assert_eq!(ended.code, Some(7), "{}", ended.stderr);
        assert!(before.differences(&scene.catalog().await).is_empty());
        scene.end().await;
    }
}

/// What `change_type` makes of a column follows into the columns that are
/// computed from it, with all that they have and all that reads them.
#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_column_follows_what_it_is_computed_from() {
    const SETUP: &str = "
        CREATE TABLE order_items (id integer PRIMARY KEY, quantity integer NOT NULL CHECK (quantity >= 0), unit_price numeric,
            total numeric GENERATED ALWAYS AS (quantity * unit_price) VIRTUAL,
            gross numeric GENERATED ALWAYS AS (unit_price * 1.19) VIRTUAL, note text);
        INSERT INTO order_items (id, quantity, unit_price) SELECT g, g % 7, g FROM generate_series(1, 500) g;
        COMMENT ON COLUMN order_items.total IS 'a product';
        GRANT SELECT (total, quantity) ON order_items TO PUBLIC;
        ALTER TABLE order_items ALTER total SET (n_distinct = 9);
        CREATE VIEW totals AS SELECT id, total, quantity FROM order_items WHERE total > 10;
        COMMENT ON VIEW totals IS 'dear ones';
        CREATE POLICY dear ON order_items USING (total > 10 AND quantity > 1);
        ANALYZE";
    // As the column itself, what follows is added at the end.
    const BY_HAND: &str = "
        DROP VIEW totals; DROP POLICY dear ON order_items;
        ALTER TABLE order_items DROP COLUMN total, DROP COLUMN quantity,
            ADD COLUMN AS_NAME bigint CONSTRAINT order_items_quantity_check CHECK (AS_NAME >= 0);
        UPDATE order_items SET AS_NAME = id % 7;
        ALTER TABLE order_items ALTER AS_NAME SET NOT NULL,
            ADD COLUMN total numeric GENERATED ALWAYS AS (AS_NAME * unit_price) VIRTUAL;
        COMMENT ON COLUMN order_items.total IS 'a product';
        GRANT SELECT (total, AS_NAME) ON order_items TO PUBLIC;
        ALTER TABLE order_items ALTER total SET (n_distinct = 9);
        CREATE VIEW totals AS SELECT id, total, AS_NAME AS quantity FROM order_items WHERE total > 10;
        COMMENT ON VIEW totals IS 'dear ones';
        CREATE POLICY dear ON order_items USING (total > 10 AND AS_NAME > 1)";
    for version in crate::versions()
        .into_iter()
        .filter(|version| *version >= 18)
    {
        for (last, given) in [("quantity", ""), ("pieces", ", as: pieces")] {
            let scene = Scene::new(version, SETUP).await;
            let before = scene.catalog().await;
            let operation = format!(
                "- change_type: {{table: order_items, column: quantity, to: bigint{given}}}"
            );
            let path = scene.pontoon.plan(&plan("follows", "", &operation));
            let told = scene.pontoon.call(&["preview", &path]).await.expect(0);
            assert!(!told.stdout.contains("total is gone"), "{}", told.stdout);
            scene.pontoon.call(&["run", &path]).await.expect(5);
            scene
                .sql("INSERT INTO order_items (id, quantity, unit_price) VALUES (501, 2, 30)")
                .await;
            let total = "SELECT total FROM order_items WHERE id = 501";
            assert_eq!(scene.text(total).await, "60");
            scene.killed_before_the_last_step(&path).await;
            scene.pontoon.call(&["rollback", "--yes"]).await.expect(0);
            let differences = before.differences(&scene.catalog().await);
            assert!(differences.is_empty(), "{differences:#?}");

            // What comes to hang on it is not dropped along with it.
            scene.pontoon.call(&["run", &path]).await.expect(5);
            scene
                .sql("ALTER TABLE order_items ADD CONSTRAINT late CHECK (total < 100000)")
                .await;
            let ended = scene.pontoon.approved(&path).await;
            let said = format!("{:?} {}{}", ended.code, ended.stdout, ended.stderr);
            assert!(
                said.contains("something new hangs on") && said.contains("late"),
                "{said}"
            );
            scene
                .sql("ALTER TABLE order_items DROP CONSTRAINT late")
                .await;
            scene.pontoon.approved(&path).await.expect(0);
            scene.clean().await;
            assert_eq!(scene.text(total).await, "60");
            scene
                .sql(&format!(
                    "UPDATE order_items SET {last} = 5000000000 WHERE id = 501"
                ))
                .await;
            assert_eq!(scene.text(total).await, "150000000000");
            let hand = Scene::new(version, SETUP).await;
            hand.sql(&BY_HAND.replace("AS_NAME", last)).await;
            let differences = hand.catalog().await.differences(&scene.catalog().await);
            assert!(differences.is_empty(), "{last}: {differences:#?}");
            hand.end().await;
            scene.end().await;
        }
    }
}

/// What would be lost is refused before anything changes.
#[tokio::test(flavor = "multi_thread")]
async fn a_computed_column_that_cannot_follow() {
    let mut cases = vec![("", "STORED", "is STORED")];
    if crate::versions().iter().all(|version| *version >= 18) {
        cases.extend([
            ("", "VIRTUAL NOT NULL", "is NOT NULL"),
            (
                "ALTER TABLE items ADD CONSTRAINT even CHECK (twice % 2 = 0)",
                "VIRTUAL",
                "would take check constraint even along",
            ),
            (
                "CREATE MATERIALIZED VIEW sums AS SELECT twice, amount FROM items",
                "VIRTUAL",
                "would take materialized view",
            ),
        ]);
    }
    for version in crate::versions() {
        for (more, kind, told) in &cases {
            let setup = format!(
                "CREATE TABLE items (id integer PRIMARY KEY, amount integer NOT NULL,
                     twice integer GENERATED ALWAYS AS (amount * 2) {kind}); {more}"
            );
            let scene = Scene::new(version, &setup).await;
            let before = scene.catalog().await;
            let operation =
                "- change_type: {table: items, column: amount, to: smallint, lossy: true}";
            let path = scene.pontoon.plan(&plan("stays", "", operation));
            let ended = scene.pontoon.call(&["run", &path]).await;
            assert_eq!(ended.code, Some(3), "{}", ended.stderr);
            assert!(ended.stderr.contains(told), "{}", ended.stderr);
            assert!(before.differences(&scene.catalog().await).is_empty());
            scene.end().await;
        }
    }
}

/// The two plans on the page of `add_generated`, with writes between them.
#[tokio::test(flavor = "multi_thread")]
async fn a_plain_column_kept_by_a_trigger_of_the_application() {
    let page = include_str!("../../../../crates/core/src/ops/add_generated/doc.md");
    let plans: Vec<&str> = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next())
        .collect();
    assert_eq!(plans.len(), 2);
    for version in crate::versions() {
        let scene = Scene::new(version, ITEMS).await;
        for (turn, text) in plans.iter().enumerate() {
            scene.completed(text).await;
            let id = 600 + turn;
            scene.sql(&format!("INSERT INTO order_items VALUES ({id}, 2, 3); UPDATE order_items SET quantity = 5 WHERE id = {}", turn + 1)).await;
        }
        let wrong =
            "SELECT count(*) FROM order_items WHERE total IS DISTINCT FROM quantity * unit_price";
        assert_eq!(scene.text(wrong).await, "0");
        scene.clean().await;
        scene.end().await;
    }
}
