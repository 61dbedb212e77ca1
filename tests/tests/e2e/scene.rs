//! A database with some tables and Pontoon before it, and the way of a run
//! from its start to its end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use pontoon_sandbox::TestDatabase;
use pontoon_sandbox::app::{App, AppOptions, Model, Pace, Shape};
use pontoon_sandbox::dump::{CatalogDump, DumpOptions, pg_dump};
use pontoon_tests::{Finished, Pontoon, Running, artifacts, wait_for_silence};
use serde_json::Value;
use tokio_postgres::{Client, SimpleQueryMessage};

use crate::clients::Clients;

/// How long a test waits for something to become true.
const PATIENCE: Duration = Duration::from_secs(60);

/// Empties the table `items` and fills it again while our triggers are off, as
/// some tools for copying tables do: nothing heals these rows.
pub(crate) const REFILL: &str = "
    CREATE TEMP TABLE kept AS SELECT id, amount, note FROM items;
    TRUNCATE items;
    DO $$ DECLARE found name; BEGIN
        FOR found IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass AND NOT tgisinternal LOOP
            EXECUTE format('ALTER TABLE items DISABLE TRIGGER %I', found);
        END LOOP;
        INSERT INTO items (id, amount, note) SELECT id, amount, note FROM kept;
        FOR found IN SELECT tgname FROM pg_trigger WHERE tgrelid = 'items'::regclass AND NOT tgisinternal LOOP
            EXECUTE format('ALTER TABLE items ENABLE ALWAYS TRIGGER %I', found);
        END LOOP;
    END $$";

/// A fresh database on the shared server, a superuser's session and Pontoon.
pub(crate) struct Scene {
    pub(crate) database: TestDatabase,
    pub(crate) client: Client,
    pub(crate) pontoon: Pontoon,
}

impl Scene {
    /// Creates the database and runs `sql` in it.
    pub(crate) async fn new(version: u32, sql: &str) -> Self {
        let database = TestDatabase::create(version).await.expect("a database");
        let scene = Self::of(database).await;
        scene.sql(sql).await;
        scene
    }

    /// The same for statements that many tests begin with: they run once.
    pub(crate) async fn prepared(version: u32, sql: &str) -> Self {
        let database = TestDatabase::prepared(version, sql).await;
        Self::of(database.expect("a database")).await
    }

    async fn of(database: TestDatabase) -> Self {
        let client = database.client().await.expect("a connection");
        let pontoon = Pontoon::new(database.url());
        Self {
            database,
            client,
            pontoon,
        }
    }

    /// Runs statements as the superuser.
    pub(crate) async fn sql(&self, sql: &str) {
        run(&self.client, sql).await;
    }

    /// The first column of every row, joined by commas; NULL reads `∅`.
    pub(crate) async fn text(&self, sql: &str) -> String {
        text(&self.client, sql).await
    }

    /// The SQLSTATE of a statement of this role; `00000` when it does not fail.
    pub(crate) async fn code_as(&self, role: &str, sql: &str) -> String {
        self.sql(&format!("SET ROLE {role}")).await;
        let code = code(&self.client, sql).await;
        self.sql("RESET ROLE").await;
        code
    }

    /// Runs the plan to its end, approving the gate, and demands success.
    pub(crate) async fn completed(&self, plan: &str) -> Finished {
        let path = self.pontoon.plan(plan);
        self.pontoon.approved(&path).await.expect(0)
    }

    /// Nothing of ours is left outside the schema `pontoon`.
    pub(crate) async fn clean(&self) {
        assert_eq!(artifacts(&self.client).await, Vec::<String>::new());
    }

    /// The status record of the newest run.
    pub(crate) async fn status(&self) -> Value {
        let status = self.pontoon.call(&["status", "--output", "json"]).await;
        status.expect(0).json()["runs"][0].clone()
    }

    /// What stands in the catalog.
    pub(crate) async fn catalog(&self) -> CatalogDump {
        CatalogDump::take(&self.client, &DumpOptions::default())
            .await
            .expect("a dump")
    }

    /// The same without the triggers of foreign keys, which the server names by
    /// object ids.
    pub(crate) async fn catalog_but_key_triggers(&self) -> CatalogDump {
        let mut dump = self.catalog().await;
        dump.retain(|line| !line.contains("ConstraintTrigger_"));
        dump
    }

    /// The same as `pg_dump` tells it, where there is one for the server.
    pub(crate) async fn dumped(&self) -> Option<String> {
        pg_dump(&self.database.url(), &DumpOptions::default())
            .await
            .expect("pg_dump")
    }

    /// Approves contract, and dies when everything is built and nothing dropped:
    /// from as far as a rollback can be.
    pub(crate) async fn killed_before_the_last_step(&self, path: &str) {
        let status = self.status().await;
        let steps = status["steps"].as_array().expect("the steps").len();
        let ended = self.killed_at(path, &format!("step.{steps}.begin")).await;
        assert_eq!(ended.code, None, "{}\n{}", ended.stdout, ended.stderr);
    }

    /// Runs to the end, dying at the end of every `every`th step: how often.
    pub(crate) async fn killed_at_steps(&self, path: &str, every: u32) -> u32 {
        let mut no = 1;
        let mut kills = 0;
        loop {
            let ended = self.killed_at(path, &format!("step.{no}.end")).await;
            match ended.code {
                None => (no, kills) = (no + every, kills + 1),
                Some(0) => return kills,
                Some(code) => {
                    panic!("{code} after step {no}\n{}\n{}", ended.stdout, ended.stderr)
                }
            }
        }
    }

    /// Runs with contract approved, and dies at this place if it comes there.
    pub(crate) async fn killed_at(&self, path: &str, place: &str) -> Finished {
        let run = ["run", path, "--approve", "contract"];
        let failpoint = format!("kill:{place}");
        let (ended, _) = self
            .pontoon
            .spawn_with(&run, &[("PONTOON_FAILPOINT", &failpoint)])
            .wait()
            .await;
        wait_for_silence(&self.client).await;
        ended
    }

    /// Removes the database, so that its files do not pile up.
    pub(crate) async fn end(self) {
        drop(self.client);
        self.database.drop().await.expect("the database goes");
    }
}

/// Runs statements.
pub(crate) async fn run(client: &Client, sql: &str) {
    client
        .batch_execute(sql)
        .await
        .unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
}

/// The first column of every row, joined by commas; NULL reads `∅`.
pub(crate) async fn text(client: &Client, sql: &str) -> String {
    let messages = client
        .simple_query(sql)
        .await
        .unwrap_or_else(|error| panic!("{error:?}\n{sql}"));
    let values: Vec<&str> = messages
        .iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or("∅")),
            _ => None,
        })
        .collect();
    values.join(",")
}

/// The SQLSTATE of a statement that fails; `00000` when it does not.
pub(crate) async fn code(client: &Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "00000".to_owned(),
        Err(error) => error
            .code()
            .unwrap_or_else(|| panic!("no answer from the server: {error:?}"))
            .code()
            .to_owned(),
    }
}

/// A plan of these operations (list items that begin at the line's start) and
/// these further keys. Tests share a server, and to each of them the others are
/// an application at work: a plan that says nothing of its backfill does not
/// yield, so that tests with many small batches need not wait.
pub(crate) fn plan(name: &str, keys: &str, operations: &str) -> String {
    let pace = match keys.contains("backfill:") {
        true => "",
        false => "backfill: {nice_ratio: 0}\n",
    };
    let operations: String = operations
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect();
    format!("plan: {name}\nversion: 1\n{pace}{keys}\noperations:\n{operations}")
}

/// Waits until the process lies still after SIGSTOP.
pub(crate) async fn stopped(running: &mut Running) {
    let path = format!("/proc/{}/stat", running.pid());
    wait_until("the process stops", async || {
        let stat = std::fs::read_to_string(&path).unwrap_or_default();
        let state = stat
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().next());
        assert_ne!(state, Some("Z"), "the process has ended before it stopped");
        state == Some("T")
    })
    .await;
}

/// Lets a stopped process go on.
pub(crate) fn go_on(running: &Running) {
    running.signal(Signal::SIGCONT);
}

/// Waits until something becomes true.
pub(crate) async fn wait_until(what: &str, is_true: impl AsyncFn() -> bool) {
    let begun = Instant::now();
    while !is_true().await {
        assert!(begun.elapsed() < PATIENCE, "in vain: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Traffic that leaves the machine some room.
pub(crate) fn traffic(url: String, rows: u64) -> AppOptions {
    AppOptions {
        old_clients: 2,
        new_clients: 2,
        pace: Pace::Closed {
            think: Duration::from_millis(2),
        },
        ..AppOptions::new(url, rows)
    }
}

/// The whole way of a plan under the traffic of both versions: run, gate,
/// approval, end. Every row is right at the gate and at the end, and nothing
/// of ours is left.
pub(crate) async fn journey(
    model: &Model,
    plan: &str,
    pontoon: &Pontoon,
    client: &Client,
    traffic: AppOptions,
) {
    let name = model.name;
    let new_clients = traffic.new_clients;
    let app = App::start(model.clone(), traffic);
    let path = pontoon.plan(plan);
    pontoon.call(&["run", &path]).await.expect(5);
    app.expect_filled();
    app.join_new_version();
    tokio::time::sleep(Duration::from_millis(200)).await;
    let rows = app.check(client, Shape::Both).await.expect("the rows");
    assert!(rows.is_clean(), "{name}, at the gate: {rows}");
    app.retire_old_version().await;
    pontoon.call(&["approve", "contract"]).await.expect(0);
    pontoon.call(&["run", &path]).await.expect(0);
    // The new version works on after the old shape is gone.
    let writes = app.live().writes;
    if new_clients > 0 {
        wait_until("the new version writes", async || {
            app.live().writes > writes
        })
        .await;
    }
    let report = app.stop().await;
    assert!(report.is_clean(), "{name}: {report}");
    let rows = report
        .oracle
        .check(client, Shape::New)
        .await
        .expect("the rows");
    assert!(rows.is_clean(), "{name}, at the end: {rows}");
    assert_eq!(artifacts(client).await, Vec::<String>::new(), "{name}");
}

/// Sessions that write all the time.
pub(crate) struct Writers {
    written: Arc<AtomicU64>,
    all: Clients<()>,
}

impl Writers {
    /// Starts so many. Each turn is a number of its own, from which `write`
    /// makes statements; an error is none where `allowed` says so.
    pub(crate) async fn start(
        scene: &Scene,
        count: u64,
        write: fn(u64) -> String,
        allowed: fn(u64, &str) -> bool,
    ) -> Self {
        let mut writers = Self {
            written: Arc::default(),
            all: Clients::new(),
        };
        for no in 0..count {
            let client = scene.database.client().await.expect("a client");
            let written = writers.written.clone();
            writers.all.spawn(|stop| async move {
                let mut turn = no;
                while !stop.is_told() {
                    turn += count;
                    let text = write(turn);
                    match client.batch_execute(&text).await {
                        Ok(()) => {
                            written.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) => {
                            let code = error.code().map_or("", |code| code.code());
                            assert!(allowed(turn, code), "{text}: {error:?}");
                        }
                    }
                    tokio::time::sleep(Duration::from_millis(2)).await;
                }
            });
        }
        writers
    }

    /// Waits for more writes.
    pub(crate) async fn go_on(&self) {
        let before = self.written.load(Ordering::Relaxed);
        let more = async || self.written.load(Ordering::Relaxed) > before + 20;
        wait_until("writes go on", more).await;
    }

    /// Ends them; none may have failed.
    pub(crate) async fn stop(self) {
        self.all.stop("no writer failed").await;
    }
}
