//! The demo plays, kills, and loses nothing.

use std::process::{Command, Output};

use pontoon_sandbox::TestDatabase;
use serde_json::Value;

fn demo(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pontoon"))
        .arg("demo")
        .args(arguments)
        .output()
        .expect("pontoon runs")
}

fn told(output: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

#[test]
fn nothing_is_lost_though_the_runner_is_killed() {
    let output = demo(&["--rows", "60000", "--output", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", told(&output));
    // The runner's own lines come first.
    let text = String::from_utf8_lossy(&output.stdout);
    let begins = text.find("\n{\n").map_or(0, |at| at + 1);
    let figures: Value = serde_json::from_str(&text[begins..]).expect("the report is JSON");
    assert_eq!(figures["lost"], 0, "{figures}");
    assert_eq!(figures["errors"], 0, "{figures}");
    assert!(
        figures["writes"]
            .as_u64()
            .is_some_and(|writes| writes > 100)
    );
    let kill = &figures["kill"];
    assert!(
        kill["committed"].as_u64().is_some_and(|rows| rows > 0),
        "{figures}"
    );
    assert_eq!(kill["committed"], kill["resumed_at"], "{figures}");
    assert_eq!(kill["redone"], 0, "{figures}");
    assert!(figures["worst_stall_ms"].as_f64() <= figures["max_lock_duration_ms"].as_f64());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_empty_is_left_alone() {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a connection");
    client
        .batch_execute("CREATE TABLE orders (id int); INSERT INTO orders VALUES (7)")
        .await
        .expect("a table");
    let url = database.url();
    let output = tokio::task::spawn_blocking(move || demo(&["--rows", "1000", "--url", &url]))
        .await
        .expect("it ends");
    assert_eq!(output.status.code(), Some(4), "{}", told(&output));
    assert!(told(&output).contains("public.orders"), "{}", told(&output));
    let rows: i64 = client
        .query_one("SELECT count(*) FROM orders", &[])
        .await
        .expect("it is still there")
        .get(0);
    assert_eq!(rows, 1);
}
