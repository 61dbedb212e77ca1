//! A run that nothing disturbs: what the catalog must be in the end, where
//! faults can strike, and how long each sitting takes.

use std::time::{Duration, Instant};

use pontoon_sandbox::dump::{CatalogDump, DumpOptions};
use pontoon_tests::{Running, rows_committed};
use serde_json::Value;

use super::case::{Fault, Place, Way};
use super::scenario::{self, Scenario};
use super::stage::Lane;

/// What is known of a scenario on one version.
pub(crate) struct Reference {
    pub(crate) scenario: Scenario,
    /// The catalog before the run, and after a rollback.
    pub(crate) before: CatalogDump,
    /// The catalog after contract.
    pub(crate) after: CatalogDump,
    /// Rows that batches change in all.
    pub(crate) rows: i64,
    /// How long the sittings take: to the gate, from it to the end, and back.
    pub(crate) to_gate: Duration,
    pub(crate) to_end: Duration,
    pub(crate) back: Duration,
    /// Failpoints on the way, each with the kind of the step it belongs to.
    forward: Vec<(String, Option<String>)>,
    backward: Vec<(String, Option<String>)>,
}

impl Reference {
    pub(crate) async fn make(lane: &Lane, name: &str) -> Self {
        let scenario = scenario::named(name);
        let options = DumpOptions::default();
        let stage = lane.stage(&scenario).await;
        let client = stage.client().await;
        let before = CatalogDump::take(&client, &options).await.expect("a dump");
        let mut forward: Vec<(String, Option<String>)> = [
            "run.absent",
            "run.created",
            "lease.taken",
            "gate",
            "lease.release",
            "batch.end@1",
            "batch.end@9",
            "verify.chunk@1",
            "verify.chunk@2",
        ]
        .map(|name| (name.to_owned(), None))
        .into();
        let (to_gate, steps) = sitting(stage.pontoon.spawn(&["run", &stage.path]), 5).await;
        forward.extend(boundaries("step", &steps));
        let (to_end, steps) = sitting(stage.pontoon.spawn_approved(&stage.path), 0).await;
        forward.extend(boundaries("step", &steps));
        let after = CatalogDump::take(&client, &options).await.expect("a dump");
        let rows = rows_committed(&client).await;
        drop(client);
        stage.end().await;

        let stage = lane.stage(&scenario).await;
        stage.pontoon.call(&["run", &stage.path]).await.expect(5);
        let (back, steps) = sitting(stage.pontoon.spawn(&["rollback", "--yes"]), 0).await;
        let mut backward: Vec<(String, Option<String>)> = ["lease.taken", "lease.release"]
            .map(|name| (name.to_owned(), None))
            .into();
        backward.extend(boundaries("undo", &steps));
        let client = stage.client().await;
        let now = CatalogDump::take(&client, &options).await.expect("a dump");
        assert_eq!(
            before.differences(&now),
            Vec::<String>::new(),
            "{name}, taken back"
        );
        drop(client);
        stage.end().await;
        Self {
            scenario,
            before,
            after,
            rows,
            to_gate,
            to_end,
            back,
            forward,
            backward,
        }
    }

    /// Where this fault can strike and hit something.
    pub(crate) fn places(&self, way: Way, fault: Fault) -> Vec<Place> {
        let known = match way {
            Way::Forward => &self.forward,
            Way::Back => &self.backward,
        };
        let fits = |name: &str, kind: Option<&str>| match fault {
            // Only what writes feels a full disk: right before a scan or a
            // build, and between batches.
            Fault::DiskData => {
                name.starts_with("batch.end@1")
                    || (name.ends_with(".begin") && matches!(kind, Some("backfill")))
            }
            // Afterwards little is sent that could be cut, and nobody waits
            // for a lock of ours any more.
            Fault::CutBefore | Fault::CutAfter | Fault::Locked => name != "lease.release",
            // Whether a process still reads its clock there is its own affair.
            Fault::Clock => !matches!(name, "gate" | "lease.release"),
            _ => true,
        };
        let mut places: Vec<Place> = known
            .iter()
            .filter(|(name, kind)| fits(name, kind.as_deref()))
            .map(|(name, _)| Place::Boundary(name.clone()))
            .collect();
        if !(fault == Fault::DiskData && way == Way::Back) {
            places.push(Place::Any);
        }
        places
    }
}

/// Runs a sitting to its end; returns how long it took, and number and kind of its steps.
async fn sitting(running: Running, code: i32) -> (Duration, Vec<(u64, String)>) {
    let begun = Instant::now();
    let (ended, records) = running.wait().await;
    let took = begun.elapsed();
    ended.expect(code);
    let mut steps: Vec<(u64, String)> = records
        .iter()
        .filter(|record| record["event"] == "step_started")
        .filter_map(|record: &Value| {
            Some((record["no"].as_u64()?, record["kind"].as_str()?.to_owned()))
        })
        .collect();
    steps.dedup();
    (took, steps)
}

fn boundaries(what: &str, steps: &[(u64, String)]) -> Vec<(String, Option<String>)> {
    steps
        .iter()
        .flat_map(|(no, kind)| {
            ["begin", "end"].map(|side| (format!("{what}.{no}.{side}"), Some(kind.clone())))
        })
        .collect()
}
