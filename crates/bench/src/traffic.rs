//! An application: each operation reads one row or writes one, by its key.

use std::time::{Duration, Instant};

use pontoon_sandbox::Server;
use pontoon_sandbox::app::Histogram;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::server::TURN;

/// Connections.
const CLIENTS: u32 = 4;

/// When the next operation begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// As soon as the one before has ended.
    Closed,
    /// At fixed times, all clients together so many a second. Latency counts
    /// from the time at which it should have begun, so that a stall shows in
    /// every operation that it delays.
    Open { per_second: f64 },
}

/// Traffic under way.
pub(crate) struct Traffic {
    stop: CancellationToken,
    clients: JoinSet<Result<Histogram, Error>>,
    begun: Instant,
}

/// What it felt.
#[derive(Clone, Debug)]
pub(crate) struct Felt {
    pub(crate) latency: Histogram,
    pub(crate) per_second: f64,
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
        for (number, client) in (0..CLIENTS).zip(connected) {
            let stop = stop.clone();
            clients.spawn(async move {
                let read = client
                    .prepare("SELECT email, amount, note FROM users WHERE id = $1")
                    .await?;
                let write = client
                    .prepare("UPDATE users SET note = $2 WHERE id = $1")
                    .await?;
                let mut latency = Histogram::default();
                let mut at = Walk::new(number, rows);
                let gap = match pace {
                    Pace::Closed => Duration::ZERO,
                    Pace::Open { per_second } => {
                        Duration::from_secs_f64(f64::from(CLIENTS) / per_second)
                    }
                };
                let mut due = begun + gap * number / CLIENTS;
                let mut turn = 0_u32;
                while !stop.is_cancelled() {
                    match pace {
                        Pace::Closed => due = Instant::now(),
                        Pace::Open { .. } => tokio::time::sleep_until(due.into()).await,
                    }
                    let id = at.next();
                    if turn.is_multiple_of(2) {
                        client.query(&read, &[&id]).await?;
                    } else {
                        client.execute(&write, &[&id, &"seen"]).await?;
                    }
                    latency.record(due.elapsed());
                    due += gap;
                    turn = turn.wrapping_add(1);
                }
                Ok(latency)
            });
        }
        Ok(Self {
            stop,
            clients,
            begun,
        })
    }

    /// Ends it.
    pub(crate) async fn stop(mut self) -> Result<Felt, Error> {
        self.stop.cancel();
        let mut latency = Histogram::default();
        while let Some(client) = self.clients.join_next().await {
            latency.merge(&client??);
        }
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let count = latency.count() as f64;
        Ok(Felt {
            latency,
            per_second: count / self.begun.elapsed().as_secs_f64(),
        })
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
