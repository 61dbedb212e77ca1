//! A database with a run that we hold, and the loops that a driver would run.

use std::collections::BTreeMap;
use std::time::Duration;

use pontoon_core::expr::{Expr, Volatility};
use pontoon_core::name::TableName;
use pontoon_core::plan::{BackfillOptions, Limits};
use pontoon_core::step::{
    Action, Backfill, BackfillWork, CursorKind, MappedColumn, Mapping, OnConflict, Phase, Program,
    Rule, Step, Sync, Undo, Verify, WIRE_VERSION,
};
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::ConnectOptions;
use pontoon_engine::db::{
    BatchReport, BatchRequest, Budget, Database, DbError, Direction, Fence, Holder, NewRun,
    RangeRecord, Scan, ScanKind, Settings, VerifyReport, VerifyRequest,
};
use pontoon_engine::event::Sink;
use pontoon_sandbox::TestDatabase;
use serde_json::json;
use tokio_postgres::Client;
use uuid::Uuid;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

pub(crate) fn postgres(url: &str) -> Postgres {
    let options = ConnectOptions::resolve(Some(url), &|_| None).expect("the URL is valid");
    Postgres::new(options).expect("the pools can be made")
}

/// An expression over columns written as `{name}`, with `{{`-free text.
pub(crate) fn expr(text: &str, columns: &[&str]) -> Expr {
    let mut template = text.to_owned();
    for column in columns {
        let quoted = column.replace('"', "\"\"");
        template = template.replace(
            &format!("{{{column}}}"),
            &format!("pontoon_row.\"{quoted}\""),
        );
    }
    Expr {
        template,
        columns: columns.iter().map(|&column| column.to_owned()).collect(),
        volatility: Volatility::Immutable,
    }
}

pub(crate) fn column(name: &str, type_name: &str) -> MappedColumn {
    MappedColumn {
        name: name.into(),
        type_name: type_name.into(),
        default: None,
    }
}

pub(crate) fn fill(old: &str, new: (&str, &str), up: &str) -> Mapping {
    Mapping {
        operation: 0,
        old: vec![column(old, "text")],
        new: vec![column(new.0, new.1)],
        rule: Rule::Fill {
            up: vec![expr(up, &[old])],
        },
        required: false,
        back: None,
    }
}

pub(crate) fn pair(old: (&str, &str), new: (&str, &str)) -> Mapping {
    Mapping {
        operation: 0,
        old: vec![column(old.0, old.1)],
        new: vec![column(new.0, new.1)],
        rule: Rule::Pair {
            up: vec![expr(&format!("({{{}}})::{}", old.0, new.1), &[old.0])],
            down: vec![expr(&format!("({{{}}})::{}", new.0, old.1), &[new.0])],
            on_conflict: OnConflict::Error,
        },
        required: false,
        back: None,
    }
}

/// One range for each table, in the first step's first pass.
pub(crate) fn scan_of(work: &Backfill) -> Scan {
    Scan {
        chase: false,
        no: 1,
        pass: 0,
        kind: ScanKind::Backfill(work.clone()),
        cursor: work.cursor,
        workers: 1,
        laps: 4,
    }
}

/// `lower_name := lower(name)`, the mapping of most tests.
pub(crate) fn lower_name() -> Vec<Mapping> {
    vec![fill("name", ("lower_name", "text"), "lower({name})")]
}

pub(crate) fn filling(table: &str, mappings: Vec<Mapping>) -> Backfill {
    Backfill {
        table: TableName::new("public", table),
        work: BackfillWork::Mappings { mappings },
        cursor: None,
    }
}

pub(crate) fn updating(table: &str, set: (&str, &str, Expr), filter: Expr) -> Backfill {
    Backfill {
        table: TableName::new("public", table),
        work: BackfillWork::Update {
            set: vec![(column(set.0, set.1), set.2)],
            filter,
        },
        cursor: None,
    }
}

/// A held run on a fresh database.
pub(crate) struct Bed {
    pub(crate) database: TestDatabase,
    pub(crate) pg: Postgres,
    pub(crate) client: Client,
    pub(crate) fence: Fence,
}

impl Bed {
    /// A fresh database with these tables.
    pub(crate) async fn new(setup: &str) -> Self {
        Self::with_steps(setup, Vec::new()).await
    }

    /// The same with a run of these steps, which follow a placeholder step 1.
    pub(crate) async fn with_steps(setup: &str, steps: Vec<Action>) -> Self {
        let database = TestDatabase::create(None).await.expect("a database");
        let client = database.client().await.expect("a client");
        client.batch_execute(setup).await.expect("the tables");
        let pg = postgres(&database.url());
        pg.init(None).await.expect("init");
        let fence = hold(&pg, steps).await;
        Self {
            database,
            pg,
            client,
            fence,
        }
    }

    /// Installs the dual write of a table.
    pub(crate) async fn with_sync(setup: &str, sync: Sync) -> Self {
        let bed = Self::with_steps(setup, vec![Action::Sync(sync)]).await;
        let steps = bed.pg.steps(bed.fence.run).await.expect("steps");
        let budget = Budget {
            max_lock_duration: Duration::from_millis(500),
            lock_patience: Duration::from_secs(30),
            live: None,
        };
        bed.pg
            .act(&bed.fence, &steps[1], Direction::Do, &budget, &Sink::none())
            .await
            .expect("the dual write is installed");
        bed
    }

    pub(crate) async fn count(&self, sql: &str) -> i64 {
        self.client.query_one(sql, &[]).await.expect(sql).get(0)
    }

    pub(crate) async fn execute(&self, sql: &str) {
        self.client.batch_execute(sql).await.expect(sql);
    }

    pub(crate) fn scan(&self, work: &Backfill) -> Scan {
        scan_of(work)
    }

    pub(crate) async fn ranges(&self, work: &Backfill) -> Vec<RangeRecord> {
        self.pg
            .ranges(&self.fence, &self.scan(work))
            .await
            .expect("ranges")
    }

    pub(crate) async fn batch(
        &self,
        work: &Backfill,
        range: &RangeRecord,
        rows: u64,
    ) -> Result<BatchReport, DbError> {
        self.pg
            .batch(&self.fence, &request(work, range, rows))
            .await
    }

    /// Every range to its end; returns the rows changed in this call.
    pub(crate) async fn finish(&self, work: &Backfill, rows: u64) -> u64 {
        self.try_finish(work, rows)
            .await
            .expect("the backfill ends")
    }

    pub(crate) async fn try_finish(&self, work: &Backfill, rows: u64) -> Result<u64, DbError> {
        let mut changed = 0;
        for _ in 0..20 {
            let ranges = self.pg.ranges(&self.fence, &self.scan(work)).await?;
            if ranges.iter().all(|range| range.done) {
                return Ok(changed);
            }
            for mut range in ranges {
                let mut batches = 0;
                while !range.done {
                    let report = self.batch(work, &range, rows).await?;
                    // What is aimed at; laps miss it by chance.
                    assert!(report.changed <= rows * 2, "{report:?}");
                    changed += report.changed;
                    range = report.range;
                    batches += 1;
                    assert!(batches < 20_000, "it never ends: {range:?}");
                    if report.rewritten {
                        break;
                    }
                }
            }
        }
        panic!("the ranges are never done");
    }

    pub(crate) fn verify_scan(&self, verify: &Verify, pass: u32) -> Scan {
        Scan {
            chase: false,
            no: 1,
            pass,
            kind: ScanKind::Verify(verify.clone()),
            cursor: None,
            workers: 1,
            laps: 1,
        }
    }

    /// A full pass; returns the ranges as they then stand.
    pub(crate) async fn verify(
        &self,
        verify: &Verify,
        pass: u32,
        repair: bool,
    ) -> Vec<RangeRecord> {
        let scan = self.verify_scan(verify, pass);
        loop {
            let ranges = self.pg.ranges(&self.fence, &scan).await.expect("ranges");
            if ranges.iter().all(|range| range.done) {
                return ranges;
            }
            for mut range in ranges {
                while !range.done {
                    let report = self.chunk(verify, &range, repair).await.expect("a chunk");
                    if report.rewritten {
                        break;
                    }
                    range = report.range;
                }
            }
        }
    }

    pub(crate) async fn chunk(
        &self,
        verify: &Verify,
        range: &RangeRecord,
        repair: bool,
    ) -> Result<VerifyReport, DbError> {
        let request = VerifyRequest {
            verify: verify.clone(),
            range: range.clone(),
            rows: 500,
            repair,
            max_rows_affected: None,
            timeout: TIMEOUT,
        };
        self.pg.verify_chunk(&self.fence, &request).await
    }

    /// A second session of the application.
    pub(crate) async fn session(&self) -> Client {
        self.database.client().await.expect("a session")
    }
}

pub(crate) fn request(work: &Backfill, range: &RangeRecord, rows: u64) -> BatchRequest {
    BatchRequest {
        backfill: work.clone(),
        range: range.clone(),
        rows,
        max_batch_rows: 10_000,
        max_rows_affected: None,
        timeout: TIMEOUT,
    }
}

/// A run whose lease we hold.
pub(crate) async fn hold(pg: &Postgres, steps: Vec<Action>) -> Fence {
    let mut actions = vec![Action::Sql(pontoon_core::step::SqlText {
        text: "SELECT 1".into(),
    })];
    actions.extend(steps);
    let program = Program {
        wire: WIRE_VERSION,
        steps: actions
            .into_iter()
            .zip(1..)
            .map(|(action, no)| Step {
                no,
                phase: Phase::Backfill,
                name: format!("step {no}"),
                operations: vec![0],
                action,
                undo: Undo::Nothing,
            })
            .collect(),
    };
    let run = NewRun {
        id: Uuid::now_v7(),
        plan: format!("plan {}", Uuid::new_v4()),
        version: "1".into(),
        issue: None,
        operations: json!([]),
        operations_hash: "ab".into(),
        program,
        program_hash: "cd".into(),
        system_identifier: "7".into(),
        catalog_fingerprint: "ef".into(),
        settings: Settings {
            limits: Limits::default(),
            backfill: BackfillOptions::default(),
            throttle: BTreeMap::new(),
            gates: Vec::new(),
        },
    };
    pg.create_run(&run).await.expect("create");
    let holder = Holder {
        host: "a".into(),
        pid: 42,
        boot: "boot".into(),
        user: "ci".into(),
    };
    pg.acquire(run.id, &holder, Duration::from_secs(600))
        .await
        .expect("acquire")
        .fence
}

/// Both ways through a table.
pub(crate) const CURSORS: [CursorKind; 2] = [CursorKind::Pages, CursorKind::Key];
