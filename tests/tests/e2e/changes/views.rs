//! What hangs on a view keeps it from being dropped, or from being replaced by
//! one that a rollback could not narrow again; each is named.

use crate::scene::{Scene, plan};

const SETUP: &str = "
    CREATE TABLE items (id integer PRIMARY KEY, note text);
    CREATE VIEW near AS SELECT id, note FROM items;
    CREATE VIEW nearest AS SELECT id FROM near;
    CREATE FUNCTION reads(near) RETURNS integer LANGUAGE sql AS 'SELECT 1';
    CREATE VIEW far AS SELECT id FROM items;
    CREATE FUNCTION changed() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
    CREATE TRIGGER changed INSTEAD OF UPDATE ON far FOR EACH ROW EXECUTE FUNCTION changed();
    CREATE TYPE pair AS (a integer)";

#[tokio::test(flavor = "multi_thread")]
async fn what_hangs_on_a_view_is_named_and_nothing_changes() {
    for version in crate::versions() {
        let scene = Scene::new(version, SETUP).await;
        let before = scene.catalog().await;
        for (operations, named) in [
            (
                "- drop_view: {name: near}",
                &["public.nearest", "reads"][..],
            ),
            // In the order of the cutover the one that is read would go first.
            (
                "- drop_view: {name: near}\n- drop_view: {name: nearest}",
                &["public.nearest"],
            ),
            (
                "- replace_view: {name: near, query: \"SELECT id, note, 1 AS one FROM items\"}",
                &["public.nearest", "phase: contract"],
            ),
            (
                "- replace_view: {name: far, query: \"SELECT id, note FROM items\"}",
                &["triggers", "phase: contract"],
            ),
            (
                "- replace_view: {name: near, query: \"SELECT id::bigint, note FROM items\"}",
                &["`id` is of type integer, and bigint", "drop_view"],
            ),
            (
                "- replace_view: {name: items, query: SELECT 1}",
                &["view public.items does not exist"],
            ),
            (
                "- create_view: {name: other, query: SELECT gone FROM items}",
                &["gone"],
            ),
            ("- add_enum_value: {name: pair, value: x}", &["no enum"]),
            (
                "- grant: {privileges: [select], table: items, to: [nobody_at_all]}",
                &["role nobody_at_all does not exist"],
            ),
        ] {
            let path = scene.pontoon.plan(&plan("views", "", operations));
            let ended = scene.pontoon.call(&["run", &path]).await;
            let said = format!("{}{}", ended.stdout, ended.stderr);
            // Refused by the plan's own sense (3) or by a rule (4).
            assert!(matches!(ended.code, Some(3 | 4)), "{operations}: {said}");
            for words in named {
                let lower = said.to_lowercase();
                assert!(lower.contains(&words.to_lowercase()), "{words}: {said}");
            }
            let differences = before.differences(&scene.catalog().await);
            assert!(differences.is_empty(), "{operations}: {differences:#?}");
        }
        scene.end().await;
    }
}

/// Two views, one over the other, go in the order in which they are named.
#[tokio::test(flavor = "multi_thread")]
async fn views_over_views_go_together() {
    for version in crate::versions() {
        let scene = Scene::new(
            version,
            &SETUP.replace(
                "CREATE FUNCTION reads(near)",
                "CREATE FUNCTION reads(integer)",
            ),
        )
        .await;
        scene
            .completed(&plan(
                "views",
                "",
                "- drop_view: {name: nearest}\n- drop_view: {name: near}",
            ))
            .await;
        assert_eq!(
            scene
                .text("SELECT count(*) FROM pg_views WHERE viewname LIKE 'near%'")
                .await,
            "0"
        );
        scene.end().await;
    }
}
