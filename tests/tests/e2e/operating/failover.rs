//! The server is restarted, or a standby takes its place, in the middle of
//! every phase: the run goes on by itself from what the server that answers
//! knows, also when that has lost the last seconds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pontoon_sandbox::app::{App, Model, Running as Application, Shape, models};
use pontoon_sandbox::tcp_proxy::TcpProxy;
use pontoon_sandbox::{Server, ServerSpec, StopMode};
use pontoon_tests::{Pontoon, Running, artifacts};
use serde_json::Value;
use tokio_postgres::Client;

use crate::scene::{go_on, run, stopped, text, traffic, wait_until};

const ROWS: u64 = 4_000;

/// A primary, a standby of it, an address that leads to the one or the other,
/// and an application there.
struct Fleet {
    primary: Server,
    standby: Server,
    /// Moves with a failover, as a virtual address does.
    address: TcpProxy,
    app: Application,
    model: Model,
    pontoon: Pontoon,
    path: String,
}

impl Fleet {
    async fn start(version: u32) -> Self {
        let primary = Server::start(ServerSpec::version(version))
            .await
            .expect("a primary");
        let url = primary.create_database("shop").await.expect("a database");
        let client = pontoon_sandbox::connect(&url).await.expect("a connection");
        let model = models::orders();
        App::install(&model, &client, ROWS)
            .await
            .expect("the model");
        let standby = primary.standby("second").await.expect("a standby");
        standby.catch_up(&primary).await.expect("it follows");
        let address = TcpProxy::start(&primary).await.expect("a proxy");
        let app = App::start(model.clone(), traffic(address.url(&url), ROWS));
        let hosts = format!("127.0.0.1:{},127.0.0.1:{}", primary.port(), standby.port());
        let pontoon = Pontoon::new(format!(
            "postgresql://postgres:{}@{hosts}/shop",
            primary.password()
        ));
        let path = pontoon.plan(&format!(
            "{}limits: {{max_batch_rows: 200}}\nbackfill: {{target_batch_time: 50ms, workers: 2, nice_ratio: 4}}\nthrottle: {{replication_lag: 10m}}\nacknowledge: [standby]\n",
            model.plan("moved", 1)
        ));
        Self {
            primary,
            standby,
            address,
            app,
            model,
            pontoon,
            path,
        }
    }

    /// The first step of each phase, as `(phase, step)`.
    async fn steps(&self) -> Vec<(String, u64)> {
        let preview = self
            .pontoon
            .call(&["preview", &self.path, "--output", "json"])
            .await
            .expect(0)
            .json();
        let phases = preview["phases"].as_array().expect("phases").clone();
        phases
            .iter()
            .map(|phase| {
                let name = phase["phase"].as_str().expect("a name").to_owned();
                (name, phase["steps"][0]["no"].as_u64().expect("a number"))
            })
            .collect()
    }

    /// Starts the run and waits until it stands still at this failpoint.
    async fn stands_at(&self, place: &str, more: &[&str]) -> Running {
        let mut arguments = vec!["run", &self.path];
        arguments.extend(more);
        let failpoint = format!("stop:{place}");
        let mut running = self
            .pontoon
            .spawn_with(&arguments, &[("PONTOON_FAILPOINT", &failpoint)]);
        stopped(&mut running).await;
        running
    }

    /// The standby hears no more of the primary. It has all that the oracle
    /// may go back to, however far behind a busy machine has left it.
    async fn cut_off(&self) {
        self.app.oracle().remember().await;
        self.standby
            .catch_up(&self.primary)
            .await
            .expect("it follows");
        self.standby.cut_stream().await.expect("cut off");
    }

    /// The standby takes over. `lossy`: it was cut off before the last commits
    /// of the application, which are lost, and perhaps some of ours.
    async fn fail_over(&self, lossy: bool, shape: Shape) -> u64 {
        if lossy {
            self.cut_off().await;
            return self.fail_over_without_the_last_writes(shape).await;
        }
        self.app.pause().await;
        self.standby
            .catch_up(&self.primary)
            .await
            .expect("it follows");
        self.promote().await;
        self.go_on_there();
        0
    }

    /// The same, of a standby that is cut off already.
    async fn fail_over_without_the_last_writes(&self, shape: Shape) -> u64 {
        let writes = self.app.live().writes;
        wait_until("the application writes what will be lost", async || {
            self.app.live().writes >= writes + 50
        })
        .await;
        self.app.pause().await;
        self.promote().await;
        let client = self.client().await;
        let (went_back, report) = self
            .app
            .oracle()
            .after_failover(&client, shape)
            .await
            .expect("the rows");
        assert!(report.is_clean(), "what survived is whole: {report}");
        self.go_on_there();
        went_back
    }

    async fn promote(&self) {
        self.primary
            .stop(StopMode::Immediate)
            .await
            .expect("the primary stops");
        self.standby.promote().await.expect("it is promoted");
    }

    fn go_on_there(&self) {
        self.address.redirect(&self.standby);
        self.address.cut();
        self.app.resume();
    }

    /// The server comes back, as after a crash.
    async fn restart(&self) {
        self.primary
            .stop(StopMode::Immediate)
            .await
            .expect("it stops");
        self.primary.start_again().await.expect("it starts");
    }

    /// A connection to the standby that was promoted.
    async fn client(&self) -> Client {
        self.standby.client("shop").await.expect("a connection")
    }

    /// From the gate to the end, on whatever server is the primary now; every
    /// row is right in between and at the end.
    async fn finish(self, client: Client, code_of_contract: i32) {
        self.app.expect_filled();
        self.app.join_new_version();
        tokio::time::sleep(Duration::from_millis(100)).await;
        let rows = self.app.check(&client, Shape::Both).await.expect("rows");
        assert!(rows.is_clean(), "at the gate: {rows}");
        self.app.retire_old_version().await;
        self.pontoon
            .approved(&self.path)
            .await
            .expect(code_of_contract);
        self.judge(client, Shape::New).await;
    }

    /// Every write was answered, every row is right, and nothing of ours is left.
    async fn judge(self, client: Client, shape: Shape) {
        let report = self.app.stop().await;
        assert!(report.is_clean(), "{report}");
        let rows = report.oracle.check(&client, shape).await.expect("the rows");
        assert!(rows.is_clean(), "{}: {rows}", self.model.name);
        assert_eq!(artifacts(&client).await, Vec::<String>::new());
    }
}

/// It went on by itself, and said so.
async fn goes_on(running: Running, code: i32) {
    let (ended, records) = running.wait().await;
    let ended = ended.expect(code);
    let told = records.iter().any(|record| {
        record["event"] == "warning"
            && record["message"]
                .as_str()
                .is_some_and(|message| message.contains("The database was away for"))
    });
    assert!(told, "nobody was told: {}", ended.stdout);
}

/// Where a process stands before contract, and which columns may be NULL there.
/// The versions share the places out; `PONTOON_FAILOVERS=all` takes all of them
/// for each.
fn places(version: u32, steps: &[(String, u64)]) -> Vec<(String, Shape)> {
    let mut places: Vec<(String, Shape)> = steps
        .iter()
        .filter(|(phase, _)| phase != "contract")
        .map(|(phase, no)| {
            let shape = match phase.as_str() {
                "expand" => Shape::Old,
                "verify" => Shape::Both,
                _ => Shape::Filling,
            };
            (format!("step.{no}.begin"), shape)
        })
        .collect();
    places.push(("batch.end@6".to_owned(), Shape::Filling));
    places.push(("verify.chunk@1".to_owned(), Shape::Both));
    if std::env::var("PONTOON_FAILOVERS").is_ok_and(|value| value == "all") {
        return places;
    }
    let versions = crate::versions();
    let turn = (versions.iter().position(|other| *other == version)).unwrap_or_default();
    places
        .into_iter()
        .skip(turn)
        .step_by(versions.len())
        .collect()
}

/// The standby that takes over has lost the application's last commits, and
/// ours.
#[tokio::test(flavor = "multi_thread")]
async fn to_a_standby_that_lost_the_last_seconds() {
    for version in crate::versions() {
        let mut fleet = Some(Fleet::start(version).await);
        let steps = fleet.as_ref().expect("a fleet").steps().await;
        let mut lost = 0;
        for (place, shape) in places(version, &steps) {
            let fleet = match fleet.take() {
                Some(fleet) => fleet,
                None => Fleet::start(version).await,
            };
            eprintln!("{version}: failover at {place}");
            let running = fleet.stands_at(&place, &[]).await;
            lost += fleet.fail_over(true, shape).await;
            go_on(&running);
            goes_on(running, 5).await;
            let client = fleet.client().await;
            fleet.finish(client, 0).await;
        }
        assert!(lost > 0, "no failover has lost anything");
    }
}

/// At the gate, in contract, and on the way back.
#[tokio::test(flavor = "multi_thread")]
async fn at_the_gate_in_contract_and_back() {
    for version in crate::versions() {
        // At the gate, where nothing is done and only the heartbeat notices.
        let fleet = Fleet::start(version).await;
        let mut running = fleet.pontoon.spawn(&["run", &fleet.path, "--wait-gates"]);
        running.event("gate_reached").await.expect("the gate");
        fleet.fail_over(true, Shape::Both).await;
        fleet.app.expect_filled();
        fleet.app.join_new_version();
        tokio::time::sleep(Duration::from_millis(100)).await;
        fleet.app.retire_old_version().await;
        fleet.pontoon.call(&["approve", "contract"]).await.expect(0);
        goes_on(running, 0).await;
        let client = fleet.client().await;
        fleet.judge(client, Shape::New).await;

        // In contract, after everything before it is done.
        let fleet = Fleet::start(version).await;
        let contract = fleet.steps().await.pop().expect("contract").1;
        fleet.pontoon.call(&["run", &fleet.path]).await.expect(5);
        fleet.app.expect_filled();
        fleet.app.join_new_version();
        tokio::time::sleep(Duration::from_millis(100)).await;
        fleet.app.retire_old_version().await;
        let place = format!("step.{contract}.begin");
        let running = fleet.stands_at(&place, &["--approve", "contract"]).await;
        fleet.fail_over(true, Shape::Both).await;
        go_on(&running);
        goes_on(running, 0).await;
        let client = fleet.client().await;
        fleet.judge(client, Shape::New).await;

        // On the way back.
        let fleet = Fleet::start(version).await;
        fleet.pontoon.call(&["run", &fleet.path]).await.expect(5);
        let mut running = fleet.pontoon.spawn_with(
            &["rollback", "--yes"],
            &[("PONTOON_FAILPOINT", "stop:lease.taken")],
        );
        stopped(&mut running).await;
        fleet.fail_over(false, Shape::Old).await;
        go_on(&running);
        goes_on(running, 0).await;
        let client = fleet.client().await;
        fleet.judge(client, Shape::Old).await;
    }
}

/// The server is restarted once in each phase of one run.
#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_every_phase() {
    for version in crate::versions() {
        let fleet = Fleet::start(version).await;
        let steps = fleet.steps().await;
        for (place, _) in places(version, &steps) {
            eprintln!("{version}: restart at {place}");
            let running = fleet.stands_at(&place, &[]).await;
            fleet.app.pause().await;
            fleet.restart().await;
            fleet.app.resume();
            go_on(&running);
            goes_on(running, 5).await;
            fleet.pontoon.call(&["rollback", "--yes"]).await.expect(0);
        }
        fleet.pontoon.call(&["run", &fleet.path]).await.expect(5);
        fleet.app.expect_filled();
        fleet.app.join_new_version();
        tokio::time::sleep(Duration::from_millis(100)).await;
        fleet.app.retire_old_version().await;
        let contract = steps.last().expect("contract").1;
        let place = format!("step.{contract}.begin");
        let running = fleet.stands_at(&place, &["--approve", "contract"]).await;
        fleet.restart().await;
        go_on(&running);
        goes_on(running, 0).await;
        let client = fleet.primary.client("shop").await.expect("a connection");
        fleet.judge(client, Shape::New).await;
    }
}

/// The run itself was started in the seconds that are lost: that is said, and
/// the plan starts anew.
#[tokio::test(flavor = "multi_thread")]
async fn the_run_itself_is_lost() {
    let fleet = Fleet::start(crate::versions()[0]).await;
    fleet.cut_off().await;
    let running = fleet.stands_at("batch.end@2", &[]).await;
    fleet.fail_over_without_the_last_writes(Shape::Old).await;
    go_on(&running);
    let (ended, _) = running.wait().await;
    let ended = ended.expect(10);
    assert!(
        ended.stdout.contains("does not know run"),
        "{}",
        ended.stdout
    );
    fleet.pontoon.call(&["run", &fleet.path]).await.expect(5);
    let client = fleet.client().await;
    fleet.finish(client, 0).await;
}

/// A database that stays away ends the sitting with 10 and a reason, when its
/// patience is spent; the next `run` goes on.
#[tokio::test(flavor = "multi_thread")]
async fn patience_is_spent() {
    let fleet = Fleet::start(crate::versions()[0]).await;
    let running = fleet
        .stands_at("batch.end@3", &["--reconnect-for", "3s"])
        .await;
    fleet.app.pause().await;
    fleet
        .primary
        .stop(StopMode::Immediate)
        .await
        .expect("it stops");
    go_on(&running);
    let (ended, _) = running.wait().await;
    let exit: Value = ended
        .stdout
        .lines()
        .last()
        .and_then(|line| serde_json::from_str(line).ok())
        .expect("a last record");
    let ended = ended.expect(10);
    assert!(exit.to_string().contains("tried"), "{exit}");
    assert!(!ended.stdout.contains(fleet.primary.password()));
    fleet.primary.start_again().await.expect("it starts");
    fleet.app.resume();
    fleet.pontoon.call(&["run", &fleet.path]).await.expect(5);
    let client = fleet.primary.client("shop").await.expect("a connection");
    fleet.finish(client, 0).await;
}

/// The old primary is still up after the failover, and our connections to it
/// work: the run notices, leaves it, and finishes on the new one. Whoever is
/// only led to the old one later is refused by whoever knows both.
#[tokio::test(flavor = "multi_thread")]
async fn a_zombie_is_left_alone() {
    for version in crate::versions() {
        let fleet = Fleet::start(version).await;
        let zombie = fleet.primary.client("shop").await.expect("a connection");
        run(
            &zombie,
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); RETURN NULL; END $$;
             CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH STATEMENT
                 WHEN (current_setting('application_name') LIKE 'pontoon/%') EXECUTE FUNCTION slow()",
        )
        .await;
        let plan = std::fs::read_to_string(&fleet.path).expect("the plan");
        let plan = plan
            .replace("[standby]", "[standby, \"trigger:slow\"]")
            .replace("max_batch_rows: 200", "max_batch_rows: 40");
        let path = fleet.pontoon.plan(&plan);
        let mut running = fleet.pontoon.spawn(&["run", &path]);
        running
            .until(|record| record["event"] == "backfill_progress")
            .await
            .expect("the backfill begins");
        fleet.app.pause().await;
        fleet
            .standby
            .catch_up(&fleet.primary)
            .await
            .expect("it follows");
        fleet.standby.promote().await.expect("it is promoted");
        fleet.address.redirect(&fleet.standby);
        fleet.address.cut();
        fleet.app.resume();
        let promoted = Instant::now();
        let lease = running
            .event("lease_taken")
            .await
            .expect("a new term is taken");
        assert!(
            promoted.elapsed() < Duration::from_secs(40),
            "it worked on for the old primary: {lease}"
        );
        let client = fleet.client().await;
        run(&client, "DROP TRIGGER slow ON orders").await;
        let filled = "SELECT count(amount_exact) FROM orders";
        let at_the_zombie = text(&zombie, filled).await;
        goes_on(running, 5).await;
        assert_eq!(text(&zombie, filled).await, at_the_zombie);
        assert_eq!(
            text(
                &client,
                "SELECT count(*) FROM orders WHERE amount_exact IS NULL"
            )
            .await,
            "0"
        );
        // Whoever is told of both finds the newer one, in whatever order.
        let hosts = format!(
            "127.0.0.1:{},127.0.0.1:{}",
            fleet.primary.port(),
            fleet.standby.port()
        );
        let both = format!(
            "postgresql://postgres:{}@{hosts}/shop",
            fleet.primary.password()
        );
        let status = fleet
            .pontoon
            .call(&["status", "--output", "json", "--url", &both])
            .await
            .expect(0)
            .json();
        assert_eq!(status["runs"][0]["state"], "waiting", "{status}");
        drop(zombie);
        fleet.finish(client, 0).await;
    }
}

/// A takeover that the failover has lost: the next one takes the same epoch
/// number, and the holder of the first is fenced all the same.
#[tokio::test(flavor = "multi_thread")]
async fn epoch_reuse() {
    for version in crate::versions() {
        let fleet = Arc::new(Fleet::start(version).await);
        // The first holder stands still, and is taken for dead.
        let first = fleet.stands_at("batch.end@3", &[]).await;
        fleet.app.pause().await;
        fleet
            .standby
            .catch_up(&fleet.primary)
            .await
            .expect("it follows");
        fleet.standby.cut_stream().await.expect("cut off");
        let expire = "UPDATE pontoon.lease SET expires_at = clock_timestamp() - interval '1 s'";
        let old = fleet.primary.client("shop").await.expect("a connection");
        run(&old, expire).await;
        // The second takes over on the old primary, and stands still as well.
        let second = fleet.stands_at("batch.end@2", &[]).await;
        let epoch = "SELECT epoch FROM pontoon.lease";
        let of_the_second = text(&old, epoch).await;
        drop(old);
        fleet
            .primary
            .stop(StopMode::Immediate)
            .await
            .expect("it stops");
        fleet.standby.promote().await.expect("it is promoted");
        // The third takes over on the new one, and gets the same number.
        let client = fleet.client().await;
        run(&client, expire).await;
        let third = fleet.stands_at("batch.end@2", &[]).await;
        assert_eq!(text(&client, epoch).await, of_the_second);
        let filled = "SELECT count(amount_exact) FROM orders";
        let before = text(&client, filled).await;
        // Both former holders wake up: neither changes a row.
        for former in [first, second] {
            go_on(&former);
            let (ended, _) = former.wait().await;
            ended.expect(9);
        }
        assert_eq!(text(&client, filled).await, before);
        go_on(&third);
        let (ended, _) = third.wait().await;
        ended.expect(5);
        assert_eq!(
            text(
                &client,
                "SELECT count(*) FROM orders WHERE amount_exact IS NULL"
            )
            .await,
            "0"
        );
        let fleet = Arc::into_inner(fleet).expect("the only one");
        fleet.address.redirect(&fleet.standby);
        fleet.address.cut();
        fleet.app.resume();
        fleet.finish(client, 0).await;
    }
}
