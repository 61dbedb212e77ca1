//! No application statement waits on us longer than `max_lock_duration`.

use std::time::Duration;

use nix::sys::signal::Signal;
use pontoon_sandbox::TestDatabase;
use pontoon_sandbox::app::{App, ProbeOptions, StallProbe, StallReport, models};
use pontoon_tests::{Pontoon, Running};
use tokio_postgres::Client;

use crate::scene::run;

const BUDGET: Duration = Duration::from_millis(500);
/// What sampling every 10 ms may add.
const TOLERANCE: Duration = Duration::from_millis(100);

fn plan() -> String {
    format!(
        "{}limits: {{max_lock_duration: 500ms}}\ngates: []\n",
        models::orders().plan("stalled", 1)
    )
}

/// A table that a probe looks at, and a session that holds a conflicting lock.
struct Held {
    database: TestDatabase,
    probe: StallProbe,
    holder: Client,
}

impl Held {
    async fn new(version: u32) -> Self {
        let model = models::orders();
        let database = TestDatabase::create(version).await.expect("a database");
        let client = database.client().await.expect("a connection");
        App::install(&model, &client, 2_000)
            .await
            .expect("the model");
        let probe = StallProbe::start(ProbeOptions::new(database.url()), model.probe())
            .await
            .expect("the probe");
        let holder = database.client().await.expect("a connection");
        let hold = "SET application_name = 'nightly report'; BEGIN; SELECT count(*) FROM orders";
        run(&holder, hold).await;
        Self {
            database,
            probe,
            holder,
        }
    }

    /// Lets the run go on to its gate: what the application felt.
    async fn release(self, running: Running) -> StallReport {
        run(&self.holder, "COMMIT").await;
        let (ended, _) = running.wait().await;
        ended.expect(0);
        self.probe.stop().await
    }
}

/// A session holds a conflicting lock; the run waits, names it, and goes on
/// by itself.
#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_holds_a_conflicting_lock() {
    for version in crate::versions() {
        let held = Held::new(version).await;
        let pontoon = Pontoon::new(held.database.url());
        let mut running = pontoon.spawn(&["run", &pontoon.plan(&plan())]);
        let waiting = running
            .event("lock_waiting")
            .await
            .expect("the run says that it waits");
        let named = waiting["blockers"][0]["application"].as_str();
        assert_eq!(named, Some("nightly report"), "{waiting}");
        let status = pontoon
            .call(&["status", "--output", "json"])
            .await
            .expect(0)
            .json();
        assert_eq!(status["runs"][0]["state"], "running", "{status}");

        tokio::time::sleep(Duration::from_secs(20)).await;
        let report = held.release(running).await;
        assert!(!report.suspects.is_empty(), "the sampler saw us: {report}");
        assert!(report.table.attributed <= BUDGET + TOLERANCE, "{report}");
        assert!(report.table.errors.is_empty(), "{report}");
    }
}

/// A process that is stopped in the middle holds no lock.
#[tokio::test(flavor = "multi_thread")]
async fn while_our_process_is_stopped() {
    for version in crate::versions() {
        let held = Held::new(version).await;
        let pontoon = Pontoon::new(held.database.url());
        let path = pontoon.plan(&plan());
        let mut running = pontoon.spawn(&["run", &path]);
        running.event("lock_waiting").await.expect("it waits");
        // Wherever it is now, queueing or between two tries, again and again.
        for pause in [3, 30, 90, 200, 310, 470] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            running.signal(Signal::SIGSTOP);
            tokio::time::sleep(Duration::from_millis(1500)).await;
            running.signal(Signal::SIGCONT);
        }
        let report = held.release(running).await;
        assert!(report.table.attributed <= BUDGET + TOLERANCE, "{report}");
    }
}
