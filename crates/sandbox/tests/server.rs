//! Servers: start, restart, crash, standby, and that nothing of them is left behind.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pontoon_sandbox::{Pooler, Server, ServerSpec, StandbySpec, StopMode, TestDatabase, connect};

type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn number(url: &str, query: &str) -> Result<i64, Box<dyn std::error::Error>> {
    Ok(connect(url).await?.query_one(query, &[]).await?.get(0))
}

#[tokio::test]
async fn keeps_data_through_stop_crash_and_kill() -> Outcome {
    let server = Server::start(ServerSpec::default().setting("work_mem", "'7MB'")).await?;
    let url = server.create_database("odd \"name\" %").await?;
    let client = connect(&url).await?;
    client
        .batch_execute("CREATE TABLE t AS SELECT 1::bigint AS n")
        .await?;
    for (name, expected) in [
        ("work_mem", "7MB"),
        ("fsync", "off"),
        ("wal_level", "logical"),
        ("max_connections", "200"),
    ] {
        let shown: String = client.query_one(&format!("SHOW {name}"), &[]).await?.get(0);
        assert_eq!(shown, expected, "{name}");
    }
    let (port, first) = (server.port(), server.pid());

    server.stop(StopMode::Fast).await?;
    assert_eq!(server.pid(), None);
    assert!(connect(&url).await.is_err());
    server.start_again().await?;
    assert_eq!(number(&url, "SELECT n FROM t").await?, 1);

    connect(&url)
        .await?
        .batch_execute("UPDATE t SET n = 2")
        .await?;
    server.stop(StopMode::Immediate).await?;
    server.start_again().await?;
    assert_eq!(number(&url, "SELECT n FROM t").await?, 2);

    let busy = connect(&url).await?;
    let sleeping =
        tokio::spawn(async move { busy.batch_execute("SELECT pg_sleep(2)").await.is_err() });
    tokio::time::sleep(Duration::from_millis(100)).await;
    connect(&url)
        .await?
        .batch_execute("UPDATE t SET n = 3")
        .await?;
    server.kill_postmaster().await?;
    server.start_again().await?;
    assert!(sleeping.await?);
    assert_eq!(number(&url, "SELECT n FROM t").await?, 3);
    assert_eq!(server.port(), port);
    assert_ne!(server.pid(), first);
    Ok(())
}

#[tokio::test]
async fn drop_leaves_nothing() -> Outcome {
    let server = Server::start(ServerSpec::default()).await?;
    let (dir, pid) = (
        server.socket_dir().to_owned(),
        server.pid().expect("a running server"),
    );
    drop(server);
    assert!(!dir.exists());
    assert!(!alive(pid));
    Ok(())
}

#[tokio::test]
async fn kept_server_runs_on() -> Outcome {
    let server = Server::start(ServerSpec::default()).await?;
    let (url, pid) = (
        server.url("postgres"),
        server.pid().expect("a running server"),
    );
    let dir = server.keep()?;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(number(&url, "SELECT 1::bigint").await?, 1);
    nix::sys::signal::kill(
        nix::unistd::Pid::from_raw(i32::try_from(pid)?),
        nix::sys::signal::Signal::SIGQUIT,
    )?;
    wait_until("the server ends", || !alive(pid));
    std::fs::remove_dir_all(dir)?;
    Ok(())
}

#[tokio::test]
async fn superuser_needs_the_password_over_tcp() -> Outcome {
    let server = Server::start(ServerSpec {
        require_passwords: true,
        ..ServerSpec::default()
    })
    .await?;
    server
        .client("postgres")
        .await?
        .batch_execute("CREATE ROLE app LOGIN")
        .await?;
    connect(&server.url("postgres")).await?;
    let wrong = server.url("postgres").replace(server.password(), "wrong");
    assert_eq!(
        connect(&wrong)
            .await
            .expect_err("wrong password")
            .sqlstate(),
        Some("28P01")
    );
    assert!(connect(&server.url_as("app", "postgres")).await.is_err());

    let database = TestDatabase::create(None).await?;
    let client = database.client().await?;
    client
        .batch_execute("DROP ROLE IF EXISTS trusted; CREATE ROLE trusted LOGIN")
        .await?;
    connect(&database.url_as("trusted")).await?;
    Ok(())
}

#[tokio::test]
async fn shared_server_is_one_and_databases_are_fresh() -> Outcome {
    let (one, two) = tokio::join!(TestDatabase::create(None), TestDatabase::create(None));
    let (one, two) = (one?, two?);
    assert_eq!(one.server().port(), two.server().port());
    assert_ne!(one.name(), two.name());
    let by_number = TestDatabase::create(one.server().version()).await?;
    assert_eq!(by_number.server().port(), one.server().port());
    one.client()
        .await?
        .batch_execute("CREATE TABLE t ()")
        .await?;
    two.client()
        .await?
        .batch_execute("CREATE TABLE t ()")
        .await?;
    two.drop().await?;
    Ok(())
}

#[tokio::test]
async fn prepared_databases_are_copies_of_one() -> Outcome {
    const STATEMENTS: &str =
        "CREATE ROLE once; CREATE TABLE t AS SELECT clock_timestamp()::text AS made";
    let (one, two) = tokio::join!(
        TestDatabase::prepared(None, STATEMENTS),
        TestDatabase::prepared(None, STATEMENTS)
    );
    let mut made = Vec::new();
    for database in [one?, two?] {
        let client = database.client().await?;
        let row = client
            .query_one("UPDATE t SET made = made || '!' RETURNING made", &[])
            .await?;
        made.push(row.get::<_, String>(0));
    }
    assert_eq!(made[0], made[1]);
    assert!(
        TestDatabase::prepared(None, "SELECT 1 / 0").await.is_err(),
        "statements that fail prepare nothing"
    );
    Ok(())
}

#[tokio::test]
async fn standby_follows_and_is_promoted() -> Outcome {
    let primary = Server::start(ServerSpec::default()).await?;
    let client = primary.client("postgres").await?;
    client
        .batch_execute("CREATE TABLE t AS SELECT generate_series(1, 1000)::bigint AS n")
        .await?;
    let standby = primary.standby("second").await?;
    client
        .batch_execute("INSERT INTO t SELECT generate_series(1001, 2000)")
        .await?;
    let url = standby.url("postgres");
    let begun = Instant::now();
    while number(&url, "SELECT count(*) FROM t").await? != 2000 {
        assert!(
            begun.elapsed() < Duration::from_secs(20),
            "the standby does not follow"
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let states = client
        .query("SELECT application_name FROM pg_stat_replication", &[])
        .await?;
    assert_eq!(
        states.iter().map(|row| row.get(0)).collect::<Vec<String>>(),
        ["second"]
    );
    drop(primary);
    standby.promote().await?;
    connect(&url)
        .await?
        .batch_execute("INSERT INTO t VALUES (2001)")
        .await?;
    assert_eq!(number(&url, "SELECT count(*) FROM t").await?, 2001);
    Ok(())
}

/// A standby that is delayed, one that pauses, one that is waited for, and one that is promoted without the last commits.
#[tokio::test]
async fn standbys_lag_and_lose_as_told() -> Outcome {
    const COUNT: &str = "SELECT count(*) FROM t";
    for version in pontoon_sandbox::test_versions()? {
        let primary = Server::start(ServerSpec::version(version)).await?;
        let client = primary.client("postgres").await?;
        client.batch_execute("CREATE TABLE t (n bigint)").await?;
        let late = StandbySpec::new("late").delayed(Duration::from_secs(3600));
        let late = primary.standby(late).await?;
        let near = primary.standby("near").await?;
        client.batch_execute("INSERT INTO t VALUES (1)").await?;
        near.catch_up(&primary).await?;
        let (near_url, late_url) = (near.url("postgres"), late.url("postgres"));
        assert_eq!(number(&near_url, COUNT).await?, 1);
        assert_eq!(number(&late_url, COUNT).await?, 0);

        near.pause_replay().await?;
        client.batch_execute("INSERT INTO t VALUES (2)").await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert_eq!(number(&near_url, COUNT).await?, 1);
        near.resume_replay().await?;
        near.catch_up(&primary).await?;
        assert_eq!(number(&near_url, COUNT).await?, 2);

        near.cut_stream().await?;
        client.batch_execute("INSERT INTO t VALUES (3)").await?;
        near.restore_stream().await?;
        near.catch_up(&primary).await?;
        assert_eq!(number(&near_url, COUNT).await?, 3);

        let sync = StandbySpec::new("sync").synchronous();
        let sync = primary.standby(sync).await?;
        let begun = Instant::now();
        let state = "SELECT coalesce(max(sync_state), '') FROM pg_stat_replication \
                     WHERE application_name = 'sync'";
        while client.query_one(state, &[]).await?.get::<_, String>(0) != "sync" {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "never waited for"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(sync);
        let commit = client.batch_execute("INSERT INTO t VALUES (4)");
        let commit = tokio::time::timeout(Duration::from_millis(500), commit);
        assert!(commit.await.is_err(), "the commit waits for the standby");

        near.cut_stream().await?;
        let other = connect(&primary.url("postgres")).await?;
        other
            .batch_execute("SET synchronous_commit = local; INSERT INTO t VALUES (5)")
            .await?;
        drop(primary);
        near.promote().await?;
        let lost = "SELECT count(*) FROM t WHERE n = 5";
        assert_eq!(number(&near_url, lost).await?, 0, "on {version}");
    }
    Ok(())
}

/// Two sessions share one connection to the server, and the pooler follows to another server.
#[tokio::test]
#[expect(clippy::print_stderr, reason = "a test that is left out says so")]
async fn pooler_shares_connections_and_moves() -> Outcome {
    if !Pooler::is_here()? {
        eprintln!(
            "LEFT OUT: PgBouncer is missing; PONTOON_REQUIRE_PGBOUNCER=1 makes this a failure"
        );
        return Ok(());
    }
    let (one, two) = (
        Server::start(ServerSpec::default()).await?,
        Server::start(ServerSpec::default()).await?,
    );
    let port = "SELECT current_setting('port')::bigint";
    let dir = {
        let pooler = Pooler::start(&one, 1).await?;
        let pid = |client: tokio_postgres::Client| async move {
            let row = client.simple_query("SELECT pg_backend_pid()").await;
            row.map(|messages| format!("{messages:?}"))
        };
        let first = pid(connect(&pooler.url("postgres")).await?).await?;
        assert_eq!(first, pid(connect(&pooler.url("postgres")).await?).await?);
        assert_eq!(
            number(&one.url("postgres"), port).await?,
            number_simple(&pooler.url("postgres"), port).await?
        );
        // The other server has a password of its own, which nobody needs over its socket.
        pooler.point_to(&two)?;
        let begun = Instant::now();
        while number_simple(&pooler.url("postgres"), port).await? != i64::from(two.port()) {
            assert!(begun.elapsed() < Duration::from_secs(20), "it never moves");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        pooler.url("postgres")
    };
    assert!(connect(&dir).await.is_err(), "it ends with its value");
    Ok(())
}

async fn number_simple(url: &str, query: &str) -> Result<i64, Box<dyn std::error::Error>> {
    let messages = connect(url).await?.simple_query(query).await?;
    messages
        .iter()
        .find_map(|message| match message {
            tokio_postgres::SimpleQueryMessage::Row(row) => row.get(0)?.parse().ok(),
            _ => None,
        })
        .ok_or_else(|| "no number".into())
}

/// Slow the first time on a machine: whatever is not installed is fetched.
#[tokio::test]
async fn every_version_starts() -> Outcome {
    let versions = pontoon_sandbox::test_versions()?;
    for major in versions {
        let server = Server::start(ServerSpec::version(major)).await?;
        let query = "SELECT current_setting('server_version_num')::bigint / 10000";
        assert_eq!(
            number(&server.url("postgres"), query).await?,
            i64::from(major)
        );
        assert_eq!(server.version(), major);
    }
    Ok(())
}

/// Not a test by itself: `sigkill_of_the_owner_leaves_nothing` runs it in a child and kills that.
#[tokio::test]
#[ignore = "never ends; another test runs it as a child process"]
async fn child_that_never_ends() -> Outcome {
    let path = std::env::var("PONTOON_TEST_REPORT_TO")?;
    let server = Server::start(ServerSpec::default()).await?;
    let standby = server.standby("second").await?;
    let text = [&server, &standby]
        .map(|s| {
            format!(
                "{}\n{}\n",
                s.pid().expect("running"),
                s.socket_dir().display()
            )
        })
        .concat();
    std::fs::write(format!("{path}.new"), text)?;
    std::fs::rename(format!("{path}.new"), path)?;
    std::future::pending().await
}

#[test]
fn sigkill_of_the_owner_leaves_nothing() -> Outcome {
    let dir = tempfile::tempdir()?;
    let report = dir.path().join("report");
    let mut child = Command::new(std::env::current_exe()?)
        .args(["--exact", "child_that_never_ends", "--ignored"])
        .env("PONTOON_TEST_REPORT_TO", &report)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()?;
    wait_until("the child's servers run", || report.exists());
    let text = std::fs::read_to_string(&report)?;
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines.chunks(2) {
        assert!(alive(pair[0].parse()?) && Path::new(pair[1]).exists());
    }
    // The whole process group, as a CI system does it.
    nix::sys::signal::killpg(
        nix::unistd::Pid::from_raw(i32::try_from(child.id())?),
        nix::sys::signal::Signal::SIGKILL,
    )?;
    child.wait()?;
    for pair in lines.chunks(2) {
        let pid = pair[0].parse()?;
        wait_until("the server ends", || !alive(pid));
        wait_until("the directory is removed", || !Path::new(pair[1]).exists());
    }
    Ok(())
}

fn wait_until(what: &str, condition: impl Fn() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(
            begun.elapsed() < Duration::from_secs(60),
            "waited in vain until {what}"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Whether a process exists and is no zombie (an orphan's zombie stays where nobody reaps it).
fn alive(pid: u32) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Ok(stat) => !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z'),
        Err(_) if Path::new("/proc/self").exists() => false,
        Err(_) => Command::new("ps")
            .args(["-p", &pid.to_string()])
            .stdout(Stdio::null())
            .status()
            .is_ok_and(|s| s.success()),
    }
}
