//! Who may act for a run.

use std::time::{Duration, Instant};

use pontoon_core::step::Undo;
use pontoon_engine::db::{Database, ErrorKind, Holder, Live, NewRun, RunChange, RunFilter};
use pontoon_sandbox::{Server, ServerSpec, StopMode};
use tokio_postgres::Client;

use crate::support::{
    TTL, elsewhere, fresh, new_run, postgres, program, run_sql, sql, until, value,
};

async fn a_run(pg: &pontoon_engine::db::postgres::Postgres) -> NewRun {
    let run = new_run("p", program(vec![(sql("SELECT 1"), Undo::Nothing)]));
    pg.create_run(&run).await.expect("create");
    run
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_lease_names_its_holder() {
    let (_database, pg) = fresh().await;
    let run = a_run(&pg).await;
    let first = pg
        .acquire(run.id, &elsewhere("a"), TTL)
        .await
        .expect("free");
    assert_eq!(first.taken_over_from, None);
    assert_eq!(first.fence.epoch, 1);
    let error = pg
        .acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect_err("held");
    let ErrorKind::Held { holder } = &error.kind else {
        panic!("{error:?}");
    };
    assert!(
        holder.starts_with("host a, pid 42, user ci, since ") && holder.contains("expires in "),
        "{holder}"
    );
    pg.release(&first.fence).await.expect("release");
    let second = pg
        .acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect("free again");
    assert_eq!(second.taken_over_from, None, "it was given back");
    assert_eq!(second.fence.epoch, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expired_lease_is_taken_over_and_only_then_lost() {
    let (_database, pg) = fresh().await;
    let run = a_run(&pg).await;
    let short = Duration::from_millis(300);
    let first = pg
        .acquire(run.id, &elsewhere("a"), short)
        .await
        .expect("free");
    tokio::time::sleep(Duration::from_millis(200)).await;
    pg.renew(&first.fence, short, &Live::default())
        .await
        .expect("renew");
    tokio::time::sleep(Duration::from_millis(200)).await;
    pg.acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect_err("was prolonged");
    tokio::time::sleep(Duration::from_millis(200)).await;
    let shown = pg
        .runs(&RunFilter::Id(run.id))
        .await
        .expect("runs")
        .remove(0);
    assert_eq!(shown.holder, None, "expired");
    pg.renew(&first.fence, short, &Live::default())
        .await
        .expect("nobody took it");
    tokio::time::sleep(Duration::from_millis(400)).await;
    let second = pg
        .acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect("expired");
    assert_eq!(second.taken_over_from, Some(elsewhere("a")));
    let error = pg
        .renew(&first.fence, TTL, &Live::default())
        .await
        .expect_err("lost");
    assert_eq!(error.kind, ErrorKind::Fenced);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_holder_on_this_machine_is_taken_over_at_once() {
    let (_database, pg) = fresh().await;
    let run = a_run(&pg).await;
    let mut child = std::process::Command::new("sleep")
        .arg("60")
        .spawn()
        .expect("sleep");
    let here = |pid| Holder {
        host: "here".into(),
        pid,
        boot: "this boot".into(),
        user: "ci".into(),
    };
    pg.acquire(run.id, &here(child.id()), TTL)
        .await
        .expect("free");
    pg.acquire(run.id, &here(std::process::id()), TTL)
        .await
        .expect_err("alive");
    child.kill().expect("kill");
    child.wait().expect("reaped");
    pg.acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect_err("b cannot know");
    let taken = pg
        .acquire(run.id, &here(std::process::id()), TTL)
        .await
        .expect("dead");
    assert_eq!(taken.taken_over_from, Some(here(child.id())));
}

/// A worker that runs fenced transactions of 250 ms until one fails: at the
/// fence?
async fn worker(client: Client, fenced: String) -> bool {
    let text = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; {fenced}; SELECT pg_sleep(0.25);
         INSERT INTO public.written DEFAULT VALUES; COMMIT"
    );
    loop {
        if let Err(error) = client.batch_execute(&text).await {
            return error.code().is_some_and(|code| code.code() == "PT409");
        }
    }
}

/// Eight workers of a holder that does not know of its death, and a takeover:
/// how long it took, and what they still wrote afterwards.
async fn takeover(settings: &str) -> (Duration, i64) {
    let (database, pg) = fresh().await;
    let client = database.client().await.expect("a client");
    run_sql(
        &client,
        "CREATE TABLE public.written (at timestamptz DEFAULT clock_timestamp())",
    )
    .await;
    let run = a_run(&pg).await;
    let first = pg
        .acquire(run.id, &elsewhere("a"), Duration::from_millis(1))
        .await
        .expect("free");
    let fenced = format!(
        "SELECT pontoon.fence('{}', '{}')",
        run.id, first.fence.token
    );
    let mut workers = Vec::new();
    for _ in 0..8 {
        let client = database.client().await.expect("a client");
        run_sql(&client, settings).await;
        workers.push(tokio::spawn(worker(client, fenced.clone())));
        tokio::time::sleep(Duration::from_millis(31)).await;
    }
    let begun = Instant::now();
    pg.acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect("takeover");
    let took = begun.elapsed();
    let written = "SELECT count(*) FROM public.written";
    let before: i64 = value(&client, written).await;
    for worker in workers {
        assert!(
            worker.await.expect("no panic"),
            "each worker ends at the fence"
        );
    }
    (took, value::<i64>(&client, written).await - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn takeover_under_load() {
    let (took, late) = takeover("SELECT 1").await;
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(
        late, 0,
        "nothing of the former holder commits after the takeover"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repeatable_read_default() {
    let (database, _) = fresh().await;
    let client = database.client().await.expect("a client");
    run_sql(
        &client,
        "CREATE ROLE rr_runner LOGIN SUPERUSER;
         ALTER ROLE rr_runner SET default_transaction_isolation = 'repeatable read'",
    )
    .await;
    // Our own store works for such a role …
    let pg = postgres(&database.url_as("rr_runner"));
    let run = a_run(&pg).await;
    let held = pg
        .acquire(run.id, &elsewhere("a"), TTL)
        .await
        .expect("acquire");
    pg.renew(&held.fence, TTL, &Live::default())
        .await
        .expect("renew");
    let event = pontoon_engine::event::Event::Warning {
        message: "fenced".into(),
    };
    pg.append_event(&held.fence, &event)
        .await
        .expect("a fenced write");
    // … the workers see the bump …
    let (_, late) = takeover("SET default_transaction_isolation = 'repeatable read'").await;
    assert_eq!(late, 0);
    // … and a transaction that forgot its level is stopped before it can miss one.
    let client = pontoon_sandbox::connect(&database.url_as("rr_runner"))
        .await
        .expect("a client");
    let error = client
        .batch_execute(&format!(
            "BEGIN; SELECT pontoon.fence('{}', '{}')",
            run.id, held.fence.token
        ))
        .await
        .expect_err("is not READ COMMITTED");
    assert_eq!(error.code().map(|code| code.code()), Some("PT500"));
}

#[tokio::test(flavor = "multi_thread")]
async fn epoch_reuse() {
    let (database, pg) = fresh().await;
    let client = database.client().await.expect("a client");
    let run = a_run(&pg).await;
    pg.acquire(run.id, &elsewhere("a"), Duration::from_millis(1))
        .await
        .expect("free");
    run_sql(
        &client,
        "CREATE TABLE public.replica AS SELECT * FROM pontoon.lease",
    )
    .await;
    let lost = pg
        .acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect("expired");
    // The standby that is promoted never heard of that takeover.
    run_sql(
        &client,
        "UPDATE pontoon.lease l SET (epoch, token, holder, expires_at)
             = (SELECT r.epoch, r.token, r.holder, r.expires_at FROM public.replica r)",
    )
    .await;
    let next = pg
        .acquire(run.id, &elsewhere("c"), TTL)
        .await
        .expect("expired");
    assert_eq!(
        next.fence.epoch, lost.fence.epoch,
        "the number is handed out twice"
    );
    let error = pg
        .renew(&lost.fence, TTL, &Live::default())
        .await
        .expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    let event = pontoon_engine::event::Event::Warning {
        message: "late".into(),
    };
    let error = pg
        .append_event(&lost.fence, &event)
        .await
        .expect_err("fenced");
    assert_eq!(error.kind, ErrorKind::Fenced);
    pg.append_event(&next.fence, &event)
        .await
        .expect("the owner writes");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_takeover_cancels_what_would_not_end() {
    let (database, pg) = fresh().await;
    let client = database.client().await.expect("a client");
    let run = a_run(&pg).await;
    let first = pg
        .acquire(run.id, &elsewhere("a"), Duration::from_millis(1))
        .await
        .expect("free");
    let long = database.client().await.expect("a client");
    let text = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED; SELECT pontoon.fence('{}', '{}'); SELECT pg_sleep(40)",
        run.id, first.fence.token
    );
    let long = tokio::spawn(async move { long.batch_execute(&text).await });
    until(
        &client,
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database()))",
    )
    .await;
    let begun = Instant::now();
    pg.acquire(run.id, &elsewhere("b"), TTL)
        .await
        .expect("takeover");
    assert!(
        begun.elapsed() < Duration::from_secs(10),
        "{:?}",
        begun.elapsed()
    );
    let error = long.await.expect("no panic").expect_err("cancelled");
    assert_eq!(error.code().map(|code| code.code()), Some("57014"));
}

/// A term belongs to one server process: the token is copied with everything
/// else, and passes nowhere but where it was drawn. The same process takes
/// the next term over its own at once; another one does not.
#[tokio::test(flavor = "multi_thread")]
async fn a_term_ends_with_its_server() {
    let primary = Server::start(ServerSpec::default())
        .await
        .expect("a primary");
    let url = primary.create_database("shop").await.expect("a database");
    let pg = postgres(&url);
    pg.init(None).await.expect("init");
    let run = a_run(&pg).await;
    let us = elsewhere("a");
    let first = pg.acquire(run.id, &us, TTL).await.expect("free").fence;

    // The old primary goes on beside the promoted one.
    let standby = primary.standby("second").await.expect("a standby");
    standby.catch_up(&primary).await.expect("it follows");
    standby.promote().await.expect("it is promoted");
    let promoted = postgres(&standby.url("shop"));
    let change = RunChange::default();
    pg.update_run(&first, &change).await.expect("still there");
    for error in [
        promoted.update_run(&first, &change).await,
        promoted
            .renew(&first, TTL, &Live::default())
            .await
            .map(drop),
    ] {
        let error = error.expect_err("another server");
        assert_eq!(error.kind, ErrorKind::ServerChanged, "{error:?}");
    }
    let error = promoted.acquire(run.id, &us, TTL).await;
    let error = error.expect_err("this process has not drawn that token");
    assert!(matches!(error.kind, ErrorKind::Held { .. }), "{error:?}");

    // After a restart it is another server process as well, and the holder
    // goes on in a new term.
    primary.stop(StopMode::Immediate).await.expect("it stops");
    primary.start_again().await.expect("it starts");
    pg.reconnect().expect("new pools");
    let error = pg.update_run(&first, &change).await;
    let error = error.expect_err("the server was restarted");
    assert_eq!(error.kind, ErrorKind::ServerChanged, "{error:?}");
    let again = pg.acquire(run.id, &us, TTL).await.expect("our own term");
    assert_eq!(again.taken_over_from, None);
    assert_eq!(again.fence.epoch, first.epoch + 1);
    pg.update_run(&again.fence, &change).await.expect("ours");
    let error = pg.acquire(run.id, &elsewhere("b"), TTL).await;
    let error = error.expect_err("held");
    assert!(matches!(error.kind, ErrorKind::Held { .. }), "{error:?}");
}
