//! SIGKILL, then run again: everything completes, every row is right, and
//! nothing of ours is left.

use std::time::Duration;

use nix::sys::signal::Signal;
use pontoon_sandbox::TestDatabase;
use pontoon_sandbox::app::{App, AppOptions, Model, Pace, Running, Shape, models};
use pontoon_tests::{Pontoon, artifacts, rows_committed, wait_for_silence};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const ROWS: u64 = 6_000;

/// What a case of the matrix has seen.
#[derive(Debug)]
struct Case {
    boundary: String,
    /// Rows that batches had committed when the process died.
    committed_before: i64,
    /// Rows that all batches together changed beyond the rows there were to change.
    redone: i64,
}

fn plan(model: &Model) -> String {
    format!(
        "{}limits: {{max_batch_rows: 400}}\nbackfill: {{target_batch_time: 20ms, workers: 2}}\n",
        model.plan("killed", 1)
    )
}

fn traffic(url: String) -> AppOptions {
    AppOptions {
        old_clients: 2,
        new_clients: 2,
        pace: Pace::Closed {
            think: Duration::from_millis(2),
        },
        ..AppOptions::new(url, ROWS)
    }
}

/// How the process is made to die.
enum Death {
    /// At the boundary of this name.
    At(String),
    /// After this time, wherever it is.
    After(Duration),
}

/// Runs the plan, kills it once, runs it again to the end.
async fn survive(version: u32, model: Model, death: Death) -> Option<Case> {
    let database = TestDatabase::create(version).await.expect("a database");
    let client = database.client().await.expect("a connection");
    App::install(&model, &client, ROWS)
        .await
        .expect("the model");
    let app = App::start(model.clone(), traffic(database.url()));
    let pontoon = Pontoon::new(database.url());
    let path = pontoon.plan(&plan(&model));

    let mut case = None;
    run_until(&pontoon, &path, &client, &death, &mut case, 5).await;
    app.expect_filled();
    app.join_new_version();
    tokio::time::sleep(Duration::from_millis(200)).await;
    both_shapes_hold(&app, &client).await;
    app.retire_old_version().await;
    pontoon.call(&["approve", "contract"]).await.expect(0);
    run_until(&pontoon, &path, &client, &death, &mut case, 0).await;

    let report = app.stop().await;
    assert!(report.is_clean(), "{report}");
    let rows = report
        .oracle
        .check(&client, Shape::New)
        .await
        .expect("the rows");
    assert!(rows.is_clean(), "{rows}");
    assert_eq!(artifacts(&client).await, Vec::<String>::new());
    let total = rows_committed(&client).await;
    if let Some(case) = &mut case {
        case.redone = (total - i64::try_from(ROWS).expect("fits")).max(0);
    }
    drop(client);
    database.drop().await.expect("the database goes");
    case
}

/// Runs the plan until it ends with `code`; the first time it dies on the way
/// is the case.
async fn run_until(
    pontoon: &Pontoon,
    path: &str,
    client: &tokio_postgres::Client,
    death: &Death,
    case: &mut Option<Case>,
    code: i32,
) {
    for _ in 0..3 {
        let ended = match death {
            Death::At(place) if case.is_none() => {
                let failpoint = format!("kill:{place}");
                pontoon
                    .spawn_with(&["run", path], &[("PONTOON_FAILPOINT", &failpoint)])
                    .wait()
                    .await
                    .0
            }
            Death::After(time) if case.is_none() => {
                let running = pontoon.spawn(&["run", path]);
                tokio::time::sleep(*time).await;
                running.signal(Signal::SIGKILL);
                running.wait().await.0
            }
            Death::At(_) | Death::After(_) => pontoon.call(&["run", path]).await,
        };
        if ended.code == Some(code) {
            return;
        }
        assert_eq!(
            ended.code, None,
            "neither killed nor at its goal:\n{}\n{}",
            ended.stdout, ended.stderr
        );
        wait_for_silence(client).await;
        *case = Some(Case {
            boundary: match death {
                Death::At(place) => place.clone(),
                Death::After(time) => format!("{} ms", time.as_millis()),
            },
            committed_before: rows_committed(client).await,
            redone: 0,
        });
    }
    panic!("the run does not reach its goal");
}

async fn both_shapes_hold(app: &Running, client: &tokio_postgres::Client) {
    let rows = app.check(client, Shape::Both).await.expect("the rows");
    assert!(rows.is_clean(), "{rows}");
}

/// Every named boundary of the model's program, read off its preview.
async fn boundaries(version: u32, model: &Model) -> Vec<String> {
    let database = TestDatabase::create(version).await.expect("a database");
    let client = database.client().await.expect("a connection");
    App::install(model, &client, 10).await.expect("the model");
    let pontoon = Pontoon::new(database.url());
    let path = pontoon.plan(&plan(model));
    let preview = pontoon
        .call(&["preview", &path, "--output", "json"])
        .await
        .expect(0)
        .json();
    let mut names: Vec<String> = ["run.created", "lease.taken", "gate", "lease.release"]
        .map(str::to_owned)
        .into();
    for phase in preview["phases"].as_array().expect("phases") {
        for step in phase["steps"].as_array().expect("steps") {
            let no = &step["no"];
            names.push(format!("step.{no}.begin"));
            names.push(format!("step.{no}.end"));
        }
    }
    for name in [
        "batch.end@1",
        "batch.end@7",
        "verify.chunk@1",
        "verify.chunk@3",
    ] {
        names.push(name.to_owned());
    }
    names
}

fn report(cases: &[Case]) {
    for case in cases {
        eprintln!(
            "killed at {:<16} rows committed before {:>6}, redone {}",
            case.boundary, case.committed_before, case.redone
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn at_every_boundary() {
    for version in super::versions() {
        let model = models::orders();
        let mut cases = Vec::new();
        for boundary in boundaries(version, &model).await {
            let case = survive(version, model.clone(), Death::At(boundary.clone())).await;
            cases.push(case.unwrap_or_else(|| panic!("nothing was killed at {boundary}")));
        }
        report(&cases);
    }
}

/// 20 instants here; `PONTOON_KILLS=100` for as many as you like.
#[tokio::test(flavor = "multi_thread")]
async fn at_random_instants() {
    let wanted: usize = std::env::var("PONTOON_KILLS")
        .ok()
        .map_or(20, |text| text.parse().expect("PONTOON_KILLS is a number"));
    let all = [
        models::orders(),
        models::uuid_key(),
        models::composite_key(),
        models::partitioned(),
        models::no_key(),
        models::renamed(),
        models::text_key(),
    ];
    let seed = rand::random();
    eprintln!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for version in super::versions() {
        let mut cases = Vec::new();
        let mut missed = 0;
        while cases.len() < wanted {
            let model = all[random.random_range(0..all.len())].clone();
            let time = Duration::from_millis(random.random_range(20..900));
            match survive(version, model, Death::After(time)).await {
                Some(case) => cases.push(case),
                // The run was over before the signal came.
                None => missed += 1,
            }
            assert!(missed <= wanted * 2, "most runs end before they are killed");
        }
        report(&cases);
    }
}
