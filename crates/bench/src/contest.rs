//! The contestants and their table.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use pontoon_core::plan;
use pontoon_core::step::Phase;
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;
use pontoon_engine::db::{Database, Holder};
use pontoon_engine::event::{Event, Sink};
use pontoon_engine::run::{self, Ending, RunOptions};
use pontoon_sandbox::Server;
use tokio_postgres::Client;
use tokio_util::sync::CancellationToken;

use crate::{Error, cpu};

/// Who has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// One `UPDATE` of a table without triggers.
    Plain,
    /// The same under the triggers of the dual write.
    PlainWithTriggers,
    /// The backfill of a dual write with one worker.
    OneWorker,
    /// The same with two workers.
    TwoWorkers,
    /// One `UPDATE … SET note = 'none' WHERE note IS NULL`, no triggers.
    PlainConstant,
    /// The operation `backfill` that does the same, with one worker.
    OperationOneWorker,
    /// The same with two workers.
    OperationTwoWorkers,
}

impl Contestant {
    /// In the order of their turns.
    pub(crate) const ALL: [Self; 7] = [
        Self::Plain,
        Self::PlainWithTriggers,
        Self::OneWorker,
        Self::TwoWorkers,
        Self::PlainConstant,
        Self::OperationOneWorker,
        Self::OperationTwoWorkers,
    ];

    /// Whom it is compared with.
    pub(crate) fn rival(self) -> Self {
        match self {
            Self::Plain | Self::PlainWithTriggers => Self::Plain,
            Self::OneWorker | Self::TwoWorkers => Self::PlainWithTriggers,
            Self::PlainConstant | Self::OperationOneWorker | Self::OperationTwoWorkers => {
                Self::PlainConstant
            }
        }
    }

    /// The share of its rival's rate that it must reach.
    pub(crate) fn goal(self) -> Option<f64> {
        match self {
            Self::Plain | Self::PlainWithTriggers | Self::PlainConstant => None,
            Self::OneWorker | Self::OperationOneWorker => Some(0.9),
            Self::TwoWorkers | Self::OperationTwoWorkers => Some(1.4),
        }
    }

    fn workers(self) -> u32 {
        match self {
            Self::TwoWorkers | Self::OperationTwoWorkers => 2,
            Self::Plain
            | Self::PlainWithTriggers
            | Self::OneWorker
            | Self::PlainConstant
            | Self::OperationOneWorker => 1,
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain UPDATE",
            Self::PlainWithTriggers => "plain UPDATE under dual-write triggers",
            Self::OneWorker => "dual write's backfill, 1 worker",
            Self::TwoWorkers => "dual write's backfill, 2 workers",
            Self::PlainConstant => "plain UPDATE to a constant",
            Self::OperationOneWorker => "operation backfill, 1 worker",
            Self::OperationTwoWorkers => "operation backfill, 2 workers",
        }
    }
}

/// What a turn cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// From the first batch to the last commit.
    pub(crate) wall: Duration,
    /// Processor time of the server meanwhile; zero where it cannot be told.
    pub(crate) cpu: Duration,
}

/// The server with the table that all copies are made from.
pub(crate) struct Contest<'a> {
    server: &'a Server,
    rows: u32,
}

/// What a dual write's backfill computes, as a statement and as operations.
const UPDATE: &str =
    "UPDATE users SET amount_exact = amount::numeric, email_normalized = lower(email)";
const SHAPES: &str = "
  - change_type: {table: users, column: amount, to: numeric, as: amount_exact}
  - add_column: {table: users, column: {name: email_normalized, type: text}, up: lower(email)}
";
/// A backfill that no trigger covers.
const UPDATE_CONSTANT: &str = "UPDATE users SET note = 'none' WHERE note IS NULL";
const CONSTANT: &str = "
  - backfill: {table: users, set: {note: \"'none'\"}, where: note IS NULL}
";

impl<'a> Contest<'a> {
    pub(crate) async fn new(server: &'a Server, rows: u32) -> Result<Self, Error> {
        server.create_database("original").await?;
        let client = server.client("original").await?;
        client
            .batch_execute(&format!(
                "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, amount integer NOT NULL,
                     created_at timestamptz NOT NULL DEFAULT now(), note text);
                 INSERT INTO users SELECT g, 'User' || g || '@Example.Com', g % 1000, now(), NULL
                 FROM generate_series(1, {rows}) AS g;"
            ))
            .await?;
        Ok(Self { server, rows })
    }

    /// One turn.
    pub(crate) async fn turn(&self, contestant: Contestant) -> Result<Turn, Error> {
        let admin = self.server.client("postgres").await?;
        admin
            .batch_execute("DROP DATABASE IF EXISTS turn WITH (FORCE)")
            .await?;
        admin
            .batch_execute("CREATE DATABASE turn TEMPLATE original")
            .await?;
        let client = self.server.client("turn").await?;
        let took = match contestant {
            Contestant::Plain => {
                client
                    .batch_execute(
                        "ALTER TABLE users ADD amount_exact numeric, ADD email_normalized text",
                    )
                    .await?;
                settle(&client).await?;
                self.timed(&client, UPDATE).await?
            }
            Contestant::PlainWithTriggers => {
                self.pontoon(SHAPES, 1, Phase::DualWrite).await?;
                settle(&client).await?;
                self.timed(&client, UPDATE).await?
            }
            Contestant::OneWorker | Contestant::TwoWorkers => {
                let workers = contestant.workers();
                self.pontoon(SHAPES, workers, Phase::DualWrite).await?;
                settle(&client).await?;
                self.pontoon(SHAPES, workers, Phase::Backfill).await?
            }
            Contestant::PlainConstant => {
                settle(&client).await?;
                self.timed(&client, UPDATE_CONSTANT).await?
            }
            Contestant::OperationOneWorker | Contestant::OperationTwoWorkers => {
                settle(&client).await?;
                self.pontoon(CONSTANT, contestant.workers(), Phase::Backfill)
                    .await?
            }
        };
        let wrong = match contestant.rival() {
            Contestant::PlainConstant => "note IS NULL",
            _ => "amount_exact IS NULL OR email_normalized <> lower(email)",
        };
        let left: i64 = client
            .query_one(&format!("SELECT count(*) FROM users WHERE {wrong}"), &[])
            .await?
            .get(0);
        if left != 0 {
            return Err(format!("{} left {left} of {} rows", contestant.name(), self.rows).into());
        }
        Ok(took)
    }

    /// Runs the plan up to the end of a phase; returns how long its backfill took.
    async fn pontoon(&self, operations: &str, workers: u32, until: Phase) -> Result<Turn, Error> {
        let text = format!(
            "plan: bench\nversion: 1\nbackfill: {{workers: {workers}}}\noperations:\n{operations}"
        );
        let plan =
            plan::load("bench.yaml", &text).map_err(|findings| plan::render_all(&findings))?;
        let options = ConnectOptions::resolve(Some(&self.server.url("turn")), &|_| None)?;
        let database = Postgres::new(options)?;
        database.init(None).await?;
        let clock = Arc::new(Mutex::new((None::<Clock>, None::<Turn>)));
        let (seen, postmaster) = (clock.clone(), self.server.pid());
        let sink = Sink::new(move |event| {
            let mut clock = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::StepStarted { kind, .. } if kind == "backfill" => {
                    clock.0 = Some(Clock::start(postmaster));
                }
                Event::StepFinished { .. } => {
                    if let Some(begun) = clock.0.take() {
                        clock.1 = Some(begun.stop());
                    }
                }
                _ => {}
            }
        });
        let options = RunOptions {
            holder: Holder {
                host: "bench".to_owned(),
                pid: std::process::id(),
                boot: "bench".to_owned(),
                user: "bench".to_owned(),
            },
            until_gate: None,
            until_phase: Some(until),
            approve: Vec::new(),
            wait_gates: false,
        };
        let sitting = run::run(&database, &plan, options, sink, CancellationToken::new()).await?;
        if !matches!(sitting.ending, Ending::Until | Ending::Completed) {
            return Err(format!("the run ended with {:?}", sitting.ending).into());
        }
        let took = clock.lock().unwrap_or_else(PoisonError::into_inner).1;
        // Without a backfill there is nothing to tell.
        Ok(took.unwrap_or(Turn {
            wall: Duration::ZERO,
            cpu: Duration::ZERO,
        }))
    }

    async fn timed(&self, client: &Client, statement: &str) -> Result<Turn, Error> {
        let clock = Clock::start(self.server.pid());
        client.batch_execute(statement).await?;
        Ok(clock.stop())
    }
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

/// Brings a copy into the state that each turn begins with.
async fn settle(client: &Client) -> Result<(), Error> {
    client.batch_execute("VACUUM (ANALYZE) users").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}
