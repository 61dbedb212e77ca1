//! What the application feels while a backfill runs.
//!
//! Operations arrive at fixed times, at 30% of what the server can take. In
//! each turn of a contestant the same application is first looked at alone,
//! then beside it, so that both meet the same neighbours of the machine; turns
//! are interleaved.

use std::time::{Duration, Instant};

use pontoon_core::step::Phase;
use pontoon_sandbox::Server;
use pontoon_sandbox::app::{ProbeOptions, ProbeTarget, StallProbe};
use tokio_postgres::Client;

use crate::Error;
use crate::args::Arguments;
use crate::peers::Peer;
use crate::report::{Figure, Goal, Report, median, millis};
use crate::server::{TURN, original, settle, turn};
use crate::sitting::{FULL_SPEED, plan_text, sit, with_keys};
use crate::table::{Table, Work};
use crate::traffic::{Felt, Pace, Traffic};

/// Of what the server can take.
const LOAD: f64 = 0.3;
/// Traffic before anything is measured: the first write of each page after a
/// checkpoint logs the whole page, for whoever comes first.
const WARM: Duration = Duration::from_secs(4);
/// How long is looked at traffic alone.
const ALONE: Duration = Duration::from_secs(12);
/// How long a look at the traffic is.
const LOOK: Duration = Duration::from_millis(500);
/// What `max_lock_duration` is by default, in milliseconds.
const MAX_LOCK_DURATION: f64 = 500.0;

/// What goes on beside the application.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Beside {
    /// As a plan is that says nothing of throttle and batches.
    Default,
    /// As one that has these keys, separated by semicolons.
    Keys(String),
    /// As fast as it goes.
    Unthrottled,
    /// One statement.
    PlainUpdate,
    Peer(Peer),
}

impl Beside {
    fn all(keys: &[String]) -> Vec<Self> {
        let mut all = vec![Self::Default];
        all.extend(keys.iter().cloned().map(Self::Keys));
        all.extend([Self::Unthrottled, Self::PlainUpdate]);
        all.extend(Peer::found().into_iter().map(Self::Peer));
        all
    }

    fn name(&self) -> String {
        match self {
            Self::Default => "Pontoon, defaults".to_owned(),
            Self::Keys(keys) => format!("Pontoon, {keys}"),
            Self::Unthrottled => "Pontoon, 2 workers, 50,000 rows a batch".to_owned(),
            Self::PlainUpdate => "plain UPDATE".to_owned(),
            Self::Peer(peer) => peer.name().to_owned(),
        }
    }
}

/// One turn of one contestant.
struct Turn {
    /// Before it began, look by look.
    alone: Vec<Felt>,
    /// While it ran.
    beside: Vec<Felt>,
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
    let table = Table::usual(arguments.rows_or(500_000, 2_000_000));
    original(server, &table).await?;
    let client = turn(server).await?;
    settle(&client).await?;
    let mut closed = Traffic::start(server, table.rows, Pace::Closed).await?;
    tokio::time::sleep(WARM).await;
    closed.look();
    tokio::time::sleep(ALONE).await;
    let most = closed.stop().await?.per_second();
    drop(client);
    let pace = Pace::Open {
        per_second: most * LOAD,
    };
    let mut contestants = Beside::all(&arguments.beside);
    contestants.retain(|beside| arguments.keeps(&beside.name()));
    let mut turns: Vec<Vec<Turn>> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..arguments.rounds() {
        for (beside, turns) in contestants.iter().zip(&mut turns) {
            turns.push(take_turn(server, &table, pace, beside).await?);
        }
    }
    let figures = contestants
        .iter()
        .zip(&turns)
        .flat_map(|(beside, turns)| figures(beside, turns, table.rows))
        .collect();
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

/// What one contestant's turns were like. Latencies are those of all turns
/// together, since one turn is too short for a tail; the tail of the typical
/// half second leaves out what the machine does to everybody now and then.
fn figures(beside: &Beside, turns: &[Turn], rows: u32) -> Vec<Figure> {
    let name = beside.name();
    let before = format!("{name}: before it");
    let column = |value: &dyn Fn(&Turn) -> f64| turns.iter().map(value).collect::<Vec<f64>>();
    let beside_is_ours = *beside == Beside::Default;
    let mut figures = Vec::new();
    for (what, share) in [
        ("p50", 0.5),
        ("p99", 0.99),
        ("p99.9", 0.999),
        ("worst", 1.0),
    ] {
        let goal = (beside_is_ours && what == "p99").then_some(Goal::AtMost(1.5));
        let of = |felt: &Felt| millis(felt.latency.percentile(share));
        let mut alone = Figure::new(
            before.as_str(),
            what,
            "ms",
            column(&|turn| of(&Felt::all(&turn.alone))),
        );
        let mut during = Figure::new(
            name.as_str(),
            what,
            "ms",
            column(&|turn| of(&Felt::all(&turn.beside))),
        );
        alone.median = of(&Felt::all(turns.iter().flat_map(|turn| &turn.alone)));
        during.median = of(&Felt::all(turns.iter().flat_map(|turn| &turn.beside)));
        figures.extend([during.beside(&alone, goal), alone]);
    }
    let typical = |looks: &[Felt]| {
        let each: Vec<f64> = looks
            .iter()
            .map(|felt| millis(felt.latency.percentile(0.99)))
            .collect();
        median(&each)
    };
    let what = "p99 of the typical half second";
    let alone = Figure::new(before, what, "ms", column(&|turn| typical(&turn.alone)));
    let during = Figure::new(
        name.as_str(),
        what,
        "ms",
        column(&|turn| typical(&turn.beside)),
    );
    figures.extend([during.beside(&alone, None), alone]);
    figures.push(Figure::new(
        name.as_str(),
        "throughput",
        "operations/s",
        column(&|turn| Felt::all(&turn.beside).per_second()),
    ));
    if matches!(
        beside,
        Beside::Default | Beside::Keys(_) | Beside::Unthrottled
    ) {
        let waits = column(&|turn| turn.attributed);
        let worst = waits.iter().copied().fold(0.0, f64::max);
        let limit = Figure::new("max_lock_duration", "limit", "ms", vec![MAX_LOCK_DURATION]);
        let mut figure = Figure::new(name.as_str(), "worst wait for us, any turn", "ms", waits);
        figure.median = worst;
        figures.push(figure.beside(&limit, Some(Goal::AtMost(1.0))));
    }
    figures.push(Figure::new(
        name,
        "rows",
        "rows/s",
        column(&|turn| f64::from(rows) / turn.took.as_secs_f64()),
    ));
    figures
}

async fn take_turn(
    server: &Server,
    table: &Table,
    pace: Pace,
    beside: &Beside,
) -> Result<Turn, Error> {
    let client = turn(server).await?;
    let work = Work::Shapes;
    if *beside == Beside::PlainUpdate
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
    // Each look at who waits costs the server a millisecond or two, which the application feels.
    options.sampling = Duration::from_millis(50);
    let target = ProbeTarget {
        read: "SELECT note FROM users WHERE id = 1".to_owned(),
        write: "UPDATE users SET note = 'probe' WHERE id = 1".to_owned(),
    };
    let probe = StallProbe::start(options, target).await?;
    let mut traffic = Traffic::start(server, table.rows, pace).await?;
    tokio::time::sleep(WARM).await;
    traffic.look();
    let (alone, ()) = traffic.watch(LOOK, tokio::time::sleep(ALONE)).await;
    let (mut felt, took) = traffic.watch(LOOK, backfill(server, &client, beside)).await;
    let took = took?;
    felt.push(traffic.stop().await?);
    let stall = probe.stop().await;
    Ok(Turn {
        alone,
        beside: felt,
        took,
        attributed: millis(stall.table.attributed),
    })
}

/// Has the contestant do its work, and tells how long it took.
async fn backfill(server: &Server, client: &Client, beside: &Beside) -> Result<Duration, Error> {
    let begun = Instant::now();
    let plan = match beside {
        Beside::Default => plan_text(Work::Shapes, "", ""),
        Beside::Keys(keys) => {
            let keys: Vec<&str> = keys.split(';').map(str::trim).collect();
            with_keys(Work::Shapes, &keys.join("\n"))
        }
        Beside::Unthrottled => plan_text(
            Work::Shapes,
            &format!("workers: 2, {FULL_SPEED}"),
            "limits: {max_batch_rows: 50000}\n",
        ),
        Beside::PlainUpdate => {
            let update = format!("UPDATE users SET {}", Work::Shapes.set());
            client.batch_execute(&update).await?;
            return Ok(begun.elapsed());
        }
        Beside::Peer(peer) => {
            peer.start(&server.url(TURN)).await?;
            return Ok(begun.elapsed());
        }
    };
    Ok(sit(server, &plan, Phase::Backfill).await?.backfill)
}
