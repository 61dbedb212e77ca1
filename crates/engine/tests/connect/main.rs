//! Connecting to real servers: what is refused and why, passfile, service file, sockets, pools, poolers, and TLS.

mod tls;

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use pontoon_engine::db::postgres::Postgres;
use pontoon_engine::db::postgres::connect::{
    ConnectError, ConnectErrorKind, ConnectOptions, Connection, Pool, Purpose, connect, is_pooler,
};
use pontoon_engine::db::{Database, ErrorKind};
use pontoon_engine::retry::{Classify, Retry, RetryPolicy, Verdict};
use pontoon_sandbox::tcp_proxy::TcpProxy;
use pontoon_sandbox::{Server, ServerSpec, StopMode, TestDatabase};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// Resolves with an environment of its own: neither the tester's variables nor home directory count.
fn resolve_with(url: Option<&str>, env: &[(&str, &str)]) -> Result<ConnectOptions, ConnectError> {
    ConnectOptions::resolve(url, &|name| {
        let own = env.iter().find(|(n, _)| *n == name);
        let own = own.map(|(_, value)| (*value).to_owned());
        own.or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
    })
}

fn resolve(url: &str) -> ConnectOptions {
    resolve_with(Some(url), &[]).unwrap_or_else(|e| panic!("{e}"))
}

async fn open(url: &str) -> Result<Connection, ConnectError> {
    connect(&resolve(url), Purpose::Control).await
}

async fn refused(url: &str) -> ConnectError {
    open(url).await.expect_err("the connection was made")
}

async fn text(connection: &Connection, sql: &str) -> String {
    let row = connection.query_one(sql, &[]).await.expect(sql);
    row.get::<_, String>(0)
}

/// A port of this machine where nobody listens.
async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    listener.local_addr().expect("address").port()
}

#[tokio::test]
async fn a_purpose_is_the_application_name_and_closing_ends_the_session() {
    let database = TestDatabase::create(None).await.expect("server");
    let options = resolve(&database.url());
    let connection = connect(&options, Purpose::Watch).await.expect("connects");
    assert_eq!(
        text(&connection, "SHOW application_name").await,
        "pontoon/watch"
    );
    assert!(connection.address().starts_with("127.0.0.1:"));
    connection.close().await;
    let observer = database.client().await.expect("observer");
    let sql = "SELECT count(*) FROM pg_stat_activity \
               WHERE application_name = 'pontoon/watch' AND datname = current_database()";
    let begun = Instant::now();
    while observer
        .query_one(sql, &[])
        .await
        .expect(sql)
        .get::<_, i64>(0)
        > 0
    {
        assert!(begun.elapsed() < Duration::from_secs(10), "still there");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn wrong_password_role_and_database_are_told_apart() {
    let database = TestDatabase::create(None).await.expect("server");
    let server = database.server();
    let at = format!("127.0.0.1:{}", server.port());

    let error = refused(&format!("postgres://postgres:not-this-one@{at}/postgres")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    assert_eq!(error.sqlstate(), Some("28P01"));
    assert!(error.hint().contains("password"), "{}", error.hint());
    assert!(!format!("{error} {error:?}").contains("not-this-one"));
    assert_eq!(error.verdict(), Verdict::Definite);

    let error = refused(&format!("postgres://postgres@{at}/postgres")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    assert!(error.to_string().contains("none was given"), "{error}");
    assert!(error.hint().contains("PGPASSWORD"), "{}", error.hint());

    let error = refused(&format!("postgres://nobody_of_that_name@{at}/postgres")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    let wanted = "create role `nobody_of_that_name`";
    assert!(error.hint().contains(wanted), "{}", error.hint());

    let error = refused(&server.url("no such database")).await;
    assert_eq!(error.kind(), ConnectErrorKind::NoSuchDatabase);
    assert!(error.to_string().contains(&at), "{error}");
    assert!(!format!("{error} {error:?} {}", error.hint()).contains(server.password()));

    let client = server.client("postgres").await.expect("superuser");
    client
        .batch_execute(&format!(
            "CREATE ROLE outsider LOGIN; REVOKE CONNECT ON DATABASE {} FROM PUBLIC",
            database.name()
        ))
        .await
        .expect("roles");
    let error = refused(&database.url_as("outsider")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Refused);
    assert!(
        error.hint().starts_with("GRANT CONNECT"),
        "{}",
        error.hint()
    );
}

#[tokio::test]
async fn options_reach_the_server_and_wrong_ones_are_option_errors() {
    let database = TestDatabase::create(None).await.expect("server");
    let error = refused(&format!("{}?options=-c%20no_such=1", database.url())).await;
    assert_eq!(error.kind(), ConnectErrorKind::InvalidOptions);
    assert!(error.hint().contains("PGOPTIONS"), "{}", error.hint());
    let url = format!(
        "{}?options=-c%20work_mem=7MB&application_name=mine",
        database.url()
    );
    let connection = open(&url).await.expect("connects");
    assert_eq!(text(&connection, "SHOW work_mem").await, "7MB");
    assert_eq!(
        text(&connection, "SHOW application_name").await,
        "mine/control"
    );
}

#[tokio::test]
async fn nobody_there() {
    let port = closed_port().await;
    let error = refused(&format!("postgres://me:hunter2@127.0.0.1:{port}/d")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    assert_eq!(
        error.to_string(),
        format!("connect to 127.0.0.1:{port}: connection refused")
    );
    assert_eq!(error.verdict(), Verdict::Transient);

    let error = refused(&format!("postgres://me@nowhere.invalid:{port}/d")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    assert!(error.to_string().contains("nowhere.invalid"), "{error}");
    assert!(error.to_string().contains("looked up"), "{error}");

    let error = refused("host=/nonexistent user=me").await;
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    let wanted = "/nonexistent:5432: no socket file";
    assert!(error.to_string().contains(wanted), "{error}");
}

#[tokio::test]
async fn a_silent_server_is_given_up_in_time() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("address").port();
    for mode in ["disable", "prefer", "require"] {
        let begun = Instant::now();
        let url = format!("postgres://me@127.0.0.1:{port}/d?connect_timeout=1&sslmode={mode}");
        let error = refused(&url).await;
        assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
        assert!(error.to_string().contains("no answer within 1s"), "{error}");
        let took = begun.elapsed();
        assert!(took < Duration::from_secs(5), "{mode}: {took:?}");
    }
}

#[tokio::test]
async fn something_else_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("address").port();
    let other = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut buffer = [0; 64];
            // The peer may hang up first; either way this one answer is all it gets.
            drop(socket.read(&mut buffer).await);
            drop(socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await);
        }
    });
    for mode in ["disable", "prefer", "require"] {
        let error = refused(&format!("postgres://me@127.0.0.1:{port}/d?sslmode={mode}")).await;
        let kind = match mode {
            "require" => ConnectErrorKind::Tls,
            _ => ConnectErrorKind::Unreachable,
        };
        assert_eq!(error.kind(), kind, "{mode}: {error}");
    }
    other.abort();
}

#[tokio::test]
async fn unix_socket_and_several_hosts() {
    let server = Server::shared(None).await.expect("server");
    let directory = server.socket_dir().display().to_string();
    let port = server.port();
    let url = format!("host={directory} port={port} user=postgres sslmode=require");
    let connection = open(&url)
        .await
        .expect("connects: TLS does not apply to a socket");
    let client = "SELECT coalesce(inet_client_addr()::text, 'socket')";
    assert_eq!(text(&connection, client).await, "socket");
    connection.canceller().cancel().await.expect("sends");
    let encoded = directory.replace('/', "%2F");
    open(&format!("postgres://postgres@{encoded}:{port}/postgres"))
        .await
        .expect("connects by URL");

    let closed = closed_port().await;
    let password = server.password();
    let url =
        format!("postgres://postgres:{password}@127.0.0.1:{closed},127.0.0.1:{port}/postgres");
    open(&url).await.expect("the second host answers");
    let url = format!("postgres://me@127.0.0.1:{closed},[::1]:{closed}/d");
    let error = refused(&url).await;
    assert!(error.to_string().contains("any of 2 addresses"), "{error}");
    assert!(
        error.to_string().contains(&format!("[::1]:{closed}")),
        "{error}"
    );
}

#[tokio::test]
async fn of_several_hosts_the_primary_is_chosen() {
    let primary = Server::start(ServerSpec::default()).await.expect("primary");
    let standby = primary.standby("one").await.expect("standby");
    let (p, s) = (primary.port(), standby.port());
    let login = format!("postgres://postgres:{}@", primary.password());
    let url = format!("{login}127.0.0.1:{s},127.0.0.1:{p}/postgres");
    let port_of = async |target: &str| {
        let connection = open(&format!("{url}{target}")).await;
        let connection = connection.unwrap_or_else(|e| panic!("{target}: {e}"));
        text(&connection, "SHOW port").await
    };
    for (target, port) in [
        ("", p),
        ("?target_session_attrs=primary", p),
        ("?target_session_attrs=read-write", p),
        ("?target_session_attrs=any", s),
        ("?target_session_attrs=standby", s),
        ("?target_session_attrs=read-only", s),
        ("?target_session_attrs=prefer-standby", s),
    ] {
        assert_eq!(port_of(target).await, port.to_string(), "{target}");
    }

    let only = format!("{login}127.0.0.1:{p}/postgres");
    open(&format!("{only}?target_session_attrs=prefer-standby"))
        .await
        .expect("a primary will do");
    let error = refused(&format!("{only}?target_session_attrs=standby")).await;
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);
    assert!(error.to_string().contains("it is a primary"), "{error}");

    standby.promote().await.expect("promotes");
    primary.stop(StopMode::Immediate).await.expect("stops");
    assert_eq!(port_of("").await, s.to_string(), "after a failover");
}

#[tokio::test]
async fn passfile_gives_the_password_and_tells_why_not() {
    let server = Server::shared(None).await.expect("server");
    let home = tempfile::tempdir().expect("temporary directory");
    let passfile = home.path().join(".pgpass");
    let port = server.port().to_string();
    let env = [
        ("HOME", home.path().to_str().expect("UTF-8")),
        ("PGHOST", "127.0.0.1"),
        ("PGPORT", port.as_str()),
        ("PGUSER", "postgres"),
        ("PGDATABASE", "postgres"),
    ];
    let options = resolve_with(None, &env).expect("resolves");
    let lines = format!(
        "elsewhere:*:*:*:no\n*:{port}:*:postgres:{}\n",
        server.password()
    );
    let chmod = |mode| {
        std::fs::set_permissions(&passfile, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };

    std::fs::write(&passfile, lines).expect("write");
    chmod(0o644);
    let error = connect(&options, Purpose::Control)
        .await
        .expect_err("must not use an open passfile");
    assert_eq!(error.kind(), ConnectErrorKind::Authentication);
    assert!(
        error.hint().contains("permissions are 0644"),
        "{}",
        error.hint()
    );
    assert!(!format!("{error:?}").contains(server.password()));

    chmod(0o600);
    connect(&options, Purpose::Control)
        .await
        .expect("the same options read the file again");

    std::fs::write(&passfile, "elsewhere:*:*:*:no\n").expect("write");
    let error = connect(&options, Purpose::Control)
        .await
        .expect_err("no line fits");
    assert!(
        error.hint().contains("no line for 127.0.0.1"),
        "{}",
        error.hint()
    );
}

#[tokio::test]
async fn service_file() {
    let server = Server::shared(None).await.expect("server");
    let directory = tempfile::tempdir().expect("temporary directory");
    let file = directory.path().join("services");
    let lines = format!(
        "[shop]\nhost=127.0.0.1\nport={}\nuser=postgres\npassword={}\ndbname=template1\n",
        server.port(),
        server.password()
    );
    std::fs::write(&file, lines).expect("write");
    let env = [("PGSERVICEFILE", file.to_str().expect("UTF-8"))];
    let options = resolve_with(Some("postgres:///postgres?service=shop"), &env).expect("resolves");
    let connection = connect(&options, Purpose::Introspect).await;
    let connection = connection.expect("connects");
    assert_eq!(
        text(&connection, "SELECT current_database()::text").await,
        "postgres"
    );
    assert!(!format!("{options:?}").contains(server.password()));
}

#[tokio::test]
async fn a_full_server_is_transient() {
    let spec = ServerSpec::default()
        .setting("max_connections", "4")
        .setting("max_wal_senders", "0")
        .setting("wal_level", "minimal")
        .setting("superuser_reserved_connections", "1");
    let server = Server::start(spec).await.expect("server");
    let client = server.client("postgres").await.expect("superuser");
    client
        .batch_execute("CREATE ROLE app LOGIN")
        .await
        .expect("role");
    let mut held = Vec::new();
    let error = loop {
        match open(&server.url_as("app", "postgres")).await {
            Ok(connection) => held.push(connection),
            Err(error) => break error,
        }
        assert!(held.len() < 10, "the limit is not kept");
    };
    assert_eq!(
        error.kind(),
        ConnectErrorKind::TooManyConnections,
        "{error}"
    );
    assert_eq!(error.verdict(), Verdict::Transient);
}

#[tokio::test]
async fn a_restart_is_waited_for() {
    let server = Server::start(ServerSpec::default()).await.expect("server");
    let options = resolve(&server.url("postgres"));
    let connection = connect(&options, Purpose::Control).await.expect("connects");
    server.stop(StopMode::Immediate).await.expect("stops");
    let error = connection
        .query_one("SELECT 1", &[])
        .await
        .expect_err("the server is gone");
    assert_eq!(error.verdict(), Verdict::Transient, "{error:?}");
    let begun = Instant::now();
    while connection.lost().is_none() {
        assert!(begun.elapsed() < Duration::from_secs(10), "no reason known");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let policy = RetryPolicy::within(Duration::from_secs(60))
        .waiting(Duration::from_millis(20), Duration::from_millis(200));
    let retry = Retry::new(policy, CancellationToken::new());
    let mut waits = 0;
    let waiting = retry.run(|| connect(&options, Purpose::Control), |_, _| waits += 1);
    let (again, started) = tokio::join!(waiting, async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        server.start_again().await
    });
    started.expect("starts");
    again.expect("connects again");
    assert!(waits > 0);
}

#[tokio::test]
async fn cancelling_a_statement() {
    let database = TestDatabase::create(None).await.expect("server");
    let connection = open(&database.url()).await.expect("connects");
    let canceller = connection.canceller();
    let begun = Instant::now();
    let (result, sent) = tokio::join!(connection.batch_execute("SELECT pg_sleep(60)"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        canceller.cancel().await
    });
    sent.expect("sent");
    let error = result.expect_err("cancelled");
    assert_eq!(error.code().map(|c| c.code()), Some("57014"));
    assert_eq!(error.verdict(), Verdict::Definite);
    assert!(begun.elapsed() < Duration::from_secs(30));
}

#[tokio::test]
async fn a_pool_shares_grows_and_tells_the_reason() {
    let database = TestDatabase::create(None).await.expect("server");
    let pool = Pool::new(&resolve(&database.url()), Purpose::Batch, 2).expect("pool");
    let first = pool.get().await.expect("first");
    let row = first.query_one("SHOW application_name", &[]).await;
    assert_eq!(row.expect("query").get::<_, String>(0), "pontoon/batch");
    let second = pool.get().await.expect("second");
    let third = tokio::time::timeout(Duration::from_millis(200), pool.get()).await;
    assert!(third.is_err(), "a third at size 2");
    pool.resize(3);
    let third = pool.get().await.expect("third after the resize");
    drop((first, second, third));
    pool.close();
    let error = pool.get().await.expect_err("closed");
    assert_eq!(error.kind(), ConnectErrorKind::Unreachable);

    let wrong = format!(
        "postgres://postgres:hunter2@127.0.0.1:{}/postgres",
        database.server().port()
    );
    let pool = Pool::new(&resolve(&wrong), Purpose::Batch, 2).expect("pool");
    let (a, b) = tokio::join!(pool.get(), pool.get());
    for result in [a, b] {
        let error = result.expect_err("wrong password");
        assert_eq!(error.kind(), ConnectErrorKind::Authentication, "{error}");
        assert!(!format!("{error:?} {pool:?}").contains("hunter2"));
    }
}

#[tokio::test]
async fn a_cut_pool_connection_is_replaced() {
    let database = TestDatabase::create(None).await.expect("server");
    let proxy = TcpProxy::start(database.server()).await.expect("proxy");
    let options = resolve(&proxy.url(&database.url()));
    let pool = Pool::new(&options, Purpose::Batch, 1).expect("pool");
    let client = pool.get().await.expect("connects");
    proxy.cut();
    let error = client.query_one("SELECT 1", &[]).await.expect_err("cut");
    assert_eq!(error.verdict(), Verdict::Transient, "{error:?}");
    drop(client);
    let client = pool.get().await.expect("a new connection");
    client.query_one("SELECT 1", &[]).await.expect("works");
}

/// A middleman that changes the process id announced at login, as a pooler does, and otherwise forwards bytes.
async fn fake_pooler(server_port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(forward(client, server_port));
        }
    });
    port
}

async fn forward(client: TcpStream, server_port: u16) -> io::Result<()> {
    let server = TcpStream::connect(("127.0.0.1", server_port)).await?;
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let up = tokio::spawn(async move { tokio::io::copy(&mut from_client, &mut to_server).await });
    loop {
        let kind = from_server.read_u8().await?;
        let length = from_server.read_u32().await?;
        let mut body = vec![0; length as usize - 4];
        from_server.read_exact(&mut body).await?;
        if kind == b'K' {
            body[0] ^= 0x55;
        }
        to_client.write_u8(kind).await?;
        to_client.write_u32(length).await?;
        to_client.write_all(&body).await?;
        if kind == b'K' {
            break;
        }
    }
    tokio::io::copy(&mut from_server, &mut to_client).await?;
    up.abort();
    Ok(())
}

#[tokio::test]
async fn a_pooler_is_noticed() {
    let database = TestDatabase::create(None).await.expect("server");
    let direct = open(&database.url()).await.expect("connects");
    assert!(!is_pooler(&direct).await.expect("asks"));
    let proxy = TcpProxy::start(database.server()).await.expect("proxy");
    let forwarded = open(&proxy.url(&database.url())).await.expect("connects");
    let pooler = is_pooler(&forwarded).await.expect("asks");
    assert!(!pooler, "a proxy that only forwards is no pooler");
    let real = format!(":{}/", database.server().port());
    let port = fake_pooler(database.server().port()).await;
    let url = database.url().replace(&real, &format!(":{port}/"));
    let pooled = open(&format!("{url}?sslmode=disable"))
        .await
        .expect("connects");
    assert!(is_pooler(&pooled).await.expect("asks"));
}

/// Of several hosts that all believe to be the primary, the one that was
/// promoted last is taken, whatever the order; where nobody can tell which
/// that is, none is.
#[tokio::test]
async fn of_several_primaries_the_newest_is_taken_or_none() {
    let first = Server::start(ServerSpec::default()).await.expect("first");
    let one = first.standby("one").await.expect("standby");
    let two = first.standby("two").await.expect("standby");
    let login = format!("postgres://postgres:{}@", first.password());
    let list = |servers: &[&Server]| {
        let hosts: Vec<String> = servers
            .iter()
            .map(|server| format!("127.0.0.1:{}", server.port()))
            .collect();
        format!("{login}{}/postgres", hosts.join(","))
    };
    let server_of = async |url: String| {
        let database = Postgres::new(resolve(&url)).expect("pools");
        database.inspect("public", &[], &[]).await
    };
    one.promote().await.expect("promotes");
    let port_of = async |url: String| {
        // The survey is what a database does before its first connection.
        let options = resolve(&url);
        let database = Postgres::new(options.clone()).expect("pools");
        database
            .inspect("public", &[], &[])
            .await
            .expect("a catalog");
        let connection = connect(&options, Purpose::Control).await.expect("connects");
        text(&connection, "SHOW port").await
    };
    for order in [
        [&first, &one, &two],
        [&one, &first, &two],
        [&two, &first, &one],
    ] {
        assert_eq!(port_of(list(&order)).await, one.port().to_string());
    }

    // What has once been seen is not forgotten by connections made later.
    let options = resolve(&list(&[&one, &first]));
    connect(&options, Purpose::Control).await.expect("connects");
    one.stop(StopMode::Fast).await.expect("stops");
    let error = connect(&options, Purpose::Control).await;
    let error = error.expect_err("only the one that was left behind answers");
    assert!(error.to_string().contains("left it behind"), "{error}");
    assert_eq!(error.verdict(), Verdict::Transient);
    one.start_again().await.expect("starts");
    connect(&options, Purpose::Control)
        .await
        .expect("it is back");

    two.promote().await.expect("promotes");
    let error = server_of(list(&[&one, &two]))
        .await
        .expect_err("nobody can tell");
    assert_eq!(error.kind, ErrorKind::Unreachable, "{error:?}");
    assert!(error.message.contains("both say"), "{error:?}");
    assert!(!format!("{error:?}").contains(first.password()));
    server_of(list(&[&one])).await.expect("one alone is");
}
