//! Long steps: what no transaction ties to its record, and what gives way.

use std::time::{Duration, Instant};

use pontoon_core::catalog::{Index, IndexKey};
use pontoon_core::step::{Action, Concurrent, Undo};
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::{Database, Direction, ErrorKind, StepState};
use pontoon_engine::event::Event;
use pontoon_sandbox::TestDatabase;
use tokio_postgres::Client;

use crate::support::{Held, TTL, elsewhere, fresh, postgres, run_sql, sql, table, until, value};

const TABLE: &str = "CREATE TABLE public.t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0);
    INSERT INTO public.t (id, n) SELECT i, i FROM generate_series(1, 1000) i;";

async fn with_table() -> (TestDatabase, Postgres, Client) {
    let (database, pg) = fresh().await;
    let client = database.client().await.expect("a client");
    run_sql(&client, TABLE).await;
    (database, pg, client)
}

fn index(name: &str, unique: bool) -> Index {
    Index {
        name: name.into(),
        method: "btree".into(),
        unique,
        nulls_not_distinct: false,
        keys: vec![IndexKey {
            column: Some("n".into()),
            expression: None,
            opclass: None,
            collation: None,
            descending: false,
            nulls_first: false,
        }],
        include: Vec::new(),
        predicate: None,
        valid: true,
        constraint: None,
        definition: String::new(),
        settings: Default::default(),
    }
}

fn create(name: &str, unique: bool) -> Action {
    Action::Concurrent(Concurrent::CreateIndex {
        table: table("t"),
        index: index(name, unique),
    })
}

fn drop_index(name: &str) -> Action {
    Action::Concurrent(Concurrent::DropIndex {
        table: table("t"),
        name: name.into(),
    })
}

fn validate(name: &str) -> Action {
    Action::Concurrent(Concurrent::Validate {
        table: table("t"),
        name: name.into(),
        referenced: None,
    })
}

async fn build_and_back(pg: &Postgres) -> Held {
    Held::start(
        pg,
        vec![(
            create("t_n", false),
            Undo::Steps {
                actions: vec![drop_index("t_n")],
            },
        )],
    )
    .await
}

/// `name valid` of each index of the table but its key's.
async fn indexes(client: &Client) -> Vec<String> {
    client
        .query(
            "SELECT c.relname || ' ' || i.indisvalid FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
             WHERE i.indrelid = 'public.t'::regclass AND NOT i.indisprimary ORDER BY 1",
            &[],
        )
        .await
        .expect("indexes")
        .iter()
        .map(|row| row.get(0))
        .collect()
}

/// A transaction that a concurrent build must outlive.
async fn old_transaction(database: &TestDatabase) -> Client {
    let old = database.client().await.expect("a client");
    run_sql(&old, "BEGIN; UPDATE public.t SET n = n WHERE id = 1").await;
    old
}

const BUILDING: &str =
    "SELECT EXISTS (SELECT FROM pg_stat_progress_create_index WHERE datname = current_database())";
const BUILT_HALF: &str =
    "SELECT EXISTS (SELECT FROM pg_class WHERE relname LIKE '\\_pontoon\\_%' AND relkind = 'i')";

#[tokio::test(flavor = "multi_thread")]
async fn an_index_is_built_renamed_and_dropped() {
    let (_database, pg, client) = with_table().await;
    let held = build_and_back(&pg).await;
    held.go().await.expect("builds");
    assert_eq!(indexes(&client).await, ["t_n true"]);
    assert_eq!(held.step(1).await.state, StepState::Done);
    assert!(held.go().await.expect("is done").already_done);
    held.act(1, Direction::Undo(0)).await.expect("drops");
    assert!(indexes(&client).await.is_empty());
    assert_eq!(held.step(1).await.state, StepState::Undone);
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_else_s_index_is_not_adopted() {
    let (_database, pg, client) = with_table().await;
    run_sql(&client, "CREATE INDEX t_n ON public.t (id)").await;
    let held = build_and_back(&pg).await;
    let error = held.go().await.expect_err("the name is taken");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(
        error.message.contains("exists already: public.t_n"),
        "{error}"
    );
    assert_eq!(indexes(&client).await, ["t_n true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicates_are_named_and_nothing_is_left() {
    let (_database, pg, client) = with_table().await;
    run_sql(&client, "UPDATE public.t SET n = 7 WHERE id < 3").await;
    let held = Held::one(&pg, create("t_n", true)).await;
    let error = held.go().await.expect_err("not unique");
    assert_eq!(
        (error.kind.clone(), error.code.as_deref()),
        (ErrorKind::Failed, Some("23505"))
    );
    assert!(error.message.contains("(n)=(7)"), "{error}");
    assert!(
        indexes(&client).await.is_empty(),
        "{:?}",
        indexes(&client).await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_whose_backend_was_killed_is_cleaned_up_and_done_again() {
    let (database, pg, client) = with_table().await;
    let held = build_and_back(&pg).await;
    let old = old_transaction(&database).await;
    let (outcome, ()) = tokio::join!(held.go(), async {
        until(&client, BUILT_HALF).await;
        run_sql(
            &client,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'",
        )
        .await;
    });
    assert_eq!(
        outcome.expect_err("was killed").kind,
        ErrorKind::Unreachable
    );
    let left = indexes(&client).await;
    assert!(left.len() == 1 && left[0].ends_with("_1 false"), "{left:?}");
    run_sql(&old, "COMMIT").await;

    held.pg.release(&held.fence).await.expect("release");
    let next = held
        .pg
        .acquire(held.fence.run, &elsewhere("b"), TTL)
        .await
        .expect("free");
    let held = Held {
        fence: next.fence,
        ..held
    };
    held.go().await.expect("builds again");
    assert_eq!(indexes(&client).await, ["t_n true"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_build_without_its_client_is_waited_for_and_adopted() {
    let (database, pg, client) = with_table().await;
    let held = std::sync::Arc::new(build_and_back(&pg).await);
    let old = old_transaction(&database).await;
    let first = tokio::spawn({
        let held = held.clone();
        async move { held.go().await }
    });
    until(&client, BUILT_HALF).await;
    let built: u32 = value(
        &client,
        "SELECT oid FROM pg_class WHERE relname LIKE '\\_pontoon\\_%' AND relkind = 'i'",
    )
    .await;
    // As after SIGKILL: the connection is gone, the server goes on.
    first.abort();
    first.await.expect_err("aborted");
    let (report, ()) = tokio::join!(held.go(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        assert!(
            value::<bool>(&client, BUILDING).await,
            "the server still builds"
        );
        run_sql(&old, "COMMIT").await;
    });
    report.expect("adopts it");
    assert_eq!(indexes(&client).await, ["t_n true"]);
    let now: u32 = value(&client, "SELECT 'public.t_n'::regclass::oid").await;
    assert_eq!(now, built, "the same index, not another one");
}

/// Rolling back a step whose build never ended leaves nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn undo_takes_an_unfinished_build_away() {
    let (database, pg, client) = with_table().await;
    let held = build_and_back(&pg).await;
    let old = old_transaction(&database).await;
    let (outcome, ()) = tokio::join!(held.go(), async {
        until(&client, BUILT_HALF).await;
        run_sql(
            &client,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'CREATE INDEX CONCURRENTLY%'",
        )
        .await;
    });
    outcome.expect_err("was killed");
    run_sql(&old, "COMMIT").await;
    held.act(1, Direction::Undo(0)).await.expect("cleans up");
    assert!(indexes(&client).await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn cic_role_default_timeout() {
    let (database, _, client) = with_table().await;
    run_sql(
        &client,
        "CREATE ROLE hasty_runner LOGIN SUPERUSER; ALTER ROLE hasty_runner SET lock_timeout = '500ms';
         ALTER ROLE hasty_runner SET statement_timeout = '800ms'",
    )
    .await;
    let held = build_and_back(&postgres(&database.url_as("hasty_runner"))).await;
    let old = old_transaction(&database).await;
    let (report, ()) = tokio::join!(held.go(), async {
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(value::<bool>(&client, BUILDING).await, "it still waits");
        run_sql(&old, "COMMIT").await;
    });
    assert_eq!(report.expect("builds").attempts, 1);
    assert_eq!(indexes(&client).await, ["t_n true"]);
    let told = held.events.lock().expect("no panic").iter().any(|event| {
        matches!(event, Event::StepProgress { doing, .. } if doing.contains("waiting for writers"))
    });
    assert!(told, "{:?}", held.events);
}

/// Someone's ANALYZE queues behind a long step of ours, which must end.
async fn gives_way(database: &TestDatabase, held: &Held, under_way: &str) -> Duration {
    let client = database.client().await.expect("a client");
    let other = database.client().await.expect("a client");
    until(&client, under_way).await;
    let begun = Instant::now();
    run_sql(&other, "ANALYZE public.t").await;
    assert!(
        held.step(1).await.state != StepState::Done,
        "the test tries nothing"
    );
    begun.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_step_blocks() {
    // VALIDATE: 1000 rows at 3 ms each.
    let (database, pg, client) = with_table().await;
    run_sql(
        &client,
        "CREATE TABLE public.pace (seconds float8); INSERT INTO public.pace VALUES (0.003);
         CREATE FUNCTION public.slow(int) RETURNS boolean LANGUAGE plpgsql AS
             $$ BEGIN PERFORM pg_sleep(seconds) FROM public.pace; RETURN true; END $$;
         ALTER TABLE public.t ADD CONSTRAINT c CHECK (public.slow(n)) NOT VALID",
    )
    .await;
    let mut held = Held::one(&pg, validate("c")).await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    let (report, waited) = tokio::join!(held.go(), async {
        let waited = gives_way(
            &database,
            &held,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'public.t'::regclass
                AND mode = 'ShareUpdateExclusiveLock' AND granted)",
        )
        .await;
        run_sql(&client, "UPDATE public.pace SET seconds = 0").await;
        waited
    });
    assert!(waited < Duration::from_millis(350), "{waited:?}");
    assert_eq!(report.expect("is tried again").attempts, 2);
    assert!(
        value::<bool>(
            &client,
            "SELECT convalidated FROM pg_constraint WHERE conname = 'c'"
        )
        .await
    );
    assert_eq!(held.step(1).await.attempts, 2);
    assert!(held.go().await.expect("is done").already_done);

    // CREATE INDEX CONCURRENTLY, kept from ending by an older transaction.
    let (database, pg, client) = with_table().await;
    let mut held = build_and_back(&pg).await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    let old = old_transaction(&database).await;
    let (report, waited) = tokio::join!(held.go(), async {
        let waited = gives_way(&database, &held, BUILT_HALF).await;
        run_sql(&old, "COMMIT").await;
        waited
    });
    assert!(waited < Duration::from_millis(350), "{waited:?}");
    assert_eq!(report.expect("is tried again").attempts, 2);
    assert_eq!(
        indexes(&client).await,
        ["t_n true"],
        "no INVALID index is left"
    );

    // A person's SQL, which takes whatever locks it likes.
    let mut held = Held::one(
        &pg,
        sql(
            "CREATE TABLE IF NOT EXISTS public.made (); LOCK TABLE public.t IN SHARE MODE;
             SELECT pg_sleep(CASE WHEN EXISTS (SELECT FROM public.hurry) THEN 0 ELSE 20 END)",
        ),
    )
    .await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    run_sql(&client, "CREATE TABLE public.hurry (x int)").await;
    let (report, waited) = tokio::join!(held.go(), async {
        until(
            &client,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'public.t'::regclass
                AND mode = 'ShareLock' AND granted)",
        )
        .await;
        let begun = Instant::now();
        run_sql(&client, "UPDATE public.t SET n = n WHERE id = 2").await;
        let waited = begun.elapsed();
        run_sql(&client, "INSERT INTO public.hurry VALUES (1)").await;
        waited
    });
    assert!(waited < Duration::from_millis(350), "{waited:?}");
    assert_eq!(report.expect("is tried again").attempts, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_violated_check_is_told() {
    let (_database, pg, client) = with_table().await;
    run_sql(
        &client,
        "ALTER TABLE public.t ADD CONSTRAINT c CHECK (n < 1000) NOT VALID",
    )
    .await;
    let held = Held::one(&pg, validate("c")).await;
    let error = held.go().await.expect_err("one row violates it");
    assert_eq!(
        (error.kind.clone(), error.code.as_deref()),
        (ErrorKind::Failed, Some("23514"))
    );
    run_sql(&client, "UPDATE public.t SET n = 0 WHERE n = 1000").await;
    held.go().await.expect("fixed and run again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_s_sql_runs_once_or_says_where_it_is_wrong() {
    let (_database, pg, client) = with_table().await;
    let held = Held::one(
        &pg,
        sql("UPDATE public.t SET n = n + 1; CREATE TABLE public.u ();"),
    )
    .await;
    held.go().await.expect("runs");
    assert!(held.go().await.expect("is done").already_done);
    assert_eq!(
        value::<i64>(&client, "SELECT sum(n) FROM public.t").await,
        501_500
    );

    let held = Held::one(&pg, sql("CREATE TABLE public.v ();\nSELECT 1 FROM nowhere")).await;
    let error = held.go().await.expect_err("no such table");
    assert_eq!(
        (error.kind.clone(), error.code.as_deref()),
        (ErrorKind::Failed, Some("42P01"))
    );
    assert!(error.message.contains("before `nowhere`"), "{error}");
    assert!(value::<bool>(&client, "SELECT to_regclass('public.v') IS NULL").await);

    let held = Held::one(&pg, sql("CREATE TABLE public.v (); COMMIT; SELECT 1/0")).await;
    let error = held.go().await.expect_err("no COMMIT inside");
    assert_eq!(error.kind, ErrorKind::Failed, "{error:?}");
    assert!(value::<bool>(&client, "SELECT to_regclass('public.v') IS NULL").await);
}

/// A stopped process that wakes up after a takeover: its lease is read before
/// each statement that no transaction fences.
#[tokio::test(flavor = "multi_thread")]
async fn a_former_holder_builds_and_drops_nothing() {
    let (_database, pg, client) = with_table().await;
    let held = build_and_back(&pg).await;
    pg.release(&held.fence).await.expect("release");
    pg.acquire(held.fence.run, &elsewhere("b"), TTL)
        .await
        .expect("free");
    assert_eq!(held.go().await.expect_err("fenced").kind, ErrorKind::Fenced);
    assert!(indexes(&client).await.is_empty());
    run_sql(
        &client,
        "CREATE INDEX t_n ON public.t (n); UPDATE pontoon.step SET state = 'done'",
    )
    .await;
    let error = held.act(1, Direction::Undo(0)).await.expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    assert_eq!(indexes(&client).await, ["t_n true"]);
}
