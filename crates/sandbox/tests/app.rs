//! The model application against real servers, with a migration made by hand: the oracle must be content with a right one
//! and must see each kind of damage.

use std::time::Duration;

use pontoon_sandbox::app::{App, AppOptions, Mix, Model, Pace, Shape, Statement, Version, models};
use pontoon_sandbox::tcp_proxy::{Moment, TcpProxy};
use pontoon_sandbox::{Server, ServerSpec, StopMode, TestDatabase, connect};
use tokio_postgres::Client;

type Outcome = Result<(), Box<dyn std::error::Error>>;

const ROWS: u64 = 3000;

/// Expands `orders` by hand: columns, trigger, and with `backfill` the filled columns.
const EXPAND: &str = "
    BEGIN;
    ALTER TABLE orders ADD amount_exact numeric, ADD customer_normalized text;
    CREATE FUNCTION in_step() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      IF TG_OP = 'INSERT' THEN
        IF NEW.amount_exact IS NULL THEN NEW.amount_exact := NEW.amount;
        ELSIF NEW.amount IS NULL THEN NEW.amount := NEW.amount_exact; END IF;
        NEW.customer_normalized := coalesce(NEW.customer_normalized, lower(NEW.customer));
      ELSE
        IF NEW.amount IS DISTINCT FROM OLD.amount THEN NEW.amount_exact := NEW.amount;
        ELSIF NEW.amount_exact::text IS DISTINCT FROM OLD.amount_exact::text THEN NEW.amount := NEW.amount_exact;
        ELSIF NEW.amount_exact IS NULL THEN NEW.amount_exact := NEW.amount; END IF;
        IF NEW.customer IS DISTINCT FROM OLD.customer OR NEW.customer_normalized IS NULL
        THEN NEW.customer_normalized := lower(NEW.customer); END IF;
      END IF;
      RETURN NEW;
    END $$;
    CREATE TRIGGER in_step BEFORE INSERT OR UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION in_step();
    COMMIT";
/// Skips rows that the application holds: a plain UPDATE deadlocks with its transactions.
const BACKFILL: &str = "UPDATE orders SET amount_exact = coalesce(amount_exact, amount),
    customer_normalized = coalesce(customer_normalized, lower(customer))
    WHERE ctid = ANY (ARRAY(SELECT ctid FROM orders WHERE amount_exact IS NULL OR customer_normalized IS NULL
                            FOR NO KEY UPDATE SKIP LOCKED))";
const UNFILLED: &str =
    "SELECT count(*) FROM orders WHERE amount_exact IS NULL OR customer_normalized IS NULL";
const CONTRACT: &str = "BEGIN; DROP TRIGGER in_step ON orders; DROP FUNCTION in_step; ALTER TABLE orders DROP amount; COMMIT";

fn options(url: String) -> AppOptions {
    AppOptions {
        old_clients: 3,
        new_clients: 3,
        ..AppOptions::new(url, ROWS)
    }
}

async fn installed(
    model: &Model,
    rows: u64,
) -> Result<(TestDatabase, Client), Box<dyn std::error::Error>> {
    let database = TestDatabase::create(None).await?;
    let client = database.client().await?;
    App::install(model, &client, rows).await?;
    Ok((database, client))
}

async fn a_while() {
    tokio::time::sleep(Duration::from_millis(600)).await;
}

/// Waits for what a busy machine may take long to reach.
async fn until(reached: impl Fn() -> bool) {
    for _ in 0..1_200 {
        if reached() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("not reached within a minute");
}

#[tokio::test]
async fn every_model_keeps_its_books() -> Outcome {
    for model in models::all() {
        for rows in [0, 1, ROWS] {
            let (database, client) = installed(&model, rows).await?;
            let mut options = options(database.url());
            options.rows = rows;
            let app = App::start(model.clone(), options);
            until(|| app.live().writes > 20).await;
            let report = app.stop().await;
            assert!(report.is_clean(), "{} {report}", model.name);
            let found = report.oracle.check(&client, Shape::Old).await?;
            assert!(
                found.is_clean() && found.in_doubt == 0,
                "{} {found}",
                model.name
            );
            database.drop().await?;
        }
    }
    Ok(())
}

/// COPY, MERGE, ON CONFLICT and statements that write several rows, where a key is unique.
#[tokio::test]
async fn every_kind_of_statement_keeps_its_books() -> Outcome {
    for model in models::all() {
        if model.name == models::no_key().name {
            continue;
        }
        for version in pontoon_sandbox::test_versions()? {
            let database = TestDatabase::create(version).await?;
            let client = database.client().await?;
            App::install(&model, &client, ROWS).await?;
            let mut options = options(database.url());
            options.mix = Mix::everything();
            let app = App::start(model.clone(), options);
            until(|| app.live().writes > 2_000).await;
            let report = app.stop().await;
            assert!(report.is_clean(), "{} {report}", model.name);
            let window = report.window("start").expect("the first window");
            for kind in Statement::ALL {
                assert!(window.of(Version::Old, kind).count() > 0, "{kind:?}");
            }
            let found = report.oracle.check(&client, Shape::Old).await?;
            assert!(
                found.is_clean() && found.in_doubt == 0,
                "{} {found}",
                model.name
            );
            database.drop().await?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_right_migration_is_clean_in_every_phase() -> Outcome {
    let (database, client) = installed(&models::orders(), ROWS).await?;
    let app = App::start(models::orders(), options(database.url()));
    app.mark("before");
    a_while().await;
    app.mark("during");
    client.batch_execute(EXPAND).await?;
    app.join_new_version();
    a_while().await;
    let found = app.check(&client, Shape::Filling).await?;
    assert!(found.is_clean(), "{found}");
    let found = app.check(&client, Shape::Both).await?;
    assert!(found.wrong_rows > 0, "nothing was left to fill: {found}");
    while client.query_one(UNFILLED, &[]).await?.get::<_, i64>(0) > 0 {
        client.batch_execute(BACKFILL).await?;
    }
    app.expect_filled();
    a_while().await;
    let found = app.check(&client, Shape::Both).await?;
    assert!(found.is_clean(), "{found}");
    app.retire_old_version().await;
    client.batch_execute(CONTRACT).await?;
    app.mark("after");
    a_while().await;
    let report = app.stop().await;
    assert!(report.is_clean(), "{report}");
    let found = report.oracle.check(&client, Shape::New).await?;
    assert!(found.is_clean(), "{found}");
    for name in ["before", "during", "after"] {
        let window = report.window(name).expect("marked");
        assert!(window.total().count() > 50, "{report}");
    }
    let after = report.window("after").expect("marked");
    assert!(after.latencies_of(Version::Old).count() == 0, "{report}");
    Ok(())
}

#[tokio::test]
async fn sees_every_kind_of_damage() -> Outcome {
    let (database, client) = installed(&models::orders(), ROWS).await?;
    let app = App::start(models::orders(), options(database.url()));
    a_while().await;
    let report = app.stop().await;
    client.batch_execute(EXPAND).await?;
    client.batch_execute(BACKFILL).await?;
    let oracle = &report.oracle;
    assert!(oracle.check(&client, Shape::Both).await?.is_clean());

    // Seed rows below nine belong to probes: no client has written them.
    let damage = [
        ("DELETE FROM orders WHERE id = 3", (1, 0, 0)),
        (
            "INSERT INTO orders (customer, amount) VALUES ('x', 1)",
            (0, 1, 0),
        ),
        (
            "ALTER TABLE orders DISABLE TRIGGER in_step; UPDATE orders SET amount_exact = '1.0' || amount WHERE id = 3",
            (0, 0, 1),
        ),
        (
            "UPDATE orders SET amount_exact = amount_exact || '.0' WHERE id IN (3, 4)",
            (0, 0, 2),
        ),
        (
            "ALTER TABLE orders DISABLE TRIGGER in_step; UPDATE orders SET customer_normalized = NULL WHERE id = 5",
            (0, 0, 1),
        ),
        (
            "UPDATE orders SET revision = revision - 1 WHERE revision = (SELECT max(revision) FROM orders)",
            (0, 0, 1),
        ),
    ];
    for (statement, expected) in damage {
        let statement = statement
            .replace("'1.0' || amount", "('1' || amount)::numeric")
            .replace("amount_exact || '.0'", "(amount_exact || '.0')::numeric");
        client.batch_execute("BEGIN").await?;
        client.batch_execute(&statement).await?;
        let found = oracle.check(&client, Shape::Both).await?;
        client.batch_execute("ROLLBACK").await?;
        assert_eq!(
            (found.lost, found.ghosts, found.wrong_rows),
            expected,
            "{statement}: {found}"
        );
        assert!(!found.is_clean());
    }
    Ok(())
}

#[tokio::test]
async fn a_trigger_that_loses_writes_is_caught() -> Outcome {
    let (database, client) = installed(&models::orders(), ROWS).await?;
    // Forgets updates of old columns.
    client
        .batch_execute(&EXPAND.replace("NEW.amount IS DISTINCT FROM OLD.amount THEN", "false THEN"))
        .await?;
    client.batch_execute(BACKFILL).await?;
    let app = App::start(models::orders(), options(database.url()));
    app.expect_filled();
    app.join_new_version();
    until(|| app.live().findings > 0).await;
    let report = app.stop().await;
    assert!(
        report.live.findings > 0,
        "the new version read nothing stale: {report}"
    );
    assert!(report.oracle.check(&client, Shape::Both).await?.wrong_rows > 0);
    assert!(report.oracle.check(&client, Shape::Old).await?.is_clean());
    Ok(())
}

#[tokio::test]
async fn errors_and_stalls_are_reported() -> Outcome {
    let (database, client) = installed(&models::orders(), ROWS).await?;
    let mut options = options(database.url());
    options.pace = Pace::Open {
        per_client_per_second: 50.0,
    };
    let app = App::start(models::orders(), options);
    a_while().await;
    client
        .batch_execute("BEGIN; LOCK orders; SELECT pg_sleep(0.5); COMMIT")
        .await?;
    client
        .batch_execute("ALTER TABLE orders ADD CHECK (amount < 0) NOT VALID")
        .await?;
    a_while().await;
    let report = app.stop().await;
    assert!(
        report
            .errors
            .iter()
            .any(|error| error.sqlstate == "23514" && error.count > 0),
        "{report}"
    );
    assert_eq!(report.live.findings, 0, "{report}");
    assert!(report.worst() >= Duration::from_millis(400), "{report}");
    let found = report.oracle.check(&client, Shape::Old).await?;
    assert!(found.is_clean(), "{found}");
    Ok(())
}

#[tokio::test]
async fn doubtful_commits_are_settled() -> Outcome {
    for model in [models::orders(), models::composite_key()] {
        let (database, client) = installed(&model, ROWS).await?;
        let proxy = TcpProxy::start(database.server()).await?;
        let app = App::start(model, options(proxy.url(&database.url())));
        for (no, fragment) in ["COMMIT", "UPDATE", "DELETE", "COMMIT", "UPDATE", "INSERT"]
            .into_iter()
            .enumerate()
        {
            for moment in [Moment::Before, Moment::After] {
                proxy.cut_at(fragment, moment, no);
                let wanted = proxy.cuts() + 1;
                while proxy.cuts() < wanted {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            proxy.cut();
        }
        a_while().await;
        let report = app.stop().await;
        assert!(report.is_clean(), "{report}");
        assert!(
            report.doubts_resolved >= 4 && report.live.connections_lost >= 12,
            "{report}"
        );
        let found = report.oracle.check(&client, Shape::Old).await?;
        assert!(found.is_clean() && found.in_doubt == 0, "{found}");
    }
    Ok(())
}

#[tokio::test]
async fn survives_crashes_of_the_server() -> Outcome {
    let server = Server::start(ServerSpec::default()).await?;
    let url = server.url("postgres");
    let model = models::text_key();
    App::install(&model, &connect(&url).await?, ROWS).await?;
    let app = App::start(model, options(url.clone()));
    a_while().await;
    server.stop(StopMode::Immediate).await?;
    server.start_again().await?;
    a_while().await;
    server.kill_postmaster().await?;
    server.start_again().await?;
    a_while().await;
    let report = app.stop().await;
    assert!(report.is_clean(), "{report}");
    assert!(report.live.connections_lost >= 3, "{report}");
    let found = report
        .oracle
        .check(&connect(&url).await?, Shape::Old)
        .await?;
    assert!(found.is_clean() && found.in_doubt == 0, "{found}");
    Ok(())
}

#[tokio::test]
async fn works_under_every_isolation_level_and_as_a_poor_role() -> Outcome {
    let (database, client) = installed(&models::uuid_key(), ROWS).await?;
    client
        .batch_execute(
            "CREATE ROLE poor_app LOGIN; GRANT SELECT, INSERT, UPDATE, DELETE ON orders_uuid TO poor_app",
        )
        .await?;
    for level in ["read committed", "repeatable read", "serializable"] {
        client.batch_execute("TRUNCATE orders_uuid").await?;
        client
            .batch_execute(&models::uuid_key().seed_sql(ROWS))
            .await?;
        let mut options = options(database.url_as("poor_app"));
        options.isolation = Some(level.into());
        let app = App::start(models::uuid_key(), options);
        a_while().await;
        let report = app.stop().await;
        // Serializable transactions may conflict on pages although they share no row.
        assert!(
            report.errors.iter().all(|error| error.sqlstate == "40001"),
            "{level} {report}"
        );
        assert_eq!(report.live.findings, 0, "{level} {report}");
        let found = report.oracle.check(&client, Shape::Old).await?;
        assert!(found.is_clean(), "{level} {found}");
    }
    Ok(())
}
