//! Who has a turn, and how.

use std::time::{Duration, Instant};

use pontoon_core::step::Phase;
use pontoon_sandbox::Server;
use tokio_postgres::Client;

use super::loops;
use crate::peers::{Peer, on_path};
use crate::report::Goal;
use crate::server::{TURN, settle, turn};
use crate::sitting::{FULL_SPEED, plan_text, sit};
use crate::table::{Table, Work};
use crate::{Error, cpu};

/// Who has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// One `UPDATE` of a table without triggers.
    Plain,
    /// The same under the triggers of the dual write.
    UnderTriggers,
    /// Two `UPDATE`s side by side, one half of the pages each.
    Halves,
    /// The same under the triggers of the dual write.
    HalvesUnderTriggers,
    /// Batches along the key in a PL/pgSQL procedure that commits.
    PlPgSql,
    /// Batches along the key, each a psql of its own, as a shell script has it.
    Psql,
    /// Us, with so many workers.
    Pontoon(u32),
    /// Another tool.
    Peer(Peer),
}

/// What a turn cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    pub(crate) wall: Duration,
    /// Processor time of the server; zero where it cannot be told.
    pub(crate) cpu: Duration,
}

impl Contestant {
    /// In the order of their turns.
    pub(crate) fn all(work: Work) -> Vec<Self> {
        let mut all = vec![Self::Plain, Self::Halves, Self::PlPgSql];
        if on_path("psql").is_some() {
            all.push(Self::Psql);
        }
        if work == Work::Shapes {
            all.extend([Self::UnderTriggers, Self::HalvesUnderTriggers]);
        }
        all.extend([1, 2, 4].map(Self::Pontoon));
        if work == Work::Shapes {
            all.extend(Peer::found().into_iter().map(Self::Peer));
        }
        all
    }

    /// Whom it is compared with, and what it shall reach.
    pub(crate) fn rivals(self, work: Work) -> Vec<(Self, Option<Goal>)> {
        let same = match work {
            Work::Shapes => Self::UnderTriggers,
            Work::Constant => Self::Plain,
        };
        match self {
            Self::Plain => Vec::new(),
            Self::UnderTriggers
            | Self::Halves
            | Self::HalvesUnderTriggers
            | Self::PlPgSql
            | Self::Psql => vec![(Self::Plain, None)],
            Self::Pontoon(workers) => {
                let goal = match workers {
                    1 => Some(Goal::AtLeast(0.9)),
                    2 => Some(Goal::AtLeast(1.5)),
                    _ => None,
                };
                let mut rivals = vec![(same, goal)];
                if work == Work::Shapes {
                    rivals.push((Self::Plain, None));
                }
                if workers > 1 {
                    let halves = match work {
                        Work::Shapes => Self::HalvesUnderTriggers,
                        Work::Constant => Self::Halves,
                    };
                    rivals.push((halves, None));
                }
                rivals
            }
            Self::Peer(_) => vec![(Self::Pontoon(1), Some(Goal::AtMost(0.4)))],
        }
    }

    /// For people.
    pub(crate) fn name(self, work: Work) -> String {
        match self {
            Self::Plain => "plain UPDATE".to_owned(),
            Self::UnderTriggers => "plain UPDATE under dual-write triggers".to_owned(),
            Self::Halves => "two plain UPDATEs, half each".to_owned(),
            Self::HalvesUnderTriggers => "two plain UPDATEs under triggers".to_owned(),
            Self::PlPgSql => "keyset loop in PL/pgSQL".to_owned(),
            Self::Psql => "keyset loop from psql".to_owned(),
            Self::Pontoon(workers) => {
                let what = match work {
                    Work::Shapes => "dual write's backfill",
                    Work::Constant => "operation backfill",
                };
                let s = if workers == 1 { "" } else { "s" };
                format!("Pontoon, {what}, {workers} worker{s}")
            }
            Self::Peer(peer) => peer.name().to_owned(),
        }
    }

    /// One turn.
    pub(crate) async fn turn(
        self,
        server: &Server,
        table: &Table,
        work: Work,
    ) -> Result<Turn, Error> {
        let client = turn(server).await?;
        let clock = |client: Client| async move {
            settle(&client).await?;
            Ok::<_, Error>((client, Clock::start(server.pid())))
        };
        let update = |filter: &str| format!("UPDATE users SET {} WHERE {filter}", work.set());
        let whole = update(work.filter());
        let turn = match self {
            Self::Plain | Self::Halves | Self::PlPgSql | Self::Psql => {
                if let Some(columns) = work.columns() {
                    client.batch_execute(columns).await?;
                }
                let (client, clock) = clock(client).await?;
                match self {
                    Self::Halves => halves(server, &client, &update).await?,
                    Self::PlPgSql => loops::plpgsql(&client, table, work).await?,
                    Self::Psql => loops::psql(server, table, work).await?,
                    _ => client.batch_execute(&whole).await?,
                }
                clock.stop()
            }
            Self::UnderTriggers | Self::HalvesUnderTriggers => {
                sit(server, &plan_text(work, "", ""), Phase::DualWrite).await?;
                let (client, clock) = clock(client).await?;
                match self {
                    Self::HalvesUnderTriggers => halves(server, &client, &update).await?,
                    _ => client.batch_execute(&whole).await?,
                }
                clock.stop()
            }
            Self::Pontoon(workers) => {
                let plan = plan_text(work, &format!("workers: {workers}, {FULL_SPEED}"), "");
                if work == Work::Shapes {
                    sit(server, &plan, Phase::DualWrite).await?;
                }
                settle(&client).await?;
                let took = sit(server, &plan, Phase::Backfill).await?;
                Turn {
                    wall: took.backfill,
                    cpu: took.backfill_cpu,
                }
            }
            Self::Peer(peer) => {
                peer.prepare(&server.url(TURN)).await?;
                let (_, clock) = clock(client).await?;
                peer.start(&server.url(TURN)).await?;
                // What its users see is a view; rows are its own affair.
                return Ok(clock.stop());
            }
        };
        let client = server.client(TURN).await?;
        let wrong: i64 = client
            .query_one(
                &format!("SELECT count(*) FROM users WHERE {}", work.wrong()),
                &[],
            )
            .await?
            .get(0);
        if wrong != 0 {
            return Err(format!("{} left {wrong} rows", self.name(work)).into());
        }
        Ok(turn)
    }
}

/// Two statements side by side, each on one half of the pages.
async fn halves(
    server: &Server,
    client: &Client,
    update: &impl Fn(&str) -> String,
) -> Result<(), Error> {
    let pages: i64 = client
        .query_one(
            "SELECT pg_relation_size('users') / current_setting('block_size')::bigint",
            &[],
        )
        .await?
        .get(0);
    let other = server.client(TURN).await?;
    for client in [client, &other] {
        client
            .batch_execute(
                "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_indexscan = off",
            )
            .await?;
    }
    let half = pages / 2;
    let below = update(&format!("ctid < '({half},0)'"));
    let above = update(&format!("ctid >= '({half},0)' AND ctid < '({pages},0)'"));
    tokio::try_join!(client.batch_execute(&below), other.batch_execute(&above))?;
    Ok(())
}

/// A turn under way.
struct Clock {
    begun: Instant,
    postmaster: Option<u32>,
    cpu: Duration,
}

impl Clock {
    fn start(postmaster: Option<u32>) -> Self {
        Self {
            begun: Instant::now(),
            postmaster,
            cpu: postmaster.and_then(cpu::of_server).unwrap_or_default(),
        }
    }

    fn stop(self) -> Turn {
        let wall = self.begun.elapsed();
        let now = self.postmaster.and_then(cpu::of_server).unwrap_or_default();
        Turn {
            wall,
            cpu: now.saturating_sub(self.cpu),
        }
    }
}
