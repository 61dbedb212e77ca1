//! What tests look at in a database, by their own queries.

use tokio_postgres::Client;

/// Everything of Pontoon's outside its own schema, as `kind name`: after a
/// run has ended, in either direction, there is nothing.
pub async fn artifacts(client: &Client) -> Vec<String> {
    let rows = client
        .query(
            "SELECT 'trigger ' || tgname FROM pg_trigger WHERE tgname LIKE '%pontoon%'
             UNION ALL
             SELECT 'column ' || attrelid::regclass || '.' || attname
             FROM pg_attribute WHERE attname LIKE '%pontoon%' AND NOT attisdropped
             AND attrelid NOT IN (SELECT oid FROM pg_class WHERE relnamespace = to_regnamespace('pontoon'))
             UNION ALL
             SELECT 'constraint ' || conname FROM pg_constraint
             WHERE conname LIKE '%pontoon%' AND connamespace <> coalesce(to_regnamespace('pontoon'), 0)
             AND conname NOT LIKE 'pontoon_probe%'
             UNION ALL
             SELECT 'relation ' || oid::regclass FROM pg_class
             WHERE relname LIKE '%pontoon%' AND relname NOT LIKE 'pontoon_probe%'
             AND relnamespace <> coalesce(to_regnamespace('pontoon'), 0)
             AND relnamespace <> 'pg_toast'::regnamespace
             UNION ALL
             SELECT 'function ' || oid::regprocedure FROM pg_proc
             WHERE prosrc LIKE '%pontoon%' AND pronamespace <> coalesce(to_regnamespace('pontoon'), 0)
             AND pronamespace <> 'pg_catalog'::regnamespace
             AND pronamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname LIKE 'pg\\_temp\\_%')
             UNION ALL
             SELECT 'dual write ' || oid::regprocedure FROM pg_proc
             WHERE pronamespace = to_regnamespace('pontoon') AND prorettype = 'trigger'::regtype
             UNION ALL
             SELECT 'invalid index ' || indexrelid::regclass FROM pg_index WHERE NOT indisvalid
             ORDER BY 1",
            &[],
        )
        .await
        .expect("the catalog can be read");
    rows.iter().map(|row| row.get(0)).collect()
}

/// Rows changed by batches that have committed, over all runs.
pub async fn rows_committed(client: &Client) -> i64 {
    let known: bool = client
        .query_one("SELECT to_regclass('pontoon.run') IS NOT NULL", &[])
        .await
        .expect("the catalog can be read")
        .get(0);
    if !known {
        return 0;
    }
    client
        .query_one(
            "SELECT coalesce(sum(rows_affected), 0)::bigint FROM pontoon.run",
            &[],
        )
        .await
        .expect("the runs can be read")
        .get(0)
}

/// Waits until no session of Pontoon's is left: the backend of a killed
/// process ends its transaction a moment later.
pub async fn wait_for_silence(client: &Client) {
    for _ in 0..600 {
        let sessions: i64 = client
            .query_one(
                "SELECT count(*) FROM pg_stat_activity
                 WHERE application_name LIKE 'pontoon/%' AND datname = current_database()",
                &[],
            )
            .await
            .expect("the sessions can be read")
            .get(0);
        if sessions == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("sessions of a dead process stay for 30 s");
}
