//! `max_rows_affected`: refused before the start when the estimate says so,
//! stopped at the limit and never above it when the estimate is wrong.

use pontoon_sandbox::TestDatabase;
use pontoon_sandbox::app::{App, models};
use pontoon_tests::{Pontoon, rows_committed};

const ROWS: u64 = 20_000;

fn plan(limit: u64, workers: u32) -> String {
    format!(
        "{}limits: {{max_rows_affected: {limit}, max_batch_rows: 300}}\nbackfill: {{target_batch_time: 20ms, workers: {workers}}}\n",
        models::orders().plan("limited", 1)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn refused_before_the_start_when_the_estimate_says_so() {
    for version in crate::versions() {
        let database = TestDatabase::create(version).await.expect("a database");
        let client = database.client().await.expect("a connection");
        App::install(&models::orders(), &client, ROWS)
            .await
            .expect("the model");
        let pontoon = Pontoon::new(database.url());
        let ended = pontoon
            .call(&["run", &pontoon.plan(&plan(ROWS - 1, 1))])
            .await
            .expect(4);
        assert!(
            ended.stderr.contains("max_rows_affected"),
            "{}",
            ended.stderr
        );
        let schema: bool = client
            .query_one("SELECT to_regnamespace('pontoon') IS NOT NULL", &[])
            .await
            .expect("the catalog")
            .get(0);
        assert!(!schema, "a refused plan leaves nothing behind");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stopped_at_the_limit_when_the_estimate_is_wrong() {
    for version in crate::versions() {
        for workers in [1, 4] {
            let database = TestDatabase::create(version).await.expect("a database");
            let client = database.client().await.expect("a connection");
            App::install(&models::orders(), &client, ROWS)
                .await
                .expect("the model");
            client
                .batch_execute("UPDATE pg_class SET reltuples = 10 WHERE oid = 'orders'::regclass")
                .await
                .expect("the estimate is spoilt");
            let pontoon = Pontoon::new(database.url());
            let limit = 7_777;
            let path = pontoon.plan(&plan(limit, workers));
            let ended = pontoon.call(&["run", &path]).await.expect(8);
            assert!(
                ended.stderr.contains("max_rows_affected"),
                "{}",
                ended.stderr
            );
            let changed: i64 = client
                .query_one(
                    "SELECT count(*) FROM orders WHERE amount_exact IS NOT NULL",
                    &[],
                )
                .await
                .expect("the rows")
                .get(0);
            let limit = i64::try_from(limit).expect("fits");
            assert!(changed <= limit, "{changed} rows changed, limit {limit}");
            assert!(
                changed > limit - 300 * i64::from(workers),
                "{changed} of {limit}"
            );
            assert_eq!(rows_committed(&client).await, changed);

            // With the limit raised, the same run goes on.
            let path = pontoon.plan(&plan(ROWS * 2, workers));
            pontoon.call(&["run", &path]).await.expect(5);
        }
    }
}
