//! What the application feels while a backfill runs.
//!
//! Operations arrive at fixed times, at 30% of what the server can take
//! without a run. Rounds are interleaved: without a run, then with each
//! contestant, then again.

use std::time::{Duration, Instant};

use pontoon_core::step::Phase;
use pontoon_sandbox::Server;
use pontoon_sandbox::app::{ProbeOptions, ProbeTarget, StallProbe};

use crate::Error;
use crate::args::Arguments;
use crate::peers::Peer;
use crate::report::{Figure, Goal, Report, millis};
use crate::server::{TURN, original, settle, turn};
use crate::sitting::{plan_text, sit};
use crate::table::{Key, Shape, Table, Work};
use crate::traffic::{Felt, Pace, Traffic};

/// Of what the server can take.
const LOAD: f64 = 0.3;
/// How long is looked at traffic alone.
const ALONE: Duration = Duration::from_secs(8);
/// What `max_lock_duration` is by default, in milliseconds.
const MAX_LOCK_DURATION: f64 = 500.0;

/// What goes on beside the application.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Beside {
    Nothing,
    /// As a plan is that says nothing of throttle and batches.
    Default,
    /// As fast as it goes.
    Unthrottled,
    /// One statement.
    PlainUpdate,
    Peer(Peer),
}

impl Beside {
    fn all() -> Vec<Self> {
        let mut all = vec![
            Self::Nothing,
            Self::Default,
            Self::Unthrottled,
            Self::PlainUpdate,
        ];
        all.extend(Peer::found().into_iter().map(Self::Peer));
        all
    }

    fn name(self) -> String {
        match self {
            Self::Nothing => "without a run".to_owned(),
            Self::Default => "Pontoon, defaults".to_owned(),
            Self::Unthrottled => "Pontoon, 2 workers, 50,000 rows a batch".to_owned(),
            Self::PlainUpdate => "plain UPDATE".to_owned(),
            Self::Peer(peer) => peer.name().to_owned(),
        }
    }
}

/// One round beside one thing.
struct Round {
    felt: Felt,
    /// How long the backfill took.
    took: Duration,
    /// The longest wait for us, in milliseconds.
    attributed: f64,
}

/// Measures all of it.
pub(crate) async fn measure(
    server: &Server,
    arguments: &Arguments,
    report: &mut Report,
) -> Result<(), Error> {
    let table = Table {
        key: Key::Bigint,
        shape: Shape::Narrow,
        rows: arguments.rows_or(500_000, 2_000_000),
    };
    original(server, &table).await?;
    let client = turn(server).await?;
    settle(&client).await?;
    let closed = Traffic::start(server, table.rows, Pace::Closed).await?;
    tokio::time::sleep(ALONE).await;
    let most = closed.stop().await?.per_second;
    drop(client);
    let pace = Pace::Open {
        per_second: most * LOAD,
    };
    let contestants = Beside::all();
    let mut rounds: Vec<Vec<Round>> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.rounds() {
        for (beside, rounds) in contestants.iter().zip(&mut rounds) {
            rounds.push(round(server, &table, pace, *beside).await?);
        }
    }
    let mut figures: Vec<Figure> = Vec::new();
    let column =
        |rounds: &[Round], value: &dyn Fn(&Round) -> f64| rounds.iter().map(value).collect();
    let mut alone = None;
    for (beside, rounds) in contestants.iter().zip(&rounds) {
        let name = beside.name();
        let percentile = |share: f64| {
            column(rounds, &|round| {
                millis(round.felt.latency.percentile(share))
            })
        };
        let p99 = Figure::new(name.as_str(), "p99", "ms", percentile(0.99));
        figures.push(Figure::new(name.as_str(), "p50", "ms", percentile(0.5)));
        figures.push(match &alone {
            None => p99.clone(),
            Some(alone) => {
                let goal = (*beside == Beside::Default).then_some(Goal::AtMost(1.5));
                p99.clone().beside(alone, goal)
            }
        });
        alone.get_or_insert(p99);
        figures.push(Figure::new(name.as_str(), "p99.9", "ms", percentile(0.999)));
        figures.push(Figure::new(
            name.as_str(),
            "worst",
            "ms",
            column(rounds, &|round| millis(round.felt.latency.worst())),
        ));
        figures.push(Figure::new(
            name.as_str(),
            "throughput",
            "operations/s",
            column(rounds, &|round| round.felt.per_second),
        ));
        if matches!(beside, Beside::Default | Beside::Unthrottled) {
            let waits: Vec<f64> = column(rounds, &|round| round.attributed);
            let worst = waits.iter().copied().fold(0.0, f64::max);
            let limit = Figure::new("max_lock_duration", "limit", "ms", vec![MAX_LOCK_DURATION]);
            let mut figure =
                Figure::new(name.as_str(), "worst wait for us, any round", "ms", waits);
            figure.median = worst;
            figures.push(figure.beside(&limit, Some(Goal::AtMost(1.0))));
        }
        if *beside != Beside::Nothing {
            figures.push(Figure::new(
                name.as_str(),
                "rows",
                "rows/s",
                column(rounds, &|round| {
                    f64::from(table.rows) / round.took.as_secs_f64()
                }),
            ));
        }
    }
    report.add(
        "latency",
        format!(
            "{}: an application of {:.0} operations/s, {:.0}% of what the server can take",
            table.name(),
            most * LOAD,
            LOAD * 100.0
        ),
        figures,
    );
    Ok(())
}

async fn round(server: &Server, table: &Table, pace: Pace, beside: Beside) -> Result<Round, Error> {
    let client = turn(server).await?;
    let work = Work::Shapes;
    if beside == Beside::PlainUpdate
        && let Some(columns) = work.columns()
    {
        client.batch_execute(columns).await?;
    }
    if let Beside::Peer(peer) = beside {
        peer.prepare(&server.url(TURN)).await?;
    }
    client
        .batch_execute(
            "CREATE TABLE control (id bigint PRIMARY KEY, note text); INSERT INTO control VALUES (1, '')",
        )
        .await?;
    settle(&client).await?;
    let mut options = ProbeOptions::new(server.url(TURN));
    options.per_second = 20.0;
    let target = ProbeTarget {
        read: "SELECT note FROM users WHERE id = 1".to_owned(),
        write: "UPDATE users SET note = 'probe' WHERE id = 1".to_owned(),
    };
    let probe = StallProbe::start(options, target).await?;
    let traffic = Traffic::start(server, table.rows, pace).await?;
    let begun = Instant::now();
    let mut took = None;
    match beside {
        Beside::Nothing => tokio::time::sleep(ALONE).await,
        Beside::Default => {
            took = Some(
                sit(server, &plan_text(work, 1, ""), Phase::Backfill)
                    .await?
                    .backfill,
            );
        }
        Beside::Unthrottled => {
            let more = "limits: {max_batch_rows: 50000}\n";
            took = Some(
                sit(server, &plan_text(work, 2, more), Phase::Backfill)
                    .await?
                    .backfill,
            );
        }
        Beside::PlainUpdate => {
            let update = format!("UPDATE users SET {}", work.set());
            client.batch_execute(&update).await?;
        }
        Beside::Peer(peer) => peer.start(&server.url(TURN)).await?,
    }
    let took = took.unwrap_or_else(|| begun.elapsed());
    let felt = traffic.stop().await?;
    let stall = probe.stop().await;
    Ok(Round {
        felt,
        took,
        attributed: millis(stall.table.attributed),
    })
}
