//! Behaviour that needs several sessions.

use std::time::Duration;

use pontoon_core::step::OnConflict;
use pontoon_sandbox::{TestDatabase, connect};

use crate::dsl::{Case, Outcome, Scene, code, on, pair, pair_on, run, same};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY, a int, b text);";

fn texts(on_conflict: OnConflict) -> pontoon_core::step::Sync {
    on(
        "t",
        vec![pair_on(
            on_conflict,
            "a: integer",
            "b: text",
            &["({a})::text"],
            &["({b})::integer"],
        )],
    )
}

/// The table is the target of a subscription: the apply worker writes as
/// `session_replication_role = replica`.
pub(crate) async fn logical_apply(case: Case) -> Outcome {
    let publisher = TestDatabase::create(case.version).await?;
    let source = publisher.client().await?;
    let slot = format!("slot_{}", publisher.name());
    run(
        &source,
        "CREATE TABLE t (id int PRIMARY KEY, a int); CREATE PUBLICATION p FOR TABLE t;",
    )
    .await?;
    let create_slot = format!("SELECT pg_create_logical_replication_slot('{slot}', 'pgoutput')");
    run(&source, &create_slot).await?;
    let scene = Scene::new(case, TABLE, texts(OnConflict::Error)).await?;
    let url = publisher.url().replace('\'', "''");
    run(
        &scene.client,
        &format!(
            "CREATE SUBSCRIPTION s CONNECTION '{url}' PUBLICATION p
             WITH (create_slot = false, slot_name = '{slot}', copy_data = false);"
        ),
    )
    .await?;
    run(
        &source,
        "INSERT INTO t VALUES (1, 1), (2, 2); UPDATE t SET a = 20 WHERE id = 2",
    )
    .await?;
    let mut seen = Vec::new();
    for _ in 0..300 {
        seen = scene.rows("SELECT id, a, b FROM t ORDER BY id").await?;
        if seen.len() == 2 && seen[1].starts_with("2|20") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene
        .run(
            "ALTER SUBSCRIPTION s DISABLE; ALTER SUBSCRIPTION s SET (slot_name = NONE);
             DROP SUBSCRIPTION s;",
        )
        .await?;
    for _ in 0..100 {
        let dropped = run(
            &source,
            &format!("SELECT pg_drop_replication_slot('{slot}')"),
        )
        .await;
        if code(dropped)? == "none" {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    same!(seen, ["1|1|1", "2|20|20"]);
    Ok(())
}

/// Old and new versions write the same few rows, a batch fills them meanwhile:
/// nobody fails, and both shapes agree in the end.
pub(crate) async fn two_versions_under_load(case: Case) -> Outcome {
    let setup = format!("{TABLE} INSERT INTO t (id, a) SELECT i, i FROM generate_series(1, 20) i;");
    let scene = Scene::new(case, &setup, texts(OnConflict::Error)).await?;
    let mut clients = Vec::new();
    for client in 0..8_u32 {
        let url = scene.database.url();
        clients.push(tokio::spawn(async move {
            let session = connect(&url).await?;
            for round in 0..150_u32 {
                let id = (client * 7 + round * 3) % 20 + 1;
                let value = client * 1000 + round;
                let write = match (client + round) % 4 {
                    0 => format!("UPDATE t SET a = {value} WHERE id = {id}"),
                    1 => format!("UPDATE t SET b = '{value}' WHERE id = {id}"),
                    2 => format!(
                        "INSERT INTO t (id, a) VALUES ({id}, {value}) ON CONFLICT (id) DO UPDATE SET a = EXCLUDED.a"
                    ),
                    _ => format!("UPDATE t SET id = id WHERE id = {id}"),
                };
                run(&session, &write).await?;
                if round % 10 == 0 {
                    run(&session, &format!("BEGIN; {write}; SELECT pg_sleep(0.002); ROLLBACK")).await?;
                }
            }
            Outcome::Ok(())
        }));
    }
    scene.fill().await?;
    for client in clients {
        client.await??;
    }
    same!(scene.mismatches().await?, "0");
    same!(
        scene.row("SELECT count(*), count(b) FROM t").await?,
        "20|20"
    );
    same!(scene.conflicts().await?, 0);
    Ok(())
}

/// An open transaction that noted an old write holds nobody up who notes one.
pub(crate) async fn old_writes_wait_for_nobody(case: Case) -> Outcome {
    let setup = format!("{TABLE} INSERT INTO t VALUES (1, 1, '1'), (2, 2, '2');");
    let sync = on(
        "t",
        vec![pair(
            "a: integer",
            "b: text",
            &["({a})::text"],
            &["({b})::integer"],
        )],
    );
    let scene = Scene::new(case, &setup, sync).await?;
    scene.run("BEGIN; UPDATE t SET a = 10 WHERE id = 1").await?;
    let other = scene.database.client().await?;
    let write =
        "SET statement_timeout = '2s'; SELECT pg_sleep(1.1); UPDATE t SET a = 20 WHERE id = 2";
    same!(code(run(&other, write).await)?, "none");
    scene.run("COMMIT").await?;
    same!(scene.mismatches().await?, "0");
    Ok(())
}
