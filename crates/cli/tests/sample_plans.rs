//! The sample plans in `plans/` do what they say, on a server of our own.

use std::path::{Path, PathBuf};
use std::process::Command;

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};
use pontoon_sandbox::{TestDatabase, test_versions};
use tokio_postgres::Client;

fn plans() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plans")
}

fn samples() -> Vec<String> {
    plans_in(&plans())
}

fn plans_in(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the sample plans")
        .filter_map(|file| file.expect("a file").file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml") && name != "pontoon.yaml")
        .collect();
    names.sort();
    names
}

/// Runs the command against a database and expects success.
fn pontoon(url: &str, args: &[&str]) {
    pontoon_in(&plans(), url, args);
}

fn pontoon_in(folder: &Path, url: &str, args: &[&str]) {
    let output = Command::new(env!("CARGO_BIN_EXE_pontoon"))
        .args(args)
        .args(["--url", url])
        .current_dir(folder)
        .output()
        .expect("pontoon runs");
    assert!(
        output.status.success(),
        "pontoon {args:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
}

async fn shop(version: u32) -> (TestDatabase, Client) {
    load(version, &plans()).await
}

/// A database with the schema of a folder.
async fn load(version: u32, folder: &Path) -> (TestDatabase, Client) {
    let database = TestDatabase::create(version).await.expect("a database");
    let client = database.client().await.expect("a client");
    let schema = std::fs::read_to_string(folder.join("schema.sql")).expect("the schema");
    client
        .batch_execute(&schema)
        .await
        .expect("the schema is SQL");
    (database, client)
}

async fn number(client: &Client, query: &str) -> i64 {
    let row = client.query_one(query, &[]).await.expect(query);
    row.get(0)
}

/// One after the other, straight through, as a CI job does on staging.
#[tokio::test(flavor = "multi_thread")]
async fn sample_plans_run_to_their_end() {
    for version in test_versions().expect("servers") {
        let (database, client) = shop(version).await;
        for plan in samples() {
            let text = std::fs::read_to_string(plans().join(&plan)).expect("a plan");
            let last = text.lines().find_map(|line| line.strip_prefix("version: "));
            let last = last.expect("it has a version");
            let migrate = ["migrate", ".", "--env", "staging", "--to-version", last];
            pontoon(&database.url(), &migrate);
            let ours = "SELECT count(*) FROM pg_trigger WHERE tgname ~ 'pontoon'";
            assert_eq!(number(&client, ours).await, 0, "{plan} on {version}");
        }
        let runs = "SELECT count(*) FROM pontoon.run WHERE state = 'completed'";
        let all = i64::try_from(samples().len()).expect("it fits");
        assert_eq!(number(&client, runs).await, all, "{version}");
        for (query, expected) in [
            (
                "SELECT count(*) FROM customers WHERE email_normalized = lower(email)",
                2000,
            ),
            ("SELECT count(*) FROM payments WHERE amount_exact > 0", 5000),
            (
                "SELECT count(*) FROM customers WHERE phone_number IS NOT NULL",
                666,
            ),
            ("SELECT count(*) FROM orders WHERE status = 'closed'", 2500),
            ("SELECT count(*) FROM orders WHERE currency = 'EUR'", 10000),
            ("SELECT count(*) FROM refunds", 0),
        ] {
            assert_eq!(
                number(&client, query).await,
                expected,
                "{query} on {version}"
            );
        }
        drop(client);
        database.drop().await.expect("dropped");
    }
}

/// Each one to the brink of its end and back again: the catalog is what it was.
#[tokio::test(flavor = "multi_thread")]
async fn sample_plans_can_be_taken_back() {
    let version = test_versions().expect("servers")[0];
    let (database, client) = shop(version).await;
    let options = DumpOptions::default();
    let before = CatalogDump::take(&client, &options).await.expect("a dump");
    for plan in samples() {
        // A plan that takes nothing away has no contract: it is completed, and
        // has nothing to take back, as soon as its backfill is.
        let until = match plan.as_str() {
            "04_backfill_and_index.yaml" => "expand",
            _ => "contract",
        };
        pontoon(&database.url(), &["run", &plan, "--until", until]);
        pontoon(&database.url(), &["rollback", "--yes"]);
        let after = CatalogDump::take(&client, &options).await.expect("a dump");
        let differences = before.differences(&after);
        assert!(differences.is_empty(), "{plan}: {differences:#?}");
    }
    drop(client);
    database.drop().await.expect("dropped");
}

/// The schemas in folders of their own, changed by all their plans: what
/// `wrong.sql` looks for is not there.
#[tokio::test(flavor = "multi_thread")]
async fn schemas_become_what_their_plans_say() {
    for version in test_versions().expect("servers") {
        for schema in ["events", "rental", "tenants"] {
            let folder = plans().join(schema);
            let (database, client) = load(version, &folder).await;
            let migrate = ["migrate", ".", "--env", "staging"];
            pontoon_in(&folder, &database.url(), &migrate);
            let wrong = std::fs::read_to_string(folder.join("wrong.sql")).expect("a query");
            let wrong: Vec<String> = client
                .query(&wrong, &[])
                .await
                .expect("a query")
                .iter()
                .map(|row| row.get(0))
                .collect();
            assert!(wrong.is_empty(), "{schema} on {version}: {wrong:#?}");
            let runs = "SELECT count(*) FROM pontoon.run WHERE state = 'completed'";
            let all = i64::try_from(plans_in(&folder).len()).expect("it fits");
            assert_eq!(number(&client, runs).await, all, "{schema} on {version}");
            let ours = "SELECT count(*) FROM pg_trigger WHERE tgname ~ 'pontoon'";
            assert_eq!(number(&client, ours).await, 0, "{schema} on {version}");
            drop(client);
            database.drop().await.expect("dropped");
        }
    }
}
