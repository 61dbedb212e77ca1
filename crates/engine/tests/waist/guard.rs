//! Strong locks within a budget, and steps that commit with their record.

use std::time::{Duration, Instant};

use pontoon_core::step::{
    Action, Change, Conditions, Ddl, MappedColumn, Mapping, OnConflict, Rule, Sync, Undo, Verify,
};
use pontoon_core::{expr::Expr, expr::Volatility};
use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::{Database, Direction, ErrorKind, RunFilter, RunState, StepState};
use pontoon_sandbox::app::{ProbeOptions, ProbeTarget, StallProbe, StallReport};
use pontoon_sandbox::tcp_proxy::{Moment, TcpProxy};
use pontoon_sandbox::{Server, ServerSpec, TestDatabase};
use tokio_postgres::Client;

use crate::support::{
    Held, add_column, ddl, drop_column, fresh, pid, postgres, run_sql, table, until, value,
};

/// A probe of the first row of a table `(id, n)`.
async fn probe(url: &str, on: &str) -> StallProbe {
    let target = ProbeTarget {
        read: format!("SELECT n FROM public.{on} WHERE id = 1"),
        write: format!("UPDATE public.{on} SET n = n + 1 WHERE id = 1"),
    };
    StallProbe::start(ProbeOptions::new(url), target)
        .await
        .expect("a probe")
}

const TABLE: &str = "CREATE TABLE public.t (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, old int);
    INSERT INTO public.t (id) SELECT generate_series(1, 1000);";

async fn with_table() -> (TestDatabase, Postgres, Client) {
    let (database, pg) = fresh().await;
    let client = database.client().await.expect("a client");
    run_sql(&client, TABLE).await;
    (database, pg, client)
}

async fn has_column(client: &Client, on: &str, name: &str) -> bool {
    value(
        client,
        &format!(
            "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'public.{on}'::regclass
             AND attname = '{name}' AND NOT attisdropped)"
        ),
    )
    .await
}

fn within(report: &StallReport, budget: Duration) {
    assert!(
        report.table.attributed <= budget + Duration::from_millis(50),
        "someone waited for us longer than {budget:?}:\n{report}"
    );
    assert!(
        report.table.errors.is_empty(),
        "the application saw errors:\n{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_commits_with_its_record_there_and_back() {
    let (_database, pg, client) = with_table().await;
    let held = Held::start(
        &pg,
        vec![(
            ddl(vec![add_column("t", "a"), add_column("t", "b")]),
            Undo::Steps {
                actions: vec![
                    ddl(vec![drop_column("t", "b")]),
                    ddl(vec![drop_column("t", "a")]),
                ],
            },
        )],
    )
    .await;
    let report = held.go().await.expect("goes through");
    assert!(!report.already_done && report.attempts == 1);
    assert!(report.hold_ms > 0.0 && report.hold_ms < 500.0, "{report:?}");
    assert!(has_column(&client, "t", "a").await && has_column(&client, "t", "b").await);
    let step = held.step(1).await;
    assert_eq!((step.state, step.attempts), (StepState::Done, 1));
    assert!((step.hold_ms - report.hold_ms).abs() < 0.01, "{step:?}");
    assert!(held.go().await.expect("is done").already_done);

    held.act(1, Direction::Undo(0)).await.expect("undo");
    assert!(!has_column(&client, "t", "b").await);
    assert_eq!(
        (held.step(1).await.state, held.step(1).await.undone),
        (StepState::Done, 1)
    );
    assert!(
        held.act(1, Direction::Undo(0))
            .await
            .expect("is done")
            .already_done
    );
    held.act(1, Direction::Undo(1)).await.expect("undo");
    assert!(!has_column(&client, "t", "a").await);
    assert_eq!(
        (held.step(1).await.state, held.step(1).await.undone),
        (StepState::Undone, 2)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_that_fails_leaves_nothing() {
    let (_database, pg, client) = with_table().await;
    let held = Held::one(&pg, ddl(vec![add_column("t", "a"), add_column("t", "n")])).await;
    let error = held.go().await.expect_err("n exists");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert_eq!(error.code.as_deref(), Some("42701"));
    assert!(error.message.contains("\"n\""), "{error}");
    assert!(!has_column(&client, "t", "a").await);
    assert_eq!(held.step(1).await.state, StepState::Pending);
}

/// What is in force while the step's statement runs, as the server says it.
#[tokio::test(flavor = "multi_thread")]
async fn everything_is_one_message_under_one_timer() {
    let (_database, pg, client) = with_table().await;
    run_sql(
        &client,
        "CREATE TABLE public.seen AS SELECT ''::text AS name, ''::text AS value WITH NO DATA;
         CREATE FUNCTION public.look() RETURNS event_trigger LANGUAGE plpgsql AS $$
         BEGIN
             INSERT INTO public.seen
                 SELECT name, setting FROM pg_settings WHERE name IN ('lock_timeout',
                     'statement_timeout', 'synchronous_commit', 'transaction_isolation',
                     'idle_in_transaction_session_timeout')
                 UNION ALL SELECT 'query', current_query();
         END $$;
         CREATE EVENT TRIGGER look ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.look();",
    )
    .await;
    let held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    held.go().await.expect("goes through");
    let seen = async |name: &str| -> String {
        value(
            &client,
            &format!("SELECT value FROM public.seen WHERE name = '{name}'"),
        )
        .await
    };
    assert_eq!(seen("lock_timeout").await, "25");
    assert_eq!(seen("statement_timeout").await, "450");
    assert_eq!(seen("synchronous_commit").await, "local");
    assert_eq!(seen("transaction_isolation").await, "read committed");
    assert_eq!(seen("idle_in_transaction_session_timeout").await, "500");
    // From BEGIN to COMMIT the server needs nothing more from us: a process
    // that is stopped in between holds no lock.
    let message = seen("query").await;
    assert!(
        message.starts_with("BEGIN ") && message.contains("\nCOMMIT;"),
        "{message}"
    );
    let block = message.find("DO $pontoon_guard$").expect("a DO block");
    let strong = message.find("IN ACCESS EXCLUSIVE MODE").expect("a lock");
    let fence = message.find("pontoon.fence(").expect("the fence");
    assert!(
        fence < block && block < strong,
        "the strong lock is under the block's timer"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn stall() {
    let (database, pg, client) = with_table().await;
    let other = database.client().await.expect("a client");
    let blocker = pid(&other).await;
    run_sql(&other, "BEGIN; SELECT * FROM public.t WHERE id = 7").await;
    let probe = probe(&database.url(), "t").await;
    let mut held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    let begun = Instant::now();
    let (report, ()) = tokio::join!(held.go(), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        run_sql(&other, "COMMIT").await;
    });
    let report = report.expect("goes on by itself");
    assert!(begun.elapsed() > Duration::from_secs(5));
    assert!(
        begun.elapsed() < Duration::from_secs(15),
        "{:?}",
        begun.elapsed()
    );
    let stalls = probe.stop().await;
    within(&stalls, Duration::from_millis(300));
    assert!(!stalls.suspects.is_empty(), "the sampler saw us");
    assert!(report.hold_ms < 300.0, "{report:?}");
    assert!(report.attempts <= 2, "waiting is no attempt: {report:?}");
    let named = held.blockers();
    let named = named
        .iter()
        .find(|named| named.pid == blocker)
        .expect("is named");
    assert_eq!(named.relation, "public.t");
    assert_eq!(named.mode, "AccessShareLock");
    assert_eq!(named.state.as_deref(), Some("idle in transaction"));
    assert!(
        named
            .query
            .as_deref()
            .is_some_and(|query| query.contains("id = 7"))
    );
    assert!(has_column(&client, "t", "a").await);
}

/// The same with short transactions in the way, so that tries are made, and a
/// role that may not see how old they are.
#[tokio::test(flavor = "multi_thread")]
async fn stall_without_pg_monitor_and_under_load() {
    let database = TestDatabase::create(None).await.expect("a database");
    let client = database.client().await.expect("a client");
    run_sql(&client, TABLE).await;
    run_sql(
        &client,
        "CREATE ROLE modest_runner LOGIN; ALTER TABLE public.t OWNER TO modest_runner;
         GRANT CREATE ON SCHEMA public TO modest_runner;",
    )
    .await;
    run_sql(
        &client,
        &format!(
            "GRANT CREATE ON DATABASE {} TO modest_runner",
            database.name()
        ),
    )
    .await;
    let pg = postgres(&database.url_as("modest_runner"));
    pg.init(None).await.expect("init");
    let mut held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    let probe = probe(&database.url(), "t").await;
    let other = database.client().await.expect("a client");
    run_sql(&other, "BEGIN; UPDATE public.t SET n = 1 WHERE id = 7").await;
    let blocker = pid(&other).await;
    let (report, ()) = tokio::join!(held.go(), async {
        tokio::time::sleep(Duration::from_secs(3)).await;
        run_sql(&other, "COMMIT").await;
    });
    report.expect("goes on by itself");
    within(&probe.stop().await, Duration::from_millis(300));
    let named = held.blockers();
    let named = named
        .iter()
        .find(|named| named.pid == blocker)
        .expect("is named");
    assert_eq!(
        (named.state.as_deref(), named.query.as_deref()),
        (None, None),
        "hidden"
    );

    let mut held = Held::one(&pg, ddl(vec![add_column("t", "b")])).await;
    held.budget.lock_patience = Duration::from_secs(1);
    run_sql(&other, "BEGIN; UPDATE public.t SET n = 1 WHERE id = 7").await;
    let error = held.go().await.expect_err("patience is spent");
    let ErrorKind::LockPatience { blockers } = &error.kind else {
        panic!("{error:?}");
    };
    assert_eq!(blockers[0].pid, blocker);
    assert!(
        error.hints.iter().any(|hint| hint.contains("pg_monitor")),
        "{error:?}"
    );
    assert!(!has_column(&client, "t", "b").await);
    assert_eq!(held.step(1).await.state, StepState::Pending);
}

/// Contending writers that hold the table all the time, each only briefly.
#[tokio::test(flavor = "multi_thread")]
async fn short_transactions_are_waited_for_and_hardly_notice() {
    let (database, pg, client) = with_table().await;
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut writers = Vec::new();
    for place in 0..6 {
        let client = database.client().await.expect("a client");
        let stop = stop.clone();
        writers.push(tokio::spawn(async move {
            let text = format!(
                "BEGIN; UPDATE public.t SET n = n + 1 WHERE id = {}; SELECT pg_sleep(0.02); COMMIT",
                place + 10
            );
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                client.batch_execute(&text).await.expect("no error");
            }
        }));
    }
    let probe = probe(&database.url(), "t").await;
    let held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    let report = held.go().await.expect("goes through");
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for writer in writers {
        writer.await.expect("no panic");
    }
    within(&probe.stop().await, Duration::from_millis(500));
    assert!(report.attempts <= 4, "{report:?}");
    assert!(has_column(&client, "t", "a").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn budgets_add_up() {
    const OTHERS: [&str; 5] = ["t2", "t3", "t4", "t5", "t6"];
    let (database, pg, client) = with_table().await;
    for name in OTHERS {
        run_sql(
            &client,
            &TABLE.replace("public.t", &format!("public.{name}")),
        )
        .await;
    }
    // Somebody holds each further table, over and over, never for as long as
    // the budget and for longer than a further table is waited for.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut holders = Vec::new();
    for name in OTHERS {
        let client = database.client().await.expect("a client");
        let stop = stop.clone();
        holders.push(tokio::spawn(async move {
            let text = format!(
                "BEGIN; SELECT n FROM public.{name} WHERE id = 1; SELECT pg_sleep(0.29); COMMIT"
            );
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                client.batch_execute(&text).await.expect("no error");
            }
        }));
    }
    let probe = probe(&database.url(), "t").await;
    // Now and then all are free within one try. What counts is what tries cost,
    // so one step after another is tried until one has spent its patience.
    let mut spent = None;
    for column in ["a", "b", "c"] {
        let tables = std::iter::once("t").chain(OTHERS);
        let changes = tables.map(|name| add_column(name, column)).collect();
        let mut held = Held::one(&pg, ddl(changes)).await;
        held.budget.max_lock_duration = Duration::from_millis(300);
        held.budget.lock_patience = Duration::from_secs(3);
        if let Err(error) = held.go().await {
            assert!(
                matches!(error.kind, ErrorKind::LockPatience { .. }),
                "{error:?}"
            );
            spent = Some(held);
            break;
        }
    }
    let held = spent.expect("one step of three has to wait");
    assert!(held.step(1).await.attempts > 1, "it has tried");
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    for holder in holders {
        holder.await.expect("no panic");
    }
    held.go().await.expect("now they are free");
    within(&probe.stop().await, Duration::from_millis(300));
}

/// Applications that hold one of the tables and want another one, in the other
/// order than the step: they wait for it within its budget, and none of them is
/// a victim, however soon the server looks for deadlocks.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_locks_in_another_order_is_no_victim() {
    for deadlock_timeout in ["1s", "400ms"] {
        let (database, pg, client) = with_table().await;
        run_sql(&client, &TABLE.replace("public.t", "public.t2")).await;
        let name: String = value(&client, "SELECT current_database()::text").await;
        run_sql(
            &client,
            &format!("ALTER DATABASE {name} SET deadlock_timeout = '{deadlock_timeout}'"),
        )
        .await;
        let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let mut clients = Vec::new();
        for place in 0..6 {
            let client = database.client().await.expect("a client");
            let stop = stop.clone();
            clients.push(tokio::spawn(async move {
                // Some keep the step in the queue for the first table, where the
                // others come to stand behind it.
                let text = match place % 2 {
                    0 => "BEGIN; SELECT FROM public.t LIMIT 1; SELECT pg_sleep(0.04); COMMIT".to_owned(),
                    _ => format!(
                        "BEGIN; UPDATE public.t2 SET n = n + 1 WHERE id = {place} + 10; SELECT pg_sleep(0.03);
                         UPDATE public.t SET n = n + 1 WHERE id = {place} + 10; COMMIT"
                    ),
                };
                while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                    client.batch_execute(&text).await.expect("no victim");
                }
            }));
        }
        let probe = probe(&database.url(), "t").await;
        let changes = vec![add_column("t", "a"), add_column("t2", "a")];
        let held = Held::one(&pg, ddl(changes)).await;
        let report = held.go().await.expect("goes through");
        stop.store(true, std::sync::atomic::Ordering::SeqCst);
        for client in clients {
            client.await.expect("no panic");
        }
        assert!(report.attempts > 1, "they never met: {report:?}");
        within(&probe.stop().await, Duration::from_millis(500));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deferred_work() {
    let (database, pg, client) = with_table().await;
    let mut held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    // Work that a transaction of ours queues for its own COMMIT.
    run_sql(
        &client,
        "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(3); RETURN NULL; END $$;
         CREATE CONSTRAINT TRIGGER slow AFTER UPDATE ON pontoon.step DEFERRABLE INITIALLY DEFERRED
             FOR EACH ROW EXECUTE FUNCTION public.slow();",
    )
    .await;
    let probe = probe(&database.url(), "t").await;
    held.budget.lock_patience = Duration::from_secs(120);
    let error = held.go().await.expect_err("can never fit");
    assert_eq!(error.kind, ErrorKind::Failed);
    assert!(
        error.message.contains("max_lock_duration (300ms)"),
        "{error}"
    );
    let stalls = probe.stop().await;
    within(&stalls, Duration::from_millis(300));
    assert!(
        stalls.table.attributed_count > 0,
        "the test tries nothing:\n{stalls}"
    );
    assert!(!has_column(&client, "t", "a").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn prepared_transaction() {
    let server = Server::start(ServerSpec::default().setting("max_prepared_transactions", "4"))
        .await
        .expect("a server");
    let url = server
        .create_database("two_phase")
        .await
        .expect("a database");
    let client = pontoon_sandbox::connect(&url).await.expect("a client");
    run_sql(&client, TABLE).await;
    let pg = postgres(&url);
    pg.init(None).await.expect("init");
    run_sql(
        &client,
        "BEGIN; UPDATE public.t SET n = 1 WHERE id = 1; PREPARE TRANSACTION 'transfer 42'",
    )
    .await;
    let mut held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    held.budget.lock_patience = Duration::from_secs(2);
    let error = held.go().await.expect_err("nobody commits it");
    let ErrorKind::LockPatience { blockers } = &error.kind else {
        panic!("{error:?}");
    };
    assert_eq!(
        (blockers[0].pid, blockers[0].gid.as_deref()),
        (0, Some("transfer 42"))
    );
    assert!(
        error
            .message
            .contains("prepared transaction \"transfer 42\""),
        "{error}"
    );
    held.budget.lock_patience = Duration::from_secs(30);
    let (report, ()) = tokio::join!(held.go(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        run_sql(&client, "COMMIT PREPARED 'transfer 42'").await;
    });
    report.expect("goes on by itself");
}

#[tokio::test(flavor = "multi_thread")]
async fn autovacuum_holds() {
    let server = Server::start(
        ServerSpec::default()
            .setting("autovacuum_naptime", "1s")
            .setting("autovacuum_vacuum_cost_delay", "100ms")
            .setting("autovacuum_vacuum_cost_limit", "1")
            .setting("autovacuum_vacuum_threshold", "50"),
    )
    .await
    .expect("a server");
    let url = server
        .create_database("vacuumed")
        .await
        .expect("a database");
    let client = pontoon_sandbox::connect(&url).await.expect("a client");
    run_sql(&client, TABLE).await;
    run_sql(
        &client,
        "INSERT INTO public.t (id) SELECT generate_series(1001, 50000); UPDATE public.t SET n = 2",
    )
    .await;
    let pg = postgres(&url);
    pg.init(None).await.expect("init");
    let busy = "SELECT EXISTS (SELECT FROM pg_stat_activity a JOIN pg_locks k ON k.pid = a.pid
        WHERE a.backend_type = 'autovacuum worker' AND k.relation = 'public.t'::regclass AND k.granted)";
    until(&client, busy).await;
    let probe = probe(&url, "t").await;
    let mut held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    held.budget.max_lock_duration = Duration::from_millis(300);
    assert!(
        value::<bool>(&client, busy).await,
        "the vacuum is still there"
    );
    let begun = Instant::now();
    let report = held.go().await.expect("the vacuum yields");
    assert!(report.attempts <= 3, "{report:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "{:?}",
        begun.elapsed()
    );
    let stalls = probe.stop().await;
    within(&stalls, Duration::from_millis(300));
    assert!(
        stalls.table.attributed < Duration::from_millis(150),
        "an UPDATE waits milliseconds, not for the vacuum:\n{stalls}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_and_foreign_key_parents_are_locked_beforehand() {
    let (_database, pg, client) = with_table().await;
    run_sql(
        &client,
        "CREATE TABLE public.p (id int, t int REFERENCES public.t) PARTITION BY RANGE (id);
         CREATE TABLE public.p1 PARTITION OF public.p FOR VALUES FROM (0) TO (10);
         CREATE TABLE public.p2 PARTITION OF public.p DEFAULT;
         CREATE TABLE public.seen (query text);
         CREATE FUNCTION public.look() RETURNS event_trigger LANGUAGE plpgsql AS $$
         BEGIN INSERT INTO public.seen VALUES (current_query()); END $$;
         CREATE EVENT TRIGGER look ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.look();",
    )
    .await;
    let held = Held::one(&pg, ddl(vec![drop_column("p", "t")])).await;
    held.go().await.expect("goes through");
    let message: String = value(&client, "SELECT query FROM public.seen LIMIT 1").await;
    for lock in [
        "LOCK TABLE ONLY \"public\".\"p\" IN ACCESS EXCLUSIVE MODE;",
        "LOCK TABLE ONLY \"public\".\"p1\" IN ACCESS EXCLUSIVE MODE;",
        "LOCK TABLE ONLY \"public\".\"p2\" IN ACCESS EXCLUSIVE MODE;",
        "LOCK TABLE ONLY \"public\".\"t\" IN ACCESS EXCLUSIVE MODE;",
    ] {
        assert!(message.contains(lock), "{lock} in\n{message}");
    }
}

/// Our process stands still in the middle of a step (SIGSTOP, a dead network):
/// the server has the whole message, and lets go of the locks by itself.
#[tokio::test(flavor = "multi_thread")]
async fn stopped_in_the_middle() {
    let (database, direct, client) = with_table().await;
    run_sql(
        &client,
        "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.2); END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.slow();",
    )
    .await;
    let proxy = TcpProxy::start(database.server()).await.expect("a proxy");
    let mut held = Held::one(&direct, ddl(vec![add_column("t", "a")])).await;
    held.pg = postgres(&proxy.url(&database.url()));
    let probe = probe(&database.url(), "t").await;
    let (report, ()) = tokio::join!(held.go(), async {
        until(
            &client,
            "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = 'public.t'::regclass
                AND mode = 'AccessExclusiveLock' AND granted)",
        )
        .await;
        proxy.hang();
        tokio::time::sleep(Duration::from_secs(3)).await;
        assert!(has_column(&client, "t", "a").await, "done without us");
        proxy.pass();
    });
    assert!(report.expect("hears of it later").hold_ms < 500.0);
    let stalls = probe.stop().await;
    within(&stalls, Duration::from_millis(500));
    assert!(
        stalls.table.attributed_count > 0,
        "the test tries nothing:\n{stalls}"
    );
}

/// The answer to COMMIT is lost: the record says what happened.
#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_found_in_the_record() {
    for (moment, happened) in [(Moment::After, true), (Moment::Before, false)] {
        let (database, direct, client) = with_table().await;
        let proxy = TcpProxy::start(database.server()).await.expect("a proxy");
        let pg = postgres(&proxy.url(&database.url()));
        let mut held = Held::one(&direct, ddl(vec![add_column("t", "a")])).await;
        held.pg = pg;
        proxy.cut_at("DO $pontoon_guard$", moment, 0);
        let error = held.go().await.expect_err("the answer is lost");
        assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
        assert_eq!(proxy.cuts(), 1);
        let report = held.go().await.expect("the next call finds out");
        assert_eq!(report.already_done, happened);
        assert!(has_column(&client, "t", "a").await);
    }
}

/// While a message of ours still runs without us, a second call waits for it
/// under the step's own locks and does nothing twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_step_under_way_is_not_done_twice() {
    let (database, pg, client) = with_table().await;
    run_sql(
        &client,
        "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_start WHEN TAG IN ('ALTER TABLE') EXECUTE FUNCTION public.slow();",
    )
    .await;
    let held = Held::one(&pg, ddl(vec![add_column("t", "a")])).await;
    let (one, other) = tokio::join!(held.go(), held.go());
    let done = [one.expect("goes through"), other.expect("goes through")];
    assert_eq!(
        done.iter().filter(|report| report.already_done).count(),
        1,
        "{done:?}"
    );
    drop(database);
}

fn column(name: &str, type_name: &str) -> MappedColumn {
    MappedColumn {
        name: name.into(),
        type_name: type_name.into(),
        default: None,
    }
}

fn expr(template: &str, of: &str) -> Expr {
    Expr {
        template: template.into(),
        columns: vec![of.into()],
        volatility: Volatility::Immutable,
    }
}

fn sync(application_triggers: bool) -> Sync {
    Sync {
        table: table("t"),
        children: Vec::new(),
        mappings: vec![Mapping {
            operation: 0,
            old: vec![column("n", "integer")],
            new: vec![column("exact", "bigint")],
            rule: Rule::Pair {
                up: vec![expr("(pontoon_row.n)::bigint", "n")],
                down: vec![expr("(pontoon_row.exact)::integer", "exact")],
                on_conflict: OnConflict::Error,
            },
            required: false,
            back: None,
        }],
        conditions: Conditions::InWhen,
        application_triggers,
    }
}

fn drop_sync(sync: Sync, cutover: bool) -> Action {
    Action::Ddl(Ddl {
        changes: vec![Change::DropSync { sync }],
        cutover,
    })
}

async fn triggers(client: &Client) -> i64 {
    value(
        client,
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'public.t'::regclass AND tgname LIKE '%pontoon%'",
    )
    .await
}

async fn with_sync(sync: Sync) -> (TestDatabase, Held, Client) {
    let (database, pg, client) = with_table().await;
    run_sql(&client, "ALTER TABLE public.t ADD COLUMN exact bigint").await;
    let held = Held::start(
        &pg,
        vec![
            (
                Action::Sync(sync.clone()),
                Undo::Steps {
                    actions: vec![drop_sync(sync.clone(), false)],
                },
            ),
            (
                Action::Verify(Verify {
                    table: table("t"),
                    mappings: sync.mappings.clone(),
                }),
                Undo::Nothing,
            ),
            (
                drop_sync(sync, true),
                Undo::Impossible {
                    reason: "over".into(),
                },
            ),
        ],
    )
    .await;
    (database, held, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dual_write_comes_and_goes_and_tells_of_old_writers() {
    let (_database, held, client) = with_sync(sync(false)).await;
    let run = held.fence.run;
    assert_eq!(
        held.pg.old_writes(run).await.expect("reads").idle,
        None,
        "unwatched"
    );
    held.act(1, Direction::Do).await.expect("install");
    assert_eq!(triggers(&client).await, 4);
    let quiet = held.pg.old_writes(run).await.expect("reads");
    assert!(quiet.last_at.is_none() && quiet.idle.is_some(), "{quiet:?}");
    run_sql(&client, "UPDATE public.t SET n = 5 WHERE id = 1").await;
    assert_eq!(
        value::<i64>(&client, "SELECT exact FROM public.t WHERE id = 1").await,
        5
    );
    let seen = held.pg.old_writes(run).await.expect("reads");
    assert!(seen.last_at.is_some_and(|at| at.ends_with('Z')));
    assert!(seen.idle.is_some_and(|idle| idle < Duration::from_secs(5)));
    client
        .batch_execute("UPDATE public.t SET n = 6, exact = 7 WHERE id = 1")
        .await
        .expect_err("contradicts itself");
    assert_eq!(held.pg.old_writes(run).await.expect("reads").conflicts, 1);
    held.act(1, Direction::Undo(0)).await.expect("remove");
    assert_eq!(triggers(&client).await, 0);
    let left: i64 = value(
        &client,
        "SELECT (SELECT count(*) FROM pg_proc WHERE pronamespace = 'pontoon'::regnamespace
                 AND proname NOT IN ('fence', 'fence_work', 'run_key'))
              + (SELECT count(*) FROM pg_class WHERE relnamespace = 'pontoon'::regnamespace
                 AND relkind = 'S' AND relname NOT IN ('event_id_seq', 'command_id_seq'))",
    )
    .await;
    assert_eq!(left, 0, "nothing of the dual write is left");
}

/// Functions are compiled while they are created, which takes longer than the
/// triggers do.
#[tokio::test(flavor = "multi_thread")]
async fn a_dual_write_makes_its_functions_before_it_has_a_lock() {
    let (_database, held, client) = with_sync(sync(false)).await;
    run_sql(
        &client,
        "CREATE FUNCTION public.look() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
             IF EXISTS (SELECT FROM pg_catalog.pg_locks
                        WHERE pid = pg_catalog.pg_backend_pid() AND relation = 'public.t'::regclass) THEN
                 RAISE EXCEPTION '% under a lock of the table', tg_tag;
             END IF;
         END $$;
         CREATE EVENT TRIGGER look ON ddl_command_end
             WHEN TAG IN ('CREATE FUNCTION', 'CREATE SEQUENCE') EXECUTE FUNCTION public.look();",
    )
    .await;
    held.act(1, Direction::Do).await.expect("install");
    assert_eq!(triggers(&client).await, 4);
}

/// What comes before the locks is done once, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_dual_write_under_way_is_not_made_twice() {
    let (_database, held, client) = with_sync(sync(false)).await;
    run_sql(
        &client,
        "CREATE FUNCTION public.slow() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.1); END $$;
         CREATE EVENT TRIGGER slow ON ddl_command_end WHEN TAG IN ('CREATE FUNCTION') EXECUTE FUNCTION public.slow();",
    )
    .await;
    let (one, other) = tokio::join!(held.act(1, Direction::Do), held.act(1, Direction::Do));
    let done = [one.expect("goes through"), other.expect("goes through")];
    assert_eq!(
        done.iter().filter(|report| report.already_done).count(),
        1,
        "{done:?}"
    );
    assert_eq!(triggers(&client).await, 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_outside_ours_are_refused() {
    for (name, reckoned_with, fits) in [
        ("zzzz", true, true),
        ("~t", true, true),
        ("!a", true, false),
        ("~~~", true, false),
        ("zzzz", false, false),
    ] {
        let (_database, held, client) = with_sync(sync(reckoned_with)).await;
        run_sql(
            &client,
            &format!(
                "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
                 CREATE TRIGGER \"{name}\" BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()"
            ),
        )
        .await;
        let outcome = held.act(1, Direction::Do).await;
        if fits {
            outcome.expect(name);
        } else {
            let error = outcome.expect_err(name);
            assert_eq!(error.kind, ErrorKind::Refused);
            assert!(error.message.contains(name), "{error}");
            assert_eq!(triggers(&client).await, 0);
        }
    }
}

/// Records a verify pass as the engine and the scans leave it behind.
async fn record_pass(client: &Client, held: &Held) {
    run_sql(
        client,
        &format!(
            "INSERT INTO pontoon.range (run, step, pass, no, schema_name, table_name, relid, filenode, cursor_kind, position, done)
                 VALUES ('{run}', 2, 1, 0, 'public', 't', 'public.t'::regclass, pg_relation_filenode('public.t'), 'pages', '', true);
             UPDATE pontoon.step SET state = 'done', detail = '{{\"pass\": 1, \"clean\": true}}' WHERE run = '{run}' AND no = 2",
            run = held.fence.run
        ),
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn contract_only_on_proof() {
    let (database, held, client) = with_sync(sync(false)).await;
    held.act(1, Direction::Do).await.expect("install");
    let stopped = async |why: &str, kind: ErrorKind| {
        let error = held.act(3, Direction::Do).await.expect_err(why);
        assert_eq!(error.kind, kind, "{why}: {error:?}");
        assert_eq!(triggers(&client).await, 4, "{why}");
        error.message
    };
    assert!(
        stopped("nothing is recorded", ErrorKind::Refused)
            .await
            .contains("no clean verify pass")
    );
    record_pass(&client, &held).await;
    let (refused, void) = (ErrorKind::Refused, ErrorKind::ProofVoid);
    for (why, kind, break_it, mend_it) in [
        (
            "the pass found something",
            refused.clone(),
            "UPDATE pontoon.step SET detail = detail || '{\"clean\": false}' WHERE no = 2",
            "UPDATE pontoon.step SET detail = detail || '{\"clean\": true}' WHERE no = 2",
        ),
        (
            "the pass was taken up again",
            refused.clone(),
            "UPDATE pontoon.step SET state = 'running' WHERE no = 2",
            "UPDATE pontoon.step SET state = 'done' WHERE no = 2",
        ),
        (
            "a newer pass is not finished",
            void.clone(),
            "UPDATE pontoon.range SET done = false",
            "UPDATE pontoon.range SET done = true",
        ),
        (
            "a trigger does not fire for replicas",
            refused.clone(),
            "DO $$ DECLARE n name; BEGIN SELECT tgname INTO n FROM pg_trigger WHERE tgname LIKE '!pontoon%_n';
             EXECUTE format('ALTER TABLE public.t ENABLE TRIGGER %I', n); END $$",
            "DO $$ DECLARE n name; BEGIN SELECT tgname INTO n FROM pg_trigger WHERE tgname LIKE '!pontoon%_n';
             EXECUTE format('ALTER TABLE public.t ENABLE ALWAYS TRIGGER %I', n); END $$",
        ),
        (
            "a trigger of the application came",
            refused.clone(),
            "CREATE FUNCTION public.f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
             CREATE TRIGGER later BEFORE UPDATE ON public.t FOR EACH ROW EXECUTE FUNCTION public.f()",
            "DROP FUNCTION public.f() CASCADE",
        ),
        (
            "a child without triggers came",
            refused.clone(),
            "CREATE TABLE public.child () INHERITS (public.t)",
            "DROP TABLE public.child",
        ),
    ] {
        run_sql(&client, break_it).await;
        stopped(why, kind).await;
        run_sql(&client, mend_it).await;
    }
    run_sql(&client, "VACUUM FULL public.t").await;
    assert!(
        stopped("the table was rewritten", void)
            .await
            .contains("rewritten")
    );
    run_sql(&client, "DELETE FROM pontoon.range").await;
    record_pass(&client, &held).await;
    held.act(3, Direction::Do).await.expect("is proven");
    assert_eq!(triggers(&client).await, 0);
    let run = held
        .pg
        .runs(&RunFilter::Id(held.fence.run))
        .await
        .expect("runs")
        .remove(0);
    assert_eq!(run.state, RunState::Completed, "committed with the step");
    assert!(run.finished_at.is_some());
    drop(database);
}
