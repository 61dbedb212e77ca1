//! Logical replication from and to a table under migration, between two real
//! servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use pontoon_sandbox::{Server, ServerSpec};
use pontoon_tests::{Pontoon, artifacts};
use tokio_postgres::Client;

use crate::clients::Clients;
use crate::scene::{plan, run, text, wait_until};

const TABLE: &str =
    "CREATE TABLE items (id bigint PRIMARY KEY, amount integer NOT NULL, note text)";
const RETYPE: &str = "- change_type: {table: items, column: amount, to: numeric, as: exact}";

/// What the writer knows of every row.
type Books = Arc<tokio::sync::Mutex<BTreeMap<i64, i64>>>;

/// Two servers with one table each; the second one subscribes to the first.
struct Pair {
    publisher: Server,
    subscriber: Server,
    source: Client,
    target: Client,
    books: Books,
}

impl Pair {
    async fn new(version: u32) -> Self {
        let publisher = Server::start(ServerSpec::version(version))
            .await
            .expect("a publisher");
        // A worker that failed is started again soon.
        let spec = ServerSpec::version(version).setting("wal_retrieve_retry_interval", "300ms");
        let subscriber = Server::start(spec).await.expect("a subscriber");
        let url = publisher.create_database("shop").await.expect("a database");
        subscriber
            .create_database("shop")
            .await
            .expect("a database");
        let source = publisher.client("shop").await.expect("a connection");
        let target = subscriber.client("shop").await.expect("a connection");
        run(&source, TABLE).await;
        run(
            &source,
            "INSERT INTO items SELECT g, g, 'n' FROM generate_series(1, 3000) g; ANALYZE items;
             CREATE PUBLICATION shop FOR TABLE items",
        )
        .await;
        run(&target, TABLE).await;
        run(
            &target,
            &format!("CREATE SUBSCRIPTION shop CONNECTION '{url}' PUBLICATION shop"),
        )
        .await;
        let books = (1..=3000).map(|id| (id, id)).collect();
        let pair = Self {
            publisher,
            subscriber,
            source,
            target,
            books: Arc::new(tokio::sync::Mutex::new(books)),
        };
        pair.agrees("amount").await;
        pair
    }

    /// Begins to insert, change and delete rows at the publisher, through this
    /// column.
    async fn write(&self, column: &'static str) -> Clients<()> {
        let client = self.publisher.client("shop").await.expect("a connection");
        let books = Arc::clone(&self.books);
        Clients::one(|stop| async move {
            let mut no = 0;
            while !stop.is_told() {
                no += 1;
                let mut books = books.lock().await;
                let next = books.last_key_value().map_or(1, |(id, _)| id + 1);
                let old = books.keys().nth(no * 37 % books.len()).copied();
                let (change, gone) = (old.unwrap_or(next), next - 2);
                run(
                    &client,
                    &format!(
                        "INSERT INTO items (id, {column}) VALUES ({next}, {no});
                         UPDATE items SET {column} = {no} WHERE id = {change};
                         DELETE FROM items WHERE id = {gone} AND {next} % 3 = 0"
                    ),
                )
                .await;
                books.insert(next, no as i64);
                books.insert(change, no as i64);
                if next % 3 == 0 {
                    books.remove(&gone);
                }
                drop(books);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        })
    }

    /// Waits until the subscriber holds what the books say, in this column.
    async fn agrees(&self, column: &str) {
        wait_until("the subscriber holds every row", async || {
            let books = self.books.lock().await;
            let rows = self
                .target
                .query(&format!("SELECT id, {column}::bigint FROM items"), &[])
                .await
                .expect("the rows");
            let rows: BTreeMap<i64, Option<i64>> =
                (rows.iter()).map(|row| (row.get(0), row.get(1))).collect();
            rows.len() == books.len()
                && books
                    .iter()
                    .all(|(id, value)| rows.get(id) == Some(&Some(*value)))
        })
        .await;
    }

    /// Errors of apply workers in the subscriber's log.
    fn errors(&self) -> usize {
        let log = std::fs::read_to_string(self.subscriber.log_path()).expect("the log");
        log.lines().filter(|line| line.contains("ERROR:")).count()
    }

    async fn end(self) {
        run(&self.target, "DROP SUBSCRIPTION shop").await;
    }
}

/// The published table is changed. Its subscribers have to know the new
/// column, which the plan has to say: where one does not, its worker stops and
/// says so, loses nothing, and goes on when the column is there. Before
/// contract the old column must be dispensable at the subscriber, too.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_published_table() {
    for version in crate::versions() {
        let pair = Pair::new(version).await;
        let pontoon = Pontoon::new(pair.publisher.url("shop"));
        let writer = pair.write("amount").await;

        let path = pontoon.plan(&plan("published", "", RETYPE));
        let refused = pontoon.call(&["run", &path]).await.expect(4);
        assert!(
            refused.stderr.contains("publication:shop"),
            "{}",
            refused.stderr
        );
        let path = pontoon.plan(&plan(
            "published",
            "acknowledge: [\"publication:shop\"]",
            RETYPE,
        ));
        pontoon.call(&["run", &path]).await.expect(5);
        wait_until("the worker says what is missing", async || {
            std::fs::read_to_string(pair.subscriber.log_path())
                .expect("the log")
                .contains("is missing replicated column: \"exact\"")
        })
        .await;
        run(&pair.target, "ALTER TABLE items ADD COLUMN exact numeric").await;
        writer.stop("no statement fails").await;
        pair.agrees("amount").await;
        pair.agrees("exact").await;
        let errors = pair.errors();

        run(
            &pair.target,
            "ALTER TABLE items ALTER COLUMN amount DROP NOT NULL",
        )
        .await;
        let writer = pair.write("exact").await;
        pontoon.approved(&path).await.expect(0);
        tokio::time::sleep(Duration::from_millis(300)).await;
        run(&pair.target, "ALTER TABLE items DROP COLUMN amount").await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        writer.stop("no statement fails").await;
        pair.agrees("exact").await;
        assert_eq!(pair.errors(), errors, "the worker never stopped again");
        assert_eq!(artifacts(&pair.source).await, Vec::<String>::new());
        pair.end().await;
    }
}

/// The table that is changed is the subscriber's: the apply worker is an old
/// application that fires no ordinary trigger, and its rows are in step all
/// the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_subscribes() {
    for version in crate::versions() {
        let pair = Pair::new(version).await;
        let pontoon = Pontoon::new(pair.subscriber.url("shop"));
        let writer = pair.write("amount").await;
        let path = pontoon.plan(&plan(
            "subscribed",
            "limits: {max_batch_rows: 100}\nbackfill: {workers: 2}",
            RETYPE,
        ));
        pontoon.call(&["run", &path]).await.expect(5);
        let books = pair.books.lock().await.len();
        wait_until("more is replicated", async || {
            pair.books.lock().await.len() > books + 100
        })
        .await;
        pontoon.call(&["verify"]).await.expect(0);
        writer.stop("no statement fails").await;
        pair.agrees("amount").await;
        pair.agrees("exact").await;
        assert_eq!(pair.errors(), 0, "the worker never stopped");
        pontoon.call(&["rollback", "--yes"]).await.expect(0);
        pair.agrees("amount").await;
        assert_eq!(artifacts(&pair.target).await, Vec::<String>::new());
        assert_eq!(
            text(&pair.source, "SELECT count(*) FROM pg_publication").await,
            "1"
        );
        pair.end().await;
    }
}
