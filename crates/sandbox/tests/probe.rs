//! The stall probe must see whom a statement waits for, directly, in a lock queue and through another session.

use std::time::Duration;

use pontoon_sandbox::app::{App, ProbeOptions, StallProbe, models};
use pontoon_sandbox::{TestDatabase, connect};

type Outcome = Result<(), Box<dyn std::error::Error>>;

const HALF: Duration = Duration::from_millis(500);

async fn named(
    database: &TestDatabase,
    name: &str,
) -> Result<tokio_postgres::Client, Box<dyn std::error::Error>> {
    let client = connect(&database.url()).await?;
    client
        .batch_execute(&format!("SET application_name = '{name}'"))
        .await?;
    Ok(client)
}

#[tokio::test]
async fn attributes_waits_to_the_right_session() -> Outcome {
    let model = models::text_key();
    let database = TestDatabase::create(None).await?;
    App::install(&model, &database.client().await?, 100).await?;
    let suspect = named(&database, "pontoon guard").await?;
    let innocent = named(&database, "report").await?;
    let table = model.quoted_table();

    // Somebody else's lock: long waits, none of them the suspect's.
    let probe = StallProbe::start(ProbeOptions::new(database.url()), model.probe()).await?;
    tokio::time::sleep(HALF).await;
    innocent
        .batch_execute(&format!(
            "BEGIN; LOCK {table}; SELECT pg_sleep(0.5); COMMIT"
        ))
        .await?;
    let report = probe.stop().await;
    assert!(
        report.table.worst() >= Duration::from_millis(450),
        "{report}"
    );
    assert_eq!(report.table.attributed_count, 0, "{report}");
    assert!(
        report.control.worst() < Duration::from_millis(400),
        "{report}"
    );
    assert!(
        report.table.reads.count() > 10 && report.table.errors.is_empty(),
        "{report}"
    );

    // The suspect queues behind a reader, and everybody else behind the suspect.
    let probe = StallProbe::start(ProbeOptions::new(database.url()), model.probe()).await?;
    innocent
        .batch_execute(&format!("BEGIN; SELECT count(*) FROM {table}"))
        .await?;
    suspect.batch_execute("SET statement_timeout = 500").await?;
    let refused = suspect
        .batch_execute(&format!("BEGIN; LOCK {table}; COMMIT"))
        .await;
    assert_eq!(
        refused
            .expect_err("a lock timeout")
            .code()
            .map(|code| code.code()),
        Some("57014")
    );
    suspect.batch_execute("ROLLBACK").await?;
    innocent.batch_execute("ROLLBACK").await?;
    tokio::time::sleep(HALF).await;
    let report = probe.stop().await;
    assert!(
        report.table.attributed >= Duration::from_millis(400),
        "{report}"
    );
    assert!(report.table.attributed <= report.table.worst(), "{report}");
    assert!(
        report
            .table
            .culprit
            .as_ref()
            .is_some_and(|whom| whom.contains("LOCK")),
        "{report}"
    );
    assert_eq!(report.control.attributed_count, 0, "{report}");
    assert_eq!(report.suspects, ["pontoon guard"]);

    // The probe waits for a row of the innocent's transaction, which waits for a row of the suspect's.
    suspect.batch_execute("RESET statement_timeout").await?;
    suspect
        .batch_execute("CREATE TABLE other (n int); INSERT INTO other VALUES (1)")
        .await?;
    innocent
        .batch_execute(&format!("BEGIN; SELECT FROM {table} FOR UPDATE"))
        .await?;
    let probe = StallProbe::start(ProbeOptions::new(database.url()), model.probe()).await?;
    let holding =
        suspect.batch_execute("BEGIN; UPDATE other SET n = 2; SELECT pg_sleep(0.6); COMMIT");
    let waiting = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        innocent
            .batch_execute("UPDATE other SET n = 3; COMMIT")
            .await
    };
    let (held, waited) = tokio::join!(holding, waiting);
    held?;
    waited?;
    tokio::time::sleep(HALF).await;
    let report = probe.stop().await;
    assert!(
        report.table.attributed >= Duration::from_millis(300),
        "{report}"
    );
    Ok(())
}
