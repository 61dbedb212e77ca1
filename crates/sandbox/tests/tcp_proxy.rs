//! The proxy against a real server: each way of failing, and what the server has done then.

use std::time::Duration;

use pontoon_sandbox::tcp_proxy::{Moment, TcpProxy};
use pontoon_sandbox::{TestDatabase, connect};
use tokio::time::timeout;

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn count(database: &TestDatabase) -> Result<i64, Box<dyn std::error::Error>> {
    Ok(database
        .client()
        .await?
        .query_one("SELECT count(*) FROM t", &[])
        .await?
        .get(0))
}

#[tokio::test]
async fn cuts_before_and_after_a_commit() -> Outcome {
    let database = TestDatabase::create(None).await?;
    database
        .client()
        .await?
        .batch_execute("CREATE TABLE t (n int)")
        .await?;
    let proxy = TcpProxy::start(database.server()).await?;
    let url = proxy.url(&database.url());
    let mut expected = 0;
    for (no, (moment, committed)) in [(Moment::Before, 0), (Moment::After, 1)]
        .into_iter()
        .enumerate()
    {
        // As one simple message, as statements of their own, and through a prepared statement.
        proxy.cut_at("COMMIT", moment, 0);
        let client = connect(&url).await?;
        assert!(
            client
                .batch_execute("BEGIN; INSERT INTO t VALUES (1); COMMIT")
                .await
                .is_err()
        );
        expected += committed;
        assert_eq!(count(&database).await?, expected, "{moment:?}, one message");

        proxy.cut_at("commit", moment, 1);
        let client = connect(&url).await?;
        client
            .batch_execute("BEGIN; INSERT INTO t VALUES (2); COMMIT")
            .await?;
        client.batch_execute("BEGIN").await?;
        client.execute("INSERT INTO t VALUES ($1)", &[&3]).await?;
        assert!(client.batch_execute("COMMIT").await.is_err());
        expected += 1 + committed;
        assert_eq!(
            count(&database).await?,
            expected,
            "{moment:?}, own statement, second match"
        );

        proxy.cut_at("INSERT", moment, 0);
        let client = connect(&url).await?;
        let statement = client.prepare("INSERT INTO t VALUES ($1)").await?;
        assert!(client.execute(&statement, &[&4]).await.is_err());
        expected += committed;
        assert_eq!(count(&database).await?, expected, "{moment:?}, prepared");
        assert_eq!(proxy.cuts(), 3 * (no as u64 + 1));
    }
    Ok(())
}

#[tokio::test]
async fn hangs_refuses_and_recovers() -> Outcome {
    let database = TestDatabase::create(None).await?;
    let proxy = TcpProxy::start(database.server()).await?;
    let url = proxy.url(&database.url());
    let client = connect(&url).await?;
    proxy.hang();
    let query = client.query_one("SELECT 1", &[]);
    tokio::pin!(query);
    assert!(
        timeout(Duration::from_millis(100), &mut query)
            .await
            .is_err()
    );
    proxy.pass();
    timeout(Duration::from_secs(5), query).await??;
    assert_eq!(proxy.open_connections(), 1);

    proxy.cut();
    assert!(client.query_one("SELECT 1", &[]).await.is_err());
    let client = connect(&url).await?;
    client.query_one("SELECT 1", &[]).await?;

    proxy.refuse();
    assert!(client.query_one("SELECT 1", &[]).await.is_err());
    assert!(connect(&url).await.is_err());
    proxy.pass();
    connect(&url).await?.query_one("SELECT 1", &[]).await?;
    Ok(())
}
