//! The fault matrix: phase and step boundary × operation × fault × traffic,
//! with the real binary on real servers. `docs/testing.md` tells how to run
//! all of it, a part, or one case.
#![expect(clippy::print_stderr, reason = "a matrix says which cases it has run")]

mod case;
mod draw;
mod drive;
mod reference;
mod report;
mod scenario;
mod soak;
mod stage;
mod strike;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::Mutex;

use self::case::Case;
use self::draw::Draw;
use self::drive::Figures;
use self::reference::Reference;
use self::report::{Ended, Tally};
use self::stage::Lane;

/// How long one case may take before it counts as one that hangs.
const LONGEST: Duration = Duration::from_secs(240);
/// How often a case whose fault hit nothing is drawn again.
const DRAWS: u32 = 6;

/// What is known of each scenario on one version.
type References = BTreeMap<String, Arc<Reference>>;

/// What the lanes share.
struct Shared {
    queue: Mutex<VecDeque<Case>>,
    references: References,
    tally: Mutex<Tally>,
    until: Option<Instant>,
}

/// A sample of about a minute; `PONTOON_FAULTS` says what else.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn matrix() {
    let draw = Draw::from_environment();
    let begun = Instant::now();
    eprintln!("{draw}");
    let versions = pontoon_sandbox::test_versions().expect("PONTOON_TEST_VERSIONS can be read");
    let mut whole = Tally::default();
    for version in draw.versions(&versions) {
        let lanes: Vec<Arc<Lane>> = join_all((0..draw.lanes).map(|_| Lane::start(version)))
            .await
            .into_iter()
            .map(Arc::new)
            .collect();
        let references = references(&lanes, draw.scenarios()).await;
        let cases = draw.cases(version, &references);
        eprintln!("PostgreSQL {version}: {} cases", cases.len());
        let shared = Arc::new(Shared {
            queue: Mutex::new(cases.into()),
            references,
            tally: Mutex::new(whole),
            until: draw.until(begun),
        });
        let at_work = lanes
            .into_iter()
            .map(|lane| tokio::spawn(work(Arc::clone(&shared), lane)));
        for lane in join_all(at_work).await {
            lane.expect("the lane itself does not fail");
        }
        whole = std::mem::take(&mut *shared.tally.lock().await);
    }
    whole.print(begun.elapsed());
    if let Some(path) = std::env::var_os("PONTOON_REPORT") {
        let report = whole.json(begun.elapsed(), draw.seed);
        std::fs::write(&path, format!("{report:#}\n")).expect("the report can be written");
    }
    assert_eq!(whole.failed(), 0, "cases that did not hold");
}

/// Runs each scenario once without any fault, on all lanes at once.
async fn references(lanes: &[Arc<Lane>], mut scenarios: Vec<String>) -> References {
    scenarios.sort_unstable();
    scenarios.dedup();
    let queue = Mutex::new(scenarios);
    let known = Mutex::new(References::new());
    join_all(lanes.iter().map(async |lane| {
        loop {
            let Some(name) = queue.lock().await.pop() else {
                return;
            };
            let reference = Arc::new(Reference::make(lane, &name).await);
            known.lock().await.insert(name, reference);
        }
    }))
    .await;
    known.into_inner()
}

/// Takes cases until none is left or time is up.
async fn work(shared: Arc<Shared>, lane: Arc<Lane>) {
    loop {
        if shared.until.is_some_and(|until| Instant::now() > until) {
            return;
        }
        let Some(case) = shared.queue.lock().await.pop_front() else {
            return;
        };
        let ended = attempt(&lane, &shared.references[&case.scenario], case).await;
        if ended.outcome.is_err() {
            lane.tidy().await;
        }
        shared.tally.lock().await.push(ended);
    }
}

/// Runs a case. One that hit nothing is drawn again some times, with another
/// seed; when it never hits, it does not hold.
async fn attempt(lane: &Arc<Lane>, reference: &Arc<Reference>, mut case: Case) -> Ended {
    let mut missed = 0;
    let begun = Instant::now();
    loop {
        let outcome = guarded(lane, reference, &case).await;
        match outcome {
            Ok(figures) if !figures.hit && missed + 1 < DRAWS => {
                missed += 1;
                case.seed = case.seed.wrapping_add(1_000_003);
            }
            Ok(figures) if !figures.hit => {
                return Ended {
                    case,
                    missed: missed + 1,
                    took: begun.elapsed(),
                    outcome: Err("the fault hit nothing".to_owned()),
                };
            }
            outcome => {
                return Ended {
                    case,
                    missed,
                    took: begun.elapsed(),
                    outcome,
                };
            }
        }
    }
}

/// A case on a task of its own, so that a failed assertion ends nothing else.
async fn guarded(
    lane: &Arc<Lane>,
    reference: &Arc<Reference>,
    case: &Case,
) -> Result<Figures, String> {
    let (lane, reference, case) = (Arc::clone(lane), Arc::clone(reference), case.clone());
    let mut task = tokio::spawn(async move { drive::drive(&lane, &reference, &case).await });
    match tokio::time::timeout(LONGEST, &mut task).await {
        Ok(Ok(figures)) => Ok(figures),
        Ok(Err(failed)) => {
            let panic = failed.into_panic();
            let text = panic
                .downcast_ref::<String>()
                .cloned()
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(text.unwrap_or_else(|| "a panic without words".to_owned()))
        }
        Err(_) => {
            task.abort();
            Err(format!("no end after {LONGEST:?}"))
        }
    }
}
