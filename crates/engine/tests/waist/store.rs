//! Our schema and our records.

use std::time::Duration;

use pontoon_core::step::{Phase, Undo};
use pontoon_engine::db::postgres::{SCHEMA_VERSION, init_sql};
use pontoon_engine::db::{
    Base, Command, Database, Direction, ErrorKind, Fence, Holder, Live, RunChange, RunFilter,
    RunState, StepChange, StepState, StoredError,
};
use pontoon_engine::event::Event;
use pontoon_sandbox::TestDatabase;
use serde_json::json;
use uuid::Uuid;

use crate::support::{
    Held, TTL, add_column, ddl, drop_column, elsewhere, fresh, new_run, postgres, program, run_sql,
    sql, value,
};

#[tokio::test(flavor = "multi_thread")]
async fn init_happens_once_whoever_comes_first() {
    let database = TestDatabase::create(None).await.expect("a database");
    let pg = postgres(&database.url());
    assert!(
        pg.runs(&RunFilter::All).await.expect("runs").is_empty(),
        "no schema, no runs"
    );
    let all = (0..4).map(|_| {
        let pg = pg.clone();
        tokio::spawn(async move { pg.init(None).await })
    });
    for task in all.collect::<Vec<_>>() {
        task.await.expect("no panic").expect("init");
    }
    pg.init(Some("somebody else"))
        .await
        .expect_err("no such role");
    pg.init(None).await.expect("nothing to do");
    let client = database.client().await.expect("a client");
    let version: i32 = value(&client, "SELECT version FROM pontoon.meta").await;
    assert_eq!(version, SCHEMA_VERSION);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_dba_prints_is_what_init_makes() {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a client");
    run_sql(
        &client,
        "CREATE ROLE dba_runner LOGIN; CREATE ROLE dba_app LOGIN;
         CREATE SCHEMA pontoon AUTHORIZATION dba_runner; GRANT USAGE ON SCHEMA pontoon TO dba_app;",
    )
    .await;
    // The runner may not create schemas in this database.
    let runner = pontoon_sandbox::connect(&database.url_as("dba_runner"))
        .await
        .expect("a client");
    let script = init_sql(Some("dba_app"));
    run_sql(&runner, &script).await;
    run_sql(&runner, &script).await;
    let pg = postgres(&database.url_as("dba_runner"));
    pg.init(None).await.expect("nothing to do");
    let held = Held::one(&pg, sql("SELECT 1")).await;
    held.go().await.expect("a step");
    assert!(
        !value::<bool>(
            &client,
            "SELECT has_schema_privilege('dba_app', 'pontoon', 'USAGE')"
        )
        .await
    );
    drop((runner, pg, held));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_rights_is_told_which() {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a client");
    run_sql(&client, "CREATE ROLE poor_runner LOGIN").await;
    let error = postgres(&database.url_as("poor_runner"))
        .init(None)
        .await
        .expect_err("has no right");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(
        error
            .hints
            .iter()
            .any(|hint| hint.contains("GRANT CREATE ON DATABASE")),
        "{error:?}"
    );
    postgres(&database.url()).init(None).await.expect("init");
    let error = postgres(&database.url_as("poor_runner"))
        .runs(&RunFilter::All)
        .await
        .expect_err("is not the owner");
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_left_alone() {
    let (database, pg) = fresh().await;
    let client = database.client().await.expect("a client");
    run_sql(&client, "UPDATE pontoon.meta SET version = version + 1").await;
    for error in [
        pg.init(None).await.expect_err("is newer"),
        pg.runs(&RunFilter::All).await.expect_err("is newer"),
    ] {
        assert_eq!(error.kind, ErrorKind::Refused);
        assert!(error.message.contains("newer Pontoon"), "{error}");
    }
}

/// A schema of version 1, with a run in it, becomes one of today.
#[tokio::test(flavor = "multi_thread")]
async fn an_older_schema_is_upgraded() {
    let (database, pg) = fresh().await;
    let run = new_run("p", program(vec![(sql("SELECT 1"), Undo::Nothing)]));
    pg.create_run(&run).await.expect("create");
    let client = database.client().await.expect("a client");
    run_sql(
        &client,
        "ALTER TABLE pontoon.run DROP COLUMN base, DROP COLUMN live_settings,
             DROP COLUMN revision, DROP COLUMN stop_requested, DROP COLUMN stop_requested_at;
         UPDATE pontoon.meta SET version = 1",
    )
    .await;
    let error = pg.runs(&RunFilter::All).await.expect_err("is older");
    assert!(error.hints[0].contains("pontoon init"), "{error:?}");
    pg.init(None).await.expect("upgrade");
    let read = pg.runs(&RunFilter::All).await.expect("runs").remove(0);
    assert_eq!(read.base.settings, run.settings);
    assert_eq!(read.live_settings, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_comes_back_as_it_was_written() {
    let (_database, pg) = fresh().await;
    let run = new_run(
        "users_email",
        program(vec![
            (
                ddl(vec![add_column("t", "a")]),
                Undo::Steps {
                    actions: vec![ddl(vec![drop_column("t", "a")])],
                },
            ),
            (
                sql("SELECT 'it''s'"),
                Undo::Impossible {
                    reason: "no".into(),
                },
            ),
        ]),
    );
    let record = pg.create_run(&run).await.expect("create");
    assert_eq!(record.new, run);
    assert_eq!(record.state, RunState::Pending);
    assert_eq!(record.phase, Phase::Expand);
    assert!(record.started_at.ends_with('Z'));

    let steps = pg.steps(run.id).await.expect("steps");
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].step, run.program.steps[0]);
    assert_eq!(steps[0].state, StepState::Pending);
    assert!(steps[0].sql[0].contains("ADD COLUMN"), "{:?}", steps[0].sql);

    let again = new_run("users_email", program(Vec::new()));
    let error = pg.create_run(&again).await.expect_err("one is unfinished");
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.message.contains(&run.id.to_string()), "{error}");

    let fence = pg
        .acquire(run.id, &elsewhere("a"), TTL)
        .await
        .expect("acquire")
        .fence;
    let done = RunChange {
        state: Some(RunState::Completed),
        ..RunChange::default()
    };
    pg.update_run(&fence, &done).await.expect("update");
    pg.create_run(&again).await.expect("the other is finished");

    let all = pg.runs(&RunFilter::All).await.expect("runs");
    assert_eq!(
        all.iter().map(|run| run.new.id).collect::<Vec<_>>(),
        [again.id, run.id],
        "newest first"
    );
    assert!(all[1].finished_at.is_some());
    let of_plan = pg
        .runs(&RunFilter::Plan("users_email".into()))
        .await
        .expect("runs");
    assert_eq!(of_plan.len(), 2);
    let open = pg.runs(&RunFilter::Unfinished).await.expect("runs");
    assert_eq!(open.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_and_events_commit_together() {
    let (_database, pg) = fresh().await;
    let held = Held::one(&pg, sql("SELECT 1")).await;
    let event = Event::StateChanged {
        state: "waiting".into(),
        reason: Some("gate".into()),
    };
    let change = RunChange {
        state: Some(RunState::Waiting),
        phase: Some(Phase::Contract),
        gate: Some(Some(Phase::Contract)),
        reason: Some(Some("gate".into())),
        error: Some(Some(StoredError {
            code: "23505".into(),
            message: "twice".into(),
            hint: None,
        })),
        event: Some(event.clone()),
        ..RunChange::default()
    };
    pg.update_run(&held.fence, &change).await.expect("update");
    pg.update_run(&held.fence, &RunChange::default())
        .await
        .expect("changes nothing");
    let live = Live {
        waiting_for: Some("a gate".into()),
        ..Live::default()
    };
    pg.renew(&held.fence, TTL, &live).await.expect("renew");
    let run = pg
        .runs(&RunFilter::Id(held.fence.run))
        .await
        .expect("runs")
        .remove(0);
    assert_eq!(run.state, RunState::Waiting);
    assert_eq!(run.gate, Some(Phase::Contract));
    assert_eq!(
        run.error.as_ref().map(|error| error.code.as_str()),
        Some("23505")
    );
    assert_eq!(run.live, Some(live));
    assert_eq!(run.holder, Some(elsewhere("a")));

    let cleared = RunChange {
        gate: Some(None),
        error: Some(None),
        ..RunChange::default()
    };
    pg.update_run(&held.fence, &cleared).await.expect("update");
    let run = pg
        .runs(&RunFilter::Id(held.fence.run))
        .await
        .expect("runs")
        .remove(0);
    assert_eq!((run.gate, run.error), (None, None));
    assert_eq!(run.reason.as_deref(), Some("gate"), "left alone");

    let step = StepChange {
        state: StepState::Done,
        undone: Some(1),
        rows: Some(77),
        detail: Some(json!({"pass": 2})),
        event: None,
    };
    pg.update_step(&held.fence, 1, &step).await.expect("update");
    let record = held.step(1).await;
    assert_eq!(
        (record.state, record.undone, record.rows, record.detail),
        (StepState::Done, 1, 77, json!({"pass": 2}))
    );

    let events = pg.events(held.fence.run).await.expect("events");
    assert_eq!(events.len(), 2);
    assert!(matches!(events[0].event, Event::RunStarted { .. }));
    assert_eq!(events[1].event, event);
    assert_eq!(events[1].by.as_deref(), Some("ci@a"));
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_the_lease_writes_nothing() {
    let (_database, pg) = fresh().await;
    let held = Held::start(
        &pg,
        vec![
            (sql("CREATE TABLE public.by_a_stranger ()"), Undo::Nothing),
            (ddl(vec![]), Undo::Nothing),
        ],
    )
    .await;
    let stranger = Held {
        fence: Fence {
            token: Uuid::new_v4(),
            ..held.fence.clone()
        },
        ..held
    };
    let fence = &stranger.fence;
    let step = StepChange {
        state: StepState::Done,
        undone: None,
        rows: None,
        detail: None,
        event: None,
    };
    let event = Event::Warning {
        message: "x".into(),
    };
    let errors = [
        pg.update_run(fence, &RunChange::default()).await.err(),
        pg.update_step(fence, 1, &step).await.err(),
        pg.append_event(fence, &event).await.err(),
        pg.renew(fence, TTL, &Live::default()).await.err(),
        pg.release(fence).await.err(),
        stranger.act(1, Direction::Do).await.err(),
        stranger.act(2, Direction::Do).await.err(),
    ];
    for (place, error) in errors.into_iter().enumerate() {
        let error = error.unwrap_or_else(|| panic!("call {place} went through"));
        assert_eq!(error.kind, ErrorKind::Fenced, "call {place}: {error:?}");
    }
    let events = pg.events(fence.run).await.expect("events");
    assert_eq!(events.len(), 1, "only that the run was started");
    assert_eq!(stranger.step(1).await.state, StepState::Pending);
}

fn person(name: &str) -> Holder {
    Holder {
        host: "desk".into(),
        pid: 7,
        boot: "b".into(),
        user: name.into(),
    }
}

/// Live settings lie over what plan and environment say, until these say
/// something new about them.
#[tokio::test(flavor = "multi_thread")]
async fn live_settings_lie_over_the_base() {
    let (_database, pg) = fresh().await;
    let run = new_run("p", program(vec![(sql("SELECT 1"), Undo::Nothing)]));
    pg.create_run(&run).await.expect("create");
    let read = async || {
        pg.runs(&RunFilter::Id(run.id))
            .await
            .expect("runs")
            .remove(0)
    };
    let fence = pg
        .acquire(run.id, &elsewhere("a"), TTL)
        .await
        .expect("acquire")
        .fence;
    let mut base = read().await.base;
    base.ceilings
        .insert("backfill.workers".to_owned(), "4".to_owned());
    let sit = async |base: &Base| {
        let change = RunChange {
            base: Some(base.clone()),
            ..RunChange::default()
        };
        pg.update_run(&fence, &change).await
    };
    sit(&base).await.expect("update");
    let before = read().await.revision;
    let set = async |key: &str, value: &str, force: bool| {
        let command = Command::Set {
            key: key.into(),
            value: value.into(),
            force,
        };
        pg.command(run.id, &command, &person("ann")).await
    };
    set("workers", "3", false).await.expect("set");
    set("limits.max_batch_rows", "50", false)
        .await
        .expect("set");
    set("throttle.blocked_sessions", "7", false)
        .await
        .expect("set");
    let now = read().await;
    assert_eq!(now.revision, before + 3, "each command counts");
    assert_eq!(now.new.settings.backfill.workers, 3);
    assert_eq!(now.new.settings.limits.max_batch_rows, 50);
    assert_eq!(now.new.settings.throttle["blocked_sessions"], "7");
    assert_eq!(now.base.settings, run.settings);
    assert_eq!(now.live_settings[0].by, "ann@desk");

    let error = set("workers", "5", false).await.expect_err("the ceiling");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.message.contains("ceiling of 4"), "{error}");
    set("workers", "5", true).await.expect("somebody answers");

    // The next `run` says the same about two of them, and something new
    // about the third.
    base.settings.limits.max_batch_rows = 80;
    sit(&base).await.expect("update");
    let now = read().await;
    assert_eq!(now.new.settings.backfill.workers, 5);
    assert_eq!(now.new.settings.limits.max_batch_rows, 80);
    assert_eq!(now.new.settings.throttle["blocked_sessions"], "7");
    let warned = pg.events(run.id).await.expect("events").pop();
    let Some(Event::Warning { message }) = warned.map(|stored| stored.event) else {
        panic!("nobody was told that max-batch-rows was dropped");
    };
    assert!(
        message.contains("max-batch-rows 50 of ann@desk"),
        "{message}"
    );

    let unset = Command::Unset {
        key: "workers".into(),
    };
    pg.command(run.id, &unset, &person("ann"))
        .await
        .expect("unset");
    assert_eq!(
        read().await.new.settings.backfill.workers,
        run.settings.backfill.workers
    );

    // A ceiling that came later stops the next `run`, until somebody decides.
    set("workers", "4", false).await.expect("set");
    base.ceilings
        .insert("backfill.workers".to_owned(), "2".to_owned());
    let error = sit(&base).await.expect_err("above the new ceiling");
    assert_eq!(error.kind, ErrorKind::Refused);
    assert!(error.hints[0].contains("--unset workers"), "{error:?}");
    base.forced = true;
    sit(&base).await.expect("somebody answers");
}

/// Whoever wants to take a run back asks its holder to let go.
#[tokio::test(flavor = "multi_thread")]
async fn a_holder_hears_that_it_shall_let_go() {
    let (_database, pg) = fresh().await;
    let run = new_run("p", program(vec![(sql("SELECT 1"), Undo::Nothing)]));
    pg.create_run(&run).await.expect("create");
    let rollback = async || {
        pg.command(run.id, &Command::Rollback, &person("ann"))
            .await
            .expect("rollback");
    };
    // Nobody holds it: nobody has to be asked.
    rollback().await;
    let fence = pg
        .acquire(run.id, &elsewhere("a"), TTL)
        .await
        .expect("acquire")
        .fence;
    let beat = async || {
        pg.renew(&fence, TTL, &Live::default())
            .await
            .expect("renew")
    };
    assert_eq!(beat().await.stop_requested, None);
    pg.command(run.id, &Command::Pause, &person("bob"))
        .await
        .expect("pause");
    assert_eq!(beat().await.pause_requested.as_deref(), Some("bob@desk"));
    rollback().await;
    let heard = beat().await;
    assert_eq!(heard.stop_requested.as_deref(), Some("ann@desk, pid 7"));
    assert_eq!(heard.pause_requested, None, "a rollback is to move");
    let change = RunChange {
        state: Some(RunState::RollingBack),
        ..RunChange::default()
    };
    pg.update_run(&fence, &change).await.expect("update");
    assert_eq!(beat().await.stop_requested, None, "it came for the run");
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_need_no_lease_and_are_audited() {
    let (_database, pg) = fresh().await;
    let run = new_run("p", program(vec![(sql("SELECT 1"), Undo::Nothing)]));
    pg.create_run(&run).await.expect("create");
    let read = async || {
        pg.runs(&RunFilter::Id(run.id))
            .await
            .expect("runs")
            .remove(0)
    };
    pg.command(run.id, &Command::Pause, &person("ann"))
        .await
        .expect("pause");
    assert_eq!(read().await.pause_requested.as_deref(), Some("ann@desk"));
    pg.command(run.id, &Command::Resume, &person("bob"))
        .await
        .expect("resume");
    assert_eq!(read().await.pause_requested, None);
    let approve = Command::Approve {
        gate: Phase::Contract,
    };
    pg.command(run.id, &approve, &person("ann"))
        .await
        .expect("approve");
    pg.command(run.id, &approve, &person("bob"))
        .await
        .expect("again");
    let approvals = read().await.approvals;
    assert_eq!(approvals.len(), 1);
    assert_eq!(
        (approvals[0].0, approvals[0].1.as_str()),
        (Phase::Contract, "ann@desk")
    );
    let set = |key: &str, value: &str| Command::Set {
        key: key.into(),
        value: value.into(),
        force: false,
    };
    pg.command(run.id, &set("max-lock-duration", "200ms"), &person("ann"))
        .await
        .expect("set");
    assert_eq!(
        read().await.new.settings.limits.max_lock_duration,
        Duration::from_millis(200)
    );
    let error = pg
        .command(run.id, &set("wrokers", "2"), &person("ann"))
        .await
        .expect_err("misspelled");
    assert_eq!(error.kind, ErrorKind::Refused);

    let told: Vec<String> = pg
        .events(run.id)
        .await
        .expect("events")
        .into_iter()
        .skip_while(|stored| matches!(stored.event, Event::RunStarted { .. }))
        .map(|stored| match stored.event {
            Event::Command { command, by, from } => {
                let from = from.expect("it is known from where");
                assert_eq!((from.host.as_str(), from.pid), ("desk", 7));
                assert!(!from.role.is_empty());
                format!("{by}: {command}")
            }
            Event::GateApproved { gate, by, .. } => format!("{by}: approve {}", gate.name()),
            other => panic!("unexpected {other:?}"),
        })
        .collect();
    assert_eq!(
        told,
        [
            "ann@desk: pause",
            "bob@desk: resume",
            "ann@desk: approve contract",
            "ann@desk: set max-lock-duration 200ms",
        ]
    );

    let error = pg
        .command(Uuid::now_v7(), &Command::Pause, &person("ann"))
        .await
        .expect_err("no run");
    assert_eq!(error.kind, ErrorKind::Refused);
    let fence = pg
        .acquire(run.id, &elsewhere("a"), TTL)
        .await
        .expect("acquire")
        .fence;
    let done = RunChange {
        state: Some(RunState::RolledBack),
        ..RunChange::default()
    };
    pg.update_run(&fence, &done).await.expect("update");
    let error = pg
        .command(run.id, &Command::Pause, &person("ann"))
        .await
        .expect_err("is finished");
    assert_eq!(error.kind, ErrorKind::Refused);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_of_other_versions_are_read() {
    let (database, pg) = fresh().await;
    let held = Held::one(&pg, sql("SELECT 1")).await;
    let client = database.client().await.expect("a client");
    run_sql(
        &client,
        r#"UPDATE pontoon.run SET definition = definition || '{"since_two": [1], "wire": 0}',
               settings = settings - 'workers' || '{"since_two": {}}';
           UPDATE pontoon.step SET definition = definition || '{"since_two": true}';
           UPDATE pontoon.lease SET holder = holder || '{"since_two": 1}', live = '{"since_two": 1}';
           INSERT INTO pontoon.event (run, event)
               SELECT id, '{"v": 7, "event": "since_two"}' FROM pontoon.run"#,
    )
    .await;
    let run = pg.runs(&RunFilter::All).await.expect("runs").remove(0);
    assert_eq!(run.new.settings.backfill.workers, 1);
    assert_eq!(run.holder, Some(elsewhere("a")));
    held.go().await.expect("acts");
    assert_eq!(pg.events(run.new.id).await.expect("events").len(), 2);

    run_sql(
        &client,
        r#"UPDATE pontoon.step SET definition = definition || '{"wire": 99}', state = 'pending'"#,
    )
    .await;
    let error = held.go().await.expect_err("written by a newer one");
    assert_eq!(error.kind, ErrorKind::Refused);
}
