//! Behind PgBouncer in transaction mode: everything but what needs a backend
//! of its own, and that by the direct address.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::Signal;
use pontoon_sandbox::app::{App, models};
use pontoon_sandbox::{Pooler, Server, ServerSpec};
use pontoon_tests::{Pontoon, artifacts};
use tokio_postgres::Client;

use crate::clients::Clients;
use crate::scene::{journey, plan, run, text, traffic, wait_until};

const ROWS: u64 = 3_000;

/// A server and a pooler in front of it.
struct Pooled {
    server: Server,
    pooler: Pooler,
    direct: String,
    url: String,
    client: Client,
}

/// `None` where PgBouncer is missing and not required, which is said.
async fn pooled(version: u32, connections: u32) -> Option<Pooled> {
    if !Pooler::is_here().unwrap_or_else(|error| panic!("{error}")) {
        eprintln!(
            "LEFT OUT: PgBouncer is missing; PONTOON_REQUIRE_PGBOUNCER=1 makes this a failure"
        );
        return None;
    }
    let server = Server::start(ServerSpec::version(version))
        .await
        .expect("a server");
    let direct = server.create_database("shop").await.expect("a database");
    let client = pontoon_sandbox::connect(&direct)
        .await
        .expect("a connection");
    let pooler = Pooler::start(&server, connections).await.expect("a pooler");
    let url = pooler.url("shop");
    Some(Pooled {
        server,
        pooler,
        direct,
        url,
        client,
    })
}

/// A plan whose steps are all short goes through the pooler from start to
/// end, under traffic that is checked row by row.
#[tokio::test(flavor = "multi_thread")]
async fn a_whole_plan_without_the_direct_address() {
    for version in crate::versions() {
        let Some(pooled) = pooled(version, 6).await else {
            return;
        };
        let model = models::orders();
        App::install(&model, &pooled.client, ROWS)
            .await
            .expect("the model");
        run(
            &pooled.client,
            "ALTER TABLE orders ALTER amount DROP NOT NULL",
        )
        .await;
        let plan = model
            .plan("pooled", 1)
            .replace("nullable: false", "nullable: true");
        let pontoon = Pontoon::new(pooled.url.clone());
        let traffic = traffic(pooled.direct.clone(), ROWS);
        journey(&model, &plan, &pontoon, &pooled.client, traffic).await;
        // The pooler's backends are everybody's: nothing of ours stays in them.
        let kept = "SELECT count(*) FROM pg_proc WHERE proname LIKE 'pontoon\\_block%'";
        assert_eq!(text(&pooled.client, kept).await, "0");
    }
}

/// Steps that need the server itself are refused before anything changes,
/// with what to type; with the direct address, in each of its forms, the same
/// plan runs to its end under traffic, and back.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_pooled_goes_around() {
    for version in crate::versions() {
        let Some(pooled) = pooled(version, 6).await else {
            return;
        };
        let model = models::orders();
        App::install(&model, &pooled.client, ROWS)
            .await
            .expect("the model");
        let text_of_plan = format!(
            "{}  - add_index: {{table: orders, name: orders_by_customer, columns: [customer]}}\n",
            model.plan("around", 1)
        );
        let pontoon = Pontoon::new(pooled.url.clone());
        let path = pontoon.plan(&text_of_plan);
        let ended = pontoon.call(&["run", &path]).await.expect(4);
        for wanted in [
            "pooler",
            "orders_by_customer",
            "--direct-url",
            "direct_url_env",
        ] {
            assert!(ended.stderr.contains(wanted), "{wanted}: {}", ended.stderr);
        }
        let nothing = "SELECT count(*) FROM pg_namespace WHERE nspname = 'pontoon'";
        assert_eq!(text(&pooled.client, nothing).await, "0");

        // An address that is no way around.
        let ended = pontoon
            .call(&["run", &path, "--direct-url", &pooled.url])
            .await
            .expect(4);
        assert!(ended.stderr.contains("too"), "{}", ended.stderr);
        assert!(!ended.stderr.contains(pooled.server.password()));
        let elsewhere = pooled.server.url("postgres");
        let ended = pontoon
            .call(&["run", &path, "--direct-url", &elsewhere])
            .await
            .expect(4);
        assert!(
            ended.stderr.contains("another database"),
            "{}",
            ended.stderr
        );
        assert_eq!(text(&pooled.client, nothing).await, "0");

        // As an environment of pontoon.yaml, up to the gate, and back.
        pontoon.file(
            "pontoon.yaml",
            "environments: {shop: {url_env: SHOP_URL, direct_url_env: SHOP_DIRECT_URL}}",
        );
        let variables = [
            ("SHOP_URL", pooled.url.as_str()),
            ("SHOP_DIRECT_URL", pooled.direct.as_str()),
            ("DATABASE_URL", ""),
        ];
        pontoon
            .call_with(&["run", &path, "--env", "shop"], &variables)
            .await
            .expect(5);
        // The way back of an index needs the server itself as well.
        pontoon.call(&["rollback", "--yes"]).await.expect(4);
        pontoon
            .call_with(&["rollback", "--yes", "--env", "shop"], &variables)
            .await
            .expect(0);
        assert_eq!(artifacts(&pooled.client).await, Vec::<String>::new());

        // Beside DATABASE_URL, to the end, under traffic.
        let pontoon = Pontoon::new(pooled.url.clone()).env("DIRECT_URL", &pooled.direct);
        let traffic = traffic(pooled.direct.clone(), ROWS);
        journey(&model, &text_of_plan, &pontoon, &pooled.client, traffic).await;
        let valid =
            "SELECT indisvalid FROM pg_index WHERE indexrelid = 'orders_by_customer'::regclass";
        assert_eq!(text(&pooled.client, valid).await, "t");
    }
}

/// An application on the same few connections as Pontoon: what goes wrong in
/// its statements.
struct Neighbours {
    statements: Arc<AtomicU64>,
    clients: Clients<Vec<String>>,
}

impl Neighbours {
    fn start(url: &str) -> Self {
        let statements = Arc::new(AtomicU64::new(0));
        let mut clients = Clients::new();
        for number in 0..4_u64 {
            let (url, statements) = (url.to_owned(), statements.clone());
            clients.spawn(|stop| async move {
                let mut errors = Vec::new();
                let client = pontoon_sandbox::connect(&url).await.expect("a connection");
                let mut turn = number;
                while !stop.is_told() {
                    turn += 1;
                    // Short and long ones, and locks that our steps wait for.
                    let sql = match turn % 4 {
                        0 => "SELECT pg_sleep(0.15)".to_owned(),
                        1 => format!(
                            "BEGIN; UPDATE items SET note = 'n' WHERE id = {}; SELECT pg_sleep(0.1); COMMIT",
                            turn % 900
                        ),
                        2 => "SELECT pg_sleep(0.005)".to_owned(),
                        _ => "SELECT count(*) FROM items".to_owned(),
                    };
                    if let Err(error) = client.batch_execute(&sql).await {
                        errors.push(format!("{error:?}"));
                    }
                    statements.fetch_add(1, Ordering::Relaxed);
                }
                errors
            });
        }
        Self {
            statements,
            clients,
        }
    }

    /// Ends them; the errors that they met.
    async fn end(self) -> (u64, Vec<String>) {
        let errors = self.clients.stop("a neighbour").await.concat();
        (self.statements.load(Ordering::Relaxed), errors)
    }
}

/// The watchdog, the drain of a takeover and the guard's timers, on
/// connections that an application shares: none of its statements is
/// cancelled, not when steps run out of time, not when Pontoon is killed and
/// another one takes over from a transaction that still runs.
#[tokio::test(flavor = "multi_thread")]
async fn pooler_watchdog() {
    for version in crate::versions() {
        let Some(pooled) = pooled(version, 3).await else {
            return;
        };
        run(
            &pooled.client,
            "CREATE TABLE items (id integer PRIMARY KEY, amount integer, note text);
             INSERT INTO items SELECT g, g FROM generate_series(1, 3000) g; ANALYZE items;
             CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.03); RETURN NULL; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON items FOR EACH STATEMENT
                 WHEN (current_setting('application_name') LIKE 'pontoon/%') EXECUTE FUNCTION slow()",
        )
        .await;
        let neighbours = Neighbours::start(&pooled.url);
        let pontoon = Pontoon::new(pooled.url.clone());
        let path = pontoon.plan(&plan(
            "watched",
            "limits: {max_lock_duration: 150ms, max_batch_rows: 100}\nthrottle: {}\nacknowledge: [\"trigger:slow\"]",
            "- change_type: {table: items, column: amount, to: numeric, as: exact}",
        ));
        for _ in 0..2 {
            let running = pontoon.spawn(&["run", &path]);
            let committed = || async {
                text(
                    &pooled.client,
                    "SELECT CASE WHEN to_regclass('pontoon.run') IS NULL THEN 0 ELSE
                     (xpath('//n/text()', query_to_xml('SELECT coalesce(sum(rows_affected), 0) AS n FROM pontoon.run', false, true, '')))[1]::text::int END",
                )
                .await
                .parse::<u64>()
                .expect("a number")
            };
            let before = committed().await;
            wait_until("batches commit", async || committed().await >= before + 200).await;
            running.signal(Signal::SIGKILL);
            drop(running.wait().await);
        }
        pontoon.approved(&path).await.expect(0);
        let (statements, errors) = neighbours.end().await;
        assert!(statements > 50, "{statements}");
        assert_eq!(errors, Vec::<String>::new(), "of {statements} statements");
        let rows = "SELECT count(exact) FROM items WHERE exact = id";
        assert_eq!(text(&pooled.client, rows).await, "3000");
        assert_eq!(artifacts(&pooled.client).await, Vec::<String>::new());
        drop(pooled.pooler);
    }
}
