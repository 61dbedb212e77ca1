//! Soak: hours of faults, plans and rollbacks on one server. A process that
//! works all the time must not grow, and in the end nothing of ours is left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use pontoon_sandbox::app::{App, AppOptions, Pace, Shape, models};
use pontoon_sandbox::tcp_proxy::TcpProxy;
use pontoon_tests::{Pontoon, Running, artifacts, wait_for_silence};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::{Value, json};

use super::case::Fault;
use super::stage::{Lane, run};
use super::{attempt, draw, references};

/// Rows that the long run changes in a second, when each batch takes as long
/// as [`SLOW`] makes it.
const PACE: u64 = 300;
/// Makes each batch wait, so that the backfill lasts as long as the soak.
const SLOW: &str = "
    CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); RETURN NULL; END $$;
    CREATE TRIGGER slow BEFORE UPDATE ON orders FOR EACH STATEMENT
        WHEN (current_setting('application_name') LIKE 'pontoon/%') EXECUTE FUNCTION slow()";

/// What one process used, twice a second.
#[derive(Debug, Default)]
struct Use {
    resident_kib: Vec<u64>,
    files: Vec<u64>,
}

impl Use {
    /// Reads the process once.
    fn sample(&mut self, running: &Running) {
        if running.state().is_none() {
            return;
        }
        let pid = running.pid();
        let Ok(status) = std::fs::read_to_string(format!("/proc/{pid}/status")) else {
            return;
        };
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.trim().strip_suffix("kB")?.trim().parse().ok());
        let files = std::fs::read_dir(format!("/proc/{pid}/fd")).map(Iterator::count);
        if let (Some(resident), Ok(files)) = (resident, files) {
            self.resident_kib.push(resident);
            self.files.push(files as u64);
        }
    }

    /// The first and the last third without the start; `None` for a process
    /// that lived too short to have a trend.
    fn trend(values: &[u64]) -> Option<(u64, u64)> {
        let warm = values.get(20..).filter(|warm| warm.len() >= 60)?;
        let third = warm.len() / 3;
        Some((median(&warm[..third]), median(&warm[warm.len() - third..])))
    }

    /// Fails when the process grew.
    fn assert_flat(&self) {
        if let Some((first, last)) = Self::trend(&self.resident_kib) {
            assert!(
                last <= first + first / 7 + 3 * 1024,
                "resident memory grew from {first} to {last} KiB"
            );
        }
        if let Some((first, last)) = Self::trend(&self.files) {
            assert!(last <= first + 4, "open files grew from {first} to {last}");
        }
    }

    fn json(&self) -> Value {
        json!({
            "seconds": self.files.len() / 2,
            "resident_kib": Self::trend(&self.resident_kib),
            "most_resident_kib": self.resident_kib.iter().max(),
            "files": Self::trend(&self.files),
            "most_files": self.files.iter().max(),
        })
    }
}

fn median(values: &[u64]) -> u64 {
    let mut values = values.to_vec();
    values.sort_unstable();
    values[values.len() / 2]
}

/// `PONTOON_SOAK=1h`, or a minute.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "lasts as long as PONTOON_SOAK says; docs/testing.md"]
async fn soak() {
    let lasts =
        std::env::var("PONTOON_SOAK").map_or(Duration::from_secs(60), |text| draw::duration(&text));
    let seed = rand::random_range(0..1_000_000);
    let versions = pontoon_sandbox::test_versions().expect("PONTOON_TEST_VERSIONS can be read");
    let mut reports = Vec::new();
    for version in versions {
        eprintln!("soak on PostgreSQL {version} for {lasts:?}, seed {seed}");
        let report = on(version, lasts, seed).await;
        eprintln!("{report:#}");
        reports.push(report);
    }
    if let Some(path) = std::env::var_os("PONTOON_REPORT") {
        let report = json!({"schema": 1, "soak": reports});
        std::fs::write(&path, format!("{report:#}\n")).expect("the report can be written");
    }
}

async fn on(version: u32, lasts: Duration, seed: u64) -> Value {
    let lane = Arc::new(Lane::start(version).await);
    let mut names = vec!["orders", "parts", "tight"];
    if lasts > Duration::from_secs(300) {
        names.extend([
            "uuid",
            "composite",
            "renamed",
            "no_key",
            "same_name",
            "indexed",
            "text",
        ]);
    }
    let names = names.into_iter().map(str::to_owned).collect();
    let known = references(std::slice::from_ref(&lane), names).await;
    let before = left(&lane).await;
    // Before any case fills the disk.
    let rows = (lasts.as_secs() * PACE).max(10_000);
    prepare(&lane, rows).await;
    let until = Instant::now() + lasts;
    let long = tokio::spawn(long(Arc::clone(&lane), until, rows, seed));

    let mut random = StdRng::seed_from_u64(seed);
    let (mut cases, mut missed) = (0_u32, 0);
    while Instant::now() < until && !long.is_finished() {
        let case = draw::any(&known, &mut random, version);
        if case.fault == Fault::HangLong {
            continue;
        }
        let ended = attempt(&lane, &known[&case.scenario], case).await;
        cases += 1;
        missed += ended.missed;
        if let Err(error) = ended.outcome {
            panic!("{} did not hold after {cases} cases: {error}", ended.case);
        }
    }
    let report = long.await.expect("the long run holds");
    let after = left(&lane).await;
    assert_eq!(before, after, "what the server holds");
    json!({
        "version": version, "seed": seed, "seconds": lasts.as_secs(), "cases": cases,
        "missed_draws": missed, "left": after, "long_run": report,
    })
}

/// What the server holds besides data: sessions, locks, databases, slots.
async fn left(lane: &Lane) -> Value {
    let client = lane.client("postgres").await;
    let sql = "SELECT json_build_object(
        'ours', (SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'pontoon/%'),
        'sessions', (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),
        'advisory_locks', (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'),
        'prepared', (SELECT count(*) FROM pg_prepared_xacts),
        'slots', (SELECT count(*) FROM pg_replication_slots),
        'databases', (SELECT count(*) FROM pg_database WHERE datname <> 'soak'))::text";
    // Sessions that were closed take a moment to leave.
    let mut last = String::new();
    for _ in 0..100 {
        last = client
            .query_one(sql, &[])
            .await
            .expect("the server answers")
            .get(0);
        if last.contains("\"sessions\" : 1,") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    serde_json::from_str(&last).expect("JSON of the server")
}

/// The table of the long run.
async fn prepare(lane: &Lane, rows: u64) {
    lane.server
        .create_database("soak")
        .await
        .expect("a database");
    let client = lane.client("soak").await;
    App::install(&models::orders(), &client, rows)
        .await
        .expect("the model");
    run(&client, SLOW).await;
}

/// One table, one plan: as few processes as possible for as long as possible,
/// under traffic, with faults that a process survives by itself and those of
/// the cases beside it.
async fn long(lane: Arc<Lane>, until: Instant, rows: u64, seed: u64) -> Value {
    let mut random = StdRng::seed_from_u64(seed ^ 0x50A4);
    let model = models::orders();
    let url = lane.server.url("soak");
    let app = App::start(
        model.clone(),
        AppOptions {
            old_clients: 1,
            new_clients: 1,
            pace: Pace::Closed {
                think: Duration::from_millis(10),
            },
            ..AppOptions::new(url.clone(), rows)
        },
    );
    let proxy = TcpProxy::start(&lane.server).await.expect("a proxy");
    let pontoon = Pontoon::new(proxy.url(&url));
    let path = pontoon.plan(&format!(
        "{}limits: {{max_batch_rows: 20}}\nbackfill: {{target_batch_time: 500ms, workers: 2}}\nacknowledge: [\"trigger:slow\"]\n",
        model.plan("long", 1)
    ));
    let (mut uses, mut faults, mut rollbacks) = (Vec::new(), 0, 0);
    let mut slow = true;
    loop {
        let running = pontoon.spawn(&["run", &path]);
        let mut used = Use::default();
        let mut next_fault = Instant::now() + Duration::from_secs(8);
        while running.state().is_some() {
            used.sample(&running);
            if slow && Instant::now() > until {
                slow = !speed_up(&lane, &pontoon).await;
            }
            if slow && Instant::now() > next_fault {
                next_fault = Instant::now() + Duration::from_secs(random.random_range(3..20));
                faults += 1;
                disturb(&lane, &proxy, &mut random).await;
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        let (ended, _) = running.wait().await;
        used.assert_flat();
        uses.push(used);
        match ended.code {
            Some(5) if Instant::now() > until => break,
            // Too early: back, and once more.
            Some(5) => {
                rollbacks += 1;
                back(&pontoon).await;
            }
            Some(7 | 9 | 10) => tokio::time::sleep(Duration::from_millis(500)).await,
            code => panic!(
                "the long run ended with {code:?}:\n{}\n{}",
                ended.stdout, ended.stderr
            ),
        }
    }
    app.expect_filled();
    app.join_new_version();
    tokio::time::sleep(Duration::from_secs(1)).await;
    app.retire_old_version().await;
    pontoon.approved(&path).await.expect(0);
    let report = app.stop().await;
    assert_eq!(report.live.findings, 0, "{report}");
    assert!(
        report.errors.iter().all(|error| error.sqlstate == "53100"),
        "{report}"
    );
    let client = lane.client("soak").await;
    let found = report
        .oracle
        .check(&client, Shape::New)
        .await
        .expect("the rows");
    assert!(found.is_clean(), "{found}");
    wait_for_silence(&client).await;
    assert_eq!(artifacts(&client).await, Vec::<String>::new());
    drop(client);
    lane.server
        .drop_database("soak")
        .await
        .expect("the database goes");
    json!({
        "rows": rows, "faults": faults, "rollbacks": rollbacks,
        "application_writes": report.live.writes,
        "connections_lost": report.live.connections_lost,
        "processes": uses.iter().map(Use::json).collect::<Vec<Value>>(),
    })
}

/// Lets the rest go at full speed; false while the server is away.
async fn speed_up(lane: &Lane, pontoon: &Pontoon) -> bool {
    let Ok(client) = lane.server.client("soak").await else {
        return false;
    };
    let free = "SET lock_timeout = '1s'; DROP TRIGGER IF EXISTS slow ON orders";
    if client.batch_execute(free).await.is_err() {
        return false;
    }
    for (setting, value) in [("nice-ratio", "0"), ("batch-rows", "1000")] {
        if pontoon.call(&["set", setting, value]).await.code != Some(0) {
            return false;
        }
    }
    true
}

/// Something that a process goes on after by itself.
async fn disturb(lane: &Lane, proxy: &TcpProxy, random: &mut StdRng) {
    match random.random_range(0..3) {
        0 => proxy.cut(),
        1 => {
            proxy.hang();
            tokio::time::sleep(Duration::from_millis(random.random_range(200..1500))).await;
            proxy.pass();
        }
        _ => {
            if let Ok(client) = lane.server.client("soak").await {
                // The server may be taken away at this very moment.
                drop(
                    client
                        .batch_execute(
                            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                             WHERE application_name LIKE 'pontoon/%' AND datname = 'soak' AND random() < 0.5",
                        )
                        .await,
                );
            }
        }
    }
}

/// Takes the run back, however often that has to be begun.
async fn back(pontoon: &Pontoon) {
    for _ in 0..10 {
        match pontoon.call(&["rollback", "--yes"]).await.code {
            Some(0) => return,
            Some(7 | 9 | 10) => tokio::time::sleep(Duration::from_secs(1)).await,
            code => panic!("the rollback ended with {code:?}"),
        }
    }
    panic!("the rollback has no end");
}
