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
