//! An application: each operation reads one row or writes one, by its key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pontoon_sandbox::Server;
use pontoon_sandbox::app::Histogram;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::server::TURN;

/// Connections. Enough that operations which arrive at fixed times seldom wait
/// for one: a pool that is too small turns every hiccup into a queue.
const CLIENTS: u32 = 16;

/// When the next operation begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the one before has ended.
    Closed,
    /// At fixed times, all clients together so many a second. Latency counts
    /// from the time at which an operation should have begun, so that a stall
    /// shows in every operation that it delays.
    Open { per_second: f64 },
}

/// Traffic under way.
pub(crate) struct Traffic {
    stop: CancellationToken,
    clients: JoinSet<Result<(), Error>>,
    /// What each client has felt since the last look.
    latencies: Vec<Arc<Mutex<Histogram>>>,
    since: Instant,
}

/// What it felt between two looks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Felt {
    pub(crate) latency: Histogram,
    elapsed: Duration,
}

impl Felt {
    /// Of several looks.
    pub(crate) fn all<'a>(looks: impl IntoIterator<Item = &'a Self>) -> Self {
        let mut all = Self::default();
        for look in looks {
            all.latency.merge(&look.latency);
            all.elapsed += look.elapsed;
        }
        all
    }

    /// Operations a second.
    pub(crate) fn per_second(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = self.latency.count() as f64;
        count / self.elapsed.as_secs_f64()
    }
}

impl Traffic {
    /// Begins on a table with a bigint key from 1 to `rows`.
    pub(crate) async fn start(server: &Server, rows: u32, pace: Pace) -> Result<Self, Error> {
        let stop = CancellationToken::new();
        let mut connected = Vec::new();
        for _ in 0..CLIENTS {
            connected.push(server.client(TURN).await?);
        }
        let begun = Instant::now();
        let mut clients = JoinSet::new();
        let mut latencies = Vec::new();
        for (number, client) in (0..CLIENTS).zip(connected) {
            let latency = Arc::new(Mutex::new(Histogram::default()));
            latencies.push(latency.clone());
            let due = Due::new(pace, begun, number);
            let keys = Walk::new(number, rows);
            clients.spawn(operate(client, due, keys, latency, stop.clone()));
        }
        Ok(Self {
            stop,
            clients,
            latencies,
            since: begun,
        })
    }

    /// What was felt since it began, or since the last look.
    pub(crate) fn look(&mut self) -> Felt {
        let mut latency = Histogram::default();
        for one in &self.latencies {
            latency.merge(&std::mem::take(&mut *lock(one)));
        }
        let elapsed = std::mem::replace(&mut self.since, Instant::now()).elapsed();
        Felt { latency, elapsed }
    }

    /// Looks at it every so often until something else has ended.
    pub(crate) async fn watch<T>(
        &mut self,
        every: Duration,
        until: impl Future<Output = T>,
    ) -> (Vec<Felt>, T) {
        let mut until = std::pin::pin!(until);
        let mut looks = Vec::new();
        loop {
            tokio::select! {
                result = &mut until => {
                    looks.push(self.look());
                    return (looks, result);
                }
                () = tokio::time::sleep(every) => looks.push(self.look()),
            }
        }
    }

    /// Ends it, once every operation has ended whose time had come.
    pub(crate) async fn stop(mut self) -> Result<Felt, Error> {
        self.stop.cancel();
        while let Some(client) = self.clients.join_next().await {
            client??;
        }
        Ok(self.look())
    }
}

/// One client: reads and writes in turn.
async fn operate(
    client: Client,
    mut due: Due,
    mut keys: Walk,
    latency: Arc<Mutex<Histogram>>,
    stop: CancellationToken,
) -> Result<(), Error> {
    let read = client
        .prepare("SELECT email, amount, note FROM users WHERE id = $1")
        .await?;
    let write = client
        .prepare("UPDATE users SET note = $2 WHERE id = $1")
        .await?;
    let mut turn = 0_u32;
    while due.is_late() || !stop.is_cancelled() {
        let begun = due.next().await;
        let id = keys.next();
        if turn.is_multiple_of(2) {
            client.query(&read, &[&id]).await?;
        } else {
            client.execute(&write, &[&id, &"seen"]).await?;
        }
        lock(&latency).record(begun.elapsed());
        turn = turn.wrapping_add(1);
    }
    Ok(())
}

fn lock(latency: &Mutex<Histogram>) -> std::sync::MutexGuard<'_, Histogram> {
    latency.lock().unwrap_or_else(PoisonError::into_inner)
}

/// When a client's operations begin.
struct Due {
    /// The next one's time and the gap between two; `None`: at once.
    timetable: Option<(Instant, Duration)>,
}

impl Due {
    fn new(pace: Pace, begun: Instant, number: u32) -> Self {
        let timetable = match pace {
            Pace::Closed => None,
            Pace::Open { per_second } => {
                let gap = Duration::from_secs_f64(f64::from(CLIENTS) / per_second);
                Some((begun + gap * number / CLIENTS, gap))
            }
        };
        Self { timetable }
    }

    /// The next operation's time has come already.
    fn is_late(&self) -> bool {
        self.timetable.is_some_and(|(due, _)| due <= Instant::now())
    }

    /// Waits for the next operation's time, and tells from when it counts. A
    /// client that was free waits for its timer, whose lateness (a millisecond)
    /// is none of the server's; one that was not is late by all that it missed.
    async fn next(&mut self) -> Instant {
        let Some((due, gap)) = &mut self.timetable else {
            return Instant::now();
        };
        let this = *due;
        *due += *gap;
        if this <= Instant::now() {
            return this;
        }
        tokio::time::sleep_until(this.into()).await;
        Instant::now()
    }
}

/// Keys spread over the whole table, the same in every round (a Weyl
/// sequence: multiples of the golden ratio).
struct Walk {
    state: u64,
    rows: u64,
}

impl Walk {
    fn new(number: u32, rows: u32) -> Self {
        Self {
            state: u64::from(number) << 61,
            rows: u64::from(rows),
        }
    }

    fn next(&mut self) -> i64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let spread = (u128::from(self.state) * u128::from(self.rows)) >> 64;
        i64::try_from(spread).unwrap_or_default() + 1
    }
}
