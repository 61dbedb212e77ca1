//! What people get wrong: a clear error, the right exit code, the state kept,
//! fixable and resumable.

use pontoon_sandbox::TestDatabase;
use pontoon_tests::{Pontoon, artifacts};

async fn with_table(sql: &str) -> (TestDatabase, tokio_postgres::Client, Pontoon) {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a connection");
    client.batch_execute(sql).await.expect("the tables");
    let pontoon = Pontoon::new(database.url());
    (database, client, pontoon)
}

fn plan(operations: &str) -> String {
    format!("plan: p\nversion: 1\ngates: []\noperations:\n{operations}\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_server() {
    let pontoon = Pontoon::new("postgresql://nobody@127.0.0.1:1/none");
    let path = pontoon.plan(&plan("  - drop_table: {table: t}"));
    let ended = pontoon.call(&["run", &path]).await.expect(10);
    assert!(ended.stderr.contains("127.0.0.1"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password() {
    let (database, client, _) = with_table("CREATE ROLE guarded LOGIN PASSWORD 'right'").await;
    let server = database.server();
    let hba = server.data_dir().join("pg_hba.conf");
    let before = std::fs::read_to_string(&hba).expect("pg_hba.conf");
    std::fs::write(
        &hba,
        format!("host all guarded 127.0.0.1/32 scram-sha-256\n{before}"),
    )
    .expect("pg_hba.conf is ours");
    client
        .batch_execute("SELECT pg_reload_conf()")
        .await
        .expect("reloaded");
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    let secret = "s3cr3t-wrong";
    let pontoon = Pontoon::new(format!(
        "postgresql://guarded:{secret}@127.0.0.1:{}/{}",
        server.port(),
        database.name()
    ));
    let ended = pontoon.call(&["status"]).await.expect(10);
    assert!(ended.stderr.contains("password"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(secret) && !ended.stdout.contains(secret));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_table_and_column() {
    let (_database, _client, pontoon) = with_table("CREATE TABLE users (id int, email text)").await;
    let path = pontoon.plan(&plan(
        "  - rename_column: {table: usrs, from: email, to: mail}",
    ));
    let ended = pontoon.call(&["run", &path]).await.expect(3);
    assert!(ended.stderr.contains("public.usrs"), "{}", ended.stderr);
    assert!(ended.stderr.contains("users"), "{}", ended.stderr);
    let path = pontoon.plan(&plan(
        "  - rename_column: {table: users, from: emial, to: mail}",
    ));
    let ended = pontoon.call(&["run", &path]).await.expect(3);
    assert!(ended.stderr.contains("`email`"), "{}", ended.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right() {
    let (database, _client, _) =
        with_table("CREATE ROLE stranger LOGIN; CREATE TABLE users (id int, email text)").await;
    let pontoon = Pontoon::new(database.url_as("stranger"));
    let path = pontoon.plan(&plan(
        "  - rename_column: {table: users, from: email, to: mail}",
    ));
    let ended = pontoon.call(&["run", &path]).await.expect(4);
    assert!(ended.stderr.contains("belongs to role"), "{}", ended.stderr);
}

/// The row's key is named; the state is kept; mended, the run goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_that_cannot_be_cast() {
    let (_database, client, pontoon) = with_table(
        "CREATE TABLE items (id int PRIMARY KEY, size text);
         INSERT INTO items SELECT g, g::text FROM generate_series(1, 3000) g;
         UPDATE items SET size = 'large' WHERE id = 1234;
         ANALYZE items",
    )
    .await;
    let path = pontoon.plan(&plan(
        "  - change_type: {table: items, column: size, to: integer}",
    ));
    let ended = pontoon.call(&["run", &path]).await.expect(7);
    assert!(ended.stderr.contains("1234"), "{}", ended.stderr);
    assert!(ended.stderr.contains("large"), "{}", ended.stderr);
    let status = pontoon
        .call(&["status", "--output", "json"])
        .await
        .expect(0)
        .json();
    assert_eq!(status["runs"][0]["state"], "failed", "{status}");
    client
        .batch_execute("UPDATE items SET size = '9' WHERE id = 1234")
        .await
        .expect("mended");
    pontoon.call(&["run", &path]).await.expect(0);
    let kind: String = client
        .query_one("SELECT pg_typeof(size)::text FROM items LIMIT 1", &[])
        .await
        .expect("the row")
        .get(0);
    assert_eq!(kind, "integer");
    assert_eq!(artifacts(&client).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_divides_by_zero_on_one_row() {
    let (_database, client, pontoon) = with_table(
        "CREATE TABLE items (id int PRIMARY KEY, total int, parts int);
         INSERT INTO items SELECT g, g, 1 FROM generate_series(1, 3000) g;
         UPDATE items SET parts = 0 WHERE id = 77;
         ANALYZE items",
    )
    .await;
    let path = pontoon.plan(&plan(
        "  - add_column: {table: items, column: {name: share, type: integer}, up: total / parts}",
    ));
    let ended = pontoon.call(&["run", &path]).await.expect(7);
    assert!(ended.stderr.contains("77"), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("division by zero"),
        "{}",
        ended.stderr
    );
    client
        .batch_execute("UPDATE items SET parts = 1 WHERE id = 77")
        .await
        .expect("mended");
    pontoon.call(&["run", &path]).await.expect(0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_was_edited_in_the_middle() {
    let (_database, _client, pontoon) = with_table("CREATE TABLE users (id int, email text)").await;
    let text =
        plan("  - rename_column: {table: users, from: email, to: mail}").replace("gates: []\n", "");
    let path = pontoon.plan(&text);
    pontoon.call(&["run", &path]).await.expect(5);
    let path = pontoon.plan(&text.replace("to: mail", "to: address"));
    let ended = pontoon.call(&["run", &path]).await.expect(3);
    assert!(
        ended.stderr.contains("mail") && ended.stderr.contains("address"),
        "{}",
        ended.stderr
    );
}
