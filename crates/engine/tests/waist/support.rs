//! A database with a run on it, and sessions that get in its way.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use pontoon_core::catalog::ColumnDef;
use pontoon_core::name::TableName;
use pontoon_core::plan::{BackfillOptions, Limits};
use pontoon_core::step::{Action, Change, Ddl, Phase, Program, SqlText, Step, Undo, WIRE_VERSION};
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;
use pontoon_engine::db::{
    ActReport, Budget, Database, DbError, Direction, Fence, Holder, NewRun, Settings, StepRecord,
};
use pontoon_engine::event::{Event, Sink};
use pontoon_sandbox::TestDatabase;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

pub(crate) const TTL: Duration = Duration::from_secs(30);

pub(crate) fn postgres(url: &str) -> Postgres {
    let options = ConnectOptions::resolve(Some(url), &|_| None).expect("the URL is valid");
    Postgres::new(options).expect("the pools can be made")
}

/// A fresh database with our schema.
pub(crate) async fn fresh() -> (TestDatabase, Postgres) {
    let database = TestDatabase::create(None).await.expect("a database");
    let pg = postgres(&database.url());
    pg.init(None).await.expect("init");
    (database, pg)
}

pub(crate) fn table(name: &str) -> TableName {
    TableName::new("public", name)
}

pub(crate) fn column(name: &str, type_name: &str) -> ColumnDef {
    ColumnDef {
        name: name.into(),
        type_name: type_name.into(),
        collation: None,
        nullable: true,
        default: None,
        identity: None,
        generated: None,
        comment: None,
    }
}

pub(crate) fn add_column(on: &str, name: &str) -> Change {
    Change::AddColumn {
        table: table(on),
        column: column(name, "integer"),
    }
}

pub(crate) fn drop_column(on: &str, name: &str) -> Change {
    Change::DropColumn {
        table: table(on),
        column: name.into(),
    }
}

pub(crate) fn ddl(changes: Vec<Change>) -> Action {
    Action::Ddl(Ddl {
        changes,
        cutover: false,
    })
}

pub(crate) fn sql(text: &str) -> Action {
    Action::Sql(SqlText { text: text.into() })
}

/// Steps of the phase `expand`, in this order.
pub(crate) fn program(steps: Vec<(Action, Undo)>) -> Program {
    Program {
        wire: WIRE_VERSION,
        steps: steps
            .into_iter()
            .zip(1..)
            .map(|((action, undo), no)| Step {
                no,
                phase: Phase::Expand,
                name: format!("step {no}"),
                operations: vec![0],
                action,
                undo,
            })
            .collect(),
    }
}

pub(crate) fn new_run(plan: &str, program: Program) -> NewRun {
    NewRun {
        id: Uuid::now_v7(),
        plan: plan.into(),
        version: "20261120101500".into(),
        issue: Some("234".into()),
        operations: json!([{"add_column": {"table": "t"}}]),
        operations_hash: "ab".into(),
        program,
        program_hash: "cd".into(),
        system_identifier: "7".into(),
        catalog_fingerprint: "ef".into(),
        settings: Settings {
            limits: Limits::default(),
            backfill: BackfillOptions::default(),
            throttle: BTreeMap::from([("replication_lag".into(), "10s".into())]),
            gates: Vec::new(),
        },
    }
}

/// A holder on another machine, of which nothing can be known.
pub(crate) fn elsewhere(host: &str) -> Holder {
    Holder {
        host: host.into(),
        pid: 42,
        boot: format!("boot of {host}"),
        user: "ci".into(),
    }
}

/// A run whose lease we hold.
pub(crate) struct Held {
    pub(crate) pg: Postgres,
    pub(crate) fence: Fence,
    pub(crate) steps: Vec<StepRecord>,
    pub(crate) budget: Budget,
    pub(crate) events: Arc<Mutex<Vec<Event>>>,
}

impl Held {
    pub(crate) async fn start(pg: &Postgres, steps: Vec<(Action, Undo)>) -> Self {
        let run = new_run(&format!("plan {}", Uuid::new_v4()), program(steps));
        pg.create_run(&run).await.expect("create");
        let acquired = pg
            .acquire(run.id, &elsewhere("a"), TTL)
            .await
            .expect("acquire");
        Self {
            pg: pg.clone(),
            steps: pg.steps(run.id).await.expect("steps"),
            fence: acquired.fence,
            budget: Budget {
                max_lock_duration: Duration::from_millis(500),
                lock_patience: Duration::from_secs(60),
                live: None,
            },
            events: Arc::default(),
        }
    }

    /// One action that can be taken back by another.
    pub(crate) async fn one(pg: &Postgres, action: Action) -> Self {
        Self::start(pg, vec![(action, Undo::Nothing)]).await
    }

    pub(crate) async fn act(&self, no: usize, direction: Direction) -> Result<ActReport, DbError> {
        let events = self.events.clone();
        let sink = Sink::new(move |event| events.lock().expect("no panic").push(event));
        self.pg
            .act(
                &self.fence,
                &self.steps[no - 1],
                direction,
                &self.budget,
                &sink,
            )
            .await
    }

    pub(crate) async fn go(&self) -> Result<ActReport, DbError> {
        self.act(1, Direction::Do).await
    }

    /// The step's record now.
    pub(crate) async fn step(&self, no: usize) -> StepRecord {
        let mut steps = self.pg.steps(self.fence.run).await.expect("steps");
        steps.swap_remove(no - 1)
    }

    pub(crate) fn blockers(&self) -> Vec<pontoon_engine::event::Blocker> {
        self.events
            .lock()
            .expect("no panic")
            .iter()
            .filter_map(|event| match event {
                Event::LockWaiting { blockers, .. } => Some(blockers.clone()),
                _ => None,
            })
            .flatten()
            .collect()
    }
}

pub(crate) async fn run_sql(client: &Client, text: &str) {
    client.batch_execute(text).await.expect(text);
}

pub(crate) async fn value<T: tokio_postgres::types::FromSqlOwned>(
    client: &Client,
    query: &str,
) -> T {
    client.query_one(query, &[]).await.expect(query).get(0)
}

pub(crate) async fn pid(client: &Client) -> i32 {
    value(client, "SELECT pg_backend_pid()").await
}

/// Waits until a query answers true.
pub(crate) async fn until(client: &Client, query: &str) {
    for _ in 0..1500 {
        if value::<bool>(client, query).await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("never true: {query}");
}
