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

use crate::Error;

/// Who has a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Contestant {
    /// One `UPDATE` of a table without triggers.
    Plain,
    /// The same under the triggers of the dual write.
    PlainWithTriggers,
    /// A backfill with one worker.
    OneWorker,
    /// A backfill with two workers.
    TwoWorkers,
}

impl Contestant {
    /// In the order of their turns.
    pub(crate) const ALL: [Self; 4] = [
        Self::Plain,
        Self::PlainWithTriggers,
        Self::OneWorker,
        Self::TwoWorkers,
    ];

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain UPDATE",
            Self::PlainWithTriggers => "plain UPDATE under dual-write triggers",
            Self::OneWorker => "pontoon, 1 worker",
            Self::TwoWorkers => "pontoon, 2 workers",
        }
    }
}

/// The server with the table that all copies are made from.
pub(crate) struct Contest<'a> {
    server: &'a Server,
    rows: u32,
}

/// What every contestant computes.
const UPDATE: &str =
    "UPDATE users SET amount_exact = amount::numeric, email_normalized = lower(email)";

impl<'a> Contest<'a> {
    pub(crate) async fn new(server: &'a Server, rows: u32) -> Result<Self, Error> {
        server.create_database("original").await?;
        let client = server.client("original").await?;
        client
            .batch_execute(&format!(
                "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL, amount integer NOT NULL,
                     created_at timestamptz NOT NULL DEFAULT now(), note text);
                 INSERT INTO users SELECT g, 'User' || g || '@Example.Com', g % 1000, now(), md5(g::text)
                 FROM generate_series(1, {rows}) AS g;"
            ))
            .await?;
        Ok(Self { server, rows })
    }

    /// One turn; returns how long it took.
    pub(crate) async fn turn(&self, contestant: Contestant) -> Result<Duration, Error> {
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
                timed(&client).await?
            }
            Contestant::PlainWithTriggers => {
                self.pontoon(1, Phase::DualWrite).await?;
                settle(&client).await?;
                timed(&client).await?
            }
            Contestant::OneWorker | Contestant::TwoWorkers => {
                let workers = if contestant == Contestant::OneWorker {
                    1
                } else {
                    2
                };
                self.pontoon(workers, Phase::DualWrite).await?;
                settle(&client).await?;
                self.pontoon(workers, Phase::Backfill).await?
            }
        };
        let left: i64 = client
            .query_one(
                "SELECT count(*) FROM users WHERE amount_exact IS NULL OR email_normalized <> lower(email)",
                &[],
            )
            .await?
            .get(0);
        if left != 0 {
            return Err(format!("{} left {left} of {} rows", contestant.name(), self.rows).into());
        }
        Ok(took)
    }

    /// Runs the plan up to the end of a phase; returns how long its backfill took.
    async fn pontoon(&self, workers: u32, until: Phase) -> Result<Duration, Error> {
        let text = format!(
            "plan: bench\nversion: 1\nbackfill: {{workers: {workers}}}\noperations:\n\
             \x20 - change_type: {{table: users, column: amount, to: numeric, as: amount_exact}}\n\
             \x20 - add_column: {{table: users, column: {{name: email_normalized, type: text}}, up: lower(email)}}\n"
        );
        let plan =
            plan::load("bench.yaml", &text).map_err(|findings| plan::render_all(&findings))?;
        let options = ConnectOptions::resolve(Some(&self.server.url("turn")), &|_| None)?;
        let database = Postgres::new(options)?;
        database.init(None).await?;
        let clock = Arc::new(Mutex::new((None::<Instant>, Duration::ZERO)));
        let seen = clock.clone();
        let sink = Sink::new(move |event| {
            let mut clock = seen.lock().unwrap_or_else(PoisonError::into_inner);
            match event {
                Event::StepStarted { kind, .. } if kind == "backfill" => {
                    clock.0 = Some(Instant::now());
                }
                Event::StepFinished { .. } => {
                    if let Some(begun) = clock.0.take() {
                        clock.1 = begun.elapsed();
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
        if sitting.ending != Ending::Until {
            return Err(format!("the run ended with {:?}", sitting.ending).into());
        }
        let took = clock.lock().unwrap_or_else(PoisonError::into_inner).1;
        Ok(took)
    }
}

/// Brings a copy into the state that each turn begins with.
async fn settle(client: &Client) -> Result<(), Error> {
    client.batch_execute("VACUUM (ANALYZE) users").await?;
    client.batch_execute("CHECKPOINT").await?;
    Ok(())
}

async fn timed(client: &Client) -> Result<Duration, Error> {
    let begun = Instant::now();
    client.batch_execute(UPDATE).await?;
    Ok(begun.elapsed())
}
