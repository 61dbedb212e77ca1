//! One case from its database to the verdict.

use std::time::{Duration, Instant};

use pontoon_sandbox::app::{App, AppOptions, Pace, Report, Running as Application, Shape};
use pontoon_sandbox::dump::{CatalogDump, DumpOptions};
use pontoon_tests::{Finished, artifacts, rows_committed, wait_for_silence};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::case::{Case, Fault, Place, Traffic, Way};
use super::reference::Reference;
use super::scenario::ROWS;
use super::stage::{Lane, Stage};
use super::strike::{Sitting, clock};

/// How often a sitting is begun again before the case says that it has no end.
const SITTINGS: u32 = 8;
/// How long a lease of a process that was let go may keep others out.
const TERM: Duration = Duration::from_secs(40);

/// What a case that held has seen.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    /// Whether the fault hit anything.
    pub(crate) hit: bool,
    /// Rows that were changed by batches when it struck, and again after it.
    pub(crate) redone: i64,
    /// Sittings that it took.
    pub(crate) sittings: u32,
    /// The application's writes.
    pub(crate) writes: u64,
    /// The longest that one of its operations took.
    pub(crate) worst: Duration,
}

/// The fault that is still to come.
struct Pending {
    fault: Fault,
    when: When,
}

enum When {
    /// At this failpoint, in whichever sitting it is.
    Boundary(String),
    /// This long after the start of this sitting (counted from 0).
    After(usize, Duration),
}

struct Drive<'a> {
    stage: &'a Stage<'a>,
    pending: Option<Pending>,
    random: StdRng,
    figures: Figures,
    /// The goal that is worked for, counted from 0.
    leg: usize,
    fault: Fault,
}

/// Runs the case to its end and judges it; panics when it does not hold.
pub(crate) async fn drive(lane: &Lane, reference: &Reference, case: &Case) -> Figures {
    let stage = lane.stage(&reference.scenario).await;
    let mut random = StdRng::seed_from_u64(case.seed);
    let app = App::start(
        reference.scenario.model.clone(),
        traffic(lane.server.url(&stage.name), case),
    );
    let pending = Pending {
        fault: case.fault,
        when: when(case, reference, &mut random),
    };
    let mut drive = Drive {
        stage: &stage,
        pending: Some(pending),
        random,
        figures: Figures::default(),
        leg: 0,
        fault: case.fault,
    };
    let (shape, catalog, state) = match case.way {
        Way::Forward => {
            drive.forward(&app, case.traffic).await;
            (Shape::New, &reference.after, "completed")
        }
        Way::Back => {
            drive.back(&app, case.traffic).await;
            (Shape::Old, &reference.before, "rolled_back")
        }
    };
    let mut figures = drive.figures;

    let report = app.stop().await;
    assert!(
        is_clean(&report, case.fault),
        "the application has noticed: {report}"
    );
    let client = stage.client().await;
    let rows = report.oracle.check(&client, shape).await.expect("the rows");
    assert!(rows.is_clean(), "{rows}");
    wait_for_silence(&client).await;
    assert_eq!(artifacts(&client).await, Vec::<String>::new());
    let now = CatalogDump::take(&client, &DumpOptions::default())
        .await
        .expect("a dump");
    assert_eq!(
        catalog.differences(&now),
        Vec::<String>::new(),
        "the catalog differs"
    );
    let found: String = client
        .query_one("SELECT string_agg(state, ',') FROM pontoon.run", &[])
        .await
        .expect("the run")
        .get(0);
    assert_eq!(found, state);
    if case.way == Way::Forward {
        if let Some(query) = reference.scenario.holds() {
            let holds: bool = client
                .query_one(&query, &[])
                .await
                .expect("an answer")
                .get(0);
            assert!(holds, "{query}");
        }
        let more = rows_committed(&client).await - reference.rows;
        if case.traffic == Traffic::Quiet {
            // What is committed is never done again, nor left out; what is
            // not, was never counted.
            assert_eq!(more, 0, "rows that batches changed beyond those there were");
        }
        // Rows that the application wrote before it was watched came besides.
        let written = i64::try_from(report.live.writes).unwrap_or(i64::MAX);
        figures.redone = (more - written).max(0);
        assert_eq!(figures.redone, 0, "rows that were changed by two batches");
    }
    figures.writes = report.live.writes;
    figures.worst = report.worst();
    drop(client);
    stage.end().await;
    figures
}

/// The application sees errors of the server's own making, and no others.
fn is_clean(report: &Report, fault: Fault) -> bool {
    let disk = matches!(fault, Fault::DiskData | Fault::DiskWal);
    report.live.findings == 0
        && report
            .errors
            .iter()
            .all(|error| disk && error.sqlstate == "53100")
}

fn traffic(url: String, case: &Case) -> AppOptions {
    let (old_clients, new_clients, think) = match case.traffic {
        Traffic::Quiet => (0, 0, 5),
        Traffic::Mixed => (1, 1, 3),
        Traffic::Hot => (3, 3, 0),
    };
    AppOptions {
        old_clients,
        new_clients,
        pace: Pace::Closed {
            think: Duration::from_millis(think),
        },
        seed: case.seed,
        ..AppOptions::new(url, ROWS)
    }
}

fn when(case: &Case, reference: &Reference, random: &mut StdRng) -> When {
    match &case.place {
        Place::Boundary(name) => When::Boundary(name.clone()),
        Place::Any => {
            // The end of a sitting may come sooner than in the reference.
            let share = random.random_range(0.02..0.9);
            match case.way {
                Way::Forward => {
                    let whole = reference.to_gate + reference.to_end;
                    let at = whole.mul_f64(share);
                    // A full disk is felt where rows are written.
                    if case.fault == Fault::DiskData || at < reference.to_gate {
                        When::After(0, reference.to_gate.mul_f64(share))
                    } else {
                        When::After(1, at - reference.to_gate)
                    }
                }
                Way::Back => When::After(1, reference.back.mul_f64(share)),
            }
        }
    }
}

impl Drive<'_> {
    async fn forward(&mut self, app: &Application, traffic: Traffic) {
        let path = self.stage.path.clone();
        self.reach(&["run", &path], 5).await;
        app.expect_filled();
        self.both_versions(app, traffic).await;
        let client = self.stage.client().await;
        let rows = app.check(&client, Shape::Both).await.expect("the rows");
        assert!(rows.is_clean(), "at the gate: {rows}");
        app.retire_old_version().await;
        self.stage
            .pontoon
            .call(&["approve", "contract"])
            .await
            .expect(0);
        self.leg = 1;
        self.reach(&["run", &path], 0).await;
    }

    async fn back(&mut self, app: &Application, traffic: Traffic) {
        let path = self.stage.path.clone();
        let whole = matches!(
            self.pending.as_ref().map(|pending| &pending.when),
            Some(When::Boundary(_))
        ) || self.random.random();
        if whole {
            self.stage.pontoon.call(&["run", &path]).await.expect(5);
            app.expect_filled();
            self.both_versions(app, traffic).await;
            app.retire_new_version().await;
        } else {
            let place = [
                "step.2.end",
                "batch.end@4",
                "batch.end@20",
                "verify.chunk@1",
            ];
            let failpoint = format!("kill:{}", place[self.random.random_range(0..place.len())]);
            let (ended, _) = self
                .stage
                .pontoon
                .spawn_with(&["run", &path], &[("PONTOON_FAILPOINT", &failpoint)])
                .wait()
                .await;
            assert_eq!(ended.signal, Some(9), "{failpoint}: {}", ended.stderr);
        }
        self.leg = 1;
        self.reach(&["rollback", "--yes"], 0).await;
    }

    /// The new version works beside the old one for a moment.
    async fn both_versions(&self, app: &Application, traffic: Traffic) {
        app.join_new_version();
        if traffic == Traffic::Quiet {
            return;
        }
        let (before, begun) = (app.live().writes, Instant::now());
        while app.live().writes < before + 30 {
            assert!(
                begun.elapsed() < Duration::from_secs(60),
                "the application does not write"
            );
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sits until the goal is reached.
    async fn reach(&mut self, arguments: &[&str], goal: i32) {
        let begun = Instant::now();
        let mut sittings = 0;
        loop {
            let (ended, reached) = self.sit(arguments, goal).await;
            self.figures.sittings += 1;
            if ended.code == Some(goal) || reached {
                self.expect_known(&ended, goal);
                return;
            }
            self.expect_known(&ended, goal);
            if ended.code == Some(9) && begun.elapsed() < TERM {
                tokio::time::sleep(Duration::from_millis(500)).await;
                continue;
            }
            sittings += 1;
            assert!(
                sittings < SITTINGS,
                "no end after {sittings} sittings:\n{}\n{}",
                ended.stdout,
                ended.stderr
            );
        }
    }

    /// Every end of a sitting under this fault is one that the fault explains.
    fn expect_known(&self, ended: &Finished, goal: i32) {
        let known = match ended.code {
            Some(code) if code == goal => true,
            None => self.fault == Fault::Kill && ended.signal == Some(9),
            Some(9) => matches!(
                self.fault,
                Fault::Stop | Fault::StopLong | Fault::Second | Fault::HangLong | Fault::Kill
            ),
            // A process that stood still finds its session ended, when that
            // was in a transaction, or knows nothing but that it could not
            // renew its lease.
            Some(10) => matches!(
                self.fault,
                Fault::Stop
                    | Fault::StopLong
                    | Fault::Terminate
                    | Fault::Restart
                    | Fault::CutBefore
                    | Fault::CutAfter
                    | Fault::Hang
                    | Fault::HangLong
                    | Fault::DiskWal
                    | Fault::Locked
            ),
            Some(7) => matches!(self.fault, Fault::DiskData | Fault::DiskWal),
            Some(8) => self.fault == Fault::Locked,
            Some(_) => false,
        };
        assert!(
            known,
            "a sitting ended with {:?} (signal {:?}):\n{}\n{}",
            ended.code, ended.signal, ended.stdout, ended.stderr
        );
    }

    async fn sit(&mut self, arguments: &[&str], goal: i32) -> (Finished, bool) {
        let pontoon = &self.stage.pontoon;
        let due = self.pending.take_if(|pending| match pending.when {
            When::Boundary(_) => true,
            When::After(leg, _) => leg == self.leg,
        });
        let Some(pending) = due else {
            return (pontoon.call(arguments).await, false);
        };
        let fault = pending.fault;
        let mut environment = Vec::new();
        let file = clock(self.stage).display().to_string();
        let library = self.stage.lane.shim.join("clock.so").display().to_string();
        if fault == Fault::Clock {
            environment.extend([("PONTOON_CLOCK", &*file), ("LD_PRELOAD", &*library)]);
        }
        let failpoint = match &pending.when {
            When::Boundary(name) if fault == Fault::Kill => Some(format!("kill:{name}")),
            When::Boundary(name) => Some(format!("stop:{name}")),
            When::After(..) => None,
        };
        environment.extend(failpoint.as_deref().map(|text| ("PONTOON_FAILPOINT", text)));
        let mut arguments = arguments.to_vec();
        if fault == Fault::HangLong {
            // It shall give up, and not wait for what never comes.
            arguments.extend(["--reconnect-for", "5s"]);
        }
        let mut running = pontoon.spawn_with(&arguments, &environment);
        let ready = match &pending.when {
            When::Boundary(_) if fault == Fault::Kill => false,
            When::Boundary(_) => running.stopped().await,
            When::After(_, time) => {
                tokio::time::sleep(*time).await;
                running.state().is_some()
            }
        };
        let mut reached = false;
        if ready {
            let sitting = Sitting {
                stage: self.stage,
                arguments: &arguments,
                goal,
            };
            let struck = sitting.strike(fault, &mut running, &mut self.random).await;
            self.figures.hit = struck.hit;
            reached = struck.reached;
        }
        let (ended, _) = running.wait().await;
        if fault == Fault::Kill {
            self.figures.hit = ended.signal == Some(9);
        }
        if !self.figures.hit && matches!(pending.when, When::Boundary(_)) {
            // The boundary may lie in the next sitting.
            self.pending = Some(pending);
        }
        (ended, reached)
    }
}
